"""Batch transform jobs: the model's container, started as it is, and the objects posted to it."""

import gzip
import shutil
import socket
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_aws import container, layout
from local_aws.invocations import BadAnswer, BadObject, Endpoint, Limits, transformed
from local_aws.joblog import JobLog
from local_aws.objects import opened, put
from local_aws.rowfilter import BadFilter, Processing
from local_aws.transfer import TransferError, download, list_keys, name_below, split_uri
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

KIND, STATUS = "TransformJob", "TransformJobStatus"
SERVE = "local_aws.images.serve"
PING_SECONDS = 240.0
TICK_SECONDS = 0.05
LOG_SECONDS = 0.5
GRACE_SECONDS = 3.0
MAX_REASON = 1024
MAX_PRODUCT_MB = 100
OBJECTS = 4  # at a time
NO_SPLIT = "None"


class Stopped(Exception):
    """The job was asked to stop."""


class JobFailed(Exception):
    """The job cannot go on; the message is its FailureReason."""


def check(api: "SageMaker", request: dict) -> None:
    """Raises ValidationException for a request that cannot be carried out; the service model holds for it."""
    try:
        _processing(request)
        problems = _problems(request)
    except BadFilter as error:
        problems = [f"DataProcessing: {error}"]
    if problems:
        raise ApiError("ValidationException", f"CreateTransformJob: {'; '.join(problems)}")
    _served(api, request["ModelName"])


def start(api: "SageMaker", name: str) -> None:
    """Runs the transform job that is recorded; returns at once."""
    threading.Thread(target=_work, args=(api, name), name=name, daemon=True).start()


def _problems(request: dict) -> list[str]:
    source, output = request["TransformInput"], request["TransformOutput"]
    split, assemble = source.get("SplitType", NO_SPLIT), output.get("AssembleWith", NO_SPLIT)
    data_type = source["DataSource"]["S3DataSource"]["S3DataType"]
    payload, parallel = request.get("MaxPayloadInMB", 1), request.get("MaxConcurrentTransforms", 1)
    rows = _processing(request).changes_output or _processing(request).input_filter != "$"
    instances = request["TransformResources"]["InstanceCount"]
    batched = split == NO_SPLIT and request.get("BatchStrategy") == "MultiRecord"
    found = {
        f"SplitType {split} is not supported here, only Line and None": split not in ("Line", NO_SPLIT),
        f"S3DataType {data_type} is not supported here, only S3Prefix": data_type != "S3Prefix",
        "DataCaptureConfig is not supported here": "DataCaptureConfig" in request,
        f"InstanceCount {instances} is not supported here, only 1": instances != 1,
        "MaxPayloadInMB 0 is not supported here": payload == 0,
        f"MaxPayloadInMB x MaxConcurrentTransforms is {payload * parallel}, the limit is {MAX_PRODUCT_MB}": (
            payload * parallel > MAX_PRODUCT_MB
        ),
        "BatchStrategy MultiRecord needs SplitType Line": batched,
        f"filters and JoinSource need SplitType and AssembleWith Line, got {split} and {assemble}": (
            rows and (split, assemble) != ("Line", "Line")
        ),
    }
    return [problem for problem, holds in found.items() if holds]


def _processing(request: dict) -> Processing:
    given = request.get("DataProcessing", {})
    content_type = request["TransformInput"].get("ContentType", "")
    return Processing(
        content_type.partition(";")[0].strip(),
        request["TransformOutput"].get("Accept", content_type).partition(";")[0].strip(),
        given.get("InputFilter", "$"),
        given.get("OutputFilter", "$"),
        given.get("JoinSource", "None") == "Input",
    )


@dataclass(frozen=True)
class Served:
    """What a model's container is started with."""

    command: tuple[str, ...]
    model_data_uri: str
    environment: dict[str, str]


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Files of a model archive. tarfile's own filter for hostile ones begins with Python 3.11.4."""
    for member in archive:
        place = (folder / member.name).resolve()
        if not place.is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
            raise JobFailed(f"ClientError: {member.name} in the model archive is no file below its root")
        archive.extract(member, folder)


def _served(api: "SageMaker", model_name: str) -> Served:
    model = api.state.get("Model", model_name)
    containers = [
        *model.get("Containers", []),
        *([model["PrimaryContainer"]] if "PrimaryContainer" in model else []),
    ]
    if len(containers) != 1:
        raise ApiError(
            "ValidationException",
            f"Model {model_name}: the local AWS serves one container, got {len(containers)}",
        )
    given, more = containers[0], containers[0].get("Environment", {})
    if "ModelPackageName" in given:
        package = api.state.get("ModelPackage", given["ModelPackageName"])
        given = package["InferenceSpecification"]["Containers"][0]
    if "ModelDataSource" in given:
        raise ApiError(
            "ValidationException",
            f"Model {model_name}: ModelDataSource is not supported by the local AWS, only ModelDataUrl",
        )
    image = api.images.resolve(given["Image"])
    if not image.serve:
        raise ApiError(
            "ValidationException",
            f"Model {model_name}: the local AWS cannot serve the image {given['Image']!r}",
        )
    return Served(image.serve, given.get("ModelDataUrl", ""), given.get("Environment", {}) | more)


def _work(api: "SageMaker", name: str) -> None:
    """The job's thread. Whatever goes wrong, the job gets a final status."""
    status, reason = "Failed", "InternalServerError: the local AWS failed, see its output"
    try:
        check(api, api.state.get(KIND, name))
        job = Job(api, name)
        job.run()
        job.clear()
        status, reason = "Completed", None
    except Stopped:
        job.clear()
        status, reason = "Stopped", None
    except JobFailed as error:
        reason = str(error)
    except (ApiError, TransferError, ClientError, tarfile.TarError) as error:
        reason = f"ClientError: {error}"
    finally:
        now = api.clock.now(api.state.get(KIND, name))
        ended = {
            "TransformEndTime": now,
            "LastModifiedTime": now,
            "FailureReason": reason and reason[:MAX_REASON],
        }
        api.state.update(KIND, name, **{STATUS: status}, **ended)


class Job:
    """One transform job at work."""

    def __init__(self, api: "SageMaker", name: str) -> None:
        self.api, self.state, self.name = api, api.state, name
        self.record = api.state.get(KIND, name)
        # A transform job works as its model's role.
        self.role = api.state.get("Model", self.record["ModelName"]).get("ExecutionRoleArn")
        self.s3 = api.client("s3", self.role)
        self.root = api.state.folder / "jobs" / name
        self.path = api.state.folder / "logs" / f"{name}.log"
        self.processing = _processing(self.record)
        self.source = self.record["TransformInput"]
        self.uri = self.source["DataSource"]["S3DataSource"]["S3Uri"]

    def run(self) -> None:
        """Returns when every object has its output; JobFailed names the first that has none."""
        self.state.update(KIND, self.name, TransformStartTime=self.api.clock.now(self.record))
        layout.empty_folder(self.root)
        keys = list(list_keys(self.s3, self.uri))
        if not keys:
            raise JobFailed(f"ClientError: No S3 objects found under {self.uri}")
        served = _served(self.api, self.record["ModelName"])
        self._unpack_model(served.model_data_uri)
        with self._logged(), self._endpoint(served) as endpoint:
            self._transform(keys, endpoint, self._limits(endpoint))

    def clear(self) -> None:
        """Deletes the job's folder, which stays only when the job has failed."""
        shutil.rmtree(self.root)

    def _unpack_model(self, uri: str) -> None:
        if not uri:
            return
        archive = download(self.s3, *split_uri(uri), self.root / "tmp" / "model.tar.gz")
        with tarfile.open(archive) as tar:
            _extract(tar, self.root / "model")
        archive.unlink()

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Carries the container's output to CloudWatch Logs meanwhile, all of it at the end."""
        stream = f"{self.name}/algo-1-{int(time.time())}"
        log = JobLog(self.api.client("logs", self.role), "/aws/sagemaker/TransformJobs", stream, self.path)
        over = threading.Event()
        thread = threading.Thread(target=_pump, args=(log, over), name=f"log of {self.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            log.finish()

    @contextmanager
    def _endpoint(self, served: Served) -> Iterator[Endpoint]:
        """The container, once it answers; it and all that it started are killed at the end."""
        port = _free_port()
        folder = {"command": list(served.command), "folder": str(Path.cwd())}
        box = container.Container(
            container.Spec(SERVE, self.root, self.path, self._environment(served, port), folder)
        )
        threading.Thread(target=self._kill_when_stopped, args=(box,), daemon=True).start()
        client = self.record.get("ModelClientConfig", {})
        endpoint = Endpoint(
            f"http://127.0.0.1:{port}",
            client.get("InvocationsTimeoutInSeconds", 600),
            client.get("InvocationsMaxRetries", 3),
            self._headers(),
        )
        try:
            self._await_ping(box, endpoint)
            yield endpoint
        finally:
            box.send(SIGTERM)
            if box.wait(GRACE_SECONDS) is None:
                box.send(SIGKILL)
                box.wait(GRACE_SECONDS)

    def _headers(self) -> dict[str, str]:
        given = {
            "Content-Type": self.source.get("ContentType"),
            "Accept": self.record["TransformOutput"].get("Accept"),
        }
        return {name: value for name, value in given.items() if value}

    def _environment(self, served: Served, port: int) -> dict[str, str]:
        built = container.environment(
            self.api.endpoint, self.api.region, self.root, self.api.keys(self.role)
        ) | {
            "SERVING_HOST": "127.0.0.1",  # a container listens on all its interfaces, a laptop must not
            "SM_MODEL_DIR": str(self.root / "model"),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_BATCH": "true",
        }
        return built | served.environment | self.record.get("Environment", {})

    def _kill_when_stopped(self, box: container.Container) -> None:
        job = self.state.wait(KIND, self.name, lambda job: job[STATUS] != "InProgress")
        if job[STATUS] == "Stopping":
            box.send(SIGTERM)
            time.sleep(GRACE_SECONDS)
            box.send(SIGKILL)

    def _raise_stopped(self) -> None:
        if self.state.get(KIND, self.name)[STATUS] == "Stopping":
            raise Stopped

    def _await_ping(self, box: container.Container, endpoint: Endpoint) -> None:
        deadline = time.monotonic() + PING_SECONDS
        while not endpoint.answers_ping():
            code = box.wait(TICK_SECONDS)
            self._raise_stopped()
            if code is not None:
                raise self._never_answered(f"exited with code {code} before it answered /ping")
            if time.monotonic() > deadline:
                raise self._never_answered(f"did not answer /ping within {PING_SECONDS:g} s")

    def _never_answered(self, what: str) -> JobFailed:
        """The failure, with the last line that the container logged."""
        lines = self.path.read_text(errors="replace").split("\n") if self.path.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "nothing")
        return JobFailed(f"AlgorithmError: the container {what}; it last logged: {last.strip()[:500]}")

    def _limits(self, endpoint: Endpoint) -> Limits:
        """How the objects are cut: as the job says, else as the container says, else SageMaker's defaults."""
        asked = ("MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB")
        given = {member: self.record[member] for member in asked if member in self.record}
        offered = {} if len(given) == len(asked) else self._offered(endpoint)
        strategy = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
        offered["BatchStrategy"] = strategy.get(offered.get("BatchStrategy", ""), "MultiRecord")
        chosen = {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6} | offered | given
        split = self.source.get("SplitType", NO_SPLIT) == "Line"
        single = chosen["BatchStrategy"] == "SingleRecord"
        return Limits(chosen["MaxConcurrentTransforms"], chosen["MaxPayloadInMB"] << 20, split, single)

    def _offered(self, endpoint: Endpoint) -> dict:
        try:
            return endpoint.execution_parameters()
        except BadAnswer as error:
            self._raise_stopped()
            raise JobFailed(f"AlgorithmError: {error}") from None

    def _transform(self, keys: list[str], endpoint: Endpoint, limits: Limits) -> None:
        """Several objects are under way, so that many small ones do not wait for each other."""
        with ThreadPoolExecutor(limits.at_once) as requests, ThreadPoolExecutor(OBJECTS) as objects:
            work = partial(self._problem, endpoint=endpoint, limits=limits, requests=requests)
            try:
                problems = list(objects.map(work, keys))
            finally:
                objects.shutdown(cancel_futures=True)
                self._raise_stopped()  # whatever a container said that was killed
        failures = [problem for problem in problems if problem]
        if failures:
            rest = f" ({len(failures)} of {len(keys)} objects failed)" if len(keys) > 1 else ""
            raise JobFailed(f"AlgorithmError: {failures[0][: MAX_REASON - 100]}{rest}")

    def _problem(
        self, key: str, endpoint: Endpoint, limits: Limits, requests: ThreadPoolExecutor
    ) -> str | None:
        """Why the object has no output, if it has none."""
        self._raise_stopped()
        try:
            self._transform_object(key, endpoint, limits, requests)
        except (BadObject, gzip.BadGzipFile, EOFError, zlib.error) as error:
            self._raise_stopped()
            self._log(f"[local AWS] {key}: {error}")
            return f"{key}: {error}"
        return None

    def _transform_object(
        self, key: str, endpoint: Endpoint, limits: Limits, requests: ThreadPoolExecutor
    ) -> None:
        """Puts the object's output, once all of it is there."""
        bucket, prefix = split_uri(self.uri)
        output = self.record["TransformOutput"]
        lines = output.get("AssembleWith") == "Line"
        target = split_uri(f"{output['S3OutputPath'].rstrip('/')}/{name_below(prefix, key)}.out")
        with opened(self.s3, bucket, key) as reader:
            is_packed = self.source.get("CompressionType") == "Gzip"
            rows = gzip.GzipFile(fileobj=reader) if is_packed else reader
            put(self.s3, *target, transformed(rows, endpoint, self.processing, limits, lines, requests))

    def _log(self, line: str) -> None:
        with self.path.open("a") as file:
            file.write(line + "\n")


def _pump(log: JobLog, over: threading.Event) -> None:
    while not over.wait(LOG_SECONDS):
        log.pump()


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
