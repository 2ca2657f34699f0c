"""Credentials that AWS does not accept are told in one sentence, before anything is done."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber

from ml_pipeline.cloud import access
from ml_pipeline.errors import InputError


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ExpiredToken", "the AWS credentials have expired: renew them, for example `aws sso login`"),
        ("ExpiredTokenException", "the AWS credentials have expired"),
        ("InvalidClientTokenId", r"AWS does not accept the credentials \(InvalidClientTokenId\)"),
        ("SignatureDoesNotMatch", "AWS does not accept the credentials"),
    ],
)
def test_credentials_that_aws_refuses_are_bad_input(code, sentence):
    client = boto3.client("sts", "eu-west-1", aws_access_key_id="A", aws_secret_access_key="b")
    with Stubber(client) as stub, pytest.raises(InputError, match=sentence):
        stub.add_client_error("get_caller_identity", code, "The security token included is expired")
        access._identity(client)


def test_credentials_that_aws_accepts_tell_whose_they_are():
    client = boto3.client("sts", "eu-west-1", aws_access_key_id="A", aws_secret_access_key="b")
    answer = {
        "Account": "123456789012",
        "Arn": "arn:aws:iam::123456789012:user/ana",
        "UserId": "AIDAANAANAANAANA",
    }
    with Stubber(client) as stub:
        stub.add_response("get_caller_identity", answer)
        assert access._identity(client)["Account"] == "123456789012"


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
