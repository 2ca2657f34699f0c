"""Versions of the environment's model package group: found by number, approved, rejected."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings


def summaries(group: str, client: Any) -> list[dict[str, Any]]:
    """ModelPackageSummaries of a group; none of one that does not exist."""
    pages = client.get_paginator("list_model_packages")
    try:
        return [
            package
            for page in pages.paginate(ModelPackageGroupName=group)
            for package in page["ModelPackageSummaryList"]
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
            raise
        return []


def find(version: int, settings: Settings, client: Any) -> str:
    """ARN of the version. Raises InputError, which lists those there are."""
    found = {
        package["ModelPackageVersion"]: package["ModelPackageArn"]
        for package in summaries(settings.prefix, client)
    }
    if version not in found:
        known = ", ".join(map(str, sorted(found))) or "none yet: run the pipeline first"
        raise InputError(f"{settings.prefix} has no version {version}; registered are: {known}")
    return found[version]


def decided(version: int, status: str, settings: Settings) -> str:
    """ARN of the version, which is Approved or Rejected now."""
    client = boto3.client("sagemaker")
    arn = find(version, settings, client)
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
    return arn
