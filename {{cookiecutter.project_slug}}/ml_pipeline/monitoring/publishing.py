"""What a period gets: its scores, and, once labels have come, the next training data."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ml_pipeline import checks, periods, storage
from ml_pipeline.monitoring import served
from ml_pipeline.monitoring.package import Package
from ml_pipeline.settings import Settings

TRAINING_DATA = "data.parquet"
# Beside its bytes, so that a file which somebody else puts in its place does not have it.
MADE_HERE = {"made-by": "monitor"}


class Scores:
    """Files `<name>.csv` of a period, written to a folder as its rows come, published as a whole."""

    def __init__(self, folder: Path, package: Package) -> None:
        self._folder = folder
        ids = {served.key("passed", name): name for name in package.ids}
        outputs = {served.key("output", name): name for name in served.outputs_of(package.spec.target)}
        self._columns = ids | outputs

    def add(self, name: str, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The blocks of one answered object, each written before it is handed on. name: of its file."""
        header = io.StringIO(newline="")
        csv.writer(header, lineterminator="\n").writerow(self._columns.values())
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(header.getvalue().encode())
            for block in blocks:
                file.write(storage.csv_rows(pa.Table.from_batches([block.select(list(self._columns))])))
                yield block

    def publish(self, folder_uri: str) -> None:
        """Uploads the files to the folder, which is empty, and then its mark."""
        with storage.uploading(self._folder, folder_uri):
            pass
        storage.mark_success(folder_uri)


def withdraw(folder_uri: str) -> bool:
    """Whether the folder holds scores; without its mark, which is deleted, none takes them for complete."""
    found = [uri for uri, _ in storage.list_uris(f"{folder_uri}/")]
    if f"{folder_uri}/{periods.SUCCESS}" in found:
        storage.delete(f"{folder_uri}/{periods.SUCCESS}")
    return bool(storage.data_objects(f"{folder_uri}/", found))


def clear(folder_uri: str) -> None:
    """Deletes all objects below the folder, its mark first."""
    mark = f"{folder_uri}/{periods.SUCCESS}"
    found = [uri for uri, _ in storage.list_uris(f"{folder_uri}/")]
    for uri in sorted(found, key=lambda uri: uri != mark):
        storage.delete(uri)


class TrainingData:
    """`raw/<period>/data.parquet`: scored rows that have a label, written as they come, published as a whole.

    Columns as they were scored, texts or double. What an earlier execution made so is replaced; a folder that
    holds anything else is left as it is.
    """

    def __init__(self, period: str, package: Package, settings: Settings) -> None:
        """Raises DataError when the training pipeline would lack a column."""
        self._period, self._package = period, package
        self._folder = periods.folder(period, settings)
        self._is_anothers = _is_anothers(self._folder)
        columns = {served.key("passed", name): name for name in package.layout.passed}
        self._columns = columns | {served.key("feature", name): name for name in package.spec.names}
        self._rows = 0
        if not self._is_anothers:
            names = [*self._columns.values(), package.spec.target.name]
            checks.check_columns(names, settings.data, settings.split, f"score/{period}/input")

    def __enter__(self) -> TrainingData:
        self._scratch = tempfile.TemporaryDirectory()
        schema = _schema(self._columns, self._package)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._path = Path(self._scratch.name, "data.parquet")
        self._writer = pyarrow.parquet.ParquetWriter(self._path, schema, use_dictionary=texts)
        return self

    def __exit__(self, *raised: object) -> None:
        self._writer.close()
        self._scratch.cleanup()

    def add(self, rows: pa.RecordBatch, labels: np.ndarray) -> None:
        """rows: of a block. labels: theirs, as FeatureSpec encodes them."""
        if not self._is_anothers and len(labels):
            columns = [*rows.select(list(self._columns)).columns, _decoded(labels, self._package)]
            self._writer.write_table(pa.table(columns, schema=self._writer.schema))
            self._rows += len(labels)

    def publish(self) -> str:
        """Uploads the file, and then its mark; returns what is to be told."""
        if self._is_anothers:
            return f"raw/{self._period} holds other data than Monitor's and is left as it is"
        self._writer.close()
        storage.upload(self._path, f"{self._folder}/{TRAINING_DATA}", MADE_HERE)
        storage.mark_success(self._folder)
        return f"raw/{self._period} holds {self._rows:,} labelled rows"


def withdraw_training(period: str, settings: Settings) -> bool:
    """Whether `raw/<period>/` was made here, of an earlier delivery; it is deleted then."""
    folder = periods.folder(period, settings)
    is_own = storage.exists(f"{folder}/{TRAINING_DATA}") and not _is_anothers(folder)
    if is_own:
        clear(folder)
    return is_own


def _is_anothers(folder_uri: str) -> bool:
    """Whether the folder holds anything but what Monitor has written."""
    own = f"{folder_uri}/{TRAINING_DATA}"
    found = {uri for uri, _ in storage.list_uris(f"{folder_uri}/")} - {f"{folder_uri}/{periods.SUCCESS}"}
    return bool(found) and (found != {own} or storage.metadata(own) != MADE_HERE)


def _schema(columns: dict[str, str], package: Package) -> pa.Schema:
    fields = [(name, package.layout.types[key]) for key, name in columns.items()]
    target = package.spec.target
    return pa.schema(
        [*fields, (target.name, pa.float64() if target.problem == "regression" else pa.string())]
    )


def _decoded(labels: np.ndarray, package: Package) -> pa.Array:
    if package.spec.target.problem == "regression":
        return pa.array(labels)
    return pa.array(package.spec.decode(labels), pa.string())
