"""SageMaker as the local AWS answers it: records, pages, errors by name."""

from __future__ import annotations

import json
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError

from conftest import IMAGE, REGION, ROLE, Server
from local_aws.validation import service_model
from local_requests import (
    ACCOUNT,
    CLUSTER,
    XGBOOST,
    definition,
    make_pipeline,
    name,
    training_request,
    wait_until_ended,
)


def test_every_describe_and_list_answers_what_its_shape_requires(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    requests = one_of_each(server)
    for operation, request in requests.items():
        raw = call(server, operation, request)
        assert missing(service_model().operation_model(operation).output_shape, raw, operation) == []
        method = getattr(
            sagemaker, "".join("_" + c.lower() if c.isupper() else c for c in operation)[1:], None
        )
        assert method is None or method(**request)["ResponseMetadata"]["HTTPStatusCode"] == 200
        if operation.startswith("List"):
            assert any(isinstance(value, list) and value for value in raw.values()), operation


def missing(shape: object, value: object, place: str) -> list[str]:
    """Members that the shape requires and `value` lacks, all the way down."""
    if shape.type_name == "structure":
        lost = [f"{place}.{member}" for member in shape.required_members if member not in value]
        return lost + [
            each for key in value for each in missing(shape.members[key], value[key], f"{place}.{key}")
        ]
    if shape.type_name == "list":
        return [each for item in value for each in missing(shape.member, item, f"{place}[]")]
    return []


def call(server: Server, operation: str, request: dict) -> dict:
    """The JSON that the server answers, as it is on the wire."""
    scope = f"AKIALOCALAWS00000000/20260101/{REGION}/sagemaker/aws4_request"
    headers = {
        "X-Amz-Target": f"SageMaker.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x",
    }
    sent = urllib.request.Request(server.endpoint, json.dumps(request).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(sent) as answer:
        return json.load(answer)


def one_of_each(server: Server) -> dict[str, dict]:
    """Describe and List requests, after one record of every kind was made. The jobs end by themselves."""
    sagemaker, requests = server.client("sagemaker"), {}
    training = training_request()
    model, transform, processing, tuning = (
        name("model"),
        name("transform"),
        name("processing"),
        name("tuning"),
    )
    group, pipeline = name("group"), make_pipeline(server)
    sagemaker.create_training_job(**training)
    sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
    sagemaker.create_transform_job(
        TransformJobName=transform,
        ModelName=model,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://none-here/in/"}}
        },
        TransformOutput={"S3OutputPath": "s3://none-here/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    sagemaker.create_processing_job(
        ProcessingJobName=processing,
        RoleArn=ROLE,
        AppSpecification={
            "ImageUri": "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
        },
        ProcessingResources={"ClusterConfig": CLUSTER},
    )
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(tuning))
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    package = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    execution = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    wait_until_ended(
        lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)[
            "PipelineExecutionStatus"
        ]
    )
    named = {
        "TrainingJob": training["TrainingJobName"],
        "TransformJob": transform,
        "ProcessingJob": processing,
        "HyperParameterTuningJob": tuning,
        "Model": model,
        "ModelPackageGroup": group,
        "Pipeline": pipeline,
    }
    for kind, identifier in named.items():
        requests[f"Describe{kind}"] = {f"{kind}Name": identifier}
        requests[f"List{kind}s"] = {}
    run = {"PipelineExecutionArn": execution}
    return requests | {
        "DescribeModelPackage": {"ModelPackageName": package},
        "ListModelPackages": {"ModelPackageGroupName": group},
        "DescribePipelineExecution": run,
        "DescribePipelineDefinitionForExecution": run,
        "ListPipelineExecutions": {"PipelineName": pipeline},
        "ListPipelineExecutionSteps": run,
        "ListPipelineParametersForExecution": run,
        "ListTags": {
            "ResourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{named['TrainingJob']}"
        },
    }


def tuning_request(tuning: str) -> dict:
    definition = training_request(XGBOOST)
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://none-here/t/"}}}
    return {
        "HyperParameterTuningJobName": tuning,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}]
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"objective": "binary:logistic", "num_round": "2", "eval_metric": "auc"},
            "AlgorithmSpecification": definition["AlgorithmSpecification"],
            "RoleArn": ROLE,
            "InputDataConfig": [
                {"ChannelName": kind, "ContentType": "text/csv"} | channel for kind in ("train", "validation")
            ],
            "OutputDataConfig": definition["OutputDataConfig"],
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    }


MISSING = {
    "describe_training_job": (
        {"TrainingJobName": "none"},
        "ValidationException",
        "Requested resource not found",
    ),
    "describe_processing_job": ({"ProcessingJobName": "none"}, "ValidationException", "name: none"),
    "describe_hyper_parameter_tuning_job": (
        {"HyperParameterTuningJobName": "none"},
        "ResourceNotFound",
        "'none'",
    ),
    "describe_pipeline": ({"PipelineName": "none"}, "ResourceNotFound", "'none'"),
    "start_pipeline_execution": ({"PipelineName": "none"}, "ResourceNotFound", "'none'"),
    "describe_model": ({"ModelName": "none"}, "ValidationException", "none"),
    "describe_model_package": ({"ModelPackageName": "none/1"}, "ValidationException", "none/1"),
    "create_model_package": ({"ModelPackageGroupName": "none"}, "ValidationException", "none"),
    "list_tags": (
        {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/none"},
        "ValidationException",
        "none",
    ),
}


@pytest.mark.parametrize(("method", "case"), MISSING.items(), ids=MISSING)
def test_what_does_not_exist_is_refused_by_name(
    server: Server, method: str, case: tuple[dict, str, str]
) -> None:
    request, code, text = case
    with pytest.raises(ClientError) as raised:
        getattr(server.client("sagemaker"), method)(**request)
    error = raised.value.response["Error"]
    assert error["Code"] == code
    assert text in error["Message"]


def test_a_request_that_breaks_the_service_model_changes_nothing(server: Server) -> None:
    sagemaker, request = server.client("sagemaker", parameter_validation=False), training_request()
    request["ResourceConfig"] = CLUSTER | {"InstanceType": "ml.bogus"}
    with pytest.raises(ClientError, match=r"ResourceConfig.InstanceType: got 'ml.bogus', allowed: "):
        sagemaker.create_training_job(**request)
    assert sagemaker.list_training_jobs(NameContains=request["TrainingJobName"])["TrainingJobSummaries"] == []


@pytest.mark.parametrize("stopping", [{}, {"MaxWaitTimeInSeconds": 59}])
def test_spot_needs_a_wait_as_long_as_the_run(server: Server, stopping: dict) -> None:
    request = training_request() | {"EnableManagedSpotTraining": True}
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60} | stopping
    with pytest.raises(ClientError, match=r"Invalid MaxWaitTimeInSeconds.*MaxRuntimeInSeconds \(60\)"):
        server.client("sagemaker").create_training_job(**request)


def test_an_image_that_nothing_stands_in_for_is_refused_with_those_that_are_known(server: Server) -> None:
    request = training_request("123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1")
    with pytest.raises(ClientError, match=r"other:1.*sagemaker-xgboost:3.2-0.*demo"):
        server.client("sagemaker").create_training_job(**request)


def test_a_second_job_of_one_name_is_refused(server: Server) -> None:
    sagemaker, request = server.client("sagemaker"), training_request()
    sagemaker.create_training_job(**request)
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_training_job(**request)


def test_creating_a_pipeline_again_is_idempotent_by_token_only(server: Server) -> None:
    sagemaker, token = server.client("sagemaker"), uuid.uuid4().hex
    request = {"PipelineName": name("pipe"), "RoleArn": ROLE, "PipelineDefinition": definition()}
    arn = sagemaker.create_pipeline(**request, ClientRequestToken=token)["PipelineArn"]
    assert arn == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{request['PipelineName']}"
    assert sagemaker.create_pipeline(**request, ClientRequestToken=token)["PipelineArn"] == arn
    with pytest.raises(ClientError, match="Pipeline names must be unique"):
        sagemaker.create_pipeline(**request)


def test_a_definition_can_lie_in_s3(server: Server) -> None:
    sagemaker, s3, pipeline = server.client("sagemaker"), server.client("s3"), name("pipe")
    place = {"Bucket": name("bucket"), "ObjectKey": "code/définition.json"}
    s3.create_bucket(Bucket=place["Bucket"])
    request = {"PipelineName": pipeline, "RoleArn": ROLE, "PipelineDefinitionS3Location": place}
    with pytest.raises(ClientError, match=r"cannot read s3://.*NoSuchKey"):
        sagemaker.create_pipeline(**request)
    s3.put_object(Bucket=place["Bucket"], Key=place["ObjectKey"], Body=definition().encode())
    sagemaker.create_pipeline(**request)
    assert sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"] == definition()


def test_starting_again_with_the_same_token_starts_nothing(server: Server) -> None:
    sagemaker, pipeline, token = server.client("sagemaker"), make_pipeline(server), uuid.uuid4().hex
    request = {"PipelineName": pipeline, "ClientRequestToken": token}
    arns = {sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"] for _ in range(3)}
    listed = sagemaker.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"]
    assert [each["PipelineExecutionArn"] for each in listed] == [*arns]


def test_parameters_are_those_given_and_the_defaults_of_the_rest(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    given = [{"Name": "Rounds", "Value": "7"}, {"Name": "Fast", "Value": "true"}]
    started = sagemaker.start_pipeline_execution(PipelineName=make_pipeline(server), PipelineParameters=given)
    listed = sagemaker.list_pipeline_parameters_for_execution(
        **{"PipelineExecutionArn": started["PipelineExecutionArn"]}
    )
    assert {each["Name"]: each["Value"] for each in listed["PipelineParameters"]} == {
        "Reason": "manual",
        "Rounds": "7",
        "Status": "A",
        "Fast": "true",
    }


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("Reson", "x", "unknown Reson; the pipeline takes Reason, Rounds, Status, Fast"),
        ("Rounds", "seven", "Rounds must be of type Integer, got 'seven'"),
        ("Fast", "1", "Fast must be of type Boolean, got '1'"),
        ("Status", "C", r"Status must be one of \['A', 'B'\], got 'C'"),
    ],
)
def test_a_wrong_parameter_starts_nothing(server: Server, parameter: str, value: str, message: str) -> None:
    sagemaker, pipeline = server.client("sagemaker"), make_pipeline(server)
    with pytest.raises(ClientError, match=message):
        sagemaker.start_pipeline_execution(
            PipelineName=pipeline, PipelineParameters=[{"Name": parameter, "Value": value}]
        )
    assert sagemaker.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"] == []


def test_versions_of_a_group_are_numbered_and_a_number_is_never_used_again(server: Server) -> None:
    sagemaker, group = server.client("sagemaker"), name("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    first, second = (
        sagemaker.create_model_package(ModelPackageGroupName=group, ClientToken=token)["ModelPackageArn"]
        for token in (name("token"), "second")
    )
    again = sagemaker.create_model_package(ModelPackageGroupName=group, ClientToken="second")[
        "ModelPackageArn"
    ]
    assert (first[-2:], second[-2:], again) == ("/1", "/2", second)
    sagemaker.delete_model_package(ModelPackageName=second)
    assert sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"].endswith("/3")


def test_the_champion_is_the_newest_approved_version(server: Server) -> None:
    sagemaker, group = server.client("sagemaker"), name("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    arns = [
        sagemaker.create_model_package(
            ModelPackageGroupName=group, CustomerMetadataProperties={"number": str(number), "old": "1"}
        )["ModelPackageArn"]
        for number in range(3)
    ]
    for arn in arns[:2]:
        sagemaker.update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"by": "me"},
            CustomerMetadataPropertiesToRemove=["old"],
        )
    listed = sagemaker.list_model_packages(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=1,
    )["ModelPackageSummaryList"]
    assert [each["ModelPackageArn"] for each in listed] == [arns[1]]
    described = sagemaker.describe_model_package(ModelPackageName=arns[1])
    assert described["CustomerMetadataProperties"] == {"number": "1", "by": "me"}
    assert (
        sagemaker.describe_model_package(ModelPackageName=arns[2])["ModelApprovalStatus"]
        == "PendingManualApproval"
    )
    with pytest.raises(ClientError, match="holds 3 model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_pages_hold_every_record_once_in_the_order_asked_for(server: Server) -> None:
    sagemaker, mark = server.client("sagemaker"), name("page")
    for letter in "cabed":
        sagemaker.create_model_package_group(ModelPackageGroupName=f"{mark}-{letter}")
    paginator = sagemaker.get_paginator("list_model_package_groups")

    def listed(**order: str) -> str:
        pages = paginator.paginate(NameContains=mark, PaginationConfig={"PageSize": 2}, **order)
        return "".join(
            each["ModelPackageGroupName"][-1]
            for page in pages
            for each in page["ModelPackageGroupSummaryList"]
        )

    assert listed(SortBy="CreationTime", SortOrder="Ascending") == "cabed"
    assert listed(SortBy="CreationTime", SortOrder="Descending") == "debac"
    assert listed(SortBy="Name", SortOrder="Ascending") == "abcde"


def test_tags_are_added_replaced_and_deleted(server: Server) -> None:
    sagemaker, group = server.client("sagemaker"), name("group")
    arn = sagemaker.create_model_package_group(
        ModelPackageGroupName=group, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]
    )["ModelPackageGroupArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "2"}]


def test_a_version_can_be_decided_on_more_than_once(server: Server) -> None:
    sagemaker, group = server.client("sagemaker"), name("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    arn = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    for status in ("Approved", "Rejected", "Approved"):
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
        assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == status
