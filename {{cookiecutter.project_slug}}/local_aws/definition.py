"""A pipeline definition: its steps and their order, and everything that can be wrong with it before it runs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from botocore.model import Shape

from local_aws.expressions import (
    COMPARISONS,
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

VERSION = "2020-12-01"
TOP = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
MEMBERS = ("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description")
JOB_MEMBERS = (*MEMBERS, "RetryPolicies", "CacheConfig", "PropertyFiles")
KIND_OF_JOB = {
    "Training": "TrainingJob",
    "Processing": "ProcessingJob",
    "Transform": "TransformJob",
    "Tuning": "HyperParameterTuningJob",
    "Model": "Model",
}
STEP_TYPES = (*KIND_OF_JOB, "Condition", "Fail")
PARAMETER_TYPES = {"String": str, "Integer": int, "Float": (int, float), "Boolean": bool}
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
RETRIED = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
POLICY_MEMBERS = ("ExceptionType", "BackoffRate", "IntervalSeconds", "MaxAttempts", "ExpireAfterMin")
MAX_ATTEMPTS, MAX_EXPIRE_MINUTES = 20, 14400
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
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


def job_request(step: Step, arguments: dict, execution_id: str, suffix: str) -> dict:
    """The step's (resolved) arguments with its job's name.

    A name in the arguments is a prefix (`use_custom_job_prefix`), else the name begins as SageMaker's do.
    """
    member = f"{step.kind}Name"
    short = step.type == "Tuning"
    without = f"{execution_id}-{step.name[:12]}" if short else f"pipelines-{execution_id}-{step.name[:20]}"
    begin = f"{arguments[member]}-{execution_id}" if member in arguments else without
    return arguments | {member: f"{begin}-{suffix}"}


def check(definition: dict, api: "SageMaker") -> None:
    """Raises ValidationException with everything that keeps the definition from being executed."""
    problems = list(_form(definition))
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


# The form of the definition: what must hold before its steps can be told apart.
def _form(definition: dict) -> Iterator[str]:
    yield from _unknown("The definition", definition, TOP)
    if definition.get("Version") != VERSION:
        yield f"Version: got {definition.get('Version')!r}, must be {VERSION!r}"
    yield from _parameters_form(definition.get("Parameters", []))
    steps = definition.get("Steps")
    if not steps:
        yield "Steps: must hold at least one step"
    yield from _steps_form(steps or [], "Steps")


def _unknown(place: str, members: dict, known: tuple[str, ...]) -> Iterator[str]:
    for name in members:
        if name not in known:
            yield f"{place}: {name} is not supported; allowed: {', '.join(known)}"


def _parameters_form(parameters: object) -> Iterator[str]:
    if not _is_list_of_dicts(parameters):
        yield "Parameters: must be a list of objects"
        return
    names = [parameter.get("Name") for parameter in parameters]
    for name in _repeated(names):
        yield f"Parameters: {name} is declared {names.count(name)} times"
    for parameter in parameters:
        yield from _parameter_form(parameter)


def _parameter_form(parameter: dict) -> Iterator[str]:
    place, kind = f"Parameter {parameter.get('Name')!r}", parameter.get("Type")
    if not _is_name(parameter.get("Name")):
        yield f"{place}: Name must be 1 to 64 letters, digits, _ or -"
    yield from _unknown(place, parameter, ("Name", "Type", "DefaultValue", "EnumValues"))
    if kind not in PARAMETER_TYPES:
        yield f"{place}: Type: got {kind!r}, allowed: {', '.join(PARAMETER_TYPES)}"
        return
    allowed = parameter.get("EnumValues", [])
    for value in (*([parameter["DefaultValue"]] if "DefaultValue" in parameter else []), *allowed):
        if not isinstance(value, PARAMETER_TYPES[kind]) or (isinstance(value, bool) and kind != "Boolean"):
            yield f"{place}: got {value!r}, must be of type {kind}"
    if allowed and "DefaultValue" in parameter and parameter["DefaultValue"] not in allowed:
        yield f"{place}: DefaultValue: got {parameter['DefaultValue']!r}, allowed: {allowed}"


def _steps_form(steps: object, place: str) -> Iterator[str]:
    if not _is_list_of_dicts(steps):
        yield f"{place}: must be a list of steps"
        return
    for index, step in enumerate(steps):
        yield from _step_form(step, f"{place}[{index}]")


def _step_form(step: dict, place: str) -> Iterator[str]:
    name, kind = step.get("Name"), step.get("Type")
    if not _is_name(name):
        yield f"{place}.Name: got {name!r}, must be 1 to 64 letters, digits, _ or -"
        return
    if kind not in STEP_TYPES:
        yield f"Step {name}: type {kind!r} is not supported by the local AWS; it runs {', '.join(STEP_TYPES)}"
        return
    yield from _unknown(f"Step {name}", step, JOB_MEMBERS if kind in KIND_OF_JOB else MEMBERS)
    if not isinstance(step.get("Arguments"), dict):
        yield f"Step {name}: Arguments must be an object"
        return
    yield from _depends_form(name, step.get("DependsOn", []))
    yield from _extras_form(name, step)
    if kind == "Condition":
        yield from _condition_step_form(name, step["Arguments"])
    if kind == "Fail":
        yield from _unknown(f"Step {name}: Arguments", step["Arguments"], ("ErrorMessage",))


def _depends_form(name: str, depends_on: object) -> Iterator[str]:
    for item in depends_on if isinstance(depends_on, list) else [depends_on]:
        if isinstance(item, dict):
            yield f"Step {name}: DependsOn: run condition {item} is not supported by the local AWS"
        elif not isinstance(item, str):
            yield f"Step {name}: DependsOn: must hold step names, got {item!r}"


def _extras_form(name: str, step: dict) -> Iterator[str]:
    if (step.get("CacheConfig") or {}).get("Enabled"):
        yield f"Step {name}: CacheConfig is not supported by the local AWS"
    for policy in step.get("RetryPolicies", []):
        yield from _policy_form(f"Step {name}: RetryPolicies", policy)
    for file in step.get("PropertyFiles", []):
        if step["Type"] != "Processing" or {*file} != {"PropertyFileName", "OutputName", "FilePath"}:
            wanted = "PropertyFileName, OutputName and FilePath of a Processing step"
            yield f"Step {name}: PropertyFiles: got {file}, must hold {wanted}"


def _policy_form(place: str, policy: dict) -> Iterator[str]:
    yield from _unknown(place, policy, POLICY_MEMBERS)
    types = policy.get("ExceptionType")
    for kind in types if isinstance(types, list) and types else [types]:
        if kind not in RETRIED:
            yield f"{place}.ExceptionType: got {kind!r}, allowed: {', '.join(RETRIED)}"
    limits = {"MaxAttempts": (1, MAX_ATTEMPTS), "ExpireAfterMin": (0, MAX_EXPIRE_MINUTES)}
    if len(limits.keys() & policy.keys()) != 1:
        yield f"{place}: exactly one of MaxAttempts and ExpireAfterMin must be given"
    limits |= {"BackoffRate": (0, float("inf")), "IntervalSeconds": (0, float("inf"))}
    for member, (low, high) in limits.items():
        value = policy.get(member, low)
        if not isinstance(value, int | float) or not low <= value <= high:
            yield f"{place}.{member}: got {value!r}, must be in [{low}, {high}]"


def _condition_step_form(name: str, arguments: dict) -> Iterator[str]:
    yield from _unknown(f"Step {name}: Arguments", arguments, ("Conditions", "IfSteps", "ElseSteps"))
    yield from _conditions_form(f"Step {name}: Conditions", arguments.get("Conditions"))
    for branch in ("IfSteps", "ElseSteps"):
        yield from _steps_form(arguments.get(branch, []), f"Step {name}: {branch}")


def _conditions_form(place: str, conditions: object) -> Iterator[str]:
    if not _is_list_of_dicts(conditions) or not conditions:
        yield f"{place}: must be a list of conditions"
        return
    for index, condition in enumerate(conditions):
        yield from _condition_form(f"{place}[{index}]", condition)


def _condition_form(place: str, condition: object) -> Iterator[str]:
    kind = condition.get("Type") if isinstance(condition, dict) else None
    members = {"In": ("QueryValue", "Values"), "Not": ("Condition",), "Or": ("Conditions",)}
    members |= dict.fromkeys(COMPARISONS, ("LeftValue", "RightValue"))
    if kind not in members:
        yield f"{place}: type {kind!r} is not a condition; allowed: {', '.join(members)}"
    elif {*condition} != {"Type", *members[kind]}:
        yield f"{place}: {kind} takes {' and '.join(members[kind])}, got {sorted(condition)}"
    elif kind == "Not":
        yield from _condition_form(f"{place}.Condition", condition["Condition"])
    elif kind == "Or":
        yield from _conditions_form(f"{place}.Conditions", condition["Conditions"])
    else:
        yield from _operands_form(place, {name: condition[name] for name in members[kind]})


def _operands_form(place: str, operands: dict[str, object]) -> Iterator[str]:
    for name, value in operands.items():
        values = value if name == "Values" and isinstance(value, list) else [value]
        for item in values:
            if not _is_scalar(item):
                yield f"{place}.{name}: got {item!r}, must be a string, number, boolean or function"


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(NAME.fullmatch(name))


def _is_scalar(value: object) -> bool:
    return is_expression(value) or isinstance(value, str | int | float | bool)


def _repeated(names: list) -> list:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


# The meaning: names, references, order, and each step's arguments against the API it will call.
def _meaning(definition: dict, steps: dict[str, Step]) -> Iterator[str]:
    types = {parameter["Name"]: parameter["Type"] for parameter in definition.get("Parameters", [])}
    names = [step.name for step in _flat(definition["Steps"], None)]
    for name in _repeated(names):
        yield f"Step {name}: the name is used {names.count(name)} times; names must be unique, branches included"
    for step in steps.values():
        for needed in sorted(step.needs - steps.keys()):
            yield f"Step {step.name}: refers to step {needed}, which is not defined; steps: {', '.join(steps)}"
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
        if not _is_scalar(value):
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
    prefix = step.arguments.get(f"{step.kind}Name", "")
    request = job_request(step, step.arguments, SAMPLE_ID, SAMPLE_SUFFIX)
    if is_expression(prefix):
        request[f"{step.kind}Name"] = prefix
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
