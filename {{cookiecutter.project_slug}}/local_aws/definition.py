"""A pipeline definition: its steps, their order, and what keeps it from being executed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from botocore.model import Shape

from local_aws.definition_form import KIND_OF_JOB, form_problems, is_scalar, repeated
from local_aws.expressions import (
    FUNCTIONS,
    Unresolved,
    expressions,
    is_expression,
    path_keys,
    referenced_steps,
    step_reference,
)
from local_aws.validation import ApiError, operation_model, request_problems

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

SHAPES_OF = {
    "String": ("string",),
    "Integer": ("integer", "long", "float", "double"),
    "Float": ("float", "double"),
    "Boolean": ("boolean",),
}
VARIABLES = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)
SAMPLE_ID, SAMPLE_SUFFIX = "0" * 12, "0" * 6


@dataclass(frozen=True)
class Step:
    """One step, taken out of the branch it lies in.

    branch: (condition step, outcome) that lets it run, None at the top level.
    needs: names of the steps that must have succeeded before it.
    """

    name: str
    type: str
    arguments: dict
    branch: tuple[str, bool] | None = None
    needs: frozenset[str] = frozenset()
    retries: list[dict] = field(default_factory=list)
    files: dict[str, dict] = field(default_factory=dict)
    display_name: str = ""
    description: str = ""

    @property
    def kind(self) -> str:
        """The kind of job that the step runs, empty for Condition and Fail."""
        return KIND_OF_JOB.get(self.type, "")


def steps_of(definition: dict) -> dict[str, Step]:
    """Every step of a checked definition by name, those in branches included."""
    return {step.name: step for step in _flat(definition["Steps"], None)}


def job_name(step: Step, prefix: str | None, execution_id: str, suffix: str) -> str:
    """The name of the step's job. prefix: the name in its arguments (`use_custom_job_prefix`), or None."""
    if prefix is not None:
        return f"{prefix}-{execution_id}-{suffix}"
    if step.type == "Tuning":
        return f"{execution_id}-{step.name[:12]}-{suffix}"
    return f"pipelines-{execution_id}-{step.name[:20]}-{suffix}"


def check(definition: dict, api: "SageMaker") -> None:
    """Raises ValidationException with everything that keeps the definition from being executed."""
    problems = list(form_problems(definition))
    if not problems:
        problems = list(_meaning(definition, steps_of(definition)))
    if problems:
        message = "Unable to parse pipeline definition. " + "; ".join(dict.fromkeys(problems))
        raise ApiError("ValidationException", message)


def _flat(steps: list[dict], branch: tuple[str, bool] | None) -> Iterator[Step]:
    for step in steps:
        own = step["Arguments"]
        if step["Type"] == "Condition":
            own = {"Conditions": own["Conditions"]}
        needs = {*step.get("DependsOn", []), *referenced_steps(own), *([branch[0]] if branch else [])}
        yield Step(
            step["Name"],
            step["Type"],
            own,
            branch,
            frozenset(needs),
            step.get("RetryPolicies", []),
            {file["PropertyFileName"]: file for file in step.get("PropertyFiles", [])},
            step.get("DisplayName", ""),
            step.get("Description", ""),
        )
        if step["Type"] == "Condition":
            yield from _flat(step["Arguments"].get("IfSteps", []), (step["Name"], True))
            yield from _flat(step["Arguments"].get("ElseSteps", []), (step["Name"], False))


def _meaning(definition: dict, steps: dict[str, Step]) -> Iterator[str]:
    types = {parameter["Name"]: parameter["Type"] for parameter in definition.get("Parameters", [])}
    names = [step.name for step in _flat(definition["Steps"], None)]
    for name in repeated(names):
        times = names.count(name)
        yield f"Step {name}: the name is used {times} times; names must be unique, branches included"
    for step in steps.values():
        for needed in sorted(step.needs - steps.keys()):
            defined = ", ".join(steps)
            yield f"Step {step.name}: refers to step {needed}, which is not defined; steps: {defined}"
        for place, function, argument in expressions(step.arguments, "Arguments"):
            for problem in _expression_problems(function, argument, types, steps):
                yield f"Step {step.name}: {place}: {problem}"
        if step.kind:
            yield from (f"Step {step.name}: {problem}" for problem in _request_problems(step, types))
    yield from _cycle(steps)


def _cycle(steps: dict[str, Step]) -> Iterator[str]:
    try:
        TopologicalSorter({step.name: step.needs for step in steps.values()}).prepare()
    except CycleError as error:
        yield f"Step {error.args[1][0]}: its dependencies form a cycle: {' -> '.join(error.args[1])}"


def _expression_problems(
    function: str, argument: object, types: dict[str, str], steps: dict[str, Step]
) -> Iterator[str]:
    if function not in FUNCTIONS:
        yield f"function {function} is not supported; allowed: {', '.join(FUNCTIONS)}"
    elif function == "Get":
        yield from _get_problems(argument, types, steps)
    elif function == "Std:Join":
        yield from _join_problems(argument)
    else:
        yield from _json_get_problems(argument)


def _get_problems(reference: object, types: dict[str, str], steps: dict[str, Step]) -> Iterator[str]:
    kind, _, name = reference.partition(".") if isinstance(reference, str) else ("", "", "")
    if kind == "Parameters" and name not in types:
        yield f"Get {reference}: there is no such parameter; declared: {', '.join(types) or 'none'}"
    elif kind == "Execution" and name not in VARIABLES:
        yield f"Get {reference}: there is no such variable; allowed: {', '.join(VARIABLES)}"
    elif kind == "Steps":
        step, path = step_reference(reference)
        if step in steps:
            yield from (f"Get {reference}: {problem}" for problem in _property_problems(steps[step], path))
    elif kind not in ("Parameters", "Execution"):
        yield f"Get {reference!r}: must begin with Parameters., Execution. or Steps."


def _join_problems(argument: object) -> Iterator[str]:
    form = isinstance(argument, dict) and {*argument} <= {"On", "Values"}
    if (
        not form
        or not isinstance(argument.get("Values"), list)
        or not isinstance(argument.get("On", ""), str)
    ):
        yield f"Std:Join takes On (a string) and Values (a list), got {argument!r}"
        return
    for value in argument["Values"]:
        if not is_scalar(value):
            yield f"Std:Join: got {value!r}, must be a string, number, boolean or function"


def _json_get_problems(argument: object) -> Iterator[str]:
    sources = [{"S3Uri", "Path"}, {"PropertyFile", "Path"}]
    if not isinstance(argument, dict) or {*argument} not in sources or not isinstance(argument["Path"], str):
        yield f"Std:JsonGet takes Path and one of S3Uri and PropertyFile, got {argument!r}"
        return
    try:
        path_keys(argument["Path"])
    except Unresolved as error:
        yield f"Std:JsonGet: {error}"
    file = argument.get("PropertyFile")
    get = file.get("Get") if is_expression(file) else None
    if file is not None and ".PropertyFiles." not in str(get):
        yield f"Std:JsonGet: PropertyFile must be a Get of Steps.<step>.PropertyFiles.<name>, got {file!r}"


def _property_problems(step: Step, path: str) -> Iterator[str]:
    if step.type == "Condition":
        allowed = ["Outcome"]
    elif step.type == "Fail":
        allowed = []
    elif path.startswith("PropertyFiles."):
        outputs = step.arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
        written = {output.get("OutputName") for output in outputs}
        allowed = [
            f"PropertyFiles.{name}" for name, file in step.files.items() if file["OutputName"] in written
        ]
    else:
        yield from _path_problems(operation_model(f"Describe{step.kind}").output_shape, path)
        return
    if path not in allowed:
        yield f"step {step.name} ({step.type}) has {', '.join(allowed) or 'no properties'}"


def _path_problems(shape: Shape, path: str) -> Iterator[str]:
    try:
        keys = path_keys(path)
    except Unresolved as error:
        yield str(error)
        return
    for key in keys:
        if shape.type_name == "structure" and key not in shape.members:
            yield f"{shape.name} has no {key}; it has {', '.join(shape.members)}"
            return
        if shape.type_name not in NESTED:
            yield f"{shape.name} is one value, it has no {key}"
            return
        shape = NESTED[shape.type_name](shape, key)
    if shape.type_name in NESTED:
        yield f"{shape.name} is a {shape.type_name}: name one value in it"


NESTED: dict[str, Callable[[Shape, str | int], Shape]] = {
    "structure": lambda shape, key: shape.members[key],
    "list": lambda shape, key: shape.member,
    "map": lambda shape, key: shape.value,
}


def _request_problems(step: Step, types: dict[str, str]) -> Iterator[str]:
    operation = f"Create{step.kind}"
    prefix = step.arguments.get(f"{step.kind}Name")
    name = prefix if is_expression(prefix) else job_name(step, prefix, SAMPLE_ID, SAMPLE_SUFFIX)
    request = step.arguments | {f"{step.kind}Name": name}
    yield from request_problems(operation, request, is_expression)
    yield from _misfits(operation_model(operation).input_shape, request, operation, types)


def _misfits(shape: Shape, value: object, place: str, types: dict[str, str]) -> Iterator[str]:
    """Expressions that stand where their value cannot: one value for a structure, a number for a string."""
    if is_expression(value):
        yield from (f"{place}: {problem}" for problem in _misfit(shape, value, types))
    elif isinstance(value, dict) and shape.type_name in ("structure", "map"):
        for name, item in value.items():
            if shape.type_name == "map" or name in shape.members:
                yield from _misfits(NESTED[shape.type_name](shape, name), item, f"{place}.{name}", types)
    elif isinstance(value, list) and shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _misfits(shape.member, item, f"{place}[{index}]", types)


def _misfit(shape: Shape, value: dict, types: dict[str, str]) -> Iterator[str]:
    ((function, argument),) = value.items()
    kind = types.get(str(argument).removeprefix("Parameters.")) if function == "Get" else None
    if shape.type_name in NESTED:
        yield f"{function} gives one value, {shape.name} is a {shape.type_name}"
    elif function == "Std:Join" and shape.type_name not in ("string", "blob"):
        yield f"Std:Join gives a string, expected {shape.type_name}"
    elif kind and str(argument).startswith("Parameters.") and shape.type_name not in SHAPES_OF[kind]:
        remedy = "; wrap it in Std:Join" if shape.type_name == "string" else ""
        yield f"{argument} is of type {kind}, expected {shape.type_name}{remedy}"
