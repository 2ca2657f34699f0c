"""What a template comes to: which resources, with which properties, once its functions are computed."""

import json
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.cloudformation.intrinsics import Scope, Unresolved, resolve, text_of
from local_aws.cloudformation.kinds import KINDS
from local_aws.cloudformation.kinds.kind import Caller, Kind
from local_aws.cloudformation.kinds.tags import as_list, as_map
from local_aws.cloudformation.parameters import values_of
from local_aws.cloudformation.schema import Misfit, Schema, schema_of
from local_aws.cloudformation.stack import Resource, Stack, Target
from local_aws.cloudformation.template import ordered, refuse, wrong

RANDOM = string.ascii_uppercase + string.digits
RANDOM_LENGTH = 12
PARTITION = "aws"
URL_SUFFIX = "amazonaws.com"


@dataclass
class Model:
    """A target for one stack, with the resources that it has so far.

    resources: what Ref and GetAtt find. later: what they give for one that is not there, None to refuse.
    """

    stack: Stack
    target: Target
    caller: Caller
    exported: Callable[[str], str]
    resources: dict[str, Resource] = field(default_factory=dict)
    later: str | None = None
    imports: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        template = self.target.template
        self.scope = Scope(
            values_of(template, self.target.parameters) | self._pseudo_parameters(),
            template.section("Mappings"),
            template.section("Conditions"),
            self._import,
            self._ref,
            self._attribute,
        )
        self.names = ordered(template, [name for name in template.resources if self._wanted(name)])

    def _pseudo_parameters(self) -> dict[str, Any]:
        return {
            "AWS::AccountId": self.caller.account,
            "AWS::Region": self.caller.region,
            "AWS::Partition": PARTITION,
            "AWS::URLSuffix": URL_SUFFIX,
            "AWS::StackName": self.stack.name,
            "AWS::StackId": self.stack.id,
            "AWS::NotificationARNs": [],
        }

    def _wanted(self, name: str) -> bool:
        condition = self.target.template.resources[name].get("Condition")
        return condition is None or self.scope.holds(condition)

    def _import(self, name: str) -> str:
        self.imports.add(name)
        return self.exported(name)

    def _ref(self, name: str) -> str:
        found = self._resource(name)
        return self.later if found is None else found.physical_id

    def _attribute(self, name: str, attribute: str) -> Any:
        type_name = self.target.template.resources[name]["Type"]
        if attribute not in KINDS[type_name].attributes:
            known = ", ".join(sorted(KINDS[type_name].attributes)) or "none"
            raise Unresolved(f"{name}: the local AWS does not know {type_name}.{attribute}, only {known}")
        found = self._resource(name)
        if found is None:
            return self.later
        kind = KINDS[type_name]
        return kind.attribute(self.caller, found.physical_id, found.properties, attribute)

    def _resource(self, name: str) -> Resource | None:
        if name not in self.names:
            raise wrong(f"Unresolved resource dependencies [{name}] in the Resources block of the template")
        if name not in self.resources and self.later is None:
            raise Unresolved(f"{name} is not there yet")
        return self.resources.get(name)

    def definition(self, name: str) -> dict[str, Any]:
        return self.target.template.resources[name]

    def kind(self, name: str) -> Kind:
        return KINDS[self.definition(name)["Type"]]

    def schema(self, name: str) -> Schema:
        return schema_of(self.definition(name)["Type"])

    def properties(self, name: str) -> dict[str, Any]:
        """The resource's properties, with the stack's tags; raises ApiError or Misfit."""
        given = resolve(self.definition(name).get("Properties") or {}, self.scope)
        schema, kind = self.schema(name), self.kind(name)
        for property in given:
            if property in schema.properties and not kind.supports(self.caller, property):
                raise Misfit(f"the local AWS does not support the property {property} of {schema.type}")
        tags = schema.tag_property
        if tags and self.target.tags and kind.supports(self.caller, tags):
            every = self.target.tags | as_map(given.get(tags))
            given[tags] = every if schema.tags_are_a_map() else as_list(every)
        return schema.fitted(given)

    def named(self, name: str, properties: dict, old: Resource | None) -> tuple[dict, bool]:
        """The properties with a name, and whether it is one of ours: the old resource's, else a new one."""
        member = self.kind(name).name
        if not member or "." in member or member in properties:
            return properties, False
        if old is not None and old.named_by_us:
            return {**properties, member: old.properties[member]}, True
        return {**properties, member: self.new_name(name)}, True

    def new_name(self, name: str) -> str:
        """A name as CloudFormation makes it: stack, resource, twelve letters."""
        kind = self.kind(name)
        ending = "".join(secrets.choice(RANDOM) for _ in range(RANDOM_LENGTH))
        start = f"{self.stack.name}-{name}"[: kind.name_length - RANDOM_LENGTH - 1]
        made = f"{start}-{ending}"
        return made.lower() if kind.lower else made

    def outputs(self) -> list[dict]:
        """The outputs as DescribeStacks shows them."""
        section = self.target.template.section("Outputs")
        return [
            self._output(name, each)
            for name, each in section.items()
            if "Condition" not in each or self.scope.holds(each["Condition"])
        ]

    def _output(self, name: str, output: dict) -> dict:
        value = text_of(resolve(output["Value"], self.scope), f"Output {name}")
        shown = {"OutputKey": name, "OutputValue": value}
        if "Description" in output:
            shown["Description"] = output["Description"]
        if "Export" in output:
            shown["ExportName"] = text_of(resolve(output["Export"]["Name"], self.scope), f"Export of {name}")
        return shown


def check_types(target: Target) -> None:
    """Raises ApiError for types of resources that the local AWS does not make."""
    types = {resource["Type"] for resource in target.template.resources.values()}
    if unknown := sorted(types - KINDS.keys()):
        raise wrong(f"Unrecognized resource types: [{', '.join(unknown)}] (the local AWS makes {_known()})")


def _known() -> str:
    return ", ".join(sorted(name.removeprefix("AWS::") for name in KINDS))


def same(old: Any, new: Any) -> bool:
    """Whether two properties are the same to CloudFormation: the order of an object's members is nothing."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def names_iam(target: Target) -> tuple[bool, bool]:
    """Whether the template has resources of IAM, and whether some have names of their own."""
    iam = {
        name: resource
        for name, resource in target.template.resources.items()
        if re.fullmatch(r"AWS::IAM::(Role|Policy|ManagedPolicy|User|Group|InstanceProfile)", resource["Type"])
    }
    members = ("RoleName", "ManagedPolicyName", "UserName", "GroupName", "InstanceProfileName")
    named = any(member in (each.get("Properties") or {}) for each in iam.values() for member in members)
    return bool(iam), named


def check_capabilities(target: Target, capabilities: list[str]) -> None:
    """Raises InsufficientCapabilitiesException when the template needs one that was not given."""
    has_iam, named = names_iam(target)
    needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    given = {"CAPABILITY_NAMED_IAM"} if named else {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}
    if has_iam and not given & set(capabilities):
        error = refuse(f"Requires capabilities : [{needed}]")
        error.code = "InsufficientCapabilitiesException"
        raise error
