"""Raw tables from S3: CSV or parquet, one object or all below a prefix, as numbers and canonical text."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline import storage
from ml_pipeline.errors import InputError
from ml_pipeline.features import RowError, canonical_text, is_number, parse_numbers

Kind = Literal["number", "category"]
HEADER_BYTES = 1 << 20  # a header line is not longer
PANDAS_INDEX = "__index_level_"  # column that pandas stores its index in


class DataError(InputError):
    """Data that cannot be used; the message names the place, what is wrong and what to do."""


@dataclass(frozen=True)
class Source:
    """An object the rows come from. size in bytes."""

    uri: str
    size: int
    rows: int


@dataclass(frozen=True)
class Raw:
    """Rows as read: numeric columns float64 (NaN = missing), others str. sha256: of the objects' bytes."""

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    sha256: str


def read(uri: str, missing: tuple[str, ...], kinds: Mapping[str, Kind]) -> Raw:
    """All rows of the object, or of the objects below the prefix, in key order.

    missing: texts that mean "no value", beside the empty one. kinds: of columns where it is not inferred.
    Raises DataError.
    """
    contents = ((name, storage.read_bytes(name)) for name in _objects(uri))
    return _assembled(uri, contents, missing, kinds)


def read_file(path: Path, missing: tuple[str, ...], kinds: Mapping[str, Kind]) -> Raw:
    """The same of a local file. Raises DataError."""
    return _assembled(str(path), [(str(path), path.read_bytes())], missing, kinds)


def _assembled(
    uri: str, contents: Iterable[tuple[str, bytes]], missing: tuple[str, ...], kinds: Mapping[str, Kind]
) -> Raw:
    digest, tables, sources = hashlib.sha256(), [], []
    for object_uri, content in contents:
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


def columns_of(path: Path) -> list[str]:
    """Column names of a local CSV or parquet file, read without its rows. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty")
    if path.suffix == ".parquet":
        names = _parquet_names(path)
    elif path.suffix == ".csv":
        with path.open("rb") as file:
            names = [name.strip() for name in _csv_header(file.read(HEADER_BYTES), str(path))]
    else:
        raise DataError(f"{path}: the name must end with .csv or .parquet")
    _check_columns(names, None, str(path))
    return names


def _parquet_names(path: Path) -> list[str]:
    try:
        names = pyarrow.parquet.read_schema(path).names
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a parquet file: {error}") from None
    return [name for name in names if not name.startswith(PANDAS_INDEX)]


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
    """All columns as text. Cells may hold line breaks within quotes."""
    names = _csv_header(content, uri)
    try:
        table = _parse_csv(content, names, threads=True)
    except pa.ArrowInvalid:
        try:  # only a single thread knows the number of the broken row
            _parse_csv(content, names, threads=False)
        except pa.ArrowInvalid as error:
            raise DataError(f"{uri}: {error} (the header is row 1)") from None
        raise
    return table.rename_columns([name.strip() for name in names])


def _parse_csv(content: bytes, names: list[str], threads: bool) -> pa.Table:
    return pyarrow.csv.read_csv(
        io.BytesIO(content if b"\n" in content else content + b"\n"),
        read_options=pyarrow.csv.ReadOptions(use_threads=threads),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _csv_header(content: bytes, uri: str) -> list[str]:
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace", newline=""))
    try:
        return next(filter(None, lines))
    except (StopIteration, csv.Error):
        raise DataError(f"{uri}: the object holds no header") from None


def _read_parquet(content: bytes, uri: str) -> pa.Table:
    """All columns but the index that pandas may have stored beside them."""
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise DataError(f"{uri}: not a parquet file: {error}") from None
    return table.drop_columns([name for name in table.column_names if name.startswith(PANDAS_INDEX)])


def _check_columns(names: list[str], first: list[str] | None, uri: str) -> None:
    if "" in names:
        raise DataError(f"{uri}: column {names.index('') + 1} has no name; pandas: to_csv(..., index=False)")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{uri}: column names must differ, but there is more than one {', '.join(twice)}")
    if first is not None and set(names) != set(first):
        differing = ", ".join(sorted(set(names) ^ set(first)))
        raise DataError(
            f"{uri}: not the columns of the first object below the prefix; they differ in {differing}"
        )


def _typed(
    table: pa.Table, missing: tuple[str, ...], kinds: Mapping[str, Kind], sources: tuple[Source, ...]
) -> pd.DataFrame:
    columns = {}
    for name in table.column_names:
        try:
            columns[name] = _column(name, table[name], missing, kinds.get(name))
        except RowError as error:
            raise DataError(
                f"{place(error.row, sources)}, column {name}: {error.problem}; correct the cell, "
                f"name its text in missing, or exclude the column (settings.toml, [data])"
            ) from None
    return pd.DataFrame(columns)


def _column(
    name: str, values: pa.ChunkedArray, missing: tuple[str, ...], kind: Kind | None
) -> np.ndarray | pd.Series:
    """float64 or str; without a kind it is a number if every cell that has a value is one."""
    if kind != "category" and _is_numeric(values.type):
        return parse_numbers(values.cast(pa.float64()).to_numpy(), missing, name)
    texts = _texts(name, values, missing)
    if kind != "category":
        try:
            return parse_numbers(texts.cast(pa.float64()).to_numpy(), missing, name)
        except pa.ArrowInvalid:
            if kind == "number":
                return parse_numbers(texts.to_numpy(), missing, name)
    return pa.table({name: texts}).to_pandas()[name].astype("str")


def _is_numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _texts(name: str, values: pa.ChunkedArray, missing: tuple[str, ...]) -> pa.ChunkedArray:
    """Canonical text, null for missing; each distinct text is looked at once."""
    if pa.types.is_nested(values.type):
        raise DataError(
            f"column {name} holds {values.type}; a cell must be a number, a text or a truth value"
        )
    texts = values.cast(pa.string())
    words = pc.unique(texts)
    markers = set(map(canonical_text, missing)) | {""}
    read = [None if word is None else canonical_text(word) for word in words.to_pylist()]
    canonical = pa.array([None if word in markers else word for word in read], pa.string())
    return canonical.take(pc.index_in(texts, value_set=words))


def numeric_share(column: pd.Series) -> float:
    """Share of a text column's values that read as numbers, 0 to 1."""
    counts = column.value_counts()
    numeric = [count for word, count in counts.items() if is_number(word)]
    return float(sum(numeric) / counts.sum()) if len(counts) else 0.0
