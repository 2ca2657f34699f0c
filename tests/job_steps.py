"""Functions that tests ship as steps: this file becomes the package `ml_pipeline` of a project of its own."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 20
ROUND_SECONDS = 0.08
KEPT = 2


def tells() -> dict:
    """Where and in what the step runs."""
    print("a line\twith a tab")
    return {
        "file": __file__,
        "folder": os.getcwd(),
        "path": sys.path,
        "environment": dict(os.environ),
        "checkout": [name for name in ("local_aws", "ml_pipeline.settings") if _found(name)],
    }


def asks_who_it_is() -> dict:
    import boto3

    return {"arn": boto3.client("sts").get_caller_identity()["Arn"]}


def raises() -> dict:
    raise ValueError("the column salary is absent")


def leaves() -> dict:
    os._exit(0)


def exits() -> dict:
    try:
        raise ValueError("the column salary is absent")
    except ValueError:
        sys.exit(3)


def is_killed() -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def counts(checkpoints: os.PathLike) -> dict:
    """Goes on after the newest checkpoint, keeps two, and says where it began."""
    folder = Path(checkpoints)
    began = max((int(path.name) for path in folder.iterdir()), default=0)
    for number in range(began + 1, ROUNDS + 1):
        time.sleep(ROUND_SECONDS)
        (folder / str(number)).write_text(str(number))
        (folder / str(number - KEPT)).unlink(missing_ok=True)
        print(f"[{number}] loss:{1 / number}")
    return {"began": began}


def waits() -> dict:
    """Never ends by itself, ignores SIGTERM, and has a child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(os.environ["SM_MODEL_DIR"], "partial").write_text("half a model")
    child = subprocess.Popen(["sleep", "600"])
    print(f"pids {os.getpid()} {child.pid}", flush=True)
    time.sleep(600)
    return {}


def leaves_a_child() -> dict:
    return {"pid": subprocess.Popen(["sleep", "600"]).pid}


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
