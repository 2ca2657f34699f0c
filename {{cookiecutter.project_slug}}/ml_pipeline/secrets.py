"""Secrets that steps may read: those that settings.toml names in [secrets], from AWS Secrets Manager."""

from __future__ import annotations

import boto3

from ml_pipeline.settings import FILE, Settings


class SecretError(RuntimeError):
    """A secret that is not named in the settings, or that is not text."""


def secret(name: str, settings: Settings) -> str:
    """Value of the secret, as text. Raises SecretError."""
    if name not in settings.secrets:
        known = ", ".join(settings.secrets) or "none"
        raise SecretError(f"no secret {name!r} in {FILE}, [secrets]; named there: {known}")
    answer = boto3.client("secretsmanager").get_secret_value(SecretId=settings.secrets[name])
    if "SecretString" not in answer:
        raise SecretError(f"secret {name} ({settings.secrets[name]}) holds bytes: store it as text")
    return answer["SecretString"]
