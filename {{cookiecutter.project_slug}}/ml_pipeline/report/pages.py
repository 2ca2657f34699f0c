"""The page of a run, and the page that holds two runs against each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ml_pipeline import summary
from ml_pipeline.report import bias, comparison, quality, render, sections
from ml_pipeline.report.blocks import Page
from ml_pipeline.report.recorded import Run
from ml_pipeline.report.words import metric, moment, number, plural, seconds, share

NAME = "report.html"


def write(folder: Path) -> Path:
    """Place of the run's report.html, made anew from the files of its folder."""
    return render.write(folder / NAME, page_of(Run(folder)))


def compare(first: Path, second: Path) -> Path:
    """Place of the page, in the second run's folder, that holds it against the first."""
    one, other = Run(first), Run(second)
    return render.write(second / f"compare-{one.id}.html", comparison.page_of(one, other))


def page_of(run: Run) -> Page:
    found = [
        sections.steps(run),
        sections.data(run),
        sections.tuning(run),
        quality.section(run),
        sections.fit(run),
        sections.champion(run),
        sections.attributions(run),
        bias.section(run),
        sections.lineage(run),
    ]
    tone, headline, lead = verdict(run)
    pipeline = run.execution["arn"].rpartition("/execution/")[0].rpartition("/")[2]
    return Page(
        title=f"{pipeline}, run {run.id} of {moment(run.execution['started'])}",
        tone=tone,
        headline=headline,
        lead=lead,
        facts=facts(run),
        blocks=sections.failure(run) if tone == "bad" and not rejected(run) else [],
        sections=[section for section in found if section is not None],
    )


def rejected(run: Run) -> bool:
    """Whether the run failed because the gate said so."""
    return any(step["type"] == "Fail" for step in run.execution["steps"])


def verdict(run: Run) -> tuple[str, str, list[str]]:
    """Tone, headline and what explains it, in words."""
    status = run.execution["status"]
    if status == "Succeeded":
        return "good", *_passed(run)
    if rejected(run):
        missed = (run.verdict or {"missed": []})["missed"]
        return "bad", "Rejected by the gate", [f"{miss['why']}." for miss in missed]
    if status == "Stopped":
        last = [step["name"] for step in run.execution["steps"] if step["status"] == "Stopped"]
        during = f" during {last[0]}" if last else ""
        return "quiet", f"Stopped{during}", ["The run was stopped before it came to a verdict."]
    step = sections.failed_step(run)
    if step is None:
        return "bad", status, [run.execution["failure_reason"] or "No reason was recorded."]
    cause = summary.cause(run.log(step["name"])) or step["failure_reason"] or "No reason was recorded."
    return "bad", f"Failed in {step['name']}", [cause]


def _passed(run: Run) -> tuple[str, list[str]]:
    package = run.json("model_package.json")
    lead = [quality.finding(run)] if run.metrics else []
    if package is None:
        return "Passed the gate" if run.verdict else "Succeeded", lead
    version = package["ModelPackageVersion"]
    status = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", package["ModelApprovalStatus"]).lower()
    if package["ModelApprovalStatus"] == "PendingManualApproval":
        command = f"{summary.COMMAND} approve {version}"
        lead.append(f"Approve it with {command}, and the next run's model must not be worse.")
    return f"Passed the gate: registered as version {version}, {status}", lead


def facts(run: Run) -> list[tuple[str, str, str]]:
    """(name, value, note) of the numbers at the top."""
    found: list[tuple[str, str, str]] = []
    if run.metrics:
        name = run.metrics["primary"]
        test = run.metrics["test"][name]
        interval = f"{run.confidence} interval {number(test['low'])} to {number(test['high'])}"
        found.append((f"{metric(name)}, test", number(test["value"]), interval))
        found.append(("Trivial model", number(test["trivial"]), "ignores the features"))
        rival = run.metrics["champion"]
        value = number(rival["test"][name]["value"]) if rival else "none yet"
        found.append(("Champion", value, f"version {rival['package'].rpartition('/')[2]}" if rival else ""))
        found.append(("Fit", run.metrics["fit"]["diagnosis"], _variance(run.metrics["fit"])))
    if run.profile:
        rows = {name: split["rows"] for name, split in run.profile["splits"].items()}
        found.append(("Rows", f"{sum(rows.values()):,}", f"{rows['test']:,} of them test"))
    ran = [step for step in run.execution["steps"] if step["ended"] and not step.get("kept_from")]
    found.append(("Time", seconds(run.seconds), plural(len(ran), "step")))
    return found


def _variance(fit: dict[str, Any]) -> str:
    if fit["variance"] is None:
        return ""
    return (
        f"{share(abs(fit['variance']))} {'lost' if fit['variance'] > 0 else 'gained'} from training to test"
    )
