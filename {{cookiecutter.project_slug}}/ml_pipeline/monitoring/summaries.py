"""Statistics of a column that comes in blocks, in Model Monitor's format; bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ml_pipeline import baseline
from ml_pipeline.features import Category, Feature, Texts
from ml_pipeline.sketch import Sketch

MAX_WORDS = 10_000  # distinct texts that are counted one by one; rows with others are only counted together


class NumberSummary:
    """Moments, extremes and quantiles of numbers."""

    def __init__(self) -> None:
        self._present = self._missing = 0
        self._sum = self._mean = self._squares = 0.0
        self._low, self._high, self._is_whole = np.inf, -np.inf, True
        self._sketch = Sketch()

    def add(self, numbers: np.ndarray) -> None:
        """numbers: float64, NaN for missing."""
        present = numbers[~np.isnan(numbers)]
        self._missing += len(numbers) - len(present)
        if not len(present):
            return
        self._add_moments(present)
        self._low, self._high = min(self._low, present.min()), max(self._high, present.max())
        self._is_whole = self._is_whole and bool((present == np.floor(present)).all())
        self._sketch.add(present)

    def feature(self, name: str) -> dict[str, Any]:
        """The column's entry in statistics.json; without moments if it has no value."""
        counts = (self._present, self._missing)
        if not self._present:
            return baseline.number_feature(name, False, counts, {})
        moments = {
            "mean": float(self._mean),
            "sum": float(self._sum),
            "std_dev": float(np.sqrt(self._squares / self._present)),
            "min": float(self._low),
            "max": float(self._high),
        }
        distribution = baseline.kll(self._buckets(), self._sketch.levels())
        return baseline.number_feature(name, self._is_whole, counts, moments | distribution)

    def _add_moments(self, numbers: np.ndarray) -> None:
        """Source: Chan, Golub, LeVeque 1979, Updating formulae and a pairwise algorithm for variances."""
        rows, mean, total = len(numbers), float(numbers.mean()), self._present + len(numbers)
        shift = mean - self._mean
        self._squares += float(numbers.var()) * rows + shift**2 * self._present * rows / total
        self._mean += shift * rows / total
        self._sum += float(numbers.sum())
        self._present = total

    def _buckets(self) -> list[dict[str, float]]:
        """Exact as long as the sketch is."""
        values, weights = self._sketch.ranked()
        edges = baseline.bucket_edges(self._low, self._high)
        below = np.concatenate([[0], np.cumsum(weights)])[np.searchsorted(values, edges[1:-1])]
        return baseline.buckets(edges, below.astype(np.int64), self._present)


class TextSummary:
    """How often each text occurs. known: texts that are counted however many others come before them."""

    def __init__(self, known: Iterable[str]) -> None:
        self._counts = dict.fromkeys(known, 0)
        self._most = max(MAX_WORDS, len(self._counts))
        self._present = self._missing = 0

    def add(self, texts: Texts) -> None:
        present = 0
        for word, count in texts.counts().items():
            present += count
            if word in self._counts or len(self._counts) < self._most:
                self._counts[word] = self._counts.get(word, 0) + count
        self._present += present
        self._missing += len(texts) - present

    def feature(self, name: str) -> dict[str, Any]:
        """The column's entry in statistics.json; distinct texts beyond MAX_WORDS are not told apart."""
        found = {word: count for word, count in self._counts.items() if count}
        return baseline.text_feature(name, found, len(found), (self._present, self._missing))


def of_feature(feature: Feature) -> NumberSummary | TextSummary:
    return TextSummary(feature.categories) if isinstance(feature, Category) else NumberSummary()
