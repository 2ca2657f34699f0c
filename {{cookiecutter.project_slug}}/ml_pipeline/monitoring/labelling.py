"""Labels that have come for scored periods, of this execution or of earlier ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from ml_pipeline import periods, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.monitoring import document, joined, results, served, truth
from ml_pipeline.monitoring.document import Document
from ml_pipeline.monitoring.joined import Joining
from ml_pipeline.monitoring.models import Models
from ml_pipeline.monitoring.package import Package
from ml_pipeline.monitoring.publishing import TrainingData
from ml_pipeline.settings import Settings

MARK = "quality"  # folder below monitor/; its _SUCCESS tells which labels of the period are counted


class Unused(DataError):
    """Labels that are not at fault, but are of no use."""


@dataclass
class Labelled:
    """documents: drift.json of the periods whose labels were joined. counts: violations that they add.

    labels: fingerprints of those that were looked at, by period. unused: periods whose labels are of no use.
    noted: drift.json of the periods whose labels could not be joined, which is told there. problems: what
    fails the execution.
    """

    labels: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    noted: list[Document] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def mark(self, settings: Settings) -> None:
        """Ends what was written of each period, so that its labels are not counted, or told of, again."""
        for period in (*(each["period"] for each in self.documents), *self.unused):
            storage.mark_success(results.uri(period, settings, MARK), self.labels[period].encode())


def join_all(
    documents: Iterable[Document], asked: Collection[str], models: Models, settings: Settings
) -> Labelled:
    """Joins every period that has scores and complete labels that were not counted yet.

    documents: those of this execution. asked: periods whose labels are to be counted, counted before or not.
    Labels of these that cannot be joined are a problem; those of other periods are told, and fail nothing.
    """
    labelled, own = Labelled(), {each["period"]: each for each in documents}
    waiting = pending(asked, settings)
    if waiting and not settings.data.ids:
        labelled.told.append(
            f"labels of {', '.join(waiting)} cannot be joined without an id: name one in ids (settings.toml, "
            f"[data]) and train anew"
        )
        return labelled
    for period in waiting:
        known = own.get(period) or results.read(period, settings)
        try:
            _join(period, known, models, labelled, settings)
        except Unused as error:
            labelled.unused.append(period)
            (labelled.problems if period in asked else labelled.told).append(str(error))
        except DataError as error:
            told = (
                f"truth/{period} was not joined: {error} (each scoring run tries truth/{period} again, until "
                "it is replaced, or its _SUCCESS deleted)"
            )
            (labelled.problems if period in own or period in asked else labelled.told).append(told)
            _note(told, known, labelled, settings)
    labelled.labels = waiting
    return labelled


def pending(asked: Collection[str], settings: Settings) -> dict[str, str]:
    """Fingerprint of the labels by period, of those with scores and complete labels, the oldest first.

    Left out are periods whose labels were counted already, and not replaced since, unless asked for.
    """
    etags, found = storage.etags(f"s3://{settings.bucket}/truth/"), {}
    for period in periods.present(settings, "truth"):
        folder = periods.folder(period, settings, "truth")
        labels = storage.fingerprint(f"{folder}/", etags)
        if (
            f"{folder}/{periods.SUCCESS}" in etags
            and (period in asked or not _is_counted(period, labels, settings))
            and periods.is_complete(period, settings, "output")
        ):
            found[period] = labels
    return found


def _is_counted(period: str, labels: str, settings: Settings) -> bool:
    """An empty mark, which earlier versions of this step wrote, is of whatever labels there are."""
    return storage.read_text(results.uri(period, settings, MARK, periods.SUCCESS)) in ("", labels)


def _note(told: str, known: Document | None, labelled: Labelled, settings: Settings) -> None:
    """Tells it in the period's own results, unless these tell it already."""
    if known and known.get("notes") != [told]:
        noted = document.with_notes(known, [told])
        results.write(noted, settings)
        labelled.noted.append(noted)


def _join(
    period: str, known: Document | None, models: Models, labelled: Labelled, settings: Settings
) -> None:
    """Raises Unused, or DataError for labels that cannot be joined, before anything is written."""
    if known is None or known["status"] in ("broken", "empty"):
        why = "its data are broken" if known else "it was not monitored: score it again"
        raise Unused(f"labels of {period} are not used, since {why}")
    scored = results.read_scored(period, settings)
    if not storage.list_uris(f"{scored['rows_uri']}/"):
        raise Unused(f"labels of {period} are not used, since {scored['rows_uri']} is gone: score it again")
    scorer = models.of(scored["package"])
    package = scorer.package
    if not package.ids:
        raise Unused(f"labels of {period} cannot be joined: the model that scored it knows no id")
    folder = periods.folder(period, settings, "truth")
    data = settings.data
    labels = truth.read(folder, package.spec, package.ids, data.missing, data.decimal)
    joining = Joining(labels, package, settings)
    with TrainingData(period, package, settings) as training:
        for block in _blocks(scored["rows_uri"], package):
            training.add(*joining.add(block))
        found = joining.ended()
        statistics = joined.quality(found, package, settings)
        analysis = joined.analysis(found, scorer.model, package, settings) if package.bias else None
        made = document.with_labels(known, found, statistics, analysis, package, settings)
        told = training.publish()
    quality = results.uri(period, settings, MARK)
    storage.write_json(f"{quality}/model_quality_statistics.json", statistics)
    if analysis:
        storage.write_json(f"{quality}/analysis.json", analysis)
    results.write(made, settings)
    labelled.documents.append(made)
    measured = ("QualityDrop", "BiasDrift") if analysis else ("QualityDrop",)
    labelled.counts.append({name: document.of_labels(made, name) for name in measured})
    labelled.told.append(_told(period, found, labels, told))


def _blocks(rows_uri: str, package: Package) -> Iterator[pa.RecordBatch]:
    for uri in served.objects(rows_uri):
        yield from served.blocks(uri, package.layout)


def _told(period: str, found: joined.Joined, labels: truth.Truth, training: str) -> str:
    parts = [f"labels of {period}: {found.rows:,} joined"]
    if found.unmatched:
        parts.append(f"{found.unmatched:,} belong to no scored row")
    if labels.unlabelled:
        parts.append(f"{labels.unlabelled:,} without a label")
    return ", ".join([*parts, training])
