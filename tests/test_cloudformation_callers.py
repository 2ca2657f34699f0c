"""Who deploys stacks: the AWS CLI, and roles that may do only so much."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from conftest import REGION, Server, started
from local_requests import ACCOUNT, name
from test_cloudformation import Stacks, queue, role, template


def test_aws_cloudformation_deploy(server: Server, aws_cli: Path, tmp_path: Path) -> None:
    stack, file, stacks = name("cli"), tmp_path / "queue.json", Stacks(server)
    parameter = {"Delay": {"Type": "Number", "Default": 1}}
    resources = {"Queue": queue(stack, DelaySeconds={"Ref": "Delay"}), "Role": role(stack)}
    file.write_text(template(resources, Parameters=parameter))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000", "AWS_SECRET_ACCESS_KEY": "local"}
    endpoint = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
    }

    def deploy(*options: str) -> str:
        command = [aws_cli, "cloudformation", "deploy", "--stack-name", stack, "--template-file", file]
        command += ["--capabilities", "CAPABILITY_NAMED_IAM", "--tags", "Project=demo", *options]
        environment = {**kept, **keys, **endpoint}
        time.sleep(1 - time.time() % 1)  # the AWS CLI names a change set by the second
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"Successfully created/updated stack - {stack}" in deploy()
    assert stacks.queue_attributes(stack)["DelaySeconds"] == "1"
    assert "No changes to deploy" in deploy("--no-fail-on-empty-changeset")
    assert "Successfully created/updated" in deploy("--parameter-overrides", "Delay=5")
    assert stacks.queue_attributes(stack)["DelaySeconds"] == "5"
    assert stacks.described(stack)["Tags"] == [{"Key": "Project", "Value": "demo"}]


@pytest.fixture
def enforcing(tmp_path: Path) -> Iterator[Server]:
    running = started(tmp_path / "aws", "--enforce-iam")
    yield running
    running.end()


def test_resources_are_made_with_the_permissions_of_the_caller(enforcing: Server) -> None:
    iam = enforcing.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    allowed = {"Effect": "Allow", "Action": ["cloudformation:*", "sqs:*"], "Resource": "*"}
    for document, call in (
        (trust, lambda text: iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=text)),
        (allowed, lambda text: iam.put_role_policy(RoleName="deployer", PolicyName="x", PolicyDocument=text)),
    ):
        call(json.dumps({"Version": "2012-10-17", "Statement": [document]}))
    arn = f"arn:aws:iam::{ACCOUNT}:role/deployer"
    given = enforcing.client("sts").assume_role(RoleArn=arn, RoleSessionName="deploys")["Credentials"]
    session = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION
    )
    stacks = Stacks(enforcing)
    stacks.api = session.client("cloudformation", endpoint_url=enforcing.endpoint, config=Config(proxies={}))
    assert stacks.create("allowed", template({"Queue": queue("allowed")})) == "CREATE_COMPLETE"
    resources = {"Queue": queue("denied"), "Role": role("denied") | {"DependsOn": "Queue"}}
    assert stacks.create("denied", template(resources)) == "ROLLBACK_COMPLETE"
    assert not stacks.role_exists("denied")
    assert not stacks.queue_exists("denied")
