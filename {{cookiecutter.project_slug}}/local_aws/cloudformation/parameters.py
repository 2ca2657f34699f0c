"""A stack's parameters: what a template declares, and the values that a request gives."""

import re
from typing import Any

from local_aws.cloudformation.intrinsics import scalar_text
from local_aws.cloudformation.template import Template, refuse, wrong

MEMBERS = (
    "Type",
    "Default",
    "Description",
    "NoEcho",
    "AllowedValues",
    "AllowedPattern",
    "ConstraintDescription",
    "MinLength",
    "MaxLength",
    "MinValue",
    "MaxValue",
)
LIST_TYPE = re.compile(r"CommaDelimitedList|List<(Number|String|AWS::[\w:]+)>")
SCALAR_TYPE = re.compile(r"String|Number|AWS::(?!SSM::Parameter::Value)[\w:]+")
HIDDEN = "****"


def declarations(template: Template) -> dict[str, dict]:
    """The template's parameters by name; raises ApiError for one that is malformed."""
    declared = template.section("Parameters")
    for name, parameter in declared.items():
        if not isinstance(parameter, dict) or "Type" not in parameter:
            raise wrong(f"Every Parameters object must contain a Type member ({name})")
        for member in parameter:
            if member not in MEMBERS:
                raise wrong(f"Invalid parameter property '{member}' of {name}")
        kind = parameter["Type"]
        if not (LIST_TYPE.fullmatch(kind) or SCALAR_TYPE.fullmatch(kind)):
            raise wrong(f"Unrecognized parameter type: {kind} ({name})")
    return declared


def given(template: Template, request: list[dict], previous: dict[str, str] | None = None) -> dict[str, str]:
    """The text of every parameter; raises ApiError for an unknown, missing or refused one.

    previous: the texts of the stack as it is, for UsePreviousValue.
    """
    declared, values = declarations(template), {}
    asked = {each["ParameterKey"]: each for each in request}
    if unknown := sorted(set(asked) - set(declared)):
        raise refuse(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = []
    for name, parameter in declared.items():
        value = _value(name, parameter, asked.get(name), previous)
        if value is None:
            missing.append(name)
        else:
            _check(name, parameter, value)
            values[name] = value
    if missing:
        raise refuse(f"Parameters: [{', '.join(missing)}] must have values")
    return values


def _value(name: str, parameter: dict, asked: dict | None, previous: dict[str, str] | None) -> str | None:
    if asked is not None and asked.get("UsePreviousValue"):
        if previous is None or name not in previous:
            raise refuse(
                f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true "
                "for a parameter key not in the previous template"
            )
        return previous[name]
    if asked is not None and "ParameterValue" in asked:
        return asked["ParameterValue"]
    if "Default" not in parameter:
        return None
    default = parameter["Default"]
    return ",".join(map(scalar_text, default)) if isinstance(default, list) else scalar_text(default)


def values_of(template: Template, texts: dict[str, str]) -> dict[str, Any]:
    """What Ref gives for each parameter: its text, or a list of texts."""
    declared = declarations(template)
    return {name: _referred(declared[name]["Type"], text) for name, text in texts.items()}


def _referred(kind: str, text: str) -> str | list[str]:
    if not LIST_TYPE.fullmatch(kind):
        return text
    return [item.strip() for item in text.split(",")] if text else []


def described(template: Template, texts: dict[str, str]) -> list[dict]:
    """The parameters as DescribeStacks shows them."""
    declared = declarations(template)
    return [
        {"ParameterKey": name, "ParameterValue": HIDDEN if _hidden(declared[name]) else text}
        for name, text in texts.items()
    ]


def summary(template: Template) -> list[dict]:
    """The parameters as GetTemplateSummary shows them."""
    return [_declaration(name, each) for name, each in declarations(template).items()]


def _declaration(name: str, parameter: dict) -> dict:
    shown = {"ParameterKey": name, "ParameterType": parameter["Type"], "NoEcho": _hidden(parameter)}
    if "Default" in parameter:
        shown["DefaultValue"] = _value(name, parameter, None, None)
    if "Description" in parameter:
        shown["Description"] = parameter["Description"]
    if "AllowedValues" in parameter:
        allowed = [scalar_text(value) for value in parameter["AllowedValues"]]
        shown["ParameterConstraints"] = {"AllowedValues": allowed}
    return shown


def _hidden(parameter: dict) -> bool:
    return scalar_text(parameter.get("NoEcho", False)) == "true"


def _check(name: str, parameter: dict, text: str) -> None:
    items = _referred(parameter["Type"], text)
    for value in items if isinstance(items, list) else [items]:
        if problem := _problem(parameter, value):
            wish = parameter.get("ConstraintDescription")
            said = f"failed to satisfy constraint: {wish}" if wish else f"must {problem}"
            raise refuse(f"Parameter '{name}' {said} (got {value!r})")


def _problem(parameter: dict, value: str) -> str | None:
    """What the value must be and is not."""
    allowed = [scalar_text(each) for each in parameter.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"be one of [{', '.join(allowed)}]"
    pattern = parameter.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        return f"match pattern {pattern}"
    if len(value) < int(parameter.get("MinLength", 0)):
        return f"contain at least {parameter['MinLength']} characters"
    if len(value) > int(parameter.get("MaxLength", len(value))):
        return f"contain at most {parameter['MaxLength']} characters"
    return _number_problem(parameter, value) if "Number" in parameter["Type"] else None


def _number_problem(parameter: dict, value: str) -> str | None:
    try:
        number = float(value)
    except ValueError:
        return "be a number"
    if number < float(parameter.get("MinValue", number)):
        return f"be a number not less than {parameter['MinValue']}"
    if number > float(parameter.get("MaxValue", number)):
        return f"be a number not greater than {parameter['MaxValue']}"
    return None
