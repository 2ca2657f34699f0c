"""The commands that work on the local AWS: run, approve, definition."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_pipeline import graph, runs
from ml_pipeline import parameters as pipeline_parameters
from ml_pipeline.errors import InputError
from ml_pipeline.local import ACCOUNT, STATE, LocalAws, prepare
from ml_pipeline.rerun import Rerun, check_known
from ml_pipeline.settings import Settings
from ml_pipeline.summary import COMMAND

BOTH = "both"  # pipelines, for whoever wants both definitions with one loading of the SDK


@dataclass(frozen=True)
class Request:
    """What `run` was asked for. data: None when the rerun keeps what its source has read.

    options: those of the command line that name the data, for whoever is told to run it again.
    """

    data: Path | None
    parameters: dict[str, str]
    fresh: bool
    rerun: Rerun | None = None
    options: str = ""


def run(request: Request, settings: Settings) -> int:
    """Exit code of one local execution: 0 Succeeded, 1 Failed or Stopped."""
    print(f"starting a local AWS for {settings.prefix}-train ...", flush=True)
    with tempfile.TemporaryDirectory() as empty:
        state = Path(empty) if request.fresh else STATE
        with LocalAws(state, settings.region) as aws:
            from ml_pipeline import executions, sdk, upsert

            if request.fresh or not runs.newest_first():
                sdk.load()  # while the server comes up, since nothing is compiled yet
            aws.connect()
            settings = upsert.located(settings, ACCOUNT)
            prepare(settings)
            with ThreadPoolExecutor(1) as beside:
                uploaded = beside.submit(_uploaded, request.data, settings) if request.data else None
                (upserted,) = upsert.upsert(settings, ("train",))
                definition = json.loads(upserted.definition)
            selection = _selection(request.rerun, definition, settings)
            data_uri = uploaded.result() if uploaded else None
            name, values = f"{settings.prefix}-train", _parameters(request, definition, settings, data_uri)
            arn = executions.start(name, values, selection)
            return _followed(arn, list(graph.needs(definition)), settings, request, aws)


def decide(version: int, status: str, settings: Settings) -> int:
    """Sets a local version to Approved or Rejected; the newest approved one is the champion."""
    with LocalAws(STATE, settings.region) as aws:
        from ml_pipeline.cloud import versions

        aws.connect()
        arn = versions.decided(version, status, settings)
        _renew(arn)
        print(f"{settings.prefix} version {version} is {status}; a run meets the newest approved version")
        return 0


def _renew(package_arn: str) -> None:
    """Rewrites model_package.json of the run that registered the version."""
    from ml_pipeline import results

    for folder in runs.newest_first():
        package = runs.read(folder, "model_package.json")
        if package and package["ModelPackageArn"] == package_arn:
            results.write_package(package_arn, folder)


def definition(pipeline: str, settings: Settings, account: str = ACCOUNT) -> int:
    """Prints the compiled definition of train or score; of both, one object that holds them by name.

    Compiling uploads, so it goes to a server of its own.
    """
    with tempfile.TemporaryDirectory() as folder, LocalAws(Path(folder), settings.region) as aws:
        from ml_pipeline import sdk, upsert

        sdk.load()  # while the server comes up
        aws.connect()
        settings = upsert.resolved(settings, account)
        prepare(settings)
        wanted = pipeline_parameters.PIPELINES if pipeline == BOTH else (pipeline,)
        found = {name: json.loads(text) for name, text in upsert.compiled(settings, wanted).items()}
        print(json.dumps(found if pipeline == BOTH else found[pipeline], indent=1))
        return 0


def _uploaded(path: Path, settings: Settings) -> str:
    """URI of the file: not that of a period, which is for labelled rows that have been scored."""
    from ml_pipeline import storage

    uri = f"s3://{settings.bucket}/raw/runs/{datetime.now(UTC):%Y-%m-%d}/{path.name}"
    storage.upload(path, uri)
    return uri


def _selection(rerun: Rerun | None, definition: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Members of StartPipelineExecution that name the steps to run and whose results the others have."""
    if rerun is None:
        return {}
    arn, names = rerun.source["arn"], rerun.selected(definition)
    check_known(rerun.source)
    _check_tuning_data(rerun, set(names), settings)
    selected = [{"StepName": name} for name in names]
    return {"SelectiveExecutionConfig": {"SourcePipelineExecutionArn": arn, "SelectedSteps": selected}}


def _check_tuning_data(rerun: Rerun, selected: set[str], settings: Settings) -> None:
    """Raises InputError if Tune is to run, and Process, which is kept, has written no data for it."""
    from ml_pipeline import storage

    if not settings.tune.trials or "Tune" not in selected or "Process" in selected:
        return
    process = next(step for step in rerun.source["steps"] if step["name"] == "Process")
    if not storage.list_uris(f"{process['result']['xgboost_uri']}/"):
        raise InputError(
            f"--from {rerun.step}: Process of run {rerun.source['id']} has written no data for Tune, since "
            f"trials was 0 (settings.toml, [tune]): use --from Process"
        )


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


def _followed(arn: str, names: list[str], settings: Settings, request: Request, aws: LocalAws) -> int:
    from ml_pipeline import executions, report, results, summary

    with ThreadPoolExecutor(1) as beside:
        beside.submit(report.load)  # what it imports takes a second, in which a step runs
        status = executions.followed(arn, names, settings, executions.LOCAL_POLL_SECONDS)
        folder = results.fetch(arn, settings, runs.RUNS)
        aws.end()  # while the report is drawn
        print("\n".join(summary.lines(folder, not request.fresh, options=request.options)), flush=True)
        print(_reported(folder, beside.submit(report.write, folder)), flush=True)
    return 0 if status == "Succeeded" else 1


def _reported(folder: Path, page: Future[Path]) -> str:
    """Where the report is, or why there is none, which does not change what came of the run."""
    error = page.exception()
    if error is None:
        return f"report: {page.result()}"
    again = f"{COMMAND} report {folder.name}"
    return f"report: not made, {type(error).__name__}: {error} (`{again}` shows where)"
