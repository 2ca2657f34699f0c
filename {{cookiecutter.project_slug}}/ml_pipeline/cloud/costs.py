"""What executions took and cost: the billed seconds of their jobs, times the prices of settings.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import boto3

from ml_pipeline import executions
from ml_pipeline.settings import Settings

SAMPLE = 3  # newest succeeded executions that an expectation rests on


@dataclass(frozen=True)
class Usage:
    """What one job is billed. seconds: of one machine, less what spot saved; 0 while AWS reports none."""

    job: str
    instance_type: str
    count: int
    seconds: float


@dataclass(frozen=True)
class Expectation:
    """Of the newest executions that succeeded. executions: how many; 0 leaves nothing to expect."""

    executions: int
    seconds: float
    usd: float | None
    unpriced: tuple[str, ...]

    def told(self) -> str:
        """One sentence."""
        if not self.executions:
            return "expected time and cost: unknown, since no execution has succeeded yet"
        of = (
            "the last one that succeeded" if self.executions == 1 else f"the last {self.executions} succeeded"
        )
        return f"expected: about {minutes(self.seconds)}, {price(self.usd, self.unpriced)} (as {of})"


def expectation(pipeline: str, settings: Settings) -> Expectation:
    """Time: the median; cost: that of the newest."""
    listed = executions.summaries(pipeline, settings)
    done = [each for each in listed if each["PipelineExecutionStatus"] == "Succeeded"][:SAMPLE]
    if not done:
        return Expectation(0, 0.0, None, ())
    arns = [each["PipelineExecutionArn"] for each in done]
    usages = list(used(arns[0]))
    seconds = median(map(_seconds, arns))
    return Expectation(len(done), seconds, usd(usages, settings.prices), unpriced(usages, settings.prices))


def used(arn: str) -> Iterator[Usage]:
    """Every job of an execution: of its steps, its tuning trials, batch transform, processing."""
    client, execution_id = boto3.client("sagemaker"), arn.rpartition("/")[2]
    for job in executions.jobs_of(execution_id, "list_training_jobs", "TrainingJobSummaries"):
        yield _training(client.describe_training_job(TrainingJobName=job["TrainingJobName"]))
    for job in executions.jobs_of(execution_id, "list_transform_jobs", "TransformJobSummaries"):
        name = job["TransformJobName"]
        answer = client.describe_transform_job(TransformJobName=name)
        yield _timed(name, answer["TransformResources"], answer, "Transform")
    for job in executions.jobs_of(execution_id, "list_processing_jobs", "ProcessingJobSummaries"):
        name = job["ProcessingJobName"]
        answer = client.describe_processing_job(ProcessingJobName=name)
        yield _timed(name, answer["ProcessingResources"]["ClusterConfig"], answer, "Processing")


def usd(usages: list[Usage], prices: Mapping[str, float]) -> float | None:
    """Sum in USD; None when a job's machine has no price."""
    if unpriced(usages, prices):
        return None
    return sum(use.seconds * use.count * prices[use.instance_type] / 3600 for use in usages)


def unpriced(usages: list[Usage], prices: Mapping[str, float]) -> tuple[str, ...]:
    """Instance types without a price."""
    return tuple(sorted({use.instance_type for use in usages} - set(prices)))


def price(amount: float | None, without: tuple[str, ...]) -> str:
    if amount is None:
        return f"cost unknown: no price for {', '.join(without)} (settings.toml, [prices])"
    return f"USD {amount:.2f}" if amount >= 0.01 else f"USD {amount:.4f}"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _training(answer: dict[str, Any]) -> Usage:
    machine = answer["ResourceConfig"]
    seconds = answer.get("BillableTimeInSeconds", 0)
    return Usage(answer["TrainingJobName"], machine["InstanceType"], machine["InstanceCount"], seconds)


def _timed(name: str, machine: dict[str, Any], answer: dict[str, Any], kind: str) -> Usage:
    """Of a job that is billed from its start to its end."""
    started, ended = answer.get(f"{kind}StartTime"), answer.get(f"{kind}EndTime")
    seconds = (ended - started).total_seconds() if started and ended else 0
    return Usage(name, machine["InstanceType"], machine["InstanceCount"], seconds)


def _seconds(arn: str) -> float:
    answer = boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    return (answer["LastModifiedTime"] - answer["CreationTime"]).total_seconds()
