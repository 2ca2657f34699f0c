"""Roles that services assume to deliver: trust and permission are both asked."""

from __future__ import annotations

import json

import pytest
from moto.iam.models import iam_backends

from conftest import REGION
from local_aws.iam import Iam
from local_requests import ACCOUNT, name

PIPELINE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/demo-dev-train"
START = "sagemaker:StartPipelineExecution"
UNTRUSTED = "no resource-based policy allows the sts:AssumeRole action"
UNGRANTED = f"no identity-based policy allows the {START} action"
SOURCE = {"aws:SourceAccount": ACCOUNT}


def make_role(trusted: list[str], *statements: dict, boundary: str | None = None) -> str:
    """The ARN of a role that the services may assume for sources of this account."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": trusted},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
    }
    backend = iam_backends[ACCOUNT]["aws"]
    made = backend.create_role(name("trigger"), _document(trust), "/team/", boundary, "", {}, None)
    backend.put_role_policy(made.name, "start", _document(*statements))
    return made.arn


def _document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*statements]})


def start_of(resource: str) -> dict:
    return {"Effect": "Allow", "Action": START, "Resource": resource, "Sid": "Start"}


@pytest.fixture
def iam() -> Iam:
    return Iam(ACCOUNT, REGION)


def test_a_role_allows_what_its_trust_and_its_policy_allow(iam: Iam) -> None:
    role = make_role(["events.amazonaws.com", "scheduler.amazonaws.com"], start_of(PIPELINE))
    decision = iam.role_allows(role, "scheduler.amazonaws.com", START, PIPELINE, SOURCE)
    assert (decision.allowed, decision.statement) == (True, "Start")
    assert decision.policy == f"inline policy start of role {role.rpartition('/')[2]}"
    assert not iam.denials


@pytest.mark.parametrize(
    ("service", "resource", "context", "reason"),
    [
        ("lambda.amazonaws.com", PIPELINE, SOURCE, UNTRUSTED),
        ("events.amazonaws.com", PIPELINE, {}, UNTRUSTED),
        ("events.amazonaws.com", PIPELINE + "2", SOURCE, UNGRANTED),
    ],
)
def test_a_role_allows_nothing_else_and_the_no_is_recorded(
    iam: Iam, service: str, resource: str, context: dict, reason: str
) -> None:
    role = make_role(["events.amazonaws.com"], start_of(PIPELINE))
    decision = iam.role_allows(role, service, START, resource, context)
    assert (decision.allowed, decision.reason) == (False, f"because {reason}")
    assert iam.denials[-1]["reason"] == f"because {reason}"


def test_a_role_that_does_not_exist_allows_nothing(iam: Iam) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/none"
    decision = iam.role_allows(role, "events.amazonaws.com", START, PIPELINE, SOURCE)
    assert (decision.allowed, decision.reason) == (False, f"because the role {role} does not exist")


def test_a_role_does_no_more_than_its_boundary_allows(iam: Iam) -> None:
    backend = iam_backends[ACCOUNT]["aws"]
    limit = backend.create_policy("", "/", _document(start_of(PIPELINE + "-*")), name("boundary"), {})
    role = make_role(["events.amazonaws.com"], start_of("*"), boundary=limit.arn)
    assert iam.role_allows(role, "events.amazonaws.com", START, PIPELINE + "-a", SOURCE).allowed
    refused = iam.role_allows(role, "events.amazonaws.com", START, PIPELINE, SOURCE)
    assert refused.reason == f"because no permissions boundary allows the {START} action"


def test_a_boundary_that_does_not_exist_allows_nothing(iam: Iam) -> None:
    missing = f"arn:aws:iam::{ACCOUNT}:policy/none"
    role = make_role(["events.amazonaws.com"], start_of("*"), boundary=missing)
    assert not iam.role_allows(role, "events.amazonaws.com", START, PIPELINE, SOURCE).allowed
