"""A local AWS with --enforce-iam: which request needs which permission, and what a refusal looks like."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import BaseCBORParser

from conftest import IMAGE, REGION
from iam_roles import SAGEMAKER, Enforcing, Role, allow, client, document, refused, session_of, trust
from local_requests import ACCOUNT, CLUSTER, definition, name

pytest_plugins = ["enforcing"]

MINE, OTHER = f"arn:aws:iam::{ACCOUNT}:role/demo-x", f"arn:aws:iam::{ACCOUNT}:role/other"


def needed(role: Role, service: str, operation: str, **request: object) -> tuple[str, str]:
    """Action and resource of the refusal that a role without any permission gets."""
    with pytest.raises(ClientError) as refused:
        getattr(role.client(service), operation)(**request)
    answer = refused.value.response
    last = role.server.denials()[-1]
    if operation.startswith("head"):  # its answer has no body
        assert answer["Error"]["Code"] == "403"
    else:
        expected = {"ec2": "UnauthorizedOperation"}.get(service, "AccessDenied")
        assert answer["Error"]["Code"] in (expected, f"{expected}Exception"), answer
        assert last["action"] in answer["Error"]["Message"]
    return last["action"], last["resource"]


@pytest.fixture(scope="session")
def nobody(enforcing: Enforcing) -> Role:
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


def rows() -> list:
    """Of iam_needs.txt: call | the action that it needs | on which resource | request."""
    cells = [
        line.split(" | ", 3) for line in (Path(__file__).parent / "iam_needs.txt").read_text().splitlines()
    ]
    return [
        pytest.param(*call.split(), json.loads(request), action, resource, id=call)
        for call, action, resource, request in cells
    ]


@pytest.mark.parametrize(("service", "operation", "request_", "action", "resource"), rows())
def test_a_role_without_permissions_is_refused_by_action_and_resource(
    nobody: Role, service: str, operation: str, request_: dict, action: str, resource: str
) -> None:
    assert needed(nobody, service, operation, **request_) == (action, resource)


def test_a_refusal_is_aws_own_sentence_and_is_recorded(enforcing: Enforcing) -> None:
    role = Role(enforcing)
    message = refused(role.client("sagemaker").describe_pipeline, PipelineName="demo-dev-train")
    caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/test"
    assert message == (
        f"User: {caller} is not authorized to perform: sagemaker:DescribePipeline on resource: "
        f"{sm('pipeline/demo-dev-train')} because no identity-based policy allows the "
        "sagemaker:DescribePipeline action"
    )
    last = enforcing.denials()[-1]
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


def test_who_has_a_key_that_nobody_was_given_is_root(enforcing: Enforcing) -> None:
    assert "Roles" in enforcing.client("iam").list_roles()
    assert enforcing.client("sagemaker").list_pipelines()["PipelineSummaries"] is not None


def test_everybody_may_ask_who_they_are(nobody: Role) -> None:
    assert nobody.client("sts").get_caller_identity()["Arn"].endswith(f"assumed-role/{nobody.name}/test")


def test_an_operation_of_unknown_permissions_is_refused_by_name(enforcing: Enforcing) -> None:
    role = Role(enforcing, allow("*"))
    message = refused(role.client("sagemaker").list_notebook_instances)
    assert "does not know the permissions that sagemaker:ListNotebookInstances needs" in message


def test_a_user_has_the_policies_of_its_groups(enforcing: Enforcing) -> None:
    iam, user, group = enforcing.client("iam"), name("user"), name("group")
    iam.create_user(UserName=user)
    iam.create_group(GroupName=group)
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    mine = client(enforcing.server, session_of(keys), "iam")
    assert f"user/{user} is not authorized" in refused(mine.list_roles)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document(allow("iam:ListRoles")))
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert mine.list_roles()["Roles"]


STEPS = [
    # what is asked; what of the role's permissions it needs, one after the other
    (
        "sagemaker",
        "create_training_job",
        JOB | {"TrainingJobName": "demo-dev-a", "Tags": [{"Key": "k", "Value": "v"}]},
        [
            ("sagemaker:CreateTrainingJob", sm("training-job/demo-dev-a")),
            ("sagemaker:AddTags", sm("training-job/demo-dev-a")),
            ("iam:PassRole", MINE),
        ],
    ),
    (
        "sagemaker",
        "create_pipeline",
        PIPELINE,
        [
            ("sagemaker:CreatePipeline", sm("pipeline/demo-dev-train")),
            ("iam:PassRole", MINE),
        ],
    ),
    (
        "sagemaker",
        "create_model_package",
        {"ModelPackageGroupName": "g"},
        [
            ("sagemaker:CreateModelPackage", sm("model-package/g/*")),
            ("sagemaker:CreateModelPackage", sm("model-package-group/g")),
        ],
    ),
    (
        "events",
        "put_targets",
        {"Rule": "r", "Targets": [{"Id": "1", "Arn": sm("pipeline/p"), "RoleArn": MINE}]},
        [
            ("events:PutTargets", arn("events", "rule/r")),
            ("iam:PassRole", MINE),
        ],
    ),
    (
        "scheduler",
        "create_schedule",
        SCHEDULE,
        [
            ("scheduler:CreateSchedule", arn("scheduler", "schedule/default/weekly")),
            ("iam:PassRole", MINE),
        ],
    ),
    (
        "codebuild",
        "create_project",
        {
            "name": "pp",
            "source": {"type": "NO_SOURCE"},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"},
            "serviceRole": MINE,
        },
        [
            ("codebuild:CreateProject", arn("codebuild", "project/pp")),
            ("iam:PassRole", MINE),
        ],
    ),
    (
        "cloudformation",
        "create_stack",
        {
            "StackName": "s",
            "TemplateURL": "https://demo-data.s3.amazonaws.com/t.yaml",
            "RoleARN": MINE,
            "Tags": [{"Key": "k", "Value": "v"}],
        },
        [
            ("cloudformation:CreateStack", arn("cloudformation", "stack/s/*")),
            ("cloudformation:TagResource", arn("cloudformation", "stack/s/*")),
            ("iam:PassRole", MINE),
            ("s3:GetObject", "arn:aws:s3:::demo-data/t.yaml"),
        ],
    ),
    (
        "s3",
        "copy_object",
        {"Bucket": "demo-data", "Key": "new", "CopySource": "other-data/old"},
        [
            ("s3:PutObject", "arn:aws:s3:::demo-data/new"),
            ("s3:GetObject", "arn:aws:s3:::other-data/old"),
            ("s3:ListBucket", "arn:aws:s3:::other-data"),
        ],
    ),
    (
        "s3",
        "get_object",
        {"Bucket": "demo-data", "Key": "none"},
        [
            ("s3:GetObject", "arn:aws:s3:::demo-data/none"),
            ("s3:ListBucket", "arn:aws:s3:::demo-data"),
        ],
    ),
    (
        "ec2",
        "create_route_table",
        {
            "VpcId": "vpc-0123456789abcdef0",
            "TagSpecifications": [{"ResourceType": "route-table", "Tags": [{"Key": "k", "Value": "v"}]}],
        },
        [
            ("ec2:CreateRouteTable", arn("ec2", "route-table/*")),
            ("ec2:CreateRouteTable", arn("ec2", "vpc/vpc-0123456789abcdef0")),
            ("ec2:CreateTags", arn("ec2", "route-table/*")),
        ],
    ),
]


@pytest.mark.parametrize(
    ("service", "operation", "request_", "wanted"), STEPS, ids=[f"{row[0]}-{row[1]}" for row in STEPS]
)
def test_a_request_needs_more_than_the_action_of_its_name(
    enforcing: Enforcing, service: str, operation: str, request_: dict, wanted: list[tuple[str, str]]
) -> None:
    role, granted = Role(enforcing), []
    for action, resource in wanted:
        assert needed(role, service, operation, **request_) == (action, resource)
        granted.append(allow(action, resource))
        role.allow(*granted)
    count = len(enforcing.denials())
    try:
        getattr(role.client(service), operation)(**request_)
    except ClientError as error:
        assert "AccessDenied" not in str(error)
    assert len(enforcing.denials()) == count


def test_a_role_is_passed_only_to_the_service_that_the_condition_names(enforcing: Enforcing) -> None:
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
    enforcing: Enforcing, service: str, operation: str, condition: dict, fits: dict, differs: dict | None
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


def test_a_bucket_policy_allows_and_denies(enforcing: Enforcing) -> None:
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


def test_an_object_under_a_key_needs_the_key(enforcing: Enforcing) -> None:
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
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=document(allow("kms:*") | {"Principal": {"AWS": role.arn}})
    )
    assert role.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_a_refusal_in_cbor_is_read_by_a_client_of_cbor(nobody: Role) -> None:
    """Clients other than boto3 send metrics in this form."""
    scope = f"{nobody.key}/20260101/{REGION}/monitoring/aws4_request"
    signed = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope},",
        "Content-Type": "application/cbor",
        "smithy-protocol": "rpc-v2-cbor",
    }
    connection = http.client.HTTPConnection(nobody.server.endpoint.removeprefix("http://"))
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    body = b"\xa1" + b"\x69Namespace" + b"\x6aMLPipeline"
    connection.request("POST", path, body, signed)
    answer = connection.getresponse()
    told = BaseCBORParser().parse_data_item(BytesIO(answer.read()))
    assert (answer.status, told["__type"]) == (403, "AccessDeniedException")
    assert answer.headers["x-amzn-query-error"] == "AccessDenied;Sender"
    assert "not authorized to perform: cloudwatch:PutMetricData on resource: *" in told["message"]


def test_a_presigned_url_is_worth_what_its_signer_may(enforcing: Enforcing) -> None:
    role, key = Role(enforcing), name("presigned")
    enforcing.client("s3").put_object(Bucket="demo-data", Key=key, Body=b"rows")
    url = role.client("s3").generate_presigned_url("get_object", {"Bucket": "demo-data", "Key": key})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    role.allow(allow("s3:GetObject"))
    assert urllib.request.urlopen(url).read() == b"rows"
