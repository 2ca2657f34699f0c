"""Tags, which each service changes by calls of its own."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Caller


def as_map(tags: Any) -> dict[str, str]:
    """Tags by key, from either of CloudFormation's two forms."""
    if isinstance(tags, dict):
        return tags
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def as_list(tags: Any) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in as_map(tags).items()]


def tagging(
    service: str, tag: str, untag: str, resource: str, keys: str, arn: str = "{id}", **fixed: str
) -> Aspect:
    """Sets tags with operation `tag` and takes them away with `untag`.

    resource, keys: their members that name the resource and the keys; arn: the resource's name from its id.
    """

    def put(caller: Caller, id: str, old: dict, new: dict) -> None:
        before, after = as_map(old.get("Tags")), as_map(new.get("Tags"))
        named = {resource: arn.format(id=id, region=caller.region, account=caller.account), **fixed}
        if gone := sorted(set(before) - set(after)):
            caller.call(service, untag, {**named, keys: gone})
        if added := {key: value for key, value in after.items() if before.get(key) != value}:
            caller.call(service, tag, {**named, "Tags": as_list(added)})

    return Aspect(("Tags",), put)
