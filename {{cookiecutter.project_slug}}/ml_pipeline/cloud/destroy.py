"""`destroy`: takes an environment down; data, models, images and the foundation stay unless all is to go."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import executions, upsert
from ml_pipeline.cloud import infrastructure, stacks
from ml_pipeline.cloud.infrastructure import FOUNDATION, NETWORK, TRIGGERS
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings

RUNNING = ("Executing", "Stopping")
DELETED_AT_ONCE = {"objects": 1000, "images": 100}  # the most that one request takes
POLL_SECONDS = 2.0
REMAINS = "what AWS keeps for the account: SageMaker's log groups and job records, CloudWatch metrics, quotas"


def destroy(settings: Settings, account: str, everything: bool, yes: bool) -> int:
    """Asks for the environment's name, then deletes what was listed; 0 also when there was nothing."""
    settings = upsert.located(settings, account)
    kinds = [TRIGGERS, *([FOUNDATION] if everything else []), NETWORK]
    names = [infrastructure.name(kind, settings) for kind in kinds]
    present = [name for name in names if stacks.exists(name)]
    pipelines = _pipelines(settings)
    kept = contents(settings)
    listed = [*(f"stack {name}" for name in present), *(f"pipeline {name}" for name in pipelines)]
    listed += kept if everything else []
    if not listed:
        print(f"nothing of {settings.prefix} is there to destroy")
        return 0
    print("will be deleted, for good:", *(f"  - {line}" for line in listed), sep="\n")
    if not everything:
        foundation = infrastructure.name(FOUNDATION, settings)
        stays = [f"stack {foundation}"] if stacks.exists(foundation) else []
        print("will stay (--all takes it too):", *(f"  - {line}" for line in [*stays, *kept]), sep="\n")
    print(_remains(settings))
    _confirm(settings.prefix, yes)
    _delete(settings, present, pipelines, everything)
    print(f"destroyed {settings.prefix}")
    return 0


def _confirm(name: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("destroy asks before it deletes, and there is no terminal to ask on: add --yes")
    if input(f"type {name} to go on: ").strip() != name:
        raise InputError(f"that was not {name}: nothing was deleted")


def _delete(settings: Settings, present: list[str], pipelines: list[str], everything: bool) -> None:
    """Triggers first, so that nothing starts any more; the network last, in which the others run."""
    triggers, foundation, network = (
        infrastructure.name(kind, settings) for kind in (TRIGGERS, FOUNDATION, NETWORK)
    )
    _delete_stack(triggers, present)
    for name in pipelines:
        _delete_pipeline(name)
    if everything:
        _empty_group(settings.prefix)
        _empty_repository(settings.prefix)
        _empty_bucket(settings.bucket)
        _delete_stack(foundation, present)
        _delete_retained(settings)
    _delete_stack(network, present)


def _delete_stack(name: str, present: list[str]) -> None:
    if name in present:
        print(f"stack {name} ...", flush=True)
        stacks.delete(name)


def _pipelines(settings: Settings) -> list[str]:
    client = boto3.client("sagemaker")
    names = [f"{settings.prefix}-{kind}" for kind in PIPELINES]
    return [name for name in names if upsert.described(client, name)]


def _delete_pipeline(name: str) -> None:
    """Stops what runs of it, which SageMaker asks for, and the jobs of that; then deletes it."""
    client = boto3.client("sagemaker")
    print(f"pipeline {name} ...", flush=True)
    for arn in _running(client, name):
        executions.stopped(arn, POLL_SECONDS)
    client.delete_pipeline(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)


def _running(client: Any, name: str) -> list[str]:
    pages = client.get_paginator("list_pipeline_executions").paginate(PipelineName=name)
    found = [each for page in pages for each in page["PipelineExecutionSummaries"]]
    return [e["PipelineExecutionArn"] for e in found if e["PipelineExecutionStatus"] in RUNNING]


def contents(settings: Settings) -> list[str]:
    """What the stacks cannot delete, or are told to retain, a line each."""
    lines = []
    versions = sum(len(batch) for batch in _object_versions(settings.bucket))
    if _bucket_exists(settings.bucket):
        lines.append(f"bucket {settings.bucket} with {versions:,} object versions: data, code and results")
    if _group_exists(settings.prefix):
        packages = len(_packages(settings.prefix))
        lines.append(f"model package group {settings.prefix} with {packages} registered versions")
    images = _images(settings.prefix)
    if images is not None:
        lines.append(f"ECR repository {settings.prefix} with {len(images)} images")
    return lines


def _remains(settings: Settings) -> str:
    """What no option deletes."""
    key = stacks.outputs(infrastructure.name(FOUNDATION, settings)).get("TopicKmsKeyArn")
    own = f"; KMS key {key}, without which no backup can be read: schedule its deletion in KMS" if key else ""
    return f"stays in any case: {REMAINS}{own}"


def _bucket_exists(bucket: str) -> bool:
    try:
        boto3.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return False
    return True


def _object_versions(bucket: str) -> Iterator[list[dict[str, str]]]:
    """Versions and delete markers, as many at a time as DeleteObjects takes."""
    if not _bucket_exists(bucket):
        return
    size = DELETED_AT_ONCE["objects"]
    paginator = boto3.client("s3").get_paginator("list_object_versions")
    for page in paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": size}):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for start in range(0, len(found), size):
            chosen = found[start : start + size]
            yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in chosen]


def _empty_bucket(bucket: str) -> None:
    s3 = boto3.client("s3")
    print(f"bucket {bucket} ...", flush=True)
    for batch in _object_versions(bucket):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if answer.get("Errors"):
            first = answer["Errors"][0]
            raise stacks.StackFailed(f"s3://{bucket}/{first['Key']}: {first['Code']} {first['Message']}")
    if _bucket_exists(bucket):
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _group_exists(group: str) -> bool:
    client = boto3.client("sagemaker")
    pages = client.get_paginator("list_model_package_groups").paginate(NameContains=group)
    return group in {
        each["ModelPackageGroupName"] for page in pages for each in page["ModelPackageGroupSummaryList"]
    }


def _packages(group: str) -> list[str]:
    pages = boto3.client("sagemaker").get_paginator("list_model_packages")
    listed = pages.paginate(ModelPackageGroupName=group)
    return [each["ModelPackageArn"] for page in listed for each in page["ModelPackageSummaryList"]]


def _empty_group(group: str) -> None:
    if _group_exists(group):
        print(f"model package group {group} ...", flush=True)
        for arn in _packages(group):
            boto3.client("sagemaker").delete_model_package(ModelPackageName=arn)


def _images(repository: str) -> list[dict[str, str]] | None:
    """Digests; None without a repository."""
    client = boto3.client("ecr")
    try:
        pages = client.get_paginator("list_images").paginate(repositoryName=repository)
        digests = {each["imageDigest"] for page in pages for each in page["imageIds"]}
    except client.exceptions.RepositoryNotFoundException:
        return None
    return [{"imageDigest": digest} for digest in sorted(digests)]


def _empty_repository(repository: str) -> None:
    found, size = _images(repository) or [], DELETED_AT_ONCE["images"]
    for start in range(0, len(found), size):
        print(f"ECR repository {repository} ...", flush=True)
        ids = found[start : start + size]
        boto3.client("ecr").batch_delete_image(repositoryName=repository, imageIds=ids)


def _delete_retained(settings: Settings) -> None:
    """What the foundation's templates retain, empty by now."""
    if _bucket_exists(settings.bucket):
        boto3.client("s3").delete_bucket(Bucket=settings.bucket)
    if _group_exists(settings.prefix):
        client = boto3.client("sagemaker")
        client.delete_model_package_group(ModelPackageGroupName=settings.prefix)
    if _images(settings.prefix) is not None:
        boto3.client("ecr").delete_repository(repositoryName=settings.prefix)
