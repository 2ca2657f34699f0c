"""`doctor --env`: what an environment in the cloud needs, each in one line: ok, unknown or the remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import boto3

from ml_pipeline import upsert
from ml_pipeline.cloud import infrastructure, preflight, stacks
from ml_pipeline.doctor import Remedy
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings


class Unseen(Exception):
    """What could not be looked at, and why: neither well nor to be mended."""


def doctor(settings: Settings, account: str) -> int:
    """Prints a line for each check; exit code 1 when one needs a remedy."""
    settings = upsert.located(settings, account)
    failed = failed_stacks = False
    for name, check in CHECKS.items():
        if failed_stacks and name in OF_STACKS:
            print(f"unknown {name:<13} until the stacks are there", flush=True)
            continue
        try:
            print(f"ok      {name:<13} {check(settings)}", flush=True)
        except Unseen as reason:
            print(f"unknown {name:<13} {reason}", flush=True)
        except (Remedy, InputError) as remedy:
            failed, failed_stacks = True, failed_stacks or name == "stacks"
            print(f"mend    {name:<13} {remedy}", flush=True)
    return int(failed)


def credentials(settings: Settings) -> str:
    """How long they last; temporary ones tell, long-lived ones do not end."""
    found = boto3.Session().get_credentials()
    expiry = getattr(found, "_expiry_time", None)  # botocore has no public name for it
    method = f"from {found.method}"
    if expiry:
        left = (expiry - datetime.now(UTC)).total_seconds() / 60
        return f"{method}, end in {left:.0f} minutes and are renewed if their source allows it"
    if found.token:
        return f"{method}, temporary; when they end is known to whoever issued them"
    return f"{method}, long-lived keys: a role or `aws sso login` is safer"


def region(settings: Settings) -> str:
    upsert.with_images(settings)
    return f"{settings.region} has the managed images"


def python(settings: Settings) -> str:
    return f"{preflight.python()}, as the image"


def stack_states(settings: Settings) -> str:
    names = [infrastructure.name(kind, settings) for kind in infrastructure.kinds(settings)]
    absent = [name for name in names if stacks.state(name) != stacks.READY]
    if absent:
        deploy = f"python -m ml_pipeline deploy {settings.options}"
        raise Remedy(f"{', '.join(absent)} not deployed: {deploy}")
    return ", ".join(names)


def outputs(settings: Settings) -> str:
    infrastructure.with_outputs(settings)
    return "as the settings expect them"


def role(settings: Settings) -> str:
    _seen(preflight.role(settings))
    return settings.role_arn


def quotas(settings: Settings) -> str:
    _seen(preflight.quotas(settings))
    return "none of those that a run needs is 0"


def _seen(left_out: list[str]) -> None:
    """Raises Unseen for what was left out."""
    if left_out:
        raise Unseen("; ".join(left_out))


def pipelines(settings: Settings) -> str:
    names = [f"{settings.prefix}-{pipeline}" for pipeline in PIPELINES]
    remedy = f"python -m ml_pipeline upsert {settings.options}"
    client = boto3.client("sagemaker")
    absent = [name for name in names if upsert.described(client, name) is None]
    if absent:
        raise Remedy(f"{' and '.join(absent)} not there: {remedy}")
    settings = infrastructure.with_outputs(settings)
    for name, pipeline in zip(names, PIPELINES, strict=True):
        if upsert.unchanged(settings, pipeline) is None:
            raise Remedy(f"{name} is not of this code, lock and settings: {remedy}")
    return f"{' and '.join(names)} are of this code, lock and settings"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "credentials": credentials,
    "region": region,
    "Python": python,
    "stacks": stack_states,
    "outputs": outputs,
    "role": role,
    "image": preflight.image,
    "quotas": quotas,
    "pipelines": pipelines,
}
OF_STACKS = ("outputs", "role", "image", "pipelines")  # what a deployment makes or mends with them
