"""HTTP of what happens by itself: the Scheduler's API, the clock, and the list of deliveries."""

import json
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

from local_aws.events import restjson
from local_aws.events.clock import iso, moment_of
from local_aws.resources import shaped
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker


def own(api: "SageMaker", environ: dict) -> Response:
    """Answers the paths of the local AWS itself: its clock and its deliveries."""
    if environ["PATH_INFO"].endswith("/deliveries"):
        return _json(200, {"deliveries": api.events.courier.deliveries})
    if environ["REQUEST_METHOD"] == "GET":
        return _json(200, {"now": iso(api.clock.now()), "offset_seconds": api.clock.offset})
    return _moved(api, Request(environ).get_data())


def _moved(api: "SageMaker", body: bytes) -> Response:
    """Moves the clock; tells what was delivered, and which alarms changed, on the way."""
    deliveries, history = api.events.courier.deliveries, api.events.alarms.history
    try:
        with api.clock.turn:
            delivered, changed = len(deliveries), len(history)
            api.clock.move_to(moment_of(json.loads(body), api.clock.now()))
            answer = {
                "now": iso(api.clock.now()),
                "deliveries": deliveries[delivered:],
                "alarms": [
                    {
                        "time": iso(item["Timestamp"]),
                        "alarm": item["AlarmName"],
                        "change": item["HistorySummary"],
                    }
                    for item in history[changed:]
                    if item["HistoryItemType"] == "StateUpdate"
                ],
            }
    except ValueError as error:
        return _json(400, {"__type": "ValidationException", "message": str(error)})
    return _json(200, answer)


def scheduler(api: "SageMaker", environ: dict) -> Response:
    """One request to EventBridge Scheduler."""
    body, query = Request(environ).get_data(), environ.get("QUERY_STRING", "")
    model = None
    try:
        model, in_path = restjson.operation_of("scheduler", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        request = restjson.request_of(model, in_path, query, body)
        answer = api.events.scheduler.call(model.name, request)
        return _json(200, shaped(model.output_shape, answer))
    except ApiError as error:
        status = restjson.status_of(model.error_shapes if model else [], error.code)
        response = _json(status, {"Message": error.message})
        response.headers["x-amzn-errortype"] = error.code
        return response


def _json(status: int, document: dict) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
