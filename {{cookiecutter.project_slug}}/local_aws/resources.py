"""Create, describe, list, stop, delete and tag: what is the same for every kind of record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.model import Shape

from local_aws.validation import ApiError, operation_model

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

PAGE_SIZE = 100
RUNNING = ("InProgress", "Executing", "Starting", "Stopping")
PRIVATE = ("Tags", "ClientToken", "ClientRequestToken")


@dataclass(frozen=True)
class Kind:
    """One kind of record: its name, its part of an ARN, the members that hold its status and its end."""

    name: str
    path: str
    status: str = ""
    ended: str = ""
    sort_order: str = "Ascending"

    @property
    def id(self) -> str:
        return f"{self.name}Name"

    @property
    def arn(self) -> str:
        return f"{self.name}Arn"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("TrainingJob", "training-job", "TrainingJobStatus", "TrainingEndTime"),
        Kind("ProcessingJob", "processing-job", "ProcessingJobStatus", "ProcessingEndTime"),
        Kind("TransformJob", "transform-job", "TransformJobStatus", "TransformEndTime"),
        Kind(
            "HyperParameterTuningJob",
            "hyper-parameter-tuning-job",
            "HyperParameterTuningJobStatus",
            "HyperParameterTuningEndTime",
        ),
        Kind("Model", "model", sort_order="Descending"),
        Kind("ModelPackageGroup", "model-package-group", "ModelPackageGroupStatus"),
        Kind("ModelPackage", "model-package", "ModelPackageStatus"),
        Kind("Pipeline", "pipeline", "PipelineStatus", sort_order="Descending"),
        Kind("PipelineExecution", "pipeline", "PipelineExecutionStatus", sort_order="Descending"),
        Kind("PipelineExecutionStep", "", "StepStatus", "EndTime", sort_order="Descending"),
    )
}
JOBS = ("TrainingJob", "ProcessingJob", "TransformJob", "HyperParameterTuningJob")


def new_record(api: "SageMaker", kind: Kind, request: dict) -> dict:
    """The record of a resource that `request` creates: its fields, ARN, times and (private) tags."""
    now = api.clock.now()
    fields = {name: value for name, value in request.items() if name not in PRIVATE}
    stamps = {kind.arn: api.arn(kind.path, request[kind.id]), "CreationTime": now, "LastModifiedTime": now}
    return fields | stamps | {"_tags": request.get("Tags", []), "_offset": api.clock.offset}


def found(api: "SageMaker", kind: Kind, key: str) -> dict:
    """The record, or the error that AWS answers where there is none."""
    try:
        return api.state.get(kind.name, key)
    except KeyError:
        raise missing(kind, key) from None


def missing(kind: Kind, key: str) -> ApiError:
    # AWS answers ValidationException for these, whatever its model says (aws/aws-sdk#165).
    if kind.name == "TrainingJob":
        return ApiError("ValidationException", f"Requested resource not found. (training job {key})")
    if kind.name in ("ProcessingJob", "TransformJob"):
        return ApiError("ValidationException", f"Could not find requested job with name: {key}")
    if kind.name in ("Model", "ModelPackage", "ModelPackageGroup"):
        return ApiError("ValidationException", f"{kind.name} {key} does not exist.")
    return ApiError("ResourceNotFound", f"{kind.name} '{key}' does not exist.")


def last_part(name_or_arn: str) -> str:
    return name_or_arn.rsplit("/", 1)[-1]


def describe(api: "SageMaker", request: dict, kind: Kind) -> dict:
    return found(api, kind, last_part(request[kind.id]))


def answer(operation: str, record: dict) -> dict:
    """The members of `record` that the operation's output has."""
    shape = operation_model(operation).output_shape
    return shaped(shape, record) if shape else {}


def shaped(shape: Shape, value: object) -> object:
    """`value` without what `shape` does not know, and without nulls."""
    if shape.type_name == "structure":
        known = {name: value[name] for name in shape.members if value.get(name) is not None}
        return {name: shaped(shape.members[name], item) for name, item in known.items()}
    if shape.type_name == "list":
        return [shaped(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: shaped(shape.value, item) for key, item in value.items() if item is not None}
    return value


Test = Callable[[dict], bool]


def tests(kind: Kind, request: dict) -> dict[str, Test]:
    """By member of a List request: what a record must satisfy to be listed."""
    return {
        "NameContains": lambda r: request["NameContains"].lower() in r.get(kind.id, "").lower(),
        "PipelineNamePrefix": lambda r: r[kind.id].startswith(request["PipelineNamePrefix"]),
        "StatusEquals": lambda r: r[kind.status] == request["StatusEquals"],
        "ModelApprovalStatus": lambda r: r.get("ModelApprovalStatus") == request["ModelApprovalStatus"],
        "CreationTimeAfter": lambda r: r["CreationTime"] >= request["CreationTimeAfter"],
        "CreationTimeBefore": lambda r: r["CreationTime"] <= request["CreationTimeBefore"],
        "CreatedAfter": lambda r: r["CreationTime"] >= request["CreatedAfter"],
        "CreatedBefore": lambda r: r["CreationTime"] <= request["CreatedBefore"],
        "LastModifiedTimeAfter": lambda r: r["LastModifiedTime"] >= request["LastModifiedTimeAfter"],
        "LastModifiedTimeBefore": lambda r: r["LastModifiedTime"] <= request["LastModifiedTimeBefore"],
    }


def sort_value(kind: Kind, sort_by: str) -> Callable[[dict], object]:
    if sort_by in ("Name", "ModelPackageName"):
        return lambda record: record[kind.id]
    if sort_by == "Status":
        return lambda record: record[kind.status]
    if sort_by == "PipelineExecutionArn":
        return lambda record: record[kind.arn]
    if sort_by == "FinalObjectiveMetricValue":
        metric = "FinalHyperParameterTuningJobObjectiveMetric"
        return lambda record: record.get(metric, {}).get("Value", float("-inf"))
    return lambda record: record["CreationTime"]


def list_records(api: "SageMaker", request: dict, kind: Kind) -> dict:
    return page(kind, f"List{kind.name}s", request, api.state.find(kind.name))


def page(kind: Kind, operation: str, request: dict, records: list[dict], answered: tuple = ()) -> dict:
    """One page of `records` as `operation` answers it: filtered, sorted, cut, reduced to its summaries.

    answered: members of the request that chose `records`.
    """
    paging = ("NextToken", "MaxResults", "SortBy", "SortOrder", *answered)
    wanted = tests(kind, request)
    filters = [refuse_unknown(operation, name, wanted) for name in request if name not in paging]
    listed = [record for record in records if all(test(record) for test in filters)]
    listed.sort(key=sort_value(kind, request.get("SortBy", "CreationTime")))
    if request.get("SortOrder", kind.sort_order) == "Descending":
        listed.reverse()
    return cut(operation, request, listed)


def refuse_unknown(operation: str, name: str, wanted: dict[str, Test]) -> Test:
    if name not in wanted:
        raise ApiError("ValidationException", f"{operation}: {name} is not supported by the local AWS")
    return wanted[name]


def cut(operation: str, request: dict, items: list) -> dict:
    """The part of `items` from NextToken on, with the token of the rest."""
    first, size = page_start(operation, request), request.get("MaxResults", PAGE_SIZE)
    members = operation_model(operation).output_shape.members
    list_member = next(name for name, shape in members.items() if shape.type_name == "list")
    result = {list_member: items[first : first + size]}
    if first + size < len(items):
        result["NextToken"] = str(first + size)
    return result


def page_start(operation: str, request: dict) -> int:
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        message = f"{operation}.NextToken: got {token!r}, must be the NextToken of an earlier answer"
        raise ApiError("ValidationException", message)
    return int(token)


def delete(api: "SageMaker", request: dict, kind: Kind) -> dict:
    name = last_part(request[kind.id])
    with api.state.lock:
        record = found(api, kind, name)
        if kind.name in JOBS and record[kind.status] in RUNNING:
            raise ApiError("ResourceInUse", f"{kind.name} {name} is {record[kind.status]}: stop it first")
        api.state.delete(kind.name, name)
    return record


def stop_job(api: "SageMaker", request: dict, kind: Kind) -> dict:
    """Asks a running job to stop; it reports Stopping, then Stopped."""
    name = request[kind.id]
    with api.state.lock:
        status = found(api, kind, name)[kind.status]
        if status not in RUNNING:
            message = f"The request was rejected because {kind.name} {name} is in status {status}."
            raise ApiError("ValidationException", message)
        if status != "Stopping":
            api.state.update(kind.name, name, **{kind.status: "Stopping"})
    api.jobs.stop(api, kind.name, name)
    return {}


def tagged(api: "SageMaker", arn: str) -> tuple[str, str]:
    """(kind, name) of the resource that an ARN names."""
    path, _, name = arn.split(":", 5)[-1].partition("/")
    kind = next((kind for kind in KINDS.values() if kind.path == path), None)
    if kind and kind.name == "Pipeline" and "/execution/" in name:
        kind = KINDS["PipelineExecution"]
    key = arn if kind and kind.name in ("PipelineExecution", "ModelPackage") else name
    if kind is None or not api.state.has(kind.name, key):
        raise ApiError("ValidationException", f"ResourceArn: {arn} does not exist")
    return kind.name, key


def add_tags(api: "SageMaker", request: dict) -> dict:
    with api.state.lock:
        kind, name = tagged(api, request["ResourceArn"])
        tags = {tag["Key"]: tag for tag in api.state.get(kind, name)["_tags"] + request["Tags"]}
        return {"Tags": api.state.update(kind, name, _tags=list(tags.values()))["_tags"]}


def delete_tags(api: "SageMaker", request: dict) -> dict:
    with api.state.lock:
        kind, name = tagged(api, request["ResourceArn"])
        tags = [tag for tag in api.state.get(kind, name)["_tags"] if tag["Key"] not in request["TagKeys"]]
        api.state.update(kind, name, _tags=tags)
    return {}


def list_tags(api: "SageMaker", request: dict) -> dict:
    kind, name = tagged(api, request["ResourceArn"])
    return cut("ListTags", request, api.state.get(kind, name)["_tags"])
