"""The policies of resources: read from moto.

Read are bucket, queue, topic, key, repository and trust policies. Not read, hence not evaluated: those of
event buses, secrets, log groups and model package groups.
"""

import sys
from typing import Any

from local_aws.iam.policies import Policy, policy
from local_aws.iam.principals import PARTITION


def resource_policies(action: str, resource: str) -> tuple[Policy, ...]:
    """The policy of the resource that an ARN names; none where it has none, or does not exist."""
    if resource.count(":") < 5:
        return ()
    _, _, service, region, account, name = resource.split(":", 5)
    if service not in READERS or (service == "iam") != action.startswith("sts:"):
        return ()
    found = READERS[service](region, account, name)
    return (policy(f"policy of {resource}", found),) if found else ()


def resource_must_allow(action: str, resource: str) -> bool:
    """Whether an identity's policies alone are not enough: keys, and roles that are assumed."""
    service = resource.split(":", 3)[2] if resource.count(":") >= 5 else ""
    return (service == "kms" and ":key/" in resource) or (service == "iam" and action.startswith("sts:"))


def _backend(service: str, account: str, region: str) -> Any:
    """moto's; None while nothing has loaded it, when there is nothing in it either."""
    module = sys.modules.get(f"moto.{service}.models")
    return getattr(module, f"{service}_backends")[account][region] if module else None


def _bucket(region: str, account: str, name: str) -> str | None:
    backends = sys.modules["moto.s3.models"].s3_backends
    bucket_name = name.partition("/")[0]
    if bucket_name not in backends.bucket_accounts:
        return None
    partition, owner = backends.bucket_accounts[bucket_name]
    bucket = backends[owner][partition].buckets.get(bucket_name)
    return bucket.policy.decode() if bucket and bucket.policy else None


def _queue(region: str, account: str, name: str) -> str | None:
    backend = _backend("sqs", account, region)
    return backend.queues[name].policy if backend and name in backend.queues else None


def _topic(region: str, account: str, name: str) -> str | None:
    backend, arn = _backend("sns", account, region), f"arn:{PARTITION}:sns:{region}:{account}:{name}"
    return backend.topics[arn].policy if backend and arn in backend.topics else None


def _key(region: str, account: str, name: str) -> str | None:
    backend, key = _backend("kms", account, region), name.removeprefix("key/")
    return backend.keys[key].policy if backend and key in backend.keys else None


def _repository(region: str, account: str, name: str) -> str | None:
    backend, repository = _backend("ecr", account, region), name.removeprefix("repository/")
    found = backend.repositories.get(repository) if backend else None
    return found.policy if found else None


def _role(region: str, account: str, name: str) -> str | None:
    arn = f"arn:{PARTITION}:iam::{account}:{name}"
    roles = list(_backend("iam", account, PARTITION).roles.values())
    return next((role.assume_role_policy_document for role in roles if role.arn == arn), None)


READERS = {"s3": _bucket, "sqs": _queue, "sns": _topic, "kms": _key, "ecr": _repository, "iam": _role}
