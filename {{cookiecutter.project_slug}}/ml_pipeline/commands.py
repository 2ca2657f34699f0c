"""The commands: one row of the table each, with a function for its options and one that does it.

What is heavy (boto3, pandas, the SDK) is imported inside the second, once settings and arguments are checked.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from ml_pipeline import parameters, settings


@dataclass(frozen=True)
class Command:
    """One subcommand. help: one line of the list of commands. call: returns the exit code."""

    name: str
    help: str
    options: Callable[[ArgumentParser], None]
    call: Callable[[Namespace], int]


def _run_options(parser: ArgumentParser) -> None:
    parser.description = "Runs the compiled pipeline on a local AWS; its results are in runs/<execution id>/."
    parser.add_argument(
        "--data",
        metavar="FILE",
        help=".csv or .parquet, or s3://bucket/key (default: file in settings.toml, [data])",
    )
    names = ", ".join(parameter.name for parameter in parameters.train_parameters("bucket"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"a pipeline parameter: {names}"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="on an empty local AWS that is thrown away: no champion, no earlier runs",
    )


def _run(chosen: Namespace) -> int:
    wanted = settings.load("local")
    values = _assignments(chosen.set)
    from ml_pipeline import run, source
    from ml_pipeline.steps.process import check_file

    data = source.local_file(chosen.data or wanted.data.file)
    check_file(data, wanted)
    return run.run(run.Request(data, values, chosen.fresh), wanted)


def _assignments(texts: list[str]) -> dict[str, str]:
    values = dict(text.split("=", 1) if "=" in text else (text, "") for text in texts)
    parameters.check(values, parameters.train_parameters("bucket"))
    return values


def _version_option(parser: ArgumentParser) -> None:
    parser.add_argument("version", type=int, metavar="VERSION", help="its number, as `run` printed it")


def _approve(chosen: Namespace) -> int:
    return _decide(chosen.version, "Approved")


def _reject(chosen: Namespace) -> int:
    return _decide(chosen.version, "Rejected")


def _decide(version: int, status: str) -> int:
    wanted = settings.load("local")
    from ml_pipeline import run

    return run.decide(version, status, wanted)


def _no_options(parser: ArgumentParser) -> None:
    pass


def _definition(chosen: Namespace) -> int:
    wanted = settings.load("local")
    from ml_pipeline import run

    return run.definition(wanted)


def _adopt_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Looks at a file of yours and rewrites [data] and [split] of settings.toml to fit it."
    )
    parser.add_argument("file", metavar="FILE", help=".csv or .parquet, or s3://bucket/key")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="to predict")
    parser.add_argument(
        "--problem", choices=("binary", "multiclass", "regression"), help="where it is guessed wrong"
    )
    parser.add_argument("--positive", default="", metavar="VALUE", help="label counted as 1")
    parser.add_argument(
        "--facet",
        action="append",
        default=[],
        metavar="COLUMN",
        help="whose groups are compared for bias; repeatable",
    )
    parser.add_argument("--group", default="", metavar="COLUMN", help="that bias is also measured within")
    parser.add_argument(
        "--id",
        action="append",
        default=[],
        metavar="COLUMN",
        help="that identifies a row or a customer; repeatable",
    )
    parser.add_argument(
        "--time", default="", metavar="COLUMN", help="the newest rows are held out as test rows"
    )
    parser.add_argument("--rows", type=int, metavar="N", help="to look at, drawn from all of the file")
    parser.add_argument(
        "--dry-run", action="store_true", help="show the change of settings.toml, write nothing"
    )


def _adopt(chosen: Namespace) -> int:
    settings.load("local")
    from ml_pipeline import adopt

    return adopt.adopt(adopt.request(chosen))


GROUPS = {
    "on this machine, with neither an AWS account nor Docker": (
        Command("adopt", "make settings.toml fit a data file of yours", _adopt_options, _adopt),
        Command("run", "the whole pipeline, on a local AWS", _run_options, _run),
        Command(
            "approve", "make a model version the one that the next run must meet", _version_option, _approve
        ),
        Command("reject", "take a model version out again", _version_option, _reject),
        Command("definition", "print the compiled pipeline definition (JSON)", _no_options, _definition),
    ),
}
