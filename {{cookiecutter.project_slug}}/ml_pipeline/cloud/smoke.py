"""`smoke`: one execution of each pipeline in the cloud, held against the same on the local AWS.

All of it happens in a private copy of dev, which is deployed for it and destroyed after it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_pipeline import delivery, executions, graph, periods, source, upsert
from ml_pipeline.cloud import costs, deploy, destroy, infrastructure
from ml_pipeline.cloud.recording import Difference, Recording, differences, record
from ml_pipeline.local import PROJECT
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings
from ml_pipeline.summary import COMMAND

SUFFIX = "try"  # as long as `-staging` allows, so that no slug is too long for it
SMALLEST = "ml.m5.large"  # the smallest that training, tuning, processing and transform jobs all take
ROUNDS, TRIALS, SAMPLES = 20, 2, 20
LOCAL_SECONDS = 600
SUCCEEDED, ABSENT = "Succeeded", "not executed"
# What the local execution is told of the one in the cloud, beside settings.toml.
SHARED = ("env", "suffix", "subnets", "security_groups", "kms_key_arn")


@dataclass(frozen=True)
class Smoked:
    """One pipeline's execution in the cloud and here, and what the first cost."""

    pipeline: str
    cloud: Recording
    local: Recording
    cost: str

    @property
    def differences(self) -> list[Difference]:
        return differences(self.cloud, self.local)


def smoke(settings: Settings) -> int:
    """Runs both pipelines, writes smoke-<time>.json and .md: 1 when an execution failed, there or here."""
    data = source.local_file(settings.data.file)
    deploy.deploy(small(settings), settings.account, ci=False)
    settings = small(infrastructure.with_outputs(upsert.resolved(settings, settings.account)))
    ran = executed(settings, data)
    bills = [list(costs.used(arn)) for arn in ran.values()]
    recorded = {name: record(arn, settings.prefix) for name, arn in ran.items()}
    print("the same on the local AWS ...", flush=True)
    local = _local(settings)
    smoked = [
        Smoked(name, found, local[name], _price(bill, settings))
        for (name, found), bill in zip(recorded.items(), bills, strict=True)
    ]
    _tell(smoked, _written(smoked, settings))
    if smoked[-1].cloud.status != SUCCEEDED:
        print(
            f"{settings.prefix} stays for you to look at: `{COMMAND} destroy {settings.options} --all` "
            "deletes it"
        )
        return 1
    destroyed = destroy.destroy(settings, settings.account, everything=True, yes=True)
    return destroyed or int(any(each.local.status != SUCCEEDED for each in smoked))


def _tell(smoked: list[Smoked], paths: list[Path]) -> None:
    for each in smoked:
        count = len(each.differences)
        print(f"{each.pipeline}: {each.cloud.status}, {each.cost}, {count} differences from the local AWS")
        if each.local.status != SUCCEEDED:
            print(f"{each.pipeline} on the local AWS: {_ended(each.local)}")
    print(f"written: {', '.join(map(str, paths))} (attach them to an issue of the template)", flush=True)


def _price(bill: list[costs.Usage], settings: Settings) -> str:
    return costs.price(costs.usd(bill, settings.prices), costs.unpriced(bill, settings.prices))


def small(settings: Settings) -> Settings:
    """The settings with the smallest machines, little to compute, and a gate that lets every model pass."""
    return replace(
        settings,
        compute=replace(settings.compute, instance_type=SMALLEST),
        tune=replace(
            settings.tune,
            instance_type=SMALLEST,
            trials=TRIALS,
            parallel=1,
            early_stopping="Off",
            warm_start_parents=(),
        ),
        train=replace(
            settings.train,
            instance_type=SMALLEST,
            device="cpu",
            hyperparameters={**settings.train.hyperparameters, "num_round": ROUNDS},
        ),
        transform=replace(settings.transform, instance_type=SMALLEST, instance_count=1),
        evaluate=replace(settings.evaluate, bootstrap_samples=SAMPLES),
        gate=replace(settings.gate, threshold="trivial", champion_tolerance=1e9, bias={}),
        triggers=replace(settings.triggers, email=""),
    )


def executed(settings: Settings, data: Path) -> dict[str, str]:
    """ARNs by pipeline of executions that have ended; none follows one that has not succeeded.

    Trains on the data, approves the model and scores the same rows with it.
    """
    period = f"{datetime.now(UTC):%Y-%m-%d}"
    values = {"train": {"ApprovalStatus": "Approved"}, "score": {"Period": period}}
    for place in ("raw", "score"):
        delivery.put([data], periods.folder(period, settings, place))
    found: dict[str, str] = {}
    for each in upsert.upsert(settings, PIPELINES):
        pipeline = each.name.removeprefix(f"{settings.prefix}-")
        found[pipeline] = _executed(each, values[pipeline], settings)
        if executions.status(found[pipeline]) != SUCCEEDED:
            break
    return found


def _executed(pipeline: upsert.Upserted, values: dict[str, str], settings: Settings) -> str:
    """ARN of an execution that has ended."""
    arn = executions.start(pipeline.name, values, {})
    names = list(graph.needs(json.loads(pipeline.definition)))
    try:
        executions.watched(arn, names, settings, executions.LOCAL_POLL_SECONDS * 4)
    except KeyboardInterrupt:
        print("\nstopping ...", flush=True)
        executions.stopped(arn, executions.CLOUD_POLL_SECONDS)
        raise
    return arn


def _local(settings: Settings) -> dict[str, Recording]:
    """Recordings by pipeline of the same on a local AWS, in a process from which no request leaves.

    That of a pipeline which was not executed holds no answer, but the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recordings.json")
        same = {name: getattr(settings, name) for name in SHARED}
        reason = _run([sys.executable, "-m", "ml_pipeline.cloud.smoke_local", str(path), json.dumps(same)])
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    ran = {name: Recording(**recording) for name, recording in found.items()}
    failed = [f"{name} has {each.status}" for name, each in ran.items() if each.status != SUCCEEDED]
    absent = Recording(ABSENT, reason or ", ".join(failed), {}, {})
    return dict.fromkeys(PIPELINES, absent) | ran


def _run(command: list[str]) -> str:
    """Why the command came to no end; empty when it did. What it prints to standard error is passed on."""
    try:
        done = subprocess.run(
            command, cwd=PROJECT, timeout=LOCAL_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {LOCAL_SECONDS} s"
    text = done.stderr.decode(errors="replace").rstrip()
    print(text, end="\n" if text else "", file=sys.stderr)
    return (text.splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def _written(smoked: list[Smoked], settings: Settings) -> list[Path]:
    """smoke-<time>.json with all of it, .md to read; account numbers are left out of both."""
    now = datetime.now(UTC)
    stem = f"smoke-{now:%Y-%m-%d-%H%M%S}"
    document = {"time": now.isoformat(timespec="seconds"), "region": settings.region} | {
        each.pipeline: {
            "cost": each.cost,
            "differences": [difference.__dict__ for difference in each.differences],
            "cloud": each.cloud.to_json(),
            "local": each.local.to_json(),
        }
        for each in smoked
    }
    paths = [Path(f"{stem}.json"), Path(f"{stem}.md")]
    texts = [json.dumps(document, indent=1) + "\n", page(smoked, f"{now:%Y-%m-%d}, {settings.region}")]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.replace(settings.account, "<account>"), encoding="utf-8")
    return paths


def page(smoked: list[Smoked], title: str) -> str:
    """The differences and times, in Markdown."""
    lines = [f"# Smoke test, {title}", ""]
    for each in smoked:
        lines += [f"## {each.pipeline}", "", f"In the cloud: {_ended(each.cloud)}; {each.cost}."]
        lines += [f"On the local AWS: {_ended(each.local)}.", ""]
        found = each.differences
        lines += ["The answers of both are the same, but for times."] if not found else _differences(found)
        lines += ["", *_times(each), ""]
    return "\n".join(lines)


def _ended(recording: Recording) -> str:
    reason = recording.failure_reason
    return f"{recording.status}: {reason.rstrip('.')}" if reason else recording.status


def _differences(found: list[Difference]) -> list[str]:
    rows = [f"| {d.answer} | {d.field} | {_cell(d.cloud)} | {_cell(d.local)} |" for d in found]
    return ["| answer | field | cloud | local AWS |", "|---|---|---|---|", *rows]


def _cell(text: str | None) -> str:
    return "absent" if text is None else text


def _times(each: Smoked) -> list[str]:
    rows: dict[str, Any] = dict.fromkeys([*each.cloud.seconds, *each.local.seconds])
    table = ["| seconds | cloud | local AWS |", "|---|---|---|"]
    for name in rows:
        shown = (each.cloud.seconds.get(name), each.local.seconds.get(name))
        table.append(f"| {name} | " + " | ".join("" if s is None else f"{s:.1f}" for s in shown) + " |")
    return table
