"""One creation, update or deletion of a stack, resource by resource, and its rollback."""

import traceback
from collections.abc import Callable
from dataclasses import replace

from local_aws.cloudformation.exports import Exports
from local_aws.cloudformation.kinds import KINDS
from local_aws.cloudformation.kinds.kind import Caller, ResourceError
from local_aws.cloudformation.model import Model, same
from local_aws.cloudformation.schema import Misfit
from local_aws.cloudformation.stack import Resource, Stack, Target, now
from local_aws.validation import ApiError

REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."
NAME_TAKEN = (
    "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
    "Rename {} and update the stack again."
)
FAILURES = (ResourceError, Misfit, ApiError)


class Failed(Exception):
    """A resource failed; the message tells the stack's reason."""


class Deployment:
    """Works on one stack as one caller. Every method ends with the stack in a final status."""

    def __init__(self, stack: Stack, caller: Caller, exports: Exports, model: Model | None = None) -> None:
        self.stack, self.caller, self.exports, self.model = stack, caller, exports, model
        self._undo: list[Callable[[], bool]] = []
        self._replaced: list[Resource] = []

    def create(self) -> None:
        try:
            self._deploy()
        except Failed as error:
            self._roll_back_creation(str(error))
        else:
            self.stack.set_status("CREATE_COMPLETE")

    def _roll_back_creation(self, reason: str) -> None:
        if self.stack.disable_rollback:
            self.stack.set_status("CREATE_FAILED", reason)
            return
        self.stack.set_status("ROLLBACK_IN_PROGRESS", f"{reason} Rollback requested by user.")
        made = list(reversed(self.stack.resources.values()))
        undone = [self._delete(each, retained=("Retain",)) for each in made]
        self.stack.set_status("ROLLBACK_COMPLETE" if all(undone) else "ROLLBACK_FAILED")

    def update(self) -> None:
        before, old_target = dict(self.stack.resources), self.stack.target
        try:
            self._deploy()
        except Failed as error:
            self._roll_back_update(str(error), before, old_target)
            return
        self.stack.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        for each in self._replaced:
            self._delete_replaced(each)
        for name, each in reversed(before.items()):
            if name not in self.model.names:
                self._delete(each, retained=("Retain", "RetainExceptOnCreate"))
        self.stack.resources = dict(self.model.resources)
        self.stack.set_status("UPDATE_COMPLETE")

    def _roll_back_update(self, reason: str, before: dict[str, Resource], target: Target) -> None:
        self.stack.set_status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        undone = [undo() for undo in reversed(self._undo)]
        self.stack.resources, self.stack.target = before, target
        if not all(undone):
            self.stack.set_status("UPDATE_ROLLBACK_FAILED", "Some resources could not be brought back")
            return
        self.stack.set_status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        self.stack.set_status("UPDATE_ROLLBACK_COMPLETE")

    def delete(self, retained: list[str]) -> None:
        try:
            self.exports.check(self.stack, [])
        except ApiError as error:
            self.stack.set_status("DELETE_FAILED", error.message)
            return
        kept = ("Retain", "RetainExceptOnCreate")
        for name, each in reversed(list(self.stack.resources.items())):
            if name in retained:
                self._forget(each)
            elif not self._delete(each, kept):
                reason = f"The following resource(s) failed to delete: [{name}]. "
                self.stack.set_status("DELETE_FAILED", reason)
                return
        self.stack.outputs, self.stack.imports = [], set()
        self.stack.deleted = now()
        self.stack.set_status("DELETE_COMPLETE")

    def _deploy(self) -> None:
        """Makes and changes what the model asks for; raises Failed."""
        self.stack.target = self.model.target
        before = self.stack.resources
        left = {name: each for name, each in before.items() if name not in self.model.names}
        for name in self.model.names:
            self._bring(name, before.get(name))
            self.stack.resources = {**left, **before, **self.model.resources}
        self.stack.resources = {**left, **self.model.resources}
        try:
            outputs = self.model.outputs()
            self.exports.check(self.stack, outputs)
        except ApiError as error:
            raise Failed(error.message) from error
        self.stack.outputs, self.stack.imports = outputs, self.model.imports

    def _bring(self, name: str, old: Resource | None) -> None:
        try:
            properties, by_us = self.model.named(name, self.model.properties(name), old)
        except FAILURES as error:
            resource = old or Resource(name, self.model.definition(name)["Type"], "", {}, {})
            self._fail(resource, "UPDATE_FAILED" if old else "CREATE_FAILED", error)
        if old is None:
            self._create(name, properties, by_us)
        elif same(old.properties, properties):
            self.model.resources[name] = replace(old, definition=self.model.definition(name))
        elif self._replaces(name, old, properties):
            self._replace(name, old, properties, by_us)
        else:
            self._modify(name, old, properties)

    def _fail(self, resource: Resource, status: str, error: Exception) -> None:
        reason = error.message if isinstance(error, ApiError) else str(error)
        self.stack.set_resource(resource, status, f'Resource handler returned message: "{reason}"')
        verb = "create" if status == "CREATE_FAILED" else "update"
        raise Failed(f"The following resource(s) failed to {verb}: [{resource.logical_id}].") from error

    def _create(self, name: str, properties: dict, by_us: bool) -> Resource:
        definition = self.model.definition(name)
        resource = Resource(name, definition["Type"], "", properties, definition, by_us)
        if name not in self.stack.resources:
            self.stack.resources = {**self.stack.resources, name: resource}
        self.stack.set_resource(resource, "CREATE_IN_PROGRESS")
        kind = KINDS[resource.type]
        try:
            resource.physical_id = kind.make(self.caller, properties) or self.model.new_name(name)
            self.model.resources[name] = resource
            self._undo.append(lambda: self._delete(resource, retained=()))
            self.stack.set_resource(resource, "CREATE_IN_PROGRESS", "Resource creation Initiated")
            kind.configure(self.caller, resource.physical_id, properties)
        except FAILURES as error:
            self._fail(resource, "CREATE_FAILED", error)
        self.stack.set_resource(resource, "CREATE_COMPLETE")
        return resource

    def _replaces(self, name: str, old: Resource, properties: dict) -> bool:
        schema = self.model.schema(name)
        return any(
            schema.replacement(each, old.properties.get(each), properties.get(each)) == "Always"
            for each in {*old.properties, *properties}
        )

    def _replace(self, name: str, old: Resource, properties: dict, by_us: bool) -> None:
        self.stack.set_resource(old, "UPDATE_IN_PROGRESS", REPLACING)
        kind = self.model.kind(name)
        if by_us:
            properties = {**properties, kind.name: self.model.new_name(name)}
        elif (taken := kind.name_in(properties)) and self._same_name(name, old.properties, properties):
            self._fail(old, "UPDATE_FAILED", ResourceError(NAME_TAKEN.format(taken)))
        self._undo.append(lambda: self._restored(old))
        self._create(name, properties, by_us)
        self._replaced.append(old)

    def _same_name(self, name: str, old: dict, new: dict) -> bool:
        """Whether both would be the same resource to their service."""
        kind, others = self.model.kind(name), self.model.schema(name).identifiers
        return kind.name_in(old) == kind.name_in(new) and all(
            old.get(each) == new.get(each) for each in others
        )

    def _restored(self, old: Resource) -> bool:
        self.stack.set_resource(old, "UPDATE_COMPLETE")
        return True

    def _modify(self, name: str, old: Resource, properties: dict) -> None:
        new = Resource(
            name, old.type, old.physical_id, properties, self.model.definition(name), old.named_by_us
        )
        self.model.resources[name] = new
        self._undo.append(lambda: self._modified_back(old, properties))
        self.stack.set_resource(new, "UPDATE_IN_PROGRESS")
        try:
            KINDS[old.type].change(self.caller, old.physical_id, old.properties, properties)
        except FAILURES as error:
            self._fail(new, "UPDATE_FAILED", error)
        self.stack.set_resource(new, "UPDATE_COMPLETE")

    def _modified_back(self, old: Resource, properties: dict) -> bool:
        self.stack.set_resource(old, "UPDATE_IN_PROGRESS")
        try:
            KINDS[old.type].change(self.caller, old.physical_id, properties, old.properties)
        except ResourceError as error:
            self.stack.set_resource(old, "UPDATE_FAILED", str(error))
            return False
        self.stack.set_resource(old, "UPDATE_COMPLETE")
        return True

    def _delete_replaced(self, resource: Resource) -> None:
        if resource.replace_policy() == "Retain":
            self.stack.set_resource(resource, "DELETE_SKIPPED")
        else:
            self._delete(resource, retained=(), listed=False)

    def _delete(self, resource: Resource, retained: tuple[str, ...], listed: bool = True) -> bool:
        """Whether the resource is no longer this stack's."""
        if resource.deletion_policy() in retained and listed:
            self.stack.set_resource(resource, "DELETE_SKIPPED")
            self._forget(resource)
            return True
        self.stack.set_resource(resource, "DELETE_IN_PROGRESS")
        try:
            if resource.physical_id:
                KINDS[resource.type].remove(self.caller, resource.physical_id, resource.properties)
        except ResourceError as error:
            self.stack.set_resource(resource, "DELETE_FAILED", str(error))
            return False
        self.stack.set_resource(resource, "DELETE_COMPLETE")
        self._forget(resource)
        return True

    def _forget(self, resource: Resource) -> None:
        left = self.stack.resources
        if left.get(resource.logical_id) is resource:
            self.stack.resources = {name: each for name, each in left.items() if each is not resource}


def run(stack: Stack, work: Callable[[], None], failed_status: str) -> None:
    """Does a deployment's work; after an error of ours the stack is failed, the traceback in the terminal."""
    try:
        work()
    except Exception as error:
        traceback.print_exc()
        stack.set_status(failed_status, f"InternalFailure: {error!r} (see the server's output)")
