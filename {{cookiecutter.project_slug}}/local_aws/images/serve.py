"""A project image run as `serve`: the command that its Dockerfile would start."""

import signal
import subprocess
import sys
from pathlib import Path


def main(root: Path, record: dict) -> None:
    """Runs `command` of the record in its `folder` until it ends, and exits as it does.

    SIGTERM reaches the command too, with the whole group: this process stays until the command has ended.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)
    code = subprocess.call(record["command"], cwd=record["folder"])
    sys.exit(code if code >= 0 else 128 - code)
