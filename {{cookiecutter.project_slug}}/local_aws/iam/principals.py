"""Who a request comes from, and the policies that speak for it: read from moto's IAM and STS."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from moto.iam.models import AccessKey, Group, ManagedPolicy, Role, User, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from local_aws.iam.policies import Policies, Policy, Principal, policy

PARTITION = "aws"


@dataclass(frozen=True)
class Caller:
    """A principal with the policies attached to it. context: what conditions may ask about it."""

    principal: Principal
    policies: Policies
    context: dict[str, object] = field(default_factory=dict)


class Identities:
    """The roles, users and sessions of an account."""

    def __init__(self, account: str) -> None:
        self.account = account
        self._sessions: dict[str, AssumedRole] = {}
        self._read, self._lock = 0, threading.Lock()

    def caller(self, access_key: str) -> Caller | None:
        """Who the key belongs to; None for a key that nobody was given: the account's root has those."""
        session = self.session(access_key)
        if session:
            return self.role_caller(session.role_arn, session.session_name, session.policy)
        key = iam_backends[self.account][PARTITION].access_keys.get(access_key)
        return self._user_caller(key) if key and key.user_name else None

    def session(self, access_key: str) -> AssumedRole | None:
        """The role session that the key was issued to."""
        with self._lock:
            new = sts_backends[self.account][PARTITION].assumed_roles[self._read :]
            self._sessions |= {session.access_key_id: session for session in new}
            self._read += len(new)
            return self._sessions.get(access_key)

    def expired(self, access_key: str) -> bool:
        session = self.session(access_key)
        if session is None:
            return False
        ends = session.expiration if session.expiration.tzinfo else session.expiration.replace(tzinfo=UTC)
        return datetime.now(UTC) > ends

    def role(self, arn: str) -> Role | None:
        roles = list(iam_backends[self.account][PARTITION].roles.values())
        return next((role for role in roles if role.arn == arn), None)

    def role_caller(self, arn: str, session_name: str, session_policy: str | None = None) -> Caller:
        """A session of the role; of one that is no more, it has no policies."""
        role, name = self.role(arn), arn.rsplit("/", 1)[-1]
        session_arn = f"arn:{PARTITION}:sts::{self.account}:assumed-role/{name}/{session_name}"
        policies = Policies(
            identity=tuple(_attached("role", role)) if role else (),
            boundary=self._boundary(role.permissions_boundary_arn if role else None),
            session=(policy("session policy", session_policy),) if session_policy else (),
        )
        about = {"aws:PrincipalArn": arn, "aws:PrincipalType": "AssumedRole"}
        about["aws:userid"] = f"{role.id if role else name}:{session_name}"
        tags = _tags("aws:PrincipalTag", role.tags if role else ())
        return Caller(Principal(session_arn, self.account, role_arn=arn), policies, about | tags)

    def _user_caller(self, key: AccessKey) -> Caller:
        backend = iam_backends[self.account][PARTITION]
        user = backend.users[key.user_name]
        groups = [group for group in backend.groups.values() if user in group.users]
        identity = [
            *_attached("user", user),
            *(each for group in groups for each in _attached("group", group)),
        ]
        about = {
            "aws:PrincipalArn": user.arn,
            "aws:PrincipalType": "User",
            "aws:userid": user.id,
            "aws:username": user.name,
        }
        tags = _tags("aws:PrincipalTag", backend.tagger.list_tags_for_resource(user.arn)["Tags"])
        return Caller(Principal(user.arn, self.account), Policies(identity=tuple(identity)), about | tags)

    def _boundary(self, arn: str | None) -> tuple[Policy, ...]:
        """The policy that is the boundary; one that does not exist allows nothing."""
        if not arn:
            return ()
        managed = iam_backends[self.account][PARTITION].managed_policies.get(arn)
        return (_managed(managed) if managed else Policy(f"missing policy {arn}", ()),)


def _attached(kind: str, owner: Role | User | Group) -> Iterator[Policy]:
    for name, document in list(owner.policies.items()):
        yield policy(f"inline policy {name} of {kind} {owner.name}", document)
    yield from map(_managed, list(owner.managed_policies.values()))


def _managed(managed: ManagedPolicy) -> Policy:
    current = next(each for each in managed.versions if each.version_id == managed.default_version_id)
    return policy(f"policy {managed.arn}", current.document)


def _tags(prefix: str, tags: Iterable[dict[str, str]] | dict[str, dict[str, str]]) -> dict[str, object]:
    listed = tags.values() if isinstance(tags, dict) else tags
    return {f"{prefix}/{tag['Key']}": tag["Value"] for tag in listed}
