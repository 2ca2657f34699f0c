"""The command line: `python -m ml_pipeline COMMAND`."""

from __future__ import annotations

import argparse
import errno
import os
import sys

from ml_pipeline.commands import GROUPS
from ml_pipeline.errors import CloudError, InputError
from ml_pipeline.local import LocalAwsError

EXAMPLES = """\
examples:
  python -m ml_pipeline adopt mine.csv --target churned     settings.toml fits your data then
  python -m ml_pipeline run                                 the whole pipeline (at first on data/sample.csv)
  python -m ml_pipeline run --set ApprovalStatus=Approved   with a pipeline parameter set
  python -m ml_pipeline approve 1                           version 1 scores; the next run must meet it
  python -m ml_pipeline score --data new.csv                new rows scored by it; what has drifted
  python -m ml_pipeline definition > definition.json        what would be upserted to SageMaker

options of a command: python -m ml_pipeline COMMAND --help
exit codes: 0 done, 1 the pipeline or the deployment failed, 2 bad input, 3 plan: changed"""
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)  # the system's word for a file of the user's


def main(arguments: list[str]) -> int:
    """Exit code of one command; anything a user can get wrong is said in one line and is 2."""
    if sys.platform == "win32":
        return _refuse("native Windows is not supported: run this in WSL2 (https://aka.ms/wsl)")
    chosen = _parser().parse_args(arguments or ["--help"])
    try:
        code = chosen.call(chosen)
        sys.stdout.flush()  # here, where it is no traceback that nobody reads on
        return code
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except (CloudError, LocalAwsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in DENIED or error.filename is None:
            raise
        return _refuse(f"{error.filename}: {error.strerror}; give yourself access (ls -ld tells who has it)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_pipeline",
        description="Train, measure and register a model with the SageMaker pipeline of this project.",
        epilog="\n".join([*_listed(), EXAMPLES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # argparse cannot group subcommands: without a help of their own they are left to _listed.
    parsers = parser.add_subparsers(required=True, metavar="COMMAND", help="one of the commands below")
    for command in (command for group in GROUPS.values() for command in group):
        own = parsers.add_parser(command.name)
        own.description = f"{command.help[0].upper()}{command.help[1:]}."
        command.options(own)
        own.set_defaults(call=command.call)
    return parser


def _listed() -> list[str]:
    """The commands, by group."""
    lines = []
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {command.name:<12}{command.help}" for command in group), ""]
    return lines


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
