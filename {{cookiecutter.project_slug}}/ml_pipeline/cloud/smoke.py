"""`smoke`: one execution of the training pipeline in the cloud, held against the same on the local AWS."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from ml_pipeline import executions, graph, source, storage, upsert
from ml_pipeline.cloud import costs, infrastructure, preflight
from ml_pipeline.cloud.recording import Difference, Recording, differences, record
from ml_pipeline.local import PROJECT
from ml_pipeline.settings import Settings

SMALLEST = "ml.m5.large"  # the smallest that training, tuning, processing and transform jobs all take
ROUNDS, TRIALS, SAMPLES = 20, 2, 20
LOCAL_SECONDS = 600
# What the local execution is told of the one in the cloud, beside settings.toml.
SHARED = ("env", "suffix", "subnets", "security_groups", "kms_key_arn")


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that smoke runs. values: its parameters, by place of the data."""

    name: str
    values: Callable[[str], dict[str, str]]


PIPELINES = (
    Pipeline(
        "train",
        # Rejected: it must never be what the next model is measured against.
        lambda data_uri: {"RawDataUri": data_uri, "ApprovalStatus": "Rejected"},
    ),
)


@dataclass(frozen=True)
class Smoked:
    """One pipeline's execution in the cloud and here, and what the first cost."""

    pipeline: str
    cloud: Recording
    local: Recording
    cost: str

    @property
    def differences(self) -> list[Difference]:
        return differences(self.cloud, self.local)


def smoke(settings: Settings) -> int:
    """Runs each pipeline, writes smoke-<time>.json and .md: 1 when an execution in the cloud failed."""
    settings = small(infrastructure.with_outputs(upsert.resolved(settings, settings.account)))
    data = source.local_file(settings.data.file)
    preflight.image(settings)
    smoked = []
    for pipeline in PIPELINES:
        arn = execute(pipeline, settings, data)
        bill = list(costs.used(arn))
        cost = costs.price(costs.usd(bill, settings.prices), costs.unpriced(bill, settings.prices))
        cloud = record(arn, settings.prefix)
        if cloud.status == "Succeeded":
            boto3.client("sagemaker").delete_pipeline(PipelineName=arn.split("/")[1])
        print("the same on the local AWS ...", flush=True)
        smoked.append(Smoked(pipeline.name, cloud, _local(pipeline.name, settings), cost))
    paths = _written(smoked, settings)
    for each in smoked:
        found = each.differences
        print(
            f"{each.pipeline}: {each.cloud.status}, {each.cost}, {len(found)} differences from the local AWS"
        )
    print(f"written: {', '.join(map(str, paths))} (attach them to an issue of the template)")
    return 0 if all(each.cloud.status == "Succeeded" for each in smoked) else 1


def small(settings: Settings) -> Settings:
    """The settings with the smallest machines, little to compute, and a gate that lets every model pass."""
    return replace(
        settings,
        compute=replace(settings.compute, instance_type=SMALLEST),
        tune=replace(
            settings.tune,
            instance_type=SMALLEST,
            trials=TRIALS,
            parallel=1,
            early_stopping="Off",
            warm_start_parents=(),
        ),
        train=replace(
            settings.train,
            instance_type=SMALLEST,
            device="cpu",
            hyperparameters={**settings.train.hyperparameters, "num_round": ROUNDS},
        ),
        transform=replace(settings.transform, instance_type=SMALLEST, instance_count=1),
        evaluate=replace(settings.evaluate, bootstrap_samples=SAMPLES),
        gate=replace(settings.gate, threshold="trivial", champion_tolerance=1e9, bias={}),
    )


def execute(pipeline: Pipeline, settings: Settings, data: Path) -> str:
    """ARN of an execution that has ended, of a pipeline of its own: the deployed one stays as it is."""
    client, name = boto3.client("sagemaker"), f"{settings.prefix}-smoke"
    text = upsert.compiled(settings, (pipeline.name,))[pipeline.name]
    request = {"PipelineName": name, "PipelineDefinition": text, "RoleArn": settings.role_arn}
    if client.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]:
        client.update_pipeline(**request)  # left by a smoke that failed
    else:
        tags = infrastructure.tags(settings)
        client.create_pipeline(**request, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    data_uri = (
        f"s3://{settings.bucket}/smoke/{data.name}"  # not below raw/, where it would be the newest data
    )
    storage.upload(data, data_uri)
    arn = executions.start(name, pipeline.values(data_uri), {})
    try:
        executions.watched(
            arn, list(graph.needs(json.loads(text))), settings, executions.LOCAL_POLL_SECONDS * 4
        )
    except KeyboardInterrupt:
        print("\nstopping ...", flush=True)
        executions.stopped(arn, executions.CLOUD_POLL_SECONDS)
        raise
    return arn


def _local(pipeline: str, settings: Settings) -> Recording:
    """The recording of the same execution on a local AWS, in a process from which no request leaves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording.json")
        same = {name: getattr(settings, name) for name in SHARED}
        options = [pipeline, str(path), json.dumps(same)]
        command = [sys.executable, "-m", "ml_pipeline.cloud.smoke_local", *options]
        subprocess.run(command, cwd=PROJECT, check=True, timeout=LOCAL_SECONDS, stdout=subprocess.DEVNULL)
        return Recording(**json.loads(path.read_text(encoding="utf-8")))


def _written(smoked: list[Smoked], settings: Settings) -> list[Path]:
    """smoke-<time>.json with all of it, .md to read; account numbers are left out of both."""
    now = datetime.now(UTC)
    stem = f"smoke-{now:%Y-%m-%d-%H%M%S}"
    document = {"time": now.isoformat(timespec="seconds"), "region": settings.region} | {
        each.pipeline: {
            "cost": each.cost,
            "differences": [difference.__dict__ for difference in each.differences],
            "cloud": each.cloud.to_json(),
            "local": each.local.to_json(),
        }
        for each in smoked
    }
    paths = [Path(f"{stem}.json"), Path(f"{stem}.md")]
    texts = [json.dumps(document, indent=1) + "\n", page(smoked, f"{now:%Y-%m-%d}, {settings.region}")]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.replace(settings.account, "<account>"), encoding="utf-8")
    return paths


def page(smoked: list[Smoked], title: str) -> str:
    """The differences and times, in Markdown."""
    lines = [f"# Smoke test, {title}", ""]
    for each in smoked:
        reason = f": {each.cloud.failure_reason}" if each.cloud.failure_reason else ""
        lines += [f"## {each.pipeline}", "", f"In the cloud: {each.cloud.status}{reason}; {each.cost}.", ""]
        found = each.differences
        lines += ["The answers of both are the same, but for times."] if not found else _differences(found)
        lines += ["", *_times(each), ""]
    return "\n".join(lines)


def _differences(found: list[Difference]) -> list[str]:
    rows = [f"| {d.answer} | {d.field} | {_cell(d.cloud)} | {_cell(d.local)} |" for d in found]
    return ["| answer | field | cloud | local AWS |", "|---|---|---|---|", *rows]


def _cell(text: str | None) -> str:
    return "absent" if text is None else text


def _times(each: Smoked) -> list[str]:
    rows: dict[str, Any] = dict.fromkeys([*each.cloud.seconds, *each.local.seconds])
    table = ["| seconds | cloud | local AWS |", "|---|---|---|"]
    for name in rows:
        shown = (each.cloud.seconds.get(name), each.local.seconds.get(name))
        table.append(f"| {name} | " + " | ".join("" if s is None else f"{s:.1f}" for s in shown) + " |")
    return table
