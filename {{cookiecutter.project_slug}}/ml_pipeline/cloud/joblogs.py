"""Logs of a step in the cloud, as they are and as they grow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import boto3

from ml_pipeline import executions, results
from ml_pipeline.errors import InputError
from ml_pipeline.rerun import step_name
from ml_pipeline.results import Ran


def step_of(arn: str, given: str) -> Ran:
    """The step of an execution, whatever the case of its name. InputError lists those that have a job."""
    found = {ran.step["StepName"]: ran for ran in results.steps(arn) if results.job_name(ran.step)}
    if not found:
        raise InputError(
            f"execution {arn.rpartition('/')[2]} has no logs: no step of it has run as a job yet"
        )
    return found[step_name(given, list(found))]


def lines(ran: Ran, follow: bool, poll_seconds: float) -> Iterator[str]:
    """The lines of the step's job; with follow until the job has ended."""
    tail = _Tail(ran.step)
    while True:
        ended = not follow or _status(ran) in executions.ENDED
        yield from tail.new()
        if ended:
            return
        time.sleep(poll_seconds)


class _Tail:
    """What a job has written since it was last asked."""

    def __init__(self, step: dict[str, Any]) -> None:
        group = results.LOG_GROUPS[next(iter(step["Metadata"]))]
        self._client, self._job = boto3.client("logs"), results.job_name(step)
        self._group = f"/aws/sagemaker/{group}"
        self._tokens: dict[str, str] = {}

    def new(self) -> Iterator[str]:
        for stream in self._streams():
            yield from self._events(stream)

    def _streams(self) -> list[str]:
        try:
            answer = self._client.describe_log_streams(
                logGroupName=self._group, logStreamNamePrefix=f"{self._job}/"
            )
        except self._client.exceptions.ResourceNotFoundException:
            return []  # the account's first job has written nothing yet
        return [stream["logStreamName"] for stream in answer["logStreams"]]

    def _events(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            since = {"nextToken": token} if token else {}
            answer = self._client.get_log_events(
                logGroupName=self._group, logStreamName=stream, startFromHead=True, **since
            )
            self._tokens[stream] = answer["nextForwardToken"]
            yield from (event["message"] for event in answer["events"])
            if token == answer["nextForwardToken"]:  # a page may be empty before the last one
                return


def _status(ran: Ran) -> str:
    """Status of the step now; it may have been retried, then this is the status of the retry."""
    for each in results.own(ran.arn):
        if each.step["StepName"] == ran.step["StepName"]:
            return each.step["StepStatus"]
    return ran.step["StepStatus"]
