"""drift.json of a scored period, as its page reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_pipeline.report.words import STATISTICS, brief, ordinal, share

FEW_ROWS = 50  # the smallest batch that thresholds are calibrated for
# Roll-up that an alarm looks at -> what its column is called, the sections of the page in their order.
ROLL_UPS = {
    "DataDrift": "Features",
    "PredictionDrift": "Predictions",
    "QualityDrop": "Quality",
    "BiasDrift": "Bias",
    "AttributionDrift": "Attributions",
    "DataBroken": "Broken data",
}
MISSING = "missing"  # label of the bin of rows without a value, the last of a number's
NOTHING = 5e-4  # a smaller share of rows is told as none
OVER = 1.0  # ratio of a statistic to its bound


@dataclass(frozen=True)
class Streak:
    """periods: how many in a row, with this one. since: the first of them. whole: all that are known."""

    periods: int
    since: str
    whole: bool

    def told(self) -> str:
        """`since 2026-02-02, the third period in a row`."""
        if self.periods == 1:
            return "in the first period that was measured" if self.whole else "new in this period"
        earliest = f"{self.since}{' or earlier' if self.whole else ''}"
        return f"since {earliest}, the {ordinal(self.periods)} period in a row"


@dataclass(frozen=True)
class Measured:
    """document: as Monitor writes it."""

    document: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    @cached_property
    def moved(self) -> list[dict[str, Any]]:
        """Violated features, those that matter most first."""
        return [feature for feature in self.features if feature["violated"]]

    @cached_property
    def features(self) -> list[dict[str, Any]]:
        return sorted(self["features"], key=lambda feature: -(feature["importance"] or 0.0))

    @property
    def moved_predictions(self) -> list[dict[str, Any]]:
        return [column for column in self["predictions"] if column["violated"]]

    @property
    def worse(self) -> list[str]:
        """Quality metrics beyond their bound."""
        return _violated((self["quality"] or {"metrics": {}})["metrics"])

    @property
    def biased(self) -> list[str]:
        """Groups with a bias metric out of its bounds."""
        return list(dict.fromkeys(group_name(each) for each in self["bias"] if _violated(each["metrics"])))

    @property
    def reranked(self) -> bool:
        return bool(self["attribution"] and self["attribution"]["violated"])

    def feature_streak(self, feature: Mapping[str, Any]) -> Streak:
        over = [period["features"].get(feature["name"], 0.0) > OVER for period in self["history"]]
        return self._streak(over)

    def streak(self, roll_up: str) -> Streak:
        return self._streak([bool(period["metrics"].get(roll_up)) for period in self["history"]])

    def _streak(self, over: list[bool]) -> Streak:
        """over: whether each earlier period was beyond its bound, the oldest first."""
        earlier = next((count for count, each in enumerate(reversed(over)) if not each), len(over))
        periods = [period["period"] for period in self["history"]] + [self["period"]]
        return Streak(earlier + 1, periods[-1 - earlier], earlier == len(over))


def _violated(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, metric in metrics.items() if metric["violated"]]


def group_name(bias: Mapping[str, Any]) -> str:
    return f"{bias['facet']} = {bias['group']}"


def psi_ratio(column: Mapping[str, Any]) -> float:
    """PSI over its bound, as the history has it."""
    psi = column["statistics"]["psi"]
    return psi["value"] / psi["threshold"] if psi["threshold"] else 0.0


def bounds(column: Mapping[str, Any]) -> str:
    """`PSI 0.34 (bound 0.083), KS 0.21 (bound 0.05)`, what is violated first."""
    found = sorted(column["statistics"].items(), key=lambda pair: not pair[1]["violated"])
    return ", ".join(
        f"{STATISTICS[name][0]} {brief(each['value'])} (bound {brief(each['threshold'])})"
        for name, each in found
    )


def moved_share(column: Mapping[str, Any]) -> float:
    """Share of the rows that lie in another bin than they would at baseline."""
    pairs = zip(column["baseline"], column["current"], strict=True)
    return sum(abs(after - before) for before, after in pairs) / 2


def finding(column: Mapping[str, Any]) -> str:
    """Whether it has drifted, and how many rows have moved."""
    elsewhere = moved_share(column)
    verdict = f"{column['name']} has {'' if column['violated'] else 'not '}drifted"
    where = f"{share(elsewhere)} of the rows lie" if elsewhere > NOTHING else "its rows lie no"
    return f"{verdict}: {where} elsewhere than in the training data."


def change(column: Mapping[str, Any]) -> str:
    """What has gained and lost rows, in the column's own units."""
    rows = list(zip(column["labels"], column["baseline"], column["current"], strict=True))
    by_gain = sorted(rows, key=lambda row: row[2] - row[1])
    gained, lost = by_gain[-1], by_gain[0]
    if gained[2] - gained[1] < NOTHING:
        return ""
    gain, loss = (f"{label} ({share(after)}, was {share(before)})" for label, before, after in (gained, lost))
    return f"Most gained: {gain}; most lost: {loss}.{_middle(column)}"


def _middle(column: Mapping[str, Any]) -> str:
    if column["kind"] != "number":
        return ""
    before, after = (_middle_label(column["labels"], column[which]) for which in ("baseline", "current"))
    return f" The middle row is at {after}, was at {before}." if before != after else ""


def _middle_label(labels: list[str], shares: list[float]) -> str:
    """The bin of the median."""
    below = 0.0
    for label, part in zip(labels, shares, strict=True):
        below += part
        if below >= 0.5:
            return label
    return labels[-1]
