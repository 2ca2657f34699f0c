"""Faults on order: spot interruptions, platform failures of jobs, and API errors."""

import re
import threading
from dataclasses import dataclass

API_ERRORS = {
    "throttle": ("ThrottlingException", "Rate exceeded"),
    "error": ("InternalFailure", "The request processing has failed because of an unknown error"),
}
JOB_FAULTS = ("interrupt", "internal_error")


@dataclass
class Fault:
    """One fault. `times`: how often it still happens.

    Of a job (interrupt, internal_error): after a log line that `after_log` matches, or after `after_seconds`.
    Of an API operation (throttle, error): at its next calls.
    """

    kind: str
    times: int = 1
    operation: str = ""
    job_prefix: str = ""
    after_log: str = ""
    after_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in API_ERRORS and not self.operation:
            raise ValueError(f"fault {self.kind!r} needs operation, for example CreateTrainingJob")
        if self.kind in JOB_FAULTS and bool(self.after_log) == bool(self.after_seconds):
            raise ValueError(f"fault {self.kind!r} needs after_log (a regex) or after_seconds (above 0)")
        if self.kind not in (*API_ERRORS, *JOB_FAULTS):
            raise ValueError(f"fault kind {self.kind!r}: known are {', '.join((*API_ERRORS, *JOB_FAULTS))}")
        if isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 1:
            raise ValueError(f"fault times must be a whole number of at least 1, got {self.times!r}")
        re.compile(self.after_log)

    def hits(self, kind: str, job: str, lines: list[str], seconds: float) -> bool:
        if self.kind != kind or not job.startswith(self.job_prefix):
            return False
        if self.after_log:
            return any(re.search(self.after_log, line) for line in lines)
        return seconds >= self.after_seconds


_lock = threading.Lock()
_faults: list[Fault] = []


def inject(api: object, fault: dict) -> None:
    """Orders a fault. ValueError names what is wrong with it."""
    unknown = fault.keys() - Fault.__dataclass_fields__.keys()
    if unknown or "kind" not in fault:
        allowed = ", ".join(Fault.__dataclass_fields__)
        raise ValueError(
            f"a fault has the members {allowed}, kind is required; got {', '.join(fault) or 'none'}"
        )
    with _lock:
        _faults.append(Fault(**fault))


def clear() -> None:
    """Forgets the faults that have not happened yet."""
    with _lock:
        _faults.clear()


def fault_for(operation: str) -> tuple[str, str] | None:
    """Code and message of the error that this call of the operation answers, if one was ordered."""
    with _lock:
        for fault in _faults:
            if fault.kind in API_ERRORS and fault.operation == operation:
                _happened(fault)
                return API_ERRORS[fault.kind]
    return None


def job_fault(kinds: tuple[str, ...], job: str, lines: list[str], seconds: float) -> str | None:
    """The kind of fault that hits the job now: `lines` is what it just logged, `seconds` how long it runs."""
    with _lock:
        for fault in _faults:
            if any(fault.hits(kind, job, lines, seconds) for kind in kinds):
                _happened(fault)
                return fault.kind
    return None


def _happened(fault: Fault) -> None:
    fault.times -= 1
    if not fault.times:
        _faults.remove(fault)
