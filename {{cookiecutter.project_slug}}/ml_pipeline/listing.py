"""`runs`, `metrics` and `logs`: what the folders in `runs/` tell, without a server."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from ml_pipeline import runs, scored
from ml_pipeline.errors import InputError
from ml_pipeline.rerun import step_name

HEAD = ("run", "pipeline", "started", "status", "seconds", "metric or drift", "version", "earlier steps of")


def table(folders: list[Path]) -> str:
    """A head, then a line for each run; times are local."""
    rows = [HEAD, *map(_row, folders)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def metrics(run: Path, other: Path | None) -> str:
    """Markdown: what came of the run, and its metrics on the test split, beside those of another run."""
    found = runs.read(run, "metrics.json")
    lines = [f"### Run {run.name}: {runs.read(run, 'execution.json')['status']}", "", *_missed(run)]
    if found is None:
        return "\n".join([*lines, "It has measured nothing: it ended before Evaluate."])
    before = runs.read(other, "metrics.json") if other else None
    if other and before is None:
        lines += [f"Nothing to compare with: {other} holds no metrics.", ""]
    values = before["test"] if before else {}
    head = ("metric (test)", "value", "interval", *(("before", "change") if values else ()))
    rows = [_metric_row(name, value, values) for name, value in found["test"].items()]
    return "\n".join(
        [*lines, *("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))]
    )


def _missed(run: Path) -> list[str]:
    verdict = runs.read(run, "verdict.json")
    return [f"- {miss['why']}" for miss in verdict["missed"]] + [""] if verdict and verdict["missed"] else []


def _metric_row(name: str, measured: dict[str, Any], before: dict[str, Any]) -> tuple[str, ...]:
    value, low, high = (measured[key] for key in ("value", "low", "high"))
    interval = "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
    row = (name, _digits(value), interval)
    if not before:
        return row
    old = before.get(name, {}).get("value")
    change = "" if old is None or value is None else f"{value - old:+.4f}"
    return (*row, _digits(old), change)


def _digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def log(step: str, of: str | None) -> str:
    """Log of a step. Raises InputError, which lists those there are, for one that the run has none of.

    of: the run; None takes the newest that has a log of the step, training or scoring.
    """
    name = f"{step.lower()}.log"
    having = (each for each in runs.newest_first() if name in _logs(each)) if of is None else ()
    run = next(iter(having), None) or runs.find(of or "latest")
    names = [path.stem for path in sorted((run / "logs").glob("*.log"))]
    listed = [ran["name"] for ran in runs.read(run, "execution.json")["steps"] if ran["name"] in names]
    if not listed:
        raise InputError(f"run {run.name} has no logs: no step of it has run as a job")
    return (run / "logs" / f"{step_name(step, listed)}.log").read_text(encoding="utf-8")


def _logs(run: Path) -> set[str]:
    return {path.name.lower() for path in (run / "logs").glob("*.log")}


def _row(run: Path) -> tuple[str, ...]:
    execution = runs.read(run, "execution.json")
    started, ended = (
        execution[key] and datetime.fromisoformat(execution[key]) for key in ("started", "ended")
    )
    is_scoring = runs.pipeline_of(run) == "score"
    return (
        run.name,
        runs.pipeline_of(run),
        f"{started.astimezone():%Y-%m-%d %H:%M}",
        execution["status"],
        f"{(ended - started).total_seconds():.1f}" if ended else "",
        scored.outcome(run) if is_scoring else _metric(runs.read(run, "metrics.json")),
        _version_used(run) if is_scoring else _version(runs.read(run, "model_package.json")),
        execution.get("source") or "",
    )


def _metric(metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return ""
    value = metrics["test"][metrics["primary"]]["value"]
    return f"{metrics['primary']} {_digits(value)}"


def _version_used(run: Path) -> str:
    """The version that a scoring run took."""
    return ", ".join(sorted({str(document["package_version"]) for document in scored.drifts(run)}))


def _version(package: dict[str, Any] | None) -> str:
    return f"{package['ModelPackageVersion']} {package['ModelApprovalStatus']}" if package else ""
