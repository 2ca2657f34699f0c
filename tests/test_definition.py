"""A definition that cannot be executed is refused at creation; its functions have the values of SageMaker."""

from __future__ import annotations

import json
import uuid
from copy import deepcopy

import pytest
from botocore.exceptions import ClientError

from conftest import IMAGE, ROLE, Server
from local_aws.definition import check, job_name, steps_of
from local_aws.expressions import Scope, Unresolved, holds, path_keys, resolve
from local_aws.validation import ApiError

PREFIX = {"Std:Join": {"On": "/", "Values": ["s3://bucket", {"Get": "Execution.PipelineExecutionId"}]}}


def training(name: str, **arguments: object) -> dict:
    request = {
        "TrainingJobName": f"demo-local-{name.lower()}",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": PREFIX},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    return {"Name": name, "Type": "Training", "Arguments": request | arguments}


def get(reference: str) -> dict:
    return {"Get": reference}


def result(step: str, key: str) -> dict:
    uri = {
        "Std:Join": {
            "On": "/",
            "Values": [get(f"Steps.{step}.OutputDataConfig.S3OutputPath"), "results.json"],
        }
    }
    return {"Std:JsonGet": {"S3Uri": uri, "Path": f"Result['{key}']"}}


def condition(name: str, if_steps: list, else_steps: list, *conditions: dict) -> dict:
    tested = list(conditions) or [{"Type": "Equals", "LeftValue": result("First", "ok"), "RightValue": True}]
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {"Conditions": tested, "IfSteps": if_steps, "ElseSteps": else_steps},
    }


def fail(name: str = "Rejected", message: object = "no") -> dict:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def pipeline(*steps: dict, parameters: list | None = None) -> dict:
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters or [], "Steps": list(steps)}


def processing(name: str) -> dict:
    output = {
        "S3Uri": "s3://bucket/out",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
    request = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": output}]},
    }
    file = {"PropertyFileName": "Metrics", "OutputName": "report", "FilePath": "metrics.json"}
    return {"Name": name, "Type": "Processing", "Arguments": request, "PropertyFiles": [file]}


def refusal(definition: dict) -> str:
    with pytest.raises(ApiError) as caught:
        check(definition, None)
    assert caught.value.code == "ValidationException"
    return caught.value.message


GOOD = pipeline(
    training("First", Environment={"WORD": get("Parameters.Word")}),
    condition(
        "Gate",
        [training("Second")],
        [fail(message={"Std:Join": {"On": " ", "Values": ["bad", get("Parameters.Word")]}})],
    ),
    parameters=[{"Name": "Word", "Type": "String", "DefaultValue": "x"}],
)


def test_a_definition_that_can_be_executed_is_accepted() -> None:
    check(GOOD, None)
    check(
        pipeline(
            processing("Report"), training("Next", Environment={"A": property_file("Report", "Metrics")})
        ),
        None,
    )


def property_file(step: str, name: str) -> dict:
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{name}"), "Path": "auc.value"}}


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            [{"Name": "Notify", "Type": "Lambda", "Arguments": {}}],
            "Step Notify: type 'Lambda' is not supported",
        ),
        ([training("A"), training("A")], "Step A: the name is used 2 times"),
        (
            [training("First"), condition("Gate", [training("First")], [])],
            "Step First: the name is used 2 times",
        ),
        (
            [training("A", Environment={"X": get("Steps.B.ModelArtifacts.S3ModelArtifacts")})],
            "refers to step B",
        ),
        (
            [training("A", Environment={"X": result("Gone", "k")})],
            "Step A: refers to step Gone, which is not defined",
        ),
        ([training("A") | {"DependsOn": ["Z"]}], "Step A: refers to step Z"),
        (
            [training("A") | {"DependsOn": [{"Step": "B", "Trigger": "Failed"}]}],
            "Step A: DependsOn: run condition",
        ),
        ([training("A") | {"CacheConfig": {"Enabled": True}}], "Step A: CacheConfig is not supported"),
        (
            [training("A", Environment={"X": get("Parameters.Nope")})],
            "Get Parameters.Nope: there is no such parameter",
        ),
        (
            [training("A", Environment={"X": get("Execution.Nope")})],
            "Get Execution.Nope: there is no such variable",
        ),
        (
            [training("A", Environment={"X": get("Nope.x")})],
            "must begin with Parameters., Execution. or Steps.",
        ),
        ([training("A", Environment={"X": {"Std:Upper": "a"}})], "function Std:Upper is not supported"),
        (
            [training("A", Environment={"X": {"Std:Join": {"Values": [["a"]]}}})],
            "Std:Join: got ['a'], must be",
        ),
        (
            [training("A", Environment={"X": {"Std:JsonGet": {"Path": "a"}}})],
            "Std:JsonGet takes Path and one of",
        ),
        (
            [processing("P"), training("A", Environment={"X": property_file("P", "Other")})],
            "step P (Processing) has PropertyFiles.Metrics",
        ),
        (
            [training("A"), training("B", Environment={"X": get("Steps.A.ModelArtifacts.S3Model")})],
            "ModelArtifacts has no S3Model; it has S3ModelArtifacts",
        ),
        (
            [training("A"), training("B", Environment={"X": get("Steps.A.ModelArtifacts")})],
            "ModelArtifacts is a structure: name one value in it",
        ),
        (
            [training("A", StoppingCondition={"MaxRuntimeInSeconds": 0})],
            "Step A: CreateTrainingJob.StoppingCondition",
        ),
        ([training("A", Stopping=1)], "Step A: CreateTrainingJob.Stopping is not a parameter"),
        ([training("A", StoppingCondition=get("Parameters.N"))], "StoppingCondition is a structure"),
        (
            [training("A", Environment={"X": get("Parameters.N")})],
            "Parameters.N is of type Integer, expected string",
        ),
        ([training("A", EnableNetworkIsolation=PREFIX)], "Std:Join gives a string, expected boolean"),
        (
            [training("A", TrainingJobName="x" * 60)],
            "CreateTrainingJob.TrainingJobName: length must be at most 63",
        ),
        (
            [training("First"), condition("Gate", [], [], {"Type": "Near"})],
            "Conditions[0]: type 'Near' is not a",
        ),
        (
            [training("First"), condition("Gate", [], [], {"Type": "Equals", "LeftValue": 1})],
            "Step Gate: Conditions[0]: Equals takes LeftValue and RightValue",
        ),
        (
            [training("A") | {"RetryPolicies": [{"ExceptionType": ["X"], "MaxAttempts": 1}]}],
            "ExceptionType: got 'X'",
        ),
        (
            [training("A") | {"RetryPolicies": [{"ExceptionType": ["Step.THROTTLING"]}]}],
            "exactly one of MaxAttempts",
        ),
    ],
)
def test_what_cannot_be_executed_is_refused_with_step_and_place(steps: list[dict], sentence: str) -> None:
    number = {"Name": "N", "Type": "Integer", "DefaultValue": 1}
    assert sentence in refusal(pipeline(*steps, parameters=[number]))


def test_a_cycle_is_refused_with_its_path() -> None:
    a = training("A", Environment={"X": get("Steps.B.ModelArtifacts.S3ModelArtifacts")})
    message = refusal(pipeline(a, training("B") | {"DependsOn": ["A"]}))
    assert "form a cycle: " in message and ("A -> B -> A" in message or "B -> A -> B" in message)


def test_a_branch_that_its_condition_waits_for_is_a_cycle() -> None:
    gate = condition("Gate", [training("First")], [])
    assert "form a cycle" in refusal(pipeline(gate))


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ({"Name": "N", "Type": "Number"}, "Parameter 'N': Type: got 'Number', allowed: String, Integer"),
        (
            {"Name": "N", "Type": "Integer", "DefaultValue": "3"},
            "Parameter 'N': got '3', must be of type Integer",
        ),
        ({"Name": "N", "Type": "Integer", "DefaultValue": True}, "got True, must be of type Integer"),
        (
            {"Name": "N", "Type": "String", "DefaultValue": "c", "EnumValues": ["a", "b"]},
            "got 'c', allowed: ['a', 'b']",
        ),
        ({"Name": "N", "Type": "String", "Min": 1}, "Parameter 'N': Min is not supported"),
    ],
)
def test_a_parameter_must_have_a_type_and_a_default_of_it(parameter: dict, sentence: str) -> None:
    assert sentence in refusal(pipeline(training("A"), parameters=[parameter]))


def test_a_parameter_declared_twice_is_refused() -> None:
    parameter = {"Name": "N", "Type": "Integer", "DefaultValue": 1}
    assert "Parameters: N is declared 2 times" in refusal(pipeline(training("A"), parameters=[parameter] * 2))


def test_another_version_of_the_schema_is_refused() -> None:
    assert "Version: got '2019-01-01', must be '2020-12-01'" in refusal(GOOD | {"Version": "2019-01-01"})


def test_all_that_is_wrong_is_told_at_once() -> None:
    broken = deepcopy(GOOD)
    broken["Steps"][0]["Arguments"]["Environment"] = {"A": get("Parameters.X"), "B": get("Parameters.Y")}
    message = refusal(broken)
    assert "Parameters.X" in message and "Parameters.Y" in message


def test_a_step_needs_what_it_refers_to_what_it_depends_on_and_its_condition() -> None:
    steps = steps_of(
        pipeline(
            training("First"),
            training("Other"),
            condition(
                "Gate",
                [training("Second", Environment={"X": result("First", "k")}) | {"DependsOn": ["Other"]}],
                [fail()],
            ),
        )
    )
    assert steps["Second"].needs == {"First", "Other", "Gate"}
    assert steps["Gate"].needs == {"First"}
    assert steps["Rejected"].branch == ("Gate", False)


def test_a_job_is_named_after_its_prefix_and_execution() -> None:
    step = steps_of(GOOD)["First"]
    assert (
        job_name(step, "demo-local-first", "abcdefghijkl", "0a1b2c") == "demo-local-first-abcdefghijkl-0a1b2c"
    )
    assert job_name(step, None, "abcdefghijkl", "0a1b2c") == "pipelines-abcdefghijkl-First-0a1b2c"


def test_the_server_refuses_a_definition_that_cannot_be_executed(server: Server) -> None:
    definition = pipeline(training("A", Environment={"X": get("Steps.B.ModelArtifacts.S3ModelArtifacts")}))
    client = server.client("sagemaker")
    name = f"definition-{uuid.uuid4().hex[:8]}"
    with pytest.raises(ClientError, match="Step A: refers to step B"):
        client.create_pipeline(PipelineName=name, RoleArn=ROLE, PipelineDefinition=json.dumps(definition))
    with pytest.raises(ClientError):
        client.describe_pipeline(PipelineName=name)


FILES = {
    "s3://bucket/out/results.json": json.dumps(
        {"Result": {"k": 0.5, "none": None, "list": [1, {"a": "b"}]}}
    ).encode(),
    "s3://bucket/report/metrics.json": b'{"auc": {"value": 0.9}}',
}
FIRST = {
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "FinalMetricDataList": [{"MetricName": "validation:auc", "Value": 0.75}],
}


def read(uri: str) -> bytes:
    if uri not in FILES:
        raise Unresolved("NoSuchKey")
    return FILES[uri]


SCOPE = Scope(
    parameters={"Word": "x", "Rate": 0.25, "Count": 3, "Fast": True},
    variables={"PipelineExecutionId": "abcdefghijkl"},
    step={"First": FIRST, "Gate": {"Outcome": True}}.__getitem__,
    property_file=lambda step, name: f"s3://bucket/report/{name.lower()}.json",
    read=read,
)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (get("Parameters.Count"), 3),
        (get("Parameters.Fast"), True),
        (get("Execution.PipelineExecutionId"), "abcdefghijkl"),
        (get("Steps.First.OutputDataConfig.S3OutputPath"), "s3://bucket/out"),
        (get("Steps.First.FinalMetricDataList['validation:auc'].Value"), 0.75),
        (get("Steps.First.FinalMetricDataList[0].Value"), 0.75),
        (get("Steps.Gate.Outcome"), True),
        ({"Std:Join": {"On": "-", "Values": ["a", 1, 0.5, True, get("Parameters.Word")]}}, "a-1-0.5-true-x"),
        ({"Std:Join": {"Values": ["a", {"Std:Join": {"On": "+", "Values": ["b", "c"]}}]}}, "ab+c"),
        (result("First", "k"), 0.5),
        (property_file("Any", "Metrics"), 0.9),
        ({"a": [get("Parameters.Rate"), {"b": get("Parameters.Word")}]}, {"a": [0.25, {"b": "x"}]}),
    ],
)
def test_a_function_has_its_value(expression: dict, value: object) -> None:
    assert resolve(expression, SCOPE) == value


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        (result("First", "none"), "Std:JsonGet Result['none'] of s3://bucket/out/results.json: is null"),
        (result("First", "list"), "is a list, not one value"),
        (result("First", "gone"), "no 'gone' under Result; there is: k, none, list"),
        (
            {"Std:JsonGet": {"S3Uri": "s3://bucket/no", "Path": "a"}},
            "Std:JsonGet a of s3://bucket/no: NoSuchKey",
        ),
        (
            get("Steps.First.ModelArtifacts.S3ModelArtifacts"),
            "Get Steps.First.ModelArtifacts.S3ModelArtifacts: no",
        ),
        (get("Execution.TrainingJobName"), "Get Execution.TrainingJobName: this step has none"),
    ],
)
def test_a_function_without_a_value_says_which_and_why(expression: dict, sentence: str) -> None:
    with pytest.raises(Unresolved) as caught:
        resolve(expression, SCOPE)
    assert sentence in str(caught.value)


def test_a_path_holds_names_keys_and_positions() -> None:
    assert path_keys("Result['a b'][0].c") == ["Result", "a b", 0, "c"]
    assert path_keys('$.a["b"]') == ["a", "b"]
    with pytest.raises(Unresolved, match="is not of the form"):
        path_keys("a[*].b")


def compared(kind: str, left: object, right: object) -> bool:
    return holds({"Type": kind, "LeftValue": left, "RightValue": right}, SCOPE)


def test_conditions_compare_as_sagemaker_does() -> None:
    assert compared("Equals", get("Parameters.Word"), "x") and not compared("Equals", "x", "X")
    assert compared("Equals", 1, 1.0) and compared("Equals", get("Parameters.Fast"), True)
    assert compared("GreaterThan", 2, 1) and not compared("GreaterThan", 1, 1)
    assert compared("GreaterThanOrEqualTo", 1, 1) and not compared("GreaterThanOrEqualTo", 0.9, 1)
    assert compared("LessThan", 0.5, 1) and not compared("LessThan", 1, 1)
    assert compared("LessThanOrEqualTo", 1, 1) and not compared("LessThanOrEqualTo", 1.1, 1)
    assert holds({"Type": "In", "QueryValue": get("Parameters.Word"), "Values": ["y", "x"]}, SCOPE)
    assert not holds({"Type": "In", "QueryValue": 4, "Values": [1, 2, get("Parameters.Count")]}, SCOPE)
    low = {"Type": "LessThan", "LeftValue": result("First", "k"), "RightValue": 0.4}
    high = {"Type": "GreaterThan", "LeftValue": result("First", "k"), "RightValue": 0.4}
    assert holds({"Type": "Or", "Conditions": [low, high]}, SCOPE)
    assert not holds({"Type": "Or", "Conditions": [low, {"Type": "Not", "Condition": high}]}, SCOPE)


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        ("Equals", 1, "1"),
        ("Equals", True, 1),
        ("GreaterThan", "2", 1),
        ("LessThan", True, 2),
        ("GreaterThan", "b", "a"),
    ],
)
def test_values_of_different_types_cannot_be_compared(kind: str, left: object, right: object) -> None:
    with pytest.raises(Unresolved):
        compared(kind, left, right)
