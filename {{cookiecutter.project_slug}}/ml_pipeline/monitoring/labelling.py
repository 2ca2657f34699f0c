"""Labels that have come for scored periods, of this execution or of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

MARK = "quality"  # folder below monitor/; its _SUCCESS tells that the period's labels are counted


@dataclass
class Labelled:
    """documents: drift.json of the periods whose labels were joined. counts: violations that they add."""

    documents: list[Document] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def mark(self, settings: Settings) -> None:
        """Ends what was written of each period, so that its labels are not counted again."""
        for each in self.documents:
            storage.mark_success(results.uri(each["period"], settings, MARK))


def join_all(documents: Iterable[Document], models: Models, settings: Settings) -> Labelled:
    """Joins every period that has scores and complete labels that were not counted yet.

    documents: those of this execution.
    """
    labelled, own = Labelled(), {each["period"]: each for each in documents}
    waiting = pending(settings)
    if waiting and not settings.data.ids:
        labelled.told.append(
            f"labels of {', '.join(waiting)} cannot be joined without an id: name one in ids (settings.toml, "
            f"[data]) and train anew"
        )
        return labelled
    for period in waiting:
        try:
            _join(period, own.get(period) or results.read(period, settings), models, labelled, settings)
        except DataError as error:
            labelled.problems.append(
                f"truth/{period} was not joined: {error} (each scoring run tries truth/{period} again, until "
                "it is replaced, or its _SUCCESS deleted)"
            )
    return labelled


def pending(settings: Settings) -> list[str]:
    """Periods with scores and complete labels that were not counted yet, the oldest first."""
    return [
        period
        for period in periods.present(settings, "truth")
        if not storage.exists(results.uri(period, settings, MARK, periods.SUCCESS))
        and periods.is_complete(period, settings, "truth")
        and periods.is_complete(period, settings, "output")
    ]


def _join(
    period: str, known: Document | None, models: Models, labelled: Labelled, settings: Settings
) -> None:
    """Raises DataError for labels that cannot be joined, before anything is written."""
    if known is None or known["status"] in ("broken", "empty"):
        why = "its data are broken" if known else "it was not monitored: score it again"
        labelled.told.append(f"labels of {period} are not used, since {why}")
        return
    scored = results.read_scored(period, settings)
    scorer = models.of(scored["package"])
    package = scorer.package
    if not package.ids:
        labelled.told.append(f"labels of {period} cannot be joined: the model that scored it knows no id")
        return
    folder = periods.folder(period, settings, "truth")
    labels = truth.read(folder, package.spec, package.ids, settings.data.missing)
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
