"""The CloudFormation templates of a project as data: long intrinsics, resources, statements of policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).parent.parent / "{{cookiecutter.project_slug}}" / "infra"
FILES = tuple(sorted(INFRA.glob("*.yaml")))


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsics, such as !Ref."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


@dataclass(frozen=True)
class Statement:
    """A statement of an inline policy. when: the template's condition that it is there under, or empty."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[Any, ...]
    condition: dict[str, Any]
    when: str


def load(path: Path) -> dict[str, Any]:
    return parsed(path.read_text(encoding="utf-8"))


def parsed(text: str) -> dict[str, Any]:
    return yaml.load(text, _Loader)


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Properties of the resources of a type, by logical name."""
    found = {name: each for name, each in template["Resources"].items() if each["Type"] == kind}
    return {name: each["Properties"] for name, each in found.items()}


def statements(role: dict[str, Any]) -> Iterator[Statement]:
    """Statements of all inline policies of a role's Properties."""
    for policy in role["Policies"]:
        for each in policy["PolicyDocument"]["Statement"]:
            when, found, otherwise = each.get("Fn::If", ("", each, {"Ref": "AWS::NoValue"}))
            assert otherwise == {"Ref": "AWS::NoValue"}, "a statement is there or not, it is not another"
            yield Statement(
                found["Sid"],
                as_list(found["Action"]),
                as_list(found["Resource"]),
                found.get("Condition", {}),
                when,
            )


def trust(role: dict[str, Any]) -> list[dict[str, Any]]:
    """Statements of who may assume a role; a text is read with its variables as they stand."""
    document = role["AssumeRolePolicyDocument"]
    text = document.get("Fn::Sub")
    return (json.loads(text[0]) if text else document)["Statement"]


def as_list(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def words(resource: Any) -> str:
    """An ARN for people: without the stack's own partition, region, account; Parameters in angle brackets."""
    if isinstance(resource, str):
        return resource
    ((name, value),) = resource.items()
    if name == "Fn::If":
        return " or ".join(dict.fromkeys(words(each) for each in value[1:]))
    if name in ("Ref", "Fn::GetAtt"):
        return f"<{value.removesuffix('.Arn')}>"
    text = value if isinstance(value, str) else value[0]
    text = re.sub(
        r"^arn:\$\{AWS::Partition\}:[a-z0-9]+:(\$\{AWS::Region\})?:(\$\{AWS::AccountId\}:|:)?", "", text
    )
    text = text.replace("${RolePath}${RolePrefix}", "/")
    return text.replace("${", "<").replace("}", ">").replace(".Arn>", ">").replace("AWS::", "")
