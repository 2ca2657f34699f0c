"""The form of a pipeline definition: what must hold before its steps can be told apart."""

import re
from collections.abc import Iterator

from local_aws.expressions import COMPARISONS, is_expression

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
RETRIED = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
POLICY_MEMBERS = ("ExceptionType", "BackoffRate", "IntervalSeconds", "MaxAttempts", "ExpireAfterMin")
MAX_ATTEMPTS, MAX_EXPIRE_MINUTES = 20, 14400
STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PARAMETER_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")


def form_problems(definition: dict) -> Iterator[str]:
    """What is wrong with its members, one sentence each."""
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
    for name in repeated(names):
        yield f"Parameters: {name} is declared {names.count(name)} times"
    for parameter in parameters:
        yield from _parameter_form(parameter)


def _parameter_form(parameter: dict) -> Iterator[str]:
    place, kind = f"Parameter {parameter.get('Name')!r}", parameter.get("Type")
    if not _is_name(parameter.get("Name"), PARAMETER_NAME):
        yield f"{place}: Name must be 1 to 256 letters, digits, _ or -"
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
    if not _is_name(name, STEP_NAME):
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
            if not is_scalar(item):
                yield f"{place}.{name}: got {item!r}, must be a string, number, boolean or function"


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_name(name: object, pattern: re.Pattern) -> bool:
    return isinstance(name, str) and bool(pattern.fullmatch(name))


def is_scalar(value: object) -> bool:
    """True for a string, number or boolean, or a function that gives one."""
    return is_expression(value) or isinstance(value, str | int | float | bool)


def repeated(names: list) -> list:
    """The names that occur more than once, each once."""
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
