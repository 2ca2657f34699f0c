"""What CloudWatch is told: violations by metric, so that 1 always means alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import boto3

from ml_pipeline.settings import Settings

NAMESPACE = "MLPipeline"
ROLL_UPS = ("DataDrift", "PredictionDrift", "QualityDrop", "BiasDrift", "AttributionDrift", "DataBroken")
FEATURE_METRIC = "FeaturePSI"
MOST_DATA = 1000  # of one PutMetricData. Source: API reference, MetricData
MOST_CHARACTERS = 255  # of a dimension's value, which is ASCII. Source: API reference, Dimension


def requests(
    roll_ups: Mapping[str, float], psi: Mapping[str, float], settings: Settings
) -> list[dict[str, Any]]:
    """PutMetricData requests. roll_ups: by name, those that were measured. psi: by feature, {} for none.

    Without a timestamp CloudWatch takes its own now. Numbers that are not finite are left out.
    """
    own = [
        {"Name": "Project", "Value": settings.project.slug},
        {"Name": "Environment", "Value": settings.environment},
    ]
    data = [_datum(name, own, roll_ups[name], "Count") for name in ROLL_UPS if name in roll_ups]
    data += [
        _datum(FEATURE_METRIC, [*own, {"Name": "Feature", "Value": dimension(name)}], value, "None")
        for name, value in psi.items()
    ]
    finite = [datum for datum in data if math.isfinite(datum["Value"])]
    return [
        {"Namespace": NAMESPACE, "MetricData": finite[start : start + MOST_DATA]}
        for start in range(0, len(finite), MOST_DATA)
    ]


def send(roll_ups: Mapping[str, float], psi: Mapping[str, float], settings: Settings) -> None:
    client = boto3.client("cloudwatch")
    for request in requests(roll_ups, psi, settings):
        client.put_metric_data(**request)


def dimension(name: str) -> str:
    """A column's name as a dimension may have it: other letters than ASCII's as their numbers."""
    text = name.encode("ascii", "backslashreplace").decode()[:MOST_CHARACTERS]
    return f"_{text[1:]}" if text.startswith(":") else text


def _datum(name: str, dimensions: list[dict[str, str]], value: float, unit: str) -> dict[str, Any]:
    return {"MetricName": name, "Dimensions": dimensions, "Value": float(value), "Unit": unit}
