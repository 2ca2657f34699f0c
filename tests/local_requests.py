"""Requests that tests of the local AWS send."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

from conftest import IMAGE, REGION, ROLE, Server

ACCOUNT = "123456789012"
XGBOOST = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:3.2-0"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
ENDED = ("Completed", "Failed", "Stopped", "Succeeded")


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def definition(*parameters: dict) -> str:
    steps = [{"Name": "Rejected", "Type": "Fail", "Arguments": {"ErrorMessage": "not good enough"}}]
    return json.dumps({"Version": "2020-12-01", "Parameters": [*parameters], "Steps": steps})


PARAMETERS = (
    {"Name": "Reason", "Type": "String", "DefaultValue": "manual"},
    {"Name": "Rounds", "Type": "Integer", "DefaultValue": 5},
    {"Name": "Status", "Type": "String", "DefaultValue": "A", "EnumValues": ["A", "B"]},
    {"Name": "Fast", "Type": "Boolean", "DefaultValue": False},
)


def make_pipeline(server: Server) -> str:
    pipeline = name("pipe")
    server.client("sagemaker").create_pipeline(
        PipelineName=pipeline, RoleArn=ROLE, PipelineDefinition=definition(*PARAMETERS)
    )
    return pipeline


def wait_until_ended(describe: Callable[[], str]) -> str:
    end = time.monotonic() + 60
    while (status := describe()) not in ENDED and time.monotonic() < end:
        time.sleep(0.1)
    return status


def training_request(image: str = IMAGE) -> dict:
    return {
        "TrainingJobName": name("training"),
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/out"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "Tags": [{"Key": "Project", "Value": "demo"}],
    }
