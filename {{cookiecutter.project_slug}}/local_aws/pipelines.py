"""Pipelines and their executions: the records; `executions.py` runs them."""

import json
import random
import string
from typing import TYPE_CHECKING
from urllib.parse import quote

from local_aws import selection
from local_aws.resources import KINDS, RUNNING, cut, found, last_part, new_record, page
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

PIPELINE, EXECUTION = KINDS["Pipeline"], KINDS["PipelineExecution"]
STEP = KINDS["PipelineExecutionStep"]
EXECUTION_ID_LENGTH = 12
NOT_STORED = ("PipelineDefinitionS3Location", "PipelineVersionAliases")
UNSUPPORTED_AT_START = ("PipelineVersionId", "PipelineVersionAlias", "MlflowExperimentName")
TYPES = {"String": str, "Integer": int, "Float": float, "Boolean": bool}
BOOLEANS = {"true": True, "false": False}


def create_pipeline(api: "SageMaker", request: dict) -> dict:
    """The pipeline; the one made before when the same client token made it."""
    name, token = request["PipelineName"], request["ClientRequestToken"]
    text = _checked_definition(api, "CreatePipeline", request)
    if text is None:
        message = "CreatePipeline: PipelineDefinition or PipelineDefinitionS3Location is required"
        raise ApiError("ValidationException", message)
    who = {"CreatedBy": {}, "LastModifiedBy": {}, "PipelineStatus": "Active"}
    record = new_record(api, PIPELINE, request) | who | {"PipelineDefinition": text, "_token": token}
    with api.state.lock:
        if api.state.has("Pipeline", name):
            return _same_creation(api.state.get("Pipeline", name), token)
        api.state.put("Pipeline", name, {k: v for k, v in record.items() if k not in NOT_STORED})
    return record


def _same_creation(record: dict, token: str) -> dict:
    if record["_token"] != token:
        message = "Pipeline names must be unique within an AWS account and region. "
        message += f"Pipeline with name ({record['PipelineName']}) already exists."
        raise ApiError("ValidationException", message)
    return record


def update_pipeline(api: "SageMaker", request: dict) -> dict:
    name = request["PipelineName"]
    found(api, PIPELINE, name)
    fields = {key: value for key, value in request.items() if key not in NOT_STORED}
    text = _checked_definition(api, "UpdatePipeline", request)
    if text is not None:
        fields["PipelineDefinition"] = text
    with api.state.lock:
        found(api, PIPELINE, name)
        return api.state.update("Pipeline", name, **fields, LastModifiedTime=api.clock.now())


def delete_pipeline(api: "SageMaker", request: dict) -> dict:
    name = request["PipelineName"]
    with api.state.lock:
        record = found(api, PIPELINE, name)
        executions = api.state.find("PipelineExecution", _pipeline=name)
        running = [e["PipelineExecutionArn"] for e in executions if e[EXECUTION.status] in RUNNING]
        if running:
            message = f"Pipeline {name} has running executions ({', '.join(running)}): stop them first"
            raise ApiError("ConflictException", message)
        for execution in executions:
            _forget_execution(api, execution["PipelineExecutionArn"])
        api.state.delete("Pipeline", name)
    return record


def _forget_execution(api: "SageMaker", arn: str) -> None:
    for name in api.state.names(STEP.name, _execution=arn):
        api.state.delete(STEP.name, name)
    api.state.delete(EXECUTION.name, arn)


def describe_pipeline(api: "SageMaker", request: dict) -> dict:
    for member in ("PipelineVersionId", "PipelineVersionAlias"):
        _refuse("DescribePipeline", member, request)
    name = last_part(request["PipelineName"])
    record = found(api, PIPELINE, name)
    runs = api.state.find("PipelineExecution", _pipeline=name)
    return record | {"LastRunTime": max((run["CreationTime"] for run in runs), default=None)}


def _checked_definition(api: "SageMaker", operation: str, request: dict) -> str | None:
    """The text of the definition, from the request or from S3, once it is known to be executable."""
    text = request.get("PipelineDefinition")
    if place := request.get("PipelineDefinitionS3Location"):
        version = {"VersionId": place["VersionId"]} if "VersionId" in place else {}
        body = _read_object(api, operation, {"Bucket": place["Bucket"], "Key": place["ObjectKey"]} | version)
        text = body.decode()
    if text is not None:
        api.definition.check(_parsed(operation, text), api)
    return text


def _read_object(api: "SageMaker", operation: str, place: dict) -> bytes:
    s3 = api.client("s3")
    try:
        return s3.get_object(**place)["Body"].read()
    except s3.exceptions.ClientError as error:
        uri = f"s3://{place['Bucket']}/{quote(place['Key'])}"
        message = f"{operation}.PipelineDefinitionS3Location: cannot read {uri}: {error}"
        raise ApiError("ValidationException", message) from error


def _parsed(operation: str, text: str) -> dict:
    try:
        definition = json.loads(text)
    except ValueError as error:
        message = f"{operation}.PipelineDefinition is not JSON: {error}"
        raise ApiError("ValidationException", message) from error
    if not isinstance(definition, dict):
        message = f"{operation}.PipelineDefinition must be a JSON object, got {type(definition).__name__}"
        raise ApiError("ValidationException", message)
    return definition


def start_execution(api: "SageMaker", request: dict) -> dict:
    """The execution, started; the one started before when the client token was used before."""
    for member in UNSUPPORTED_AT_START:
        _refuse("StartPipelineExecution", member, request)
    with api.state.lock:
        pipeline = found(api, PIPELINE, last_part(request["PipelineName"]))
        name, token = pipeline["PipelineName"], request["ClientRequestToken"]
        if made := api.state.find("PipelineExecution", _pipeline=name, _token=token):
            return made[0]
        record = _new_execution(api, pipeline, request)
        kept = selection.kept_steps(api, record)
        api.state.put("PipelineExecution", record["PipelineExecutionArn"], record)
        for step in kept:
            api.state.put(STEP.name, f"{record['PipelineExecutionArn']}/{step['StepName']}", step)
    api.executions.start(api, record["PipelineExecutionArn"])
    return record


def _new_execution(api: "SageMaker", pipeline: dict, request: dict) -> dict:
    now = api.clock.now()
    identifier = "".join(random.choices(string.ascii_lowercase + string.digits, k=EXECUTION_ID_LENGTH))
    kept = (
        "PipelineExecutionDisplayName",
        "PipelineExecutionDescription",
        "ParallelismConfiguration",
        "SelectiveExecutionConfig",
    )
    inherited = ("PipelineArn", "RoleArn", "ParallelismConfiguration")
    fields = {member: pipeline[member] for member in inherited if member in pipeline}
    fields |= {"PipelineExecutionDisplayName": f"execution-{int(now * 1000)}"}
    fields |= {member: request[member] for member in (*kept, "RoleArn") if member in request}
    definition = json.loads(pipeline["PipelineDefinition"])
    return fields | {
        "PipelineExecutionArn": f"{pipeline['PipelineArn']}/execution/{identifier}",
        "PipelineExecutionStatus": "Executing",
        "CreationTime": now,
        "StartTime": now,
        "LastModifiedTime": now,
        "CreatedBy": {},
        "LastModifiedBy": {},
        "_pipeline": pipeline["PipelineName"],
        "_token": request["ClientRequestToken"],
        "_definition": pipeline["PipelineDefinition"],
        "_parameters": resolved_parameters(definition, request.get("PipelineParameters", [])),
        "_tags": [],
        "_offset": api.clock.offset,
    }


def resolved_parameters(definition: dict, given: list[dict]) -> dict[str, object]:
    """Value by name of every parameter of the definition: as given, else its default."""
    declared = {parameter["Name"]: parameter for parameter in definition.get("Parameters", [])}
    values = {item["Name"]: item.get("Value", "") for item in given}
    unknown = sorted(set(values) - set(declared))
    if unknown:
        message = f"PipelineParameters: unknown {', '.join(unknown)}; the pipeline takes "
        raise ApiError("ValidationException", message + (", ".join(declared) or "none"))
    if len(values) < len(given):
        raise ApiError("ValidationException", f"PipelineParameters: a name is given twice in {[*values]}")
    return {name: _resolved(parameter, values) for name, parameter in declared.items()}


def _resolved(parameter: dict, values: dict[str, str]) -> object:
    name = parameter["Name"]
    if name in values:
        return _converted(parameter, values[name])
    if "DefaultValue" not in parameter:
        raise ApiError("ValidationException", f"PipelineParameters: {name} has no default: give it a value")
    return parameter["DefaultValue"]


def _converted(parameter: dict, text: str) -> object:
    kind, allowed = parameter.get("Type", "String"), parameter.get("EnumValues")
    try:
        value = BOOLEANS[text.lower()] if kind == "Boolean" else TYPES[kind](text)
    except (KeyError, ValueError):
        message = f"PipelineParameters: {parameter['Name']} must be of type {kind}, got {text!r}"
        raise ApiError("ValidationException", message) from None
    if allowed and value not in allowed:
        message = f"PipelineParameters: {parameter['Name']} must be one of {allowed}, got {value!r}"
        raise ApiError("ValidationException", message)
    return value


def execution(api: "SageMaker", request: dict) -> dict:
    return found(api, EXECUTION, request["PipelineExecutionArn"])


def definition_for_execution(api: "SageMaker", request: dict) -> dict:
    record = execution(api, request)
    return {"PipelineDefinition": record["_definition"], "CreationTime": record["CreationTime"]}


def list_executions(api: "SageMaker", request: dict) -> dict:
    name = last_part(request["PipelineName"])
    found(api, PIPELINE, name)
    records = api.state.find(EXECUTION.name, _pipeline=name)
    for record in records:
        record["PipelineExecutionFailureReason"] = record.get("FailureReason")
    return page(EXECUTION, "ListPipelineExecutions", request, records, answered=("PipelineName",))


def list_steps(api: "SageMaker", request: dict) -> dict:
    if "PipelineExecutionArn" not in request:
        message = "ListPipelineExecutionSteps.PipelineExecutionArn is required"
        raise ApiError("ValidationException", message)
    arn = execution(api, request)["PipelineExecutionArn"]
    steps = sorted(api.state.find(STEP.name, _execution=arn), key=lambda step: step["StartTime"])
    if request.get("SortOrder", STEP.sort_order) == "Descending":
        steps.reverse()
    return cut("ListPipelineExecutionSteps", request, steps)


def list_parameters(api: "SageMaker", request: dict) -> dict:
    values = execution(api, request)["_parameters"]
    listed = [{"Name": name, "Value": _text(value)} for name, value in values.items()]
    return cut("ListPipelineParametersForExecution", request, listed)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def stop_execution(api: "SageMaker", request: dict) -> dict:
    """Asks a running execution to stop; it reports Stopping, then Stopped."""
    arn = request["PipelineExecutionArn"]
    with api.state.lock:
        status = execution(api, request)[EXECUTION.status]
        if status not in RUNNING:
            message = f"Pipeline execution with ARN {arn} is {status} and can not be stopped"
            raise ApiError("ValidationException", message)
        if status != "Stopping":
            api.state.update(EXECUTION.name, arn, **{EXECUTION.status: "Stopping"})
    api.executions.stop(api, arn)
    return {"PipelineExecutionArn": arn}


def retry_execution(api: "SageMaker", request: dict) -> dict:
    """Runs the failed, stopped and never started steps of an ended execution again."""
    arn = request["PipelineExecutionArn"]
    with api.state.lock:
        status = execution(api, request)[EXECUTION.status]
        if status not in ("Failed", "Stopped"):
            message = f"Pipeline execution with ARN {arn} is {status}: only Failed or Stopped can be retried"
            raise ApiError("ValidationException", message)
        again = {EXECUTION.status: "Executing", "FailureReason": None, "LastModifiedTime": api.clock.now()}
        again["_offset"] = api.clock.offset
        api.state.update(EXECUTION.name, arn, **again)
    api.executions.retry(api, arn)
    return {"PipelineExecutionArn": arn}


def _refuse(operation: str, member: str, request: dict) -> None:
    if member in request:
        raise ApiError("ValidationException", f"{operation}: {member} is not supported by the local AWS")
