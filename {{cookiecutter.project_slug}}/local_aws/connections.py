"""Connections to source providers (CodeConnections): made and kept, in the state PENDING.

A person completes one in AWS's console, so nothing here makes it AVAILABLE. In memory, like the stacks that
own them.
"""

import threading
import uuid
from typing import Any

import botocore.session
from botocore.model import ServiceModel

from local_aws.validation import ApiError, problems

SERVICES = ("codeconnections", "codestar-connections")


class Connections:
    """The connections of one account; a region is a part of their names."""

    def __init__(self, account: str) -> None:
        self.account = account
        self._lock = threading.Lock()
        self._connections: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._models: dict[str, ServiceModel] = {}

    def call(self, service: str, region: str, operation: str, request: dict) -> dict:
        """The answer of an operation of the service; raises ApiError."""
        if operation not in OPERATIONS:
            message = f"{service} operation {operation} is not supported by the local AWS"
            raise ApiError("UnknownOperationException", message)
        with self._lock:
            shape = self._model(service).operation_model(operation).input_shape
            if found := list(problems(shape, request, operation)):
                raise ApiError("ValidationException", "; ".join(found))
            return OPERATIONS[operation](self, request, service, region)

    def _model(self, service: str) -> ServiceModel:
        if service not in self._models:
            self._models[service] = botocore.session.Session().get_service_model(service)
        return self._models[service]

    def create(self, request: dict, service: str, region: str) -> dict:
        arn = f"arn:aws:{service}:{region}:{self.account}:connection/{uuid.uuid4()}"
        self._connections[arn] = {
            "ConnectionArn": arn,
            "ConnectionName": request["ConnectionName"],
            "ConnectionStatus": "PENDING",
            "OwnerAccountId": self.account,
            **{name: request[name] for name in ("ProviderType", "HostArn") if name in request},
        }
        self._tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        return {"ConnectionArn": arn, "Tags": self._listed_tags(arn)}

    def get(self, request: dict, service: str, region: str) -> dict:
        return {"Connection": self._connections[self._known(request["ConnectionArn"])]}

    def delete(self, request: dict, service: str, region: str) -> dict:
        arn = self._known(request["ConnectionArn"])
        del self._connections[arn], self._tags[arn]
        return {}

    def list(self, request: dict, service: str, region: str) -> dict:
        wanted = request.get("ProviderTypeFilter")
        start = f"arn:aws:{service}:{region}:"
        found = [each for arn, each in self._connections.items() if arn.startswith(start)]
        return {"Connections": [each for each in found if wanted in (None, each.get("ProviderType"))]}

    def tag(self, request: dict, service: str, region: str) -> dict:
        arn = self._known(request["ResourceArn"])
        self._tags[arn] |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {}

    def untag(self, request: dict, service: str, region: str) -> dict:
        arn = self._known(request["ResourceArn"])
        for key in request["TagKeys"]:
            self._tags[arn].pop(key, None)
        return {}

    def list_tags(self, request: dict, service: str, region: str) -> dict:
        return {"Tags": self._listed_tags(self._known(request["ResourceArn"]))}

    def _listed_tags(self, arn: str) -> "list[dict[str, str]]":
        return [{"Key": key, "Value": value} for key, value in self._tags[arn].items()]

    def _known(self, arn: str) -> str:
        if arn not in self._connections:
            raise ApiError("ResourceNotFoundException", f"Connection {arn} not found")
        return arn


OPERATIONS = {
    "CreateConnection": Connections.create,
    "DeleteConnection": Connections.delete,
    "GetConnection": Connections.get,
    "ListConnections": Connections.list,
    "ListTagsForResource": Connections.list_tags,
    "TagResource": Connections.tag,
    "UntagResource": Connections.untag,
}
