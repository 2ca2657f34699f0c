"""Intrinsic functions and pseudo parameters."""

import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.cloudformation.template import VARIABLE, refuse, wrong
from local_aws.validation import ApiError

NO_VALUE = object()
LATER = "{{changeSet:KNOWN_AFTER_APPLY}}"  # AWS's own words, for what only the deployment knows
ZONES = "abc"


class Unresolved(ApiError):
    """A function that cannot be computed, in CloudFormation's words."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationError", message)


@dataclass
class Scope:
    """What names stand for while one stack is computed.

    names: parameters (text or list of texts) and pseudo parameters. ref, attribute: of a resource.
    """

    names: dict[str, Any]
    mappings: dict[str, Any]
    conditions: dict[str, Any]
    exports: Callable[[str], str]
    ref: Callable[[str], Any]
    attribute: Callable[[str, str], Any]
    _known: dict[str, bool] = field(default_factory=dict)

    def holds(self, condition: str) -> bool:
        """Whether the condition of this name is true."""
        if condition not in self.conditions:
            raise wrong(f"Unresolved condition dependency {condition}")
        if condition not in self._known:
            self._known[condition] = bool(evaluate(self.conditions[condition], self))
        return self._known[condition]


def resolve(value: Any, scope: Scope) -> Any:
    """`value` with every function computed and what is AWS::NoValue left out."""
    resolved = _resolve(value, scope)
    return None if resolved is NO_VALUE else resolved


def _resolve(value: Any, scope: Scope) -> Any:
    if isinstance(value, list):
        items = [_resolve(item, scope) for item in value]
        return [item for item in items if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name == "Ref" or name in FUNCTIONS:
            return _ref(argument, scope) if name == "Ref" else FUNCTIONS[name](argument, scope)
        if str(name).startswith("Fn::"):
            raise wrong(f"{name} is not a function that the local AWS computes")
    items = {key: _resolve(item, scope) for key, item in value.items()}
    return {key: item for key, item in items.items() if item is not NO_VALUE}


def _ref(name: str, scope: Scope) -> Any:
    if name == "AWS::NoValue":
        return NO_VALUE
    return scope.names[name] if name in scope.names else scope.ref(name)


def _get_att(argument: Any, scope: Scope) -> Any:
    logical, attribute = argument.split(".", 1) if isinstance(argument, str) else _pair(argument, "GetAtt")
    return scope.attribute(logical, str(_resolve(attribute, scope)))


def _sub(argument: Any, scope: Scope) -> str:
    text, own = _pair(argument, "Sub") if isinstance(argument, list) else (argument, {})
    values = {name: _resolve(value, scope) for name, value in own.items()}

    def value_of(name: str) -> str:
        if name in values:
            return text_of(values[name], f"Fn::Sub ${{{name}}}")
        found = _get_att(name, scope) if "." in name else _ref(name, scope)
        return text_of(found, f"Fn::Sub ${{{name}}}")

    return VARIABLE.sub(lambda found: value_of(found[1]), text).replace("${!", "${")


def _join(argument: Any, scope: Scope) -> str:
    delimiter, items = _pair(argument, "Join")
    return delimiter.join(text_of(item, "Fn::Join") for item in _list(_resolve(items, scope), "Join"))


def _select(argument: Any, scope: Scope) -> Any:
    index, items = (_resolve(part, scope) for part in _pair(argument, "Select"))
    if items == LATER:
        return LATER
    items = _list(items, "Select")
    if not str(index).isdigit() or int(index) >= len(items):
        raise Unresolved(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
    return items[int(index)]


def _split(argument: Any, scope: Scope) -> list[str]:
    delimiter, text = _pair(argument, "Split")
    return text_of(_resolve(text, scope), "Fn::Split").split(delimiter)


def _find_in_map(argument: Any, scope: Scope) -> Any:
    keys = [str(_resolve(part, scope)) for part in argument[:3]]
    found: Any = scope.mappings
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise Unresolved(f"Template error: Unable to get mapping for {'::'.join(keys)}")
        found = found[key]
    return found


def _if(argument: Any, scope: Scope) -> Any:
    if not isinstance(argument, list) or len(argument) != 3:
        raise wrong("Fn::If requires a list argument of three elements")
    return _resolve(argument[1] if scope.holds(argument[0]) else argument[2], scope)


def _import_value(argument: Any, scope: Scope) -> str:
    return scope.exports(text_of(_resolve(argument, scope), "Fn::ImportValue"))


def _base64(argument: Any, scope: Scope) -> str:
    return base64.b64encode(text_of(_resolve(argument, scope), "Fn::Base64").encode()).decode()


def _cidr(argument: Any, scope: Scope) -> Any:
    block, count, *rest = [_resolve(part, scope) for part in argument]
    if block == LATER:
        return LATER
    try:
        network = ipaddress.ip_network(block)
        new_prefix = network.max_prefixlen - int(rest[0] if rest else 64 if network.version == 6 else 8)
        subnets = network.subnets(new_prefix=new_prefix)
        found = [str(next(subnets)) for _ in range(int(count))]
    except (ValueError, StopIteration) as error:
        raise Unresolved(f"Template error: Fn::Cidr cannot make {count} blocks of {block}") from error
    return found


def _zones(argument: Any, scope: Scope) -> list[str]:
    region = _resolve(argument, scope) or scope.names["AWS::Region"]
    return [f"{region}{letter}" for letter in ZONES]


FUNCTIONS: dict[str, Callable[[Any, Scope], Any]] = {
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::FindInMap": _find_in_map,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::GetAZs": _zones,
}


def evaluate(condition: Any, scope: Scope) -> bool:
    """The truth of a condition function."""
    name, argument = next(iter(condition.items())) if _is_function(condition) else (None, None)
    if name == "Condition":
        return scope.holds(argument)
    if name == "Fn::Equals":
        left, right = (_resolve(part, scope) for part in _pair(argument, "Equals"))
        return scalar_text(left) == scalar_text(right)
    if name == "Fn::Not":
        return not evaluate(argument[0], scope)
    if name in ("Fn::And", "Fn::Or"):
        results = [evaluate(each, scope) for each in argument]
        return all(results) if name == "Fn::And" else any(results)
    raise wrong(
        f"a condition must be one of Fn::And, Fn::Equals, Fn::Not, Fn::Or, Condition, got {condition}"
    )


def _is_function(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1


def _pair(argument: Any, function: str) -> tuple[Any, Any]:
    if not isinstance(argument, list) or len(argument) != 2:
        raise wrong(f"Fn::{function} requires a list argument of two elements, got {argument!r}")
    return argument[0], argument[1]


def _list(value: Any, function: str) -> list:
    if value == LATER:
        return [LATER]
    if not isinstance(value, list):
        raise Unresolved(f"Template error: Fn::{function} needs a list, got {value!r}")
    return value


def scalar_text(value: Any) -> Any:
    """A scalar as CloudFormation compares and stores it: true is "true", 1 is "1"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def text_of(value: Any, place: str) -> str:
    """`value` as text; raises when it is a list, an object or nothing."""
    text = scalar_text(value)
    if not isinstance(text, str):
        raise refuse(f"Template error: {place} needs a text, got {value!r}")
    return text
