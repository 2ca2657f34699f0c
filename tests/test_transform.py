"""A transform job starts the model's container and posts the objects to it as SageMaker does."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import tarfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from urllib3 import HTTPResponse

from conftest import REGION, ROLE, Server, started
from local_aws.invocations import BadObject, Endpoint, Limits, batches, transformed
from local_aws.rowfilter import Processing
from waiting import until

IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/echo-local:1"
ENDED = ("Completed", "Failed", "Stopped")
CONTAINER = Path(__file__).with_name("echo_container.py")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local AWS that knows the image of `echo_container.py`, with a model of it."""
    folder = tmp_path_factory.mktemp("transform")
    server = started(folder)
    shutil.copy(CONTAINER, folder)
    # The table of images is read when the first image is looked up.
    (folder / "pyproject.toml").write_text(
        '[tool.local_aws.images]\n"*/echo-*:*" = "python -m echo_container"\n'
        '"*/script-*:*" = "python echo_container.py"\n'
    )
    server.client("s3").create_bucket(Bucket="bucket")
    put(server, "model/model.tar.gz", archive({"weights.bin": b"w"}))
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model/model.tar.gz"}
    server.client("sagemaker").create_model(
        ModelName="echo",
        ExecutionRoleArn=ROLE,
        PrimaryContainer=container | {"Environment": {"COLOUR": "red"}},
    )
    yield server
    server.end()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def put(aws: Server, key: str, body: bytes) -> None:
    aws.client("s3").put_object(Bucket="bucket", Key=key, Body=body)


class Job:
    """A transform job on a local AWS; `place` is its own prefix of the bucket."""

    def __init__(self, aws: Server, objects: dict[str, bytes], **request: object) -> None:
        self.aws, self.client = aws, aws.client("sagemaker")
        self.name = self.place = f"job-{uuid.uuid4().hex[:8]}"
        for key, body in objects.items():
            put(aws, f"{self.place}/in/{key}", body)
        self.client.create_transform_job(**self.request(**request))

    def request(self, source: dict | None = None, output: dict | None = None, **more: object) -> dict:
        uri = f"s3://bucket/{self.place}/in/"
        data = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
        target = {
            "S3OutputPath": f"s3://bucket/{self.place}/out",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        }
        return {
            "TransformJobName": self.name,
            "ModelName": "echo",
            "TransformInput": data | {"ContentType": "text/csv", "SplitType": "Line"} | (source or {}),
            "TransformOutput": target | (output or {}),
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        } | more

    def describe(self) -> dict:
        return self.client.describe_transform_job(TransformJobName=self.name)

    def ended(self) -> dict:
        return until(lambda: (job := self.describe())["TransformJobStatus"] in ENDED and job)

    def outputs(self) -> dict[str, bytes]:
        s3, prefix = self.aws.client("s3"), f"{self.place}/out/"
        keys = [
            item["Key"] for item in s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        ]
        return {
            key.removeprefix(prefix): s3.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys
        }

    def log(self) -> list[str]:
        """The lines of the container in CloudWatch Logs."""
        logs, group = self.aws.client("logs"), "/aws/sagemaker/TransformJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{self.name}/")[
            "logStreams"
        ]
        (stream,) = [stream["logStreamName"] for stream in streams]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events]

    def requests(self) -> list[dict]:
        return [
            json.loads(line.removeprefix("request ")) for line in self.log() if line.startswith("request ")
        ]


def container_of(job: Job) -> int:
    """The process of the job's container, once it has started."""
    log = job.aws.state / "logs" / f"{job.name}.log"
    return until(lambda: (found := re.search(r"^pid (\d+)$", read(log), re.MULTILINE)) and int(found[1]))


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def table(rows: int) -> bytes:
    return b"".join(b"%d,1\n" % row for row in range(rows))


def test_every_object_has_its_output_at_its_own_key_and_in_its_order(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1,2\n3,4\n", "deep/b.csv": b"5,6"})
    assert job.ended()["TransformJobStatus"] == "Completed"
    assert job.outputs() == {"a.csv.out": b"3\n7\n", "deep/b.csv.out": b"11\n"}
    assert job.describe()["TransformEndTime"] >= job.describe()["TransformStartTime"]


def test_one_object_is_named_after_its_last_part(aws: Server) -> None:
    first = Job(aws, {"a.csv": b"1,2\n"})
    first.ended()
    uri = f"s3://bucket/{first.place}/in/a.csv"
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
    job = Job(aws, {}, source=source)
    job.ended()
    assert job.outputs() == {"a.csv.out": b"3\n"}


def test_objects_are_under_way_at_once_and_share_the_requests_that_are_allowed(aws: Server) -> None:
    objects = {f"2027-01-{day:02}/part-{part}.csv": table(1) for day in range(1, 5) for part in range(2)}
    job = Job(aws, objects, MaxConcurrentTransforms=3, Environment={"ECHO_SECONDS": "0.1"})
    assert job.ended()["TransformJobStatus"] == "Completed"
    assert job.outputs() == {f"{name}.out": b"1\n" for name in objects}
    assert 1 < max(request["at_work"] for request in job.requests()) <= 3


@pytest.mark.parametrize(("end", "outputs"), [("/", ["a.csv.out"]), ("", ["a.csv.out", "in-2/b.csv.out"])])
def test_a_prefix_without_its_slash_takes_more_than_the_folder(
    end: str, outputs: list[str], aws: Server
) -> None:
    for key in ("slash/in/a.csv", "slash/in-2/b.csv"):
        put(aws, key, b"1,2\n")
    source = {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/slash/in{end}"}}
    }
    job = Job(aws, {}, source=source)
    job.ended()
    assert list(job.outputs()) == outputs


def test_order_is_kept_when_requests_overlap(aws: Server) -> None:
    job = Job(
        aws,
        {"a.csv": table(60)},
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=4,
        Environment={"ECHO_SECONDS": "0.02"},
    )
    job.ended()
    assert job.outputs()["a.csv.out"] == b"".join(b"%d\n" % (row + 1) for row in range(60))
    requests = job.requests()
    assert [request["rows"] for request in requests] == [1] * 60
    assert 1 < max(request["at_work"] for request in requests) <= 4


def test_multi_record_packs_rows_up_to_the_payload_limit(aws: Server) -> None:
    line = b"1," + b"0" * 65533 + b"\n"
    job = Job(aws, {"a.csv": line * 40}, BatchStrategy="MultiRecord", MaxPayloadInMB=1)
    job.ended()
    assert job.outputs()["a.csv.out"] == b"1\n" * 40
    sizes = [request["rows"] for request in job.requests()]
    assert sizes == [16, 16, 8], "16 lines of 65,536 bytes are 1 MiB"
    assert max(request["bytes"] for request in job.requests()) <= 1 << 20
    job = Job(aws, {"a.csv": line * 40}, BatchStrategy="MultiRecord")
    job.ended()
    assert [request["rows"] for request in job.requests()] == [40], "6 MB unless the job says otherwise"


def test_the_container_says_how_it_wants_its_requests(aws: Server) -> None:
    wanted = {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1}
    job = Job(aws, {"a.csv": table(3)}, Environment={"ECHO_PARAMETERS": json.dumps(wanted)})
    job.ended()
    assert [request["rows"] for request in job.requests()] == [1, 1, 1]


def test_a_container_that_answers_nonsense_about_its_requests_fails_the_job(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1\n"}, Environment={"ECHO_PARAMETERS": "as you like"})
    assert job.ended()["FailureReason"].startswith("AlgorithmError: /execution-parameters: Expecting value")


def test_without_a_split_an_object_is_one_request(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1,2\n3,4"}, source={"SplitType": "None"}, output={"AssembleWith": "None"})
    job.ended()
    assert [request["rows"] for request in job.requests()] == [2]
    assert job.outputs() == {"a.csv.out": b"3\n7\n"}


def test_filters_choose_columns_and_the_join_takes_the_whole_row(aws: Server) -> None:
    rows = b'id1,"a, b",1,2,3\nid2,c,4,5,6\n'
    filters = {"InputFilter": "$[2:3]", "JoinSource": "Input"}
    job = Job(aws, {"a.csv": rows}, DataProcessing=filters)
    job.ended()
    assert job.requests()[0]["first"] == "1,2", "the end of a slice is included"
    assert job.outputs()["a.csv.out"] == b'id1,"a, b",1,2,3,3\nid2,c,4,5,6,9\n'
    job = Job(aws, {"a.csv": rows}, DataProcessing=filters | {"OutputFilter": "$[0,-1]"})
    job.ended()
    assert job.outputs()["a.csv.out"] == b"id1,3\nid2,9\n"


def test_a_bad_object_has_no_output_and_the_job_fails_in_the_containers_words(aws: Server) -> None:
    job = Job(aws, {"bad.csv": b"1,2\n3,four\n", "good.csv": b"1,2\n"})
    answer = job.ended()
    assert answer["TransformJobStatus"] == "Failed"
    assert (
        "bad.csv: Bad HTTP status received from algorithm: 400: row 2 is not numbers: 3,four"
        in (answer["FailureReason"])
    )
    assert answer["FailureReason"].endswith("(1 of 2 objects failed)")
    assert job.outputs() == {"good.csv.out": b"3\n"}


def test_a_row_that_a_filter_does_not_fit_is_named(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1,2,3\n4,5\n"}, DataProcessing={"InputFilter": "$[0,2]"})
    reason = job.ended()["FailureReason"]
    assert reason.endswith("a.csv: row 2: a filter asks for position 2, the row has 2 columns")


def test_predictions_that_are_not_one_a_row_cannot_be_joined(aws: Server) -> None:
    job = Job(
        aws, {"a.csv": b"1\n2\n"}, DataProcessing={"JoinSource": "Input"}, Environment={"ECHO_EXTRA": "1"}
    )
    assert "the container answered 3 rows for 2 records" in job.ended()["FailureReason"]
    assert job.outputs() == {}


def test_a_busy_container_is_asked_again(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1,2\n"}, Environment={"ECHO_FAIL_FIRST": "2"})
    assert job.ended()["TransformJobStatus"] == "Completed"
    assert len(job.requests()) == 3


def test_retries_end_as_asked(aws: Server) -> None:
    job = Job(
        aws,
        {"a.csv": b"1,2\n"},
        Environment={"ECHO_FAIL_FIRST": "9"},
        ModelClientConfig={"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 1},
    )
    assert "Bad HTTP status received from algorithm: 503: busy" in job.ended()["FailureReason"]
    assert len(job.requests()) == 2


def test_a_request_that_takes_too_long_fails_the_object(aws: Server) -> None:
    job = Job(
        aws,
        {"a.csv": b"1,2\n"},
        Environment={"ECHO_SECONDS": "3"},
        ModelClientConfig={"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0},
    )
    assert "the container did not answer" in job.ended()["FailureReason"]


def test_gzip_objects_are_unpacked(aws: Server) -> None:
    source = {"CompressionType": "Gzip"}
    job = Job(aws, {"a.csv.gz": gzip.compress(b"1,2\n3,4\n")}, source=source)
    job.ended()
    assert job.outputs() == {"a.csv.gz.out": b"3\n7\n"}
    job = Job(aws, {"a.csv.gz": b"1,2\n"}, source=source)
    assert "Not a gzipped file" in job.ended()["FailureReason"]


def test_the_container_has_the_model_and_both_environments(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1\n"})
    job.ended()
    assert "model weights.bin batch true colour red" in job.log()
    job = Job(aws, {"a.csv": b"1\n"}, Environment={"COLOUR": "blue"})
    job.ended()
    assert "model weights.bin batch true colour blue" in job.log()


def test_a_model_of_a_package_is_served(aws: Server) -> None:
    client, group = aws.client("sagemaker"), f"group-{uuid.uuid4().hex[:8]}"
    client.create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model/model.tar.gz"}
    types = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    package = client.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification={"Containers": [container]} | types
    )["ModelPackageArn"]
    containers = [{"ModelPackageName": package}]
    client.create_model(ModelName=group, ExecutionRoleArn=ROLE, Containers=containers)
    job = Job(aws, {"a.csv": b"1,2\n"}, ModelName=group)
    assert job.ended()["TransformJobStatus"] == "Completed"
    assert job.outputs() == {"a.csv.out": b"3\n"}


def test_a_container_that_dies_at_start_fails_the_job_with_its_last_words(aws: Server) -> None:
    job = Job(aws, {"a.csv": b"1\n"}, Environment={"ECHO_DIE": "3"})
    reason = job.ended()["FailureReason"]
    assert "exited with code 3 before it answered /ping; it last logged: cannot read the model" in reason
    assert "cannot read the model" in job.log()


def test_a_command_that_runs_no_module_is_a_process_of_its_own(aws: Server) -> None:
    container = {"Image": IMAGE.replace("echo", "script"), "ModelDataUrl": "s3://bucket/model/model.tar.gz"}
    aws.client("sagemaker").create_model(
        ModelName="script", ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    job = Job(aws, {"a.csv": b"1,2\n"}, ModelName="script")
    assert job.ended()["TransformJobStatus"] == "Completed"
    assert job.outputs() == {"a.csv.out": b"3\n"}
    job = Job(aws, {"a.csv": b"1\n"}, ModelName="script", Environment={"ECHO_DIE": "3"})
    assert "exited with code 3 before it answered /ping" in job.ended()["FailureReason"]


def test_no_objects_fail_the_job(aws: Server) -> None:
    job = Job(aws, {})
    assert (
        job.ended()["FailureReason"] == f"ClientError: No S3 objects found under s3://bucket/{job.place}/in/"
    )


@pytest.mark.parametrize("deaf", ["", "1"])
def test_a_job_leaves_no_process(aws: Server, deaf: str) -> None:
    job = Job(aws, {"a.csv": table(2)}, Environment={"ECHO_SECONDS": "0.3", "ECHO_DEAF": deaf})
    container = container_of(job)
    assert is_running(container)
    job.ended()
    assert until(lambda: not is_running(container))


@pytest.mark.parametrize("deaf", ["", "1"])
def test_a_job_that_is_stopped_within_a_request_kills_its_container(aws: Server, deaf: str) -> None:
    job = Job(aws, {"a.csv": b"1,2\n"}, Environment={"ECHO_SECONDS": "600", "ECHO_DEAF": deaf})
    container = container_of(job)
    until(lambda: "request {" in read(aws.state / "logs" / f"{job.name}.log"))
    job.client.stop_transform_job(TransformJobName=job.name)
    began = time.monotonic()
    assert job.ended()["TransformJobStatus"] == "Stopped"
    assert time.monotonic() - began < 20
    assert until(lambda: not is_running(container)) and job.outputs() == {}


@pytest.mark.parametrize(
    ("request_members", "sentence"),
    [
        (
            {"source": {"SplitType": "RecordIO"}},
            "SplitType RecordIO is not supported here, only Line and None",
        ),
        (
            {"DataProcessing": {"InputFilter": "$[?(@.a)]"}},
            "'$[?(@.a)]' is not supported by the local AWS, only the forms $, $[0,-1] and $[1:4] are",
        ),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "output": {"AssembleWith": "None"}},
            "filters and JoinSource need SplitType and AssembleWith Line, got Line and None",
        ),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "output": {"Accept": "application/jsonlines"}},
            "filters and JoinSource take text/csv only, got 'application/jsonlines'",
        ),
        ({"MaxConcurrentTransforms": 20, "MaxPayloadInMB": 6}, "is 120, the limit is 100"),
    ],
)
def test_what_the_local_aws_does_not_do_is_refused_by_name(
    aws: Server, request_members: dict, sentence: str
) -> None:
    try:
        reason = Job(aws, {"a.csv": b"1\n"}, **request_members).ended()["FailureReason"]
    except ClientError as error:
        reason = str(error)
    assert sentence in reason


def test_an_object_is_read_no_further_than_the_requests_under_way() -> None:
    class Container(Endpoint):
        def invoke(self, body: bytes) -> bytes:
            return body

    consumed = []
    rows = (consumed.append(row) or b"%d\n" % row for row in range(1000))
    limits = Limits(at_once=2, payload_bytes=1 << 20, split=True, single=True)
    with ThreadPoolExecutor(2) as pool:
        container = Container("http://nowhere", 1, 0, {})
        written = transformed(rows, container, Processing(), limits, assemble_lines=True, pool=pool)
        assert next(written) == b"0\n"
        assert len(consumed) <= 4
        assert b"".join(written) == b"".join(b"%d\n" % row for row in range(1, 1000))


MIB = Limits(at_once=1, payload_bytes=1 << 20, split=True, single=False)


@pytest.mark.parametrize(
    ("limits", "what"),
    [(MIB, "row 2"), (replace(MIB, single=True), "row 2"), (replace(MIB, split=False), "the object")],
)
def test_what_is_larger_than_a_request_may_be_is_refused(limits: Limits, what: str) -> None:
    lines = [b"1\n", b"0" * (1 << 20) + b"0\n"]
    with pytest.raises(BadObject, match=f"{what} has 1,048,5.. bytes, MaxPayloadInMB allows 1 MB a request"):
        list(batches(lines, Processing(), limits))


def test_a_row_of_a_long_object_has_its_own_number() -> None:
    lines = [b"1,2,3\n"] * 2499 + [b"4,5\n"]
    with pytest.raises(BadObject, match="row 2500: a filter asks for position 2, the row has 2 columns"):
        list(batches(lines, Processing(input_filter="$[0,2]"), MIB))


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (413, 1), (429, 3), (500, 3), (503, 3)])
def test_only_a_container_that_may_do_better_is_asked_again(
    status: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    class Pool:
        def request(self, method: str, url: str, body: bytes, **more: object) -> HTTPResponse:
            sent.append(body)
            return HTTPResponse(b"no", status=status)

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(BadObject, match=f"{status}: no"):
        Endpoint("http://nowhere", 1, 2, {}, Pool()).invoke(b"1,2")
    assert sent == [b"1,2"] * requests
