"""A project deployed into a local AWS that enforces IAM, where each role does all that it is for."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from conftest import REGION
from operating import push_image
from started_by_itself import ask
from templates import INFRA
from waiting import until

ACCOUNT = "123456789012"
BUCKET = f"demo-dev-{ACCOUNT}-{REGION}"
REPOSITORY = "acme/demo"
HOST = "token.actions.githubusercontent.com"
PROPOSED, BRANCH = f"repo:{REPOSITORY}:pull_request", f"repo:{REPOSITORY}:ref:refs/heads/main"
ROOT = {"AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000", "AWS_SECRET_ACCESS_KEY": "local"}
COMMAND_SECONDS, EXECUTION_SECONDS = 120, 240
HOUR, DAY = 3600, 86400
SCORED, ROWS = "2026-01-05", 500
CHANGED = 3  # exit code of `plan`
BASE = "python"  # repository of the company's own base image
# Every option that gives a role a statement more: a key, secrets, private networks. And little to compute.
SETTINGS = (
    (r"^trials = 4 ", "trials = 2 "),
    ('^early_stopping = "Auto"', 'early_stopping = "Off"'),
    ("^num_round = 400 ", "num_round = 200 "),
    ("^checkpoint_rounds = 150 ", "checkpoint_rounds = 20 "),
    ("^bootstrap_samples = 200 ", "bootstrap_samples = 20 "),
    ("^attribution_rows = 1000 ", "attribution_rows = 50 "),
    ("^ft_rows = 10000 ", "ft_rows = 500 "),
    ("^vpc_only = false", "vpc_only = true"),
    ('^email = ""', 'email = "ml@example.com"'),
    ('^train = "cron.*?"', 'train = "rate(7 days)"'),
    ('^score = "cron.*?"', 'score = ""'),
    ("^flexible_minutes = 15", "flexible_minutes = 0"),
)
# Train reads a secret, as a step of somebody's own might.
SECRET_IS_READ = (
    r"^    plan = boosting.training_plan\(best, settings\)$",
    '    secrets.secret("token", settings)\n    plan = boosting.training_plan(best, settings)',
)
IMPORTED = (
    "^from ml_pipeline import encoded, metrics,",
    "from ml_pipeline import encoded, metrics, secrets,",
)


def token(subject: str, audience: str = "sts.amazonaws.com") -> str:
    """What GitHub gives a job to show; the local AWS does not check its signature."""
    claims = {"iss": f"https://{HOST}", "aud": audience, "sub": subject, "exp": int(time.time()) + 600}
    parts = [{"alg": "RS256", "typ": "JWT"}, claims, {}]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


@dataclass
class World:
    """A generated project and the local AWS that its commands speak to.

    told: what CI's commands printed. denied, allowed: what was so until the end of the story.
    """

    project: Path
    environment: dict[str, str]
    endpoint: str
    told: dict[str, str] = field(default_factory=dict)
    denied: list[dict[str, Any]] = field(default_factory=list)
    allowed: list[dict[str, Any]] = field(default_factory=list)

    def client(self, service: str, keys: dict[str, str] = ROOT) -> Any:
        session = boto3.Session(
            keys["AWS_ACCESS_KEY_ID"],
            keys["AWS_SECRET_ACCESS_KEY"],
            keys.get("AWS_SESSION_TOKEN"),
            region_name=REGION,
        )
        config = Config(proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return session.client(service, endpoint_url=self.endpoint, config=config)

    def with_token(self, role: str, subject: str) -> dict[str, str]:
        """Keys of a role that a CI job gets for its token."""
        sts = boto3.client(
            "sts", region_name=REGION, endpoint_url=self.endpoint, config=Config(signature_version=UNSIGNED)
        )
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        given = sts.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName="ci", WebIdentityToken=token(subject)
        )
        return as_variables(given["Credentials"])

    def as_root_assumes(self, role: str) -> dict[str, str]:
        """Keys of a role that trusts services alone; the account's root is asked for nothing here."""
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        return as_variables(
            self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        )

    def command(self, keys: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the project, typed with these keys."""
        return subprocess.run(
            [sys.executable, "-m", "ml_pipeline", *words],
            cwd=self.project,
            env=self.environment | keys,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def done(self, keys: dict[str, str], *words: str, code: int = 0) -> str:
        """What a command that ends with `code` printed."""
        ended = self.command(keys, *words)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout

    def edit(self, path: str, *edits: tuple[str, str]) -> None:
        file = self.project / path
        text = file.read_text()
        for pattern, wanted in edits:
            text, count = re.subn(pattern, lambda _, wanted=wanted: wanted, text, count=1, flags=re.MULTILINE)
            assert count == 1, pattern
        file.write_text(text)

    def record(self, name: str) -> list[dict[str, Any]]:
        """`denials` or `allowed`."""
        return ask(self.endpoint, name)[name]

    def executions(self, pipeline: str = "train") -> list[dict[str, Any]]:
        """Those of the pipeline, the oldest first."""
        answer = self.client("sagemaker").list_pipeline_executions(
            PipelineName=f"demo-dev-{pipeline}", SortOrder="Ascending"
        )
        return answer["PipelineExecutionSummaries"]

    def ended(self, number: int, pipeline: str = "train") -> dict[str, Any]:
        """The execution of this number, counted from 0, once it has ended."""
        deadline = time.monotonic() + EXECUTION_SECONDS
        while time.monotonic() < deadline:
            listed = self.executions(pipeline)
            if len(listed) > number and listed[number]["PipelineExecutionStatus"] not in (
                "Executing",
                "Stopping",
            ):
                return listed[number]
            time.sleep(0.2)
        raise TimeoutError(f"execution {number} has not ended: {self.executions(pipeline)}")

    def parameters(self, execution: dict[str, Any]) -> dict[str, str]:
        answer = self.client("sagemaker").list_pipeline_parameters_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return {each["Name"]: each["Value"] for each in answer["PipelineParameters"]}

    def steps(self, execution: dict[str, Any]) -> dict[str, str]:
        answer = self.client("sagemaker").list_pipeline_execution_steps(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return {each["StepName"]: each["StepStatus"] for each in answer["PipelineExecutionSteps"]}


def as_variables(given: dict[str, str]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


@contextmanager
def enforced(project: Path) -> Iterator[World]:
    """A local AWS with --enforce-iam beside the project."""
    command = [
        sys.executable,
        "-m",
        "local_aws",
        "--port",
        "0",
        "--state",
        ".local_aws/cloud",
        "--enforce-iam",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    kept |= {"LOCAL_AWS_REPEAT_EVENTS_EVERY": "0"}
    with (
        (project / "server.log").open("w") as log,
        subprocess.Popen(
            command, cwd=project, env=kept, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            endpoint = server.stdout.readline().split()[-1]
            nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
            aws = {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION}
            path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
            yield World(project, kept | aws | nowhere | path, endpoint)
        finally:
            server.terminate()


def prepare(world: World) -> None:
    """What a person does once: settings, a secret, all stacks and the raw data."""
    world.edit("settings.toml", *SETTINGS)
    secret = world.client("secretsmanager").create_secret(Name="demo-token", SecretString="hush")["ARN"]
    world.edit("settings.toml", (r"^\[secrets\].*", f'[secrets]\ntoken = "{secret}"'))
    lines = "\n".join(f'{name} = "{value}"' for name, value in deploy_parameters(world).items())
    world.edit("settings.toml", (r"^\[deploy.parameters\].*", f"[deploy.parameters]\n{lines}"))
    world.done(ROOT, "deploy", "--env", "dev")
    world.done(ROOT, "upload", "data/sample.csv", "--env", "dev")
    create_ci(world)


def deploy_parameters(world: World) -> dict[str, str]:
    """A key for the data, and for the image's build a base image, a package index and a network."""
    ecr, ec2 = world.client("ecr"), world.client("ec2")
    base = ecr.create_repository(repositoryName=BASE)["repository"]
    push_image(ecr, BASE, "slim")
    index = world.client("secretsmanager").create_secret(Name="pip-conf", SecretString="[global]\n")["ARN"]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="builds", Description="builds", VpcId=vpc)["GroupId"]
    return {
        "CreateKmsKey": "true",
        "BaseImage": f"{base['repositoryUri']}:slim",
        "BaseRepositoryArn": base["repositoryArn"],
        "PipConfSecretArn": index,
        "BuildVpcId": vpc,
        "BuildSubnetIds": ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"],
        "BuildSecurityGroupIds": group,
    }


def create_ci(world: World) -> None:
    """CI's roles; and another project's CodePipeline, of which only the weekly test starts here."""
    (foundation,) = world.client("cloudformation").describe_stacks(StackName="demo-dev-foundation")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in foundation["Outputs"]}
    values = {
        "Project": "demo",
        "Provider": "github",
        "Repository": REPOSITORY,
        "KmsKeyArns": outputs["KmsKeyArn"],
    }
    create(world, "demo-ci", "ci.yaml", values)
    create(world, "piped-ci", "codepipeline.yaml", {"Project": "piped", "Repository": REPOSITORY})


def create(world: World, stack: str, file: str, values: dict[str, str]) -> None:
    world.client("cloudformation").create_stack(
        StackName=stack,
        TemplateBody=(INFRA / file).read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    settled(world, stack, "create")


def settled(world: World, stack: str, kind: str) -> None:
    waiter = world.client("cloudformation").get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def forget_what_ci_deploys(world: World) -> None:
    """As before CI's first deployment: no triggers, no pipelines."""
    world.client("cloudformation").delete_stack(StackName="demo-dev-triggers")
    settled(world, "demo-dev-triggers", "delete")
    for pipeline in ("train", "score"):
        world.client("sagemaker").delete_pipeline(PipelineName=f"demo-dev-{pipeline}")


def story(world: World) -> None:
    """All that CI and the pipelines do, each as its role."""
    forget_what_ci_deploys(world)
    deploys, plans = world.with_token("demo-deploy", BRANCH), world.with_token("demo-plan", PROPOSED)
    world.told["created"] = world.done(deploys, "deploy", "--env", "dev", "--ci")
    world.edit("ml_pipeline/steps/train.py", SECRET_IS_READ, IMPORTED)
    world.edit("settings.toml", ('^train = "rate.*?"', 'train = "rate(9 days)"'))
    world.told["planned"] = world.done(plans, "plan", "--env", "dev", code=CHANGED)
    world.told["updated"] = world.done(deploys, "deploy", "--env", "dev", "--ci")
    change_to_and_fro(world, deploys)
    world.told["planned again"] = world.done(plans, "plan", "--env", "dev")
    interrupted = {"kind": "interrupt", "job_prefix": "demo-dev-train", "after_log": r"^\[45\]"}
    ask(world.endpoint, "faults", interrupted)
    ask(world.endpoint, "clock", {"advance_seconds": 9 * DAY})
    world.ended(0)
    drift(world)
    world.ended(1)
    cannot_be_delivered(world)
    world.done(ROOT, "approve", "1", "--env", "dev")
    world.done(ROOT, "start", "--env", "dev")
    world.ended(2)
    score(world)
    world.denied, world.allowed = world.record("denials"), world.record("allowed")


def score(world: World) -> None:
    """New rows, then the same once more, with labels that have come meanwhile."""
    with (world.project / "data" / "sample.csv").open() as file:
        rows = list(csv.DictReader(file))[:ROWS]
    labels = ["applicant_id", "approved"]
    given = {"score": ("rows.csv", [name for name in rows[0] if name != "approved"])}
    given["truth"] = ("labels.csv", labels)
    for number, (to, (name, columns)) in enumerate(given.items()):
        with (world.project / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        world.done(ROOT, "upload", name, "--env", "dev", "--to", to, "--period", SCORED)
        world.done(ROOT, "start", "--env", "dev", "--pipeline", "score", "--set", f"Period={SCORED}")
        world.ended(number, "score")


def change_to_and_fro(world: World, keys: dict[str, str]) -> None:
    """The triggers stack with a tag more and without schedule and address, and then as it was."""
    cloudformation, name = world.client("cloudformation", keys), "demo-dev-triggers"
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    absent = {"TrainSchedule": "", "NotificationEmail": ""}
    given = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    for values, more in ((given | absent, [{"Key": "CostCenter", "Value": "42"}]), (given, [])):
        cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=f"with-{len(more)}-more",
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
            Tags=[*stack["Tags"], *more],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        cloudformation.execute_change_set(StackName=name, ChangeSetName=f"with-{len(more)}-more")
        settled(world, name, "update")


def drift(world: World) -> None:
    """A finding of drift, within the cool-down of the execution before."""
    datum = {
        "MetricName": "DataDrift",
        "Dimensions": [{"Name": "Project", "Value": "demo"}, {"Name": "Environment", "Value": "dev"}],
        "Value": 3,
    }
    world.client("cloudwatch").put_metric_data(Namespace="MLPipeline", MetricData=[datum])
    until(lambda: len(world.executions()) > 1)


def cannot_be_delivered(world: World) -> None:
    """SageMaker is busy whenever the schedule tries."""
    ask(world.endpoint, "faults", {"kind": "throttle", "operation": "StartPipelineExecution", "times": 100})
    ask(world.endpoint, "clock", {"advance_seconds": 9 * DAY})
    ask(world.endpoint, "clock", {"advance_seconds": HOUR})
    until(lambda: "dead-letter queue" in [each["outcome"] for each in deliveries(world)])
    forget_faults(world)


def forget_faults(world: World) -> None:
    request = urllib.request.Request(f"{world.endpoint}/local-aws/faults", method="DELETE")
    urllib.request.urlopen(request).close()


def deliveries(world: World) -> list[dict[str, Any]]:
    return ask(world.endpoint, "deliveries")["deliveries"]
