"""The pipelines and what their executions can be started with; `run --set Name=value` takes the same."""

from __future__ import annotations

from dataclasses import dataclass

from ml_pipeline.errors import InputError

PIPELINES = ("train", "score")
MAX_LENGTH = 256  # a parameter reaches a step as a container argument, and SageMaker cuts those off here


@dataclass(frozen=True)
class Parameter:
    """A String parameter of the pipeline; allowed = () takes any text."""

    name: str
    default: str
    allowed: tuple[str, ...] = ()


def train_parameters(bucket: str) -> tuple[Parameter, ...]:
    return (
        Parameter("RawDataUri", f"s3://{bucket}/raw/"),
        Parameter("TriggerReason", "manual"),
        Parameter(
            "ApprovalStatus", "PendingManualApproval", ("PendingManualApproval", "Approved", "Rejected")
        ),
    )


def score_parameters() -> tuple[Parameter, ...]:
    return Parameter("Period", "auto"), Parameter("TriggerReason", "manual")


def of(pipeline: str, bucket: str) -> tuple[Parameter, ...]:
    """Those of a pipeline: train or score."""
    return score_parameters() if pipeline == "score" else train_parameters(bucket)


def pipeline_of(execution_arn: str) -> str:
    """train or score."""
    return "score" if "-score/execution/" in execution_arn else "train"


def check(values: dict[str, str], parameters: tuple[Parameter, ...]) -> None:
    """Raises InputError for a name that is not a parameter or a value that it cannot have."""
    known = {parameter.name: parameter for parameter in parameters}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"--set {name}: no such parameter; known are: {', '.join(known)}")
        allowed = known[name].allowed
        if allowed and value not in allowed:
            raise InputError(f"--set {name}: must be one of {', '.join(allowed)}, got {value!r}")
        if not value or value.startswith("-") or len(value) > MAX_LENGTH:
            raise InputError(
                f"--set {name}: must have 1 to {MAX_LENGTH} characters and not begin with '-', got {value!r}"
            )
