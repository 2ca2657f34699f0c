"""Rows of a local CSV or parquet file as texts: all of them, or some that are drawn from the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline import dialect
from ml_pipeline.dialect import DataError, Dialect
from ml_pipeline.ingest import PANDAS_INDEX


@dataclass(frozen=True)
class Sample:
    """Rows in the file's order as texts, null only where parquet has no value. total: rows of the file."""

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


def batches(path: Path, found: Dialect | None) -> Iterator[pa.RecordBatch]:
    """Rows of a file, read block by block. found: None for parquet. Raises DataError for a broken row."""
    return _parquet_batches(path) if found is None else _csv_batches(path, found)


def _csv_batches(path: Path, found: Dialect) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file:
        file.seek(found.data_offset)
        rows = pa.BufferReader(dialect.unquoted(file.read())) if found.quoted_lines else file
        try:
            yield from pyarrow.csv.open_csv(
                rows,
                read_options=pyarrow.csv.ReadOptions(column_names=found.names, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(delimiter=found.delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(found.names, pa.string())
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise DataError(f"{path}: {error} (not counting the header line)") from None


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Without the index that pandas may have stored."""
    with pyarrow.parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if not name.startswith(PANDAS_INDEX)]
        for batch in file.iter_batches(columns=names):
            texts = [column.cast(pa.string()) for column in batch.columns]
            yield pa.RecordBatch.from_arrays(texts, names=names)
