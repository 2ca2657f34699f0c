"""Cells of raw columns: numbers as double, texts as canonical words, null for missing; both for numpy too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_pipeline import hashing
from ml_pipeline.features import Column, RowError, Texts, canonical_text, is_number, parse_numbers

Kind = Literal["number", "category"]
COMMA_NUMBER = r"^([ \t]*[+-]?[0-9]*),([0-9]+[ \t]*)$"
TEXT = pa.dictionary(pa.int32(), pa.string())
# What canonical_text changes: spaces but for a single one between words, and the `.0` of a whole number.
_SPACES = r"\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNCANONICAL = rf"^ | $|  |[{_SPACES}]|\.0+$"


class Reader:
    """The cells of one column as they come: numbers, until one of them is not."""

    def __init__(self, name: str, missing: tuple[str, ...], kind: Kind | None) -> None:
        self.name, self.missing, self.kind = name, missing, kind
        self.chunks: list[pa.Array] = []
        self.is_spoilt = False  # its numbers are not kept as they were written, and it is no number

    def add(self, cells: pa.Array) -> None:
        """Raises RowError, whose row counts within these cells."""
        if self.kind != "category":
            numbers = _numbers(cells, self.missing, self.name, self.kind == "number")
            if numbers is not None:
                self.chunks.append(numbers)
                return
            self._become_text()
        if not self.is_spoilt:
            self.chunks.append(_texts(cells, self.missing, self.name))

    def _become_text(self) -> None:
        self.kind = "category"
        self.is_spoilt = any(chunk.null_count < len(chunk) for chunk in self.chunks)
        self.chunks = [] if self.is_spoilt else [pa.nulls(len(chunk), TEXT) for chunk in self.chunks]

    def whole(self) -> pa.ChunkedArray:
        """All cells; texts that hardly recur as they are, others as places in one dictionary."""
        cells = pa.chunked_array(self.chunks)
        if not pa.types.is_dictionary(cells.type):
            return cells
        if sum(len(chunk.dictionary) for chunk in self.chunks) > len(cells) / 2:
            return pa.chunked_array([chunk.dictionary_decode() for chunk in self.chunks])
        return cells.unify_dictionaries()


class Part(Mapping[str, Column]):
    """The columns of some rows of a table in numpy's form, each made when it is asked for.

    rows: bool, shape (n,); None = all.
    """

    def __init__(self, table: pa.Table, rows: np.ndarray | None = None) -> None:
        self._table, self._rows = table, rows

    def __getitem__(self, name: str) -> Column:
        whole = values(self._table[name])
        if self._rows is None:
            return whole
        if isinstance(whole, Texts):
            return Texts(whole.words, whole.places[self._rows])
        return whole[self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.column_names)

    def __len__(self) -> int:
        return self._table.num_columns


def values(column: pa.ChunkedArray) -> Column:
    """float64 with NaN for missing, or texts."""
    if pa.types.is_floating(column.type):
        return column.to_numpy()
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], object)
    return Texts(words, encoded.indices.fill_null(len(words) - 1).to_numpy())


def distinct_count(column: pa.ChunkedArray) -> int:
    """How many values there are, without the missing one; texts that hardly recur count by 64-bit hash."""
    if pa.types.is_floating(column.type):
        numbers = np.sort(column.to_numpy())
        numbers = numbers[: len(numbers) - column.null_count]
        return int(len(numbers) > 0) + int(np.count_nonzero(numbers[1:] != numbers[:-1]))
    if pa.types.is_dictionary(column.type):
        return len(values(column).counts())
    hashes = [hashing.of_texts(chunk.drop_null()) for chunk in column.chunks]
    ordered = np.sort(np.concatenate(hashes))
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def numeric_share(texts: Texts) -> float:
    """Share of a text column's values that read as numbers, 0 to 1."""
    counts = texts.counts()
    numeric = sum(count for word, count in counts.items() if is_number(word))
    return numeric / sum(counts.values()) if counts else 0.0


def _numbers(cells: pa.Array, missing: tuple[str, ...], name: str, demanded: bool) -> pa.Array | None:
    """double, null for missing; None if they are none, unless demanded. Raises RowError."""
    found: np.ndarray | None
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type) or pa.types.is_decimal(cells.type):
        found = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        found = _cast(cells, missing, name)
    if found is None:
        if not demanded:
            return None
        found = _texts(cells, missing, name).dictionary_decode().to_numpy(zero_copy_only=False)
    try:
        return pa.array(parse_numbers(found, missing, name), from_pandas=True)
    except RowError as error:
        raise RowError(error.row, name, error.problem + _decimal_hint(found[error.row - 1])) from None


def _decimal_hint(cell: object) -> str:
    """The setting that reads a cell such as 12,5."""
    if isinstance(cell, str) and re.search(COMMA_NUMBER, cell):
        return ': a CSV with decimal commas needs decimal = "," (settings.toml, [data])'
    return ""


def _cast(cells: pa.Array, missing: tuple[str, ...], name: str) -> np.ndarray | None:
    """float64, if all texts are numbers: at once, or without the spaces and markers that hide it."""
    for cleaned in (_as_text, _trimmed, _texts):
        try:
            return cleaned(cells, missing, name).cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
    return None


def _as_text(cells: pa.Array, missing: tuple[str, ...], name: str) -> pa.Array:
    if pa.types.is_nested(cells.type):
        raise RowError(1, name, f"{cells.type} is no number, text or truth value")
    return cells.cast(pa.string())


def _trimmed(cells: pa.Array, missing: tuple[str, ...], name: str) -> pa.Array:
    return _unmarked(pc.utf8_trim_whitespace(_as_text(cells, missing, name)), missing)


def _texts(cells: pa.Array, missing: tuple[str, ...], name: str) -> pa.DictionaryArray:
    """Canonical texts, null for missing; each distinct text is looked at once."""
    encoded = _as_text(cells, missing, name).dictionary_encode()
    words = encoded.dictionary
    if pc.any(pc.match_substring_regex(words, _UNCANONICAL)).as_py():
        words = pa.array([canonical_text(word) for word in words.to_pylist()], pa.string())
    words = _unmarked(words, missing)
    return encoded if words.equals(encoded.dictionary) else words.take(encoded.indices).dictionary_encode()


def _unmarked(texts: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    markers = pa.array(sorted({"", *map(canonical_text, missing)}), pa.string())
    return pc.if_else(pc.is_in(texts, markers), pa.scalar(None, pa.string()), texts)
