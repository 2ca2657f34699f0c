"""Rows of a request as columns, and columns as the body of a response."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline.features import FeatureSpec, Number, Texts

Columns = Mapping[str, np.ndarray | Texts]
Body = bytes | bytearray


class PayloadError(ValueError):
    """A request body that cannot be read; the message names the row, counted from 1."""


def read_csv(body: Body, spec: FeatureSpec, header: bool) -> Columns:
    """Feature columns of CSV in the spec's order, or in the order of its header, if it has one."""
    names = _csv_header(body) if header else list(spec.names)
    _check_names([name.strip() for name in names], spec)
    try:
        table = _parse_csv(body, names, spec, header, _csv_types(names, spec))
    except pa.ArrowInvalid:  # a broken row, or a cell that is no number at first sight, such as " ?"
        table = _parse_csv_as_text(body, names, spec, header)
    return _columns({name.strip(): table[name] for name in table.column_names}, spec)


def read_jsonlines(body: Body, spec: FeatureSpec, header: bool) -> Columns:
    """Feature columns of one JSON array (in the spec's order) or object (by name) a line."""
    lines = body.decode(errors="replace").split("\n")
    rows = [_json(line, f"row {row}: ") for row, line in enumerate(lines, 1) if line.strip()]
    return _from_rows(rows, spec)


def read_json(body: Body, spec: FeatureSpec, header: bool) -> Columns:
    """Feature columns of one row (array or object), a list of rows, or {"instances": [rows]}."""
    document = _json(body.decode(errors="replace"), "")
    if isinstance(document, dict) and "instances" in document and "instances" not in spec.names:
        document = document["instances"]
    if isinstance(document, dict) or (document and isinstance(document, list) and not _is_row(document[0])):
        document = [document]
    if not isinstance(document, list):
        raise PayloadError(f'expected rows or {{"instances": [rows]}}, got {type(document).__name__}')
    return _from_rows(document, spec)


def read_parquet(body: Body, spec: FeatureSpec, header: bool) -> Columns:
    """Feature columns by name; others are left out."""
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(pa.py_buffer(body)))
        _check_names(file.schema_arrow.names, spec)
        table = file.read(columns=list(spec.names))
    except pa.ArrowException as error:
        raise PayloadError(f"not a parquet file: {error}") from None
    return _columns({name: table[name] for name in spec.names}, spec)


def write_csv(columns: Columns) -> bytes:
    """Header-less CSV; texts are quoted if one of the labels needs it."""
    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    words = [word for values in columns.values() if isinstance(values, Texts) for word in values.words]
    quoting = "needed" if any(mark in word for word in words for mark in ',"\r\n') else "none"
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(
        table, buffer, pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    )
    return buffer.getvalue()


def write_jsonlines(columns: Columns) -> bytes:
    return "".join(f"{row}\n" for row in _json_rows(columns)).encode()


def write_json(columns: Columns) -> bytes:
    """`{"predictions": [{name: value, ...}, ...]}`"""
    return f'{{"predictions": [{", ".join(_json_rows(columns))}]}}'.encode()


Reader = Callable[[Body, FeatureSpec, bool], Columns]
READERS: Mapping[str, Reader] = {
    "text/csv": read_csv,
    "application/jsonlines": read_jsonlines,
    "application/json": read_json,
    "application/x-parquet": read_parquet,
}
WRITERS: Mapping[str, Callable[[Columns], bytes]] = {
    "text/csv": write_csv,
    "application/jsonlines": write_jsonlines,
    "application/json": write_json,
}


def _csv_header(body: Body) -> list[str]:
    try:
        return next(csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", errors="replace", newline="")))
    except (StopIteration, csv.Error):
        raise PayloadError("the body holds no header") from None


def _check_names(names: list[str], spec: FeatureSpec) -> None:
    absent = [name for name in spec.names if name not in names]
    if absent:
        raise PayloadError(f"no column {', '.join(absent)}; the columns are {', '.join(names)}")
    twice = [name for name in spec.names if names.count(name) > 1]
    if twice:
        raise PayloadError(f"more than one column {', '.join(twice)}")


def _csv_types(names: list[str], spec: FeatureSpec) -> dict[str, pa.DataType]:
    """How each feature is read: a category's words are then looked up once each, not once a row."""
    numbers = {feature.name for feature in spec.features if isinstance(feature, Number)}
    text = pa.dictionary(pa.int32(), pa.string())
    return {
        name: pa.float64() if name.strip() in numbers else text
        for name in names
        if name.strip() in spec.names
    }


def _parse_csv_as_text(body: Body, names: list[str], spec: FeatureSpec, header: bool) -> pa.Table:
    try:  # only a single thread knows the number of a broken row
        types = dict.fromkeys(_csv_types(names, spec), pa.string())
        return _parse_csv(body, names, spec, header, types, threads=False)
    except pa.ArrowInvalid as error:
        order = " (row 1 is the header)" if header else f"; the columns are {', '.join(names)}"
        raise PayloadError(f"{error}{order}") from None


def _parse_csv(
    body: Body,
    names: list[str],
    spec: FeatureSpec,
    header: bool,
    types: dict[str, pa.DataType],
    threads: bool = True,
) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(body)),
        read_options=pyarrow.csv.ReadOptions(column_names=None if header else names, use_threads=threads),
        parse_options=pyarrow.csv.ParseOptions(
            newlines_in_values=b'"' in body,  # else a third of the time goes into looking for quotes
            ignore_empty_lines=len(names) > 1,  # of one column it is a row without a value
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=["", *spec.missing],
            strings_can_be_null=True,
        ),
    )


def _columns(columns: Mapping[str, pa.ChunkedArray], spec: FeatureSpec) -> Columns:
    found = {
        feature.name: _column(columns[feature.name], isinstance(feature, Number)) for feature in spec.features
    }
    return _not_empty(found)


def _column(values: pa.ChunkedArray, number: bool) -> np.ndarray | Texts:
    """numpy's form of a column: floats, texts as their distinct words, or objects."""
    kind = values.type
    if number and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return values.cast(pa.float64()).to_numpy()
    if not number and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        values = values.dictionary_encode()
    if not number and pa.types.is_dictionary(values.type):
        return _texts(values.unify_dictionaries().combine_chunks())
    if pa.types.is_temporal(kind):
        values = values.cast(pa.string())  # as Process reads it
    return np.fromiter(values.to_pylist(), object, len(values))


def _texts(values: pa.DictionaryArray) -> Texts:
    words = [*values.dictionary.to_pylist(), None]
    places = values.indices.fill_null(len(words) - 1).to_numpy()
    return Texts(np.fromiter(words, object, len(words)), places)


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"{place}not JSON: {error}") from None


def _is_row(value: object) -> bool:
    return isinstance(value, list | dict)


def _from_rows(rows: list[Any], spec: FeatureSpec) -> Columns:
    cells = [_cells(row, place, spec) for place, row in enumerate(rows, 1)]
    columns = zip(*cells, strict=True) if cells else [()] * len(spec.names)
    return _not_empty(
        {
            name: np.fromiter(column, object, len(cells))
            for name, column in zip(spec.names, columns, strict=True)
        }
    )


def _cells(row: Any, place: int, spec: FeatureSpec) -> Iterable[Any]:
    if isinstance(row, list):
        if len(row) == len(spec.names):
            return row
        raise PayloadError(
            f"row {place}: expected {len(spec.names)} values, got {len(row)}; "
            f"the columns are {', '.join(spec.names)}"
        )
    if not isinstance(row, dict):
        raise PayloadError(f"row {place}: expected an array or an object, got {row!r}")
    absent = [name for name in spec.names if name not in row]
    if absent:
        raise PayloadError(f"row {place}: no {', '.join(absent)}; null stands for a missing value")
    return [row[name] for name in spec.names]


def _not_empty(columns: Columns) -> Columns:
    if not len(next(iter(columns.values()))):
        raise PayloadError("the body holds no rows")
    return columns


def _arrow(values: np.ndarray | Texts) -> pa.Array:
    if isinstance(values, Texts):
        return pa.array(values.words, pa.string()).take(pa.array(values.places))
    return pa.array(np.ascontiguousarray(values))


def _json_rows(columns: Columns) -> Iterable[str]:
    """A JSON object a row; numbers in the fewest digits that give them back, as in CSV."""
    literals = [_json_literals(name, values) for name, values in columns.items()]
    return ("{" + ", ".join(cells) + "}" for cells in zip(*literals, strict=True))


def _json_literals(name: str, values: np.ndarray | Texts) -> Iterable[str]:
    key = json.dumps(name) + ": "
    if isinstance(values, Texts):
        words = [key + json.dumps(word) for word in values.words]
        return (words[place] for place in values.places.tolist())
    return (key + number for number in _arrow(values).cast(pa.string()).to_pylist())
