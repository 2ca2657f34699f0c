"""The page of a loop of weeks: what was scored, which alarms rang, what was trained and approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from ml_pipeline.report import render, shapes
from ml_pipeline.report.blocks import Cell, Event, Events, Figure, More, Page, Section, Table
from ml_pipeline.report.measured import ROLL_UPS
from ml_pipeline.report.words import NONE, listed, plural

# Kind of an event -> what it is called, in a word or two.
KINDS = {
    "scored": "scored",
    "alarm": "alarm",
    "execution": "training",
    "approved": "approval",
    "truth": "true labels",
    "shift": "the world",
}
DRAWN = [name for name in ROLL_UPS if name != "DataBroken"]  # of which each starts a training


def page(events: Sequence[Mapping[str, Any]]) -> str:
    """One HTML page. events: {"time", "kind", "title", "text", "tone", "metrics"}, in any order.

    time: ISO 8601. kind: one of KINDS. tone: good, bad or quiet. metrics: violations by roll-up, or None.
    """
    ordered = sorted(events, key=lambda event: _time(event))
    weeks = [(monday, list(found)) for monday, found in groupby(ordered, key=_monday)]
    return render.document(
        Page(
            title="Drift and retraining, week by week",
            tone="quiet",
            headline=_headline(ordered),
            lead=_lead(ordered),
            facts=[],
            blocks=_metrics([event for event in ordered if event["metrics"]]),
            sections=[_section(*week) for week in weeks],
        )
    )


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


def _day(event: Mapping[str, Any]) -> str:
    return f"{_time(event).day} {_time(event):%b}"


def _monday(event: Mapping[str, Any]) -> datetime:
    day = _time(event).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _count(events: Sequence[Mapping[str, Any]], kind: str) -> int:
    return sum(event["kind"] == kind for event in events)


def _headline(events: Sequence[Mapping[str, Any]]) -> str:
    counted = {"alarm": "alarm", "execution": "training", "approved": "approval"}
    told = [plural(_count(events, kind), noun) for kind, noun in counted.items() if _count(events, kind)]
    return listed(told) or "No alarm"


def _lead(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many periods were quiet, and the story in the titles of what was not routine."""
    told = [
        event["title"] for event in events if event["kind"] in ("shift", "alarm", "execution", "approved")
    ]
    scored = [event for event in events if event["metrics"]]
    quiet = sum(not any(event["metrics"].values()) for event in scored)
    story = [f"{'; '.join(told)}."] if told else []
    return [f"{plural(len(scored), 'period')} scored, {quiet} of them quiet.", *story]


def _metrics(scored: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The five metrics that start a training, drawn and as a table."""
    if not scored:
        return []
    days = [_day(event) for event in scored]
    series = {ROLL_UPS[name]: [event["metrics"].get(name) for event in scored] for name in DRAWN}
    rang = [day for day, event in zip(days, scored, strict=True) if any(event["metrics"].values())]
    finding = (
        f"Violations by day of scoring: {', '.join(rang)} beyond the bounds, the rest quiet." if rang else ""
    )
    figure = Figure(
        "The five metrics",
        shapes.lanes(series, days),
        finding or "Violations by day of scoring: none on any of them.",
        "A bar is the number of violations, a dot none, a gap not measured. 1 or more rings the alarm.",
        wide=True,
    )
    rows: list[list[str | Cell]] = [
        [day, *(_cell(event["metrics"].get(name)) for name in DRAWN)]
        for day, event in zip(days, scored, strict=True)
    ]
    table = Table("Violations by day of scoring", ["Scored on", *(ROLL_UPS[name] for name in DRAWN)], rows)
    return [figure, More("The same as a table", [table])]


def _cell(value: float | None) -> str | Cell:
    if value is None:
        return Cell(NONE, "quiet")
    return Cell(f"{value:g}", "bad" if value else "quiet")


def _section(monday: datetime, events: list[Mapping[str, Any]]) -> Section:
    rang = _count(events, "alarm")
    finding = f"{plural(rang, 'alarm')} rang." if rang else "No alarm rang."
    shown = [
        Event(
            event["time"],
            f"{_time(event):%a} {_day(event)} {_time(event):%H:%M}",
            KINDS[event["kind"]],
            event["title"],
            event["text"],
            event["tone"],
        )
        for event in events
    ]
    title = f"Week of {monday.day} {monday:%B %Y}"
    return Section(f"week-{monday:%Y-%m-%d}", title, finding, [Events(shown)])
