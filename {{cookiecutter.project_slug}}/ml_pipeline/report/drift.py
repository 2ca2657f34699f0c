"""The page of a scored period: what has drifted, by how much, since when, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_pipeline.drift.judge import TOO_FEW
from ml_pipeline.errors import InputError
from ml_pipeline.report import advice, drift_sections, measured, render
from ml_pipeline.report.blocks import Links, Page, Points, Section, Text
from ml_pipeline.report.measured import ROLL_UPS, Measured, Streak
from ml_pipeline.report.words import listed, metric, plural, short, upper

DOCUMENT, NAME = "drift.json", "report.html"
NAMED = 3  # columns in the headline
TONES = {"quiet": "good", "drift": "bad", "broken": "bad", "empty": "quiet", TOO_FEW: "quiet"}


def write(folder: Path) -> Path:
    """Place of the report.html of a scoring run's folder, made anew: the page of its newest period.

    The drift.json of a period lies in monitor/ or monitor/<period>/. Several periods have a page beside each
    of theirs too. Raises InputError when there is none.
    """
    documents = sorted((folder / "monitor").glob(f"**/{DOCUMENT}"), key=_period)
    if not documents:
        raise InputError(f"{folder / 'monitor'}: no {DOCUMENT} there, so there is no drift to report")
    pages = {path: page_of(_read(path)) for path in documents}
    *earlier, newest = documents
    for path in documents if earlier else []:
        render.write(path.with_name(NAME), pages[path])
    others = Links([(_period(path), path.with_name(NAME).relative_to(folder).as_posix()) for path in earlier])
    blocks = [Text("Other periods of this run:"), others] if earlier else []
    return render.write(folder / NAME, replace(pages[newest], blocks=blocks))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _period(path: Path) -> str:
    return _read(path)["period"]


def page(drift: Mapping[str, Any]) -> str:
    """The page as one HTML text. drift: as drift.json has it."""
    return render.document(page_of(drift))


def page_of(drift: Mapping[str, Any]) -> Page:
    found = Measured(drift)
    headline, lead = verdict(found)
    return Page(
        title=f"{_group(found)}, period {found['period']}, execution {found['execution']}",
        tone=TONES[found["status"]],
        headline=headline,
        lead=[*lead, *found.notes],
        facts=facts(found),
        blocks=[],
        sections=[section for section in _sections(found) if section],
    )


def _sections(found: Measured) -> list[Section | None]:
    return [
        _advice(advice.points(found)),
        drift_sections.features(found),
        drift_sections.predictions(found),
        drift_sections.quality(found) if found["status"] in ("quiet", "drift", TOO_FEW) else None,
        drift_sections.bias_of(found),
        drift_sections.attributions(found),
        drift_sections.history(found),
        drift_sections.violations(found),
    ]


def _advice(points: list[advice.Point]) -> Section:
    if len(points) > 1:
        told, blocks = f"{plural(len(points), 'point')}, the most pressing first.", [Points(points)]
    else:
        told, blocks = ". ".join(points[0]), []
    return Section("advice", "What to do", told, blocks)


def _group(found: Measured) -> str:
    """Name of the model package group, which is that of project and environment."""
    return found["package"].split("/")[-2] if found["package"] else "no model"


def verdict(found: Measured) -> tuple[str, list[str]]:
    """Headline and what explains it, in words."""
    rows, status = f"{plural(found['rows'], 'row')} of {found['period']}", found["status"]
    against = f"{rows}, held against the training data of model version {found['package_version']}."
    if status == "empty":
        return "Empty: the period has no rows", [f"Nothing of {found['period']} was scored."]
    if status == "broken":
        told = map(measured.described, found["broken"][:NAMED])
        unread = f"The rows of {found['period']} could not be read."
        judged = f"{rows}, of which nothing else is judged." if found["rows"] else unread
        return _broken_headline(found), [judged, *_since(found), *told]
    if status == "drift":
        return f"Drifted: {listed(_drifted(found))}", [against, *_since(found)]
    return "Too few rows to be judged" if found.is_few else "Quiet: nothing has drifted", [against]


def _broken_headline(found: Measured) -> str:
    columns = found.broken_columns
    named = listed(columns) if len(columns) <= NAMED else plural(len(columns), "column")
    return f"Broken data: {named}" if named else "Broken data"


def _drifted(found: Measured) -> list[str]:
    names = [short(feature["name"], measured.NAME) for feature in found.moved]
    parts = names if len(names) <= NAMED else [plural(len(names), "feature")]
    if found.moved_predictions:
        parts = [*parts, "the predictions"]
    if found.worse:
        parts = [*parts, f"quality ({listed(metric(name) for name in found.worse[:NAMED])})"]
    if found.biased:
        parts = [*parts, f"bias ({listed(found.biased[:NAMED])})"]
    return [*parts, *(["what the model looks at"] if found.reranked else [])]


def _since(found: Measured) -> list[str]:
    """Since when each kind of drift is there, the longest first."""
    streaks: dict[Streak, list[str]] = {}
    for roll_up in ROLL_UPS:
        if found["metrics"].get(roll_up):
            streaks.setdefault(found.streak(roll_up), []).append(ROLL_UPS[roll_up].lower())
    ordered = sorted(streaks, key=lambda streak: -streak.periods)
    return [f"{upper(listed(streaks[streak]))}: {streak.told()}." for streak in ordered]


def facts(found: Measured) -> list[tuple[str, str, str]]:
    """(name, value, note) of the numbers at the top."""
    version = found["package_version"]
    told = [("Rows", f"{found['rows']:,}", f"of {found['period']}")]
    told.append(("Model", "none" if version is None else f"version {version}", ""))
    if found.features:
        moved = "not judged" if found.is_few else f"{len(found.moved)} drifted"
        told.append(("Features", moved, f"of {len(found.features)}"))
    if found["quality"]:
        told.append(("True labels", f"{found['quality']['rows']:,}", "rows that quality is measured on"))
    counted = {ROLL_UPS[name]: value for name, value in found["metrics"].items() if value}
    told.append(
        (
            "Violations",
            f"{sum(counted.values()):g}",
            ", ".join(f"{k.lower()} {v:g}" for k, v in counted.items()),
        )
    )
    return told
