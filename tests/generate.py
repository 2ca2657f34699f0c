"""Projects made by the real cookiecutter, as a user makes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parent.parent


def cookiecutter(folder: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    """Outcome of `cookiecutter --no-input TEMPLATE name=value ...` in `folder`."""
    return run_cookiecutter(folder, ["--no-input", str(TEMPLATE), *(f"{k}={v}" for k, v in answers.items())])


def run_cookiecutter(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Outcome of `cookiecutter` in `folder`, which is made if need be, with a home of its own beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    home = folder.with_name(f"{folder.name}-home")
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", *arguments],
        cwd=folder,
        env=os.environ | {"HOME": str(home), "PWD": str(folder)},
        capture_output=True,
        text=True,
    )


def generate(folder: Path, **answers: str) -> Path:
    """The project that cookiecutter made in `folder`, which must be new or empty."""
    done = cookiecutter(folder, **answers)
    assert done.returncode == 0, done.stderr
    (project,) = folder.iterdir()
    return project


def uv() -> Path:
    """The uv that the Makefile uses: the user's, or the one in the environment that runs the tests."""
    found = shutil.which("uv", path=os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)]))
    assert found, "uv is needed by this test: python -m pip install uv"
    return Path(found)
