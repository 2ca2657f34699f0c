"""Members of SageMaker requests that keep a job in the private subnets and its data under our key.

All of them are empty unless the settings hold subnets ([network] vpc_only) or a key (the foundation's).
"""

from __future__ import annotations

import re
from typing import Any

from ml_pipeline.settings import Settings

# Families with local disks: their own hardware encrypts these, and SageMaker refuses a key of ours.
LOCAL_DISKS = re.compile(r"ml\.([a-z]+\d+[a-z]*d[a-z]*|g5|g6e?|gr6|p5[a-z]*|p6[a-z-]*|trn\d+n?|inf2)\.")


def vpc(settings: Settings) -> dict[str, Any]:
    """{VpcConfig}, of a model or a training job."""
    return {"VpcConfig": _places(settings)} if settings.subnets else {}


def training(settings: Settings) -> dict[str, Any]:
    """Members of a training job, or of a tuning job's trials, whose container calls nothing of AWS."""
    closed = {"EnableInterContainerTrafficEncryption": True, "EnableNetworkIsolation": True}
    return vpc(settings) | closed if settings.subnets else {}


def model(settings: Settings) -> dict[str, Any]:
    """Members of a model whose container calls nothing of AWS."""
    return vpc(settings) | {"EnableNetworkIsolation": True} if settings.subnets else {}


def processing(settings: Settings) -> dict[str, Any]:
    """{NetworkConfig} of a processing job, which reads and writes S3 itself."""
    if not settings.subnets:
        return {}
    return {
        "NetworkConfig": {
            "EnableInterContainerTrafficEncryption": True,
            "EnableNetworkIsolation": False,
            "VpcConfig": _places(settings),
        }
    }


def output_key(settings: Settings) -> dict[str, str]:
    """{KmsKeyId} of what a job writes to S3."""
    return {"KmsKeyId": settings.kms_key_arn} if settings.kms_key_arn else {}


def volume_key(settings: Settings, instance_type: str) -> dict[str, str]:
    """{VolumeKmsKeyId} of an instance's disk."""
    if not settings.kms_key_arn or LOCAL_DISKS.match(instance_type):
        return {}
    return {"VolumeKmsKeyId": settings.kms_key_arn}


def function_step(settings: Settings, instance_type: str) -> dict[str, Any]:
    """Arguments of the SDK's `step` for the same."""
    options: dict[str, Any] = {}
    if settings.subnets:
        options |= {
            "subnets": list(settings.subnets),
            "security_group_ids": list(settings.security_groups),
            "encrypt_inter_container_traffic": True,
        }
    if key := volume_key(settings, instance_type):
        options["volume_kms_key"] = key["VolumeKmsKeyId"]
    return options


def _places(settings: Settings) -> dict[str, list[str]]:
    return {"SecurityGroupIds": list(settings.security_groups), "Subnets": list(settings.subnets)}
