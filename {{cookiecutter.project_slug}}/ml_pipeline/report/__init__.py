"""The report of a run: one self-contained HTML page, made from the files of its folder."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from ml_pipeline.local import STATE


def write(folder: Path) -> Path:
    """Place of the run's report.html, made anew."""
    return load().write(folder)


def compare(first: Path, second: Path) -> Path:
    """Place of the page that holds the second run against the first. InputError if they do not compare."""
    return load().compare(first, second)


def load() -> ModuleType:
    """The module that makes the pages; its matplotlib takes a second to import, and keeps a list of fonts."""
    os.environ.setdefault("MPLCONFIGDIR", str(STATE / "matplotlib"))
    from ml_pipeline.report import pages

    return pages
