"""What the commands of the cloud share: options that name an environment, how a refusal of AWS is told."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import wraps
from typing import Any

from ml_pipeline.errors import CloudError, InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings


def environment_options(parser: ArgumentParser) -> None:
    parser.add_argument("--env", required=True, metavar="ENV", help="the environment: dev, staging or prod")
    _suffix_option(parser)


def cloud_or_local_options(parser: ArgumentParser) -> None:
    """Options of a command that works on the local AWS, or on this machine, without --env."""
    parser.add_argument("--env", metavar="ENV", help="in the cloud: dev, staging or prod (default: local)")
    _suffix_option(parser)


def _suffix_option(parser: ArgumentParser) -> None:
    parser.add_argument("--suffix", default="", metavar="NAME", help="your private copy of dev")


def pipeline_option(parser: ArgumentParser) -> None:
    parser.add_argument("--pipeline", choices=PIPELINES, default=PIPELINES[0], help="default: %(default)s")


def version_number(text: str, env: str | None, suffix: str = "") -> int:
    """Number of a model version. Raises InputError, which tells where to find one, for another text."""
    if text.isdecimal():
        return int(text)
    where = f"status --env {env}{f' --suffix {suffix}' if suffix else ''}" if env else "runs"
    raise InputError(
        f"VERSION must be the number of a model version, such as 3, got {text!r}: "
        f"`python -m ml_pipeline {where}` tells which one a run has registered"
    )


def connected(chosen: Namespace) -> Settings:
    """Settings of the environment, after account, region and endpoint were printed and checked."""
    from ml_pipeline.cloud import access

    return access.connect(access.settings_of(chosen.env, chosen.suffix))


def in_the_cloud(call: Callable[..., int]) -> Callable[..., int]:
    """The call, with what AWS refuses told in one line; then the exit code is 1."""

    @wraps(call)
    def called(*given: Any) -> int:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call(*given)
        except (CloudError, BotoCoreError) as error:
            return _failed(str(error))
        except ClientError as error:
            return _failed(f"AWS refuses {error.operation_name}: {error.response['Error']['Message']}")

    return called


def _failed(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1
