"""What happens to the compiled pipeline when spot capacity, the API or a step fails, seen through the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from ml_pipeline import local, results, settings, storage, upsert
from ml_pipeline.steps.register import register

ENDED = ("Succeeded", "Failed", "Stopped")


@dataclass(frozen=True)
class Deployed:
    """A generated project whose pipeline is upserted in a running local AWS."""

    endpoint: str
    settings: settings.Settings
    raw_data_uri: str

    def fault(self, **fault: Any) -> None:
        body = json.dumps(fault).encode()
        request = urllib.request.Request(f"{self.endpoint}/local-aws/faults", body, method="POST")
        urllib.request.urlopen(request).close()

    def execute(self) -> str:
        """ARN of an execution that has ended."""
        arn = boto3.client("sagemaker").start_pipeline_execution(
            PipelineName=f"{self.settings.prefix}-train",
            PipelineParameters=[{"Name": "RawDataUri", "Value": self.raw_data_uri}],
        )["PipelineExecutionArn"]
        return self.ended(arn)

    def ended(self, arn: str) -> str:
        while self.status(arn) not in ENDED:
            time.sleep(0.3)
        return arn

    def status(self, arn: str) -> str:
        return boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)[
            "PipelineExecutionStatus"
        ]

    def step(self, arn: str, name: str) -> dict[str, Any]:
        return next(ran.step for ran in results.steps(arn) if ran.step["StepName"] == name)

    def artefact(self, arn: str, place: str) -> bytes:
        return storage.read_bytes(self.settings.uri(arn.rpartition("/")[2], *place.split("/")))


@pytest.fixture(scope="module")
def deployed(make_project, tmp_path_factory) -> Iterator[Deployed]:
    project: Path = make_project()
    text = (project / "settings.toml").read_text()
    changes = (
        ("trials = 4", "trials = 0"),
        ("checkpoint_rounds = 150", "checkpoint_rounds = 20"),
        # Rounds enough that a fault in round 45 is met long before the last one, on a busy machine too.
        ("num_round = 400", "num_round = 700"),
        ("early_stopping_rounds = 30 ", "early_stopping_rounds = 700 "),
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (project / "settings.toml").write_text(text)
    wanted = settings.load("local", project / "settings.toml")
    state = tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "local_aws", "--port", "0", "--state", str(state)]
    command += ["--region", wanted.region]
    quick = os.environ | {"LOCAL_AWS_RETRY_WAIT_SCALE": "0.01"}
    with pytest.MonkeyPatch.context() as patch:
        server = subprocess.Popen(command, cwd=project, env=quick, stdout=subprocess.PIPE, text=True)
        try:
            yield _upserted(server.stdout.readline().split()[-1], wanted, project, patch)
        finally:
            server.terminate()
            server.wait(30)


def _upserted(endpoint: str, wanted: settings.Settings, project: Path, patch: pytest.MonkeyPatch) -> Deployed:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "LOCALAWSLOCALAWSLOCA",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": wanted.region,
    }.items():
        patch.setenv(name, value)
    made = upsert.resolved(wanted, local.ACCOUNT)
    local.prepare(made)
    upsert.upsert(made, ("train",))
    uri = f"s3://{made.bucket}/raw/2026-01-05/sample.csv"
    storage.upload(project / "data/sample.csv", uri)
    return Deployed(endpoint, made, uri)


@pytest.fixture(scope="module")
def undisturbed(deployed) -> str:
    arn = deployed.execute()
    assert deployed.status(arn) == "Succeeded"
    return arn


def test_a_spot_interruption_changes_no_byte_of_the_model(deployed, undisturbed):
    deployed.fault(kind="interrupt", job_prefix=f"{deployed.settings.prefix}-train", after_log=r"^\[45\]")
    arn = deployed.execute()
    job = boto3.client("sagemaker").describe_training_job(
        TrainingJobName=results.job_name(deployed.step(arn, "Train"))
    )
    log = results.log_lines(deployed.step(arn, "Train"))
    assert deployed.status(arn) == "Succeeded"
    assert "Interrupted" in [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    resumed = [int(line.split()[3]) for line in log if line.startswith("Train: resumed after ")]
    assert len(resumed) == 1 and 40 <= resumed[0] < 700 and resumed[0] % 20 == 0
    assert sum(line.startswith("[0]\t") for line in log) == 1
    assert deployed.artefact(arn, "train/model.tar.gz") == deployed.artefact(
        undisturbed, "train/model.tar.gz"
    )


def test_an_execution_never_resumes_from_another_ones_checkpoints(deployed, undisturbed):
    arn = deployed.execute()
    rounds = [line for line in results.log_lines(deployed.step(arn, "Train")) if line.startswith("[0]\t")]
    places = {
        uri.split("/")[4] for uri, _ in storage.list_uris(f"s3://{deployed.settings.bucket}/checkpoints/")
    }
    assert len(rounds) == 1
    assert {arn.rpartition("/")[2], undisturbed.rpartition("/")[2]} <= places


def test_every_job_of_the_graph_is_tried_again_when_it_is_not_its_own_fault(deployed):
    name = f"{deployed.settings.prefix}-train"
    answer = boto3.client("sagemaker").describe_pipeline(PipelineName=name)
    steps = [step for step in json.loads(answer["PipelineDefinition"])["Steps"] if step["Type"] == "Training"]
    assert [step["Name"] for step in steps] == ["Process", "Tune", "Train", "Transform", "Evaluate", "Bias"]
    for step in steps:
        assert {kind for policy in step["RetryPolicies"] for kind in policy["ExceptionType"]} == {
            "Step.SERVICE_FAULT",
            "Step.THROTTLING",
            "SageMaker.JOB_INTERNAL_ERROR",
            "SageMaker.CAPACITY_ERROR",
        }


def test_throttling_service_errors_and_lost_machines_are_retried_by_the_policies_of_the_steps(deployed):
    # Four API errors: SageMaker by itself, without a policy, retries three.
    deployed.fault(kind="throttle", operation="CreateTrainingJob", times=2)
    deployed.fault(kind="error", operation="CreateTrainingJob", times=2)
    evaluation = f"{deployed.settings.prefix}-evaluate"
    # A job replaces a lost machine once by itself.
    deployed.fault(kind="internal_error", job_prefix=evaluation, after_seconds=0.01, times=2)
    arn = deployed.execute()
    assert deployed.status(arn) == "Succeeded"
    assert deployed.step(arn, "Process")["AttemptCount"] == 5
    assert deployed.step(arn, "Evaluate")["AttemptCount"] == 2


def test_a_retried_execution_keeps_what_succeeded_and_registers_once(deployed):
    deployed.fault(kind="error", operation="CreateTransformJob", times=50)
    arn = deployed.execute()
    train = deployed.step(arn, "Train")
    assert deployed.status(arn) == "Failed"
    assert deployed.step(arn, "Transform")["StepStatus"] == "Failed"
    urllib.request.urlopen(
        urllib.request.Request(f"{deployed.endpoint}/local-aws/faults", method="DELETE")
    ).close()
    boto3.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn)
    deployed.ended(arn)
    assert deployed.status(arn) == "Succeeded"
    assert deployed.step(arn, "Train")["StartTime"] == train["StartTime"]
    folder = deployed.settings.uri(arn.rpartition("/")[2], "register")
    arguments = storage.read_json(f"{folder}/arguments.json")
    # As when the job's machine is lost after it has registered: the step runs again.
    assert register(**arguments, settings=deployed.settings) == storage.read_json(f"{folder}/result.json")
    pages = (
        boto3.client("sagemaker")
        .get_paginator("list_model_packages")
        .paginate(ModelPackageGroupName=deployed.settings.prefix)
    )
    model_uri = deployed.settings.uri(arn.rpartition("/")[2], "train", "model.tar.gz")
    packages = [
        boto3.client("sagemaker").describe_model_package(ModelPackageName=package["ModelPackageArn"])
        for page in pages
        for package in page["ModelPackageSummaryList"]
    ]
    assert [package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] for package in packages].count(
        model_uri
    ) == 1


def test_the_aws_cli_starts_the_pipeline_and_sees_its_steps(deployed, aws_cli):
    def aws(*arguments: str) -> Any:
        command = [aws_cli, "--endpoint-url", deployed.endpoint, "sagemaker", *arguments]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    name = f"{deployed.settings.prefix}-train"
    parameter = f"Name=RawDataUri,Value={deployed.raw_data_uri}"
    started = aws("start-pipeline-execution", "--pipeline-name", name, "--pipeline-parameters", parameter)
    arn = deployed.ended(started["PipelineExecutionArn"])
    listed = aws(
        "list-pipeline-execution-steps", "--pipeline-execution-arn", arn, "--sort-order", "Ascending"
    )
    assert [step["StepName"] for step in listed["PipelineExecutionSteps"]][-2:] == ["Gate", "Register"]
    assert {step["StepStatus"] for step in listed["PipelineExecutionSteps"]} == {"Succeeded"}
