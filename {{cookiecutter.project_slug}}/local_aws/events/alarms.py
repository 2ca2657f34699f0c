"""CloudWatch alarms: evaluated when metrics arrive and as the clock moves; what a new state sets off."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local_aws.events.composite import CompositeRule, RuleError, parse
from local_aws.events.deliver import ALARMS, Parcel
from local_aws.events.evaluation import (
    ALARM,
    COMPARISONS,
    EXTRA_PERIODS,
    NO_DATA,
    OK,
    PERCENTILE,
    SIMPLE,
    Rule,
    Samples,
    datapoints,
)

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

STATES = (OK, ALARM, NO_DATA)
MISSING_MODES = ("breaching", "notBreaching", "ignore", "missing")
ACTIONS_OF = {OK: "OKActions", ALARM: "AlarmActions", NO_DATA: "InsufficientDataActions"}
# CloudWatch evaluates once a minute: a new alarm, or one that was set by hand, after that long at the latest.
EVERY_SECONDS = 60
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
# What people on this machine stamp as now is now: the clock may be ahead of theirs.
NOW_SECONDS = 300
Metric = tuple[str, str, frozenset]


class AlarmError(Exception):
    """A request that CloudWatch refuses: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Alarms:
    """The alarms of one local AWS, by name, in the members of DescribeAlarms; a source of the clock."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self.alarms: dict[str, dict] = {}
        self.history: list[dict] = []
        self._samples: dict[Metric, list[Samples]] = defaultdict(list)
        self._recheck: dict[str, float] = {}

    def arn(self, name: str) -> str:
        return f"arn:aws:cloudwatch:{self.api.region}:{self.api.account}:alarm:{name}"

    def put(self, request: dict) -> None:
        """Creates a metric or composite alarm, or replaces all but the state of one."""
        composite = "AlarmRule" in request
        rule = self._composite_rule(request) if composite else metric_rule(request)
        check_actions(request)
        with self.api.clock.turn:
            name, now = request["AlarmName"], self.api.clock.now()
            before = self.alarms.get(name)
            if before and before["_composite"] != composite:
                raise AlarmError("ValidationError", f"Alarm {name} exists already, of another type")
            self.alarms[name] = self._record(request, rule, before, now)
            summary = f'Alarm "{name}" {"updated" if before else "created"}'
            self.note(name, "ConfigurationUpdate", summary, {"type": "Update" if before else "Create"})
            if composite:
                self._evaluate_composite(name)
            else:
                self._recheck[name] = now + EVERY_SECONDS
            self.api.clock.wake()

    def _record(self, request: dict, rule: object, before: dict | None, now: float) -> dict:
        state = before or {
            "StateValue": NO_DATA,
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": now,
            "StateTransitionedTimestamp": now,
        }
        kept = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp")
        lists = {name: request.get(name, []) for name in ACTIONS_OF.values()}
        return {
            **{name: value for name, value in request.items() if name != "Tags"},
            **{name: state[name] for name in (*kept, "StateTransitionedTimestamp") if name in state},
            **lists,
            "ActionsEnabled": request.get("ActionsEnabled", True),
            "AlarmArn": self.arn(request["AlarmName"]),
            "AlarmConfigurationUpdatedTimestamp": now,
            "_composite": "AlarmRule" in request,
            "_rule": rule,
        }

    def _composite_rule(self, request: dict) -> CompositeRule:
        refuse_unsupported(request)
        name = request["AlarmName"]
        try:
            rule = parse(request["AlarmRule"])
        except RuleError as error:
            raise AlarmError("ValidationError", f"AlarmRule of {name}: {error}") from None
        children = [_name(alarm) for alarm in rule.alarms]
        if absent := [child for child in children if child not in self.alarms]:
            message = f"Could not save the composite alarm {name}: its rule names alarms that do not exist"
            raise AlarmError("ValidationError", f"{message}: {', '.join(absent)}")
        if name in children or any(name in self._below(child) for child in children):
            raise AlarmError("ValidationError", f"Could not save the composite alarm {name}: it needs itself")
        return rule

    def _below(self, name: str) -> set[str]:
        """The alarms that the rule of an alarm depends on, at any depth."""
        alarm = self.alarms.get(name)
        children = [_name(each) for each in alarm["_rule"].alarms] if alarm and alarm["_composite"] else []
        return set(children).union(*(self._below(child) for child in children))

    def found(self, name: str) -> dict:
        if name not in self.alarms:
            raise AlarmError("ResourceNotFound", f"Alarm {name} does not exist")
        return self.alarms[name]

    def delete(self, names: list[str]) -> None:
        """All of them, or none when one does not exist."""
        with self.api.clock.turn:
            for name in names:
                self.found(name)
            for name in names:
                self.alarms.pop(name, None)
                self._recheck.pop(name, None)

    def enable_actions(self, names: list[str], enabled: bool) -> None:
        with self.api.clock.turn:
            for name in names:
                self.found(name)["ActionsEnabled"] = enabled

    def set_state(self, name: str, state: str, reason: str, data: str | None) -> None:
        """Until the next evaluation."""
        with self.api.clock.turn:
            self.found(name)
            if state not in STATES:
                message = f"StateValue must be one of {', '.join(STATES)}, got {state!r}"
                raise AlarmError("ValidationError", message)
            if data is not None and not _is_json(data):
                raise AlarmError("InvalidFormat", f"StateReasonData must be JSON, got {data!r}")
            self._recheck[name] = self.api.clock.now() + EVERY_SECONDS
            self._become(name, state, reason, data)
            self.api.clock.wake()

    def put_data(self, namespace: str, data: list[dict]) -> None:
        """Takes metric data whose Timestamp is epoch seconds, and evaluates the alarms on it."""
        with self.api.clock.turn:
            metrics = set()
            for datum in data:
                metric = (namespace, datum["MetricName"], dimensions_of(datum))
                self._samples[metric].append(samples_of(datum))
                metrics.add(metric)
            for name, alarm in list(self.alarms.items()):
                if not alarm["_composite"] and _metric(alarm) in metrics:
                    self._evaluate(name)
            self.api.clock.wake()

    def moment(self, stamped: float | None) -> float:
        """When a datum is from, on this clock."""
        offset, now = self.api.clock.offset, self.api.clock.now()
        if stamped is None:
            return now
        return stamped + offset if abs(stamped + offset - now) <= NOW_SECONDS else stamped

    def next_due(self) -> float | None:
        """When time alone may change an alarm: as a datum enters or leaves one of its periods."""
        now = self._evaluated_until
        crossings = [
            moment
            for alarm in self.alarms.values()
            if not alarm["_composite"]
            for moment in self._crossings(alarm)
            if moment > now
        ]
        return min([*crossings, *self._recheck.values()], default=None)

    _evaluated_until = 0.0

    def _crossings(self, alarm: dict) -> list[float]:
        period, rule = _stat(alarm)[1], alarm["_rule"]
        last = rule.periods + EXTRA_PERIODS
        return [
            # A moment later: a period holds its end, not its beginning.
            each.moment + index * period + 0.001
            for each in self._samples.get(_metric(alarm), [])
            for index in range(last + 1)
        ]

    def run_next(self) -> None:
        self._evaluated_until = now = self.api.clock.now()
        for name, alarm in list(self.alarms.items()):
            rechecked = self._recheck.get(name, float("inf")) <= now
            if rechecked:
                del self._recheck[name]
            if not alarm["_composite"]:
                self._evaluate(name)
            elif rechecked:
                self._evaluate_composite(name)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drops samples that no alarm can look at any more: a week is the longest that one may."""
        for metric, samples in self._samples.items():
            self._samples[metric] = [each for each in samples if each.moment > now - 8 * DAY_SECONDS]

    def _evaluate(self, name: str) -> None:
        alarm = self.alarms[name]
        rule, (statistic, period, unit), now = alarm["_rule"], _stat(alarm), self.api.clock.now()
        samples = [each for each in self._samples.get(_metric(alarm), []) if unit in (None, each.unit)]
        points = datapoints(samples, statistic, period, rule.periods + EXTRA_PERIODS, now)
        state = rule.state(points, alarm["StateValue"])
        self._become(name, state, *_why(alarm, points, state, now))

    def _evaluate_composite(self, name: str) -> None:
        rule = self.alarms[name]["_rule"]
        state = ALARM if rule.holds(self._state_of) else OK
        states = ", ".join(f"{_name(child)} is {self._state_of(child)}" for child in rule.alarms)
        self._become(name, state, f"The rule is {'met' if state == ALARM else 'not met'}: {states}", None)

    def _state_of(self, name_or_arn: str) -> str:
        alarm = self.alarms.get(_name(name_or_arn))
        return alarm["StateValue"] if alarm else NO_DATA

    def _become(self, name: str, state: str, reason: str, data: str | None) -> None:
        """Sets the state; if it is another one, tells rules and topics, and evaluates what depends on it."""
        alarm, now = self.alarms[name], self.api.clock.now()
        before = {member: alarm.get(member) for member in ("StateValue", "StateReason", "StateReasonData")}
        before["StateUpdatedTimestamp"] = alarm["StateUpdatedTimestamp"]
        if before["StateValue"] == state:
            return
        alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": now}
        alarm |= {"StateReasonData": data, "StateTransitionedTimestamp": now}
        summary = f"Alarm updated from {before['StateValue']} to {state}"
        told = {"oldState": _state(before), "newState": _state(alarm)}
        self.note(name, "StateUpdate", summary, told)
        detail = {
            "alarmName": name,
            "state": _state(alarm),
            "previousState": _state(before),
            "configuration": _configuration(alarm),
        }
        self.api.events.rules.emit(
            "aws.cloudwatch", "CloudWatch Alarm State Change", [alarm["AlarmArn"]], detail, now
        )
        if alarm["ActionsEnabled"]:
            for topic in alarm[ACTIONS_OF[state]]:
                self._publish(alarm, before, topic)
        for parent, other in list(self.alarms.items()):
            if other["_composite"] and name in map(_name, other["_rule"].alarms):
                self._evaluate_composite(parent)

    def _publish(self, alarm: dict, before: dict, topic: str) -> None:
        name, state = alarm["AlarmName"], alarm["StateValue"]
        members = ("AlarmName", "AlarmDescription", "AlarmArn", "AlarmRule", *ACTIONS_OF.values())
        message = {member: alarm.get(member) for member in members if member in alarm} | {
            "AWSAccountId": self.api.account,
            "NewStateValue": state,
            "NewStateReason": alarm["StateReason"],
            "OldStateValue": before["StateValue"],
            "StateChangeTime": stamp(alarm["StateUpdatedTimestamp"]),
            "Region": self.api.region,
        }
        if not alarm["_composite"]:
            message["Trigger"] = {
                member: alarm[member]
                for member in ("MetricName", "Namespace", "Statistic", "Dimensions", "Period", "Threshold")
                if member in alarm
            }
        self.note(name, "Action", f"Published to {topic}", {"actionState": "Succeeded", "topic": topic})
        parcel = Parcel(
            sender=alarm["AlarmArn"],
            service=ALARMS,
            target={"Arn": topic},
            due=alarm["StateUpdatedTimestamp"],
            body=json.dumps(message),
            subject=f'{state}: "{name}" in {self.api.region}'[:100],
        )
        self.api.events.courier.send(parcel)

    def note(self, name: str, kind: str, summary: str, data: dict) -> None:
        """Adds an item to the history."""
        self.history.append(
            {
                "AlarmName": name,
                "AlarmType": "CompositeAlarm" if self.alarms[name]["_composite"] else "MetricAlarm",
                "Timestamp": self.api.clock.now(),
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": json.dumps({"version": "1.0"} | data),
            }
        )


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
    statistic, period, _ = _stat(request)
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


def _stat(alarm: dict) -> tuple[str, int, str | None]:
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


def _metric(alarm: dict) -> Metric:
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


def _why(alarm: dict, points: list[float | None], state: str, now: float) -> tuple[str, str]:
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
    statistic, period, _ = _stat(alarm)
    data = {
        "version": "1.0",
        "queryDate": stamp(now),
        "statistic": statistic,
        "period": period,
        "recentDatapoints": recent,
        "threshold": rule.threshold,
    }
    return reason, json.dumps(data)


def _configuration(alarm: dict) -> dict:
    """As the event tells it."""
    description = {"description": alarm["AlarmDescription"]} if "AlarmDescription" in alarm else {}
    if alarm["_composite"]:
        return description | {"alarmRule": alarm["AlarmRule"]}
    namespace, name, dimensions = _metric(alarm)
    statistic, period, _ = _stat(alarm)
    metric = {"namespace": namespace, "name": name, "dimensions": dict(sorted(dimensions))}
    stat = {"metric": metric, "period": period, "stat": statistic}
    return description | {"metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}


def _state(alarm: dict) -> dict:
    told = {
        "value": alarm["StateValue"],
        "reason": alarm["StateReason"],
        "timestamp": stamp(alarm["StateUpdatedTimestamp"]),
    }
    return told | ({"reasonData": alarm["StateReasonData"]} if alarm.get("StateReasonData") else {})


def _name(name_or_arn: str) -> str:
    return name_or_arn.partition(":alarm:")[2] if name_or_arn.startswith("arn:") else name_or_arn


def stamp(moment: float) -> str:
    """As CloudWatch writes times in events."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
