"""SageMaker Clarify as the engine of the bias analysis: one processing job a facet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from botocore.exceptions import ClientError

from ml_pipeline import isolation, jobs, storage
from ml_pipeline.bias_metrics import POST_TRAINING, STAGES, Groups
from ml_pipeline.facets import Table
from ml_pipeline.settings import Settings

CLOSED = (
    "SageMaker Clarify takes no new customers since 2026-07-30: in an account that may not run it, set "
    'engine = "in_step" (settings.toml, [bias]), which computes the same metrics'
)
START_SECONDS = 1800  # what a job may take beside its own limit: waiting for a machine, pulling the image
LOCAL = "/opt/ml/processing"


def measure(table: Table, place: int, with_ft: bool, execution_id: str, settings: Settings) -> Groups:
    """Clarify's metrics of the place-th facet (from 1); with_ft: whether it also computes FT, on all rows.

    Raises RuntimeError with Clarify's reason and what to do when the job cannot be started or fails.
    """
    folder = settings.uri(execution_id, "bias", f"clarify-{place}")
    storage.write_bytes(f"{folder}/dataset.csv", dataset(table, settings.data.target))
    storage.write_json(
        f"{folder}/analysis_config.json", analysis_config(table, settings.data.target, with_ft)
    )
    request = processing_request(folder, settings) | {"Tags": jobs.tags(settings, execution_id)}
    name = f"{settings.prefix}-bias{place if place > 1 else ''}-{execution_id}"
    try:
        jobs.run("processing", name, request, settings.compute.max_runtime_seconds + START_SECONDS)
    except (ClientError, jobs.JobFailed) as error:
        raise RuntimeError(
            f"the Clarify job for facet {table.facet.name} failed: {error}. {CLOSED}"
        ) from error
    return read(storage.read_json(f"{folder}/output/analysis.json"), table)


def dataset(table: Table, target: str) -> bytes:
    """Header-less CSV: label, predicted label, facet, then the columns.

    Label and facet are words that no reader takes for numbers: Clarify guesses types, and takes whole numbers
    of few rows for a continuous column.
    """
    found, words = table.outcomes, _words(table)
    label, predicted = (np.where(rows, *_label_words(table)) for rows in (found.label, found.predicted))
    roles = dict(zip(_roles(table, target), (label, predicted, words), strict=True))
    frame = pd.concat([pd.DataFrame(roles, dtype=object), table.columns.reset_index(drop=True)], axis=1)
    return frame.to_csv(header=False, index=False, lineterminator="\n").encode()


def analysis_config(table: Table, target: str, with_ft: bool) -> dict[str, Any]:
    """Clarify's configuration: all metrics; from predicted labels, so that it starts no endpoint."""
    roles = _roles(table, target)
    facet: dict[str, Any] = {"name_or_index": roles[2]}
    if len(table.facet.disadvantaged) == 1:
        facet["value_or_threshold"] = [_word(table, value) for value in table.facet.disadvantaged[0]]
    post = "all" if with_ft else [name for name in POST_TRAINING if name != "FT"]
    return {
        "version": "1.0",
        "dataset_type": "text/csv",
        "headers": [*roles, *table.columns.columns],
        "label": roles[0],
        "label_values_or_threshold": [_label_words(table)[0]],
        "predicted_label": roles[1],
        "facet": [facet],
        **({"group_variable": table.group} if table.group else {}),
        "methods": {"pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": post}},
    }


def processing_request(folder: str, settings: Settings) -> dict[str, Any]:
    """CreateProcessingJob request without its name and tags."""
    return {
        "ProcessingInputs": [
            _input("analysis_config", f"{folder}/analysis_config.json", f"{LOCAL}/input/config"),
            _input("dataset", f"{folder}/dataset.csv", f"{LOCAL}/input/data"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "analysis_result",
                    "S3Output": {
                        "S3Uri": f"{folder}/output",
                        "LocalPath": f"{LOCAL}/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ],
            **isolation.output_key(settings),
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": settings.compute.instance_type,
                "VolumeSizeInGB": settings.compute.volume_gb,
                **isolation.volume_key(settings, settings.compute.instance_type),
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.compute.max_runtime_seconds},
        "AppSpecification": {"ImageUri": settings.clarify_image_uri},
        "RoleArn": settings.role_arn,
        **isolation.processing(settings),
    }


def read(analysis: dict[str, Any], table: Table) -> Groups:
    """The facet's groups of Clarify's analysis.json, by stage, under their values' own names."""
    named = {
        ",".join(_word(table, value) for value in values): ",".join(values)
        for values in table.facet.disadvantaged
    }
    found: Groups = {}
    for stage in STAGES:
        (groups,) = analysis[stage]["facets"].values()
        by_name = {named[group["value_or_threshold"]]: group["metrics"] for group in groups}
        found[stage] = [{"value_or_threshold": name, "metrics": by_name[name]} for name in named.values()]
    return found


def _roles(table: Table, target: str) -> tuple[str, str, str]:
    """Column names of label, predicted label and facet."""
    return target, f"{target} (predicted)", table.facet.name


def _label_words(table: Table) -> tuple[str, str]:
    return f"is {table.outcomes.positive}", f"is not {table.outcomes.positive}"


def _words(table: Table) -> list[str]:
    return [_word(table, value) for value in table.facet.values]


def _word(table: Table, value: str) -> str:
    return f"{table.facet.name}={value}"


def _input(name: str, uri: str, path: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": path,
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "S3Input": source}
