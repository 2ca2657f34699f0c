"""How a step function becomes a box of a graph: its machine, its retries, its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)

from ml_pipeline import isolation
from ml_pipeline.parameters import Parameter
from ml_pipeline.record import recorded
from ml_pipeline.settings import Settings


def pipeline_parameters(declared: tuple[Parameter, ...]) -> dict[str, ParameterString]:
    """The parameters as the SDK has them, by name."""
    return {
        p.name: ParameterString(p.name, default_value=p.default, enum_values=list(p.allowed) or None)
        for p in declared
    }


def box(function: Callable[..., dict[str, Any]], settings: Settings, **options: Any) -> Callable[..., Any]:
    """The function as a step; options: arguments of the SDK's `step` that differ from those of the others."""
    options = _machine(settings, function.__name__) | options
    options |= isolation.function_step(settings, options["instance_type"])
    return step(**options)(recorded(function))


def _machine(settings: Settings, name: str) -> dict[str, Any]:
    """Arguments of `step` that every box has."""
    return {
        "name": name.capitalize(),
        "job_name_prefix": f"{settings.prefix}-{name}",
        "image_uri": settings.image_uri,
        "role": settings.role_arn,
        "instance_type": settings.compute.instance_type,
        "volume_size": settings.compute.volume_gb,
        "max_runtime_in_seconds": settings.compute.max_runtime_seconds,
        "keep_alive_period_in_seconds": None,
        "tags": [{"Key": key, "Value": value} for key, value in settings.resource_tags.items()],
        "retry_policies": _retries(),
    }


def _retries() -> list[Any]:
    """Retries of what is not the step's own fault: throttling, a service error, no capacity."""
    times = {"interval_seconds": 10, "backoff_rate": 2.0, "max_attempts": 4}
    return [
        StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING], **times
        ),
        SageMakerJobStepRetryPolicy(
            exception_types=[
                SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
            ],
            **times,
        ),
    ]
