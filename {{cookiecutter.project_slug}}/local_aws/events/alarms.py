"""CloudWatch alarms: evaluated when metrics arrive and as the clock moves; what a new state sets off."""

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from local_aws.events.alarm_forms import (
    ACTIONS_OF,
    DAY_SECONDS,
    AlarmError,
    Metric,
    check_actions,
    configuration_of,
    dimensions_of,
    is_json,
    metric_of,
    metric_rule,
    name_of,
    refuse_unsupported,
    samples_of,
    stamp,
    stat_of,
    told_state,
    why,
)
from local_aws.events.composite import CompositeRule, RuleError, parse
from local_aws.events.deliver import ALARMS, Parcel
from local_aws.events.evaluation import ALARM, EXTRA_PERIODS, NO_DATA, OK, Samples, datapoints

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

STATES = (OK, ALARM, NO_DATA)
# CloudWatch evaluates once a minute: a new alarm, or one that was set by hand, after that long at the latest.
EVERY_SECONDS = 60
# What people on this machine stamp as now is now: the clock may be ahead of theirs.
NOW_SECONDS = 300


class Alarms:
    """The alarms of one local AWS, by name, in the members of DescribeAlarms; a source of the clock."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self.alarms: dict[str, dict] = {}
        self.history: list[dict] = []
        self._samples: dict[Metric, list[Samples]] = defaultdict(list)
        self._recheck: dict[str, float] = {}
        self._evaluated: dict[str, float] = {}

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
        children = [name_of(alarm) for alarm in rule.alarms]
        if absent := [child for child in children if child not in self.alarms]:
            message = f"Could not save the composite alarm {name}: its rule names alarms that do not exist"
            raise AlarmError("ValidationError", f"{message}: {', '.join(absent)}")
        if name in children or any(name in self._below(child) for child in children):
            raise AlarmError("ValidationError", f"Could not save the composite alarm {name}: it needs itself")
        return rule

    def _below(self, name: str) -> set[str]:
        """The alarms that the rule of an alarm depends on, at any depth."""
        alarm = self.alarms.get(name)
        children = [name_of(each) for each in alarm["_rule"].alarms] if alarm and alarm["_composite"] else []
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
                self._evaluated.pop(name, None)

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
            if data is not None and not is_json(data):
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
                if not alarm["_composite"] and metric_of(alarm) in metrics:
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
        due = [self._due(name) for name in self.alarms]
        return min((moment for moment in due if moment is not None), default=None)

    def _due(self, name: str) -> float | None:
        alarm, evaluated = self.alarms[name], self._evaluated.get(name, 0.0)
        crossings = [] if alarm["_composite"] else self._crossings(alarm)
        later = [moment for moment in crossings if moment > evaluated]
        return min([*later, *([self._recheck[name]] if name in self._recheck else [])], default=None)

    def _crossings(self, alarm: dict) -> list[float]:
        period, rule = stat_of(alarm)[1], alarm["_rule"]
        return [
            # A period holds its end and not its beginning: a datum leaves it a moment later.
            each.moment + (index * period + 0.001 if index else 0)
            for each in self._samples.get(metric_of(alarm), [])
            for index in range(rule.periods + EXTRA_PERIODS + 1)
        ]

    def run_next(self) -> None:
        now = self.api.clock.now()
        for name in [name for name in self.alarms if (self._due(name) or now + 1) <= now]:
            self._recheck.pop(name, None)
            if self.alarms[name]["_composite"]:
                self._evaluate_composite(name)
            else:
                self._evaluate(name)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drops samples that no alarm can look at any more: a week is the longest that one may."""
        for metric, samples in self._samples.items():
            self._samples[metric] = [each for each in samples if each.moment > now - 8 * DAY_SECONDS]

    def _evaluate(self, name: str) -> None:
        alarm = self.alarms[name]
        rule, (statistic, period, unit), now = alarm["_rule"], stat_of(alarm), self.api.clock.now()
        self._evaluated[name] = now
        samples = [each for each in self._samples.get(metric_of(alarm), []) if unit in (None, each.unit)]
        points = datapoints(samples, statistic, period, rule.periods + EXTRA_PERIODS, now)
        state = rule.state(points, alarm["StateValue"])
        self._become(name, state, *why(alarm, points, state, now))

    def _evaluate_composite(self, name: str) -> None:
        rule = self.alarms[name]["_rule"]
        state = ALARM if rule.holds(self._state_of) else OK
        states = ", ".join(f"{name_of(child)} is {self._state_of(child)}" for child in rule.alarms)
        self._become(name, state, f"The rule is {'met' if state == ALARM else 'not met'}: {states}", None)

    def _state_of(self, name_or_arn: str) -> str:
        alarm = self.alarms.get(name_of(name_or_arn))
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
        told = {"oldState": told_state(before), "newState": told_state(alarm)}
        self.note(name, "StateUpdate", summary, told)
        detail = {
            "alarmName": name,
            "state": told_state(alarm),
            "previousState": told_state(before),
            "configuration": configuration_of(alarm),
        }
        self.api.events.rules.emit(
            "aws.cloudwatch", "CloudWatch Alarm State Change", [alarm["AlarmArn"]], detail, now
        )
        if alarm["ActionsEnabled"]:
            for topic in alarm[ACTIONS_OF[state]]:
                self._publish(alarm, before, topic)
        for parent, other in list(self.alarms.items()):
            if other["_composite"] and name in map(name_of, other["_rule"].alarms):
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
