"""Templates: YAML with short tags or JSON, read and checked before anything is done with them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from local_aws.validation import ApiError

SECTIONS = (
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Rules",
    "Mappings",
    "Conditions",
    "Transform",
    "Resources",
    "Outputs",
)
UNSUPPORTED_SECTIONS = ("Rules", "Transform")
RESOURCE_MEMBERS = (
    "Type",
    "Properties",
    "DependsOn",
    "Condition",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "Metadata",
)
DELETION_POLICIES = ("Delete", "Retain", "RetainExceptOnCreate")
REPLACE_POLICIES = ("Delete", "Retain")
OUTPUT_MEMBERS = ("Description", "Value", "Export", "Condition")
PSEUDO_PARAMETERS = (
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
)
LOGICAL_NAME = re.compile(r"[A-Za-z0-9]{1,255}")
VARIABLE = re.compile(r"\$\{([^!][^}]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: dates stay text, keys are unique, `!Sub x` is `{"Fn::Sub": "x"}`."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    loader.flatten_mapping(node)
    result: dict = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key}", key_node.start_mark)
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _short_tag(loader: _Loader, tag: str, node: yaml.Node) -> dict:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_multi_constructor("!", _short_tag)


@dataclass(frozen=True)
class Template:
    """A template whose references all have a target."""

    text: str
    document: dict[str, Any] = field(repr=False)

    def section(self, name: str) -> dict[str, Any]:
        return self.document.get(name) or {}

    @property
    def resources(self) -> dict[str, dict]:
        return self.section("Resources")

    @property
    def description(self) -> str:
        return self.document.get("Description", "")


def refuse(message: str) -> ApiError:
    return ApiError("ValidationError", message)


def wrong(message: str) -> ApiError:
    return refuse(f"Template format error: {message}")


def read(text: str) -> Template:
    """The template that `text` holds; raises ApiError ValidationError."""
    document = _parsed(text)
    if not isinstance(document, dict):
        raise wrong("unsupported structure.")
    unknown = [name for name in document if name not in SECTIONS]
    if unknown:
        raise wrong(f"Invalid template property or properties [{', '.join(map(str, unknown))}]")
    for name in UNSUPPORTED_SECTIONS:
        if document.get(name):
            raise wrong(f"the local AWS does not process the section {name}")
    if place := next(_nulls(document, ""), None):
        raise wrong(f"[{place}] 'null' values are not allowed in templates")
    template = Template(text, document)
    _check_sections(template)
    _check_references(template)
    return template


def _nulls(value: Any, place: str) -> Iterator[str]:
    """The places of what has no value."""
    if value is None:
        yield place
    members = dict(enumerate(value)) if isinstance(value, list) else value
    for key, item in members.items() if isinstance(members, dict) else ():
        yield from _nulls(item, f"{place}/{key}")


def _parsed(text: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)
        return yaml.load(text, _Loader)
    except json.JSONDecodeError as error:
        raise wrong(f"JSON not well-formed. (line {error.lineno}, column {error.colno})") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem
        place = f"(line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise wrong(f"YAML not well-formed. {place}: {problem}") from error
    except yaml.YAMLError as error:
        raise wrong(f"YAML not well-formed: {error}") from error


def _check_sections(template: Template) -> None:
    for name in ("Parameters", "Mappings", "Conditions", "Resources", "Outputs"):
        members = template.document.get(name, {})
        if not isinstance(members, dict):
            raise wrong(f"every {name} member must be a key and an object")
        for key in members:
            if not LOGICAL_NAME.fullmatch(str(key)):
                raise wrong(f"{name} name {key} is non alphanumeric.")
    if not template.resources:
        raise wrong("At least one Resources member must be defined.")
    for name, resource in template.resources.items():
        _check_resource(name, resource)
    for name, output in template.section("Outputs").items():
        if not isinstance(output, dict) or output.get("Value") is None:
            raise wrong(f"Output {name} is malformed: it needs a Value")
        _check_members(output, OUTPUT_MEMBERS, f"Outputs/{name}")


def _check_resource(name: str, resource: Any) -> None:
    place = f"Resources/{name}"
    if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
        raise wrong(f"[/{place}] Every Resources object must contain a Type member.")
    _check_members(resource, RESOURCE_MEMBERS, place)
    if not isinstance(resource.get("Properties") or {}, dict):
        raise wrong(f"[/{place}/Properties] must be an object")
    for member, allowed in (
        ("DeletionPolicy", DELETION_POLICIES),
        ("UpdateReplacePolicy", REPLACE_POLICIES),
    ):
        if (value := resource.get(member, "Delete")) not in allowed:
            raise wrong(f"[/{place}/{member}] is {value!r}; the local AWS knows {', '.join(allowed)}")


def _check_members(value: dict, allowed: tuple[str, ...], place: str) -> None:
    for member in value:
        if member not in allowed:
            raise wrong(f"[/{place}] Encountered unsupported property {member}")


def depends_on(resource: dict) -> list[str]:
    """The names of a resource's DependsOn."""
    named = resource.get("DependsOn") or []
    return [named] if isinstance(named, str) else list(named)


def dependencies(resource: dict) -> set[str]:
    """The names that a resource refers to (parameters included) or waits for."""
    return set(references(resource.get("Properties"))) | set(depends_on(resource))


def references(value: Any) -> Iterator[str]:
    """The names in every Ref, GetAtt and Sub of `value`."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "Ref":
            yield str(item)
        elif key == "Fn::GetAtt":
            yield item.split(".", 1)[0] if isinstance(item, str) else str(item[0])
        elif key == "Fn::Sub":
            yield from _sub_references(item)
        else:
            yield from references(item)


def _sub_references(value: Any) -> Iterator[str]:
    text, own = value if isinstance(value, list) else (value, {})
    for name in VARIABLE.findall(str(text)):
        if name not in own:
            yield name.split(".", 1)[0]
    yield from references(list(own.values()))


def condition_names(value: Any) -> Iterator[str]:
    """The conditions that Fn::If and `Condition` name in `value`."""
    if isinstance(value, list):
        for item in value:
            yield from condition_names(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Fn::If" and isinstance(item, list) and item:
                yield str(item[0])
            elif key == "Condition" and isinstance(item, str) and len(value) == 1:
                yield item
            yield from condition_names(item)


def _check_references(template: Template) -> None:
    parameters = {*template.section("Parameters"), *PSEUDO_PARAMETERS}
    known = {*parameters, *template.resources}
    for part, value in (
        ("Resources", [each.get("Properties") for each in template.resources.values()]),
        ("Outputs", list(template.section("Outputs").values())),
    ):
        if missing := sorted(set(references(value)) - known):
            raise wrong(f"Unresolved resource dependencies [{', '.join(missing)}] in the {part} block")
    if missing := sorted(set(references(template.section("Conditions"))) - parameters):
        raise wrong(f"Unresolved dependencies {missing}. Cannot reference resources in the Conditions block")
    for name, resource in template.resources.items():
        for other in depends_on(resource):
            if other not in template.resources:
                raise wrong(f"Unresolved resource dependencies [{other}] in the Resources block ({name})")
    _check_conditions(template)


def _check_conditions(template: Template) -> None:
    defined = template.section("Conditions")
    named = set(condition_names([defined, template.resources, template.section("Outputs")]))
    for section in ("Resources", "Outputs"):
        named |= {part["Condition"] for part in template.section(section).values() if "Condition" in part}
    if missing := sorted(named - set(defined)):
        raise wrong(f"Unresolved condition dependency {', '.join(missing)}")


def ordered(template: Template, names: list[str]) -> list[str]:
    """`names`, each after what it depends on; raises ApiError for a circle."""
    result: list[str] = []
    waiting = {name: dependencies(template.resources[name]) & set(names) for name in names}
    while waiting:
        ready = [name for name, others in waiting.items() if others <= set(result)]
        if not ready:
            raise refuse(f"Circular dependency between resources: [{', '.join(sorted(waiting))}]")
        result += ready
        waiting = {name: others for name, others in waiting.items() if name not in ready}
    return result
