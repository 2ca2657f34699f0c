"""Raw tables from S3: CSV or parquet, one object or all below a prefix, as numbers and canonical text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline import cells, dialect, storage
from ml_pipeline.cells import Kind
from ml_pipeline.dialect import HEAD_BYTES, DataError, Dialect
from ml_pipeline.features import RowError

BLOCK_BYTES = 1 << 20  # of a CSV at a time: small enough to stay in a processor's cache, longer than a line
GATHERED = 4  # blocks: with fewer, what each column of a batch costs, and threads that wait, tell
BATCH_ROWS = 1 << 14  # of a parquet file at a time
SHOWN_CHARACTERS = 80  # of a broken row
PANDAS_INDEX = "__index_level_"  # column that pandas stores its index in


Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


@dataclass(frozen=True)
class Options:
    """How cells are understood. missing: texts that mean "no value", beside the empty one.

    kinds: of columns where it is not inferred. delimiter: "" = found out. columns: of CSVs without a header.
    decimal: "," in a CSV whose numbers are written as 12,5.
    """

    missing: tuple[str, ...]
    kinds: Mapping[str, Kind]
    delimiter: str = ""
    columns: tuple[str, ...] = ()
    decimal: str = "."

    def reader(self, column: str) -> cells.Reader:
        return cells.Reader(column, self.missing, self.kinds.get(column))


@dataclass(frozen=True)
class Source:
    """An object the rows come from. size in bytes."""

    uri: str
    size: int
    rows: int


@dataclass(frozen=True)
class Raw:
    """Rows as read: numbers as double, texts as string or, where words recur, as dictionary; null = missing.

    sha256: of the objects' bytes.
    """

    table: pa.Table
    sources: tuple[Source, ...]
    sha256: str


@dataclass(frozen=True)
class _Object:
    """Bytes that can be read more than once."""

    uri: str
    open: Callable[[], BinaryIO]


class _NotNumbers(Exception):
    """Columns that began as numbers and hold other texts further down."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


def read(uri: str, options: Options) -> Raw:
    """All rows of the object, or of the objects below the prefix, in key order. Raises DataError."""
    return _assembled(uri, [_Object(name, partial(storage.stream, name)) for name in _objects(uri)], options)


def read_file(path: Path, options: Options) -> Raw:
    """The same of a local file. Raises DataError."""
    return _assembled(str(path), [_Object(str(path), partial(path.open, "rb"))], options)


def columns_of(path: Path, options: Options, uri: str = "") -> list[str]:
    """Column names of a local CSV or parquet file, read without its rows. Raises DataError.

    uri: the object that it is a copy of, whose name tells the format and is told.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    name = uri or str(path)
    with path.open("rb") as file:
        if _format(name) == "parquet":
            names = _parquet_names(_parquet(file, name), options, name)
        else:
            names = list(_sniffed(file.read(HEAD_BYTES), name, options).names)
    _check_columns(names, None, name)
    return names


def parquet_columns(path: Path, uri: str) -> list[str]:
    """Column names of a local copy of a parquet object. Raises DataError."""
    with path.open("rb") as file:
        return _parquet_names(_parquet(file, uri), Options((), {}), uri)


def batches(
    path: Path, options: Options, uri: str = "", columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of a local file block by block, of a CSV as texts, of parquet as stored. Raises DataError.

    uri: the object that it is a copy of, whose name tells the format and is told. columns: None = all.
    """
    source = _Object(uri or str(path), partial(path.open, "rb"))
    with path.open("rb") as file:
        if _format(source.uri) == "parquet":
            table = _parquet(file, source.uri)
            names = columns or _parquet_names(table, options, source.uri)
            yield from table.iter_batches(BATCH_ROWS, columns=names)
        else:
            stream = _Stream(file)
            yield from _csv_rows(stream, source, _sniffed(stream.head, source.uri, options), options, columns)


def blocks(
    path: Path, options: Options, uri: str, columns: list[str]
) -> Iterator[dict[str, pa.ChunkedArray]]:
    """The columns as `read_file` understands them, block by block; options must tell their kinds.

    uri: as in `batches`. Raises DataError.
    """
    rows = 0
    for batch in batches(path, options, uri, columns):
        readers = {name: options.reader(name) for name in columns}
        _add_cells(readers, columns, batch, uri or str(path), rows)
        rows += batch.num_rows
        yield {name: reader.whole() for name, reader in readers.items()}


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
    names = storage.data_objects(folder, found)
    if not names:
        raise DataError(f"{uri}: no such object, and no data below it; upload CSV or parquet there")
    return names


def _assembled(uri: str, objects: list[_Object], options: Options) -> Raw:
    try:
        return _read_through(uri, objects, options)
    except _NotNumbers as found:  # they are read once more, since their numbers were not kept as written
        kinds = {**options.kinds, **dict.fromkeys(found.names, "category")}
        return _read_through(uri, objects, replace(options, kinds=kinds))


def _read_through(uri: str, objects: list[_Object], options: Options) -> Raw:
    """Raises _NotNumbers for columns that turn out to be texts after cells that were numbers."""
    columns: dict[str, cells.Reader] = {}
    sources: list[Source] = []
    digest = hashlib.sha256()
    for each in objects:
        with closing(each.open()) as file, TemporaryFile() as spool:
            stream = _Stream(file, digest)
            names, batches = _opened(stream, spool, each, options)
            _check_columns(names, list(columns) or None, each.uri)
            columns = columns or {name: options.reader(name) for name in names}
            rows = _add(columns, batches, each.uri)
        sources.append(Source(each.uri, stream.size, rows))
    if not sum(source.rows for source in sources):
        raise DataError(f"{uri}: no rows, only the header {', '.join(columns)}")
    spoilt = [name for name, column in columns.items() if column.is_spoilt]
    if spoilt:
        raise _NotNumbers(spoilt)
    table = pa.table({name: columns.pop(name).whole() for name in list(columns)})
    return Raw(table, tuple(sources), digest.hexdigest())


def _add(columns: Mapping[str, cells.Reader], batches: Iterator[pa.RecordBatch], uri: str) -> int:
    """Adds the rows of one object to the columns and returns how many they are."""
    rows, names = 0, list(columns)
    half = len(names) // 2
    with ThreadPoolExecutor(1) as beside:
        for batch in ahead(gathered(batches)):
            second = beside.submit(_add_cells, columns, names[half:], batch, uri, rows)
            _add_cells(columns, names[:half], batch, uri, rows)
            second.result()
            rows += batch.num_rows
    return rows


def _add_cells(
    columns: Mapping[str, cells.Reader], names: list[str], batch: pa.RecordBatch, uri: str, before: int
) -> None:
    """Adds a batch to the named columns. before: rows of the object that came before it."""
    for name in names:
        try:
            columns[name].add(batch.column(name))
        except RowError as error:
            raise DataError(
                f"{uri} row {before + error.row:,}, column {name}: {error.problem}; correct the cell, "
                f"name its text in missing, or exclude the column (settings.toml, [data])"
            ) from None


class _Stream:
    """A file whose bytes are counted as they are read, for pyarrow to read on from its head.

    digest: takes the bytes too, if there is one.
    """

    closed = False

    def __init__(self, file: BinaryIO, digest: Any = None) -> None:
        self._file, self._digest, self.size = file, digest, 0
        self.head = b""
        while len(self.head) < HEAD_BYTES and (piece := self._next(HEAD_BYTES - len(self.head))):
            self.head += piece
        self._pending = self.head

    def skip(self, size: int) -> bool:
        """Leaves out bytes of the head; whether any are left."""
        self._pending = self._pending[size:]
        return bool(self._pending)

    def read(self, size: int) -> bytes:
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece or self._next(size)

    def _next(self, size: int) -> bytes:
        piece = self._file.read(size)
        if self._digest:
            self._digest.update(piece)
        self.size += len(piece)
        return piece


class _Unquoted:
    """A stream of lines without the quotes around each."""

    closed = False

    def __init__(self, stream: _Stream) -> None:
        self._stream, self._pending = stream, b""

    def read(self, size: int) -> bytes:
        while piece := self._stream.read(size):
            lines, end, self._pending = (self._pending + piece).rpartition(b"\n")
            if end:
                return dialect.unquoted(lines + end)
        last, self._pending = self._pending, b""
        return dialect.unquoted(last)


def _opened(
    stream: _Stream, spool: BinaryIO, source: _Object, options: Options
) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Names of the columns, and the rows. spool: for parquet, which is not read from its begin to its end."""
    if _format(source.uri) == "parquet":
        _copy(stream, spool)
        file = _parquet(spool, source.uri)
        names = _parquet_names(file, options, source.uri)
        return names, file.iter_batches(BATCH_ROWS, columns=names)
    found = _sniffed(stream.head, source.uri, options)
    return list(found.names), _csv_rows(stream, source, found, options)


def ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, each made while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch


def gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches."""
    while some := list(islice(batches, GATHERED)):
        yield pa.concat_batches(some)


def is_readable(uri: str) -> bool:
    """Whether the name's ending is that of CSV or parquet."""
    return uri.lower().endswith((".parquet", *dialect.ENDINGS))


def _format(uri: str) -> str:
    """parquet or csv, by the name's ending."""
    if not is_readable(uri):
        raise DataError(f"{uri}: the name must end with {dialect.ENDINGS_TOLD}")
    return "parquet" if uri.lower().endswith(".parquet") else "csv"


def _sniffed(head: bytes, uri: str, options: Options) -> Dialect:
    if not head:
        raise DataError(f"{uri}: the object is empty; bring its rows, or delete it")
    return dialect.sniff(head, uri, options.delimiter, options.columns)


def _csv_rows(
    stream: _Stream, source: _Object, found: Dialect, options: Options, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The columns (None = all) as text. Cells may hold line breaks within quotes."""
    if not stream.skip(found.data_offset):
        return
    broken: list[pyarrow.csv.InvalidRow] = []
    parsing = pyarrow.csv.ParseOptions(
        delimiter=found.delimiter,
        newlines_in_values=True,
        invalid_row_handler=lambda row: _unless_blank(row, broken),
    )
    converting = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(found.names, pa.string()),
        include_columns=columns,
        null_values=["", *options.missing],
        strings_can_be_null=True,
    )
    # only a single thread knows the number of a broken row
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=found.names)
    lines = _Unquoted(stream) if found.quoted_lines else stream
    try:
        for batch in pyarrow.csv.open_csv(pa.PythonFile(lines, "r"), reading, parsing, converting):
            yield with_points(batch) if options.decimal == "," else batch
    except pa.ArrowInvalid as error:
        raise _told(str(error), broken, source) from None


def with_points(rows: Rows) -> Rows:
    """The rows, whose columns are texts, with cells such as 12,5 as 12.5."""
    columns = [pc.replace_substring_regex(column, cells.COMMA_NUMBER, r"\1.\2") for column in rows.columns]
    return type(rows).from_arrays(columns, names=rows.schema.names)


def _unless_blank(row: pyarrow.csv.InvalidRow, broken: list[pyarrow.csv.InvalidRow]) -> str:
    """What the parser does with a row of too few or too many cells: a line of spaces is as good as none."""
    if row.actual_columns == 1 and not row.text.strip():
        return "skip"
    broken.append(row)
    return "error"


def _told(error: str, broken: list[pyarrow.csv.InvalidRow], source: _Object) -> DataError:
    """What a parser's error means for the one who wrote the file."""
    if broken:
        row = broken[0]
        return DataError(
            f"{source.uri} row {row.number:,} has {row.actual_columns} cells, not {row.expected_columns}: "
            f"{row.text[:SHOWN_CHARACTERS]!r}; correct it, or quote the cell that holds a delimiter"
        )
    if "UTF8" in error:
        with closing(source.open()) as file:
            problem = dialect.not_utf8(iter(lambda: file.read(BLOCK_BYTES), b""), source.uri)
        if problem:
            return problem
    if "straddl" in error:
        return DataError(
            f"{source.uri}: a line is longer than {BLOCK_BYTES:,} bytes, "
            f"or a quote that opens a cell is never closed"
        )
    return DataError(f"{source.uri}: {error}")


def _copy(stream: _Stream, file: BinaryIO) -> None:
    while piece := stream.read(BLOCK_BYTES):
        file.write(piece)
    file.seek(0)


def _parquet(file: BinaryIO, uri: str) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(file)
    except pa.ArrowException as error:
        raise DataError(f"{uri}: not a parquet file: {error}") from None


def _parquet_names(file: pyarrow.parquet.ParquetFile, options: Options, uri: str) -> list[str]:
    """All columns but the index that pandas may have stored beside them."""
    if options.columns:
        raise DataError(
            f"{uri}: parquet names its columns itself; columns is for CSV: "
            f"set it to [] (settings.toml, [data])"
        )
    return [name for name in file.schema_arrow.names if not name.startswith(PANDAS_INDEX)]


def _check_columns(names: list[str], first: list[str] | None, uri: str) -> None:
    if "" in names:
        raise DataError(f"{uri}: column {names.index('') + 1} has no name; name it")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{uri}: column names must differ, but there is more than one {', '.join(twice)}; rename them"
        )
    if first is not None and set(names) != set(first):
        differing = ", ".join(sorted(set(names) ^ set(first)))
        raise DataError(
            f"{uri}: not the columns of the first object below the prefix; they differ in {differing}"
        )
