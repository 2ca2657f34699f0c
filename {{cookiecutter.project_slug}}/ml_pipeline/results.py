"""What an execution left behind, in `runs/<execution id>/`; read from a local and a real AWS alike."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import periods, storage
from ml_pipeline.parameters import pipeline_of
from ml_pipeline.scored import REPORT
from ml_pipeline.settings import Settings

# The boxes of the training graph in its order.
STEPS = ("process", "tune", "train", "transform", "evaluate", "bias", "register")
SCORING_STEPS = ("select", "transform", "monitor")
# Artefact of a step -> its place in the run's folder. Of several for one place the last that exists counts.
FILES = {
    "evaluate/metrics.json": "metrics.json",
    "evaluate/predictions.csv": "predictions.csv",
    "evaluate/attributions.json": "attributions.json",
    "evaluate/partial_dependence.json": "partial_dependence.json",
    "evaluate/verdict.json": "verdict.json",
    "bias/verdict.json": "verdict.json",
    "bias/analysis.json": "bias/analysis.json",
    "tune/tuning.json": "tuning.json",
    "train/learning_curve.json": "learning_curve.json",
    "train/model.tar.gz": "model.tar.gz",
    "process/profile.json": "profile.json",
    **{f"{step}/lineage.json": "lineage.json" for step in (*SCORING_STEPS, *STEPS)},
}
PUBLISHED = ("output", "monitor")  # folders of a scored period
HEAD_BYTES = 2**20  # of the test split: more than its first row
LOG_GROUPS = {
    "TrainingJob": "TrainingJobs",
    "ProcessingJob": "ProcessingJobs",
    "TransformJob": "TransformJobs",
}


@dataclass(frozen=True)
class Ran:
    """A step as ListPipelineExecutionSteps reports it, and the ARN of the execution that ran it."""

    step: dict[str, Any]
    arn: str

    @property
    def execution_id(self) -> str:
        return self.arn.rpartition("/")[2]


def steps(arn: str) -> list[Ran]:
    """All steps of an execution, oldest first: those it kept of others, then those it ran itself."""
    return [*kept(arn), *own(arn)]


def own(arn: str, client: Any = None) -> list[Ran]:
    """The steps that the execution ran itself, or runs. client: for who asks often."""
    pages = (client or boto3.client("sagemaker")).get_paginator("list_pipeline_execution_steps")
    return [
        Ran(step, arn)
        for page in pages.paginate(PipelineExecutionArn=arn, SortOrder="Ascending")
        for step in page["PipelineExecutionSteps"]
        if "SelectiveExecutionResult" not in step
    ]


def kept(arn: str) -> list[Ran]:
    """The steps that the execution took over from its source, which may have taken them over as well."""
    answer = boto3.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    selection = answer.get("SelectiveExecutionConfig")
    if selection is None:
        return []
    selected = {step["StepName"] for step in selection["SelectedSteps"]}
    source = selection.get("SourcePipelineExecutionArn")
    return [ran for ran in (steps(source) if source else []) if ran.step["StepName"] not in selected]


def one_line(ran: Ran, settings: Settings) -> str:
    """A step's result in one line: its `summary` when it has one, else its scalars; or why it failed."""
    step = ran.step
    if step["StepStatus"] != "Succeeded":
        return step.get("FailureReason", "")
    outcome = step.get("Metadata", {}).get("Condition", {}).get("Outcome")
    if outcome is not None:
        return "passed" if outcome == "True" else "not passed"
    result = _json(settings.uri(ran.execution_id, step["StepName"].lower(), "result.json")) or {}
    scalars = {name: value for name, value in result.items() if isinstance(value, str | int | float)}
    return result.get("summary") or ", ".join(f"{name}={_short(value)}" for name, value in scalars.items())


def _short(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def fetch(arn: str, settings: Settings, runs: Path) -> Path:
    """Folder of the run's results, complete or absent; `runs/latest` points at it."""
    execution_id = arn.rpartition("/")[2]
    folder, unfinished = runs / execution_id, runs / f".{execution_id}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    ran = steps(arn)
    execution = _execution(arn, ran, settings)
    _write(unfinished / "execution.json", execution)
    _copy_files(ran, settings, unfinished)
    if pipeline_of(arn) == "score":
        _copy_periods(execution, settings, unfinished)
    else:
        _copy_example(execution, settings, unfinished / "example.jsonl")
    _copy_definition(arn, unfinished)
    _copy_logs(ran, arn, unfinished / "logs")
    for step in execution["steps"]:
        if "model_package_arn" in (step["result"] or {}):
            write_package(step["result"]["model_package_arn"], unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    _point_latest(runs, execution_id)
    return folder


def _execution(arn: str, ran: list[Ran], settings: Settings) -> dict[str, Any]:
    client = boto3.client("sagemaker")
    answer = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    execution_id = arn.rpartition("/")[2]
    status = answer["PipelineExecutionStatus"]
    parameters = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    ended = answer["LastModifiedTime"] if status in ("Succeeded", "Failed", "Stopped") else None
    return {
        "id": execution_id,
        "arn": arn,
        "status": status,
        "failure_reason": answer.get("FailureReason"),
        "parameters": {parameter["Name"]: parameter["Value"] for parameter in parameters},
        "started": _utc(answer["CreationTime"]),
        "ended": _utc(ended),
        "source": _source(answer),
        "steps": [_step(each, arn, settings) for each in ran],
    }


def _source(answer: dict[str, Any]) -> str | None:
    """Id of the run whose steps this one kept."""
    arn = answer.get("SelectiveExecutionConfig", {}).get("SourcePipelineExecutionArn", "")
    return arn.rpartition("/")[2] or None


def _step(ran: Ran, arn: str, settings: Settings) -> dict[str, Any]:
    step, kind = ran.step, next(iter(ran.step.get("Metadata", {})), None)
    folder = settings.uri(ran.execution_id, step["StepName"].lower())
    return {
        "name": step["StepName"],
        "type": kind,
        "status": step["StepStatus"],
        "started": _utc(step.get("StartTime")),
        "ended": _utc(step.get("EndTime")),
        "failure_reason": step.get("FailureReason"),
        "job": job_name(step),
        "kept_from": None if ran.arn == arn else ran.execution_id,
        "arguments": _json(f"{folder}/arguments.json"),
        "result": _json(f"{folder}/result.json"),
    }


def job_name(step: dict[str, Any]) -> str | None:
    """Name of the job behind a step; None for conditions and failures."""
    for metadata in step.get("Metadata", {}).values():
        if "Arn" in metadata:
            return metadata["Arn"].rpartition("/")[2]
    return None


def log_lines(step: dict[str, Any]) -> list[str]:
    """The job's lines in CloudWatch Logs; none for a step without a job."""
    client, name = boto3.client("logs"), job_name(step)
    group = LOG_GROUPS.get(next(iter(step.get("Metadata", {})), ""))
    if name is None or group is None:
        return []
    place = {"logGroupName": f"/aws/sagemaker/{group}"}
    try:
        streams = client.describe_log_streams(**place, logStreamNamePrefix=f"{name}/")["logStreams"]
    except client.exceptions.ResourceNotFoundException:
        return []
    return [
        line
        for stream in streams
        for line in _stream(client, place | {"logStreamName": stream["logStreamName"]})
    ]


def _stream(client: Any, place: dict[str, str]) -> list[str]:
    lines: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = client.get_log_events(**place, startFromHead=True, **token)
        lines += [event["message"] for event in answer["events"]]
        if token.get("nextToken") == answer["nextForwardToken"]:  # a page may be empty before the last one
            return lines
        token = {"nextToken": answer["nextForwardToken"]}


def _copy_files(ran: list[Ran], settings: Settings, folder: Path) -> None:
    roots = {each.step["StepName"].lower(): settings.uri(each.execution_id) for each in ran}
    present = {uri for root in set(roots.values()) for uri, _ in storage.list_uris(f"{root}/")}
    for artefact, place in FILES.items():
        uri = f"{roots.get(artefact.partition('/')[0])}/{artefact}"
        if uri in present:
            (folder / place).parent.mkdir(exist_ok=True)
            storage.download(uri, folder / place)


def _copy_periods(execution: dict[str, Any], settings: Settings, folder: Path) -> None:
    """Copies what the execution published of its periods: scores, measures, the newest one's report."""
    found = _periods(execution, settings)
    for period in found:
        place = period if len(found) > 1 else ""
        for name in PUBLISHED:
            if periods.is_complete(period, settings, name):  # scores of an earlier delivery are not
                _copy_folder(periods.folder(period, settings, name), folder / name / place)
    if len(found) > 1:
        from ml_pipeline.report import drift  # which draws; of one period that was done by Monitor

        drift.write(folder)
    elif (report := folder / "monitor" / REPORT).exists():
        shutil.copyfile(report, folder / REPORT)


def _periods(execution: dict[str, Any], settings: Settings) -> list[str]:
    """Those that it has scored and measured, and those whose labels came late, the oldest first."""
    results = {step["name"]: step["result"] or {} for step in execution["steps"]}
    entries = results.get("Select", {}).get("periods", [])
    selected = {each["period"] for each in entries if each["state"] != periods.LABELS}
    told = {uri.split("/")[4] for uri in results.get("Monitor", {}).get("monitor_uris", [])}
    return sorted(
        (told - selected) | {each for each in selected if _measured_by(execution["id"], each, settings)}
    )


def _measured_by(execution_id: str, period: str, settings: Settings) -> bool:
    """Whether the period's newest measures are this execution's and not those of another one."""
    document = _json(f"{periods.folder(period, settings, 'monitor')}/drift.json")
    return document is not None and document["execution"] == execution_id


def _copy_folder(uri: str, folder: Path) -> None:
    """Downloads what lies below the URI, but for its marks."""
    for found, _ in storage.list_uris(f"{uri}/"):
        path = folder / found.removeprefix(f"{uri}/")
        if path.name != periods.SUCCESS:
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.download(found, path)


def _copy_example(execution: dict[str, Any], settings: Settings, path: Path) -> None:
    """Writes one row of the test split, without its label, as it can be sent to the model."""
    result = next((step["result"] for step in execution["steps"] if step["name"] == "Process"), None)
    if result is None:
        return
    spec = storage.read_json(result["feature_spec_uri"])
    row = next(csv.reader(io.StringIO(storage.read_head(result["transform_input_uri"], HEAD_BYTES))))
    cells = row[len(spec["ids"]) + 1 :]  # after ids and target
    values = {
        feature["name"]: _value(cell, feature["kind"])
        for feature, cell in zip(spec["features"], cells, strict=True)
    }
    path.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")


def _value(cell: str, kind: str) -> str | float | None:
    """The cell as JSON has it: a missing one is null."""
    if cell == "":
        return None
    if kind == "category":
        return cell
    number = float(cell)
    return int(number) if number.is_integer() else number


def _copy_definition(arn: str, folder: Path) -> None:
    answer = boto3.client("sagemaker").describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    _write(folder / "definition.json", json.loads(answer["PipelineDefinition"]))


def _copy_logs(ran: list[Ran], arn: str, folder: Path) -> None:
    folder.mkdir()
    for each in ran:
        lines = log_lines(each.step)
        if lines:
            mark = [] if each.arn == arn else [f"--- kept: this ran in run {each.execution_id} ---"]
            path = folder / f"{each.step['StepName']}.log"
            path.write_text("\n".join([*mark, *lines]) + "\n", encoding="utf-8")


def write_package(arn: str, folder: Path) -> None:
    """Writes model_package.json: the registered version as it is now."""
    answer = boto3.client("sagemaker").describe_model_package(ModelPackageName=arn)
    answer.pop("ResponseMetadata")
    _write(folder / "model_package.json", answer)


def _json(uri: str) -> Any:
    try:
        return storage.read_json(uri)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, default=_utc) + "\n", encoding="utf-8")


def _utc(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else None


def _point_latest(runs: Path, execution_id: str) -> None:
    link = runs / f".latest-{os.getpid()}"
    link.symlink_to(execution_id)
    link.replace(runs / "latest")
