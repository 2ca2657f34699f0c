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
        baseline = self.baseline[name]
        both = _by_level(baseline), _by_size(batch, _by_level)
        return self._own(name, batch) | _psi(baseline, *both) | _robust(batch.words, *both)

    def _own(self, name: str, batch: Values) -> Answers:
        counts = _by_size(batch, lambda part: self.counted[name].count(column_of(part)))
        judged = [judge.column(self.columns[name], self.document, each, MONITOR) for each in counts]
        return {
            CALIBRATED: np.array([each.violated for each in judged]),
            ANY_SIZE: np.array([_above(each) for each in judged]),
        }


def _above(judged: judge.Judged) -> bool:
    """Whether a threshold is exceeded, by however few rows."""
    pairs = [(each["value"], each["threshold"]) for each in judged.statistics.values()]
    return any(threshold is not None and value > threshold for value, threshold in pairs)


def judge_of(baseline: Mapping[str, Values], seed: int) -> Judge:
    """The rules, calibrated as a training does it."""
    pairs = {name: _bins(name, column_of(values)) for name, values in baseline.items()}
    rows = len(next(iter(baseline.values())).places)
    document = calibrate.columns(list(pairs.values()), rows, RATE, seed)
    columns = {each["name"]: each for each in document["columns"]}
    return Judge(baseline, {name: made for name, (made, _) in pairs.items()}, document, columns)


def column_of(values: Values) -> np.ndarray | Texts:
    """The column as the project holds it."""
    if not values.words:
        return values.cells()
    places = np.where(values.places < 0, len(values.levels), values.places)
    return Texts(np.append(values.levels, None), places)


def _bins(name: str, column: np.ndarray | Texts) -> tuple[bins.Bins, np.ndarray]:
    return bins.of_texts(name, column) if isinstance(column, Texts) else bins.of_numbers(name, column)


def _by_size(batch: Values, count: Callable[[Values], np.ndarray]) -> np.ndarray:
    """Counts of the first rows, shape (sizes, bins); those of parts add up."""
    starts = (0, *SIZES[:-1])
    return np.cumsum(
        [count(batch[slice(*ends)]) for ends in zip(starts, SIZES, strict=True)], axis=0, dtype=np.int64
    )


def _by_level(part: Values) -> np.ndarray:
    """Rows by distinct value, the missing first."""
    return np.bincount(part.places + 1, minlength=len(part.levels) + 1)


def _psi(baseline: Values, expected: np.ndarray, counts: np.ndarray) -> Answers:
    """Of ten bins with a tenth of the baseline's rows each, or the categories, and one of the missing."""
    if not baseline.words:
        present = baseline.levels[baseline.places[baseline.places >= 0]]
        edges = np.unique(np.quantile(present, np.arange(1, 10) / 10))
        places = np.append(0, 1 + np.searchsorted(edges, baseline.levels, "right"))
        together = np.eye(places.max() + 1)[places]
        expected, counts = expected @ together, counts @ together
    p, q = _shares(expected), _shares(counts)
    used = (p > 0) | (q > 0)
    p, q = np.maximum(p, NO_SHARE), np.maximum(q, NO_SHARE)
    return {PSI: np.where(used, (q - p) * np.log(q / p), 0).sum(axis=-1) > PSI_ABOVE}


def _robust(words: bool, expected: np.ndarray, counts: np.ndarray) -> Answers:
    """Kolmogorov-Smirnov distance of numbers, L-infinity of categories; of the present values."""
    expected, counts = expected[1:], counts[:, 1:]
    distance = (distances.l_infinity if words else distances.ks)(expected, counts)
    m, n = expected.sum(), counts.sum(axis=-1)
    robust = distance - CORRECTION * np.sqrt((n + m) / (n * m))
    return {SIMPLE: distance > DISTANCE_ABOVE, ROBUST: robust > DISTANCE_ABOVE}


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=-1, keepdims=True)
