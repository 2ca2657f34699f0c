"""The section on the quality of the predictions: curves for classes, residuals for a regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_pipeline.metrics import Predictions
from ml_pipeline.names import BETTER_HIGH
from ml_pipeline.report import curves, plots
from ml_pipeline.report.blocks import Cell, Costs, Figure, Figures, Section, Table, Text
from ml_pipeline.report.curves import Thresholds
from ml_pipeline.report.recorded import Run
from ml_pipeline.report.words import METRICS, listed, metric, number, plural, points, share, short

SCATTERED = 800  # points of a scatter plot
CLASSES = 6  # drawn in one plot, the commonest
COST_TOP = 1.5  # of the drawn relative cost
CALIBRATION = (
    "Ten groups of equal size by score, with 95\N{NO-BREAK SPACE}% intervals. "
    "On the dotted line a score is a probability."
)
MATRIX = 30  # classes of a confusion matrix that is shown whole


def section(run: Run) -> Section | None:
    if run.metrics is None:
        return None
    blocks: list[Any] = [metrics_table(run.metrics)]
    if run.predictions is not None:
        blocks += {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[
            run.metrics["problem"]
        ](run)
    return Section("quality", "Quality on the test split", finding(run), blocks)


def finding(run: Run) -> str:
    found, name = run.metrics, run.metrics["primary"]
    test = found["test"][name]
    if test["value"] is None or test["trivial"] is None:
        return f"{metric(name)} is not defined on this test split."
    better = (test["value"] > test["trivial"]) == BETTER_HIGH[found["problem"]][name]
    certain = test["low"] is not None and not test["low"] <= test["trivial"] <= test["high"]
    how = "better" if better else "no better"
    doubt = "" if certain else ", though not beyond what chance could give"
    return (
        f"{metric(name)[0].upper()}{metric(name)[1:]} is {number(test['value'])} "
        f"({run.confidence} interval {number(test['low'])} to {number(test['high'])}): "
        f"{how} than the {number(test['trivial'])} of a model that ignores the features{doubt}."
    )


def metrics_table(found: Mapping[str, Any]) -> Table:
    rows: list[list[str | Cell]] = []
    for name, high in BETTER_HIGH[found["problem"]].items():
        test = found["test"][name]
        head = f"{metric(name)}{' (gate)' if name == found['primary'] else ''}"
        interval = f"{number(test['low'])} to {number(test['high'])}"
        others = [number(found[split][name]["value"]) for split in ("validation", "train")]
        meaning = METRICS.get(name, ("", ""))[1]
        arrow = "higher is better" if high else "lower is better"
        rows.append(
            [head, number(test["value"]), interval, number(test["trivial"]), *others, f"{meaning}; {arrow}"]
        )
    columns = ["Metric", "Test", "Interval", "Trivial model", "Validation", "Training", "What it is"]
    return Table("Metrics on the three splits, with bootstrap intervals on test", columns, rows, words=(0, 6))


def _binary(run: Run) -> list[Any]:
    found, names = run.predictions, run.classes
    positive = found.label == 1
    cuts = curves.thresholds(positive, found.score)
    if cuts is None:
        return [Text("The test split holds one class only: there are no curves to draw."), _confusion(run)]
    chosen = place_of(cuts, run.metrics["threshold"])
    return [
        Figures([_roc(run, cuts, chosen), _precision_recall(run, cuts, chosen)]),
        Figures([_calibration(positive, found.score, names[1]), _scores(run, found)]),
        _confusion(run),
        costs(run, cuts, chosen),
    ]


def place_of(cuts: Thresholds, threshold: float) -> int:
    """Place of the confusion counts of the rows whose score reaches the threshold."""
    return int((cuts.threshold >= threshold).sum()) - 1 if (cuts.threshold >= threshold).any() else 0


def _roc(run: Run, cuts: Thresholds, chosen: int) -> Figure:
    curve = cuts.roc
    point = curve[:, chosen]
    auc = run.metrics["test"]["auc"]["value"]
    finding = (
        f"ROC curve, area {number(auc)}. At the model's threshold {share(point[1])} of the positives are "
        f"found, and {share(point[0])} of the negatives are called positive."
    )
    draw = plots.lines(
        {"model": curve[:, curves.thinned(curve)]},
        "false positive rate",
        "true positive rate (recall)",
        diagonal=True,
        marks={"the model's threshold": (point[0], point[1])},
    )
    caption = "Every threshold from strict (left) to lenient (right); the dotted line is guessing."
    return Figure("ROC curve", plots.svg(draw, plots.HALF, "roc"), finding, caption)


def _precision_recall(run: Run, cuts: Thresholds, chosen: int) -> Figure:
    curve = cuts.precision_recall
    point = curve[:, max(chosen - 1, 0)]
    base = cuts.positives / (cuts.positives + cuts.negatives)
    finding = (
        f"Precision-recall curve, area {number(run.metrics['test']['pr_auc']['value'])}. At the model's "
        f"threshold {share(point[1])} of the predicted positives are positive; {share(base)} of all rows are."
    )
    draw = plots.lines(
        {"model": curve[:, curves.thinned(curve)]},
        "recall",
        "precision",
        marks={"the model's threshold": (point[0], point[1])},
    )
    caption = (
        f"How many predicted positives are right, the more of them are found. Guessing gives {share(base)}."
    )
    return Figure("Precision and recall", plots.svg(draw, plots.HALF, "pr"), finding, caption)


def _calibration(positive: np.ndarray, score: np.ndarray, outcome: str) -> Figure:
    bins = curves.calibration(positive, score)
    worst = int(np.abs(bins.score - bins.observed).argmax())
    finding = (
        f"Calibration: on average a score is off by {points(bins.error)}; at worst, rows scored "
        f"{number(bins.score[worst])} are {outcome} in {share(bins.observed[worst])} of cases."
    )
    draw = plots.reliability({"model": bins}, "mean score", f"share of {short(outcome, 20)}")
    caption = CALIBRATION
    return Figure("Calibration", plots.svg(draw, plots.HALF, "calibration"), finding, caption)


def _scores(run: Run, found: Predictions) -> Figure:
    groups = {name: found.score[found.label == place] for place, name in enumerate(run.classes)}
    medians = [f"{name} {number(float(np.median(values)))}" for name, values in groups.items()]
    finding = f"Scores by label: the medians are {listed(medians)}."
    draw = plots.histogram(groups, "score", True, ("the model's threshold", run.metrics["threshold"]))
    caption = "The less the two shapes overlap, the better the model tells the labels apart."
    return Figure("Scores by label", plots.svg(draw, plots.HALF, "scores"), finding, caption)


def costs(run: Run, cuts: Thresholds, chosen: int) -> Costs:
    """What each threshold costs, for errors of different cost."""
    best = [int(cuts.costs(ratio).argmin()) for ratio in curves.RATIOS]
    places = np.unique(np.concatenate([curves.thinned(cuts.roc), best, [chosen]]))
    rows = [_cost_row(cuts, ratio, chosen) for ratio in curves.RATIOS]
    positive = run.classes[1]
    columns = ["Missed costs", "Best threshold", "Called positive", "Cost there", "Cost at the model's"]
    table = Table(
        "Cost by threshold, relative to the cheaper of calling every row positive or none",
        columns,
        rows,
    )
    clipped = np.clip(cuts.threshold[places], 0, 1)
    draw = plots.cost(clipped, cuts.costs(1.0)[places], (run.metrics["threshold"], 0), COST_TOP)
    relative = float(cuts.costs(1.0)[chosen])
    finding = (
        "If both errors cost the same, the model at its threshold of "
        f"{number(run.metrics['threshold'])} costs {share(relative)} of what deciding without a model "
        f"costs; the best threshold is {rows[curves.RATIOS.index(1.0)][1]}."
    )
    caption = (
        f"A missed {short(positive)} may cost more or less than a false alarm. "
        "Below the dotted line the model pays."
    )
    figure = Figure("Threshold against cost", plots.svg(draw, plots.HALF, "cost"), finding, caption)
    data = {
        "threshold": np.round(clipped, 5).tolist(),
        "false": cuts.false_positive[places].tolist(),
        "missed": (cuts.positives - cuts.true_positive[places]).tolist(),
        "positives": cuts.positives,
        "negatives": cuts.negatives,
        "chosen": int(np.searchsorted(places, chosen)),
        "top": COST_TOP,
        "ratios": list(curves.RATIOS),
    }
    return Costs(figure, table, data)


def _cost_row(cuts: Thresholds, ratio: float, chosen: int) -> list[str | Cell]:
    relative = cuts.costs(ratio)
    best = int(relative.argmin())
    taken = (cuts.true_positive + cuts.false_positive)[best] / (cuts.positives + cuts.negatives)
    times = f"{ratio:g} times a false alarm" if ratio != 1 else "as much as a false alarm"
    at_best, at_chosen = (f"{100 * relative[place]:.0f}\N{NO-BREAK SPACE}%" for place in (best, chosen))
    return [times, number(min(float(cuts.threshold[best]), 1.0)), share(taken), at_best, at_chosen]


def _confusion(run: Run) -> Table:
    labels, counts = (
        run.metrics["confusion_matrix"]["labels"],
        np.array(run.metrics["confusion_matrix"]["counts"]),
    )
    order = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:MATRIX])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows: list[list[str | Cell]] = []
    for place in order:
        cells = [_matrix_cell(counts[place, other], shares[place, other]) for other in order]
        rows.append([labels[place], *cells, f"{counts[place].sum():,}"])
    left = f" (the {MATRIX} commonest of {len(labels)} classes)" if len(labels) > MATRIX else ""
    columns = ["True label", *(f"predicted {labels[place]}" for place in order), "All"]
    return Table(f"Confusion matrix: rows and the share of their true label{left}", columns, rows)


def _matrix_cell(count: int, part: float) -> Cell:
    return Cell(f"{count:,} ({100 * part:.0f}\N{NO-BREAK SPACE}%)", fill=float(part))


def _multiclass(run: Run) -> list[Any]:
    found, names = run.predictions, run.classes
    common = np.argsort(-np.bincount(found.label, minlength=len(names)), kind="stable")[:CLASSES]
    cuts = {names[place]: curves.thresholds(found.label == place, found.score[:, place]) for place in common}
    cuts = {name: cut for name, cut in cuts.items() if cut is not None}
    right, confidence = found.predicted == found.label, found.score.max(axis=1)
    left = f" The {CLASSES} commonest of {len(names)} classes." if len(names) > CLASSES else ""
    return [
        Figures([_class_roc(cuts, left), _class_precision_recall(cuts, left)]),
        Figures([_confidence(right, confidence), _confidences(right, confidence)]),
        _confusion(run),
    ]


def area(cut: Thresholds) -> float:
    return float(np.trapezoid(*cut.roc[::-1]))


def _class_roc(cuts: Mapping[str, Thresholds], left: str) -> Figure:
    areas = {name: area(cut) for name, cut in cuts.items()}
    best, worst = max(areas, key=areas.__getitem__), min(areas, key=areas.__getitem__)
    finding = (
        f"ROC curves, each class against the others: {best} is told apart best (area {number(areas[best])}), "
        f"{worst} worst ({number(areas[worst])})."
    )
    drawn = {name: cut.roc[:, curves.thinned(cut.roc)] for name, cut in cuts.items()}
    draw = plots.lines(drawn, "false positive rate", "true positive rate (recall)", diagonal=True)
    caption = f"Each class against all others; the dotted line is guessing.{left}"
    return Figure("ROC curves", plots.svg(draw, plots.HALF, "roc"), finding, caption)


def _class_precision_recall(cuts: Mapping[str, Thresholds], left: str) -> Figure:
    drawn = {}
    for name, cut in cuts.items():
        curve = cut.precision_recall
        drawn[name] = curve[:, curves.thinned(curve)]
    bases = [f"{name} {share(cut.positives / (cut.positives + cut.negatives))}" for name, cut in cuts.items()]
    finding = f"Precision against recall, each class against the others. Guessing gives {listed(bases)}."
    caption = f"How many of the rows called a class are of it, the more of them are found.{left}"
    draw = plots.lines(drawn, "recall", "precision")
    return Figure("Precision and recall", plots.svg(draw, plots.HALF, "pr"), finding, caption)


def _confidence(right: np.ndarray, confidence: np.ndarray) -> Figure:
    bins = curves.calibration(right, confidence)
    sure = "over" if bins.score.mean() > bins.observed.mean() else "under"
    finding = (
        f"Calibration of the predicted class: its score is off by {points(bins.error)} on average, "
        f"and the model is {sure}confident."
    )
    draw = plots.reliability({"model": bins}, "score of the predicted class", "share that is right")
    caption = CALIBRATION
    return Figure("Calibration", plots.svg(draw, plots.HALF, "calibration"), finding, caption)


def _confidences(right: np.ndarray, confidence: np.ndarray) -> Figure:
    groups = {name: confidence[rows] for name, rows in (("right", right), ("wrong", ~right)) if rows.any()}
    medians = [f"{number(float(np.median(values)))} where it is {name}" for name, values in groups.items()]
    finding = f"Score of the predicted class: the median is {listed(medians)}."
    draw = plots.histogram(groups, "score of the predicted class", True, None)
    caption = "The further right predictions lie from wrong ones, the more a score can be relied on."
    return Figure("Scores, right and wrong", plots.svg(draw, plots.HALF, "scores"), finding, caption)


def _regression(run: Run) -> list[Any]:
    found = run.predictions
    residual = found.label - found.score
    return [
        Figures([_predicted_actual(found), _residuals(found.score, residual)]),
        Figures([_errors(residual), _error_size(found.score, residual)]),
    ]


def _predicted_actual(found: Predictions) -> Figure:
    places = curves.drawn(len(found.label), SCATTERED)
    trend = curves.binned_means(found.score, found.label)
    correlation = _correlation(found.score, found.label)
    finding = f"Predicted against actual values: their correlation is {number(correlation)}."
    draw = plots.scatter(
        found.score[places], found.label[places], ("predicted", "actual"), trend, diagonal=True
    )
    caption = f"Up to {SCATTERED} test rows. On the dashed line a prediction is exact."
    return Figure("Predicted and actual", plots.svg(draw, plots.HALF, "actual"), finding, caption)


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if len(first) < 2 or not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _residuals(predicted: np.ndarray, residual: np.ndarray) -> Figure:
    places = curves.drawn(len(residual), SCATTERED)
    trend = curves.binned_means(predicted, residual)
    worst = int(np.abs(trend[1]).argmax())
    side = "low" if trend[1][worst] > 0 else "high"
    finding = (
        f"Residuals by prediction: around {number(trend[0][worst])} predictions are too {side} by "
        f"{number(abs(trend[1][worst]))} on average, the largest lean."
    )
    draw = plots.scatter(
        predicted[places], residual[places], ("predicted", "actual minus predicted"), trend, diagonal=False
    )
    caption = "A mean away from the dashed line tells where the model leans to one side."
    return Figure("Residuals", plots.svg(draw, plots.HALF, "residuals"), finding, caption)


def _errors(residual: np.ndarray) -> Figure:
    low, middle, high = np.quantile(residual, [0.05, 0.5, 0.95])
    finding = (
        f"Distribution of the residuals: nine in ten lie between {number(low)} and {number(high)}, "
        f"the median is {number(middle)}."
    )
    draw = plots.histogram({"residuals": residual}, "actual minus predicted", False, ("exact", 0.0))
    caption = "Right of the dashed line the model predicted too little. The outermost bars hold all beyond."
    return Figure("Distribution of residuals", plots.svg(draw, plots.HALF, "errors"), finding, caption)


def _error_size(predicted: np.ndarray, residual: np.ndarray) -> Figure:
    trend = np.stack(curves.binned_means(predicted, np.abs(residual)))
    grows = trend[1][-1] > trend[1][0]
    finding = (
        f"Mean absolute error by prediction: {number(trend[1][0])} where predictions are lowest, "
        f"{number(trend[1][-1])} where they are highest; it {'grows' if grows else 'does not grow'}."
    )
    draw = plots.lines({"mean absolute error": trend}, "predicted", "mean absolute error", unit=False)
    caption = f"{plural(curves.BINS, 'group')} of equal size by prediction."
    return Figure("Size of errors", plots.svg(draw, plots.HALF, "sizes"), finding, caption)
