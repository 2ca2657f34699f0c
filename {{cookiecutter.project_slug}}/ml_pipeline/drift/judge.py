"""Whether a batch lies further from the training data than chance allows, by thresholds of training time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_pipeline.drift import bins, distances, tails
from ml_pipeline.drift.bins import Bins
from ml_pipeline.drift.calibrate import BATCH_ROWS, SHRINKS, measured
from ml_pipeline.settings import Monitor

FEWEST_ROWS = BATCH_ROWS[0]  # nothing is judged by fewer
TOO_FEW = "too few"  # status of a period with fewer rows
FEWEST_OF_A_KIND = 20  # of a group and outcome, that a difference of shares is judged by
METHODS = {"ChiSquared": "chi_squared", "LInfinity": "l_infinity"}
ERRORS = ("rmse", "mae")  # worse when greater, and spread in proportion
PARITY = {"DI": 1.0}  # a ratio; of all other bias metrics it is 0
UNKNOWN: dict[str, Any] = {"value": None}  # a metric that the baseline does not have

Statistic = dict[str, float | bool | None]


@dataclass(frozen=True)
class Judged:
    """A column's distances from its baseline: {statistic: {value, threshold, violated}}; None = not judged.

    labels: what each of the shares of rows is; the last one those without a value.
    """

    name: str
    kind: str
    statistics: dict[str, Statistic]
    violated: bool
    labels: list[str]
    baseline_shares: list[float]
    current_shares: list[float]


def column(
    document_column: Mapping[str, Any], document: Mapping[str, Any], counts: np.ndarray, monitor: Monitor
) -> Judged:
    """The verdict on one column of thresholds.json. counts: by the column's bins.

    A calibrated threshold counts only if at least smallest_shift of the rows have moved; one of settings
    counts by itself.
    """
    made = Bins.from_json(document_column)
    baseline = np.array(document_column["counts"])
    statistics = {
        name: _statistic(name, value, rows, shift, document_column, document, monitor)
        for name, (value, rows, shift) in _values(made, baseline, counts, document, monitor).items()
    }
    return Judged(
        made.name,
        made.kind,
        statistics,
        any(bool(each["violated"]) for each in statistics.values()),
        made.labels,
        _shares(baseline),
        _shares(counts),
    )


def ratio(column: Mapping[str, Any]) -> float | None:
    """The largest of its statistics over their thresholds, above 1 if it has drifted; None without any.

    Of a threshold of 0, which settings may fix, nothing is a multiple: what is above counts as 1 and itself.
    """
    bounded = [each for each in column["statistics"].values() if each["threshold"] is not None]
    if not bounded:
        return None
    largest = max(_over(each["value"], each["threshold"]) for each in bounded)
    return largest if column["violated"] else min(largest, 1.0)


def _over(value: float, threshold: float) -> float:
    if threshold:
        return value / threshold
    return 1 + value if value else 0.0


def attribution(
    document: Mapping[str, Any],
    baseline: Mapping[str, float],
    current: Mapping[str, float],
    rows: int,
    monitor: Monitor,
) -> Statistic:
    """{value, threshold, violated} of nDCG. document: `attributions` of thresholds.json; rows: explained."""
    value = distances.ndcg(baseline, current)
    fixed = monitor.thresholds.get("ndcg")
    threshold = fixed
    if fixed is None:
        loss = [1 - bound for bound in document["thresholds"]["ndcg"]]
        allowed = _at("ndcg", loss, BATCH_ROWS, document["rows"], rows)
        threshold = None if allowed is None else 1 - max(allowed, monitor.smallest_shift)
    judged = rows >= FEWEST_ROWS and threshold is not None
    return {"value": value, "threshold": threshold, "violated": judged and value < threshold}


def quality(
    document: Mapping[str, Any], values: Mapping[str, float | None], rows: int, monitor: Monitor
) -> dict[str, dict[str, float | bool | None]]:
    """{metric: {baseline, value, bound, violated}}. document: `quality` of thresholds.json; rows: labelled.

    A value worse than the bound is violated. Scores in [0, 1] are compared as arcsine of their root, errors
    as logarithm, where their spread is about the same everywhere and normal; a bound of settings as it is,
    also of a metric that the document does not have, whose baseline is None.
    """
    return {
        name: _quality(name, metric, values.get(name), rows, document, monitor.thresholds.get(name))
        for name, metric in _with_fixed(document["metrics"], values, monitor).items()
    }


def bias(
    document: Mapping[str, Any],
    facet: str,
    group: str,
    values: Mapping[str, float | None],
    rows: int,
    monitor: Monitor,
) -> dict[str, dict[str, float | bool | None]]:
    """{metric: {baseline, value, low, high, violated}} of one facet group. document: bias's thresholds.json.

    values: by metric, None or infinite where it is not defined. A metric is violated if it lies outside of
    low to high; it must have moved by smallest_shift at least. One that settings fix may lie as far from
    parity as they say, also one that the document does not have, whose baseline is None.
    """
    found = [each for each in document["facets"] if (each["facet"], each["group"]) == (facet, group)]
    return {
        name: _fixed_bias(name, metric, values.get(name), rows, monitor.thresholds[name])
        if name in monitor.thresholds
        else _bias(metric, values.get(name), spread, monitor.smallest_shift)
        for of_group in found
        for spread in [_bias_spread(of_group["share"], document, rows)]
        for name, metric in _with_fixed(of_group["metrics"], values, monitor).items()
    }


def _with_fixed(
    metrics: Mapping[str, Mapping[str, float]], values: Mapping[str, float | None], monitor: Monitor
) -> dict[str, Mapping[str, float]]:
    """Metrics of thresholds.json, and those that settings alone have a bound for."""
    return {
        **metrics,
        **{name: UNKNOWN for name in monitor.thresholds if name in values and name not in metrics},
    }


def _values(
    made: Bins, baseline: np.ndarray, counts: np.ndarray, document: Mapping[str, Any], monitor: Monitor
) -> dict[str, tuple[float, int, float]]:
    """{statistic: (value, rows it is judged by, share of rows that have moved)}."""
    expected, present = made.expected(baseline), counts[:-1]
    rows, total = int(present.sum()), int(counts.sum())
    reached = max((size for size in BATCH_ROWS if size <= rows), default=FEWEST_ROWS)
    distances_of = measured(made.kind, expected, present, bins.groups(expected, reached))
    shift_name = "ks" if made.kind == "number" else "l_infinity"
    shift = float(distances_of[shift_name])
    test = shift_name if made.kind == "number" else METHODS[monitor.categorical_method]
    found = {name: (float(distances_of[name]), rows, shift) for name in ("psi", test)}
    missing = abs(_share(counts[-1], total) - _share(baseline[-1], baseline.sum()))
    found["missing"] = (missing, total, missing)
    if made.kind == "category":
        unknown = max(_share(present[-1], rows) - _share(made.seen_once, expected.sum()), 0.0)
        found["unknown"] = (unknown, rows, unknown)
    return found


def _statistic(
    name: str,
    value: float,
    rows: int,
    shift: float,
    document_column: Mapping[str, Any],
    document: Mapping[str, Any],
    monitor: Monitor,
) -> Statistic:
    if rows < FEWEST_ROWS:
        return {"value": value, "threshold": None, "violated": False}
    if name in monitor.thresholds:
        fixed = monitor.thresholds[name]
        return {"value": value, "threshold": fixed, "violated": value > fixed}
    counts = document_column["counts"]
    of_baseline = sum(counts) if name == "missing" else sum(counts[:-1])
    threshold = _at(name, document_column["thresholds"][name], document["batch_rows"], of_baseline, rows)
    violated = threshold is not None and value > threshold and shift >= monitor.smallest_shift
    return {"value": value, "threshold": threshold, "violated": violated}


def _at(
    name: str, thresholds: list[float | None], sizes: list[int] | tuple[int, ...], m: int, rows: int
) -> float | None:
    """The threshold for a batch of this size: interpolated in log size, freed of what size alone does."""

    def unit(n: int) -> float:
        return (1 / n + 1 / m) ** SHRINKS[name]

    at = np.interp(math.log(max(rows, 1)), np.log(sizes), np.arange(len(sizes)))
    low, high = math.floor(at), math.ceil(at)
    ends = thresholds[low], thresholds[high]
    if ends[0] is None or ends[1] is None or not m:
        return None
    scaled = [end / unit(sizes[place]) for end, place in zip(ends, (low, high), strict=True)]
    return float((scaled[0] + (at - low) * (scaled[1] - scaled[0])) * unit(rows))


def _quality(
    name: str,
    metric: Mapping[str, float],
    value: float | None,
    rows: int,
    document: Mapping[str, Any],
    fixed: float | None,
) -> dict[str, float | bool | None]:
    baseline, m = metric["value"], document["rows"]
    if rows < FEWEST_ROWS or value is None or not math.isfinite(value):
        return {"baseline": baseline, "value": _finite(value), "bound": None, "violated": False}
    bound = fixed
    if bound is None:
        spread = document["z"] * math.sqrt(1 / rows + 1 / m)
        bound = _worst(name, baseline, metric["deviation"], spread, m)
    worse = value > bound if name in ERRORS else value < bound
    return {"baseline": baseline, "value": value, "bound": bound, "violated": bool(worse)}


def _worst(name: str, value: float, deviation: float, spread: float, m: int) -> float:
    """The metric that many standard deviations worse. spread: how many of those of a single row."""
    if name in ERRORS:
        return value * math.exp(spread * deviation / value) if value else 0.0
    if name == "r2":
        return 1 - (1 - value) * math.exp(spread * deviation / (1 - value)) if value < 1 else 1.0
    # With no error, or nothing but errors, among m rows the next one may still differ.
    value = min(max(value, 1 / (m + 2)), 1 - 1 / (m + 2))
    root = math.sqrt(value * (1 - value))
    angle = math.asin(math.sqrt(value)) - spread * max(deviation, root if not deviation else 0.0) / (2 * root)
    return math.sin(max(angle, 0.0)) ** 2


def _bias_spread(share: float, document: Mapping[str, Any], rows: int) -> float | None:
    """How many deviations of a single row a metric may move; None if too few rows tell of it."""
    least = share * min(rows, document["rows"])
    if rows < FEWEST_ROWS or least < FEWEST_OF_A_KIND:
        return None
    return tails.student(document["z"], least) * math.sqrt(1 / rows + 1 / document["rows"])


def _bias(
    metric: Mapping[str, float],
    value: float | None,
    spread: float | None,
    smallest: float,
) -> dict[str, float | bool | None]:
    if spread is None:
        return _within(metric["value"], value, None)
    allowed = max(spread * metric["deviation"], smallest)
    return _within(metric["value"], value, (metric["value"] - allowed, metric["value"] + allowed))


def _fixed_bias(
    name: str, metric: Mapping[str, float], value: float | None, rows: int, fixed: float
) -> dict[str, float | bool | None]:
    parity = PARITY.get(name, 0.0)
    return _within(metric["value"], value, (parity - fixed, parity + fixed) if rows >= FEWEST_ROWS else None)


def _within(
    baseline: float | None, value: float | None, bounds: tuple[float, float] | None
) -> dict[str, float | bool | None]:
    """The verdict; None as bounds, and a value that is not known, are not judged."""
    if bounds is None or value is None or not math.isfinite(value):
        return {"baseline": baseline, "value": _finite(value), "low": None, "high": None, "violated": False}
    low, high = bounds
    return {
        "baseline": baseline,
        "value": value,
        "low": low,
        "high": high,
        "violated": not low <= value <= high,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _shares(counts: np.ndarray) -> list[float]:
    return (counts / max(counts.sum(), 1)).tolist()
