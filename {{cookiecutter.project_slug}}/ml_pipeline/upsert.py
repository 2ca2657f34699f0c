"""From the graphs to pipelines that SageMaker holds: content hash, compiled definitions, create or update."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import sdk
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Schedule, Settings

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
LOCK = "requirements.txt"
XGBOOST_VERSION = "3.2-0"  # of the managed container that tuning trials run on
IMAGE_INPUTS = ("Dockerfile", ".python-version", LOCK)  # what the image is built from, beside ml_pipeline
# What definitions and their payloads are made of; a commit that changes none of it changes no pipeline.
INPUTS = (PACKAGE.name, LOCK, "Dockerfile", "settings.toml", ".python-version")
UNSHIPPED = frozenset(["__pycache__", ".DS_Store"])  # files and folders of ml_pipeline that jobs do not get
HASH_TAG = "ContentHash"
DIRTY = "-dirty"
NO_SCHEDULE = Schedule(train="", score="", timezone="UTC", flexible_minutes=0)


@dataclass(frozen=True)
class Upserted:
    """A pipeline that SageMaker holds now. outcome: created, updated or unchanged."""

    name: str
    arn: str
    definition: str
    content_hash: str
    outcome: str


def located(settings: Settings, account: str) -> Settings:
    """Settings with what depends on the account and the checkout, but for the managed images."""
    return replace(settings, account=account, commit=git_commit(), image_tag=_image_tag(settings))


def _image_tag(settings: Settings) -> str:
    """The same for the same image: of all that it is built from."""
    files = [path for name in IMAGE_INPUTS if (path := PROJECT / name).exists()]
    base = settings.deploy.parameters.get("BaseImage", "")
    return _sha256([*files, *sources()], base.encode())[:16]


def with_images(settings: Settings) -> Settings:
    """Settings with the managed images of the region, which the SDK knows. Raises InputError without one."""
    uses_clarify = settings.bias.engine == "clarify"
    try:
        with _quiet(), sdk.collected_later():
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


def upsert(settings: Settings, pipelines: tuple[str, ...]) -> list[Upserted]:
    """The pipelines (train, score), created or updated unless they are made of this code, lock and settings.

    settings: located. Compiles with one loading of the SDK, and only what nobody has compiled before.
    """
    client, wanted = boto3.client("sagemaker"), content_hash(settings)
    found = {pipeline: _unchanged(client, settings, pipeline, wanted) for pipeline in pipelines}
    texts = _definitions(settings, wanted, tuple(name for name in pipelines if not found[name]))
    return [found[name] or _put(client, settings, name, texts[name], wanted) for name in pipelines]


def _put(client: Any, settings: Settings, pipeline: str, text: str, content_hash: str) -> Upserted:
    name = f"{settings.prefix}-{pipeline}"
    present = described(client, name)
    request = {"PipelineName": name, "PipelineDefinition": text, "RoleArn": settings.role_arn}
    tags = {**settings.resource_tags, HASH_TAG: content_hash}
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    if present is None:
        arn = client.create_pipeline(**request, Tags=tag_list)["PipelineArn"]
        return Upserted(name, arn, text, content_hash, "created")
    arn = client.update_pipeline(**request)["PipelineArn"]
    client.add_tags(ResourceArn=arn, Tags=tag_list)  # last: until then it counts as changed
    return Upserted(name, arn, text, content_hash, "updated")


def unchanged(settings: Settings, pipeline: str) -> Upserted | None:
    """The pipeline as it is, when it is made of this code, lock and settings; else None."""
    return _unchanged(boto3.client("sagemaker"), settings, pipeline, content_hash(settings))


def _unchanged(client: Any, settings: Settings, pipeline: str, wanted: str) -> Upserted | None:
    name = f"{settings.prefix}-{pipeline}"
    present = described(client, name)
    if present is None or deployed_hash(client, present["PipelineArn"]) != wanted:
        return None
    return Upserted(name, present["PipelineArn"], present["PipelineDefinition"], wanted, "unchanged")


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
    """Settings without what makes a pipeline no other one, and what follows of the SDK."""
    return replace(
        settings,
        commit=DIRTY if settings.commit.endswith(DIRTY) else "",
        prices={},
        schedule=NO_SCHEDULE,
        triggers=replace(settings.triggers, email=""),
        xgboost_image_uri="",
        clarify_image_uri="",
    )


def _definitions(settings: Settings, content_hash: str, pipelines: tuple[str, ...]) -> dict[str, str]:
    """Definitions of this content by pipeline, from S3 or compiled now; then they are stored last."""
    folder = code_uri(settings, content_hash)
    stored = {name: _stored(f"{folder}/definition-{name}.json") for name in pipelines}
    found = {name: text for name, text in stored.items() if text is not None}
    absent = tuple(name for name in pipelines if name not in found)
    return found | (_made(settings, folder, absent) if absent else {})


def _stored(uri: str) -> str | None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


def _made(settings: Settings, folder: str, pipelines: tuple[str, ...]) -> dict[str, str]:
    names = " and ".join(f"{settings.prefix}-{pipeline}" for pipeline in pipelines)
    print(f"compiling {names} ...", flush=True)
    settings, s3 = with_images(settings), boto3.client("s3")
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    # Written first: who may not write is told so by S3, not by the SDK's traceback.
    kept = json.dumps(inputs(settings), indent=1).encode()
    s3.put_object(Bucket=bucket, Key=f"{prefix}/inputs.json", Body=kept)
    texts = compiled(settings, pipelines)
    for pipeline, text in texts.items():
        s3.put_object(Bucket=bucket, Key=f"{prefix}/definition-{pipeline}.json", Body=text.encode())
    return texts


def compiled(settings: Settings, pipelines: tuple[str, ...]) -> dict[str, str]:
    """Definitions as JSON by pipeline. Uploads the payloads of their steps to `code/<content hash>/`."""
    sdk.load()
    from sagemaker.core.helper.session_helper import Session

    remote = {
        "IncludeLocalWorkDir": True,
        "CustomFileFilter": {"IgnoreNamePatterns": sorted(UNSHIPPED)},  # without it only *.py are shipped
        "S3RootUri": code_uri(settings, content_hash(settings)),
    }
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
        return {name: _graph(name)(settings, session).definition() for name in pipelines}


def _graph(pipeline: str) -> Callable[[Settings, Any], Any]:
    """The function that wires the pipeline. Its module loads the SDK."""
    if pipeline == "score":
        from ml_pipeline.scoring import score_pipeline

        return score_pipeline
    from ml_pipeline.pipeline import train_pipeline

    return train_pipeline


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
    """The files of ml_pipeline: modules, and what the pages of reports are made of."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file())
    return sorted(path for path in found if not UNSHIPPED.intersection(path.relative_to(PACKAGE).parts))


def _sha256(paths: Iterable[Path], more: bytes = b"") -> str:
    digest = hashlib.sha256(more)
    for path in paths:
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def _workspace() -> Iterator[None]:
    """A working directory with a copy of ml_pipeline alone: the SDK ships all of it to the jobs."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder, PACKAGE.name), ignore=shutil.ignore_patterns(*UNSHIPPED))
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
