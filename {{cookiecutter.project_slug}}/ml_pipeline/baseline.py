"""Statistics and constraints of the training data, in SageMaker Model Monitor's file format (version 0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_pipeline import threads
from ml_pipeline.drift import bins
from ml_pipeline.drift.bins import Bins
from ml_pipeline.features import Column, FeatureSpec, Texts
from ml_pipeline.sketch import SIZE

BUCKETS = 10  # equal-width, as Model Monitor has them
MAX_DOMAIN = 100  # a longer list of categories is not a domain to hold values to


@dataclass(frozen=True)
class Measured:
    """Document of statistics.json, and each feature's bins and counts, which later data are counted by."""

    statistics: dict[str, Any]
    counted: list[tuple[Bins, np.ndarray]]

    @property
    def rows(self) -> int:
        return self.statistics["dataset"]["item_count"]


def measure(columns: Mapping[str, Column], spec: FeatureSpec) -> Measured:
    """What the raw features are like; columns: by name, each taken once, and sorted once."""
    found = threads.mapped(lambda name: _measured(name, columns[name]), spec.names)
    head = {"version": 0, "dataset": {"item_count": sum(map(int, found[0][1][1]))}}
    return Measured(head | {"features": [feature for feature, _ in found]}, [pair for _, pair in found])


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


def _measured(name: str, values: Column) -> tuple[dict[str, Any], tuple[Bins, np.ndarray]]:
    if isinstance(values, Texts):
        counts = values.counts()
        return _text_statistics(name, counts, len(values)), bins.of_counts(name, counts, len(values))
    ordered = np.sort(values[~np.isnan(values)])
    return _number_statistics(name, ordered, len(values)), bins.of_sorted(name, ordered, len(values))


def _number_statistics(name: str, values: np.ndarray, rows: int) -> dict[str, Any]:
    """values: sorted."""
    moments = {
        "mean": float(values.mean()),
        "sum": float(values.sum()),
        "std_dev": float(values.std()),
        "min": float(values[0]),
        "max": float(values[-1]),
    }
    whole = bool((values == np.floor(values)).all())
    distribution = kll(_buckets(values), _sketch(values))
    return number_feature(name, whole, (len(values), rows - len(values)), moments | distribution)


def number_feature(
    name: str, whole: bool, present_and_missing: tuple[int, int], described: dict[str, Any]
) -> dict[str, Any]:
    """A feature of statistics.json. described: moments and distribution, {} for a column without a value."""
    present, missing = present_and_missing
    kind = "Integral" if whole else "Fractional"
    return {
        "name": name,
        "inferred_type": kind if present else "Unknown",
        "numerical_statistics": {"common": {"num_present": present, "num_missing": missing}, **described},
    }


def kll(buckets: list[dict[str, float]], levels: list[list[float]]) -> dict[str, Any]:
    """The distribution of numbers. levels: a value of level h stands for 2**h rows."""
    parameters = {"c": 0.64, "k": float(SIZE)}
    sketch = {"parameters": parameters, "data": levels}
    return {"distribution": {"kll": {"buckets": buckets, "sketch": sketch}}}


def _text_statistics(name: str, counts: Mapping[str, int], rows: int) -> dict[str, Any]:
    present = sum(counts.values())
    return text_feature(name, counts, len(counts), (present, rows - present))


def text_feature(
    name: str, counts: Mapping[str, int], distinct: int, present_and_missing: tuple[int, int]
) -> dict[str, Any]:
    """A feature of statistics.json."""
    present, missing = present_and_missing
    buckets = [{"value": word, "count": n} for word, n in sorted(counts.items())]
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": present, "num_missing": missing},
            "distinct_count": float(distinct),
            "distribution": {"categorical": {"buckets": buckets}},
        },
    }


def _buckets(values: np.ndarray) -> list[dict[str, float]]:
    """values: sorted."""
    edges = bucket_edges(values[0], values[-1])
    return buckets(edges, np.searchsorted(values, edges[1:-1]), len(values))


def bucket_edges(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, BUCKETS + 1)


def buckets(edges: np.ndarray, below: np.ndarray, rows: int) -> list[dict[str, float]]:
    """Counts in [lower, upper), the last one closed. below: how many rows are below each inner edge."""
    counts = np.diff([0, *below, rows])
    bounds = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    return [{"lower_bound": low, "upper_bound": high, "count": count} for low, high, count in bounds]


def _sketch(values: np.ndarray) -> list[list[float]]:
    """Quantile sketch: a value of level h stands for 2**h rows; exact up to SIZE. values: sorted."""
    level = max(int(np.ceil(np.log2(len(values) / SIZE))), 0)
    weight = 2**level
    return [[] for _ in range(level)] + [values[weight // 2 :: weight].tolist()]


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
