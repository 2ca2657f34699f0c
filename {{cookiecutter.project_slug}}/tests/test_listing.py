"""What the folders in runs/ tell without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_pipeline import listing


@pytest.fixture
def run(tmp_path: Path):
    def write(name: str, **files: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in {"execution": {"status": "Succeeded"}, **files}.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
        return folder

    return write


def measured(auc: float | None) -> dict[str, Any]:
    return {"test": {"auc": {"value": auc, "low": 0.7, "high": 0.9, "trivial": 0.5}}}


def test_metrics_stand_beside_those_of_the_other_run_with_the_change(run):
    lines = listing.metrics(run("b", metrics=measured(0.85)), run("a", metrics=measured(0.8))).splitlines()
    assert lines[0] == "### Run b: Succeeded"
    assert lines[-3:] == [
        "| metric (test) | value | interval | before | change |",
        "| --- | --- | --- | --- | --- |",
        "| auc | 0.8500 | 0.7000 to 0.9000 | 0.8000 | +0.0500 |",
    ]


def test_a_run_alone_has_no_columns_of_another(run):
    assert listing.metrics(run("b", metrics=measured(None)), None).splitlines()[-1] == (
        "| auc | undefined | 0.7000 to 0.9000 |"
    )


def test_another_folder_without_a_run_is_told(run, tmp_path):
    told = listing.metrics(run("b", metrics=measured(0.85)), tmp_path / "absent")
    assert "Nothing to compare with" in told and "| auc | 0.8500 | 0.7000 to 0.9000 |" in told


def test_a_run_that_ended_early_and_missed_bounds_are_told(run):
    assert "ended before Evaluate" in listing.metrics(run("b"), None)
    missed = {"missed": [{"why": "auc 0.4 is below 0.5"}]}
    assert "- auc 0.4 is below 0.5" in listing.metrics(run("c", metrics=measured(0.4), verdict=missed), None)
