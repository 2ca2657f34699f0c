"""Stacks, their resources and events: what the describing operations show."""

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local_aws.cloudformation import parameters
from local_aws.cloudformation.template import Template

IN_PROGRESS = "_IN_PROGRESS"
GONE = "DELETE_COMPLETE"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Resource:
    """A resource of a stack. `properties` are those it was made with, functions computed, names included."""

    logical_id: str
    type: str
    physical_id: str
    properties: dict[str, Any]
    definition: dict[str, Any]
    named_by_us: bool = False
    status: str = ""
    reason: str = ""
    changed: datetime = field(default_factory=now)

    def deletion_policy(self) -> str:
        return self.definition.get("DeletionPolicy", "Delete")

    def replace_policy(self) -> str:
        return self.definition.get("UpdateReplacePolicy", "Delete")


@dataclass(frozen=True)
class Target:
    """What a stack shall be: a template with its values."""

    template: Template
    parameters: dict[str, str]
    tags: dict[str, str]


@dataclass
class Stack:
    """One stack. `resources` are in the order of their making."""

    name: str
    id: str
    target: Target
    capabilities: list[str]
    status: str
    disable_rollback: bool = False
    reason: str = ""
    created: datetime = field(default_factory=now)
    updated: datetime | None = None
    deleted: datetime | None = None
    protected: bool = False
    change_set_id: str = ""
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: list[dict] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    events: list[dict] = field(default_factory=list)
    _count: Any = field(default_factory=itertools.count)

    @property
    def busy(self) -> bool:
        return self.status.endswith(IN_PROGRESS) and self.status != "REVIEW_IN_PROGRESS"

    @property
    def gone(self) -> bool:
        return self.status == GONE

    def set_status(self, status: str, reason: str = "") -> None:
        """The stack's new status, which is an event of it too."""
        self.status, self.reason = status, reason
        self._event(self.name, "AWS::CloudFormation::Stack", self.id, status, reason)

    def set_resource(self, resource: Resource, status: str, reason: str = "") -> None:
        """The resource's new status, which is an event of the stack."""
        resource.status, resource.reason, resource.changed = status, reason, now()
        self._event(resource.logical_id, resource.type, resource.physical_id, status, reason, resource)

    def _event(
        self,
        logical_id: str,
        kind: str,
        physical_id: str,
        status: str,
        reason: str,
        resource: Resource | None = None,
    ) -> None:
        event = {
            "StackId": self.id,
            "EventId": f"{logical_id}-{next(self._count)}-{uuid.uuid4()}",
            "StackName": self.name,
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        self.events.append(event)

    def exports(self) -> dict[str, str]:
        """The values that this stack exports, by name."""
        return {each["ExportName"]: each["OutputValue"] for each in self.outputs if "ExportName" in each}

    def described(self) -> dict:
        """The stack as DescribeStacks shows it."""
        shown = {
            "StackId": self.id,
            "StackName": self.name,
            "Description": self.target.template.description or None,
            "Parameters": parameters.described(self.target.template, self.target.parameters),
            "CreationTime": self.created,
            "LastUpdatedTime": self.updated,
            "DeletionTime": self.deleted,
            "RollbackConfiguration": {},
            "StackStatus": self.status,
            "StackStatusReason": self.reason or None,
            "DisableRollback": self.disable_rollback,
            "NotificationARNs": [],
            "Capabilities": self.capabilities,
            "Outputs": self.outputs,
            "Tags": [{"Key": key, "Value": value} for key, value in self.target.tags.items()],
            "EnableTerminationProtection": self.protected,
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
            "ChangeSetId": self.change_set_id or None,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def summary(self) -> dict:
        """The stack as ListStacks shows it."""
        names = ("StackId", "StackName", "CreationTime", "LastUpdatedTime", "DeletionTime")
        shown = self.described()
        summary = {
            name: shown[name] for name in (*names, "StackStatus", "StackStatusReason") if name in shown
        }
        described = {"TemplateDescription": shown["Description"]} if "Description" in shown else {}
        return summary | described | {"DriftInformation": {"StackDriftStatus": "NOT_CHECKED"}}

    def resource_summary(self, resource: Resource) -> dict:
        """A resource as ListStackResources shows it."""
        shown = {
            "LogicalResourceId": resource.logical_id,
            "PhysicalResourceId": resource.physical_id or None,
            "ResourceType": resource.type,
            "LastUpdatedTimestamp": resource.changed,
            "ResourceStatus": resource.status,
            "ResourceStatusReason": resource.reason or None,
            "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
        }
        return {name: value for name, value in shown.items() if value is not None}

    def resource_description(self, resource: Resource) -> dict:
        """A resource as DescribeStackResources shows it."""
        shown = self.resource_summary(resource)
        shown["Timestamp"] = shown.pop("LastUpdatedTimestamp")
        return {"StackName": self.name, "StackId": self.id, **shown}
