"""Options and calls of the commands that change an environment in the cloud, or tell what would change."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace

from ml_pipeline import settings
from ml_pipeline.cloud.options import cloud_or_local_options, connected, environment_options, in_the_cloud
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings


def deploy_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Brings stacks, image and pipelines to what this checkout says. A private copy (--suffix) has its "
        "schedules off."
    )
    environment_options(parser)
    parser.add_argument(
        "--ci", action="store_true", help="only what CI's role may: image, pipelines, triggers"
    )


def plan_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Shows what a deploy would change, and changes nothing: exit code 0 is unchanged, 3 changed."
    )
    environment_options(parser)
    parser.add_argument("--markdown", action="store_true", help="as a comment for a pull request")


def destroy_options(parser: ArgumentParser) -> None:
    parser.description = "Lists what would go, asks, and deletes it; data, models and foundation stay."
    environment_options(parser)
    parser.add_argument(
        "--all", action="store_true", help="data, models, images and the foundation as well: for good"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def definition_options(parser: ArgumentParser) -> None:
    cloud_or_local_options(parser)
    parser.add_argument(
        "--pipeline",
        choices=(*PIPELINES, "both"),
        default=PIPELINES[0],
        help="both: an object that holds each by its name (default: %(default)s)",
    )
    parser.add_argument("--account", metavar="ID", help="the account in it; nothing is asked of AWS")
    for option in ("--subnets", "--security-groups"):
        parser.add_argument(option, default="", metavar="IDS", help="of the jobs, with commas between them")
    parser.add_argument("--kms-key-arn", default="", metavar="ARN", help="of data and volumes")


def deploy(chosen: Namespace) -> int:
    from ml_pipeline.cloud import deploy

    return _in_the_cloud(chosen, lambda wanted, account: deploy.deploy(wanted, account, chosen.ci))


def upsert(chosen: Namespace) -> int:
    from ml_pipeline.cloud import deploy

    return _in_the_cloud(chosen, deploy.upsert_alone)


def image(chosen: Namespace) -> int:
    from ml_pipeline.cloud import deploy

    return _in_the_cloud(chosen, deploy.image_alone)


def plan(chosen: Namespace) -> int:
    from ml_pipeline.cloud import plan

    return _in_the_cloud(chosen, lambda wanted, account: plan.plan(wanted, account, chosen.markdown))


def destroy(chosen: Namespace) -> int:
    from ml_pipeline.cloud import destroy

    return _in_the_cloud(
        chosen, lambda wanted, account: destroy.destroy(wanted, account, chosen.all, chosen.yes)
    )


def doctor(chosen: Namespace) -> int:
    if not chosen.env:
        from ml_pipeline import doctor

        return doctor.doctor()
    from ml_pipeline.cloud import doctor as cloud_doctor

    return _in_the_cloud(chosen, cloud_doctor.doctor)


def definition(chosen: Namespace) -> int:
    from ml_pipeline import run

    if not chosen.env:
        return run.definition(chosen.pipeline, settings.load("local"))
    from ml_pipeline.cloud import access, infrastructure

    if not chosen.account:
        raise InputError(f"--env {chosen.env} needs --account, the 12 digits of its account")
    wanted = access.settings_of(chosen.env, chosen.suffix)
    if chosen.subnets:
        places = {"SubnetIds": chosen.subnets, "SecurityGroupIds": chosen.security_groups}
        wanted = infrastructure.in_network(wanted, places)
    return run.definition(chosen.pipeline, replace(wanted, kms_key_arn=chosen.kms_key_arn), chosen.account)


@in_the_cloud
def _in_the_cloud(chosen: Namespace, call: Callable[[Settings, str], int]) -> int:
    is_markdown = getattr(chosen, "markdown", False)  # which holds no account, and nothing before its title
    with redirect_stdout(sys.stderr if is_markdown else sys.stdout):
        settings = connected(chosen)
    return call(settings, settings.account)
