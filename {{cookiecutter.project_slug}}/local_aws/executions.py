"""Pipeline executions: the steps of the stored definition, each as soon as what it needs has succeeded."""

import json
import os
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_aws.definition import Step, job_name, steps_of
from local_aws.expressions import Scope, Unresolved, holds, resolve, text
from local_aws.resources import KINDS, RUNNING
from local_aws.selection import selected_steps
from local_aws.transfer import TransferError, split_uri
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

EXECUTION, STEP = "PipelineExecution", "PipelineExecutionStep"
ENDED = ("Succeeded", "Failed", "Stopped")
MAX_STEP_REASON, MAX_EXECUTION_REASON = 1024, 1300
STOP_ALL_SECONDS = 30.0
WAIT_SCALE = "LOCAL_AWS_RETRY_WAIT_SCALE"
DESCRIBED_TYPES = {"HyperParameterTuningJob": "TuningJob"}
RETRIED_CODES = {
    "ThrottlingException": "Step.THROTTLING",
    "InternalFailure": "Step.SERVICE_FAULT",
    "ServiceUnavailable": "Step.SERVICE_FAULT",
    "ResourceLimitExceeded": "SageMaker.RESOURCE_LIMIT",
}
RETRIED_REASONS = {
    "InternalServerError": "SageMaker.JOB_INTERNAL_ERROR",
    "CapacityError": "SageMaker.CAPACITY_ERROR",
    "ResourceLimitExceeded": "SageMaker.RESOURCE_LIMIT",
}
# What SageMaker retries without being asked (SDK: StepRetryPolicy).
DEFAULT_POLICY = {"ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"], "MaxAttempts": 3}


def start(api: "SageMaker", arn: str) -> None:
    """Runs the execution that is recorded; returns at once."""
    threading.Thread(target=Run(api, arn).work, name=arn.rsplit("/", 1)[-1], daemon=True).start()


def retry(api: "SageMaker", arn: str) -> None:
    """Runs what has not succeeded of an ended execution again, under the same id; returns at once."""
    with api.state.lock:
        attempts = {}
        for name in api.state.names(STEP, _execution=arn):
            record = api.state.get(STEP, name)
            if record["StepStatus"] != "Succeeded":
                attempts[record["StepName"]] = record["AttemptCount"]
                api.state.delete(STEP, name)
        api.state.update(EXECUTION, arn, PipelineExecutionStatus="Executing", _attempts=attempts)
    start(api, arn)


def stop(api: "SageMaker", arn: str) -> None:
    """Stops the jobs of a running execution and starts no more of its steps; returns at once."""
    with api.state.lock:
        if api.state.get(EXECUTION, arn)["PipelineExecutionStatus"] == "Executing":
            api.state.update(EXECUTION, arn, PipelineExecutionStatus="Stopping")


def stop_all(api: "SageMaker") -> None:
    """Stops every execution; returns when they have ended, or after STOP_ALL_SECONDS."""
    deadline = time.monotonic() + STOP_ALL_SECONDS
    running = [arn for arn in api.state.names(EXECUTION) if not _ended(api.state.get(EXECUTION, arn))]
    for arn in running:
        stop(api, arn)
    for arn in running:
        try:
            api.state.wait(EXECUTION, arn, _ended, max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return


def _ended(execution: dict) -> bool:
    return execution["PipelineExecutionStatus"] in ENDED


class JobFailed(Exception):
    """The step's job did not complete; the message is its reason."""


class Stopped(Exception):
    """The execution is being stopped, and the step with it."""


class Run:
    """One execution at work."""

    def __init__(self, api: "SageMaker", arn: str) -> None:
        self.api, self.state, self.arn = api, api.state, arn
        self.record = api.state.get(EXECUTION, arn)
        self.id = arn.rsplit("/", 1)[-1]
        self.steps = steps_of(json.loads(self.record["_definition"]))
        self.selected = selected_steps(self.record) or self.steps.keys()
        self.at_once = self.record.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", 0)

    def work(self) -> None:
        """Starts steps as they become ready, until none runs and none can start."""
        with self.state.changed:
            while True:
                records = self._records()
                started = self._start_ready(records)
                if not started and not any(record["StepStatus"] in RUNNING for record in records.values()):
                    break
                self.state.changed.wait()
            self._end(records)

    def _now(self) -> float:
        return self.api.clock.now(self.record)

    def _records(self) -> dict[str, dict]:
        return {record["StepName"]: record for record in self.state.find(STEP, _execution=self.arn)}

    def _start_ready(self, records: dict[str, dict]) -> int:
        """How many steps were started. None is once a step has failed or the execution is being stopped."""
        failed = any(record["StepStatus"] in ("Failed", "Stopped") for record in records.values())
        if failed or self.stopping():
            return 0
        ready = [
            step
            for name, step in self.steps.items()
            if name in self.selected and name not in records and _is_ready(step, records)
        ]
        running = sum(record["StepStatus"] in RUNNING for record in records.values())
        started = ready[: max(0, self.at_once - running)] if self.at_once else ready
        for step in started:
            self._start_step(step)
        return len(started)

    def _start_step(self, step: Step) -> None:
        before = self.record.get("_attempts", {}).get(step.name, 0)
        record = {
            "StepName": step.name,
            "StepStatus": "Starting",
            "StartTime": self._now(),
            "AttemptCount": before + 1,
            "_execution": self.arn,
            "_type": step.type,
        }
        texts = {"StepDisplayName": step.display_name, "StepDescription": step.description}
        self.state.put(STEP, self._key(step), record | {key: value for key, value in texts.items() if value})
        worker = threading.Thread(target=self._work_on, args=(step,), name=self._key(step), daemon=True)
        worker.start()

    def _key(self, step: Step) -> str:
        return f"{self.arn}/{step.name}"

    def _work_on(self, step: Step) -> None:
        """A step's thread. Whatever goes wrong, the step gets a final status."""
        end: dict[str, object] = {
            "StepStatus": "Failed",
            "FailureReason": "The local AWS failed: see its output",
        }
        try:
            end = self._outcome(step)
        finally:
            self.state.update(STEP, self._key(step), EndTime=self._now(), **end)

    def _outcome(self, step: Step) -> dict[str, object]:
        perform = {"Condition": self._condition, "Fail": self._fail}.get(step.type, self._job)
        try:
            return perform(step)
        except Stopped:
            return {"StepStatus": "Stopped"}
        except (Unresolved, JobFailed) as error:
            return {"StepStatus": "Failed", "FailureReason": str(error)[:MAX_STEP_REASON]}
        except ApiError as error:
            return {"StepStatus": "Failed", "FailureReason": f"ClientError: {error}"[:MAX_STEP_REASON]}

    def _condition(self, step: Step) -> dict[str, object]:
        self._update(step, StepStatus="Executing")
        scope = self._scope()
        outcome = all(holds(condition, scope) for condition in step.arguments["Conditions"])
        return {"StepStatus": "Succeeded", "Metadata": {"Condition": {"Outcome": str(outcome)}}}

    def _fail(self, step: Step) -> dict[str, object]:
        message = text(resolve(step.arguments.get("ErrorMessage", ""), self._scope()))[:MAX_STEP_REASON]
        metadata = {"Fail": {"ErrorMessage": message}}
        return {"StepStatus": "Failed", "FailureReason": message, "Metadata": metadata}

    def _job(self, step: Step) -> dict[str, object]:
        """Runs the step's job, again as long as a retry policy covers the way it failed."""
        began, retried = time.monotonic(), {}
        while True:
            try:
                self._attempt(step)
                return {"StepStatus": "Succeeded"}
            except (ApiError, JobFailed) as error:
                pause = _pause(step, error, retried, time.monotonic() - began)
                if pause is None:
                    raise
            self._wait_or_stop(pause)
            count = self.state.get(STEP, self._key(step))["AttemptCount"]
            self._update(step, AttemptCount=count + 1)

    def _attempt(self, step: Step) -> None:
        name = self._create(step)
        kind = KINDS[step.kind]
        arn = self.state.get(kind.name, name)[kind.arn]
        metadata = {DESCRIBED_TYPES.get(kind.name, kind.name): {"Arn": arn}}
        self._update(step, StepStatus="Executing", Metadata=metadata, _job=name)
        if kind.status:
            self._check_role(f"Describe{kind.name}", {kind.id: name})
            self._await(step, name)

    def _create(self, step: Step) -> str:
        """The name of the job, created from the step's arguments."""
        member = KINDS[step.kind].id
        prefix = resolve(step.arguments.get(member), self._scope())
        name = job_name(step, prefix, self.id, secrets.token_hex(3))
        variables = {member: name} if step.kind in ("TrainingJob", "ProcessingJob") else {}
        request = resolve(step.arguments, self._scope(variables)) | {member: name}
        self._check_role(f"Create{step.kind}", request)
        self.api.call(f"Create{step.kind}", request)
        return name

    def _check_role(self, operation: str, request: dict) -> None:
        """JobFailed with --enforce-iam when the pipeline's role may not do this."""
        if self.api.enforce_iam:
            try:
                self.api.roles.check_call(self.record["RoleArn"], operation, request)
            except ApiError as denied:
                raise JobFailed(f"ClientError: {denied.message}") from None

    def _await(self, step: Step, name: str) -> None:
        """Returns once the job is completed; stops it when the execution is stopped."""
        kind = KINDS[step.kind]
        job = self.state.wait(kind.name, name, lambda job: job[kind.status] not in RUNNING or self.stopping())
        if job[kind.status] in RUNNING:
            self._update(step, StepStatus="Stopping")
            self._stop_job(kind.name, name)
            job = self.state.wait(kind.name, name, lambda job: job[kind.status] not in RUNNING)
        if job[kind.status] == "Stopped" and self.stopping():
            raise Stopped
        if job[kind.status] != "Completed":
            cause = job.get("FailureReason") or job.get("SecondaryStatus", "stopped by StopJob")
            reason = cause if job[kind.status] == "Failed" else f"{kind.name} {name} was stopped: {cause}"
            raise JobFailed(reason)

    def _stop_job(self, kind: str, name: str) -> None:
        try:
            self._check_role(f"Stop{kind}", {KINDS[kind].id: name})
            self.api.call(f"Stop{kind}", {KINDS[kind].id: name})
        except ApiError:
            if self.state.get(kind, name)[KINDS[kind].status] in RUNNING:
                raise

    def _wait_or_stop(self, seconds: float) -> None:
        try:
            self.state.wait(EXECUTION, self.arn, lambda _: self.stopping(), seconds)
        except TimeoutError:
            return
        raise Stopped

    def stopping(self) -> bool:
        return self.state.get(EXECUTION, self.arn)["PipelineExecutionStatus"] == "Stopping"

    def _update(self, step: Step, **fields: object) -> None:
        self.state.update(STEP, self._key(step), **fields)

    def _scope(self, more: dict[str, str] | None = None) -> Scope:
        variables = {
            "StartDateTime": _iso(self.record["CreationTime"]),
            "CurrentDateTime": _iso(self._now()),
            "PipelineName": self.record["_pipeline"],
            "PipelineArn": self.record["PipelineArn"],
            "PipelineExecutionId": self.id,
            "PipelineExecutionArn": self.arn,
        }
        parameters = self.record["_parameters"]
        return Scope(parameters, variables | (more or {}), self._properties, self._property_file, self._read)

    def _properties(self, name: str) -> dict:
        step, record = self.steps[name], self.state.get(STEP, f"{self.arn}/{name}")
        if step.type == "Condition":
            return {"Outcome": record["Metadata"]["Condition"]["Outcome"] == "True"}
        return self.state.get(step.kind, record["_job"])

    def _property_file(self, name: str, file: str) -> str:
        place = self.steps[name].files[file]
        outputs = self._properties(name)["ProcessingOutputConfig"]["Outputs"]
        output = next(output for output in outputs if output["OutputName"] == place["OutputName"])
        return f"{output['S3Output']['S3Uri'].rstrip('/')}/{place['FilePath']}"

    def _read(self, uri: str) -> bytes:
        try:
            bucket, key = split_uri(uri)
            s3 = self.api.client("s3", self.record["RoleArn"])
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (ClientError, TransferError) as error:
            raise Unresolved(f"cannot be read: {error}") from None

    def _end(self, records: dict[str, dict]) -> None:
        failed = [record for record in records.values() if record["StepStatus"] in ("Failed", "Stopped")]
        status = "Stopped" if self.stopping() else "Failed" if failed else "Succeeded"
        reason = "; ".join(map(_reason, failed))[:MAX_EXECUTION_REASON] if status == "Failed" else None
        now = {"LastModifiedTime": self._now(), "EndTime": self._now()}
        self.state.update(EXECUTION, self.arn, PipelineExecutionStatus=status, FailureReason=reason, **now)


def _is_ready(step: Step, records: dict[str, dict]) -> bool:
    """Whether all that the step needs has succeeded, and its condition came out on its branch."""
    if any(records.get(name, {}).get("StepStatus") != "Succeeded" for name in step.needs):
        return False
    if step.branch is None:
        return True
    condition, outcome = step.branch
    return records[condition]["Metadata"]["Condition"]["Outcome"] == str(outcome)


def _reason(record: dict) -> str:
    """Why the execution failed: the message of a Fail step as it is, else the step and its reason."""
    reason = record.get("FailureReason", "stopped")
    return reason if record["_type"] == "Fail" else f"Step {record['StepName']} failed: {reason}"


def _pause(step: Step, error: Exception, retried: dict[int, int], seconds: float) -> float | None:
    """Seconds until the next attempt; None when no policy covers the error, or its attempts are used up.

    retried: how often each policy (by position) was used; counted up here. seconds: since the first attempt.
    """
    kind = _exception_type(error)
    for position, policy in enumerate([*step.retries, DEFAULT_POLICY]):
        if kind not in policy["ExceptionType"]:
            continue
        used = retried.get(position, 0)
        limit = policy.get("ExpireAfterMin", 0) * 60
        if (limit and seconds >= limit) or (not limit and used >= policy.get("MaxAttempts", 0)):
            return None
        retried[position] = used + 1
        return policy.get("IntervalSeconds", 1) * policy.get("BackoffRate", 2.0) ** used * wait_scale()
    return None


def _exception_type(error: Exception) -> str | None:
    if isinstance(error, ApiError):
        return RETRIED_CODES.get(error.code)
    return RETRIED_REASONS.get(str(error).partition(":")[0])


def wait_scale() -> float:
    """What the waits between attempts are multiplied with: 1, or less in tests."""
    return float(os.environ.get(WAIT_SCALE, "1"))


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
