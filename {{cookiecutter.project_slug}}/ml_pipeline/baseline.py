"""Statistics and constraints of the training data, in SageMaker Model Monitor's file format (version 0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_pipeline import threads
from ml_pipeline.features import Column, FeatureSpec, Texts

BUCKETS = 10  # equal-width, as Model Monitor has them
SKETCH_SIZE = 2048  # at most so many values a level of the quantile sketch, Deequ's default k
MAX_DOMAIN = 100  # a longer list of categories is not a domain to hold values to


def statistics(columns: Mapping[str, Column], spec: FeatureSpec) -> dict[str, Any]:
    """statistics.json of the raw features; columns: by name, each taken once."""
    features = threads.mapped(lambda name: _statistics(name, columns[name]), spec.names)
    return {"version": 0, "dataset": {"item_count": len(columns[spec.names[0]])}, "features": features}


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


def _statistics(name: str, values: Column) -> dict[str, Any]:
    if isinstance(values, Texts):
        return _text_statistics(name, values)
    return _number_statistics(name, np.sort(values[~np.isnan(values)]), len(values))


def _number_statistics(name: str, values: np.ndarray, rows: int) -> dict[str, Any]:
    """values: sorted."""
    whole = bool((values == np.floor(values)).all())
    return {
        "name": name,
        "inferred_type": "Integral" if whole else "Fractional",
        "numerical_statistics": {
            "common": {"num_present": len(values), "num_missing": rows - len(values)},
            "mean": float(values.mean()),
            "sum": float(values.sum()),
            "std_dev": float(values.std()),
            "min": float(values[0]),
            "max": float(values[-1]),
            "distribution": {"kll": {"buckets": _buckets(values), "sketch": _sketch(values)}},
        },
    }


def _text_statistics(name: str, texts: Texts) -> dict[str, Any]:
    counts = dict(sorted(texts.counts().items()))
    present = sum(counts.values())
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": present, "num_missing": len(texts) - present},
            "distinct_count": float(len(counts)),
            "distribution": {
                "categorical": {"buckets": [{"value": word, "count": n} for word, n in counts.items()]}
            },
        },
    }


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
