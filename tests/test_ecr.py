"""The local AWS keeps an image's layers and knows it by the digest of its manifest, as ECR does."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from conftest import Server

KIND = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def repository(server: Server, request) -> str:
    name = f"ecr/{request.node.originalname.replace('_', '-')}"[:100]
    server.client("ecr").create_repository(repositoryName=name)
    return name


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def pushed(server: Server, repository: str, body: bytes) -> str:
    client = server.client("ecr")
    upload = client.initiate_layer_upload(repositoryName=repository)
    place = {"repositoryName": repository, "uploadId": upload["uploadId"]}
    client.upload_layer_part(**place, partFirstByte=0, partLastByte=len(body) - 1, layerPartBlob=body)
    return client.complete_layer_upload(**place, layerDigests=[digest_of(body)])["layerDigest"]


def manifest_of(digest: str) -> str:
    described = {"mediaType": KIND, "digest": digest, "size": 1}
    return json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": described, "layers": [described]})


def refusal(call, **request: object) -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    return raised.value.response["Error"]["Code"]


def test_a_layer_is_read_back_byte_for_byte_from_its_address(server, repository):
    digest = pushed(server, repository, b"layer")
    client = server.client("ecr")
    url = client.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)["downloadUrl"]
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"layer"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url.replace(digest, digest_of(b"other")))


def test_layers_are_available_once_they_are_complete(server, repository):
    first, second = pushed(server, repository, b"layer"), digest_of(b"other")
    answer = server.client("ecr").batch_check_layer_availability(
        repositoryName=repository, layerDigests=[first, second]
    )
    assert [layer["layerDigest"] for layer in answer["layers"]] == [first]
    assert [failure["layerDigest"] for failure in answer["failures"]] == [second]


def test_parts_that_leave_a_gap_are_refused(server, repository):
    client = server.client("ecr")
    upload = client.initiate_layer_upload(repositoryName=repository)["uploadId"]
    part = {"repositoryName": repository, "uploadId": upload, "layerPartBlob": b"abc"}
    assert (
        refusal(client.upload_layer_part, **part, partFirstByte=5, partLastByte=7)
        == "InvalidLayerPartException"
    )


def test_a_layer_that_is_not_what_it_says_is_refused(server, repository):
    client = server.client("ecr")
    upload = client.initiate_layer_upload(repositoryName=repository)["uploadId"]
    place = {"repositoryName": repository, "uploadId": upload}
    client.upload_layer_part(**place, partFirstByte=0, partLastByte=2, layerPartBlob=b"abc")
    wrong = [digest_of(b"other")]
    assert refusal(client.complete_layer_upload, **place, layerDigests=wrong) == "InvalidLayerException"


def test_an_image_has_the_digest_of_its_manifests_own_bytes(server, repository):
    text = manifest_of(pushed(server, repository, b"layer"))
    client = server.client("ecr")
    client.put_image(repositoryName=repository, imageManifest=text, imageTag="one")
    (image,) = client.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "one"}])["images"]
    assert image["imageId"]["imageDigest"] == digest_of(text.encode())
    assert image["imageManifest"] == text


def test_an_image_of_layers_that_are_not_there_is_refused(server, repository):
    client, text = server.client("ecr"), manifest_of(digest_of(b"nowhere"))
    assert refusal(client.put_image, repositoryName=repository, imageManifest=text, imageTag="one") == (
        "LayersNotFoundException"
    )


def test_another_digest_than_the_manifests_is_refused(server, repository):
    client, text = server.client("ecr"), manifest_of(pushed(server, repository, b"layer"))
    given = {"repositoryName": repository, "imageManifest": text, "imageDigest": digest_of(b"x")}
    assert refusal(client.put_image, **given) == "ImageDigestDoesNotMatchException"


def test_layers_of_an_unknown_repository_are_refused(server):
    assert refusal(server.client("ecr").initiate_layer_upload, repositoryName="ecr/nowhere") == (
        "RepositoryNotFoundException"
    )
