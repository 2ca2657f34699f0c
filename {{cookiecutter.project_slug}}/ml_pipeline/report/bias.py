"""The bias section: each of Clarify's metrics with its bound, its value and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_pipeline.bias_metrics import STAGES
from ml_pipeline.report.blocks import Cell, Heading, More, Section, Table
from ml_pipeline.report.recorded import Run
from ml_pipeline.report.words import MINUS, number, plural, points, share

STAGE_NAMES = {
    "pre_training_bias_metrics": "in the labels",
    "post_training_bias_metrics": "in the predictions",
}
FOUR_FIFTHS = 0.8  # Uniform Guidelines on Employee Selection Procedures (1978), section 4 D
WITHIN = "Within the subgroups"
NOTHING = 5e-4  # a smaller difference is told as none


@dataclass(frozen=True)
class Group:
    """A facet group with its metrics: {name: entry of analysis.json}, in the order of the analysis."""

    facet: str
    name: str
    outcome: str
    entries: dict[str, dict[str, dict[str, Any]]]

    def value(self, metric: str) -> float | None:
        found = next((stage[metric] for stage in self.entries.values() if metric in stage), {"value": None})
        return None if found["value"] is None else float(found["value"])


def section(run: Run) -> Section | None:
    analysis = run.json("bias/analysis.json")
    if analysis is None:
        return None
    bounds = run.settings.get("gate", {}).get("bias", {})
    found = groups(analysis)
    blocks: list[Any] = []
    open_groups = {_widest(group, found).name for group in found} | {
        group.name for group, _ in _missed(found, bounds)
    }
    for group in found:
        tables = [_table(group, stage, bounds, run) for stage in group.entries]
        shown_open = group.name in open_groups
        blocks += (
            [Heading(group.name), *tables] if shown_open else [More(f"All metrics of {group.name}", tables)]
        )
    return Section("bias", "Bias", finding(found, bounds), blocks)


def groups(analysis: dict[str, Any]) -> list[Group]:
    found: dict[str, Group] = {}
    for stage in STAGES:
        outcome = analysis[stage]["label_value_or_threshold"]
        for facet, measured in analysis[stage]["facets"].items():
            for each in measured:
                name = f"{facet} = {each['value_or_threshold']}"
                group = found.setdefault(name, Group(facet, name, f"“{outcome}”", {}))
                group.entries[stage] = {entry["name"]: entry for entry in each["metrics"]}
    return list(found.values())


def finding(found: list[Group], bounds: dict[str, Any]) -> str:
    missed = [f"{metric} of {group.name}" for group, metric in _missed(found, bounds)]
    head = (
        f"{plural(len(missed), 'bound')} missed: {', '.join(missed[:4])}{', ...' if missed[4:] else ''}."
        if missed
        else f"All {plural(len(bounds), 'bound')} kept in every group."
        if bounds
        else "No bound is set, so bias does not decide at the gate (settings.toml, [gate.bias])."
    )
    measured = [(group, group.value("DPPL")) for group in found]
    gaps = [(group, gap) for group, gap in measured if gap is not None]
    if not gaps:
        return head
    group, gap = max(gaps, key=lambda pair: abs(pair[1]))
    ratio = group.value("DI")
    rule = f" (disparate impact {number(ratio)})" if ratio is not None else ""
    return f"{head} The largest gap: {sentence('DPPL', gap, group.name, group.outcome)[:-1]}{rule}."


def _widest(group: Group, found: list[Group]) -> Group:
    """Of the groups of the same facet the one whose share of positive predictions is furthest off."""
    of_facet = [other for other in found if other.facet == group.facet]
    return max(of_facet, key=lambda other: abs(other.value("DPPL") or 0.0))


def _missed(found: list[Group], bounds: dict[str, Any]) -> Iterator[tuple[Group, str]]:
    for group in found:
        for metric, (low, high) in bounds.items():
            value = group.value(metric)
            if value is None or not low <= value <= high:
                yield group, metric


def _table(group: Group, stage: str, bounds: dict[str, Any], run: Run) -> Table:
    rows = [_row(entry, bounds.get(metric), group, run) for metric, entry in group.entries[stage].items()]
    return Table(
        f"{group.name}: bias {STAGE_NAMES[stage]}",
        ["Metric", "Value", "Bound", "What it says"],
        rows,
        words=(0, 2, 3),
    )


def _row(entry: dict[str, Any], bound: list[float] | None, group: Group, run: Run) -> list[str | Cell]:
    value = None if entry["value"] is None else float(entry["value"])
    column = run.settings.get("data", {}).get("group", "")
    told = (
        f"Not computable: {entry.get('error', 'no reason recorded')}"
        if value is None
        else sentence(entry["name"], value, group.name, group.outcome, column)
    )
    return [entry["description"], shown(value), _bound(value, bound), told]


def shown(value: float | None) -> str:
    if value is None:
        return "null"
    return number(value) if math.isfinite(value) else "∞" if value > 0 else f"{MINUS}∞"


def _bound(value: float | None, bound: list[float] | None) -> Cell:
    if bound is None:
        return Cell("none", "quiet")
    kept = value is not None and bound[0] <= value <= bound[1]
    return Cell(
        f"{number(bound[0])} to {number(bound[1])}: {'kept' if kept else 'missed'}", "good" if kept else "bad"
    )


Sentence = Callable[[float, str, str], str]


def _gap(
    unequal: str, equal: str, less_if_positive: bool = True, less: str = "less", more: str = "more"
) -> Sentence:
    """A sentence on a difference of shares, with the direction in words."""

    def tell(value: float, group: str, outcome: str) -> str:
        if abs(value) < NOTHING:
            return equal.format(group=group, outcome=outcome)
        word = less if (value > 0) == less_if_positive else more
        return unequal.format(group=group, outcome=outcome, gap=points(value), word=word)

    return tell


def _imbalance(value: float, group: str, outcome: str) -> str:
    return f"{share((1 - value) / 2)} of the rows have {group}, {share((1 + value) / 2)} have not."


def _distance(kind: str, most: str) -> Sentence:
    def tell(value: float, group: str, outcome: str) -> str:
        if abs(value) < NOTHING:
            return f"{kind} 0: {group} and the rest have the same label shares."
        return f"{kind} of the label shares of {group} and of the rest; 0 means the same, {most}."

    return tell


def _moved(value: float, group: str, outcome: str) -> str:
    return (
        f"{share(value)} of the labels of {group} would have to differ to match the label shares of the rest."
    )


def _impact(value: float, group: str, outcome: str) -> str:
    told = f"{group} is predicted {outcome} {number(value)} times as often as the rest"
    if value < FOUR_FIFTHS:
        return f"{told}; below 0.8 fails the four-fifths rule."
    if value > 1 / FOUR_FIFTHS:
        return f"{told}; above 1.25 the rest fails the four-fifths rule."
    return f"{told}; 0.8 to 1.25 meets the four-fifths rule."


def _flips(value: float, group: str, outcome: str) -> str:
    head = "Decided like their nearest neighbours in the rest,"
    if abs(value) < NOTHING:
        return f"{head} as many of {group} would gain {outcome} as lose it."
    word = "lose" if value > 0 else "gain"
    return f"{head} {share(abs(value))} of {group} would on balance {word} {outcome}."


def _entropy(value: float, group: str, outcome: str) -> str:
    return "Inequality of what errors give and take, over all rows; 0 means that they treat all rows alike."


def _acceptance(value: float, group: str, outcome: str) -> str:
    if abs(value) < NOTHING:
        return f"Labels {outcome} for each prediction {outcome}: the same in {group} and in the rest."
    more, sparing = ("fewer", "to the rest") if value > 0 else ("more", f"to {group}")
    return (
        f"For each prediction {outcome}, {group} has {number(abs(value))} {more} such labels than the rest: "
        f"the model grants it more sparingly {sparing}."
    )


def _rejection(value: float, group: str, outcome: str) -> str:
    if abs(value) < NOTHING:
        return f"Labels other than {outcome} for each such prediction: the same in {group} and in the rest."
    more, freely = ("more", "the rest") if value > 0 else ("fewer", group)
    return (
        f"For each prediction other than {outcome}, {group} has {number(abs(value))} {more} such labels than "
        f"the rest: the model refuses {freely} more readily."
    )


def _treatment(value: float, group: str, outcome: str) -> str:
    if abs(value) < NOTHING:
        return f"False negatives for each false positive: as many in {group} as in the rest."
    more = "more" if value > 0 else "fewer"
    return f"For each false positive, {group} has {number(abs(value))} {more} false negatives than the rest."


def _disparity(what: str) -> Sentence:
    return _gap(
        f"{WITHIN}, {{group}} makes up {{gap}} {{word}} of those {what} other than "
        f"{{outcome}} than of those {what} {{outcome}}.",
        f"{WITHIN}, {{group}} makes up as much of those {what} {{outcome}} as of the others.",
        less_if_positive=False,
    )


SENTENCES: dict[str, Sentence] = {
    "CDDL": _disparity("labelled"),
    "CI": _imbalance,
    "DPL": _gap(
        "The label {outcome} is {gap} {word} frequent for {group} than for the rest.",
        "The label {outcome} is as frequent for {group} as for the rest.",
    ),
    "JS": _distance("Jensen-Shannon divergence", "0.693 shares without overlap"),
    "KL": _distance("Kullback-Leibler divergence", "there is no upper limit"),
    "KS": _gap(
        "The largest difference between the label shares of {group} and of the rest is {gap}.",
        "No label share differs between {group} and the rest.",
    ),
    "LP": _distance("Euclidean distance", "1.414 is the most"),
    "TVD": _moved,
    "AD": _gap(
        "The model is right {gap} {word} often for {group} than for the rest.",
        "The model is right as often for {group} as for the rest.",
    ),
    "CDDPL": _disparity("predicted"),
    "DAR": _gap(
        "Of those predicted {outcome}, {gap} {word} are truly so for {group} than for the rest (precision).",
        "Of those predicted {outcome}, as many are truly so for {group} as for the rest (precision).",
        less="fewer",
    ),
    "DCA": _acceptance,
    "DCR": _rejection,
    "DI": _impact,
    "DPPL": _gap(
        "{outcome} is predicted {gap} {word} often for {group} than for the rest.",
        "{outcome} is predicted as often for {group} as for the rest.",
    ),
    "DRR": _gap(
        "Of those not predicted {outcome}, {gap} {word} are rightly so for {group} than for the rest.",
        "Of those not predicted {outcome}, as many are rightly so for {group} as for the rest.",
        less_if_positive=False,
        less="fewer",
    ),
    "FT": _flips,
    "GE": _entropy,
    "RD": _gap(
        "Of those labelled {outcome}, {gap} {word} are found for {group} than for the rest (recall).",
        "Of those labelled {outcome}, as many are found for {group} as for the rest (recall).",
        less="fewer",
    ),
    "SD": _gap(
        "Of those not labelled {outcome}, {gap} {word} are recognised for {group} than for the rest.",
        "Of those not labelled {outcome}, as many are recognised for {group} as for the rest.",
        less_if_positive=False,
        less="fewer",
    ),
    "TE": _treatment,
}


def sentence(metric: str, value: float, group: str, outcome: str, column: str = "") -> str:
    """What a value of the metric says of a facet group. column: what conditional metrics are taken within."""
    if not math.isfinite(value):
        return f"Infinite: what it is divided by does not occur in {group} or in the rest."
    told = SENTENCES[metric](value, group, outcome)
    return told.replace(WITHIN, f"{WITHIN} of {column}", 1) if column else told
