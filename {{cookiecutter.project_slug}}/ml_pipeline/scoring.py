"""The scoring pipeline: the newest approved model scores what is new, and drift is measured and told."""

from __future__ import annotations

from functools import partial

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.pipeline_definition_config import PipelineDefinitionConfig
from sagemaker.mlops.workflow.pipeline import Pipeline

from ml_pipeline import boxes
from ml_pipeline.parameters import score_parameters
from ml_pipeline.settings import Settings
from ml_pipeline.steps.monitor import monitor
from ml_pipeline.steps.select import select
from ml_pipeline.steps.transform import transform


def score_pipeline(settings: Settings, session: Session) -> Pipeline:
    """Select -> Transform -> Monitor."""
    parameters = boxes.pipeline_parameters(score_parameters())
    execution = ExecutionVariables.PIPELINE_EXECUTION_ID
    box = partial(boxes.box, settings=settings)

    selected = box(select)(parameters["Period"], parameters["TriggerReason"], execution, settings)
    transformed = box(transform)(
        selected["model_uri"],
        selected["image_uri"],
        selected["input_uri"],
        selected["passed_columns"],
        execution,
        settings,
    )
    monitored = box(monitor)(
        selected["package"], selected["periods"], transformed["predictions_uri"], execution, settings
    )
    return Pipeline(
        name=f"{settings.prefix}-score",
        parameters=list(parameters.values()),
        steps=[selected, transformed, monitored],
        sagemaker_session=session,
        pipeline_experiment_config=None,
        pipeline_definition_config=PipelineDefinitionConfig(use_custom_job_prefix=True),
    )
