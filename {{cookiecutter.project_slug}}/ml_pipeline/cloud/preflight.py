"""What must be true before a pipeline is written: Python, image, role, quotas. Nothing is changed here."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import schedule
from ml_pipeline.cloud import infrastructure, stacks
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import FILE, Settings
from ml_pipeline.upsert import PROJECT, sources

REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
# A region or an endpoint without the service.
NOT_THERE = (
    "UnknownOperationException",
    "NoSuchResourceException",
)


def check(settings: Settings) -> list[str]:
    """What could not be looked at, a line each. Raises InputError for what would make the pipeline fail."""
    checkout()
    image(settings)
    return [*role(settings), *quotas(settings)]


def python() -> str:
    """Raises InputError unless this Python is the image's: the SDK refuses a step of another."""
    file = PROJECT / ".python-version"
    if not file.exists():
        raise InputError(f"{file} is missing: it holds the image's Python, such as 3.13, in one line")
    wanted = file.read_text().strip()
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found != wanted:
        raise InputError(
            f"this is Python {found}, the image has {wanted} (.python-version): "
            "use .venv/bin/python (make setup)"
        )
    return found


def checkout() -> None:
    """Raises InputError unless this Python is the image's and every module can be compiled by it."""
    python()
    for path in (path for path in sources() if path.suffix == ".py"):
        try:
            compile(path.read_bytes(), path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:  # ValueError: a NUL byte
            place = f"{path.relative_to(PROJECT)}:{getattr(error, 'lineno', None) or 1}"
            raise InputError(f"{place}: {getattr(error, 'msg', error)}; nothing was done") from None


def schedules(settings: Settings) -> None:
    """Raises InputError for a schedule whose only moment is over. Those of a private copy are off anyway.

    One that is deployed as it is wanted has done its work: CloudFormation does not touch it again.
    """
    now = datetime.now(UTC)
    for pipeline in () if settings.suffix else PIPELINES:
        expression, zone = getattr(settings.schedule, pipeline), settings.schedule.timezone
        if schedule.is_past(expression, zone, now) and not _is_deployed(pipeline, settings):
            raise InputError(
                f"{pipeline} must be a moment still to come, got {expression!r} in {zone}: name a later one, "
                f'or "" for no schedule ({FILE}, [schedule]); nothing was done'
            )


def _is_deployed(pipeline: str, settings: Settings) -> bool:
    """Whether the triggers stack has the pipeline's schedule with the values that it is to have."""
    wanted = infrastructure.schedule_parameters(pipeline, settings)
    found = stacks.parameters(infrastructure.name(infrastructure.TRIGGERS, settings))
    return all(found.get(name) == value for name, value in wanted.items())


def image(settings: Settings) -> str:
    """The image's URI. Raises InputError when ECR has no such tag."""
    if not has_image(settings):
        raise InputError(
            f"ECR has no image {settings.image_uri}: `python -m ml_pipeline image "
            f"{settings.options}` builds and pushes it"
        )
    return settings.image_uri


def has_image(settings: Settings) -> bool:
    ids = [{"imageTag": settings.image_tag}]
    try:
        boto3.client("ecr").describe_images(repositoryName=settings.prefix, imageIds=ids)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ImageNotFoundException", "RepositoryNotFoundException"):
            return False
        raise
    return True


def role(settings: Settings) -> list[str]:
    """Raises InputError when the execution role does not exist or SageMaker may not assume it."""
    name = settings.role_arn.rpartition("/")[2]
    try:
        found = boto3.client("iam").get_role(RoleName=name)["Role"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED:
            return [f"role {name} was not looked at: AWS answers {code}"]
        if code == "NoSuchEntity":
            raise InputError(f"role {name} does not exist: the foundation stack makes it") from None
        raise
    if found["Arn"] != settings.role_arn:
        raise InputError(f"role {name} is {found['Arn']}, settings say {settings.role_arn}")
    return []


def quotas(settings: Settings) -> list[str]:
    """Raises InputError for an instance type that the account may have none of."""
    try:
        allowed = sagemaker_quotas()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED + NOT_THERE:
            return [f"quotas were not looked at: AWS answers {code}"]
        raise
    none_of = [name for name in quota_names(settings) if allowed.get(name) == 0]
    if none_of:
        raise InputError(
            f"the quota {', '.join(map(repr, none_of))} is 0 in {settings.region}: ask for more "
            "(console, Service Quotas, Amazon SageMaker), or take another instance_type (settings.toml)"
        )
    return []


def sagemaker_quotas() -> dict[str, float]:
    """Quotas by name."""
    paginator = boto3.client("service-quotas").get_paginator("list_service_quotas")
    pages = paginator.paginate(ServiceCode="sagemaker")
    return {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}


def quota_names(settings: Settings) -> list[str]:
    """Names of the quotas that an execution draws on."""
    train, tune = settings.train, settings.tune
    trained = [(settings.compute.instance_type, False), (train.instance_type, train.spot)]
    trained += [(tune.instance_type, tune.spot)] if tune.trials else []
    names = [f"{kind} for {'spot ' if spot else ''}training job usage" for kind, spot in trained]
    names.append(f"{settings.transform.instance_type} for transform job usage")
    if settings.bias.engine == "clarify" and settings.data.facets:
        names.append(f"{settings.compute.instance_type} for processing job usage")
    return list(dict.fromkeys(names))
