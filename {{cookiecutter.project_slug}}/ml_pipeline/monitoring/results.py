"""The files of a period below `score/<period>/monitor/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_pipeline import periods, storage
from ml_pipeline.monitoring.document import Document
from ml_pipeline.settings import Settings

DRIFT, SCORED = "drift.json", "scored.json"
HISTORY = 12  # earlier periods that a document tells of


def uri(period: str, settings: Settings, *parts: str) -> str:
    return "/".join((periods.folder(period, settings, "monitor"), *parts))


def write_scored(
    period: str, package: Mapping[str, Any], rows_uri: str, execution_id: str, settings: Settings
) -> None:
    """Keeps what model scored the period, and where the answered rows lie, for labels that come later."""
    document = {"execution": execution_id, "package": package, "rows_uri": rows_uri}
    storage.write_json(uri(period, settings, SCORED), document)


def read_scored(period: str, settings: Settings) -> dict[str, Any]:
    return storage.read_json(uri(period, settings, SCORED))


def write(document: Document, settings: Settings) -> None:
    """Writes drift.json and constraint_violations.json."""
    period = document["period"]
    storage.write_json(
        uri(period, settings, "constraint_violations.json"), {"violations": document["violations"]}
    )
    storage.write_json(uri(period, settings, DRIFT), document)


def read(period: str, settings: Settings) -> Document | None:
    """The period's drift.json, None if it was never monitored."""
    place = uri(period, settings, DRIFT)
    return storage.read_json(place) if storage.exists(place) else None


def earlier(period: str, settings: Settings) -> list[Document]:
    """Documents of the HISTORY periods before it, the oldest first."""
    found: list[Document] = []
    for name in reversed(periods.present(settings, "score")):
        document = read(name, settings) if name < period and len(found) < HISTORY else None
        found += [document] if document else []
    return found[::-1]


def draw(document: Document, settings: Settings) -> None:
    """Writes report.html, and the mark that the period's results are complete."""
    from ml_pipeline.report import drift  # here, because nothing else of the step needs what draws

    storage.write_bytes(uri(document["period"], settings, "report.html"), drift.page(document).encode())
    storage.mark_success(uri(document["period"], settings))
