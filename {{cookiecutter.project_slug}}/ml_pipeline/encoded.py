"""An encoded split as Process writes it: parquet with the column `label`, then a float32 column a feature."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet

from ml_pipeline import storage

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Encoded:
    """label: float64, shape (n,). features: float32, shape (n, features)."""

    label: np.ndarray
    features: np.ndarray


def read(uri: str) -> Encoded:
    """The split, read in batches: no more is in memory than what is returned and one batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "split.parquet")
        storage.download(uri, path)
        with pyarrow.parquet.ParquetFile(path) as file:
            return _filled(file)


def _filled(file: pyarrow.parquet.ParquetFile) -> Encoded:
    label = np.empty(file.metadata.num_rows)
    features = np.empty((file.metadata.num_rows, file.metadata.num_columns - 1), np.float32)
    first = 0
    for batch in file.iter_batches(BATCH_ROWS):
        rows = slice(first, first + batch.num_rows)
        label[rows] = batch.column(0).to_numpy()
        for place, column in enumerate(batch.columns[1:]):
            features[rows, place] = column.to_numpy()
        first = rows.stop
    return Encoded(label, features)
