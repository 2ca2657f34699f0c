"""The state of an alarm from its datapoints, as CloudWatch's documentation has it."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

OK, ALARM, NO_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
SIMPLE = ("Average", "Sum", "Minimum", "Maximum", "SampleCount")
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
# CloudWatch looks at more periods than EvaluationPeriods for missing ones; how many it does not say.
EXTRA_PERIODS = 1


@dataclass(frozen=True)
class Samples:
    """What one PutMetricData datum holds: values, or the four numbers of a StatisticSet."""

    moment: float
    unit: str
    low: float
    high: float
    total: float
    count: float
    values: tuple[float, ...] = field(default=())


def statistic(name: str, samples: Sequence[Samples]) -> float | None:
    """The statistic of all samples of a period; None without any."""
    if not samples:
        return None
    if name == "Minimum":
        return min(each.low for each in samples)
    if name == "Maximum":
        return max(each.high for each in samples)
    if name == "SampleCount":
        return sum(each.count for each in samples)
    if name == "Sum":
        return sum(each.total for each in samples)
    if name == "Average":
        return sum(each.total for each in samples) / sum(each.count for each in samples)
    values = sorted(value for each in samples for value in each.values)
    return _percentile(values, float(name[1:])) if values else None


def _percentile(values: list[float], percent: float) -> float:
    """Linear between the nearest ranks."""
    place = (len(values) - 1) * percent / 100
    below, above = values[math.floor(place)], values[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def datapoints(
    samples: Sequence[Samples], name: str, period: int, count: int, now: float
) -> list[float | None]:
    """The statistic of the last `count` periods, which end with `now`, newest first; None without data."""
    result = []
    for index in range(count):
        end = now - index * period
        result.append(statistic(name, [each for each in samples if end - period < each.moment <= end]))
    return result


@dataclass(frozen=True)
class Rule:
    """needed of periods must breach. missing: breaching, notBreaching, ignore or missing."""

    comparison: str
    threshold: float
    periods: int
    needed: int
    missing: str = "missing"

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)

    def state(self, points: Sequence[float | None], present: str) -> str:
        """The state with these datapoints, newest first, of an alarm that is in the state `present`.

        Source: CloudWatch User Guide, How alarm state is evaluated when data is missing.
        """
        real = [value for value in points if value is not None]
        if None not in points[: self.periods] or len(real) >= self.periods:
            breaching = sum(map(self.breaches, real[: self.periods]))
            return ALARM if breaching >= self.needed else OK
        breaching = sum(map(self.breaches, real))
        if self.missing in ("breaching", "notBreaching"):
            filled = self.periods - len(real) if self.missing == "breaching" else 0
            return ALARM if breaching + filled >= self.needed else OK
        if breaching >= self.needed:
            return ALARM
        if len(real) - breaching > self.periods - self.needed:
            return OK
        if self.missing == "ignore":
            return present
        if not real:
            return NO_DATA
        return ALARM if self._has_breached_long(points) else present

    def _has_breached_long(self, points: Sequence[float | None]) -> bool:
        """Whether all is breaching or missing since a breaching datapoint that is at least `needed` old."""
        ages = [age for age, value in enumerate(points, 1) if value is not None]
        fine = [age for age in ages if not self.breaches(points[age - 1])]
        oldest = max((age for age in ages if not fine or age < fine[0]), default=0)
        return oldest >= self.needed
