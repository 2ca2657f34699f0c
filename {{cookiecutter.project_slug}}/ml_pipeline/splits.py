"""Which rows train, validate and test: by a seeded hash of the row or of a key, or by time."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from ml_pipeline.settings import Split

NAMES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


class SplitError(ValueError):
    """Rows that cannot be split as settings say; the message holds the counts and the remedy."""


def assign(frame: pd.DataFrame, labels: pd.Series, split: Split) -> np.ndarray:
    """Place in NAMES of each row's split, shape (n,).

    labels: what `stratified` keeps the shares of. With `random` and `by_key` a row stays in its split when
    others come or go; with `stratified` all but those at the border do. Raises SplitError if a key or a time
    is missing or cannot be read.
    """
    if split.method == "ordered":
        return _newest_last(_times(frame[split.time], split.time), split)
    if split.method == "by_key":
        return _by_threshold(_key_hashes(frame[split.key], split), split)
    hashes = row_hashes(frame, split.seed)
    if split.method == "random":
        return _by_threshold(hashes, split)
    places = np.empty(len(frame), np.int64)
    for rows in labels.groupby(labels).indices.values():
        places[rows] = _by_rank(hashes[rows], split)
    return places


def row_hashes(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """uint64, shape (n,): equal for rows equal in all columns, whatever the columns' order."""
    total = np.zeros(len(frame), np.uint64)
    for name in frame.columns:
        total += _scrambled(_cell_hashes(frame[name]) ^ _digest(f"{seed}/{name}"))
    return _scrambled(total)


def class_counts(labels: pd.Series, places: np.ndarray) -> dict[str, dict[str, int]]:
    """Rows by split and class."""
    table = pd.crosstab(pd.Series(places, index=labels.index), labels)
    table = table.reindex(range(len(NAMES)), fill_value=0)
    return {name: {str(key): int(n) for key, n in table.loc[i].items()} for i, name in enumerate(NAMES)}


def _by_threshold(hashes: np.ndarray, split: Split) -> np.ndarray:
    point = hashes / 2.0**64
    return np.select(
        [point < split.test_fraction, point < split.test_fraction + split.validation_fraction],
        [TEST, VALIDATION],
        TRAIN,
    )


def _by_rank(hashes: np.ndarray, split: Split) -> np.ndarray:
    """Exact shares by rank of hash; rows of one hash stay together."""
    ordered = np.sort(hashes)
    test = round(len(hashes) * split.test_fraction)
    held_out = test + round(len(hashes) * split.validation_fraction)
    is_test = hashes <= ordered[test - 1] if test else np.zeros(len(hashes), bool)
    is_held_out = hashes <= ordered[held_out - 1] if held_out else np.zeros(len(hashes), bool)
    return np.select([is_test, is_held_out], [TEST, VALIDATION], TRAIN)


def _newest_last(times: np.ndarray, split: Split) -> np.ndarray:
    """The newest rows test, those before them validate; rows of one time stay together."""
    ordered = np.sort(times)
    test = len(times) - round(len(times) * split.test_fraction)
    held_out = test - round(len(times) * split.validation_fraction)
    is_test = times >= ordered[min(test, len(times) - 1)]
    return np.select([is_test, times >= ordered[held_out]], [TEST, VALIDATION], TRAIN)


def _times(column: pd.Series, name: str) -> np.ndarray:
    _refuse_missing(column, name, "time")
    if column.dtype.kind == "f":
        return column.to_numpy()
    try:
        return pd.to_datetime(column, format="ISO8601", utc=True).to_numpy()
    except ValueError as error:
        raise SplitError(
            f"column {name}: times must be numbers or ISO 8601 such as 2024-02-29T12:00:00 ({error}); "
            f"another column is named by time (settings.toml, [split])"
        ) from None


def _key_hashes(column: pd.Series, split: Split) -> np.ndarray:
    _refuse_missing(column, split.key, "key")
    return _scrambled(_cell_hashes(column) ^ _digest(f"{split.seed}/{split.key}"))


def _refuse_missing(column: pd.Series, name: str, setting: str) -> None:
    if column.isna().any():
        count = int(column.isna().sum())
        raise SplitError(
            f"column {name} has no value in {count:,} of {len(column):,} rows, which cannot be split by it; "
            f"fill them, or change {setting} or method (settings.toml, [split])"
        )


def _cell_hashes(column: pd.Series) -> np.ndarray:
    """uint64, shape (n,): of the number's bits (0.0 = -0.0, all NaN alike) or of the text."""
    if column.dtype.kind == "f":
        numbers = column.to_numpy() + 0.0
        return _scrambled(np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64))
    places, words = pd.factorize(column)  # a missing cell's place is -1: the last of the digests
    digests = np.array([*map(_digest, words), _digest("\0")], np.uint64)
    return digests[places]


def _digest(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def _scrambled(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit. Source: SplitMix64 (Steele, Lea, Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
