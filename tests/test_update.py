"""A project follows its template: cruft brings later versions, and leaves alone what its owner wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from generate import TEMPLATE, generate

SLUG = "{{cookiecutter.project_slug}}"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__", ".hypothesis", ".python-version")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass
class Desk:
    """Where somebody works: `template` is a git repository, `project` was made of it."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / "template"

    @property
    def project(self) -> Path:
        return self.folder / "churn"

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        home = {"HOME": str(self.folder / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
        environment = os.environ | dict.fromkeys(names, "tester") | home
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    def commit(self, folder: Path, message: str) -> None:
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", message]):
            done = self.run(folder, "git", *command)
            assert done.returncode == 0, done.stderr

    def cruft(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(folder, sys.executable, "-m", "cruft", *arguments)

    def status(self) -> dict[str, str]:
        """What git says of each changed file of the project."""
        lines = self.run(self.project, "git", "status", "--porcelain").stdout.splitlines()
        return {line[3:]: line[:2].strip() for line in lines}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A project that cruft made of this template, committed, and then edited by its owner."""
    made = Desk(tmp_path)
    (tmp_path / "home").mkdir()
    shutil.copytree(TEMPLATE, made.template, ignore=LEFT_OUT)
    made.commit(made.template, "First version")
    answers = {"project_name": "Churn", "description": 'Who "leaves" \\ ü 😀', "ci_provider": "none"}
    done = made.cruft(
        tmp_path, "create", "--no-input", "--extra-context", json.dumps(answers), str(made.template)
    )
    assert done.returncode == 0, done.stderr
    made.commit(made.project, "As generated")
    replace(made.project / "settings.toml", 'target = "approved" ', 'target = "left"     ')
    replace(made.project / "settings.toml", "trials = 4 ", "trials = 12")
    replace(made.project / "README.md", "## Run it\n", "## How we run it\n")
    made.commit(made.project, "Ours")
    return made


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


LATER = "# A later line.\n"


def change(template: Path) -> None:
    """A later version of product, local AWS, settings, a question and a hook; one file comes, one goes."""
    source = template / SLUG
    add(source / "ml_pipeline" / "names.py", LATER)
    add(source / "local_aws" / "state.py", LATER)
    (source / "ml_pipeline" / "later.py").write_text('BRACES = "{{ kept }}"\n')
    (source / "local_aws" / "faults.py").unlink()
    # One line after the owner's `trials`, and three after the owner's `target`.
    replace(source / "settings.toml", "# Bayesian or Random\n", "# Bayesian, Random or later\n")
    replace(source / "settings.toml", "facet_values = {} ", "later = 1\nfacet_values = {} ")
    add(template / "hooks" / "post_gen_project.py", LATER)
    replace(template / "cookiecutter.json", "a training pipeline on", "a later pipeline on")


def test_an_update_brings_the_template_and_keeps_the_owners_lines(desk: Desk):
    assert desk.cruft(desk.project, "check").returncode == 0
    change(desk.template)
    desk.commit(desk.template, "Later version")
    assert desk.cruft(desk.project, "check").returncode == 1

    done = desk.cruft(desk.project, "update", "--skip-apply-ask")
    assert done.returncode == 0, done.stderr
    assert desk.status() == {
        ".cruft.json": "M",
        "local_aws/faults.py": "D",
        "local_aws/state.py": "M",
        "ml_pipeline/later.py": "A",
        "ml_pipeline/names.py": "M",
        "settings.toml": "M",
    }
    assert (desk.project / "ml_pipeline" / "later.py").read_text() == 'BRACES = "{{ kept }}"\n'
    assert (desk.project / "local_aws" / "state.py").read_text().endswith(LATER)
    text = (desk.project / "settings.toml").read_text(encoding="utf-8")
    data, tune = tomllib.loads(text)["data"], tomllib.loads(text)["tune"]
    assert (data["target"], tune["trials"], data["later"]) == ("left", 12, 1)
    assert "# Bayesian, Random or later\n" in text
    assert "## How we run it\n" in (desk.project / "README.md").read_text(encoding="utf-8")
    assert desk.cruft(desk.project, "check").returncode == 0


def test_the_difference_from_the_template_is_what_the_owner_wrote(desk: Desk):
    lines = desk.cruft(desk.project, "diff").stdout.splitlines()
    assert lines[0].startswith("diff ")  # nothing but the difference: it can be piped on
    assert [line for line in lines if line.startswith("diff ")] == [
        f"diff --git upstream-template-old/{name} upstream-template-new/{name}"
        for name in ("README.md", "settings.toml")
    ]
    assert [line for line in lines if line.startswith("-") and "## " in line] == ["-## How we run it"]


def test_the_python_of_a_project_stays_whoever_updates_it(desk: Desk):
    (desk.project / ".python-version").write_text("3.99\n")
    desk.commit(desk.project, "Our Python")
    replace(
        desk.template / "hooks" / "post_gen_project.py", "NEWEST_PYTHON = (3, 14)", "NEWEST_PYTHON = (3, 1)"
    )
    change(desk.template)
    desk.commit(desk.template, "Another Python")
    done = desk.cruft(desk.project, "update", "--skip-apply-ask")
    assert "has been updated" in done.stdout, done.stderr
    assert (desk.project / ".python-version").read_text() == "3.99\n"
    assert "diff --git upstream-template-old/.python-version" not in desk.cruft(desk.project, "diff").stdout


def test_a_project_of_plain_cookiecutter_can_be_linked(desk: Desk, tmp_path: Path):
    answers = {"project_name": "Plain", "ci_provider": "gitlab", "aws_region": "eu-west-1"}
    project = generate(tmp_path / "in", **answers)
    desk.commit(project, "As generated")
    linked = desk.cruft(
        project, "link", "--no-input", "--extra-context", json.dumps(answers), str(desk.template)
    )
    assert linked.returncode == 0, linked.stderr
    assert desk.cruft(project, "diff", "--exit-code").returncode == 0
    desk.commit(project, "Linked")
    change(desk.template)
    desk.commit(desk.template, "Later version")
    assert desk.cruft(project, "update", "--skip-apply-ask").returncode == 0
    assert (project / "ml_pipeline" / "later.py").exists() and not (
        project / "local_aws" / "faults.py"
    ).exists()
