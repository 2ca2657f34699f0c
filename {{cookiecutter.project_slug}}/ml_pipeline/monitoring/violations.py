"""What is wrong with a period, as SageMaker Model Monitor and Clarify write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_pipeline import model_quality
from ml_pipeline.drift.judge import Judged
from ml_pipeline.names import WITHOUT_LABELS

Violation = dict[str, str]
CHECKS = {
    "missing": "completeness_check",
    "unknown": "categorical_values_check",
}  # others: baseline_drift_check
DRIFT_CHECK, BIAS_CHECK = "baseline_drift_check", "bias_drift_check"
WORDS = {
    "psi": "Population stability index",
    "ks": "Kolmogorov-Smirnov",
    "chi_squared": "Chi-squared",
    "l_infinity": "L-infinity",
    "missing": "Share of missing values",
    "unknown": "Share of unknown categories",
}


def of_columns(judged: Sequence[Judged]) -> list[Violation]:
    """One for each column and check: of several statistics the one that exceeds its threshold the most."""
    return [violation for column in judged for violation in _of_column(column)]


def is_of_bias(violation: Violation) -> bool:
    return violation["constraint_check_type"] == BIAS_CHECK


def needs_labels(violation: Violation) -> bool:
    """Whether it could only be found once labels had come."""
    if is_of_bias(violation):
        return violation["metric_name"] not in WITHOUT_LABELS
    return violation["constraint_check_type"] in model_quality.COMPARISONS


def of_bias(entries: Sequence[Mapping[str, Any]]) -> list[Violation]:
    """entries: of `bias` in drift.json."""
    return [
        {
            "facet": entry["facet"],
            "facet_value": entry["group"],
            "metric_name": name,
            "constraint_check_type": BIAS_CHECK,
            "description": f"{name} is {found['value']:.4g}, baseline {_told(found['baseline'])}: outside of "
            f"{found['low']:.4g} to {found['high']:.4g}",
        }
        for entry in entries
        for name, found in entry["metrics"].items()
        if found["violated"]
    ]


def _told(baseline: float | None) -> str:
    return "not known" if baseline is None else f"{baseline:.4g}"


def of_attribution(found: Mapping[str, Any], label: str) -> list[Violation]:
    """found: `attribution` of drift.json."""
    if not found["violated"]:
        return []
    return [
        {
            "label": label,
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
            "description": f"Feature attribution drift {found['ndcg']:.4f} exceeds threshold "
            f"{found['threshold']:.4f} (nDCG of the features' ranking: lower is further from the baseline's)",
        }
    ]


def of_quality(metrics: Mapping[str, Mapping[str, Any]]) -> list[Violation]:
    """metrics: those of `quality` in drift.json; the check is the comparison that must not hold."""
    found = []
    for name, metric in metrics.items():
        if metric["violated"]:
            check = model_quality.worse(name)
            told = f"Metric {name} with {metric['value']:.4g} was {check} {metric['bound']:.4g}"
            found.append({"metric_name": name, "constraint_check_type": check, "description": told})
    return found


def _of_column(column: Judged) -> Iterator[Violation]:
    worst: dict[str, tuple[float, str]] = {}
    for name, found in column.statistics.items():
        if found["violated"]:
            excess = found["value"] / found["threshold"] if found["threshold"] else float("inf")
            check = CHECKS.get(name, DRIFT_CHECK)
            worst[check] = max(worst.get(check, (0.0, "")), (excess, name))
    for check, (_, name) in worst.items():
        found = column.statistics[name]
        what = f"distance: {found['value']:.4g} exceeds threshold: {found['threshold']:.4g}"
        yield {
            "feature_name": column.name,
            "constraint_check_type": check,
            "description": f"{WORDS[name]} {what}",
        }
