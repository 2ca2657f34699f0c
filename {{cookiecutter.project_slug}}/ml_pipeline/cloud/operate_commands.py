"""The commands that work with what is deployed: options, and calls that check before AWS is asked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from ml_pipeline import parameters, summary
from ml_pipeline.cloud.options import (
    connected,
    environment_options,
    in_the_cloud,
    pipeline_option,
    version_number,
)
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings


def upload_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Checks a file and uploads it as a period. raw: labelled data, checked as `run` does; training takes "
        "the newest period. score: new rows, which the scheduled scoring finds. truth: the labels of scored "
        "rows, by id, once they are known."
    )
    parser.add_argument(
        "file", metavar="FILE", help=".csv or .parquet, or s3://bucket/key; to score also a folder of these"
    )
    environment_options(parser)
    parser.add_argument("--to", choices=("raw", "score", "truth"), default="raw", help="default: %(default)s")
    parser.add_argument("--period", metavar="YYYY-MM-DD", help="what the data are of (default: today, UTC)")
    parser.add_argument("--replace", action="store_true", help="take the place of a period that is complete")


@in_the_cloud
def upload(chosen: Namespace) -> int:
    from ml_pipeline import periods
    from ml_pipeline.cloud import access

    wanted = access.settings_of(chosen.env, chosen.suffix)
    period = periods.checked(chosen.period or f"{datetime.now(UTC):%Y-%m-%d}")
    settings = access.connect(wanted)
    paths = _checked_files(chosen.file, chosen.to, settings)
    from ml_pipeline.cloud import upload

    place = upload.upload(paths, chosen.to, period, chosen.replace, settings)
    told = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files of {chosen.file}"
    print(f"{told} -> {place}, complete")
    if chosen.to == "score" and upload.is_scored(period, settings):
        again = f"start {settings.options} --pipeline score --set Period={period}"
        print(f"it was scored before; to score it again: {summary.COMMAND} {again}")
    return 0


def _checked_files(given: str, to: str, wanted: Settings) -> list[Path]:
    """The files to upload, of S3 fetched. Raises InputError for what they alone tell to be wrong."""
    from ml_pipeline import delivery, source

    if to == "score":
        return delivery.files(given)
    path = source.local_file(given)
    if to == "truth":
        delivery.check_truth(path, wanted.data)
    else:
        from ml_pipeline.steps.process import check_file

        check_file(path, wanted)
    return [path]


def start_options(parser: ArgumentParser) -> None:
    parser.description = "Starts a deployed pipeline; tells first what that will take and cost."
    environment_options(parser)
    pipeline_option(parser)
    names = {name: ", ".join(p.name for p in parameters.of(name, "")) for name in parameters.PIPELINES}
    set_option(parser, "; ".join(f"{listed} ({name})" for name, listed in names.items()))


def set_option(parser: ArgumentParser, names: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"a pipeline parameter: {names}"
    )


def assignments(texts: list[str], pipeline: str) -> dict[str, str]:
    """Values by name of `--set` options. Raises InputError."""
    values = dict(text.split("=", 1) if "=" in text else (text, "") for text in texts)
    parameters.check(values, parameters.of(pipeline, "bucket"))
    return values


@in_the_cloud
def start(chosen: Namespace) -> int:
    values = assignments(chosen.set, chosen.pipeline)
    settings = connected(chosen)
    from ml_pipeline.cloud import operate

    return operate.start(values, chosen.pipeline, settings)


def _execution_argument(parser: ArgumentParser, default: str) -> None:
    parser.add_argument(
        "execution",
        nargs="?",
        metavar="EXECUTION",
        help=f"its id or the beginning of it (default: {default})",
    )


def status_options(parser: ArgumentParser) -> None:
    _execution_argument(parser, "the newest")
    environment_options(parser)
    pipeline_option(parser)
    parser.add_argument("--follow", action="store_true", help="until it has ended")


@in_the_cloud
def status(chosen: Namespace) -> int:
    settings = connected(chosen)
    from ml_pipeline import executions
    from ml_pipeline.cloud import operate

    arn = executions.find(chosen.execution, chosen.pipeline, settings)
    return operate.status(arn, chosen.follow, settings)


def stop_options(parser: ArgumentParser) -> None:
    parser.description = "Stops an execution and the tuning, transform and processing jobs that it started."
    parser.add_argument("execution", metavar="EXECUTION", help="its id or the beginning of it")
    environment_options(parser)
    pipeline_option(parser)


@in_the_cloud
def stop(chosen: Namespace) -> int:
    settings = connected(chosen)
    from ml_pipeline import executions
    from ml_pipeline.cloud import operate

    return operate.stop(executions.find(chosen.execution, chosen.pipeline, settings))


def fetch_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Fills runs/<execution id>/ from the cloud, as `run` and `score` fill it, with the report."
    )
    parser.add_argument("execution", metavar="EXECUTION", help="its id or the beginning of it")
    environment_options(parser)
    pipeline_option(parser)


@in_the_cloud
def fetch(chosen: Namespace) -> int:
    settings = connected(chosen)
    from ml_pipeline import executions
    from ml_pipeline.cloud import operate

    return operate.fetch(executions.find(chosen.execution, chosen.pipeline, settings), settings)


@in_the_cloud
def logs(chosen: Namespace) -> int:
    """What a step printed in the cloud; `logs` without --env is of the runs on this machine."""
    settings = connected(chosen)
    from ml_pipeline import executions
    from ml_pipeline.cloud import joblogs

    arn = executions.find(chosen.execution, chosen.pipeline, settings)
    ran = joblogs.step_of(arn, chosen.step)
    for line in joblogs.lines(ran, chosen.follow, executions.CLOUD_POLL_SECONDS):
        print(line, flush=True)
    return 0


@in_the_cloud
def decide(chosen: Namespace, version: int, status: str) -> int:
    settings = connected(chosen)
    from ml_pipeline.cloud import versions

    versions.decided(version, status, settings)
    print(f"{settings.prefix} version {version} is {status}")
    return 0


def promote_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Copies a version's image, model and baselines into the next environment and registers it there, "
        "pending approval; or trains there anew (settings.toml, [deploy] promotion)."
    )
    parser.add_argument("version", metavar="VERSION", help="its number in --env")
    parser.add_argument("--to", required=True, metavar="ENV", help="staging or prod, or dev with --env")
    parser.add_argument("--env", metavar="ENV", help="where the version is (default: the one before --to)")
    parser.add_argument(
        "--to-profile", default="", metavar="NAME", help="AWS profile for --to, if that is another account"
    )


@in_the_cloud
def promote(chosen: Namespace) -> int:
    from ml_pipeline.cloud import access, promote

    source, target = promote.route(chosen.env, chosen.to)
    version = version_number(chosen.version, source)
    wanted = access.settings_of(target)
    found = access.connect(access.settings_of(source))
    return promote.promote(version, found, wanted, chosen.to_profile)


def smoke_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Deploys a private copy of dev (--suffix try), runs both pipelines there once with the sample data "
        "on the smallest machines, does the same on the local AWS, tells what it cost, writes down where "
        "the two AWS differ, and destroys the copy. dev itself, deployed or not, stays as it is."
    )
    parser.add_argument("--env", required=True, metavar="ENV", help="dev alone")


@in_the_cloud
def smoke(chosen: Namespace) -> int:
    if chosen.env != "dev":
        raise InputError(f"smoke works in a copy of dev alone, got --env {chosen.env}")
    from ml_pipeline.cloud import access, smoke

    return smoke.smoke(access.connect(access.settings_of(chosen.env, smoke.SUFFIX)))
