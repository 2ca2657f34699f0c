"""A registered model, and periods that Select is to prepare for it: what a scoring execution finds."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet

from ml_pipeline import periods, storage
from ml_pipeline.features import Category, FeatureSpec, Number, Target
from ml_pipeline.settings import Settings
from ml_pipeline.steps.select import select

EXECUTION = "abcdefghijkl"
NOW = datetime(2027, 2, 3, 12, tzinfo=UTC)
SPEC = FeatureSpec(
    ids=("id",),
    features=(Number("age", 40.0, 40.0, 10.0), Category("plan", ("basic", "gold, old", "True"))),
    target=Target("approved", "binary", ("no", "yes"), "yes"),
    missing=("", "?"),
)
ROWS = "id,age,plan\nA1,30,basic\nA2,?,\nA3,41.5,None of these\n"
CANONICAL = "A1,30,basic\nA2,,\nA3,41.5,None of these\n"
CONTAINER_TYPES = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}


def archive(spec: FeatureSpec) -> bytes:
    buffer = io.BytesIO()
    # without the time of day, so that a second version of the same model has the same bytes
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        body = spec.to_json().encode()
        entry = tarfile.TarInfo("feature_spec.json")
        entry.size = len(body)
        tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def register(settings: Settings, spec: FeatureSpec = SPEC, status: str = "Approved", **members: Any) -> str:
    """ARN of a version whose model and baselines lie in the bucket."""
    client, folder = boto3.client("sagemaker"), f"s3://{settings.bucket}/executions/trained"
    if not client.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        client.create_model_package_group(ModelPackageGroupName=settings.prefix)
    model = archive(spec)
    storage.write_bytes(f"{folder}/train/model.tar.gz", model)

    def source(uri: str) -> dict[str, str]:
        storage.write_bytes(uri, b"{}")
        storage.write_bytes(f"{uri.rpartition('/')[0]}/thresholds.json", b"{}")
        return {"ContentType": "application/json", "S3Uri": uri}

    def pair(stem: str) -> dict[str, Any]:
        return {kind: source(f"{folder}/{stem}{kind.lower()}.json") for kind in ("Statistics", "Constraints")}

    request = {
        "ModelPackageGroupName": settings.prefix,
        "ModelApprovalStatus": status,
        "InferenceSpecification": {
            "Containers": [{"Image": "image:tag", "ModelDataUrl": f"{folder}/train/model.tar.gz"}],
            **CONTAINER_TYPES,
        },
        "CustomerMetadataProperties": {"model_sha256": hashlib.sha256(model).hexdigest()},
        "DriftCheckBaselines": {
            "ModelDataQuality": pair("process/"),
            "ModelQuality": pair("evaluate/model_quality_"),
            "Explainability": {"Constraints": source(f"{folder}/evaluate/attributions.json")},
        },
    }
    return client.create_model_package(**request | members)["ModelPackageArn"]


def put(settings: Settings, period: str, objects: dict[str, str | bytes], complete: bool = True) -> None:
    folder = periods.folder(period, settings, "score")
    for name, content in objects.items():
        content = content.encode() if isinstance(content, str) else content
        storage.write_bytes(f"{folder}/{name}", content)
    if complete:
        storage.mark_success(folder)


def mark_scored(settings: Settings, *scored: str) -> None:
    for period in scored:
        storage.mark_success(periods.folder(period, settings, "output"))


def prepared(
    settings: Callable[..., Settings],
    objects: dict[str, str | bytes],
    spec: FeatureSpec = SPEC,
    **sections: Any,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The entry of a period with these objects, and what Transform's input is then."""
    chosen = settings(**{"data": {"ids": spec.ids}} | sections)
    register(chosen, spec)
    put(chosen, "2027-02-01", objects)
    result = select("auto", "manual", EXECUTION, chosen)
    (entry,) = result["periods"]
    return entry, contents(result["input_uri"])


def contents(folder: str) -> dict[str, str]:
    return {
        uri.removeprefix(folder): storage.read_bytes(uri).decode() for uri, _ in storage.list_uris(folder)
    }


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
