"""Roles of a local AWS that enforces IAM, and clients with their permissions."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import REGION, Server
from local_requests import ACCOUNT, name

LOADER = botocore.loaders.create_loader()  # shared, for a session reads each service's model anew
SAGEMAKER = {"Service": "sagemaker.amazonaws.com"}
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*statements]})


def allow(action: object, resource: object = "*", **condition: dict) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource} | (
        {"Condition": condition} if condition else {}
    )


def trust(*principals: dict, action: str = "sts:AssumeRole", **condition: dict) -> str:
    more = {"Condition": condition} if condition else {}
    return document(*({"Effect": "Allow", "Principal": who, "Action": action} | more for who in principals))


def session_of(keys: dict) -> boto3.Session:
    token, session = keys.get("SessionToken"), botocore.session.Session()
    session.register_component("data_loader", LOADER)
    key, secret = keys["AccessKeyId"], keys["SecretAccessKey"]
    return boto3.Session(key, secret, token, region_name=REGION, botocore_session=session)


def client(server: Server, session: boto3.Session, service: str) -> Any:
    config = Config(proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return session.client(service, endpoint_url=server.endpoint, config=config)


class Enforcing:
    """A server that enforces IAM, as its account's root."""

    def __init__(self, server: Server) -> None:
        self.server, self.endpoint = server, server.endpoint
        self._session = session_of({"AccessKeyId": "AKIALOCALAWS00000000", "SecretAccessKey": "local"})
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = client(self.server, self._session, service)
        return self._clients[service]

    def denials(self) -> list[dict]:
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"))
        connection.request("GET", "/local-aws/denials")
        return json.loads(connection.getresponse().read())["denials"]


class Role:
    """A role of the server, and clients with a session of it."""

    def __init__(self, server: Enforcing, *statements: dict, trusted: str = trust(SAGEMAKER, ROOT)) -> None:
        self.server, self.name = server, name("role")
        self._session: boto3.Session | None = None
        made = server.client("iam").create_role(RoleName=self.name, AssumeRolePolicyDocument=trusted)
        self.arn = made["Role"]["Arn"]
        self.allow(*statements)

    def allow(self, *statements: dict) -> None:
        """Gives it these permissions in the place of those that it had."""
        if statements:
            policy = document(*statements)
            iam = self.server.client("iam")
            iam.put_role_policy(RoleName=self.name, PolicyName="granted", PolicyDocument=policy)

    def client(self, service: str) -> Any:
        self._session = self._session or self.assumed()
        return client(self.server.server, self._session, service)

    @property
    def key(self) -> str:
        """The access key of its session."""
        self._session = self._session or self.assumed()
        return self._session.get_credentials().access_key

    def assumed(self, **more: object) -> boto3.Session:
        """A session of the role, which the account's root opened."""
        sts = self.server.client("sts")
        return session_of(sts.assume_role(RoleArn=self.arn, RoleSessionName="test", **more)["Credentials"])


def refused(call: Callable[..., object], **request: object) -> str:
    """The message of the refusal."""
    with pytest.raises(ClientError, match="AccessDenied") as error:
        call(**request)
    return error.value.response["Error"]["Message"]
