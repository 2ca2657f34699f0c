"""Deletes what the answers did not ask for, pins the Python version and says what to type next."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

NEWEST_PYTHON = (3, 14)
# Files and folders that only some answers want: (question, answers, path).
WANTED_BY_SOME = (
    ("ci_provider", ("github",), ".github"),
    ("ci_provider", ("gitlab",), ".gitlab-ci.yml"),
    ("ci_provider", ("github", "gitlab"), "infra/ci.yaml"),
    ("ci_provider", ("codepipeline",), "infra/codepipeline.yaml"),
)
# What tools leave behind in a working copy of the template, and cookiecutter copies along.
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis")


def prune(project: Path, answers: dict[str, str]) -> None:
    """Deletes the files of answers that were not given, and caches."""
    for question, wanting, path in WANTED_BY_SOME:
        if answers[question] not in wanting:
            _delete(project / path)
    for cache in CACHES:
        for folder in list(project.rglob(cache)):
            _delete(folder)


def python_version(running: tuple[int, int]) -> str:
    """Minor version that laptop, CI and image will share: the running one, or the newest supported."""
    return "{}.{}".format(*min(running, NEWEST_PYTHON))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def main(answers: dict[str, str]) -> None:
    project = Path.cwd()
    prune(project, answers)
    version = python_version(sys.version_info[:2])
    (project / ".python-version").write_text(f"{version}\n", encoding="utf-8")
    if "_output_dir" in answers:  # cruft gives none: it may be making a folder to compare with
        say_what_is_next(project, version)


def say_what_is_next(project: Path, version: str) -> None:
    print(f"Made {project} for Python {version}. Next:")
    print(f"  cd {shlex.quote(str(project))}")
    print("  make run     # the whole pipeline, on this machine")
    print("  make test    # the project's own tests")


if __name__ == "__main__":
    main(json.loads(r"""{{ cookiecutter | tojson }}"""))
