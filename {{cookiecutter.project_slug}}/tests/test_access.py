"""Credentials that AWS does not accept are told in one sentence, before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from botocore.stub import Stubber

from ml_pipeline.cloud import access
from ml_pipeline.errors import InputError


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """STS that answers what it is told to."""
    client = boto3.client("sts", "eu-west-1", aws_access_key_id="A", aws_secret_access_key="b")
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    with Stubber(client) as stub:
        yield stub


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ExpiredToken", "the AWS credentials have expired: renew them, for example `aws sso login`"),
        ("ExpiredTokenException", "the AWS credentials have expired"),
        ("InvalidClientTokenId", r"AWS does not accept the credentials \(InvalidClientTokenId\)"),
        ("SignatureDoesNotMatch", "AWS does not accept the credentials"),
    ],
)
def test_credentials_that_aws_refuses_are_bad_input(sts, code, sentence):
    sts.add_client_error("get_caller_identity", code, "The security token included is expired")
    with pytest.raises(InputError, match=sentence):
        access._identity("eu-west-1")


def test_credentials_that_aws_accepts_tell_whose_they_are(sts):
    arn = "arn:aws:iam::123456789012:user/ana"
    answer = {"Account": "123456789012", "Arn": arn, "UserId": "AIDAANAANAANAANA"}
    sts.add_response("get_caller_identity", answer)
    assert access._identity("eu-west-1")["Arn"] == arn


ANA = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ana", "UserId": "AIDAANAANAANAANA"}


@pytest.fixture
def connected(sts, settings, monkeypatch):
    """Settings that `connect` returns, with Ana's credentials and this region in her environment."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    def run(account, region=""):
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
        if region:
            monkeypatch.setenv("AWS_REGION", region)
        sts.add_response("get_caller_identity", ANA)
        return access.connect(settings(deploy={"account": account}))

    return run


@pytest.mark.parametrize("account", ["", "123456789012"])
@pytest.mark.parametrize("region", ["", "eu-west-1"])
def test_a_command_works_in_the_account_of_the_credentials(connected, account, region, capsys):
    assert connected(account, region).account == "123456789012"
    assert capsys.readouterr().out.startswith("loans-local: account 123456789012, region eu-west-1, ")


@pytest.mark.parametrize(
    ("account", "region", "sentence"),
    [
        ("210987654321", "", "the credentials are of account 123456789012, local is in 210987654321 "),
        ("", "us-east-1", "AWS_REGION or the profile says us-east-1, local is in eu-west-1 "),
    ],
)
def test_credentials_of_another_account_or_region_do_nothing(connected, account, region, sentence):
    with pytest.raises(InputError) as refused:
        connected(account, region)
    assert sentence in str(refused.value) and str(refused.value).endswith("nothing was done")


@pytest.mark.parametrize(
    ("env", "suffix", "sentence"),
    [
        ("local", "", "--env must be one of dev, staging, prod, got 'local'"),
        ("prdo", "", "--env must be one of dev, staging, prod, got 'prdo'"),
        ("prod", "ana", "--suffix makes a private copy of dev alone, got --env prod"),
        ("dev", "Ana", "--suffix must be 1 to 22 of a-z and 0-9, got 'Ana'"),
        ("dev", "a" * 23, "--suffix must be 1 to 22 of a-z and 0-9, got"),
    ],
)
def test_an_environment_that_is_none_of_the_cloud_is_refused(env, suffix, sentence, settings, monkeypatch):
    monkeypatch.setattr(access, "load", lambda name: replace(settings(), env=name))
    with pytest.raises(InputError) as refused:
        access.settings_of(env, suffix)
    assert sentence in str(refused.value)


def test_a_private_copy_has_its_suffix_in_every_name(settings, monkeypatch):
    monkeypatch.setattr(access, "load", lambda name: replace(settings(), env=name))
    assert access.settings_of("dev", "a" * 22).prefix == f"loans-dev-{'a' * 22}"
    assert access.settings_of("dev").prefix == "loans-dev"
