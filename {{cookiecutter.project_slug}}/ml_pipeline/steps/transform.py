"""Transform: SageMaker batch transform of the raw test split with the model as it will be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from ml_pipeline import isolation, jobs
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
    """Predictions for the header-less CSV at transform_input_uri: its columns, then the model's outputs.

    Returns summary and predictions_uri. Raises jobs.JobFailed with SageMaker's reason.
    """
    name = f"{settings.prefix}-transform-{execution_id}"
    output_uri = settings.uri(execution_id, "transform")
    with _model(name, model_uri, image_uri, execution_id, settings):
        request = transform_request(name, transform_input_uri, output_uri, passed_columns, settings)
        job = jobs.run("transform", name, request | {"Tags": jobs.tags(settings, execution_id)}, MAX_SECONDS)
    seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    predictions_uri = f"{output_uri}/{transform_input_uri.rpartition('/')[2]}.out"
    summary = f"test split scored by {job['TransformJobName']} in {seconds:.1f} s"
    print(f"Transform: {summary} -> {predictions_uri}", flush=True)
    return {"summary": summary, "predictions_uri": predictions_uri}


def transform_request(
    model: str, input_uri: str, output_uri: str, passed_columns: int, settings: Settings
) -> dict[str, Any]:
    """CreateTransformJob request without its name: ids and label pass by the model and join its answer."""
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
