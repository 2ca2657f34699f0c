"""Policies, and what they decide about one action on one resource.

Rules: IAM user guide, "Policy evaluation for requests within a single account": an explicit deny in any
policy wins; then a resource's own policy may allow; else the identity's policies must, and where there are a
permissions boundary and session policies each of them too. Key policies and the trust policies of roles must
allow always: an Allow for the account there hands the decision to the identity's policies.

Not evaluated: policies of organizations (SCP, RCP) and of VPC endpoints, access control lists, grants,
principals of other accounts, condition keys other than `conditions.KEYS`, BinaryEquals. A statement that fits
but for a condition that is not evaluated refuses the request, and the reason names policy, statement and key.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from local_aws.iam.conditions import Context, NotEvaluated, NoValue, arn_matches, context_of, holds, pattern

NOBODY, ACCOUNT, ROLE, SELF = range(4)
IDENTITY, BOUNDARY, SESSION, RESOURCE = (
    "identity-based policy",
    "permissions boundary",
    "session policy",
    "resource-based policy",
)


@dataclass(frozen=True)
class Principal:
    """Who asks. arn: as an error names it (for a service, its name).

    role_arn: of a role session. federated: the ARN of the identity provider, before the role is assumed.
    """

    arn: str
    account: str = ""
    role_arn: str = ""
    service: str = ""
    federated: str = ""

    def named_by(self, element: object) -> int:
        """How a Principal element means this one: NOBODY, its ACCOUNT, its ROLE (or everybody), it SELF."""
        if element == "*":
            return ROLE
        return max((self._named(kind, name) for kind, name in _names(element)), default=NOBODY)

    def _named(self, kind: str, name: str) -> int:
        if kind == "Service":
            return SELF if self.service and name == self.service else NOBODY
        if kind == "Federated":
            return SELF if self.federated and name == self.federated else NOBODY
        if kind != "AWS":
            raise NotEvaluated(f"the principal {kind}")
        if self.service or self.federated:
            return ROLE if name == "*" else NOBODY
        if name == self.arn:
            return SELF
        if name in (self.role_arn, "*"):
            return ROLE
        return ACCOUNT if name == self.account or name.endswith(f":iam::{self.account}:root") else NOBODY


def _names(element: object) -> Iterator[tuple[str, str]]:
    if not isinstance(element, Mapping):
        raise NotEvaluated(f"the principal {element!r}")
    for kind, names in element.items():
        yield from ((kind, name) for name in _list(names))


@dataclass(frozen=True)
class Request:
    """One action on one resource, and what is known of it."""

    principal: Principal
    action: str
    resource: str
    context: Context


@dataclass(frozen=True)
class Statement:
    """A statement of a policy. name: its Sid, else `statement 1` and so on.

    old: its policy is of a version that has no variables, and yet it holds what looks like one.
    """

    name: str
    document: Mapping[str, object]
    old: bool = False

    @property
    def allows(self) -> bool:
        return self.document["Effect"] == "Allow"

    def applies(self, request: Request) -> int:
        """NOBODY when it does not apply, else how it names the principal (SELF in an identity's policy)."""
        if self.old:
            raise NotEvaluated("${...} in a policy whose Version is not 2012-10-17")
        named = self._principal(request.principal)
        fits = named and self._action(request.action) and self._resource(request)
        return named if fits and holds(self.document.get("Condition", {}), request.context) else NOBODY

    def _action(self, action: str) -> bool:
        patterns = _list(self.document.get("Action", self.document.get("NotAction", ())))
        return any(_action_fits(each, action) for each in patterns) != ("NotAction" in self.document)

    def _resource(self, request: Request) -> bool:
        patterns = _list(self.document.get("Resource", self.document.get("NotResource", "*")))
        found = any(_resource_fits(each, request) for each in patterns)
        return found != ("NotResource" in self.document)

    def _principal(self, principal: Principal) -> int:
        if "Principal" in self.document:
            return principal.named_by(self.document["Principal"])
        if "NotPrincipal" in self.document:
            named = principal.named_by(self.document["NotPrincipal"])
            return ROLE if named in (NOBODY, ACCOUNT) else NOBODY
        return SELF


def _list(value: object) -> tuple:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _action_fits(wanted: str, action: str) -> bool:
    return bool(pattern(wanted, {}, ignore_case=True).fullmatch(action))


def _resource_fits(wanted: str, request: Request) -> bool:
    if wanted != "*" and wanted.count(":") < 5:
        raise NotEvaluated(f"the resource {wanted}, which is neither an ARN nor *")
    try:
        if request.resource == "*":  # the action has no resource: only a * is meant for it
            return wanted == "*"
        return arn_matches(wanted, request.resource, request.context)
    except NoValue:
        return False


@dataclass(frozen=True)
class Policy:
    """A policy by name, e.g. `inline policy start of e-trigger`."""

    name: str
    statements: tuple[Statement, ...]


def policy(name: str, document: str | Mapping[str, object]) -> Policy:
    """The policy of a JSON text, or of what it says."""
    return Policy(name, _statements(document if isinstance(document, str) else json.dumps(document)))


@lru_cache(1024)
def _statements(text: str) -> tuple[Statement, ...]:
    document = json.loads(text)
    old = "${" in text and document.get("Version") != "2012-10-17"
    listed = enumerate(_list(document.get("Statement", ())), 1)
    return tuple(Statement(each.get("Sid") or f"statement {n}", each, old) for n, each in listed)


@dataclass(frozen=True)
class Policies:
    """All that is to say about one principal and one resource.

    boundary, session: () for none. resource_must_allow: the resource is a KMS key or a role.
    """

    identity: tuple[Policy, ...] = ()
    boundary: tuple[Policy, ...] = ()
    session: tuple[Policy, ...] = ()
    resource: tuple[Policy, ...] = ()
    resource_must_allow: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether the action is allowed, and by or because of what.

    reason: how AWS ends its sentence. policy, statement: what allowed or denied it; empty when nothing did.
    """

    allowed: bool
    reason: str = ""
    policy: str = ""
    statement: str = ""


@dataclass
class _Matches:
    """The statements of one kind of policies that apply."""

    kind: str
    denies: list[Decision] = field(default_factory=list)
    allows: dict[int, Decision] = field(default_factory=dict)

    def best(self, least: int) -> Decision | None:
        """What allows it to a principal that is named at least so narrowly."""
        level = max((level for level in self.allows if level >= least), default=NOBODY)
        return self.allows.get(level)


def decide(
    policies: Policies,
    action: str,
    resource: str,
    context: Mapping[str, object],
    principal: Principal | None = None,
) -> Decision:
    """Whether `action` (`s3:GetObject`) on `resource` (an ARN, * for an action that has none) is allowed."""
    request = Request(principal or Principal("unknown"), action, resource, context_of(context))
    try:
        return _decided(policies, request)
    except NotEvaluated as problem:
        return Decision(False, f"because the local AWS does not evaluate {problem}")


def _decided(policies: Policies, request: Request) -> Decision:
    identity = _matches(IDENTITY, policies.identity, request)
    boundary = _matches(BOUNDARY, policies.boundary, request)
    session = _matches(SESSION, policies.session, request)
    resource = _matches(RESOURCE, policies.resource, request)
    for kind in (identity, boundary, session, resource):
        if kind.denies:
            return kind.denies[0]
    limits = [kind for kind, given in ((boundary, policies.boundary), (session, policies.session)) if given]
    if policies.resource_must_allow and not resource.allows:
        return _no(resource, request)
    direct = resource.best(ROLE)
    if direct and SELF in resource.allows:
        return resource.allows[SELF]  # no boundary and no session policy stands above it
    granted = identity.best(SELF) or direct
    if granted is None:
        return _no(identity, request)
    missing = next((kind for kind in limits if not kind.allows), None)
    return granted if missing is None else _no(missing, request)


def _matches(kind: str, policies: Iterable[Policy], request: Request) -> _Matches:
    found = _Matches(kind)
    for each in policies:
        for statement in each.statements:
            level = _applies(each, statement, request)
            if level and statement.allows:
                found.allows.setdefault(level, Decision(True, f"by {kind}", each.name, statement.name))
            elif level:
                reason = f"with an explicit deny in {'an' if kind[0] == 'i' else 'a'} {kind}"
                found.denies.append(Decision(False, reason, each.name, statement.name))
    return found


def _applies(policy: Policy, statement: Statement, request: Request) -> int:
    try:
        return statement.applies(request)
    except NotEvaluated as problem:
        raise NotEvaluated(f"{problem} ({policy.name}, {statement.name})") from None


def _no(kind: _Matches, request: Request) -> Decision:
    return Decision(False, f"because no {kind.kind} allows the {request.action} action")
