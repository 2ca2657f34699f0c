"""Bins that a column of the training data is counted in, and later batches of it after that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ml_pipeline.features import Column, Texts

BINS = 20  # of a number, with about the same share of the training rows each
CATEGORIES = 50  # at most so many are counted one by one, the others together
COMMON = 0.01  # of the rows that have a value: rarer ones are among the others, whose ranks are half luck
ENOUGH = 5.0  # rows to be expected in a bin before chi-squared is trusted with it (Cochran 1952)


@dataclass(frozen=True)
class Bins:
    """How a column is counted.

    edges: a number's inner edges, ascending; bin i holds edges[i-1] <= value < edges[i].
    categories: all of the training rows, commonest first; binned: how many of them have a bin each.
    seen_once, seen_twice: how many categories a single training row has, or two: by them the share of
    categories that no training row has is estimated.
    """

    name: str
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    binned: int = 0
    seen_once: int = 0
    seen_twice: int = 0

    @property
    def labels(self) -> list[str]:
        """What each of the counts is, the last one "missing"."""
        if self.kind == "number":
            return [*_intervals(self.edges), "missing"]
        others = ["other"] if len(self.categories) > self.binned else []
        return [*self.categories[: self.binned], *others, "unknown", "missing"]

    @property
    def known(self) -> int:
        """How many of the counts are those of values as the training rows have them."""
        return len(self.labels) - (1 if self.kind == "number" else 2)

    def count(self, column: Column) -> np.ndarray:
        """Rows of a batch by bin, then by unknown category (of categories alone), then missing; int64.

        column: float64 with NaN for missing, or Texts. The counts of two batches add up to those of both.
        """
        if isinstance(column, Texts):
            return self._count_texts(column)
        missing = np.count_nonzero(np.isnan(column))
        counts = np.bincount(np.searchsorted(self.edges, column, "right"), minlength=self.known + 1)
        counts[self.known - 1] -= missing  # they are sorted behind every edge
        counts[self.known] = missing
        return counts.astype(np.int64, copy=False)

    def expected(self, counts: np.ndarray) -> np.ndarray:
        """Rows to be expected by bin and unknown category, from the training rows' counts; no missing ones.

        As many rows as there are categories of a single row are expected to have one that was never seen.
        Source: Good (1953), The population frequencies of species, with Turing's estimate of the unseen.
        """
        present = counts[:-1].astype(np.float64)
        if self.kind == "number" or not self.seen_once:
            return present
        if present[self.binned] >= self.seen_once:  # those with a single row are among the others
            present[self.binned] -= self.seen_once
        else:
            present *= 1 - self.seen_once / present.sum()
        present[-1] = self.seen_once
        return present

    def to_json(self) -> dict[str, Any]:
        """Name, kind and what makes the bins, for a document of thresholds."""
        document: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "number":
            return document | {"edges": list(self.edges), "categories": None}
        seen = {"binned": self.binned, "seen_once": self.seen_once, "seen_twice": self.seen_twice}
        return document | {"edges": None, "categories": list(self.categories), **seen}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Bins:
        """The bins of one column of thresholds.json."""
        return Bins(
            document["name"],
            document["kind"],
            tuple(document["edges"] or ()),
            tuple(document["categories"] or ()),
            document.get("binned", 0),
            document.get("seen_once", 0),
            document.get("seen_twice", 0),
        )

    def _count_texts(self, texts: Texts) -> np.ndarray:
        rows = np.bincount(texts.places, minlength=len(texts.words))
        unknown = self.known
        places = {word: min(place, self.binned) for place, word in enumerate(self.categories)}
        where = [unknown + 1 if word is None else places.get(word, unknown) for word in texts.words.tolist()]
        return np.bincount(where, rows, minlength=unknown + 2).astype(np.int64)


def of_numbers(name: str, values: np.ndarray) -> tuple[Bins, np.ndarray]:
    """Bins of a training column, and its counts. values: float64, NaN for missing."""
    return of_sorted(name, np.sort(values[~np.isnan(values)]), len(values))


def of_texts(name: str, texts: Texts) -> tuple[Bins, np.ndarray]:
    """Bins of a training column, and its counts."""
    return of_counts(name, texts.counts(), len(texts))


def of_sorted(name: str, values: np.ndarray, rows: int) -> tuple[Bins, np.ndarray]:
    """As `of_numbers`. values: the present ones, sorted; rows: with those that have none."""
    edges = _edges(values) if len(values) else np.empty(0)
    counts = np.diff([0, *np.searchsorted(values, edges), len(values)])
    return Bins(name, "number", tuple(edges.tolist())), np.append(counts, rows - len(values))


def of_counts(name: str, counts: Mapping[str, int], rows: int) -> tuple[Bins, np.ndarray]:
    """As `of_texts`. counts: rows by category; rows: with those that have none."""
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    sizes = np.array([counts[word] for word in ordered], np.int64)
    once, twice = (int(np.count_nonzero(sizes == size)) for size in (1, 2))
    binned = min(int(np.count_nonzero(sizes >= COMMON * sizes.sum())), CATEGORIES)
    others = [sizes[binned:].sum()] if len(sizes) > binned else []
    bins = Bins(name, "category", (), tuple(ordered), binned, once, twice)
    return bins, np.array([*sizes[:binned], *others, 0, rows - sizes.sum()], np.int64)


def groups(expected: np.ndarray, rows: int) -> np.ndarray:
    """Group of each bin, shape (bins,), so that each group has ENOUGH of `rows` rows, and of the baseline's.

    The smallest bins come together until they are enough. A single group: there are too few rows to tell two.
    """
    order = np.argsort(expected, kind="stable")
    sizes = expected[order] * min(rows / max(expected.sum(), 1.0), 1.0)
    places, place, gathered = np.empty(len(order), np.int64), 0, 0.0
    for bin_, size in zip(order.tolist(), sizes.tolist(), strict=True):
        places[bin_], gathered = place, gathered + size
        if gathered >= ENOUGH:
            place, gathered = place + 1, 0.0
    return np.minimum(places, max(place - 1, 0))  # too few of the largest join those before


def grouped(counts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Counts by group, shape (..., groups), from counts by bin."""
    return counts @ np.eye(group.max() + 1)[group]


def _edges(values: np.ndarray) -> np.ndarray:
    """Quantiles, each once; a value that fills a bin has one of its own. values: sorted, not empty."""
    starts = values[np.arange(1, BINS) * len(values) // BINS]
    repeated = np.append(starts[1:] == starts[:-1], False) | (starts == values[0]) | (starts == values[-1])
    edges = np.unique(np.concatenate([starts, np.nextafter(starts[repeated], np.inf)]))
    inside = np.diff(np.searchsorted(values, edges)) > 0
    return edges[np.append(inside, True)]  # no bin is empty but below the least value and above the greatest


def _intervals(edges: tuple[float, ...]) -> list[str]:
    if not edges:
        return ["any"]
    lows, highs = edges[:-1], edges[1:]
    inner = [_interval(low, high) for low, high in zip(lows, highs, strict=True)]
    return [f"below {_plain(edges[0])}", *inner, f"from {_plain(edges[-1])}"]


def _interval(low: float, high: float) -> str:
    return _plain(low) if high == np.nextafter(low, np.inf) else f"{_plain(low)} to {_plain(high)}"


def _plain(edge: float) -> str:
    """Four digits, or all before the point: 10,900 rather than 1.09e+04."""
    return f"{edge:,.0f}" if 1e4 <= abs(edge) < 1e12 else f"{edge:.4g}"
