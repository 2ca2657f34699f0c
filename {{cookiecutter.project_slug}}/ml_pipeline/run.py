"""The commands that work on the local AWS: run, approve, definition."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_pipeline import parameters as pipeline_parameters
from ml_pipeline.errors import InputError
from ml_pipeline.local import ACCOUNT, STATE, LocalAws, prepare
from ml_pipeline.settings import Settings

RUNS = Path("runs")
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Request:
    """What `run` was asked for."""

    data: Path
    parameters: dict[str, str]
    fresh: bool


def run(request: Request, settings: Settings) -> int:
    """Exit code of one local execution: 0 Succeeded, 1 Failed or Stopped."""
    print(f"compiling {settings.prefix}-train and starting a local AWS for it ...", flush=True)
    with tempfile.TemporaryDirectory() as empty:
        state = Path(empty) if request.fresh else STATE
        with LocalAws(state, settings.region) as aws:
            from ml_pipeline import upsert  # loads the SDK while the server comes up

            aws.connect()
            settings = upsert.resolved(settings, ACCOUNT)
            prepare(settings)
            definition = upsert.compiled(settings)
            upsert.upsert(settings, definition)
            arn = _start(settings, _uploaded(request.data, settings), request.parameters)
            return _followed(arn, _step_names(json.loads(definition)), settings, not request.fresh)


def decide(version: int, status: str, settings: Settings) -> int:
    """Sets a local version to Approved or Rejected; the newest approved one is the champion."""
    with LocalAws(STATE, settings.region) as aws:
        import boto3

        aws.connect()
        client = boto3.client("sagemaker")
        group = {"ModelPackageGroupName": f"{settings.prefix}"}
        pages = client.get_paginator("list_model_packages").paginate(**group)
        found = {
            package["ModelPackageVersion"]: package["ModelPackageArn"]
            for page in pages
            for package in page["ModelPackageSummaryList"]
        }
        if version not in found:
            known = ", ".join(map(str, sorted(found))) or "none yet: run the pipeline first"
            raise InputError(f"{settings.prefix} has no version {version}; registered are: {known}")
        client.update_model_package(ModelPackageArn=found[version], ModelApprovalStatus=status)
        print(f"{settings.prefix} version {version} is {status}; a run meets the newest approved version")
        return 0


def definition(settings: Settings) -> int:
    """Prints the compiled pipeline definition; compiling uploads, so it goes to a server of its own."""
    with tempfile.TemporaryDirectory() as folder, LocalAws(Path(folder), settings.region) as aws:
        from ml_pipeline import upsert

        aws.connect()
        settings = upsert.resolved(settings, ACCOUNT)
        prepare(settings)
        print(json.dumps(json.loads(upsert.compiled(settings)), indent=1))
        return 0


def _uploaded(path: Path, settings: Settings) -> str:
    from ml_pipeline import storage

    uri = f"s3://{settings.bucket}/raw/{datetime.now(UTC):%Y-%m-%d}/{path.name}"
    storage.upload(path, uri)
    return uri


def _start(settings: Settings, raw_data_uri: str, values: dict[str, str]) -> str:
    import boto3

    values = {"RawDataUri": raw_data_uri} | values
    pipeline_parameters.check(values, pipeline_parameters.train_parameters(settings.bucket))
    answer = boto3.client("sagemaker").start_pipeline_execution(
        PipelineName=f"{settings.prefix}-train",
        PipelineParameters=[{"Name": name, "Value": value} for name, value in values.items()],
        ClientRequestToken=uuid.uuid4().hex,
    )
    return answer["PipelineExecutionArn"]


def _step_names(graph: dict[str, Any]) -> list[str]:
    """Names of the steps a definition has, those in branches too, in the order they are written."""
    names = []
    for step in graph["Steps"]:
        names.append(step["Name"])
        for branch in ("IfSteps", "ElseSteps"):
            names += _step_names({"Steps": step.get("Arguments", {}).get(branch, [])})
    return names


def _followed(arn: str, names: list[str], settings: Settings, kept: bool) -> int:
    from ml_pipeline import results, summary

    try:
        status = _watched(arn, names, settings)
    except KeyboardInterrupt:
        status = _stopped(arn)
    folder = results.fetch(arn, settings, RUNS)
    print("\n".join(summary.lines(folder, kept)), flush=True)
    return 0 if status == "Succeeded" else 1


def _watched(arn: str, names: list[str], settings: Settings) -> str:
    """Status that the execution ended with; shows its steps until then."""
    import boto3

    from ml_pipeline.display import Progress, line
    from ml_pipeline.results import one_line, steps

    client, texts = boto3.client("sagemaker"), {}
    with Progress(names) as show:
        while True:
            status = client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            found = steps(arn)
            for step in found:
                if step["StepName"] not in texts and step["StepStatus"] in ("Succeeded", "Failed", "Stopped"):
                    texts[step["StepName"]] = one_line(step, arn, settings)
            show([line(step, texts.get(step["StepName"], "")) for step in found])
            if status in ("Succeeded", "Failed", "Stopped"):
                return status
            time.sleep(POLL_SECONDS)


def _stopped(arn: str) -> str:
    """Stops the execution and what it started."""
    import boto3

    print("\nstopping ...", flush=True)
    client = boto3.client("sagemaker")
    client.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    while True:
        status = client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        if status not in ("Executing", "Stopping"):
            return status
        time.sleep(POLL_SECONDS)
