"""CloudFormation's own schemas of resource types, as cfn-lint ships them: properties, and which replace."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local_aws.cloudformation.intrinsics import LATER, scalar_text

NUMBERS = {"integer": int, "number": float}
PROPERTIES = "/properties/"


class Misfit(Exception):
    """A property that its type's schema refuses."""


@dataclass(frozen=True)
class Schema:
    """What CloudFormation knows of one resource type."""

    type: str
    document: dict[str, Any]

    @property
    def properties(self) -> dict[str, dict]:
        """The properties that a template may set, by name."""
        found = self.document["properties"]
        return {name: each for name, each in found.items() if name not in self._names("readOnlyProperties")}

    @property
    def attributes(self) -> list[str]:
        """The names that GetAtt takes."""
        return [name.replace("/", ".") for name in self._names("readOnlyProperties")]

    @property
    def identifiers(self) -> list[str]:
        """The properties that together name a resource, as far as a template sets them."""
        return [name for name in self._names("primaryIdentifier") if name in self.properties]

    @property
    def tag_property(self) -> str | None:
        path = self.document.get("tagging", {}).get("tagProperty", PROPERTIES + "Tags")
        name = path.removeprefix(PROPERTIES)
        return name if name in self.document["properties"] else None

    def tags_are_a_map(self) -> bool:
        return self._target(self.document["properties"][self.tag_property]).get("type") == "object"

    def replacement(self, name: str, old: Any, new: Any) -> str:
        """Always, Conditionally or Never: whether this change of a property replaces the resource."""
        for path in self._names("createOnlyProperties"):
            first, *rest = path.split("/")
            if first == name and _at(old, rest) != _at(new, rest):
                return "Conditionally" if LATER in json.dumps(_at(new, rest)) else "Always"
        return "Conditionally" if name in self._names("conditionalCreateOnlyProperties") else "Never"

    def fitted(self, properties: dict[str, Any]) -> dict[str, Any]:
        """The properties in their types (CloudFormation takes "5" for 5); raises Misfit."""
        whole = {**self.document, "properties": self.properties, "additionalProperties": False}
        return self._fit(whole, properties, "")

    def _names(self, keyword: str) -> list[str]:
        return [path.removeprefix(PROPERTIES) for path in self.document.get(keyword, [])]

    def _target(self, schema: dict) -> dict:
        if "$ref" not in schema:
            return schema
        target: Any = self.document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return self._target(target)

    def _fit(self, schema: dict, value: Any, place: str) -> Any:
        schema = self._target(schema)
        if isinstance(value, str) and LATER in value:
            return value
        kinds = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kinds, list):
            kinds = _chosen(kinds, value)
        if kinds == "object":
            return self._fit_object(schema, value, place)
        if kinds == "array":
            return self._fit_array(schema, value, place)
        return _fit_scalar(kinds, schema, value, place) if kinds else value

    def _fit_object(self, schema: dict, value: Any, place: str) -> dict:
        if not isinstance(value, dict):
            raise Misfit(f"{place or 'Properties'}: got {value!r}, expected an object")
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                raise Misfit(f"Properties validation failed: required key [{place}{name}] not found")
        unknown = [name for name in value if name not in known]
        if unknown and schema.get("additionalProperties") is False and not schema.get("patternProperties"):
            raise Misfit(f"Encountered unsupported property {place}{unknown[0]}")
        return {
            name: self._fit(known[name], item, f"{place}{name}.") if name in known else item
            for name, item in value.items()
        }

    def _fit_array(self, schema: dict, value: Any, place: str) -> list:
        items = value if isinstance(value, list) else [value]
        member, name = schema.get("items", {}), place.removesuffix(".")
        low, high = schema.get("minItems", 0), schema.get("maxItems", len(items))
        if not low <= len(items) <= high:
            raise Misfit(f"{name}: got {len(items)} items, expected {low} to {high}")
        return [self._fit(member, item, f"{name}[{index}].") for index, item in enumerate(items)]


def _chosen(kinds: list[str], value: Any) -> str:
    fitting = {dict: "object", list: "array", bool: "boolean"}.get(type(value), "string")
    return fitting if fitting in kinds else kinds[0]


def _fit_scalar(kind: str, schema: dict, value: Any, place: str) -> Any:
    name, text = place.removesuffix("."), scalar_text(value)
    if not isinstance(text, str):
        raise Misfit(f"{name}: got {value!r}, expected a {kind}")
    if kind == "boolean":
        if text not in ("true", "false"):
            raise Misfit(f"{name}: got {value!r}, expected true or false")
        return text == "true"
    if kind in NUMBERS:
        return _fit_number(kind, schema, text, name)
    if problem := next(_text_problems(schema, text), None):
        raise Misfit(f"{name}: got {text!r}, {problem}")
    return text


def _fit_number(kind: str, schema: dict, text: str, name: str) -> int | float:
    try:
        number = NUMBERS[kind](text)
    except ValueError as error:
        raise Misfit(f"{name}: got {text!r}, expected a {kind}") from error
    low, high = schema.get("minimum", number), schema.get("maximum", number)
    if not low <= number <= high:
        raise Misfit(f"{name}: got {text}, expected {low} to {high}")
    return number


def _text_problems(schema: dict, text: str) -> Iterator[str]:
    if "enum" in schema and text not in map(scalar_text, schema["enum"]):
        yield f"allowed: {', '.join(map(str, schema['enum']))}"
    if len(text) < schema.get("minLength", 0):
        yield f"must have at least {schema['minLength']} characters"
    if len(text) > schema.get("maxLength", len(text)):
        yield f"must have at most {schema['maxLength']} characters"


def _at(value: Any, path: list[str]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


@cache
def schema_of(kind: str) -> Schema:
    """The schema of a type; KeyError for a type that CloudFormation does not have."""
    folder = _folder()
    resources = json.loads((folder / "providers" / "us-east-1.json").read_text())
    return Schema(kind, json.loads((folder / "resources" / f"{resources[kind]}.json").read_text()))


@cache
def _folder() -> Path:
    # Found, not imported: importing cfnlint takes a second.
    return Path(importlib.util.find_spec("cfnlint").origin).parent / "data" / "schemas"
