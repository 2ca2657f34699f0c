"""From the graph to a pipeline that SageMaker holds: content hash, compiled definition, create or update."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import sdk
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
LOCK = "requirements.txt"
XGBOOST_VERSION = "3.2-0"  # of the managed container that tuning trials run on
# What a definition and its payloads are made of; a commit that changes none of it changes no pipeline.
INPUTS = (PACKAGE.name, LOCK, "Dockerfile", "settings.toml", ".python-version")
HASH_TAG = "ContentHash"
DIRTY = "-dirty"


@dataclass(frozen=True)
class Upserted:
    """A pipeline that SageMaker holds now. outcome: created, updated or unchanged."""

    arn: str
    definition: str
    content_hash: str
    outcome: str


def located(settings: Settings, account: str) -> Settings:
    """Settings with what depends on the account and the checkout, but for the managed images."""
    tag = _sha256([PROJECT / "Dockerfile", PROJECT / LOCK, *sources()])[:16]
    return replace(settings, account=account, commit=git_commit(), image_tag=tag)


def with_images(settings: Settings) -> Settings:
    """Settings with the managed images of the region, which the SDK knows. Raises InputError without one."""
    uses_clarify = settings.bias.engine == "clarify"
    try:
        with _quiet():
            from sagemaker.core import image_uris

            xgboost = image_uris.retrieve("xgboost", settings.region, version=XGBOOST_VERSION)
            clarify = image_uris.retrieve("clarify", settings.region) if uses_clarify else ""
    except ValueError as error:
        raise InputError(
            f"region must be one that SageMaker has images in, got {settings.region!r} "
            f"(settings.toml, [project]): {error}"
        ) from None
    return replace(settings, xgboost_image_uri=xgboost, clarify_image_uri=clarify)


def resolved(settings: Settings, account: str) -> Settings:
    """Settings with all that depends on the account, the region and the checkout."""
    return with_images(located(settings, account))


def upsert(settings: Settings) -> Upserted:
    """The training pipeline, created or updated unless it is made of this code, lock and settings.

    settings: located. Compiles once at most, and only what nobody has compiled before.
    """
    client, name, wanted = boto3.client("sagemaker"), f"{settings.prefix}-train", content_hash(settings)
    if found := unchanged(settings):
        return found
    present, text = described(client, name), _definition(settings, wanted)
    request = {"PipelineName": name, "PipelineDefinition": text, "RoleArn": settings.role_arn}
    tags = {"Project": settings.project.slug, "Environment": settings.environment, **settings.tags}
    tag_list = [{"Key": key, "Value": value} for key, value in {**tags, HASH_TAG: wanted}.items()]
    if present is None:
        return Upserted(
            client.create_pipeline(**request, Tags=tag_list)["PipelineArn"], text, wanted, "created"
        )
    arn = client.update_pipeline(**request)["PipelineArn"]
    client.add_tags(ResourceArn=arn, Tags=tag_list)  # last: until then it counts as changed
    return Upserted(arn, text, wanted, "updated")


def unchanged(settings: Settings) -> Upserted | None:
    """The pipeline as it is, when it is made of this code, lock and settings; else None."""
    client, wanted = boto3.client("sagemaker"), content_hash(settings)
    present = described(client, f"{settings.prefix}-train")
    if present is None or deployed_hash(client, present["PipelineArn"]) != wanted:
        return None
    return Upserted(present["PipelineArn"], present["PipelineDefinition"], wanted, "unchanged")


def described(client: Any, name: str) -> dict[str, Any] | None:
    """DescribePipeline's answer; None when there is no such pipeline."""
    try:
        return client.describe_pipeline(PipelineName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        return None


def deployed_hash(client: Any, pipeline_arn: str) -> str | None:
    """Content hash that the pipeline was made of; None when it was made by something else."""
    pages = client.get_paginator("list_tags").paginate(ResourceArn=pipeline_arn)
    tags = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
    return tags.get(HASH_TAG)


def code_uri(settings: Settings, content_hash: str) -> str:
    """Where all that was compiled of one content lies. Nothing there is ever overwritten."""
    return f"s3://{settings.bucket}/code/{content_hash}"


def inputs(settings: Settings) -> dict[str, Any]:
    """What a content hash was taken of beside the code, for a later plan: commit, settings, files."""
    names = [name for name in INPUTS if name not in (PACKAGE.name, "settings.toml")]
    names = [name for name in names if (PROJECT / name).exists()]
    return {
        "commit": settings.commit,
        "settings": asdict(plain(settings)),
        "files": {name: (PROJECT / name).read_text(encoding="utf-8") for name in names},
    }


def plain(settings: Settings) -> Settings:
    """Settings without what makes a pipeline no other one: commit, prices, and what follows of the SDK."""
    commit = DIRTY if settings.commit.endswith(DIRTY) else ""
    return replace(settings, commit=commit, prices={}, xgboost_image_uri="", clarify_image_uri="")


def _definition(settings: Settings, content_hash: str) -> str:
    """The definition of this content, from S3 or compiled now; then it is the last object stored."""
    folder = code_uri(settings, content_hash)
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    try:
        return s3.get_object(Bucket=bucket, Key=f"{prefix}/definition.json")["Body"].read().decode()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
    print(f"compiling {settings.prefix}-train ...", flush=True)
    settings = with_images(settings)
    # Written first: who may not write is told so by S3, not by the SDK's traceback.
    kept = json.dumps(inputs(settings), indent=1).encode()
    s3.put_object(Bucket=bucket, Key=f"{prefix}/inputs.json", Body=kept)
    text = compiled(settings)
    s3.put_object(Bucket=bucket, Key=f"{prefix}/definition.json", Body=text.encode())
    return text


def compiled(settings: Settings) -> str:
    """Pipeline definition as JSON. Uploads the payloads of its steps to `code/<content hash>/`."""
    sdk.load()
    from sagemaker.core.helper.session_helper import Session

    from ml_pipeline.pipeline import train_pipeline

    remote = {"IncludeLocalWorkDir": True, "S3RootUri": code_uri(settings, content_hash(settings))}
    if settings.kms_key_arn:
        remote["S3KmsKeyId"] = settings.kms_key_arn
    modules = {"TelemetryOptOut": True, "RemoteFunction": remote}
    config = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}
    with _workspace(), _quiet(), _validated_once(config):
        session = Session(
            boto_session=boto3.Session(region_name=settings.region),
            default_bucket=settings.bucket,
            sagemaker_config=config,
        )
        # The SDK's own asks for all buckets of the account first, and would make this one.
        session.default_bucket = lambda: settings.bucket
        return train_pipeline(settings, session).definition()


def content_hash(settings: Settings) -> str:
    """SHA-256 over code, lock, versions and settings: what a definition and its payloads are made of.

    The commit is left out, but for whether the checkout differs from it. So the lineage of a model names a
    commit that holds the very code, if not the newest that does.
    """
    versions = f"sagemaker {version('sagemaker')} python {sys.version_info.major}.{sys.version_info.minor}"
    return _sha256([PROJECT / LOCK, *sources()], f"{plain(settings)!r}\0{versions}\0".encode())[:32]


def git_commit() -> str:
    """Commit of the checkout, `-dirty` when what the pipeline is made of differs; `unknown` without git."""
    git = ["git", "-C", str(PROJECT)]
    try:
        commit = _output([*git, "rev-parse", "HEAD"])
        changed = _output([*git, "status", "--porcelain", "--", *INPUTS])
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}{DIRTY}" if changed else commit


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def sources() -> list[Path]:
    """The modules of ml_pipeline."""
    return sorted(PACKAGE.rglob("*.py"))


def _sha256(paths: Iterable[Path], more: bytes = b"") -> str:
    digest = hashlib.sha256(more)
    for path in paths:
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def _workspace() -> Iterator[None]:
    """A working directory with a copy of ml_pipeline alone: the SDK ships all of it to the jobs."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder, PACKAGE.name), ignore=shutil.ignore_patterns("__pycache__"))
        with contextlib.chdir(folder):
            yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK logs each upload and each value it takes from its config, some of it on standard output."""
    logging.disable(logging.WARNING)  # for good: loading the SDK has turned on every library's INFO lines
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _validated_once(config: dict[str, Any]) -> Iterator[None]:
    """The SDK validates its config at each of some 120 look-ups: 8 of the 9 s a compilation takes."""
    from sagemaker.core.config.config_manager import SageMakerConfig

    validate = SageMakerConfig.validate_sagemaker_config
    validate(config)
    SageMakerConfig.validate_sagemaker_config = staticmethod(lambda config=None: None)
    try:
        yield
    finally:
        SageMakerConfig.validate_sagemaker_config = staticmethod(validate)
