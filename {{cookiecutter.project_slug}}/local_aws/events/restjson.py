"""Requests of a REST JSON service, read by its service model."""

import json
import re
from functools import cache
from urllib.parse import parse_qs

import botocore.session
from botocore.model import OperationModel, ServiceModel

from local_aws.validation import ApiError, problems


@cache
def service_model(service: str) -> ServiceModel:
    return botocore.session.Session().get_service_model(service)


def operation_of(service: str, method: str, path: str) -> tuple[OperationModel, dict[str, str]]:
    """The operation that a method and path call, and the members that the path holds."""
    model = service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        pattern = re.sub(r"\{(\w+)\}", _group, operation.http["requestUri"])
        if operation.http["method"] == method and (found := re.fullmatch(pattern, path.rstrip("/"))):
            return operation, found.groupdict()
    raise ApiError("UnknownOperationException", f"{service} has no operation at {method} {path}")


def _group(found: re.Match) -> str:
    # An ARN holds slashes, which the server has decoded.
    return f"(?P<{found[1]}>{'.+' if found[1].endswith('Arn') else '[^/]+'})"


def request_of(operation: OperationModel, in_path: dict[str, str], query: str, body: bytes) -> dict:
    """The request, checked against the model. Raises ApiError."""
    try:
        request = json.loads(body or b"{}") | in_path
    except ValueError as error:
        raise ApiError("SerializationException", f"The request is not JSON: {error}") from error
    given = parse_qs(query)
    for member, shape in operation.input_shape.members.items():
        name = shape.serialization.get("name", member)
        if shape.serialization.get("location") == "querystring" and name in given:
            request[member] = given[name] if shape.type_name == "list" else given[name][0]
            if shape.type_name == "integer":
                request[member] = int(given[name][0])
    if found := list(problems(operation.input_shape, request, operation.name)):
        count = f"{len(found)} validation error{'s' * (len(found) > 1)} detected"
        raise ApiError("ValidationException", f"{count}: {'; '.join(found)}")
    return request


def status_of(operation_errors: list, code: str) -> int:
    """The HTTP status of an error, as the model has it."""
    for shape in operation_errors:
        if shape.name == code:
            return shape.metadata.get("error", {}).get("httpStatusCode", 400)
    return 400
