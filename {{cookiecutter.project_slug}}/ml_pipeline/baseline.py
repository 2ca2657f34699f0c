"""Statistics and constraints of the training data, in SageMaker Model Monitor's file format (version 0)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ml_pipeline.features import FeatureSpec

BUCKETS = 10  # equal-width, as Model Monitor has them
SKETCH_SIZE = 2048  # at most so many values a level of the quantile sketch, Deequ's default k
MAX_DOMAIN = 100  # a longer list of categories is not a domain to hold values to


def statistics(frame: pd.DataFrame, spec: FeatureSpec) -> dict[str, Any]:
    """statistics.json of the raw features; frame: numbers float64, all others text."""
    features = [
        _number_statistics(name, frame[name])
        if frame[name].dtype.kind == "f"
        else _text_statistics(name, frame[name])
        for name in spec.names
    ]
    return {"version": 0, "dataset": {"item_count": len(frame)}, "features": features}


def constraints(statistics: dict[str, Any]) -> dict[str, Any]:
    """constraints.json that data with these statistics satisfy."""
    return {
        "version": 0,
        "features": [_constraint(feature) for feature in statistics["features"]],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 0.1,
            "domain_content_threshold": 0.1,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": 0.1,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": 0.1,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def _number_statistics(name: str, column: pd.Series) -> dict[str, Any]:
    values = np.sort(column.dropna().to_numpy())
    whole = bool((values == np.floor(values)).all())
    return {
        "name": name,
        "inferred_type": "Integral" if whole else "Fractional",
        "numerical_statistics": {
            "common": _common(column),
            "mean": float(values.mean()),
            "sum": float(values.sum()),
            "std_dev": float(values.std()),
            "min": float(values[0]),
            "max": float(values[-1]),
            "distribution": {"kll": {"buckets": _buckets(values), "sketch": _sketch(values)}},
        },
    }


def _text_statistics(name: str, column: pd.Series) -> dict[str, Any]:
    counts = column.value_counts().sort_index()
    buckets = [{"value": str(value), "count": int(count)} for value, count in counts.items()]
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": _common(column),
            "distinct_count": float(len(counts)),
            "distribution": {"categorical": {"buckets": buckets}},
        },
    }


def _common(column: pd.Series) -> dict[str, int]:
    missing = int(column.isna().sum())
    return {"num_present": len(column) - missing, "num_missing": missing}


def _buckets(values: np.ndarray) -> list[dict[str, float]]:
    """Counts in [lower, upper), the last one closed. values: sorted."""
    edges = np.linspace(values[0], values[-1], BUCKETS + 1)
    below = np.searchsorted(values, edges[1:-1])
    counts = np.diff([0, *below, len(values)])
    bounds = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    return [{"lower_bound": low, "upper_bound": high, "count": count} for low, high, count in bounds]


def _sketch(values: np.ndarray) -> dict[str, Any]:
    """Quantile sketch: a value of level h stands for 2**h rows; exact up to SKETCH_SIZE. values: sorted."""
    level = max(int(np.ceil(np.log2(len(values) / SKETCH_SIZE))), 0)
    weight = 2**level
    levels: list[list[float]] = [[] for _ in range(level)] + [values[weight // 2 :: weight].tolist()]
    return {"parameters": {"c": 0.64, "k": float(SKETCH_SIZE)}, "data": levels}


def _constraint(feature: dict[str, Any]) -> dict[str, Any]:
    statistics = feature.get("numerical_statistics") or feature["string_statistics"]
    common = statistics["common"]
    constraint = {
        "name": feature["name"],
        "inferred_type": feature["inferred_type"],
        "completeness": common["num_present"] / (common["num_present"] + common["num_missing"]),
    }
    if "min" in statistics:
        return constraint | {"num_constraints": {"is_non_negative": statistics["min"] >= 0}}
    domain = [bucket["value"] for bucket in statistics["distribution"]["categorical"]["buckets"]]
    return constraint | ({"string_constraints": {"domains": domain}} if len(domain) <= MAX_DOMAIN else {})
