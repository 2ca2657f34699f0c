"""Requests against botocore's service model: types, required members, lengths, ranges, enums and patterns."""

import difflib
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

TYPES = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "blob": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}
SIZED = ("string", "list", "map")
MOST_NAMES = 12
EXPANDED = "LMNPSZ"


class ApiError(Exception):
    """An error as the API reports it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def never_open(value: object) -> bool:
    return False


@cache
def service_model() -> ServiceModel:
    """SageMaker's service model, as the AWS clients have it."""
    return botocore.session.Session().get_service_model("sagemaker")


def operation_model(operation: str) -> OperationModel | None:
    """The operation's model, None when SageMaker has no such operation."""
    known = operation in service_model().operation_names
    return service_model().operation_model(operation) if known else None


def request_problems(
    operation: str, request: object, is_open: Callable[[object], bool] = never_open
) -> list[str]:
    """What is wrong with a request of a known operation, one sentence each; empty when it is valid.

    is_open: true for a value that is only known later (`{"Get": ...}` in a pipeline definition).
    """
    shape = service_model().operation_model(operation).input_shape
    return list(problems(shape, request, operation, is_open))


def problems(
    shape: Shape, value: object, place: str, is_open: Callable[[object], bool] = never_open
) -> Iterator[str]:
    """Sentences on what in `value` does not fit `shape`; `place` is how they name it."""
    if is_open(value):
        return
    wanted = TYPES[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        yield f"{place}: got {_short(value)}, expected {shape.type_name}"
        return
    yield from _limits(shape, value, place)
    if shape.type_name == "structure":
        yield from _structure(shape, value, place, is_open)
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from problems(shape.member, item, f"{place}[{index}]", is_open)
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from problems(shape.key, key, f"{place} key", is_open)
            yield from problems(shape.value, item, f"{place}.{key}", is_open)


def _structure(shape: Shape, value: dict, place: str, is_open: Callable[[object], bool]) -> Iterator[str]:
    for name in shape.metadata.get("required", []):
        if name not in value:
            yield f"{place}.{name} is required"
    if shape.is_tagged_union and len(value) != 1:
        yield f"{place}: exactly one of {', '.join(shape.members)} must be set, got {sorted(value)}"
    for name, item in value.items():
        if name not in shape.members:
            yield f"{place}.{name} is not a parameter; {_choices(name, list(shape.members))}"
        else:
            yield from problems(shape.members[name], item, f"{place}.{name}", is_open)


def _limits(shape: Shape, value: object, place: str) -> Iterator[str]:
    sized = shape.type_name in SIZED
    number, what = (len(value), "length") if sized else (value, "value")
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and number < low:
        yield f"{place}: {what} must be at least {low}, got {_short(value)}"
    if high is not None and number > high:
        yield f"{place}: {what} must be at most {high}, got {_short(value)}{f' ({number})' if sized else ''}"
    if shape.type_name == "string":
        yield from _wording(shape, value, place)


def _wording(shape: Shape, value: str, place: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{place}: got {_short(value)}, {_choices(value, shape.enum)}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield f"{place}: got {_short(value)}, must match {pattern}"


def _choices(value: str, names: list[str]) -> str:
    if len(names) <= MOST_NAMES:
        return f"allowed: {', '.join(names)}"
    nearest = difflib.get_close_matches(value, names, n=5, cutoff=0)
    return f"allowed: {', '.join(nearest)} and {len(names) - len(nearest)} more"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


@cache
def _compiled(pattern: str) -> re.Pattern:
    """The model's Java pattern as Python's `re` takes it."""
    pattern = re.sub(r"\$\{\d+,\d+\}$", "$", pattern)
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    pattern = pattern.replace(r"\p{Alnum}", "a-zA-Z0-9")
    return re.compile(re.sub(r"\\p\{(\w)\}", lambda found: _category_ranges()[found[1]], pattern))


@cache
def _category_ranges() -> dict[str, str]:
    """Unicode's major categories as ranges for a character class."""
    ranges: dict[str, list[str]] = {category: [] for category in EXPANDED}
    first, current = 0, ""
    for code in range(sys.maxunicode + 2):
        category = unicodedata.category(chr(code))[0] if code <= sys.maxunicode else ""
        if category != current:
            if current in ranges:
                ranges[current].append(f"{re.escape(chr(first))}-{re.escape(chr(code - 1))}")
            first, current = code, category
    return {category: "".join(parts) for category, parts in ranges.items()}
