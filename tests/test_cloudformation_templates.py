"""Templates of the local AWS's CloudFormation: what is read, computed and refused."""

from __future__ import annotations

from typing import Any

import pytest

from local_aws.cloudformation import parameters
from local_aws.cloudformation.intrinsics import Scope, resolve
from local_aws.cloudformation.template import Template, read
from local_aws.validation import ApiError

QUEUE = "Resources: {Queue: {Type: AWS::SQS::Queue}}"


def scope(**names: Any) -> Scope:
    pseudo = {"AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::StackName": "demo"}
    conditions = {"Large": {"Fn::Equals": ["1", 1]}, "Small": {"Fn::Not": [{"Condition": "Large"}]}}
    mappings = {"Sizes": {"dev": {"instance": "ml.m5.large"}}}
    return Scope(
        pseudo | names,
        mappings,
        conditions,
        exports=lambda name: f"export of {name}",
        ref=lambda name: f"id-{name}",
        attribute=lambda name, attribute: f"{name}/{attribute}",
    )


def value(text: str) -> Any:
    """What the YAML is once its functions are computed."""
    document = read(f"{QUEUE}\nMetadata:\n  Value: {text}").document
    return resolve(document["Metadata"]["Value"], scope(Name="ana", Zones=["a", "b"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!Ref Name", "ana"),
        ("!Ref Queue", "id-Queue"),
        ("!Ref AWS::Region", "eu-west-1"),
        ("!GetAtt Queue.Arn", "Queue/Arn"),
        ("!GetAtt [Queue, Endpoint.Port]", "Queue/Endpoint.Port"),
        ("!Sub '${Name}-${Queue.Arn}-${AWS::StackName}-${!Literal}'", "ana-Queue/Arn-demo-${Literal}"),
        ("!Sub ['${Name}${Own}', {Own: !Ref Queue}]", "anaid-Queue"),
        ("!Join [',', !Ref Zones]", "a,b"),
        ("!Select [1, !Split ['|', 'x|y|z']]", "y"),
        ("!Select ['0', !GetAZs '']", "eu-west-1a"),
        ("!If [Large, 1, 2]", 1),
        ("!If [Small, 1, 2]", 2),
        ("{Kept: 1, Left: !If [Small, 1, !Ref AWS::NoValue]}", {"Kept": 1}),
        ("[1, !If [Small, 2, !Ref AWS::NoValue], 3]", [1, 3]),
        ("!FindInMap [Sizes, dev, instance]", "ml.m5.large"),
        ("!ImportValue other-bucket", "export of other-bucket"),
        ("!Base64 hello", "aGVsbG8="),
        ("!Cidr [10.0.0.0/16, 2, 8]", ["10.0.0.0/24", "10.0.1.0/24"]),
        ("{Version: 2012-10-17}", {"Version": "2012-10-17"}),
    ],
)
def test_functions_are_computed(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"Fn::And": [{"Condition": "Large"}, {"Condition": "Small"}]}, False),
        ({"Fn::Or": [{"Condition": "Small"}, {"Condition": "Large"}]}, True),
        ({"Fn::Not": [{"Fn::Equals": [{"Ref": "Name"}, "bob"]}]}, True),
        ({"Fn::Equals": [True, "true"]}, True),
    ],
)
def test_conditions_are_evaluated(condition: dict, expected: bool) -> None:
    asked = scope(Name="ana")
    asked.conditions["Asked"] = condition
    assert asked.holds("Asked") is expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Resources: {A: [}", "YAML not well-formed"),
        ('{"Resources": ', "JSON not well-formed"),
        ("Outputs: {}", "At least one Resources member"),
        (f"{QUEUE}\nColours: {{}}", r"Invalid template property or properties \[Colours\]"),
        (f"{QUEUE}\nTransform: AWS::Serverless-2016-10-31", "does not process the section Transform"),
        ("Resources: {A: {Properties: {}}}", "must contain a Type"),
        ("Resources: {A-B: {Type: AWS::SQS::Queue}}", "A-B is non alphanumeric"),
        ("Resources: {A: {Type: AWS::SQS::Queue, Colour: red}}", "unsupported property Colour"),
        ("Resources: {A: {Type: AWS::SQS::Queue, DeletionPolicy: Snapshot}}", "DeletionPolicy.*Snapshot"),
        ("Resources: {A: {Type: AWS::SQS::Queue, DependsOn: B}}", r"Unresolved resource dependencies \[B\]"),
        ("Resources: {A: {Type: AWS::SQS::Queue, Condition: C}}", "Unresolved condition dependency C"),
        ("Resources: {A: {Type: AWS::SQS::Queue, Properties: {Delay: }}}", "'null' values are not allowed"),
        (f"{QUEUE}\nOutputs: {{A: {{Value: !Ref Nowhere}}}}", r"\[Nowhere\] in the Outputs block"),
        (f"{QUEUE}\nResources: {{}}", "duplicate key Resources"),
    ],
)
def test_a_malformed_template_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        read(text)


def declared(**parameter: Any) -> Template:
    members = {"Type": "String", **parameter}
    return Template("", {"Parameters": {"Size": members}, "Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})


def given(template: Template, text: str) -> dict[str, str]:
    return parameters.given(template, [{"ParameterKey": "Size", "ParameterValue": text}])


@pytest.mark.parametrize(
    ("constraint", "good", "bad", "problem"),
    [
        ({"AllowedValues": ["s", "l"]}, "s", "m", r"must be one of \[s, l\]"),
        ({"AllowedPattern": "[a-z]+"}, "abc", "abc1", "must match pattern"),
        ({"AllowedPattern": "[a-z]+", "ConstraintDescription": "small letters"}, "a", "A", "small letters"),
        ({"MinLength": 2}, "ab", "a", "at least 2 characters"),
        ({"MaxLength": "2"}, "ab", "abc", "at most 2 characters"),
        ({"Type": "Number", "MinValue": 2}, "2", "1.5", "not less than 2"),
        ({"Type": "Number", "MaxValue": 2}, "2", "3", "not greater than 2"),
        ({"Type": "Number"}, "2.5", "two", "must be a number"),
        ({"Type": "CommaDelimitedList", "AllowedValues": ["a", "b"]}, "a, b", "a,c", r"one of \[a, b\]"),
    ],
)
def test_parameters_keep_their_constraints(constraint: dict, good: str, bad: str, problem: str) -> None:
    assert given(declared(**constraint), good) == {"Size": good}
    with pytest.raises(ApiError, match=problem):
        given(declared(**constraint), bad)


def test_lists_are_lists_to_ref() -> None:
    template = declared(Type="List<AWS::EC2::Subnet::Id>")
    assert parameters.values_of(template, {"Size": "subnet-1, subnet-2"}) == {
        "Size": ["subnet-1", "subnet-2"]
    }
    assert parameters.values_of(template, {"Size": ""}) == {"Size": []}


def test_unknown_and_missing_parameters_are_named() -> None:
    with pytest.raises(ApiError, match=r"\[Shape\] do not exist in the template"):
        parameters.given(declared(), [{"ParameterKey": "Shape", "ParameterValue": "x"}])
    with pytest.raises(ApiError, match=r"\[Size\] must have values"):
        parameters.given(declared(), [])


def test_a_secret_parameter_is_never_shown() -> None:
    shown = parameters.described(declared(NoEcho=True), {"Size": "hidden"})
    assert shown == [{"ParameterKey": "Size", "ParameterValue": "****"}]
