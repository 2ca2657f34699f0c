"""Metrics against scikit-learn's, their intervals, the trivial model and the fit diagnosis."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn import metrics as sklearn

from ml_pipeline import metrics
from ml_pipeline.metrics import Predictions


def binary(rows: int, seed: int = 0) -> Predictions:
    """Scores with many ties, as trees give them."""
    generator = np.random.default_rng(seed)
    label = (generator.random(rows) < 0.3).astype(float)
    score = np.round(np.clip(0.3 * label + 0.6 * generator.random(rows), 0.01, 0.99), 2)
    return Predictions(label, score, (score >= 0.5).astype(int))


def multiclass(rows: int, classes: int = 4) -> Predictions:
    generator = np.random.default_rng(1)
    label = generator.integers(0, classes, rows)
    score = generator.random((rows, classes)) + 0.5 * np.eye(classes)[label]
    score /= score.sum(axis=1, keepdims=True)
    return Predictions(label, score, score.argmax(axis=1))


def weights_of(rows: int) -> np.ndarray:
    """How often each row is drawn in as many draws with replacement."""
    return np.bincount(np.random.default_rng(5).integers(0, rows, rows), minlength=rows).astype(float)


@pytest.mark.parametrize("weights", [np.ones(500), weights_of(500)], ids=["rows", "resample"])
def test_binary_metrics_equal_scikit_learns(weights: np.ndarray) -> None:
    found = binary(500)
    label, score, predicted = found.label, found.score, found.predicted
    w = {"sample_weight": weights}
    expected = {
        "auc": sklearn.roc_auc_score(label, score, **w),
        "pr_auc": sklearn.average_precision_score(label, score, **w),
        "logloss": sklearn.log_loss(label, score, **w),
        "brier": sklearn.brier_score_loss(label, score, **w),
        "accuracy": sklearn.accuracy_score(label, predicted, **w),
        "precision": sklearn.precision_score(label, predicted, **w),
        "recall": sklearn.recall_score(label, predicted, **w),
        "f1": sklearn.f1_score(label, predicted, **w),
    }
    assert metrics.measure("binary", found)(weights) == pytest.approx(expected, abs=1e-12)


def test_the_area_that_training_watches_is_scikit_learns() -> None:
    found = binary(5000)
    score = found.score.astype(np.float32)
    expected = sklearn.roc_auc_score(found.label, score)
    assert metrics.auc(score, found.label == 1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "positive"),
    [([0.1, 0.9], [True, True]), ([0.1, 0.9], [False, False]), ([0.1, np.nan], [False, True])],
)
def test_the_area_that_training_watches_is_not_always_defined(
    score: list[float], positive: list[bool]
) -> None:
    assert np.isnan(metrics.auc(np.array(score, np.float32), np.array(positive)))


@pytest.mark.parametrize("weights", [np.ones(500), weights_of(500)], ids=["rows", "resample"])
def test_multiclass_metrics_equal_scikit_learns(weights: np.ndarray) -> None:
    found = multiclass(500)
    label, score, predicted = found.label, found.score, found.predicted
    w = {"sample_weight": weights}
    expected = {
        "logloss": sklearn.log_loss(label, score, **w),
        "auc": sklearn.roc_auc_score(label, score, multi_class="ovr", average="macro", **w),
        "accuracy": sklearn.accuracy_score(label, predicted, **w),
    }
    for average in ("macro", "weighted"):
        scores = sklearn.precision_recall_fscore_support(label, predicted, average=average, **w)
        expected |= {f"{n}_{average}": v for n, v in zip(("precision", "recall", "f1"), scores, strict=False)}
    assert metrics.measure("multiclass", found)(weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weights", [np.ones(500), weights_of(500)], ids=["rows", "resample"])
def test_regression_metrics_equal_scikit_learns(weights: np.ndarray) -> None:
    generator = np.random.default_rng(2)
    label = generator.normal(size=500)
    guess = label + generator.normal(size=500)
    w = {"sample_weight": weights}
    expected = {
        "rmse": sklearn.root_mean_squared_error(label, guess, **w),
        "mae": sklearn.mean_absolute_error(label, guess, **w),
        "r2": sklearn.r2_score(label, guess, **w),
    }
    measured = metrics.measure("regression", Predictions(label, guess, guess))(weights)
    assert measured == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_the_percentile_interval_of_resampled_rows() -> None:
    found, generator = binary(400), np.random.default_rng(9)
    aucs = []
    for _ in range(200):
        rows = generator.integers(0, 400, 400)
        aucs.append(sklearn.roc_auc_score(found.label[rows], found.score[rows]))
    trivial = metrics.trivial_predictions("binary", found.label, 2, found.label)
    auc = metrics.report("binary", found, trivial, 200, 0.9, seed=9)["auc"]
    assert (auc["low"], auc["high"]) == pytest.approx(tuple(np.quantile(aucs, [0.05, 0.95])), abs=1e-12)
    assert auc["low"] < auc["value"] < auc["high"]


@pytest.mark.parametrize("metric", ["auc", "pr_auc", "logloss", "f1"])
def test_few_rows_of_many_give_the_interval_of_all(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = binary(4000)
    every = metrics.report("binary", found, found, 1000, 0.9, seed=0)[metric]
    monkeypatch.setattr(metrics, "RESAMPLED_ROWS", 1000)
    few = metrics.report("binary", found, found, 1000, 0.9, seed=1)[metric]
    assert few["value"] == every["value"]
    width = every["high"] - every["low"]
    assert (few["low"], few["high"]) == pytest.approx((every["low"], every["high"]), abs=0.2 * width)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    found = binary(300)
    trivial = metrics.trivial_predictions("binary", found.label, 2, found.label)
    first, again, other = (metrics.report("binary", found, trivial, 30, 0.95, seed) for seed in (1, 1, 2))
    assert first == again
    assert first["auc"]["low"] != other["auc"]["low"]


def test_200_resamples_of_6500_rows_take_at_most_2_seconds() -> None:
    found = binary(6500)
    trivial = metrics.trivial_predictions("binary", found.label, 2, found.label)
    started = time.perf_counter()
    metrics.report("binary", found, trivial, 200, 0.95, seed=0)
    assert time.perf_counter() - started < 2


def test_a_metric_that_is_not_defined_is_none() -> None:
    one_class = Predictions(np.ones(10), np.linspace(0.1, 0.9, 10), np.ones(10, int))
    found = metrics.report("binary", one_class, one_class, 20, 0.95, seed=0)
    assert found["auc"] == {"value": None, "low": None, "high": None, "trivial": None}
    assert found["recall"]["value"] == 1.0


def test_the_trivial_model_knows_the_training_split_alone() -> None:
    train, test = np.array([0, 0, 0, 1.0]), np.array([1.0, 1.0, 0.0])
    constant = metrics.trivial_predictions("binary", train, 2, test)
    assert constant.score.tolist() == [0.25] * 3
    assert constant.predicted.tolist() == [0] * 3
    measured = metrics.measure("binary", constant)(np.ones(3))
    assert measured["auc"] == 0.5
    assert measured["pr_auc"] == pytest.approx(2 / 3)
    mean = metrics.trivial_predictions("regression", np.array([1.0, 3.0]), 0, np.array([2.0, 4.0]))
    assert metrics.measure("regression", mean)(np.ones(2))["rmse"] == pytest.approx(np.sqrt(2))


def test_the_f1_threshold_is_the_best_of_all_cuts_and_lies_between_two_scores() -> None:
    found = binary(300)
    threshold = metrics.best_f1_threshold(found.label, found.score.astype("f4"))
    best = sklearn.f1_score(found.label, found.score >= threshold)
    assert best == max(sklearn.f1_score(found.label, found.score >= cut) for cut in np.unique(found.score))
    assert np.abs(np.unique(found.score) - threshold).min() > 1e-3


def test_an_f1_threshold_without_a_positive_row_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"decision_threshold.*\[train\]"):
        metrics.best_f1_threshold(np.zeros(3), np.array([0.1, 0.2, 0.3]))


@pytest.mark.parametrize(
    ("train", "test", "diagnosis"),
    [(0.99, 0.8, "overfit"), (0.53, 0.52, "underfit"), (0.93, 0.9, "balanced"), (0.51, 0.4, "overfit")],
)
def test_the_diagnosis_follows_bias_and_variance(train: float, test: float, diagnosis: str) -> None:
    values = {"train": train, "validation": test, "test": test}
    splits = {name: {"auc": {"value": value, "trivial": 0.5}} for name, value in values.items()}
    fit = metrics.fit_diagnosis("binary", "auc", splits)
    assert fit["diagnosis"] == diagnosis
    assert fit["bias"] == pytest.approx(1 - (train - 0.5) / 0.5)
    assert fit["variance"] == pytest.approx((train - test) / 0.5)


def test_errors_that_fall_to_zero_are_skill() -> None:
    splits = {name: {"rmse": {"value": 2.0, "trivial": 8.0}} for name in ("train", "validation", "test")}
    assert metrics.fit_diagnosis("regression", "rmse", splits)["skill"]["test"] == 0.75


def test_the_primary_metric_is_the_wanted_one_or_the_problems_first() -> None:
    assert metrics.primary("regression", "") == "rmse"
    assert metrics.primary("regression", "mae") == "mae"
