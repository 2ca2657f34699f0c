"""Takes answers as text, whatever they hold, and refuses bad ones before anything is written.

An extension of Jinja, named in cookiecutter.json. `cruft update` loads it once, in the project's old version,
and renders the new template with it too: so it offers no filters that a template could need.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension

TEMPLATE = Path(__file__).parent
FOLDER = "{{cookiecutter.project_slug}}"
OLDEST_PYTHON = (3, 11)
QUESTIONS = ("project_name", "project_slug", "description", "aws_region", "ci_provider", "bias_engine")
FORMS = {
    "project_slug": (
        re.compile(r"(?=.{3,24}\Z)(?!.*--)[a-z][a-z0-9-]*[a-z0-9]\Z"),
        "3 to 24 of a-z, 0-9 and single hyphens, beginning with a letter and not ending with a hyphen",
    ),
    "aws_region": (re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}\Z"), "an AWS region such as eu-west-1"),
}
LONGEST = {"project_name": 100, "description": 300}  # characters
CHOICES = ("ci_provider", "bias_engine")
# Control characters, halves of a character, separators of lines, and what turns the direction of writing.
CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
CONTROL_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


class CheckedAnswers(Extension):
    """Keeps Jinja from rendering answers, and looks at them when the project's folder gets its name."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["name_of_folder"] = name_of_folder
        hooks = [path.read_text(encoding="utf-8") for path in (TEMPLATE / "hooks").glob("*.py")]
        self.own_texts = {*map(str, questions().values()), *hooks}

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """What Jinja compiles in place of `source`: the text of the file `name`, or any if that is None."""
        if source == FOLDER:
            return "{{ name_of_folder(cookiecutter) }}"
        if name or source in self.own_texts:
            return source
        return f"{{{{ {json.dumps(source, ensure_ascii=False)} }}}}"


def questions() -> dict[str, Any]:
    """Each question of cookiecutter.json with its default, or with its choices."""
    return json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))


def name_of_folder(answers: dict[str, Any]) -> str:
    """The slug, which is rendered first once all answers are known: asked for, given or replayed."""
    if "_template" not in answers:  # they are not known yet: somebody's answer is this very text
        return FOLDER
    refuse_bad(answers)
    return answers["project_slug"]


def refuse_bad(answers: dict[str, Any]) -> None:
    """Ends cookiecutter with what is wrong and how to retry, if any answer is bad."""
    bad = complaints(answers)
    problems = list(bad.values())
    if sys.version_info < OLDEST_PYTHON:
        problems.append("cookiecutter must run on Python 3.11 or newer, got {}.{}.".format(*sys.version_info))
    if problems:
        raise SystemExit(f"{' '.join(problems)} Retry with:\n  {retry_command(answers, bad)}")


def complaints(answers: dict[str, Any]) -> dict[str, str]:
    """One sentence (what, want, got) for each answer that cannot be used, by the name of its question."""
    wanted = {name: _wanted(name, answers[name]) for name in QUESTIONS}
    return {name: f"{name} must be {want}, got {answers[name]!r}." for name, want in wanted.items() if want}


def retry_command(answers: dict[str, Any], bad: dict[str, str]) -> str:
    """Shell command that asks again, with every answer but the `bad` ones filled in."""
    words = ["cookiecutter", str(answers["_template"])]
    if checkout := answers.get("_checkout"):
        words += ["--checkout", checkout]
    folder = answers.get("_output_dir")
    if folder and folder != os.environ.get("PWD"):
        words += ["--output-dir", folder]
    return shlex.join(words + [f"{name}={answers[name]}" for name in QUESTIONS if name not in bad])


def _wanted(name: str, answer: Any) -> str:
    """What the answer should have been; empty if it is good."""
    if not isinstance(answer, str):
        return "a text"
    if name in CHOICES:
        choices = questions()[name]
        return "" if answer in choices else f"one of {', '.join(choices)}"
    if name in FORMS:
        form, want = FORMS[name]
        return "" if form.match(answer) else want
    return _wanted_of_text(answer, LONGEST[name])


def _wanted_of_text(text: str, longest: int) -> str:
    if not text.strip():
        return "a text that is not blank"
    if len(text) > longest:
        return f"at most {longest} characters"
    if any(letter in "{}" or _is_control(letter) for letter in text):
        return "one line without braces or control characters"
    return ""


def _is_control(letter: str) -> bool:
    return (
        unicodedata.category(letter) in CONTROL_CATEGORIES
        or unicodedata.bidirectional(letter) in CONTROL_DIRECTIONS
    )
