"""What raw data must hold for the settings: checked before anything is trained, told by place and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_pipeline import cells, facets, ingest, splits
from ml_pipeline.dialect import DataError
from ml_pipeline.features import Category, Column, FeatureSpec, Number, Texts, canonical_text, is_number
from ml_pipeline.ingest import Raw
from ml_pipeline.settings import Data, Split

LABEL = "label"  # first column of the encoded splits
ALMOST_NUMERIC = 0.9  # a text column with more numbers than this most likely holds spoilt numbers
FEW_WORDS = 20  # up to so many distinct values a column may well be a category, such as 1 to 10 and K
SHOWN = 20  # columns or labels that a message lists
FEW_CLASSES = 6  # of each split that a message lists, the rarest
MEASURABLE_ROWS = 2  # of a split: R2 of a single row is not defined


def check_columns(names: Iterable[str], data: Data, split: Split, uri: str) -> None:
    """Raises DataError if a column that settings name is absent, or one has a name that is ours."""
    present = list(names)
    named = [("data", "target", data.target), ("data", "group", data.group)]
    named += [
        ("data", key, name) for key in ("facets", "ids", "exclude", "kinds") for name in getattr(data, key)
    ]
    named += [("split", key, getattr(split, key)) for key in ("key", "time") if _needs(split, key)]
    for section, key, name in named:
        if name and name not in present:
            raise DataError(
                f"{uri}: no column {name!r}, which {key} names (settings.toml, [{section}]); "
                f"there are: {_listed(present)}"
            )
    _check_features(present, data, split, uri)
    if LABEL in present and data.target != LABEL and LABEL not in data.exclude:
        raise DataError(
            f"{uri}: no column but the target may be named {LABEL!r}, its name in what this step writes; "
            f"rename it, or exclude it (settings.toml, [data])"
        )


def _check_features(present: list[str], data: Data, split: Split, uri: str) -> None:
    roles = {
        "ids": data.ids,
        "exclude": data.exclude,
        "facets": () if data.facets_as_features else data.facets,
        "split": [getattr(split, key) for key in ("key", "time") if _needs(split, key)],
    }
    out = {name: role for role, names in roles.items() for name in names} | {data.target: "target"}
    if set(present) <= set(out):
        told = ", ".join(f"{name} ({role})" for name, role in out.items())
        raise DataError(f"{uri}: no column is left as a feature: {told} (settings.toml, [data], [split])")


def check_target(labels: Column, data: Data, uri: str) -> None:
    """Raises DataError unless the labels fit the problem and hold the positive one."""
    place = f"{uri}: target {data.target}"
    distinct = sorted(labels.counts()) if isinstance(labels, Texts) else np.unique(labels).tolist()
    if len(distinct) < 2:
        raise DataError(
            f"{place} has {_listed(distinct) or 'no value'} in every row: there is nothing to learn; "
            f"bring rows with another label, or name another target (settings.toml, [data])"
        )
    if data.problem == "binary" and len(distinct) > 2:
        raise DataError(
            f"{place} has {len(distinct):,} labels, a binary problem has 2: {_listed(distinct)}; "
            f"set problem, or name what is no label in missing (settings.toml, [data])"
        )
    if data.problem != "regression" and data.positive and canonical_text(data.positive) not in distinct:
        raise DataError(
            f"{place} has no label {data.positive!r}, which positive names (settings.toml, [data]); "
            f"there are: {_listed(distinct)}"
        )


def check_splits(labels: pa.ChunkedArray, places: np.ndarray, data: Data, split: Split, uri: str) -> None:
    """Raises DataError if a split is too small to be measured or, for classes, lacks one."""
    if data.problem == "regression":
        sizes = splits.sizes(places)
        lacking = [
            f"{name} has {size or 'no'} row{'s' * (size != 1)}"
            for name, size in sizes.items()
            if size < MEASURABLE_ROWS
        ]
        counts = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    else:
        table = splits.class_counts(labels, places)
        absent = {name: [repr(key) for key, n in row.items() if not n] for name, row in table.items()}
        lacking = [
            f"{name} has no {_listed(keys, FEW_CLASSES) if any(table[name].values()) else 'row'}"
            for name, keys in absent.items()
            if keys
        ]
        counts = "; ".join(f"{name} {_counted(row)}" for name, row in table.items())
    if lacking:
        raise DataError(
            f"{uri}: {len(labels):,} rows, method {split.method}: {', '.join(lacking)} ({counts}); "
            f"bring more rows{_kept_together(places, split)}, leave rare labels out, "
            f"or change method or fractions (settings.toml, [split])"
        )


def _kept_together(places: np.ndarray, split: Split) -> str:
    """Why a split may be empty whatever its fraction."""
    if all(splits.sizes(places).values()):
        return ""
    alike = {"ordered": f"of one {split.time}", "by_key": f"of one {split.key}"}
    return f" (those {alike.get(split.method, 'that are equal')} stay in one split)"


def check_facets(table: pa.Table, places: np.ndarray, data: Data, uri: str) -> None:
    """Raises DataError for a facet that Bias could not divide into groups, or whose test rows lack one."""
    for name in data.facets:
        values, codes = _distinct(cells.values(table[name]))
        try:
            found = facets.facet(pd.Series(values, name=name), data)
        except ValueError as error:
            raise DataError(f"{uri}: {error}") from None
        present = sorted(set(found.values))
        for wanted in (text for group in found.disadvantaged for text in group if text not in present):
            raise DataError(
                f"{uri}: facet {name} has no value {wanted!r}, which facet_values names "
                f"(settings.toml, [data]); there are: {_listed(present)}"
            )
        _check_groups(found, splits.counts(places, codes, len(values)), uri)


def _distinct(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """The values that rows have, and each row's place among them."""
    if not isinstance(column, Texts):
        return np.unique(column, return_inverse=True)
    used, codes = np.unique(column.places, return_inverse=True)
    return column.words[used], codes


def _check_groups(found: facets.Facet, counts: np.ndarray, uri: str) -> None:
    """counts: rows by split and distinct value."""
    for group in found.disadvantaged:
        inside = np.isin(found.values, group)
        for members, of in ((inside, "group"), (~inside, "group other than")):
            rows = counts[:, members].sum(axis=1).tolist()
            if rows[splits.TEST] or set(group) == {facets.MISSING}:
                continue
            shown = ", ".join(f"{n:,} {name}" for name, n in zip(splits.NAMES, rows, strict=True))
            raise DataError(
                f"{uri}: facet {found.name}, {of} {_listed(group)!r}: no row in the test split, where bias "
                f"is measured ({shown}); bring more rows, enlarge test_fraction ([split]), or name the "
                f"groups to measure in facet_values (settings.toml, [data])"
            )


def check_categories(
    training: Mapping[str, Column], spec: FeatureSpec, data: Data, raw: Raw, uri: str
) -> None:
    """Raises DataError for a text feature that holds spoilt numbers, or a different text in every row."""
    for feature in spec.features:
        if (
            not isinstance(feature, Category)
            or feature.name in data.kinds
            or len(feature.categories) <= FEW_WORDS
        ):
            continue
        texts, whole = training[feature.name], cells.values(raw.table[feature.name])
        share = cells.numeric_share(whole)
        if share >= ALMOST_NUMERIC:
            spoilt = sorted(word for word in whole.counts() if not is_number(word))
            first = _first_row(whole, spoilt)
            raise DataError(
                f"{ingest.place(first, raw.sources)}, column {feature.name}: {share:.1%} of the cells are "
                f"numbers, but not {_listed(spoilt)}; correct them, name them in missing, or the column in "
                f"kinds as category (settings.toml, [data])"
            )
        if len(feature.categories) == sum(texts.counts().values()):
            raise DataError(
                f"{uri}: column {feature.name} has another text in every row, such as "
                f"{_listed(feature.categories[:3])}, from which nothing can be learned; "
                f"add it to ids or exclude, or to kinds to keep it (settings.toml, [data])"
            )


def _first_row(texts: Texts, words: list[str]) -> int:
    """The first row, from 1, that has one of the words."""
    return int(np.argmax(np.isin(texts.words, words)[texts.places])) + 1


def check_ranges(raw: Raw, spec: FeatureSpec) -> None:
    """Raises DataError for a number that is too large for the model, whose input is float32."""
    for feature in spec.features:
        if not isinstance(feature, Number):
            continue
        extremes = pc.min_max(raw.table[feature.name])
        if np.isfinite(_encoded(feature, np.array([extremes["min"].as_py(), extremes["max"].as_py()]))).all():
            continue
        rows = np.flatnonzero(~np.isfinite(_encoded(feature, cells.values(raw.table[feature.name]))))
        place = ingest.place(int(rows[0]) + 1, raw.sources)
        raise DataError(
            f"{place}, column {feature.name}: the number is too large for the model; "
            f"correct the cell, or exclude the column (settings.toml, [data])"
        )


def _encoded(feature: Number, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return feature.encode(values, ()).astype(np.float32)


def _needs(split: Split, key: str) -> bool:
    return (split.method, key) in (("by_key", "key"), ("ordered", "time"))


def _counted(rows: Mapping[str, int]) -> str:
    """The rarest classes of a split, with their rows."""
    rarest = sorted(rows.items(), key=lambda item: item[1])
    more = f", ... {len(rows)} classes" if len(rows) > FEW_CLASSES else ""
    return "{" + ", ".join(f"{name!r}: {n}" for name, n in rarest[:FEW_CLASSES]) + more + "}"


def _listed(values: Iterable[object], shown: int = SHOWN) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown:,} more" if len(texts) > shown else "")
