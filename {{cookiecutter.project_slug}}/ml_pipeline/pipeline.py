"""The training pipeline: parameters, steps, arrows and the gate, on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.remote_function import CheckpointLocation
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.core.workflow.pipeline_definition_config import PipelineDefinitionConfig
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)

from ml_pipeline import isolation
from ml_pipeline.parameters import train_parameters
from ml_pipeline.record import recorded
from ml_pipeline.settings import Settings
from ml_pipeline.steps.bias import bias
from ml_pipeline.steps.evaluate import evaluate
from ml_pipeline.steps.process import process
from ml_pipeline.steps.register import register
from ml_pipeline.steps.train import train
from ml_pipeline.steps.transform import transform
from ml_pipeline.steps.tune import tune


def train_pipeline(settings: Settings, session: Session) -> Pipeline:
    """Process -> Tune -> Train -> Transform -> Evaluate -> Bias -> Gate -> Register, or Rejected."""
    parameters = {
        p.name: ParameterString(p.name, default_value=p.default, enum_values=list(p.allowed) or None)
        for p in train_parameters(settings.bucket)
    }
    execution = ExecutionVariables.PIPELINE_EXECUTION_ID

    def box(function: Callable[..., dict[str, Any]], **options: Any) -> Callable[..., Any]:
        options = _machine(settings, function.__name__) | options
        options |= isolation.function_step(settings, options["instance_type"])
        return step(**options)(recorded(function))

    processed = box(process)(parameters["RawDataUri"], parameters["TriggerReason"], execution, settings)
    tuned = box(tune)(processed["xgboost_uri"], processed["feature_spec_uri"], execution, settings)
    trained = box(train, **_spot(settings))(
        processed["encoded_uri"],
        processed["feature_spec_uri"],
        tuned["best"],
        ExecutionCheckpoints(settings.bucket),
        execution,
        settings,
    )
    transformed = box(transform)(trained["model_uri"], processed["transform_input_uri"], execution, settings)
    measured = evaluated = box(evaluate)(
        processed["splits_uri"],
        processed["encoded_uri"],
        trained["model_uri"],
        transformed["predictions_uri"],
        execution,
        settings,
    )
    boxes = [processed, tuned, trained, transformed, evaluated]
    if settings.data.facets:
        measured = box(bias)(
            processed["splits_uri"],
            processed["encoded_uri"],
            evaluated["predictions_uri"],
            evaluated["metrics_uri"],
            execution,
            settings,
        )
        boxes.append(measured)
    registered = box(register)(
        trained["model_uri"],
        tuned["best"],
        processed["raw_data_uri"],
        processed["data_sha256"],
        processed["feature_spec_uri"],
        evaluated["metrics_uri"],
        measured["verdict_uri"],
        parameters["ApprovalStatus"],
        parameters["TriggerReason"],
        execution,
        settings,
    )
    rejected = FailStep(
        name="Rejected",
        error_message=Join(
            on="",
            values=[
                "The model missed a bound of the gate; which one stands in ",
                f"s3://{settings.bucket}/executions/",
                execution,
                f"/{'bias' if settings.data.facets else 'evaluate'}/verdict.json",
            ],
        ),
    )
    gate = ConditionStep(
        name="Gate",
        conditions=[ConditionEquals(left=measured["passed"], right=True)],
        if_steps=[registered],
        else_steps=[rejected],
    )
    return Pipeline(
        name=f"{settings.prefix}-train",
        parameters=list(parameters.values()),
        steps=[*boxes, gate],
        sagemaker_session=session,
        pipeline_experiment_config=None,  # SageMaker Experiments asks for rights that the role has not
        pipeline_definition_config=PipelineDefinitionConfig(use_custom_job_prefix=True),
    )


class ExecutionCheckpoints(CheckpointLocation):
    """Checkpoint folder of the running execution.

    The SDK's class takes a literal URI only, which every execution would share: a retraining would then
    resume from the finished model of the last one and return it unchanged.
    """

    def __init__(self, bucket: str) -> None:
        super().__init__(f"s3://{bucket}/checkpoints")
        self._literal_uri = self._s3_uri
        self._s3_uri = Join(on="/", values=[self._s3_uri, ExecutionVariables.PIPELINE_EXECUTION_ID, ""])

    def __reduce__(self) -> tuple[type[CheckpointLocation], tuple[str]]:
        return CheckpointLocation, (self._literal_uri,)


def _machine(settings: Settings, name: str) -> dict[str, Any]:
    """Arguments of `step` that every box has."""
    tags = {"Project": settings.project.slug, "Environment": settings.environment, **settings.tags}
    return {
        "name": name.capitalize(),
        "job_name_prefix": f"{settings.prefix}-{name}",
        "image_uri": settings.image_uri,
        "role": settings.role_arn,
        "instance_type": settings.compute.instance_type,
        "volume_size": settings.compute.volume_gb,
        "max_runtime_in_seconds": settings.compute.max_runtime_seconds,
        "keep_alive_period_in_seconds": None,
        "tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "retry_policies": _retries(),
    }


def _spot(settings: Settings) -> dict[str, Any]:
    train = settings.train
    wait = {"max_wait_time_in_seconds": train.max_wait_seconds} if train.spot else {}
    return {
        "instance_type": train.instance_type,
        "max_runtime_in_seconds": train.max_runtime_seconds,
        "use_spot_instances": train.spot,
        **wait,
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
