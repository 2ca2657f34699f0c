"""A local AWS with --enforce-iam: which request needs which permission, and what a refusal looks like."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import IMAGE, REGION, Server, started
from local_requests import ACCOUNT, CLUSTER, definition, name

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
    token = keys.get("SessionToken")
    return boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], token, region_name=REGION)


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
