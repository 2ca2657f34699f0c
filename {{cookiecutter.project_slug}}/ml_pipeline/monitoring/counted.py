"""Labelled rows, however many, as counts: of predictions, and of outcomes by group."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from ml_pipeline.bias_metrics import Sample
from ml_pipeline.metrics import Predictions
from ml_pipeline.sampling import Reservoir

HELD_ROWS = 1 << 17  # are kept as they are, or as many drawn ones
STEPS = 4096  # bins of scores in a unit of log odds
SURE = 1e-9  # nearer to 0 or 1 no score is told from another


class Classified:
    """Predicted classes of rows that come in blocks, in memory that does not grow with them.

    More than HELD_ROWS are counted by label, prediction and, of two classes, by the score's bin in log odds,
    whose mean score then stands for them. All metrics of classes stay exact. Those of scores differ by what
    the order within a bin decides: AUC by less than 2e-7, PR-AUC by less than 1e-5, measured on 200,000 to
    4,000,000 rows. Of more than two classes no score is kept, since no metric of theirs looks at it.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self.exact: dict[str, float] = {}
        self._parts: list[Predictions] = []

    def add(self, found: Predictions) -> None:
        self._parts.append(found)
        if sum(len(part.label) for part in self._parts) > HELD_ROWS:
            self._parts = [self._folded(_together(self._parts))]

    def predictions(self) -> Predictions:
        return _together(self._parts)

    def _folded(self, found: Predictions) -> Predictions:
        places = found.label.astype(np.int64) * self._classes + found.predicted
        places += _bins(found.score) * self._classes**2
        counts = np.bincount(places, found.weights)
        kept = np.flatnonzero(counts)
        scores = np.bincount(places, found.weights * found.score)[kept] / counts[kept]
        outcomes = kept % self._classes**2
        label, predicted = np.divmod(outcomes, self._classes)
        return Predictions(label.astype(np.float64), scores, predicted, counts[kept])


class Regressed:
    """Predicted numbers of rows that come in blocks: sums, and HELD_ROWS drawn rows for the bootstrap."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._drawn = Reservoir(HELD_ROWS, seed)
        self._absolute = self._squared = 0.0
        self._mean = self._spread = 0.0  # of labels: their mean, and squared distances from it

    def add(self, found: Predictions) -> None:
        errors, before, rows = found.label - found.score, self._drawn.total, len(found.label)
        self._absolute += float(np.abs(errors).sum())
        self._squared += float((errors**2).sum())
        mean = float(found.label.mean())
        # Source: Chan, Golub, LeVeque (1979), Updating formulae for computing sample variances
        between = (mean - self._mean) ** 2 * before * rows / (before + rows)
        self._spread += float(((found.label - mean) ** 2).sum()) + between
        self._mean += (mean - self._mean) * rows / (before + rows)
        self._drawn.add(pa.record_batch([found.label, found.score], ["label", "score"]))

    def predictions(self) -> Predictions:
        rows = self._drawn.rows()
        label, score = (rows[name].to_numpy() for name in ("label", "score"))
        total = self._drawn.total
        counts = np.full(len(label), total / len(label)) if total > len(label) else None
        return Predictions(label, score, score, counts)

    @property
    def exact(self) -> dict[str, float]:
        """Metrics of all rows by Model Monitor's names."""
        mse = self._squared / self._drawn.total
        r2 = 1 - self._squared / self._spread if self._spread else math.nan
        return {"mae": self._absolute / self._drawn.total, "mse": mse, "rmse": math.sqrt(mse), "r2": r2}


class Outcomes:
    """How many rows of a facet's group, and of the rest, had which label and prediction."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, member: np.ndarray, label: np.ndarray, predicted: np.ndarray, within: np.ndarray) -> None:
        """All of shape (n,), the first three bool. within: each row's conditional group, from 0."""
        places = ((within * 2 + member) * 2 + label) * 2 + predicted
        counts = np.bincount(places, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def sample(self, is_conditional: bool) -> Sample:
        """As the bias metrics take it, without features."""
        kept = np.flatnonzero(self._counts)
        member, label, predicted = ((kept >> shift & 1).astype(bool) for shift in (2, 1, 0))
        within = kept >> 3 if is_conditional else None
        return Sample(label, predicted, member, within, np.empty((len(kept), 0)), self._counts[kept])


def _bins(score: np.ndarray) -> np.ndarray:
    """Place of each score's bin, from 0."""
    sure = np.clip(score, SURE, 1 - SURE)
    lowest = math.log(SURE / (1 - SURE))
    return np.floor((np.log(sure / (1 - sure)) - lowest) * STEPS).astype(np.int64)


def _together(parts: list[Predictions]) -> Predictions:
    columns = (
        np.concatenate(each) for each in zip(*((p.label, p.score, p.predicted) for p in parts), strict=True)
    )
    counted = any(part.counts is not None for part in parts)
    return Predictions(*columns, np.concatenate([part.weights for part in parts]) if counted else None)
