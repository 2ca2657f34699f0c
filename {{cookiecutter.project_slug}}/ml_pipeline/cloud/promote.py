"""`promote VERSION --to ENV`: a version with all it is made of, registered in the next environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ml_pipeline import executions
from ml_pipeline.approved import THRESHOLDS
from ml_pipeline.cloud import image_copy, versions
from ml_pipeline.cloud.access import CLOUD
from ml_pipeline.cloud.image_copy import Repository
from ml_pipeline.errors import CloudError, InputError
from ml_pipeline.periods import SUCCESS, is_period
from ml_pipeline.settings import FILE, Settings
from ml_pipeline.storage import split_uri
from ml_pipeline.summary import COMMAND

KEPT = (  # of DescribeModelPackage: what CreateModelPackage takes over as it is, but for places in S3
    "InferenceSpecification",
    "ModelMetrics",
    "DriftCheckBaselines",
    "CustomerMetadataProperties",
    "Domain",
    "Task",
)
SESSION_SECONDS = 3600


class PromotionFailed(CloudError):
    """An object that did not arrive as it was, or that is there with other bytes."""


@dataclass(frozen=True)
class Place:
    """An environment and the credentials that work in it."""

    settings: Settings
    session: boto3.Session

    def client(self, service: str) -> Any:
        return self.session.client(service, region_name=self.settings.region)


def route(source: str | None, target: str) -> tuple[str, str]:
    """Where from and where to. Raises InputError for environments that are none, or the same."""
    for option, name in (("--to", target), ("--env", source)):
        if name is not None and name not in CLOUD:
            raise InputError(f"{option} must be one of {', '.join(CLOUD)}, got {name!r}")
    if source is None and target == CLOUD[0]:
        raise InputError(f"nothing comes before {target}: say with --env where the version is")
    source = source or CLOUD[CLOUD.index(target) - 1]
    if source == target:
        raise InputError(f"the version is in {source} already: --to must be another environment")
    return source, target


def promote(version: int, source_settings: Settings, target_settings: Settings) -> int:
    """Registers the version in the target, or trains there anew if the target's settings say so."""
    source = Place(source_settings, boto3.Session())
    target = _entered(target_settings, source)
    arn = versions.find(version, source_settings, source.client("sagemaker"))
    package = source.client("sagemaker").describe_model_package(ModelPackageName=arn)
    if package["ModelApprovalStatus"] == "Rejected":
        raise InputError(
            f"{source_settings.prefix} version {version} is Rejected: approve it first, or name another one"
        )
    if target.settings.deploy.promotion == "retrain":
        return _retrain(target)
    present = _registered(arn, target)
    if present:
        there = f"{target.settings.prefix} version {present}"
        print(f"{source_settings.prefix} version {version} is {there} already")
        return 0
    made = _copied(arn, package, source, target)
    print(f"registered {target.settings.prefix} version {made}, PendingManualApproval")
    print(f"approve it: {COMMAND} approve {made} --env {target.settings.env}")
    return 0


def _copied(arn: str, package: dict[str, Any], source: Place, target: Place) -> int:
    """Version in the target's group, after image and objects are there."""
    container = package["InferenceSpecification"]["Containers"][0]
    repository, _, tag = container["Image"].partition("/")[2].partition(":")
    digest = image_copy.copy(
        Repository(source.client("ecr"), repository),
        Repository(target.client("ecr"), target.settings.prefix),
        tag,
    )
    print(f"image {target.settings.prefix}:{tag}, {digest}", flush=True)
    named = sorted({*places(package, source.settings.bucket), *thresholds(package, source)})
    copy_objects(named, source, target)
    print(f"{len(named)} objects -> s3://{target.settings.bucket}/, SHA-256 compared", flush=True)
    image_uri = replace(target.settings, image_tag=tag).image_uri
    request = package_request(arn, package, image_uri, source.settings.bucket, target.settings)
    answer = target.client("sagemaker").create_model_package(**request)
    return int(answer["ModelPackageArn"].rpartition("/")[2])


def package_request(
    arn: str, package: dict[str, Any], image_uri: str, bucket: str, target: Settings
) -> dict[str, Any]:
    """CreateModelPackage request for the target's group. bucket: that of the source, which places name."""
    kept = {name: package[name] for name in KEPT if name in package}
    if "ModelCard" in package:
        content = package["ModelCard"]["ModelCardContent"]
        kept["ModelCard"] = {"ModelCardContent": content, "ModelCardStatus": "Draft"}
    moved = json.loads(json.dumps(kept).replace(results_of(bucket), results_of(target.bucket)))
    for container in moved["InferenceSpecification"]["Containers"]:
        container["Image"] = image_uri
        for answered in ("ImageDigest", "ModelDataETag"):
            container.pop(answered, None)
    moved["CustomerMetadataProperties"] = moved.get("CustomerMetadataProperties", {}) | {"promoted_from": arn}
    return moved | {
        "ModelPackageGroupName": target.prefix,
        "ModelPackageDescription": _description(arn),
        "ClientToken": hashlib.sha256(f"{arn} {target.prefix}".encode()).hexdigest()[:36],
        "ModelApprovalStatus": "PendingManualApproval",
    }


def results_of(bucket: str) -> str:
    """What the places of a version's own objects begin with. The raw data stay where they are."""
    return f"s3://{bucket}/executions/"


def places(package: dict[str, Any], bucket: str) -> Iterator[str]:
    """Every result of an execution that the package names."""
    for name in KEPT:
        yield from _uris(package.get(name), results_of(bucket))


def thresholds(package: dict[str, Any], source: Place) -> Iterator[str]:
    """The calibrated thresholds beside its baselines, which scoring reads and no package names."""
    bucket, name = source.settings.bucket, "DriftCheckBaselines"
    for folder in {uri.rpartition("/")[0] for uri in places({name: package.get(name)}, bucket)}:
        uri = f"{folder}/{THRESHOLDS}"
        if _hash_of(source.client("s3"), bucket, split_uri(uri)[1]):
            yield uri


def _uris(value: Any, beginning: str) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith(beginning):
            yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _uris(item, beginning)


def copy_objects(uris: list[str], source: Place, target: Place) -> None:
    """Copies objects under the same keys; `_SUCCESS` of their folders last. What is there is compared.

    Raises PromotionFailed when an object is there with other bytes, or has not arrived as it was.
    """
    read, write = source.client("s3"), target.client("s3")
    folders = {}
    for uri in uris:
        key = split_uri(uri)[1]
        folders[key.rpartition("/")[0]] = None
        body = read.get_object(Bucket=source.settings.bucket, Key=key)["Body"].read()
        sent, present = _sha256(body), _hash_of(write, target.settings.bucket, key)
        if present is None:
            write.put_object(Bucket=target.settings.bucket, Key=key, Body=body)
            present = _hash_of(write, target.settings.bucket, key)
        if present != sent:
            raise PromotionFailed(
                f"s3://{target.settings.bucket}/{key} has SHA-256 {present}, {uri} has {sent}: delete the "
                "first if nothing uses it, then promote again"
            )
    for folder in folders:
        write.put_object(Bucket=target.settings.bucket, Key=f"{folder}/{SUCCESS}", Body=b"")


def _hash_of(client: Any, bucket: str, key: str) -> str | None:
    """SHA-256 of the object's bytes as they are read now; None without the object."""
    try:
        return _sha256(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _registered(arn: str, target: Place) -> int | None:
    """Version of the target's group that was promoted from this one."""
    for package in versions.summaries(target.settings.prefix, target.client("sagemaker")):
        if package.get("ModelPackageDescription") == _description(arn):
            return package["ModelPackageVersion"]
    return None


def _description(arn: str) -> str:
    return f"Promoted from {arn}"


def _retrain(target: Place) -> int:
    """Starts training on the newest data of the target, which registers the version there itself."""
    name, env = f"{target.settings.prefix}-train", target.settings.env
    client = target.client("sagemaker")
    try:
        client.describe_pipeline(PipelineName=name)
    except client.exceptions.ResourceNotFound:
        raise InputError(
            f"there is no pipeline {name} to train anew with: {COMMAND} deploy --env {env} first"
        ) from None
    if not _has_data(target):
        raise InputError(
            f"s3://{target.settings.bucket}/raw/ has no complete period to train anew on: "
            f"{COMMAND} upload FILE --env {env} first"
        )
    arn = executions.start(name, {}, {}, client)
    execution_id = arn.rpartition("/")[2]
    print(f"{FILE}, [deploy] promotion = retrain: {target.settings.prefix} trains anew on its own data")
    print(f"started {execution_id}: {arn}")
    print(f"watch it: {COMMAND} status {execution_id} --env {env} --follow")
    return 0


def _has_data(target: Place) -> bool:
    """Whether a period of the target is complete."""
    pages = target.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=target.settings.bucket, Prefix="raw/")
    keys = (each["Key"] for page in found for each in page.get("Contents", []))
    return any(is_period(key.removeprefix("raw/").removesuffix(f"/{SUCCESS}")) for key in keys)


def _entered(settings: Settings, source: Place) -> Place:
    """The target with credentials that work there: those at hand, or the deploy role of another account."""
    account = settings.deploy.account or source.settings.account
    settings = replace(settings, account=account)
    endpoint = source.session.client("sagemaker", region_name=settings.region).meta.endpoint_url
    place = f"{settings.prefix}: account {account}, region {settings.region}, endpoint {endpoint}"
    if account == source.settings.account:
        print(place, flush=True)
        return Place(settings, source.session)
    role = deploy_role(settings)
    print(f"{place}, as {role}", flush=True)
    try:
        answer = source.client("sts").assume_role(
            RoleArn=role, RoleSessionName=f"promote-{settings.prefix}", DurationSeconds=SESSION_SECONDS
        )
    except (ClientError, BotoCoreError) as error:
        raise InputError(
            f"{settings.env} is in account {account} and its deploy role cannot be assumed: {error}; {role} "
            f"must exist and trust account {source.settings.account} (infra/ci.yaml)"
        ) from None
    keys = answer["Credentials"]
    return Place(
        settings,
        boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=settings.region
        ),
    )


def deploy_role(settings: Settings) -> str:
    """ARN of `<slug>-deploy` in the environment's account, with path and prefix of [deploy.parameters]."""
    path = settings.deploy.parameters.get("RolePath", "/")
    before = settings.deploy.parameters.get("RolePrefix", "")
    name = f"{before}{settings.project.slug}-deploy"
    return f"arn:{settings.partition}:iam::{settings.account}:role{path}{name}"
