"""The command line: `python -m ml_pipeline COMMAND`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ml_pipeline import parameters, settings
from ml_pipeline.errors import InputError
from ml_pipeline.local import LocalAwsError

EXAMPLES = """\
examples:
  python -m ml_pipeline run                                 the whole pipeline on data/sample.csv
  python -m ml_pipeline run --data mine.csv                 on your data; settings.toml names its columns
  python -m ml_pipeline run --set ApprovalStatus=Approved   with a pipeline parameter set
  python -m ml_pipeline approve 1                           version 1 is what the next run must meet
  python -m ml_pipeline definition > definition.json        what would be upserted to SageMaker

exit codes: 0 done, 1 the pipeline failed or was stopped, 2 bad input"""


def main(arguments: list[str]) -> int:
    """Exit code of one command; anything a user can get wrong is said in one line and is 2."""
    if sys.platform == "win32":
        return _refuse("native Windows is not supported: run this in WSL2 (https://aka.ms/wsl)")
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.call(chosen)
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except LocalAwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_pipeline",
        description="Train, measure and register a model with the SageMaker pipeline of this project.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run the whole pipeline on this machine, on a local AWS; needs no account and no Docker",
        description="Runs the compiled pipeline on a local AWS; its results are in runs/<execution id>/.",
    )
    run.add_argument(
        "--data",
        type=Path,
        default=Path("data/sample.csv"),
        metavar="FILE",
        help=".csv or .parquet (default: data/sample.csv)",
    )
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"a pipeline parameter: {_names()}"
    )
    run.add_argument(
        "--fresh",
        action="store_true",
        help="on an empty local AWS that is thrown away: no champion, no earlier runs",
    )
    run.set_defaults(call=_run)
    for command, status in (("approve", "Approved"), ("reject", "Rejected")):
        decide = commands.add_parser(command, help=f"{command} a model version of the local registry")
        decide.add_argument("version", type=int, metavar="VERSION", help="its number, as `run` printed it")
        decide.set_defaults(call=_decide, status=status)
    definition = commands.add_parser("definition", help="print the compiled pipeline definition (JSON)")
    definition.set_defaults(call=_definition)
    return parser


def _run(chosen: argparse.Namespace) -> int:
    wanted = settings.load("local")
    values = _assignments(chosen.set)
    from ml_pipeline import run
    from ml_pipeline.steps.process import check_file

    check_file(chosen.data, wanted)
    return run.run(run.Request(chosen.data, values, chosen.fresh), wanted)


def _decide(chosen: argparse.Namespace) -> int:
    wanted = settings.load("local")
    from ml_pipeline import run

    return run.decide(chosen.version, chosen.status, wanted)


def _definition(chosen: argparse.Namespace) -> int:
    wanted = settings.load("local")
    from ml_pipeline import run

    return run.definition(wanted)


def _assignments(texts: list[str]) -> dict[str, str]:
    values = dict(text.split("=", 1) if "=" in text else (text, "") for text in texts)
    parameters.check(values, parameters.train_parameters("bucket"))
    return values


def _names() -> str:
    return ", ".join(parameter.name for parameter in parameters.train_parameters("bucket"))


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
