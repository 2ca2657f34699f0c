"""Which executions of a pipeline go on: one at a time, and no alarm's inside the cool-down of training.

Schedules and alarms may start the pipeline twice, or while it runs. Each execution looks about itself before
anything is computed; one that has no business stops itself, so that it ends Stopped, which alerts nobody.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import jobs, storage
from ml_pipeline.settings import Settings

PEOPLE_AND_CLOCKS = ("manual", "schedule")  # any other TriggerReason is an alarm's name
MARK = "admitted.json"  # beside what the first step writes: this execution has begun its work
FIRST_STEPS = {"train": "process", "score": "select"}
LOOK_BACK = timedelta(days=30)  # executions do not run longer than this
STOPPED_WITHIN_SECONDS = 600  # SageMaker ends the job of a stopped execution in about two minutes
POLL_SECONDS = 5


class NotStopped(RuntimeError):
    """SageMaker has not ended this job, although its execution was stopped."""


@dataclass(frozen=True)
class Execution:
    """One execution of the pipeline. reason: TriggerReason. begun: whether it has been admitted already."""

    arn: str
    started: datetime
    status: str
    reason: str = "manual"
    begun: bool = False

    @property
    def order(self) -> tuple[datetime, str]:
        """What decides which of two is the older one, also when they started at the same moment."""
        return self.started, self.arn

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


def refusal(own: Execution, others: Iterable[Execution], cool_down: timedelta) -> str | None:
    """Why `own` must not go on, in one sentence; None when it may."""
    others = [each for each in others if each.arn != own.arn]
    begun = next((each for each in others if each.status == "Executing" and each.begun), None)
    if begun:
        return f"{begun.id} is at work already"
    older = sorted((each for each in others if each.order < own.order), key=lambda each: each.order)
    for place, each in enumerate(older):
        # One that is about to stop itself keeps nobody from working.
        if each.status == "Executing" and _cooling(each, older[:place], cool_down) is None:
            return f"{each.id}, which started before it, is running"
    return _cooling(own, older, cool_down)


def _cooling(own: Execution, older: list[Execution], cool_down: timedelta) -> str | None:
    """An alarm's execution waits until the last training is cool_down ago; a stopped one was none."""
    trained = [each for each in older if each.status in ("Succeeded", "Failed")]
    if own.reason in PEOPLE_AND_CLOCKS or not trained or own.started - trained[-1].started >= cool_down:
        return None
    hours = cool_down.total_seconds() / 3600
    return (
        f"{own.reason} started it within {hours:g} h of {trained[-1].id} "
        "(settings.toml, [triggers] cool_down_hours)"
    )


def admit(pipeline: str, trigger_reason: str, execution_id: str, settings: Settings) -> datetime:
    """When this execution started, if it may go on; else stops it and waits for the end, a signal.

    pipeline: `train`, which cools down, or `score`. Outside of an execution, as `step Process` calls it,
    there is nothing to admit, and it is now.
    """
    client, begun = boto3.client("sagemaker"), datetime.now(UTC)
    listed = executions(client, f"{settings.prefix}-{pipeline}", begun - LOOK_BACK)
    own = next((each for each in listed if each.id == execution_id), None)
    if own is None:
        return begun
    own = Execution(own.arn, own.started, own.status, trigger_reason)
    others = [_looked_at(client, each, pipeline, settings) for each in listed if each.arn != own.arn]
    hours = settings.triggers.cool_down_hours if pipeline == "train" else 0.0
    reason = refusal(own, others, timedelta(hours=hours))
    if reason is None:
        mark = _mark(execution_id, pipeline, settings)
        storage.write_json(mark, {"trigger_reason": trigger_reason})
        return own.started
    print(f"{FIRST_STEPS[pipeline].capitalize()}: this execution stops itself: {reason}", flush=True)
    _stop(client, own.arn)


def executions(client: Any, pipeline: str, after: datetime) -> list[Execution]:
    """Executions of a pipeline since then; none of one that does not exist."""
    pages = client.get_paginator("list_pipeline_executions")
    try:
        return [
            Execution(each["PipelineExecutionArn"], each["StartTime"], each["PipelineExecutionStatus"])
            for page in pages.paginate(PipelineName=pipeline, CreatedAfter=after)
            for each in page["PipelineExecutionSummaries"]
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound" or jobs.ABSENT.search(str(error)):
            return []
        raise


def _looked_at(client: Any, execution: Execution, pipeline: str, settings: Settings) -> Execution:
    """The execution with what only matters of one that runs."""
    if execution.status != "Executing":
        return execution
    begun = bool(storage.list_uris(_mark(execution.id, pipeline, settings)))
    answer = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution.arn)
    values = {each["Name"]: each["Value"] for each in answer["PipelineParameters"]}
    reason = values.get("TriggerReason", "manual")
    return Execution(execution.arn, execution.started, execution.status, reason, begun)


def _mark(execution_id: str, pipeline: str, settings: Settings) -> str:
    return settings.uri(execution_id, FIRST_STEPS[pipeline], MARK)


def _stop(client: Any, arn: str) -> NoReturn:
    """Stops the execution that this very job belongs to; SageMaker then ends the job."""
    client.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    deadline = time.monotonic() + STOPPED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    raise NotStopped(f"{arn} was stopped {STOPPED_WITHIN_SECONDS} s ago, and this job still runs")
