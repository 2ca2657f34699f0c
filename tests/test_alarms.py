"""CloudWatch alarms: their state from their datapoints, and what a change of it sets off."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from conftest import Server
from local_aws.events.composite import RuleError, parse
from local_aws.events.evaluation import Rule, Samples, datapoints, statistic
from started_by_itself import World

NAMESPACE = "MLPipeline"
HOUR = 3600


def points(text: str) -> list[float | None]:
    """Oldest first, as CloudWatch's documentation draws them: X breaches, 0 does not, - is missing."""
    return [{"X": 1.0, "0": 0.0, "-": None}[each] for each in reversed(text.split())]


@pytest.mark.parametrize(
    ("drawn", "missing", "ignore", "breaching", "not_breaching"),
    [
        ("0 - X - X", "OK", "OK", "OK", "OK"),
        ("- - - - 0", "OK", "OK", "OK", "OK"),
        ("- - - - -", "INSUFFICIENT_DATA", "before", "ALARM", "OK"),
        ("0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
        ("- - X - -", "ALARM", "before", "ALARM", "OK"),
    ],
)
def test_three_of_three_datapoints_give_the_state_of_the_documentation(
    drawn: str, missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    modes = {"missing": missing, "ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    rule = {mode: Rule("GreaterThanThreshold", 0.5, 3, 3, mode) for mode in modes}
    assert {mode: rule[mode].state(points(drawn), "before") for mode in modes} == modes


@pytest.mark.parametrize(
    ("drawn", "missing", "ignore", "breaching", "not_breaching"),
    [
        ("0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
        ("0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
        ("0 - X - -", "ALARM", "before", "ALARM", "OK"),
        ("- - - - 0", "before", "before", "ALARM", "OK"),
        ("- - - X -", "ALARM", "before", "ALARM", "OK"),
    ],
)
def test_two_of_three_datapoints_are_enough(
    drawn: str, missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    modes = {"missing": missing, "ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    rule = {mode: Rule("GreaterThanThreshold", 0.5, 3, 2, mode) for mode in modes}
    assert {mode: rule[mode].state(points(drawn), "before") for mode in modes} == modes


def samples(*values: float, moment: float = 0.0) -> Samples:
    return Samples(moment, "Count", min(values), max(values), sum(values), len(values), tuple(values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sum", 15.0),
        ("Average", 3.0),
        ("Minimum", 1.0),
        ("Maximum", 5.0),
        ("SampleCount", 5.0),
        ("p50", 3.0),
        ("p90", 4.6),
        ("p100", 5.0),
    ],
)
def test_a_statistic_is_of_all_values_of_the_period(name: str, value: float) -> None:
    assert statistic(name, [samples(1, 5), samples(2, 3, 4)]) == pytest.approx(value)
    assert statistic(name, []) is None


def test_a_datapoint_belongs_to_the_period_that_it_ends() -> None:
    data = [samples(1, moment=100), samples(2, moment=160), samples(4, moment=161)]
    assert datapoints(data, "Sum", 60, 3, now=220) == [4.0, 2.0, 1.0]
    assert datapoints(data, "Sum", 60, 3, now=160) == [2.0, 1.0, None]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ("ALARM(b) OR ALARM(a)", True),
        ("ALARM(a) AND OK(b)", True),
        ("NOT ALARM(a) OR OK(b)", True),
        ("NOT (ALARM(a) OR OK(b))", False),
        ("ALARM(a) OR TRUE AND FALSE", True),
        ("(ALARM(a) OR TRUE) AND FALSE", False),
        ('INSUFFICIENT_DATA("arn:aws:cloudwatch:us-east-1:123456789012:alarm:c d")', True),
        ("alarm('a') and not ok(a)", True),
    ],
)
def test_a_composite_rule_is_read_as_written(rule: str, expected: bool) -> None:
    states = {
        "a": "ALARM",
        "b": "OK",
        "arn:aws:cloudwatch:us-east-1:123456789012:alarm:c d": "INSUFFICIENT_DATA",
    }
    assert parse(rule).holds(states.__getitem__) is expected


@pytest.mark.parametrize(
    "rule", ["", "ALARM(a) OK(b)", "ALARM(a", "ALARM()", "AND", "(ALARM(a)", "RED(a)", "NOT"]
)
def test_a_composite_rule_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(RuleError):
        parse(rule)


@pytest.fixture
def world(clock_server: Server) -> World:
    """Names of its own on the shared server."""
    return World(clock_server)


def alarm(world: World, what: str, metric: str = "", **more: object) -> str:
    """Its name."""
    request = {
        "Namespace": NAMESPACE,
        "MetricName": metric or world.name("drift"),
        "Dimensions": [{"Name": "Project", "Value": "demo"}, {"Name": "Environment", "Value": "dev"}],
        "Statistic": "Maximum",
        "Period": HOUR,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }
    world.client("cloudwatch").put_metric_alarm(AlarmName=world.name(what), **request | more)
    return world.name(what)


def publish(world: World, value: float, metric: str = "", **more: object) -> None:
    dimensions = [{"Name": "Environment", "Value": "dev"}, {"Name": "Project", "Value": "demo"}]
    datum = {"MetricName": metric or world.name("drift"), "Dimensions": dimensions, "Value": value}
    world.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum | more])


def state(world: World, name: str) -> str:
    types = ["MetricAlarm", "CompositeAlarm"]
    answer = world.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=types)
    (found,) = answer["MetricAlarms"] + answer["CompositeAlarms"]
    return found["StateValue"]


def test_an_alarm_begins_without_data_and_changes_with_it(world: World) -> None:
    name = alarm(world, "drift-alarm")
    assert state(world, name) == "INSUFFICIENT_DATA"
    publish(world, 0)
    assert state(world, name) == "OK"
    publish(world, 3)
    assert state(world, name) == "ALARM"
    assert world.move(advance_seconds=2 * HOUR)["alarms"][-1]["alarm"] == name
    assert state(world, name) == "OK"


def test_an_alarm_without_data_is_evaluated_within_a_minute(world: World) -> None:
    modes = {"missing": "INSUFFICIENT_DATA", "notBreaching": "OK", "breaching": "ALARM"}
    names = {mode: alarm(world, mode, TreatMissingData=mode) for mode in modes}
    world.move(advance_seconds=61)
    assert {mode: state(world, name) for mode, name in names.items()} == modes


def test_only_the_exact_dimensions_count(world: World) -> None:
    name = alarm(world, "exact")
    publish(world, 5, Dimensions=[{"Name": "Project", "Value": "demo"}])
    assert state(world, name) == "INSUFFICIENT_DATA"


def test_what_a_client_stamps_as_now_is_now_on_a_clock_that_is_ahead(world: World) -> None:
    world.move(advance_seconds=5 * HOUR)
    name = alarm(world, "stamped")
    publish(world, 5, Timestamp=datetime.now(UTC))
    assert state(world, name) == "ALARM"
    old = alarm(world, "old", metric=world.name("old"), TreatMissingData="missing")
    publish(world, 5, metric=world.name("old"), Timestamp=world.now() - timedelta(hours=4))
    assert state(world, old) == "INSUFFICIENT_DATA"


def test_metrics_are_kept_at_the_time_of_the_clock(world: World) -> None:
    publish(world, 5)
    cloudwatch, now = world.client("cloudwatch"), world.now()
    (found,) = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=world.name("drift"),
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum"],
        Dimensions=[{"Name": "Project", "Value": "demo"}, {"Name": "Environment", "Value": "dev"}],
    )["Datapoints"]
    assert found["Maximum"] == 5.0


def test_an_alarm_set_by_hand_goes_back_at_the_next_evaluation(world: World) -> None:
    name = alarm(world, "by-hand")
    publish(world, 0)
    world.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    assert state(world, name) == "ALARM"
    world.move(advance_seconds=61)
    assert state(world, name) == "OK"


def test_a_changed_alarm_keeps_its_state(world: World) -> None:
    name = alarm(world, "changed")
    publish(world, 2)
    alarm(world, "changed", Threshold=5.0)
    assert state(world, name) == "ALARM"
    world.move(advance_seconds=61)
    assert state(world, name) == "OK"


def composite(world: World, what: str, rule: str, **more: object) -> str:
    name = world.name(what)
    world.client("cloudwatch").put_composite_alarm(AlarmName=name, AlarmRule=rule, **more)
    return name


def test_a_composite_follows_its_alarms_at_any_depth(world: World) -> None:
    first = alarm(world, "first")
    second = alarm(world, "second", metric=world.name("bias"))
    either = composite(world, "either", f'ALARM("{first}") OR ALARM("{second}")')
    arn = f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{either}"
    top = composite(world, "top", f"ALARM({arn}) AND NOT ALARM({first})")
    assert [state(world, each) for each in (either, top)] == ["OK", "OK"]
    publish(world, 1, metric=world.name("bias"))
    assert [state(world, each) for each in (either, top)] == ["ALARM", "ALARM"]
    publish(world, 1)
    assert [state(world, each) for each in (either, top)] == ["ALARM", "OK"]


def test_a_composite_of_what_is_not_there_or_of_itself_is_refused(world: World) -> None:
    first = alarm(world, "one")
    own = composite(world, "own", f"ALARM({first})")
    with pytest.raises(ClientError, match="names alarms that do not exist: absent"):
        composite(world, "broken", f"ALARM({first}) OR ALARM(absent)")
    outer = composite(world, "outer", f"ALARM({own})")
    with pytest.raises(ClientError, match="it needs itself"):
        composite(world, "own", f"ALARM({outer})")
    with pytest.raises(ClientError, match=r"AlarmRule of .* a \) is missing"):
        composite(world, "broken", f"(ALARM({first})")


def test_actions_reach_the_topic_on_changes_only_and_while_enabled(world: World) -> None:
    topic = world.topic("people", world.messages)
    name = alarm(world, "told", AlarmActions=[topic], OKActions=[topic], AlarmDescription="drift")
    cloudwatch = world.client("cloudwatch")
    for value in (0, 1, 2):
        publish(world, value)
    told = [json.loads(message["Body"]) for message in world.received(world.messages)]
    assert sorted((each["OldStateValue"], each["NewStateValue"]) for each in told) == [
        ("INSUFFICIENT_DATA", "OK"),
        ("OK", "ALARM"),
    ]
    assert {each["AlarmName"] for each in told} == {name}
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")
    assert world.received(world.messages) == []
    cloudwatch.enable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    assert len(world.received(world.messages)) == 1


def test_the_history_tells_the_changes_newest_first(world: World) -> None:
    name = alarm(world, "history")
    publish(world, 0)
    publish(world, 1)
    history = world.client("cloudwatch").describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in history] == [
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
        f'Alarm "{name}" created',
    ]
    assert json.loads(history[0]["HistoryData"])["newState"]["value"] == "ALARM"


def test_alarms_are_described_as_cloudwatch_does_and_deleted_all_or_none(world: World) -> None:
    cloudwatch, name = (
        world.client("cloudwatch"),
        alarm(world, "described", Tags=[{"Key": "a", "Value": "b"}]),
    )
    both = composite(world, "both", f"ALARM({name})")
    described = cloudwatch.describe_alarms(AlarmNames=[name, both])
    assert [each["AlarmName"] for each in described["MetricAlarms"]] == [name]
    assert described["CompositeAlarms"] == []
    shown = described["MetricAlarms"][0]
    assert (shown["Period"], shown["Threshold"], shown["ActionsEnabled"]) == (HOUR, 1.0, True)
    assert cloudwatch.list_tags_for_resource(ResourceARN=shown["AlarmArn"])["Tags"] == [
        {"Key": "a", "Value": "b"}
    ]
    with pytest.raises(ClientError, match="ResourceNotFound"):
        cloudwatch.delete_alarms(AlarmNames=[name, "absent"])
    cloudwatch.delete_alarms(AlarmNames=[both, name])
    types = ["MetricAlarm", "CompositeAlarm"]
    left = cloudwatch.describe_alarms(AlarmNames=[name, both], AlarmTypes=types)
    assert left["MetricAlarms"] + left["CompositeAlarms"] == []


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"DatapointsToAlarm": 2}, r"DatapointsToAlarm must be 1 to EvaluationPeriods \(1\), got 2"),
        ({"TreatMissingData": "drop"}, "TreatMissingData must be one of breaching, .* got drop"),
        ({"Period": 90}, "Period must be 10, 20, 30 or n . 60, got 90"),
        ({"EvaluationPeriods": 200, "DatapointsToAlarm": 1}, "looks back more than a day"),
        ({"ExtendedStatistic": "p90"}, "either Statistic or ExtendedStatistic"),
        ({"AlarmActions": ["arn:aws:lambda:us-east-1:123456789012:function:f"]}, "tells SNS topics only"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused(world: World, part: dict, problem: str) -> None:
    with pytest.raises(ClientError, match=problem):
        alarm(world, "refused", **part)
