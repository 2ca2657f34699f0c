"""A local AWS with --enforce-iam: which request needs which permission, and what a refusal looks like."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import IMAGE, REGION, Server, started
from local_requests import ACCOUNT, CLUSTER, definition, name

LOADER = botocore.loaders.create_loader()  # shared, for a session reads each service's model anew
SAGEMAKER = {"Service": "sagemaker.amazonaws.com"}
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
MINE, OTHER = f"arn:aws:iam::{ACCOUNT}:role/demo-x", f"arn:aws:iam::{ACCOUNT}:role/other"


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*statements]})


def allow(action: object, resource: object = "*", **condition: dict) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource} | (
        {"Condition": condition} if condition else {}
    )


def trust(*principals: dict, action: str = "sts:AssumeRole", **condition: dict) -> str:
    more = {"Condition": condition} if condition else {}
    return document(*({"Effect": "Allow", "Principal": who, "Action": action} | more for who in principals))


@pytest.fixture(scope="session")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = started(tmp_path_factory.mktemp("iam"), "--enforce-iam")
    running.client("s3").create_bucket(Bucket="demo-data")
    running.client("s3").create_bucket(Bucket="other-data")
    yield running
    running.end()


class Role:
    """A role of the server, and clients with a session of it."""

    def __init__(self, server: Server, *statements: dict, trusted: str = trust(SAGEMAKER, ROOT)) -> None:
        self.server, self.name = server, name("role")
        self.session: boto3.Session | None = None
        iam = server.client("iam")
        self.arn = iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
        self.allow(*statements)

    def allow(self, *statements: dict) -> None:
        if statements:
            policy = document(*statements)
            self.server.client("iam").put_role_policy(
                RoleName=self.name, PolicyName="granted", PolicyDocument=policy
            )

    def client(self, service: str) -> Any:
        self.session = self.session or self.assumed()
        return client(self.server, self.session, service)

    def assumed(self, **more: object) -> boto3.Session:
        """A session of the role, which the account's root opened."""
        sts = self.server.client("sts")
        return session_of(sts.assume_role(RoleArn=self.arn, RoleSessionName="test", **more)["Credentials"])


def session_of(keys: dict) -> boto3.Session:
    token, session = keys.get("SessionToken"), botocore.session.Session()
    session.register_component("data_loader", LOADER)
    key, secret = keys["AccessKeyId"], keys["SecretAccessKey"]
    return boto3.Session(key, secret, token, region_name=REGION, botocore_session=session)


def client(server: Server, session: boto3.Session, service: str) -> Any:
    config = Config(proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return session.client(service, endpoint_url=server.endpoint, config=config)


def denials(server: Server, method: str = "GET") -> list[dict]:
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
    connection.request(method, "/local-aws/denials")
    return json.loads(connection.getresponse().read())["denials"]


def needed(role: Role, service: str, operation: str, **request: object) -> tuple[str, str]:
    """Action and resource of the refusal that a role without any permission gets."""
    with pytest.raises(ClientError) as refused:
        getattr(role.client(service), operation)(**request)
    answer = refused.value.response
    last = denials(role.server)[-1]
    if operation.startswith("head"):  # its answer has no body
        assert answer["Error"]["Code"] == "403"
    else:
        expected = {"ec2": "UnauthorizedOperation"}.get(service, "AccessDenied")
        assert answer["Error"]["Code"] in (expected, f"{expected}Exception"), answer
        assert last["action"] in answer["Error"]["Message"]
    return last["action"], last["resource"]


@pytest.fixture(scope="session")
def nobody(enforcing: Server) -> Role:
    return Role(enforcing)


def sm(path: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{path}"


def arn(service: str, path: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{path}"


JOB = {
    "TrainingJobName": "demo-dev-train-1",
    "RoleArn": MINE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://demo-data/out"},
    "ResourceConfig": CLUSTER,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
PIPELINE = {"PipelineName": "demo-dev-train", "RoleArn": MINE, "PipelineDefinition": definition()}
EXECUTION = sm("pipeline/demo-dev-train/execution/abcdefghijkl")
SCHEDULE = {
    "Name": "weekly",
    "ScheduleExpression": "rate(1 day)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": sm("pipeline/demo-dev-train"), "RoleArn": MINE},
}
NEEDED = [
    ("sagemaker", "create_training_job", JOB, "sagemaker:CreateTrainingJob", sm("training-job/demo-dev-train-1")),
    ("sagemaker", "describe_training_job", {"TrainingJobName": "a"}, "sagemaker:DescribeTrainingJob", sm("training-job/a")),
    ("sagemaker", "stop_processing_job", {"ProcessingJobName": "a"}, "sagemaker:StopProcessingJob", sm("processing-job/a")),
    ("sagemaker", "describe_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": "a"}, "sagemaker:DescribeHyperParameterTuningJob", sm("hyper-parameter-tuning-job/a")),
    ("sagemaker", "list_training_jobs_for_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": "a"}, "sagemaker:ListTrainingJobsForHyperParameterTuningJob", sm("hyper-parameter-tuning-job/a")),
    ("sagemaker", "list_training_jobs", {}, "sagemaker:ListTrainingJobs", "*"),
    ("sagemaker", "create_pipeline", PIPELINE, "sagemaker:CreatePipeline", sm("pipeline/demo-dev-train")),
    ("sagemaker", "describe_pipeline", {"PipelineName": "p"}, "sagemaker:DescribePipeline", sm("pipeline/p")),
    ("sagemaker", "start_pipeline_execution", {"PipelineName": sm("pipeline/p")}, "sagemaker:StartPipelineExecution", sm("pipeline/p")),
    ("sagemaker", "list_pipeline_executions", {"PipelineName": "p"}, "sagemaker:ListPipelineExecutions", sm("pipeline/p")),
    ("sagemaker", "describe_pipeline_execution", {"PipelineExecutionArn": EXECUTION}, "sagemaker:DescribePipelineExecution", EXECUTION),
    ("sagemaker", "list_pipeline_execution_steps", {"PipelineExecutionArn": EXECUTION}, "sagemaker:ListPipelineExecutionSteps", EXECUTION),
    ("sagemaker", "stop_pipeline_execution", {"PipelineExecutionArn": EXECUTION}, "sagemaker:StopPipelineExecution", EXECUTION),
    ("sagemaker", "create_model_package_group", {"ModelPackageGroupName": "g"}, "sagemaker:CreateModelPackageGroup", sm("model-package-group/g")),
    ("sagemaker", "create_model_package", {"ModelPackageGroupName": "g"}, "sagemaker:CreateModelPackage", sm("model-package/g/*")),
    ("sagemaker", "list_model_packages", {"ModelPackageGroupName": sm("model-package-group/g")}, "sagemaker:ListModelPackages", sm("model-package/g/*")),
    ("sagemaker", "describe_model_package", {"ModelPackageName": sm("model-package/g/3")}, "sagemaker:DescribeModelPackage", sm("model-package/g/3")),
    ("sagemaker", "update_model_package", {"ModelPackageArn": sm("model-package/g/3"), "ModelApprovalStatus": "Approved"}, "sagemaker:UpdateModelPackage", sm("model-package/g/3")),
    ("sagemaker", "add_tags", {"ResourceArn": sm("pipeline/p"), "Tags": [{"Key": "a", "Value": "b"}]}, "sagemaker:AddTags", sm("pipeline/p")),
    ("s3", "list_buckets", {}, "s3:ListAllMyBuckets", "*"),
    ("s3", "create_bucket", {"Bucket": "third"}, "s3:CreateBucket", "arn:aws:s3:::third"),
    ("s3", "list_objects_v2", {"Bucket": "demo-data", "Prefix": "raw/"}, "s3:ListBucket", "arn:aws:s3:::demo-data"),
    ("s3", "list_object_versions", {"Bucket": "demo-data"}, "s3:ListBucketVersions", "arn:aws:s3:::demo-data"),
    ("s3", "list_multipart_uploads", {"Bucket": "demo-data"}, "s3:ListBucketMultipartUploads", "arn:aws:s3:::demo-data"),
    ("s3", "get_bucket_location", {"Bucket": "demo-data"}, "s3:GetBucketLocation", "arn:aws:s3:::demo-data"),
    ("s3", "get_bucket_lifecycle_configuration", {"Bucket": "demo-data"}, "s3:GetLifecycleConfiguration", "arn:aws:s3:::demo-data"),
    ("s3", "put_bucket_versioning", {"Bucket": "demo-data", "VersioningConfiguration": {"Status": "Enabled"}}, "s3:PutBucketVersioning", "arn:aws:s3:::demo-data"),
    ("s3", "delete_bucket_encryption", {"Bucket": "demo-data"}, "s3:PutEncryptionConfiguration", "arn:aws:s3:::demo-data"),
    ("s3", "delete_bucket", {"Bucket": "demo-data"}, "s3:DeleteBucket", "arn:aws:s3:::demo-data"),
    ("s3", "head_bucket", {"Bucket": "demo-data"}, "s3:ListBucket", "arn:aws:s3:::demo-data"),
    ("s3", "get_object", {"Bucket": "demo-data", "Key": "a/é b"}, "s3:GetObject", "arn:aws:s3:::demo-data/a/é b"),
    ("s3", "get_object", {"Bucket": "demo-data", "Key": "a", "VersionId": "1"}, "s3:GetObjectVersion", "arn:aws:s3:::demo-data/a"),
    ("s3", "get_object_tagging", {"Bucket": "demo-data", "Key": "a"}, "s3:GetObjectTagging", "arn:aws:s3:::demo-data/a"),
    ("s3", "put_object", {"Bucket": "demo-data", "Key": "a", "Body": b"x" * 3_000_000}, "s3:PutObject", "arn:aws:s3:::demo-data/a"),
    ("s3", "copy_object", {"Bucket": "demo-data", "Key": "a", "CopySource": "other-data/b"}, "s3:PutObject", "arn:aws:s3:::demo-data/a"),
    ("s3", "create_multipart_upload", {"Bucket": "demo-data", "Key": "a"}, "s3:PutObject", "arn:aws:s3:::demo-data/a"),
    ("s3", "abort_multipart_upload", {"Bucket": "demo-data", "Key": "a", "UploadId": "u"}, "s3:AbortMultipartUpload", "arn:aws:s3:::demo-data/a"),
    ("s3", "list_parts", {"Bucket": "demo-data", "Key": "a", "UploadId": "u"}, "s3:ListMultipartUploadParts", "arn:aws:s3:::demo-data/a"),
    ("s3", "delete_object", {"Bucket": "demo-data", "Key": "a"}, "s3:DeleteObject", "arn:aws:s3:::demo-data/a"),
    ("s3", "delete_object", {"Bucket": "demo-data", "Key": "a", "VersionId": "1"}, "s3:DeleteObjectVersion", "arn:aws:s3:::demo-data/a"),
    ("s3", "delete_objects", {"Bucket": "demo-data", "Delete": {"Objects": [{"Key": "k"}]}}, "s3:DeleteObject", "arn:aws:s3:::demo-data/k"),
    ("iam", "get_role", {"RoleName": "none"}, "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/none"),
    ("iam", "create_role", {"RoleName": "r", "Path": "/a/", "AssumeRolePolicyDocument": "{}"}, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/a/r"),
    ("iam", "list_roles", {}, "iam:ListRoles", "*"),
    ("iam", "attach_role_policy", {"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, "iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/r"),
    ("iam", "create_policy", {"PolicyName": "p", "PolicyDocument": "{}"}, "iam:CreatePolicy", f"arn:aws:iam::{ACCOUNT}:policy/p"),
    ("iam", "create_open_id_connect_provider", {"Url": "https://a.example/x"}, "iam:CreateOpenIDConnectProvider", f"arn:aws:iam::{ACCOUNT}:oidc-provider/a.example/x"),
    ("sts", "assume_role", {"RoleArn": OTHER, "RoleSessionName": "ab"}, "sts:AssumeRole", OTHER),
    ("cloudformation", "describe_stacks", {"StackName": "demo-dev-foundation"}, "cloudformation:DescribeStacks", arn("cloudformation", "stack/demo-dev-foundation/*")),
    ("cloudformation", "create_change_set", {"StackName": "s", "ChangeSetName": "c", "TemplateBody": "{}"}, "cloudformation:CreateChangeSet", arn("cloudformation", "stack/s/*")),
    ("cloudformation", "validate_template", {"TemplateBody": "{}"}, "cloudformation:ValidateTemplate", "*"),
    ("cloudwatch", "put_metric_data", {"Namespace": "MLPipeline", "MetricData": [{"MetricName": "a", "Value": 1.0}]}, "cloudwatch:PutMetricData", "*"),
    ("cloudwatch", "describe_alarms", {"AlarmNames": ["a"]}, "cloudwatch:DescribeAlarms", arn("cloudwatch", "alarm:a")),
    ("cloudwatch", "put_dashboard", {"DashboardName": "d", "DashboardBody": "{}"}, "cloudwatch:PutDashboard", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/d"),
    ("logs", "create_log_stream", {"logGroupName": "/g", "logStreamName": "s"}, "logs:CreateLogStream", arn("logs", "log-group:/g:log-stream:s")),
    ("logs", "filter_log_events", {"logGroupName": "/g"}, "logs:FilterLogEvents", arn("logs", "log-group:/g:log-stream:")),
    ("events", "put_rule", {"Name": "r", "EventPattern": "{}"}, "events:PutRule", arn("events", "rule/r")),
    ("events", "put_targets", {"Rule": "r", "EventBusName": "bus", "Targets": [{"Id": "1", "Arn": OTHER}]}, "events:PutTargets", arn("events", "rule/bus/r")),
    ("events", "put_events", {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}, "events:PutEvents", arn("events", "event-bus/default")),
    ("scheduler", "create_schedule", SCHEDULE, "scheduler:CreateSchedule", arn("scheduler", "schedule/default/weekly")),
    ("scheduler", "get_schedule", {"Name": "weekly", "GroupName": "g"}, "scheduler:GetSchedule", arn("scheduler", "schedule/g/weekly")),
    ("scheduler", "list_schedules", {}, "scheduler:ListSchedules", "*"),
    ("scheduler", "delete_schedule_group", {"Name": "g"}, "scheduler:DeleteScheduleGroup", arn("scheduler", "schedule-group/g")),
    ("ecr", "get_authorization_token", {}, "ecr:GetAuthorizationToken", "*"),
    ("ecr", "describe_images", {"repositoryName": "demo-dev"}, "ecr:DescribeImages", arn("ecr", "repository/demo-dev")),
    ("sns", "publish", {"TopicArn": arn("sns", "t"), "Message": "m"}, "sns:Publish", arn("sns", "t")),
    ("sns", "create_topic", {"Name": "t"}, "sns:CreateTopic", arn("sns", "t")),
    ("sqs", "send_message", {"QueueUrl": f"http://localhost/{ACCOUNT}/q", "MessageBody": "m"}, "sqs:SendMessage", arn("sqs", "q")),
    ("sqs", "create_queue", {"QueueName": "q"}, "sqs:CreateQueue", arn("sqs", "q")),
    ("kms", "create_key", {}, "kms:CreateKey", "*"),
    ("kms", "decrypt", {"KeyId": "11111111-2222-3333-4444-555555555555", "CiphertextBlob": b"a"}, "kms:Decrypt", arn("kms", "key/11111111-2222-3333-4444-555555555555")),
    ("codebuild", "start_build", {"projectName": "demo-dev-image"}, "codebuild:StartBuild", arn("codebuild", "project/demo-dev-image")),
    ("codebuild", "batch_get_builds", {"ids": ["demo-dev-image:1"]}, "codebuild:BatchGetBuilds", arn("codebuild", "project/demo-dev-image")),
    ("secretsmanager", "get_secret_value", {"SecretId": arn("secretsmanager", "secret:s-abcdef")}, "secretsmanager:GetSecretValue", arn("secretsmanager", "secret:s-abcdef")),
    ("ec2", "describe_vpcs", {}, "ec2:DescribeVpcs", "*"),
    ("ec2", "create_subnet", {"VpcId": "vpc-0123456789abcdef0", "CidrBlock": "10.0.0.0/24"}, "ec2:CreateSubnet", arn("ec2", "subnet/*")),
    ("ec2", "delete_vpc", {"VpcId": "vpc-0123456789abcdef0"}, "ec2:DeleteVpc", arn("ec2", "vpc/vpc-0123456789abcdef0")),
    ("resourcegroupstaggingapi", "get_resources", {}, "tag:GetResources", "*"),
    ("service-quotas", "get_service_quota", {"ServiceCode": "sagemaker", "QuotaCode": "L-1"}, "servicequotas:GetServiceQuota", arn("servicequotas", "sagemaker/L-1")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "request_", "action", "resource"), NEEDED, ids=[f"{row[0]}-{row[1]}" for row in NEEDED]
)
def test_a_role_without_permissions_is_refused_by_action_and_resource(
    nobody: Role, service: str, operation: str, request_: dict, action: str, resource: str
) -> None:
    assert needed(nobody, service, operation, **request_) == (action, resource)


def refused(call: Callable[..., object], **request: object) -> str:
    """The message of the refusal."""
    with pytest.raises(ClientError, match="AccessDenied") as error:
        call(**request)
    return error.value.response["Error"]["Message"]


def test_a_refusal_is_aws_own_sentence_and_is_recorded(enforcing: Server) -> None:
    role = Role(enforcing)
    message = refused(role.client("sagemaker").describe_pipeline, PipelineName="demo-dev-train")
    caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/test"
    assert message == (
        f"User: {caller} is not authorized to perform: sagemaker:DescribePipeline on resource: "
        f"{sm('pipeline/demo-dev-train')} because no identity-based policy allows the "
        "sagemaker:DescribePipeline action"
    )
    last = denials(enforcing)[-1]
    assert (last["principal"], last["resource"]) == (caller, sm("pipeline/demo-dev-train"))


@pytest.mark.parametrize(
    ("service", "operation", "request_", "status"),
    [
        ("sagemaker", "list_pipelines", {}, 400),
        ("iam", "list_roles", {}, 403),
        ("cloudwatch", "list_metrics", {}, 403),
        ("scheduler", "list_schedules", {}, 403),
        ("s3", "list_buckets", {}, 403),
    ],
)
def test_a_refusal_has_the_status_of_its_protocol(
    nobody: Role, service: str, operation: str, request_: dict, status: int
) -> None:
    with pytest.raises(ClientError) as error:
        getattr(nobody.client(service), operation)(**request_)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_who_has_a_key_that_nobody_was_given_is_root(enforcing: Server) -> None:
    assert "Roles" in enforcing.client("iam").list_roles()
    assert enforcing.client("sagemaker").list_pipelines()["PipelineSummaries"] is not None


def test_everybody_may_ask_who_they_are(nobody: Role) -> None:
    assert nobody.client("sts").get_caller_identity()["Arn"].endswith(f"assumed-role/{nobody.name}/test")


def test_an_operation_of_unknown_permissions_is_refused_by_name(enforcing: Server) -> None:
    role = Role(enforcing, allow("*"))
    message = refused(role.client("sagemaker").list_notebook_instances)
    assert "does not know the permissions that sagemaker:ListNotebookInstances needs" in message


def test_a_user_has_the_policies_of_its_groups(enforcing: Server) -> None:
    iam, user, group = enforcing.client("iam"), name("user"), name("group")
    iam.create_user(UserName=user)
    iam.create_group(GroupName=group)
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    mine = client(enforcing, session_of(keys), "iam")
    assert f"user/{user} is not authorized" in refused(mine.list_roles)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document(allow("iam:ListRoles")))
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert mine.list_roles()["Roles"]


STEPS = [
    # what is asked; what of the role's permissions it needs, one after the other
    ("sagemaker", "create_training_job", JOB | {"TrainingJobName": "demo-dev-a", "Tags": [{"Key": "k", "Value": "v"}]}, [
        ("sagemaker:CreateTrainingJob", sm("training-job/demo-dev-a")),
        ("sagemaker:AddTags", sm("training-job/demo-dev-a")),
        ("iam:PassRole", MINE),
    ]),
    ("sagemaker", "create_pipeline", PIPELINE, [
        ("sagemaker:CreatePipeline", sm("pipeline/demo-dev-train")),
        ("iam:PassRole", MINE),
    ]),
    ("sagemaker", "create_model_package", {"ModelPackageGroupName": "g"}, [
        ("sagemaker:CreateModelPackage", sm("model-package/g/*")),
        ("sagemaker:CreateModelPackage", sm("model-package-group/g")),
    ]),
    ("events", "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": sm("pipeline/p"), "RoleArn": MINE}]}, [
        ("events:PutTargets", arn("events", "rule/r")),
        ("iam:PassRole", MINE),
    ]),
    ("scheduler", "create_schedule", SCHEDULE, [
        ("scheduler:CreateSchedule", arn("scheduler", "schedule/default/weekly")),
        ("iam:PassRole", MINE),
    ]),
    ("codebuild", "create_project", {"name": "pp", "source": {"type": "NO_SOURCE"}, "artifacts": {"type": "NO_ARTIFACTS"}, "environment": {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"}, "serviceRole": MINE}, [
        ("codebuild:CreateProject", arn("codebuild", "project/pp")),
        ("iam:PassRole", MINE),
    ]),
    ("cloudformation", "create_stack", {"StackName": "s", "TemplateURL": "https://demo-data.s3.amazonaws.com/t.yaml", "RoleARN": MINE}, [
        ("cloudformation:CreateStack", arn("cloudformation", "stack/s/*")),
        ("iam:PassRole", MINE),
        ("s3:GetObject", "arn:aws:s3:::demo-data/t.yaml"),
    ]),
    ("s3", "copy_object", {"Bucket": "demo-data", "Key": "new", "CopySource": "other-data/old"}, [
        ("s3:PutObject", "arn:aws:s3:::demo-data/new"),
        ("s3:GetObject", "arn:aws:s3:::other-data/old"),
        ("s3:ListBucket", "arn:aws:s3:::other-data"),
    ]),
    ("s3", "get_object", {"Bucket": "demo-data", "Key": "none"}, [
        ("s3:GetObject", "arn:aws:s3:::demo-data/none"),
        ("s3:ListBucket", "arn:aws:s3:::demo-data"),
    ]),
    ("ec2", "create_route_table", {"VpcId": "vpc-0123456789abcdef0", "TagSpecifications": [{"ResourceType": "route-table", "Tags": [{"Key": "k", "Value": "v"}]}]}, [
        ("ec2:CreateRouteTable", arn("ec2", "route-table/*")),
        ("ec2:CreateRouteTable", arn("ec2", "vpc/vpc-0123456789abcdef0")),
        ("ec2:CreateTags", arn("ec2", "route-table/*")),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "request_", "wanted"), STEPS, ids=[f"{row[0]}-{row[1]}" for row in STEPS]
)
def test_a_request_needs_more_than_the_action_of_its_name(
    enforcing: Server, service: str, operation: str, request_: dict, wanted: list[tuple[str, str]]
) -> None:
    role, granted = Role(enforcing), []
    for action, resource in wanted:
        assert needed(role, service, operation, **request_) == (action, resource)
        granted.append(allow(action, resource))
        role.allow(*granted)
    count = len(denials(enforcing))
    try:
        getattr(role.client(service), operation)(**request_)
    except ClientError as error:
        assert "AccessDenied" not in str(error)
    assert len(denials(enforcing)) == count


def test_a_role_is_passed_only_to_the_service_that_the_condition_names(enforcing: Server) -> None:
    passed = allow("iam:PassRole", MINE, StringEquals={"iam:PassedToService": "events.amazonaws.com"})
    role = Role(enforcing, allow("sagemaker:*"), passed)
    assert "iam:PassRole" in refused(role.client("sagemaker").create_pipeline, **PIPELINE)


@pytest.mark.parametrize(
    ("service", "operation", "condition", "fits", "differs"),
    [
        (
            "s3",
            "list_objects_v2",
            {"StringLike": {"s3:prefix": "raw/*"}},
            {"Bucket": "demo-data", "Prefix": "raw/x"},
            {"Bucket": "demo-data"},
        ),
        (
            "cloudwatch",
            "put_metric_data",
            {"StringEquals": {"cloudwatch:namespace": "MLPipeline"}},
            {"Namespace": "MLPipeline", "MetricData": [{"MetricName": "a", "Value": 1.0}] * 200},
            {"Namespace": "Other", "MetricData": [{"MetricName": "a", "Value": 1.0}]},
        ),
        (
            "sagemaker",
            "create_model_package_group",
            {"StringEquals": {"aws:RequestTag/Project": "demo"}},
            {"ModelPackageGroupName": "tagged", "Tags": [{"Key": "Project", "Value": "demo"}]},
            {"ModelPackageGroupName": "tagged-not", "Tags": [{"Key": "Project", "Value": "x"}]},
        ),
        (
            "sagemaker",
            "describe_model_package_group",
            {"StringEquals": {"aws:ResourceTag/Owner": "me"}},
            {"ModelPackageGroupName": "owned"},
            {"ModelPackageGroupName": "not-owned"},
        ),
        (
            "iam",
            "create_role",
            {"StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/limit"}},
            {
                "RoleName": name("bounded"),
                "AssumeRolePolicyDocument": trust(SAGEMAKER),
                "PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/limit",
            },
            {"RoleName": "free", "AssumeRolePolicyDocument": trust(SAGEMAKER)},
        ),
        (
            "logs",
            "describe_log_groups",
            {"StringEquals": {"aws:RequestedRegion": REGION}},
            {},
            None,
        ),
    ],
)
def test_a_condition_sees_what_the_request_says(
    enforcing: Server, service: str, operation: str, condition: dict, fits: dict, differs: dict | None
) -> None:
    admin = enforcing.client("sagemaker")
    if operation == "describe_model_package_group":
        admin.create_model_package_group(
            ModelPackageGroupName="owned", Tags=[{"Key": "Owner", "Value": "me"}]
        )
        admin.create_model_package_group(ModelPackageGroupName="not-owned")
    role = Role(enforcing, allow([f"{service}:*", "iam:*"], **condition))
    call = getattr(role.client(service), operation)
    call(**fits)
    if differs is not None:
        refused(call, **differs)


def test_a_bucket_policy_allows_and_denies(enforcing: Server) -> None:
    s3, bucket, role = enforcing.client("s3"), name("policy"), Role(enforcing, allow("s3:GetBucketLocation"))
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="open/a", Body=b"a")
    mine = {"AWS": role.arn}
    statements = [
        allow("s3:GetObject", f"arn:aws:s3:::{bucket}/open/*") | {"Principal": mine},
        allow("s3:*", f"arn:aws:s3:::{bucket}") | {"Effect": "Deny", "Principal": mine},
    ]
    refused(role.client("s3").get_object, Bucket=bucket, Key="open/a")
    role.client("s3").get_bucket_location(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=document(*statements))
    assert role.client("s3").get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    message = refused(role.client("s3").get_bucket_location, Bucket=bucket)
    assert message.endswith("with an explicit deny in a resource-based policy")


def test_a_queue_policy_lets_a_rule_of_its_own_send(enforcing: Server) -> None:
    """As a role sees it: the policy names the events service, which the role is not."""
    role = Role(enforcing)
    assert needed(role, "sqs", "send_message", QueueUrl=f"http://x/{ACCOUNT}/q", MessageBody="m")[0] == (
        "sqs:SendMessage"
    )


def test_an_object_under_a_key_needs_the_key(enforcing: Server) -> None:
    kms, s3, bucket = enforcing.client("kms"), enforcing.client("s3"), name("secret")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket=bucket)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    role = Role(enforcing, allow("s3:*"))
    assert needed(role, "s3", "put_object", Bucket=bucket, Key="a", Body=b"a") == ("kms:GenerateDataKey", key)
    via = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    role.allow(allow("s3:*"), allow("kms:GenerateDataKey", key, **via))
    role.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    assert needed(role, "s3", "get_object", Bucket=bucket, Key="a") == ("kms:Decrypt", key)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(allow("kms:*") | {"Principal": {"AWS": role.arn}}))
    assert role.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_a_session_policy_narrows_its_session_only(enforcing: Server) -> None:
    role = Role(enforcing, allow("iam:List*"))
    narrow = client(enforcing, role.assumed(Policy=document(allow("iam:ListUsers"))), "iam")
    assert "Users" in narrow.list_users()
    assert "because no session policy allows" in refused(narrow.list_roles)
    assert role.client("iam").list_roles()["Roles"]


def test_a_session_that_is_over_is_refused(enforcing: Server) -> None:
    role = Role(enforcing, allow("*"))
    config = Config(proxies={}, parameter_validation=False)
    sts = boto3.Session("AKIALOCALAWS00000000", "local", region_name=REGION).client(
        "sts", endpoint_url=enforcing.endpoint, config=config
    )
    keys = sts.assume_role(RoleArn=role.arn, RoleSessionName="short", DurationSeconds=1)["Credentials"]
    iam = client(enforcing, session_of(keys), "iam")
    time.sleep(1.1)
    with pytest.raises(ClientError, match=r"\(ExpiredToken\)"):
        iam.list_roles()


@pytest.mark.parametrize(
    ("trusted", "granted", "allowed"),
    [
        ([ROOT], True, True),
        ([ROOT], False, False),
        ([SAGEMAKER], True, False),
        ([{"AWS": "caller"}], False, True),
    ],
)
def test_a_role_is_assumed_by_whom_it_trusts(
    enforcing: Server, trusted: list[dict], granted: bool, allowed: bool
) -> None:
    caller = Role(enforcing)
    who = [{"AWS": caller.arn} if each == {"AWS": "caller"} else each for each in trusted]
    target = Role(enforcing, trusted=trust(*who))
    if granted:
        caller.allow(allow("sts:AssumeRole", target.arn))
    assume = caller.client("sts").assume_role
    if allowed:
        assert assume(RoleArn=target.arn, RoleSessionName="ab")["AssumedRoleUser"]["Arn"]
    else:
        assert "sts:AssumeRole" in refused(assume, RoleArn=target.arn, RoleSessionName="ab")


GITHUB = "token.actions.githubusercontent.com"


def token(**claims: object) -> str:
    body = {"iss": f"https://{GITHUB}", "aud": "sts.amazonaws.com", "exp": time.time() + 600} | claims
    parts = [{"alg": "RS256"}, body, "signature"]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


@pytest.fixture(scope="session")
def deployer(enforcing: Server) -> Role:
    """A role that main of one repository may assume through GitHub's provider."""
    enforcing.client("iam").create_open_id_connect_provider(
        Url=f"https://{GITHUB}", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40]
    )
    provider = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"}
    condition = {
        "StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{GITHUB}:sub": "repo:me/demo:ref:refs/heads/main"},
    }
    trusted = trust(provider, action="sts:AssumeRoleWithWebIdentity", **condition)
    return Role(enforcing, allow("iam:ListRoles"), trusted=trusted)


def assumed_by_token(role: Role, text: str) -> dict:
    sts = boto3.Session(region_name=REGION).client(
        "sts", endpoint_url=role.server.endpoint, config=Config(proxies={}, signature_version="unsigned")
    )
    return sts.assume_role_with_web_identity(
        RoleArn=role.arn, RoleSessionName="ci", WebIdentityToken=text
    )["Credentials"]


def test_the_right_repository_gets_a_session_by_its_token(deployer: Role) -> None:
    keys = assumed_by_token(deployer, token(sub="repo:me/demo:ref:refs/heads/main"))
    iam = client(deployer.server, session_of(keys), "iam")
    assert iam.list_roles()["Roles"]
    refused(iam.list_users)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "repo:me/other:ref:refs/heads/main"}, "AccessDenied"),
        ({"sub": "repo:me/demo:ref:refs/heads/x"}, "AccessDenied"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "aud": "elsewhere"}, "InvalidIdentityToken"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "iss": "https://gitlab.com"}, "InvalidIdentityToken"),
        ({"sub": "repo:me/demo:ref:refs/heads/main", "exp": 1}, "ExpiredToken"),
        ({}, "InvalidIdentityToken"),
    ],
)
def test_another_token_gets_none(deployer: Role, claims: dict, code: str) -> None:
    with pytest.raises(ClientError) as error:
        assumed_by_token(deployer, token(**claims))
    assert error.value.response["Error"]["Code"].startswith(code)


def test_a_token_of_a_provider_opens_no_role_that_trusts_a_service_only(deployer: Role) -> None:
    other = Role(deployer.server)
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        assumed_by_token(other, token(sub="repo:me/demo:ref:refs/heads/main"))
