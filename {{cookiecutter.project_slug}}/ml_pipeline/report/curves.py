"""The numbers behind the plots, from labels and scores as arrays of shape (n,)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS = 300  # of a drawn curve
BINS = 10
RATIOS = (
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
)  # cost of a false negative over that of a false positive


@dataclass(frozen=True)
class Thresholds:
    """Confusion counts when rows from each score on are called positive, from none of the rows to all.

    threshold: descending, the first above every score. false_positive, true_positive: shape (thresholds,).
    """

    threshold: np.ndarray
    false_positive: np.ndarray
    true_positive: np.ndarray
    positives: int
    negatives: int

    @property
    def roc(self) -> np.ndarray:
        """False and true positive rate, shape (2, thresholds)."""
        return np.stack([self.false_positive / self.negatives, self.true_positive / self.positives])

    @property
    def precision_recall(self) -> np.ndarray:
        """Recall and precision where anything is called positive, shape (2, thresholds - 1)."""
        true, taken = self.true_positive[1:], (self.true_positive + self.false_positive)[1:]
        return np.stack([true / self.positives, true / taken])

    def costs(self, ratio: float) -> np.ndarray:
        """Cost of each threshold, in that of the cheaper of calling all rows positive or all negative.

        ratio: cost of a false negative over that of a false positive.
        """
        misses = self.positives - self.true_positive
        return (self.false_positive + ratio * misses) / min(self.negatives, ratio * self.positives)


@dataclass(frozen=True)
class Calibration:
    """Rows in bins of equal count by score: mean score, share of positives with Wilson's 95 % interval."""

    score: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of score and share, weighted by rows."""
        return float(np.average(np.abs(self.score - self.observed), weights=self.rows))


def thresholds(positive: np.ndarray, score: np.ndarray) -> Thresholds | None:
    """positive: boolean. None unless both classes occur."""
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true = np.append(0, hits[ends])
    taken = np.append(0, ends + 1)
    cuts = np.append(np.nextafter(ranked[0], np.inf), ranked[ends])
    positives = int(hits[-1])
    return Thresholds(cuts, taken - true, true, positives, len(score) - positives)


def thinned(curve: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Places of at most limit points of a curve of shape (2, n), even along its length, ends kept."""
    count = curve.shape[1]
    if count <= limit:
        return np.arange(count)
    spans = np.ptp(curve, axis=1, keepdims=True)
    steps = np.abs(np.diff(curve / np.where(spans > 0, spans, 1), axis=1)).sum(axis=0)
    length = np.append(0, np.cumsum(steps))
    wanted = np.linspace(0, length[-1], limit)
    places = np.searchsorted(length, wanted)
    return np.unique(np.clip(np.append(places, [0, count - 1]), 0, count - 1))


def calibration(positive: np.ndarray, score: np.ndarray) -> Calibration:
    order = np.argsort(score, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    rows = np.array([len(part) for part in bins])
    mean = np.array([score[part].mean() for part in bins])
    observed = np.array([positive[part].mean() for part in bins])
    low, high = wilson(observed, rows)
    return Calibration(mean, observed, low, high, rows)


def wilson(observed: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of Wilson's 95 % interval of a share (Wilson 1927)."""
    z = 1.959964
    middle = observed + z**2 / (2 * rows)
    reach = z * np.sqrt(observed * (1 - observed) / rows + z**2 / (4 * rows**2))
    return (middle - reach) / (1 + z**2 / rows), (middle + reach) / (1 + z**2 / rows)


def drawn(rows: int, limit: int) -> np.ndarray:
    """Places of at most limit of the rows, evenly spread."""
    return np.arange(rows) if rows <= limit else np.linspace(0, rows - 1, limit).astype(np.int64)


def binned_means(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean x and mean y in bins of equal count by x."""
    bins = [part for part in np.array_split(np.argsort(x, kind="stable"), BINS) if len(part)]
    return np.array([x[part].mean() for part in bins]), np.array([y[part].mean() for part in bins])
