"""Raw tables from S3: CSV or parquet, one object or all below a prefix, as numbers and canonical text."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline import storage
from ml_pipeline.features import RowError, canonical_text, is_number, parse_numbers

Kind = Literal["number", "category"]


class DataError(ValueError):
    """Data that cannot be used; the message names the place, what is wrong and what to do."""


@dataclass(frozen=True)
class Source:
    """An object the rows come from. size in bytes."""

    uri: str
    size: int
    rows: int


@dataclass(frozen=True)
class Raw:
    """Rows as read: numeric columns float64 (NaN = missing), all others str. sha256: of the objects' bytes, in order."""

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    sha256: str


def read(uri: str, missing: tuple[str, ...], kinds: Mapping[str, Kind]) -> Raw:
    """All rows of the object, or of the objects below the prefix, in key order.

    missing: texts that mean "no value", besides the empty one. kinds: columns whose kind is not to be inferred.
    Raises DataError.
    """
    digest, tables, sources = hashlib.sha256(), [], []
    for object_uri in _objects(uri):
        content = storage.read_bytes(object_uri)
        digest.update(content)
        table = _table(content, object_uri)
        _check_columns(table.column_names, tables[0].column_names if tables else None, object_uri)
        sources.append(Source(object_uri, len(content), table.num_rows))
        tables.append(table.select(tables[0].column_names) if tables else table)
    if not sum(source.rows for source in sources):
        raise DataError(f"{uri}: no rows, only the header {', '.join(tables[0].column_names)}")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{uri}: a column has different types in different objects: {error}") from None
    return Raw(_typed(table, missing, kinds, tuple(sources)), tuple(sources), digest.hexdigest())


def place(row: int, sources: tuple[Source, ...]) -> str:
    """Where a row of the whole table stands: its object and its number there. Rows count from 1."""
    for source in sources:
        if row <= source.rows:
            return f"{source.uri} row {row:,}"
        row -= source.rows
    raise IndexError(row)


def _objects(uri: str) -> list[str]:
    """URIs of the object itself, or of all data objects below the prefix."""
    found = [name for name, _ in storage.list_uris(uri)]
    if uri in found and not uri.endswith("/"):
        return [uri]
    folder = uri.rstrip("/") + "/"
    names = [name for name in found if name.startswith(folder) and not _hidden(name.removeprefix(folder))]
    if not names:
        raise DataError(f"{uri}: no such object, and no data below it; upload CSV or parquet there")
    return names


def _hidden(name: str) -> bool:
    """Whether it is a folder marker or, as _SUCCESS is, no data."""
    return not name or any(part == "" or part[0] in "_." for part in name.split("/"))


def _table(content: bytes, uri: str) -> pa.Table:
    if not content:
        raise DataError(f"{uri}: the object is empty")
    if uri.endswith(".csv"):
        return _read_csv(content, uri)
    if uri.endswith(".parquet"):
        return _read_parquet(content, uri)
    raise DataError(f"{uri}: the name must end with .csv or .parquet")


def _read_csv(content: bytes, uri: str) -> pa.Table:
    """All columns as text, empty cells included."""
    names = _header(content, uri)
    try:
        return _parsed_csv(content, names, use_threads=True)
    except pa.ArrowInvalid:
        pass
    try:  # only a single thread knows the number of the broken row
        return _parsed_csv(content, names, use_threads=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"{uri}: {error} (the header is row 1)") from None


def _header(content: bytes, uri: str) -> list[str]:
    try:
        first = pyarrow.csv.read_csv(
            io.BytesIO(content),
            read_options=pa.csv.ReadOptions(autogenerate_column_names=True, block_size=max(len(content), 1)),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{uri}: {error}") from None
    return [str(name).strip() for name in first.slice(0, 1).to_pylist()[0].values()]
