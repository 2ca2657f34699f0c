"""What requests to IAM need: actions on roles, policies, users, groups and providers, which have paths."""

from collections.abc import Iterator

from moto.iam.models import iam_backends

from local_aws.iam.asked import Asked, Unreadable
from local_aws.iam.identity import Need
from local_aws.iam.principals import PARTITION

NO_RESOURCE = (
    "GetAccountSummary",
    "ListAccountAliases",
    "ListGroups",
    "ListInstanceProfiles",
    "ListOpenIDConnectProviders",
    "ListPolicies",
    "ListRoles",
    "ListUsers",
    "SimulateCustomPolicy",
)
TAGGED = {
    "CreateRole": "TagRole",
    "CreatePolicy": "TagPolicy",
    "CreateUser": "TagUser",
    "CreateOpenIDConnectProvider": "TagOpenIDConnectProvider",
    "CreateInstanceProfile": "TagInstanceProfile",
}


def iam_needs(asked: Asked) -> Iterator[Need]:
    action, about = f"iam:{asked.operation}", _about(asked)
    resource = "*" if asked.operation in NO_RESOURCE else _resource(asked)
    yield Need(action, resource, about)
    if asked.operation in TAGGED and asked.params.get("Tags"):
        yield Need(f"iam:{TAGGED[asked.operation]}", resource, about)
    if asked.operation == "AddRoleToInstanceProfile":
        passed = {"iam:PassedToService": "ec2.amazonaws.com"}
        yield Need("iam:PassRole", _named(asked, "role", asked.params["RoleName"]), passed)


def _about(asked: Asked) -> dict[str, object]:
    about: dict[str, object] = {}
    if "PermissionsBoundary" in asked.params:
        about["iam:PermissionsBoundary"] = asked.params["PermissionsBoundary"]
    elif asked.params.get("RoleName") and (role := _roles(asked).get(asked.params["RoleName"])):
        about["iam:PermissionsBoundary"] = role.permissions_boundary_arn
    if asked.operation.startswith(("Attach", "Detach")):
        about["iam:PolicyARN"] = asked.params["PolicyArn"]
    return about


def _resource(asked: Asked) -> str:
    params, operation = asked.params, asked.operation
    if operation == "CreateServiceLinkedRole":
        return _arn(asked, f"role/aws-service-role/{params['AWSServiceName']}/*")
    for member in ("OpenIDConnectProviderArn", "PolicySourceArn", "SAMLProviderArn"):
        if member in params:
            return params[member]
    if operation == "CreateOpenIDConnectProvider":
        return _arn(asked, f"oidc-provider/{params['Url'].partition('://')[2].rstrip('/')}")
    for member, kind in (
        ("RoleName", "role"),
        ("InstanceProfileName", "instance-profile"),
        ("UserName", "user"),
        ("GroupName", "group"),
    ):
        if member in params and not (kind == "role" and operation.endswith("InstanceProfile")):
            return _named(asked, kind, params[member])
    if "PolicyArn" in params:
        return params["PolicyArn"]
    if operation == "CreatePolicy":
        return _arn(asked, f"policy{params.get('Path', '/')}{params['PolicyName']}")
    if operation in ("GetUser", "CreateAccessKey", "ListAccessKeys"):
        return _arn(asked, "user/*")
    raise Unreadable(f"the local AWS does not know the permissions that iam:{operation} needs")


def _named(asked: Asked, kind: str, name: str) -> str:
    """The ARN with the path that it has; for what is to be created, the path that it will have."""
    backend = iam_backends[asked.account][PARTITION]
    existing = {"role": _roles(asked), "user": backend.users, "group": backend.groups}.get(kind, {})
    path = existing[name].path if name in existing else asked.params.get("Path", "/")
    return _arn(asked, f"{kind}{path}{name}")


def _roles(asked: Asked) -> dict:
    return {role.name: role for role in list(iam_backends[asked.account][PARTITION].roles.values())}


def _arn(asked: Asked, path: str) -> str:
    return f"arn:{PARTITION}:iam::{asked.account}:{path}"
