"""Which column of an object to score is which: by its header or, without one, by what settings say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa

from ml_pipeline import dialect, ingest
from ml_pipeline.cells import Reader
from ml_pipeline.dialect import DataError
from ml_pipeline.features import Category, FeatureSpec, Number, RowError, canonical_text, is_number
from ml_pipeline.settings import Data, Settings

SHOWN = 20  # columns that a message lists


@dataclass(frozen=True)
class Wanted:
    """What an object must hold. passed: columns that pass by the model. optional: may be absent."""

    passed: tuple[str, ...]
    optional: frozenset[str]
    spec: FeatureSpec
    data: Data

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of what batch transform takes, in order."""
        return *self.passed, *self.spec.names

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.optional)

    @property
    def layouts(self) -> list[tuple[str, ...]]:
        """Columns of an object without a header: those of settings, also without the target, or ours."""
        own = self.data.columns
        unlabelled = tuple(name for name in own if name != self.data.target)
        given = [each for each in (own, unlabelled) if set(self.required) <= set(each)]
        return [*given, self.required]


@dataclass(frozen=True)
class Layout:
    """How to read an object. names: all its columns, in its order. told: what is to be told of it."""

    names: tuple[str, ...]
    options: ingest.Options
    told: tuple[str, ...]


class Unfit(DataError):
    """An object whose columns are not what the model takes. columns: names of those it is about."""

    def __init__(self, message: str, check: str, columns: Iterable[str]) -> None:
        super().__init__(message)
        self.check, self.columns = check, tuple(columns)


def wanted(spec: FeatureSpec, settings: Settings) -> Wanted:
    """What the model needs, and what training on these rows will need once their labels are known.

    Before the features pass ids, facets and group that are no features, what rows are split by, and, if it is
    there, what the model must not see.
    """
    data, split = settings.data, settings.split
    by = {"by_key": [split.key], "ordered": [split.time]}.get(split.method, [])
    needed = [*spec.ids, *data.facets, *([data.group] if data.group else []), *by]
    passed = dict.fromkeys(name for name in (*needed, *data.exclude) if name not in spec.names)
    return Wanted(tuple(passed), frozenset(data.exclude) - set(needed), spec, data)


def found(path: Path, uri: str, wanted: Wanted) -> Layout:
    """Columns of a local copy of the object. Raises Unfit, or DataError for what is no table."""
    if uri.lower().endswith(".parquet"):
        names, told, options = ingest.parquet_columns(path, uri), [], ingest.Options((), {})
    else:
        with path.open("rb") as file:
            names, told, options = _of_csv(file.read(dialect.HEAD_BYTES), uri, wanted)
    _check(names, uri, wanted)
    extra = [name for name in names if name not in wanted.names]
    if extra:
        told = [*told, f"{uri}: the model has no use for {_listed(extra)}"]
    return Layout(tuple(names), options, tuple(told))


def _of_csv(head: bytes, uri: str, wanted: Wanted) -> tuple[list[str], list[str], ingest.Options]:
    if not ingest.is_readable(uri):
        raise DataError(f"{uri}: the name must end with {dialect.ENDINGS_TOLD}")
    if not head:
        raise Unfit(f"{uri}: the object is empty; bring its rows, or delete it", "completeness_check", ())
    first = dialect.sniff(head, uri, wanted.data.delimiter)
    fits = set(wanted.required) & set(first.names) or len(first.names) in map(len, wanted.layouts)
    if wanted.data.delimiter and not fits:
        first = dialect.sniff(head, uri)  # another delimiter than the training data's
    told = []
    if first.delimiter != (wanted.data.delimiter or ","):
        told.append(f"{uri}: the delimiter is {dialect.DELIMITERS[first.delimiter]}")
    columns: tuple[str, ...] = ()
    if _is_row(first.names, wanted):
        columns = _columns(first.names, uri, wanted)
        _check_order(first.names, columns, uri, wanted)
        told.append(f"{uri}: no header; the columns are taken as {', '.join(columns)}")
    options = ingest.Options((), {}, first.delimiter, columns, wanted.data.decimal)
    return list(columns or first.names), told, options


def _is_row(cells: tuple[str, ...], wanted: Wanted) -> bool:
    """Whether the first line is a row: it names no column, and holds what a name does not look like."""
    if set(cells) & {*wanted.names, wanted.data.target}:
        return False
    nameless = any(cell == dialect.NAMELESS.format(place) for place, cell in enumerate(cells, 1))
    known = {word for each in wanted.spec.features if isinstance(each, Category) for word in each.categories}
    known |= set(wanted.spec.missing)
    return nameless or any(is_number(cell) or canonical_text(cell) in known for cell in cells)


def _columns(cells: tuple[str, ...], uri: str, wanted: Wanted) -> tuple[str, ...]:
    for layout in wanted.layouts:
        if len(layout) == len(cells):
            return layout
    message = (
        f"{uri}: no header, and {len(cells)} cells in the first row where {len(wanted.layouts[-1])} are "
        f"taken: {_listed(wanted.layouts[-1])}; bring exactly these in this order, or a header line"
    )
    raise Unfit(message, "missing_column_check", ())


def _check_order(first: tuple[str, ...], columns: tuple[str, ...], uri: str, wanted: Wanted) -> None:
    """Raises Unfit for a first row that has a text where the model takes a number."""
    given = [None if cell == dialect.NAMELESS.format(place) else cell for place, cell in enumerate(first, 1)]
    row = pa.record_batch([pa.array([cell], pa.string()) for cell in given], names=list(columns))
    row = ingest.with_points(row) if wanted.data.decimal == "," else row
    for name in (each.name for each in wanted.spec.features if isinstance(each, Number)):
        try:
            Reader(name, wanted.spec.missing, "number").add(row.column(name))
        except RowError as error:
            raise Unfit(
                f"{uri}: no header, and in row 1, column {name}, {error.problem}; the columns are taken as "
                f"{_listed(columns)}: bring them in this order, or a header line; if that is their order, "
                f"correct the cell",
                "data_type_check",
                (name,),
            ) from None


def _check(names: list[str], uri: str, wanted: Wanted) -> None:
    twice = [name for name in wanted.names if names.count(name) > 1]
    if twice:
        raise Unfit(
            f"{uri}: more than one column {_listed(twice)}; rename or leave out one of each",
            "extra_column_check",
            twice,
        )
    absent = [name for name in wanted.required if name not in names]
    if absent:
        near = {name: get_close_matches(name.lower(), [each.lower() for each in names], 1) for name in absent}
        hint = "".join(f"; is {word[0]!r} {name}?" for name, word in near.items() if word)
        raise Unfit(
            f"{uri}: no column {_listed(absent)}{hint}; there are: {_listed(names)}; bring it under its "
            f"name, an empty cell stands for a missing value",
            "missing_column_check",
            absent,
        )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
