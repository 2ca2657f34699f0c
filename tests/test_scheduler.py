"""EventBridge Scheduler: when schedules are due, and what they start."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError

from conftest import ROLE, Server
from local_aws.events.cron import parse
from started_by_itself import World, ask, refusal
from test_definition import pipeline, training
from waiting import until

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def runs(expression: str, zone: str = "UTC", begin: datetime = BEGIN, count: int = 3) -> list[str]:
    """Local times of the first runs after `begin`."""
    schedule, moment, found = parse(expression, zone, begin.timestamp()), begin.timestamp(), []
    while len(found) < count and (moment := schedule.after(moment)) is not None:
        found.append(f"{datetime.fromtimestamp(moment, ZoneInfo(zone)):%Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 6 ? * MON *)", ["2026-01-05 06:00", "2026-01-12 06:00", "2026-01-19 06:00"]),
        ("cron(15/20 8-9 1 * ? *)", ["2026-01-01 08:15", "2026-01-01 08:35", "2026-01-01 08:55"]),
        ("cron(0 0 L * ? *)", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 1W * ? *)", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-04-01 00:00"]),
        ("cron(0 0 1W 8 ? *)", ["2026-08-03 00:00", "2027-08-02 00:00", "2028-08-01 00:00"]),
        ("cron(0 0 15W * ? *)", ["2026-01-15 00:00", "2026-02-16 00:00", "2026-03-16 00:00"]),
        ("cron(0 0 31W * ? *)", ["2026-01-30 00:00", "2026-03-31 00:00", "2026-05-29 00:00"]),
        ("cron(0 0 ? * 6L *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("cron(0 0 ? * FRIL *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("cron(0 0 ? * L *)", ["2026-01-03 00:00", "2026-01-10 00:00", "2026-01-17 00:00"]),
        ("cron(0 0 ? * 3#2 *)", ["2026-01-13 00:00", "2026-02-10 00:00", "2026-03-10 00:00"]),
        ("cron(0 0 ? * SUN#5 *)", ["2026-03-29 00:00", "2026-05-31 00:00", "2026-08-30 00:00"]),
        ("cron(30 2 ? JAN-MAR/2 2-6 2027)", ["2027-01-01 02:30", "2027-01-04 02:30", "2027-01-05 02:30"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("cron(0 0 30 2 ? *)", []),
        ("cron(0 0 1 1 ? 2025)", []),
        ("rate(90 minutes)", ["2026-01-01 01:30", "2026-01-01 03:00", "2026-01-01 04:30"]),
        ("rate(1 day)", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
        ("at(2026-05-01T09:00:00)", ["2026-05-01 09:00"]),
        ("at(2025-05-01T09:00:00)", []),
    ],
)
def test_an_expression_is_due_when_aws_says(expression: str, expected: list[str]) -> None:
    assert runs(expression) == expected


@pytest.mark.parametrize(
    ("zone", "spring", "autumn", "hour"),
    [
        ("Europe/London", datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC), 1),
        ("America/New_York", datetime(2026, 3, 7, 12, tzinfo=UTC), datetime(2026, 10, 31, 12, tzinfo=UTC), 2),
    ],
)
def test_a_time_that_spring_skips_has_no_run(
    zone: str, spring: datetime, autumn: datetime, hour: int
) -> None:
    first, second = runs(f"cron(30 {hour} * * ? *)", zone, spring, 2)
    change = (spring + timedelta(days=1)).date()
    assert [first[:10], second[:10]] == [str(change + timedelta(days=1)), str(change + timedelta(days=2))]


@pytest.mark.parametrize(
    ("zone", "before", "utc"),
    [
        ("Europe/London", datetime(2026, 10, 24, 12, tzinfo=UTC), "2026-10-25T00:30"),
        ("America/New_York", datetime(2026, 10, 31, 12, tzinfo=UTC), "2026-11-01T05:30"),
    ],
)
def test_a_time_that_autumn_repeats_has_one_run(zone: str, before: datetime, utc: str) -> None:
    schedule = parse("cron(30 1 * * ? *)", zone, 0)
    first = schedule.after(before.timestamp())
    assert f"{datetime.fromtimestamp(first, UTC):%Y-%m-%dT%H:%M}" == utc
    assert schedule.after(first) - first == 25 * 3600


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("cron(0 6 * * MON *)", "exactly one of day of month and day of week must be ?"),
        ("cron(0 6 ? * ? *)", "exactly one of day of month and day of week must be ?"),
        ("cron(0 6 ? * MON)", "takes six fields .* got 5"),
        ("cron(60 6 ? * MON *)", "minutes: must be 0 to 59, got '60'"),
        ("cron(0 24 ? * MON *)", "hours: must be 0 to 23, got '24'"),
        ("cron(0 6 ? * 8 *)", "day of week: must be 1 to 7, got '8'"),
        ("cron(0 6 ? FOO 2 *)", "month: must be 1 to 12, got 'FOO'"),
        ("cron(0 6-3 ? * 2 *)", "hours: got '6-3'"),
        ("cron(0/0 6 ? * 2 *)", "minutes: got '0/0'"),
        ("cron(? 6 ? * 2 *)", "minutes: . is for the days only"),
        ("cron(0 6 ? * 2L,3 *)", "day of week: 2L stands alone"),
        ("rate(0 minutes)", "a number of at least 1"),
        ("rate(5 weeks)", "minutes, hours or days, got '5 weeks'"),
        ("at(2026-05-01)", "yyyy-mm-ddThh:mm:ss, got '2026-05-01'"),
        ("every day", "expected at"),
    ],
)
def test_a_wrong_expression_is_refused_by_what_is_wrong(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(expression, "UTC", 0)


@pytest.fixture(scope="module")
def world(clock_server: Server) -> World:
    return World(clock_server)


def create(world: World, what: str, expression: str, target: dict, **more: object) -> str:
    request = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ScheduleExpression": expression, "Target": target}
    return world.client("scheduler").create_schedule(Name=world.name(what), **request | more)["ScheduleArn"]


def iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def next_sunday(world: World) -> datetime:
    """Noon of the next Sunday in London, moved to."""
    london = world.now().astimezone(ZoneInfo("Europe/London"))
    sunday = (london + timedelta(days=6 - london.weekday() or 7)).replace(hour=12, minute=0, second=0)
    world.move(to=iso(sunday))
    return sunday


def sends(queue: str, world: World, text: str | None = None) -> dict:
    """A target that sends a message."""
    return {"Arn": queue, "RoleArn": world.role_arn} | ({"Input": text} if text else {})


@pytest.fixture(scope="module")
def mail(world: World) -> str:
    """A queue that the trigger role may send to."""
    world.allow("trigger", "sqs:SendMessage", "*")
    return world.messages


def test_a_weekly_schedule_starts_the_pipeline_three_times_in_three_weeks(world: World) -> None:
    sunday = next_sunday(world)
    target = world.starts(("Period", "<aws.scheduler.scheduled-time>"), ("TriggerReason", "schedule"))
    expression, zone = "cron(0 6 ? * MON *)", "Europe/London"
    arn = create(world, "weekly", expression, target, ScheduleExpressionTimezone=zone)
    told = world.move(advance_seconds=21 * 86400)
    expected = [iso(sunday.replace(hour=6) + timedelta(days=1 + 7 * week)) for week in range(3)]
    assert [each["time"] for each in told["deliveries"] if each["source"] == arn] == expected
    executions = world.executions()
    assert [world.parameters(each) for each in executions] == [
        {"TriggerReason": "schedule", "Period": at} for at in expected
    ]
    assert [iso(each["StartTime"]) for each in executions] == expected
    world.client("scheduler").delete_schedule(Name=world.name("weekly"))


def test_moving_the_clock_makes_no_execution_longer(world: World) -> None:
    sagemaker, name, before = world.client("sagemaker"), world.name("held"), world.now()
    definition = json.dumps(pipeline(training("Held")))
    sagemaker.create_pipeline(PipelineName=name, RoleArn=ROLE, PipelineDefinition=definition)
    # A throttled step waits for a second, until it is stopped.
    order_fault(world, "throttle", 1, "CreateTrainingJob")
    execution = sagemaker.start_pipeline_execution(PipelineName=name)
    listed = {"PipelineExecutionArn": execution["PipelineExecutionArn"]}
    until(lambda: sagemaker.list_pipeline_execution_steps(**listed)["PipelineExecutionSteps"])
    world.move(advance_seconds=86400)
    sagemaker.stop_pipeline_execution(**listed)
    described = world.ended(execution)
    (step,) = sagemaker.list_pipeline_execution_steps(**listed)["PipelineExecutionSteps"]
    assert described["PipelineExecutionStatus"] == "Stopped"
    assert described["CreationTime"] - before < timedelta(minutes=1)
    assert described["LastModifiedTime"] - described["CreationTime"] < timedelta(minutes=1)
    assert step["EndTime"] - step["StartTime"] < timedelta(minutes=1)


def test_a_schedule_fires_in_real_time_too(world: World, mail: str) -> None:
    world.received(mail)
    soon = world.now() + timedelta(seconds=2)
    create(world, "soon", f"at({soon:%Y-%m-%dT%H:%M:%S})", sends(mail, world, "it is time"))
    assert until(lambda: world.received(mail))[0]["Body"] == "it is time"


def test_schedules_that_are_off_over_or_not_begun_do_not_fire(world: World, mail: str) -> None:
    now = world.now()
    create(world, "off", "rate(1 hour)", sends(mail, world, "off"), State="DISABLED")
    half_hours, start = "cron(0/30 * * * ? *)", now + timedelta(hours=3)
    create(world, "later", half_hours, sends(mail, world, "later"), StartDate=start)
    create(world, "over", "rate(1 hour)", sends(mail, world, "over"), EndDate=now + timedelta(minutes=90))
    world.received(mail)
    world.move(advance_seconds=4.5 * 3600)
    assert sorted(each["Body"] for each in world.received(mail)) == ["later", "later", "later", "over"]
    for what in ("off", "later", "over"):
        world.client("scheduler").delete_schedule(Name=world.name(what))


def test_a_flexible_window_delays_a_run_by_less_than_the_window(world: World, mail: str) -> None:
    now, window = world.now(), {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 30}
    text = "<aws.scheduler.scheduled-time>"
    arn = create(world, "loose", "rate(1 hour)", sends(mail, world, text), FlexibleTimeWindow=window)
    told = world.move(advance_seconds=10 * 3600)["deliveries"]
    own = [each for each in told if each["source"] == arn]
    delays = [
        datetime.fromisoformat(each["time"]) - (now + timedelta(hours=hour))
        for hour, each in enumerate(own, 1)
    ]
    assert len(delays) >= 9
    assert all(timedelta(seconds=-1) <= delay < timedelta(minutes=31) for delay in delays)
    assert max(delays) - min(delays) > timedelta(minutes=3)
    world.client("scheduler").delete_schedule(Name=world.name("loose"))


def test_a_schedule_that_asked_for_it_is_gone_after_its_last_run(world: World, mail: str) -> None:
    at = f"at({world.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
    for action in ("DELETE", "NONE"):
        create(world, f"once-{action}", at, sends(mail, world, action), ActionAfterCompletion=action)
    world.move(advance_seconds=7200)
    listed = world.client("scheduler").list_schedules(NamePrefix="once-")["Schedules"]
    assert [each["Name"] for each in listed] == [world.name("once-NONE")]


def test_without_the_permission_nothing_starts_and_one_dead_letter_tells_why(world: World) -> None:
    world.role("bare")
    world.allow("bare", "sqs:SendMessage", world.dead_letters)
    role = world.role_arn.replace("trigger", "bare")
    started = len(world.executions())
    arn = create(world, "denied", "rate(1 hour)", world.starts() | {"RoleArn": role})
    world.move(advance_seconds=5400)
    assert len(world.executions()) == started
    (letter,) = world.received(world.dead_letters)
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes["SCHEDULE_ARN"] == arn
    assert attributes["TARGET_ARN"] == world.pipeline_arn
    assert attributes["ERROR_CODE"] == "AccessDeniedException"
    assert (
        f"sagemaker:StartPipelineExecution on resource: {world.pipeline_arn}" in attributes["ERROR_MESSAGE"]
    )
    world.client("scheduler").delete_schedule(Name=world.name("denied"))


def order_fault(world: World, kind: str, times: int, operation: str = "StartPipelineExecution") -> None:
    ask(world.aws.endpoint, "faults", {"kind": kind, "operation": operation, "times": times})


def test_what_was_throttled_is_started_once_later(world: World) -> None:
    started = len(world.executions())
    create(world, "again", f"at({world.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})", world.starts())
    order_fault(world, "throttle", 2)
    world.move(advance_seconds=7200)
    outcomes = [each["outcome"] for each in world.deliveries()[-3:]]
    assert outcomes == ["to be tried again", "to be tried again", "delivered"]
    assert len(world.executions()) == started + 1


def test_attempts_end_where_the_retry_policy_says(world: World) -> None:
    started, policy = len(world.executions()), {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600}
    at = f"at({world.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
    create(world, "enough", at, world.starts() | {"RetryPolicy": policy})
    order_fault(world, "throttle", 3)
    world.move(advance_seconds=7200)
    (letter,) = world.received(world.dead_letters)
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert (attributes["RETRY_ATTEMPTS"], attributes["ERROR_CODE"]) == ("2", "ThrottlingException")
    assert len(world.executions()) == started


@pytest.mark.parametrize(
    ("request_part", "problem"),
    [
        ({"ScheduleExpression": "cron(0 6 * * MON *)"}, r"Invalid Schedule Expression cron\(0 6 \* \* MON"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "time zone 'Mars/Olympus' is unknown"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "Invalid FlexibleTimeWindow"),
        ({"StartDate": 2e9, "EndDate": 1.9e9}, "StartDate you specify must come before the EndDate"),
        ({"GroupName": "absent"}, "Schedule group absent does not exist"),
        ({"Target": "untrusted"}, "The execution role you provide must allow AWS EventBridge Scheduler"),
        ({"Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}, "Invalid Target"),
    ],
)
def test_a_schedule_that_aws_would_refuse_is_refused(world: World, request_part: dict, problem: str) -> None:
    target = world.starts()
    if request_part.get("Target") == "untrusted":
        request_part = {"Target": target | {"RoleArn": world.role("untrusted", "lambda.amazonaws.com")}}
    elif "Target" in request_part:
        request_part = {"Target": target | request_part["Target"]}
    given = {
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ScheduleExpression": "rate(1 day)",
        "Target": target,
        "Name": world.name("refused"),
    }
    with pytest.raises(ClientError, match=problem):
        world.client("scheduler").create_schedule(**given | request_part)
    assert world.client("scheduler").list_schedules(NamePrefix="refused")["Schedules"] == []


def test_a_schedule_is_created_once_updated_whole_and_deleted(world: World) -> None:
    scheduler, name = world.client("scheduler"), world.name("kept")
    arn = create(world, "kept", "rate(1 day)", world.starts(), Description="first", ClientToken="token")
    assert create(world, "kept", "rate(1 day)", world.starts(), ClientToken="token") == arn
    with pytest.raises(ClientError, match=r"\(ConflictException\).*already exists"):
        create(world, "kept", "rate(1 day)", world.starts(), ClientToken="another")
    off = {"Mode": "OFF"}
    given = {"ScheduleExpression": "rate(2 days)", "Target": world.starts(), "FlexibleTimeWindow": off}
    scheduler.update_schedule(Name=name, State="DISABLED", **given)
    described = scheduler.get_schedule(Name=name)
    assert (described["Arn"], described["ScheduleExpression"]) == (arn, "rate(2 days)")
    assert (described["State"], described.get("Description")) == ("DISABLED", None)
    scheduler.delete_schedule(Name=name)
    with pytest.raises(ClientError, match=r"\(ResourceNotFoundException\)"):
        scheduler.get_schedule(Name=name)


def test_a_group_holds_schedules_and_tags_and_takes_them_with_it(world: World) -> None:
    scheduler, name = world.client("scheduler"), world.name("group")
    tag = {"Key": "Project", "Value": "demo"}
    arn = scheduler.create_schedule_group(Name=name, Tags=[tag])["ScheduleGroupArn"]
    create(world, "grouped", "rate(1 day)", world.starts(), GroupName=name)
    assert scheduler.get_schedule(Name=world.name("grouped"), GroupName=name)["GroupName"] == name
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "Environment", "Value": "dev"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["Project"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == [
        {"Key": "Environment", "Value": "dev"}
    ]
    scheduler.delete_schedule_group(Name=name)
    assert scheduler.list_schedules(GroupName=name)["Schedules"] == []
    assert name not in [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]]


@pytest.mark.parametrize(
    "body", [{}, {"advance_seconds": -5}, {"to": "2001-01-01T00:00:00Z"}, {"to": "soon"}]
)
def test_the_clock_moves_forward_only_and_says_what_it_takes(world: World, body: dict) -> None:
    before = world.now()
    assert refusal(world.aws.endpoint, "clock", body)
    assert world.now() - before < timedelta(seconds=5)
