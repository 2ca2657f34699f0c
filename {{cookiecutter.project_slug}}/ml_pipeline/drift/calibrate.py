"""Thresholds at training time: how far a batch of a world that has not changed may lie from the baseline.

Both samples are finite: a batch of n rows is held against a baseline of m rows, and each is drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_pipeline import threads
from ml_pipeline.drift import bins, distances, tails
from ml_pipeline.drift.bins import Bins

VERSION = 1
BATCH_ROWS = (50, 100, 250, 1000, 5000, 25000, 100_000, 1_000_000)
RESAMPLES = 500  # of each column and batch size, or as many as make COLUMN_RESAMPLES of few columns
COLUMN_RESAMPLES = 4000
RANKINGS = 4000  # resampled attributions of each batch size
FEATURES_SHARE = 1 / 2  # of the false alarms that settings allow; what is left is shared by four others
OTHERS_SHARE = 1 / 8
DISTANCES = {"number": ("psi", "ks"), "category": ("psi", "chi_squared", "l_infinity")}
# That make their upper halves about normal, as Wilson and Hilferty (1931) do chi-squared.
POWERS = {"psi": 1 / 3, "ks": 2 / 3, "chi_squared": 1 / 3, "l_infinity": 2 / 3}
# How a statistic shrinks as both samples grow: by (1/n + 1/m) to this power.
SHRINKS = {"psi": 1.0, "ks": 0.5, "chi_squared": 0.0, "l_infinity": 0.5, "missing": 0.5, "unknown": 0.5}
SHRINKS["ndcg"] = 1.0

Thresholds = dict[str, list[float | None]]


def columns(pairs: Sequence[tuple[Bins, np.ndarray]], rows: int, alpha: float, seed: int) -> dict[str, Any]:
    """thresholds.json of columns: at most alpha of stable batches exceed any threshold of any of them.

    pairs: bins and counts of each baseline column; rows: of the baseline. A column's distribution, its
    missing and its unknown values are events that may raise an alarm, each with the same part of alpha.
    Thresholds of the first and the last are by the number of values that are present in the batch.
    """
    events = sum(2 if each.kind == "number" else 3 for each, _ in pairs)
    rate = alpha / max(events, 1)
    resamples = max(RESAMPLES, math.ceil(COLUMN_RESAMPLES / max(len(pairs), 1)))
    nulls = threads.mapped(
        lambda place: _nulls(*pairs[place], resamples, np.random.default_rng((seed, place))),
        range(len(pairs)),
    )
    bounds = [_joint_bound([of_sizes[place] for of_sizes in nulls], rate) for place in range(len(BATCH_ROWS))]
    documents = threads.mapped(
        lambda place: _document(*pairs[place], nulls[place], bounds, rate), range(len(pairs))
    )
    return {
        "version": VERSION,
        "rows": rows,
        "alpha": alpha,
        "batch_rows": list(BATCH_ROWS),
        "resamples": resamples,
        "seed": seed,
        "columns": documents,
    }


def attributions(absolute: np.ndarray, names: Sequence[str], alpha: float, seed: int) -> dict[str, Any]:
    """Least nDCG that rankings of a stable world reach in all but alpha of batches, by rows explained.

    absolute: |attribution|, shape (rows, features). A mean of n of them is about normal with their
    covariance / n (central limit theorem), for the baseline and for the batch.
    """
    rows, features = absolute.shape
    generator, mean = np.random.default_rng(seed), absolute.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(absolute, rowvar=False).reshape(features, features))
    root = vectors * np.sqrt(np.maximum(values, 0))

    def drawn(count: int) -> np.ndarray:
        spread = generator.standard_normal((RANKINGS, features)) @ root.T
        return np.maximum(mean + spread / math.sqrt(count), 0)

    baseline = drawn(rows)
    lost = [1 - distances.ndcg_of(baseline, drawn(count)) for count in BATCH_ROWS]
    bounds = [max(0.0, 1 - tails.simulated(each, alpha)) for each in lost]
    return {"features": list(names), "rows": rows, "alpha": alpha, "thresholds": {"ndcg": bounds}}


def deviation(value: float, spread: float, rows: int) -> dict[str, float]:
    """A metric and its standard deviation of a single row's worth: spread * sqrt(rows).

    spread: standard deviation over bootstrap resamples of the rows. Among n rows it is deviation / sqrt(n).
    """
    return {"value": float(value), "deviation": float(spread * math.sqrt(rows))}


def quality(metrics: Mapping[str, dict[str, float]], rows: int, alpha: float) -> dict[str, Any]:
    """What `judge.quality` needs: metrics by name from `deviation`; z: one-sided, over all of them."""
    z = tails.normal(alpha / len(metrics)) if metrics else None
    return {"rows": rows, "alpha": alpha, "metrics": dict(metrics), "z": z}


def bias(facets: Sequence[Mapping[str, Any]], rows: int, alpha: float) -> dict[str, Any]:
    """What `judge.bias` needs; z: two-sided, over all metrics of all groups.

    facets: {facet, group, share, metrics} each; share: of the rows, the least that a metric looks at.
    """
    count = sum(len(each["metrics"]) for each in facets)
    z = tails.normal(alpha / 2 / count) if count else None
    return {"version": VERSION, "rows": rows, "alpha": alpha, "facets": list(facets), "z": z}


@dataclass(frozen=True)
class _Null:
    """A column's statistics in a stable world, made about normal.

    spreads: root mean square distance from the median of what lies above it, where thresholds lie.
    largest: of a resample's statistics in spreads above their medians, shape (resamples,).
    """

    medians: dict[str, float]
    spreads: dict[str, float]
    largest: np.ndarray


def _nulls(
    column: Bins, counts: np.ndarray, resamples: int, generator: np.random.Generator
) -> list[_Null | None]:
    """One for each batch size; None where all but a few rows are in one bin: see `_of_largest_bin`."""
    expected = column.expected(counts)
    total = int(expected.sum())
    if not total:
        return [None] * len(BATCH_ROWS)
    shares = expected / expected.sum()
    baseline = _unknown_spread(column, generator.multinomial(total, shares, resamples), generator)
    found: list[_Null | None] = []
    for rows in BATCH_ROWS:
        if (1 - shares.max()) * min(rows, total) < bins.ENOUGH:
            found.append(None)
            continue
        batch, group = generator.multinomial(rows, shares, resamples), bins.groups(expected, rows)
        found.append(_null(measured(column.kind, baseline, batch, group)))
    return found


def _unknown_spread(column: Bins, drawn: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Baselines whose rows of unknown categories vary as seen_once + 2 seen_twice, not as seen_once alone."""
    if not column.seen_twice:
        return drawn
    moved = np.rint(generator.standard_normal(len(drawn)) * math.sqrt(2 * column.seen_twice))
    largest = drawn[:, :-1].sum(axis=0).argmax()
    moved = np.clip(moved, -drawn[:, -1], drawn[:, largest])
    drawn[:, -1] += moved.astype(drawn.dtype)
    drawn[:, largest] -= moved.astype(drawn.dtype)
    return drawn


def measured(kind: str, expected: np.ndarray, counts: np.ndarray, group: np.ndarray) -> dict[str, np.ndarray]:
    """The distances of a column of this kind, each of the leading shape.

    expected, counts: rows by bin and unknown category, shape (..., bins). group: bins that chi-squared takes
    together; a single one leaves it out.
    """
    found = {"psi": distances.psi(expected, counts)}
    if kind == "number":
        return found | {"ks": distances.ks(expected, counts)}
    together = (bins.grouped(each, group) for each in (expected, counts))
    return found | {
        "chi_squared": distances.chi_squared(*together),
        "l_infinity": distances.l_infinity(expected, counts),
    }


def _null(values: Mapping[str, np.ndarray]) -> _Null:
    about_normal = {name: each ** POWERS[name] for name, each in values.items()}
    medians = {name: float(np.median(each)) for name, each in about_normal.items()}
    spreads = {name: _upper_spread(each, medians[name]) for name, each in about_normal.items()}
    scores = [(about_normal[name] - medians[name]) / spreads[name] for name in medians if spreads[name] > 0]
    return _Null(medians, spreads, np.max(scores, axis=0))


def _upper_spread(values: np.ndarray, median: float) -> float:
    above = values[values > median]
    return float(np.sqrt(((above - median) ** 2).mean())) if len(above) else 0.0


def _joint_bound(nulls: Sequence[_Null | None], rate: float) -> float:
    """z that the largest statistic of a column exceeds with this probability, one number for all columns."""
    present = [each.largest for each in nulls if each]
    return tails.simulated(np.concatenate(present), rate) if present else math.inf


def _document(
    column: Bins, counts: np.ndarray, nulls: Sequence[_Null | None], bounds: Sequence[float], rate: float
) -> dict[str, Any]:
    thresholds: Thresholds = {name: [] for name in DISTANCES[column.kind]}
    for rows, null, bound in zip(BATCH_ROWS, nulls, bounds, strict=True):
        found = _of_null(null, bound) if null else _of_largest_bin(column, counts, rows, rate)
        for name, of_sizes in thresholds.items():
            of_sizes.append(found.get(name))
    missing, total = float(counts[-1]), float(counts.sum())
    thresholds["missing"] = [tails.share_above(missing, total, rows, rate) for rows in BATCH_ROWS]
    if column.kind == "category":
        thresholds["unknown"] = [_unknown_above(column, counts, rows, rate) for rows in BATCH_ROWS]
    return column.to_json() | {"counts": counts.tolist(), "thresholds": thresholds}


def _of_null(null: _Null, bound: float) -> dict[str, float]:
    ends = {name: median + bound * null.spreads[name] for name, median in null.medians.items()}
    return {name: end ** (1 / POWERS[name]) for name, end in ends.items()}


def _of_largest_bin(column: Bins, counts: np.ndarray, rows: int, rate: float) -> dict[str, float]:
    """Where nearly all rows are in one bin their share alone is judged, which needs no resamples."""
    expected = column.expected(counts)
    total = expected.sum()
    if not total:
        return {}
    name = "ks" if column.kind == "number" else "l_infinity"
    return {name: tails.share_above(expected.max(), total, rows, rate)}


def _unknown_above(column: Bins, counts: np.ndarray, rows: int, rate: float) -> float:
    """How much more of the batch than expected may be categories that no training row has.

    The share of those in the world is seen_once / m with variance (seen_once + 2 seen_twice) / m^2, taken as
    a beta number with one more row. Source: Robbins (1968), Estimating the total probability of the
    unobserved outcomes of an experiment.
    """
    total = counts[:-1].sum()
    if not total:
        return 1.0
    count = column.seen_once + 1
    weight = count / (count + 2 * column.seen_twice)
    high = tails.greatest(count * weight, max(total - column.seen_once, 0.0) * weight, rows, rate)
    return high / rows - column.seen_once / total
