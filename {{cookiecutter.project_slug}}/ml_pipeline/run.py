"""The commands that work on the local AWS: run, approve, definition."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_pipeline import graph, runs
from ml_pipeline import parameters as pipeline_parameters
from ml_pipeline.errors import InputError
from ml_pipeline.local import ACCOUNT, STATE, LocalAws, prepare
from ml_pipeline.rerun import Rerun
from ml_pipeline.settings import Settings
from ml_pipeline.summary import COMMAND

POLL_SECONDS = 0.25
ENDED = ("Succeeded", "Failed", "Stopped")


@dataclass(frozen=True)
class Request:
    """What `run` was asked for. data: None when the rerun keeps what its source has read."""

    data: Path | None
    parameters: dict[str, str]
    fresh: bool
    rerun: Rerun | None = None


def run(request: Request, settings: Settings) -> int:
    """Exit code of one local execution: 0 Succeeded, 1 Failed or Stopped."""
    print(f"compiling {settings.prefix}-train and starting a local AWS for it ...", flush=True)
    with tempfile.TemporaryDirectory() as empty:
        state = Path(empty) if request.fresh else STATE
        with LocalAws(state, settings.region) as aws:
            from ml_pipeline import sdk, upsert

            sdk.load()  # while the server comes up
            aws.connect()
            settings = upsert.resolved(settings, ACCOUNT)
            prepare(settings)
            with ThreadPoolExecutor(1) as beside:
                uploaded = beside.submit(_uploaded, request.data, settings) if request.data else None
                text = upsert.compiled(settings)
            definition = json.loads(text)
            selection = _selection(request.rerun, definition)
            upsert.upsert(settings, text)
            data_uri = uploaded.result() if uploaded else None
            arn = _start(settings, _parameters(request, definition, settings, data_uri), selection)
            return _followed(arn, list(graph.needs(definition)), settings, not request.fresh)


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
        _renew(found[version])
        print(f"{settings.prefix} version {version} is {status}; a run meets the newest approved version")
        return 0


def _renew(package_arn: str) -> None:
    """Rewrites model_package.json of the run that registered the version."""
    from ml_pipeline import results

    for folder in runs.newest_first():
        package = runs.read(folder, "model_package.json")
        if package and package["ModelPackageArn"] == package_arn:
            results.write_package(package_arn, folder)


def definition(settings: Settings) -> int:
    """Prints the compiled pipeline definition; compiling uploads, so it goes to a server of its own."""
    with tempfile.TemporaryDirectory() as folder, LocalAws(Path(folder), settings.region) as aws:
        from ml_pipeline import sdk, upsert

        sdk.load()  # while the server comes up
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


def _selection(rerun: Rerun | None, definition: dict[str, Any]) -> dict[str, Any]:
    """Members of StartPipelineExecution that name the steps to run and whose results the others have."""
    if rerun is None:
        return {}
    import boto3

    client, arn = boto3.client("sagemaker"), rerun.source["arn"]
    selected = [{"StepName": name} for name in rerun.selected(definition)]
    try:
        client.describe_pipeline_execution(PipelineExecutionArn=arn)
    except client.exceptions.ResourceNotFound:
        raise InputError(
            f"run {rerun.source['id']} is not in the local AWS: it ran with --fresh, or `make clean` has "
            "forgotten it; run the whole pipeline"
        ) from None
    return {"SelectiveExecutionConfig": {"SourcePipelineExecutionArn": arn, "SelectedSteps": selected}}


def _parameters(
    request: Request, definition: dict[str, Any], settings: Settings, data_uri: str | None
) -> dict[str, str]:
    """Values by name: as given, else as the source of a rerun had them."""
    declared = {parameter["Name"] for parameter in definition["Parameters"]}
    before = request.rerun.source["parameters"] if request.rerun else {}
    values = {name: value for name, value in before.items() if name in declared}
    if data_uri:
        values["RawDataUri"] = data_uri
    values |= request.parameters
    pipeline_parameters.check(values, pipeline_parameters.train_parameters(settings.bucket))
    return values


def _start(settings: Settings, values: dict[str, str], selection: dict[str, Any]) -> str:
    import boto3

    answer = boto3.client("sagemaker").start_pipeline_execution(
        PipelineName=f"{settings.prefix}-train",
        PipelineParameters=[{"Name": name, "Value": value} for name, value in values.items()],
        ClientRequestToken=uuid.uuid4().hex,
        **selection,
    )
    return answer["PipelineExecutionArn"]


def _followed(arn: str, names: list[str], settings: Settings, kept: bool) -> int:
    from ml_pipeline import report, results, summary

    with ThreadPoolExecutor(1) as beside:
        beside.submit(report.load)  # what it imports takes a second, in which a step runs
        try:
            status = _watched(arn, names, settings)
        except KeyboardInterrupt:
            status = _stopped(arn)
        folder = results.fetch(arn, settings, runs.RUNS)
        print("\n".join(summary.lines(folder, kept)), flush=True)
        print(_reported(folder, beside.submit(report.write, folder)), flush=True)
    return 0 if status == "Succeeded" else 1


def _reported(folder: Path, page: Future[Path]) -> str:
    """Where the report is, or why there is none, which does not change what came of the run."""
    error = page.exception()
    if error is None:
        return f"report: {page.result()}"
    again = f"{COMMAND} report {folder.name}"
    return f"report: not made, {type(error).__name__}: {error} (`{again}` shows where)"


def _watched(arn: str, names: list[str], settings: Settings) -> str:
    """Status that the execution ended with; shows its steps until then."""
    import boto3

    from ml_pipeline.display import Progress, kept_line, line
    from ml_pipeline.results import kept, one_line, own

    client, texts = boto3.client("sagemaker"), {}
    before = [
        kept_line(ran.step, f"of run {ran.execution_id}: {one_line(ran, settings)}") for ran in kept(arn)
    ]
    with Progress(names) as show:
        while True:
            status = client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            found = own(arn)
            for ran in found:
                name, ended = ran.step["StepName"], ran.step["StepStatus"] in ENDED
                if ended and name not in texts:
                    texts[name] = one_line(ran, settings)
            show([*before, *(line(ran.step, texts.get(ran.step["StepName"], "")) for ran in found)])
            if status in ENDED:
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
