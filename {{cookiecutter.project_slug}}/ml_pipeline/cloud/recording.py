"""What an AWS answered about one execution, reduced to its shape, so that two AWS can be held together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import boto3

from ml_pipeline import executions, results
from ml_pipeline.cloud import versions

# Members whose values are compared too; of all others only presence and JSON type.
COMPARED = ("Status", "Outcome", "ExitMessage")
KINDS = {bool: "boolean", int: "number", float: "number", str: "text"}
# By kind of job: the operation that lists it, the one that describes it.
JOBS = {
    "TrainingJob": ("list_training_jobs", "describe_training_job"),
    "ProcessingJob": ("list_processing_jobs", "describe_processing_job"),
    "TransformJob": ("list_transform_jobs", "describe_transform_job"),
    "HyperParameterTuningJob": (
        "list_hyper_parameter_tuning_jobs",
        "describe_hyper_parameter_tuning_job",
    ),
}
Fields = dict[str, list[str]]


@dataclass(frozen=True)
class Recording:
    """answers: by step and operation, the fields of what was answered, each with its types or values.

    seconds: of the execution and of each step.
    """

    status: str
    failure_reason: str | None
    answers: dict[str, Fields]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """What one AWS answers and the other does not; None: the field is absent."""

    answer: str
    field: str
    cloud: str | None
    local: str | None


def record(arn: str, group: str) -> Recording:
    """What the AWS at hand says about an execution that has ended. group: that it registers in."""
    client = boto3.client("sagemaker")
    execution = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    steps = results.own(arn)
    answers = {"DescribePipelineExecution": fields([execution])}
    answers["DescribePipeline"] = fields([client.describe_pipeline(PipelineName=execution["PipelineArn"])])
    for ran in steps:
        answers[f"{ran.step['StepName']}: ListPipelineExecutionSteps"] = fields([ran.step])
    answers |= {name: fields(found) for name, found in _jobs(client, arn, steps).items()}
    answers |= _package(client, arn, group)
    seconds = {"execution": (execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds()}
    seconds |= dict(_durations(steps))
    status, reason = execution["PipelineExecutionStatus"], execution.get("FailureReason")
    return Recording(status, reason, answers, seconds)


def fields(answers: Iterable[Mapping[str, Any]]) -> Fields:
    """Every field of the answers by its dotted name, with the types it has, or its values if compared."""
    found: dict[str, set[str]] = {}
    for answer in answers:
        for name, text in _fields({k: v for k, v in answer.items() if k != "ResponseMetadata"}, ""):
            found.setdefault(name, set()).add(text)
    return {name: sorted(texts) for name, texts in sorted(found.items())}


def differences(cloud: Recording, local: Recording) -> list[Difference]:
    """All that the recordings do not share, but for times."""
    found = []
    for answer in dict.fromkeys([*cloud.answers, *local.answers]):
        one, other = cloud.answers.get(answer), local.answers.get(answer)
        if one is None or other is None:
            found.append(Difference(answer, "", one and "answered", other and "answered"))
            continue
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                found.append(Difference(answer, name, _told(one, name), _told(other, name)))
    return found


def _told(found: Fields, name: str) -> str | None:
    return ", ".join(found[name]) if name in found else None


def _fields(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        yield (name, "structure") if name else (".", "structure")
        for key, item in value.items():
            yield from _fields(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield name, "list"
        for item in value:
            yield from _fields(item, f"{name}[]")
    elif name.endswith(COMPARED):
        yield name, str(value)
    else:
        yield name, KINDS.get(type(value), "time")


def _jobs(client: Any, arn: str, steps: list[results.Ran]) -> dict[str, list[dict[str, Any]]]:
    """Describe-answers of the steps' jobs and of those that the steps have started."""
    names = {results.job_name(ran.step): ran.step["StepName"] for ran in steps}
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, (listed, describe) in JOBS.items():
        for job in executions.jobs_of(arn.rpartition("/")[2], listed, f"{kind}Summaries"):
            name = job[f"{kind}Name"]
            answer = getattr(client, describe)(**{f"{kind}Name": name})
            place = f"{names.get(name, 'started by a step')}: Describe{kind}"
            found.setdefault(place, []).append(answer)
    return found


def _package(client: Any, arn: str, group: str) -> dict[str, Fields]:
    """The version that the execution registered; it names the execution in its description."""
    for package in versions.summaries(group, client):
        if arn.rpartition("/")[2] in package.get("ModelPackageDescription", ""):
            answer = client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            return {"DescribeModelPackage": fields([answer])}
    return {}


def _durations(steps: list[results.Ran]) -> Iterator[tuple[str, float]]:
    for ran in steps:
        started, ended = ran.step.get("StartTime"), ran.step.get("EndTime")
        if started and ended:
            yield ran.step["StepName"], (ended - started).total_seconds()
