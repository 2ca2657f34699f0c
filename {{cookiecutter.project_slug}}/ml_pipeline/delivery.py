"""Files on their way into the bucket: what they must hold, and a period that is complete or absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ml_pipeline import approved, dialect, ingest, layout, periods, source, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError
from ml_pipeline.features import FeatureSpec
from ml_pipeline.ingest import Options
from ml_pipeline.monitoring import results, truth
from ml_pipeline.periods import SUCCESS
from ml_pipeline.settings import Data, Settings

TABLES = (*dialect.ENDINGS, ".parquet")


def files(given: str) -> list[Path]:
    """The file itself, or the data files of the folder by name. Raises InputError for what is no table."""
    folder = Path(given).expanduser()
    found = [folder] if not folder.is_dir() else sorted(each for each in folder.iterdir() if _is_data(each))
    if not found:
        raise InputError(f"{folder}: a folder without files; put the CSV or parquet files to score there")
    found = found if folder.is_dir() else [source.local_file(given)]
    for path in found:
        if path.suffix.lower() not in TABLES:
            raise InputError(f"{path}: the name must end with {dialect.ENDINGS_TOLD}")
    return found


def _is_data(path: Path) -> bool:
    """Whether it is a file that Select would read."""
    return path.is_file() and path.name[0] not in "._"


def check_rows(paths: Sequence[Path], spec: FeatureSpec, settings: Settings) -> None:
    """Raises DataError for a file that lacks a column which scoring needs, and if none of them has a row."""
    wanted = layout.wanted(spec, settings)
    found = [(path, layout.found(path, str(path), wanted).options) for path in paths]
    if not any(batch.num_rows for path, options in found for batch in ingest.batches(path, options)):
        raise DataError(f"{', '.join(map(str, paths))}: no row below the header; bring rows to score")


def check_labels(path: Path, period: str, spec: FeatureSpec | None, settings: Settings) -> None:
    """Raises DataError for labels that Monitor would refuse, whatever was scored.

    spec: of the model that is to score the period; None: of the one that has, else of the approved one.
    """
    spec = spec or scored_by(period, settings) or _approved(settings)
    if spec is None:
        print("note: no version is approved yet, so that only the columns could be checked", flush=True)
    elif spec.ids:
        ids = tuple(name for name in spec.ids if name in settings.data.ids)
        truth.read_file(path, spec, ids, settings.data.missing, settings.data.decimal)


def scored_by(period: str, settings: Settings) -> FeatureSpec | None:
    """What the model took that has scored the period; None if it was not scored, or that is not known."""
    if not periods.is_complete(period, settings, "output"):
        return None
    text = storage.read_text(results.uri(period, settings, results.SCORED))
    spec = storage.read_text(json.loads(text)["package"]["feature_spec_uri"]) if text else None
    return FeatureSpec.from_json(spec) if spec else None


def _approved(settings: Settings) -> FeatureSpec | None:
    package = approved.newest(settings.prefix)
    return approved.spec(package, settings) if package else None


def check_truth(path: Path, data: Data) -> None:
    """Raises DataError for labels that cannot be joined with scores: no ids or no target."""
    if not data.ids:
        raise DataError(
            f"{path}: labels are joined with scores by ids, and ids names no column (settings.toml, [data]): "
            f"name one there that your rows have, then train and approve a model with it"
        )
    if path.suffix.lower() in truth.JSON_LINES:
        return _check_json_lines(path, data)
    present = ingest.columns_of(path, Options(data.missing, {}, data.delimiter))
    absent = [name for name in (*data.ids, data.target) if name not in present]
    if absent:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, absent))}; labels are a file with the columns "
            f"{', '.join((*data.ids, data.target))}, or JSON Lines of Model Monitor ({truth.JSON_LINES[0]}); "
            f"there are: {', '.join(present)}"
        )


def _check_json_lines(path: Path, data: Data) -> None:
    """The first line tells; Monitor looks at every one."""
    if len(data.ids) != 1:
        raise DataError(
            f"{path}: an eventId is one id, but rows are known by {', '.join(data.ids)}: bring a CSV"
        )
    with path.open("rb") as file:
        line = next(filter(bytes.strip, file), b"")
    try:
        truth.event(line)
    except (ValueError, KeyError, TypeError):
        shown = line.decode(errors="replace").strip()[:80]
        raise DataError(f"{path}: a line must be {truth.LINE}, the first is {shown!r}") from None


def put(paths: Sequence[Path], folder: str) -> None:
    """Makes the folder hold these files and, last, `_SUCCESS`; what else it held is gone."""
    present = [uri for uri, _ in storage.list_uris(f"{folder}/")]
    targets = {f"{folder}/{path.name}": path for path in paths}
    mark = f"{folder}/{SUCCESS}"
    # Without its mark first, so that no execution takes a period that is half replaced.
    for uri in sorted((uri for uri in present if uri not in targets), key=lambda uri: uri != mark):
        storage.delete(uri)
    for uri, path in targets.items():
        storage.upload(path, uri)
    storage.mark_success(folder)
