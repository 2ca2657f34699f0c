"""CodeBuild for the one kind of build that a project here has: an image from a zip, pushed to ECR.

There is no Docker engine. A build reads what `docker build` would: the zip, its Dockerfile, every file that
is copied, and a base image of the account. Then it puts an image into ECR whose layer is that zip. With
--enforce-iam it does so, and writes its log, as the project's service role. Projects are moto's.
"""

import fnmatch
import hashlib
import io
import json
import re
import time
import uuid
import zipfile
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from werkzeug.wrappers import Request, Response

from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.iam.jobs import Roles
    from local_aws.sagemaker import SageMaker

JSON = "application/x-amz-json-1.1"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SERVICE = "codebuild.amazonaws.com"
OF_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/([^:@]+)(?::([^@]+))?(?:@(.+))?")
NEEDED = ("BUCKET", "REPOSITORY_URI", "IMAGE_TAG", "PYTHON_VERSION")


class BuildFailed(Exception):
    """Why `docker build` would have ended with an error."""


class Builds:
    """StartBuild and BatchGetBuilds."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self._builds: dict[str, dict[str, Any]] = {}

    def answers(self, environ: dict) -> bool:
        """Whether the request is for an operation of ours; moto has the others."""
        return self._operation(environ) in ("StartBuild", "BatchGetBuilds")

    def __call__(self, environ: dict, start_response: Callable) -> Any:
        try:
            request = json.loads(Request(environ).get_data() or b"{}")
            start = self._operation(environ) == "StartBuild"
            document = self._start(request) if start else self._found(request)
            response = Response(json.dumps(document), content_type=JSON)
        except ApiError as error:
            body = json.dumps({"__type": error.code, "message": error.message})
            response = Response(body, 400, content_type=JSON, headers={"x-amzn-errortype": error.code})
        return response(environ, start_response)

    @staticmethod
    def _operation(environ: dict) -> str:
        return environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]

    def _start(self, request: dict) -> dict:
        project = self._project(request["projectName"])
        number = str(uuid.uuid4())
        variables = [
            *project["environment"].get("environmentVariables", []),
            *request.get("environmentVariablesOverride", []),
        ]
        build = {
            "id": f"{project['name']}:{number}",
            "projectName": project["name"],
            "startTime": time.time(),
            "currentPhase": "SUBMITTED",
            "buildStatus": "IN_PROGRESS",
        }
        self._builds[build["id"]] = build | self._outcome(Build(self.api, project, number, variables))
        return {"build": build}

    def _project(self, name: str) -> dict:
        found = self.api.client("codebuild").batch_get_projects(names=[name])["projects"]
        if not found:
            raise ApiError("ResourceNotFoundException", f"Project cannot be found: {name}")
        text = found[0]["source"].get("buildspec", "")
        if not ("docker build" in text and "docker push" in text):
            message = f"The local AWS only builds images; the buildspec of {name} pushes none"
            raise ApiError("InvalidInputException", message)
        return found[0]

    @staticmethod
    def _outcome(build: "Build") -> dict[str, Any]:
        try:
            build.run()
            status, contexts = "SUCCEEDED", []
        except BuildFailed as error:
            status = "FAILED"
            contexts = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(error)}]
        phase = {"phaseType": "BUILD", "phaseStatus": status, "contexts": contexts}
        ended = {"endTime": time.time(), "currentPhase": "COMPLETED", "buildComplete": True}
        return {"buildStatus": status, "phases": [phase], **ended}

    def _found(self, request: dict) -> dict:
        ids = request.get("ids", [])
        return {
            "builds": [self._builds[id] for id in ids if id in self._builds],
            "buildsNotFound": [id for id in ids if id not in self._builds],
        }


class Build:
    """One build. variables: of the project, then of the request, as the API has them."""

    def __init__(self, api: "SageMaker", project: dict, number: str, variables: list[dict]) -> None:
        self.api, self.project, self.number, self.variables = api, project, number, variables

    @cached_property
    def roles(self) -> "Roles":
        from local_aws.iam.jobs import Roles  # with moto's part of IAM, it would delay the start

        about = {"aws:SourceArn": self.project["arn"]}
        return Roles(self.api, SERVICE, f"AWSCodeBuild-{self.number}", about)

    def client(self, service: str) -> Any:
        return self.api.client(service, self.project["serviceRole"], self.roles)

    def run(self) -> None:
        """Raises BuildFailed."""
        try:
            self._log("building")
            values = self._values()
            source = self._source(values)
            check(source, values["PYTHON_VERSION"])
            self.client("ecr").get_authorization_token()
            self._pull(values.get("BASE_IMAGE", ""))
            self._push(values["REPOSITORY_URI"].partition("/")[2], values["IMAGE_TAG"], source)
        except (ApiError, ClientError) as error:
            raise BuildFailed(str(error)) from None

    def _log(self, line: str) -> None:
        """Into the project's group; a role that may not write there has no build, as in CodeBuild."""
        chosen = self.project.get("logsConfig", {}).get("cloudWatchLogs", {})
        if "groupName" not in chosen:
            return
        place = {"logGroupName": chosen["groupName"], "logStreamName": self.number}
        self.client("logs").create_log_stream(**place)
        event = {"timestamp": int(time.time() * 1000), "message": line}
        self.client("logs").put_log_events(**place, logEvents=[event])

    def _values(self) -> dict[str, str]:
        values = {each["name"]: self._value(each) for each in self.variables}
        for name in NEEDED:
            if not values.get(name):
                raise BuildFailed(f"the variable {name} is not set")
        return values

    def _value(self, variable: dict) -> str:
        if variable.get("type") != "SECRETS_MANAGER":
            return variable["value"]
        secrets = self.client("secretsmanager")
        return secrets.get_secret_value(SecretId=variable["value"])["SecretString"]

    def _source(self, values: dict[str, str]) -> bytes:
        key = f"code/image/{values['IMAGE_TAG']}.zip"
        try:
            return self.client("s3").get_object(Bucket=values["BUCKET"], Key=key)["Body"].read()
        except ClientError as error:
            raise BuildFailed(f"s3://{values['BUCKET']}/{key}: {error}") from None

    def _pull(self, base: str) -> None:
        """Asks for a base image of the account, and for its layers; others are out of reach here."""
        found = OF_ECR.fullmatch(base)
        if found is None or found[1] != self.api.account:
            return
        ecr, wanted = self.client("ecr"), {"imageDigest": found[4]} if found[4] else {"imageTag": found[3]}
        images = ecr.batch_get_image(repositoryName=found[2], imageIds=[wanted])["images"]
        if not images:
            raise BuildFailed(f"{base}: not found")
        for layer in json.loads(images[0]["imageManifest"])["layers"]:
            ecr.get_download_url_for_layer(repositoryName=found[2], layerDigest=layer["digest"])

    def _push(self, repository: str, tag: str, source: bytes) -> None:
        """As `docker push` does: first the blobs that are not there yet, then the manifest."""
        config = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(repository, config, "container.image.v1+json"),
            "layers": [self._blob(repository, source, "image.rootfs.diff.tar.gzip")],
        }
        self.client("ecr").put_image(
            repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag
        )

    def _blob(self, repository: str, content: bytes, kind: str) -> dict[str, Any]:
        """The manifest's entry of a blob that ECR holds now."""
        ecr, digest = self.client("ecr"), f"sha256:{hashlib.sha256(content).hexdigest()}"
        known = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest])
        if not known["layers"]:
            upload = {"repositoryName": repository}
            upload["uploadId"] = ecr.initiate_layer_upload(**upload)["uploadId"]
            ecr.upload_layer_part(
                **upload, partFirstByte=0, partLastByte=len(content) - 1, layerPartBlob=content
            )
            ecr.complete_layer_upload(**upload, layerDigests=[digest])
        return {"mediaType": f"application/vnd.docker.{kind}", "size": len(content), "digest": digest}


def check(source: bytes, python_version: str) -> None:
    """Raises BuildFailed when the Dockerfile in the zip could not be built from what lies beside it."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(source))
    except zipfile.BadZipFile:
        raise BuildFailed("the source is no zip") from None
    names = archive.namelist()
    if "Dockerfile" not in names:
        raise BuildFailed("failed to read dockerfile: open Dockerfile: no such file or directory")
    for copied in copied_sources(archive.read("Dockerfile").decode()):
        inside = [name for name in names if name == copied or name.startswith(f"{copied.rstrip('/')}/")]
        if not [name for name in inside if not _ignored(name, archive)]:
            raise BuildFailed(f'COPY {copied}: "/{copied}": not found')
    pinned = archive.read(".python-version").decode().strip()
    if pinned != python_version:
        raise BuildFailed(f"the base image must have Python {pinned} (.python-version), got {python_version}")
    lock = archive.read("requirements.txt").decode()
    if "--hash=sha256:" not in lock:
        raise BuildFailed("requirements.txt: hashes are required in --require-hashes mode, and it has none")


def copied_sources(dockerfile: str) -> list[str]:
    """What the COPY instructions take from the build's folder."""
    joined = dockerfile.replace("\\\n", " ")
    lines = [line.split()[1:-1] for line in joined.splitlines() if re.match(r"COPY\s", line)]
    return [word for words in lines for word in words if not word.startswith("--")]


def _ignored(name: str, archive: zipfile.ZipFile) -> bool:
    """Whether .dockerignore keeps the file from the build; the last pattern that fits it decides."""
    if ".dockerignore" not in archive.namelist():
        return False
    ignored = False
    for line in archive.read(".dockerignore").decode().splitlines():
        pattern = line.strip().removeprefix("!").strip("/")
        parts = [name, *(name[: place.start()] for place in re.finditer("/", name))]
        if pattern and not line.startswith("#") and any(_fits(part, pattern) for part in parts):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    """Docker's patterns: `*` stays within a folder, `**/` is any number of them."""
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatch(path, pattern)
