"""What the columns of a sample hold: numbers or texts, and which cells mean "no value"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_pipeline.features import canonical_text, is_number

# Texts that mean "no value" in any column.
CERTAIN_MARKERS = {"?", "-", "--", ".", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NaT"}
CERTAIN_MARKERS |= {"null", "NULL", "Null", "(null)", "\\N"}
# These too where the other cells are numbers; among texts they may be a category.
MARKERS_AMONG_NUMBERS = CERTAIN_MARKERS | {
    text
    for word in ("na", "none", "nil", "missing", "unknown")
    for text in (word, word.title(), word.upper())
}
# Numbers that stand for "no value" where all others are at least 0.
NUMERIC_MARKERS = (-999.0, -9999.0, -99999.0)
_NUMBER_OR_COMMA_NUMBER = r"^[+-]?([0-9]+|[0-9]*[.,][0-9]+)$"
_NO_THOUSANDS = r"^[+-]?([0-9]{4,}|0[0-9]*|),|,([0-9]{1,2}|[0-9]{4,})$"
MOSTLY = 0.5  # share of a column's cells that are numbers, above which its other cells may be markers


@dataclass(frozen=True)
class Columns:
    """A sample's columns as Process will read them: float64 (NaN = missing), or str (None = missing).

    labels: the target's cells as texts. markers: texts that mean "no value", those of settings.toml first.
    found: the columns of each one that settings.toml has not. coded: columns of digits that begin with 0,
    such as 01234, which are no numbers.
    """

    frame: pd.DataFrame
    labels: pd.Series
    markers: tuple[str, ...]
    found: Mapping[str, tuple[str, ...]]
    coded: tuple[str, ...]


def understood(table: pa.Table, known: tuple[str, ...], target: str, texts: Iterable[str]) -> Columns:
    """The columns of a table of texts.

    known: markers that settings.toml has. texts: columns that are texts whatever their cells look like.
    """
    cells = {name: pc.utf8_trim_whitespace(table[name]) for name in table.column_names}
    fixed = frozenset(texts)
    found = _markers(cells, known, target)
    markers = (*known, *found)
    free = [name for name in cells if name not in fixed]
    coded = [name for name in free if name != target and _begins_with_zero(cells[name])]
    frame = {name: typed(cells[name], markers, name in free and name not in coded) for name in cells}
    return Columns(pd.DataFrame(frame), typed(cells[target], markers, False), markers, found, tuple(coded))


def have_comma_numbers(table: pa.Table, markers: Iterable[str]) -> bool:
    """Whether a table of texts writes 12.5 as 12,5: in a column of numbers alone, some of which cannot be
    thousands, as 1,234 may be."""
    absent = pa.array(sorted(CERTAIN_MARKERS.union(markers, [""])), pa.string())
    for column in table.columns:
        cells = pc.utf8_trim_whitespace(column)
        words = cells.filter(pc.invert(pc.is_in(cells, absent))).drop_null().unique()
        numbers, commas = (
            pc.match_substring_regex(words, each) for each in (_NUMBER_OR_COMMA_NUMBER, _NO_THOUSANDS)
        )
        if len(words) and pc.all(numbers).as_py() and pc.any(commas).as_py():
            return True
    return False


def typed(cells: pa.ChunkedArray, markers: Iterable[str], may_be_number: bool = True) -> pd.Series:
    """float64 if every cell that has a value is a number, else canonical texts."""
    numbers = _numbers(cells, markers) if may_be_number else None
    return _texts(cells, markers) if numbers is None else pd.Series(numbers)


def _numbers(cells: pa.ChunkedArray, markers: Iterable[str]) -> np.ndarray | None:
    """float64, or None if a cell that has a value is no number, or none has a value."""
    absent = pa.array(sorted({*markers, ""}), pa.string())
    present = pc.if_else(pc.is_in(cells, absent), None, cells)
    if present.null_count == len(present):
        return None
    try:
        numbers = present.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    codes = [float(marker) for marker in markers if is_number(marker)]
    return np.where(np.isin(numbers, codes), np.nan, numbers)


def _texts(cells: pa.ChunkedArray, markers: Iterable[str]) -> pd.Series:
    encoded = cells.combine_chunks().dictionary_encode()
    absent = {*map(canonical_text, markers), ""}
    words = [canonical_text(word) for word in encoded.dictionary.to_pylist()]
    words = [None if word in absent else word for word in words]
    return pd.Series(np.array([*words, None], object)[encoded.indices.fill_null(len(words)).to_numpy()])


def _markers(
    cells: Mapping[str, pa.ChunkedArray], known: tuple[str, ...], target: str
) -> dict[str, tuple[str, ...]]:
    """Texts beyond the known ones that mean "no value", each with the columns it stands in.

    A word that may be a category is none if the target has it, since rows without a label are left out.
    """
    places: dict[str, list[str]] = {}
    for name, column in cells.items():
        numbers = _numbers(column, known)
        if numbers is None:
            words = _text_markers(column, known)
        else:
            words = [] if name == target else _numeric_markers(numbers)
        for word in words:
            places.setdefault(word, []).append(name)
    labels = {word for word in cells[target].unique().to_pylist() if word not in CERTAIN_MARKERS}
    numeric = {word for word in places if is_number(word)}
    refused = {word for word in numeric if _is_value_elsewhere(float(word), cells, known, places[word])}
    return {
        word: tuple(names)
        for word, names in places.items()
        if word not in refused and (word not in labels or target in names)
    }


def _text_markers(column: pa.ChunkedArray, known: Iterable[str]) -> list[str]:
    counted = pc.value_counts(column)
    counts = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
    words = {word: n for word, n in counts if word and word not in known}
    others = {word: n for word, n in words.items() if not is_number(word)}
    numeric = sum(words.values()) - sum(others.values())
    among_numbers = numeric > MOSTLY * sum(words.values()) and set(others) <= MARKERS_AMONG_NUMBERS
    return sorted(others if among_numbers else CERTAIN_MARKERS & set(others))


def _numeric_markers(numbers: np.ndarray) -> list[str]:
    """Those that stand at least twice in a column whose other numbers are not negative."""
    others = numbers[~np.isin(numbers, NUMERIC_MARKERS) & ~np.isnan(numbers)]
    if not len(others) or others.min() < 0:
        return []
    return [f"{marker:.0f}" for marker in NUMERIC_MARKERS if (numbers == marker).sum() > 1]


def _is_value_elsewhere(
    number: float, cells: Mapping[str, pa.ChunkedArray], known: tuple[str, ...], names: list[str]
) -> bool:
    """Whether a column in which it is no marker has this number: a marker holds for all columns."""
    others = (_numbers(column, known) for name, column in cells.items() if name not in names)
    return any(numbers is not None and (numbers == number).any() for numbers in others)


def _begins_with_zero(column: pa.ChunkedArray) -> bool:
    """Whether its cells are mostly digits alone, and some begin with a zero: codes, not numbers."""
    present = column.filter(pc.match_substring_regex(column, r"^[0-9]+$"))
    padded = pc.sum(pc.match_substring_regex(present, "^0[0-9]")).as_py() if len(present) else 0
    return bool(padded) and len(present) >= MOSTLY * pc.sum(pc.not_equal(column, "")).as_py()
