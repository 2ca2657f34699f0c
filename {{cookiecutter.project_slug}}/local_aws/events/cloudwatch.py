"""CloudWatch's API for alarms and metric data: moto reads the requests and keeps the metrics."""

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

from moto.cloudwatch.exceptions import CloudWatchException
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from local_aws.events.alarm_forms import AlarmError
from local_aws.events.alarms import Alarms

PAGE_SIZE = 100
TYPES = {"MetricAlarm": False, "CompositeAlarm": True}


def install(alarms: Alarms) -> None:
    """Has these alarms answer in moto's CloudWatch."""
    api = Api(alarms)
    for operation in (
        "put_metric_alarm",
        "put_composite_alarm",
        "describe_alarms",
        "describe_alarms_for_metric",
        "describe_alarm_history",
        "delete_alarms",
        "set_alarm_state",
        "enable_alarm_actions",
        "disable_alarm_actions",
        "put_metric_data",
    ):
        setattr(CloudWatchResponse, operation, _answering(getattr(api, operation)))


def _answering(operation: Callable[[dict], dict | None]) -> Callable[[CloudWatchResponse], ActionResult]:
    def answer(response: CloudWatchResponse) -> ActionResult:
        try:
            result = operation(response._get_params())
        except AlarmError as error:
            refusal = CloudWatchException(error.message)
            refusal.code = error.code
            raise refusal from error
        return EmptyResult() if result is None else ActionResult(result)

    return answer


class Api:
    """The operations: a request in, the members of the answer out."""

    def __init__(self, alarms: Alarms) -> None:
        self.alarms = alarms

    @property
    def backend(self) -> CloudWatchBackend:
        return cloudwatch_backends[self.alarms.api.account][self.alarms.api.region]

    def put_metric_alarm(self, request: dict) -> None:
        if "MetricName" in request and "Namespace" not in request:
            raise AlarmError("ValidationError", f"{request['AlarmName']}: Namespace is required")
        if "MetricName" not in request and "Metrics" not in request:
            raise AlarmError("ValidationError", f"{request['AlarmName']}: MetricName or Metrics is required")
        self._put(request)

    def put_composite_alarm(self, request: dict) -> None:
        self._put(request)

    def _put(self, request: dict) -> None:
        name, arn = request["AlarmName"], self.alarms.arn(request["AlarmName"])
        self.alarms.put(request)
        # moto's own tagging knows the alarms of its backend.
        self.backend.alarms[name] = SimpleNamespace(alarm_arn=arn, rule=request.get("AlarmRule"))
        if request.get("Tags"):
            self.backend.tagger.tag_resource(arn, request["Tags"])

    def delete_alarms(self, request: dict) -> None:
        self.alarms.delete(request.get("AlarmNames", []))
        for name in request.get("AlarmNames", []):
            self.backend.alarms.pop(name, None)
            self.backend.tagger.delete_all_tags_for_resource(self.alarms.arn(name))

    def describe_alarms(self, request: dict) -> dict:
        """Metric alarms only, unless AlarmTypes names composite ones: so does CloudWatch."""
        names, prefix = request.get("AlarmNames"), request.get("AlarmNamePrefix", "")
        action = request.get("ActionPrefix", "")
        types = [TYPES[kind] for kind in request.get("AlarmTypes", ["MetricAlarm"]) if kind in TYPES]
        for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
            if member in request:
                raise AlarmError("ValidationError", f"{member} is not supported by the local AWS")
        listed = [
            alarm
            for name, alarm in sorted(self.alarms.alarms.items())
            if alarm["_composite"] in types
            and (names is None or name in names)
            and name.startswith(prefix)
            and request.get("StateValue", alarm["StateValue"]) == alarm["StateValue"]
            and (not action or any(each.startswith(action) for each in alarm["AlarmActions"]))
        ]
        page, token = _page(listed, request)
        of_type = {
            composite: [_shown(a) for a in page if a["_composite"] is composite]
            for composite in (False, True)
        }
        return {"MetricAlarms": of_type[False], "CompositeAlarms": of_type[True]} | token

    def describe_alarms_for_metric(self, request: dict) -> dict:
        wanted = {(each["Name"], each["Value"]) for each in request.get("Dimensions", [])}
        listed = [
            _shown(alarm)
            for alarm in self.alarms.alarms.values()
            if (alarm.get("Namespace"), alarm.get("MetricName"))
            == (request["Namespace"], request["MetricName"])
            and {(each["Name"], each["Value"]) for each in alarm.get("Dimensions", [])} == wanted
        ]
        return {"MetricAlarms": listed}

    def describe_alarm_history(self, request: dict) -> dict:
        types = request.get("AlarmTypes", ["MetricAlarm"])
        start, end = request.get("StartDate"), request.get("EndDate")
        listed = [
            item | {"Timestamp": _time(item["Timestamp"])}
            for item in self.alarms.history
            if request.get("AlarmName", item["AlarmName"]) == item["AlarmName"]
            and ("AlarmName" in request or item["AlarmType"] in types)
            and request.get("HistoryItemType", item["HistoryItemType"]) == item["HistoryItemType"]
            and (start is None or item["Timestamp"] >= epoch(start))
            and (end is None or item["Timestamp"] <= epoch(end))
        ]
        if request.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            listed.reverse()
        page, token = _page(listed, request)
        return {"AlarmHistoryItems": page} | token

    def set_alarm_state(self, request: dict) -> None:
        self.alarms.set_state(
            request["AlarmName"],
            request["StateValue"],
            request["StateReason"],
            request.get("StateReasonData"),
        )

    def enable_alarm_actions(self, request: dict) -> None:
        self.alarms.enable_actions(request.get("AlarmNames", []), enabled=True)

    def disable_alarm_actions(self, request: dict) -> None:
        self.alarms.enable_actions(request.get("AlarmNames", []), enabled=False)

    def put_metric_data(self, request: dict) -> None:
        """moto keeps the data too, for GetMetricData, GetMetricStatistics and ListMetrics."""
        namespace = request["Namespace"]
        if namespace.startswith("AWS/"):
            raise AlarmError("InvalidParameterValue", f"Namespace may not begin with AWS/, got {namespace}")
        data = [dict(datum) for datum in request.get("MetricData", [])]
        for datum in data:
            stamped = datum.get("Timestamp")
            datum["Timestamp"] = self.alarms.moment(epoch(stamped) if stamped is not None else None)
        # moto's own times have no zone, and are UTC.
        stored = [datum | {"Timestamp": _time(datum["Timestamp"]).replace(tzinfo=None)} for datum in data]
        self.backend.put_metric_data(namespace, stored)
        self.alarms.put_data(namespace, data)


def epoch(value: datetime) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _shown(alarm: dict) -> dict:
    shown = {name: value for name, value in alarm.items() if not name.startswith("_") and value is not None}
    stamps = ("StateUpdatedTimestamp", "StateTransitionedTimestamp", "AlarmConfigurationUpdatedTimestamp")
    return shown | {name: _time(shown[name]) for name in stamps}


def _page(listed: list[dict], request: dict) -> tuple[list[dict], dict]:
    first, size = int(request.get("NextToken") or 0), request.get("MaxRecords") or PAGE_SIZE
    token = {"NextToken": str(first + size)} if first + size < len(listed) else {}
    return listed[first : first + size], token
