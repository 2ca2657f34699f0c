"""EventBridge Scheduler: schedule groups, schedules, and what they start when they are due."""

import json
import random
import uuid
from typing import TYPE_CHECKING

from local_aws.events import cron
from local_aws.events.clock import iso
from local_aws.events.deliver import ACTIONS, SCHEDULER, Parcel, source
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

DEFAULT = "default"
PAGE_SIZE = 100
KEPT = (
    "Name",
    "ScheduleExpression",
    "Target",
    "FlexibleTimeWindow",
    "StartDate",
    "EndDate",
    "Description",
    "KmsKeyArn",
)
SUMMARY = ("Arn", "Name", "GroupName", "State", "CreationDate", "LastModificationDate")
OTHER_TARGETS = (
    "EcsParameters",
    "EventBridgeParameters",
    "EventBridgePutEventsV2Parameters",
    "EventBridgePutRawEventsParameters",
    "KinesisParameters",
)


UNTRUSTED = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."


class Scheduler:
    """The API's operations by name, and a source of the clock."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self._groups: dict[str, dict] = {}
        self._schedules: dict[tuple[str, str], dict] = {}
        self._tokens: dict[str, str] = {}
        self._new_group(DEFAULT, [])

    def call(self, operation: str, request: dict) -> dict:
        operations = {
            "CreateSchedule": self.create,
            "UpdateSchedule": self.update,
            "GetSchedule": self.get,
            "DeleteSchedule": self.delete,
            "ListSchedules": self.list_schedules,
            "CreateScheduleGroup": self.create_group,
            "GetScheduleGroup": self.get_group,
            "DeleteScheduleGroup": self.delete_group,
            "ListScheduleGroups": self.list_groups,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }
        with self.api.clock.turn:
            return operations[operation](request)

    def create(self, request: dict) -> dict:
        key = (request.get("GroupName", DEFAULT), request["Name"])
        token = request.get("ClientToken", "")
        if key in self._schedules:
            if token and self._schedules[key]["_token"] == token:
                return {"ScheduleArn": self._schedules[key]["Arn"]}
            raise ApiError("ConflictException", f"Schedule {request['Name']} already exists.")
        now = self.api.clock.now()
        self._put(key, request, {"CreationDate": now, "LastModificationDate": now, "_token": token})
        return {"ScheduleArn": self._schedules[key]["Arn"]}

    def update(self, request: dict) -> dict:
        """Replaces the whole schedule: what the request leaves out has its default again."""
        before = self._found(request)
        stamps = {"CreationDate": before["CreationDate"], "LastModificationDate": self.api.clock.now()}
        self._put((before["GroupName"], before["Name"]), request, stamps | {"_token": before["_token"]})
        return {"ScheduleArn": before["Arn"]}

    def _put(self, key: tuple[str, str], request: dict, stamps: dict) -> None:
        self._group(key[0])
        record = {name: request[name] for name in KEPT if name in request} | stamps
        record |= {
            "GroupName": key[0],
            "Arn": self._arn("schedule", "/".join(key)),
            "State": request.get("State", "ENABLED"),
            "ScheduleExpressionTimezone": request.get("ScheduleExpressionTimezone", "UTC"),
            "ActionAfterCompletion": request.get("ActionAfterCompletion", "NONE"),
        }
        if record.get("StartDate", 0) >= record.get("EndDate", float("inf")):
            raise ApiError("ValidationException", "The StartDate you specify must come before the EndDate.")
        record["_expression"] = _expression(record)
        self._check_target(record)
        self._schedules[key] = record
        self._plan(record, record["LastModificationDate"])

    def _plan(self, record: dict, after: float) -> None:
        """Sets when the schedule is due next: `_scheduled`, and within its window `_due`; None for never."""
        once = isinstance(record["_expression"], cron.At)  # StartDate and EndDate are not for these
        # A run on the very StartDate counts.
        begin = after if once else max(after, record.get("StartDate", after) - 0.001)
        scheduled = record["_expression"].after(begin)
        if scheduled is not None and not once and scheduled > record.get("EndDate", scheduled):
            scheduled = None
        record["_scheduled"] = scheduled
        record["_due"] = None
        if scheduled is not None and record["State"] == "ENABLED":
            window = record["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0) * 60
            record["_due"] = scheduled + random.Random(f"{record['Arn']} {scheduled}").uniform(0, window)
        self.api.clock.wake()

    def _check_target(self, record: dict) -> None:
        target = record["Target"]
        window = record["FlexibleTimeWindow"]
        if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
            message = "MaximumWindowInMinutes must be set when, and only when, the window's Mode is FLEXIBLE"
            raise ApiError("ValidationException", f"Invalid FlexibleTimeWindow: {message}.")
        other = [name for name in OTHER_TARGETS if name in target]
        service = target["Arn"].split(":")[2] if target["Arn"].count(":") >= 5 else ""
        if other or service not in ACTIONS or target["Arn"].startswith("arn:aws:scheduler:::"):
            message = f"the local AWS starts pipelines, and sends to topics and queues, got {target['Arn']}"
            raise ApiError("ValidationException", f"Invalid Target: {message}.")
        if (service == "sagemaker") != (":pipeline/" in target["Arn"]):
            raise ApiError("ValidationException", f"Provided Arn is not in correct format: {target['Arn']}.")
        context = source(record["Arn"])
        if not self.api.iam.role_trusts(target["RoleArn"], SCHEDULER, context).allowed:
            raise ApiError("ValidationException", UNTRUSTED)

    def get(self, request: dict) -> dict:
        return self._found(request)

    def delete(self, request: dict) -> dict:
        record = self._found(request)
        del self._schedules[record["GroupName"], record["Name"]]
        return {}

    def list_schedules(self, request: dict) -> dict:
        listed = [
            {name: record[name] for name in SUMMARY} | {"Target": {"Arn": record["Target"]["Arn"]}}
            for key, record in sorted(self._schedules.items())
            if key[1].startswith(request.get("NamePrefix", ""))
            and all(record[name] == request[name] for name in ("GroupName", "State") if name in request)
        ]
        return _page("Schedules", listed, request)

    def create_group(self, request: dict) -> dict:
        name = request["Name"]
        if name in self._groups:
            raise ApiError("ConflictException", f"Schedule group {name} already exists.")
        return {"ScheduleGroupArn": self._new_group(name, request.get("Tags", []))["Arn"]}

    def _new_group(self, name: str, tags: list[dict]) -> dict:
        now = self.api.clock.now()
        arn = self._arn("schedule-group", name)
        stamps = {"CreationDate": now, "LastModificationDate": now}
        self._groups[name] = {"Name": name, "Arn": arn, "State": "ACTIVE", "_tags": tags} | stamps
        return self._groups[name]

    def get_group(self, request: dict) -> dict:
        return self._group(request["Name"])

    def delete_group(self, request: dict) -> dict:
        """Deletes the group with its schedules."""
        name = request["Name"]
        if name == DEFAULT:
            raise ApiError("ValidationException", "The default schedule group cannot be deleted.")
        self._group(name)
        self._schedules = {key: record for key, record in self._schedules.items() if key[0] != name}
        del self._groups[name]
        return {}

    def list_groups(self, request: dict) -> dict:
        prefix = request.get("NamePrefix", "")
        listed = [group for name, group in sorted(self._groups.items()) if name.startswith(prefix)]
        return _page("ScheduleGroups", listed, request)

    def tag(self, request: dict) -> dict:
        group = self._tagged(request)
        tags = {tag["Key"]: tag for tag in group["_tags"] + request["Tags"]}
        group["_tags"] = list(tags.values())
        return {}

    def untag(self, request: dict) -> dict:
        group = self._tagged(request)
        group["_tags"] = [tag for tag in group["_tags"] if tag["Key"] not in request["TagKeys"]]
        return {}

    def list_tags(self, request: dict) -> dict:
        return {"Tags": self._tagged(request)["_tags"]}

    def _tagged(self, request: dict) -> dict:
        """Only groups have tags."""
        arn = request["ResourceArn"]
        group = next((group for group in self._groups.values() if group["Arn"] == arn), None)
        if group is None:
            raise ApiError("ResourceNotFoundException", f"Schedule group {arn} does not exist.")
        return group

    def _found(self, request: dict) -> dict:
        key = (request.get("GroupName", DEFAULT), request["Name"])
        if key not in self._schedules:
            raise ApiError("ResourceNotFoundException", f"Schedule {key[1]} does not exist.")
        return self._schedules[key]

    def _group(self, name: str) -> dict:
        if name not in self._groups:
            raise ApiError("ResourceNotFoundException", f"Schedule group {name} does not exist.")
        return self._groups[name]

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:scheduler:{self.api.region}:{self.api.account}:{kind}/{name}"

    def next_due(self) -> float | None:
        return min((record["_due"] for record in self._planned()), default=None)

    def _planned(self) -> list[dict]:
        return [record for record in self._schedules.values() if record["_due"] is not None]

    def run_next(self) -> None:
        """Sends what the schedule that is due first sends, and plans its next run."""
        record = min(self._planned(), key=lambda each: each["_due"])
        due, scheduled = record["_due"], record["_scheduled"]
        self._plan(record, scheduled)
        if record["_scheduled"] is None and record["ActionAfterCompletion"] == "DELETE":
            del self._schedules[record["GroupName"], record["Name"]]
        self.api.events.courier.send(_parcel(self.api, record, scheduled, due))


def _expression(record: dict) -> cron.Schedule:
    """Its runs. A rate counts from StartDate, which is its first run, else from the creation."""
    text = record["ScheduleExpression"]
    begin = record.get("StartDate", record["CreationDate"])
    try:
        return cron.parse(text, record["ScheduleExpressionTimezone"], begin)
    except ValueError as error:
        raise ApiError("ValidationException", f"Invalid Schedule Expression {text}: {error}.") from None


def _parcel(api: "SageMaker", record: dict, scheduled: float, due: float) -> Parcel:
    target = record["Target"]
    listed = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    execution = uuid.uuid4().hex[:16]
    words = {"<aws.scheduler.schedule-arn>": record["Arn"], "<aws.scheduler.scheduled-time>": iso(scheduled)}
    attributes = {
        "SCHEDULE_ARN": record["Arn"],
        "SCHEDULED_TIME": iso(scheduled),
        "EXECUTION_ID": execution,
        "IS_PAYLOAD_TRUNCATED": "false",
    }
    return Parcel(
        sender=record["Arn"],
        service=SCHEDULER,
        target=target,
        due=due,
        body=_filled(target.get("Input") or _notice(api, record, scheduled), words),
        parameters=[each | {"Value": _filled(each["Value"], words)} for each in listed],
        attributes=attributes,
        execution=execution,
    )


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _notice(api: "SageMaker", record: dict, scheduled: float) -> str:
    """What a target without Input gets."""
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": api.account,
            "time": iso(scheduled),
            "region": api.region,
            "resources": [record["Arn"]],
            "detail": "{}",
        }
    )


def _page(member: str, listed: list[dict], request: dict) -> dict:
    first, size = int(request.get("NextToken", "0")), request.get("MaxResults", PAGE_SIZE)
    more = {"NextToken": str(first + size)} if first + size < len(listed) else {}
    return {member: listed[first : first + size]} | more
