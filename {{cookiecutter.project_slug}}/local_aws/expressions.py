"""The functions and conditions of a pipeline definition: `Get`, `Std:Join`, `Std:JsonGet`, `Equals`, ..."""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")
KEYED_BY = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")
ORDERINGS = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
COMPARISONS = ("Equals", *ORDERINGS)
PATH_PART = re.compile(r"""\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")


class Unresolved(ValueError):
    """An expression without a value, or a condition that cannot be decided; the message says why."""


@dataclass(frozen=True)
class Scope:
    """What expressions refer to.

    step: a step's properties (its Describe answer) by name. property_file: S3 URI by step and file name.
    read: bytes of an S3 URI, Unresolved when they cannot be read.
    """

    parameters: Mapping[str, object]
    variables: Mapping[str, str]
    step: Callable[[str], dict]
    property_file: Callable[[str, str], str]
    read: Callable[[str], bytes]


def is_expression(value: object) -> bool:
    """True for `{"Get": ...}` and `{"Std:...": ...}`."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    function = next(iter(value))
    return function == "Get" or function.startswith("Std:")


def expressions(value: object, place: str) -> Iterator[tuple[str, str, object]]:
    """(place, function, argument) of every expression in `value`, those inside others included."""
    if is_expression(value):
        ((function, argument),) = value.items()
        yield place, function, argument
    if isinstance(value, dict):
        for key, item in value.items():
            yield from expressions(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions(item, f"{place}[{index}]")


def step_reference(reference: str) -> tuple[str, str] | None:
    """(step, path of its property) of `Steps.X.path`; None for parameters and execution variables."""
    kind, _, rest = reference.partition(".")
    step, _, path = rest.partition(".")
    return (step, path) if kind == "Steps" else None


def referenced_steps(value: object) -> set[str]:
    """Names of the steps that the expressions in `value` refer to."""
    gets = (argument for _, function, argument in expressions(value, "") if function == "Get")
    references = (step_reference(argument) for argument in gets if isinstance(argument, str))
    return {reference[0] for reference in references if reference}


def path_keys(path: str) -> list[str | int]:
    """Keys and indices of a path such as `Result['k'][0].x`, with or without a leading `$`.

    Raises Unresolved for any other form (wildcards, slices and filters are not supported).
    """
    text, keys, position = path.removeprefix("$"), [], 0
    while position < len(text):
        part = PATH_PART.match(text, position)
        if part is None:
            raise Unresolved(f"path {path!r} is not of the form a.b['c'][0] at {text[position:]!r}")
        name, index, single, double = part.groups()
        keys.append(int(index) if index else next(key for key in (name, single, double) if key is not None))
        position = part.end()
    return keys


def follow(document: object, keys: list[str | int]) -> object:
    """The value under `keys`; Unresolved names the first key that is missing and those there are."""
    value = document
    for position, key in enumerate(keys):
        value = _item(value, key, keys[:position])
    return value


def _item(value: object, key: str | int, before: list[str | int]) -> object:
    if isinstance(value, dict) and key in value:
        return value[key]
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    named = value if isinstance(value, list) and isinstance(key, str) else []
    for item in named:
        if isinstance(item, dict) and any(item.get(member) == key for member in KEYED_BY):
            return item
    there = ", ".join(value) if isinstance(value, dict) else f"a {type(value).__name__}"
    raise Unresolved(f"no {key!r} under {'.'.join(map(str, before)) or 'the top'}; there is: {there}")


def resolve(value: object, scope: Scope) -> object:
    """`value` with every expression in it replaced by what it stands for."""
    if is_expression(value):
        ((function, argument),) = value.items()
        return RESOLVERS[function](argument, scope)
    if isinstance(value, dict):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def _get(reference: str, scope: Scope) -> object:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        return scope.parameters[rest]
    if kind == "Execution":
        return _variable(rest, scope)
    step, _, path = rest.partition(".")
    try:
        return _scalar(follow(scope.step(step), path_keys(path)))
    except Unresolved as error:
        raise Unresolved(f"Get {reference}: {error}") from None


def _variable(name: str, scope: Scope) -> str:
    if name not in scope.variables:
        raise Unresolved(f"Get Execution.{name}: this step has none; it has {', '.join(scope.variables)}")
    return scope.variables[name]


def _join(argument: dict, scope: Scope) -> str:
    return argument.get("On", "").join(text(resolve(value, scope)) for value in argument["Values"])


def _json_get(argument: dict, scope: Scope) -> object:
    uri = _json_uri(argument, scope)
    try:
        return _scalar(follow(json.loads(scope.read(uri)), path_keys(argument["Path"])))
    except ValueError as error:
        raise Unresolved(f"Std:JsonGet {argument['Path']} of {uri}: {error}") from None


def _json_uri(argument: dict, scope: Scope) -> str:
    if "S3Uri" in argument:
        return resolve(argument["S3Uri"], scope)
    step, path = step_reference(argument["PropertyFile"]["Get"])
    return scope.property_file(step, path.removeprefix("PropertyFiles."))


RESOLVERS = {"Get": _get, "Std:Join": _join, "Std:JsonGet": _json_get}


def _scalar(value: object) -> object:
    if value is None or isinstance(value, dict | list):
        raise Unresolved(f"is {'null' if value is None else f'a {type(value).__name__}'}, not one value")
    return value


def text(value: object) -> str:
    """A scalar as Std:Join writes it: `true`, `3`, `0.5`, strings as they are."""
    return value if isinstance(value, str) else json.dumps(value)


def holds(condition: dict, scope: Scope) -> bool:
    """Whether a condition is true; Unresolved when its values cannot be compared."""
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Condition"], scope)
    if kind == "Or":
        return any(holds(item, scope) for item in condition["Conditions"])
    if kind == "In":
        value = resolve(condition["QueryValue"], scope)
        return any(_equal(kind, value, resolve(item, scope)) for item in condition["Values"])
    left, right = resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope)
    return _equal(kind, left, right) if kind == "Equals" else _ordered(kind, left, right)


def _equal(kind: str, left: object, right: object) -> bool:
    if type_name(left) != type_name(right):
        raise Unresolved(f"{kind}: {_described(left)} and {_described(right)} are not of the same type")
    return left == right


def _ordered(kind: str, left: object, right: object) -> bool:
    if (type_name(left), type_name(right)) != ("number", "number"):
        raise Unresolved(f"{kind} compares numbers, got {_described(left)} and {_described(right)}")
    return ORDERINGS[kind](left, right)


def type_name(value: object) -> str:
    """number, string or boolean; integers and floats are one type, true is no number."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _described(value: object) -> str:
    return f"{value!r} ({type_name(value)})"
