"""A request to an AWS service, whatever its protocol: operation and parameters by name."""

import gzip
import json
import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from botocore.parsers import BaseCBORParser
from werkzeug.wrappers import Request

SCHEDULER = {
    "POST": {"schedules": "CreateSchedule", "schedule-groups": "CreateScheduleGroup", "tags": "TagResource"},
    "PUT": {"schedules": "UpdateSchedule"},
    "GET": {"schedules": "GetSchedule", "schedule-groups": "GetScheduleGroup", "tags": "ListTagsForResource"},
    "DELETE": {
        "schedules": "DeleteSchedule",
        "schedule-groups": "DeleteScheduleGroup",
        "tags": "UntagResource",
    },
}


class Unreadable(Exception):
    """A request whose operation cannot be told; the message says why."""


@dataclass(frozen=True)
class Asked:
    """A request. service: the name that actions begin with. query: of the URL, S3's only."""

    service: str
    operation: str
    params: dict[str, Any]
    account: str
    region: str
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    def arn(self, path: str, service: str = "") -> str:
        """The ARN of one of the service's resources in this account and region."""
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{path}"


def asked(environ: dict, service: str, account: str, region: str) -> Asked:
    """The request that a WSGI environment holds, whose body can be read again. Not for S3."""
    body = Request(environ).get_data()
    environ["wsgi.input"] = BytesIO(body)
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
        body = gzip.decompress(body)
    operation, params = _parsed(environ, body, service)
    return Asked(service, operation, params, account, region)


def _parsed(environ: dict, body: bytes, service: str) -> tuple[str, dict]:
    path = environ["PATH_INFO"]
    if "HTTP_X_AMZ_TARGET" in environ:
        return environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2], _json(body)
    if path.startswith("/service/"):
        return path.rpartition("/")[2], _cbor(body)
    if service == "scheduler":
        return _scheduler(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), body)
    params = nested([*parse_qsl(environ.get("QUERY_STRING", "")), *parse_qsl(body.decode(), True)])
    if "Action" not in params:
        raise Unreadable(f"the local AWS cannot tell the operation of {environ['REQUEST_METHOD']} {path}")
    return params.pop("Action"), params


def _json(body: bytes) -> dict:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise Unreadable(f"the request is not JSON: {error}") from None


def _cbor(body: bytes) -> dict:
    return BaseCBORParser().parse_data_item(BytesIO(body)) if body else {}


def _scheduler(method: str, path: str, query: str, body: bytes) -> tuple[str, dict]:
    """The operation of EventBridge Scheduler, which has paths and methods in place of names."""
    collection, _, name = path.strip("/").partition("/")
    params = {key: values[0] for key, values in parse_qs(query).items()} | _json(body)
    if method == "GET" and not name:
        return {"schedules": "ListSchedules", "schedule-groups": "ListScheduleGroups"}[collection], params
    operation = SCHEDULER.get(method, {}).get(collection)
    if operation is None:
        raise Unreadable(f"the local AWS cannot tell the operation of {method} {path}")
    named = {"tags": "ResourceArn"}.get(collection, "Name")
    group = params.get("GroupName") or params.get("groupName") or "default"
    return operation, params | {named: unquote(name), "GroupName": group}


def nested(pairs: list[tuple[str, str]]) -> dict:
    """The structure that a query form's names tell: `Tags.member.1.Key` is Tags[0]["Key"]."""
    tree: dict = {}
    for name, value in pairs:
        parts = [part for part in name.split(".") if part not in ("member", "entry")]
        place = tree
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise Unreadable(f"the parameter {name} contradicts an earlier one")
        place[parts[-1]] = value
    return _lists(tree)


def _lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(re.fullmatch(r"\d+", key) for key in tree):
        return [_lists(tree[key]) for key in sorted(tree, key=int)]
    return {key: _lists(value) for key, value in tree.items()}
