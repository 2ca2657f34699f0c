"""SageMaker jobs that a step hands work to: named by attempt, found again by a retry, awaited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline.settings import Settings


class JobFailed(RuntimeError):
    """A job that ended in another state than Completed; the message holds its own FailureReason."""


@dataclass(frozen=True)
class Kind:
    """The API's words for one kind of job."""

    create: str
    describe: str
    name: str
    status: str


KINDS = {
    "processing": Kind(
        "create_processing_job", "describe_processing_job", "ProcessingJobName", "ProcessingJobStatus"
    ),
    "transform": Kind(
        "create_transform_job", "describe_transform_job", "TransformJobName", "TransformJobStatus"
    ),
    "tuning": Kind(
        "create_hyper_parameter_tuning_job",
        "describe_hyper_parameter_tuning_job",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
    ),
}
ABSENT = re.compile(r"not (find|found)", re.IGNORECASE)
MAX_ATTEMPTS = 20
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0
WAIT_GROWTH = 1.1  # a job is noticed at most a tenth of its own duration after its end


def run(kind: str, name_prefix: str, request: dict[str, Any], max_seconds: float) -> dict[str, Any]:
    """Describe-answer of the completed job `<name_prefix>-<attempt>`.

    A step that is retried finds the job of its earlier attempt: one that runs is awaited, one that is
    completed is taken, after one that failed the next number is started. Raises JobFailed with the job's
    reason, or when it has not ended within max_seconds (the job's own limits should end it earlier).
    """
    words, client = KINDS[kind], boto3.client("sagemaker")
    name, found = _next_attempt(words, client, name_prefix)
    if found is None:
        getattr(client, words.create)(**request, **{words.name: name})
    return _ended(words, lambda: _describe(words, client, name), max_seconds)


def tags(settings: Settings, execution_id: str) -> list[dict[str, str]]:
    """Tags of a child job: whose it is, where, and of which execution."""
    found = {**settings.resource_tags, "Execution": execution_id}
    return [{"Key": key, "Value": value} for key, value in found.items()]


def _next_attempt(words: Kind, client: Any, name_prefix: str) -> tuple[str, dict[str, Any] | None]:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        name = f"{name_prefix}-{attempt}"
        found = _found(words, client, name)
        if found is None or found[words.status] not in ("Failed", "Stopped"):
            return name, found
    raise JobFailed(f"{name_prefix}: all of {MAX_ATTEMPTS} attempts failed; the last: {_reason(found)}")


def _found(words: Kind, client: Any, name: str) -> dict[str, Any] | None:
    try:
        return _describe(words, client, name)
    except ClientError as error:
        # An absent tuning job is a ResourceNotFound, any other a ValidationException with such a text.
        if error.response["Error"]["Code"] == "ResourceNotFound" or ABSENT.search(str(error)):
            return None
        raise


def _describe(words: Kind, client: Any, name: str) -> dict[str, Any]:
    return getattr(client, words.describe)(**{words.name: name})


def _ended(words: Kind, describe: Callable[[], dict[str, Any]], max_seconds: float) -> dict[str, Any]:
    deadline, pause = time.monotonic() + max_seconds, FIRST_WAIT_SECONDS
    while (status := (answer := describe())[words.status]) != "Completed":
        if status in ("Failed", "Stopped"):
            raise JobFailed(f"{answer[words.name]} {status}: {_reason(answer)}")
        if time.monotonic() > deadline:
            raise JobFailed(f"{answer[words.name]} still {status} after {max_seconds:g} s")
        time.sleep(pause)
        pause = min(pause * WAIT_GROWTH, LONGEST_WAIT_SECONDS)
    return answer


def _reason(answer: dict[str, Any] | None) -> str:
    return (answer or {}).get("FailureReason", "no reason given")
