"""Labelled rows as counts: what is measured of them is what the rows themselves give, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from ml_pipeline import bias_metrics, metrics, model_quality
from ml_pipeline.bias_metrics import STAGES, Sample
from ml_pipeline.metrics import Predictions
from ml_pipeline.monitoring import counted
from ml_pipeline.monitoring.counted import Classified, Outcomes, Regressed

BLOCK_ROWS = 50_000


def binary(rows: int, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    label = (generator.random(rows) < 0.1) * 1.0
    score = 1 / (1 + np.exp(3 - 2 * label - 1.5 * generator.standard_normal(rows)))
    return Predictions(label, score, (score > 0.3).astype(np.int64))


def regression(rows: int) -> Predictions:
    generator = np.random.default_rng(2)
    label = 1e6 + generator.standard_normal(rows)
    found = label + 0.3 * generator.standard_normal(rows)
    return Predictions(label, found, found)


def multiclass(rows: int) -> Predictions:
    generator = np.random.default_rng(3)
    label, drawn = generator.integers(0, 3, rows), generator.integers(0, 3, rows)
    return Predictions(label * 1.0, np.zeros(rows), np.where(generator.random(rows) < 0.6, label, drawn))


def added(tally: Classified | Regressed, found: Predictions) -> Predictions:
    for start in range(0, len(found.label), BLOCK_ROWS):
        tally.add(found.at(np.arange(start, min(start + BLOCK_ROWS, len(found.label)))))
    return tally.predictions()


def statistics(problem: str, found: Predictions, classes: tuple[str, ...]) -> dict:
    (section,) = (
        entries
        for name, entries in model_quality.statistics(problem, found, found, classes, 100, 7).items()
        if name.endswith("_metrics")
    )
    return section


def test_few_rows_stay_what_they_are() -> None:
    found = binary(counted.HELD_ROWS)
    held = added(Classified(2), found)
    assert held.counts is None and np.array_equal(held.score, found.score)


def test_binary_metrics_of_counts_are_those_of_the_rows() -> None:
    found = binary(400_000)
    held = added(Classified(2), found)
    assert len(held.label) < 200_000 and held.rows == 400_000
    theirs, ours = (metrics.measure("binary", each)(each.weights) for each in (found, held))
    errors = {name: abs(ours[name] - value) for name, value in theirs.items()}
    of_classes = [errors.pop(name) for name in ("accuracy", "precision", "recall", "f1")]
    assert max(of_classes) < 1e-15
    assert errors["auc"] < 2e-7 and errors["pr_auc"] < 2e-5
    assert errors["logloss"] < 1e-8 and errors["brier"] < 1e-8


@pytest.mark.parametrize(
    ("problem", "tally", "found", "classes"),
    [
        ("binary", Classified(2), binary(400_000), ("no", "yes")),
        ("multiclass", Classified(3), multiclass(400_000), ("a", "b", "c")),
        ("regression", Regressed((7,)), regression(400_000), ()),
    ],
)
def test_statistics_of_counts_are_those_of_the_rows(
    problem: str, tally: Classified | Regressed, found: Predictions, classes: tuple[str, ...]
) -> None:
    theirs, ours = (statistics(problem, each, classes) for each in (found, added(tally, found)))
    assert ours.keys() == theirs.keys() and ours.get("confusion_matrix") == theirs.get("confusion_matrix")
    for name in ours.keys() - {"confusion_matrix"}:
        value = tally.exact.get(name, ours[name]["value"])
        assert value == pytest.approx(
            theirs[name]["value"], rel=5e-5 if name.startswith("au_prc") else 1e-6
        ), name
        if theirs[name]["standard_deviation"] != "NaN":
            spread = pytest.approx(theirs[name]["standard_deviation"], rel=0.4)
            assert ours[name]["standard_deviation"] == spread, name


@pytest.mark.parametrize(("problem", "make"), [("binary", binary), ("regression", regression)])
def test_more_rows_take_no_more_memory(problem: str, make: Callable[[int], Predictions]) -> None:
    peaks = []
    for rows in (400_000, 1_600_000):
        found = make(rows)
        tally = Classified(2) if problem == "binary" else Regressed((7,))
        tracemalloc.start()
        added(tally, found)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < 40 * 2**20


@pytest.mark.parametrize("is_conditional", [True, False])
def test_bias_metrics_of_counts_are_those_of_the_rows(is_conditional: bool) -> None:
    generator = np.random.default_rng(5)
    label, predicted, member = (generator.random((3, 5000)) < [[0.3], [0.4], [0.2]]).astype(bool)
    within, outcomes = generator.integers(0, 7, 5000), Outcomes()
    for rows in np.array_split(np.argsort(within, kind="stable"), 3):  # later blocks bring new groups
        outcomes.add(member[rows], label[rows], predicted[rows], within[rows])
    sample = outcomes.sample(is_conditional)
    whole = Sample(label, predicted, member, within if is_conditional else None, np.empty((5000, 0)))
    assert len(sample.label) <= 56
    for table in STAGES.values():
        for name in table.keys() - {"FT"}:
            ours, theirs = (bias_metrics.entry(name, table[name], each) for each in (sample, whole))
            assert ours.pop("value") == pytest.approx(theirs.pop("value"), abs=1e-12)
            assert ours == theirs and ("error" in ours) == (name[:3] == "CDD" and not is_conditional)
