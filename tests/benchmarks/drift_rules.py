"""Rules that say whether a column has drifted: the project's own, PSI above 0.2, Model Monitor's default.

Each is made for a baseline and asked about a column of a batch. An answer is {rule: array}, with a number for
each of SIZES: the first so many rows of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from drift_worlds import SIZES, Values

from ml_pipeline.drift import bins, calibrate, distances, judge
from ml_pipeline.features import Texts
from ml_pipeline.settings import Monitor

# As settings.toml of a new project.
MONITOR = Monitor(0.01, 0.02, "ChiSquared", False, {})
ANY_SHIFT = Monitor(0.01, 0.0, "ChiSquared", False, {})
RATE = MONITOR.false_alarm_rate * calibrate.FEATURES_SHARE  # what Process calibrates the features for
CALIBRATED, ANY_SIZE = "calibrated", "calibrated, smallest_shift 0"
PSI, ROBUST, SIMPLE = "PSI > 0.2", "Model Monitor, Robust", "Model Monitor, Simple"
RULES = (CALIBRATED, ANY_SIZE, PSI, ROBUST, SIMPLE)
PSI_ABOVE, NO_SHARE = 0.2, 1e-4  # the second in place of an empty bin's share, as is usual
DISTANCE_ABOVE = 0.1  # comparison_threshold
CORRECTION = 1.8  # of Robust, times sqrt((n + m) / nm): Deequ's Distance.scala

Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Judge:
    """All rules for one baseline."""

    baseline: Mapping[str, Values]
    counted: Mapping[str, bins.Bins]
    document: dict
    columns: Mapping[str, dict]

    def answers(self, name: str, batch: Values) -> Answers:
        """Whether the column has drifted, by rule and size."""
        return self._own(name, batch) | _psi(self.baseline[name], batch) | _robust(self.baseline[name], batch)

    def _own(self, name: str, batch: Values) -> Answers:
        counts = _by_size(batch, lambda part: self.counted[name].count(column_of(part)))
        return {
            rule: np.array([self._drifted(name, each, monitor) for each in counts])
            for rule, monitor in ((CALIBRATED, MONITOR), (ANY_SIZE, ANY_SHIFT))
        }

    def _drifted(self, name: str, counts: np.ndarray, monitor: Monitor) -> bool:
        return judge.column(self.columns[name], self.document, counts, monitor).violated


def judge_of(baseline: Mapping[str, Values], seed: int) -> Judge:
    """The rules, calibrated as a training does it."""
    pairs = {name: _bins(name, column_of(values)) for name, values in baseline.items()}
    rows = len(next(iter(baseline.values())).values)
    document = calibrate.columns(list(pairs.values()), rows, RATE, seed)
    columns = {each["name"]: each for each in document["columns"]}
    return Judge(baseline, {name: made for name, (made, _) in pairs.items()}, document, columns)


def column_of(values: Values) -> np.ndarray | Texts:
    """The column as the project holds it."""
    if not values.words:
        return values.values
    places = np.where(values.values < 0, len(values.words), values.values)
    return Texts(np.array([*values.words, None], object), places)


def _bins(name: str, column: np.ndarray | Texts) -> tuple[bins.Bins, np.ndarray]:
    return bins.of_texts(name, column) if isinstance(column, Texts) else bins.of_numbers(name, column)


def _by_size(batch: Values, count: Callable[[Values], np.ndarray]) -> np.ndarray:
    """Counts of the first rows, shape (sizes, bins); those of parts add up."""
    starts = (0, *SIZES[:-1])
    return np.cumsum(
        [count(batch[slice(*ends)]) for ends in zip(starts, SIZES, strict=True)], axis=0, dtype=np.int64
    )


def _psi(baseline: Values, batch: Values) -> Answers:
    """Of ten bins with a tenth of the baseline's rows each, or the categories, and one of the missing."""
    edges = np.empty(0)
    if not baseline.words:
        present = baseline.values[~np.isnan(baseline.values)]
        edges = np.unique(np.quantile(present, np.arange(1, 10) / 10))

    def count(part: Values) -> np.ndarray:
        if part.words:
            return np.bincount(part.values + 1, minlength=len(part.words) + 1)
        places = np.where(np.isnan(part.values), 0, 1 + np.searchsorted(edges, part.values, "right"))
        return np.bincount(places, minlength=len(edges) + 2)

    p, q = _shares(count(baseline)), _shares(_by_size(batch, count))
    used = (p > 0) | (q > 0)
    p, q = np.maximum(p, NO_SHARE), np.maximum(q, NO_SHARE)
    return {PSI: np.where(used, (q - p) * np.log(q / p), 0).sum(axis=-1) > PSI_ABOVE}


def _robust(baseline: Values, batch: Values) -> Answers:
    """Kolmogorov-Smirnov distance of numbers, exact; L-infinity of categories; of the present values."""
    if baseline.words:
        known = len(baseline.words) + 1
        expected = np.bincount(baseline.values + 1, minlength=known)[1:]
        counts = _by_size(batch, lambda part: np.bincount(part.values + 1, minlength=known)[1:])
        distance = distances.l_infinity(expected, counts)
    else:
        support = np.unique(np.concatenate([baseline.values, batch.values]))  # NaN last, once

        def count(part: Values) -> np.ndarray:
            return np.bincount(np.searchsorted(support, part.values), minlength=len(support))

        kept = len(support) - int(np.isnan(support[-1]))
        expected, counts = count(baseline)[:kept], _by_size(batch, count)[:, :kept]
        distance = distances.ks(expected, counts)
    m, n = expected.sum(), counts.sum(axis=-1)
    robust = distance - CORRECTION * np.sqrt((n + m) / (n * m))
    return {SIMPLE: distance > DISTANCE_ABOVE, ROBUST: robust > DISTANCE_ABOVE}


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=-1, keepdims=True)
