"""Ground truth of a period: CSV, parquet or Model Monitor's JSON Lines, known by the ids of its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_pipeline import cells, hashing, ingest, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.features import FeatureSpec, RowError, canonical_text
from ml_pipeline.monitoring import served

JSON_LINES = (".jsonl", ".ndjson", ".json")
JOINT = "\x1f"  # between the ids of a row; no text in a CSV holds it
LINE = (
    '{"groundTruthData": {"data": "<label>", "encoding": "CSV"}, '
    '"eventMetadata": {"eventId": "<id>"}, "eventVersion": "0"}'
)


@dataclass(frozen=True)
class Truth:
    """Labels by id. keys: 64-bit hashes of the ids, ascending. labels: as FeatureSpec encodes them.

    unlabelled: rows whose label is missing, which are not among them.
    """

    keys: np.ndarray
    labels: np.ndarray
    unlabelled: int

    def places(self, keys: pa.Array) -> np.ndarray:
        """Place in labels of each row, -1 for a row without a label. keys: texts of `key_texts`."""
        hashes, absent = _hashes(keys), keys.is_null().to_numpy(zero_copy_only=False)
        order = np.argsort(hashes)  # looking up in order stays in the processor's cache
        found = np.empty(len(hashes), np.int64)
        found[order] = np.minimum(np.searchsorted(self.keys, hashes[order]), len(self.keys) - 1)
        return np.where((self.keys[found] == hashes) & ~absent, found, -1)


def read(folder_uri: str, spec: FeatureSpec, ids: tuple[str, ...], missing: tuple[str, ...]) -> Truth:
    """Truth of all objects below the folder. Raises DataError naming object, row and remedy."""
    names = storage.data_objects(f"{folder_uri}/", [uri for uri, _ in storage.list_uris(f"{folder_uri}/")])
    if not names:
        raise DataError(f"{folder_uri}: no object with labels; bring one, or delete the folder's _SUCCESS")
    return _whole(folder_uri, names, spec, ids, missing)


def read_file(path: Path, spec: FeatureSpec, ids: tuple[str, ...], missing: tuple[str, ...]) -> Truth:
    """The same of a local file. Raises DataError."""
    return _whole(str(path), [path], spec, ids, missing)


def _whole(
    place: str,
    objects: Sequence[str | Path],
    spec: FeatureSpec,
    ids: tuple[str, ...],
    missing: tuple[str, ...],
) -> Truth:
    tables = [_table(each, spec, ids, missing) for each in objects]
    keys, labels = (
        pa.chunked_array([chunk for table in tables for chunk in table[name].chunks])
        for name in ("key", "label")
    )
    sources = tuple(
        ingest.Source(str(each), 0, len(table["key"])) for each, table in zip(objects, tables, strict=True)
    )
    known = labels.is_valid().to_numpy()
    rows = np.flatnonzero(known)
    if not len(rows):
        raise DataError(f"{place}: no row has a label; bring labels, or delete the folder's _SUCCESS")
    encoded = _encoded(labels.filter(pa.array(known)), spec, rows, sources)
    hashes = _hashes_of(keys.filter(pa.array(known)))
    order = np.argsort(hashes, kind="stable")
    _refuse_twice(hashes[order], order, keys, rows, sources)
    return Truth(hashes[order], encoded[order], len(known) - len(rows))


def key_texts(columns: list[pa.Array]) -> pa.Array:
    """One text a row; null where an id is missing."""
    texts = [column.cast(pa.string()) for column in columns]
    return pc.binary_join_element_wise(*texts, JOINT)


def ids_of(block: pa.RecordBatch, ids: tuple[str, ...]) -> list[pa.Array]:
    """Columns of a block of scored rows."""
    return [block.column(served.key("passed", name)) for name in ids]


def shown(key: str) -> str:
    return ", ".join(key.split(JOINT))


def _table(
    given: str | Path, spec: FeatureSpec, ids: tuple[str, ...], missing: tuple[str, ...]
) -> dict[str, Any]:
    """Columns `key` and `label` of one object or local file, as chunked arrays."""
    uri = str(given)
    if uri.lower().endswith(JSON_LINES):
        if len(ids) != 1:
            raise DataError(
                f"{uri}: an eventId is one id, but rows are known by {', '.join(ids)}: bring a CSV with these"
            )
        return _json_lines(given, spec, missing)
    target = spec.target.name
    kind: cells.Kind = "number" if spec.target.problem == "regression" else "category"
    options = ingest.Options(missing, dict.fromkeys(ids, "category") | {target: kind})
    raw = (ingest.read_file(given, options) if isinstance(given, Path) else ingest.read(given, options)).table
    for name in (*ids, target):
        if name not in raw.column_names:
            raise DataError(
                f"{uri}: no column {name!r}; ground truth is a file with the columns "
                f"{', '.join((*ids, target))}; there are: {', '.join(raw.column_names)}"
            )
    key = pa.chunked_array([key_texts([raw[name].combine_chunks() for name in ids])], pa.string())
    if key.null_count:
        row = int(np.argmax(key.is_null().to_numpy())) + 1
        raise DataError(f"{uri} row {row:,}: no id ({', '.join(ids)}); fill it in, or leave the row out")
    return {"key": key, "label": _plain(raw[target])}


def _json_lines(given: str | Path, spec: FeatureSpec, missing: tuple[str, ...]) -> dict[str, Any]:
    keys, labels = [], []
    for row, line in enumerate(_lines(given), start=1):
        try:
            key, label = event(line)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{given} line {row:,}: must be {LINE} ({_why(error)})") from None
        keys.append(canonical_text(key))
        labels.append(label)
    column = cells.Reader(
        spec.target.name, missing, "number" if spec.target.problem == "regression" else "category"
    )
    try:
        column.add(pa.array(labels, pa.string()))
    except RowError as error:
        raise DataError(f"{given} line {error.row:,}: {error.problem}") from None
    return {"key": pa.chunked_array([keys], pa.string()), "label": _plain(column.whole())}


def _lines(given: str | Path) -> Iterator[bytes]:
    if isinstance(given, Path):
        with given.open("rb") as file:
            yield from filter(bytes.strip, file)
    else:
        yield from filter(bytes.strip, storage.stream(given).iter_lines())


def event(line: bytes) -> tuple[str, str]:
    """Id and label of one line."""
    document = json.loads(line)
    data, event = document["groundTruthData"], document["eventMetadata"]["eventId"]
    if data["encoding"] != "CSV":
        raise ValueError(f"encoding {data['encoding']!r}")
    ((label,),) = csv.reader([str(data["data"])])
    if not isinstance(event, str | int) or event == "":
        raise ValueError(f"eventId {event!r}")
    return str(event), label


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_floating(column.type) else column.cast(pa.string())


def _encoded(
    labels: pa.ChunkedArray, spec: FeatureSpec, rows: np.ndarray, sources: tuple[ingest.Source, ...]
) -> np.ndarray:
    try:
        return spec.encode_label(cells.values(labels))
    except RowError as error:
        place = ingest.place(int(rows[error.row - 1]) + 1, sources)
        raise DataError(f"{place}, column {error.column}: {error.problem}; correct the label") from None


def _hashes_of(keys: pa.ChunkedArray) -> np.ndarray:
    """Of all keys, block by block: as Python's texts they take more memory than everything else."""
    blocks = (
        keys.slice(start, served.BLOCK_ROWS).combine_chunks()
        for start in range(0, len(keys), served.BLOCK_ROWS)
    )
    return np.concatenate([_hashes(block) for block in blocks])


def _hashes(keys: pa.Array) -> np.ndarray:
    """uint64; two of ten million ids share one with a chance of 3 in a million."""
    return hashing.of_texts(keys.fill_null(""))


def _refuse_twice(
    hashes: np.ndarray,
    order: np.ndarray,
    keys: pa.ChunkedArray,
    rows: np.ndarray,
    sources: tuple[ingest.Source, ...],
) -> None:
    twice = np.flatnonzero(hashes[1:] == hashes[:-1])
    if not len(twice):
        return
    repeated = len(np.unique(hashes[twice]))
    first, second = (int(rows[order[place]]) for place in (twice[0], twice[0] + 1))
    raise DataError(
        f"{ingest.place(second + 1, sources)}: id {shown(keys[second].as_py())!r} has a label already, at "
        f"{ingest.place(first + 1, sources)}; leave one label for each (ids that repeat: "
        f"{repeated:,})"
    )
