"""SageMaker's own events: what it tells EventBridge when a status changes, in the casing that it has."""

import os
import queue
import threading
from typing import TYPE_CHECKING

from local_aws.events.clock import iso
from local_aws.resources import KINDS, answer

if TYPE_CHECKING:
    from local_aws.events.rules import Rules
    from local_aws.sagemaker import SageMaker

SOURCE = "aws.sagemaker"
DETAIL_TYPES = {
    "TrainingJob": "SageMaker Training Job State Change",
    "ProcessingJob": "SageMaker Processing Job State Change",
    "TransformJob": "SageMaker Transform Job State Change",
    "HyperParameterTuningJob": "SageMaker HyperParameter Tuning Job State Change",
    "ModelPackage": "SageMaker Model Package State Change",
    "PipelineExecution": "SageMaker Model Building Pipeline Execution Status Change",
    "PipelineExecutionStep": "SageMaker Model Building Pipeline Execution Step Status Change",
}
# Members of a model package whose change is told, as UpdatedModelPackageFields names them.
UPDATED = {
    "ModelApprovalStatus": "ModelApprovalStatus",
    "ApprovalDescription": "ApprovalDescription",
    "SourceUri": "sourceUri",
    "CustomerMetadataProperties": "CustomerMetadataProperties",
    "InferenceSpecification": "InferenceSpecification",
    "ModelLifeCycle": "ModelLifeCycle",
}
REPEAT_EVERY = "LOCAL_AWS_REPEAT_EVENTS_EVERY"
REPEAT_EVERY_DEFAULT = 10


class Emitter:
    """Watches the records, and sends an event for each change that SageMaker tells.

    As in AWS an event may come more than once: every tenth does, or every nth of the variable
    LOCAL_AWS_REPEAT_EVENTS_EVERY (0: none).
    """

    def __init__(self, api: "SageMaker", rules: "Rules") -> None:
        self.api, self.rules = api, rules
        self._changes: queue.SimpleQueue = queue.SimpleQueue()
        self._repeat_every = int(os.environ.get(REPEAT_EVERY, REPEAT_EVERY_DEFAULT))
        self._sent = 0

    def start(self) -> None:
        self.api.state.watch(self._changed)
        threading.Thread(target=self._work, name="sagemaker events", daemon=True).start()

    def _changed(self, kind: str, before: dict | None, after: dict) -> None:
        """Called with the records' lock held."""
        if kind in DETAIL_TYPES and is_told(kind, before, after):
            self._changes.put((kind, before, after, self.api.clock.now()))

    def _work(self) -> None:
        while True:
            kind, before, after, at = self._changes.get()
            resources, detail = self._described(kind, before, after)
            self._sent += 1
            twice = self._repeat_every and self._sent % self._repeat_every == 0
            for _ in range(2 if twice else 1):
                self.rules.emit(SOURCE, DETAIL_TYPES[kind], resources, detail, at)

    def _described(self, kind: str, before: dict | None, after: dict) -> tuple[list[str], dict]:
        if kind == "PipelineExecution":
            return execution_event(before, after)
        if kind == "PipelineExecutionStep":
            return step_event(before, after)
        if kind == "ModelPackage":
            return package_event(before, after)
        return job_event(kind, after)


def is_told(kind: str, before: dict | None, after: dict) -> bool:
    status = KINDS[kind].status
    if before is None or before[status] != after[status]:
        return True
    return kind == "ModelPackage" and bool(updated_fields(before, after))


def updated_fields(before: dict, after: dict) -> list[str]:
    return [told for name, told in UPDATED.items() if (before.get(name) or None) != (after.get(name) or None)]


def execution_event(before: dict | None, after: dict) -> tuple[list[str], dict]:
    detail = {
        "pipelineExecutionDisplayName": after.get("PipelineExecutionDisplayName"),
        "currentPipelineExecutionStatus": after["PipelineExecutionStatus"],
        "previousPipelineExecutionStatus": before and before["PipelineExecutionStatus"],
        "executionStartTime": iso(after["StartTime"]),
        "executionEndTime": iso(after["EndTime"]) if after.get("EndTime") else None,
        "pipelineExecutionDescription": after.get("PipelineExecutionDescription"),
        "pipelineArn": after["PipelineArn"],
        "pipelineExecutionArn": after["PipelineExecutionArn"],
    }
    return [after["PipelineArn"], after["PipelineExecutionArn"]], _known(detail)


def step_event(before: dict | None, after: dict) -> tuple[list[str], dict]:
    execution = after["_execution"]
    pipeline = execution.partition("/execution/")[0]
    detail = {
        "metadata": _camel_case(after.get("Metadata", {})),
        "stepStartTime": iso(after["StartTime"]),
        "stepEndTime": iso(after["EndTime"]) if after.get("EndTime") else None,
        "stepName": after["StepName"],
        "stepType": after["_type"],
        "previousStepStatus": before and before["StepStatus"],
        "currentStepStatus": after["StepStatus"],
        "failureReason": after.get("FailureReason"),
        "pipelineArn": pipeline,
        "pipelineExecutionArn": execution,
    }
    return [pipeline, execution], _known(detail)


def package_event(before: dict | None, after: dict) -> tuple[list[str], dict]:
    detail = answer("DescribeModelPackage", after)
    for name in ("CreationTime", "LastModifiedTime"):
        detail[name] = iso(detail[name])
    detail.pop("ModelPackageName", None)
    if before is not None:
        detail["UpdatedModelPackageFields"] = updated_fields(before, after)
    return [after["ModelPackageArn"]], detail


def job_event(kind: str, after: dict) -> tuple[list[str], dict]:
    detail = answer(f"Describe{kind}", after)
    for name, value in detail.items():
        if name.endswith("Time"):
            detail[name] = int(value * 1000)
    detail["Tags"] = {tag["Key"]: tag["Value"] for tag in after.get("_tags", [])}
    return [after[KINDS[kind].arn]], detail


def _known(detail: dict) -> dict:
    return {name: value for name, value in detail.items() if value is not None}


def _camel_case(value: object) -> object:
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _camel_case(item) for name, item in value.items()}
    return value
