"""Monitor: publishes the scores, joins labels that have come, measures drift and tells CloudWatch."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from ml_pipeline import periods as calendar
from ml_pipeline import storage
from ml_pipeline.dialect import DataError
from ml_pipeline.monitoring import cloudwatch, document, labelling, publishing, results, served
from ml_pipeline.monitoring.document import Document
from ml_pipeline.monitoring.labelling import Labelled
from ml_pipeline.monitoring.measure import Measured, Measuring
from ml_pipeline.monitoring.models import Models, Scorer
from ml_pipeline.monitoring.publishing import Scores
from ml_pipeline.periods import LABELS
from ml_pipeline.settings import Settings


def monitor(
    package: dict[str, Any] | None,
    periods: list[dict[str, Any]],
    predictions_uri: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Publishes the scores of the ready periods, and measures them against the baselines of the package.

    package, periods: as Select returns them. predictions_uri: Transform's, with `<period>/<object>.csv.out`.
    Labels are joined as soon as they are complete, also those of earlier periods, and the labelled rows
    become `raw/<period>/`. Returns summary, monitor_uris, drift_uris and violations by CloudWatch metric.
    Raises DataError at the end, when all else is published, for periods that could not be scored and for
    labels of these periods that could not be joined; those of other periods are only told.
    """
    models = Models()
    documents = [
        _ready(entry, models.of(package), f"{predictions_uri}/{entry['period']}", execution_id, settings)
        if entry["state"] == "ready"
        else _unscored(entry, package, execution_id, settings)
        for entry in periods
        if entry["state"] != LABELS
    ]
    asked = {entry["period"] for entry in periods if entry["state"] == LABELS}
    labelled = labelling.join_all(documents, asked, models, settings)
    superseded = _superseded(documents, labelled, settings)
    labelled.told += superseded
    roll_ups = _roll_ups(documents, labelled)
    cloudwatch.send(roll_ups, _feature_metrics(documents, settings), settings)
    told = _last(documents, labelled)
    for each in (*told, *labelled.noted):
        results.draw(each, settings)
    labelled.mark(settings)
    summary = _summary(told, labelled, roll_ups)
    print(f"Monitor: {summary}", flush=True)
    problems = [*_problems(periods), *labelled.problems]
    if problems:
        raise DataError("; ".join([*problems, *superseded]))
    return {
        "summary": summary,
        "monitor_uris": [results.uri(each["period"], settings) for each in told],
        "drift_uris": [results.uri(each["period"], settings, results.DRIFT) for each in told],
        "violations": roll_ups,
    }


def _ready(
    entry: dict[str, Any], scorer: Scorer, rows_uri: str, execution_id: str, settings: Settings
) -> Document:
    """The period's document, after its scores and what was measured of it are written."""
    period, package = entry["period"], scorer.package
    before = results.read(period, settings)
    measured = _published(entry, scorer, rows_uri, execution_id, settings)
    storage.write_json(results.uri(period, settings, "statistics.json"), measured.statistics)
    storage.write_json(results.uri(period, settings, "constraints.json"), package.constraints)
    found = document.empty(period, execution_id, package.document)
    found = document.with_measured(found, measured, package, settings)
    if found["status"] == "broken":
        found = document.with_notes(found, _untrained(period, before, settings))
    found = document.with_history(found, results.earlier(period, settings))
    results.write(found, settings)
    return found


def _published(
    entry: dict[str, Any], scorer: Scorer, rows_uri: str, execution_id: str, settings: Settings
) -> Measured:
    """What the rows are like, which are read once. Raises ValueError if some are absent."""
    package, period = scorer.package, entry["period"]
    measuring, output = Measuring(package, settings), calendar.folder(period, settings, "output")
    with tempfile.TemporaryDirectory() as scratch:
        scores = Scores(Path(scratch), package)
        for uri in served.objects(rows_uri):
            name = uri.removeprefix(f"{rows_uri}/").removesuffix(served.ENDING)
            for block in scores.add(name, served.blocks(uri, package.layout)):
                measuring.add(block)
        measured = measuring.ended(scorer.model)
        if measured.rows != entry["rows"]:
            raise ValueError(
                f"{rows_uri}: batch transform answered {measured.rows:,} of {entry['rows']:,} rows"
            )
        publishing.clear(output)
        publishing.clear(results.uri(period, settings))
        results.write_scored(period, package.document, rows_uri, execution_id, settings)
        scores.publish(output)
    print(f"Monitor: {period}: {measured.rows:,} scores -> {output}", flush=True)
    return measured


def _unscored(
    entry: dict[str, Any], package: dict[str, Any] | None, execution_id: str, settings: Settings
) -> Document:
    """The document of a period that Select found broken or empty.

    What an earlier execution scored stays, but without its mark: it is not of the rows that are there now.
    So whoever waits for the mark waits on, and `auto` scores the period once it is mended. Nobody trains on
    what an earlier execution labelled.
    """
    period = entry["period"]
    before = results.read(period, settings)
    found = document.empty(period, execution_id, package)
    found = document.with_broken(found, entry["broken"]) | {"rows": entry["rows"]}
    found = document.with_notes(found, [*_unmarked(period, settings), *_untrained(period, before, settings)])
    found = document.with_history(found, results.earlier(period, settings))
    publishing.clear(results.uri(period, settings))
    results.write(found, settings)
    return found


def _unmarked(period: str, settings: Settings) -> list[str]:
    """What is to be told of scores that have lost their mark."""
    if not publishing.withdraw(calendar.folder(period, settings, "output")):
        return []
    return [
        f"score/{period}/output holds the scores of an earlier delivery, not of these rows; it has lost its "
        f"{calendar.SUCCESS} for that"
    ]


def _untrained(period: str, before: Document | None, settings: Settings) -> list[str]:
    """What is to be told of training data that are withdrawn, now or when `before` was told of the period."""
    told = (
        f"raw/{period} held the labelled rows of an earlier delivery, not these rows; it is deleted, so that "
        "no model is trained on them"
    )
    is_known = before is not None and told in before.get("notes", ())
    return [told] if publishing.withdraw_training(period, settings) or is_known else []


def _superseded(documents: list[Document], labelled: Labelled, settings: Settings) -> list[str]:
    """What is to be told of training data that are withdrawn: of rows that ones without labels replace."""
    joined = {each["period"] for each in labelled.documents}
    scored = [each["period"] for each in documents if each["period"] not in joined]
    return [told for period in scored for told in _untrained(period, None, settings)]


def _roll_ups(documents: list[Document], labelled: Labelled) -> dict[str, int]:
    """Violations of this execution by metric; what was not measured is absent, but for broken data."""
    total: Counter[str] = Counter({"DataBroken": 0})
    for found in (*(each["metrics"] for each in documents), *labelled.counts):
        total.update(found)
    return dict(total)


def _feature_metrics(documents: list[Document], settings: Settings) -> dict[str, float]:
    """The largest PSI of each feature, if settings want it."""
    found: dict[str, float] = {}
    for feature in (each for one in documents for each in one["features"]):
        value = feature["statistics"]["psi"]["value"]
        found[feature["name"]] = max(value, found.get(feature["name"], value))
    return found if settings.monitor.feature_metrics else {}


def _last(documents: list[Document], labelled: Labelled) -> list[Document]:
    """Each period's newest document, in order of the periods."""
    newest = {each["period"]: each for each in (*documents, *labelled.documents)}
    return [newest[period] for period in sorted(newest)]


def _summary(told: list[Document], labelled: Labelled, roll_ups: dict[str, int]) -> str:
    rung = ", ".join(f"{name} {count}" for name, count in roll_ups.items() if count)
    parts = [
        ", ".join([f"{each['period']}: {each['rows']:,} rows", each["status"], *each["notes"]])
        for each in told
    ]
    return "; ".join([*(parts or ["nothing scored"]), *labelled.told, f"violations: {rung or 'none'}"])


def _problems(periods: list[dict[str, Any]]) -> list[str]:
    """What is to be said of periods that were not scored."""
    found = []
    for entry in periods:
        where = f"{entry['period']} was not scored"
        if entry["state"] == "empty":
            found.append(f"{where}: it holds no row; bring its rows, or delete score/{entry['period']}/input")
        if entry["state"] == "broken":
            found.append(f"{where}: " + "; ".join(each["description"] for each in entry["broken"]))
    return found
