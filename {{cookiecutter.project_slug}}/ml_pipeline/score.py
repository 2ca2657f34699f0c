"""`score`: new rows, scored by the approved model on the local AWS and held against its training data."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ml_pipeline import graph, runs
from ml_pipeline.errors import InputError
from ml_pipeline.features import FeatureSpec
from ml_pipeline.local import ACCOUNT, STATE, LocalAws, prepare
from ml_pipeline.settings import Settings
from ml_pipeline.summary import COMMAND


@dataclass(frozen=True)
class Request:
    """What `score` was asked for. truth: labels, if they are known. Without data the period has scores."""

    data: tuple[Path, ...]
    truth: Path | None
    period: str


def score(request: Request, settings: Settings) -> int:
    """Exit code of one local execution: 0 Succeeded, 1 Failed or Stopped."""
    if not STATE.exists():
        raise InputError(_untrained(settings))
    print(f"starting a local AWS for {settings.prefix}-score ...", flush=True)
    with LocalAws(STATE, settings.region) as aws:
        from ml_pipeline import delivery, executions, periods, results, scored, upsert

        aws.connect()
        settings = upsert.located(settings, ACCOUNT)
        prepare(settings)
        spec = _approved(settings) if request.data else None
        if spec:
            delivery.check_rows(request.data, spec, settings)
        elif not periods.is_complete(request.period, settings, "output"):
            raise InputError(periods.unscored(request.period, settings))
        if request.truth:
            delivery.check_labels(request.truth, request.period, spec, settings)
        with ThreadPoolExecutor(1) as beside:
            delivered = beside.submit(_deliver, request, settings)
            (upserted,) = upsert.upsert(settings, ("score",))
            delivered.result()
        wanted = request.period if request.data else f"{periods.LABELS}:{request.period}"
        arn = executions.start(upserted.name, {"Period": wanted}, {})
        names = list(graph.needs(json.loads(upserted.definition)))
        status = executions.followed(arn, names, settings, executions.LOCAL_POLL_SECONDS)
        folder = results.fetch(arn, settings, runs.RUNS)
    print("\n".join(scored.lines(folder)), flush=True)
    return 0 if status == "Succeeded" else 1


def _approved(settings: Settings) -> FeatureSpec:
    """What the model that will score takes. Raises InputError when no version is approved."""
    import boto3

    from ml_pipeline import approved
    from ml_pipeline.cloud import versions

    package = approved.newest(settings.prefix)
    if package:
        return approved.spec(package, settings)
    registered = versions.summaries(settings.prefix, boto3.client("sagemaker"))
    if not registered:
        raise InputError(_untrained(settings))
    newest = max(each["ModelPackageVersion"] for each in registered)
    told = ", ".join(f"{each['ModelPackageVersion']} {each['ModelApprovalStatus']}" for each in registered)
    raise InputError(
        f"no version of {settings.prefix} is approved, so none may score; there are: {told}. "
        f"Approve one: `{COMMAND} approve {newest}`"
    )


def _untrained(settings: Settings) -> str:
    return (
        f"there is no model of {settings.prefix} yet that could score: train one with `{COMMAND} run`, "
        "then approve it as that says"
    )


def _deliver(request: Request, settings: Settings) -> None:
    """Labels first: what is scored finds them there."""
    from ml_pipeline import delivery, periods

    if request.truth:
        delivery.put([request.truth], periods.folder(request.period, settings, "truth"))
    if request.data:
        delivery.put(request.data, periods.folder(request.period, settings, "score"))
