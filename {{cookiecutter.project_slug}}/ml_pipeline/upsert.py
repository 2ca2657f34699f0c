"""From the graph to a pipeline that SageMaker holds: content hash, compiled definition, create or update."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
XGBOOST_VERSION = "3.2-0"  # of the managed container that tuning trials run on


def resolved(settings: Settings, account: str) -> Settings:
    """Settings with all that depends on the account, the region and the checkout."""
    from sagemaker.core import image_uris

    try:
        xgboost = image_uris.retrieve("xgboost", settings.region, version=XGBOOST_VERSION)
        clarify = image_uris.retrieve("clarify", settings.region) if settings.bias.engine == "clarify" else ""
    except ValueError as error:
        raise InputError(
            f"region must be one that SageMaker has images in, got {settings.region!r} "
            f"(settings.toml, [project]): {error}"
        ) from None
    return replace(
        settings,
        account=account,
        commit=git_commit(),
        xgboost_image_uri=xgboost,
        clarify_image_uri=clarify,
        image_tag=_sha256([PROJECT / "Dockerfile", PROJECT / "requirements.txt", *_sources()])[:16],
    )


def compiled(settings: Settings) -> str:
    """Pipeline definition as JSON. Uploads the payloads of its steps to `code/<content hash>/`."""
    from sagemaker.core.helper.session_helper import Session

    from ml_pipeline.pipeline import train_pipeline

    code = f"s3://{settings.bucket}/code/{content_hash(settings)}"
    modules = {"TelemetryOptOut": True, "RemoteFunction": {"IncludeLocalWorkDir": True, "S3RootUri": code}}
    config = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}
    with _workspace(), _quiet(), _validated_once(config):
        session = Session(
            boto_session=boto3.Session(region_name=settings.region),
            default_bucket=settings.bucket,
            sagemaker_config=config,
        )
        return train_pipeline(settings, session).definition()


def upsert(settings: Settings, definition: str) -> str:
    """ARN of the training pipeline, created or updated to the definition."""
    client, name = boto3.client("sagemaker"), f"{settings.prefix}-train"
    request = {"PipelineName": name, "PipelineDefinition": definition, "RoleArn": settings.role_arn}
    try:
        client.describe_pipeline(PipelineName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        tags = {"Project": settings.project.slug, "Environment": settings.environment, **settings.tags}
        tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
        return client.create_pipeline(**request, Tags=tag_list)["PipelineArn"]
    return client.update_pipeline(**request)["PipelineArn"]


def content_hash(settings: Settings) -> str:
    """SHA-256 over code, lock and settings: what a definition and its payloads are made of."""
    constants = repr(replace(settings, commit="")).encode()
    return _sha256([PROJECT / "requirements.txt", *_sources()], constants)[:32]


def git_commit() -> str:
    """Commit of the checkout, `-dirty` when files differ from it; `unknown` without git."""
    try:
        asked = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"


def _sources() -> list[Path]:
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
