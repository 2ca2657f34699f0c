"""Process: checks and splits the raw data, fits the FeatureSpec on the training split, encodes all splits."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ml_pipeline import (
    admission,
    baseline,
    broken_data,
    cells,
    checks,
    ingest,
    periods,
    splits,
    storage,
    threads,
    thresholds,
)
from ml_pipeline.baseline import Measured
from ml_pipeline.cells import Kind, Part
from ml_pipeline.checks import LABEL
from ml_pipeline.dialect import DataError
from ml_pipeline.features import FeatureSpec, SpecError, fit
from ml_pipeline.ingest import Options, Raw
from ml_pipeline.settings import Data, Settings, Split

CHECKED_BYTES = 50 * 2**20  # of a local file: up to here it is read twice, before a run and in it
GROUP_ROWS = 1 << 15  # of a parquet row group: what a reader of the splits holds at a time


def process(raw_data_uri: str, trigger_reason: str, execution_id: str, settings: Settings) -> dict[str, Any]:
    """Places of the checked, split and encoded data, and the SHA-256 of the raw objects.

    raw_data_uri: an object or a folder; `s3://<bucket>/raw/` stands for the newest complete period below it.
    Returns summary, raw_data_uri (what was read), splits_uri, encoded_uri, xgboost_uri, transform_input_uri,
    feature_spec_uri, data_sha256; what lies at xgboost_uri is for Tune, and only written if there are trials.
    Raises DataError for data that do not fit the settings, naming object, row or column, and what to change.
    """
    admission.admit("train", trigger_reason, execution_id, settings)
    raw_data_uri = periods.taken(raw_data_uri, settings)
    data, folder = settings.data, settings.uri(execution_id, "process")
    raw = ingest.read(raw_data_uri, reading(data, settings.split))
    prepared = prepare(raw, data, settings.split, raw_data_uri)
    measured = baseline.measure(prepared.part("train"), prepared.spec)
    broken_data.check(measured.statistics, prepared.table.column_names, raw_data_uri, settings)
    with tempfile.TemporaryDirectory() as scratch:
        write_splits(Path(scratch), prepared, with_csv=settings.tune.trials > 0)
        with storage.uploading(Path(scratch), folder):
            write_descriptions(folder, raw, prepared, measured, settings)
    summary = summarize(raw, prepared)
    print(f"Process: {raw_data_uri}: {summary} -> {folder}", flush=True)
    return {
        "summary": summary,
        "raw_data_uri": raw_data_uri,
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

    table: pa.Table
    places: np.ndarray
    spec: FeatureSpec

    def part(self, split: str) -> Part:
        return Part(self.table, self.places == splits.NAMES.index(split))


def reading(data: Data, split: Split) -> Options:
    """How raw cells are understood: ids, keys and class labels as text, even if they look like numbers."""
    texts = [*data.ids, *data.exclude, *([split.key] if split.method == "by_key" else [])]
    target: Kind = "number" if data.problem == "regression" else "category"
    kinds = dict.fromkeys(texts, "category") | dict(data.kinds) | {data.target: target}
    return Options(data.missing, kinds, data.delimiter, data.columns, data.decimal)


def prepare(raw: Raw, data: Data, split: Split, uri: str) -> Prepared:
    """Checked rows, split, with their FeatureSpec. Raises DataError, whose message begins with the uri."""
    checks.check_columns(raw.table.column_names, data, split, uri)
    table = labelled(raw.table, data.target)
    checks.check_target(cells.values(table[data.target]), data, uri)
    try:
        places = splits.assign(table, data.target, split)
        checks.check_splits(table[data.target], places, data, split, uri)
        checks.check_facets(table, places, data, uri)
        training = Part(table.drop_columns(split_columns(data, split)), places == splits.TRAIN)
        spec = fit(training, data)
    except (splits.SplitError, SpecError) as error:
        raise DataError(f"{uri}: {error}") from None
    checks.check_categories(training, spec, data, raw, uri)
    checks.check_ranges(raw, spec)
    return Prepared(table, places, spec)


def labelled(table: pa.Table, target: str) -> pa.Table:
    """The rows that have a label."""
    return table.filter(table[target].is_valid()) if table[target].null_count else table


def split_columns(data: Data, split: Split) -> list[str]:
    """The column that rows are split by, which is no feature: it tells the splits apart."""
    used = {"by_key": [split.key], "ordered": [split.time]}.get(split.method, [])
    return [name for name in used if name not in data.ids]


def check_file(path: Path, settings: Settings) -> None:
    """Raises DataError for a local file that Process would refuse; of a large one only the head is read."""
    data, split = settings.data, settings.split
    options = reading(data, split)
    checks.check_columns(ingest.columns_of(path, options), data, split, str(path))
    if path.stat().st_size <= CHECKED_BYTES:
        prepare(ingest.read_file(path, options), data, split, str(path))


def write_splits(folder: Path, prepared: Prepared, with_csv: bool) -> None:
    """Writes each split as raw and encoded parquet, and as CSV: test for batch transform, others for Tune."""
    with ExitStack() as stack:
        writers = [stack.enter_context(_Writer(folder, name, prepared, with_csv)) for name in splits.NAMES]
        row = 0
        for batch in prepared.table.to_batches(max_chunksize=GROUP_ROWS):
            places = prepared.places[row : row + len(batch)]
            for place, writer in enumerate(writers):
                writer.add(batch.filter(pa.array(places == place)))
            row += len(batch)


class _Writer:
    """The files of one split, written a row group at a time, while the next ones are gathered."""

    def __init__(self, folder: Path, name: str, prepared: Prepared, with_csv: bool) -> None:
        self._spec, self._batches, self._rows = prepared.spec, [], 0
        self._pool, self._writing = ThreadPoolExecutor(1), None
        schema = prepared.table.schema
        self._raw = _parquet(folder / "splits" / f"{name}.parquet", schema)
        self._encoded = _parquet(folder / "encoded" / f"{name}.parquet", encoded_schema(prepared.spec))
        self._transform = self._xgboost = None
        if name == "test":
            table = as_text(prepared.table.select(transform_columns(prepared.spec)))
            self._transform = _csv(folder / "transform" / "test.csv", table.schema, _quoting(table))
        elif with_csv:
            self._xgboost = _csv(
                folder / "xgboost" / name / "data.csv", encoded_schema(prepared.spec), "none"
            )

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._rows += len(batch)
        if self._rows >= GROUP_ROWS:
            self._flush()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        with self._pool:
            if self._rows and not kind:
                self._flush()
        if self._writing and not kind:
            self._writing.result()
        for writer in (self._raw, self._encoded, self._transform, self._xgboost):
            if writer:
                writer.close()

    def _flush(self) -> None:
        if self._writing:
            self._writing.result()
        self._writing = self._pool.submit(self._write, self._batches)
        self._batches, self._rows = [], 0

    def _write(self, batches: list[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(batches).combine_chunks()
        encoded = encode(table, self._spec)
        self._raw.write_table(table)
        self._encoded.write_table(encoded)
        if self._transform:
            self._transform.write_table(as_text(table.select(transform_columns(self._spec))))
        if self._xgboost:
            self._xgboost.write_table(encoded)


def write_descriptions(
    folder: str, raw: Raw, prepared: Prepared, measured: Measured, settings: Settings
) -> None:
    """Writes what was fitted, and what the data are like: for training, the drift baseline, the report."""
    storage.write_bytes(f"{folder}/feature_spec.json", prepared.spec.to_json().encode())
    storage.write_json(f"{folder}/statistics.json", measured.statistics)
    storage.write_json(f"{folder}/constraints.json", baseline.constraints(measured.statistics))
    storage.write_json(f"{folder}/thresholds.json", thresholds.of_features(measured, settings))
    storage.write_json(f"{folder}/profile.json", profile(raw, prepared, settings.split))


def encode(table: pa.Table, spec: FeatureSpec) -> pa.Table:
    """Column `label` (double), then the encoded features (float)."""
    columns = Part(table)
    features = spec.encode(columns)
    label = spec.encode_label(columns[spec.target.name])
    return pa.table([label, *map(np.ascontiguousarray, features.T)], schema=encoded_schema(spec))


def encoded_schema(spec: FeatureSpec) -> pa.Schema:
    return pa.schema([(LABEL, pa.float64()), *((name, pa.float32()) for name in spec.names)])


def transform_columns(spec: FeatureSpec) -> list[str]:
    return [*spec.ids, spec.target.name, *spec.names]


def as_text(table: pa.Table) -> pa.Table:
    """The table without dictionaries, which CSV is not written from."""
    kinds = [pa.string() if pa.types.is_dictionary(kind) else kind for kind in table.schema.types]
    return table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))


def profile(raw: Raw, prepared: Prepared, split: Split) -> dict[str, Any]:
    """profile.json: what was read, how it was understood and split."""
    spec, rows = prepared.spec, splits.sizes(prepared.places)
    sizes: dict[str, dict[str, Any]] = {name: {"rows": size} for name, size in rows.items()}
    if spec.target.problem != "regression":
        counts = splits.class_counts(prepared.table[spec.target.name], prepared.places)
        for name, row in counts.items():
            sizes[name]["classes"] = row
    return {
        "data_sha256": raw.sha256,
        "sources": [{"uri": s.uri, "bytes": s.size, "rows": s.rows} for s in raw.sources],
        "rows": raw.table.num_rows,
        "rows_without_label": raw.table.num_rows - prepared.table.num_rows,
        "columns": threads.mapped(
            lambda name: _column_profile(name, raw.table[name], spec), raw.table.column_names
        ),
        "split": {"method": split.method, "seed": split.seed},
        "splits": sizes,
    }


def summarize(raw: Raw, prepared: Prepared) -> str:
    sizes = " / ".join(f"{rows:,} {name}" for name, rows in splits.sizes(prepared.places).items())
    unlabelled = raw.table.num_rows - prepared.table.num_rows
    dropped = f", {unlabelled:,} without a label dropped" if unlabelled else ""
    return f"{raw.table.num_rows:,} rows -> {sizes}{dropped}, {len(prepared.spec.features)} features"


def _column_profile(name: str, column: pa.ChunkedArray, spec: FeatureSpec) -> dict[str, Any]:
    roles = {"target": name == spec.target.name, "id": name in spec.ids, "feature": name in spec.names}
    return {
        "name": name,
        "kind": "number" if pa.types.is_floating(column.type) else "category",
        "role": next((role for role, applies in roles.items() if applies), "other"),
        "missing": column.null_count,
        "distinct": cells.distinct_count(column),
    }


def _parquet(path: Path, schema: pa.Schema) -> pyarrow.parquet.ParquetWriter:
    """A file that reads as plain columns: only in it are texts that recur dictionaries.

    Not compressed, since numbers hardly shrink; without statistics, since nothing looks rows up in it.
    """
    path.parent.mkdir(exist_ok=True)
    recurring = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return pyarrow.parquet.ParquetWriter(
        path, schema, use_dictionary=recurring, compression="none", write_statistics=False, store_schema=False
    )


def _csv(path: Path, schema: pa.Schema, quoting: str) -> pyarrow.csv.CSVWriter:
    """A CSV without header; a missing cell is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    return pyarrow.csv.CSVWriter(path, schema, write_options=options)


def _quoting(table: pa.Table) -> str:
    """No cell is quoted unless one of them needs it."""
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    needed = any(pc.any(pc.match_substring_regex(column, '[,"\r\n]')).as_py() for column in texts)
    return "needed" if needed else "none"
