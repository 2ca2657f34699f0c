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


def draw(rows: Iterator[pa.RecordBatch], limit: int, seed: int) -> Sample:
    """Each row with the same chance, whatever its place; the same rows for the same file and seed."""
    generator = np.random.default_rng(seed)
    kept, lots, total, bound = [], np.empty(0), 0, 1.0
    for batch in rows:
        drawn = generator.random(batch.num_rows)
        total += batch.num_rows
        kept.append(batch.filter(pa.array(drawn < bound)))
        lots = np.concatenate([lots, drawn[drawn < bound]])
        if len(lots) > 2 * limit:
            kept, lots, bound = _lowest(kept, lots, limit)
    if not total:
        return Sample(pa.table({}), 0)
    kept, _, _ = _lowest(kept, lots, limit)
    return Sample(pa.Table.from_batches(kept), total)


def _lowest(
    batches: list[pa.RecordBatch], lots: np.ndarray, limit: int
) -> tuple[list[pa.RecordBatch], np.ndarray, float]:
    if len(lots) <= limit:
        return batches, lots, 1.0
    bound = float(np.partition(lots, limit)[limit])
    table = pa.Table.from_batches(batches).filter(pa.array(lots < bound))
    return table.to_batches(), lots[lots < bound], bound


def as_texts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows with each cell as a text. Raises DataError for a column of lists or the like."""
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_nested(column.type):
                raise DataError(f"column {name} holds {column.type}; leave it out of the file")
        texts = [column.cast(pa.string()) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(texts, names=batch.schema.names)
