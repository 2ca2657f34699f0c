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
from ml_pipeline.monitoring import served, truth
from ml_pipeline.monitoring.package import Package
from ml_pipeline.monitoring.truth import Truth
from ml_pipeline.settings import Settings


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


def clear(folder_uri: str) -> None:
    """Deletes all objects below the folder, its mark first."""
    mark = f"{folder_uri}/{periods.SUCCESS}"
    found = [uri for uri, _ in storage.list_uris(f"{folder_uri}/")]
    for uri in sorted(found, key=lambda uri: uri != mark):
        storage.delete(uri)


def training_data(
    period: str, blocks: Iterable[pa.RecordBatch], labels: Truth, package: Package, settings: Settings
) -> str:
    """Writes `raw/<period>/data.parquet`, the scored rows that have a label; returns what is to be told.

    Columns as they were scored: texts, or numbers as double; an earlier complete `raw/<period>/` is left.
    Raises DataError when the training pipeline would lack a column.
    """
    folder = periods.folder(period, settings)
    if periods.is_complete(period, settings):
        return f"raw/{period} is there already and left as it is"
    columns = {served.key("passed", name): name for name in package.layout.passed}
    columns |= {served.key("feature", name): name for name in package.spec.names}
    names = [*columns.values(), package.spec.target.name]
    checks.check_columns(names, settings.data, settings.split, f"score/{period}/input")
    with tempfile.TemporaryDirectory() as scratch:
        path, rows = Path(scratch, "data.parquet"), 0
        with pyarrow.parquet.ParquetWriter(path, _schema(columns, package)) as writer:
            for block in blocks:
                places = labels.places(truth.key_texts(truth.ids_of(block, package.ids)))
                found = places >= 0
                kept = block.select(list(columns)).filter(pa.array(found))
                label = _decoded(labels.labels[places[found]], package)
                writer.write_table(pa.table([*kept.columns, label], schema=writer.schema))
                rows += len(label)
        storage.upload(path, f"{folder}/data.parquet")
    storage.mark_success(folder)
    return f"raw/{period} holds {rows:,} labelled rows"


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
