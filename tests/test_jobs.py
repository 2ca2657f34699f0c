"""Training jobs of the local AWS: function steps, checkpoints, interruptions, stops, limits and logs."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from conftest import IMAGE, ROLE
from local_api import BUCKET, Local
from local_aws import faults, jobs, transfer
from local_aws.joblog import Metrics
from local_aws.transfer import Checkpoints, TransferError, name_below

pytest_plugins = ["in_process"]

TESTS = Path(__file__).parent
CONFIG = """
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
      RemoteFunction:
        IncludeLocalWorkDir: true
"""
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
ALWAYS_RESULTS = ["--serialize_output_to_json", "true"]


@pytest.fixture(scope="module")
def compiled(session_local: Local, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Requests by function of `job_steps`, compiled by the SDK in a project of their own."""
    project = tmp_path_factory.mktemp("project")
    (project / "ml_pipeline").mkdir()
    (project / "ml_pipeline" / "__init__.py").touch()
    shutil.copy(TESTS / "job_steps.py", project / "ml_pipeline")
    config = tmp_path_factory.mktemp("config") / "config.yaml"
    config.write_text(CONFIG)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(project),
        "PYTHONPATH": str(project),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
        "AWS_ENDPOINT_URL": session_local.api.endpoint,
        "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": session_local.api.region,
    }
    command = [sys.executable, str(TESTS / "compile_steps.py"), BUCKET, ROLE, IMAGE]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def request_of(compiled: dict[str, dict], request: pytest.FixtureRequest) -> Callable[..., dict]:
    """The request of a function, with an output and a job name of this test's own."""

    def make(function: str, **changes: object) -> dict:
        made = copy.deepcopy(compiled[function])
        name = request.node.name.replace("test_", "").replace("_", "-")[:55]
        made["TrainingJobName"] = f"{name}-{function.replace('_', '-')}"[:63]
        made["AlgorithmSpecification"]["ContainerArguments"] += ALWAYS_RESULTS
        if function == "counts":
            made["CheckpointConfig"]["S3Uri"] = f"s3://{BUCKET}/checkpoints/{name}/"
        return made | changes

    return make


def spot(request: dict) -> dict:
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
    return request | {"EnableManagedSpotTraining": True, "StoppingCondition": stopping}


def result(local: Local, record: dict) -> dict:
    return json.loads(local.get(f"{record['OutputDataConfig']['S3OutputPath']}/results.json"))["Result"]


def statuses(record: dict) -> list[str]:
    return [transition["Status"] for transition in record["SecondaryStatusTransitions"]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_step_works_as_its_role_where_iam_is_enforced(local, request_of, monkeypatch):
    monkeypatch.setattr(local.api, "enforce_iam", True)
    pull = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    local.api.client("iam").put_role_policy(
        RoleName=ROLE.rpartition("/")[2],
        PolicyName="pull",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [pull]}),
    )
    record = local.run(request_of("asks_who_it_is"))
    name = ROLE.rpartition("/")[2]
    assert result(local, record)["arn"] == f"arn:aws:sts::123456789012:assumed-role/{name}/SageMaker"


def test_a_step_runs_in_its_unpacked_workspace_and_cannot_import_the_checkout(local, request_of):
    record = local.run(request_of("tells"))
    told = result(local, record)
    workspace = local.api.state.folder / "jobs" / record["TrainingJobName"] / "work"
    assert Path(told["folder"]) == workspace / "sagemaker_remote_function_workspace"
    assert Path(told["file"]) == Path(told["folder"], "ml_pipeline", "job_steps.py")
    assert told["checkout"] == []
    assert told["path"][0] == told["folder"]


def test_a_completed_job_goes_through_all_statuses_and_leaves_no_folder(local, request_of):
    record = local.run(request_of("tells"))
    assert record["TrainingJobStatus"] == record["SecondaryStatus"] == "Completed"
    assert statuses(record) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    times = [transition["StartTime"] for transition in record["SecondaryStatusTransitions"]]
    assert times == sorted(times)
    assert record["CreationTime"] <= record["TrainingStartTime"] <= record["TrainingEndTime"]
    assert record["TrainingTimeInSeconds"] == record["BillableTimeInSeconds"] >= 1
    assert not (local.api.state.folder / "jobs" / record["TrainingJobName"]).exists()


def test_a_jobs_environment_is_its_own_and_nothing_of_the_users(local, request_of, monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "https_proxy", "PYTHONPATH"):
        monkeypatch.setenv(name, "of-the-user")
    request = request_of("tells")
    request["Environment"]["OWN"] = "value"
    record = local.run(request)
    environment = result(local, record)["environment"]
    assert environment["OWN"] == "value"
    assert environment["TRAINING_JOB_NAME"] == record["TrainingJobName"]
    assert environment["AWS_ENDPOINT_URL"] == local.api.endpoint
    assert "of-the-user" not in environment.values()


def test_a_step_that_raises_fails_with_its_error_and_its_traceback_in_the_log(local, request_of):
    record = local.run(request_of("raises"))
    name = record["TrainingJobName"]
    assert record["TrainingJobStatus"] == record["SecondaryStatus"] == "Failed"
    reason = "AlgorithmError: ValueError('the column salary is absent'), exit code: 1"
    assert record["FailureReason"] == reason
    folder = local.api.state.folder / "jobs" / name / "work" / "sagemaker_remote_function_workspace"
    assert f'File "{folder}/ml_pipeline/job_steps.py"' in local.log(name)


def test_a_step_that_leaves_no_result_fails(local, request_of):
    record = local.run(request_of("leaves"))
    assert record["TrainingJobStatus"] == "Failed"
    assert "the step left no result" in record["FailureReason"]
    assert record["FailureReason"].endswith("payload.pkl does not exist, exit code: 0")


def test_a_step_that_calls_sys_exit_fails_with_what_it_called(local, request_of):
    """The SDK's entry point exits with 0 in its place."""
    record = local.run(request_of("exits"))
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"] == (
        "AlgorithmError: the step left no result: it called sys.exit(3); a step must return its result, "
        "or raise, exit code: 0"
    )


def test_a_steps_log_tells_nothing_of_the_local_endpoint(local, request_of):
    log = local.log(local.run(request_of("tells"))["TrainingJobName"])
    assert "Invoking the function" in log
    assert "botocore" not in log


def test_what_a_step_started_ends_with_it(local, request_of):
    record = local.run(request_of("leaves_a_child"))
    assert record["TrainingJobStatus"] == "Completed"
    assert not alive(result(local, record)["pid"])


def test_a_killed_step_fails_with_the_signals_name(local, request_of):
    record = local.run(request_of("is_killed"))
    assert record["TrainingJobStatus"] == "Failed"
    assert "killed by SIGKILL" in record["FailureReason"]
    assert record["FailureReason"].endswith("exit code: 137")


def test_a_step_compiled_with_another_python_fails_before_it_runs(local, request_of):
    request = request_of("tells")
    arguments = request["AlgorithmSpecification"]["ContainerArguments"]
    arguments[arguments.index("--client_python_version") + 1] = "3.8"
    record = local.run(request)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    reason = f"compiled with Python 3.8, its container has {here}: use one version for both, exit code: 1"
    assert record["FailureReason"] == f"AlgorithmError: RuntimeEnvironmentError: the step was {reason}"
    assert "a line" not in local.log(record["TrainingJobName"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ContainerEntrypoint": ["python", "train.py"]}, "python"),
        ({"ContainerArguments": ["--distribution", "torchrun"]}, "--distribution"),
        ({"TrainingInputMode": "FastFile"}, "FastFile"),
    ],
)
def test_what_a_training_job_cannot_do_here_is_refused_by_name(local, request_of, change, named):
    request = request_of("tells")
    request["AlgorithmSpecification"] |= change
    request["TrainingJobName"] = f"refused-{len(named)}"
    record = local.run(request)
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"].startswith("ClientError: ")
    assert named in record["FailureReason"]


def test_an_absent_input_fails_the_job_with_its_uri(local, request_of):
    request = request_of("tells")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{BUCKET}/nowhere/"
    record = local.run(request)
    assert f's3://{BUCKET}/nowhere/"' in record["FailureReason"]
    assert "Training" not in statuses(record)


def test_an_interrupted_spot_job_goes_on_from_its_checkpoints(local, request_of):
    request = spot(request_of("counts"))
    prefix = request["TrainingJobName"]
    jobs.inject(local.api, {"kind": "interrupt", "job_prefix": prefix, "after_log": r"^\[7\]"})
    record = local.run(request)
    assert record["TrainingJobStatus"] == "Completed"
    assert statuses(record) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert 7 <= result(local, record)["began"] < 20


def test_a_job_that_is_not_on_spot_is_never_interrupted(local, request_of):
    jobs.inject(local.api, {"kind": "interrupt", "after_log": r"^\[7\]"})
    record = local.run(request_of("counts"))
    assert "Interrupted" not in statuses(record)
    assert result(local, record)["began"] == 0


def test_checkpoints_deleted_by_the_step_are_deleted_in_s3(local, request_of):
    request = request_of("counts")
    prefix = request["CheckpointConfig"]["S3Uri"].removeprefix(f"s3://{BUCKET}/")
    local.put(f"{prefix}16", b"16")
    record = local.run(request)
    assert result(local, record)["began"] == 16
    assert local.keys(prefix) == [f"{prefix}19", f"{prefix}20"]


def test_checkpoints_replaced_faster_than_they_go_up_are_in_s3_all_the_same(local, tmp_path):
    folder, over, newest = tmp_path / "checkpoints", threading.Event(), 0
    folder.mkdir()

    def replace() -> None:
        nonlocal newest
        while not over.is_set():
            (folder / str(newest + 1)).write_text("")
            (folder / str(newest - 1)).unlink(missing_ok=True)
            newest += 1

    saved = Checkpoints(local.s3, folder, f"s3://{BUCKET}/checkpoints/hasty/")
    job = threading.Thread(target=replace)
    job.start()
    try:
        while not newest:
            time.sleep(0.001)
        for _ in range(20):
            written = newest
            saved.sync()
            kept = [int(key.rpartition("/")[2]) for key in local.keys("checkpoints/hasty/")]
            assert max(kept, default=-1) >= written
            assert len(kept) <= 3
    finally:
        over.set()
        job.join()


def test_a_job_whose_checkpoints_cannot_be_told_fails_and_leaves_no_process(local, request_of, monkeypatch):
    uri = f"s3://{BUCKET}/checkpoints/untold/"
    name = local.create(request_of("waits", CheckpointConfig={"S3Uri": uri}))
    pids = [int(word) for word in local.await_line(name, "pids ").split()[1:]]
    monkeypatch.setattr(transfer, "LISTINGS", 0)
    record = local.ended(name)
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"].startswith(f"ClientError: {uri}: in each of 0 listings of the checkpoint")
    assert not any(map(alive, pids))


def test_a_folder_that_loses_a_file_in_every_listing_is_given_up(local, tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "1").touch()
    saved = Checkpoints(local.s3, tmp_path / "checkpoints", f"s3://{BUCKET}/checkpoints/gone/")
    tries = []

    def link(path: Path, _: Path) -> None:
        tries.append(path)
        raise FileNotFoundError(path)

    with monkeypatch.context() as patch:
        patch.setattr(transfer.os, "link", link)
        with pytest.raises(TransferError, match="in each of 1,000 listings of the checkpoint folder"):
            saved.sync()
    assert len(tries) == transfer.LISTINGS
    saved.sync()
    assert local.keys("checkpoints/gone/") == ["checkpoints/gone/1"]


@pytest.mark.parametrize(("lost", "status"), [(1, "Completed"), (2, "Failed")])
def test_a_lost_instance_is_replaced_as_often_as_retries_allow(local, request_of, lost, status):
    request = request_of("counts", RetryStrategy={"MaximumRetryAttempts": 1})
    request["TrainingJobName"] = f"lost-{lost}"
    request["CheckpointConfig"]["S3Uri"] = f"s3://{BUCKET}/checkpoints/lost-{lost}/"
    fault = {"kind": "internal_error", "job_prefix": "lost-", "after_seconds": 0.3, "times": lost}
    jobs.inject(local.api, fault)
    record = local.run(request)
    assert record["TrainingJobStatus"] == status
    assert statuses(record).count("Restarting") == 1
    assert record.get("FailureReason", "").startswith("InternalServerError" if status == "Failed" else "")


def test_a_stopped_job_keeps_its_artefact_and_leaves_no_process(local, request_of, monkeypatch):
    monkeypatch.setattr(jobs, "STOP_GRACE_SECONDS", 0.3)
    request = request_of("waits")
    name = local.create(request)
    pids = [int(word) for word in local.await_line(name, "pids ").split()[1:]]
    assert all(map(alive, pids))
    local.stop(name)
    record = local.ended(name)
    assert record["TrainingJobStatus"] == record["SecondaryStatus"] == "Stopped"
    assert not any(map(alive, pids))
    archive = local.get(f"{record['OutputDataConfig']['S3OutputPath']}/{name}/output/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.extractfile("partial").read() == b"half a model"


def test_a_job_is_stopped_when_its_runtime_is_over(local, request_of, monkeypatch):
    monkeypatch.setattr(jobs, "STOP_GRACE_SECONDS", 0.1)
    record = local.run(request_of("waits", StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert record["TrainingJobStatus"] == "Stopped"
    assert record["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert 1 <= record["TrainingEndTime"] - record["TrainingStartTime"] < 5


def test_the_whole_log_is_in_cloudwatch_when_a_job_has_ended(local, request_of):
    name = local.create(request_of("counts"))
    local.ended(name)
    logs, group = local.api.client("logs"), "/aws/sagemaker/TrainingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    assert stream["logStreamName"].startswith(f"{name}/algo-1-")
    events = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
    )
    lines = [event["message"] for event in events["events"]]
    assert lines == [line for line in local.log(name).splitlines() if line]
    assert [line for line in lines if line.startswith("[")][-1] == "[20] loss:0.05"


def test_metric_definitions_give_each_value_in_order_and_the_last_as_final(local, request_of):
    request = request_of("counts")
    definitions = [{"Name": "loss", "Regex": r"loss:([0-9.e-]+)"}]
    request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    record = local.run(request)
    assert record["_metrics"] == {"loss": [pytest.approx(1 / number) for number in range(1, 21)]}
    assert [(item["MetricName"], item["Value"]) for item in record["FinalMetricDataList"]] == [("loss", 0.05)]


@pytest.mark.parametrize(
    "regex", [r".*\[[0-9]+\].*#011validation-auc:(\S+)", r"\[\d+\].*validation-auc:([-+0-9.eE]+)"]
)
def test_a_metric_is_found_with_a_tab_and_with_the_tab_as_cloudwatch_writes_it(regex):
    metrics = Metrics([{"Name": "auc", "Regex": regex}], xgboost=False)
    metrics.read(["[0]\ttrain-auc:0.9\tvalidation-auc:0.75", "no metric", "[1]\tvalidation-auc:nan"])
    assert metrics.history == {"auc": [0.75]}


def test_xgboosts_metrics_are_implicit_and_counted_once():
    metrics = Metrics([{"Name": "validation:auc", "Regex": "validation-auc:(.*)"}], xgboost=True)
    metrics.read(["[0]\ttrain-auc:0.9\tvalidation-auc:0.75", "[1]\ttrain-auc:1\tvalidation-auc:8e-1"])
    assert metrics.history == {"train:auc": [0.9, 1.0], "validation:auc": [0.75, 0.8]}


def test_no_job_outlives_a_killed_server(new_server):
    server = new_server("--fresh")
    s3, name = server.client("s3"), "orphan"
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="train/data.csv", Body=b"1,2\n0,1\n" * 50)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}}
    server.client("sagemaker").create_training_job(
        TrainingJobName=name,
        HyperParameters={"num_round": "1000000", "objective": "binary:logistic"},
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        InputDataConfig=[{"ChannelName": "train", "DataSource": source, "ContentType": "text/csv"}],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    folder = server.state / "jobs" / name
    await_that(lambda: processes_in(folder))
    server.end(signal.SIGKILL)
    await_that(lambda: not processes_in(folder))


def processes_in(folder: Path) -> list[int]:
    """Those whose working directory it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [int(process.name)] if (process / "cwd").resolve() == folder.resolve() else []
    return found


def await_that(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_stop_all_ends_every_job(local, request_of, monkeypatch):
    monkeypatch.setattr(jobs, "LAST_GRACE_SECONDS", 0.1)
    name = local.create(request_of("waits"))
    pids = [int(word) for word in local.await_line(name, "pids ").split()[1:]]
    jobs.stop_all(local.api)
    assert local.api.state.get("TrainingJob", name)["TrainingJobStatus"] == "Stopped"
    assert not any(map(alive, pids))


def test_a_step_costs_little_more_than_its_own_time(local, request_of):
    local.run(request_of("tells") | {"TrainingJobName": "warm-up"})
    begun = time.monotonic()
    local.run(request_of("tells") | {"TrainingJobName": "measured"})
    assert time.monotonic() - begun < 3


def test_an_api_fault_happens_as_often_as_ordered(local):
    jobs.inject(local.api, {"kind": "throttle", "operation": "CreateTrainingJob", "times": 2})
    answers = [jobs.fault_for(each) for each in ("CreateModel", *["CreateTrainingJob"] * 3)]
    throttled = ("ThrottlingException", "Rate exceeded")
    assert answers == [None, throttled, throttled, None]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "earthquake"},
        {"kind": "throttle"},
        {"kind": "interrupt"},
        {"kind": "interrupt", "after_log": "x", "after": 1},
        {"kind": "error", "operation": "CreateModel", "times": 0},
        {},
    ],
)
def test_a_fault_that_cannot_happen_is_refused(local, fault):
    with pytest.raises(ValueError, match=r"kind|needs|members|times"):
        jobs.inject(local.api, fault)
    assert faults._faults == []


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("in/train/", "in/train/a/b.csv", "a/b.csv"),
        ("in/train", "in/train/b.csv", "b.csv"),
        ("in/tra", "in/train/b.csv", "train/b.csv"),
        ("in/data.csv", "in/data.csv", "data.csv"),
        ("", "data.csv", "data.csv"),
    ],
)
def test_a_channels_files_are_named_below_its_prefix(prefix, key, name):
    assert name_below(prefix, key) == name


def test_a_key_that_leads_out_of_its_channel_is_refused(local, request_of):
    request = request_of("tells")
    local.put("evil/../../escape", b"x")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{BUCKET}/evil/"
    record = local.run(request)
    assert record["TrainingJobStatus"] == "Failed"
    assert "escape" in record["FailureReason"]
    with pytest.raises(ClientError):
        local.s3.head_object(Bucket=BUCKET, Key="escape")
