"""EventBridge rules: moto keeps and matches them, what matches is sent from here."""

import json
import re
import uuid
from typing import TYPE_CHECKING

from moto.core.exceptions import JsonRESTError
from moto.events.exceptions import InvalidEventPatternException
from moto.events.models import EventsBackend, Rule, events_backends

from local_aws.events import patterns
from local_aws.events.clock import iso
from local_aws.events.deliver import ACTIONS, RULES, Parcel

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

MAX_TARGETS = 5
MAX_ENTRIES = 10
REQUIRED = ("Source", "DetailType", "Detail")
TAKEN = (
    "Id",
    "Arn",
    "RoleArn",
    "Input",
    "InputPath",
    "InputTransformer",
    "SqsParameters",
    "SageMakerPipelineParameters",
    "DeadLetterConfig",
    "RetryPolicy",
)
# How an event says that it is not there: a null is something else.
ABSENT = object()


class Rules:
    """The rules of one local AWS."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api

    @property
    def backend(self) -> EventsBackend:
        return events_backends[self.api.account][self.api.region]

    def emit(self, source: str, detail_type: str, resources: list[str], detail: dict, at: float) -> None:
        """Sends an event of an AWS service to what the rules of the default bus say."""
        self.send(self._event(source, detail_type, resources, detail, at), "default")

    def _event(self, source: str, detail_type: str, resources: list[str], detail: dict, at: float) -> dict:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self.api.account,
            "time": iso(at),
            "region": self.api.region,
            "resources": resources,
            "detail": detail,
        }

    def send(self, event: dict, bus: str) -> None:
        """To every target of every enabled rule of the bus that the event matches."""
        with self.api.clock.turn:
            rules = list(self.backend.event_buses[bus].rules.values())
            for rule in rules:
                if rule.state.startswith("ENABLED") and rule.event_pattern.matches_event(event):
                    for target in list(rule.targets):
                        self.api.events.courier.send(self._parcel(rule, target, event))

    def _parcel(self, rule: Rule, target: dict, event: dict) -> Parcel:
        listed = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
        return Parcel(
            sender=rule.arn,
            service=RULES,
            target=target,
            due=self.api.clock.now(),
            body=body_for(target, event),
            parameters=[each | {"Value": value_for(each["Value"], event)} for each in listed],
            problem="; ".join(_not_found(each, event) for each in listed if _not_found(each, event)),
            attributes={"RULE_ARN": rule.arn},
        )

    def put_events(self, entries: list[dict]) -> list[dict]:
        """The answer of PutEvents, one entry for each."""
        if not 1 <= len(entries) <= MAX_ENTRIES:
            raise JsonRESTError("ValidationException", f"Entries: 1 to {MAX_ENTRIES}, got {len(entries)}")
        return [self._put_event(entry) for entry in entries]

    def _put_event(self, entry: dict) -> dict:
        missing = next((name for name in REQUIRED if not entry.get(name)), None)
        if missing:
            reason = f"Parameter {missing} is not valid. Reason: {missing} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": reason}
        if entry["Source"].startswith("aws."):
            reason = "Not authorized for the source."
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": reason}
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        bus = entry.get("EventBusName", "default").split("/")[-1]
        self.backend.describe_event_bus(bus)
        at = entry.get("Time", self.api.clock.now())
        event = self._event(entry["Source"], entry["DetailType"], entry.get("Resources", []), detail, at)
        self.send(event, bus)
        return {"EventId": event["id"]}


def check_pattern(text: str | None) -> None:
    """Raises InvalidEventPatternException; what is not JSON moto refuses."""
    try:
        pattern = json.loads(text or "")
    except ValueError:
        return
    if problem := next(patterns.problems(pattern), None):
        raise InvalidEventPatternException(problem)


def check_targets(rule_targets: list[dict], targets: list[dict]) -> None:
    """Raises ValidationException for targets that are wrong, or that the local AWS does not deliver to."""
    ids = {target["Id"] for target in [*rule_targets, *targets]}
    if len(ids) > MAX_TARGETS:
        raise JsonRESTError(
            "LimitExceededException",
            f"The requested resource exceeds the maximum number allowed: {MAX_TARGETS}",
        )
    for target in targets:
        _check_target(target)


def _check_target(target: dict) -> None:
    name, arn = target["Id"], target["Arn"]
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service not in ACTIONS:
        message = f"the local AWS starts pipelines, and sends to topics and queues, got {arn}"
        raise JsonRESTError("ValidationException", f"Target {name}: {message}")
    if unknown := sorted(target.keys() - set(TAKEN)):
        message = f"{', '.join(unknown)} is not supported by the local AWS"
        raise JsonRESTError("ValidationException", f"Target {name}: {message}")
    if service in ("sagemaker", "codepipeline") and not target.get("RoleArn"):
        raise JsonRESTError("ValidationException", f"RoleArn is required for target {arn}.")
    if len([member for member in ("Input", "InputPath", "InputTransformer") if member in target]) > 1:
        message = f"Only one of Input, InputPath, or InputTransformer must be provided for target {name}."
        raise JsonRESTError("ValidationException", message)


def body_for(target: dict, event: dict) -> str:
    """What a topic or a queue gets of the event."""
    if "Input" in target:
        return target["Input"]
    if "InputPath" in target:
        found = at_path(event, target["InputPath"])
        return json.dumps(None if found is ABSENT else found, ensure_ascii=False)
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event)
    return json.dumps(event, ensure_ascii=False)


def _transformed(transformer: dict, event: dict) -> str:
    """The template with its variables: as they are within quotes, as JSON outside; one not there is empty."""
    paths = transformer.get("InputPathsMap", {})
    found = {name: at_path(event, path) for name, path in paths.items()}
    found["aws.events.event.json"] = event
    text, quoted = [], False
    for part in re.split(r'(\\"|"|<[\w.-]+>)', transformer["InputTemplate"]):
        if part == '"':
            quoted = not quoted
        value = found.get(part[1:-1], ABSENT) if part.startswith("<") else ABSENT
        if part.startswith("<") and part[1:-1] in found:
            text.append(_inserted(value, quoted))
        else:
            text.append(part)
    return "".join(text)


def _inserted(value: object, quoted: bool) -> str:
    if value is ABSENT:
        return ""
    written = json.dumps(value, ensure_ascii=False)
    if not quoted:
        return written
    return written[1:-1] if isinstance(value, str) else json.dumps(written, ensure_ascii=False)[1:-1]


def value_for(text: str, event: dict) -> str:
    """A pipeline parameter's value: what a JSON path finds in the event, or the text itself."""
    found = at_path(event, text) if text.startswith("$.") else text
    if found is ABSENT:
        return text
    return found if isinstance(found, str) else json.dumps(found)


def _not_found(parameter: dict, event: dict) -> str:
    text = parameter["Value"]
    if not text.startswith("$.") or at_path(event, text) is not ABSENT:
        return ""
    return f"parameter {parameter['Name']}: the event has nothing at {text}"


def at_path(document: object, path: str) -> object:
    """The value at a path such as $.detail.alarmName or $.resources[0]; ABSENT when there is none."""
    for key, index in re.findall(r"\.([\w-]+)|\[(\d+)\]", path.removeprefix("$")):
        if key:
            document = document.get(key, ABSENT) if isinstance(document, dict) else ABSENT
        else:
            inside = isinstance(document, list) and int(index) < len(document)
            document = document[int(index)] if inside else ABSENT
        if document is ABSENT:
            return ABSENT
    return document


def install(rules: Rules) -> None:
    """Has moto's EventBridge keep the rules, and these rules send."""
    put_rule, put_targets = EventsBackend.put_rule, EventsBackend.put_targets

    def checked_put_rule(backend: EventsBackend, name: str, **given: object) -> Rule:
        if given.get("scheduled_expression"):
            message = (
                "ScheduleExpression of rules is not supported by the local AWS: use EventBridge Scheduler"
            )
            raise JsonRESTError("ValidationException", message)
        check_pattern(given.get("event_pattern"))
        return put_rule(backend, name, **given)

    def checked_put_targets(
        backend: EventsBackend, name: str, event_bus_arn: str | None, targets: list[dict]
    ) -> None:
        rule = backend.describe_rule(name, event_bus_arn)
        check_targets(rule.targets, targets)
        put_targets(backend, name, event_bus_arn, targets)

    EventsBackend.put_rule = checked_put_rule
    EventsBackend.put_targets = checked_put_targets
    EventsBackend.put_events = lambda backend, entries: rules.put_events(entries)
