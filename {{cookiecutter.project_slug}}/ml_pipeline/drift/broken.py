"""Data that is broken rather than drifted, told from two statistics.json: nothing should be trained on it.

These are not calibrated: each is far from anything that chance brings about. As Model Monitor's violations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FEWEST_ROWS = 50  # or values; fewer tell nothing
SURE = 5.0  # standard deviations that a share must have fallen by
COMPLETENESS_LEFT = 0.5  # of the baseline's share of values that are there
UNIT_RATIO = 5.0  # of medians, either way, from which a change of unit is thought of
UNIT_ALIKE = 0.25  # distance of distributions up to which they are the same but for the unit
UNIT_OTHER = 0.5  # and from which they are not the same without
ROUND = 0.3  # logarithm of a ratio of medians by which it may miss the round number that it is told as
OUTSIDE = 0.5  # share of values far outside of the baseline's range
KNOWN_LEFT = 0.5  # of the share of values that are among the baseline's categories
ELSEWHERE_OWN = 0.2  # distance of a column's values from its own baseline, from which it may hold another's
ELSEWHERE_ALIKE = 0.1  # and from that other's, up to which it does
MANY_VALUES = 20  # different ones in the baseline, so that the same one in all rows is no coincidence

Violation = dict[str, str]


def violations(baseline: Mapping[str, Any], current: Mapping[str, Any]) -> list[Violation]:
    """What is broken about the features of one statistics.json, in the baseline's order, by those of another.

    Only features that both have are compared; `missing` tells of the others.
    """
    later = {feature["name"]: feature for feature in current["features"]}
    both = {
        each["name"]: (each, later[each["name"]]) for each in baseline["features"] if each["name"] in later
    }
    found = {name: of_feature(*pair) for name, pair in both.items()}
    numeric = {name: pair for name, pair in both.items() if all(map(_has_numbers, pair))}
    swapped = _swapped({name: (Numbers.of(was), Numbers.of(now)) for name, (was, now) in numeric.items()})
    return [each for name in both for each in swapped.get(name) or found[name]]


def of_feature(baseline: Mapping[str, Any], current: Mapping[str, Any]) -> list[Violation]:
    """What is broken about one feature: Model Monitor's violations with a plain description, at most one."""
    name, rows = baseline["name"], sum(_common(current))
    if rows < FEWEST_ROWS:
        return []
    if _has_changed_type(baseline, current):
        was, now = baseline["inferred_type"], current["inferred_type"]
        return [_violation(name, "data_type_check", f"values are {now}, those of the training data {was}")]
    incomplete = _incomplete(*_common(baseline), *_common(current))
    if incomplete:
        return [_violation(name, "completeness_check", incomplete)]
    if _common(current)[0] < FEWEST_ROWS:
        return []
    if "numerical_statistics" in baseline:
        told = _of_numbers(Numbers.of(baseline), Numbers.of(current))
        return [_violation(name, "baseline_drift_check", told)] if told else []
    told = _of_categories(_words(baseline), _words(current))
    return [_violation(name, "categorical_values_check", told)] if told else []


def missing(names: list[str], present: list[str]) -> list[Violation]:
    """A violation for each of these features that is not present."""
    told = "the training data have this column, these data do not"
    return [_violation(name, "missing_column_check", told) for name in names if name not in present]


@dataclass(frozen=True)
class Numbers:
    """A numeric feature's distribution: values, ascending, and how many rows each stands for."""

    values: np.ndarray
    weights: np.ndarray
    low: float
    high: float

    @staticmethod
    def of(feature: Mapping[str, Any]) -> Numbers:
        """From its quantile sketch, in which a value of level h stands for 2**h rows."""
        statistics = feature["numerical_statistics"]
        levels = statistics["distribution"]["kll"]["sketch"]["data"]
        values = np.array([value for level in levels for value in level], np.float64)
        weights = np.repeat([2.0**h for h in range(len(levels))], [len(level) for level in levels])
        order = np.argsort(values, kind="stable")
        return Numbers(values[order], weights[order], statistics["min"], statistics["max"])

    def but_zeros(self) -> Numbers:
        return self._where(self.values != 0)

    def divided(self, factor: float) -> Numbers:
        return Numbers(self.values / factor, self.weights, self.low / factor, self.high / factor)

    @property
    def rows(self) -> float:
        return float(self.weights.sum())

    @property
    def median(self) -> float:
        return float(self.values[np.searchsorted(np.cumsum(self.weights), self.rows / 2)])

    def share_between(self, low: float, high: float) -> float:
        inside = (self.values >= low) & (self.values <= high)
        return float(self.weights[inside].sum() / self.rows)

    def distance(self, other: Numbers) -> float:
        """Kolmogorov-Smirnov distance, in [0, 1]."""
        places = np.concatenate([self.values, other.values])
        return float(np.abs(self.below(places) - other.below(places)).max())

    def below(self, places: np.ndarray | float) -> np.ndarray:
        """Share of rows up to each place."""
        cumulated = np.append(0.0, np.cumsum(self.weights)) / self.rows
        return cumulated[np.searchsorted(self.values, places, "right")]

    def _where(self, kept: np.ndarray) -> Numbers:
        return Numbers(self.values[kept], self.weights[kept], self.low, self.high)


def _swapped(columns: Mapping[str, tuple[Numbers, Numbers]]) -> dict[str, list[Violation]]:
    """A violation for each column that has changed places with others. columns: baseline and current values.

    Each holds what another of them held, none what it held itself: files without a header, or with a wrong
    one, do that and the world does not.
    """
    moved = {name: each for name, each in columns.items() if each[1].distance(each[0]) >= ELSEWHERE_OWN}
    held = _held(moved)
    told = "values are like those of {} in the training data: have columns changed places?"
    return {
        name: [_violation(name, "baseline_drift_check", told.format(other))]
        for name, other in held.items()
        if other and _comes_round(name, held)
    }


def _held(columns: Mapping[str, tuple[Numbers, Numbers]]) -> dict[str, str | None]:
    """By column, the one whose baseline its values are like, if there is one."""
    baselines = {name: before for name, (before, _) in columns.items()}
    medians = np.array([before.median for before in baselines.values()])
    shares = np.array([before.below(before.median) for before in baselines.values()])
    return {
        name: _likest(now, baselines, np.abs(now.below(medians) - shares) <= ELSEWHERE_ALIKE)
        for name, (_, now) in columns.items()
    }


def _likest(now: Numbers, baselines: Mapping[str, Numbers], may_be: np.ndarray) -> str | None:
    """Name of the baseline that these values are like. may_be: those that agree at their medians.

    The distance is taken of these alone: of all pairs of many columns it would take minutes.
    """
    distances = {
        name: now.distance(before)
        for (name, before), agrees in zip(baselines.items(), may_be.tolist(), strict=True)
        if agrees
    }
    name = min(distances, key=distances.__getitem__, default=None)
    return name if name and distances[name] <= ELSEWHERE_ALIKE else None


def _comes_round(name: str, held: Mapping[str, str | None]) -> bool:
    """Whether from column to held column one gets back to the first."""
    at = held[name]
    for _ in held:
        if at == name:
            return True
        at = held.get(at) if at else None
    return False


def _has_numbers(feature: Mapping[str, Any]) -> bool:
    """Whether it is numeric, with enough values to tell something by."""
    return "numerical_statistics" in feature and _common(feature)[0] >= FEWEST_ROWS


def _incomplete(was_present: int, was_missing: int, present: int, absent: int) -> str | None:
    share, before = present / (present + absent), was_present / (was_present + was_missing)
    chance = math.sqrt(before * (1 - before) / (present + absent))
    if share >= COMPLETENESS_LEFT * before or before - share <= SURE * chance:
        return None
    now = "all values are missing" if not present else f"only {share:.1%} of the rows have a value"
    return f"{now}, {before:.1%} of the training data have: has a source been lost?"


def _of_numbers(before: Numbers, now: Numbers) -> str | None:
    """In words; None if nothing is broken."""
    factor = unit_factor(before.but_zeros(), now.but_zeros())
    if factor:
        return f"values are about {_times(factor)} those of the training data: has a unit changed?"
    width = before.high - before.low
    if not width:
        return None
    outside = 1 - now.share_between(before.low - width, before.high + width)
    if outside > OUTSIDE:
        return (
            f"{outside:.1%} of the values are far outside of the training data's range, {before.low:g} to "
            f"{before.high:g}; they go from {now.low:g} to {now.high:g}"
        )
    if now.low == now.high and len(np.unique(before.values)) > MANY_VALUES:
        return f"all values are {now.low:g}, the training data go from {before.low:g} to {before.high:g}"
    return None


def unit_factor(before: Numbers, now: Numbers) -> float | None:
    """What values have been multiplied by, if that and nothing else has changed; None otherwise."""
    if min(before.rows, now.rows) < FEWEST_ROWS or not before.median:
        return None
    factor = now.median / before.median
    if factor <= 0 or 1 / UNIT_RATIO <= factor <= UNIT_RATIO:
        return None
    alike = now.divided(factor).distance(before) <= UNIT_ALIKE
    return factor if alike and now.distance(before) >= UNIT_OTHER else None


def _of_categories(before: Mapping[str, int], now: Mapping[str, int]) -> str | None:
    """In words; None if most values are known. As many rows as words seen once are expected to be unknown."""
    rows, total = sum(now.values()), sum(before.values())
    known = sum(count for word, count in now.items() if word in before) / rows
    expected = 1 - sum(1 for count in before.values() if count == 1) / total
    chance = math.sqrt(expected * (1 - expected) / rows)
    if known >= KNOWN_LEFT * expected or expected - known <= SURE * chance:
        return None
    unknown = [word for word in sorted(now, key=now.__getitem__, reverse=True) if word not in before]
    return f"{1 - known:.1%} of the values are none of the training data's categories, such as {unknown[0]!r}"


def _has_changed_type(baseline: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    return ("numerical_statistics" in baseline) != ("numerical_statistics" in current)


def _common(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Rows with a value, and without."""
    statistics = feature.get("numerical_statistics") or feature["string_statistics"]
    return statistics["common"]["num_present"], statistics["common"]["num_missing"]


def _words(feature: Mapping[str, Any]) -> dict[str, int]:
    buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
    return {bucket["value"]: bucket["count"] for bucket in buckets}


def _times(factor: float) -> str:
    """In words; a power of ten, as units have it, if it is about that."""
    size = max(factor, 1 / factor)
    power = 10 ** round(math.log10(size))
    size = power if abs(math.log(size / power)) < ROUND else size
    told = f"{size:,.0f}" if size >= 10 else f"{size:.1f}"
    return f"{told} times" if factor > 1 else f"1/{told} of"


def _violation(name: str, check: str, description: str) -> Violation:
    return {"feature_name": name, "constraint_check_type": check, "description": description}
