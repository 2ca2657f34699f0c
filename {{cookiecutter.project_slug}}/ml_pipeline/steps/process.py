"""Process: checks and splits the raw data, fits the FeatureSpec on the training split, encodes all splits."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from ml_pipeline import baseline, facets, ingest, splits, storage
from ml_pipeline.features import Category, FeatureSpec, RowError, canonical_text, fit, is_number
from ml_pipeline.ingest import DataError, Kind, Raw
from ml_pipeline.settings import Data, Settings, Split

LABEL = "label"  # first column of the encoded splits
ALMOST_NUMERIC = 0.9  # a text column with more numbers than this most likely holds spoilt numbers
FEW_WORDS = 20  # up to so many distinct values a column may well be a category, such as 1 to 10 and K
CHECKED_BYTES = 50 * 2**20  # of a local file: up to here it is read twice, before a run and in it
SHOWN = 20  # columns or labels that a message lists


def process(raw_data_uri: str, execution_id: str, settings: Settings) -> dict[str, Any]:
    """Places of the checked, split and encoded data, and the SHA-256 of the raw objects.

    Returns summary, splits_uri, encoded_uri, xgboost_uri, transform_input_uri, feature_spec_uri, data_sha256.
    Raises DataError for data that do not fit the settings, naming object, row or column, and what to change.
    """
    data, folder = settings.data, settings.uri(execution_id, "process")
    raw = ingest.read(raw_data_uri, data.missing, fixed_kinds(data, settings.split))
    prepared = prepare(raw, data, settings.split, raw_data_uri)
    for name in splits.NAMES:
        write_split(folder, name, prepared.part(name), prepared.spec)
    storage.write_bytes(f"{folder}/feature_spec.json", prepared.spec.to_json().encode())
    statistics = baseline.statistics(prepared.part("train"), prepared.spec)
    storage.write_json(f"{folder}/statistics.json", statistics)
    storage.write_json(f"{folder}/constraints.json", baseline.constraints(statistics))
    storage.write_json(f"{folder}/profile.json", profile(raw, prepared, settings.split))
    summary = summarize(raw, prepared)
    print(f"Process: {summary} -> {folder}", flush=True)
    return {
        "summary": summary,
        "splits_uri": f"{folder}/splits",
        "encoded_uri": f"{folder}/encoded",
        "xgboost_uri": f"{folder}/xgboost",
        "transform_input_uri": f"{folder}/transform/test.csv",
        "feature_spec_uri": f"{folder}/feature_spec.json",
        "data_sha256": raw.sha256,
    }


@dataclass(frozen=True)
class Prepared:
    """Rows that have a label, each one's place in splits.NAMES, and what was fitted on the training split."""

    frame: pd.DataFrame
    places: np.ndarray
    spec: FeatureSpec
    unlabelled: int

    def part(self, split: str) -> pd.DataFrame:
        return self.frame[self.places == splits.NAMES.index(split)]


def fixed_kinds(data: Data, split: Split) -> dict[str, Kind]:
    """Kinds that are not inferred: ids, keys and class labels are text, even if they look like numbers."""
    texts = [*data.ids, *data.exclude, *([split.key] if split.method == "by_key" else [])]
    target: Kind = "number" if data.problem == "regression" else "category"
    return dict.fromkeys(texts, "category") | dict(data.kinds) | {data.target: target}


def prepare(raw: Raw, data: Data, split: Split, uri: str) -> Prepared:
    """Checked rows, split, with their FeatureSpec. Raises DataError, whose message begins with the uri."""
    check_columns(raw.frame, data, split, uri)
    labelled = raw.frame[data.target].notna()
    frame = raw.frame[labelled].reset_index(drop=True)
    check_target(frame[data.target], data, uri)
    check_facets(frame, data, uri)
    places = splits.assign(frame, frame[data.target], split)
    check_splits(frame[data.target], places, data, split, uri)
    training = frame[places == splits.TRAIN].drop(columns=split_columns(data, split))
    spec = fit(training, data)
    check_categories(training, spec, data, uri)
    return Prepared(frame, places, spec, int((~labelled).sum()))


def split_columns(data: Data, split: Split) -> list[str]:
    """The column that rows are split by, which is no feature: it tells the splits apart."""
    used = {"by_key": [split.key], "ordered": [split.time]}.get(split.method, [])
    return [name for name in used if name not in data.ids]


def check_columns(frame: pd.DataFrame, data: Data, split: Split, uri: str) -> None:
    """Raises DataError if a column that settings name is absent, or one has a name that is ours."""
    named = [("data", "target", data.target), ("data", "group", data.group)]
    named += [
        ("data", key, name) for key in ("facets", "ids", "exclude", "kinds") for name in getattr(data, key)
    ]
    named += [("split", key, getattr(split, key)) for key in ("key", "time") if _needs(split, key)]
    for section, key, name in named:
        if name and name not in frame.columns:
            raise DataError(
                f"{uri}: no column {name!r}, which {key} names (settings.toml, [{section}]); "
                f"there are: {_listed(frame.columns)}"
            )
    if LABEL in frame.columns and data.target != LABEL and LABEL not in data.exclude:
        raise DataError(
            f"{uri}: no column but the target may be named {LABEL!r}, its name in what this step writes; "
            f"rename it, or exclude it (settings.toml, [data])"
        )


def check_file(path: Path, settings: Settings) -> None:
    """Raises DataError for a local file that Process would refuse; of a large one only the header is read."""
    data, split = settings.data, settings.split
    check_columns(pd.DataFrame(columns=ingest.columns_of(path)), data, split, str(path))
    if path.stat().st_size <= CHECKED_BYTES:
        raw = ingest.read_file(path, data.missing, fixed_kinds(data, split))
        prepare(raw, data, split, str(path))


def check_target(labels: pd.Series, data: Data, uri: str) -> None:
    """Raises DataError unless the labels fit the problem and hold the positive one."""
    place, distinct = f"{uri}: target {data.target}", sorted(labels.unique().tolist())
    if len(distinct) < 2:
        raise DataError(
            f"{place} has {_listed(distinct) or 'no value'} in every row: there is nothing to learn"
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


def check_facets(frame: pd.DataFrame, data: Data, uri: str) -> None:
    """Raises DataError for a facet that Bias could not divide into groups, before a model is trained."""
    for name in data.facets:
        try:
            found = facets.facet(frame[name].drop_duplicates(), data)
        except ValueError as error:
            raise DataError(f"{uri}: {error}") from None
        present = sorted(set(found.values))
        for wanted in (text for group in found.disadvantaged for text in group if text not in present):
            raise DataError(
                f"{uri}: facet {name} has no value {wanted!r}, which facet_values names "
                f"(settings.toml, [data]); there are: {_listed(present)}"
            )


def check_splits(labels: pd.Series, places: np.ndarray, data: Data, split: Split, uri: str) -> None:
    """Raises DataError if a split is empty or, for classes, lacks one."""
    if data.problem == "regression":
        sizes = np.bincount(places, minlength=len(splits.NAMES))
        lacking = [f"{name} has no rows" for name, size in zip(splits.NAMES, sizes, strict=True) if not size]
        counts = ", ".join(f"{size:,} {name}" for name, size in zip(splits.NAMES, sizes, strict=True))
    else:
        table = splits.class_counts(labels, places)
        lacking = [f"{name} has no {key!r}" for name, row in table.items() for key, n in row.items() if not n]
        counts = "; ".join(f"{name} {row}" for name, row in table.items())
    if lacking:
        raise DataError(
            f"{uri}: {len(labels):,} rows, method {split.method}: {_listed(lacking)} ({counts}); "
            f"bring more rows, leave rare labels out, or change method or fractions (settings.toml, [split])"
        )


def check_categories(training: pd.DataFrame, spec: FeatureSpec, data: Data, uri: str) -> None:
    """Raises DataError for a text feature that holds spoilt numbers, or a different text in every row."""
    for feature in spec.features:
        if (
            not isinstance(feature, Category)
            or feature.name in data.kinds
            or len(feature.categories) <= FEW_WORDS
        ):
            continue
        share = ingest.numeric_share(training[feature.name])
        if share >= ALMOST_NUMERIC:
            spoilt = [word for word in feature.categories if not is_number(word)]
            raise DataError(
                f"{uri}: {share:.1%} of column {feature.name} are numbers, but not {_listed(spoilt)}; "
                f"name these in missing, or the column in kinds as category (settings.toml, [data])"
            )
        if len(feature.categories) == training[feature.name].notna().sum():
            raise DataError(
                f"{uri}: column {feature.name} has another text in every row, such as "
                f"{_listed(feature.categories[:3])}, from which nothing can be learned; "
                f"add it to ids or exclude, or to kinds to keep it (settings.toml, [data])"
            )


def write_split(folder: str, name: str, part: pd.DataFrame, spec: FeatureSpec) -> None:
    """Writes a split as raw and encoded parquet, and as CSV: test for batch transform, others encoded."""
    storage.write_parquet(f"{folder}/splits/{name}.parquet", part.reset_index(drop=True))
    try:
        encoded = encode(part, spec)
    except RowError as error:
        raise DataError(f"{folder}/splits/{name}.parquet: {error}") from None
    storage.write_parquet(f"{folder}/encoded/{name}.parquet", encoded)
    if name == "test":
        columns = [*spec.ids, spec.target.name, *spec.names]
        storage.write_bytes(f"{folder}/transform/test.csv", headerless_csv(part[columns]))
    else:
        storage.write_bytes(f"{folder}/xgboost/{name}/data.csv", headerless_csv(encoded))


def encode(part: pd.DataFrame, spec: FeatureSpec) -> pd.DataFrame:
    """Column `label` (float64), then the encoded features (float32)."""
    columns = {name: part[name].to_numpy() for name in spec.names}
    encoded = pd.DataFrame(spec.encode(columns), columns=list(spec.names))
    encoded.insert(0, LABEL, spec.encode_label(part[spec.target.name].to_numpy()))
    return encoded


def headerless_csv(frame: pd.DataFrame) -> bytes:
    """Rows as CSV; a missing cell is empty, and no cell is quoted unless one of them needs it."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    try:
        return _csv(table, "none")
    except pa.ArrowInvalid:  # a comma or a quote in a cell
        return _csv(table, "needed")


def profile(raw: Raw, prepared: Prepared, split: Split) -> dict[str, Any]:
    """profile.json: what was read, how it was understood and split."""
    spec, labels = prepared.spec, prepared.frame[prepared.spec.target.name]
    sizes = {name: {"rows": len(prepared.part(name))} for name in splits.NAMES}
    if spec.target.problem != "regression":
        for name, counts in splits.class_counts(labels, prepared.places).items():
            sizes[name]["classes"] = counts
    return {
        "data_sha256": raw.sha256,
        "sources": [{"uri": s.uri, "bytes": s.size, "rows": s.rows} for s in raw.sources],
        "rows": len(raw.frame),
        "rows_without_label": prepared.unlabelled,
        "columns": list(_column_profiles(raw.frame, spec)),
        "split": {"method": split.method, "seed": split.seed},
        "splits": sizes,
    }


def summarize(raw: Raw, prepared: Prepared) -> str:
    sizes = " / ".join(
        f"{(prepared.places == place).sum():,} {name}" for place, name in enumerate(splits.NAMES)
    )
    dropped = f", {prepared.unlabelled:,} without a label dropped" if prepared.unlabelled else ""
    return f"{len(raw.frame):,} rows -> {sizes}{dropped}, {len(prepared.spec.features)} features"


def _column_profiles(frame: pd.DataFrame, spec: FeatureSpec) -> Iterator[dict[str, Any]]:
    for name in frame.columns:
        roles = {"target": name == spec.target.name, "id": name in spec.ids, "feature": name in spec.names}
        yield {
            "name": name,
            "kind": "number" if frame[name].dtype.kind == "f" else "category",
            "role": next((role for role, applies in roles.items() if applies), "other"),
            "missing": int(frame[name].isna().sum()),
            "distinct": int(frame[name].nunique()),
        }


def _csv(table: pa.Table, quoting: str) -> bytes:
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(
        table, buffer, pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    )
    return buffer.getvalue()


def _needs(split: Split, key: str) -> bool:
    return (split.method, key) in (("by_key", "key"), ("ordered", "time"))


def _listed(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else "")
