"""With IAM enforced each role does all that it is for, not without any one statement, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import least_privilege
import templates
from conftest import REGION
from least_privilege import ACCOUNT, BRANCH, DAY, PROPOSED, ROOT, World, deliveries
from local_aws.iam import Policies, Policy, Principal, decide, policy
from started_by_itself import ask
from templates import INFRA
from waiting import until

ROLES = {
    "execution": ("foundation.yaml", "ExecutionRole", "demo-dev-execution"),
    "trigger": ("triggers.yaml", "TriggerRole", "demo-dev-trigger"),
    "plan": ("ci.yaml", "PlanRole", "demo-plan"),
    "deploy": ("ci.yaml", "DeployRole", "demo-deploy"),
    "image": ("foundation.yaml", "ImageBuildRole", "demo-dev-image"),
    "weekly": ("codepipeline.yaml", "WeeklyRole", "piped-weekly"),
}
# Statement -> a call of the runs that is refused without it.
NEEDED = {
    "execution": {
        "ListTheBucket": "s3:ListBucket",
        "ReadObjects": "s3:GetObject",
        "WriteResults": "s3:PutObject",
        "WriteLabelledRows": "s3:PutObject",
        "ReplaceScores": "s3:DeleteObject",
        "WriteReturnValues": "s3:PutObject",
        "KeepCheckpoints": "s3:PutObject",
        "RunTrainingJobs": "sagemaker:CreateTrainingJob",
        "RunTuningJobs": "sagemaker:CreateHyperParameterTuningJob",
        "RunProcessingJobs": "sagemaker:CreateProcessingJob",
        "RunTransformJobs": "sagemaker:CreateTransformJob",
        "MakeModels": "sagemaker:CreateModel",
        "FindModels": "sagemaker:ListModels",
        "TagWhatItMakes": "sagemaker:AddTags",
        "RegisterModels": "sagemaker:CreateModelPackage",
        "StandBackForAnother": "sagemaker:StopPipelineExecution",
        "GiveItselfToJobs": "iam:PassRole",
        "PullImages": "ecr:BatchGetImage",
        "LogInToRegistries": "ecr:GetAuthorizationToken",
        "WriteLogs": "logs:PutLogEvents",
        "PublishMetrics": "cloudwatch:PutMetricData",
        "ReadNamedSecrets": "secretsmanager:GetSecretValue",
        "UseTheKey": "kms:Decrypt",
    },
    "trigger": {
        "StartPipelines": "sagemaker:StartPipelineExecution",
        "KeepFailedDeliveries": "sqs:SendMessage",
    },
    "plan": {
        "ReadStacks": "cloudformation:DescribeStacks",
        "CompareStacks": "cloudformation:CreateChangeSet",
        "ReadPipelines": "sagemaker:DescribePipeline",
        "ReadPayloads": "s3:GetObject",
        "FindImages": "ecr:DescribeImages",
        "ReadWithTheKeys": "kms:Decrypt",
    },
    "deploy": {
        "ReadStacks": "cloudformation:DescribeStacks",
        "DeployTriggers": "cloudformation:ExecuteChangeSet",
        "UpsertPipelines": "sagemaker:UpdatePipeline",
        "WritePayloads": "s3:PutObject",
        "ListBuckets": "s3:ListBucket",
        "PushImages": "ecr:DescribeImages",
        "BuildImages": "codebuild:StartBuild",
        "ReadQuotas": "servicequotas:ListServiceQuotas",
        "LookAtExecutionRole": "iam:GetRole",
        "GiveExecutionRole": "iam:PassRole",
        "GiveTriggerRole": "iam:PassRole",
        "MakeTriggerRole": "iam:PutRolePolicy",
        "KeepTriggerRole": "iam:GetRole",
        "KeepSchedules": "scheduler:UpdateSchedule",
        "KeepRules": "events:PutTargets",
        "KeepAlarms": "cloudwatch:PutMetricAlarm",
        "KeepCompositeAlarm": "cloudwatch:PutCompositeAlarm",
        "KeepDashboard": "cloudwatch:PutDashboard",
        "KeepNotifications": "sns:Subscribe",
        "KeepFailedDeliveries": "sqs:CreateQueue",
        "UseTheKeys": "kms:GenerateDataKey",
    },
    "image": {
        "ReadTheSource": "s3:GetObject",
        "PushTheImage": "ecr:PutImage",
        "LogInToRegistries": "ecr:GetAuthorizationToken",
        "WriteLogs": "logs:PutLogEvents",
        "PullTheBaseImage": "ecr:BatchGetImage",
        "ReadPipConf": "secretsmanager:GetSecretValue",
        "UseTheKey": "kms:Decrypt",
    },
    "weekly": {"StartTheTest": "codepipeline:StartPipelineExecution"},
}
# Statement -> why the runs cannot need it. What they do need may not stand here.
UNSEEN = {
    "execution": {
        "GrantTheKeyToVolumes": "volumes of jobs, which EC2 encrypts",
        "PutJobsIntoTheVpc": "network interfaces of jobs",
        "LookAtTheVpc": "network interfaces of jobs",
    },
    "trigger": {},
    "plan": {},
    "deploy": {"LogInToRegistries": "only where a Docker engine pushes the image"},
    "image": {
        "PutBuildsIntoTheVpc": "network interfaces of builds",
        "LendInterfacesToBuilds": "network interfaces of builds",
    },
    "weekly": {},
}


def statements(role: str) -> list[str]:
    """Sids of a role's template, those of its options too."""
    file, logical, _ = ROLES[role]
    declared = templates.resources(templates.load(INFRA / file), "AWS::IAM::Role")[logical]
    return [each.sid for each in templates.statements(declared)]


@pytest.fixture(scope="module")
def world(make_project: Callable[..., Path]) -> Iterator[World]:
    """dev, deployed and run by its roles: see `least_privilege.story`."""
    project = make_project(project_slug="demo", aws_region=REGION, bias_engine="clarify")
    with least_privilege.enforced(project) as made:
        least_privilege.prepare(made)
        least_privilege.story(made)
        yield made


def of_role(entries: list[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    return [each for each in entries if f":assumed-role/{ROLES[role][2]}/" in each["principal"]]


def test_no_role_is_refused_anything_on_its_way(world: World) -> None:
    assert world.denied == []
    assert all(of_role(world.allowed, role) for role in ROLES)


def test_the_plan_role_tells_what_would_change(world: World) -> None:
    lines = world.told["planned"].splitlines()
    assert "  ~ StartTraining (AWS::Scheduler::Schedule): ScheduleExpression" in lines
    assert '  +    secrets.secret("token", settings)' in lines
    assert "pipeline demo-dev-train: would be updated" in lines
    assert world.told["planned again"].count(": unchanged") == 5


def test_the_deploy_role_makes_triggers_and_pipeline_and_changes_them(world: World) -> None:
    assert "stack demo-dev-triggers: 19 resources changed" in world.told["created"]
    assert "pipeline demo-dev-train: created" in world.told["created"]
    assert "pipeline demo-dev-score: created" in world.told["created"]
    assert "stack demo-dev-triggers: 1 resources changed" in world.told["updated"]
    assert "pipeline demo-dev-train: updated" in world.told["updated"]
    assert "pipeline demo-dev-score: updated" in world.told["updated"]
    assert "built by CodeBuild" in world.told["updated"]


def test_the_trigger_role_starts_training_by_the_schedule_and_by_the_rule(world: World) -> None:
    reasons = [world.parameters(each)["TriggerReason"] for each in world.executions()[:2]]
    assert reasons == ["schedule", "demo-dev-retrain"]
    sessions = {each["principal"].rpartition("/")[2] for each in of_role(world.allowed, "trigger")}
    assert sessions == {"scheduler", "events"}


def test_the_execution_role_runs_every_step(world: World) -> None:
    first, second, third = world.executions()[:3]
    steps = ("Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Gate", "Register")
    assert world.steps(first) == dict.fromkeys(steps, "Succeeded")
    # Within the cool-down: it stops itself, which it may.
    assert second["PipelineExecutionStatus"] == "Stopped"
    # Against a champion, which an approval has made of the first one's model.
    assert world.steps(third) == world.steps(first)
    done = of_role(world.allowed, "execution")
    assert "sagemaker:DescribeModelPackage" in {each["action"] for each in done}
    # Train was interrupted, and went on from its checkpoint.
    restored = [each["resource"] for each in done if each["action"] == "s3:GetObject"]
    assert any("/checkpoints/" in each for each in restored)


def test_the_execution_role_scores_measures_and_joins_labels(world: World) -> None:
    whole = dict.fromkeys(("Select", "Transform", "Monitor"), "Succeeded")
    assert [world.steps(each) for each in world.executions("score")] == [whole, whole]
    done = [(each["action"], each["resource"]) for each in of_role(world.allowed, "execution")]
    place = f"arn:aws:s3:::demo-dev-{ACCOUNT}-{REGION}"
    period = least_privilege.SCORED
    assert ("s3:PutObject", f"{place}/score/{period}/output/rows.csv") in done
    assert ("s3:DeleteObject", f"{place}/score/{period}/output/rows.csv") in done
    assert ("s3:PutObject", f"{place}/raw/{period}/data.parquet") in done


def test_people_are_told_of_an_approval_under_the_projects_key(world: World) -> None:
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/demo-dev-model-approved"
    (told,) = until(lambda: [each for each in deliveries(world) if each["source"] == rule])
    assert told["outcome"] == "delivered"


def attached(world: World, role: str) -> Policies:
    """The role's own policy and its boundary, as IAM has them now."""
    iam, name = world.client("iam"), ROLES[role][2]
    document = iam.get_role_policy(RoleName=name, PolicyName=role)["PolicyDocument"]
    bound = iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary")
    boundary = ()
    if bound:
        arn = bound["PermissionsBoundaryArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        boundary = (policy("boundary", found),)
    return Policies(identity=(policy(role, document),), boundary=boundary)


def without(policies: Policies, sid: str) -> Policies:
    (own,) = policies.identity
    left = tuple(each for each in own.statements if each.name != sid)
    assert len(left) == len(own.statements) - 1
    return Policies(identity=(Policy(own.name, left),), boundary=policies.boundary)


@pytest.mark.parametrize(
    ("role", "sid"), [(role, sid) for role in ROLES for sid in statements(role) if sid not in UNSEEN[role]]
)
def test_without_a_statement_a_call_is_refused(world: World, role: str, sid: str) -> None:
    policies, action = attached(world, role), NEEDED[role][sid]
    calls = [
        each for each in of_role(world.allowed, role) if (each["statement"], each["action"]) == (sid, action)
    ]
    assert calls, f"no run has needed {action} of {sid}"
    call = calls[0]
    asked = action, call["resource"], call["context"], Principal(call["principal"], ACCOUNT, call["role"])
    assert decide(policies, *asked).allowed
    refusal = decide(without(policies, sid), *asked)
    assert not refusal.allowed
    assert refusal.reason == f"because no identity-based policy allows the {action} action"


@pytest.mark.parametrize("role", ROLES)
def test_every_statement_is_needed_or_said_to_be_unseen(world: World, role: str) -> None:
    assert sorted(statements(role)) == sorted([*NEEDED[role], *UNSEEN[role]])
    used = {each["statement"] for each in of_role(world.allowed, role)}
    assert not used & UNSEEN[role].keys()
    assert set(statements(role)) == {each.name for each in attached(world, role).identity[0].statements}


@contextmanager
def lacking(world: World, role: str, sid: str) -> Iterator[None]:
    """IAM without one statement of the role."""
    iam, place = world.client("iam"), {"RoleName": ROLES[role][2], "PolicyName": role}
    whole = iam.get_role_policy(**place)["PolicyDocument"]
    left = [each for each in whole["Statement"] if each["Sid"] != sid]
    assert len(left) == len(whole["Statement"]) - 1
    iam.put_role_policy(**place, PolicyDocument=json.dumps(whole | {"Statement": left}))
    try:
        yield
    finally:
        iam.put_role_policy(**place, PolicyDocument=json.dumps(whole))


def sentence(role: str, action: str, resource: str, session: str = "ci") -> str:
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLES[role][2]}/{session}"
    return (
        f"User: {who} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )


TRAIN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/demo-dev-train"


def test_plan_tells_what_its_role_lacks(world: World) -> None:
    with lacking(world, "plan", "ReadPipelines"):
        ended = world.command(world.with_token("demo-plan", PROPOSED), "plan", "--env", "dev")
    assert ended.returncode == 1
    assert sentence("plan", "sagemaker:DescribePipeline", TRAIN) in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_deploy_tells_what_its_role_lacks(world: World) -> None:
    stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/demo-dev-triggers/*"
    with lacking(world, "deploy", "DeployTriggers"):
        ended = world.command(world.with_token("demo-deploy", BRANCH), "deploy", "--env", "dev", "--ci")
    assert ended.returncode == 1
    assert sentence("deploy", "cloudformation:CreateChangeSet", stack) in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_step_tells_what_the_execution_role_lacks(world: World) -> None:
    number = len(world.executions())
    with lacking(world, "execution", "GiveItselfToJobs"):
        world.done(ROOT, "start", "--env", "dev")
        failed = world.ended(number)
    assert failed["PipelineExecutionStatus"] == "Failed"
    told = world.command(ROOT, "status", "--env", "dev").stdout
    role = f"arn:aws:iam::{ACCOUNT}:role/demo-dev-execution"
    assert sentence("execution", "iam:PassRole", role, "SageMaker") in told


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        ("WriteLogs", "logs:CreateLogStream"),
        ("ReadPipConf", "secretsmanager:GetSecretValue"),
        ("ReadTheSource", "s3:GetObject"),
        ("LogInToRegistries", "ecr:GetAuthorizationToken"),
        ("PullTheBaseImage", "ecr:BatchGetImage"),
        ("PushTheImage", "ecr:BatchCheckLayerAvailability"),
    ],
)
def test_a_build_tells_what_the_image_role_lacks(world: World, sid: str, action: str) -> None:
    codebuild = world.client("codebuild")
    tag = world.client("ecr").list_images(repositoryName="demo-dev")["imageIds"][0]["imageTag"]
    python = (world.project / ".python-version").read_text().strip()
    values = {"IMAGE_TAG": tag, "PYTHON_VERSION": python}
    given = [{"name": name, "value": value} for name, value in values.items()]
    with lacking(world, "image", sid):
        build = codebuild.start_build(projectName="demo-dev-image", environmentVariablesOverride=given)[
            "build"
        ]
    (ended,) = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
    assert ended["buildStatus"] == "FAILED"
    who = f"assumed-role/demo-dev-image/AWSCodeBuild-{build['id'].rpartition(':')[2]}"
    told = ended["phases"][0]["contexts"][0]["message"]
    assert f"{who} is not authorized to perform: {action} on resource" in told


def test_what_the_trigger_role_may_not_start_ends_in_the_queue(world: World) -> None:
    before, number = len(deliveries(world)), len(world.executions())
    with lacking(world, "trigger", "StartPipelines"):
        ask(world.endpoint, "clock", {"advance_seconds": 9 * DAY})
    (delivery,) = [each for each in deliveries(world)[before:] if "demo-dev" in each["source"]]
    assert delivery["outcome"] == "dead-letter queue"
    assert (
        f"is not authorized to perform: sagemaker:StartPipelineExecution on resource: {TRAIN}"
        in delivery["detail"]
    )
    assert len(world.executions()) == number


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        ("demo-deploy", PROPOSED),
        ("demo-deploy", "repo:acme/demo:ref:refs/heads/other"),
        ("demo-deploy", "repo:mallory/demo:ref:refs/heads/main"),
        ("demo-plan", BRANCH),
        ("demo-plan", "repo:mallory/demo:pull_request"),
        ("demo-dev-execution", BRANCH),
    ],
)
def test_a_token_opens_only_the_role_it_is_for(world: World, role: str, subject: str) -> None:
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        world.with_token(role, subject)


def outside() -> list:
    """Of iam_outside.txt: role | call | the action that is refused | on which resource | request."""
    rows = [
        line.split(" | ", 4) for line in (Path(__file__).parent / "iam_outside.txt").read_text().splitlines()
    ]
    return [
        pytest.param(role, *call.split(), action, resource, json.loads(request), id=f"{role} {call} {number}")
        for number, (role, call, action, resource, request) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def keys(world: World) -> dict[str, dict[str, str]]:
    """A session of each role."""
    world.client("secretsmanager").create_secret(Name="other-token", SecretString="theirs")
    return {
        "plan": world.with_token("demo-plan", PROPOSED),
        "deploy": world.with_token("demo-deploy", BRANCH),
        "execution": world.as_root_assumes("demo-dev-execution"),
        "trigger": world.as_root_assumes("demo-dev-trigger"),
        "image": world.as_root_assumes("demo-dev-image"),
        "weekly": world.as_root_assumes("piped-weekly"),
    }


@pytest.mark.parametrize(("role", "service", "operation", "action", "resource", "request_"), outside())
def test_a_role_may_nothing_outside_of_its_task(
    world: World,
    keys: dict,
    role: str,
    service: str,
    operation: str,
    action: str,
    resource: str,
    request_: dict,
) -> None:
    before = len(world.record("denials"))
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(world.client(service, keys[role]), operation)(**request_)
    (denial,) = of_role(world.record("denials")[before:], role)
    assert denial["action"] == action and denial["resource"].startswith(resource)
    assert denial["reason"].startswith("because no ")  # and not: because something is not evaluated
