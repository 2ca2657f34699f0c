"""The step image: found in ECR, else built and pushed with Docker, else handed to CodeBuild."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from ml_pipeline.cloud import preflight
from ml_pipeline.errors import CloudError
from ml_pipeline.settings import Settings
from ml_pipeline.upsert import PROJECT, sources

FILES = ("Dockerfile", ".dockerignore", ".python-version", "requirements.txt")
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, WAIT_GROWTH = 0.2, 15.0, 1.5
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
ANSWER_SECONDS = 30
EPOCH = (1980, 1, 1, 0, 0, 0)


class ImageFailed(CloudError):
    """An image that could not be built or pushed; the message holds the builder's reason."""


def ensure(settings: Settings, build_project: str) -> str:
    """How the image came to lie in ECR. Raises ImageFailed."""
    if preflight.has_image(settings):
        return f"image {settings.image_uri}: is there"
    if engine_answers():
        print(f"image {settings.image_uri}: building with Docker, about 5 minutes ...", flush=True)
        with_docker(settings)
        return f"image {settings.image_uri}: built with Docker and pushed"
    if not build_project:
        raise ImageFailed(
            "no Docker engine answers here and the foundation stack has no CodeBuild project: start Docker"
        )
    print(
        f"image {settings.image_uri}: no Docker engine, CodeBuild builds it, 6 minutes ...",
        flush=True,
    )
    with_codebuild(settings, build_project)
    return f"image {settings.image_uri}: built by CodeBuild project {build_project}"


def engine_answers() -> bool:
    """Whether there is a Docker engine to build with; the command alone is not enough."""
    if not shutil.which("docker"):
        return False
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:  # an engine that hangs, as a stopped virtual machine's does
        return False


def with_docker(settings: Settings) -> None:
    """Builds for linux/amd64, from an ARM machine too, and pushes a plain image, which SageMaker asks for."""
    access = boto3.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(access["authorizationToken"]).decode().partition(":")
    registry = settings.image_uri.partition("/")[0]
    login = ["docker", "login", "--username", user, "--password-stdin", registry]
    _docker(login, "log in to ECR", password)
    with tempfile.TemporaryDirectory() as folder:
        command = build_command(settings, pip_conf(settings, Path(folder)))
        _docker(command, "build and push the image", variables=proxies(settings))


def proxies(settings: Settings) -> dict[str, str]:
    """Variables that name this machine's proxies; without any, those of [deploy.parameters]."""
    own = {name: os.environ[name] for name in PROXIES if os.environ.get(name)}
    proxy = settings.deploy.parameters.get("HttpProxy")
    if own or not proxy:
        return own
    return dict.fromkeys(PROXIES, proxy) | {"NO_PROXY": settings.deploy.parameters.get("NoProxy", "")}


def pip_conf(settings: Settings, folder: Path) -> Path | None:
    """This machine's PIP_CONFIG_FILE; without it, one in the folder for the index of [deploy.parameters]."""
    own, index = os.environ.get("PIP_CONFIG_FILE"), settings.deploy.parameters.get("PackageIndexUrl")
    if own and os.path.isfile(own):
        return Path(own)
    if not index:
        return None
    made = folder / "pip.conf"
    made.write_text(f"[global]\nindex-url = {index}\n", encoding="utf-8")
    return made


def build_command(settings: Settings, pip: Path | None) -> list[str]:
    """`docker buildx build`; proxies and pip's configuration reach the build, not the image."""
    names = [option for name in proxies(settings) for option in ("--build-arg", name)]
    secret = ["--secret", f"id=pip,src={pip}"] if pip else []
    base = settings.deploy.parameters.get("BaseImage")
    return [
        *("docker", "buildx", "build", "--platform", "linux/amd64", "--provenance=false", "--sbom=false"),
        *("--build-arg", f"PYTHON_VERSION={preflight.python()}"),
        *(("--build-arg", f"BASE={base}") if base else ()),
        *names,
        *secret,
        *("--tag", settings.image_uri, "--push", str(PROJECT)),
    ]


def with_codebuild(settings: Settings, build_project: str) -> None:
    key = f"code/image/{settings.image_tag}.zip"
    boto3.client("s3").put_object(Bucket=settings.bucket, Key=key, Body=source_zip())
    client = boto3.client("codebuild")
    variables = {"IMAGE_TAG": settings.image_tag, "PYTHON_VERSION": preflight.python()}
    build = client.start_build(
        projectName=build_project,
        environmentVariablesOverride=[
            {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
        ],
    )["build"]
    ended = _ended(client, build["id"])
    if ended["buildStatus"] != "SUCCEEDED":
        raise ImageFailed(f"CodeBuild ended in {ended['buildStatus']}: {_reason(ended)}")


def source_zip() -> bytes:
    """What the Dockerfile copies, with the Dockerfile; the same bytes for the same files."""
    buffer = io.BytesIO()
    paths = [PROJECT / name for name in FILES] + sources()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(PROJECT).as_posix(), EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _docker(
    command: list[str], what: str, text: str | None = None, variables: Mapping[str, str] = os.environ
) -> None:
    done = subprocess.run(command, input=text, text=True, env={**os.environ, **variables})
    if done.returncode:
        raise ImageFailed(f"docker could not {what}: it ended with {done.returncode}, see above")


def _ended(client: Any, build_id: str) -> dict[str, Any]:
    pause = FIRST_WAIT_SECONDS
    while True:
        build = client.batch_get_builds(ids=[build_id])["builds"][0]
        if build["buildStatus"] != "IN_PROGRESS":
            return build
        time.sleep(pause)
        pause = min(pause * WAIT_GROWTH, LONGEST_WAIT_SECONDS)


def _reason(build: dict[str, Any]) -> str:
    """The failed phases' own words and where the whole log is."""
    contexts = [context for phase in build.get("phases", []) for context in phase.get("contexts", [])]
    words = [context["message"] for context in contexts if context.get("message")]
    log = build.get("logs", {}).get("deepLink", "")
    return "; ".join(words or ["it tells no reason"]) + (f" (log: {log})" if log else "")
