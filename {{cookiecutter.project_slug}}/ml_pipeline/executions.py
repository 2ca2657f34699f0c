"""Executions of the pipelines: which one is meant, watching it, stopping it and what it started."""

from __future__ import annotations

import time
import uuid
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline.display import Progress, kept_line, line
from ml_pipeline.errors import InputError
from ml_pipeline.jobs import ABSENT
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.results import kept, one_line, own
from ml_pipeline.settings import Settings

ENDED = ("Succeeded", "Failed", "Stopped")
SHOWN = 5  # newest executions that a message lists
LOCAL_POLL_SECONDS, CLOUD_POLL_SECONDS = 0.25, 2.0
POLL_GROWTH, LONGEST_POLL = (
    1.1,
    4,
)  # up to so many times as long while nothing changes
# List operation, member of its answer, member that is the name, operation that stops one: of each kind of job
# that a step starts and that does not end with it.
CHILDREN = (
    ("list_hyper_parameter_tuning_jobs", "HyperParameterTuningJobSummaries", "HyperParameterTuningJobName"),
    ("list_transform_jobs", "TransformJobSummaries", "TransformJobName"),
    ("list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName"),
)


def summaries(pipeline: str, settings: Settings) -> list[dict[str, Any]]:
    """Executions as ListPipelineExecutions has them, the newest first. InputError without a pipeline."""
    client, name = boto3.client("sagemaker"), f"{settings.prefix}-{pipeline}"
    pages = client.get_paginator("list_pipeline_executions")
    try:
        return [
            each
            for page in pages.paginate(PipelineName=name, SortOrder="Descending")
            for each in page["PipelineExecutionSummaries"]
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound" or ABSENT.search(str(error)):
            raise InputError(
                f"there is no pipeline {name} in account {settings.account}, {settings.region}: "
                f"{_command('deploy', settings)} makes it"
            ) from None
        raise


def find(given: str | None, pipeline: str, settings: Settings) -> str:
    """ARN of the pipeline's execution that its id, the beginning of it or its ARN names; None: the newest.

    Raises InputError, which lists the newest ones, unless it is exactly one.
    """
    arns = [each["PipelineExecutionArn"] for each in summaries(pipeline, settings)]
    name = f"{settings.prefix}-{pipeline}"
    if given is None and arns:
        return arns[0]
    wanted = (given or "").rpartition("/")[2]
    fitting = [arn for arn in arns if given and arn.rpartition("/")[2].startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if not arns:
        raise InputError(
            f"{name} has had no execution yet: {_command('start', settings, pipeline)} starts one"
        )
    newest = [arn.rpartition("/")[2] for arn in fitting or arns]
    listed = ", ".join(newest[:SHOWN]) + (" ..." if len(newest) > SHOWN else "")
    raise InputError(
        f"execution {given!r} fits {'more than one' if fitting else 'none'} of {name}; "
        f"the newest are: {listed}{_other(pipeline) if not fitting else ''}"
    )


def _other(pipeline: str) -> str:
    (other,) = (each for each in PIPELINES if each != pipeline)
    return f" (--pipeline {other} looks among the others)"


def _command(name: str, settings: Settings, pipeline: str = "train") -> str:
    which = "" if pipeline == "train" else f" --pipeline {pipeline}"
    return f"`python -m ml_pipeline {name} {settings.options}{which}`"


def status(arn: str) -> str:
    answer = boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    return answer["PipelineExecutionStatus"]


def start(name: str, values: dict[str, str], more: dict[str, Any], client: Any = None) -> str:
    """ARN of the new execution. more: further members of the request."""
    answer = (client or boto3.client("sagemaker")).start_pipeline_execution(
        PipelineName=name,
        PipelineParameters=[{"Name": name, "Value": value} for name, value in values.items()],
        ClientRequestToken=uuid.uuid4().hex,
        **more,
    )
    return answer["PipelineExecutionArn"]


def watched(arn: str, names: list[str], settings: Settings, poll_seconds: float) -> str:
    """Status that the execution ended with; shows its steps until then."""
    client, texts = boto3.client("sagemaker"), {}
    seen, pause = None, poll_seconds
    before = [
        kept_line(ran.step, f"of run {ran.execution_id}: {one_line(ran, settings)}") for ran in kept(arn)
    ]
    with Progress(names) as show:
        while True:
            now = client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            found = own(arn, client)
            for ran in found:
                name, ended = ran.step["StepName"], ran.step["StepStatus"] in ENDED
                if ended and name not in texts:
                    texts[name] = one_line(ran, settings)
            show([*before, *(line(ran.step, texts.get(ran.step["StepName"], "")) for ran in found)])
            if now in ENDED:
                return now
            states = [ran.step["StepStatus"] for ran in found]
            pause = min(pause * POLL_GROWTH, poll_seconds * LONGEST_POLL) if states == seen else poll_seconds
            seen = states
            time.sleep(pause)


def followed(arn: str, names: list[str], settings: Settings, poll_seconds: float) -> str:
    """Status that the execution ended with; Ctrl-C stops it."""
    try:
        return watched(arn, names, settings, poll_seconds)
    except KeyboardInterrupt:
        print("\nstopping ...", flush=True)
        return stopped(arn, poll_seconds)


def stopped(arn: str, poll_seconds: float) -> str:
    """Status that the execution ended with, after it was stopped and what its steps had started."""
    client = boto3.client("sagemaker")
    client.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    while (now := status(arn)) in ("Executing", "Stopping"):
        stop_children(arn)  # again: a step that is being stopped may just have started its job
        time.sleep(poll_seconds)
    stop_children(arn)
    return now


def stop_children(arn: str) -> list[str]:
    """Names of the jobs that steps of the execution had started and that were stopped now."""
    client, execution_id = boto3.client("sagemaker"), arn.rpartition("/")[2]
    names = []
    for operation, member, key in CHILDREN:
        answer = getattr(client, operation)(NameContains=execution_id, StatusEquals="InProgress")
        for job in answer[member]:
            if _stop(getattr(client, operation.replace("list_", "stop_").removesuffix("s")), key, job[key]):
                names.append(job[key])
    return names


def jobs_of(execution_id: str, operation: str, member: str) -> list[dict[str, Any]]:
    """Summaries of the jobs that have the execution's id in their names, as all of its jobs have."""
    pages = boto3.client("sagemaker").get_paginator(operation).paginate(NameContains=execution_id)
    return [job for page in pages for job in page[member]]


def _stop(operation: Any, key: str, name: str) -> bool:
    """Whether the job was stopped; not when it has ended in the meantime."""
    try:
        operation(**{key: name})
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":
            return False
        raise
    return True
