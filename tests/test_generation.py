"""What is generated from the answers: which files, with what in them, and that they hold together."""

from __future__ import annotations

import ast
import csv
import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import templates
from generate import TEMPLATE, generate

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
CI_PROVIDERS = ("github", "gitlab", "codepipeline", "none")
BIAS_ENGINES = ("in_step", "clarify")
JINJA = re.compile(r"\{\{-?\s*cookiecutter|\{%|\{#")

# Every file of a generated project, whatever the answers.
FILES = (TEMPLATE / "tests" / "generated_files.txt").read_text(encoding="utf-8").split()
# Files that only one answer brings.
FILES_OF = {
    "github": (
        *(f".github/workflows/{name}.yml" for name in ("pull-request", "deploy", "newest-sdk")),
        "infra/ci.yaml",
    ),
    "gitlab": (".gitlab-ci.yml", "infra/ci.yaml"),
    "codepipeline": ("infra/codepipeline.yaml",),
    "none": (),
    "in_step": (),
    "clarify": (),
}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that six times Enter makes. Read only."""
    return generate(tmp_path_factory.mktemp("default") / "in")


@pytest.mark.parametrize(("ci_provider", "bias_engine"), list(itertools.product(CI_PROVIDERS, BIAS_ENGINES)))
def test_each_combination_of_choices_has_exactly_its_files(tmp_path, ci_provider, bias_engine):
    project = generate(tmp_path / "in", ci_provider=ci_provider, bias_engine=bias_engine)
    made = {path.relative_to(project).as_posix() for path in files(project)}
    assert made == {*FILES, *FILES_OF[ci_provider], *FILES_OF[bias_engine]}
    assert tomllib.loads((project / "settings.toml").read_text())["bias"]["engine"] == bias_engine


def test_nothing_is_left_unrendered(default):
    assert [path for path in files(default) if JINJA.search(path.read_text(encoding="utf-8"))] == []


def test_python_and_yaml_of_the_template_hold_no_jinja():
    sources = [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".yaml", ".yml")]
    assert len(sources) > 20
    assert [path for path in sources if JINJA.search(path.read_text(encoding="utf-8"))] == []


def test_python_arrives_byte_for_byte(default):
    for path in default.rglob("*.py"):
        assert path.read_bytes() == (SOURCE / path.relative_to(default)).read_bytes()


@pytest.mark.parametrize("rendered", [True, False])
def test_toml_yaml_and_json_parse(default, rendered):
    yamls = {".yaml": templates.parsed, ".yml": yaml.safe_load}
    parsers = {".toml": tomllib.loads, ".json": json.loads, **yamls}
    found = [path for path in files(default) if path.suffix in parsers]
    assert {path.name for path in found} >= {"settings.toml", "pyproject.toml"}
    for path in found:
        wanted = path if rendered else SOURCE / path.relative_to(default)
        assert parsers[path.suffix](wanted.read_text(encoding="utf-8"))


def test_the_answers_reach_settings_and_image_names(tmp_path):
    project = generate(
        tmp_path / "in", project_name="Churn 2", aws_region="eu-central-1", bias_engine="clarify"
    )
    settings = tomllib.loads((project / "settings.toml").read_text())
    assert settings["project"] == {"slug": "churn-2", "region": "eu-central-1"}
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    assert pyproject["project"]["name"] == "churn-2"
    assert list(pyproject["tool"]["local_aws"]["images"]) == ["*/churn-2-*:*"]


@pytest.mark.parametrize(
    "text",
    [
        'say "x"',
        "it's \\ back\\\\slash\\",
        '"; import os; os.abort(); "',
        "$(touch ran) `touch ran` $HOME",
        '"""',
        "'''",
        "<b>&amp;</b> | # % = ü 日本 😀 \u00a0",
    ],
)
def test_a_hostile_text_arrives_intact(tmp_path, text):
    project = generate(tmp_path / "in", project_name=text, project_slug="hostile", description=text)
    assert (project / "README.md").read_text(encoding="utf-8").splitlines()[:3] == [f"# {text}", "", text]
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["description"] == text
    assert not list(tmp_path.rglob("ran"))


def test_the_sample_has_the_columns_that_the_settings_name(default):
    with (default / "data" / "sample.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    data = tomllib.loads((default / "settings.toml").read_text())["data"]
    assert {data["target"], data["group"], *data["facets"], *data["ids"]} <= set(header)


def test_every_file_that_the_readme_names_is_there(default):
    tree = (
        (default / "README.md").read_text(encoding="utf-8").partition("## What is where")[2].split("```")[1]
    )
    folder, named = default, []
    for line in tree.splitlines()[1:]:
        name, indent = line.split()[0], len(line) - len(line.lstrip())
        folder = folder if indent else default
        named.append(folder / name)
        folder = default / name if name.endswith("/") and not indent else folder
    assert len(named) > 10 and [path for path in named if not path.exists()] == []


def test_product_and_local_aws_know_nothing_of_each_other(default):
    for package, other in (("ml_pipeline", "local_aws"), ("local_aws", "ml_pipeline")):
        trees = {path: ast.parse(path.read_text("utf-8")) for path in (default / package).rglob("*.py")}
        imported = {
            (path, name.partition(".")[0])
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
        }
        assert len(trees) > 20 and [path for path, name in imported if name == other] == []


def test_the_local_aws_says_that_it_is_the_templates_and_is_out_of_coverage_and_lint(default):
    words = ast.get_docstring(ast.parse((default / "local_aws/__init__.py").read_text("utf-8")))
    assert "These files are the template's: `cruft update` replaces them" in words
    tool = tomllib.loads((default / "pyproject.toml").read_text())["tool"]
    assert tool["coverage"]["run"]["source"] == ["ml_pipeline"]
    assert "local_aws" in tool["ruff"]["extend-exclude"]


@pytest.mark.parametrize("command", [["check", "."], ["format", "--check", "."]])
def test_the_generated_project_is_clean_under_its_own_ruff(default, command):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache"], cwd=default, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout


def test_the_generated_projects_own_tests_pass(tmp_path):
    project = generate(tmp_path / "in")
    report = tmp_path / "report.xml"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    assert int(re.search(r'tests="(\d+)"', report.read_text())[1]) > 50
    assert 'skipped="0"' in report.read_text()


def test_the_locks_are_exact_hashed_and_name_no_index(default):
    for lock in (
        default / "requirements.txt",
        default / "requirements-dev.txt",
        TEMPLATE / "requirements.txt",
    ):
        text = lock.read_text()
        entries = re.split(r"\n(?=[a-z])", text.partition("make lock\n")[2])
        assert entries and all(re.match(r"\S+==\S+ .*--hash=sha256:", entry, re.S) for entry in entries)
        assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_image_and_laptop_hold_the_same_versions(default):
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^[a-z][\w.-]*==[^ ;]+", (default / name).read_text(), re.M))

    assert len(versions("requirements.txt")) > 30
    assert versions("requirements.txt") < versions("requirements-dev.txt")
