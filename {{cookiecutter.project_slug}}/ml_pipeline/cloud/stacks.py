"""CloudFormation stacks, changed by change sets: made, waited for, shown, executed, outputs read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

from ml_pipeline.errors import CloudError, InputError
from ml_pipeline.local import PROJECT

INFRA = PROJECT / "infra"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, WAIT_GROWTH = 0.2, 10.0, 1.5
MAX_SECONDS = 3600.0
TEMPLATE_BYTES = 51_200  # the longest template that a request may hold itself
NO_CHANGE = ("didn't contain changes", "No updates are to be performed")
ABSENT, NEW, READY = "absent", "new", "ready"
REMEDIES = {
    "ROLLBACK_COMPLETE": "its creation failed and was rolled back: delete it with "
    "`aws cloudformation delete-stack --stack-name {name}`",
    "ROLLBACK_FAILED": "its creation failed, and so did the rollback: delete it with "
    "`aws cloudformation delete-stack --stack-name {name}`",
    "CREATE_FAILED": "its creation failed: delete it with "
    "`aws cloudformation delete-stack --stack-name {name}`",
    "DELETE_FAILED": "its deletion failed: see its events in the console, then delete it again with "
    "`aws cloudformation delete-stack --stack-name {name}`",
    "UPDATE_ROLLBACK_FAILED": "an update failed, and so did the rollback: mend what its events name, "
    "then `aws cloudformation continue-update-rollback --stack-name {name}`",
    "UPDATE_FAILED": "an update failed: `aws cloudformation rollback-stack --stack-name {name}`",
}


class StackFailed(CloudError):
    """A change that CloudFormation could not make; the message holds its own reasons."""


@dataclass(frozen=True)
class Template:
    """A file of infra/: its text, declarations of its Parameters by name, (name, type) of its resources."""

    text: str
    parameters: Mapping[str, Mapping[str, Any]]
    resources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Stack:
    """A stack as it is to be."""

    name: str
    template: Template
    parameters: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class ChangeSet:
    """Changes of one stack. lines: one a resource, readable; none when nothing changes."""

    id: str
    lines: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsics, whose values are not looked at."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def template(path: Path) -> Template:
    """Raises InputError for a file that is missing, no YAML, or longer than CloudFormation takes."""
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, _Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it describes a stack that is to be deployed") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if len(text.encode()) > TEMPLATE_BYTES:
        raise InputError(
            f"{path}: {len(text.encode()):,} bytes, CloudFormation takes {TEMPLATE_BYTES:,}: split it"
        )
    resources = tuple((name, each["Type"]) for name, each in document["Resources"].items())
    return Template(text, document.get("Parameters", {}), resources)


def state(name: str) -> str:
    """absent, new (no resources yet) or ready for a change. Raises InputError, with the remedy, otherwise."""
    found = _described(name)
    if found is None:
        return ABSENT
    status = found["StackStatus"]
    if status == "REVIEW_IN_PROGRESS":
        return NEW
    if status in REMEDIES:
        raise InputError(
            f"stack {name} is in {status}: {REMEDIES[status].format(name=name)}; nothing was done"
        )
    if status.endswith("_IN_PROGRESS"):
        raise InputError(f"stack {name} is being changed ({status}): wait for its end; nothing was done")
    return READY


def exists(name: str) -> bool:
    return _described(name) is not None


def outputs(name: str) -> dict[str, str]:
    """Outputs by name; none of a stack that is absent."""
    found = _described(name) or {}
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


def parameters(name: str) -> dict[str, str]:
    """Values of the Parameters that the stack was deployed with; none of a stack that never was."""
    found = _described(name)
    if found is None or found["StackStatus"] == "REVIEW_IN_PROGRESS":
        return {}
    return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}


def change_set(stack: Stack) -> ChangeSet:
    """The changes that would make the stack what it is to be: `execute` or `discard` them."""
    client = boto3.client("cloudformation")
    name = f"deploy-{uuid.uuid4().hex}"
    place = {"ChangeSetName": name, "StackName": stack.name}
    client.create_change_set(
        **place,
        ChangeSetType="UPDATE" if state(stack.name) == READY else "CREATE",
        TemplateBody=stack.template.text,
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in stack.parameters.items()
        ],
        Tags=[{"Key": key, "Value": value} for key, value in stack.tags.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    answer = _until(lambda: client.describe_change_set(**place), _is_made)
    reason = answer.get("StatusReason", "")
    if answer["Status"] == "FAILED":
        client.delete_change_set(**place)
        if not any(words in reason for words in NO_CHANGE):
            raise StackFailed(f"stack {stack.name}: CloudFormation refuses the change: {reason}")
        return ChangeSet(name, ())
    return ChangeSet(name, tuple(_lines(client, place, answer)))


def discard(stack: Stack, changes: ChangeSet) -> None:
    """Deletes changes that are not to be made."""
    if changes.lines:
        boto3.client("cloudformation").delete_change_set(ChangeSetName=changes.id, StackName=stack.name)


def execute(stack: Stack, changes: ChangeSet) -> None:
    """Makes the changes and waits for their end. Raises StackFailed with the stack's reasons."""
    client = boto3.client("cloudformation")
    token = uuid.uuid4().hex
    client.execute_change_set(ChangeSetName=changes.id, StackName=stack.name, ClientRequestToken=token)
    _settled(stack.name, token)


def delete(name: str) -> None:
    """Deletes the stack and waits until it is gone. Raises StackFailed with the reasons."""
    found = _described(name)
    if found is None:
        return
    token = uuid.uuid4().hex
    boto3.client("cloudformation").delete_stack(StackName=name, ClientRequestToken=token)
    _settled(found["StackId"], token)


def _settled(name: str, token: str) -> None:
    """Waits for the end of what the token began."""
    answer = _until(lambda: _described(name), _is_settled)
    status = answer["StackStatus"] if answer else "DELETE_COMPLETE"
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
        raise StackFailed(f"stack {answer['StackName']} ended in {status}: {_reasons(name, token)}")


def _is_made(answer: dict[str, Any]) -> bool:
    return answer["Status"] in ("CREATE_COMPLETE", "FAILED")


def _is_settled(found: dict[str, Any] | None) -> bool:
    return found is None or not found["StackStatus"].endswith("_IN_PROGRESS")


def _described(name: str) -> dict[str, Any] | None:
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def _lines(client: Any, place: dict[str, str], answer: dict[str, Any]) -> Iterator[str]:
    """A line for each resource that changes, as `~ Bucket (AWS::S3::Bucket): Tags`."""
    while True:
        for change in answer["Changes"]:
            yield _line(change["ResourceChange"])
        if not answer.get("NextToken"):
            return
        answer = client.describe_change_set(**place, NextToken=answer["NextToken"])


def _line(change: dict[str, Any]) -> str:
    mark = {"Add": "+", "Remove": "-", "Modify": "~"}.get(change["Action"], change["Action"])
    targets = [detail.get("Target", {}) for detail in change.get("Details", [])]
    names = sorted({target.get("Name") or target.get("Attribute", "") for target in targets} - {""})
    replaced = {"True": ", replaced", "Conditional": ", perhaps replaced"}.get(
        change.get("Replacement", ""), ""
    )
    what = f": {', '.join(names)}" if names else ""
    return f"{mark} {change['LogicalResourceId']} ({change['ResourceType']}){what}{replaced}"


def _reasons(name: str, token: str) -> str:
    """What failed first, in CloudFormation's own words."""
    pages = boto3.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
    events = [event for page in pages for event in page["StackEvents"]]
    own = [event for event in events if event.get("ClientRequestToken", token) == token]
    failed = [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(own)
        if event["ResourceStatus"].endswith("_FAILED") and "ResourceStatusReason" in event
    ]
    first = [text for text in failed if "cancelled" not in text] or failed
    return "; ".join(first[:3]) or "its events tell no reason"


def _until(ask: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
    deadline, pause = time.monotonic() + MAX_SECONDS, FIRST_WAIT_SECONDS
    while not is_done(answer := ask()):
        if time.monotonic() > deadline:
            raise StackFailed(
                f"CloudFormation has not come to an end within {MAX_SECONDS:.0f} s: see the console"
            )
        time.sleep(pause)
        pause = min(pause * WAIT_GROWTH, LONGEST_WAIT_SECONDS)
    return answer
