"""Values that stacks export and others import."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from local_aws.cloudformation.stack import Stack
from local_aws.cloudformation.template import refuse


@dataclass
class Exports:
    """The exports of one region's stacks."""

    stacks: dict[str, Stack] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """What the export of this name holds; raises ApiError when there is none."""
        for stack in list(self.stacks.values()):
            if name in stack.exports():
                return stack.exports()[name]
        raise refuse(f"No export named {name} found.")

    def check(self, stack: Stack, outputs: list[dict]) -> None:
        """Raises ApiError when these outputs of `stack` take another stack's name, or away what one uses."""
        new = {each["ExportName"]: each["OutputValue"] for each in outputs if "ExportName" in each}
        for other in list(self.stacks.values()):
            if other is stack:
                continue
            if taken := sorted(new.keys() & other.exports().keys()):
                raise refuse(f"Export with name {taken[0]} is already exported by stack {other.name}.")
            for name, value in stack.exports().items():
                if name in other.imports and new.get(name) != value:
                    verb = "updated" if name in new else "deleted"
                    raise refuse(f"Export {name} cannot be {verb} as it is in use by {other.name}")

    def listed(self) -> Iterable[dict]:
        """The exports as ListExports shows them."""
        for stack in list(self.stacks.values()):
            for name, value in stack.exports().items():
                yield {"ExportingStackId": stack.id, "Name": name, "Value": value}
