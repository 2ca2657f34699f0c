"""The sections of the drift page, each with its values beside their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_pipeline.drift import judge
from ml_pipeline.report import bias, measured, shapes
from ml_pipeline.report.blocks import Cell, Figure, Figures, Heading, Key, More, Section, Table, Text
from ml_pipeline.report.measured import NAME, OVER, ROLL_UPS, Measured
from ml_pipeline.report.words import (
    METRICS,
    NONE,
    STATISTICS,
    brief,
    listed,
    metric,
    number,
    plural,
    share,
    short,
    side,
    upper,
)

FIRST = 5  # features shown unfolded
DRAWN = 40  # of the rest that are drawn; a table holds all
TABLED = 1000  # features of that table
CATEGORIES = 8  # of one feature that are drawn
HISTORY_FEATURES = 12  # of the table by period
RANKS = 15  # of the table of attributions that are shown unfolded
DARKEST = 3.0  # times its bound, from where on a cell is no darker
STAGES = {"pre_training_bias_metrics": "in the labels", "post_training_bias_metrics": "in the predictions"}
KEY = Key(
    [("base", "at training"), ("now", "this period, within its bounds"), ("moved", "this period, drifted")]
)


def features(found: Measured) -> Section | None:
    if not found.features:
        return None
    first, rest = found.features[:FIRST], found.features[FIRST:]
    blocks: list[Any] = [KEY, _figures(first, found, "feature")]
    if rest:
        drawn = _figures(rest[:DRAWN], found, "feature")
        head = f"{plural(len(rest), 'more feature')}"
        blocks.append(More(f"{head}, {DRAWN} of them drawn" if len(rest) > DRAWN else head, [drawn]))
    blocks.append(
        More("All statistics of all features, with their bounds", [_statistics(found.features, "feature")])
    )
    blocks.append(More("What the statistics are", [_glossary(found.features)]))
    return Section("features", "Features", _features_finding(found), blocks)


def _features_finding(found: Measured) -> str:
    if found.is_few:
        return "Not judged: there are too few rows."
    count, total = len(found.moved), len(found.features)
    if not count:
        return f"None of the {plural(total, 'feature')} has drifted."
    first = [
        f"{short(each['name'], NAME)} ({found.feature_streak(each).told()})" for each in found.moved[:FIRST]
    ]
    more = f" and {count - FIRST:,} more" if count > FIRST else ""
    weight = sum(each["attribution"] or 0.0 for each in found.moved)
    who, of_all = "It makes" if count == 1 else "Together they make", share(min(round(weight, 4), 1.0))
    part = f" {who} up {of_all} of what the model looks at." if weight else ""
    names = f"{', '.join(first)}{more}" if more else listed(first)
    return f"{count} of {plural(total, 'feature')} {'has' if count == 1 else 'have'} drifted: {names}.{part}"


def predictions(found: Measured) -> Section | None:
    if not found["predictions"]:
        return None
    moved = [column["name"] for column in found.moved_predictions]
    streak = found.streak("PredictionDrift").told()
    finding = f"The predictions have not {'been judged' if found.is_few else 'drifted'}."
    if moved:
        finding = f"The predictions have drifted ({listed(short(name, NAME) for name in moved)}), {streak}."
    blocks = [
        KEY,
        _figures(found["predictions"], found, "prediction"),
        More("All statistics, with their bounds", [_statistics(found["predictions"], "prediction")]),
    ]
    return Section("predictions", "Predictions", finding, blocks)


def _figures(columns: list[dict[str, Any]], found: Measured, kind: str) -> Figures:
    return Figures([_figure(column, found, kind) for column in columns], small=True)


def _figure(column: Mapping[str, Any], found: Measured, kind: str) -> Figure:
    name, moved = column["name"], column["violated"]
    told = [measured.change(column)] if moved else []
    told.append(f"{measured.bounds(column)}.")
    if column.get("attribution") is not None:
        told.append(f"{share(column['attribution'])} of what the model looks at.")
    if moved and kind == "feature":
        told.append(f"{upper(found.feature_streak(column).told())}.")
    return Figure(name, _shape(column), measured.finding(column), " ".join(told))


def _shape(column: Mapping[str, Any]) -> str:
    labels, before, after = (list(column[key]) for key in ("labels", "baseline", "current"))
    if column["kind"] == "number":
        apart = 1 if before[-1] or after[-1] else 0
        shown = slice(None) if apart else slice(-1)
        return shapes.bins(labels[shown], before[shown], after[shown], apart, column["violated"])
    rows = sorted(zip(labels, before, after, strict=True), key=lambda row: -max(row[1:]))
    shown = [row for row in rows if row[1] or row[2]]
    if len(shown) > CATEGORIES:
        others = shown[CATEGORIES - 1 :]
        told = f"{len(others)} others"
        shown = [
            *shown[: CATEGORIES - 1],
            (told, sum(row[1] for row in others), sum(row[2] for row in others)),
        ]
    return shapes.categories(*zip(*shown, strict=True), column["violated"])


def _statistics(columns: list[dict[str, Any]], what: str) -> Table:
    """A row a column of the data, a column a statistic: `value (bound)`."""
    names = [name for name in STATISTICS if any(name in column["statistics"] for column in columns)]
    rows = [[column["name"], *(_statistic(column, name) for name in names)] for column in columns[:TABLED]]
    left = f"; {len(columns) - TABLED:,} more are in drift.json" if len(columns) > TABLED else ""
    return Table(
        f"Value (bound) of the statistics of each {what}{left}",
        ["Column", *(STATISTICS[name][0] for name in names)],
        rows,
    )


def _statistic(column: Mapping[str, Any], name: str) -> str | Cell:
    each = column["statistics"].get(name)
    if each is None:
        return Cell(NONE, "quiet")
    text = f"{brief(each['value'])} ({brief(each['threshold'])})"
    return Cell(text, "bad") if each["violated"] else text


def _glossary(columns: list[dict[str, Any]]) -> Table:
    names = [name for name in STATISTICS if any(name in column["statistics"] for column in columns)]
    return Table(
        "Statistics. Their bounds were found at training time by drawing batches of this size; beyond one is "
        "drift if smallest_shift of the rows have moved too. A bound that settings fix counts by itself "
        "(settings.toml, [monitor])",
        ["Statistic", "What it says"],
        [list(STATISTICS[name]) for name in names],
        words=(0, 1),
    )


def quality(found: Measured) -> Section:
    title = "Quality"
    document = found["quality"]
    if document is None and found.notes:
        return Section("quality", title, "Not known yet: the labels that have come could not be joined.", [])
    if document is None:
        return Section(
            "quality",
            title,
            "Not known yet: no true labels of this period have come.",
            [Text(f"They are counted once truth/{found['period']}/ is there, however late that is.")],
        )
    finding = "Quality holds: no metric is beyond its bound."
    if not found.is_quality_judged:
        finding = "Quality has not been judged: too few rows have a label."
    if found.worse:
        names = listed(metric(name) for name in found.worse)
        verb, bound = ("is", "its bound") if len(found.worse) == 1 else ("are", "their bounds")
        since = found.streak("QualityDrop").told()
        finding = f"{upper(names)} {verb} worse than {bound}, {since}."
    rows = [_quality_row(*each) for each in document["metrics"].items()]
    unmatched = document["unmatched"]
    doubt = f"; {plural(unmatched, 'label')} matched no scored row" if unmatched else ""
    caption = f"On {plural(document['rows'], 'row')} with true labels{doubt}"
    columns = ["Metric", "At training", "Now", "Bound", "What it is"]
    return Section("quality", title, finding, [Table(caption, columns, rows, words=(0, 4))])


def _quality_row(name: str, each: Mapping[str, Any]) -> list[str | Cell]:
    bound = NONE if each["bound"] is None else f"{side(name)} {brief(each['bound'])}"
    tone = "quiet" if each["bound"] is None else "bad" if each["violated"] else "good"
    meaning = METRICS.get(name, ("", ""))[1]
    return [metric(name), number(each["baseline"]), number(each["value"]), Cell(bound, tone), meaning]


def bias_of(found: Measured) -> Section | None:
    if not found["bias"]:
        return None
    finding = (
        f"Bias has moved beyond its bounds for {listed(found.biased)}, {found.streak('BiasDrift').told()}."
        if found.biased
        else "Bias is within its bounds in every group."
        if found.is_bias_judged
        else "Bias has not been judged: there are too few rows of each group."
    )
    blocks: list[Any] = []
    for each in found["bias"]:
        group = measured.group_name(each)
        violated = any(metric["violated"] for metric in each["metrics"].values())
        stage = STAGES.get(each["stage"], each["stage"])
        table = _bias_table(each, group, stage)
        blocks += [Heading(f"{group}, {stage}"), table] if violated else [More(f"{group}, {stage}", [table])]
    return Section("bias", "Bias", finding, blocks)


def _bias_table(each: Mapping[str, Any], group: str, stage: str) -> Table:
    rows: list[list[str | Cell]] = []
    for name, found in each["metrics"].items():
        value = found["value"]
        told = (
            "Not computable." if value is None else bias.sentence(name, value, group, f"“{each['outcome']}”")
        )
        bound = NONE if found["low"] is None else f"{brief(found['low'])} to {brief(found['high'])}"
        tone = "quiet" if found["low"] is None else "bad" if found["violated"] else "good"
        rows.append(
            [
                name,
                bias.shown(found["baseline"]),
                bias.shown(value),
                Cell(bound, tone),
                told,
            ]
        )
    columns = ["Metric", "At training", "Now", "Bound", "What it says now"]
    return Table(f"{group}: bias {stage}", columns, rows, words=(0, 4))


def attributions(found: Measured) -> Section | None:
    document = found["attribution"]
    if document is None:
        return None
    before, after = (_ranks(document[which]) for which in ("baseline", "current"))
    values = f"nDCG {brief(document['ndcg'])}, bound at least {brief(document['threshold'])}"
    climbed = max(after, key=lambda name: before.get(name, len(before) + 1) - after[name])
    finding = (
        f"What the model looks at has changed ({values}), {found.streak('AttributionDrift').told()}; "
        f"{climbed} climbed most."
        if found.reranked
        else "What the model looks at has not been judged: there are too few rows."
        if found.is_few
        else f"What the model looks at is the same as in training ({values})."
    )
    total = {which: sum(document[which].values()) or 1.0 for which in ("baseline", "current")}
    rows: list[list[str | Cell]] = [
        [
            name,
            f"{before.get(name, NONE)}",
            f"{place}",
            Cell(*_rank_change(before.get(name), place)),
            share(document["baseline"].get(name, 0.0) / total["baseline"]),
            share(document["current"][name] / total["current"]),
        ]
        for name, place in after.items()
    ]
    columns = ["Feature", "Rank in training", "Rank now", "Change", "Share in training", "Share now"]
    caption = "Features by mean |TreeSHAP|; nDCG is 1 where the ranking is that of training"
    blocks: list[Any] = [Table(caption, columns, rows[:RANKS])]
    if rows[RANKS:]:
        blocks.append(
            More(f"{len(rows) - RANKS:,} more", [Table("More features", columns, rows[RANKS:TABLED])])
        )
    return Section("attributions", "Attributions", finding, blocks)


def _ranks(values: Mapping[str, float]) -> dict[str, int]:
    return {name: place for place, name in enumerate(sorted(values, key=lambda name: -values[name]), start=1)}


def _rank_change(before: int | None, after: int) -> tuple[str, str]:
    if before is None:
        return "new", ""
    if before == after:
        return "same", "quiet"
    return (f"up {before - after}" if after < before else f"down {after - before}"), ""


def history(found: Measured) -> Section:
    periods = [*found["history"], _this_period(found)]
    rows: list[list[str | Cell]] = []
    for period in reversed(periods):
        name = period["period"]
        rows.append([Cell(name, "whole"), *(_count(period["metrics"].get(roll_up)) for roll_up in ROLL_UPS)])
    earlier = len(found["history"])
    calm = sum(not any(period["metrics"].values()) for period in found["history"])
    finding = (
        f"{calm} of the {plural(earlier, 'earlier period')} {'was' if calm == 1 else 'were'} quiet."
        if earlier
        else "This is the first period that was measured."
    )
    table = Table(
        "Violations by period, the newest first; 1 or more rings an alarm",
        ["Period", *ROLL_UPS.values()],
        rows,
    )
    blocks: list[Any] = [table]
    if found.features and earlier:
        blocks.append(_features_by_period(periods))
    return Section("history", "By period", finding, blocks)


def _this_period(found: Measured) -> dict[str, Any]:
    ratios = {feature["name"]: judge.ratio(feature) for feature in found.features}
    return {"period": found["period"], "metrics": found["metrics"], "features": ratios}


def _count(value: float | None) -> str | Cell:
    if value is None:
        return Cell(NONE, "quiet")
    return Cell(f"{value:g}", "bad", fill=min(value / DARKEST, 1.0)) if value else Cell("0", "quiet")


def _features_by_period(periods: list[dict[str, Any]]) -> Table:
    """Features that were ever furthest beyond their bound first."""
    highest: dict[str, float] = {}
    for period in periods:
        for name, value in period["features"].items():
            highest[name] = max(highest.get(name, 0.0), value or 0.0)
    names = sorted(highest, key=lambda name: -highest[name])[:HISTORY_FEATURES]
    rows: list[list[str | Cell]] = [
        [Cell(period["period"], "whole"), *(_ratio(period["features"].get(name)) for name in names)]
        for period in reversed(periods)
    ]
    caption = "Furthest statistic over its bound by feature, the furthest feature first; more than 1 is drift"
    return Table(caption, ["Period", *names], rows)


def _ratio(value: float | None) -> str | Cell:
    if value is None:
        return Cell(NONE, "quiet")
    fill = min(value / DARKEST, 1.0)
    return Cell(f"{value:.2f}", "bad" if value > OVER else "", fill=fill)


def violations(found: Measured) -> Section | None:
    listed_ones = [*found["broken"], *(each for each in found["violations"] if each not in found["broken"])]
    if not listed_ones:
        return None
    rows: list[list[str | Cell]] = [
        [measured.about(each), each["constraint_check_type"], each["description"]]
        for each in listed_ones[:TABLED]
    ]
    finding = f"{plural(len(listed_ones), 'violation')}, as constraint_violations.json has them."
    table = Table("All violations", ["About", "Check", "What was found"], rows, words=(0, 1, 2))
    return Section("violations", "Violations", finding, [table])
