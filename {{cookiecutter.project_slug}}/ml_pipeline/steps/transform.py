"""Transform: SageMaker batch transform of raw rows with the model as it will be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from ml_pipeline import isolation, jobs, storage
from ml_pipeline.settings import Settings

MAX_SECONDS = 24 * 3600  # a transform job has no limit of its own


def transform(
    model_uri: str,
    image_uri: str,
    transform_input_uri: str,
    passed_columns: int,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Predictions for header-less CSV: its columns, then the model's outputs.

    transform_input_uri: an object, or a folder, which ends with a slash. passed_columns: how many columns
    come before the features. Returns summary and predictions_uri: of an object its output, of a folder the
    folder that holds `<name>.out` for each of its objects, also for none of them.
    Raises jobs.JobFailed with SageMaker's reason.
    """
    name = f"{settings.prefix}-transform-{execution_id}"
    output_uri = settings.uri(execution_id, "transform")
    objects = storage.list_uris(transform_input_uri)
    if not objects and transform_input_uri.endswith("/"):
        print(f"Transform: nothing to score at {transform_input_uri}", flush=True)
        return {"summary": "nothing to score", "predictions_uri": output_uri}
    with _model(name, model_uri, image_uri, execution_id, settings):
        request = transform_request(name, transform_input_uri, output_uri, passed_columns, settings)
        job = jobs.run("transform", name, request | {"Tags": jobs.tags(settings, execution_id)}, MAX_SECONDS)
    seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    what, predictions_uri = f"{len(objects)} object{'s' * (len(objects) > 1)}", output_uri
    if not transform_input_uri.endswith("/"):
        what, predictions_uri = "test split", f"{output_uri}/{transform_input_uri.rpartition('/')[2]}.out"
    summary = f"{what} scored by {job['TransformJobName']} in {seconds:.1f} s"
    print(f"Transform: {summary} -> {predictions_uri}", flush=True)
    return {"summary": summary, "predictions_uri": predictions_uri}


def transform_request(
    model: str, input_uri: str, output_uri: str, passed_columns: int, settings: Settings
) -> dict[str, Any]:
    """CreateTransformJob request without its name: passed columns go by the model and join its answer."""
    return {
        "ModelName": model,
        "MaxConcurrentTransforms": settings.transform.max_concurrent,
        "MaxPayloadInMB": settings.transform.max_payload_mb,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": input_uri}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": output_uri, "Accept": "text/csv", "AssembleWith": "Line"}
        | isolation.output_key(settings),
        "TransformResources": {
            "InstanceType": settings.transform.instance_type,
            "InstanceCount": settings.transform.instance_count,
            **isolation.volume_key(settings, settings.transform.instance_type),
        },
        "DataProcessing": {"InputFilter": f"$[{passed_columns}:]", "JoinSource": "Input"},
    }


@contextmanager
def _model(
    name: str, model_uri: str, image_uri: str, execution_id: str, settings: Settings
) -> Iterator[None]:
    """A SageMaker model for as long as the transform job needs it."""
    client = boto3.client("sagemaker")
    if not client.list_models(NameContains=name)["Models"]:
        client.create_model(
            ModelName=name,
            PrimaryContainer={"Image": image_uri, "ModelDataUrl": model_uri},
            ExecutionRoleArn=settings.role_arn,
            Tags=jobs.tags(settings, execution_id),
            **isolation.model(settings),
        )
    try:
        yield
    finally:
        client.delete_model(ModelName=name)
