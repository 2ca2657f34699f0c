"""What would change if a stack were brought to a target; nothing is made."""

from dataclasses import dataclass, field
from typing import Any

from local_aws.cloudformation.intrinsics import LATER
from local_aws.cloudformation.model import Model, same
from local_aws.cloudformation.schema import Misfit, Schema
from local_aws.cloudformation.stack import Resource
from local_aws.cloudformation.template import references, refuse

REPLACEMENTS = {"Always": "True", "Conditionally": "Conditional", "Never": "False"}
ORDER = list(REPLACEMENTS)


@dataclass(frozen=True)
class Change:
    """Add, Modify or Remove of one resource. details: of a Modify, one for each property."""

    action: str
    logical_id: str
    type: str
    physical_id: str = ""
    details: list[dict] = field(default_factory=list)

    @property
    def replacement(self) -> str:
        found = {detail["Target"].get("RequiresRecreation", "Never") for detail in self.details}
        return REPLACEMENTS[min(found, key=ORDER.index, default="Never")]

    def described(self) -> dict:
        """The change as DescribeChangeSet shows it."""
        shown: dict[str, Any] = {
            "Action": self.action,
            "LogicalResourceId": self.logical_id,
            "ResourceType": self.type,
            "Scope": [],
            "Details": self.details,
        }
        if self.physical_id:
            shown["PhysicalResourceId"] = self.physical_id
        if self.action == "Modify":
            attributes = {detail["Target"]["Attribute"] for detail in self.details}
            shown |= {"Replacement": self.replacement, "Scope": sorted(attributes)}
        return {"Type": "Resource", "ResourceChange": shown}


def changes(model: Model) -> list[Change]:
    """The changes from the model's stack to its target, in the order of their making; raises ApiError.

    The model must have no resources yet and say LATER for what is not there.
    """
    old = model.stack.resources
    result = []
    for name in model.names:
        change = _change(model, name, old.get(name))
        if change is not None:
            result.append(change)
        if name in old and (change is None or change.replacement != "True"):
            model.resources[name] = old[name]
    gone = [resource for name, resource in reversed(old.items()) if name not in model.names]
    return result + [Change("Remove", each.logical_id, each.type, each.physical_id) for each in gone]


def _change(model: Model, name: str, old: Resource | None) -> Change | None:
    try:
        properties = model.properties(name)
    except Misfit as error:
        raise refuse(f"Resource {name}: {error}") from error
    kind = model.definition(name)["Type"]
    if old is None:
        return Change("Add", name, kind)
    if old.type != kind:
        raise refuse(
            "Update of resource type is not permitted. The new template modifies resource type of the "
            f"following resources: [{name}]"
        )
    properties, _ = model.named(name, properties, old)
    changed = sorted(
        each
        for each in {*old.properties, *properties}
        if not same(old.properties.get(each), properties.get(each))
    )
    if not changed:
        return None
    details = [_detail(model, name, each, old.properties, properties) for each in changed]
    return Change("Modify", name, kind, old.physical_id, details)


def _detail(model: Model, name: str, property: str, old: dict, new: dict) -> dict:
    schema: Schema = model.schema(name)
    if property == schema.tag_property:
        target = {"Attribute": "Tags", "RequiresRecreation": "Never"}
    else:
        replaces = schema.replacement(property, old.get(property), new.get(property))
        if replaces == "Never" and not model.kind(name).can_change(property):
            raise refuse(f"Resource {name}: the local AWS cannot change {property} of {schema.type}")
        target = {"Attribute": "Properties", "Name": property, "RequiresRecreation": replaces}
    given = (model.definition(name).get("Properties") or {}).get(property)
    parameters = model.target.template.section("Parameters")
    from_parameters = sorted(set(references(given)) & set(parameters))
    detail = {"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"}
    if LATER in str(new.get(property)):
        detail |= {"Evaluation": "Dynamic", "ChangeSource": "ResourceReference"}
    elif from_parameters and same(given, _given_before(model, name, property)):
        detail |= {"ChangeSource": "ParameterReference", "CausingEntity": from_parameters[0]}
    return detail


def _given_before(model: Model, name: str, property: str) -> Any:
    before = model.stack.target.template.resources.get(name, {})
    return (before.get("Properties") or {}).get(property)
