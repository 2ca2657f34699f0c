"""Rows of any number, for the benchmark: `python tests/benchmarks/make_data.py ROWS FILE.csv|.parquet`.

An id, 16 numeric and 4 categorical columns, 5 % of their cells empty, and a binary label that can be
learned; category_0 is the facet. Blocks have seeds of their own: a longer file begins with the shorter one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SEED = 20240229
BLOCK_ROWS = 100_000
NUMBERS = tuple(f"number_{place}" for place in range(16))
WORDS = {"category_0": 2, "category_1": 5, "category_2": 12, "category_3": 60}  # distinct values of each
MISSING_FRACTION = 0.05
LABELS = ("no", "yes")
NOISE = 1.5  # of the log-odds: the label is learned to an AUC of about 0.9


def write(rows: int, path: Path) -> None:
    """Writes the first `rows` rows."""
    blocks = (block(number, min(BLOCK_ROWS, rows - first)) for number, first in _starts(rows))
    first = next(blocks)
    csv = path.suffix == ".csv"
    with (pyarrow.csv.CSVWriter if csv else pyarrow.parquet.ParquetWriter)(path, first.schema) as writer:
        writer.write_table(first)
        for table in blocks:
            writer.write_table(table)


def block(number: int, rows: int) -> pa.Table:
    """The first `rows` rows of a block."""
    generator = np.random.default_rng([SEED, number])
    numbers = generator.standard_normal((BLOCK_ROWS, len(NUMBERS)))
    places = {name: generator.integers(0, count, BLOCK_ROWS) for name, count in WORDS.items()}
    odds = _log_odds(numbers, places) + NOISE * generator.standard_normal(BLOCK_ROWS)
    ids = np.arange(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS)
    columns = {"id": pa.array(np.char.add("R", ids.astype(str)))}
    for place, name in enumerate(NUMBERS):
        values = np.round(numbers[:, place] * 10 ** (place % 4), 4)
        columns[name] = pa.array(values, mask=_holes(generator))
    for name, values in places.items():
        words = np.char.add("value ", np.arange(WORDS[name]).astype(str))
        columns[name] = pa.array(words[values], mask=_holes(generator))
    columns["label"] = pa.array(np.array(LABELS)[(odds > 0).astype(int)])
    return pa.table(columns).slice(0, rows)


def _log_odds(numbers: np.ndarray, places: dict[str, np.ndarray]) -> np.ndarray:
    """Bends, interactions and effects of categories; number_12 and those after it are noise."""
    odds = numbers[:, :6] @ np.array([0.9, -0.7, 0.5, 0.4, -0.3, 0.2])
    odds += np.abs(numbers[:, 6]) - 0.8 + 0.6 * numbers[:, 7] * numbers[:, 8]
    odds += 0.8 * np.sin(2 * numbers[:, 9]) + 0.5 * (numbers[:, 10] > 1) * numbers[:, 11]
    odds += 0.4 * places["category_0"] + 0.3 * (places["category_1"] == 2)
    return odds + 0.5 * np.sin(places["category_2"]) + 0.02 * (places["category_3"] % 7)


def _holes(generator: np.random.Generator) -> np.ndarray:
    return generator.random(BLOCK_ROWS) < MISSING_FRACTION


def _starts(rows: int) -> enumerate[int]:
    return enumerate(range(0, rows, BLOCK_ROWS))


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]))
