"""Quantiles of a stream of numbers in memory that hardly grows with it."""

from __future__ import annotations

import numpy as np

SIZE = 2048  # at most so many values a level, Deequ's default k


class Sketch:
    """Values of level h stand for 2**h numbers each; exact up to SIZE numbers.

    A full level is sorted and every second value goes up a level, from the first and the second in turn.
    Each such step moves a rank by at most 2**h, so that a rank among n numbers is right to within
    n log2(n / SIZE) / SIZE, in practice much finer. Source: Karnin, Lang, Liberty (2016), Optimal Quantile
    Approximation in Streams, with all levels of one size.
    """

    def __init__(self) -> None:
        self._levels: list[np.ndarray] = [np.empty(0)]
        self._is_odd: list[bool] = [False]

    def add(self, values: np.ndarray) -> None:
        """values: float64, finite, in any order."""
        self._levels[0] = np.concatenate([self._levels[0], values])
        level = 0
        while level < len(self._levels):
            if len(self._levels[level]) > SIZE:
                self._promote(level)
            level += 1

    def levels(self) -> list[list[float]]:
        """The values of each level, ascending, as Model Monitor writes them."""
        return [np.sort(values).tolist() for values in self._levels]

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Values, ascending, and how many numbers each stands for."""
        weights = np.concatenate([np.full(len(v), 2.0**h) for h, v in enumerate(self._levels)])
        values = np.concatenate(self._levels)
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def _promote(self, level: int) -> None:
        """Moves an even number of the level's values up, of which the next one keeps half."""
        ordered = np.sort(self._levels[level])
        even = len(ordered) - len(ordered) % 2
        if level + 1 == len(self._levels):
            self._levels.append(np.empty(0))
            self._is_odd.append(False)
        promoted = ordered[int(self._is_odd[level]) : even : 2]
        self._is_odd[level] = not self._is_odd[level]
        self._levels[level] = ordered[even:]
        self._levels[level + 1] = np.concatenate([self._levels[level + 1], promoted])
