"""Ground truth of a period: CSV, parquet or Model Monitor's JSON Lines, known by the ids of its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

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

    unlabelled: rows whose label is missing, which are not among them. A label takes 8 bytes and, of classes,
    1 (above 256 classes 2), of a regression 8; while they are sorted, 17 more.
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


@dataclass(frozen=True)
class _Form:
    """What the rows are known by and what their labels are. missing, decimal: as in settings."""

    spec: FeatureSpec
    ids: tuple[str, ...]
    missing: tuple[str, ...]
    decimal: str

    @property
    def kind(self) -> cells.Kind:
        return "number" if self.spec.target.problem == "regression" else "category"

    @property
    def label_type(self) -> np.dtype:
        is_number = self.spec.target.problem == "regression"
        return np.dtype(float) if is_number else np.min_scalar_type(len(self.spec.target.classes) - 1)


@dataclass(frozen=True)
class _Block:
    """Rows of an object. key: a text each. label: null where it is missing. before: rows before these."""

    uri: str
    before: int
    key: pa.Array
    label: pa.ChunkedArray

    @property
    def labelled(self) -> np.ndarray:
        """Places of the rows with a label."""
        return np.flatnonzero(self.label.is_valid().to_numpy())

    def place(self, row: int) -> str:
        return f"{self.uri} row {self.before + row + 1:,}"


def read(
    folder_uri: str, spec: FeatureSpec, ids: tuple[str, ...], missing: tuple[str, ...], decimal: str
) -> Truth:
    """Truth of all objects below the folder. Raises DataError naming object, row and remedy."""
    names = storage.data_objects(f"{folder_uri}/", [uri for uri, _ in storage.list_uris(f"{folder_uri}/")])
    if not names:
        raise DataError(f"{folder_uri}: no object with labels; bring one, or delete the folder's _SUCCESS")
    return _whole(folder_uri, names, _Form(spec, ids, missing, decimal))


def read_file(
    path: Path, spec: FeatureSpec, ids: tuple[str, ...], missing: tuple[str, ...], decimal: str
) -> Truth:
    """The same of a local file. Raises DataError."""
    return _whole(str(path), [path], _Form(spec, ids, missing, decimal))


def _whole(place: str, objects: Sequence[str | Path], form: _Form) -> Truth:
    hashes, labels, unlabelled = [], [], 0
    for block in _blocks(objects, form):
        rows = block.labelled
        hashes.append(_hashes(block.key.take(pa.array(rows))))
        labels.append(_encoded(block, rows, form).astype(form.label_type))
        unlabelled += len(block.key) - len(rows)
    if not any(map(len, hashes)):
        raise DataError(f"{place}: no row has a label; bring labels, or delete the folder's _SUCCESS")
    whole = np.concatenate(hashes)
    hashes.clear()
    order = np.argsort(whole)
    whole = whole[order]
    _refuse_twice(whole, objects, form)
    return Truth(whole, np.concatenate(labels)[order], unlabelled)


def key_texts(columns: list[pa.Array]) -> pa.Array:
    """One text a row; null where an id is missing."""
    texts = [column.cast(pa.string()) for column in columns]
    return pc.binary_join_element_wise(*texts, JOINT)


def ids_of(block: pa.RecordBatch, ids: tuple[str, ...]) -> list[pa.Array]:
    """Columns of a block of scored rows."""
    return [block.column(served.key("passed", name)) for name in ids]


def shown(key: str) -> str:
    return ", ".join(key.split(JOINT))


def _blocks(objects: Sequence[str | Path], form: _Form) -> Iterator[_Block]:
    """All rows, block by block. Raises DataError."""
    for each in objects:
        if str(each).lower().endswith(JSON_LINES):
            yield from _of_lines(each, form)
        elif isinstance(each, Path):
            yield from _of_table(each, str(each), form)
        else:
            with TemporaryDirectory() as scratch:
                storage.download(each, Path(scratch, "labels"))
                yield from _of_table(Path(scratch, "labels"), each, form)


def _of_table(path: Path, uri: str, form: _Form) -> Iterator[_Block]:
    target, before = form.spec.target.name, 0
    kinds = dict.fromkeys(form.ids, "category") | {target: form.kind}
    options = ingest.Options(form.missing, kinds, decimal=form.decimal)
    present, columns = ingest.columns_of(path, options, uri), [*form.ids, target]
    for name in columns:
        if name not in present:
            raise DataError(
                f"{uri}: no column {name!r}; ground truth is a file with the columns "
                f"{', '.join(columns)}; there are: {', '.join(present)}"
            )
    for table in ingest.blocks(path, options, uri, columns):
        key = key_texts([table[name].combine_chunks() for name in form.ids])
        block = _Block(uri, before, key, table[target])
        if key.null_count:
            row = int(np.argmax(key.is_null().to_numpy(zero_copy_only=False)))
            raise DataError(
                f"{block.place(row)}: no id ({', '.join(form.ids)}); fill it in, or leave the row out"
            )
        yield block
        before += len(key)


def _of_lines(given: str | Path, form: _Form) -> Iterator[_Block]:
    if len(form.ids) != 1:
        raise DataError(
            f"{given}: an eventId is one id, but rows are known by {', '.join(form.ids)}: "
            f"bring a CSV with these"
        )
    numbered = enumerate(_lines(given), start=1)
    while some := list(islice(numbered, served.BLOCK_ROWS)):
        keys, labels = zip(*(_event(given, row, line) for row, line in some), strict=True)
        column, before = cells.Reader(form.spec.target.name, form.missing, form.kind), some[0][0] - 1
        try:
            column.add(pa.array(labels, pa.string()))
        except RowError as error:
            raise DataError(f"{given} line {before + error.row:,}: {error.problem}") from None
        yield _Block(str(given), before, pa.array(keys, pa.string()), column.whole())


def _event(given: str | Path, row: int, line: bytes) -> tuple[str, str]:
    try:
        key, label = event(line)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{given} line {row:,}: must be {LINE} ({_why(error)})") from None
    return canonical_text(key), label


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
    if not isinstance(event, str | int) or not str(event).strip():
        raise ValueError(f"eventId {event!r}")
    return str(event), label


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _encoded(block: _Block, rows: np.ndarray, form: _Form) -> np.ndarray:
    """Labels of these rows. Raises DataError."""
    try:
        return form.spec.encode_label(cells.values(block.label.take(pa.array(rows))))
    except RowError as error:
        place = block.place(int(rows[error.row - 1]))
        raise DataError(f"{place}, column {error.column}: {error.problem}; correct the label") from None


def _hashes(keys: pa.Array) -> np.ndarray:
    """uint64; two of ten million ids share one with a chance of 3 in a million."""
    return hashing.of_texts(keys.fill_null(""))


def _refuse_twice(hashes: np.ndarray, objects: Sequence[str | Path], form: _Form) -> None:
    """hashes: ascending. The rows are read once more to tell which they are."""
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(twice):
        return
    found = [
        (block.place(int(row)), block.key[int(row)].as_py())
        for block in _blocks(objects, form)
        for row in block.labelled[_hashes(block.key.take(pa.array(block.labelled))) == twice[0]]
    ]
    (first, _), (second, key), *_ = found
    raise DataError(
        f"{second}: id {shown(key)!r} has a label already, at {first}; leave one label for each (ids that "
        f"repeat: {len(np.unique(twice)):,})"
    )
