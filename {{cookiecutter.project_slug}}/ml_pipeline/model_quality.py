"""Quality in Model Monitor's model-quality format: statistics, and the bounds later data must keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ml_pipeline.metrics import Predictions, confusion_matrix, measure, resampled

SECTIONS = {
    "binary": "binary_classification",
    "multiclass": "multiclass_classification",
    "regression": "regression",
}
ERRORS = {"false_positive_rate", "false_negative_rate", "mae", "mse", "rmse"}  # worse when greater
COMPARISONS = "LessThanThreshold", "GreaterThanThreshold"
MIN_ROWS = 200  # Model Monitor gives no standard deviation below
F_BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}

Values = dict[str, float]
Spreads = dict[str, tuple[float, float]]  # value and standard deviation by metric


def statistics(
    problem: str, found: Predictions, constant: Predictions, classes: tuple[str, ...], samples: int, seed: int
) -> dict[str, Any]:
    """Document of model_quality_statistics.json.

    constant: predictions of the commonest class, for the `*_best_constant_classifier` metrics. The standard
    deviation is that of samples bootstrap resamples, `NaN` below MIN_ROWS rows.
    """
    return statistics_and_spreads(problem, found, constant, classes, samples, seed)[0]


def statistics_and_spreads(
    problem: str, found: Predictions, constant: Predictions, classes: tuple[str, ...], samples: int, seed: int
) -> tuple[dict[str, Any], Spreads]:
    """`statistics`, and the values and standard deviations behind it, however few the rows are."""
    rows = found.rows

    def values_of(predictions: Predictions) -> Callable[[np.ndarray], Values]:
        return _values(problem, predictions, classes)

    of_found, of_constant = (values_of(predictions)(found.weights) for predictions in (found, constant))
    drawn = resampled(values_of, found, of_found, samples, seed)
    spreads = {
        name: (float(value), _spread([values[name] for values in drawn])) for name, value in of_found.items()
    }
    entries: dict[str, Any] = {
        name: _entry(value, spread if rows >= MIN_ROWS else np.nan)
        for name, (value, spread) in spreads.items()
    }
    if problem != "regression":
        entries["confusion_matrix"] = _matrix(found, classes)
        for name, value in of_constant.items():
            entries[f"{name}_best_constant_classifier"] = _entry(value, np.nan)
    head = {"version": 0.0, "dataset": {"item_count": rows}}
    return {**head, f"{SECTIONS[problem]}_metrics": entries}, spreads


def constraints(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Document of model_quality_constraints.json: no metric may become worse than it is in the statistics."""
    (section,) = (name for name in statistics if name.endswith("_metrics"))
    bounds = {
        name: {
            "threshold": entry["value"],
            "comparison_operator": worse(name),
        }
        for name, entry in statistics[section].items()
        if not name.endswith("_best_constant_classifier") and isinstance(entry.get("value"), float)
    }
    return {"version": 0.0, f"{section.removesuffix('_metrics')}_constraints": bounds}


def worse(metric: str) -> str:
    """The comparison with a bound that a metric must not meet."""
    return COMPARISONS[metric in ERRORS]


def _values(problem: str, found: Predictions, classes: tuple[str, ...]) -> Callable[[np.ndarray], Values]:
    """Model Monitor's metrics by row weights; of several classes they look at no score."""
    of_weights = measure(problem, found) if problem != "multiclass" else None

    def regression(weights: np.ndarray) -> Values:
        values = of_weights(weights)
        return {"mae": values["mae"], "mse": values["rmse"] ** 2, "rmse": values["rmse"], "r2": values["r2"]}

    def binary(weights: np.ndarray) -> Values:
        matrix = confusion_matrix(found.label, found.predicted, 2, weights)
        (true_negative, false_positive), (false_negative, true_positive) = matrix
        ranked = of_weights(weights)
        return {
            **_rates(true_positive, false_positive, false_negative),
            "accuracy": ranked["accuracy"],
            "true_positive_rate": _share(true_positive, true_positive + false_negative),
            "true_negative_rate": _share(true_negative, true_negative + false_positive),
            "false_positive_rate": _share(false_positive, true_negative + false_positive),
            "false_negative_rate": _share(false_negative, true_positive + false_negative),
            "auc": ranked["auc"],
            "au_prc": ranked["pr_auc"],
        }

    def multiclass(weights: np.ndarray) -> Values:
        matrix = confusion_matrix(found.label, found.predicted, len(classes), weights)
        hits, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        of_class = [_rates(*counts) for counts in zip(hits, predicted - hits, labelled - hits, strict=True)]
        weighted = {
            f"weighted_{name}": sum(rates[name] * n for rates, n in zip(of_class, labelled, strict=True))
            / labelled.sum()
            for name in of_class[0]
        }
        return {"accuracy": hits.sum() / matrix.sum(), **weighted}

    return {"binary": binary, "multiclass": multiclass, "regression": regression}[problem]


def _rates(true_positive: float, false_positive: float, false_negative: float) -> Values:
    def f_beta(beta: float) -> float:
        hits = (1 + beta**2) * true_positive
        return _share(hits, hits + beta**2 * false_negative + false_positive)

    return {
        "recall": _share(true_positive, true_positive + false_negative),
        "precision": _share(true_positive, true_positive + false_positive),
        **{name: f_beta(beta) for name, beta in F_BETAS.items()},
    }


def _matrix(found: Predictions, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    counts = confusion_matrix(found.label, found.predicted, len(classes), found.weights)
    return {
        label: dict(zip(classes, map(int, row), strict=True))
        for label, row in zip(classes, counts, strict=True)
    }


def _spread(drawn: list[float]) -> float:
    """Standard deviation; a resample in which the metric is undefined does not count."""
    return float(np.nanstd(drawn, ddof=1)) if np.isfinite(drawn).sum() > 1 else math.nan


def _entry(value: float, spread: float) -> dict[str, float | str]:
    """JSON has no NaN: Model Monitor writes it as a text."""
    return {"value": _number(value), "standard_deviation": _number(spread)}


def _number(value: float) -> float | str:
    return float(value) if np.isfinite(value) else "NaN"


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
