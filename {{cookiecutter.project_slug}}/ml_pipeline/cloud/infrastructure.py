"""The stacks of one environment: which there are, what each is given, what the pipeline takes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ml_pipeline.cloud import stacks
from ml_pipeline.cloud.stacks import INFRA, Stack, Template
from ml_pipeline.errors import InputError
from ml_pipeline.settings import FILE, Settings

NETWORK, FOUNDATION, TRIGGERS = "network", "foundation", "triggers"
FOUNDATION_OUTPUTS = (
    "BucketName",
    "RepositoryUri",
    "ModelPackageGroupName",
    "ExecutionRoleArn",
    "ImageBuildProject",
)
NETWORK_OUTPUTS = ("SubnetIds", "SecurityGroupIds")
# Parameters that have a place of their own in settings.toml.
PLACES = {
    "Project": "[project] slug",
    "Environment": "--env and --suffix",
    "TuningJobPrefix": "[project] slug",
    "VpcOnly": "[network] vpc_only",
    "SecretArns": "[secrets]",
    "TrainSchedule": "[schedule] train",
    "ScoreSchedule": "[schedule] score",
    "ScheduleTimezone": "[schedule] timezone",
    "FlexibleMinutes": "[schedule] flexible_minutes",
    "SchedulesState": "--suffix, which turns the schedules off",
    "NotificationEmail": "[triggers] email",
    "BucketName": "what the foundation stack makes",
}


def name(kind: str, settings: Settings) -> str:
    return f"{settings.prefix}-{kind}"


def kinds(settings: Settings) -> tuple[str, ...]:
    """The stacks of the environment in the order in which one needs another's outputs."""
    return (FOUNDATION, NETWORK, TRIGGERS) if settings.network.vpc_only else (FOUNDATION, TRIGGERS)


def templates(settings: Settings) -> dict[str, Template]:
    """Templates by kind. Raises InputError, also for [deploy.parameters] that no file of infra/ takes."""
    found = {kind: stacks.template(INFRA / f"{kind}.yaml") for kind in kinds(settings)}
    files = [stacks.template(path).parameters for path in INFRA.glob("*.yaml")]
    declared = {name for parameters in files for name in parameters}
    for given, value in settings.deploy.parameters.items():
        if given in PLACES:
            raise InputError(f"{given} has its own place, {PLACES[given]} ({FILE}, [deploy.parameters])")
        if given not in declared:
            raise InputError(
                f"unknown Parameter {given} ({FILE}, [deploy.parameters]); infra/*.yaml declare: "
                f"{', '.join(sorted(declared - set(PLACES)))}"
            )
        for parameters in files:
            _check_value(given, value, parameters.get(given, {}))
    return found


def _check_value(name: str, value: str, declared: Mapping[str, Any]) -> None:
    """Raises InputError for a value that CloudFormation would refuse, with the Parameter's own words."""
    allowed, pattern = declared.get("AllowedValues"), declared.get("AllowedPattern", ".*")
    values = value.split(",") if declared.get("Type") == "CommaDelimitedList" else [value]
    if (allowed and value not in allowed) or not all(re.fullmatch(pattern, each) for each in values):
        wanted = f"one of {', '.join(allowed)}" if allowed else f"as {pattern}"
        raise InputError(
            f"{name} must be {wanted}, got {value!r}: {declared['Description']} ({FILE}, [deploy.parameters])"
        )


def stack(kind: str, template: Template, settings: Settings, known: dict[str, str]) -> Stack:
    """The stack as the settings want it. known: outputs of the stacks before it, by name."""
    values = known | _own(settings) | dict(settings.deploy.parameters)
    given = {name: values[name] for name in template.parameters if name in values}
    return Stack(name(kind, settings), template, given, settings.resource_tags)


def outputs(kind: str, settings: Settings) -> dict[str, str]:
    """Outputs of a stack that must be there. Raises InputError for one that is missing or unexpected."""
    wanted = {NETWORK: NETWORK_OUTPUTS, FOUNDATION: FOUNDATION_OUTPUTS}[kind]
    stack_name = name(kind, settings)
    remedy = f"a person deploys it with `python -m ml_pipeline deploy {settings.options}`"
    if stacks.state(stack_name) != stacks.READY:
        raise InputError(f"stack {stack_name} does not exist: {remedy}")
    found = stacks.outputs(stack_name)
    for output in wanted:
        if not found.get(output):
            raise InputError(f"stack {stack_name} has no output {output}: {remedy}")
    expected = {"BucketName": settings.bucket, "ExecutionRoleArn": settings.role_arn}
    for output, value in expected.items() if kind == FOUNDATION else ():
        if found[output] != value:
            raise InputError(
                f"stack {stack_name} has output {output} = {found[output]}, settings say {value}: {remedy}"
            )
    return found


def with_outputs(settings: Settings) -> Settings:
    """Settings with the subnets, security groups and key that the stacks have made."""
    if settings.network.vpc_only:
        settings = in_network(settings, outputs(NETWORK, settings))
    return replace(settings, kms_key_arn=outputs(FOUNDATION, settings).get("KmsKeyArn", ""))


def in_network(settings: Settings, found: dict[str, str]) -> Settings:
    return replace(
        settings,
        subnets=tuple(found["SubnetIds"].split(",")),
        security_groups=tuple(found["SecurityGroupIds"].split(",")),
    )


def _own(settings: Settings) -> dict[str, str]:
    return {
        "Project": settings.project.slug,
        "Environment": settings.environment,
        "TuningJobPrefix": f"{settings.project.slug[:13]}-{settings.env[0]}",
        "VpcOnly": str(settings.network.vpc_only).lower(),
        "SecretArns": ",".join(settings.secrets.values()),
        **schedule_parameters("train", settings),
        **schedule_parameters("score", settings),
        "NotificationEmail": settings.triggers.email,
    }


def schedule_parameters(pipeline: str, settings: Settings) -> dict[str, str]:
    """Parameters of the triggers stack that the pipeline's schedule is made of."""
    return {
        f"{pipeline.capitalize()}Schedule": getattr(settings.schedule, pipeline),
        "ScheduleTimezone": settings.schedule.timezone,
        "FlexibleMinutes": str(settings.schedule.flexible_minutes),
        "SchedulesState": "DISABLED" if settings.suffix else "ENABLED",
    }
