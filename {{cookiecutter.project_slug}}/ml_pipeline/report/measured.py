"""drift.json of a scored period, as its page reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile
from typing import Any

from ml_pipeline.canonical import WHOLE
from ml_pipeline.drift.judge import FEWEST_ROWS
from ml_pipeline.report.words import STATISTICS, brief, ended, ordinal, share, short

NAME = 60  # characters of a name in a sentence; tables have all of them
# Roll-up that an alarm looks at -> what its column is called, the sections of the page in their order.
ROLL_UPS = {
    "DataDrift": "Features",
    "PredictionDrift": "Predictions",
    "QualityDrop": "Quality",
    "BiasDrift": "Bias",
    "AttributionDrift": "Attributions",
    "DataBroken": "Broken data",
}
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
    def broken_columns(self) -> list[str]:
        """Names of the columns that are broken, each once; what is about all of them is left out."""
        names = (each["feature_name"] for each in self["broken"])
        return [short(name, NAME) for name in dict.fromkeys(names) if name != WHOLE]

    @property
    def notes(self) -> list[str]:
        """What is to be told beside what was measured; earlier versions of Monitor knew none."""
        return list(map(ended, self.document.get("notes", ())))

    @property
    def moved_predictions(self) -> list[dict[str, Any]]:
        return [column for column in self["predictions"] if column["violated"]]

    @property
    def worse(self) -> list[str]:
        """Quality metrics beyond their bound."""
        return _violated((self["quality"] or {"metrics": {}})["metrics"])

    @property
    def is_quality_judged(self) -> bool:
        """Whether labels of enough rows have come."""
        metrics = (self["quality"] or {"metrics": {}})["metrics"]
        return any(metric["bound"] is not None for metric in metrics.values())

    @property
    def is_bias_judged(self) -> bool:
        return any(metric["low"] is not None for each in self["bias"] for metric in each["metrics"].values())

    @property
    def biased(self) -> list[str]:
        """Groups with a bias metric out of its bounds."""
        return list(dict.fromkeys(group_name(each) for each in self["bias"] if _violated(each["metrics"])))

    @property
    def reranked(self) -> bool:
        return bool(self["attribution"] and self["attribution"]["violated"])

    @property
    def is_few(self) -> bool:
        """Whether the rows are too few for any judgement."""
        return self["rows"] < FEWEST_ROWS

    def feature_streak(self, feature: Mapping[str, Any]) -> Streak:
        ratios = [period["features"].get(feature["name"]) for period in self["history"]]
        return self._streak([None if ratio is None else ratio > OVER for ratio in ratios])

    def streak(self, roll_up: str) -> Streak:
        counts = [period["metrics"].get(roll_up) for period in self["history"]]
        return self._streak([None if count is None else count > 0 for count in counts])

    def _streak(self, over: list[bool | None]) -> Streak:
        """over: whether each earlier period was beyond its bound, None where that was not measured."""
        known = [
            (period["period"], each)
            for period, each in zip(self["history"], over, strict=True)
            if each is not None
        ]
        earlier = list(takewhile(lambda pair: pair[1], reversed(known)))
        since = earlier[-1][0] if earlier else self["period"]
        return Streak(len(earlier) + 1, since, len(earlier) == len(known))


def _violated(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, metric in metrics.items() if metric["violated"]]


def described(violation: Mapping[str, str]) -> str:
    """As a sentence, with the column unless it tells it itself."""
    name, told = about(violation), violation["description"]
    return ended(told if name == WHOLE or name in told else f"{name}: {told}")


def about(violation: Mapping[str, str]) -> str:
    """What it is a violation of: a column, a metric, or a metric of a group."""
    if "feature_name" in violation:
        return violation["feature_name"]
    group = f" of {violation['facet']} = {violation['facet_value']}" if "facet" in violation else ""
    return f"{violation['metric_name']}{group}"


def group_name(bias: Mapping[str, Any]) -> str:
    return f"{bias['facet']} = {bias['group']}"


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
    judged = any(each["threshold"] is not None for each in column["statistics"].values())
    told = "not been judged" if not judged else "drifted" if column["violated"] else "not drifted"
    verdict = f"{short(column['name'], NAME)} has {told}"
    where = f"{share(elsewhere)} of the rows lie" if elsewhere > NOTHING else "its rows lie no"
    return f"{verdict}: {where} elsewhere than at training."


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
    return f" The middle value is at {after}, was at {before}." if before != after else ""


def _middle_label(labels: list[str], shares: list[float]) -> str:
    """The bin of the median of the values that are there; the last bin is that of the others."""
    below = list(accumulate(shares[:-1]))
    return next(label for label, share in zip(labels, below, strict=False) if share >= below[-1] / 2)
