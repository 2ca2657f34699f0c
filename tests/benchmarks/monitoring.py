"""What the step Monitor takes: `python tests/benchmarks/monitoring.py --help`.

A model is trained, evaluated and measured for bias by the pipeline's own steps on 100,000 rows of make_data.py.
The rows of a period lie in a local AWS of their own as batch transform leaves them, and Monitor is called as its
step calls it, each time in a process of its own, whose peak memory is the kernel's count. Importing the modules
is timed apart. The local AWS, which answers on the same cores, is not in the memory. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import make_data
import numpy as np
import pyarrow as pa
import pyarrow.csv
from benchmark import DATA, _set, generated

TRAINING_ROWS = 100_000
TRAINED, SCORED, PERIOD = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "2026-01-05"
PLACES = {"account": "123456789012", "image_tag": "1"}


def main() -> None:
    if sys.argv[1:2] == ["--call"]:
        call_monitor(json.loads(sys.argv[2]))
        return
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        project = generated(Path(name) / "project")
        _set(project / "settings.toml", DATA)
        with local_aws(Path(name), project) as settings:
            package = trained(Path(name), settings)
            for rows in options.rows:
                entry = answered(rows, options.objects, package, settings)
                for labels in (False, True):
                    for _ in range(options.repeat):
                        report(rows, labels, package, entry, project)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--objects", type=int, default=4, help="that the rows are spread over")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where there is room: 1 GB a million rows")
    return parser


@contextmanager
def local_aws(folder: Path, project: Path) -> Iterator[Any]:
    """The project's settings, while its local AWS answers."""
    sys.path.insert(0, str(project))
    os.chdir(project)
    from ml_pipeline import local
    from ml_pipeline.settings import load

    settings = replace(load("local"), **PLACES)
    with local.LocalAws(folder / "state", settings.region) as aws:
        aws.connect()
        local.prepare(settings)
        yield settings


def trained(folder: Path, settings: Any) -> dict[str, Any]:
    """What Select says of a model and the baselines that its training left."""
    from ml_pipeline import storage
    from ml_pipeline.steps.bias import bias
    from ml_pipeline.steps.evaluate import evaluate
    from ml_pipeline.steps.process import process
    from ml_pipeline.steps.train import train

    raw = f"s3://{settings.bucket}/given/rows.csv"
    make_data.write(TRAINING_ROWS, folder / "rows.csv")
    storage.upload(folder / "rows.csv", raw)
    done = process(raw, "manual", TRAINED, settings)
    best = {"num_round": 100, "objective": "binary:logistic"}
    places = done["encoded_uri"], done["feature_spec_uri"], best, str(folder / "checkpoints")
    model_uri = train(*places, TRAINED, settings)["model_uri"]
    split = storage.read_parquet(f"{done['splits_uri']}/test.parquet")
    names = [settings.data.ids[0], settings.data.target]
    served = settings.uri(TRAINED, "transform", "test.csv.out")
    storage.write_bytes(served, _answer(pa.Table.from_pandas(split), names, model_uri))
    splits = done["splits_uri"], done["encoded_uri"]
    evaluated = evaluate(*splits, model_uri, served, TRAINED, settings)
    bias(*splits, evaluated["predictions_uri"], evaluated["metrics_uri"], TRAINED, settings)
    return _package(model_uri, settings)


def _package(model_uri: str, settings: Any) -> dict[str, Any]:
    def uri(*parts: str) -> str:
        return settings.uri(TRAINED, *parts)

    quality = {kind: uri("evaluate", f"model_quality_{kind}.json") for kind in ("statistics", "constraints")}
    return {
        "package_arn": f"arn:aws:sagemaker:{settings.region}:123456789012:model-package/rows/1",
        "version": 1,
        "model_uri": model_uri,
        "feature_spec_uri": uri("process", "feature_spec.json"),
        "thresholds": {step: uri(step, "thresholds.json") for step in ("process", "evaluate", "bias")},
        "baselines": {
            "statistics": uri("process", "statistics.json"),
            "constraints": uri("process", "constraints.json"),
            "quality_statistics": quality["statistics"],
            "quality_constraints": quality["constraints"],
            "attributions": uri("evaluate", "attributions.json"),
            "bias": uri("bias", "analysis.json"),
        },
        "passed_columns": list(settings.data.ids),
    }


def answered(rows: int, objects: int, package: dict[str, Any], settings: Any) -> dict[str, Any]:
    """The entry of the period, whose rows the model has answered; none of them was trained on."""
    from ml_pipeline import storage

    names = [f"part-{place}" for place in range(objects)]
    blocks, labels = max(rows // make_data.BLOCK_ROWS, 1), []
    for name, numbers in zip(names, np.array_split(np.arange(blocks) + 1000, objects), strict=True):
        tables = [make_data.block(number, min(rows, make_data.BLOCK_ROWS)) for number in numbers.tolist()]
        labels += [table.select(["id", "label"]) for table in tables]
        content = b"".join(_answer(each, ["id"], package["model_uri"]) for each in tables)
        storage.write_bytes(settings.uri(SCORED, "transform", PERIOD, f"{name}.csv.out"), content)
    storage.write_csv(f"s3://{settings.bucket}/truth/{PERIOD}/labels.csv", pa.concat_tables(labels))
    return {"period": PERIOD, "state": "ready", "objects": names, "rows": rows, "broken": []}


def _answer(table: pa.Table, passed: list[str], model_uri: str) -> bytes:
    """Passed columns, features and outputs as header-less CSV."""
    from ml_pipeline import cells, storage
    from ml_pipeline.steps.evaluate import load

    model = load(model_uri)
    found = model.predict(cells.Part(table)).columns
    outputs = [each if isinstance(each, np.ndarray) else each.words[each.places] for each in found.values()]
    columns = [*(table[name] for name in (*passed, *model.spec.names)), *map(pa.array, outputs)]
    return storage.csv_rows(pa.table(columns, [str(place) for place in range(len(columns))]))


def report(rows: int, labels: bool, package: dict[str, Any], entry: dict[str, Any], project: Path) -> None:
    """One call of Monitor in a process of its own, told in a line."""
    given = {"package": package, "entry": entry, "labels": labels, "project": str(project)}
    command = [sys.executable, __file__, "--call", json.dumps(given)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=project)
    print(
        f"{rows:,} rows, {'with' if labels else 'without'} labels: {done.stdout.splitlines()[-1]}", flush=True
    )


def call_monitor(given: dict[str, Any]) -> None:
    begun = time.perf_counter()
    sys.path.insert(0, given["project"])
    from ml_pipeline import storage
    from ml_pipeline.monitoring import publishing
    from ml_pipeline.report import drift  # noqa: F401
    from ml_pipeline.settings import load
    from ml_pipeline.steps.monitor import monitor

    settings = replace(load("local"), **PLACES)
    truth = f"s3://{settings.bucket}/truth/{PERIOD}"
    publishing.clear(f"s3://{settings.bucket}/raw/{PERIOD}")
    storage.mark_success(truth) if given["labels"] else storage.delete(f"{truth}/_SUCCESS")
    imported = time.perf_counter()
    cpu = time.process_time()
    found = monitor(given["package"], [given["entry"]], settings.uri(SCORED, "transform"), SCORED, settings)
    seconds, cpu = time.perf_counter() - imported, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rung = {name: count for name, count in found["violations"].items() if count} or "no violation"
    print(
        f"{seconds:.1f} s ({given['entry']['rows'] / seconds:,.0f} rows/s), {cpu:.1f} s CPU, "
        f"{peak:,.0f} MiB, after {imported - begun:.1f} s of imports; {rung}"
    )


if __name__ == "__main__":
    main()
