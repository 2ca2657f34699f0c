"""Prints the requests of `job_steps`, as the SDK compiles them: `compile_steps.py BUCKET ROLE IMAGE`."""

import json
import sys

from sagemaker.core.remote_function import CheckpointLocation
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.pipeline import Pipeline

from ml_pipeline import job_steps

EXECUTION = "execution1"


def main(bucket: str, role: str, image: str) -> None:
    settings = {"role": role, "image_uri": image, "instance_type": "ml.m5.large"}
    checkpoints = CheckpointLocation(f"s3://{bucket}/checkpoints")
    names = ("tells", "asks_who_it_is", "raises", "leaves", "exits", "leaves_a_child", "is_killed", "waits")
    steps = [step(name=name, **settings)(getattr(job_steps, name))() for name in names]
    steps.append(step(name="counts", **settings)(job_steps.counts)(checkpoints))
    session = PipelineSession(default_bucket=bucket)
    definition = json.loads(Pipeline(name="jobs", steps=steps, sagemaker_session=session).definition())
    print(json.dumps({each["Name"]: resolved(each["Arguments"]) for each in definition["Steps"]}))


def resolved(value: object) -> object:
    """`value` with the execution's id, the only variable in it."""
    if isinstance(value, dict) and "Std:Join" in value:
        return value["Std:Join"]["On"].join(map(resolved, value["Std:Join"]["Values"]))
    if isinstance(value, dict):
        return EXECUTION if "Get" in value else {name: resolved(item) for name, item in value.items()}
    return [resolved(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
