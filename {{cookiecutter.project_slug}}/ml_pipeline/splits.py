"""Which rows train, validate and test: by a seeded hash of the row or of a key, or by time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa

from ml_pipeline import hashing, threads
from ml_pipeline.settings import Split

NAMES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
MISSING = "\0"  # a text that stands for a missing one


class SplitError(ValueError):
    """Rows that cannot be split as settings say; the message holds the counts and the remedy."""


def assign(table: pa.Table, target: str, split: Split) -> np.ndarray:
    """Place in NAMES of each row's split, int8, shape (n,).

    table: numbers as double, texts as string or dictionary. target: what `stratified` keeps the shares of.
    With `random` and `by_key` a row stays in its split when others come or go; with `stratified` all but
    those at the border do. Raises SplitError if a key or a time is missing or cannot be read.
    """
    if split.method == "ordered":
        return _newest_last(_times(table[split.time], split.time), split)
    if split.method == "by_key":
        return _by_threshold(_key_hashes(table[split.key], split), split)
    hashes = row_hashes(table, split.seed)
    if split.method == "random":
        return _by_threshold(hashes, split)
    places = np.empty(len(hashes), np.int8)
    labels = table[target].dictionary_encode().unify_dictionaries()
    codes = np.concatenate([chunk.indices for chunk in labels.chunks])
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        places[rows] = _by_rank(hashes[rows], split)
    return places


def row_hashes(table: pa.Table, seed: int) -> np.ndarray:
    """uint64, shape (n,): equal for rows equal in all columns, whatever the columns' order."""
    names = table.column_names
    first, second = threads.mapped(partial(_total, table, seed), (names[::2], names[1::2]))
    return hashing.scrambled(first + second)


def sizes(places: np.ndarray) -> dict[str, int]:
    """Rows by split."""
    return dict(zip(NAMES, np.bincount(places, minlength=len(NAMES)).tolist(), strict=True))


def counts(places: np.ndarray, codes: np.ndarray, number: int) -> np.ndarray:
    """Rows by split and code, shape (3, number); codes: 0 to number - 1, shape (n,)."""
    cells = np.bincount(places * np.int64(number) + codes, minlength=len(NAMES) * number)
    return cells.reshape(len(NAMES), number)


def class_counts(labels: pa.ChunkedArray, places: np.ndarray) -> dict[str, dict[str, int]]:
    """Rows by split and class, classes sorted."""
    encoded = labels.dictionary_encode().unify_dictionaries()
    words = encoded.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices for chunk in encoded.chunks])
    rows = counts(places, codes, len(words)).tolist()
    return {name: dict(sorted(zip(words, rows[i], strict=True))) for i, name in enumerate(NAMES)}


def _by_threshold(hashes: np.ndarray, split: Split) -> np.ndarray:
    point = hashes / 2.0**64
    held_out = split.test_fraction + split.validation_fraction
    return _places(point < split.test_fraction, point < held_out)


def _by_rank(hashes: np.ndarray, split: Split) -> np.ndarray:
    """Exact shares by rank of hash; rows of one hash stay together."""
    ordered = np.sort(hashes)
    test = round(len(hashes) * split.test_fraction)
    held_out = test + round(len(hashes) * split.validation_fraction)
    is_test = hashes <= ordered[test - 1] if test else np.zeros(len(hashes), bool)
    is_held_out = hashes <= ordered[held_out - 1] if held_out else np.zeros(len(hashes), bool)
    return _places(is_test, is_held_out)


def _newest_last(times: np.ndarray, split: Split) -> np.ndarray:
    """The newest rows test, those before them validate; rows of one time stay together."""
    ordered = np.sort(times)
    test = len(times) - round(len(times) * split.test_fraction)
    held_out = test - round(len(times) * split.validation_fraction)
    is_test = times >= ordered[min(test, len(times) - 1)]
    return _places(is_test, times >= ordered[held_out])


def _places(is_test: np.ndarray, is_held_out: np.ndarray) -> np.ndarray:
    return np.where(is_test, np.int8(TEST), np.where(is_held_out, np.int8(VALIDATION), np.int8(TRAIN)))


def _times(column: pa.ChunkedArray, name: str) -> np.ndarray:
    _refuse_missing(column, name, "time")
    if pa.types.is_floating(column.type):
        return column.to_numpy()
    try:
        return pd.to_datetime(column.to_numpy(), format="ISO8601", utc=True).tz_convert(None).to_numpy()
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise SplitError(
            f"column {name}: times must be numbers or ISO 8601 such as 2024-02-29T12:00:00 ({reason}); "
            f"another column is named by time (settings.toml, [split])"
        ) from None


def _key_hashes(column: pa.ChunkedArray, split: Split) -> np.ndarray:
    _refuse_missing(column, split.key, "key")
    return _total(pa.table({split.key: column}), split.seed, [split.key])


def _refuse_missing(column: pa.ChunkedArray, name: str, setting: str) -> None:
    if column.null_count:
        raise SplitError(
            f"column {name} has no value in {column.null_count:,} of {len(column):,} rows, which cannot be "
            f"split by it; fill them, or change {setting} or method (settings.toml, [split])"
        )


def _total(table: pa.Table, seed: int, names: list[str]) -> np.ndarray:
    """uint64, shape (n,): sum of the hashes of each row's cells in these columns."""
    total = np.zeros(table.num_rows, np.uint64)
    for name in names:
        salt, row = hashing.of_texts(pa.array([f"{seed}/{name}"])), 0
        for hashes in _cell_hashes(table[name]):
            total[row : row + len(hashes)] += hashing.scrambled(hashes ^ salt)
            row += len(hashes)
    return total


def _cell_hashes(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """uint64, shape (n,): of the cells of each chunk. All chunks of texts that recur have one dictionary."""
    words = None
    for chunk in column.chunks:
        if pa.types.is_floating(chunk.type):
            yield hashing.of_numbers(chunk.to_numpy(zero_copy_only=False))
        elif pa.types.is_dictionary(chunk.type):
            if words is None:
                words = hashing.of_texts(pa.concat_arrays([chunk.dictionary, pa.array([MISSING])]))
            yield words[chunk.indices.fill_null(-1).to_numpy()]
        else:
            yield hashing.of_texts(chunk.fill_null(MISSING))
