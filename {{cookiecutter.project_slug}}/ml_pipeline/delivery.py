"""Files on their way into the bucket: what they must hold, and a period that is complete or absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ml_pipeline import dialect, ingest, source, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError
from ml_pipeline.features import FeatureSpec
from ml_pipeline.ingest import Options
from ml_pipeline.periods import SUCCESS
from ml_pipeline.settings import Data

JSON_LINES = ".jsonl"  # of labels, as SageMaker Model Monitor takes them
TABLES = (*dialect.ENDINGS, ".parquet")
ID, TRUTH = ("eventMetadata", "eventId"), ("groundTruthData", "data")  # members of such a line
SHOWN = 20  # columns that a message lists


def files(given: str) -> list[Path]:
    """The file itself, or the data files of the folder by name. Raises InputError for what is no table."""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        return [source.local_file(given)]
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._")
    if not found:
        raise InputError(f"{folder}: a folder without files; put the CSV or parquet files to score there")
    stems: dict[str, Path] = {}
    for path in found:
        if path.suffix.lower() not in TABLES:
            raise InputError(f"{path}: the name must end with {dialect.ENDINGS_TOLD}; move it elsewhere")
        if path.stem in stems:
            raise InputError(
                f"{path}: {stems[path.stem].name} would have scores of the same name, {path.stem}.csv; "
                "rename one of them"
            )
        stems[path.stem] = path
    return found


def check_rows(paths: Sequence[Path], spec: FeatureSpec, data: Data) -> None:
    """Raises DataError for a file whose header lacks a column that the model needs."""
    names = tuple(name for name in data.columns if name != data.target)
    for path in paths:
        present = ingest.columns_of(path, Options(data.missing, {}, data.delimiter, names))
        absent = [name for name in (*spec.ids, *spec.names) if name not in present]
        if absent:
            raise DataError(
                f"{path}: no column {', '.join(map(repr, absent))}, which the approved model needs; "
                f"there are: {_listed(present)}"
            )


def check_truth(path: Path, data: Data) -> None:
    """Raises DataError for labels that cannot be joined with scores: no ids or no target."""
    if not data.ids:
        raise DataError(
            f"{path}: labels are joined with scores by ids, and ids names no column (settings.toml, [data])"
        )
    if path.suffix.lower() == JSON_LINES:
        return _check_json_lines(path, data)
    present = ingest.columns_of(path, Options(data.missing, {}, data.delimiter))
    absent = [name for name in (*data.ids, data.target) if name not in present]
    if absent:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, absent))}: labels have a header with "
            f"{', '.join((*data.ids, data.target))}, or are JSON Lines of SageMaker Model Monitor "
            f"({JSON_LINES}); there are: {_listed(present)}"
        )


def _check_json_lines(path: Path, data: Data) -> None:
    """The first line tells; Monitor looks at every one."""
    if len(data.ids) != 1:
        raise DataError(
            f"{path}: the eventId of a line is one id, and ids names {len(data.ids)} columns "
            f"({', '.join(data.ids)}): bring these labels as CSV"
        )
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = next((line for line in file if line.strip()), "")
    try:
        document = json.loads(line)
        for outer, inner in (ID, TRUTH):
            document[outer][inner]
    except (ValueError, KeyError, TypeError, RecursionError):
        wanted = {ID[0]: {ID[1]: "7"}, TRUTH[0]: {TRUTH[1]: "yes", "encoding": "CSV"}}
        raise DataError(
            f"{path}: a line must look like {json.dumps(wanted)}, the first is {line.strip()[:80]!r}"
        ) from None


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


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
