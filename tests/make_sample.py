"""Makes data/sample.csv of the generated project: `python tests/make_sample.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}"
PATH = PROJECT / "data" / "sample.csv"
ROWS = 4000
SEED = 20240229


def applicants() -> ModuleType:
    """The project's own module, which is in no package."""
    spec = importlib.util.spec_from_file_location("applicants", PROJECT / "demos" / "applicants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["applicants"] = module
    spec.loader.exec_module(module)
    return module


def sample_csv() -> str:
    """CSV with a header and ROWS applicants, their label in column `approved`."""
    made = applicants()
    return made.as_csv(made.applicants(ROWS, SEED))


if __name__ == "__main__":
    PATH.write_text(sample_csv(), encoding="utf-8", newline="")
