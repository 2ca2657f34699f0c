"""`clean --keep N`: deletes old runs and what only they need of the local AWS's objects."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any

from ml_pipeline import runs
from ml_pipeline.local import ACCOUNT, STATE, LocalAws
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings

URI = re.compile(r's3://[^"]+')
FOLDERS = ("executions", "checkpoints")
DELETED_AT_ONCE = 1000  # the most that DeleteObjects takes


def clean(keep: int, settings: Settings) -> int:
    """Keeps the newest runs of each pipeline, `runs/latest`, the steps they took over, and what model
    versions point at."""
    latest = (runs.RUNS / "latest").resolve()
    found = runs.newest_first()
    newest = {run for name in PIPELINES for run in _of(name, found)[:keep]}
    kept = [run for run in found if run in newest or run.resolve() == latest]
    old = [run for run in found if run not in kept]
    objects = _unneeded(kept, settings) if STATE.exists() else []
    freed = sum(size for _, size in objects) + sum(map(_size, old))
    for run in old:
        shutil.rmtree(run)
    print(
        f"deleted {_number(old, 'run')} and {_number(objects, 'object')} of the local AWS, "
        f"{freed / 1e6:.1f} MB; kept {_number(kept, 'run')} and all that model versions point at"
    )
    return 0


def _number(things: Sized, name: str) -> str:
    return f"{len(things):,} {name}{'s' * (len(things) != 1)}"


def _of(pipeline: str, found: list[Path]) -> list[Path]:
    return [run for run in found if runs.pipeline_of(run) == pipeline]


def needed_ids(kept: Iterable[Path]) -> set[str]:
    """Ids of the executions whose objects the runs point at: their own and those that ran a kept step."""
    executions = [runs.read(run, "execution.json") for run in kept]
    sources = {step.get("kept_from") for execution in executions for step in execution["steps"]}
    return {execution["id"] for execution in executions} | (sources - {None})


def is_needed(uri: str, ids: set[str], pointed_at: tuple[str, ...]) -> bool:
    """Whether an object below executions/ or checkpoints/ belongs to one of the ids or is pointed at."""
    return uri.split("/")[4] in ids or uri.startswith(pointed_at)


def _unneeded(kept: list[Path], settings: Settings) -> list[tuple[str, int]]:
    """(URI, bytes) of the objects that nothing kept needs, now deleted."""
    with LocalAws(STATE, settings.region) as aws:
        from dataclasses import replace

        import boto3

        from ml_pipeline import storage

        aws.connect()
        bucket, s3 = replace(settings, account=ACCOUNT).bucket, boto3.client("s3")
        if bucket not in {found["Name"] for found in s3.list_buckets()["Buckets"]}:
            return []
        ids, pointed_at = needed_ids(kept), _pointed_at(boto3.client("sagemaker"), settings.prefix)
        listed = [item for folder in FOLDERS for item in storage.list_uris(f"s3://{bucket}/{folder}/")]
        objects = [(uri, size) for uri, size in listed if not is_needed(uri, ids, pointed_at)]
        keys = [{"Key": storage.split_uri(uri)[1]} for uri, _ in objects]
        for start in range(0, len(keys), DELETED_AT_ONCE):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[start : start + DELETED_AT_ONCE]})
        return objects


def _pointed_at(client: Any, group: str) -> tuple[str, ...]:
    """Every URI in a registered model version."""
    pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    arns = [item["ModelPackageArn"] for page in pages for item in page["ModelPackageSummaryList"]]
    described = [client.describe_model_package(ModelPackageName=arn) for arn in arns]
    return tuple(URI.findall(json.dumps(described, default=str)))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
