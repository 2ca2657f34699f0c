"""Scoring on a laptop beside Booster.predict on the same rows: `python tests/benchmarks/scoring.py --help`.

Select and Transform are called as the pipeline's steps call them, against a local AWS of their own, with the
rows as CSV or parquet in a period to score; Booster.predict gets the same rows, encoded already, as a new
DMatrix each time (it keeps what it has predicted of an old one). What reading and writing CSV costs is
measured apart, on the same bytes, by one thread. CPU seconds are those of all processes: they say more on a
busy machine. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import make_data
import numpy as np
import processes
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import xgboost
from benchmark import DATA, _set, generated

TRAINING_ROWS, ROUNDS = 100_000, 300
PERIOD = "2026-01-05"
TYPES = ["text/csv", "application/jsonlines"]


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        project = generated(folder / "project")
        _set(project / "settings.toml", DATA | {"facets": "[]", "group": '""'})
        sys.path.insert(0, str(project))
        os.chdir(project)
        Benchmark(folder, options).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--objects", type=int, default=4, help="that the rows are spread over")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where there is room: 1 GB a million rows")
    return parser


@dataclass(frozen=True)
class Took:
    seconds: float
    cpu: float


class Benchmark:
    """One model and one local AWS for all measurements."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from ml_pipeline.settings import load

        self.folder, self.options = folder, options
        self.settings = replace(load("local"), account="123456789012", image_tag="1")

    def run(self) -> None:
        from ml_pipeline import local

        with local.LocalAws(self.folder / "state", self.settings.region) as aws:
            aws.connect()
            local.prepare(self.settings)
            self.server = aws._process.pid
            self.register()
            for rows in self.options.rows:
                self.measure(rows)

    def register(self) -> None:
        """An approved version of a model of ROUNDS trees, as deep as those of settings.toml."""
        import boto3

        from ml_pipeline import ingest, storage
        from ml_pipeline.steps import process, train

        path = self.folder / "training.csv"
        make_data.write(TRAINING_ROWS, path)
        raw = ingest.read_file(path, process.reading(self.settings.data, self.settings.split))
        spec = process.prepare(raw, self.settings.data, self.settings.split, str(path)).spec
        table = process.encode(raw.table, spec)
        features = np.column_stack([table[name].to_numpy() for name in spec.names])
        matrix = xgboost.DMatrix(features, table["label"].to_numpy(), feature_names=list(spec.names))
        self.booster = xgboost.train(
            {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1}, matrix, num_boost_round=ROUNDS
        )
        self.booster.set_attr(decision_threshold="0.5")
        self.spec = spec
        model, bucket = train.packed(self.booster, spec.to_json().encode()), self.settings.bucket
        uri = f"s3://{bucket}/executions/trained"
        storage.write_bytes(f"{uri}/model.tar.gz", model)
        for name in ("statistics", "constraints", "thresholds"):
            storage.write_bytes(f"{uri}/{name}.json", b"{}")
        both = {
            kind: {"ContentType": "application/json", "S3Uri": f"{uri}/{kind.lower()}.json"}
            for kind in ("Statistics", "Constraints")
        }
        client = boto3.client("sagemaker")
        client.create_model_package_group(ModelPackageGroupName=self.settings.prefix)
        client.create_model_package(
            ModelPackageGroupName=self.settings.prefix,
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [{"Image": self.settings.image_uri, "ModelDataUrl": f"{uri}/model.tar.gz"}],
                "SupportedContentTypes": TYPES,
                "SupportedResponseMIMETypes": TYPES,
            },
            CustomerMetadataProperties={"model_sha256": hashlib.sha256(model).hexdigest()},
            DriftCheckBaselines={
                "ModelDataQuality": both,
                "ModelQuality": both,
                "Explainability": {"Constraints": both["Constraints"]},
            },
        )

    def measure(self, rows: int) -> None:
        from ml_pipeline import periods, storage

        path = self.folder / f"rows.{self.options.format}"
        make_data.write(rows, path)
        self.put(path)
        print(f"{rows:,} rows in {self.options.objects} objects, {self.options.format}", flush=True)
        encoded, spent = self.encoded(path), []
        for number in range(self.options.repeat):
            execution = f"run{rows}x{number}"
            scored = self.timed(lambda name=execution: self.score(name))
            matrix = xgboost.DMatrix(encoded, feature_names=list(self.spec.names))
            predicted = self.timed(lambda matrix=matrix: self.booster.predict(matrix))
            self.tell("Select and Transform", rows, scored)
            self.tell("Booster.predict", rows, predicted)
            spent.append((scored.cpu, predicted.cpu))
            print(
                f"  ratio of rows/s: {predicted.seconds / scored.seconds:.2f}, "
                f"of rows per CPU second: {predicted.cpu / scored.cpu:.2f}",
                flush=True,
            )
        outputs = f"{self.settings.uri(execution, 'transform')}/{PERIOD}/"
        csv = self.csv_seconds(path, self.settings.uri(execution, "select", "input"), outputs)
        print("  of it CSV: " + ", ".join(f"{name} {spent:.2f} s" for name, spent in csv.items()))
        scoring, predicting = (statistics.median(each) for each in zip(*spent, strict=True))
        cpu = scoring - sum(csv.values())
        print(
            f"  without CSV, by medians: {cpu:.1f} CPU s, {predicting / cpu:.2f} of Booster.predict's rows "
            f"per CPU second; this process, which holds all rows for comparison, had at most "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB",
            flush=True,
        )
        for uri, _ in storage.list_uris(f"{periods.folder(PERIOD, self.settings, 'score')}/"):
            storage.delete(uri)
        path.unlink()

    def score(self, execution: str) -> None:
        from ml_pipeline.steps.select import select
        from ml_pipeline.steps.transform import transform

        selected, seconds = timed(lambda: select(PERIOD, "manual", execution, self.settings))
        assert selected["periods"][0]["state"] == "ready", selected["periods"]
        given = [selected[key] for key in ("model_uri", "image_uri", "input_uri", "passed_columns")]
        _, rest = timed(lambda: transform(*given, execution, self.settings))
        print(f"  Select {seconds:.2f} s, Transform {rest:.2f} s", flush=True)

    def timed(self, call: Callable[[], Any]) -> Took:
        before = self.cpu_seconds()
        _, seconds = timed(call)
        return Took(seconds, self.cpu_seconds() - before)

    def cpu_seconds(self) -> float:
        """Of this process, the server, and all that it started; also what has ended."""
        parents, family = processes._parents(), {self.server}
        for pid, parent in parents.items():
            family |= {pid} if parent in family else set()
        own = time.process_time()
        return own + sum(_cpu_ticks(pid) for pid in family) / os.sysconf("SC_CLK_TCK")

    def tell(self, what: str, rows: int, took: Took) -> None:
        print(
            f"  {what}: {took.seconds:.2f} s, {rows / took.seconds:,.0f} rows/s; {took.cpu:.2f} CPU s",
            flush=True,
        )

    def put(self, path: Path) -> None:
        """Spreads the rows over objects of the period."""
        from ml_pipeline import periods, storage

        kind = self.options.format
        table = pyarrow.csv.read_csv(path) if kind == "csv" else pyarrow.parquet.read_table(path)
        folder, size = periods.folder(PERIOD, self.settings, "score"), -(-len(table) // self.options.objects)
        for number in range(self.options.objects):
            buffer, part = io.BytesIO(), table.slice(number * size, size)
            write = pyarrow.csv.write_csv if kind == "csv" else pyarrow.parquet.write_table
            write(part, buffer)
            storage.write_bytes(f"{folder}/part-{number}.{kind}", buffer.getvalue())
        storage.mark_success(folder)

    def encoded(self, path: Path) -> np.ndarray:
        """The rows as the model takes them."""
        from ml_pipeline import ingest
        from ml_pipeline.cells import Part
        from ml_pipeline.steps import process

        raw = ingest.read_file(path, process.reading(self.settings.data, self.settings.split))
        return np.ascontiguousarray(self.spec.encode(Part(raw.table)))

    def csv_seconds(self, path: Path, input_uri: str, output_uri: str) -> dict[str, float]:
        """What parsing and writing the CSVs of one scoring take when nothing else is done."""
        from ml_pipeline import storage

        single = pyarrow.csv.ReadOptions(use_threads=False, autogenerate_column_names=True)
        named = pyarrow.csv.ReadOptions(use_threads=False)
        bodies = [storage.read_bytes(uri) for uri, _ in storage.list_uris(input_uri)]
        texts = pyarrow.csv.ConvertOptions(
            column_types={f"f{place}": pa.string() for place in range(1 + len(self.spec.names))}
        )
        tables = [pyarrow.csv.read_csv(io.BytesIO(each), single, None, texts) for each in bodies]
        scores = [
            pyarrow.csv.read_csv(io.BytesIO(storage.read_bytes(uri)), single).select([-2, -1])
            for uri, _ in storage.list_uris(output_uri)
        ]
        calls = {
            "the model reads": lambda: [pyarrow.csv.read_csv(io.BytesIO(each), single) for each in bodies],
            "Select writes": lambda: [storage.csv_rows(each) for each in tables],
            "the model writes": lambda: [storage.csv_rows(each) for each in scores],
            "batch transform divides lines and joins them": lambda: [_joined(each) for each in bodies],
        }
        if self.options.format == "csv":
            calls["Select reads"] = lambda: pyarrow.csv.read_csv(path, named)
        return {name: _own_cpu(call) for name, call in calls.items()}


def _joined(body: bytes) -> None:
    """What the local AWS does with lines: the first column is left out, the answer is put behind."""
    from local_aws import invocations
    from local_aws.rowfilter import Processing

    processing = Processing(input_filter="$[1:]", join=True)
    limits = invocations.Limits(at_once=1, payload_bytes=6 << 20, split=True, single=False)
    for batch in invocations.batches(io.BytesIO(body), processing, limits):
        invocations._output(batch, b"yes,0.51234567\n" * len(batch.rows), processing, assemble_lines=True)


def _own_cpu(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _cpu_ticks(pid: int) -> int:
    """User and system time of the process, and of its children that have ended."""
    try:
        fields = processes._after_name(Path("/proc", str(pid), "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its wall time in seconds."""
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun


if __name__ == "__main__":
    main()
