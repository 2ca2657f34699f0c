"""Alarms as requests give them and as events tell them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from local_aws.events.evaluation import (
    ALARM,
    COMPARISONS,
    NO_DATA,
    OK,
    PERCENTILE,
    SIMPLE,
    Rule,
    Samples,
)

MISSING_MODES = ("breaching", "notBreaching", "ignore", "missing")
ACTIONS_OF = {OK: "OKActions", ALARM: "AlarmActions", NO_DATA: "InsufficientDataActions"}
DAY_SECONDS = 86400
NOT_SUPPORTED = (
    "ThresholdMetricId",
    "EvaluationCriteria",
    "EvaluationInterval",
    "WarmUpConfiguration",
    "ActionConfiguration",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
    "EvaluateLowSampleCountPercentile",
    "EvaluationWindow",
)
Metric = tuple[str, str, frozenset]


class AlarmError(Exception):
    """A request that CloudWatch refuses: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def refuse_unsupported(request: dict) -> None:
    if found := [name for name in NOT_SUPPORTED if name in request]:
        message = f"{request['AlarmName']}: {', '.join(found)} is not supported by the local AWS"
        raise AlarmError("ValidationError", message)


def check_actions(request: dict) -> None:
    actions = [action for member in ACTIONS_OF.values() for action in request.get(member, [])]
    if other := [action for action in actions if not action.startswith("arn:aws:sns:")]:
        message = f"{request['AlarmName']}: the local AWS tells SNS topics only, got {', '.join(other)}"
        raise AlarmError("ValidationError", message)


def metric_rule(request: dict) -> Rule:
    """Raises AlarmError."""
    refuse_unsupported(request)
    if problem := next(_problems(request), None):
        raise AlarmError("ValidationError", f"{request['AlarmName']}: {problem}")
    periods = request["EvaluationPeriods"]
    needed = request.get("DatapointsToAlarm", periods)
    missing = request.get("TreatMissingData", "missing")
    return Rule(request["ComparisonOperator"], request["Threshold"], periods, needed, missing)


def _problems(request: dict) -> Iterator[str]:
    """What is wrong with a metric alarm, one sentence each."""
    periods, missing = request.get("EvaluationPeriods", 0), request.get("TreatMissingData", "missing")
    needed = request.get("DatapointsToAlarm", periods)
    statistic, period, _ = stat_of(request)
    if not 1 <= needed <= periods:
        yield f"DatapointsToAlarm must be 1 to EvaluationPeriods ({periods}), got {needed}"
    if missing not in MISSING_MODES:
        yield f"TreatMissingData must be one of {', '.join(MISSING_MODES)}, got {missing}"
    if request.get("ComparisonOperator") not in COMPARISONS:
        yield f"ComparisonOperator must be one of {', '.join(COMPARISONS)}"
    if "Threshold" not in request:
        yield "Threshold is required"
    if statistic not in SIMPLE and not PERCENTILE.fullmatch(statistic):
        yield f"the local AWS knows the statistics {', '.join(SIMPLE)} and p0 to p100, got {statistic}"
    if period not in (10, 20, 30) and (period < 60 or period % 60):
        yield f"Period must be 10, 20, 30 or n * 60, got {period}"
    if period * periods > (DAY_SECONDS if period < 3600 else 7 * DAY_SECONDS):
        yield "it looks back more than a day (a week when Period is an hour or more)"


def stat_of(alarm: dict) -> tuple[str, int, str | None]:
    """Statistic, period and unit (None: any) of a metric alarm. Raises AlarmError."""
    if "Metrics" in alarm:
        only = _only_metric(alarm)
        return only["Stat"], only["Period"], only.get("Unit")
    if ("Statistic" in alarm) == ("ExtendedStatistic" in alarm):
        message = f"{alarm['AlarmName']}: give either Statistic or ExtendedStatistic"
        raise AlarmError("InvalidParameterCombination", message)
    return alarm.get("Statistic") or alarm["ExtendedStatistic"], alarm.get("Period", 0), alarm.get("Unit")


def _only_metric(alarm: dict) -> dict:
    if len(alarm["Metrics"]) != 1 or "MetricStat" not in alarm["Metrics"][0]:
        message = f"{alarm['AlarmName']}: the local AWS takes one MetricStat in Metrics, and no expression"
        raise AlarmError("ValidationError", message)
    return alarm["Metrics"][0]["MetricStat"]


def metric_of(alarm: dict) -> Metric:
    given = _only_metric(alarm)["Metric"] if "Metrics" in alarm else alarm
    return given["Namespace"], given["MetricName"], dimensions_of(given)


def dimensions_of(given: dict) -> frozenset:
    return frozenset((each["Name"], each["Value"]) for each in given.get("Dimensions", []))


def samples_of(datum: dict) -> Samples:
    """Raises nothing: moto has checked the datum."""
    moment, unit = datum["Timestamp"], datum.get("Unit", "None")
    if whole := datum.get("StatisticValues"):
        numbers = (whole[name] for name in ("Minimum", "Maximum", "Sum", "SampleCount"))
        return Samples(moment, unit, *map(float, numbers))
    given = datum.get("Values") or [datum.get("Value", 0.0)]
    counts = datum.get("Counts") or [1.0] * len(given)
    values = tuple(
        float(value) for value, count in zip(given, counts, strict=True) for _ in range(int(count))
    )
    return Samples(moment, unit, min(values), max(values), sum(values), len(values), values)


def why(alarm: dict, points: list[float | None], state: str, now: float) -> tuple[str, str]:
    """Reason and reason data of a state."""
    rule: Rule = alarm["_rule"]
    recent = [value for value in points if value is not None][: rule.periods]
    shown = ", ".join(f"{value:g}" for value in recent)
    breaching = sum(map(rule.breaches, recent))
    reason = (
        f"Threshold Crossed: {breaching} of the last {rule.periods} datapoints [{shown}] "
        f"{'breached' if state == ALARM else 'breach'} the threshold ({rule.threshold:g})."
        if recent
        else f"{rule.periods} missing datapoints were treated as [{rule.missing}]."
    )
    statistic, period, _ = stat_of(alarm)
    data = {
        "version": "1.0",
        "queryDate": stamp(now),
        "statistic": statistic,
        "period": period,
        "recentDatapoints": recent,
        "threshold": rule.threshold,
    }
    return reason, json.dumps(data)


def configuration_of(alarm: dict) -> dict:
    """As the event tells it."""
    description = {"description": alarm["AlarmDescription"]} if "AlarmDescription" in alarm else {}
    if alarm["_composite"]:
        return description | {"alarmRule": alarm["AlarmRule"]}
    namespace, name, dimensions = metric_of(alarm)
    statistic, period, _ = stat_of(alarm)
    metric = {"namespace": namespace, "name": name, "dimensions": dict(sorted(dimensions))}
    stat = {"metric": metric, "period": period, "stat": statistic}
    return description | {"metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}


def told_state(alarm: dict) -> dict:
    told = {
        "value": alarm["StateValue"],
        "reason": alarm["StateReason"],
        "timestamp": stamp(alarm["StateUpdatedTimestamp"]),
    }
    return told | ({"reasonData": alarm["StateReasonData"]} if alarm.get("StateReasonData") else {})


def name_of(name_or_arn: str) -> str:
    return name_or_arn.partition(":alarm:")[2] if name_or_arn.startswith("arn:") else name_or_arn


def stamp(moment: float) -> str:
    """As CloudWatch writes times in events."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
