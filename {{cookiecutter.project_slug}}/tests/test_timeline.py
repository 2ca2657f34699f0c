"""The page of drift-demo: weeks in order, their violations drawn."""

from __future__ import annotations

import drift_documents as documents
from test_drift_report import HOSTILE, Page

from ml_pipeline.report import timeline


def test_the_timeline_tells_the_weeks_in_order_and_counts_what_happened():
    events = documents.events()
    found = Page(timeline.page(events[::-1]))
    assert "■ 1 alarm, 1 training and 1 approval 5 periods scored, 4 of them quiet." in found.text
    assert "Incomes rise by a half; loans-dev-data-drift rings; A training starts; Version 2 is" in found.text
    weeks = found.text.rpartition("Week of 2 February 2026")[2]
    titles = [event["title"] for event in sorted(events, key=lambda event: event["time"])]
    places = [weeks.index(title) for title in titles]
    assert places == sorted(places)
    assert weeks.index("Week of 2 March 2026 No alarm rang.") < weeks.index("2026-03-02 scored")
    assert timeline.page(events) == timeline.page(events[::-1])


def test_a_week_begins_on_monday():
    times = ("2026-02-08T23:59:00+00:00", "2026-02-09T00:00:00+00:00", "2026-02-15T23:00:00+00:00")
    made = [documents.event(time, "scored", f"at {time}", "", "good") for time in times]
    told = Page(timeline.page(made)).text.rpartition("Week of 2 February")[2]
    places = [
        told.index(text) for text in (f"at {times[0]}", "Week of 9 February", *(f"at {t}" for t in times[1:]))
    ]
    assert places == sorted(places)


def test_the_timeline_draws_violations_as_bars_none_as_dots_and_nothing_where_it_was_not_measured():
    text = timeline.page(documents.events())
    assert text.count("<rect") == 2 and text.count("<circle") == 5 * 5 - 3
    assert "23 Feb ✗ 2 ✗ 1 \N{EN DASH} 0 0" in Page(text).text


def test_hostile_events_are_shown_and_never_run():
    made = documents.event("2026-02-02T00:00:00", "alarm", HOSTILE, HOSTILE, "bad")
    found = Page(timeline.page([made]))
    assert found.tags.count("script") == 1 and sum(text.strip() == HOSTILE for text in found.texts) == 2
