"""A project image run as `serve`: the command that its Dockerfile would start."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path


def main(root: Path, record: dict) -> None:
    """Runs `command` of the record in its `folder` until it ends, and exits as it does."""
    python, *arguments = record["command"]
    if python == sys.executable and arguments[:1] == ["-m"]:
        _run_module(arguments[1:], record["folder"])
    else:
        _run(record["command"], record["folder"])


def _run_module(arguments: list[str], folder: str) -> None:
    """`python -m` in this process, which has loaded already what takes a new one half a second."""
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv[1:] = arguments[1:]
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _run(command: list[str], folder: str) -> None:
    """SIGTERM reaches the command too, with the whole group: this process stays until it has ended."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    code = subprocess.call(command, cwd=folder)
    sys.exit(code if code >= 0 else 128 - code)
