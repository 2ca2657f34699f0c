"""Rows drawn from a whole file, as texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml_pipeline.dialect import DataError


@dataclass(frozen=True)
class Sample:
    """Rows in the file's order. total: rows of the file."""

    table: pa.Table
    total: int


class Reservoir:
    """At most so many rows of a stream, each with the same chance whatever its place.

    The same rows for the same stream and seed, into whatever batches it is cut.
    """

    def __init__(self, limit: int, seed: int | tuple[int, ...]) -> None:
        self._limit, self._generator = limit, np.random.default_rng(seed)
        self._kept: list[pa.RecordBatch] = []
        self._lots, self._bound = np.empty(0), 1.0
        self.total = 0

    def add(self, batch: pa.RecordBatch) -> None:
        drawn = self._generator.random(batch.num_rows)
        self.total += batch.num_rows
        low = drawn < self._bound
        if low.any():
            self._kept.append(batch.filter(pa.array(low)))
            self._lots = np.concatenate([self._lots, drawn[low]])
        if len(self._lots) > 2 * self._limit:
            self._kept, self._lots, self._bound = _lowest(self._kept, self._lots, self._limit)

    def rows(self) -> pa.Table:
        """The drawn rows in the stream's order. Raises ValueError when nothing was added."""
        return pa.Table.from_batches(_lowest(self._kept, self._lots, self._limit)[0])


def draw(rows: Iterator[pa.RecordBatch], limit: int, seed: int) -> Sample:
    """Each row with the same chance, whatever its place; the same rows for the same file and seed."""
    reservoir = Reservoir(limit, seed)
    for batch in rows:
        reservoir.add(batch)
    return Sample(reservoir.rows() if reservoir.total else pa.table({}), reservoir.total)


def _lowest(
    batches: list[pa.RecordBatch], lots: np.ndarray, limit: int
) -> tuple[list[pa.RecordBatch], np.ndarray, float]:
    if len(lots) <= limit:
        return batches, lots, 1.0
    bound = float(np.partition(lots, limit)[limit])
    table = pa.Table.from_batches(batches).filter(pa.array(lots < bound))
    return table.to_batches(), lots[lots < bound], bound


def as_texts(batches: Iterator[pa.RecordBatch], place: str) -> Iterator[pa.RecordBatch]:
    """The rows with each cell as a text. Raises DataError for a column of lists or the like.

    place: the file's name, for the message.
    """
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_nested(column.type):
                raise DataError(f"{place}: column {name} holds {column.type}; leave it out of the file")
        texts = [column.cast(pa.string()) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(texts, names=batch.schema.names)
