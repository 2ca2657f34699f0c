"""CloudFormation's operations."""

import re
import threading
import uuid
from collections.abc import Callable
from functools import partial

from local_aws.cloudformation import parameters
from local_aws.cloudformation.changes import Change, changes
from local_aws.cloudformation.changesets import ChangeSet
from local_aws.cloudformation.deployment import Deployment, run
from local_aws.cloudformation.exports import Exports
from local_aws.cloudformation.intrinsics import LATER
from local_aws.cloudformation.kinds.kind import Caller
from local_aws.cloudformation.model import Model, check_capabilities, names_iam, same
from local_aws.cloudformation.requests import target_of, template_of
from local_aws.cloudformation.stack import Stack, Target, now
from local_aws.cloudformation.template import Template, refuse
from local_aws.validation import ApiError

NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
EMPTY = Target(Template("", {}), {}, {})
UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
NO_UPDATES = "No updates are to be performed."
ANSWER_SECONDS = 20


class Region:
    """The stacks of one region, by id."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.stacks: dict[str, Stack] = {}
        self.change_sets: dict[str, ChangeSet] = {}
        self.exports = Exports(self.stacks)

    def find(self, name: str, with_gone: bool = False) -> Stack | None:
        """The stack of this name or id; a deleted one only by its id."""
        by_id = self.stacks.get(name)
        if by_id is not None and (with_gone or not by_id.gone):
            return by_id
        return next((each for each in self.stacks.values() if each.name == name and not each.gone), None)

    def stack(self, name: str, with_gone: bool = True) -> Stack:
        """The stack of this name or id; raises ApiError."""
        found = self.find(name, with_gone)
        if found is None:
            raise refuse(f"Stack with id {name} does not exist")
        return found


class Operations:
    """The operations of one caller in one region; each takes a request and gives the answer's members."""

    def __init__(self, region: Region, caller: Caller, service: Caller) -> None:
        """service: CloudFormation itself, which knows its resources' attributes whoever asks for a plan."""
        self.region, self.caller, self.service = region, caller, service

    def call(self, operation: str, request: dict) -> dict:
        return OPERATIONS[operation](self, request)

    # Templates

    def validate_template(self, request: dict) -> dict:
        template = template_of(request, self.caller)
        shown = [
            {
                name: each[name]
                for name in ("ParameterKey", "DefaultValue", "NoEcho", "Description")
                if name in each
            }
            for each in parameters.summary(template)
        ]
        return {"Parameters": shown, "Description": template.description, **_capabilities(template)}

    def get_template_summary(self, request: dict) -> dict:
        if "StackName" in request:
            template = self.region.stack(request["StackName"]).target.template
        else:
            template = template_of(request, self.caller)
        return {
            "Parameters": parameters.summary(template),
            "Description": template.description,
            "ResourceTypes": sorted({each["Type"] for each in template.resources.values()}),
            "Version": str(template.document.get("AWSTemplateFormatVersion", "")),
            **_capabilities(template),
        }

    def get_template(self, request: dict) -> dict:
        if "ChangeSetName" in request:
            text = self._change_set(request).target.template.text
        else:
            text = self.region.stack(request["StackName"]).target.template.text
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    # Stacks

    def create_stack(self, request: dict) -> dict:
        with self.region.lock:
            name = _checked_name(request["StackName"])
            if self.region.find(name):
                raise ApiError("AlreadyExistsException", f"Stack [{name}] already exists")
            target = target_of(request, self.caller)
            check_capabilities(target, request.get("Capabilities", []))
            stack = self._new_stack(name, request)
            self._planned(stack, target)
            self.region.stacks[stack.id] = stack
        return self._begin_creation(stack, target, request.get("OnFailure", "ROLLBACK"))

    def _new_stack(self, name: str, request: dict) -> Stack:
        arn = f"arn:aws:cloudformation:{self.caller.region}:{self.caller.account}:stack/{name}/{uuid.uuid4()}"
        stack = Stack(name, arn, EMPTY, request.get("Capabilities", []), "REVIEW_IN_PROGRESS")
        stack.disable_rollback = (
            request.get("DisableRollback", False) or request.get("OnFailure") == "DO_NOTHING"
        )
        stack.protected = request.get("EnableTerminationProtection", False)
        return stack

    def _begin_creation(self, stack: Stack, target: Target, on_failure: str) -> dict:
        stack.created, stack.target = now(), target
        stack.set_status("CREATE_IN_PROGRESS", "User Initiated")
        deployment = self._deployment(stack, target)

        def work() -> None:
            deployment.create()
            if stack.status == "ROLLBACK_COMPLETE" and on_failure == "DELETE":
                deployment.delete([])

        return self._begin(stack, work, "CREATE_FAILED")

    def update_stack(self, request: dict) -> dict:
        with self.region.lock:
            stack = self._updatable(request["StackName"])
            target = target_of(request, self.caller, stack)
            check_capabilities(target, request.get("Capabilities", []))
            planned, outputs_change = self._planned(stack, target)
            if not planned and not outputs_change:
                raise refuse(NO_UPDATES)
            stack.capabilities = request.get("Capabilities", [])
            stack.set_status("UPDATE_IN_PROGRESS", "User Initiated")
        return self._begin_update(stack, target)

    def _begin_update(self, stack: Stack, target: Target) -> dict:
        stack.updated = now()
        return self._begin(stack, self._deployment(stack, target).update, "UPDATE_FAILED")

    def _updatable(self, name: str) -> Stack:
        stack = self.region.find(name)
        if stack is None:
            raise refuse(f"Stack [{name}] does not exist")
        if stack.status not in UPDATABLE:
            raise refuse(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
        return stack

    def delete_stack(self, request: dict) -> dict:
        with self.region.lock:
            stack = self.region.find(request["StackName"], with_gone=True)
            if stack is None or stack.gone:
                return {}
            if stack.busy:
                raise refuse(f"Stack:{stack.id} is in {stack.status} state and can not be deleted")
            if stack.protected:
                raise refuse(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
            stack.set_status("DELETE_IN_PROGRESS", "User Initiated")
            for each in [each for each in self.region.change_sets.values() if each.stack is stack]:
                del self.region.change_sets[each.id]
        deployment = Deployment(stack, self.caller, self.region.exports)
        self._begin(stack, partial(deployment.delete, request.get("RetainResources", [])), "DELETE_FAILED")
        return {}

    def _deployment(self, stack: Stack, target: Target) -> Deployment:
        model = Model(stack, target, self.caller, self.region.exports.value)
        return Deployment(stack, self.caller, self.region.exports, model)

    def _begin(self, stack: Stack, work: Callable[[], None], failed_status: str) -> dict:
        """Starts the work. The answer waits for its end for a while: AWS's waiters look every 30 seconds."""
        thread = threading.Thread(target=run, args=(stack, work, failed_status), name=f"stack {stack.name}")
        thread.daemon = True
        thread.start()
        thread.join(ANSWER_SECONDS)
        return {"StackId": stack.id}

    def _planned(self, stack: Stack, target: Target) -> tuple[list[Change], bool]:
        """The changes, and whether outputs or tags would differ; raises ApiError before anything is made."""
        model = Model(stack, target, self.service, self.region.exports.value, later=LATER)
        found = changes(model)
        outputs_change = not same(stack.outputs, model.outputs()) or stack.target.tags != target.tags
        return found, outputs_change

    def describe_stacks(self, request: dict) -> dict:
        if "StackName" in request:
            return {"Stacks": [self.region.stack(request["StackName"]).described()]}
        return {"Stacks": [each.described() for each in self._newest_first() if not each.gone]}

    def list_stacks(self, request: dict) -> dict:
        wanted = request.get("StackStatusFilter")
        shown = [each for each in self._newest_first() if not wanted or each.status in wanted]
        return {"StackSummaries": [each.summary() for each in shown]}

    def _newest_first(self) -> list[Stack]:
        return sorted(self.region.stacks.values(), key=lambda each: each.created, reverse=True)

    def describe_stack_events(self, request: dict) -> dict:
        return {"StackEvents": list(reversed(self.region.stack(request["StackName"]).events))}

    def list_stack_resources(self, request: dict) -> dict:
        stack = self.region.stack(request["StackName"])
        return {"StackResourceSummaries": [stack.resource_summary(each) for each in stack.resources.values()]}

    def describe_stack_resources(self, request: dict) -> dict:
        stack, logical = self._stack_of(request), request.get("LogicalResourceId")
        shown = [each for each in stack.resources.values() if logical in (None, each.logical_id)]
        return {"StackResources": [stack.resource_description(each) for each in shown]}

    def _stack_of(self, request: dict) -> Stack:
        if "StackName" in request:
            return self.region.stack(request["StackName"])
        wanted = request.get("PhysicalResourceId")
        for stack in list(self.region.stacks.values()):
            if any(each.physical_id == wanted for each in stack.resources.values()):
                return stack
        raise refuse(f"Stack for {wanted} does not exist")

    def describe_stack_resource(self, request: dict) -> dict:
        stack, name = self.region.stack(request["StackName"]), request["LogicalResourceId"]
        if name not in stack.resources:
            raise refuse(f"Resource {name} does not exist for stack {stack.name}")
        return {"StackResourceDetail": stack.resource_summary(stack.resources[name])}

    def list_exports(self, request: dict) -> dict:
        return {"Exports": list(self.region.exports.listed())}

    # Change sets

    def create_change_set(self, request: dict) -> dict:
        with self.region.lock:
            kind, name = request.get("ChangeSetType", "UPDATE"), request["ChangeSetName"]
            if kind not in ("CREATE", "UPDATE"):
                raise refuse(f"ChangeSetType {kind} is not supported by the local AWS")
            stack = self._stack_to_change(kind, request)
            if any(each.name == name and not each.executed for each in self._change_sets(stack)):
                raise ApiError(
                    "AlreadyExistsException", f"ChangeSet {name} cannot be created: it exists already"
                )
            target = target_of(request, self.caller, stack if kind == "UPDATE" else None)
            check_capabilities(target, request.get("Capabilities", []))
            planned, outputs_change = self._planned(stack, target)
            made = ChangeSet(
                name,
                stack.id.replace(":stack/", ":changeSet/", 1).replace(f"/{stack.name}/", f"/{name}/"),
                kind,
                stack,
                target,
                request.get("Capabilities", []),
                planned,
                outputs_change,
                request.get("Description", ""),
                request.get("OnStackFailure", ""),
            )
            made.id = f"{made.id.rpartition('/')[0]}/{uuid.uuid4()}"
            if stack.id not in self.region.stacks:
                self.region.stacks[stack.id] = stack
                stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
            self.region.change_sets[made.id] = made
        return {"Id": made.id, "StackId": stack.id}

    def _stack_to_change(self, kind: str, request: dict) -> Stack:
        name = request["StackName"]
        if kind == "UPDATE":
            return self._updatable(name)
        stack = self.region.find(name)
        if stack is None:
            return self._new_stack(_checked_name(name), request)
        if stack.status != "REVIEW_IN_PROGRESS":
            wanted = request["ChangeSetName"]
            raise refuse(
                f"Stack [{name}] already exists and cannot be created again with the changeSet [{wanted}]."
            )
        return stack

    def _change_sets(self, stack: Stack) -> list[ChangeSet]:
        return [each for each in self.region.change_sets.values() if each.stack is stack]

    def _change_set(self, request: dict) -> ChangeSet:
        name = request["ChangeSetName"]
        if name in self.region.change_sets:
            return self.region.change_sets[name]
        if "StackName" not in request:
            raise refuse("StackName must be specified if ChangeSetName is not specified as an ARN.")
        stack = self.region.stack(request["StackName"])
        for each in reversed(self._change_sets(stack)):
            if each.name == name:
                return each
        raise ApiError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")

    def describe_change_set(self, request: dict) -> dict:
        return self._change_set(request).described()

    def list_change_sets(self, request: dict) -> dict:
        stack = self.region.stack(request["StackName"])
        return {"Summaries": [each.summary() for each in self._change_sets(stack)]}

    def delete_change_set(self, request: dict) -> dict:
        with self.region.lock:
            del self.region.change_sets[self._change_set(request).id]
        return {}

    def execute_change_set(self, request: dict) -> dict:
        with self.region.lock:
            asked = self._change_set(request)
            stack = asked.stack
            if asked.execution_status != "AVAILABLE":
                status = asked.summary()["Status"]
                message = f"ChangeSet [{asked.id}] cannot be executed in its current status of [{status}]"
                raise ApiError("InvalidChangeSetStatus", message)
            if asked.kind == "UPDATE":
                self._updatable(stack.id)
                stack.set_status("UPDATE_IN_PROGRESS", "User Initiated")
            for each in self._change_sets(stack):  # they were made for the stack as it was
                if each is not asked:
                    del self.region.change_sets[each.id]
            stack.capabilities, stack.change_set_id = asked.capabilities, asked.id
            stack.disable_rollback = request.get("DisableRollback", asked.on_failure == "DO_NOTHING")
            asked.execution_status = "EXECUTE_COMPLETE"
        if asked.kind == "CREATE":
            self._begin_creation(stack, asked.target, asked.on_failure)
        else:
            self._begin_update(stack, asked.target)
        return {}


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise refuse(
            f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )
    return name


def _capabilities(template: Template) -> dict:
    has_iam, named = names_iam(Target(template, {}, {}))
    if not has_iam:
        return {}
    needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    return {"Capabilities": [needed], "CapabilitiesReason": f"The template needs [{needed}]"}


OPERATIONS = {
    "CreateChangeSet": Operations.create_change_set,
    "CreateStack": Operations.create_stack,
    "DeleteChangeSet": Operations.delete_change_set,
    "DeleteStack": Operations.delete_stack,
    "DescribeChangeSet": Operations.describe_change_set,
    "DescribeStackEvents": Operations.describe_stack_events,
    "DescribeStackResource": Operations.describe_stack_resource,
    "DescribeStackResources": Operations.describe_stack_resources,
    "DescribeStacks": Operations.describe_stacks,
    "ExecuteChangeSet": Operations.execute_change_set,
    "GetTemplate": Operations.get_template,
    "GetTemplateSummary": Operations.get_template_summary,
    "ListChangeSets": Operations.list_change_sets,
    "ListExports": Operations.list_exports,
    "ListStackResources": Operations.list_stack_resources,
    "ListStacks": Operations.list_stacks,
    "UpdateStack": Operations.update_stack,
    "ValidateTemplate": Operations.validate_template,
}
