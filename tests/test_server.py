"""The server: who it answers, what it refuses, and a state that outlives it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from conftest import Server, child_environment, refused
from local_requests import (
    make_pipeline,
    training_request,
)


def test_an_operation_that_is_not_supported_is_refused_by_name(server: Server) -> None:
    with pytest.raises(ClientError, match=r"\(UnknownOperationException\).*ListNotebookInstances"):
        server.client("sagemaker").list_notebook_instances()


@pytest.mark.parametrize(
    ("service", "method"),
    [("dynamodb", "list_tables"), ("lambda", "list_functions"), ("redshift", "describe_clusters")],
)
def test_a_service_that_is_not_answered_is_refused_by_name(server: Server, service: str, method: str) -> None:
    with pytest.raises(ClientError, match=f"does not answer {service}; it answers sagemaker, s3"):
        getattr(server.client(service), method)()


@pytest.mark.parametrize(
    ("service", "method"),
    [
        ("sts", "get_caller_identity"),
        ("iam", "list_roles"),
        ("logs", "describe_log_groups"),
        ("cloudwatch", "list_metrics"),
        ("events", "list_rules"),
        ("ecr", "describe_repositories"),
        ("cloudformation", "list_stacks"),
        ("codeconnections", "list_connections"),
        ("codepipeline", "list_pipelines"),
        ("scheduler", "list_schedules"),
        ("sns", "list_topics"),
        ("sqs", "list_queues"),
    ],
)
def test_the_services_around_sagemaker_answer(server: Server, service: str, method: str) -> None:
    assert getattr(server.client(service), method)()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_fault_on_order_happens_as_often_as_ordered(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
    order = {"kind": "throttle", "operation": "DescribeModel"}
    connection.request("POST", "/local-aws/faults", json.dumps(order))
    assert connection.getresponse().status == 200
    with pytest.raises(ClientError, match="ThrottlingException"):
        sagemaker.describe_model(ModelName="none")
    with pytest.raises(ClientError, match="ValidationException"):
        sagemaker.describe_model(ModelName="none")


def test_nothing_listens_beyond_loopback(server: Server) -> None:
    port = int(server.endpoint.rpartition(":")[2])
    assert server.endpoint == f"http://127.0.0.1:{port}"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=1):
        pass


def test_a_port_in_use_is_one_line_and_exit_2(server: Server, tmp_path: Path) -> None:
    port = server.endpoint.rpartition(":")[2]
    code, log = refused(tmp_path, "--port", port)
    assert code == 2
    assert (
        log == f"local AWS: port {port} cannot be used (Address already in use): choose another with --port\n"
    )


def test_the_next_server_has_every_record(new_server: Callable[..., Server]) -> None:
    first = new_server()
    sagemaker, pipeline = first.client("sagemaker"), make_pipeline(first)
    sagemaker.create_model_package_group(ModelPackageGroupName="group")
    sagemaker.create_model_package(ModelPackageGroupName="group", ModelApprovalStatus="Approved")
    before = sagemaker.describe_pipeline(PipelineName=pipeline)
    assert first.end() == 0
    sagemaker = new_server().client("sagemaker")
    after = sagemaker.describe_pipeline(PipelineName=pipeline)
    assert without_metadata(after) == without_metadata(before)
    listed = sagemaker.list_model_packages(ModelPackageGroupName="group")["ModelPackageSummaryList"]
    assert [(each["ModelPackageVersion"], each["ModelApprovalStatus"]) for each in listed] == [
        (1, "Approved")
    ]
    assert sagemaker.create_model_package(ModelPackageGroupName="group")["ModelPackageArn"].endswith("/2")


def without_metadata(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def test_what_ran_when_the_server_was_killed_is_failed_with_the_reason(
    new_server: Callable[..., Server],
) -> None:
    first = new_server()
    sagemaker, request = first.client("sagemaker"), training_request()
    sagemaker.create_training_job(**request)
    sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"])
    state = first.state / "records.json"
    while not state.exists():
        time.sleep(0.01)
    first.end(signal.SIGKILL)
    records = json.loads(state.read_text())
    for _, record in records["records"]:
        record["TrainingJobStatus"] = "InProgress"
        record.pop("FailureReason", None)
    state.write_text(json.dumps(records))
    described = (
        new_server().client("sagemaker").describe_training_job(TrainingJobName=request["TrainingJobName"])
    )
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "The local AWS ended while this was running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_a_server_is_exit_0_and_leaves_no_process(
    new_server: Callable[..., Server], number: signal.Signals
) -> None:
    server = new_server()
    assert server.end(number) == 0
    time.sleep(0.2)
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    assert [row for row in rows if row[0] == str(server.process.pid) and "Z" not in row[1]] == []


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; command = [sys.executable, '-m', 'local_aws', '--port', '0',"
        "'--until-stdin-closes']; server = subprocess.Popen(command, stdin=subprocess.PIPE,"
        "stdout=subprocess.PIPE, text=True);"
        "print(server.stdout.readline().split()[-1], server.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    endpoint, process = parent.stdout.readline().split()
    port = int(endpoint.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port)).close()
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_fresh_forgets_what_was_there(new_server: Callable[..., Server]) -> None:
    first = new_server()
    first.client("sagemaker").create_model_package_group(ModelPackageGroupName="group")
    first.client("s3").create_bucket(Bucket="bucket")
    first.end()
    fresh = new_server("--fresh")
    assert fresh.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert fresh.client("s3").list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("records.json", '{"format": 99, "records": []}', "has format 99, this version reads 1"),
        ("records.json", '{"format"', "is not readable"),
        ("objects.pickle", '{"format": 99}\n', "was written by"),
    ],
)
def test_a_state_of_another_version_is_refused_with_the_remedy(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / file).write_text(text)
    code, log = refused(tmp_path, "--port", "0")
    assert code == 2
    assert message in log
    assert f"start with --fresh or delete {tmp_path / 'state'}" in log
    assert (tmp_path / "state" / file).read_text() == text


def test_a_state_folder_in_use_is_refused_and_left_to_its_server(new_server: Callable[..., Server]) -> None:
    first = new_server()
    first.client("s3").create_bucket(Bucket="held")
    code, log = refused(first.state.parent, "--port", "0", "--fresh")
    assert code == 2
    assert f"{first.state} is in use by another local AWS: wait until it ends" in log
    assert [bucket["Name"] for bucket in first.client("s3").list_buckets()["Buckets"]] == ["held"]
    assert first.end() == 0
    assert new_server().client("s3").list_buckets()["Buckets"][0]["Name"] == "held"
