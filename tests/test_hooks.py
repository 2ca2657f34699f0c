"""What an answer may be, how a bad one is refused, and what is deleted afterwards."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter as cookiecutter_main
from cookiecutter.prompt import prompt_for_config, render_variable
from cookiecutter.utils import create_env_with_context
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import FileSystemLoader

import checked_answers
import post_gen_project
from generate import TEMPLATE, cookiecutter, generate, run_cookiecutter

CONTEXT = str(TEMPLATE / "cookiecutter.json")
QUESTIONS = generate_context(CONTEXT)["cookiecutter"]
TEXT_QUESTIONS = ("project_name", "project_slug", "description", "aws_region")
GOOD = {
    "project_name": "Churn",
    "project_slug": "churn",
    "description": "Who leaves",
    "aws_region": "eu-west-1",
    "ci_provider": "github",
    "bias_engine": "in_step",
    "_template": "gh:acme/template",
}


def entered(name: str) -> dict[str, str]:
    """Answers of somebody who types a name and then only Enter, rendered as cookiecutter's prompts do."""
    environment, answers = StrictEnvironment(context={"cookiecutter": QUESTIONS}), {"project_name": name}
    for question, default in QUESTIONS.items():
        if question not in ("project_name", "__prompts__", "_extensions", "_copy_without_render"):
            first = default[0] if isinstance(default, list) else default
            answers[question] = render_variable(environment, first, answers)
    return answers


def prompted(answers: dict[str, str]) -> dict[str, str]:
    """All answers of somebody who gives some on the command line, with --no-input."""
    return prompt_for_config(generate_context(CONTEXT, extra_context=answers), no_input=True)


def rendered(name: str, answers: dict[str, str]) -> str:
    """What a file of the template becomes."""
    environment = create_env_with_context({"cookiecutter": answers})
    environment.loader = FileSystemLoader(TEMPLATE / "{{cookiecutter.project_slug}}")
    return environment.get_template(name).render(cookiecutter=answers)


def as_arguments(folder: Path, answers: dict[str, str]) -> None:
    make(folder, no_input=True, extra_context=answers, default_config=True)


def in_config_file(folder: Path, answers: dict[str, str]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({"default_context": answers}))
    make(folder, no_input=True, config_file=str(folder / "config.yaml"))


def replayed(folder: Path, answers: dict[str, str]) -> None:
    (folder / "past.json").write_text(json.dumps({"cookiecutter": prompted({}) | answers}))
    make(folder, replay=str(folder / "past.json"), default_config=True)


def make(folder: Path, **ways: Any) -> None:
    cookiecutter_main(str(TEMPLATE), output_dir=str(folder / "out"), **ways)


GIVEN = {"command line": as_arguments, "config file": in_config_file, "replay": replayed}


@settings(deadline=None)
@given(st.text(max_size=100) | st.text("abc019 -_.'&#;é中", max_size=60))
@example("")
@example("a")
@example("2nd try")
@example("!!!")
@example("a-very-long-name-without-x-end")
@example("Abcdefghijklmnopqrstuvw xyz")
@example("日本語のプロジェクト")
@example("x" * 100)
def test_enter_gives_a_valid_slug_for_any_name(name):
    assert "project_slug" not in checked_answers.complaints(entered(name))


@settings(deadline=None)
@given(st.text(max_size=110))
def test_enter_is_never_refused_after_an_accepted_name(name):
    assert set(checked_answers.complaints(entered(name))) <= {"project_name", "description"}
    if "project_name" not in checked_answers.complaints(entered(name)):
        assert checked_answers.complaints(entered(name)) == {}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Loan approval", "loan-approval"),
        ("Customer Lifetime Value Prediction", "customer-lifetime-value"),
        ("3D models", "ml-3d-models"),
        ("x", "ml-x"),
        ("!!!", "ml-pipeline"),
        ("Größe & Maß", "grosse-mass"),
    ],
)
def test_the_derived_slug_reads_like_the_name(name, slug):
    assert entered(name)["project_slug"] == slug


@pytest.mark.parametrize(
    "slug", ["abc", "a1b", "a-b", "abcdefghijklmnopqrstuvwx", "a2345678901234567890123z", "x-1-y-2"]
)
def test_a_slug_of_the_documented_form_is_accepted(slug):
    assert checked_answers.complaints(GOOD | {"project_slug": slug}) == {}


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "ab",
        "Abc",
        "1ab",
        "-ab",
        "ab-",
        "a--b",
        "a_b",
        "a b",
        "a.b",
        "a/b",
        "äbc",
        "abc\n",
        "a" * 25,
        "a\N{ARABIC-INDIC DIGIT ONE}b",
    ],
)
def test_a_slug_of_another_form_is_refused(slug):
    complaint = checked_answers.complaints(GOOD | {"project_slug": slug})["project_slug"]
    assert complaint == (
        "project_slug must be 3 to 24 of a-z, 0-9 and single hyphens, "
        f"beginning with a letter and not ending with a hyphen, got {slug!r}."
    )


@pytest.mark.parametrize(
    "region",
    ["us-east-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1", "us-isob-east-1", "eusc-de-east-1"],
)
def test_the_form_of_every_aws_partition_is_accepted(region):
    assert checked_answers.complaints(GOOD | {"aws_region": region}) == {}


@pytest.mark.parametrize(
    "region", ["", "us", "us-east", "us-east-1a", "US-EAST-1", "us east 1", "eu-west-1\n"]
)
def test_a_malformed_region_is_refused(region):
    complaint = checked_answers.complaints(GOOD | {"aws_region": region})["aws_region"]
    assert complaint == f"aws_region must be an AWS region such as eu-west-1, got {region!r}."


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (" ", "a text that is not blank"),
        ("x" * 301, "at most 300 characters"),
        ("two\nlines", "one line without braces or control characters"),
        ("{{ 7 * 7 }}", "one line without braces or control characters"),
        ("{% for x in y %}", "one line without braces or control characters"),
        ("bell\a", "one line without braces or control characters"),
        ("line\u2028separator", "one line without braces or control characters"),
    ],
)
def test_a_description_that_is_not_one_plain_line_is_refused(text, want):
    assert checked_answers.complaints(GOOD | {"description": text}) == {
        "description": f"description must be {want}, got {text!r}."
    }


@settings(deadline=None)
@given(st.fixed_dictionaries({name: st.text(max_size=20) for name in checked_answers.QUESTIONS}))
def test_the_retry_command_survives_the_shell(texts):
    words = shlex.split(checked_answers.retry_command(GOOD | texts, {"project_slug": "is bad"}))
    assert words[:2] == ["cookiecutter", "gh:acme/template"]
    given_again = dict(word.split("=", 1) for word in words[2:])
    assert given_again == {name: texts[name] for name in texts if name != "project_slug"}


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
@example('"""', "\\")
@example("'''", '\\"')
@example('"; import os; os.abort()  # ', '""" + __import__("os").abort() + r"""')
def test_a_hook_reads_every_answer_as_it_was_given(name, description):
    source = (TEMPLATE / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")
    given_answers = GOOD | {"project_name": name, "description": description}
    rendered = StrictEnvironment(context={}).from_string(source).render(cookiecutter=given_answers)
    line = rendered.splitlines()[-1].strip().removeprefix("main(").removesuffix(")")
    assert eval(line, {"json": json}) == given_answers


HOSTILE = (
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# gone #}",
    "{{ [].append(open('ran', 'w')) }}",
    '{{ "{{" }} \\ " \' {% endraw %}',
    "{{cookiecutter.project_slug}}",
    "{{ undefined.name }}",
    "two\nlines",
    'x"\n[tool.evil]\ny = "',
    "nul\0",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "\N{LEFT-TO-RIGHT ISOLATE}x",
    "\ud800",
    "",
    " \t",
    "x" * 100_000,
)


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("{}%#\\\"'x \n", max_size=20), st.sampled_from(TEXT_QUESTIONS))
@example("{{ 7 * 7 }}", "description")
@example("{% x", "aws_region")
@example("{{cookiecutter.project_slug}}", "project_slug")
@example("{{ '{{' }}\\ \" {% endraw %} \U0001f600", "project_name")
def test_an_answer_of_the_command_line_is_taken_as_text(text, question):
    assert prompted({question: text})[question] == text


@settings(deadline=None)
@given(st.text(max_size=60))
@example('"; import os; os.abort()  # \\')
@example("''' \"\"\" \\u0022 \U0001f600 $(touch ran) `touch ran`")
def test_an_accepted_text_is_the_same_in_readme_and_toml(text):
    answers = prompted({"project_name": text, "project_slug": "hostile", "description": text})
    if not checked_answers.complaints(answers):
        title, _, description = rendered("README.md", answers).split("\n")[:3]
        assert (title, description) == (f"# {text}", text)
        assert tomllib.loads(rendered("pyproject.toml", answers))["project"]["description"] == text
        assert tomllib.loads(rendered("settings.toml", answers))["project"]["slug"] == "hostile"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("question", TEXT_QUESTIONS)
@pytest.mark.parametrize("way", ["command line", "config file", "replay"])
def test_a_hostile_answer_is_refused_unrun_and_leaves_nothing(tmp_path, monkeypatch, way, question, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit, match=rf"^{question} must be [^\n]* got "):
        GIVEN[way](tmp_path, {question: text})
    assert list((tmp_path / "out").iterdir()) == [] and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("question", ["ci_provider", "bias_engine"])
def test_a_replayed_choice_that_is_none_is_refused(tmp_path, question):
    with pytest.raises(SystemExit, match=f"^{question} must be one of .*, got 'x; touch ran'"):
        GIVEN["replay"](tmp_path, {question: "x; touch ran"})


@pytest.mark.parametrize("question", checked_answers.QUESTIONS)
def test_an_answer_that_is_not_a_text_is_refused(question):
    complaint = checked_answers.complaints(GOOD | {question: True})[question]
    assert complaint == f"{question} must be a text, got True."


def test_a_refusal_says_what_is_wrong_and_leaves_nothing(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "keep").write_text("me")
    done = cookiecutter(folder, project_name="It's mine", project_slug="No_Slug", aws_region="eu-west-1")
    assert done.returncode != 0
    sentence, command = done.stderr.splitlines()
    assert sentence.startswith("project_slug must be 3 to 24") and sentence.endswith(
        "got 'No_Slug'. Retry with:"
    )
    assert "'project_name=It'\"'\"'s mine'" in command and "aws_region=eu-west-1" in command
    assert [path.name for path in folder.iterdir()] == ["keep"]


def test_the_retry_command_makes_the_project(tmp_path):
    done = cookiecutter(
        tmp_path / "mine", project_name="It's $HOME", project_slug="No_Slug", ci_provider="none"
    )
    program, *arguments = shlex.split(done.stderr.splitlines()[1])
    assert program == "cookiecutter"
    again = run_cookiecutter(tmp_path / "mine", ["--no-input", *arguments])
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "mine" / "it-s-home" / "README.md").read_text().startswith("# It's $HOME\n")


def test_a_folder_elsewhere_is_named_in_the_retry_command(tmp_path):
    arguments = ["--no-input", "--output-dir", str(tmp_path / "else where"), str(TEMPLATE), "project_slug=X"]
    done = run_cookiecutter(tmp_path / "mine", arguments)
    words = shlex.split(done.stderr.splitlines()[1])
    assert words[2:4] == ["--output-dir", str(tmp_path / "else where")]


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 10, 4, "final", 0))
    with pytest.raises(SystemExit, match=r"^cookiecutter must run on Python 3.11 or newer, got 3.10\."):
        checked_answers.refuse_bad(GOOD)


@pytest.mark.parametrize(
    ("running", "pinned"), [((3, 11), "3.11"), ((3, 12), "3.12"), ((3, 14), "3.14"), ((3, 15), "3.14")]
)
def test_the_project_gets_the_running_python_or_the_newest_supported(running, pinned):
    assert post_gen_project.python_version(running) == pinned


def test_the_python_that_generates_is_pinned(tmp_path):
    pinned = (generate(tmp_path / "mine") / ".python-version").read_text()
    assert pinned == f"{sys.version_info.major}.{sys.version_info.minor}\n"


CI_FILES = {
    "github": {".github/workflows/ci.yml", "infra/ci.yaml"},
    "gitlab": {".gitlab-ci.yml", "infra/ci.yaml"},
    "codepipeline": {"infra/codepipeline.yaml"},
    "none": set(),
}


@pytest.mark.parametrize("provider", CI_FILES)
def test_only_the_chosen_providers_files_stay(tmp_path: Path, provider: str):
    for name in {"infra/foundation.yaml", "ml_pipeline/__pycache__/x.pyc"}.union(*CI_FILES.values()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    post_gen_project.prune(tmp_path, GOOD | {"ci_provider": provider})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"infra/foundation.yaml"} | CI_FILES[provider]


def test_every_answer_that_prunes_can_be_given():
    for question, answers, _ in post_gen_project.WANTED_BY_SOME:
        assert {*answers} < {*QUESTIONS[question]}
