"""Rules and SageMaker's events: what starts by itself, from the cause to the effect."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from conftest import REGION, Server
from local_aws.events.rules import at_path, body_for
from local_aws.events.sagemaker_events import job_event
from started_by_itself import World
from test_alarms import HOUR, alarm, composite, publish, state
from waiting import until

FAILED = {
    "source": ["aws.sagemaker"],
    "detail-type": ["SageMaker Model Building Pipeline Execution Status Change"],
    "detail": {"currentPipelineExecutionStatus": ["Failed"]},
}


@pytest.fixture
def world(clock_server: Server) -> World:
    """Names of its own on the shared server."""
    return World(clock_server)


def drift(world: World) -> tuple[str, str]:
    """Names of a drift alarm and of the composite over it, which a rule has start the pipeline."""
    data = alarm(world, "data-drift")
    retrain = composite(world, "retrain", f'ALARM("{data}")')
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "resources": [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{retrain}"],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    world.rule("drift", pattern, world.starts(("TriggerReason", "$.detail.alarmName")))
    return data, retrain


def test_drift_starts_the_pipeline_once_and_again_only_after_it_was_over(world: World) -> None:
    data, retrain = drift(world)
    publish(world, 0)
    assert world.executions() == []
    publish(world, 2)
    (execution,) = world.executions()
    assert world.parameters(execution)["TriggerReason"] == retrain
    publish(world, 4)
    assert len(world.executions()) == 1
    world.move(advance_seconds=2 * HOUR)
    assert [state(world, each) for each in (data, retrain)] == ["OK", "OK"]
    publish(world, 1)
    assert len(world.executions()) == 2


def test_the_aws_cli_sets_off_the_same(world: World, aws_cli: Path) -> None:
    def aws(*arguments: str) -> dict:
        keys = {"AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000", "AWS_SECRET_ACCESS_KEY": "local"}
        more = {"AWS_ENDPOINT_URL": world.aws.endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        command = [aws_cli, *arguments, "--output", "json"]
        done = subprocess.run(command, env=kept | keys | more | files, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    data, retrain = drift(world)
    dimensions = "Project=demo,Environment=dev"
    metric = ("--namespace", "MLPipeline", "--metric-name", world.name("drift"), "--dimensions", dimensions)
    aws("cloudwatch", "put-metric-data", *metric, "--value", "2")
    states = aws("cloudwatch", "describe-alarms", "--alarm-names", data)["MetricAlarms"]
    assert [alarm["StateValue"] for alarm in states] == ["ALARM"]
    target = json.dumps(world.starts(("TriggerReason", "schedule")))
    when = ("--schedule-expression", "rate(1 hour)", "--flexible-time-window", "Mode=OFF")
    aws("scheduler", "create-schedule", "--name", world.name("hourly"), *when, "--target", target)
    world.move(advance_seconds=5400)
    listed = aws("sagemaker", "list-pipeline-executions", "--pipeline-name", world.pipeline)
    reasons = [world.parameters(each)["TriggerReason"] for each in listed["PipelineExecutionSummaries"]]
    assert reasons == ["schedule", retrain]
    package = approvals(world)
    approve = ("update-model-package", "--model-package-arn", package, "--model-approval-status", "Approved")
    aws("sagemaker", *approve)
    (message,) = until(lambda: world.received(world.messages))
    assert json.loads(message["Body"])["resources"] == [package]


def test_an_alarm_set_by_hand_starts_the_pipeline_too(world: World) -> None:
    data, _ = drift(world)
    world.client("cloudwatch").set_alarm_state(AlarmName=data, StateValue="ALARM", StateReason="a test")
    assert len(world.executions()) == 1


def test_without_the_permission_nothing_starts_and_one_dead_letter_tells_why(world: World) -> None:
    drift(world)
    world.forbid("trigger", "sagemaker:StartPipelineExecution")
    publish(world, 1)
    assert world.executions() == []
    (letter,) = world.received(world.dead_letters)
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["RULE_ARN"].endswith(f":rule/{world.name('drift')}")
    assert attributes["TARGET_ARN"] == world.pipeline_arn
    assert "sagemaker:StartPipelineExecution" in attributes["ERROR_MESSAGE"]
    assert json.loads(letter["Body"])["detail"]["state"]["value"] == "ALARM"


def test_a_dead_letter_queue_that_does_not_let_the_rule_in_gets_nothing(world: World) -> None:
    drift(world)
    world.forbid("trigger", "sagemaker:StartPipelineExecution")
    world.let_in(world.dead_letters, "scheduler.amazonaws.com")
    publish(world, 1)
    assert world.received(world.dead_letters) == []
    assert [each["outcome"] for each in world.deliveries()] == ["lost"]


def test_a_parameter_that_the_event_does_not_have_starts_nothing(world: World) -> None:
    pattern = {"source": [world.name("own")]}
    world.rule("missing", pattern, world.starts(("TriggerReason", "$.detail.reason")))
    send(world, {"other": 1})
    assert world.executions() == []
    (letter,) = world.received(world.dead_letters)
    assert "TriggerReason: the event has nothing at $.detail.reason" in str(letter["MessageAttributes"])


def send(world: World, detail: dict, **more: object) -> dict:
    entry = {"Source": world.name("own"), "DetailType": "own", "Detail": json.dumps(detail)}
    return world.client("events").put_events(Entries=[entry | more])


def mailed(world: World) -> dict:
    """A target: a topic that lets EventBridge in, and passes on to the world's queue."""
    topic = world.topic("people", world.messages)
    world.let_in(topic, "events.amazonaws.com")
    return {"Arn": topic, "DeadLetterConfig": {"Arn": world.dead_letters}}


def start(world: World, period: str = "auto") -> str:
    answer = world.client("sagemaker").start_pipeline_execution(
        PipelineName=world.pipeline, PipelineParameters=[{"Name": "Period", "Value": period}]
    )
    return answer["PipelineExecutionArn"]


def test_a_failed_execution_is_told_to_people_and_a_good_one_is_not(world: World) -> None:
    detail = FAILED["detail"] | {"pipelineArn": [world.pipeline_arn]}
    world.rule("failed", FAILED | {"detail": detail}, mailed(world))
    start(world)
    failed = start(world, period="bad")
    (message,) = until(lambda: world.received(world.messages))
    event = json.loads(message["Body"])
    described = world.ended({"PipelineExecutionArn": failed})
    assert event["resources"] == [world.pipeline_arn, failed]
    assert event["detail"] == {
        "pipelineExecutionDisplayName": described["PipelineExecutionDisplayName"],
        "currentPipelineExecutionStatus": "Failed",
        "previousPipelineExecutionStatus": "Executing",
        "executionStartTime": f"{described['CreationTime']:%Y-%m-%dT%H:%M:%SZ}",
        "executionEndTime": event["detail"]["executionEndTime"],
        "pipelineArn": world.pipeline_arn,
        "pipelineExecutionArn": failed,
    }


def test_steps_are_told_in_their_own_casing(world: World) -> None:
    steps = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Building Pipeline Execution Step Status Change"],
        "detail": {"pipelineArn": [world.pipeline_arn], "stepName": ["Rejected"]},
    }
    world.rule("steps", steps, {"Arn": world.messages})
    world.let_in(world.messages, "events.amazonaws.com")
    execution = start(world, period="bad")
    world.ended({"PipelineExecutionArn": execution})
    told: list[dict] = []

    def both() -> bool:
        told.extend(json.loads(message["Body"])["detail"] for message in world.received(world.messages))
        return len(told) >= 2

    until(both)
    last = next(each for each in told if each["currentStepStatus"] == "Failed")
    assert (last["previousStepStatus"], last["stepType"]) == ("Starting", "Fail")
    assert (last["failureReason"], last["metadata"]) == ("no", {"fail": {"errorMessage": "no"}})


def approvals(world: World) -> str:
    """ARN of a package; its approval, and nothing else, is told to the world's queue."""
    group = world.name("group")
    detail = {
        "ModelPackageGroupName": [group],
        "ModelApprovalStatus": ["Approved"],
        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
    }
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Model Package State Change"]}
    world.rule("approved", pattern | {"detail": detail}, mailed(world))
    sagemaker = world.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    return sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]


def test_an_approval_reaches_its_target_and_no_other_edit_does(world: World) -> None:
    package, sagemaker = approvals(world), world.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=package, ApprovalDescription="looked at")
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    sagemaker.update_model_package(ModelPackageArn=package, CustomerMetadataProperties={"a": "b"})
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    await_a_later_event(world)
    told = [json.loads(message["Body"]) for message in world.received(world.messages)]
    assert [each["resources"] for each in told] == [[package]]
    assert told[0]["detail"]["UpdatedModelPackageFields"] == ["ModelApprovalStatus"]
    assert (told[0]["detail"]["ModelPackageVersion"], told[0]["detail"]["ModelPackageArn"]) == (1, package)


def await_a_later_event(world: World) -> None:
    """Returns once an event that was sent later than all before it has been delivered."""
    detail = FAILED["detail"] | {"pipelineArn": [world.pipeline_arn]}
    arn = world.rule("later", FAILED | {"detail": detail}, {"Arn": world.dead_letters})
    start(world, period="bad")
    until(lambda: [each for each in world.deliveries() if each["source"] == arn])


def test_an_event_may_come_twice(new_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_AWS_REPEAT_EVENTS_EVERY", "1")
    world = World(new_server())
    package = approvals(world)
    world.client("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    await_a_later_event(world)
    told = [json.loads(message["Body"]) for message in world.received(world.messages)]
    assert [each["detail"] for each in told] == [told[0]["detail"]] * 2
    assert told[0]["id"] != told[1]["id"]


def test_jobs_are_told_with_times_in_milliseconds_and_tags_as_a_map() -> None:
    record = {
        "TrainingJobName": "job",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job",
        "TrainingJobStatus": "Failed",
        "FailureReason": "AlgorithmError: no",
        "CreationTime": 1700000000.5,
        "TrainingEndTime": 1700000060.25,
        "_tags": [{"Key": "Project", "Value": "demo"}],
    }
    resources, detail = job_event("TrainingJob", record)
    assert resources == [record["TrainingJobArn"]]
    told = {name: value for name, value in record.items() if name != "_tags"}
    times = {"CreationTime": 1700000000500, "TrainingEndTime": 1700000060250}
    assert detail == told | times | {"Tags": {"Project": "demo"}}


@pytest.mark.parametrize(
    "encrypted",
    ["alias/aws/sns", "own", "own, let in", "own, let in for this topic", "own, for another"],
)
def test_a_topic_takes_only_from_whom_its_policy_and_key_let_in(world: World, encrypted: str) -> None:
    target, kms = mailed(world), world.client("kms")
    policy = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Resource": "*"}
    policy |= {"Action": ["kms:Decrypt", "kms:GenerateDataKey*"]}
    if "for" in encrypted:
        topic = target["Arn"] if "this" in encrypted else f"{target['Arn']}-2"
        policy |= {"Condition": {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": topic}}}
    more = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [policy]})}
    key = encrypted
    if encrypted != "alias/aws/sns":
        key = kms.create_key(**(more if "," in encrypted else {}))["KeyMetadata"]["KeyId"]
    world.client("sns").set_topic_attributes(
        TopicArn=target["Arn"], AttributeName="KmsMasterKeyId", AttributeValue=key
    )
    world.rule("own", {"source": [world.name("own")]}, target)
    send(world, {})
    taken = int("let in" in encrypted)
    assert len(world.received(world.messages)) == taken
    assert len(world.received(world.dead_letters)) == 1 - taken


def test_a_topic_that_lets_nobody_in_gets_nothing(world: World) -> None:
    topic = world.topic("closed", world.messages)
    world.rule("own", {"source": [world.name("own")]}, {"Arn": topic})
    send(world, {})
    assert [each["outcome"] for each in world.deliveries()] == ["lost"]
    assert world.received(world.messages) == []


def test_a_disabled_rule_sends_nothing(world: World) -> None:
    world.rule("own", {"source": [world.name("own")]}, mailed(world))
    world.client("events").disable_rule(Name=world.name("own"))
    send(world, {"number": 1})
    world.client("events").enable_rule(Name=world.name("own"))
    send(world, {"number": 2})
    told = [json.loads(message["Body"])["detail"] for message in world.received(world.messages)]
    assert told == [{"number": 2}]


EVENT = {
    "source": "own",
    "resources": ["first"],
    "detail": {"name": 'a "b"', "list": [1, {"deep": True}], "count": 3},
}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ({"Input": "fixed"}, "fixed"),
        ({"InputPath": "$.detail.list"}, '[1, {"deep": true}]'),
        ({"InputPath": "$.detail.absent"}, "null"),
    ],
)
def test_a_target_gets_the_part_that_it_asked_for(target: dict, body: str) -> None:
    assert body_for(target, EVENT) == body


@pytest.mark.parametrize(
    ("template", "body"),
    [
        ('"Alarm <name> (<count>)"', '"Alarm a \\"b\\" (3)"'),
        ('{"name": <name>, "list": <list>}', '{"name": "a \\"b\\"", "list": [1, {"deep": true}]}'),
        ('{"text": "<count> of <absent>."}', '{"text": "3 of ."}'),
        ("<other> stays", "<other> stays"),
    ],
)
def test_an_input_template_is_filled(template: str, body: str) -> None:
    paths = {name: f"$.detail.{name}" for name in ("name", "count", "list", "absent")}
    target = {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}
    assert body_for(target, EVENT) == body


def test_a_path_goes_through_members_and_positions() -> None:
    assert at_path(EVENT, "$.detail.list[1].deep") is True
    assert at_path(EVENT, "$.resources[0]") == "first"
    assert at_path(EVENT, "$.resources[1]") is at_path(EVENT, "$.detail.name.more")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"},
            "starts pipelines, and sends to topics",
        ),
        ({"RoleArn": None}, "RoleArn is required for target"),
        ({"EcsParameters": {"TaskDefinitionArn": "arn"}}, "EcsParameters is not supported"),
        ({"Input": "{}", "InputPath": "$"}, "Only one of Input, InputPath"),
    ],
)
def test_a_target_that_nothing_would_reach_is_refused(world: World, change: dict, problem: str) -> None:
    target = {name: value for name, value in (world.starts() | change).items() if value is not None}
    with pytest.raises(ClientError, match=problem):
        world.rule("refused", {"source": ["own"]}, target)


def test_a_rule_with_a_schedule_of_its_own_is_refused(world: World) -> None:
    with pytest.raises(ClientError, match="use EventBridge Scheduler"):
        world.client("events").put_rule(Name=world.name("old"), ScheduleExpression="rate(1 day)")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ({"detail": {"a": [{"prefx": "b"}]}}, "detail.a: unrecognized match type prefx"),
        ({"detail": {"a": [{"numeric": [">", "1"]}]}}, "detail.a: numeric takes pairs"),
        ({"detail": {"a": [{"exists": "yes"}]}}, "detail.a: exists takes true or false"),
        ({"source": "own"}, "source must be an object or an array"),
        ({"$or": [{"source": []}]}, "source must be an object or an array that is not empty"),
    ],
)
def test_a_pattern_that_cannot_match_as_meant_is_refused(world: World, pattern: dict, problem: str) -> None:
    with pytest.raises(ClientError, match=rf"\(InvalidEventPatternException\).*{problem}"):
        world.client("events").put_rule(Name=world.name("bad"), EventPattern=json.dumps(pattern))


def test_a_pattern_chooses_by_prefix_number_and_absence(world: World) -> None:
    detail = {"name": [{"prefix": "dev-"}], "size": [{"numeric": [">", 1]}], "off": [{"exists": False}]}
    target = {"Arn": world.messages}
    world.let_in(world.messages, "events.amazonaws.com")
    world.rule("own", {"source": [world.name("own")], "detail": detail}, target)
    matching = {"name": "dev-a", "size": 2}
    for detail in (matching, matching | {"size": 1}, matching | {"name": "prod"}, matching | {"off": None}):
        send(world, detail)
    told = [json.loads(message["Body"])["detail"] for message in world.received(world.messages)]
    assert told == [matching]


def test_nobody_speaks_for_aws(world: World) -> None:
    answer = send(world, {}, Source="aws.sagemaker")
    assert (answer["FailedEntryCount"], answer["Entries"][0]["ErrorCode"]) == (
        1,
        "NotAuthorizedForSourceException",
    )
