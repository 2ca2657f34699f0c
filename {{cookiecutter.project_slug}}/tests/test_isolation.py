"""In the private network and under a key every job's request says so; without them nothing is added."""

from __future__ import annotations

import dataclasses
import json

import boto3
import pytest
from botocore.stub import Stubber
from botocore.validate import validate_parameters

from ml_pipeline import clarify, isolation
from ml_pipeline.steps import transform, tune

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555"
VPC = {"SecurityGroupIds": ["sg-0123456789abcdef0"], "Subnets": ["subnet-0a", "subnet-0b"]}
STATIC = {"objective": "binary:logistic", "num_round": 20}


@pytest.fixture
def open_settings(settings):
    return dataclasses.replace(settings(), xgboost_image_uri="image:1", clarify_image_uri="image:2")


@pytest.fixture
def closed(open_settings):
    groups, subnets = tuple(VPC["SecurityGroupIds"]), tuple(VPC["Subnets"])
    return dataclasses.replace(open_settings, subnets=subnets, security_groups=groups, kms_key_arn=KEY)


def valid(operation: str, request: dict) -> dict:
    """The request, after it was held against botocore's model."""
    model = boto3.client("sagemaker", region_name="eu-west-1").meta.service_model
    validate_parameters(request, model.operation_model(operation).input_shape)
    return request


def tuning(settings) -> dict:
    request = tune.tuning_request("s3://bucket/data", "abc", STATIC, settings)
    return valid("CreateHyperParameterTuningJob", request | {"HyperParameterTuningJobName": "t"})


def test_tuning_trials_run_in_the_subnets_without_any_network_and_under_the_key(closed):
    trial = tuning(closed)["TrainingJobDefinition"]
    assert trial["VpcConfig"] == VPC
    assert trial["EnableNetworkIsolation"] and trial["EnableInterContainerTrafficEncryption"]
    assert trial["OutputDataConfig"]["KmsKeyId"] == trial["ResourceConfig"]["VolumeKmsKeyId"] == KEY


def test_a_transform_job_is_under_the_key_and_its_model_in_the_subnets(closed):
    request = transform.transform_request("m", "s3://bucket/in.csv", "s3://bucket/out", 1, closed)
    valid("CreateTransformJob", request | {"TransformJobName": "t"})
    assert request["TransformOutput"]["KmsKeyId"] == request["TransformResources"]["VolumeKmsKeyId"] == KEY
    client = boto3.client("sagemaker", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(transform.boto3, "client", lambda service: client)
        stub.add_response("list_models", {"Models": []})
        sent = {
            "ModelName": "m",
            "PrimaryContainer": {"Image": closed.image_uri, "ModelDataUrl": "s3://bucket/model.tar.gz"},
            "ExecutionRoleArn": closed.role_arn,
            "Tags": transform.jobs.tags(closed, "abc"),
            "VpcConfig": VPC,
            "EnableNetworkIsolation": True,
        }
        arn = "arn:aws:sagemaker:eu-west-1:123456789012:model/m"
        stub.add_response("create_model", {"ModelArn": arn}, sent)
        stub.add_response("delete_model", {})
        with transform._model("m", "s3://bucket/model.tar.gz", closed.image_uri, "abc", closed):
            pass


def test_a_clarify_job_runs_in_the_subnets_under_the_key_and_may_reach_s3(closed):
    request = clarify.processing_request("s3://bucket/bias", closed)
    valid("CreateProcessingJob", request | {"ProcessingJobName": "c"})
    network = request["NetworkConfig"]
    assert network["VpcConfig"] == VPC and network["EnableInterContainerTrafficEncryption"]
    assert not network["EnableNetworkIsolation"]
    assert request["ProcessingOutputConfig"]["KmsKeyId"] == KEY
    assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KEY


def test_without_subnets_and_key_no_request_speaks_of_them(open_settings):
    requests = [
        tuning(open_settings),
        transform.transform_request("m", "s3://b/in.csv", "s3://b/out", 1, open_settings),
        clarify.processing_request("s3://b/bias", open_settings),
        isolation.model(open_settings),
        isolation.function_step(open_settings, "ml.m5.large"),
    ]
    text = json.dumps(requests)
    assert not [word for word in ("Vpc", "Kms", "Isolation", "subnet", "Encryption") if word in text]


@pytest.mark.parametrize(
    ("instance_type", "sent"),
    [("ml.m5.xlarge", True), ("ml.m5d.xlarge", False), ("ml.g5.xlarge", False), ("ml.p3.2xlarge", True),
     ("ml.g4dn.xlarge", False), ("ml.c6i.large", True)],
)  # fmt: skip
def test_instances_that_bring_disks_get_no_key_for_them(closed, instance_type, sent):
    assert bool(isolation.volume_key(closed, instance_type)) is sent
    assert ("volume_kms_key" in isolation.function_step(closed, instance_type)) is sent
