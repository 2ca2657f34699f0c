"""Distances between two samples that are counted in the same bins, and between two rankings of features.

Everywhere: expected, counts are numbers of rows by bin, of the baseline and of the later batch, shape
(..., bins); the result has the leading shape. Without rows in a sample the distance is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PRIOR = (
    0.5  # rows added to each bin of the baseline (Jeffreys), so that no share is 0 and no logarithm infinite
)


def psi(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Population stability index, the sum of (q - p) ln(q / p) over the bins, in [0, inf).

    p: baseline's shares with PRIOR rows more in each bin; q: the batch's, drawn towards p by as many rows,
    so that a bin that a small batch happens to miss weighs little. Among many rows both are plain shares.
    Source: Yurdakul (2018), Statistical properties of population stability index.
    """
    prior = PRIOR * expected.shape[-1]
    p = (expected + PRIOR) / (_total(expected) + prior)
    q = (counts + prior * p) / (_total(counts) + prior)
    return ((q - p) * np.log(q / p)).sum(axis=-1)


def ks(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance at the edges of ordered bins, in [0, 1].

    The largest difference of the shares of rows below an edge: of the distribution functions, as far as the
    bins can tell.
    """
    differences = np.cumsum(_shares(counts) - _shares(expected), axis=-1)
    return np.abs(differences).max(axis=-1) * _both(expected, counts)


def chi_squared(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Two-sample chi-squared statistic, in [0, inf).

    With m rows in the baseline and n in the batch the sum of (c sqrt(m/n) - e sqrt(n/m))^2 / (c + e); a bin
    that is empty in both adds nothing. Source: Numerical Recipes, 14.3, "Are Two Distributions Different?";
    it is Pearson's statistic of the table of both rows.
    """
    m, n = _total(expected), _total(counts)
    ratio = np.sqrt(np.divide(n, m, out=np.ones_like(m), where=(n > 0) & (m > 0)))
    squares, sums = (counts / ratio - expected * ratio) ** 2, counts + expected
    parts = np.divide(squares, sums, out=np.zeros(squares.shape), where=sums > 0)
    return parts.sum(axis=-1) * _both(expected, counts)


def l_infinity(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Largest difference of a bin's shares, in [0, 1]: SageMaker Model Monitor's distance of categories."""
    return np.abs(_shares(counts) - _shares(expected)).max(axis=-1) * _both(expected, counts)


def ndcg(baseline: Mapping[str, float], current: Mapping[str, float]) -> float:
    """Normalised discounted cumulative gain of the current ranking of features, in [0, 1]; 1 is no change.

    baseline, current: mean absolute attribution by feature. DCG sums baseline[f] / log2(rank + 1) in the
    order of the current attributions; it is divided by the same sum in the baseline's order. Features that
    the current attributions lack come last. Source: SageMaker Clarify, "Feature Attribution Drift".
    """
    names = sorted(baseline)
    attributions = np.array([baseline[name] for name in names])
    return float(ndcg_of(attributions, np.array([current.get(name, 0.0) for name in names])))


def ndcg_of(baseline: np.ndarray, current: np.ndarray) -> np.ndarray:
    """`ndcg` of attributions by place, shapes (..., features); equal ones keep their places' order."""
    discounts = 1 / np.log2(np.arange(baseline.shape[-1]) + 2)
    baseline, current = np.broadcast_arrays(baseline, current)
    order = np.argsort(-current, axis=-1, kind="stable")
    gain = (np.take_along_axis(baseline, order, axis=-1) * discounts).sum(axis=-1)
    ideal = (-np.sort(-baseline, axis=-1) * discounts).sum(axis=-1)
    return np.divide(gain, ideal, out=np.ones_like(gain), where=ideal > 0)


def _total(counts: np.ndarray) -> np.ndarray:
    return counts.sum(axis=-1, keepdims=True, dtype=np.float64)


def _shares(counts: np.ndarray) -> np.ndarray:
    total = _total(counts)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


def _both(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Whether there are rows in both samples."""
    return (expected.sum(axis=-1) > 0) & (counts.sum(axis=-1) > 0)
