"""How resources of one type are made, changed and deleted: by calls of this server's own API."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import Shape

from local_aws.cloudformation.intrinsics import scalar_text

ABSENT = re.compile(r"NotFound|NoSuch|NonExist|DoesNotExist|404")
ABSENT_TO_SAGEMAKER = re.compile("does not exist|could not find|not found", re.IGNORECASE)
NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


class ResourceError(Exception):
    """A resource could not be made, changed or deleted; the message is the event's reason."""

    absent = False  # whether it is because there is no such thing


@dataclass(frozen=True)
class Caller:
    """The API, as whoever called CloudFormation."""

    client: Callable[[str], Any]
    region: str
    account: str
    forgiving: bool = False  # of calls about what is not there

    def shape(self, service: str, operation: str) -> Shape:
        return self.client(service).meta.service_model.operation_model(operation).input_shape

    def call(self, service: str, operation: str, request: dict[str, Any]) -> dict:
        """The answer; values are first brought to the types that the service takes. Raises ResourceError."""
        try:
            fitted = coerced(self.shape(service, operation), request, f"{service} {operation}")
            return getattr(self.client(service), xform_name(operation))(**fitted)
        except ClientError as error:
            failure = _failure(error, operation)
            if failure.absent and self.forgiving:
                return {}
            raise failure from error
        except ParamValidationError as error:
            raise ResourceError(f"{operation}: {error}") from error

    def found(self, service: str, operation: str, request: dict[str, Any], path: str) -> Any:
        """What lies at `path` of a describing call's answer; None when there is no such thing."""
        try:
            return dig(self.call(service, operation, request), path)
        except ResourceError as error:
            if not error.absent:
                raise
            return None


def _failure(error: ClientError, operation: str) -> ResourceError:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    result = ResourceError(f"{message} (Service: {operation}, Status Code: {status}, Error Code: {code})")
    by_message = code == "ValidationException" and ABSENT_TO_SAGEMAKER.search(message)
    result.absent = bool(ABSENT.search(code) or by_message)
    return result


@dataclass(frozen=True)
class Aspect:
    """Properties that calls of their own set: `put(caller, resource id, old properties, new properties)`.

    undone: before the resource is deleted, `put` is called without new properties.
    """

    properties: tuple[str, ...]
    put: Callable[[Caller, str, dict, dict], None]
    undone: bool = False


@dataclass(frozen=True)
class Call:
    """An operation on one resource: its members as texts in which {id}, {name}, {region}, {account} and {<a
    property>} are filled in; a member without its property is left out. found: what to take of the answer."""

    operation: str
    members: dict[str, str]
    found: str = ""


@dataclass(frozen=True)
class Kind:
    """One type of resource.

    create: an operation, "" when aspects make all of the resource; it takes the properties by their names.
    id: the path of the id in its answer, "" for the name. name: the property that names the resource.
    renamed: property -> member of create and update. prepared: members that are put together otherwise, from
    the `consumed` properties. refused: properties that the operation takes and moto drops. unique: create
    would change what exists already, so `describe` is asked first.
    attributes: GetAtt's name -> a text as in Call, or a path in what `describe` finds.
    """

    service: str
    create: str = ""
    update: Call | None = None
    describe: Call | None = None
    delete: Call | None = None
    id: str = ""
    name: str = ""
    name_length: int = 64
    lower: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    prepared: Callable[[Caller, dict], dict] | None = None
    consumed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    unique: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    aspects: tuple[Aspect, ...] = ()

    def name_in(self, properties: dict) -> str:
        """The name that the properties give, "" for none."""
        return (dig(properties, self.name) if self.name else None) or ""

    def takes(self, caller: Caller, name: str) -> bool:
        """Whether the creating call takes the property."""
        if not self.create:
            return False
        members = {member.lower() for member in caller.shape(self.service, self.create).members}
        return name in self.consumed or self.renamed.get(name, name).lower() in members

    def supports(self, caller: Caller, name: str) -> bool:
        """Whether resources of this type can have the property."""
        if name in self.refused:
            return False
        by_aspect = any(name in aspect.properties for aspect in self.aspects)
        return name == self.name or by_aspect or self.takes(caller, name)

    def can_change(self, name: str) -> bool:
        """Whether a resource can have another value of the property without being replaced."""
        return self.update is not None or any(name in aspect.properties for aspect in self.aspects)

    def make(self, caller: Caller, properties: dict) -> str:
        """The id of the new resource, which may still lack what `configure` sets."""
        name = self.name_in(properties)
        if self.unique and self.lookup(caller, name, properties) is not None:
            raise ResourceError(f"{name} already exists")
        if not self.create:
            return name
        answer = caller.call(self.service, self.create, self.request(caller, self.create, properties))
        return dig(answer, self.id) if self.id else name

    def configure(self, caller: Caller, id: str, properties: dict) -> None:
        """Sets what the creating call did not take."""
        left = {name for name in properties if name != self.name and not self.takes(caller, name)}
        self._put_aspects(caller, id, {}, properties, left)

    def change(self, caller: Caller, id: str, old: dict, new: dict) -> None:
        """Brings the resource from its old properties to the new ones."""
        changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        left = self._put_aspects(caller, id, old, new, changed)
        if not left:
            return
        apart = {name for aspect in self.aspects for name in aspect.properties}
        kept = {name: value for name, value in new.items() if name not in apart}
        request = self.request(caller, self.update.operation, kept) | self._filled(
            self.update, caller, id, new
        )
        caller.call(self.service, self.update.operation, request)

    def _put_aspects(self, caller: Caller, id: str, old: dict, new: dict, names: set[str]) -> set[str]:
        """Sets these properties where an aspect does it; the names of the others."""
        for aspect in self.aspects:
            if names & set(aspect.properties):
                aspect.put(caller, id, old, new)
                names = names - set(aspect.properties)
        return names

    def remove(self, caller: Caller, id: str, properties: dict) -> None:
        """Deletes the resource, of which any part may be gone already."""
        caller = replace(caller, forgiving=True)
        for aspect in self.aspects:
            if aspect.undone and any(name in properties for name in aspect.properties):
                aspect.put(caller, id, properties, {})
        if self.delete:
            request = self._filled(self.delete, caller, id, properties)
            caller.call(self.service, self.delete.operation, request)

    def attribute(self, caller: Caller, id: str, properties: dict, name: str) -> Any:
        """The value of GetAtt; KeyError when this type has no such attribute here."""
        path = self.attributes[name]
        if "{" in path:
            return _fill(path, self._names(caller, id, properties))
        return dig(self.lookup(caller, id, properties), path)

    def lookup(self, caller: Caller, id: str, properties: dict) -> Any:
        """The resource as its service describes it, None when there is none."""
        request = self._filled(self.describe, caller, id, properties)
        return caller.found(self.service, self.describe.operation, request, self.describe.found)

    def _names(self, caller: Caller, id: str, properties: dict) -> dict[str, Any]:
        own = {"id": id, "name": self.name_in(properties) or id}
        return {**properties, **own, "region": caller.region, "account": caller.account}

    def _filled(self, call: Call, caller: Caller, id: str, properties: dict) -> dict[str, Any]:
        names = self._names(caller, id, properties)
        filled = {member: _fill(text, names) for member, text in call.members.items()}
        return {member: value for member, value in filled.items() if value is not None}

    def request(self, caller: Caller, operation: str, properties: dict) -> dict:
        """The members of this operation that `properties` fill."""
        members = {name.lower(): name for name in caller.shape(self.service, operation).members}
        result = self.prepared(caller, properties) if self.prepared else {}
        for name, value in properties.items():
            member = members.get(self.renamed.get(name, name).lower())
            if member is not None and name not in self.consumed:
                result.setdefault(member, value)
        return {name: value for name, value in result.items() if name in members.values()}


def _fill(text: str, names: dict[str, Any]) -> Any:
    """The text with its names filled in; None when one is missing. A name alone keeps its value's type."""
    if alone := re.fullmatch(r"\{(\w+)\}", text):
        return names.get(alone[1])
    asked = re.findall(r"\{(\w+)\}", text)
    return text.format_map(names) if all(name in names for name in asked) else None


def dig(value: Any, path: str) -> Any:
    """What lies at a path such as `Vpcs.0.CidrBlock`; None when there is nothing."""
    for step in path.split(".") if path else []:
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(step)
    return None if value in ("", [], {}) and path else value


def coerced(shape: Shape, value: Any, place: str) -> Any:
    """`value` in the types of botocore's shape; member names may differ in case. Raises ResourceError."""
    if shape.type_name == "structure":
        return _structure(shape, value, place)
    if shape.type_name == "list":
        items = _pairs(shape.member, value) if isinstance(value, dict) else value
        items = items if isinstance(items, list | tuple) else [items]
        return [coerced(shape.member, item, f"{place}[{index}]") for index, item in enumerate(items)]
    if shape.type_name == "map":
        items = value if isinstance(value, dict) else {pair["Key"]: pair["Value"] for pair in value}
        return {key: coerced(shape.value, item, f"{place}.{key}") for key, item in items.items()}
    return _scalar(shape, value, place)


def _structure(shape: Shape, value: Any, place: str) -> dict:
    if not isinstance(value, dict):
        raise ResourceError(f"{place}: got {value!r}, expected an object")
    members = {name.lower(): name for name in shape.members}
    result = {}
    for name, item in value.items():
        member = members.get(name.lower())
        if member is None:
            raise ResourceError(f"{place}: the local AWS does not support the property {name} here")
        result[member] = coerced(shape.members[member], item, f"{place}.{member}")
    return result


def _pairs(member: Shape, value: dict) -> list:
    """A map as the list of objects that the service takes, for tags; else the one object of a list."""
    if {name.lower() for name in getattr(member, "members", {})} != {"key", "value"} or "Key" in value:
        return [value]
    return [{"Key": key, "Value": item} for key, item in value.items()]


def _scalar(shape: Shape, value: Any, place: str) -> Any:
    kind = shape.type_name
    if kind == "string":
        return json.dumps(value) if isinstance(value, dict | list) else scalar_text(value)
    try:
        if kind in NUMBERS:
            return NUMBERS[kind](value)
    except (TypeError, ValueError) as error:
        raise ResourceError(f"{place}: got {value!r}, expected {kind}") from error
    if kind == "boolean" and scalar_text(value) in ("true", "false"):
        return scalar_text(value) == "true"
    return value
