"""The generated Makefile: the environment it makes, from what a machine has, and the commands it types."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from generate import TEMPLATE, generate, uv

SYSTEM = ("make", "sh", "cat", "rm", "touch", "sed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that locks one small package, so that an install takes a second."""
    project = generate(tmp_path / "in")
    lock = (project / "requirements-dev.txt").read_text()
    (project / "requirements-dev.txt").write_text(entry(lock, "iniconfig"))
    return project


def entry(lock: str, package: str) -> str:
    return re.search(rf"^{package}==.*\n(?: .*\n)*", lock, re.M)[0]


def path_with(folder: Path, *programs: Path) -> str:
    """A PATH on which only make's own tools and the given programs are found."""
    folder.mkdir()
    for program in [*map(Path, map(shutil.which, SYSTEM)), *programs]:
        (folder / program.name).symlink_to(program)
    return str(folder)


def make(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=kept | environment, capture_output=True, text=True
    )


def running_python(folder: Path) -> Path:
    """`python3` of this test's version, as a shell would find it; not the one of a virtual environment."""
    link = folder / "python3"
    link.symlink_to(sys._base_executable)
    return link


def packages(project: Path) -> set[str]:
    listed = [
        project / ".venv/bin/python",
        "-c",
        "import importlib.metadata as m; print(*(d.name for d in m.distributions()))",
    ]
    return set(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split())


def test_uv_makes_the_environment_and_leaves_the_active_one_alone(project, tmp_path):
    active = tmp_path / "active"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, active], check=True)
    before = sorted(active.rglob("*"))
    path = os.pathsep.join([str(active / "bin"), str(uv().parent), os.environ["PATH"]])
    others = {"VIRTUAL_ENV": str(active), "CONDA_PREFIX": str(active), "UV_SYSTEM_PYTHON": "1"}
    done = make(project, "setup", PATH=path, **others)
    assert done.returncode == 0, done.stderr
    assert packages(project) == {"iniconfig"}
    assert sorted(active.rglob("*")) == before


def test_without_uv_pip_fetches_it_into_the_project(project, tmp_path):
    path = path_with(tmp_path / "bin", running_python(tmp_path))
    done = make(project, "setup", PATH=path, PIP_USER="1")
    assert done.returncode == 0, done.stderr
    assert packages(project) >= {"iniconfig", "uv"}


def test_a_missing_python_is_named_with_the_remedy(project, tmp_path):
    (project / ".python-version").write_text("3.1\n")
    done = make(project, "setup", PATH=path_with(tmp_path / "bin", running_python(tmp_path)))
    assert done.stderr.splitlines()[0] == (
        "Python 3.1 (.python-version) is not on PATH: install it, or install uv, which fetches it, "
        "or write the Python you have (3.11 to 3.14) to .python-version"
    )
    assert done.returncode == 2 and not (project / ".venv").exists()


def test_a_changed_lock_is_installed_by_the_next_target(project, tmp_path):
    path = os.pathsep.join([str(uv().parent), os.environ["PATH"]])
    assert make(project, "setup", PATH=path).returncode == 0
    assert "Nothing to be done" in make(project, "setup", PATH=path).stdout
    lock = project / "requirements-dev.txt"
    whole = (TEMPLATE / "{{cookiecutter.project_slug}}" / lock.name).read_text()
    lock.write_text(entry(whole, "six"))
    later = (project / ".venv/ready").stat().st_mtime + 1
    os.utime(lock, (later, later))
    assert make(project, "setup", PATH=path).returncode == 0
    assert packages(project) == {"six"}


def test_native_windows_is_refused_in_one_sentence(project):
    done = make(project, "run", OS="Windows_NT")
    assert "Native Windows is not supported: run make in WSL2" in done.stderr
    assert done.returncode == 2 and not (project / ".venv").exists()


def test_every_command_of_the_makefile_is_one_of_the_command_line(project):
    commands = re.findall(r"-m ml_pipeline (\w+)", (project / "Makefile").read_text())
    assert set(commands) == {"run", "serve", "doctor", "definition"}
    for command in commands:
        asked = [sys.executable, "-m", "ml_pipeline", command, "--help"]
        assert subprocess.run(asked, cwd=project, capture_output=True).returncode == 0


def test_clean_forgets_the_local_aws_and_keeps_the_runs(project):
    for name in (".local_aws/records.json", "runs/1/metrics.json"):
        (project / name).parent.mkdir(parents=True)
        (project / name).touch()
    assert make(project, "clean").returncode == 0
    assert not (project / ".local_aws").exists() and (project / "runs/1/metrics.json").exists()
