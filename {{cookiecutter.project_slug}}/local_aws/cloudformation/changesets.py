"""Change sets: a target for a stack, and what it would change."""

from dataclasses import dataclass, field
from datetime import datetime

from local_aws.cloudformation import parameters
from local_aws.cloudformation.changes import Change
from local_aws.cloudformation.stack import Stack, Target, now

NOTHING = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)


@dataclass
class ChangeSet:
    """One change set. `outputs_change`: the outputs or tags would differ, even if no resource does."""

    name: str
    id: str
    kind: str
    stack: Stack
    target: Target
    capabilities: list[str]
    changes: list[Change]
    outputs_change: bool
    description: str = ""
    on_failure: str = ""
    execution_status: str = "AVAILABLE"
    created: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        if self.empty:
            self.execution_status = "UNAVAILABLE"

    @property
    def empty(self) -> bool:
        return not self.changes and not self.outputs_change

    @property
    def executed(self) -> bool:
        return self.execution_status == "EXECUTE_COMPLETE"

    def summary(self) -> dict:
        """The change set as ListChangeSets shows it."""
        shown = {
            "StackId": self.stack.id,
            "StackName": self.stack.name,
            "ChangeSetId": self.id,
            "ChangeSetName": self.name,
            "ExecutionStatus": self.execution_status,
            "Status": "FAILED" if self.empty else "CREATE_COMPLETE",
            "StatusReason": NOTHING if self.empty else None,
            "CreationTime": self.created,
            "Description": self.description or None,
            "IncludeNestedStacks": False,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def described(self) -> dict:
        """The change set as DescribeChangeSet shows it."""
        return self.summary() | {
            "Parameters": parameters.described(self.target.template, self.target.parameters),
            "NotificationARNs": [],
            "RollbackConfiguration": {},
            "Capabilities": self.capabilities,
            "Tags": [{"Key": key, "Value": value} for key, value in self.target.tags.items()],
            "Changes": [change.described() for change in self.changes],
        }
