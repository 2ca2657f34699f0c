"""A container image copied from one ECR repository into another, through ECR's API alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
import urllib.request
from dataclasses import dataclass
from typing import Any, BinaryIO

from ml_pipeline.errors import CloudError, InputError

MEDIA_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
SPOOLED_BYTES = 32 * 2**20  # of a layer, kept in memory; a larger one lies in a file meanwhile
CHUNK_BYTES = 2**20
DOWNLOAD_SECONDS = 60  # without a byte


class CopyFailed(CloudError):
    """What arrived is not what was sent."""


@dataclass(frozen=True)
class Repository:
    """A repository and the client that may use it."""

    client: Any
    name: str


def copy(source: Repository, target: Repository, tag: str) -> str:
    """Digest of the image, which the target repository holds under the same tag after this.

    Raises InputError when the source has no such image or the target's tag is another image, CopyFailed when
    bytes or digest have changed on the way.
    """
    image = _image(source, {"imageTag": tag})
    digest = image["imageId"]["imageDigest"]
    present = _found(target, {"imageTag": tag})
    if present:
        if present["imageId"]["imageDigest"] != digest:
            raise InputError(
                f"{target.name}:{tag} is another image ({present['imageId']['imageDigest']}) than "
                f"{source.name}:{tag} ({digest}): tags are immutable, so delete it there if nothing uses it"
            )
        return digest
    _copy(source, target, image, {"imageTag": tag})
    arrived = _image(target, {"imageTag": tag})["imageId"]["imageDigest"]
    if arrived != digest:
        raise CopyFailed(f"{target.name}:{tag} arrived as {arrived}, was sent as {digest}")
    return digest


def _copy(source: Repository, target: Repository, image: dict[str, Any], named: dict[str, str]) -> None:
    """Copies what the manifest names, then the manifest: an index after the images of each platform."""
    manifest, digest = json.loads(image["imageManifest"]), image["imageId"]["imageDigest"]
    for part in manifest.get("manifests", []):
        _copy(source, target, _image(source, {"imageDigest": part["digest"]}), {})
    blobs = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
    for layer in _missing(target, list(dict.fromkeys(blob["digest"] for blob in blobs))):
        _copy_layer(source, target, layer)
    kind = image.get("imageManifestMediaType") or manifest["mediaType"]
    request = {"imageManifest": image["imageManifest"], "imageManifestMediaType": kind, "imageDigest": digest}
    try:
        target.client.put_image(repositoryName=target.name, **request, **named)
    except target.client.exceptions.ImageAlreadyExistsException:
        return  # the image of a platform, copied before


def _found(repository: Repository, image_id: dict[str, str]) -> dict[str, Any] | None:
    try:
        answer = repository.client.batch_get_image(
            repositoryName=repository.name, imageIds=[image_id], acceptedMediaTypes=list(MEDIA_TYPES)
        )
    except repository.client.exceptions.RepositoryNotFoundException:
        env = repository.name.rpartition("-")[2]
        raise InputError(
            f"there is no image repository {repository.name}: `python -m ml_pipeline deploy --env {env}` "
            "makes it"
        ) from None
    return answer["images"][0] if answer["images"] else None


def _image(repository: Repository, image_id: dict[str, str]) -> dict[str, Any]:
    found = _found(repository, image_id)
    if found is None:
        raise InputError(f"repository {repository.name} has no image {next(iter(image_id.values()))}")
    return found


def _missing(repository: Repository, digests: list[str]) -> list[str]:
    """Those of the layers that the repository has not got; at most 100 are asked for at a time."""
    missing: list[str] = []
    for first in range(0, len(digests), 100):
        asked = digests[first : first + 100]
        answer = repository.client.batch_check_layer_availability(
            repositoryName=repository.name, layerDigests=asked
        )
        available = {
            layer["layerDigest"] for layer in answer["layers"] if layer["layerAvailability"] == "AVAILABLE"
        }
        missing += [digest for digest in asked if digest not in available]
    return missing


def _copy_layer(source: Repository, target: Repository, digest: str) -> None:
    answer = source.client.get_download_url_for_layer(repositoryName=source.name, layerDigest=digest)
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as layer:
        _download(answer["downloadUrl"], layer, digest)
        size = layer.tell()
        layer.seek(0)
        upload = target.client.initiate_layer_upload(repositoryName=target.name)
        place = {"repositoryName": target.name, "uploadId": upload["uploadId"]}
        for first in range(0, size, upload["partSize"]):
            part = layer.read(upload["partSize"])
            last = first + len(part) - 1
            target.client.upload_layer_part(
                **place, partFirstByte=first, partLastByte=last, layerPartBlob=part
            )
    target.client.complete_layer_upload(**place, layerDigests=[digest])


def _download(url: str, layer: BinaryIO, digest: str) -> None:
    """Writes the bytes at a presigned address. Raises CopyFailed when they are not those of the digest."""
    found = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer:
            while chunk := answer.read(CHUNK_BYTES):
                found.update(chunk)
                layer.write(chunk)
    except OSError as error:
        raise CopyFailed(f"layer {digest} cannot be read: {error}") from None
    if f"sha256:{found.hexdigest()}" != digest:
        raise CopyFailed(f"layer {digest} was read as sha256:{found.hexdigest()}")
