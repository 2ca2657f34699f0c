"""The folders in `runs/`: which there are, and which one a name means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ml_pipeline import parameters
from ml_pipeline.errors import InputError

RUNS = Path("runs")
SHOWN = 5  # newest runs that a message lists


def check_writable() -> None:
    """Raises InputError if a run could not leave its results."""
    RUNS.mkdir(exist_ok=True)
    if not os.access(RUNS, os.W_OK | os.X_OK):
        raise InputError(f"{RUNS}/ cannot be written to: chown -R $USER {RUNS}")


def read(run: Path, name: str) -> Any:
    """Content of a JSON file of the run; None when the run has not got that far."""
    path = run / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def newest_first() -> list[Path]:
    """Folders of all complete runs."""
    found = [path.parent for path in RUNS.glob("*/execution.json") if not path.parent.is_symlink()]
    return sorted(found, key=lambda run: read(run, "execution.json")["started"], reverse=True)


def pipeline_of(run: Path) -> str:
    """train or score."""
    return parameters.pipeline_of(read(run, "execution.json")["arn"])


def find_training(name: str) -> Path:
    """Folder of a training run; `latest` is the newest of these. Raises InputError for a scoring run."""
    run = find(name)
    if pipeline_of(run) == "score" and name == "latest":
        run = next((each for each in newest_first() if pipeline_of(each) == "train"), run)
    if pipeline_of(run) == "score":
        raise InputError(
            f"run {run.name} is a scoring run, and a training run is needed: name one that "
            f"`python -m ml_pipeline runs` lists (what was scored and measured: {RUNS / run.name}/)"
        )
    return run


def find(name: str) -> Path:
    """Folder of the run that is named by its id, the beginning of it, `latest` or a path.

    Raises InputError unless it is exactly one.
    """
    given = Path(name)
    if name and (given / "execution.json").exists():
        return given.resolve()
    if name == "latest" and (RUNS / name).exists():
        return RUNS / (RUNS / name).resolve().name
    fitting = [run for run in newest_first() if name and run.name.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    newest = [run.name for run in fitting or newest_first()]
    listed = ", ".join(newest[:SHOWN]) + (" ..." if len(newest) > SHOWN else "")
    if not newest:
        raise InputError(
            f"no run {name!r}: {RUNS}/ holds none yet; make one with `python -m ml_pipeline run`"
        )
    raise InputError(
        f"run {name!r} fits {'more than one' if fitting else 'none'}; the newest are: {listed} "
        "(or latest, or a path)"
    )
