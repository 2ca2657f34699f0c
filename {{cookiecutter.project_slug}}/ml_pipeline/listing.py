"""`runs` and `logs`: what the folders in `runs/` tell, without a server."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from ml_pipeline import runs
from ml_pipeline.errors import InputError
from ml_pipeline.rerun import step_name

HEAD = ("run", "started", "status", "seconds", "test metric", "version", "earlier steps of")


def table(folders: list[Path]) -> str:
    """A head, then a line for each run; times are local."""
    rows = [HEAD, *map(_row, folders)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def log(step: str, run: Path) -> str:
    """Log of a step. Raises InputError, which lists those there are, for one that the run has none of."""
    names = [path.stem for path in sorted((run / "logs").glob("*.log"))]
    listed = [ran["name"] for ran in runs.read(run, "execution.json")["steps"] if ran["name"] in names]
    if not listed:
        raise InputError(f"run {run.name} has no logs: no step of it has run as a job")
    return (run / "logs" / f"{step_name(step, listed)}.log").read_text(encoding="utf-8")


def _row(run: Path) -> tuple[str, ...]:
    execution = runs.read(run, "execution.json")
    started, ended = (
        execution[key] and datetime.fromisoformat(execution[key]) for key in ("started", "ended")
    )
    return (
        run.name,
        f"{started.astimezone():%Y-%m-%d %H:%M}",
        execution["status"],
        f"{(ended - started).total_seconds():.1f}" if ended else "",
        _metric(runs.read(run, "metrics.json")),
        _version(runs.read(run, "model_package.json")),
        execution.get("source") or "",
    )


def _metric(metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return ""
    value = metrics["test"][metrics["primary"]]["value"]
    return f"{metrics['primary']} {'undefined' if value is None else f'{value:.4f}'}"


def _version(package: dict[str, Any] | None) -> str:
    return f"{package['ModelPackageVersion']} {package['ModelApprovalStatus']}" if package else ""
