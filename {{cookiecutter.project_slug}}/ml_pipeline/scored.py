"""A scoring run told in a few lines, from the files of its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_pipeline import runs, summary
from ml_pipeline.summary import COMMAND

SHOWN = 5  # things that have moved, of each kind, that a line names
REPORT = "report.html"
WORSE = ("empty", "too few", "quiet", "drift", "broken")  # the status of a period, the worst last
LABELS = "labels:"  # before a period of which only labels were asked for


def lines(run: Path, again: str = "") -> list[str]:
    """What was scored, what has drifted, where the report is; or what failed, where, and what to do.

    again: the command that starts another execution in the cloud; without one it is `score` of the period.
    """
    execution = runs.read(run, "execution.json")
    told = [summary.head(run, execution), *(line for document in drifts(run) for line in _period(document))]
    asked = execution["parameters"]["Period"]
    if execution["status"] == "Succeeded":
        told += _unusable(drifts(run)) if drifts(run) else [_nothing(execution)]
    elif failed := [step for step in execution["steps"] if step["status"] == "Failed"]:
        bring = "--truth" if asked.startswith(LABELS) or _are_scored(drifts(run)) else "--data"
        again = again or f"{COMMAND} score {bring} FILE --period {asked.rpartition(':')[2]}"
        failure = summary.failure(run, failed[0], execution)
        told = [line for line in told if not any(line.strip() in each for each in failure)]  # said once
        told += [*failure, f"what to do: mend what is named above, then {again}"]
    page = run / REPORT
    return [*told, f"report: {page}"] if page.exists() else told


def drifts(run: Path) -> list[dict[str, Any]]:
    """drift.json of every period that the run has measured, the oldest first."""
    names = sorted(path.relative_to(run).as_posix() for path in run.glob("monitor/**/drift.json"))
    return sorted((runs.read(run, name) for name in names), key=lambda document: document["period"])


def outcome(run: Path) -> str:
    """A few words for a table: `2 periods, drift`; empty when nothing was measured."""
    found = drifts(run)
    if not found:
        return ""
    worst = max((document["status"] for document in found), key=WORSE.index)
    return f"{len(found)} periods, {worst}" if len(found) > 1 else f"{found[0]['period']} {worst}"


def _are_scored(documents: list[dict[str, Any]]) -> bool:
    """Whether nothing is wrong with the rows, so that what failed is their labels."""
    return bool(documents) and all(each["status"] not in ("broken", "empty") for each in documents)


def _unusable(documents: list[dict[str, Any]]) -> list[str]:
    """What to do about rows that were scored although they make no sense."""
    names = [document["period"] for document in documents if document["status"] == "broken"]
    advice = "do not use the scores: mend what is named above, then score the period again"
    return [f"{', '.join(names)}: {advice}"] if names else []


def _nothing(execution: dict[str, Any]) -> str:
    result = next((step["result"] for step in execution["steps"] if step["name"] == "Select"), None)
    return result["summary"] if result else "nothing was scored"


def _period(document: dict[str, Any]) -> list[str]:
    version = f"version {document['package_version']}, " if document["package_version"] else ""
    from ml_pipeline.drift.judge import FEWEST_ROWS

    few = f", fewer than {FEWEST_ROWS} are not judged" if document["status"] == "too few" else ""
    is_unread = document["status"] == "broken" and not document["rows"]
    rows = "no row could be read" if is_unread else f"{document['rows']:,} rows"
    head = f"{document['period']}: {rows}, {version}{document['status']}{few}"
    found = [f"  {what}: {_listed(names)}" for what, names in _moved(document).items() if names]
    notes = [f"  {note}" for note in document.get("notes", ())]
    return [head, *found, *_quality(document["quality"]), *map(_broken, document["broken"][:SHOWN]), *notes]


def _quality(quality: dict[str, Any] | None) -> list[str]:
    """Each metric beside its bound: those beyond it, those that hold, and those that were not judged."""
    if not quality:
        return []
    told: dict[str, list[str]] = {"has dropped": [], "holds": [], "is not judged": []}
    for name, measured in quality["metrics"].items():
        is_judged = measured["value"] is not None and measured["bound"] is not None
        verdict = "has dropped" if measured["violated"] else "holds" if is_judged else "is not judged"
        told[verdict].append(f"{name}{_beside_bound(name, measured)}")
    verdicts = [f"{verdict}: {_listed(names)}" for verdict, names in told.items() if names]
    return [f"  quality of {quality['rows']:,} labelled rows {'; '.join(verdicts)}"]


def _beside_bound(name: str, measured: dict[str, Any]) -> str:
    from ml_pipeline.report.words import side

    value, bound = measured["value"], measured["bound"]
    if value is None:
        return ""
    return f" {value:.4g}" + ("" if bound is None else f" (bound: {side(name)} {bound:.4g})")


def _broken(violation: dict[str, str]) -> str:
    name, told = violation["feature_name"], violation["description"]
    return f"  {told}" if name in told else f"  {name}: {told}"


def _moved(document: dict[str, Any]) -> dict[str, list[str]]:
    """Names of what is beyond a threshold, by kind."""
    from ml_pipeline.report.words import categories

    attribution = document["attribution"]
    new = {each["name"]: each.get("new") for each in document["features"] if each["violated"]}
    return {
        "features have moved": _violated(document["features"]),
        "new categories": [
            f"{name} {categories(found)}" for name, found in new.items() if found and found["first"]
        ],
        "predictions have moved": _violated(document["predictions"]),
        "bias has grown": [
            f"{name} of {each['facet']} {each['group']}"
            for each in document["bias"]
            for name in _measured(each["metrics"])
        ],
        "the model relies on other features": (
            [f"nDCG {attribution['ndcg']:.3f}"] if attribution and attribution["violated"] else []
        ),
    }


def _violated(columns: Iterable[dict[str, Any]]) -> list[str]:
    return [column["name"] for column in columns if column["violated"]]


def _measured(metrics: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, measured in metrics.items() if measured["violated"]]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
