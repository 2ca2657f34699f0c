"""Stacks of the local AWS: what a change set lists, what a deployment makes, and what a failed one leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from conftest import REGION, Server
from local_requests import ACCOUNT, name

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
ABSENT_POLICY = "arn:aws:iam::123456789012:policy/absent"


def queue(queue_name: object, **properties: Any) -> dict:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": queue_name, **properties}}


def role(role_name: str, **properties: Any) -> dict:
    given = {"RoleName": role_name, "AssumeRolePolicyDocument": TRUST, **properties}
    return {"Type": "AWS::IAM::Role", "Properties": given}


def template(resources: dict, **sections: Any) -> str:
    return json.dumps({"Resources": resources, **sections})


class Stacks:
    """What tests ask of CloudFormation and of the services behind it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.api = server.client("cloudformation")

    def create(self, stack: str, body: str, **options: Any) -> str:
        """The new stack's status."""
        self.api.create_stack(StackName=stack, TemplateBody=body, **_named_iam(options))
        return self.status(stack)

    def update(self, stack: str, body: str, **options: Any) -> str:
        self.api.update_stack(StackName=stack, TemplateBody=body, **_named_iam(options))
        return self.status(stack)

    def change_set(self, stack: str, body: str, kind: str = "UPDATE", **options: Any) -> dict:
        """A change set's description."""
        made = self.api.create_change_set(
            StackName=stack,
            ChangeSetName=name("changes"),
            ChangeSetType=kind,
            TemplateBody=body,
            **_named_iam(options),
        )
        return self.api.describe_change_set(ChangeSetName=made["Id"])

    def execute(self, change_set: dict) -> str:
        self.api.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        return self.status(change_set["StackId"])

    def described(self, stack: str) -> dict:
        return self.api.describe_stacks(StackName=stack)["Stacks"][0]

    def status(self, stack: str) -> str:
        return self.described(stack)["StackStatus"]

    def outputs(self, stack: str) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.described(stack).get("Outputs", [])}

    def events(self, stack: str) -> list[tuple[str, str]]:
        """Resource and status of every event, oldest first."""
        events = self.api.describe_stack_events(StackName=stack)["StackEvents"]
        return [(each["LogicalResourceId"], each["ResourceStatus"]) for each in reversed(events)]

    def queue_exists(self, queue_name: str) -> bool:
        listed = self.server.client("sqs").list_queues(QueueNamePrefix=queue_name).get("QueueUrls", [])
        return any(url.endswith(f"/{queue_name}") for url in listed)

    def queue_attributes(self, queue_name: str) -> dict[str, str]:
        sqs = self.server.client("sqs")
        url = sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
        return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def role_exists(self, role_name: str) -> bool:
        listed = self.server.client("iam").list_roles()["Roles"]
        return role_name in [each["RoleName"] for each in listed]


def _named_iam(options: dict) -> dict:
    return {"Capabilities": ["CAPABILITY_NAMED_IAM"], **options}


def parameters(**values: str) -> list[dict]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


@pytest.fixture
def stacks(server: Server) -> Stacks:
    return Stacks(server)


def test_a_change_set_makes_the_stack_that_it_lists(stacks: Stacks) -> None:
    stack = name("made")
    outputs = {"Url": {"Value": {"Ref": "Queue"}}, "Arn": {"Value": {"Fn::GetAtt": ["Queue", "Arn"]}}}
    made = stacks.change_set(stack, template({"Queue": queue(stack)}, Outputs=outputs), "CREATE")
    changes = [each["ResourceChange"] for each in made["Changes"]]
    assert [(each["Action"], each["LogicalResourceId"]) for each in changes] == [("Add", "Queue")]
    assert stacks.status(stack) == "REVIEW_IN_PROGRESS"
    assert not stacks.queue_exists(stack)
    assert stacks.execute(made) == "CREATE_COMPLETE"
    url = stacks.server.client("sqs").get_queue_url(QueueName=stack)["QueueUrl"]
    assert stacks.outputs(stack) == {"Url": url, "Arn": stacks.queue_attributes(stack)["QueueArn"]}
    stacks.api.get_waiter("stack_create_complete").wait(StackName=stack)


def test_resources_are_made_after_what_they_need_and_deleted_before(stacks: Stacks) -> None:
    stack = name("order")
    resources = {
        "Policy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {"Queues": [{"Ref": "Main"}], "PolicyDocument": TRUST},
        },
        "Main": queue(f"{stack}-main", RedrivePolicy={"Fn::Sub": '{"deadLetterTargetArn":"${Dead.Arn}"}'})
        | {"DependsOn": ["Dead"]},
        "Dead": queue(f"{stack}-dead"),
    }
    resources["Main"]["Properties"].pop("RedrivePolicy")
    assert stacks.create(stack, template(resources)) == "CREATE_COMPLETE"
    stack_id = stacks.described(stack)["StackId"]
    stacks.api.delete_stack(StackName=stack)
    done = [event for event in stacks.events(stack_id) if event[0] != stack]
    assert [each for each, status in done if status == "CREATE_COMPLETE"] == ["Dead", "Main", "Policy"]
    assert [each for each, status in done if status == "DELETE_COMPLETE"] == ["Policy", "Main", "Dead"]
    assert not stacks.queue_exists(f"{stack}-dead")


def test_a_failed_creation_leaves_no_resource_behind(stacks: Stacks) -> None:
    stack = name("broken")
    resources = {
        "First": queue(stack),
        "Second": role(stack, ManagedPolicyArns=[ABSENT_POLICY]) | {"DependsOn": "First"},
    }
    assert stacks.create(stack, template(resources)) == "ROLLBACK_COMPLETE"
    assert ("Second", "CREATE_FAILED") in stacks.events(stack)
    assert not stacks.queue_exists(stack)
    assert not stacks.role_exists(stack)


def test_a_rolled_back_creation_can_only_be_deleted(stacks: Stacks) -> None:
    stack = name("rolledback")
    stacks.create(stack, template({"Role": role(stack, ManagedPolicyArns=[ABSENT_POLICY])}))
    fixed = template({"Role": role(stack)})
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update(stack, fixed)
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.change_set(stack, fixed)
    stacks.api.delete_stack(StackName=stack)
    assert stacks.create(stack, fixed) == "CREATE_COMPLETE"


def test_a_failed_creation_stays_when_rollback_is_disabled(stacks: Stacks) -> None:
    stack = name("kept")
    resources = {
        "First": queue(stack),
        "Second": role(stack, ManagedPolicyArns=[ABSENT_POLICY]) | {"DependsOn": "First"},
    }
    assert stacks.create(stack, template(resources), DisableRollback=True) == "CREATE_FAILED"
    assert stacks.queue_exists(stack)


def test_an_unsupported_type_is_refused_before_anything_is_made(stacks: Stacks) -> None:
    stack = name("unknown")
    resources = {"First": queue(stack), "Table": {"Type": "AWS::DynamoDB::Table", "DependsOn": "First"}}
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::DynamoDB::Table\]"):
        stacks.create(stack, template(resources))
    with pytest.raises(ClientError, match="does not exist"):
        stacks.status(stack)
    assert not stacks.queue_exists(stack)


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"NoSuchProperty": 1}, "Encountered unsupported property NoSuchProperty"),
        ({"DelaySeconds": "soon"}, "DelaySeconds: got 'soon', expected a integer"),
        ({"DelaySeconds": {"Fn::GetAtt": ["First", "Colour"]}}, "First: .*AWS::SQS::Queue.Colour"),
        ({"DelaySeconds": {"Ref": "Nowhere"}}, r"Unresolved resource dependencies \[Nowhere\]"),
    ],
)
def test_a_wrong_property_is_refused_before_anything_is_made(
    stacks: Stacks, properties: dict, problem: str
) -> None:
    stack = name("wrong")
    body = template({"First": queue(f"{stack}-first"), "Queue": queue(stack, **properties)})
    with pytest.raises(ClientError, match=problem):
        stacks.create(stack, body)
    assert not stacks.queue_exists(f"{stack}-first")


def test_a_parameter_only_change_is_listed_and_applied(stacks: Stacks) -> None:
    stack = name("parameter")
    body = template(
        {"Queue": queue(stack, DelaySeconds={"Ref": "Delay"})},
        Parameters={"Delay": {"Type": "Number", "Default": 1}},
    )
    stacks.create(stack, body)
    made = stacks.change_set(stack, body, Parameters=parameters(Delay="7"))
    change = made["Changes"][0]["ResourceChange"]
    detail = change["Details"][0]
    assert (change["Action"], change["Replacement"], change["Scope"]) == ("Modify", "False", ["Properties"])
    assert (detail["Target"]["Name"], detail["ChangeSource"]) == ("DelaySeconds", "ParameterReference")
    assert detail["CausingEntity"] == "Delay"
    assert stacks.execute(made) == "UPDATE_COMPLETE"
    assert stacks.queue_attributes(stack)["DelaySeconds"] == "7"
    kept = [{"ParameterKey": "Delay", "UsePreviousValue": True}]
    assert stacks.change_set(stack, body, Parameters=kept)["Status"] == "FAILED"


def test_a_change_set_without_changes_fails_in_the_words_of_aws(stacks: Stacks) -> None:
    stack = name("same")
    body = template({"Queue": queue(stack)})
    stacks.create(stack, body)
    made = stacks.change_set(stack, body)
    assert (made["Status"], made["StatusReason"], made["ExecutionStatus"]) == (
        "FAILED",
        NO_CHANGES,
        "UNAVAILABLE",
    )
    with pytest.raises(ClientError, match="InvalidChangeSetStatus"):
        stacks.execute(made)
    with pytest.raises(ClientError, match=r"No updates are to be performed\."):
        stacks.update(stack, body)


def test_a_new_name_replaces_the_resource(stacks: Stacks) -> None:
    stack = name("renamed")
    stacks.create(stack, template({"Queue": queue(f"{stack}-old")}))
    made = stacks.change_set(stack, template({"Queue": queue(f"{stack}-new")}))
    assert made["Changes"][0]["ResourceChange"]["Replacement"] == "True"
    assert stacks.execute(made) == "UPDATE_COMPLETE"
    assert stacks.queue_exists(f"{stack}-new")
    assert not stacks.queue_exists(f"{stack}-old")


def test_what_depends_on_a_replaced_resource_follows_it(stacks: Stacks) -> None:
    stack = name("follow")

    def body(queue_name: str) -> str:
        shown = {"TopicName": stack, "DisplayName": {"Fn::GetAtt": ["Queue", "QueueName"]}}
        return template(
            {"Queue": queue(queue_name), "Topic": {"Type": "AWS::SNS::Topic", "Properties": shown}}
        )

    stacks.create(stack, body(f"{stack}-old"))
    made = stacks.change_set(stack, body(f"{stack}-new"))
    listed = {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in made["Changes"]}
    assert listed["Topic"]["Details"][0]["Evaluation"] == "Dynamic"
    stacks.execute(made)
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{stack}"
    held = stacks.server.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert held["DisplayName"] == f"{stack}-new"


def test_a_named_resource_is_not_replaced_under_its_own_name(stacks: Stacks) -> None:
    stack = name("ownname")
    stacks.create(stack, template({"Role": role(stack, Path="/a/")}))
    assert stacks.update(stack, template({"Role": role(stack, Path="/b/")})) == "UPDATE_ROLLBACK_COMPLETE"
    found = stacks.server.client("iam").get_role(RoleName=stack)["Role"]
    assert found["Path"] == "/a/"


def test_an_unnamed_resource_keeps_the_name_it_was_given(stacks: Stacks) -> None:
    stack = name("unnamed")

    def body(delay: int) -> str:
        return template({"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": delay}}})

    stacks.create(stack, body(1))
    before = stacks.api.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    stacks.update(stack, body(2))
    after = stacks.api.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    assert f"/{stack}-Queue-" in before[0]["PhysicalResourceId"]
    assert after[0]["PhysicalResourceId"] == before[0]["PhysicalResourceId"]


def test_a_failed_update_undoes_what_it_did(stacks: Stacks) -> None:
    stack = name("undone")
    before = template({"Queue": queue(stack, DelaySeconds=1), "Gone": queue(f"{stack}-gone")})
    stacks.create(stack, before)
    after = template(
        {
            "Queue": queue(stack, DelaySeconds=2),
            "New": queue(f"{stack}-new"),
            "Role": role(stack, ManagedPolicyArns=[ABSENT_POLICY]) | {"DependsOn": ["New", "Queue"]},
        }
    )
    assert stacks.update(stack, after) == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.queue_attributes(stack)["DelaySeconds"] == "1"
    assert stacks.queue_exists(f"{stack}-gone")
    assert not stacks.queue_exists(f"{stack}-new")
    assert not stacks.role_exists(stack)
    assert stacks.api.get_template(StackName=stack)["TemplateBody"] == json.loads(before)
    assert stacks.change_set(stack, before)["Status"] == "FAILED"


def test_what_is_retained_outlives_its_stack(stacks: Stacks) -> None:
    stack = name("retained")
    kept = queue(f"{stack}-kept") | {"DeletionPolicy": "Retain"}
    stacks.create(stack, template({"Kept": kept, "Lost": queue(f"{stack}-lost")}))
    stacks.api.delete_stack(StackName=stack)
    assert stacks.queue_exists(f"{stack}-kept")
    assert not stacks.queue_exists(f"{stack}-lost")


def test_retained_except_on_create_goes_with_a_failed_creation_only(stacks: Stacks) -> None:
    stack = name("except")
    kept = queue(stack) | {"DeletionPolicy": "RetainExceptOnCreate"}
    bad = role(stack, ManagedPolicyArns=[ABSENT_POLICY]) | {"DependsOn": "Kept"}
    assert stacks.create(stack, template({"Kept": kept, "Role": bad})) == "ROLLBACK_COMPLETE"
    assert not stacks.queue_exists(stack)
    stacks.api.delete_stack(StackName=stack)
    stacks.create(stack, template({"Kept": kept}))
    stacks.api.delete_stack(StackName=stack)
    assert stacks.queue_exists(stack)


def test_a_named_role_needs_a_capability(stacks: Stacks) -> None:
    stack = name("capable")
    body = template({"Role": role(stack)})
    message = r"InsufficientCapabilitiesException.*Requires capabilities : \[CAPABILITY_NAMED_IAM\]"
    for given in ([], ["CAPABILITY_IAM"]):
        with pytest.raises(ClientError, match=message):
            stacks.create(stack, body, Capabilities=given)
    assert not stacks.role_exists(stack)


def test_stack_tags_reach_the_resources_and_follow_changes(stacks: Stacks) -> None:
    stack = name("tagged")
    own = [{"Key": "Own", "Value": "1"}]
    body = template({"Role": role(stack, Tags=own), "Queue": queue(stack)})
    stacks.create(stack, body, Tags=[{"Key": "Project", "Value": "a"}, {"Key": "Old", "Value": "x"}])
    iam, sqs = stacks.server.client("iam"), stacks.server.client("sqs")
    tags = {each["Key"]: each["Value"] for each in iam.list_role_tags(RoleName=stack)["Tags"]}
    assert tags == {"Own": "1", "Project": "a", "Old": "x"}
    made = stacks.change_set(stack, body, Tags=[{"Key": "Project", "Value": "b"}])
    assert {tuple(each["ResourceChange"]["Scope"]) for each in made["Changes"]} == {("Tags",)}
    stacks.execute(made)
    url = sqs.get_queue_url(QueueName=stack)["QueueUrl"]
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"Project": "b"}
    tags = {each["Key"]: each["Value"] for each in iam.list_role_tags(RoleName=stack)["Tags"]}
    assert tags == {"Own": "1", "Project": "b"}


def test_an_export_in_use_keeps_its_stack(stacks: Stacks) -> None:
    giver, taker = name("giver"), name("taker")
    output = {"Value": {"Fn::GetAtt": ["Queue", "QueueName"]}, "Export": {"Name": f"{giver}-name"}}
    stacks.create(giver, template({"Queue": queue(giver)}, Outputs={"Name": output}))
    copy = queue({"Fn::Join": ["-", [{"Fn::ImportValue": f"{giver}-name"}, "copy"]]})
    stacks.create(taker, template({"Queue": copy}))
    assert stacks.queue_exists(f"{giver}-copy")
    stacks.api.delete_stack(StackName=giver)
    described = stacks.described(giver)
    assert described["StackStatus"] == "DELETE_FAILED"
    assert f"in use by {taker}" in described["StackStatusReason"]
    assert stacks.queue_exists(giver)
    stacks.api.delete_stack(StackName=taker)
    stacks.api.delete_stack(StackName=giver)
    assert not stacks.queue_exists(giver)


def test_a_large_template_comes_from_s3(stacks: Stacks) -> None:
    stack, bucket = name("large"), name("templates")
    body = template({"Queue": queue(stack)}, Description="x" * 52_000)
    with pytest.raises(ClientError, match="at most 51200 in TemplateBody"):
        stacks.create(stack, body)
    s3 = stacks.server.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a b.json", Body=body)
    for url in (
        f"https://{bucket}.s3.us-east-1.amazonaws.com/a%20b.json",
        f"{stacks.server.endpoint}/{bucket}/a b.json",
    ):
        stacks.api.create_stack(StackName=stack, TemplateURL=url)
        assert stacks.status(stack) == "CREATE_COMPLETE"
        stacks.api.delete_stack(StackName=stack)


def test_what_exists_already_is_not_taken_over(stacks: Stacks) -> None:
    stack = name("taken")
    stacks.server.client("sqs").create_queue(QueueName=stack)
    assert stacks.create(stack, template({"Queue": queue(stack)})) == "ROLLBACK_COMPLETE"
    assert stacks.queue_exists(stack)


def test_a_stack_is_gone_for_its_name_and_kept_for_its_id(stacks: Stacks) -> None:
    stack = name("gone")
    stacks.create(stack, template({"Queue": queue(stack)}))
    stack_id = stacks.described(stack)["StackId"]
    stacks.api.delete_stack(StackName=stack)
    with pytest.raises(ClientError, match=f"Stack with id {stack} does not exist"):
        stacks.status(stack)
    assert stacks.status(stack_id) == "DELETE_COMPLETE"
    stacks.api.delete_stack(StackName=stack)


@pytest.mark.parametrize(
    ("operation", "request_", "problem"),
    [
        ("create_stack", {"StackName": "1x", "TemplateBody": "{}"}, "stackName"),
        ("describe_stacks", {"StackName": "never-made"}, "Stack with id never-made does not exist"),
        (
            "describe_change_set",
            {"StackName": "never-made", "ChangeSetName": "x"},
            "never-made does not exist",
        ),
        (
            "create_stack",
            {"StackName": "x", "TemplateBody": "{}", "RoleARN": "arn:aws:iam::1:role/x"},
            "RoleARN",
        ),
        ("list_stack_sets", {}, "ListStackSets is not supported by the local AWS"),
    ],
)
def test_a_wrong_request_is_refused(stacks: Stacks, operation: str, request_: dict, problem: str) -> None:
    with pytest.raises(ClientError, match=problem):
        getattr(stacks.api, operation)(**request_)
