"""What the head of a CSV tells: delimiter, column names, where its rows begin; or why it cannot be read.

    head = file.read(dialect.HEAD_BYTES)
    found = dialect.sniff(head, str(path), delimiter="", columns=())     # [data] delimiter and columns

`found.names` are the columns, in order; with `columns` given these, and the first line is a row. The rows
begin `found.data_offset` bytes into the file, are UTF-8, and have no header any more, so that any reader
takes them: `file.seek(found.data_offset)`, then `pandas.read_csv(file, header=None, names=found.names,
sep=found.delimiter)`. With `found.quoted_lines` lines must go through `dialect.unquoted` first.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ml_pipeline.errors import InputError

HEAD_BYTES = 1 << 20  # of a file, which tell its dialect; no line may be longer
ENDINGS = (".csv", ".tsv", ".txt", ".data")  # of a CSV's name, in either case
ENDINGS_TOLD = ".csv, .tsv, .txt, .data or .parquet"
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
NAMELESS = "column_{}"  # name of a column that has none, by its place
COMPARED_ROWS = 100  # of the head, which must have as many cells as the header for a delimiter to fit
BYTE_ORDER_MARKS = {  # UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel file: save the sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file: save the sheet as CSV",
    b"\x1f\x8b": "compressed with gzip: unpack it with gunzip",
    b"PAR1": "a parquet file: let its name end with .parquet",
    b"%PDF": "a PDF: save its table as CSV",
    b"<!": "a web page: download the data it shows",
    b"<html": "a web page: download the data it shows",
    b"<?xml": "XML: convert it to CSV",
}
_QUOTED_LINE = re.compile(rb'^"((?:[^"\r\n]|"")*)"(?=\r?$)', re.MULTILINE)


class DataError(InputError):
    """Data that cannot be used; the message names the place, what is wrong and what to do."""


@dataclass(frozen=True)
class Dialect:
    """How to read the rows of a CSV. quoted_lines: each line as a whole is one quoted cell."""

    delimiter: str
    names: tuple[str, ...]
    data_offset: int
    quoted_lines: bool


def sniff(head: bytes, place: str, delimiter: str = "", columns: tuple[str, ...] = ()) -> Dialect:
    """The dialect of the CSV that begins with these bytes: HEAD_BYTES of them, or the whole file.

    delimiter: known already, "" = found out. columns: names of a file without a header line.
    Raises DataError, which begins with the place, for what is no CSV in UTF-8 or can be read in two ways.
    """
    head = _whole_lines(head, place)
    _check_encoding(head, place)
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    lines = unquoted(head[mark:])
    quoted = _are_quoted_lines(head[mark:], lines)
    text = (lines if quoted else head[mark:]).decode()
    chosen = delimiter or _delimiter(text, len(columns), place)
    header, length = _first_row(text, chosen, place)
    if columns:
        _check_count(header, columns, chosen, place)
        return Dialect(chosen, columns, mark, quoted)
    _check_header(header, chosen, text, place)
    if quoted:
        length = _length_of_lines(head[mark:], text[:length].count("\n"))
    return Dialect(chosen, tuple(_names(header)), mark + length, quoted)


def unquoted(lines: bytes) -> bytes:
    """The lines; one that is a quoted cell as a whole, `"a,""b"",c"`, without these quotes: `a,"b",c`."""
    if b'"' not in lines:
        return lines
    return _QUOTED_LINE.sub(lambda match: match[1].replace(b'""', b'"'), lines)


def not_utf8(blocks: Iterable[bytes], place: str) -> DataError | None:
    """What to say of the first byte that is not UTF-8, if there is one."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    for block in itertools.chain(blocks, [b""]):
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            byte, remedy = error.object[error.start], _convert("WINDOWS-1252", place)
            return DataError(
                f"{place}: line {line:,} holds the byte 0x{byte:02X}, which is not UTF-8; "
                f"{remedy}, or from the encoding it has"
            )
        line += block.count(b"\n")
    return None


def _whole_lines(head: bytes, place: str) -> bytes:
    begin = head.lstrip(b"\xef\xbb\xbf \r\n")[: max(map(len, OTHER_FORMATS))].lower()
    for magic, remedy in OTHER_FORMATS.items():
        if begin.startswith(magic.lower()):
            raise DataError(f"{place}: not a CSV but {remedy}")
    if len(head) < HEAD_BYTES:
        return head
    end = max(head.rfind(b"\n"), head.rfind(b"\r")) + 1
    if not end:
        kind = "JSON: convert it to CSV" if head[:1] in b"[{" else "not a CSV, whose rows are lines"
        raise DataError(f"{place}: no line ends in the first {HEAD_BYTES:,} bytes; this is {kind}")
    return head[:end]


def _check_encoding(head: bytes, place: str) -> None:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            raise DataError(f"{place}: encoded in {encoding}, not UTF-8; {_convert(encoding, place)}")
    if b"\0" in head:
        sides = head[0::2].count(0), head[1::2].count(0)
        if max(sides) < len(head) // 4:
            line = head[: head.index(0)].count(b"\n") + 1
            raise DataError(f"{place}: line {line:,} holds a zero byte: this is not a text file")
        encoding = "UTF-16BE" if sides[0] > sides[1] else "UTF-16LE"
        raise DataError(f"{place}: encoded in {encoding}, not UTF-8; {_convert(encoding, place)}")
    problem = not_utf8([head], place)
    if problem:
        raise problem


def _convert(encoding: str, place: str) -> str:
    """The command, for a file where it lies, or a copy here of an object in S3."""
    folder, slash, name = place.rpartition("/")
    folder = "" if "://" in place else folder + slash
    source, converted = (shlex.quote(f"{folder}{each}") for each in (name, f"utf8-{name}"))
    return f"convert it: iconv -f {encoding} -t UTF-8 {source} > {converted}"


def _are_quoted_lines(head: bytes, lines: bytes) -> bool:
    """Whether every row's cells are only seen without the quotes around its line."""
    quoted = [len(row) for row in _rows(head.decode(), ",")]
    if not quoted[1:] or max(quoted[1:]) > 1 or lines == head:
        return False
    return any(
        found[0] > 1 and set(found) == {found[0]}
        for found in ([len(row) for row in _rows(lines.decode(), each)] for each in DELIMITERS)
    )


def _delimiter(text: str, columns: int, place: str) -> str:
    """The only one that divides the first row (into so many columns, if not 0) and the others alike."""
    counts = {each: [len(row) for row in _rows(text, each)] for each in DELIMITERS}
    able = [each for each, found in counts.items() if found and found[0] > 1]
    if columns:
        able = [each for each in able if counts[each][0] == columns] or able
    if len(able) > 1:
        alike = [each for each in able if set(counts[each]) == {counts[each][0]}]
        able = alike if len(alike) == 1 else able
    if len(able) > 1:
        found = ", ".join(f"{DELIMITERS[each]} ({counts[each][0]} columns)" for each in able)
        raise DataError(
            f"{place}: the delimiter can be {found}: name it in delimiter (settings.toml, [data])"
        )
    return able[0] if able else ","


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The first rows, without empty ones and without what follows a broken one."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows += [row] if row else []
            if len(rows) == COMPARED_ROWS:
                break
    except csv.Error:
        pass  # said by _first_row if it is the header, and by the reader if it is a row
    return rows


def _first_row(text: str, delimiter: str, place: str) -> tuple[list[str], int]:
    """Cells of the first row that is not empty, and how many bytes it ends after."""
    length = 0

    def counted() -> Iterator[str]:
        nonlocal length
        for line in io.StringIO(text, newline=""):
            length += len(line.encode())
            yield line

    try:
        return next(filter(None, csv.reader(counted(), delimiter=delimiter))), length
    except StopIteration:
        raise DataError(f"{place}: only blank lines, so no header") from None
    except csv.Error as error:
        raise DataError(f"{place}: the first line cannot be read: {error}") from None


def _check_header(header: list[str], chosen: str, text: str, place: str) -> None:
    """Raises DataError if the first line is narrower than the rows: a title, a comment, Excel's `sep=;`."""
    if len(header) > 1 and header[1:] != [""]:
        return
    for each in DELIMITERS if len(header) == 1 else [chosen]:
        widths = [len(row) for row in _rows(text, each)]
        usual = max(set(widths), key=widths.count)
        if widths[0] < usual and widths.count(usual) > len(widths) / 2:
            raise DataError(
                f"{place}: the first line, {chosen.join(header)!r}, is no header: most lines have {usual} "
                f"cells with {DELIMITERS.get(each, each)} as delimiter; delete what is above the column names"
            )


def _length_of_lines(head: bytes, lines: int) -> int:
    return sum(map(len, head.splitlines(keepends=True)[:lines]))


def _names(header: list[str]) -> Iterator[str]:
    """Names as written but for outer spaces; a nameless one, such as pandas' index has, by its place."""
    for place, name in enumerate(header, 1):
        yield name.strip() or NAMELESS.format(place)


def _check_count(row: list[str], columns: tuple[str, ...], delimiter: str, place: str) -> None:
    if len(row) != len(columns):
        raise DataError(
            f"{place}: the first row has {len(row)} cells with {DELIMITERS.get(delimiter, delimiter)} as "
            f"delimiter, but columns names {len(columns)} (settings.toml, [data])"
        )
