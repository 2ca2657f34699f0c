"""Rows that batch transform has answered: passed columns, features and outputs, read in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.csv

from ml_pipeline import cells, ingest, storage
from ml_pipeline.features import Category, Column, FeatureSpec, Target

BLOCK_ROWS = 1 << 16  # all sums are taken block by block, so that they do not depend on how the bytes arrive
READ_BYTES = 4 << 20  # of a CSV at a time
ENDING = ".out"


@dataclass(frozen=True)
class Layout:
    """Columns of an answered row, in order. passed: ids first, then facets and group that are no features."""

    passed: tuple[str, ...]
    spec: FeatureSpec

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Type of each column, by a name that tells its role too: a feature may be called `score`."""
        numbers = {key("feature", f.name): not isinstance(f, Category) for f in self.spec.features}
        outputs = {key("output", name): name != "predicted_label" for name in outputs_of(self.spec.target)}
        passed = dict.fromkeys((key("passed", name) for name in self.passed), False)
        return {
            name: pa.float64() if is_number else pa.string()
            for name, is_number in (passed | numbers | outputs).items()
        }

    def role_of(self, name: str) -> str:
        """Key of the raw column. Raises KeyError for one that the rows do not have."""
        for role in ("passed", "feature"):
            if key(role, name) in self.types:
                return key(role, name)
        raise KeyError(name)


def key(role: str, name: str) -> str:
    """role: passed, feature or output."""
    return f"{role}: {name}"


def outputs_of(target: Target) -> list[str]:
    """What the model adds to a row."""
    if target.problem == "regression":
        return ["prediction"]
    scores = [f"score_{name}" for name in target.classes] if target.problem == "multiclass" else ["score"]
    return ["predicted_label", *scores]


def objects(period_uri: str) -> list[str]:
    """URIs of the answered objects of one period. Raises ValueError if there are none."""
    found = [uri for uri, _ in storage.list_uris(f"{period_uri}/") if uri.endswith(ENDING)]
    if not found:
        raise ValueError(f"{period_uri}: batch transform left no answered object there")
    return found


def blocks(uri: str, layout: Layout) -> Iterator[pa.RecordBatch]:
    """The rows of one object, BLOCK_ROWS at a time.

    Raises ValueError for an object that is not what batch transform makes of such rows.
    """
    # a single thread, and one block ahead: what is in memory has a bound
    reading = pyarrow.csv.ReadOptions(
        use_threads=False, block_size=READ_BYTES, column_names=list(layout.types)
    )
    converting = pyarrow.csv.ConvertOptions(
        column_types=layout.types,
        null_values=[""],
        strings_can_be_null=True,
    )
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    try:
        with pyarrow.csv.open_csv(
            pa.PythonFile(storage.stream(uri), "r"), reading, parsing, converting
        ) as rows:
            yield from whole_blocks(ingest.ahead(iter(rows)))
    except pa.ArrowInvalid as error:
        columns = ", ".join(layout.types)
        raise ValueError(f"{uri}: not rows of {len(layout.types)} columns ({columns}): {error}") from None


def whole_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows again, BLOCK_ROWS at a time, the last ones as they are."""
    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        kept.append(batch)
        rows += batch.num_rows
        while rows >= BLOCK_ROWS:
            table = pa.Table.from_batches(kept)
            yield _one(table.slice(0, BLOCK_ROWS))
            kept, rows = table.slice(BLOCK_ROWS).to_batches(), rows - BLOCK_ROWS
    if rows:
        yield _one(pa.Table.from_batches(kept))


def values(block: pa.RecordBatch, name: str) -> Column:
    """A block's column in numpy's form. name: its key."""
    return cells.values(pa.chunked_array([block.column(name)]))


def _one(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch
