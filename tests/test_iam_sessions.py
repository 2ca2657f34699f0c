"""A local AWS with --enforce-iam: who gets a session of a role, and what it is worth."""

from __future__ import annotations

import base64
import json
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import REGION
from iam_roles import ROOT, SAGEMAKER, Enforcing, Role, allow, client, document, refused, session_of, trust
from local_requests import ACCOUNT

pytest_plugins = ["enforcing"]


def test_a_session_policy_narrows_its_session_only(enforcing: Enforcing) -> None:
    role = Role(enforcing, allow("iam:List*"))
    narrow = client(enforcing.server, role.assumed(Policy=document(allow("iam:ListUsers"))), "iam")
    assert "Users" in narrow.list_users()
    assert "because no session policy allows" in refused(narrow.list_roles)
    assert role.client("iam").list_roles()["Roles"]


def test_a_session_that_is_over_is_refused(enforcing: Enforcing) -> None:
    role = Role(enforcing, allow("*"))
    config = Config(proxies={}, parameter_validation=False)
    sts = boto3.Session("AKIALOCALAWS00000000", "local", region_name=REGION).client(
        "sts", endpoint_url=enforcing.endpoint, config=config
    )
    keys = sts.assume_role(RoleArn=role.arn, RoleSessionName="short", DurationSeconds=1)["Credentials"]
    iam = client(enforcing.server, session_of(keys), "iam")
    time.sleep(1.1)
    with pytest.raises(ClientError, match=r"\(ExpiredToken\)"):
        iam.list_roles()


@pytest.mark.parametrize(
    ("trusted", "granted", "allowed"),
    [
        ([ROOT], True, True),
        ([ROOT], False, False),
        ([SAGEMAKER], True, False),
        ([{"AWS": "caller"}], False, True),
    ],
)
def test_a_role_is_assumed_by_whom_it_trusts(
    enforcing: Enforcing, trusted: list[dict], granted: bool, allowed: bool
) -> None:
    caller = Role(enforcing)
    who = [{"AWS": caller.arn} if each == {"AWS": "caller"} else each for each in trusted]
    target = Role(enforcing, trusted=trust(*who))
    if granted:
        caller.allow(allow("sts:AssumeRole", target.arn))
    assume = caller.client("sts").assume_role
    if allowed:
        assert assume(RoleArn=target.arn, RoleSessionName="ab")["AssumedRoleUser"]["Arn"]
    else:
        assert "sts:AssumeRole" in refused(assume, RoleArn=target.arn, RoleSessionName="ab")


GITHUB = "token.actions.githubusercontent.com"


def token(**claims: object) -> str:
    body = {"iss": f"https://{GITHUB}", "aud": "sts.amazonaws.com", "exp": time.time() + 600} | claims
    parts = [{"alg": "RS256"}, body, "signature"]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


@pytest.fixture(scope="session")
def deployer(enforcing: Enforcing) -> Role:
    """A role that main of one repository may assume through GitHub's provider."""
    enforcing.client("iam").create_open_id_connect_provider(
        Url=f"https://{GITHUB}", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40]
    )
    provider = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"}
    condition = {
        "StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{GITHUB}:sub": "repo:me/demo:ref:refs/heads/main"},
    }
    trusted = trust(provider, action="sts:AssumeRoleWithWebIdentity", **condition)
    return Role(enforcing, allow("iam:ListRoles"), trusted=trusted)


def assumed_by_token(role: Role, text: str) -> dict:
    sts = boto3.Session(region_name=REGION).client(
        "sts", endpoint_url=role.server.endpoint, config=Config(proxies={}, signature_version="unsigned")
    )
    return sts.assume_role_with_web_identity(RoleArn=role.arn, RoleSessionName="ci", WebIdentityToken=text)[
        "Credentials"
    ]


def test_the_right_repository_gets_a_session_by_its_token(deployer: Role) -> None:
    keys = assumed_by_token(deployer, token(sub="repo:me/demo:ref:refs/heads/main"))
    iam = client(deployer.server.server, session_of(keys), "iam")
    assert iam.list_roles()["Roles"]
    refused(iam.list_users)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "repo:me/other:ref:refs/heads/main"}, "AccessDenied"),
        ({"sub": "repo:me/demo:ref:refs/heads/x"}, "AccessDenied"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "aud": "elsewhere"}, "InvalidIdentityToken"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "iss": "https://gitlab.com"}, "InvalidIdentityToken"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "exp": 1}, "ExpiredToken"),
        ({}, "InvalidIdentityToken"),
    ],
)
def test_another_token_gets_none(deployer: Role, claims: dict, code: str) -> None:
    with pytest.raises(ClientError) as error:
        assumed_by_token(deployer, token(**claims))
    assert error.value.response["Error"]["Code"].startswith(code)


def test_a_token_of_a_provider_opens_no_role_that_trusts_a_service_only(deployer: Role) -> None:
    other = Role(deployer.server)
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        assumed_by_token(other, token(sub="repo:me/demo:ref:refs/heads/main"))
