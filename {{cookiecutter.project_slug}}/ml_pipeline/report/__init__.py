"""The report of a run: one self-contained HTML page, made from the files of its folder."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from ml_pipeline.errors import InputError
from ml_pipeline.local import STATE


def write(folder: Path) -> Path:
    """Place of the run's report.html, made anew: of a scoring run what has drifted, else what came of it."""
    if not is_scoring(folder):
        return load().write(folder)
    from ml_pipeline.report import drift

    return drift.write(folder)


def compare(first: Path, second: Path) -> Path:
    """Place of the page that holds the second run against the first. InputError if they do not compare."""
    for run in (first, second):
        if is_scoring(run):
            raise InputError(f"{run.name} is a scoring run, and only runs that train are compared")
    return load().compare(first, second)


def is_scoring(folder: Path) -> bool:
    """Whether the run has scored a period and measured it."""
    return any(folder.glob("monitor/**/drift.json"))


def load() -> ModuleType:
    """The module that makes the pages; its matplotlib takes a second to import, and keeps a list of fonts."""
    os.environ.setdefault("MPLCONFIGDIR", str(STATE / "matplotlib"))
    from ml_pipeline.report import pages

    return pages
