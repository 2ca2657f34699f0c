"""Policies: what the IAM user guide says a statement, a condition and several policies together decide."""

from __future__ import annotations

import json

import pytest

from local_aws.iam import Decision, Policies, Principal, decide, policy

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/one", ACCOUNT, role_arn=ROLE)
USER = Principal(f"arn:aws:iam::{ACCOUNT}:user/ana", ACCOUNT)
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:letters"
RULE, LOG = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/demo", f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:"
GET, OBJECT = "s3:GetObject", "arn:aws:s3:::data/raw/a.csv"


def document(*statements: dict) -> dict:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def allow(action: object = "*", resource: object = "*", **more: object) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: object = "*", resource: object = "*", **more: object) -> dict:
    return allow(action, resource, **more) | {"Effect": "Deny"}


def decided(*statements: dict, action: str = GET, resource: str = OBJECT, **context: object) -> Decision:
    return decide(Policies(identity=(policy("p", document(*statements)),)), action, resource, context)


@pytest.mark.parametrize(
    ("wanted", "action", "fits"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:getobject", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObject", True),
        ("s3:Get?bject", "s3:GetObject", True),
        ("s3:Get?Object", "s3:GetObject", False),
        ("s3:Get.bject", "s3:GetObject", False),
        ("*", "sagemaker:CreateModel", True),
        ("s3:*", "sagemaker:CreateModel", False),
        (["s3:PutObject", "s3:GetObject"], "s3:GetObject", True),
        ([], "s3:GetObject", False),
    ],
)
def test_an_action_is_named_in_any_case_with_wildcards(wanted: object, action: str, fits: bool) -> None:
    assert decided(allow(wanted), action=action).allowed == fits


@pytest.mark.parametrize(
    ("wanted", "resource", "fits"),
    [
        ("arn:aws:s3:::data/raw/*", "arn:aws:s3:::data/raw/x/y.csv", True),
        ("arn:aws:s3:::data/raw/*", "arn:aws:s3:::data/RAW/x", False),
        ("arn:aws:s3:::data/raw/?", "arn:aws:s3:::data/raw/xy", False),
        ("arn:aws:s3:::data", "arn:aws:s3:::data2", False),
        ("arn:aws:s3:::*", "arn:aws:s3:::data", True),
        ("arn:*:sqs:*:*:letters", QUEUE, True),
        ("arn:aws:sqs:*:letters", QUEUE, None),
        ("arn:aws:sqs:us-east-1*:letters:x", QUEUE, False),
        (
            f"arn:aws:logs:*:{ACCOUNT}:log-group:/a/*",
            f"{LOG}/a/b:log-stream:c",
            True,
        ),
        ("*", "*", True),
        ("arn:aws:s3:::*", "*", False),
    ],
)
def test_a_resource_is_named_part_by_part_and_by_case(wanted: str, resource: str, fits: bool | None) -> None:
    decision = decided(allow("*", wanted), resource=resource)
    assert decision.allowed == bool(fits)
    assert ("does not evaluate the resource" in decision.reason) == (fits is None)


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"s3:prefix": "a"}}, {"s3:prefix": "a"}, True),
        ({"StringEquals": {"S3:Prefix": "a"}}, {"s3:prefix": "A"}, False),
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": "b"}, True),
        ({"StringEquals": {"s3:prefix": "a*"}}, {"s3:prefix": "ab"}, False),
        ({"StringEquals": {"s3:prefix": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {"s3:prefix": "b"}, False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": "b"}, False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": "c"}, True),
        ({"StringNotEquals": {"s3:prefix": "a"}}, {}, True),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "A"}}, {"s3:prefix": "a"}, True),
        ({"StringNotEqualsIgnoreCase": {"s3:prefix": "A"}}, {"s3:prefix": "a"}, False),
        ({"StringLike": {"s3:prefix": "raw/*"}}, {"s3:prefix": "raw/x"}, True),
        ({"StringLike": {"s3:prefix": "raw/?"}}, {"s3:prefix": "raw/"}, False),
        ({"StringNotLike": {"s3:prefix": "raw/*"}}, {"s3:prefix": "raw/x"}, False),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
        ({"NumericGreaterThan": {"s3:max-keys": 10}}, {"s3:max-keys": 10}, False),
        ({"NumericNotEquals": {"s3:max-keys": "1"}}, {"s3:max-keys": "1.0"}, False),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3:max-keys": "many"}, False),
        (
            {"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}},
            {"aws:CurrentTime": "2025-12-31T23:59:59Z"},
            True,
        ),
        (
            {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}},
            {"aws:CurrentTime": "2025-12-31T23:59:59Z"},
            False,
        ),
        ({"DateEquals": {"aws:EpochTime": "0"}}, {"aws:EpochTime": "1970-01-01T00:00:00Z"}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": True}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": False}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}, {}, True),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.9"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.114.9"}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:*:events:*:*:rule/d*"}}, {"aws:SourceArn": f"{RULE}-x"}, True),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:events:*:rule/demo"}}, {"aws:SourceArn": RULE}, False),
        ({"ArnNotLike": {"aws:SourceArn": "arn:aws:events:*:*:rule/*"}}, {"aws:SourceArn": RULE}, False),
        ({"Null": {"aws:RequestTag/Project": "true"}}, {}, True),
        ({"Null": {"aws:RequestTag/Project": "false"}}, {}, False),
        ({"Null": {"aws:RequestTag/Project": "true"}}, {"aws:RequestTag/Project": "x"}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {}, True),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a"]}}, {"aws:TagKeys": ["a", "b"]}, False),
        ({"ForAnyValue:StringLike": {"aws:TagKeys": ["a*"]}}, {"aws:TagKeys": ["b", "ab"]}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}, {"aws:TagKeys": ["a", "b"]}, True),
        ({"StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}}, {"s3:prefix": "a"}, False),
        ({"StringEquals": {"s3:prefix": "a"}, "Null": {"s3:delimiter": "true"}}, {"s3:prefix": "a"}, True),
    ],
)  # fmt: skip
def test_a_condition_holds_as_the_user_guide_says(condition: dict, context: dict, holds: bool) -> None:
    assert decided(allow(Condition=condition), **context).allowed == holds


@pytest.mark.parametrize(
    ("wanted", "context", "fits"),
    [
        ("arn:aws:s3:::data/${aws:username}/*", {"aws:username": "raw"}, True),
        ("arn:aws:s3:::data/${aws:username}/*", {"aws:username": "other"}, False),
        ("arn:aws:s3:::data/${aws:username}/*", {"aws:username": "*"}, False),
        ("arn:aws:s3:::data/${aws:username}/*", {}, False),
        ("arn:aws:s3:::data/${aws:username, 'raw'}/*", {}, True),
        ("arn:aws:s3:::data/${aws:PrincipalTag/team}/*", {"aws:PrincipalTag/team": "raw"}, True),
        ("arn:aws:s3:::data/${*}/*", {}, False),
    ],
)
def test_a_variable_stands_for_its_value_to_the_letter(wanted: str, context: dict, fits: bool) -> None:
    assert decided(allow(GET, wanted), **context).allowed == fits


def test_a_variable_in_a_condition_is_filled_in() -> None:
    statement = allow(Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}})
    assert decided(statement, **{"s3:prefix": "home/ana/x", "aws:username": "ana"}).allowed
    assert not decided(statement, **{"s3:prefix": "home/bob/x", "aws:username": "ana"}).allowed


def test_an_explicit_deny_wins_wherever_it_stands_and_is_named() -> None:
    allowed = (policy("all", document(allow())),)
    refusing = policy("never", document(deny(GET, Sid="NoReads")))
    for kind, words in (
        ("identity", "in an identity-based policy"),
        ("boundary", "in a permissions boundary"),
        ("session", "in a session policy"),
    ):
        policies = Policies(
            **({"identity": allowed, "boundary": allowed, "session": allowed} | {kind: (*allowed, refusing)})
        )
        decision = decide(policies, GET, OBJECT, {}, SESSION)
        assert decision == Decision(False, f"with an explicit deny {words}", "never", "NoReads")


def test_what_allows_is_named_by_policy_and_statement() -> None:
    assert decided(allow("sqs:*"), allow("s3:Put*"), allow("s3:Get*")).statement == "statement 3"
    assert decided(allow("sqs:*"), allow("s3:Get*", Sid="Read")) == Decision(
        True, "by identity-based policy", "p", "Read"
    )


def test_what_nothing_allows_is_denied_in_aws_words() -> None:
    decision = decided(allow("s3:PutObject"))
    assert decision.reason == "because no identity-based policy allows the s3:GetObject action"


@pytest.mark.parametrize(
    ("statement", "action", "resource", "allowed"),
    [
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, GET, OBJECT, True),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "iam:CreateRole", ROLE, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::data/*"}, GET, OBJECT, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::other/*"}, GET, OBJECT, True),
    ],
)
def test_a_not_element_means_all_others(statement: dict, action: str, resource: str, allowed: bool) -> None:
    assert decided(statement, action=action, resource=resource).allowed == allowed


def test_a_deny_with_not_resource_denies_all_others() -> None:
    others = {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::data/*"}
    assert decided(allow(), others).allowed
    assert not decided(allow(), others, resource="arn:aws:s3:::other/a").allowed


@pytest.mark.parametrize("kind", ["boundary", "session"])
def test_a_boundary_and_a_session_policy_only_narrow(kind: str) -> None:
    wide, narrow = (policy("wide", document(allow())),), (policy("narrow", document(allow("s3:Get*"))),)
    policies = Policies(identity=wide, **{kind: narrow})
    assert decide(policies, GET, OBJECT, {}, SESSION).policy == "wide"
    words = {"boundary": "permissions boundary", "session": "session policy"}[kind]
    refused = decide(policies, "s3:PutObject", OBJECT, {}, SESSION)
    assert refused.reason == f"because no {words} allows the s3:PutObject action"
    assert not decide(Policies(**{kind: wide}), GET, OBJECT, {}, SESSION).allowed


ORDERS = [
    # principal of the policy of the resource, boundary that allows nothing, who asks, allowed
    ({"AWS": ROLE}, False, SESSION, True),
    ({"AWS": ROLE}, True, SESSION, False),
    ({"AWS": SESSION.arn}, True, SESSION, True),
    ({"AWS": USER.arn}, True, USER, True),
    ("*", False, SESSION, True),
    ("*", True, SESSION, False),
    ({"AWS": "*"}, False, USER, True),
    ({"AWS": "*"}, False, Principal("events", service="events.amazonaws.com"), True),
    ({"AWS": ACCOUNT}, False, SESSION, False),
    ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, False, SESSION, False),
    ({"AWS": "arn:aws:iam::210987654321:root"}, False, SESSION, False),
    ({"AWS": [USER.arn, ROLE]}, False, SESSION, True),
    ({"Service": "events.amazonaws.com"}, False, SESSION, False),
    ({"Service": "events.amazonaws.com"}, False, Principal("events", service="events.amazonaws.com"), True),
]


@pytest.mark.parametrize(("element", "bounded", "who", "allowed"), ORDERS)
def test_a_resource_policy_allows_whom_it_names(
    element: object, bounded: bool, who: Principal, allowed: bool
) -> None:
    of_queue = policy("queue", document(allow("sqs:SendMessage", QUEUE, Principal=element)))
    boundary = (policy("nothing", document(deny("x:y"))),) if bounded else ()
    decision = decide(Policies(resource=(of_queue,), boundary=boundary), "sqs:SendMessage", QUEUE, {}, who)
    assert decision.allowed == allowed


def test_a_resource_policy_denies_the_whole_account_by_its_root() -> None:
    of_queue = policy("queue", document(deny(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})))
    everything = (policy("all", document(allow())),)
    decision = decide(Policies(everything, resource=(of_queue,)), "sqs:SendMessage", QUEUE, {}, SESSION)
    assert decision.reason == "with an explicit deny in a resource-based policy"


def test_a_deny_for_not_principal_spares_only_whom_it_names() -> None:
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "NotPrincipal": {"AWS": [ROLE]}}
    of_queue, everything = policy("queue", document(statement)), (policy("all", document(allow())),)
    policies = Policies(everything, resource=(of_queue,))
    assert decide(policies, "sqs:SendMessage", QUEUE, {}, SESSION).allowed
    assert not decide(policies, "sqs:SendMessage", QUEUE, {}, USER).allowed


def test_a_bucket_that_wants_tls_refuses_plain_http_only() -> None:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    of_bucket = policy("bucket", document(deny("s3:*", Principal="*", Condition=condition)))
    policies = Policies((policy("all", document(allow())),), resource=(of_bucket,))
    assert decide(policies, GET, OBJECT, {"aws:SecureTransport": True}, SESSION).allowed
    assert not decide(policies, GET, OBJECT, {"aws:SecureTransport": False}, SESSION).allowed


@pytest.mark.parametrize(
    ("element", "identity", "allowed"),
    [
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, True, True),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, False, False),
        ({"AWS": ACCOUNT}, True, True),
        ({"AWS": ROLE}, False, True),
        ({"AWS": USER.arn}, True, False),
    ],
)
def test_a_key_must_allow_whatever_the_identity_has(element: dict, identity: bool, allowed: bool) -> None:
    of_key = policy("key", document(allow("kms:*", Principal=element)))
    mine = (policy("all", document(allow())),) if identity else ()
    policies = Policies(mine, resource=(of_key,), resource_must_allow=True)
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"
    assert decide(policies, "kms:Decrypt", key, {}, SESSION).allowed == allowed


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (allow(Condition={"BinaryEquals": {"s3:prefix": "a"}}), "the condition operator BinaryEquals"),
        (deny(Condition={"StringEquals": {"s3:signatureage": "1"}}), "the condition key s3:signatureage"),
        (deny(Condition={"StringEquals": {"aws:ResourceTag/Project": "x"}}), "aws:ResourceTag/Project"),
        (allow(GET, "arn:aws:s3:::data/${aws:FederatedProvider}/*"), "aws:FederatedProvider"),
    ],
)
def test_what_is_not_evaluated_is_refused_by_name(statement: dict, named: str) -> None:
    decision = decided(allow("s3:Get*"), statement | {"Sid": "Odd"})
    assert not decision.allowed
    assert named in decision.reason
    assert decision.reason.endswith("(p, Odd)")


def test_what_is_not_evaluated_hinders_no_request_that_it_is_not_about() -> None:
    odd = deny("sqs:*", Condition={"StringEquals": {"s3:signatureage": "1"}})
    assert decided(allow(), odd).allowed


def test_a_variable_in_an_old_policy_is_refused_by_name() -> None:
    old = json.dumps({"Version": "2008-10-17", "Statement": [allow(GET, "arn:aws:s3:::${aws:username}/*")]})
    decision = decide(Policies((policy("old", old),)), GET, OBJECT, {"aws:username": "data"})
    assert "Version is not 2012-10-17 (old, statement 1)" in decision.reason
