"""Requests are held to the whole of SageMaker's service model."""

import pytest

from local_aws.validation import _compiled, problems, request_problems, service_model

ROLE = "arn:aws:iam::123456789012:role/demo"


def training(**changes: object) -> dict:
    request = {
        "TrainingJobName": "a-job",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return request | changes


BAD = {
    "pattern": ({"TrainingJobName": "-a"}, "TrainingJobName: got '-a', must match [a-zA-Z0-9]"),
    "longest": (
        {"OutputDataConfig": {"S3OutputPath": "s3://bucket/" + "a" * 1024}},
        "S3OutputPath: length must be at most 1024",
    ),
    "greatest": (
        {"RetryStrategy": {"MaximumRetryAttempts": 31}},
        "MaximumRetryAttempts: value must be at most 30, got 31",
    ),
    "least": (
        {"RetryStrategy": {"MaximumRetryAttempts": 0}},
        "MaximumRetryAttempts: value must be at least 1",
    ),
    "enum": (
        {"ResourceConfig": {"InstanceType": "ml.m5.larg", "VolumeSizeInGB": 1}},
        "ResourceConfig.InstanceType: got 'ml.m5.larg', allowed: ml.m5.large, ",
    ),
    "required": ({"AlgorithmSpecification": {}}, "AlgorithmSpecification.TrainingInputMode is required"),
    "unknown": ({"Spot": True}, "CreateTrainingJob.Spot is not a parameter; allowed: "),
    "type": (
        {"EnableManagedSpotTraining": "true"},
        "EnableManagedSpotTraining: got 'true', expected boolean",
    ),
    "boolean for a number": (
        {"StoppingCondition": {"MaxRuntimeInSeconds": True}},
        "got True, expected integer",
    ),
    "in a list": ({"Tags": [{"Key": "a", "Value": "b"}, {"Key": "a"}]}, "Tags[1].Value is required"),
    "in a map": ({"HyperParameters": {"a": 1}}, "HyperParameters.a: got 1, expected string"),
    "key of a map": ({"Environment": {"1a": "b"}}, "Environment key: got '1a', must match"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(changes: dict, message: str) -> None:
    (problem,) = request_problems("CreateTrainingJob", training(**changes))
    assert message in problem


def test_a_right_request_has_no_problems() -> None:
    tags = [{"Key": "Größe", "Value": "été 2026 日本"}]
    assert request_problems("CreateTrainingJob", training(Tags=tags, HyperParameters={"eta": "0.1"})) == []


def test_every_problem_of_a_request_is_told_at_once() -> None:
    found = request_problems("CreateTrainingJob", {"TrainingJobName": "_", "Tags": 1})
    assert [problem.split(":")[0].split(" ")[0] for problem in found] == [
        "CreateTrainingJob.RoleArn",
        "CreateTrainingJob.OutputDataConfig",
        "CreateTrainingJob.TrainingJobName",
        "CreateTrainingJob.Tags",
    ]


def test_a_control_character_in_a_tag_is_refused() -> None:
    (problem,) = request_problems("CreateTrainingJob", training(Tags=[{"Key": "a\x00", "Value": "b"}]))
    assert "Tags[0].Key: got 'a\\x00'" in problem


def test_exactly_one_member_of_a_union_must_be_set() -> None:
    shape = service_model().shape_for("MetricSpecification")
    assert shape.is_tagged_union
    assert "exactly one of Predefined, Customized must be set, got []" in next(problems(shape, {}, "Metric"))


def test_a_value_that_is_known_later_fits_everywhere() -> None:
    later = {"Get": "Parameters.X"}
    request = training(TrainingJobName=later, StoppingCondition=later, Tags=[later])
    assert request_problems("CreateTrainingJob", request, lambda value: value == later) == []


def test_every_pattern_of_the_model_is_understood() -> None:
    shapes = [service_model().shape_for(name) for name in service_model().shape_names]
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert len(patterns) > 200
    assert all(_compiled(pattern) for pattern in patterns)
