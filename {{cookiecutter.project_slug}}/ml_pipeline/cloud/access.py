"""The AWS account that a command of the cloud works in: said before anything is done, and checked."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ml_pipeline.errors import InputError
from ml_pipeline.settings import ENVIRONMENTS, FILE, Settings, load

CLOUD = tuple(name for name in ENVIRONMENTS if name != "local")
LONGEST_PREFIX = len("-staging") + 24  # of names: a longer one would break the limits of jobs and buckets
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
REFUSED = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "AuthFailure")


def settings_of(env: str, suffix: str = "") -> Settings:
    """Settings of an environment in the cloud, or of a developer's copy of dev. Raises InputError."""
    if env not in CLOUD:
        raise InputError(f"--env must be one of {', '.join(CLOUD)}, got {env!r}")
    settings = load(env)
    if not suffix:
        return settings
    if env != "dev":
        raise InputError(f"--suffix makes a private copy of dev alone, got --env {env}")
    longest = LONGEST_PREFIX - len(f"{settings.prefix}-")
    if not re.fullmatch(r"[a-z0-9]+", suffix) or len(suffix) > longest:
        raise InputError(f"--suffix must be 1 to {longest} of a-z and 0-9, got {suffix!r}")
    return replace(settings, suffix=suffix)


def connect(settings: Settings) -> Settings:
    """Settings with the account that the credentials belong to, after it was printed and checked.

    Raises InputError when there are no valid credentials, or when they are of another account or region than
    the environment's.
    """
    identity = _identity(settings.region)
    place = f"account {identity['Account']}, region {settings.region}, endpoint {_endpoint(settings.region)}"
    print(f"{settings.prefix}: {place}, as {identity['Arn']}", flush=True)
    if settings.deploy.account not in ("", identity["Account"]):
        raise InputError(
            f"the credentials are of account {identity['Account']}, {settings.env} is in "
            f"{settings.deploy.account} ({FILE}, [env.{settings.env}.deploy] account): nothing was done"
        )
    configured = os.environ.get("AWS_REGION") or boto3.Session().region_name  # which boto3 does not look at
    if configured and configured != settings.region:
        raise InputError(
            f"AWS_REGION or the profile says {configured}, {settings.env} is in {settings.region} "
            f"({FILE}, [project] region): set AWS_REGION={settings.region}; nothing was done"
        )
    boto3.setup_default_session(region_name=settings.region)
    return replace(settings, account=identity["Account"])


def _endpoint(region: str) -> str:
    return boto3.client("sagemaker", region_name=region).meta.endpoint_url


def _identity(region: str) -> dict[str, str]:
    try:
        return boto3.client("sts", region_name=region).get_caller_identity()
    except NoCredentialsError:
        raise InputError(
            "no AWS credentials: `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in EXPIRED:
            raise InputError(
                "the AWS credentials have expired: renew them, for example `aws sso login`"
            ) from None
        if code in REFUSED:
            raise InputError(
                f"AWS does not accept the credentials ({code}): check AWS_PROFILE and keys"
            ) from None
        raise
    except BotoCoreError as error:  # a profile that does not exist, an SSO session that has ended, no network
        raise InputError(f"AWS cannot be asked who you are: {error}") from None
