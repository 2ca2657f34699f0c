"""The commands of the cloud, typed as a user types them, against a local AWS in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from conftest import REGION
from heavy_imports import heavy_imports
from started_by_itself import ask

ACCOUNT = "123456789012"
BUCKET = f"demo-dev-{ACCOUNT}-{REGION}"
SECONDS = 180
TRIES = 5  # of boto3, at each call
BROKEN = """
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: rolled-back}}
  Policy:
    Type: AWS::IAM::ManagedPolicy
    DependsOn: Queue
    Properties: {Path: no-slash, PolicyDocument: {Version: "2012-10-17", Statement: []}}
"""


@dataclass
class Desk:
    """A generated project, committed to git, and the local AWS that its commands speak to."""

    project: Path
    environment: dict[str, str]
    told: str = ""

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ml_pipeline", *arguments],
            cwd=self.project,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def done(self, *arguments: str) -> str:
        """Standard output of a command that ends with 0."""
        ended = self(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def client(self, service: str) -> Any:
        session = boto3.Session("AKIALOCALAWS00000000", "local", region_name=REGION)
        return session.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])

    def objects(self, prefix: str = "") -> dict[str, str]:
        """ETag of every object by its key."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}

    def stacks(self) -> dict[str, str]:
        return {
            each["StackName"]: each["StackStatus"]
            for each in self.client("cloudformation").describe_stacks()["Stacks"]
        }

    def change_sets(self) -> list[str]:
        """ExecutionStatus of every change set of every stack."""
        client = self.client("cloudformation")
        found = (client.list_change_sets(StackName=name)["Summaries"] for name in self.stacks())
        return [each["ExecutionStatus"] for sets in found for each in sets]

    def content_hash(self) -> str:
        client = self.client("sagemaker")
        arn = client.describe_pipeline(PipelineName="demo-dev-train")["PipelineArn"]
        tags = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
        assert tags["Project"] == "demo" and tags["Environment"] == "dev"
        return tags["ContentHash"]

    def mark_as_old(self, pipeline: str) -> None:
        """As if the pipeline were made of other code."""
        client = self.client("sagemaker")
        arn = client.describe_pipeline(PipelineName=f"demo-dev-{pipeline}")["PipelineArn"]
        client.add_tags(ResourceArn=arn, Tags=[{"Key": "ContentHash", "Value": "0" * 32}])

    def edit(self, path: str, pattern: str, text: str) -> None:
        file = self.project / path
        edited, count = re.subn(pattern, lambda _: text, file.read_text(), count=1, flags=re.MULTILINE)
        assert count == 1
        file.write_text(edited)

    def commit(self) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "A change"]):
            subprocess.run(["git", *command], cwd=self.project, check=True)


@pytest.fixture(scope="module")
def desk(make_project: Callable[..., Path]) -> Iterator[Desk]:
    project = make_project(project_slug="demo", aws_region=REGION)
    command = [sys.executable, "-m", "local_aws", "--port", "0", "--state", ".local_aws/cloud"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        command, cwd=project, env=kept, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            endpoint = server.stdout.readline().split()[-1]
            aws = {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
                "PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin",
            }
            made = Desk(project, kept | aws)
            made.commit()
            yield made
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def deployed(desk: Desk) -> Desk:
    desk.told = desk.done("deploy", "--env", "dev")
    return desk


def test_deploy_makes_stacks_image_and_pipeline_from_nothing(deployed):
    assert deployed.stacks() == {
        "demo-dev-foundation": "CREATE_COMPLETE",
        "demo-dev-triggers": "CREATE_COMPLETE",
    }
    images = deployed.client("ecr").list_images(repositoryName="demo-dev")["imageIds"]
    for pipeline, step in (("train", "Register"), ("score", "Monitor")):
        found = deployed.client("sagemaker").describe_pipeline(PipelineName=f"demo-dev-{pipeline}")
        assert f"demo-dev:{images[0]['imageTag']}" in found["PipelineDefinition"]
        assert f'"Name": "{step}"' in found["PipelineDefinition"]
    schedules = deployed.client("scheduler").list_schedules()["Schedules"]
    states = {each["Name"]: each["State"] for each in schedules}
    assert states == {"demo-dev-train": "ENABLED", "demo-dev-score": "ENABLED"}
    first = deployed.told.splitlines()[0]
    assert f"account {ACCOUNT}, region {REGION}, endpoint {deployed.environment['AWS_ENDPOINT_URL']}" in first


def test_definitions_are_the_last_objects_of_their_content(deployed):
    folder = f"code/{deployed.content_hash()}/"
    found = deployed.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=folder)["Contents"]
    written = {each["Key"].removeprefix(folder): each["LastModified"] for each in found}
    definitions = [written.pop(f"definition-{pipeline}.json") for pipeline in ("train", "score")]
    assert min(definitions) >= max(written.values())


def test_both_pipelines_are_compiled_with_one_loading_of_the_sdk(deployed):
    assert deployed.told.count("compiling") == 1
    assert "compiling demo-dev-train and demo-dev-score ..." in deployed.told


def test_a_plan_of_what_is_deployed_is_unchanged_and_leaves_nothing_behind(deployed):
    before = deployed.objects()
    told = deployed.done("plan", "--env", "dev")
    assert "pipeline demo-dev-train: unchanged" in told and "pipeline demo-dev-score: unchanged" in told
    assert deployed.objects() == before
    assert set(deployed.change_sets()) == {"EXECUTE_COMPLETE"}  # those of the deploy


def test_a_second_deploy_changes_nothing(deployed):
    before = deployed.objects()
    told = deployed.done("deploy", "--env", "dev")
    assert told.count("unchanged") == 4 and "compiling" not in told
    assert deployed.objects() == before


def test_an_unchanged_upsert_does_not_load_the_sdk(deployed, monkeypatch):
    for name, value in deployed.environment.items():
        monkeypatch.setenv(name, value)
    assert "sagemaker" not in heavy_imports(deployed.project, ["upsert", "--env", "dev"])


def test_a_commit_that_changes_no_code_changes_no_pipeline(deployed):
    before = deployed.content_hash()
    deployed.edit("README.md", r"\Z", "\nMore words.\n")
    deployed.commit()
    deployed.done("upsert", "--env", "dev")
    assert deployed.content_hash() == before


def test_a_new_environment_is_planned_without_a_trace_in_a_comment_that_names_no_account(deployed):
    ended = deployed("plan", "--env", "staging", "--markdown")
    assert ended.returncode == 3
    assert ended.stdout.startswith("### Plan for `demo-staging`: changes\n")
    assert "stack demo-staging-foundation: new" in ended.stdout
    assert "+ Bucket (AWS::S3::Bucket)" in ended.stdout
    assert "+ Register" in ended.stdout and "+ Monitor" in ended.stdout  # a step of a branch too
    assert ACCOUNT not in ended.stdout and ACCOUNT in ended.stderr
    assert not [name for name in deployed.stacks() if "staging" in name]


@pytest.fixture(scope="module")
def edited(deployed: Desk) -> Desk:
    """One line of train.py is another, and not deployed yet."""
    deployed.edit("ml_pipeline/steps/train.py", r"^from __future__", "# edited\nfrom __future__")
    return deployed


def test_one_line_of_train_is_a_change_that_plan_shows(edited):
    before = edited.objects()
    ended = edited("plan", "--env", "dev")
    assert ended.returncode == 3, ended.stderr
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert [line for line in lines if re.match(r"[+-](?![+-])", line)] == ["+# edited"]
    same = {"definition of train: the same", "definition of score: the same", "settings: the same"}
    assert same <= set(lines) and lines.count("code: differs") == 1
    assert edited.objects() == before


def test_an_upsert_without_its_image_is_refused_before_anything_is_written(edited):
    before = edited.objects()
    ended = edited("upsert", "--env", "dev")
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
    assert "`python -m ml_pipeline image --env dev` builds and pushes it" in ended.stderr
    assert edited.objects() == before


def test_an_upsert_leaves_the_payloads_of_what_runs_as_they_are(edited):
    old = f"code/{edited.content_hash()}/"
    before = edited.objects(old)
    edited.done("image", "--env", "dev")
    told = edited.done("upsert", "--env", "dev")
    assert "demo-dev-train: updated" in told and "demo-dev-score: updated" in told
    assert edited.content_hash() not in old
    assert edited.objects(old) == before and len(before) > 20
    assert edited("plan", "--env", "dev").returncode == 0


def test_code_that_was_compiled_before_is_not_compiled_again(edited):
    edited.edit("ml_pipeline/steps/train.py", r"^# edited\n", "")
    before = edited.objects()
    told = edited.done("upsert", "--env", "dev")
    assert "updated" in told and "compiling" not in told
    assert edited.objects() == before


@pytest.mark.parametrize("operation", ["UpdatePipeline", "AddTags"])
def test_a_pipeline_counts_as_changed_until_its_update_has_ended(edited, operation):
    for pipeline in ("train", "score"):
        edited.mark_as_old(pipeline)
    fault = {"kind": "throttle", "operation": operation, "times": TRIES}
    ask(edited.environment["AWS_ENDPOINT_URL"], "faults", fault)
    ended = edited("upsert", "--env", "dev")
    assert ended.returncode == 1 and f"AWS refuses {operation}" in ended.stderr
    found = edited("doctor", "--env", "dev")
    assert found.returncode == 1 and "demo-dev-train is not of this code, lock and settings" in found.stdout
    told = edited.done("upsert", "--env", "dev")
    assert "demo-dev-train: updated" in told and "demo-dev-score: updated" in told


def test_a_pipeline_that_was_left_behind_is_updated_alone(edited):
    edited.mark_as_old("score")
    found = edited("doctor", "--env", "dev")
    assert found.returncode == 1 and "demo-dev-score is not of this code, lock and settings" in found.stdout
    told = edited.done("upsert", "--env", "dev")
    assert "demo-dev-train: unchanged" in told and "demo-dev-score: updated" in told


def test_an_image_that_cannot_be_built_tells_codebuilds_reason(edited):
    edited.edit("Dockerfile", r"^COPY ml_pipeline ml_pipeline", "COPY ml_pipelines ml_pipeline")
    ended = edited("deploy", "--env", "dev")
    edited.edit("Dockerfile", r"^COPY ml_pipelines ml_pipeline", "COPY ml_pipeline ml_pipeline")
    assert ended.returncode == 1
    assert 'CodeBuild ended in FAILED: COPY ml_pipelines: "/ml_pipelines": not found' in ended.stderr


def test_a_private_copy_lies_in_its_own_network_with_its_schedules_off(deployed):
    deployed.edit("settings.toml", "^vpc_only = false", "vpc_only = true")
    deployed.done("deploy", "--env", "dev", "--suffix", "ana")
    deployed.edit("settings.toml", "^vpc_only = true", "vpc_only = false")
    state = deployed.client("scheduler").list_schedules(NamePrefix="demo-dev-ana")["Schedules"]
    assert [each["State"] for each in state] == ["DISABLED", "DISABLED"]
    definition = deployed.client("sagemaker").describe_pipeline(PipelineName="demo-dev-ana-train")
    subnets = deployed.client("ec2").describe_subnets()["Subnets"]
    assert any(subnet["SubnetId"] in definition["PipelineDefinition"] for subnet in subnets)
    assert '"EnableInterContainerTrafficEncryption": true' in definition["PipelineDefinition"]
    deployed.done("destroy", "--env", "dev", "--suffix", "ana", "--all", "--yes")
    assert not [name for name in deployed.stacks() if "ana" in name]


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["--env", "production"], {}, "--env must be one of dev, staging, prod, got 'production'"),
        (["--env", "prod", "--suffix", "ana"], {}, "--suffix makes a private copy of dev alone"),
        (["--env", "dev"], {"AWS_REGION": "eu-west-1"}, "says eu-west-1, dev is in us-east-1"),
        (["--env", "dev"], {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no AWS credentials"),
        (["--env", "dev"], {"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
        (["--env", "staging"], {}, "stack demo-staging-foundation does not exist"),
    ],
)
def test_what_cannot_be_upserted_is_refused_in_one_sentence(deployed, arguments, variables, sentence):
    given = {name: value for name, value in variables.items() if value}
    absent = [name for name, value in variables.items() if not value]
    here = Desk(deployed.project, {k: v for k, v in deployed.environment.items() if k not in absent} | given)
    ended = here("upsert", *arguments)
    assert ended.returncode == 2 and sentence in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("pattern", "text", "sentence"),
    [
        ('^account = ""', 'account = "999999999999"', "of account 123456789012, dev is in 999999999999"),
        (r"^\[deploy.parameters\]", '[deploy.parameters]\nRolPath = "/x/"', "unknown Parameter RolPath"),
        (
            r"^\[deploy.parameters\]",
            '[deploy.parameters]\nCreateKmsKey = "yes"',
            "CreateKmsKey must be one of true, false, got 'yes'",
        ),
        (
            r"^\[deploy.parameters\]",
            '[deploy.parameters]\nRolePath = "ml"',
            "RolePath must be as /",
        ),
        (
            r"^\[deploy.parameters\]",
            '[deploy.parameters]\nTrainSchedule = ""',
            "its own place, [schedule] train",
        ),
        (
            r"^\[deploy.parameters\]",
            '[deploy.parameters]\nRolePath = "/x/"',
            "has output ExecutionRoleArn = ",
        ),
        ('^train = "cron.*?"', 'train = "cron(0 6 * * MON *)"', "exactly one must be ?"),
        (
            '^score = "cron.*?"',
            'score = "at(2020-01-31T06:00:00)"',
            "score must be a moment still to come",
        ),
        (
            '^region = "us-east-1"',
            'region = "us-nowhere-1"',
            "region must be one that SageMaker has images in",
        ),
    ],
)
def test_settings_that_aws_would_refuse_change_nothing(deployed, pattern, text, sentence):
    before, kept = deployed.objects(), (deployed.project / "settings.toml").read_text()
    deployed.edit("settings.toml", pattern, text)
    ended = deployed("deploy", "--env", "dev", "--ci")
    (deployed.project / "settings.toml").write_text(kept)
    assert ended.returncode == 2 and sentence in ended.stderr, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert deployed.objects() == before


IN_THE_CLOUD = (
    *("deploy --env dev", "plan --env dev", "upsert --env dev", "image --env dev", "doctor --env dev"),
    *("upload data/sample.csv --env dev", "start --env dev", "status --env dev", "stop 1 --env dev"),
    *("fetch 1 --env dev", "logs Train --env dev", "approve 1 --env dev", "reject 1 --env dev"),
    *("promote 1 --to staging", "destroy --env dev --yes", "smoke --env dev"),
)
# One process types them all, to import only once.
TYPED = """
import contextlib, io, json, sys
from ml_pipeline.__main__ import main
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(line.split())
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def test_every_command_says_first_where_it_works_and_does_nothing_in_another_account(deployed):
    before, kept = deployed.objects(), (deployed.project / "settings.toml").read_text()
    deployed.edit("settings.toml", '^account = ""', 'account = "999999999999"')
    done = subprocess.run(
        [sys.executable, "-c", TYPED, json.dumps(IN_THE_CLOUD)],
        cwd=deployed.project,
        env=deployed.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    (deployed.project / "settings.toml").write_text(kept)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    place = f": account {ACCOUNT}, region {REGION}, endpoint {deployed.environment['AWS_ENDPOINT_URL']}, as "
    for command, (code, out, err) in zip(IN_THE_CLOUD, answers, strict=True):
        assert code == 2 and place in out and len(out.splitlines()) == 1, command
        assert "is in 999999999999" in err and len(err.splitlines()) == 1, command
    assert deployed.objects() == before


def test_a_plan_refuses_a_region_as_the_deployment_would(deployed):
    before, kept = deployed.change_sets(), (deployed.project / "settings.toml").read_text()
    deployed.edit("settings.toml", '^region = "us-east-1"', 'region = "us-nowhere-1"')
    planned, tried = (deployed(command, "--env", "dev") for command in ("plan", "deploy"))
    (deployed.project / "settings.toml").write_text(kept)
    assert (planned.returncode, planned.stderr) == (tried.returncode, tried.stderr)
    assert planned.returncode == 2 and len(planned.stderr.splitlines()) == 1
    assert "region must be one that SageMaker has images in, got 'us-nowhere-1'" in planned.stderr
    assert deployed.change_sets() == before


def test_a_stack_that_was_rolled_back_is_refused_with_the_remedy(deployed):
    client = deployed.client("cloudformation")
    client.create_stack(
        StackName="demo-prod-triggers", TemplateBody=BROKEN, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    assert deployed.stacks()["demo-prod-triggers"] == "ROLLBACK_COMPLETE"
    ended = deployed("deploy", "--env", "prod")
    client.delete_stack(StackName="demo-prod-triggers")
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
    assert "`aws cloudformation delete-stack --stack-name demo-prod-triggers`" in ended.stderr
    assert "demo-prod-foundation" not in deployed.stacks()


def test_a_foundation_that_lacks_an_output_is_refused_with_the_remedy(deployed):
    client = deployed.client("cloudformation")
    template = "Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: alone}}}"
    client.create_stack(StackName="demo-prod-foundation", TemplateBody=template)
    client.get_waiter("stack_create_complete").wait(StackName="demo-prod-foundation")
    ended = deployed("upsert", "--env", "prod")
    client.delete_stack(StackName="demo-prod-foundation")
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
    assert "stack demo-prod-foundation has no output BucketName" in ended.stderr
    assert "`python -m ml_pipeline deploy --env prod`" in ended.stderr


def test_doctor_finds_what_is_deployed_to_be_well(deployed):
    told = deployed.done("doctor", "--env", "dev").splitlines()[1:]
    marks = {line.split()[1]: line.split()[0] for line in told}
    assert marks.pop("quotas") == "unknown"  # the local AWS has none
    assert list(marks.values()) == ["ok"] * 8


def test_doctor_names_the_command_that_mends(deployed):
    ended = deployed("doctor", "--env", "staging")
    assert ended.returncode == 1
    # The one command that mends, and none that would fail without it.
    assert re.findall(r"python -m ml_pipeline \w+ --env \w+", ended.stdout) == [
        "python -m ml_pipeline deploy --env staging"
    ]
    assert re.search("unknown image +until the stacks are there", ended.stdout)


def test_training_is_not_started_without_data(deployed):
    ended = deployed("start", "--env", "dev")
    assert ended.returncode == 2 and "`python -m ml_pipeline upload FILE --env dev` makes one" in ended.stderr
    client = deployed.client("sagemaker")
    listed = client.list_pipeline_executions(PipelineName="demo-dev-train")
    assert listed["PipelineExecutionSummaries"] == []


def test_destroy_without_a_terminal_asks_for_yes_and_deletes_nothing(deployed):
    ended = deployed("destroy", "--env", "dev")
    assert ended.returncode == 2 and "add --yes" in ended.stderr
    assert "demo-dev-triggers" in deployed.stacks()


@pytest.fixture(scope="module")
def destroyed(deployed: Desk) -> Desk:
    deployed.told = deployed.done("destroy", "--env", "dev", "--yes")
    return deployed


def test_destroy_keeps_data_images_and_foundation(destroyed):
    assert re.search(r"model package group demo-dev with 0 registered versions\n", destroyed.told)
    assert list(destroyed.stacks()) == ["demo-dev-foundation"]
    assert destroyed.objects() and destroyed.client("ecr").list_images(repositoryName="demo-dev")["imageIds"]
    assert not destroyed.client("sagemaker").list_pipelines()["PipelineSummaries"]


def test_what_a_deleted_foundation_has_left_is_told_before_anything_is_made(destroyed):
    client = destroyed.client("cloudformation")
    client.delete_stack(StackName="demo-dev-foundation")
    assert not destroyed.stacks()
    ended = destroyed("deploy", "--env", "dev")
    assert ended.returncode == 2 and "`python -m ml_pipeline destroy --env dev --all`" in ended.stderr
    assert f"bucket {BUCKET} with" in ended.stderr and not destroyed.stacks()


def test_destroy_all_leaves_nothing(destroyed):
    destroyed.done("destroy", "--env", "dev", "--all", "--yes")
    assert not destroyed.stacks()
    assert not destroyed.client("s3").list_buckets()["Buckets"]
    assert not destroyed.client("ecr").describe_repositories()["repositories"]
    assert not destroyed.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert "nothing of demo-dev is there" in destroyed.done("destroy", "--env", "dev", "--all", "--yes")
