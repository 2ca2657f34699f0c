"""Objects to score as the header-less CSV that batch transform takes.

What is in memory does not grow with them, but for hashes of the ids: 16 bytes a row at most.

A problem is told as a violation in the form of SageMaker Model Monitor, and ends nothing: who wrote the data
hears of all columns at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ml_pipeline import cells, hashing, ingest, layout, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.features import Category, Feature, Number, RowError
from ml_pipeline.layout import Unfit, Wanted

Violation = dict[str, str]
WHOLE = "(all)"  # feature_name of a violation that is not about a column
REPEATED = "more than once in the period"
REPEATED_SHOWN, LOOKED_UP = 3, 1000  # of ids that stand more than once: those that are named, and looked for


@dataclass
class Converted:
    """One object. path: its CSV. hashes: of each row's ids, uint64. told: what is to be told of it."""

    uri: str
    path: Path
    rows: int = 0
    hashes: list[np.ndarray] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    told: tuple[str, ...] = ()

    def break_with(self, problem: str, check: str, columns: tuple[str, ...] = ()) -> None:
        for name in columns or (WHOLE,):
            self.violations.append(violation(name, check, problem))


def violation(name: str, check: str, problem: str) -> Violation:
    return {"feature_name": name, "constraint_check_type": check, "description": problem}


def converted(uri: str, source: Path, target: Path, wanted: Wanted) -> Converted:
    """The object, of which source is a local copy, written to target: numbers and canonical texts in order.

    target is of no use if there are violations.
    """
    made = Converted(uri, target)
    try:
        table = layout.found(source, uri, wanted)
        made.told = table.told
        with target.open("wb") as file:
            for rows in _read(source, table, made, wanted):
                file.write(storage.csv_rows(rows))
    except Unfit as error:
        made.break_with(str(error), error.check, error.columns)
    except DataError as error:
        made.break_with(str(error), "data_type_check")
    return made


def repeated(objects: list[Converted], ids: tuple[str, ...]) -> list[Violation]:
    """One violation if ids stand more than once in the objects, which have no other."""
    hashes = [part for each in objects for part in each.hashes]
    if not hashes:
        return []
    ordered = np.concatenate(hashes)
    ordered.sort()
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return []
    places: dict[tuple[str, ...], list[str]] = {}
    for each in objects:
        if each.rows:
            _add_places(places, each, ids, twice[:LOOKED_UP])
    found = {row: where for row, where in places.items() if len(where) > 1}  # others share a hash alone
    if not found:
        return []
    shown = "; ".join(
        f"{', '.join(map(repr, row))} in {' and '.join(where[:2])}"
        for row, where in list(found.items())[:REPEATED_SHOWN]
    )
    values = "1 value stands" if len(twice) == 1 else f"{len(twice):,} values stand"
    problem = (
        f"{' + '.join(ids)}: {values} {REPEATED}, so labels could not be joined: {shown}; "
        "leave out all but one row of each"
    )
    return [violation(ids[0], "data_type_check", problem)]


def is_repeated(found: Violation) -> bool:
    """Whether it is one of `repeated`."""
    return REPEATED in found["description"]


def _read(source: Path, table: layout.Layout, made: Converted, wanted: Wanted) -> Iterator[pa.Table]:
    """The rows as wanted, block by block, until there is a violation; then they are only checked."""
    kinds = {feature.name: feature for feature in wanted.spec.features}
    broken: set[str] = set()
    batches = ingest.batches(source, table.options, made.uri, [n for n in table.names if n in wanted.names])
    for batch in ingest.ahead(ingest.gathered(batches)):
        _refuse_header(batch, made)
        columns = {}
        for name in wanted.names:
            if name in broken:
                continue
            try:
                columns[name] = _column(batch, name, kinds.get(name), wanted)
            except RowError as error:
                broken.add(name)
                made.break_with(_told(error, made), "data_type_check", (name,))
        _check_ids(columns, made, broken, wanted.spec.ids)
        if not made.violations:
            yield pa.table(columns)
        made.rows += batch.num_rows


def _column(batch: pa.RecordBatch, name: str, feature: Feature | None, wanted: Wanted) -> pa.Array:
    """Cells of one column: numbers or canonical text, null for missing. Raises RowError."""
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    given = batch.column(name)
    if isinstance(feature, Category) and pa.types.is_boolean(given.type):
        given = _spelled(given, feature.categories)
    if isinstance(feature, Number):
        return _numbers(given, feature, wanted.spec.missing)
    return _read_cells(given, name, wanted.spec.missing, "category").dictionary_decode()


def _numbers(given: pa.Array, feature: Number, missing: tuple[str, ...]) -> pa.Array:
    """Numbers as they are written, where every reader takes them so; else as double."""
    try:
        plain = given.cast(pa.float64()) if pa.types.is_string(given.type) else None
    except pa.ArrowInvalid:
        plain = None
    column = _read_cells(given if plain is None else plain, feature.name, missing, "number")
    _refuse_too_large(column, feature)
    if plain is None:
        return column
    return given if column.null_count == given.null_count else pc.if_else(column.is_valid(), given, None)


def _read_cells(given: pa.Array, name: str, missing: tuple[str, ...], kind: cells.Kind) -> pa.Array:
    reader = cells.Reader(name, missing, kind)
    reader.add(given)
    return reader.chunks.pop()


def _spelled(cells: pa.BooleanArray, categories: tuple[str, ...]) -> pa.Array:
    """True and false as the training data spell them."""
    spelling = {word.lower(): word for word in categories}
    yes, no = (spelling.get(word, word) for word in ("true", "false"))
    return pc.if_else(cells, pa.scalar(yes), pa.scalar(no))


def _refuse_too_large(column: pa.Array, feature: Number) -> None:
    """Raises RowError for a number that is none any more as the model's input, which is float32."""
    bounds = pc.min_max(column)
    ends = np.array([bounds["min"].as_py(), bounds["max"].as_py()], np.float64)
    with np.errstate(over="ignore"):
        if np.isfinite(feature.encode(ends, ()).astype(np.float32)).all():
            return
        encoded = feature.encode(column.to_numpy(zero_copy_only=False), ()).astype(np.float32)
    row = int(np.flatnonzero(~np.isfinite(encoded))[0])
    raise RowError(row + 1, feature.name, f"{column[row].as_py():g} is too large for the model")


def _refuse_header(batch: pa.RecordBatch, made: Converted) -> None:
    """Raises Unfit for a row that holds the columns' names, as joining files leaves them behind."""
    names = batch.schema.names
    if not all(pa.types.is_string(kind) for kind in batch.schema.types):
        return
    for row in np.flatnonzero(pc.equal(batch.column(0), names[0]).fill_null(False)):
        if [batch.column(place)[row].as_py() for place in range(len(names))] == names:
            raise Unfit(
                f"{made.uri} row {made.rows + int(row) + 1:,} holds the columns' names once more: were files "
                f"with headers joined? Delete the line",
                "data_type_check",
                (),
            )


def _check_ids(columns: dict[str, pa.Array], made: Converted, broken: set[str], ids: tuple[str, ...]) -> None:
    """Keeps the hashes of ids, all of which must be there."""
    for name in ids:
        if name in columns and columns[name].null_count:
            broken.add(name)
            row = int(np.flatnonzero(columns[name].is_null())[0])
            problem = (
                f"{made.uri} row {made.rows + row + 1:,}, column {name}: no value, so its score has no owner"
            )
            made.break_with(f"{problem}; give the row its id", "completeness_check", (name,))
    if ids and not made.violations:
        made.hashes.append(id_hashes([columns[name] for name in ids]))


def _told(error: RowError, made: Converted) -> str:
    place = f"{made.uri} row {made.rows + error.row:,}, column {error.column}"
    return (
        f"{place}: {error.problem}; correct the cell, or train a model for which the text is missing "
        f"(settings.toml, [data])"
    )


def _add_places(
    places: dict[tuple[str, ...], list[str]], made: Converted, ids: tuple[str, ...], hashes: np.ndarray
) -> None:
    """Adds where the rows stand whose ids have one of the hashes."""
    row = 0
    for part in _ids(made.path, len(ids)):
        found = np.isin(id_hashes(part.columns), hashes)
        for place in np.flatnonzero(found).tolist():
            cells = tuple(part.column(column)[place].as_py() for column in range(len(ids)))
            places.setdefault(cells, []).append(f"{made.uri.rpartition('/')[2]} row {row + place + 1:,}")
        row += part.num_rows


def id_hashes(columns: list[pa.Array]) -> np.ndarray:
    """uint64, shape (n,): of each row's texts, none of which is missing."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for texts in columns:
        hashing.stir(hashes, texts)
    return hashes


def _ids(path: Path, columns: int) -> Iterator[pa.RecordBatch]:
    """The first columns of a CSV that converted has written."""
    reading = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
    names = [f"f{place}" for place in range(columns)]
    converting = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=names
    )
    with pyarrow.csv.open_csv(path, reading, convert_options=converting) as rows:
        yield from rows
