"""The Dockerfile, judged without Docker: its instructions are read, and run where they can be."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from generate import generate, uv

IMPORTS_OF_THE_IMAGE = """
import importlib, pathlib, sys
for path in sorted(pathlib.Path("ml_pipeline/steps").glob("*.py")):
    importlib.import_module(f"ml_pipeline.steps.{path.stem}")
importlib.import_module("ml_pipeline.serving")
importlib.import_module("sagemaker.core.remote_function.invoke_function")
"""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, with continued lines joined and comments dropped."""
    lines = [
        line for line in dockerfile.read_text().splitlines() if line.strip() and not line.startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("image") / "in")


def arguments(project: Path, name: str) -> list[str]:
    return [text for instruction, text in instructions(project / "Dockerfile") if instruction == name]


def test_the_base_is_the_slim_python_that_is_asked_for_on_amd64(project):
    assert instructions(project / "Dockerfile")[:3] == [
        ("ARG", "PYTHON_VERSION"),
        ("ARG", "BASE=python:${PYTHON_VERSION}-slim"),
        ("FROM", "--platform=linux/amd64 ${BASE}"),
    ]


def test_every_copied_file_exists_and_reaches_the_build(project):
    ignored = (project / ".dockerignore").read_text().splitlines()
    sources = [source for text in arguments(project, "COPY") for source in text.split()[:-1]]
    assert sources == [".python-version", "requirements.txt", "ml_pipeline"]
    assert all((project / source).exists() and f"!{source}" in ignored for source in sources)
    assert "*" in ignored


def test_nothing_stands_between_sagemaker_and_its_command(project):
    names = {instruction for instruction, _ in instructions(project / "Dockerfile")}
    assert names == {"ARG", "FROM", "WORKDIR", "ENV", "COPY", "RUN"}


def test_packages_come_from_the_hashed_lock_alone(project):
    installs = [text for text in arguments(project, "RUN") if "pip install" in text]
    assert len(installs) == 1 and "--require-hashes --requirement requirements.txt" in installs[0]


@pytest.mark.parametrize(("pinned", "code"), [("running", 0), ("3.9", 1)])
def test_a_base_with_another_python_is_refused(project, tmp_path, pinned, code):
    check = next(text for text in arguments(project, "RUN") if text.startswith("python -c"))
    version = "{}.{}".format(*sys.version_info) if pinned == "running" else pinned
    (tmp_path / ".python-version").write_text(f"{version}\n")
    command = [sys.executable, *shlex.split(check)[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert ("must have Python 3.9 (.python-version)" in done.stderr) == bool(code)


def test_serve_starts_the_command_that_the_local_aws_starts(project, tmp_path):
    command = next(text for text in arguments(project, "RUN") if "serve" in text)
    serve = tmp_path / "serve"
    subprocess.run(["sh", "-c", command.replace("/usr/local/bin/serve", shlex.quote(str(serve)))], check=True)
    images = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["local_aws"]["images"]
    assert serve.read_text() == "#!/bin/sh\nexec {}\n".format(*images.values())
    assert os.access(serve, os.X_OK)


def test_steps_and_serving_import_with_the_packages_of_the_image_alone(project, tmp_path):
    python = tmp_path / "image" / "bin" / "python"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, tmp_path / "image"], check=True)
    lock = ["--require-hashes", "--requirement", project / "requirements.txt"]
    subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, *lock], check=True)
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [python, "-c", IMPORTS_OF_THE_IMAGE], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
