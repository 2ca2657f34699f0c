"""Register: a version in the Model Registry with all that a reviewer and a monitor need attached."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import approved, jobs, storage
from ml_pipeline.settings import Settings

CONTENT_TYPES = ["text/csv", "application/jsonlines"]
METADATA_LIMIT = 50  # keys of CustomerMetadataProperties
NOT_IN_METADATA = re.compile(r"[^\w .:/=+\-@]")  # SageMaker refuses JSON, commas, `>` and the like


def register(
    model_uri: str,
    best: dict[str, Any],
    raw_data_uri: str,
    data_sha256: str,
    feature_spec_uri: str,
    metrics_uri: str,
    verdict_uri: str,
    approval_status: str,
    trigger_reason: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Creates the model package version; the execution id is its token, so a retry registers nothing twice.

    Returns summary, model_package_arn and version.
    """
    client = boto3.client("sagemaker")
    _ensure_group(client, settings)
    metadata = {
        "execution": execution_id,
        "git_commit": settings.commit,
        "data_uri": raw_data_uri,
        "data_sha256": data_sha256,
        approved.HASH: storage.sha256(
            model_uri
        ),  # whoever uses the model later can see that it is still this one
        "trigger_reason": trigger_reason,
        "verdict_uri": verdict_uri,
    } | {f"hyperparameter.{name}": str(value) for name, value in best.items()}
    metrics = storage.read_json(metrics_uri)
    request = package_request(model_uri, execution_id, approval_status, settings)
    # Not this execution's own folders: a rerun from here keeps the earlier steps of another one.
    request |= reports(
        *(uri.rpartition("/")[0] for uri in (feature_spec_uri, metrics_uri, verdict_uri)), settings
    )
    request["CustomerMetadataProperties"] = customer_metadata(metadata)
    request["ModelCard"] = {
        "ModelCardContent": json.dumps(card(metrics, best, metadata)),
        "ModelCardStatus": "Draft",
    }
    arn = client.create_model_package(**request)["ModelPackageArn"]
    version = int(arn.rpartition("/")[2])
    summary = f"version {version} of {settings.prefix}, {approval_status}"
    print(f"Register: {summary}", flush=True)
    return {"summary": summary, "model_package_arn": arn, "version": version}


def package_request(
    model_uri: str, execution_id: str, approval_status: str, settings: Settings
) -> dict[str, Any]:
    """CreateModelPackage request, but for its reports: how to serve the model, and what it is."""
    binary = settings.data.problem != "regression"
    return {
        "ModelPackageGroupName": settings.prefix,
        "ModelPackageDescription": f"Predicts {settings.data.target}; registered by execution {execution_id}",
        "ClientToken": execution_id,
        "ModelApprovalStatus": approval_status,
        "Domain": "MACHINE_LEARNING",
        "Task": "CLASSIFICATION" if binary else "REGRESSION",
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": settings.image_uri,
                    "ModelDataUrl": model_uri,
                    "Framework": "XGBOOST",
                    "FrameworkVersion": "3.2",
                }
            ],
            "SupportedContentTypes": CONTENT_TYPES,
            "SupportedResponseMIMETypes": CONTENT_TYPES,
            "SupportedTransformInstanceTypes": [settings.transform.instance_type],
            "SupportedRealtimeInferenceInstanceTypes": [settings.transform.instance_type],
        },
    }


def reports(process_uri: str, evaluate_uri: str, bias_uri: str, settings: Settings) -> dict[str, Any]:
    """Members of the request that hold metrics and the baselines of later data, from the steps' folders."""

    def source(uri: str) -> dict[str, str]:
        return {"ContentType": "application/json", "S3Uri": uri}

    def pair(stem: str) -> dict[str, Any]:
        return {kind.capitalize(): source(f"{stem}{kind}.json") for kind in ("statistics", "constraints")}

    quality, data_quality = pair(f"{evaluate_uri}/model_quality_"), pair(f"{process_uri}/")
    attributions = source(f"{evaluate_uri}/attributions.json")
    metrics = {
        "ModelQuality": quality,
        "ModelDataQuality": data_quality,
        "Explainability": {"Report": attributions},
    }
    baselines = {
        "ModelQuality": quality,
        "ModelDataQuality": data_quality,
        "Explainability": {"Constraints": attributions},
    }
    if settings.data.facets:
        analysis = source(f"{bias_uri}/analysis.json")
        metrics["Bias"] = {"Report": analysis}
        baselines["Bias"] = {"PreTrainingConstraints": analysis, "PostTrainingConstraints": analysis}
    return {"ModelMetrics": metrics, "DriftCheckBaselines": baselines}


def customer_metadata(values: dict[str, str]) -> dict[str, str]:
    """The values as the registry takes them: forbidden characters become `_`, 256 characters, 50 keys."""
    cleaned = {
        NOT_IN_METADATA.sub("_", key)[:128]: NOT_IN_METADATA.sub("_", value)[:256]
        for key, value in values.items()
    }
    if len(cleaned) > METADATA_LIMIT:
        raise ValueError(
            f"a model package takes {METADATA_LIMIT} metadata keys, got {len(cleaned)}: "
            "fewer hyperparameters are possible (settings.toml, [train.hyperparameters] and [tune.ranges])"
        )
    return {key: value for key, value in cleaned.items() if value}


def card(metrics: dict[str, Any], best: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    """Model card content in SageMaker's model card schema."""
    numbers = [
        {"name": f"{split}_{name}", "type": "number", "value": value["value"]}
        for split in ("test", "validation", "train")
        for name, value in metrics[split].items()
        if isinstance(value, dict) and isinstance(value.get("value"), int | float)
    ]
    hyperparameters = [{"name": name, "value": str(value)} for name, value in best.items()]
    return {
        "model_overview": {"model_creator": "ml_pipeline"},
        "training_details": {"training_job_details": {"hyper_parameters": hyperparameters}},
        "evaluation_details": [
            {"name": "Evaluate", "metric_groups": [{"name": metrics["problem"], "metric_data": numbers}]}
        ],
        "additional_information": {"custom_details": metadata},
    }


def _ensure_group(client: Any, settings: Settings) -> None:
    try:
        client.describe_model_package_group(ModelPackageGroupName=settings.prefix)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
            raise
        tags = [tag for tag in jobs.tags(settings, "") if tag["Key"] != "Execution"]
        client.create_model_package_group(ModelPackageGroupName=settings.prefix, Tags=tags)
