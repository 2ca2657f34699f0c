"""Training and processing jobs: folder, container, log, checkpoints, outputs and status of each."""

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local_aws import container, layout, transform, tuning
from local_aws.faults import fault_for, inject, job_fault
from local_aws.images import CLARIFY, FUNCTION_STEP, XGBOOST, function_step
from local_aws.joblog import JobLog, Metrics
from local_aws.transfer import Checkpoints, TransferError, files_below, upload_archive, upload_folder
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

__all__ = ["fault_for", "inject", "start", "stop", "stop_all"]

STOP_GRACE_SECONDS = 120.0
LAST_GRACE_SECONDS = 3.0
TICK_SECONDS = 0.1
MAX_REASON = 1024
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
OUT_OF_TIME = "The job ran longer than its MaxRuntimeInSeconds"
MESSAGES = {
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds",
}
GRACEFUL = ("stop", "max_runtime")
DELEGATED = {"TransformJob": transform, "HyperParameterTuningJob": tuning}


@dataclass(frozen=True)
class End:
    """How a container ended. cause: exit, stop, max_runtime, interrupt or internal_error."""

    cause: str
    code: int


@dataclass
class Run:
    """A job at work: what its thread and those that stop it share."""

    api: "SageMaker"
    kind: str
    name: str
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    grace_seconds: float | None = None

    @property
    def record(self) -> dict:
        return self.api.state.get(self.kind, self.name)

    def now(self) -> float:
        return self.api.clock.now(self._created)

    @cached_property
    def _created(self) -> dict:
        """The record as it was first read: on which clock the job runs does not change."""
        return self.record

    def client(self, service: str) -> Any:
        """A client with the permissions of the job's role."""
        return self.api.client(service, self.record["RoleArn"])

    @property
    def root(self) -> Path:
        return self.api.state.folder / "jobs" / self.name

    @property
    def log(self) -> Path:
        return self.api.state.folder / "logs" / f"{self.name}.log"

    def update(self, **fields: object) -> None:
        self.api.state.update(self.kind, self.name, LastModifiedTime=self.now(), **fields)

    def enter(self, status: str, message: str, **fields: object) -> None:
        """Ends the present secondary status of a training job and begins another."""
        now = self.now()
        transitions = self.record["SecondaryStatusTransitions"]
        transitions[-1].setdefault("EndTime", now)
        begun = {"Status": status, "StartTime": now, "StatusMessage": message}
        # The last status is over when it begins.
        transitions.append(begun | ({"EndTime": now} if "TrainingJobStatus" in fields else {}))
        self.update(SecondaryStatus=status, SecondaryStatusTransitions=transitions, **fields)


_runs: dict[tuple[Path, str, str], Run] = {}
_lock = threading.Lock()


def start(api: "SageMaker", kind: str, name: str) -> None:
    """Starts the job that is recorded; returns at once."""
    if kind in DELEGATED:
        DELEGATED[kind].start(api, name)
        return
    run = Run(api, kind, name)
    run.thread = threading.Thread(target=_work, args=(run,), name=name, daemon=True)
    with _lock:
        _runs[api.state.folder, kind, name] = run
    run.thread.start()


def stop(api: "SageMaker", kind: str, name: str) -> None:
    """Asks the job to stop: SIGTERM, SIGKILL after STOP_GRACE_SECONDS; returns at once.

    Transform and tuning jobs have no entry in `_runs`: they watch their own record for the status Stopping.
    """
    with _lock:
        run = _runs.get((api.state.folder, kind, name))
    if run:
        run.stopping.set()


def stop_all(api: "SageMaker") -> None:
    """Returns when no job runs any more; containers get LAST_GRACE_SECONDS."""
    for kind, name in _delegated(api, "InProgress"):
        api.call(f"Stop{kind}", {f"{kind}Name": name})
    while running := _running(api):
        for run in running:
            run.grace_seconds = LAST_GRACE_SECONDS
            run.stopping.set()
        for run in running:
            run.thread.join()
    for kind, name in _delegated(api, "Stopping"):
        api.state.wait(kind, name, lambda record, kind=kind: record[f"{kind}Status"] != "Stopping")


def _delegated(api: "SageMaker", status: str) -> list[tuple[str, str]]:
    return [(kind, name) for kind in DELEGATED for name in api.state.names(kind, **{f"{kind}Status": status})]


def _running(api: "SageMaker") -> list[Run]:
    with _lock:
        return [run for (folder, *_), run in _runs.items() if folder == api.state.folder]


def _work(run: Run) -> None:
    """The job's thread. Whatever goes wrong, the job gets a final status."""
    flow = FLOWS[run.kind]
    try:
        flow(run)
    except (layout.Refused, TransferError, ClientError, ApiError) as error:
        _end(run, "Failed", f"ClientError: {error}")
    except Exception as error:
        _end(run, "Failed", f"InternalServerError: {error!r}")
        raise
    finally:
        with _lock:
            del _runs[run.api.state.folder, run.kind, run.name]


@dataclass
class Watch:
    """What is looked after while a training job's container runs."""

    run: Run
    log: JobLog
    metrics: Metrics
    saved: Checkpoints | None

    def tick(self) -> list[str]:
        """What the container has just logged.

        Checkpoints are synced after the log was read: what lay on the disk when a line was written is in S3
        before that line can trigger an interruption.
        """
        lines = self.log.pump()
        self._follow(lines)
        return lines

    def finish(self) -> None:
        self._follow(self.log.finish())

    def _follow(self, lines: list[str]) -> None:
        if self.metrics.read(lines):
            self.run.update(_metrics=self.metrics.history, FinalMetricDataList=self.metrics.final())
        if self.saved:
            self.saved.sync()


def _train(run: Run) -> None:
    record, s3 = run.record, run.client("s3")
    algorithm = record["AlgorithmSpecification"]
    module = run.api.images.resolve(algorithm["TrainingImage"]).module
    if module == CLARIFY:
        raise layout.Refused(f"the local AWS runs no training job on {algorithm['TrainingImage']!r}")
    if module == FUNCTION_STEP:
        function_step.check(record)
    metrics = Metrics(algorithm.get("MetricDefinitions", []), module == XGBOOST)
    watch = Watch(run, _open_log(run, "TrainingJobs"), metrics, _checkpoints(run, s3))
    end = _attempts(run, module, watch)
    watch.finish()
    _finish_training(run, end, module)


def _attempts(run: Run, module: str, watch: Watch) -> End:
    """How the last container ended; one interrupted, or lost with retries left, is started anew."""
    record = run.record
    retries = record.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    faults = ("internal_error", "interrupt") if record["EnableManagedSpotTraining"] else ("internal_error",)
    run.update(TrainingStartTime=run.now())
    while True:
        run.enter("Downloading", "Downloading input data")
        layout.empty_folder(run.root)
        layout.lay_out_training(run.client("s3"), record, run.root)
        if watch.saved:
            watch.saved.restore()
        run.enter("Training", "Training image download completed. Training in progress.")
        end = _contain(run, module, watch.tick, faults)
        if end.cause == "interrupt":
            _begin_again(run, watch.log, "Interrupted", "The spot instance was taken back")
        elif end.cause == "internal_error" and retries:
            retries -= 1
            _begin_again(run, watch.log, "Restarting", f"The instance was lost; retries left: {retries}")
        else:
            return end


def _begin_again(run: Run, log: JobLog, status: str, message: str) -> None:
    log.write(f"[local AWS] {message}")
    run.enter(status, message)
    run.enter("Starting", "Launching another instance")


def _contain(run: Run, module: str, tick: Callable[[], list[str]], faults: tuple[str, ...]) -> End:
    """Runs one container to its end. tick: answers what it has just logged."""
    with container.Container(_spec(run, module)) as box:
        return _watched(run, box, tick, faults)


def _watched(
    run: Run, box: container.Container, tick: Callable[[], list[str]], faults: tuple[str, ...]
) -> End:
    cause, asked, begun, limit = "exit", 0.0, time.monotonic(), _seconds_left(run)
    while (code := box.wait(TICK_SECONDS)) is None:
        lines, seconds = tick(), time.monotonic() - begun
        if cause == "exit":
            cause, asked = _cause_to_end(run, lines, seconds, limit, faults), time.monotonic()
            if cause in GRACEFUL:
                box.send(signal.SIGTERM)
        if cause != "exit" and time.monotonic() - asked >= (_grace(run) if cause in GRACEFUL else 0):
            box.send(signal.SIGKILL)
    return End(cause, code)


def _cause_to_end(run: Run, lines: list[str], seconds: float, limit: float, faults: tuple[str, ...]) -> str:
    if run.stopping.is_set():
        return "stop"
    if seconds > limit:
        return "max_runtime"
    return job_fault(faults, run.name, lines, seconds) or "exit"


def _grace(run: Run) -> float:
    return STOP_GRACE_SECONDS if run.grace_seconds is None else run.grace_seconds


def _seconds_left(run: Run) -> float:
    """Of MaxRuntimeInSeconds, which all containers of a job share."""
    record = run.record
    started = record["TrainingStartTime" if run.kind == "TrainingJob" else "ProcessingStartTime"]
    return record["StoppingCondition"]["MaxRuntimeInSeconds"] - (run.now() - started)


def _finish_training(run: Run, end: End, module: str) -> None:
    record = run.record
    run.enter("Uploading", "Uploading generated training model")
    _upload_results(run, record)
    seconds = max(1, math.ceil(run.now() - record["TrainingStartTime"]))
    run.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)
    if end.cause == "stop":
        _end(run, "Stopped")
    elif end.cause == "max_runtime":
        _end(run, "Stopped", secondary="MaxRuntimeExceeded")
    elif end.cause == "internal_error":
        _end(run, "Failed", INTERNAL_ERROR)
    elif end.code:
        _end(run, "Failed", _failure_reason(run.root, end.code))
    elif module == FUNCTION_STEP and (missing := function_step.missing_result(run.client("s3"), record)):
        _end(run, "Failed", _failure_reason(run.root, end.code, missing))
    else:
        _end(run, "Completed")


def _upload_results(run: Run, record: dict) -> None:
    """Brings what the container left in model/ and output/data/ to S3."""
    s3, output = run.client("s3"), record["OutputDataConfig"]
    base = f"{output['S3OutputPath'].rstrip('/')}/{run.name}/output"
    for folder, name in (("model", "model"), ("output/data", "output")):
        if not files_below(run.root / folder):
            continue
        if output.get("CompressionType") == "NONE":
            upload_folder(s3, run.root / folder, f"{base}/{name}")
        else:
            upload_archive(s3, run.root / folder, run.root / "tmp" / "archive", f"{base}/{name}.tar.gz")


def _process(run: Run) -> None:
    record, s3 = run.record, run.client("s3")
    uri = record["AppSpecification"]["ImageUri"]
    module = run.api.images.resolve(uri).module
    if module != CLARIFY:
        raise layout.Refused(
            f"the local AWS runs processing jobs on sagemaker-clarify-processing only, got {uri!r}"
        )
    log = _open_log(run, "ProcessingJobs")
    run.update(ProcessingStartTime=run.now())
    layout.empty_folder(run.root)
    layout.lay_out_processing(s3, record, run.root)
    end = _contain(run, module, log.pump, ())
    log.finish()
    if end.cause != "exit":
        _end(run, "Stopped", OUT_OF_TIME if end.cause == "max_runtime" else "")
    elif end.code:
        _end(run, "Failed", _failure_reason(run.root, end.code))
    else:
        for output in record.get("ProcessingOutputConfig", {}).get("Outputs", []):
            target = output["S3Output"]
            upload_folder(s3, layout.local_path(run.root, target["LocalPath"]), target["S3Uri"])
        _end(run, "Completed")


FLOWS: dict[str, Callable[[Run], None]] = {"TrainingJob": _train, "ProcessingJob": _process}


def _open_log(run: Run, group: str) -> JobLog:
    stream = f"{run.name}/{layout.HOST}-{int(time.time())}"
    return JobLog(run.client("logs"), f"/aws/sagemaker/{group}", stream, run.log)


def _checkpoints(run: Run, s3: object) -> Checkpoints | None:
    record = run.record
    if "CheckpointConfig" not in record:
        return None
    return Checkpoints(s3, layout.checkpoints(record, run.root), record["CheckpointConfig"]["S3Uri"])


def _spec(run: Run, module: str) -> container.Spec:
    record = run.record
    keys = run.api.keys(record["RoleArn"])
    variables = container.environment(run.api.endpoint, run.api.region, run.root, keys)
    variables |= {
        f"{run.kind[:-3].upper()}_JOB_{part.upper()}": record[f"{run.kind}{part}"] for part in ("Name", "Arn")
    }
    variables |= record.get("Environment", {})
    if "TuningJobArn" in record:
        variables["OMP_NUM_THREADS"] = str(_trial_threads(run.api, record["TuningJobArn"]))
    return container.Spec(module, run.root, run.log, variables, layout.record_for_container(record))


def _trial_threads(api: "SageMaker", tuning_job_arn: str) -> int:
    """The cores of one trial: parallel ones that share a core spin, and take four times as long."""
    job = api.state.find("HyperParameterTuningJob", HyperParameterTuningJobArn=tuning_job_arn)[0]
    parallel = job["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"]
    return max(1, (os.cpu_count() or 1) // parallel)


def _failure_reason(root: Path, code: int, otherwise: str = "") -> str:
    """FailureReason of a container that failed, from what it wrote to output/failure."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (the machine may have run out of memory)" if name == "SIGKILL" else ""
        return f"AlgorithmError: the container was killed by {name}{hint}, exit code: {128 - code}"
    failure = root / "output" / "failure"
    text = failure.read_text(errors="replace").strip() if failure.exists() else otherwise
    tail = f", exit code: {code}"
    return f"AlgorithmError: {text}"[: MAX_REASON - len(tail)] + tail


def _end(run: Run, status: str, reason: str = "", secondary: str = "") -> None:
    """Gives the job its final status; its folder stays when it failed."""
    reason = reason[:MAX_REASON]
    if status != "Failed":
        shutil.rmtree(run.root, ignore_errors=True)
    fields = {f"{run.kind}Status": status} | ({"FailureReason": reason} if reason else {})
    if run.kind == "TrainingJob":
        last = secondary or status
        run.enter(last, reason or MESSAGES[last], TrainingEndTime=run.now(), **fields)
    else:
        run.update(ProcessingEndTime=run.now(), **fields)
