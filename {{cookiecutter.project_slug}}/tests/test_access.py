"""Credentials that AWS does not accept are told in one sentence, before anything is done."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.mark.parametrize(
    ("env", "suffix", "sentence"),
    [
        ("local", "", "--env must be one of dev, staging, prod, got 'local'"),
        ("prdo", "", "--env must be one of dev, staging, prod, got 'prdo'"),
    ],
)
def test_an_environment_that_is_none_of_the_cloud_is_refused(env, suffix, sentence):
    with pytest.raises(InputError) as refused:
        access.settings_of(env, suffix)
    assert sentence in str(refused.value)
