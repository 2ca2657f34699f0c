"""What a command costs: wall time, CPU time, and the peak memory of each process it starts. Linux only."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

POLL_SECONDS = (
    0.25  # looking costs CPU time of its own: each 0.02 s it took a fifth of a core from the pipeline
)
SDK_FILE = "pydantic_core"  # a library that only the SDK loads


@dataclass
class Cost:
    """seconds: wall. cpu_seconds, peak: of all processes, and MiB of the largest, as the kernel counts them.

    peaks: MiB that each process had resident when it was last looked at (VmHWM), by its command.
    importers: processes that loaded the SDK themselves, by id; not those forked from one that had.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    importers: set[int] = field(default_factory=set)
    output: str = ""


def measured(command: list[str], folder: Path) -> Cost:
    """What the command and all its descendants took. Raises RuntimeError with its output if it fails."""
    cost, over = Cost(), threading.Event()
    begun = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watch = threading.Thread(target=_watch, args=(process.pid, cost, over))
    watch.start()
    cost.output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    cost.seconds = time.perf_counter() - begun
    over.set()
    watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    cost.cpu_seconds, cost.peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{cost.output}")
    return cost


def _watch(root: int, cost: Cost, over: threading.Event) -> None:
    """Looks at the family until `over`; what a process does in its last POLL_SECONDS is missed."""
    family, with_sdk = {root}, set()
    while not over.wait(POLL_SECONDS):
        parents = _parents()
        for pid, parent in parents.items():
            if parent in family:
                family.add(pid)
        for pid in family - with_sdk:
            if _has_sdk(pid):
                with_sdk.add(pid)
                if parents.get(pid) not in with_sdk:
                    cost.importers.add(pid)
        for pid in family:
            try:
                _look(pid, cost)
            except (FileNotFoundError, ProcessLookupError):
                continue


def _has_sdk(pid: int) -> bool:
    try:
        return SDK_FILE in Path("/proc", str(pid), "maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _parents() -> dict[int, int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(_after_name(path.read_text())[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return dict(sorted(parents.items()))


def _look(pid: int, cost: Cost) -> None:
    folder = Path("/proc", str(pid))
    lines = (folder / "status").read_text().splitlines()
    peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    command = (folder / "cmdline").read_text().replace("\0", " ").strip()
    if peak:
        name = f"{pid} {command[-70:]}"
        cost.peaks[name] = max(cost.peaks.get(name, 0.0), peak / 1024)


def _after_name(stat: str) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; the name before them may hold spaces."""
    return stat.rpartition(")")[2].split()
