"""What `start`, `status`, `stop` and `fetch` do with the executions of an environment."""

from __future__ import annotations

import json
from typing import Any

import boto3

from ml_pipeline import executions, graph, periods, results, runs, scored, summary
from ml_pipeline.cloud import costs
from ml_pipeline.display import ENDED, line
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import pipeline_of
from ml_pipeline.settings import Settings

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def start(values: dict[str, str], pipeline: str, settings: Settings) -> int:
    """Starts a pipeline, after it was said what that takes, and prints the execution.

    Raises DataError for training on the newest period when none is complete.
    """
    expected = costs.expectation(pipeline, settings).told()
    if pipeline == "train":  # told now, not by the first job, minutes later
        periods.taken(values.get("RawDataUri", f"s3://{settings.bucket}/raw/"), settings)
    print(expected, flush=True)
    arn = executions.start(f"{settings.prefix}-{pipeline}", values, {})
    execution_id = arn.rpartition("/")[2]
    print(f"started {execution_id}: {arn}")
    print(f"its jobs: {console(settings)} (the execution itself: SageMaker Studio, Pipelines)")
    print(f"watch it: {summary.COMMAND} status {execution_id} {_options(arn, settings)} --follow")
    return 0


def console(settings: Settings) -> str:
    """Address of the console's page with the jobs of every step."""
    return f"https://{CONSOLES[settings.partition]}/sagemaker/home?region={settings.region}#/jobs"


def status(arn: str, follow: bool, settings: Settings) -> int:
    """Shows the steps: 1 for an execution that failed or was stopped, else 0."""
    answer = boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    print(f"{arn.rpartition('/')[2]}, started {answer['CreationTime']:%Y-%m-%d %H:%M %Z}", flush=True)
    if follow:
        try:
            now = executions.watched(arn, list(_steps(arn)), settings, executions.CLOUD_POLL_SECONDS)
        except KeyboardInterrupt:
            print("\nthe execution goes on; `stop` ends it", flush=True)
            return 0
        answer = boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    else:
        now = answer["PipelineExecutionStatus"]
        _show(arn, settings)
    print("; ".join(filter(None, (now, answer.get("FailureReason")))))
    return 1 if now in ("Failed", "Stopped") else 0


def stop(arn: str) -> int:
    """Stops the execution and what its steps have started; 0 once nothing of it runs."""
    execution_id, before = arn.rpartition("/")[2], executions.status(arn)
    if before in ("Executing", "Stopping"):
        print(f"stopping {execution_id} ...", flush=True)
        now = executions.stopped(arn, executions.CLOUD_POLL_SECONDS)
        print(f"{execution_id} is {now}")
        return 0 if now == "Stopped" else 1
    left = executions.stop_children(arn)
    print(
        f"{execution_id} is {before} already; {'stopped ' + ', '.join(left) if left else 'no job of it runs'}"
    )
    return 0


def fetch(arn: str, settings: Settings) -> int:
    """Fills the run's folder and writes its report: 1 for an execution that failed or was stopped."""
    execution_id, now = arn.rpartition("/")[2], executions.status(arn)
    if now not in ENDED:
        raise InputError(
            f"execution {execution_id} is {now}: fetch it once it has ended (`{summary.COMMAND} status "
            f"{execution_id} {_options(arn, settings)} --follow` waits for that)"
        )
    again = f"{summary.COMMAND} start {_options(arn, settings)}"
    folder = results.fetch(arn, settings, runs.RUNS)
    if pipeline_of(arn) == "score":
        print("\n".join(scored.lines(folder, again)))
    else:
        from ml_pipeline import report

        print("\n".join(summary.lines(folder, False, again)), flush=True)
        print(f"report: {report.write(folder)}")
    return 0 if now == "Succeeded" else 1


def _options(arn: str, settings: Settings) -> str:
    """Options of a command that names this execution."""
    which = " --pipeline score" if pipeline_of(arn) == "score" else ""
    return f"{settings.options}{which}"


def _show(arn: str, settings: Settings) -> None:
    """One line a step, also of those that run."""
    for ran in results.steps(arn):
        shown = line(ran.step, results.one_line(ran, settings) if ran.step["StepStatus"] in ENDED else "")
        seconds = "" if shown.seconds is None else f"{shown.seconds:.1f} s"
        print(f"{shown.name:<12} {shown.status:<9} {seconds:>8}  {shown.text}")


def _steps(arn: str) -> dict[str, Any]:
    """Needs of every step of the execution's own definition, by name."""
    client = boto3.client("sagemaker")
    answer = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    return graph.needs(json.loads(answer["PipelineDefinition"]))
