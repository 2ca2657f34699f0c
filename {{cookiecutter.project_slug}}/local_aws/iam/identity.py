"""What roles and services may do, and the record of what they did and of what they may not."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from local_aws.iam.policies import Decision, Policies, Principal, decide
from local_aws.iam.principals import Caller, Identities
from local_aws.iam.resources import resource_must_allow, resource_policies

KEPT_DENIALS, KEPT_ALLOWED = 1000, 20000


@dataclass(frozen=True)
class Need:
    """An action on a resource (an ARN, or * for an action that has none) that a request needs."""

    action: str
    resource: str
    context: Mapping[str, object] = field(default_factory=dict)


class Denied(Exception):
    """A request that is not allowed; the message is AWS's sentence."""

    def __init__(self, caller: str, need: Need, decision: Decision) -> None:
        self.need, self.decision = need, decision
        named = f'"{need.resource}"' if need.action.startswith("s3:") else need.resource
        what = f"{need.action} on resource: {named} {decision.reason}"
        super().__init__(f"User: {caller} is not authorized to perform: {what}")


class Iam:
    """IAM of one local AWS."""

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region
        self.identities = Identities(account)
        self.denials: deque[dict] = deque(maxlen=KEPT_DENIALS)
        self._allowed: dict[tuple[str, ...], dict] = {}
        self._lock = threading.Lock()

    def role_allows(
        self,
        role_arn: str,
        service: str,
        action: str,
        resource: str,
        context: Mapping[str, object] | None = None,
    ) -> Decision:
        """Whether `service` (`events.amazonaws.com`) may assume the role and then do `action` on `resource`.

        context: keys of conditions, e.g. aws:SourceArn and aws:SourceAccount, which trust policies ask about.
        """
        trusted = self.role_trusts(role_arn, service, context)
        if not trusted.allowed:
            return trusted
        caller = self.identities.role_caller(role_arn, service.partition(".")[0])
        return self.decide(caller, Need(action, resource, context or {}))

    def role_trusts(
        self, role_arn: str, service: str, context: Mapping[str, object] | None = None
    ) -> Decision:
        """Whether the role exists and `service` may assume it."""
        if self.identities.role(role_arn) is None:
            return Decision(False, f"because the role {role_arn} does not exist")
        return self.service_allows(service, "sts:AssumeRole", role_arn, context)

    def service_allows(
        self, service: str, action: str, resource: str, context: Mapping[str, object] | None = None
    ) -> Decision:
        """Whether the policy of the resource (queue, topic, key, role) lets `service` do it, as itself."""
        caller = Caller(
            Principal(service, service=service),
            Policies(),
            {"aws:PrincipalIsAWSService": True, "aws:SourceIp": None},
        )
        return self.decide(caller, Need(action, resource, context or {}))

    def decide(self, caller: Caller, need: Need) -> Decision:
        """Whether the caller may; a no is recorded."""
        principal = caller.principal
        policies = replace(
            caller.policies,
            resource=resource_policies(need.action, need.resource),
            resource_must_allow=bool(principal.service or principal.federated)
            or resource_must_allow(need.action, need.resource),
        )
        context = self._about_request(need) | caller.context | need.context
        decision = decide(policies, need.action, need.resource, context, principal)
        if decision.allowed:
            self._record_allowed(principal, need, decision, context)
        else:
            self.denials.append(_entry(principal, need, decision))
        return decision

    def check(self, caller: Caller, needs: Iterable[Need]) -> None:
        """Raises Denied for the first that the caller may not."""
        for need in needs:
            decision = self.decide(caller, need)
            if not decision.allowed:
                raise Denied(caller.principal.arn, need, decision)

    def _about_request(self, need: Need) -> dict[str, object]:
        now = datetime.now(UTC)
        parts = need.resource.split(":", 5)
        about = {
            "aws:CurrentTime": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "aws:EpochTime": int(now.timestamp()),
            # The endpoint stands for one of AWS, to which clients connect by TLS.
            "aws:SecureTransport": True,
            "aws:RequestedRegion": self.region,
            "aws:PrincipalAccount": self.account,
            "aws:PrincipalIsAWSService": False,
            "aws:SourceIp": "127.0.0.1",
            "aws:ViaAWSService": False,
        }
        return about | ({"aws:ResourceAccount": parts[4] or self.account} if len(parts) == 6 else {})

    def _record_allowed(
        self, principal: Principal, need: Need, decision: Decision, context: Mapping[str, object]
    ) -> None:
        """The first of its kind: who, what, on what, and by which statement."""
        kind = (principal.arn, need.action, need.resource, decision.policy, decision.statement)
        with self._lock:
            if kind not in self._allowed and len(self._allowed) < KEPT_ALLOWED:
                about = {"role": principal.role_arn, "context": dict(context)}
                self._allowed[kind] = _entry(principal, need, decision) | about

    def allowed(self) -> list[dict]:
        """What roles, users and services were allowed so far, each kind once, oldest first."""
        with self._lock:
            return list(self._allowed.values())

    def forget(self) -> None:
        """Empties both records."""
        with self._lock:
            self._allowed.clear()
        self.denials.clear()


def _entry(principal: Principal, need: Need, decision: Decision) -> dict:
    return {
        "time": time.time(),
        "principal": principal.arn,
        "action": need.action,
        "resource": need.resource,
        "reason": decision.reason,
        "policy": decision.policy,
        "statement": decision.statement,
    }
