"""Jobs and steps with --enforce-iam: each does what its role may, and no more."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from conftest import IMAGE
from iam_roles import ROOT, Enforcing, Role, allow, refused, trust
from local_requests import CLUSTER, XGBOOST, name, training_request, wait_until_ended

pytest_plugins = ["enforcing"]

BUCKET = "demo-data"
LOGS = allow("logs:*")
READ = [
    allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
    allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/in/*"),
]
WRITE = allow("s3:PutObject", f"arn:aws:s3:::{BUCKET}/out/*")


@pytest.fixture(scope="module", autouse=True)
def rows(enforcing: Enforcing) -> None:
    lines = "\n".join(f"{number % 2},{number},{number % 5}" for number in range(40))
    enforcing.client("s3").put_object(Bucket=BUCKET, Key="in/train.csv", Body=lines.encode())


def training(role: Role) -> dict:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    return {
        "TrainingJobName": name("demo-dev-train"),
        "RoleArn": role.arn,
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "2", "objective": "binary:logistic"},
        "InputDataConfig": [
            {"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def ended(server: Enforcing, request: dict) -> tuple[str, str]:
    """Status and FailureReason of the job once it has ended."""
    sagemaker, job = server.client("sagemaker"), {"TrainingJobName": request["TrainingJobName"]}
    sagemaker.create_training_job(**request)
    status = wait_until_ended(lambda: sagemaker.describe_training_job(**job)["TrainingJobStatus"])
    return status, sagemaker.describe_training_job(**job).get("FailureReason", "")


@pytest.mark.parametrize(
    ("granted", "action", "key"),
    [
        ([LOGS, WRITE], "s3:ListBucket", ""),
        ([LOGS, WRITE, READ[0]], "s3:GetObject", "/in/train.csv"),
        ([LOGS, *READ], "s3:PutObject", "/out/"),
    ],
)
def test_a_job_fails_by_what_its_role_may_not_do(
    enforcing: Enforcing, granted: list[dict], action: str, key: str
) -> None:
    role = Role(enforcing, *granted)
    status, reason = ended(enforcing, training(role))
    assert status == "Failed"
    assert f"assumed-role/{role.name}/SageMaker is not authorized to perform: {action} on resource" in reason
    assert f"arn:aws:s3:::{BUCKET}{key}" in reason


def test_a_job_that_may_all_it_does_completes(enforcing: Enforcing) -> None:
    role = Role(enforcing, LOGS, *READ, WRITE)
    assert ended(enforcing, training(role)) == ("Completed", "")
    assert [denial for denial in enforcing.denials() if role.name in denial["principal"]] == []


def test_a_job_that_may_not_log_runs_without_log(enforcing: Enforcing) -> None:
    role, request = Role(enforcing, *READ, WRITE), None
    request = training(role)
    assert ended(enforcing, request)[0] == "Completed"
    assert {each["action"] for each in enforcing.denials() if role.name in each["principal"]} <= {
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
    }
    log = enforcing.server.state / "logs" / f"{request['TrainingJobName']}.log"
    assert "[local AWS] this log is not in CloudWatch: User: " in log.read_text()


def test_a_job_needs_a_role_that_trusts_sagemaker(enforcing: Enforcing) -> None:
    role = Role(enforcing, allow("*"), trusted=trust(ROOT))
    with pytest.raises(ClientError, match=f"Could not assume role {role.arn}") as error:
        enforcing.client("sagemaker").create_training_job(**training(role))
    assert error.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_needs_to_pull_an_image_of_the_account(enforcing: Enforcing) -> None:
    role = Role(enforcing)
    request = training_request(IMAGE) | {"RoleArn": role.arn}
    create = enforcing.client("sagemaker").create_training_job
    assert "ecr:GetAuthorizationToken" in refused(create, **request)
    role.allow(allow("ecr:GetAuthorizationToken"))
    assert "ecr:BatchGetImage on resource" in refused(create, **request)
    role.allow(allow("ecr:*"))
    assert create(**request)["TrainingJobArn"]


def test_a_step_needs_what_its_pipelines_role_must_grant(enforcing: Enforcing) -> None:
    role = Role(enforcing, LOGS, *READ, WRITE)
    arguments = {key: value for key, value in training(role).items() if key != "TrainingJobName"}
    definition = {
        "Version": "2020-12-01",
        "Steps": [{"Name": "Fit", "Type": "Training", "Arguments": arguments}],
    }
    sagemaker, pipeline = enforcing.client("sagemaker"), name("demo-dev-pipe")
    sagemaker.create_pipeline(
        PipelineName=pipeline, RoleArn=role.arn, PipelineDefinition=json.dumps(definition)
    )
    granted: list[dict] = [LOGS, *READ, WRITE]
    for action in (
        "sagemaker:CreateTrainingJob",
        "sagemaker:AddTags",
        "iam:PassRole",
        "sagemaker:DescribeTrainingJob",
    ):
        status, reason = executed(enforcing, pipeline)
        assert status == "Failed"
        invoked = "Describe" if "Describe" in action else "Create"
        assert f"Failed to invoke sagemaker:{invoked}TrainingJob. Error Details: User: " in reason
        assert f"is not authorized to perform: {action} on resource" in reason
        granted.append(allow(action))
        role.allow(*granted)
    assert executed(enforcing, pipeline) == ("Succeeded", "")


def executed(server: Enforcing, pipeline: str) -> tuple[str, str]:
    """Status and reason of an execution's end."""
    sagemaker = server.client("sagemaker")
    execution = {
        "PipelineExecutionArn": sagemaker.start_pipeline_execution(PipelineName=pipeline)[
            "PipelineExecutionArn"
        ]
    }
    describe = sagemaker.describe_pipeline_execution
    status = wait_until_ended(lambda: describe(**execution)["PipelineExecutionStatus"])
    return status, describe(**execution).get("FailureReason", "")
