"""Roles, policies and identity providers of IAM."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Call, Caller, Kind
from local_aws.cloudformation.kinds.tags import tagging

HOLDERS = {"Roles": "Role", "Users": "User", "Groups": "Group"}


def _trust(caller: Caller, id: str, old: dict, new: dict) -> None:
    request = {"RoleName": id, "PolicyDocument": new["AssumeRolePolicyDocument"]}
    caller.call("iam", "UpdateAssumeRolePolicy", request)


def _boundary(caller: Caller, id: str, old: dict, new: dict) -> None:
    if "PermissionsBoundary" in new:
        request = {"RoleName": id, "PermissionsBoundary": new["PermissionsBoundary"]}
        caller.call("iam", "PutRolePermissionsBoundary", request)
    else:
        caller.call("iam", "DeleteRolePermissionsBoundary", {"RoleName": id})


def _inline(caller: Caller, id: str, old: dict, new: dict) -> None:
    before = {each["PolicyName"]: each["PolicyDocument"] for each in old.get("Policies", [])}
    after = {each["PolicyName"]: each["PolicyDocument"] for each in new.get("Policies", [])}
    for name in before.keys() - after.keys():
        caller.call("iam", "DeleteRolePolicy", {"RoleName": id, "PolicyName": name})
    for name, document in after.items():
        if before.get(name) != document:
            request = {"RoleName": id, "PolicyName": name, "PolicyDocument": document}
            caller.call("iam", "PutRolePolicy", request)


def _attached(caller: Caller, id: str, old: dict, new: dict) -> None:
    before, after = set(old.get("ManagedPolicyArns", [])), set(new.get("ManagedPolicyArns", []))
    for arn in sorted(before - after):
        caller.call("iam", "DetachRolePolicy", {"RoleName": id, "PolicyArn": arn})
    for arn in sorted(after - before):
        caller.call("iam", "AttachRolePolicy", {"RoleName": id, "PolicyArn": arn})


def _holders(properties: dict) -> set[tuple[str, str]]:
    return {(kind, name) for plural, kind in HOLDERS.items() for name in properties.get(plural, [])}


def _managed_holders(caller: Caller, id: str, old: dict, new: dict) -> None:
    for kind, name in sorted(_holders(old) - _holders(new)):
        caller.call("iam", f"Detach{kind}Policy", {f"{kind}Name": name, "PolicyArn": id})
    for kind, name in sorted(_holders(new) - _holders(old)):
        caller.call("iam", f"Attach{kind}Policy", {f"{kind}Name": name, "PolicyArn": id})


def _managed_document(caller: Caller, id: str, old: dict, new: dict) -> None:
    """A new default version; the older ones go, as five are the most that IAM keeps."""
    request = {"PolicyArn": id, "PolicyDocument": new["PolicyDocument"], "SetAsDefault": True}
    caller.call("iam", "CreatePolicyVersion", request)
    listed = caller.call("iam", "ListPolicyVersions", {"PolicyArn": id})["Versions"]
    for version in listed:
        if not version["IsDefaultVersion"]:
            caller.call("iam", "DeletePolicyVersion", {"PolicyArn": id, "VersionId": version["VersionId"]})


def _held_policy(caller: Caller, id: str, old: dict, new: dict) -> None:
    """AWS::IAM::Policy: one inline policy, in each of its holders."""
    before = {(*holder, old.get("PolicyName")) for holder in _holders(old)}
    after = {(*holder, new.get("PolicyName")) for holder in _holders(new)}
    for kind, name, policy in sorted(before - after):
        caller.call("iam", f"Delete{kind}Policy", {f"{kind}Name": name, "PolicyName": policy})
    for kind, name, policy in sorted(after):
        request = {f"{kind}Name": name, "PolicyName": policy, "PolicyDocument": new["PolicyDocument"]}
        caller.call("iam", f"Put{kind}Policy", request)


def _role_policy(caller: Caller, id: str, old: dict, new: dict) -> None:
    named = {name: (new or old)[name] for name in ("RoleName", "PolicyName")}
    if new:
        caller.call("iam", "PutRolePolicy", {**named, "PolicyDocument": new["PolicyDocument"]})
    else:
        caller.call("iam", "DeleteRolePolicy", named)


def _thumbprints(caller: Caller, id: str, old: dict, new: dict) -> None:
    request = {"OpenIDConnectProviderArn": id, "ThumbprintList": new.get("ThumbprintList", [])}
    caller.call("iam", "UpdateOpenIDConnectProviderThumbprint", request)


def _audiences(caller: Caller, id: str, old: dict, new: dict) -> None:
    before, after = set(old.get("ClientIdList", [])), set(new.get("ClientIdList", []))
    for operation, names in (
        ("RemoveClientIDFromOpenIDConnectProvider", before - after),
        ("AddClientIDToOpenIDConnectProvider", after - before),
    ):
        for name in sorted(names):
            caller.call("iam", operation, {"OpenIDConnectProviderArn": id, "ClientID": name})


def _new_provider(caller: Caller, properties: dict) -> dict[str, Any]:
    # IAM finds the thumbprint itself when none is given; the API's member may be left out for that.
    return {"ClientIDList": properties.get("ClientIdList", [])}


KINDS = {
    "AWS::IAM::Role": Kind(
        "iam",
        create="CreateRole",
        update=Call("UpdateRole", {"RoleName": "{id}"}),
        describe=Call("GetRole", {"RoleName": "{id}"}, "Role"),
        delete=Call("DeleteRole", {"RoleName": "{id}"}),
        name="RoleName",
        attributes={"Arn": "Arn", "RoleId": "RoleId"},
        aspects=(
            Aspect(("AssumeRolePolicyDocument",), _trust),
            Aspect(("PermissionsBoundary",), _boundary),
            Aspect(("ManagedPolicyArns",), _attached, undone=True),
            Aspect(("Policies",), _inline, undone=True),
            tagging("iam", "TagRole", "UntagRole", "RoleName", "TagKeys"),
        ),
    ),
    "AWS::IAM::ManagedPolicy": Kind(
        "iam",
        create="CreatePolicy",
        describe=Call("GetPolicy", {"PolicyArn": "{id}"}, "Policy"),
        delete=Call("DeletePolicy", {"PolicyArn": "{id}"}),
        id="Policy.Arn",
        name="ManagedPolicyName",
        name_length=128,
        renamed={"ManagedPolicyName": "PolicyName"},
        attributes={"PolicyArn": "{id}", "PolicyId": "PolicyId", "DefaultVersionId": "DefaultVersionId"},
        aspects=(
            Aspect(("PolicyDocument",), _managed_document),
            Aspect(("Roles", "Users", "Groups"), _managed_holders, undone=True),
        ),
    ),
    "AWS::IAM::Policy": Kind(
        "iam",
        name="PolicyName",
        name_length=128,
        attributes={"Id": "{id}"},
        aspects=(
            Aspect(("PolicyDocument", "Roles", "Users", "Groups", "PolicyName"), _held_policy, undone=True),
        ),
    ),
    "AWS::IAM::RolePolicy": Kind(
        "iam",
        describe=Call("GetRolePolicy", {"PolicyName": "{id}", "RoleName": "{RoleName}"}, "PolicyName"),
        name="PolicyName",
        name_length=128,
        unique=True,
        aspects=(Aspect(("PolicyDocument", "RoleName"), _role_policy, undone=True),),
    ),
    "AWS::IAM::OIDCProvider": Kind(
        "iam",
        create="CreateOpenIDConnectProvider",
        delete=Call("DeleteOpenIDConnectProvider", {"OpenIDConnectProviderArn": "{id}"}),
        id="OpenIDConnectProviderArn",
        prepared=_new_provider,
        consumed=("ClientIdList",),
        attributes={"Arn": "{id}"},
        aspects=(
            Aspect(("ThumbprintList",), _thumbprints),
            Aspect(("ClientIdList",), _audiences),
            tagging(
                "iam",
                "TagOpenIDConnectProvider",
                "UntagOpenIDConnectProvider",
                "OpenIDConnectProviderArn",
                "TagKeys",
            ),
        ),
    ),
}
