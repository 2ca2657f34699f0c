"""What to do about a scored period, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from ml_pipeline import canonical
from ml_pipeline.drift.judge import FEWEST_ROWS
from ml_pipeline.report import measured
from ml_pipeline.report.measured import Measured
from ml_pipeline.report.words import categories, listed, metric, plural

NAMED = 5  # columns in a sentence
Point = tuple[str, str]
RETRAINING: Point = (
    "Retraining",
    "Where the alarms are deployed nothing has to be started by hand: one that rings starts a training on "
    "the newest labelled period, at most one within the cool-down. Its model is registered only if it is no "
    "worse than this one on those rows; then approve it. Elsewhere start the training pipeline yourself.",
)


def points(found: Measured) -> list[Point]:
    """(what it is about, what to do), the most pressing first."""
    if found["status"] == "empty":
        return list(_empty(found))
    if any(map(canonical.is_repeated, found["broken"])):
        return list(_repeated(found))
    if found["broken"] or found["status"] == "broken":
        return list(_broken(found))
    told = [*_quality(found), *_drift(found), *_bias(found), *_few(found)]
    if found["status"] == "drift":
        return [*told, RETRAINING]
    return told or [("Nothing", "The period looks like the training data, and its scores can be used.")]


def _empty(found: Measured) -> Iterator[Point]:
    yield (
        "No rows",
        f"score/{found['period']}/input/ is marked complete but holds no row, so nothing was scored. If none "
        "were due, there is nothing to do; else ask whoever delivers the data, and deliver the period again.",
    )


def _repeated(found: Measured) -> Iterator[Point]:
    names = listed(_named(found.broken_columns))
    yield (
        f"Rows that share an id ({names})",
        "Nothing was scored, since no label could be told which of these rows it is of. Leave out all but "
        "one row of each id; the first ones are named above.",
    )
    yield _again(found)
    yield (
        "If more than one row of an id is meant to be",
        "Name the column that tells them apart in ids too (settings.toml, [data]), and train and approve a "
        "model with that.",
    )


def _again(found: Measured) -> Point:
    return (
        "Then score it again",
        f"Put the mended data to score/{found['period']}/input/ and start the scoring pipeline with "
        f"Period={found['period']}: its outputs are replaced as a whole.",
    )


def _broken(found: Measured) -> Iterator[Point]:
    columns = found.broken_columns or ["the data"]
    yield (
        "Do not retrain, do not use scores of these data",
        "The data are broken, not the world: a model trained on them would learn the fault. No alarm starts "
        "a training for this, and the period is kept out of the training data.",
    )
    yield (
        f"Ask who delivers {listed(_named(columns))}",
        "What has changed there between the last good period and this one? "
        + " ".join(map(measured.described, found["broken"][:NAMED])),
    )
    yield _again(found)
    if found["package_version"] is not None:
        yield (
            "If the data are meant to be so from now on",
            f"Take the model out with python -m ml_pipeline reject {found['package_version']} and train "
            "one on data of the new kind; until then Process refuses them.",
        )


def _quality(found: Measured) -> Iterator[Point]:
    if found.worse:
        yield (
            f"Quality dropped ({listed(metric(name) for name in found.worse)})",
            "Weigh whether its scores may be used until a newer model is approved.",
        )
        if not found.moved:
            yield (
                "No feature has drifted",
                "The same rows now have other labels: look whether the way labels are made has changed, "
                "or the world itself. Only the latter is mended by a training.",
            )


def _drift(found: Measured) -> Iterator[Point]:
    yield from _new_values(found)
    yield from _lacking(found)
    drifted = bool(found.moved or found.moved_predictions or found.reranked)
    if drifted and not found.is_quality_judged:
        yield (
            "Drift, and quality is not known yet",
            "Data that moved need not make the model worse. Bring the true labels "
            f"(truth/{found['period']}/) as soon as there are any.",
        )
    elif drifted and not found.worse:
        yield (
            "Drift, and quality holds",
            "The model is still as good on these rows as it was measured to be: its scores can be used.",
        )
    if found.moved_predictions and not found.moved:
        yield (
            "Predictions drifted though no single feature did",
            "Features may have moved together: look at pairs of those that the model looks at most.",
        )


def _new_values(found: Measured) -> Iterator[Point]:
    features = [feature for feature in found.moved if _is_over(feature, "unknown")]
    names = [feature["name"] for feature in features]
    if names:
        told = [
            f"{feature['name']}: {categories(feature['new'])}. "
            for feature in features[:NAMED]
            if feature.get("new")  # earlier versions of Monitor did not tell them
        ]
        yield (
            f"New categories in {listed(_named(names))}",
            f"{''.join(told)}The model has never seen them and takes them for an unknown value. Misspelt: "
            "mend them at the source. Meant to be so: they are learnt by the next training on labelled rows "
            "that have them.",
        )


def _lacking(found: Measured) -> Iterator[Point]:
    names = [feature["name"] for feature in found.moved if _is_over(feature, "missing")]
    if names:
        yield (
            f"Another share of missing values in {listed(_named(names))}",
            "Ask who fills these columns whether that is meant, before a training learns it.",
        )


def _bias(found: Measured) -> Iterator[Point]:
    if found.biased:
        yield (
            f"Bias moved for {listed(_named(found.biased))}",
            "Read the sentences under Bias, and decide with those who answer for the decisions whether the "
            "scores may be used meanwhile.",
        )


def _few(found: Measured) -> Iterator[Point]:
    if found.is_few:
        yield (
            f"Only {plural(found['rows'], 'row')}",
            f"Nothing is judged by fewer than {FEWEST_ROWS}: no shift could be told from chance. Score "
            "longer periods if they are always so small.",
        )


def _is_over(feature: dict, statistic: str) -> bool:
    return feature["statistics"].get(statistic, {"violated": False})["violated"]


def _named(names: list[str]) -> list[str]:
    return [*names[:NAMED], f"{len(names) - NAMED} more"] if len(names) > NAMED else names
