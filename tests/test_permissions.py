"""Commands of a generated project on files and folders that may not be read or written."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DROP_FROM_BOUNDING_SET, OVERRIDE_ACCESS, OVERRIDE_READING = 24, 1, 2  # linux/prctl.h, linux/capability.h
LIBC = ctypes.CDLL(None)
ADOPT = ("adopt", "mine.csv", "--target", "approved")


@pytest.fixture
def folder(project: Path) -> Path:
    shutil.copy(project / "data/sample.csv", project / "mine.csv")
    return project


def without_privileges() -> None:
    """Makes permissions hold for root, too, in what is executed next."""
    if os.geteuid() == 0:
        for capability in (OVERRIDE_ACCESS, OVERRIDE_READING):
            LIBC.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


def refused(folder: Path, arguments: tuple[str, ...], path: Path, mode: int) -> str:
    """What the command says of the path with these permissions; the folder is as before."""
    before = sorted(folder.rglob("*"))
    path.chmod(mode)
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "ml_pipeline", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            preexec_fn=without_privileges,
        )
    finally:
        path.chmod(0o755)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert sorted(folder.rglob("*")) == before
    return done.stderr


@pytest.mark.parametrize("arguments", [ADOPT, ("run", "--data", "mine.csv")])
def test_a_file_that_may_not_be_read_is_named(folder, arguments):
    assert "mine.csv: Permission denied; give yourself access" in refused(
        folder, arguments, folder / "mine.csv", 0
    )


@pytest.mark.parametrize("arguments", [ADOPT, ("run",)])
def test_settings_that_may_not_be_read_are_named(folder, arguments):
    assert "settings.toml: Permission denied;" in refused(folder, arguments, folder / "settings.toml", 0)


@pytest.mark.parametrize("arguments", [ADOPT, ("run",)])
def test_a_folder_that_may_not_be_written_is_named_before_anything_starts(folder, arguments):
    assert "Permission denied; give yourself access" in refused(folder, arguments, folder, 0o555)


def test_runs_that_may_not_be_written_are_named_before_anything_starts(folder):
    (folder / "runs").mkdir()
    assert "runs/ cannot be written to: chown" in refused(folder, ("run",), folder / "runs", 0o555)
