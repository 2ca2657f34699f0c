"""Refuses answers that no project can be made of, before anything is written."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import unicodedata

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


def complaints(answers: dict[str, str]) -> dict[str, str]:
    """One sentence (what, want, got) for each answer that cannot be used, by the name of its question."""
    wanted = {name: want for name, (form, want) in FORMS.items() if not form.match(answers[name])}
    for name, longest in LONGEST.items():
        if want := _wanted_of_text(answers[name], longest):
            wanted[name] = want
    return {name: f"{name} must be {want}, got {answers[name]!r}." for name, want in wanted.items()}


def retry_command(answers: dict[str, str | None], bad: dict[str, str]) -> str:
    """Shell command that asks again, with every answer but the `bad` ones filled in."""
    words = ["cookiecutter", str(answers["_template"])]
    if checkout := answers.get("_checkout"):
        words += ["--checkout", checkout]
    folder = answers.get("_output_dir")
    if folder and folder != os.environ.get("PWD"):
        words += ["--output-dir", folder]
    return shlex.join(words + [f"{name}={answers[name]}" for name in QUESTIONS if name not in bad])


def _wanted_of_text(text: str, longest: int) -> str:
    if not text.strip():
        return "a text that is not blank"
    if len(text) > longest:
        return f"at most {longest} characters"
    # Braces are Jinja's: cookiecutter renders answers given on a command line, where `cruft update` puts all.
    if any(letter in "{}" or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        return "one line without braces or control characters"
    return ""


def main(answers: dict[str, str]) -> int:
    """Exit status; when it is 1, standard error says what is wrong and how to retry."""
    bad = complaints(answers)
    problems = list(bad.values())
    if sys.version_info < OLDEST_PYTHON:
        problems.append("cookiecutter must run on Python 3.11 or newer, got {}.{}.".format(*sys.version_info))
    if problems:
        print(" ".join(problems), "Retry with:\n ", retry_command(answers, bad), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""{{ cookiecutter | tojson }}""")))
