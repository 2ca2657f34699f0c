"""The training pipeline: parameters, steps, arrows and the gate, on one page."""

from __future__ import annotations

from functools import partial
from typing import Any

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.remote_function import CheckpointLocation
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.pipeline_definition_config import PipelineDefinitionConfig
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline

from ml_pipeline import boxes
from ml_pipeline.parameters import train_parameters
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
    parameters = boxes.pipeline_parameters(train_parameters(settings.bucket))
    execution = ExecutionVariables.PIPELINE_EXECUTION_ID
    box = partial(boxes.box, settings=settings)

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
    transformed = box(transform)(
        trained["model_uri"],
        settings.image_uri,
        processed["transform_input_uri"],
        len(settings.data.ids) + 1,  # ids and label pass by the model
        execution,
        settings,
    )
    measured = evaluated = box(evaluate)(
        processed["splits_uri"],
        processed["encoded_uri"],
        trained["model_uri"],
        transformed["predictions_uri"],
        execution,
        settings,
    )
    steps = [processed, tuned, trained, transformed, evaluated]
    if settings.data.facets:
        measured = box(bias)(
            processed["splits_uri"],
            processed["encoded_uri"],
            evaluated["predictions_uri"],
            evaluated["metrics_uri"],
            execution,
            settings,
        )
        steps.append(measured)
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
        steps=[*steps, gate],
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


def _spot(settings: Settings) -> dict[str, Any]:
    train = settings.train
    wait = {"max_wait_time_in_seconds": train.max_wait_seconds} if train.spot else {}
    return {
        "instance_type": train.instance_type,
        "max_runtime_in_seconds": train.max_runtime_seconds,
        "use_spot_instances": train.spot,
        **wait,
    }
