"""ECR's layers and manifests, which moto does not keep: layers as files, digests of the manifests' own bytes.

Repositories, tags and everything else of ECR are moto's.
"""

import base64
import hashlib
import json
import re
import threading
import uuid
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from werkzeug.wrappers import Response

from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

PREFIX = "AmazonEC2ContainerRegistry_V20150921."
LAYERS = "/local-aws/layers/"  # where GetDownloadUrlForLayer points
PART_BYTES = 20971520  # what ECR asks for
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Layers:
    """The layers of all repositories, in the state folder, one file each, named by digest."""

    def __init__(self, api: "SageMaker") -> None:
        self._api, self._folder = api, api.state.folder / "layers"
        self._uploads: dict[str, tuple[str, bytearray]] = {}
        self._lock = threading.Lock()
        self._operations = {
            "InitiateLayerUpload": self.initiate,
            "UploadLayerPart": self.add_part,
            "CompleteLayerUpload": self.complete,
            "BatchCheckLayerAvailability": self.availability,
            "GetDownloadUrlForLayer": self.download_url,
        }

    def answers(self, target: str) -> bool:
        return target.removeprefix(PREFIX) in self._operations

    def answer(self, target: str, request: dict) -> dict:
        """The answer of one of ECR's layer operations; raises ApiError."""
        self._check_repository(request["repositoryName"])
        return self._operations[target.removeprefix(PREFIX)](request)

    def initiate(self, request: dict) -> dict:
        upload = str(uuid.uuid4())
        self._uploads[upload] = (request["repositoryName"], bytearray())
        return {"uploadId": upload, "partSize": PART_BYTES}

    def add_part(self, request: dict) -> dict:
        with self._lock:
            body = self._upload(request)
            first, part = request["partFirstByte"], base64.b64decode(request["layerPartBlob"])
            if first != len(body) or request["partLastByte"] != first + len(part) - 1:
                raise ApiError("InvalidLayerPartException", f"The next part begins at byte {len(body)}")
            body += part
        return self._place(request) | {"lastByteReceived": len(body) - 1}

    def complete(self, request: dict) -> dict:
        with self._lock:
            body = bytes(self._upload(request))
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            if digest not in request["layerDigests"]:
                raise ApiError("InvalidLayerException", f"The uploaded layer has the digest {digest}")
            path = self._path(request["repositoryName"], digest)
            if path.exists():
                raise ApiError("LayerAlreadyExistsException", f"The layer {digest} exists already")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            del self._uploads[request["uploadId"]]
        return self._place(request) | {"layerDigest": digest}

    def availability(self, request: dict) -> dict:
        layers, failures = [], []
        for digest in request["layerDigests"]:
            path = self._path(request["repositoryName"], digest)
            if path.exists():
                known = {"layerAvailability": "AVAILABLE", "mediaType": LAYER_TYPE}
                layers.append({"layerDigest": digest, "layerSize": path.stat().st_size, **known})
            else:
                reason = {"failureCode": "MissingLayerDigest", "failureReason": "Layer was not found"}
                failures.append({"layerDigest": digest, **reason})
        return {"layers": layers, "failures": failures}

    def download_url(self, request: dict) -> dict:
        digest, repository = request["layerDigest"], request["repositoryName"]
        if not self._path(repository, digest).exists():
            raise ApiError("LayersNotFoundException", f"{repository} has no layer {digest}")
        url = f"{self._api.endpoint}{LAYERS}{quote(repository, safe='')}/{digest}"
        return {"downloadUrl": url, "layerDigest": digest}

    def download(self, path_info: str) -> Response:
        """The layer that a download address names."""
        repository, _, digest = path_info.removeprefix(LAYERS).rpartition("/")
        path = self._folder / quote(unquote(repository), safe="") / digest.removeprefix("sha256:")
        if not DIGEST.fullmatch(digest) or not path.exists():
            return Response(status=404)
        return Response(path.read_bytes(), content_type="application/octet-stream")

    def checked_manifest(self, request: dict) -> dict:
        """PutImage with the digest of the manifest's bytes, which moto then keeps; raises ApiError."""
        text = request["imageManifest"]
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        if request.get("imageDigest", digest) != digest:
            raise ApiError("ImageDigestDoesNotMatchException", f"The manifest has the digest {digest}")
        manifest = json.loads(text)
        blobs = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
        for blob in blobs:
            if not self._path(request["repositoryName"], blob["digest"]).exists():
                message = f"Layer {blob['digest']} that the manifest refers to was not found"
                raise ApiError("LayersNotFoundException", message)
        return request | {"imageDigest": digest}

    def _upload(self, request: dict) -> bytearray:
        repository, body = self._uploads.get(request["uploadId"], (None, bytearray()))
        if repository != request["repositoryName"]:
            raise ApiError("UploadNotFoundException", f"There is no upload {request['uploadId']}")
        return body

    def _place(self, request: dict) -> dict:
        same = {name: request[name] for name in ("repositoryName", "uploadId")}
        return same | {"registryId": self._api.account}

    def _check_repository(self, name: str) -> None:
        client = self._api.client("ecr")
        try:
            client.describe_repositories(repositoryNames=[name])
        except client.exceptions.RepositoryNotFoundException as error:
            raise ApiError("RepositoryNotFoundException", error.response["Error"]["Message"]) from None

    def _path(self, repository: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ApiError("InvalidParameterException", f"{digest!r} is no digest: sha256: and 64 digits")
        return self._folder / quote(repository, safe="") / digest.removeprefix("sha256:")


def replaced_body(environ: dict, document: dict) -> None:
    """Puts the document where the request's body was."""
    body = json.dumps(document).encode()
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
