"""What Transform asks SageMaker for."""

import boto3
from botocore.validate import ParamValidator

from ml_pipeline.steps.transform import transform_request


def test_the_request_is_one_that_the_service_model_accepts(settings):
    shape = (
        boto3.client("sagemaker", region_name="eu-west-1")
        .meta.service_model.operation_model("CreateTransformJob")
        .input_shape
    )
    made = transform_request("model", "s3://b/test.csv", "s3://b/out", settings()) | {
        "TransformJobName": "job-1"
    }
    assert not ParamValidator().validate(made, shape).has_errors()


def test_ids_and_label_pass_by_the_model_and_join_its_answer(settings):
    made = transform_request("model", "s3://b/test.csv", "s3://b/out", settings(data={"ids": ("a", "b")}))
    assert made["DataProcessing"] == {"InputFilter": "$[3:]", "JoinSource": "Input"}
    # Joining asks for these to be equal.
    assert made["TransformInput"]["ContentType"] == made["TransformOutput"]["Accept"]
    assert made["TransformInput"]["SplitType"] == made["TransformOutput"]["AssembleWith"]
