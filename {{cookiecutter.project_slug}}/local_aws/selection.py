"""Selective execution: some steps of a pipeline run, the others' outputs are those of a source execution."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from local_aws.definition import Step, steps_of
from local_aws.resources import KINDS, RUNNING, found
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

EXECUTION, STEP = KINDS["PipelineExecution"], KINDS["PipelineExecutionStep"]


def selected_steps(execution: dict) -> set[str]:
    """Names of the steps that the execution was told to run; none when it runs all."""
    chosen = execution.get("SelectiveExecutionConfig", {}).get("SelectedSteps", [])
    return {step["StepName"] for step in chosen}


def kept_steps(api: "SageMaker", execution: dict) -> list[dict]:
    """Records that a new execution takes over from its source: of the steps before those that it runs.

    Raises ApiError for a selection with a gap, or for a source that cannot give what the selection needs.
    """
    selected = selected_steps(execution)
    if not selected:
        return []
    steps = steps_of(json.loads(execution["_definition"]))
    _check_names(selected, steps)
    needs = {name: {*step.needs} for name, step in steps.items()}
    users = {name: {user for user, needed in needs.items() if name in needed} for name in needs}
    before, after = _closure(selected, needs), _closure(selected, users)
    if gap := (before & after) - selected:
        raise _invalid("SelectedSteps", f"{_listed(gap)} between two of them must be selected too")
    source = execution["SelectiveExecutionConfig"].get("SourcePipelineExecutionArn")
    needed = set().union(*(needs[name] for name in selected)) - selected
    if needed and source is None:
        between = f"The selected steps [{_listed(selected)}] have dependencies on [{_listed(needed)}]"
        raise _invalid("SourcePipelineExecutionArn", f"null. {between}")
    if source is None:
        return []
    done = _succeeded(api, source, execution["PipelineArn"])
    if absent := needed - done.keys():
        raise _invalid("SourcePipelineExecutionArn", f"{source} has no succeeded step {_listed(absent)}")
    taken = {
        "_execution": execution["PipelineExecutionArn"],
        "AttemptCount": 0,
        "SelectiveExecutionResult": {"SourcePipelineExecutionArn": source},
    }
    return [record | taken for name, record in done.items() if name in before - selected]


def _check_names(selected: set[str], steps: dict[str, Step]) -> None:
    if unknown := selected - steps.keys():
        raise _invalid("SelectedSteps", f"{_listed(unknown)}; the pipeline has {', '.join(steps)}")


def _closure(start: set[str], arrows: dict[str, set[str]]) -> set[str]:
    """The steps and all that can be reached from them along the arrows."""
    reached = set(start)
    while more := set().union(*(arrows[name] for name in reached)) - reached:
        reached |= more
    return reached


def _succeeded(api: "SageMaker", source: str, pipeline_arn: str) -> dict[str, dict]:
    record = found(api, EXECUTION, source)
    if record["PipelineArn"] != pipeline_arn:
        raise _invalid("SourcePipelineExecutionArn", f"{source} is an execution of another pipeline")
    if record[EXECUTION.status] in RUNNING:
        raise _invalid("SourcePipelineExecutionArn", f"{source} is still {record[EXECUTION.status]}")
    records = api.state.find(STEP.name, _execution=source)
    return {step["StepName"]: step for step in records if step["StepStatus"] == "Succeeded"}


def _invalid(member: str, problem: str) -> ApiError:
    return ApiError("ValidationException", f"Invalid {member}: {problem}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
