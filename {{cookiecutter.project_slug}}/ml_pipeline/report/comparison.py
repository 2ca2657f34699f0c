"""Two runs side by side: what differs in their settings, data and steps, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_pipeline.errors import InputError
from ml_pipeline.names import BETTER_HIGH
from ml_pipeline.report import bias, curves, plots, sections
from ml_pipeline.report.blocks import Cell, Figure, Figures, Heading, More, Page, Section, Table, Text
from ml_pipeline.report.recorded import Run, seconds_between
from ml_pipeline.report.words import NONE, metric, moment, number, plural, points, seconds, share, signed

SHOWN_GROUPS = 4  # of facets; the others are folded
FEATURES = 15  # whose ranks are shown unfolded
OF_A_RUN = ("commit", "account")  # settings that differ by where a run was started


def page_of(first: Run, second: Run) -> Page:
    """Raises InputError for runs that solve different problems."""
    problems = {run.metrics["problem"] for run in (first, second) if run.metrics}
    if len(problems) > 1:
        raise InputError(
            f"{first.id} and {second.id} solve different problems, {' and '.join(sorted(problems))}: "
            "compare runs of one problem"
        )
    found = [
        quality(first, second),
        changes(first, second),
        data(first, second),
        attributions(first, second),
        fairness(first, second),
        times(first, second),
    ]
    tone, headline, lead = outcome(first, second)
    return Page(
        title=f"run {second.id} against run {first.id}",
        tone=tone,
        headline=headline,
        lead=[*lead, f"First: {_told(first)}. Second: {_told(second)}."],
        facts=facts(first, second),
        blocks=[],
        sections=[section for section in found if section is not None],
    )


def _told(run: Run) -> str:
    return f"{run.id}, {run.execution['status'].lower()}, started {moment(run.execution['started'])}"


def outcome(first: Run, second: Run) -> tuple[str, str, list[str]]:
    if not (first.metrics and second.metrics):
        lacking = " and ".join(run.id for run in (first, second) if not run.metrics)
        return "quiet", "Not comparable in quality", [f"No metrics were measured in {lacking}."]
    name, problem = second.metrics["primary"], second.metrics["problem"]
    one, other = (run.metrics["test"][name] for run in (first, second))
    if one["value"] is None or other["value"] is None:
        return "quiet", f"{metric(name)} is not defined in both runs", []
    gained = (other["value"] - one["value"]) * (1 if BETTER_HIGH[problem][name] else -1)
    word = "better" if gained > 0 else "worse" if gained < 0 else "no different"
    headline = (
        f"The second run is {word}: {metric(name)} {number(one['value'])}, then {number(other['value'])}"
    )
    overlap = one["low"] is not None and one["low"] <= other["high"] and other["low"] <= one["high"]
    lead = ["Their intervals do not overlap."]
    if overlap:
        lead = ["Their intervals overlap: a difference of this size can be chance."] if gained else []
    if not _same_data(first, second):
        lead.append("The data differ, so the two were not measured on the same rows.")
    return "good" if gained > 0 else "bad" if gained < 0 else "quiet", headline, lead


def _same_data(first: Run, second: Run) -> bool:
    """Whether both were tested on the same rows: equal data, split alike."""
    kept = [(run.profile or {}).get("data_sha256") for run in (first, second)]
    return (
        None not in kept
        and kept[0] == kept[1]
        and first.settings.get("split") == second.settings.get("split")
    )


def facts(first: Run, second: Run) -> list[tuple[str, str, str]]:
    found = []
    if first.metrics and second.metrics:
        name = second.metrics["primary"]
        for title, run in (("First", first), ("Second", second)):
            test = run.metrics["test"][name]
            note = f"{number(test['low'])} to {number(test['high'])}"
            found.append((f"{title}: {metric(name)}", number(test["value"]), note))
    for title, run in (("First", first), ("Second", second)):
        found.append((f"{title}: time", seconds(run.seconds), ""))
    return found


def quality(first: Run, second: Run) -> Section | None:
    if not (first.metrics and second.metrics):
        return None
    rows = [
        sections.difference_row(
            name, first.metrics["test"][name]["value"], second.metrics["test"][name]["value"], high
        )
        for name, high in BETTER_HIGH[second.metrics["problem"]].items()
    ]
    better = sum(isinstance(row[-1], Cell) and row[-1].text == "better" for row in rows)
    finding = f"The second run is better in {better} of {plural(len(rows), 'metric')}."
    head = ["Metric", "First", "Second", "Difference", "The second is"]
    blocks: list[Any] = [Table("Metrics on test", head, rows)]
    if first.predictions is not None and second.predictions is not None and first.classes == second.classes:
        blocks += _overlaid(first, second)
    return Section("quality", "Quality on the test split", finding, blocks)


def _overlaid(first: Run, second: Run) -> list[Any]:
    problem = second.metrics["problem"]
    if problem == "binary":
        return _overlaid_binary(first, second)
    if problem == "multiclass":
        bins = {
            name: curves.calibration(
                run.predictions.predicted == run.predictions.label, run.predictions.score.max(axis=1)
            )
            for name, run in (("first", first), ("second", second))
        }
        return [Figures([_calibration(bins, "score of the predicted class", "share that is right")])]
    residuals = {
        name: run.predictions.label - run.predictions.score
        for name, run in (("first", first), ("second", second))
    }
    spreads = [number(float(np.abs(values).mean())) for values in residuals.values()]
    draw = plots.histogram(residuals, "actual minus predicted", False, ("exact", 0.0))
    finding = f"Residuals of both runs: the mean absolute error is {spreads[0]}, then {spreads[1]}."
    caption = "The narrower around the dashed line, the better."
    return [Figure("Residuals", plots.svg(draw, plots.HALF, "residuals"), finding, caption)]


def _overlaid_binary(first: Run, second: Run) -> list[Any]:
    runs = {"first": first, "second": second}
    cuts = {
        name: curves.thresholds(run.predictions.label == 1, run.predictions.score)
        for name, run in runs.items()
    }
    if None in cuts.values():
        return [Text("A test split holds one class only: there are no curves to draw.")]
    roc = {name: cut.roc[:, curves.thinned(cut.roc)] for name, cut in cuts.items()}
    precision = {name: cut.precision_recall for name, cut in cuts.items()}
    precision = {name: curve[:, curves.thinned(curve)] for name, curve in precision.items()}
    areas = {
        key: [number(run.metrics["test"][key]["value"]) for run in runs.values()] for key in ("auc", "pr_auc")
    }
    roc_plot = plots.lines(roc, "false positive rate", "true positive rate (recall)", diagonal=True)
    pr_plot = plots.lines(precision, "recall", "precision")
    bins = {
        name: curves.calibration(run.predictions.label == 1, run.predictions.score)
        for name, run in runs.items()
    }
    return [
        Figures(
            [
                Figure(
                    "ROC curves",
                    plots.svg(roc_plot, plots.HALF, "roc"),
                    f"ROC curves: the area is {areas['auc'][0]}, then {areas['auc'][1]}.",
                    "The further up and left, the better.",
                ),
                Figure(
                    "Precision and recall",
                    plots.svg(pr_plot, plots.HALF, "pr"),
                    f"Precision-recall curves: the area is {areas['pr_auc'][0]}, then {areas['pr_auc'][1]}.",
                    "The further up and right, the better.",
                ),
                _calibration(bins, "mean score", "share of positives"),
            ]
        )
    ]


def _calibration(bins: Mapping[str, curves.Calibration], x: str, y: str) -> Figure:
    errors = [points(found.error) for found in bins.values()]
    draw = plots.reliability(bins, x, y)
    finding = (
        f"Calibration: a score is off by {errors[0]} on average in the first run, {errors[1]} in the second."
    )
    caption = "On the dotted line a score is a probability."
    return Figure("Calibration", plots.svg(draw, plots.HALF, "calibration"), finding, caption)


def changes(first: Run, second: Run) -> Section:
    """Settings, hyperparameters and versions that differ."""
    pairs = [
        ("Settings", *(sections.flat_settings(run.settings) for run in (first, second))),
        ("Hyperparameters", *(_hyperparameters(run) for run in (first, second))),
        ("Versions and code", *(_code(run) for run in (first, second))),
        ("Parameters", *(run.execution["parameters"] for run in (first, second))),
    ]
    tables = [(title, _differing(one, other)) for title, one, other in pairs]
    counts = [f"{len(rows)} of {title.lower()}" for title, rows in tables if rows]
    finding = (
        f"What differs: {', '.join(counts)}."
        if counts
        else "Settings, hyperparameters and code are the same."
    )
    blocks = [
        Table(title, ["Name", "First", "Second"], rows, words=(0, 1, 2)) for title, rows in tables if rows
    ]
    return Section("changes", "What was changed", finding, blocks)


def _hyperparameters(run: Run) -> dict[str, str]:
    best = (run.json("tuning.json") or {}).get("best") or {}
    return {name: sections.shown(value) for name, value in best.items()}


def _code(run: Run) -> dict[str, str]:
    recorded = run.lineage or {}
    return {
        "commit": recorded.get("commit", NONE),
        "image": recorded.get("image_uri", NONE),
        **recorded.get("versions", {}),
    }


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[list[str | Cell]]:
    names = [name for name in dict.fromkeys([*first, *second]) if name not in OF_A_RUN or name == "commit"]
    return [
        [name, first.get(name, NONE), second.get(name, NONE)]
        for name in names
        if first.get(name) != second.get(name)
    ]


def data(first: Run, second: Run) -> Section | None:
    if not (first.profile and second.profile):
        return None
    one, other = first.profile, second.profile
    rows = _differing(_sizes(one), _sizes(other))
    same = one["data_sha256"] == other["data_sha256"]
    finding = (
        f"Both read the same data ({one['data_sha256'][:12]})"
        if same
        else f"The data differ: {one['data_sha256'][:12]}, then {other['data_sha256'][:12]}"
    )
    finding += " and used them alike." if same and not rows else "."
    blocks = [Table("What differs in the data", ["What", "First", "Second"], rows)] if rows else []
    return Section("data", "Data", finding, blocks)


def _sizes(profile: Mapping[str, Any]) -> dict[str, str]:
    """What a profile says, flat: rows, splits, classes, and each column."""
    flat = {"rows": f"{profile['rows']:,}"}
    for name, split in profile["splits"].items():
        flat[f"{name} rows"] = f"{split['rows']:,}"
        for label, count in split.get("classes", {}).items():
            flat[f"{name}: share of {label}"] = share(count / max(split["rows"], 1))
    for column in profile["columns"]:
        told = f"{column['role']}, {column['kind']}, {column['missing']:,} missing"
        flat[f"column {column['name']}"] = told
    return flat


def attributions(first: Run, second: Run) -> Section | None:
    found = [run.json("attributions.json") for run in (first, second)]
    if None in found:
        return None
    rankings = [each["ranking"] for each in found]
    values = [each["explanations"]["tree_shap"]["label0"]["global_shap_values"] for each in found]
    names = list(dict.fromkeys([*rankings[1], *rankings[0]]))
    rows = [_rank_row(name, rankings, values) for name in names]
    top = [ranking[0] for ranking in rankings]
    finding = (
        f"{top[0]} matters most in both runs."
        if top[0] == top[1]
        else f"{top[0]} mattered most in the first run, {top[1]} in the second."
    )
    head = ["Feature", "Rank, first", "Rank, second", "Moved", "Attribution, first", "Attribution, second"]
    blocks: list[Any] = [Table("Rank by mean absolute TreeSHAP", head, rows[:FEATURES])]
    if len(rows) > FEATURES:
        blocks.append(
            More(f"{len(rows) - FEATURES} more features", [Table("More features", head, rows[FEATURES:])])
        )
    return Section("attributions", "What the models look at", finding, blocks)


def _rank_row(name: str, rankings: list[list[str]], values: list[Mapping[str, float]]) -> list[str | Cell]:
    ranks = [ranking.index(name) + 1 if name in ranking else None for ranking in rankings]
    moved = NONE if None in ranks else _moved(ranks[0] - ranks[1])
    return [name, *(str(rank or NONE) for rank in ranks), moved, *(number(each.get(name)) for each in values)]


def _moved(places: int) -> str:
    return f"up {places}" if places > 0 else f"down {-places}" if places < 0 else NONE


def fairness(first: Run, second: Run) -> Section | None:
    analyses = [run.json("bias/analysis.json") for run in (first, second)]
    if None in analyses:
        return None
    one, other = ({group.name: group for group in bias.groups(analysis)} for analysis in analyses)
    blocks: list[Any] = []
    for place, name in enumerate(group for group in other if group in one):
        table = _bias_table(one[name], other[name])
        blocks += [Heading(name), table] if place < SHOWN_GROUPS else [More(name, [table])]
    lost = [name for name in [*one, *other] if not (name in one and name in other)]
    finding = _widest(one, other)
    finding += f" Measured in one run only: {', '.join(lost)}." if lost else ""
    return Section("bias", "Bias", finding, blocks)


def _widest(one: Mapping[str, bias.Group], other: Mapping[str, bias.Group]) -> str:
    gaps = [
        max(
            (abs(value) for group in groups.values() if (value := group.value("DPPL")) is not None),
            default=None,
        )
        for groups in (one, other)
    ]
    if None in gaps:
        return "The difference in positive predictions is not defined in both runs."
    return f"The widest gap in positive predictions (DPPL) is {number(gaps[0])}, then {number(gaps[1])}."


def _bias_table(one: bias.Group, other: bias.Group) -> Table:
    rows: list[list[str | Cell]] = []
    for stage in other.entries.values():
        for name, entry in stage.items():
            first, second = one.value(name), other.value(name)
            gap = (
                signed(second - first)
                if None not in (first, second) and np.isfinite([first, second]).all()
                else NONE
            )
            rows.append([entry["description"], bias.shown(first), bias.shown(second), gap])
    return Table(f"{other.name}: all metrics", ["Metric", "First", "Second", "Difference"], rows)


def times(first: Run, second: Run) -> Section:
    took = [
        {step["name"]: seconds_between(step["started"], step["ended"]) for step in run.execution["steps"]}
        for run in (first, second)
    ]
    names = dict.fromkeys([*took[0], *took[1]])
    rows: list[list[str | Cell]] = [[name, *(seconds(each.get(name)) for each in took)] for name in names]
    finding = f"The first run took {seconds(first.seconds)}, the second {seconds(second.seconds)}."
    return Section(
        "steps", "Steps and times", finding, [Table("Time of each step", ["Step", "First", "Second"], rows)]
    )
