"""Column names of a file, and whether its first line holds them or is a row already."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from ml_pipeline import columns, dialect, ingest
from ml_pipeline.dialect import DataError, Dialect
from ml_pipeline.features import is_number
from ml_pipeline.roles import Wish, listed
from ml_pipeline.settings import Data

ROWS_COMPARED = 1000  # with the first line
TO_CSV = "pandas.{}({!r}).to_csv({!r}, index=False)"
EXCEL = {".xls": "xlrd", ".xlsx": "openpyxl", ".xlsm": "openpyxl", ".xlsb": "pyxlsb", ".ods": "odfpy"}
PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz", ".rar")


@dataclass(frozen=True)
class Header:
    """names: of all columns. delimiter: "" for parquet. has_line: whether the first line holds the names."""

    names: tuple[str, ...]
    delimiter: str = ""
    has_line: bool = True

    @property
    def options(self) -> ingest.Options:
        """How to read all cells as they are written."""
        return ingest.Options((), {}, self.delimiter, () if self.has_line else self.names)


def read(path: Path, wish: Wish, data: Data) -> Header:
    """Names from the first line if the target is among them; else those of settings.toml, or column_<n>.

    Raises DataError for a file that is neither CSV nor parquet, and for a target that is not there.
    """
    _check_format(path)
    if path.suffix.lower() == ".parquet":
        return Header(tuple(ingest.columns_of(path, ingest.Options((), {}))))
    found = _sniffed(path, data)
    with_line = Header(found.names, found.delimiter)
    if wish.target in found.names:
        return with_line
    if wish.target in data.columns and len(data.columns) == len(found.names):
        return Header(data.columns, found.delimiter, has_line=False)
    numbered = tuple(f"column_{place}" for place in range(1, len(found.names) + 1))
    without = Header(numbered, found.delimiter, has_line=False)
    if not _first_line_is_data(path, without):
        return with_line
    if named(wish.target, numbered) in numbered:
        return without
    raise DataError(
        f"{path}: no column {wish.target!r}; the first line looks like data: {listed(list(found.names))}. "
        f"If there is no header, the columns are column_1 to {numbered[-1]}: --target column_1; "
        f"or name them all in columns (settings.toml, [data]) first"
    )


def named(column: str, names: tuple[str, ...]) -> str:
    """The name itself, or that of a numbered column: 15 is column_15."""
    return f"column_{column}" if f"column_{column}" in names else column


def by_name(wish: Wish, header: Header) -> Wish:
    """The wish with columns that were given by number given by name."""
    names = () if header.has_line else header.names
    return replace(
        wish,
        target=named(wish.target, names),
        facets=tuple(named(each, names) for each in wish.facets),
        ids=tuple(named(each, names) for each in wish.ids),
        group=named(wish.group, names),
        time=named(wish.time, names),
    )


def _check_format(path: Path) -> None:
    kind, csv = path.suffix.lower(), path.with_suffix(".csv").name
    if kind in EXCEL:
        convert = TO_CSV.format("read_excel", path.name, csv)
        raise DataError(
            f"{path}: a spreadsheet: save it as CSV, or in Python with {EXCEL[kind]} installed: {convert}"
        )
    if kind in PACKED:
        raise DataError(f"{path}: packed: unpack it, and adopt the CSV or parquet file in it")
    if kind not in (".parquet", *dialect.ENDINGS):
        raise DataError(f"{path}: the name must end with {dialect.ENDINGS_TOLD}; rename a CSV to {csv}")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty")


def _sniffed(path: Path, data: Data) -> Dialect:
    """The delimiter of settings.toml holds if it divides the first line."""
    with path.open("rb") as file:
        head = file.read(dialect.HEAD_BYTES)
    if data.delimiter:
        found = dialect.sniff(head, str(path), data.delimiter)
        if len(found.names) > 1:
            return found
    return dialect.sniff(head, str(path))


def _first_line_is_data(path: Path, without: Header) -> bool:
    """Whether it has numbers where the rows below have, and one of their texts where these have texts."""
    batches = itertools.islice(ingest.batches(path, without.options), 1)
    table = pa.Table.from_batches(batches).slice(0, ROWS_COMPARED)
    numeric, recurring, texts = [], 0, 0
    for name in without.names:
        first, *below = ((cell or "").strip() for cell in table[name].to_pylist())
        if columns.typed(pa.chunked_array([below], pa.string()), columns.CERTAIN_MARKERS).dtype.kind == "f":
            numeric.append(is_number(first) or first in columns.CERTAIN_MARKERS)
        else:
            texts, recurring = texts + 1, recurring + (first in below)
    return all(numeric) and bool(numeric or recurring) and (recurring > 0 or not texts)
