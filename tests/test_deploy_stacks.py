"""The stacks deployed whole into the local AWS: every resource is asked for from its own service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Server, started
from physical import ASKED
from started_by_itself import ask as clock
from templates import INFRA, load

ACCOUNT = "123456789012"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/company-boundary"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0a1b2c3d-0000-1111-2222-333344445555"
TAGS = {"Project": "churn", "CostCenter": "42"}
FILES = ("foundation", "triggers", "network", "ci")


@dataclass
class Stack:
    """A stack that stands. ids, types: of its resources, by logical name."""

    aws: Server
    name: str
    outputs: dict[str, str]
    ids: dict[str, str]
    types: dict[str, str]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local AWS with what a company has before it deploys anything."""
    running = started(tmp_path_factory.mktemp("stacks"))
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    running.client("iam").create_policy(PolicyName="company-boundary", PolicyDocument=json.dumps(policy))
    yield running
    running.end()


def deploy(aws: Server, file: str, name: str, parameters: dict[str, str]) -> Stack:
    """The stack, created or updated with those parameters that it declares."""
    client, declared = aws.client("cloudformation"), load(INFRA / f"{file}.yaml")["Parameters"]
    given = {key: value for key, value in parameters.items() if key in declared}
    kind = (
        "update" if name in [each["StackName"] for each in client.describe_stacks()["Stacks"]] else "create"
    )
    getattr(client, f"{kind}_stack")(
        StackName=name,
        TemplateBody=(INFRA / f"{file}.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Tags=[{"Key": key, "Value": value} for key, value in TAGS.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    settled(client, name, kind)
    return described(aws, name)


def settled(client: Any, name: str, kind: str) -> None:
    waiter = client.get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 600})


def described(aws: Server, name: str) -> Stack:
    client = aws.client("cloudformation")
    outputs = client.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    found = client.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(
        aws,
        name,
        {each["OutputKey"]: each["OutputValue"] for each in outputs},
        {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found},
        {each["LogicalResourceId"]: each["ResourceType"] for each in found},
    )


def all_of(aws: Server, project: str, environment: str, more: dict[str, str]) -> dict[str, Stack]:
    """Every stack of an environment, each given the outputs of those before it."""
    known = {
        "Project": project,
        "Environment": environment,
        "TuningJobPrefix": f"{project}-{environment[0]}",
        **more,
    }
    stacks = {}
    for file in FILES:
        name = f"{project}-ci" if file == "ci" else f"{project}-{environment}-{file}"
        stacks[file] = deploy(aws, file, name, known)
        known = stacks[file].outputs | known
    return stacks


@pytest.fixture(scope="module")
def plain(aws: Server) -> dict[str, Stack]:
    """What somebody gets who sets no option."""
    return all_of(aws, "churn", "dev", {"Provider": "github", "Repository": "acme/churn"})


@pytest.fixture(scope="module")
def company(aws: Server) -> dict[str, Stack]:
    """Every option at once, in a VPC and with an identity provider that are there already."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    places = {f"10.1.{number}.0/24": f"us-east-1{zone}" for number, zone in enumerate("ab")}
    made = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for block, zone in places.items()
    ]
    group = ec2.create_security_group(GroupName="builds", Description="builds", VpcId=vpc)["GroupId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:token-AbCdEf"
    subnets = ",".join(made)
    return all_of(
        aws,
        "loans",
        "prod",
        {
            "PermissionsBoundaryArn": BOUNDARY,
            "RolePath": "/ml/",
            "RolePrefix": "acme-",
            "CreateKmsKey": "true",
            "SecretArns": f"{secret},{secret}2",
            "VpcOnly": "true",
            "BaseImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/python:3.12",
            "BaseRepositoryArn": f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/python",
            "PackageIndexUrl": "https://packages.acme.com/simple",
            "PipConfSecretArn": secret,
            "HttpProxy": "http://proxy.acme.com:3128",
            "BuildVpcId": vpc,
            "BuildSubnetIds": subnets,
            "BuildSecurityGroupIds": group,
            "TrainSchedule": "cron(0 6 ? * MON *)",
            "ScoreSchedule": "rate(1 day)",
            "ScheduleTimezone": "Europe/Berlin",
            "NotificationEmail": "ml@acme.com",
            "VpcId": vpc,
            "SubnetIds": subnets,
            "RouteTableIds": table,
            "S3PrefixListId": "pl-63a5400a",
            "Provider": "gitlab",
            "Repository": "acme/ml/churn",
            "OidcHost": "gitlab.acme.com",
            "KmsKeyArns": KEY,
        },
    )


# Policies of a queue or a topic, which are asked for with it.
WITH_ANOTHER = {"AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}
BY_NAME = {
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::KMS::Alias",
    "AWS::IAM::OIDCProvider",
    "AWS::SQS::Queue",
}
OF_A_VPC = {"Vpc", "SubnetA", "SubnetB", "RouteTable", "RouteTableOfSubnetA", "RouteTableOfSubnetB"}
OF_OPTIONS = {"EmailSubscription", "KmsEndpoint", "SecretsManagerEndpoint"}


def ask(stack: Stack, name: str) -> str:
    """What the service answers for a resource, as text; raises when there is none."""
    kind = stack.types[name]
    service, operation, request = ASKED[kind]
    return repr(getattr(stack.aws.client(service), operation)(**request(stack.ids[name])))


@pytest.mark.parametrize("made", ["plain", "company"])
@pytest.mark.parametrize("file", FILES)
def test_every_resource_of_a_stack_is_really_there(request, made, file):
    stack = request.getfixturevalue(made)[file]
    asked = [name for name, kind in stack.types.items() if kind not in WITH_ANOTHER]
    assert len(asked) > 2
    for name in asked:
        # Aliases and dashboards are asked for by their names, which the answer need not hold.
        shown = stack.ids[name].rpartition("/")[2]
        assert shown in ask(stack, name) or stack.types[name] in BY_NAME, name


def test_a_deployed_stack_has_all_that_its_template_declares_for_its_options(plain, company):
    whole = {name for file in FILES for name in load(INFRA / f"{file}.yaml")["Resources"]}
    made = {name for stack in company.values() for name in stack.ids}
    # The VPC and the boundary are the company's own.
    assert whole - made == {*OF_A_VPC, "TriggerBoundary"}
    plainly = {name for stack in plain.values() for name in stack.ids}
    assert whole - plainly == {"Key", "KeyAlias", "StartTraining", "StartScoring", *OF_OPTIONS}


@pytest.mark.parametrize(
    ("file", "name", "service", "operation", "member"),
    [
        ("foundation", "Bucket", "s3", "get_bucket_tagging", "Bucket"),
        ("foundation", "ExecutionRole", "iam", "list_role_tags", "RoleName"),
        ("foundation", "ModelPackageGroup", "sagemaker", "list_tags", "ResourceArn"),
        ("triggers", "Notifications", "sns", "list_tags_for_resource", "ResourceArn"),
        ("triggers", "FailedDeliveries", "sqs", "list_queue_tags", "QueueUrl"),
    ],
)
def test_mandatory_tags_come_with_the_stack(plain, file, name, service, operation, member):
    stack = plain[file]
    answer = getattr(stack.aws.client(service), operation)(**{member: stack.ids[name]})
    tags = answer.get("TagSet") or answer.get("Tags")
    found = tags if isinstance(tags, dict) else {each["Key"]: each["Value"] for each in tags}
    assert found.items() >= TAGS.items()


def test_the_bucket_is_private_versioned_encrypted_and_takes_tls_alone(plain, company):
    for made, algorithm in ((plain, "AES256"), (company, "aws:kms")):
        s3, bucket = plain["foundation"].aws.client("s3"), made["foundation"].outputs["BucketName"]
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {
            True
        }
        (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == algorithm
        key = made["foundation"].outputs.get("KmsKeyArn")
        assert rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") == key
        (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert (statement["Effect"], statement["Condition"]) == (
            "Deny",
            {"Bool": {"aws:SecureTransport": "false"}},
        )


def test_images_cannot_be_replaced_and_are_scanned(plain):
    stack = plain["foundation"]
    asked = stack.aws.client("ecr").describe_repositories(repositoryNames=[stack.ids["Repository"]])
    repository = asked["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["repositoryUri"] == stack.outputs["RepositoryUri"]


def role(stack: Stack, name: str) -> dict[str, Any]:
    return stack.aws.client("iam").get_role(RoleName=stack.ids[name])["Role"]


def test_a_company_gets_its_boundary_path_and_prefix_on_every_role(plain, company):
    for made, path, prefix, boundary in ((plain, "/", "", None), (company, "/ml/", "acme-", BOUNDARY)):
        for stack in made.values():
            for name in [name for name, kind in stack.types.items() if kind == "AWS::IAM::Role"]:
                found = role(stack, name)
                wanted = stack.outputs.get("TriggerBoundaryArn") if name == "TriggerRole" else None
                bound = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
                assert found["Path"] == path and found["RoleName"].startswith(prefix)
                if name != "TriggerRole" or boundary:
                    assert bound == boundary, (name, wanted)
    own = plain["foundation"].outputs["TriggerBoundaryArn"]
    assert role(plain["triggers"], "TriggerRole")["PermissionsBoundary"]["PermissionsBoundaryArn"] == own


def test_a_schedule_starts_its_pipeline_in_the_given_time_zone(company):
    stack = company["triggers"]
    found = stack.aws.client("scheduler").get_schedule(Name=stack.ids["StartScoring"])
    assert (found["ScheduleExpression"], found["ScheduleExpressionTimezone"]) == (
        "rate(1 day)",
        "Europe/Berlin",
    )
    assert found["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    target = found["Target"]
    assert target["Arn"] == f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:pipeline/loans-prod-score"
    assert target["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/ml/acme-loans-prod-trigger"
    assert target["SageMakerPipelineParameters"]["PipelineParameterList"] == [
        {"Name": "Period", "Value": "auto"},
        {"Name": "TriggerReason", "Value": "schedule"},
    ]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 3}
    assert target["DeadLetterConfig"]["Arn"].endswith(":loans-prod-failed-deliveries")


def test_the_composite_alarm_starts_training_with_its_own_name_as_the_reason(plain):
    stack = plain["triggers"]
    events, cloudwatch = stack.aws.client("events"), stack.aws.client("cloudwatch")
    rule = events.describe_rule(Name=stack.ids["RetrainRule"])
    alarm = cloudwatch.describe_alarms(AlarmNames=["churn-dev-retrain"], AlarmTypes=["CompositeAlarm"])
    assert json.loads(rule["EventPattern"])["resources"] == [alarm["CompositeAlarms"][0]["AlarmArn"]]
    (target,) = events.list_targets_by_rule(Rule=stack.ids["RetrainRule"])["Targets"]
    assert (
        target["Arn"].endswith(":pipeline/churn-dev-train")
        and target["RoleArn"] == stack.outputs["TriggerRoleArn"]
    )
    parameters = target["SageMakerPipelineParameters"]["PipelineParameterList"]
    assert parameters == [{"Name": "TriggerReason", "Value": "$.detail.alarmName"}]


def test_rules_may_write_to_topic_and_dead_letter_queue(plain):
    stack = plain["triggers"]
    queue = stack.aws.client("sqs").get_queue_attributes(
        QueueUrl=stack.ids["FailedDeliveries"], AttributeNames=["Policy", "SqsManagedSseEnabled"]
    )["Attributes"]
    allowed = json.loads(queue["Policy"])["Statement"][0]
    names = {arn.rpartition("/")[2] for arn in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]}
    assert names == {"churn-dev-retrain", "churn-dev-execution-failed", "churn-dev-model-approved"}
    topic = stack.aws.client("sns").get_topic_attributes(TopicArn=stack.outputs["TopicArn"])["Attributes"]
    statements = {each["Sid"]: each for each in json.loads(topic["Policy"])["Statement"]}
    assert statements["Rules"]["Principal"] == {"Service": "events.amazonaws.com"}
    assert not topic.get("KmsMasterKeyId")


def test_notifications_are_under_the_created_key_which_lets_eventbridge_in(company):
    stack = company["triggers"]
    topic = stack.aws.client("sns").get_topic_attributes(TopicArn=stack.outputs["TopicArn"])["Attributes"]
    assert topic["KmsMasterKeyId"] == company["foundation"].outputs["KmsKeyArn"]
    policy = stack.aws.client("kms").get_key_policy(
        KeyId=company["foundation"].ids["Key"], PolicyName="default"
    )
    allowed = {each["Principal"].get("Service"): each for each in json.loads(policy["Policy"])["Statement"]}
    # EventBridge names neither account nor rule when it publishes under a key.
    bound = allowed["events.amazonaws.com"]["Condition"]
    assert bound == {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": stack.outputs["TopicArn"]}}
    assert "kms:Decrypt" in allowed["cloudwatch.amazonaws.com"]["Action"]


def test_nothing_leads_out_of_the_created_vpc(plain):
    stack = plain["network"]
    ec2, vpc = stack.aws.client("ec2"), stack.ids["Vpc"]
    only = [{"Name": "vpc-id", "Values": [vpc]}]
    assert ec2.describe_nat_gateways(Filters=only)["NatGateways"] == []
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    assert ec2.describe_internet_gateways(Filters=attached)["InternetGateways"] == []
    subnets = ec2.describe_subnets(SubnetIds=stack.outputs["SubnetIds"].split(","))["Subnets"]
    assert len({each["AvailabilityZone"] for each in subnets}) == 2
    assert not any(each["MapPublicIpOnLaunch"] for each in subnets)
    kinds = {
        each["ServiceName"]: each["VpcEndpointType"]
        for each in ec2.describe_vpc_endpoints(Filters=only)["VpcEndpoints"]
    }
    assert kinds.pop("com.amazonaws.us-east-1.s3") == "Gateway"
    services = ("sagemaker.api", "ecr.api", "ecr.dkr", "logs", "monitoring", "sts")
    assert kinds == {f"com.amazonaws.us-east-1.{name}": "Interface" for name in services}


def test_an_option_taken_back_leaves_nothing_behind(aws, plain):
    parameters = {"Project": "churn", "Environment": "dev", **plain["foundation"].outputs}
    more = deploy(aws, "triggers", "churn-dev-triggers", parameters | {"TrainSchedule": "rate(7 days)"})
    assert "churn-dev-train" in ask(more, "StartTraining")
    less = deploy(aws, "triggers", "churn-dev-triggers", parameters)
    assert "StartTraining" not in less.ids
    schedules = aws.client("scheduler").list_schedules(NamePrefix="churn-dev")["Schedules"]
    assert schedules == []


def test_a_deleted_foundation_keeps_data_images_and_models(aws):
    stack = deploy(
        aws,
        "foundation",
        "gone-dev-foundation",
        {"Project": "gone", "Environment": "dev", "TuningJobPrefix": "gone-d"},
    )
    aws.client("cloudformation").delete_stack(StackName=stack.name)
    settled(aws.client("cloudformation"), stack.name, "delete")
    for name in ("Bucket", "Repository", "ModelPackageGroup"):
        assert ask(stack, name)
    iam = aws.client("iam")
    for name in ("ExecutionRole", "ImageBuildRole"):
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.get_role(RoleName=stack.ids[name])


def test_codepipeline_deploys_to_one_environment_after_the_other(aws):
    given = {
        "Project": "scores",
        "Repository": "acme/scores",
        "DeployTo": "dev staging prod",
        "Folder": "ml/scores",
    }
    stack = deploy(aws, "codepipeline", "scores-ci", given)
    assert set(stack.ids) == set(load(INFRA / "codepipeline.yaml")["Resources"])
    for name, kind in stack.types.items():
        assert stack.ids[name].rpartition("/")[2] in ask(stack, name) or kind in BY_NAME, name
    pipeline = aws.client("codepipeline").get_pipeline(name="scores-deploy")["pipeline"]
    stages = {stage["name"]: [action["name"] for action in stage["actions"]] for stage in pipeline["stages"]}
    assert stages == {
        "Source": ["Source"],
        "Check": ["Check"],
        "Dev": ["Deploy"],
        "Staging": ["Plan", "Approve", "Deploy"],
        "Prod": ["Plan", "Approve", "Deploy"],
    }
    source = pipeline["stages"][0]["actions"][0]["configuration"]
    assert source["ConnectionArn"] == stack.outputs["ConnectionArn"]
    weekly = aws.client("codepipeline").get_pipeline(name="scores-newest-sdk")["pipeline"]
    assert weekly["stages"][1]["actions"][0]["configuration"] == {"ProjectName": "scores-newest-sdk"}
    schedule = aws.client("scheduler").get_schedule(Name="scores-newest-sdk")
    assert schedule["ScheduleExpression"] == "cron(23 5 ? * MON *)"
    clock(aws.endpoint, "clock", {"advance_seconds": 7 * 24 * 3600})
    (started,) = aws.client("codepipeline").list_pipeline_executions(pipelineName="scores-newest-sdk")[
        "pipelineExecutionSummaries"
    ]
    assert started["pipelineExecutionId"]
    projects = aws.client("codebuild").batch_get_projects(
        names=["scores-check", "scores-plan", "scores-deploy"]
    )["projects"]
    assert {each["serviceRole"].rpartition("/")[2] for each in projects} == {
        each["name"] for each in projects
    }
