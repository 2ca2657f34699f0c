"""The sections of a run's page but for quality and bias, in the order of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_pipeline import graph
from ml_pipeline.names import BETTER_HIGH, OBJECTIVE_METRICS
from ml_pipeline.report import curves, plots
from ml_pipeline.report.blocks import (
    KEPT,
    NOT_REACHED,
    Box,
    Cell,
    Facts,
    Figure,
    Figures,
    Graph,
    Heading,
    Listing,
    More,
    Section,
    Table,
    Text,
    Timeline,
)
from ml_pipeline.report.recorded import Run, seconds_between
from ml_pipeline.report.words import (
    NONE,
    listed,
    metric,
    moment,
    number,
    plural,
    seconds,
    share,
    short,
    signed,
    size,
)

COLUMNS = 40  # of the data that are shown unfolded
TRIALS = 10  # in the table of the best
AXES = 8  # hyperparameters drawn
FEATURES = 15  # bars of attributions
TOLD = 5  # of them in words
OUTPUTS = 6  # classes whose partial dependence is drawn
LOG_LINES = 16  # of a failed step


def steps(run: Run) -> Section:
    """The steps as boxes with their times."""
    boxes = _boxes(run)
    ran = [box for box in boxes.values() if box.seconds is not None]
    longest = max(ran, key=lambda box: box.seconds, default=None)
    finding = f"{plural(len(ran), 'step')} ran in {seconds(run.seconds)}"
    finding += f"; {longest.name} took longest, {seconds(longest.seconds)}." if longest else "."
    blocks = [Graph(_layers(run, boxes)), Timeline(list(boxes.values()), run.seconds)]
    return Section("steps", "Steps and times", finding, blocks)


def _boxes(run: Run) -> dict[str, Box]:
    """By name: those of the definition, ran or not, then whatever else ran."""
    ran = {step["name"]: step for step in run.execution["steps"]}
    names = [*(name for layer in _depths(run) for name in layer), *ran]
    return {name: _box(name, ran.get(name), run) for name in dict.fromkeys(names)}


def _box(name: str, step: Mapping[str, Any] | None, run: Run) -> Box:
    if step is None:
        return Box(name, NOT_REACHED, None, 0.0, 0.0, "")
    result = step["result"] or {}
    told = step["failure_reason"] or result.get("summary") or ""
    if step.get("kept_from"):
        return Box(name, KEPT, None, 0.0, 0.0, f"of run {step['kept_from']}: {told}")
    took = seconds_between(step["started"], step["ended"])
    before = seconds_between(run.execution["started"], step["started"]) or 0.0
    whole = max(run.seconds, 1e-9)
    return Box(name, step["status"], took, before / whole, (took or 0.0) / whole, told)


def _layers(run: Run, boxes: Mapping[str, Box]) -> list[list[Box]]:
    layers = [[boxes[name] for name in layer] for layer in _depths(run)]
    placed = {box.name for layer in layers for box in layer}
    return [*layers, *([box] for name, box in boxes.items() if name not in placed)]


def _depths(run: Run) -> list[list[str]]:
    """Steps of the definition by the longest way from the start."""
    definition = run.json("definition.json")
    depth: dict[str, int] = {}
    for name, needed in (graph.needs(definition) if definition else {}).items():
        depth[name] = 1 + max((depth[other] for other in needed if other in depth), default=-1)
    count = max(depth.values(), default=-1) + 1
    return [[name for name, level in depth.items() if level == wanted] for wanted in range(count)]


def failure(run: Run) -> list[Any]:
    """The end of the log of the step that failed."""
    step = failed_step(run)
    log = run.log(step["name"]) if step else ""
    if not step or not log:
        return []
    return [Listing(f"The end of logs/{step['name']}.log", "\n".join(log.splitlines()[-LOG_LINES:]))]


def failed_step(run: Run) -> Mapping[str, Any] | None:
    return next((step for step in run.execution["steps"] if step["status"] == "Failed"), None)


def data(run: Run) -> Section | None:
    profile = run.profile
    if profile is None:
        return None
    columns = profile["columns"]
    features = [column for column in columns if column["role"] == "feature"]
    lacking = [column for column in columns if column["missing"]]
    finding = (
        f"{plural(profile['rows'], 'row')} and {plural(len(columns), 'column')} were read; the model sees "
        f"{len(features)} of them"
    )
    if lacking:
        worst = max(lacking, key=lambda column: column["missing"])
        of_all = share(worst["missing"] / profile["rows"])
        finding += f". {plural(len(lacking), 'column')} lack values, most of all {worst['name']} ({of_all})"
    else:
        finding += "; none of the columns lacks a value"
    dropped = profile["rows_without_label"]
    finding += f". {plural(dropped, 'row')} without a label were left out." if dropped else "."
    rows = [_column_row(column, profile["rows"], run.settings) for column in columns]
    head = ["Column", "Missing", "Role", "Kind", "Distinct values"]
    blocks: list[Any] = [_splits(profile), Table("Columns", head, rows[:COLUMNS], words=(0, 2, 3))]
    if len(rows) > COLUMNS:
        rest = Table("More columns", head, rows[COLUMNS:], words=(0, 2, 3))
        blocks.append(More(f"{len(rows) - COLUMNS} more columns", [rest]))
    return Section("data", "Data", finding, blocks)


def _column_row(column: Mapping[str, Any], rows: int, settings: Mapping[str, Any]) -> list[str | Cell]:
    part = column["missing"] / max(rows, 1)
    missing = Cell(f"{column['missing']:,} ({share(part)})", fill=part) if part else Cell("0", "quiet")
    return [column["name"], missing, roles(column, settings), column["kind"], f"{column['distinct']:,}"]


def roles(column: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What a column is used for: of the model, and for bias and splits as settings have it."""
    chosen, split, name = settings.get("data", {}), settings.get("split", {}), column["name"]
    others = [
        ("facet", name in chosen.get("facets", [])),
        ("excluded", name in chosen.get("exclude", [])),
        ("group", name == chosen.get("group")),
        ("split key", split.get("method") == "by_key" and name == split.get("key")),
        ("time", split.get("method") == "ordered" and name == split.get("time")),
    ]
    found = [role for role, applies in others if applies]
    own = [] if column["role"] == "other" and found else [column["role"]]
    return ", ".join([*own, *found])


def _splits(profile: Mapping[str, Any]) -> Table:
    splits, total = profile["splits"], sum(split["rows"] for split in profile["splits"].values())
    labels = list(next(iter(splits.values())).get("classes", {}))
    rows: list[list[str | Cell]] = []
    for name, split in splits.items():
        counts = split.get("classes", {})
        of_class = [f"{counts[label]:,} ({share(counts[label] / max(split['rows'], 1))})" for label in labels]
        rows.append([name, f"{split['rows']:,}", share(split["rows"] / max(total, 1)), *of_class])
    caption = f"Splits ({profile['split']['method']}, seed {profile['split']['seed']})"
    return Table(
        caption + (" with their labels" if labels else ""), ["Split", "Rows", "Share", *labels], rows
    )


def tuning(run: Run) -> Section | None:
    found = run.json("tuning.json")
    if found is None:
        return None
    trials = [trial for trial in found["trials"] if trial["objective"] is not None]
    if not trials:
        finding = (
            "Tuning was skipped (trials = 0): the model has the hyperparameters of settings.toml."
            if found["job"] is None
            else "No trial came to an end."
        )
        return Section("tuning", "Tuning", finding, [Facts(_pairs(found["best"]))])
    objective = found["objective"]
    high = OBJECTIVE_METRICS.get(objective.removeprefix("validation:"), True)
    ranked = sorted(trials, key=lambda trial: trial["objective"], reverse=high)
    best, worst = ranked[0], ranked[-1]
    finding = (
        f"The best of {plural(len(found['trials']), 'trial')} reached {objective} "
        f"{number(best['objective'])}, the worst {number(worst['objective'])}; "
        "the best hyperparameters trained the model."
    )
    blocks: list[Any] = []
    names = list(best["hyperparameters"])[:AXES]
    if len(trials) > 1 and names:
        blocks.append(_trials_figure(ranked, names, objective, high))
    head = ["Rank", "Status", *best["hyperparameters"], objective, "Time"]
    rows = [_trial_row(place, trial, head[2:-2]) for place, trial in enumerate(ranked, start=1)]
    blocks.append(Table(f"The best trials of tuning job {found['job']}", head, rows[:TRIALS], words=(0, 1)))
    if len(rows) > TRIALS:
        blocks.append(
            More(
                f"{len(rows) - TRIALS} more trials", [Table("More trials", head, rows[TRIALS:], words=(0, 1))]
            )
        )
    return Section("tuning", "Tuning", finding, blocks)


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, shown(value)) for name, value in values.items()]


def shown(value: Any) -> str:
    """A setting or hyperparameter as text."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items()) or "none"
    return str(value) if value != "" else "none"


def _trial_row(place: int, trial: Mapping[str, Any], names: list[str]) -> list[str | Cell]:
    values = [shown(trial["hyperparameters"].get(name, NONE)) for name in names]
    return [f"{place}", trial["status"], *values, number(trial["objective"]), seconds(trial["seconds"])]


def _trials_figure(ranked: list[Mapping[str, Any]], names: list[str], objective: str, high: bool) -> Figure:
    table = np.array(
        [[float(trial["hyperparameters"].get(name, np.nan)) for name in names] for trial in ranked]
    )
    scores = np.array([trial["objective"] for trial in ranked])
    low, top = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    scaled = (table - low) / np.where(top > low, top - low, 1)
    spread = np.ptp(scores) or 1
    quality = (scores - scores.min()) / spread
    quality = quality if high else 1 - quality
    ends = [scores.min(), scores.max()] if high else [scores.max(), scores.min()]
    words = np.array(
        [[shown(float(v)) for v in [*row, end]] for row, end in zip((low, top), ends, strict=True)]
    )
    finding = (
        f"{len(ranked)} trials through {listed(names)} to {objective}; the best one is drawn bold, "
        + listed(f"{name} {shown(ranked[0]['hyperparameters'].get(name, NONE))}" for name in names)
        + "."
    )
    draw = plots.parallel(names, scaled, words, quality, 0, objective)
    caption = "A line is a trial; the further up it ends on the right, the better. Stronger lines are better."
    return Figure("Trials", plots.svg(draw, plots.WIDE, "trials"), finding, caption, wide=True)


def fit(run: Run) -> Section | None:
    curve, found = run.json("learning_curve.json"), (run.metrics or {}).get("fit")
    if curve is None and found is None:
        return None
    blocks: list[Any] = [_learning(curve)] if curve else []
    if found and found["bias"] is not None:
        skills = [(name, share(value)) for name, value in found["skill"].items() if value is not None]
        caption = f"Share of the way from the trivial to a perfect {metric(found['metric'])}"
        blocks.append(Table(caption, ["Split", "Share"], [list(pair) for pair in skills]))
        blocks.append(Text(f"How it is judged, skill being that share: {found['rule']}."))
    return Section("fit", "Learning and fit", diagnosis(found) if found else _stopped_at(curve), blocks)


def diagnosis(found: Mapping[str, Any]) -> str:
    """The fit in words, with what to do about it."""
    if found["bias"] is None:
        return f"The fit is not known: {metric(found['metric'])} is not defined on every split."
    train, test = share(found["skill"]["train"]), share(found["skill"]["test"])
    way = "of the way from a trivial to a perfect score"
    if found["diagnosis"] == "overfit":
        return (
            f"The model overfits: it goes {train} {way} on training rows, but {test} on test rows. "
            "A smaller max_depth, a larger min_child_weight or lambda, or more rows narrow that."
        )
    if found["diagnosis"] == "underfit":
        return (
            f"The model underfits: even on the rows it was trained on it goes only {train} {way}. "
            "More telling features help most; else a larger max_depth or more rounds."
        )
    return f"The fit is balanced: {train} {way} on training rows, {test} on test rows."


def _stopped_at(curve: Mapping[str, Any]) -> str:
    return f"Training kept {curve['best_round'] + 1} rounds."


def _learning(curve: Mapping[str, Any]) -> Figure:
    name, best = curve["metric"], curve["best_round"]
    values = np.array(curve["validation"][name])
    places = curves.thinned(np.stack([np.arange(len(values)), values]))
    gap = curve["train"][name][best] - values[best]
    finding = (
        f"Learning curve: validation {name} is best after {plural(best + 1, 'round')} of {len(values)}, "
        f"{number(float(values[best]))}; training is at {number(curve['train'][name][best])} there, "
        f"a difference of {signed(float(gap))}."
    )
    draw = plots.learning(curve, name, best, places)
    caption = (
        "Rounds after the dashed line made validation no better and were dropped."
        if best + 1 < len(values)
        else "The last round is the best: a larger num_round ([train.hyperparameters]) may do better."
    )
    return Figure("Learning curve", plots.svg(draw, plots.HALF, "learning"), finding, caption)


def champion(run: Run) -> Section | None:
    if run.metrics is None:
        return None
    found = run.metrics["champion"]
    if found is None:
        finding = "There is no champion yet: approve a version, and the next run's model is held against it."
        return Section("champion", "Champion and challenger", finding, [])
    problem, name = run.metrics["problem"], run.metrics["primary"]
    rows = [
        difference_row(each, found["test"][each]["value"], run.metrics["test"][each]["value"], high)
        for each, high in BETTER_HIGH[problem].items()
    ]
    ours, theirs = run.metrics["test"][name]["value"], found["test"][name]["value"]
    tolerance = run.settings.get("gate", {}).get("champion_tolerance")
    finding = f"{metric(name)}: challenger {number(ours)}, champion {number(theirs)}"
    if ours is not None and theirs is not None:
        better = (ours - theirs) * (1 if BETTER_HIGH[problem][name] else -1)
        word = "better" if better > 0 else "worse" if better < 0 else "different"
        finding += f", {number(abs(better))} {word}" if better else ", no different"
    finding += f"; up to {number(tolerance)} worse is accepted." if tolerance is not None else "."
    head = ["Metric", "Champion", "Challenger", "Difference", "The challenger is"]
    caption = f"On the same test rows; the champion is {found['package'].rpartition(':')[2]}"
    return Section("champion", "Champion and challenger", finding, [Table(caption, head, rows)])


def difference_row(name: str, first: float | None, second: float | None, high: bool) -> list[str | Cell]:
    """A metric of two models; the difference is the second's, its tone tells whether that is better."""
    cells: list[str | Cell] = [metric(name), number(first), number(second)]
    if first is None or second is None:
        return [*cells, NONE, Cell("not defined", "quiet")]
    gained = (second - first) * (1 if high else -1)
    if abs(gained) < 1e-9:
        return [*cells, "0", Cell("the same", "quiet")]
    return [*cells, signed(second - first), Cell("better", "good") if gained > 0 else Cell("worse", "bad")]


def attributions(run: Run) -> Section | None:
    found = run.json("attributions.json")
    if found is None:
        return None
    values = found["explanations"]["tree_shap"]["label0"]["global_shap_values"]
    ranking, total = found["ranking"], sum(values.values())
    top = ranking[:3]
    part = share(sum(values[name] for name in top) / total) if total else "none"
    finding = f"{listed(top)} matter most: together {part} of all attribution."
    blocks: list[Any] = [_bars(found, ranking, values)]
    dependence = run.json("partial_dependence.json")
    if dependence:
        blocks += [Heading("How predictions move with a feature"), *_dependences(dependence, run)]
    rows = [[name, number(values[name])] for name in ranking]
    blocks.insert(
        1, More("All features", [Table("Mean absolute TreeSHAP", ["Feature", "Attribution"], rows)])
    )
    return Section("attributions", "What the model looks at", finding, blocks)


def _bars(found: Mapping[str, Any], ranking: list[str], values: Mapping[str, float]) -> Figure:
    names = ranking[:FEATURES]
    told = [f"{name} {number(values[name])}" for name in names[:TOLD]]
    rest = [plural(len(ranking) - TOLD, "other feature")] if len(ranking) > TOLD else []
    finding = f"Mean absolute TreeSHAP: {listed([*told, *rest])}."
    draw = plots.bars(names, [values[name] for name in names], "mean absolute TreeSHAP")
    height = max(1.4, 0.32 * len(names) + 0.7)
    caption = (
        f"How far each feature moves the model's output on average over {plural(found['rows'], 'test row')}, "
        "in log-odds, or in the label's unit for a regression."
    )
    return Figure("Attributions", plots.svg(draw, (plots.HALF[0], height), "attributions"), finding, caption)


def _dependences(found: Mapping[str, Any], run: Run) -> list[Any]:
    outputs = found["outputs"]
    problem = (run.metrics or {}).get("problem")
    y = "mean prediction" if problem == "regression" else f"mean score of {outputs[0]}"
    y = "mean score" if len(outputs) > 1 else short(y, 32)
    every = [value for feature in found["features"] for average in feature["average"] for value in average]
    room = 0.06 * (max(every) - min(every) or 1)
    span = (min(every) - room, max(every) + room)
    left = f" The {OUTPUTS} classes of {len(outputs)} that move most." if len(outputs) > OUTPUTS else ""
    figures = [
        Figure(
            short(feature["name"], 60),
            plots.svg(
                plots.dependence(*_moved_most(feature, outputs), span, y), plots.HALF, f"dependence-{place}"
            ),
            dependence_finding(feature, outputs),
            _dependence_caption(feature, found["rows"]) + left,
        )
        for place, feature in enumerate(found["features"])
    ]
    return [Figures(figures)] if figures else []


def _moved_most(feature: Mapping[str, Any], outputs: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The curves, and the outputs, that the feature moves most: as many as a plot can tell apart."""
    moved = [min(average) - max(average) for average in feature["average"]]
    kept = sorted(np.argsort(moved, kind="stable")[:OUTPUTS].tolist())
    return {**feature, "average": [feature["average"][each] for each in kept]}, [
        outputs[each] for each in kept
    ]


def dependence_finding(feature: Mapping[str, Any], outputs: list[str]) -> str:
    """Where the mean prediction is lowest and highest; of several outputs, of the one that moves most."""
    moved = [max(average) - min(average) for average in feature["average"]]
    output = int(np.argmax(moved))
    average, values = feature["average"][output], [shown(value) for value in feature["values"]]
    low, high = int(np.argmin(average)), int(np.argmax(average))
    of = f" of {outputs[output]}" if len(outputs) > 1 else ""
    return (
        f"Partial dependence on {feature['name']}: the mean prediction{of} goes from "
        f"{number(average[low])} at {values[low]} to {number(average[high])} at {values[high]}."
    )


def _dependence_caption(feature: Mapping[str, Any], rows: int) -> str:
    if feature["kind"] == "number":
        return f"Mean over {plural(rows, 'test row')} with {short(feature['name'])} set to each value."
    return f"Mean over {plural(rows, 'test row')} with {short(feature['name'])} set to each common value."


def lineage(run: Run) -> Section:
    """What the run was made of."""
    recorded, profile = run.lineage or {}, run.profile or {}
    package = run.json("model_package.json")
    commit = recorded.get("commit", "not recorded")
    finding = f"Execution {run.id}, commit {short(commit, 16)}"
    finding += f", data {profile['data_sha256'][:12]}." if profile else "; no data were read."
    facts = [
        ("Execution", run.execution["arn"]),
        ("Started", moment(run.execution["started"])),
        ("Ended", moment(run.execution["ended"])),
        ("Git commit", commit),
        ("Image", recorded.get("image_uri", "not recorded")),
        ("Data, SHA-256", profile.get("data_sha256", "not recorded")),
        *((name, value) for name, value in run.execution["parameters"].items()),
    ]
    if package:
        version = f"{package['ModelPackageGroupName']} version {package['ModelPackageVersion']}"
        facts += [("Model package", version), ("Package ARN", package["ModelPackageArn"])]
    blocks: list[Any] = [Facts(facts)]
    if profile:
        rows = [
            [source["uri"], f"{source['rows']:,}", size(source["bytes"])] for source in profile["sources"]
        ]
        blocks.append(Table("What was read", ["Object", "Rows", "Size"], rows))
    best = (run.json("tuning.json") or {}).get("best")
    if best:
        blocks += [Heading("Hyperparameters"), Facts(_pairs(best))]
    if recorded:
        blocks += [Heading("Versions"), Facts(list(recorded["versions"].items()))]
        blocks.append(
            More("All settings", [Table("Settings", ["Setting", "Value"], _setting_rows(run), words=(0, 1))])
        )
    return Section("lineage", "Lineage", finding, blocks)


def _setting_rows(run: Run) -> list[list[str | Cell]]:
    return [[name, value] for name, value in flat_settings(run.settings).items()]


def flat_settings(settings: Mapping[str, Any], place: str = "") -> dict[str, str]:
    """{`section.key`: value as text}."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, f"{place}{key}.")
        else:
            flat[f"{place}{key}"] = shown(value)
    return flat
