"""A run told in a few lines, from the files of its folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FRAME = re.compile(r'File "[^"]*?/((?:ml_pipeline)/[^"]+\.py)", line (\d+), in (\S+)')
ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Failed|Interrupt|Exit)\b.*")


def lines(run: Path) -> list[str]:
    """At most 15 lines: what came out, or what failed, where, and what to do."""
    execution = _read(run / "execution.json")
    seconds = _seconds(execution)
    head = f"\n{execution['status']} in {seconds:.1f} s -> {run}"
    if execution["status"] == "Succeeded":
        return [head, *_quality(run), *_registered(run)]
    failed = [step for step in execution["steps"] if step["status"] == "Failed"]
    if any(step["type"] == "Fail" for step in failed):
        return [head, *_quality(run), *_missed(run)]
    return [head, *(line for step in failed[:1] for line in _failure(run, step, execution))]


def _failure(run: Path, step: dict[str, Any], execution: dict[str, Any]) -> list[str]:
    ran = ", ".join(f"{s['name']} {s['status']}" for s in execution["steps"])
    log = run / "logs" / f"{step['name']}.log"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    source = f"ml_pipeline/steps/{step['name'].lower()}.py"
    told = [f"steps: {ran}", f"{step['name']} failed: {_cause(text) or step['failure_reason']}"]
    frames = [
        frame for frame in FRAME.findall(text) if frame[0] != "ml_pipeline/record.py"
    ]  # around every step
    told += [f"  at {place}:{number} in {function}" for place, number, function in frames[-5:]]
    if log.exists():
        told.append(f"log: {log}")
    return [*told, f"what to do: mend {source} or the value named above, then `python -m ml_pipeline run`"]


def _cause(log: str) -> str | None:
    """The last error line of the traceback, which says more than the API's failure reason."""
    found = [line for line in log.splitlines() if ERROR.match(line)]
    return found[-1] if found else None


def _quality(run: Path) -> list[str]:
    if not (run / "metrics.json").exists():
        return []
    metrics = _read(run / "metrics.json")
    primary = metrics["primary"]
    value = metrics["test"][primary]
    told = [
        f"test {primary} {value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}], "
        f"trivial {value['trivial']:.4f}; fit: {metrics['fit']['diagnosis']}"
    ]
    if metrics["champion"]:
        champion = metrics["champion"]
        told.append(f"champion {primary} {champion['test'][primary]['value']:.4f} ({champion['package']})")
    return told


def _missed(run: Path) -> list[str]:
    verdict = _read(run / "verdict.json")
    return ["rejected by the gate (settings.toml, [gate]):"] + [
        f"  {miss['metric']} = {_number(miss['value'])}, bound {miss['side']} {_number(miss['bound'])}: "
        f"{miss['why']}"
        for miss in verdict["missed"][:8]
    ]


def _registered(run: Path) -> list[str]:
    if not (run / "model_package.json").exists():
        return []
    package = _read(run / "model_package.json")
    version, status = package["ModelPackageVersion"], package["ModelApprovalStatus"]
    told = [f"registered {package['ModelPackageGroupName']} version {version}, {status}"]
    if status == "PendingManualApproval":
        told.append(
            f"approve it, so that the next run must not be worse: python -m ml_pipeline approve {version}"
        )
    return told


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else str(value)


def _seconds(execution: dict[str, Any]) -> float:
    from datetime import datetime

    started, ended = (datetime.fromisoformat(execution[key]) for key in ("started", "ended"))
    return (ended - started).total_seconds()


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
