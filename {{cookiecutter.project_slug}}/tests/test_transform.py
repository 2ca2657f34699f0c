"""What Transform asks SageMaker for."""

import boto3
import pytest
from botocore.validate import ParamValidator

from ml_pipeline import storage
from ml_pipeline.steps import transform as transforming
from ml_pipeline.steps.transform import transform, transform_request


@pytest.fixture
def asked(bucket, monkeypatch):
    """Requests of transform jobs that `transform` started, each of which ends at once."""
    requests = []

    def run(kind, name, request, max_seconds):
        requests.append(request)
        moment = boto3.client("sagemaker").describe_model(ModelName=name)["CreationTime"]
        return {"TransformJobName": name, "TransformStartTime": moment, "TransformEndTime": moment}

    monkeypatch.setattr(transforming.jobs, "run", run)
    return requests


def test_the_request_is_one_that_the_service_model_accepts(settings):
    shape = (
        boto3.client("sagemaker", region_name="eu-west-1")
        .meta.service_model.operation_model("CreateTransformJob")
        .input_shape
    )
    made = transform_request("model", "s3://b/test.csv", "s3://b/out", 2, settings()) | {
        "TransformJobName": "job-1"
    }
    assert not ParamValidator().validate(made, shape).has_errors()


def test_ids_and_label_pass_by_the_model_and_join_its_answer(settings):
    made = transform_request("model", "s3://b/test.csv", "s3://b/out", 3, settings())
    assert made["DataProcessing"] == {"InputFilter": "$[3:]", "JoinSource": "Input"}
    # Joining asks for these to be equal.
    assert made["TransformInput"]["ContentType"] == made["TransformOutput"]["Accept"]
    assert made["TransformInput"]["SplitType"] == made["TransformOutput"]["AssembleWith"]


def test_one_object_becomes_one(asked, bucket, settings):
    wanted, uri = settings(), f"s3://{bucket}/executions/e/process/transform/test.csv"
    storage.write_bytes(uri, b"1\n")
    result = transform(f"s3://{bucket}/m.tar.gz", "image:1", uri, 1, "e", wanted)
    assert result["predictions_uri"] == wanted.uri("e", "transform", "test.csv.out")
    assert asked[0]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == uri


def test_a_folder_is_one_job_with_the_packages_image_and_its_outputs_lie_in_a_folder(
    asked, bucket, settings, monkeypatch
):
    wanted, uri, images = settings(), f"s3://{bucket}/executions/e/select/input/", []
    for period in ("2027-01-04", "2027-01-11"):
        storage.write_bytes(f"{uri}{period}/a.csv", b"1\n")
    model = transforming._model
    monkeypatch.setattr(transforming, "_model", lambda *given: images.append(given[1:3]) or model(*given))
    result = transform(f"s3://{bucket}/m.tar.gz", "image:1", uri, 1, "e", wanted)
    assert result["predictions_uri"] == wanted.uri("e", "transform")
    assert result["summary"].startswith("2 objects scored by")
    (request,) = asked
    # With the slash, since input-2/ begins with input too.
    assert request["TransformInput"]["DataSource"]["S3DataSource"] == {"S3DataType": "S3Prefix", "S3Uri": uri}
    assert request["TransformOutput"]["S3OutputPath"] == wanted.uri("e", "transform")
    assert request["MaxConcurrentTransforms"] == wanted.transform.max_concurrent
    assert images == [(f"s3://{bucket}/m.tar.gz", "image:1")]


def test_a_folder_without_objects_starts_nothing(asked, bucket, settings):
    wanted, uri = settings(), f"s3://{bucket}/executions/e/select/input/"
    result = transform("", "", uri, 0, "e", wanted)
    assert result == {"summary": "nothing to score", "predictions_uri": wanted.uri("e", "transform")}
    assert asked == []
