"""A run told in a few lines, from the files of its folder."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

FRAME = re.compile(r'File "[^"]*?/((?:ml_pipeline)/[^"]+\.py)", line (\d+), in (\S+)')
# As it can be typed in the project's folder: the interpreter of .venv, whatever is on PATH.
COMMAND = f"{os.path.relpath(sys.executable) if '.venv' in sys.executable else 'python'} -m ml_pipeline"
RECORD = "ml_pipeline/record.py"  # a frame around every step, which tells nothing
ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Failed|Interrupt|Exit)\b.*")


def lines(run: Path, kept: bool, again: str = "", options: str = "") -> list[str]:
    """At most 15 lines: what came out, or what failed, where, and what to do.

    kept: whether the registry outlives the run, so that a version can be approved. again: the command that
    starts another execution in the cloud; without one it is `run` of what is left to do, or, with these
    options, of all.
    """
    execution = _read(run / "execution.json")
    first = head(run, execution)
    if execution["status"] == "Succeeded":
        return [first, *_quality(run), *_registered(run, kept)]
    failed = [step for step in execution["steps"] if step["status"] == "Failed"]
    if any(step["type"] == "Fail" for step in failed):
        return [first, *_quality(run), *_missed(run)]
    if not failed:
        return [first, f"to go on: {again or _again(execution, kept, options)}"]
    go_on = _again(execution, kept, options)
    then = f"deploy that if it is code or settings, then {again}" if again else f"then {go_on}"
    return [first, *failure(run, failed[0], execution), f"what to do: {_remedy(run, failed[0])}, {then}"]


def head(run: Path, execution: dict[str, Any]) -> str:
    """How it ended, how long it took, where its results are."""
    told = f"\n{execution['status']} in {_seconds(execution):.1f} s -> {run}"
    return f"{told}, with earlier steps of run {execution['source']}" if execution.get("source") else told


def _again(execution: dict[str, Any], kept: bool, options: str) -> str:
    """The command that runs what is left to do, and nothing twice."""
    done = [step for step in execution["steps"] if step["status"] == "Succeeded"]
    left = next((step["name"] for step in execution["steps"] if step["status"] != "Succeeded"), None)
    return f"{COMMAND} run --from {left}" if kept and done and left else f"{COMMAND} run{options}"


def failure(run: Path, step: dict[str, Any], execution: dict[str, Any]) -> list[str]:
    """What failed, where in the code, and the log."""
    log, text = _log(run, step)
    frames = [f"{place}:{number}" for place, number, _ in FRAME.findall(text) if place != RECORD]
    told = ["steps: " + ", ".join(f"{ran['name']} {ran['status']}" for ran in execution["steps"])]
    told += [
        f"{step['name']} failed: {cause(text) or step['failure_reason']}",
        *(f"  at {frame}" for frame in frames[-5:]),
    ]
    return [*told, f"log: {log}"] if text else told


def _remedy(run: Path, step: dict[str, Any]) -> str:
    reason = cause(_log(run, step)[1]) or step["failure_reason"]
    return "change settings.toml as said above" if "settings.toml" in reason else "mend what is named above"


def _log(run: Path, step: dict[str, Any]) -> tuple[Path, str]:
    log = run / "logs" / f"{step['name']}.log"
    return log, log.read_text(encoding="utf-8") if log.exists() else ""


def cause(log: str) -> str | None:
    """The last error line of the traceback, which says more than the API's failure reason."""
    found = [line for line in log.splitlines() if ERROR.match(line)]
    return found[-1] if found else None


def _quality(run: Path) -> list[str]:
    if not (run / "metrics.json").exists():
        return []
    metrics = _read(run / "metrics.json")
    primary = metrics["primary"]
    shown = {name: _number(value) for name, value in metrics["test"][primary].items()}
    told = [
        f"test {primary} {shown['value']} [{shown['low']}, {shown['high']}], "
        f"trivial {shown['trivial']}; fit: {metrics['fit']['diagnosis']}"
    ]
    if metrics["champion"]:
        champion = metrics["champion"]
        version = champion["package"].rpartition("/")[2]
        told.append(f"champion {primary} {_number(champion['test'][primary]['value'])} (version {version})")
    return told


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _missed(run: Path) -> list[str]:
    missed = _read(run / "verdict.json")["missed"]
    return ["rejected by the gate:", *(f"  {miss['why']}" for miss in missed[:8])]


def _registered(run: Path, kept: bool) -> list[str]:
    if not (run / "model_package.json").exists():
        return []
    package = _read(run / "model_package.json")
    version, status = package["ModelPackageVersion"], package["ModelApprovalStatus"]
    told = [f"registered {package['ModelPackageGroupName']} version {version}, {status}"]
    if status == "PendingManualApproval" and kept:
        told.append(f"approve it, so that the next run must not be worse: {COMMAND} approve {version}")
    return told


def _seconds(execution: dict[str, Any]) -> float:
    from datetime import datetime

    started, ended = (datetime.fromisoformat(execution[key]) for key in ("started", "ended"))
    return (ended - started).total_seconds()


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
