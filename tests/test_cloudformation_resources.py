"""Types of resources in the local AWS's CloudFormation: each service is asked what it really has."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import REGION, Server
from local_requests import ACCOUNT, definition, name
from test_cloudformation import TRUST, Stacks, queue, role, template

ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
}
EVERYTHING = [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]
RETAIN_TWO_WEEKS = {
    "rules": [
        {
            "rulePriority": 1,
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 14,
            },
            "action": {"type": "expire"},
        }
    ]
}


@pytest.fixture
def stacks(server: Server) -> Stacks:
    return Stacks(server)


@pytest.fixture
def made(stacks: Stacks) -> Callable[..., str]:
    """Makes a stack of these resources; its name."""

    def make(resources: Callable[[str], dict]) -> str:
        stack = name("res")
        status = stacks.create(stack, template(resources(stack)))
        reasons = [
            each.get("ResourceStatusReason")
            for each in stacks.api.describe_stack_events(StackName=stack)["StackEvents"]
            if each["ResourceStatus"].endswith("FAILED")
        ]
        assert (reasons, status) == ([], "CREATE_COMPLETE")
        return stack

    return make


def resource(kind: str, **properties: Any) -> dict:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def ref(logical: str) -> dict:
    return {"Ref": logical}


def attribute(logical: str, name: str) -> dict:
    return {"Fn::GetAtt": [logical, name]}


def trusting(service: str, role_name: str) -> dict:
    """A role that this service may assume."""
    statement = {**TRUST["Statement"][0], "Principal": {"Service": f"{service}.amazonaws.com"}}
    trust = {**TRUST, "Statement": [statement]}
    return resource("IAM::Role", RoleName=role_name, AssumeRolePolicyDocument=trust)


def bucket(bucket_name: str, **properties: Any) -> dict:
    return resource("S3::Bucket", BucketName=bucket_name, **properties)


def test_a_bucket_has_all_that_its_template_says(server: Server, made: Callable[..., str]) -> None:
    rule = {"Id": "a", "Status": "Enabled", "Prefix": "x/", "ExpirationInDays": 3}
    old = {"NoncurrentVersionExpiration": {"NoncurrentDays": 4, "NewerNoncurrentVersions": 2}}
    closed = {"BlockPublicAcls": True, "BlockPublicPolicy": True}
    by_default = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": attribute("Bucket", "Arn")}
    policy = {"Version": "2012-10-17", "Statement": [tls]}
    stack = made(
        lambda stack: {
            "Bucket": bucket(
                stack,
                VersioningConfiguration={"Status": "Enabled"},
                BucketEncryption={"ServerSideEncryptionConfiguration": [by_default]},
                PublicAccessBlockConfiguration=closed,
                OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                LifecycleConfiguration={"Rules": [rule | old]},
            ),
            "Policy": resource("S3::BucketPolicy", Bucket=ref("Bucket"), PolicyDocument=policy),
        }
    )
    s3 = server.client("s3")
    assert s3.get_bucket_versioning(Bucket=stack)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(Bucket=stack)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rules[0]["BucketKeyEnabled"] is True
    public = s3.get_public_access_block(Bucket=stack)["PublicAccessBlockConfiguration"]
    assert (public["BlockPublicAcls"], public["BlockPublicPolicy"]) == (True, True)
    ownership = s3.get_bucket_ownership_controls(Bucket=stack)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=stack)["Rules"][0]
    assert (lifecycle["Filter"]["Prefix"], lifecycle["Expiration"]["Days"]) == ("x/", 3)
    assert lifecycle["NoncurrentVersionExpiration"]["NoncurrentDays"] == 4
    held = json.loads(s3.get_bucket_policy(Bucket=stack)["Policy"])
    assert held["Statement"][0]["Resource"] == f"arn:aws:s3:::{stack}"


def test_a_bucket_that_holds_objects_stays(stacks: Stacks, made: Callable[..., str]) -> None:
    stack = made(lambda stack: {"Bucket": bucket(stack)})
    stacks.server.client("s3").put_object(Bucket=stack, Key="a", Body=b"a")
    stacks.api.delete_stack(StackName=stack)
    assert stacks.status(stack) == "DELETE_FAILED"
    stacks.server.client("s3").delete_object(Bucket=stack, Key="a")
    stack_id = stacks.described(stack)["StackId"]
    stacks.api.delete_stack(StackName=stack)
    assert stacks.status(stack_id) == "DELETE_COMPLETE"


def test_a_key_and_its_alias(server: Server, made: Callable[..., str]) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*"}],
    }
    stack = made(
        lambda stack: {
            "Key": resource("KMS::Key", KeyPolicy=policy, EnableKeyRotation=True, Description=stack),
            "Alias": resource("KMS::Alias", AliasName=f"alias/{stack}", TargetKeyId=ref("Key")),
        }
    )
    kms = server.client("kms")
    key = kms.describe_key(KeyId=f"alias/{stack}")["KeyMetadata"]
    assert key["Description"] == stack
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is True
    assert json.loads(kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]) == policy
    server.client("cloudformation").delete_stack(StackName=stack)
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_an_image_repository(server: Server, made: Callable[..., str]) -> None:
    stack = made(
        lambda stack: {
            "Images": resource(
                "ECR::Repository",
                RepositoryName=stack,
                ImageTagMutability="IMMUTABLE",
                ImageScanningConfiguration={"ScanOnPush": True},
                LifecyclePolicy={"LifecyclePolicyText": json.dumps(RETAIN_TWO_WEEKS)},
            )
        }
    )
    ecr = server.client("ecr")
    found = ecr.describe_repositories(repositoryNames=[stack])["repositories"][0]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"]["scanOnPush"] is True
    held = ecr.get_lifecycle_policy(repositoryName=stack)["lifecyclePolicyText"]
    assert json.loads(held) == RETAIN_TWO_WEEKS


def test_a_role_with_all_kinds_of_policies(stacks: Stacks, made: Callable[..., str]) -> None:
    stack = made(
        lambda stack: {
            "Role": role(
                stack,
                Path="/ml/",
                Policies=[{"PolicyName": "own", "PolicyDocument": ALLOW}],
                ManagedPolicyArns=[ref("Managed")],
                PermissionsBoundary=ref("Boundary"),
            ),
            "Managed": resource("IAM::ManagedPolicy", ManagedPolicyName=stack, PolicyDocument=ALLOW),
            "Boundary": resource("IAM::ManagedPolicy", PolicyDocument=ALLOW),
            "Inline": resource("IAM::Policy", PolicyName="in", Roles=[ref("Role")], PolicyDocument=ALLOW),
            "Apart": resource(
                "IAM::RolePolicy", PolicyName="apart", RoleName=ref("Role"), PolicyDocument=ALLOW
            ),
        }
    )
    iam = stacks.server.client("iam")
    found = iam.get_role(RoleName=stack)["Role"]
    assert (found["Path"], found["AssumeRolePolicyDocument"]) == ("/ml/", TRUST)
    assert f":policy/{stack}-Boundary-" in found["PermissionsBoundary"]["PermissionsBoundaryArn"]
    assert set(iam.list_role_policies(RoleName=stack)["PolicyNames"]) == {"own", "in", "apart"}
    assert iam.get_role_policy(RoleName=stack, PolicyName="own")["PolicyDocument"] == ALLOW
    attached = iam.list_attached_role_policies(RoleName=stack)["AttachedPolicies"]
    assert [each["PolicyName"] for each in attached] == [stack]
    stacks.api.delete_stack(StackName=stack)
    assert not stacks.role_exists(stack)


def test_a_managed_policy_has_one_version_after_an_update(stacks: Stacks) -> None:
    stack = name("policy")

    def body(action: str) -> str:
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        return template(
            {"Policy": resource("IAM::ManagedPolicy", ManagedPolicyName=stack, PolicyDocument=document)}
        )

    stacks.create(stack, body("s3:GetObject"))
    assert stacks.update(stack, body("s3:PutObject")) == "UPDATE_COMPLETE"
    iam, arn = stacks.server.client("iam"), f"arn:aws:iam::{ACCOUNT}:policy/{stack}"
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert len(versions) == 1
    held = iam.get_policy_version(PolicyArn=arn, VersionId=versions[0]["VersionId"])["PolicyVersion"]
    assert held["Document"]["Statement"][0]["Action"] == "s3:PutObject"


def test_an_identity_provider(server: Server, made: Callable[..., str]) -> None:
    host = f"{name('idp')}.example.com"
    made(lambda stack: {"Idp": resource("IAM::OIDCProvider", Url=f"https://{host}", ClientIdList=["sts"])})
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    found = server.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == (host, ["sts"])


def test_a_pipeline_from_an_object_follows_its_key(stacks: Stacks) -> None:
    stack, s3 = name("pipe"), stacks.server.client("s3")
    s3.create_bucket(Bucket=stack)
    for key in ("one", "two"):
        s3.put_object(Bucket=stack, Key=key, Body=definition().replace("not good enough", key))
    arn = f"arn:aws:iam::{ACCOUNT}:role/{stack}"

    def body(key: str) -> str:
        place = {"PipelineDefinitionS3Location": {"Bucket": stack, "Key": key}}
        pipeline = resource("SageMaker::Pipeline", PipelineName=stack, PipelineDefinition=place, RoleArn=arn)
        group = resource("SageMaker::ModelPackageGroup", ModelPackageGroupName=stack)
        return template({"Pipeline": pipeline, "Group": group})

    sagemaker = stacks.server.client("sagemaker")
    assert stacks.create(stack, body("one")) == "CREATE_COMPLETE"
    assert "one" in sagemaker.describe_pipeline(PipelineName=stack)["PipelineDefinition"]
    assert stacks.update(stack, body("two")) == "UPDATE_COMPLETE"
    assert "two" in sagemaker.describe_pipeline(PipelineName=stack)["PipelineDefinition"]
    sagemaker.describe_model_package_group(ModelPackageGroupName=stack)
    stacks.api.delete_stack(StackName=stack)
    assert stack not in [each["PipelineName"] for each in sagemaker.list_pipelines()["PipelineSummaries"]]


def started_by_itself(stack: str) -> dict:
    """What starts a pipeline by itself, and tells people."""
    pipeline = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{stack}"
    parameters = {"PipelineParameterList": [{"Name": "TriggerReason", "Value": "schedule"}]}
    target = {
        "Arn": pipeline,
        "RoleArn": attribute("Role", "Arn"),
        "SageMakerPipelineParameters": parameters,
        "RetryPolicy": {"MaximumEventAgeInSeconds": "3600", "MaximumRetryAttempts": 3},
        "DeadLetterConfig": {"Arn": attribute("Queue", "Arn")},
    }
    alarm = {
        "Namespace": "MLPipeline",
        "MetricName": "DataDrift",
        "Dimensions": [{"Name": "Project", "Value": stack}],
        "Statistic": "Maximum",
        "Period": 3600,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }
    pattern = {"source": ["aws.cloudwatch"], "resources": [attribute("Any", "Arn")]}
    return {
        "Role": trusting("scheduler", stack),
        "Queue": queue(f"{stack}-dead", MessageRetentionPeriod=1209600),
        "QueuePolicy": resource("SQS::QueuePolicy", Queues=[ref("Queue")], PolicyDocument=ALLOW),
        "Topic": resource("SNS::Topic", TopicName=stack, DisplayName="news"),
        "TopicPolicy": resource("SNS::TopicPolicy", Topics=[ref("Topic")], PolicyDocument=ALLOW),
        "Mail": resource(
            "SNS::Subscription", TopicArn=ref("Topic"), Protocol="email", Endpoint="a@example.com"
        ),
        "Drift": resource("CloudWatch::Alarm", AlarmName=f"{stack}-drift", **alarm),
        "Any": resource(
            "CloudWatch::CompositeAlarm",
            AlarmName=f"{stack}-any",
            AlarmRule={"Fn::Sub": 'ALARM("${Drift}")'},
        ),
        "Rule": resource(
            "Events::Rule", Name=stack, EventPattern=pattern, Targets=[{"Id": "people", "Arn": ref("Topic")}]
        ),
        "Group": resource("Scheduler::ScheduleGroup", Name=stack),
        "Weekly": resource(
            "Scheduler::Schedule",
            Name=stack,
            GroupName=ref("Group"),
            ScheduleExpression="cron(0 6 ? * MON *)",
            ScheduleExpressionTimezone="Europe/London",
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
            Target=target,
        ),
        "Board": resource("CloudWatch::Dashboard", DashboardName=stack, DashboardBody='{"widgets": []}'),
    }


def test_what_starts_pipelines_by_itself(stacks: Stacks, made: Callable[..., str]) -> None:
    server = stacks.server
    stack = made(started_by_itself)
    schedule = server.client("scheduler").get_schedule(Name=stack, GroupName=stack)
    assert schedule["Target"]["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/{stack}"
    assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] == 3600
    assert schedule["ScheduleExpressionTimezone"] == "Europe/London"
    cloudwatch = server.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=stack, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert alarms["MetricAlarms"][0]["Threshold"] == 1
    assert alarms["CompositeAlarms"][0]["AlarmRule"] == f'ALARM("{stack}-drift")'
    assert cloudwatch.get_dashboard(DashboardName=stack)["DashboardBody"] == '{"widgets": []}'
    events, arn = server.client("events"), f"arn:aws:sns:{REGION}:{ACCOUNT}:{stack}"
    pattern = json.loads(events.describe_rule(Name=stack)["EventPattern"])
    assert pattern["resources"] == [alarms["CompositeAlarms"][0]["AlarmArn"]]
    assert [each["Arn"] for each in events.list_targets_by_rule(Rule=stack)["Targets"]] == [arn]
    sns = server.client("sns")
    topic = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (topic["DisplayName"], json.loads(topic["Policy"])) == ("news", ALLOW)
    mails = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    assert [each["Endpoint"] for each in mails] == ["a@example.com"]
    dead = stacks.queue_attributes(f"{stack}-dead")
    assert (dead["MessageRetentionPeriod"], json.loads(dead["Policy"])) == ("1209600", ALLOW)
    stacks.api.delete_stack(StackName=stack)
    left = cloudwatch.describe_alarms(AlarmNamePrefix=stack, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (left["MetricAlarms"], left["CompositeAlarms"]) == ([], [])
    assert server.client("scheduler").list_schedules(NamePrefix=stack)["Schedules"] == []
    assert events.list_rules(NamePrefix=stack)["Rules"] == []


def network(stack: str) -> dict:
    endpoint = f"com.amazonaws.{REGION}"
    return {
        "Vpc": resource("EC2::VPC", CidrBlock="10.9.0.0/16", EnableDnsSupport=True, EnableDnsHostnames=True),
        "Subnet": resource(
            "EC2::Subnet",
            VpcId=ref("Vpc"),
            CidrBlock={"Fn::Select": [0, {"Fn::Cidr": [attribute("Vpc", "CidrBlock"), 2, 8]}]},
            AvailabilityZone={"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        ),
        "Routes": resource("EC2::RouteTable", VpcId=ref("Vpc")),
        "Way": resource(
            "EC2::SubnetRouteTableAssociation", SubnetId=ref("Subnet"), RouteTableId=ref("Routes")
        ),
        "Guard": resource(
            "EC2::SecurityGroup",
            GroupDescription="jobs",
            VpcId=ref("Vpc"),
            SecurityGroupEgress=[
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.9.0.0/16"}
            ],
            Tags=[{"Key": "Name", "Value": stack}],
        ),
        "Inside": resource(
            "EC2::SecurityGroupIngress",
            GroupId=ref("Guard"),
            IpProtocol="-1",
            SourceSecurityGroupId=ref("Guard"),
        ),
        "S3": resource(
            "EC2::VPCEndpoint",
            VpcId=ref("Vpc"),
            ServiceName=f"{endpoint}.s3",
            VpcEndpointType="Gateway",
            RouteTableIds=[ref("Routes")],
        ),
        "Api": resource(
            "EC2::VPCEndpoint",
            VpcId=ref("Vpc"),
            ServiceName=f"{endpoint}.sagemaker.api",
            VpcEndpointType="Interface",
            PrivateDnsEnabled=True,
            SubnetIds=[ref("Subnet")],
            SecurityGroupIds=[attribute("Guard", "GroupId")],
        ),
    }


def test_a_closed_network(stacks: Stacks, made: Callable[..., str]) -> None:
    stack = made(network)
    found = stacks.api.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    ids = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}
    ec2 = stacks.server.client("ec2")
    assert ec2.describe_subnets(SubnetIds=[ids["Subnet"]])["Subnets"][0]["CidrBlock"] == "10.9.0.0/24"
    dns = ec2.describe_vpc_attribute(VpcId=ids["Vpc"], Attribute="enableDnsHostnames")
    assert dns["EnableDnsHostnames"]["Value"] is True
    group = ec2.describe_security_groups(GroupIds=[ids["Guard"]])["SecurityGroups"][0]
    assert [each.get("FromPort") for each in group["IpPermissionsEgress"]] == [443]
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == ids["Guard"]
    endpoints = ec2.describe_vpc_endpoints(VpcEndpointIds=[ids["S3"], ids["Api"]])["VpcEndpoints"]
    kinds = {each["VpcEndpointId"]: each["VpcEndpointType"] for each in endpoints}
    assert kinds == {ids["S3"]: "Gateway", ids["Api"]: "Interface"}
    routes = ec2.describe_route_tables(RouteTableIds=[ids["Routes"]])["RouteTables"][0]
    assert [each["SubnetId"] for each in routes["Associations"]] == [ids["Subnet"]]
    stacks.api.delete_stack(StackName=stack)
    assert ec2.describe_vpcs(Filters=[{"Name": "vpc-id", "Values": [ids["Vpc"]]}])["Vpcs"] == []


def delivery(stack: str) -> dict:
    builder = {
        "Type": "LINUX_CONTAINER",
        "ComputeType": "BUILD_GENERAL1_SMALL",
        "Image": "aws/codebuild/standard:7.0",
        "PrivilegedMode": True,
    }
    source = {"Category": "Source", "Owner": "AWS", "Provider": "CodeStarSourceConnection", "Version": "1"}
    build = {"Category": "Build", "Owner": "AWS", "Provider": "CodeBuild", "Version": "1"}
    place = {"ConnectionArn": ref("Connection"), "FullRepositoryId": "a/b", "BranchName": "main"}
    return {
        "Connection": resource("CodeConnections::Connection", ConnectionName=stack, ProviderType="GitHub"),
        "Role": trusting("codepipeline", stack),
        "Logs": resource("Logs::LogGroup", LogGroupName=f"/aws/codebuild/{stack}", RetentionInDays=30),
        "Build": resource(
            "CodeBuild::Project",
            Name=stack,
            ServiceRole=attribute("Role", "Arn"),
            Artifacts={"Type": "CODEPIPELINE"},
            Source={"Type": "CODEPIPELINE", "BuildSpec": "version: 0.2"},
            Environment=builder,
            LogsConfig={"CloudWatchLogs": {"Status": "ENABLED", "GroupName": ref("Logs")}},
            EncryptionKey="alias/aws/s3",
        ),
        "Pipeline": resource(
            "CodePipeline::Pipeline",
            Name=stack,
            RoleArn=attribute("Role", "Arn"),
            ArtifactStore={"Type": "S3", "Location": stack},
            Stages=[
                {
                    "Name": "Source",
                    "Actions": [
                        {
                            "Name": "Code",
                            "ActionTypeId": source,
                            "Configuration": place,
                            "OutputArtifacts": [{"Name": "Code"}],
                        }
                    ],
                },
                {
                    "Name": "Build",
                    "Actions": [
                        {
                            "Name": "Deploy",
                            "ActionTypeId": build,
                            "Configuration": {"ProjectName": ref("Build")},
                            "InputArtifacts": [{"Name": "Code"}],
                            "RunOrder": 1,
                        }
                    ],
                },
            ],
        ),
    }


def test_delivery_by_codepipeline(server: Server, made: Callable[..., str]) -> None:
    stack = made(delivery)
    connection = server.client("codeconnections").list_connections()["Connections"]
    mine = next(each for each in connection if each["ConnectionName"] == stack)
    assert mine["ConnectionStatus"] == "PENDING"
    project = server.client("codebuild").batch_get_projects(names=[stack])["projects"][0]
    assert project["source"] == {"type": "CODEPIPELINE", "buildspec": "version: 0.2"}
    assert (project["environment"]["privilegedMode"], project["encryptionKey"]) == (True, "alias/aws/s3")
    assert project["logsConfig"]["cloudWatchLogs"]["groupName"] == f"/aws/codebuild/{stack}"
    pipeline = server.client("codepipeline").get_pipeline(name=stack)["pipeline"]
    first = pipeline["stages"][0]["actions"][0]
    assert first["configuration"]["ConnectionArn"] == mine["ConnectionArn"]
    assert pipeline["stages"][1]["actions"][0]["configuration"] == {"ProjectName": stack}
    groups = server.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/codebuild/{stack}")
    assert groups["logGroups"][0]["retentionInDays"] == 30


def test_a_budget_and_a_parameter(stacks: Stacks) -> None:
    stack = name("costs")

    def body(amount: int) -> str:
        limit = {"Amount": amount, "Unit": "USD"}
        budget = {"BudgetName": stack, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
        value = resource("SSM::Parameter", Name=f"/{stack}", Type="String", Value=str(amount))
        return template({"Budget": resource("Budgets::Budget", Budget=budget), "Value": value})

    assert stacks.create(stack, body(100)) == "CREATE_COMPLETE"
    assert stacks.update(stack, body(200)) == "UPDATE_COMPLETE"
    budgets, ssm = stacks.server.client("budgets"), stacks.server.client("ssm")
    found = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=stack)["Budget"]
    assert float(found["BudgetLimit"]["Amount"]) == 200
    assert ssm.get_parameter(Name=f"/{stack}")["Parameter"]["Value"] == "200"
