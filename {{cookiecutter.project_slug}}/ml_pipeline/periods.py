"""Data by period, `YYYY-MM-DD`: folders in the bucket, each complete once it holds `_SUCCESS`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ml_pipeline import storage
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

SUCCESS = "_SUCCESS"
# What a period has: labelled data to train on, rows to score and their scores, what monitoring found, labels.
FOLDERS = {
    "raw": "raw/{}",
    "score": "score/{}/input",
    "output": "score/{}/output",
    "monitor": "score/{}/monitor",
    "truth": "truth/{}",
}
SKEW = timedelta(days=1)  # a clock may be wrong by so much; a period that begins later is a mistake
LABELS = "labels"  # before a colon and a period: its labels are to be counted, and nothing is to be scored
# States of a period to score, and what is said of each. The first ones are taken, the others left.
TAKEN = {
    "new": "not scored yet",
    "late": "late: it came after a younger one was scored",
    "again": "scored before, and asked for again",
    "empty": "empty: complete, but without an object",
    LABELS: "scored already, and its labels are asked for",
}
LEFT = {
    "scored": "scored already",
    "incomplete": f"incomplete: its input has no {SUCCESS}",
    "future": "in the future: is a clock wrong, or the date?",
}


@dataclass(frozen=True)
class Period:
    """A period to score. state: of TAKEN or LEFT. objects: URIs of its data, in key order."""

    name: str
    state: str
    objects: tuple[str, ...]

    @property
    def told(self) -> str:
        return f"{self.name} is {(TAKEN | LEFT)[self.state]}"


def folder(period: str, settings: Settings, of: str = "raw") -> str:
    """URI of what FOLDERS calls so, without a trailing slash."""
    return f"s3://{settings.bucket}/{FOLDERS[of].format(period)}"


def checked(text: str) -> str:
    """The period that a user named. Raises InputError for what is no date."""
    if is_period(text):
        return text
    raise InputError(f"--period must be a date as YYYY-MM-DD, got {text!r}")


def is_period(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def taken(raw_data_uri: str, settings: Settings) -> str:
    """The place itself; of `s3://<bucket>/raw/`, the default, the newest complete period below it.

    Raises DataError when there is none.
    """
    if raw_data_uri.rstrip("/") != f"s3://{settings.bucket}/raw":
        return raw_data_uri
    for period in reversed(present(settings)):
        if is_complete(period, settings):
            return f"{folder(period, settings)}/"
    command = "score --truth FILE" if settings.env == "local" else f"upload FILE {settings.options}"
    raise DataError(
        f"{raw_data_uri}: no complete period below it (raw/<YYYY-MM-DD>/ with _SUCCESS): "
        f"`python -m ml_pipeline {command}` makes one"
    )


def present(settings: Settings, of: str = "raw") -> list[str]:
    """Periods with any object below `raw/`, `score/` or `truth/`, the oldest first."""
    top = FOLDERS[of].partition("/")[0]
    return sorted(name for name in storage.folders(f"s3://{settings.bucket}/{top}/") if is_period(name))


def is_complete(period: str, settings: Settings, of: str = "raw") -> bool:
    return storage.exists(f"{folder(period, settings, of)}/{SUCCESS}")


def to_score(wanted: str, now: datetime, settings: Settings) -> list[Period]:
    """Every period below `score/` with its state, the oldest first; of a wanted one only this.

    wanted: `auto`, or a period, which is scored once more if it was scored before, or `labels:` and a period.
    Raises DataError when wanted is none of these, or cannot be scored.
    """
    kind, _, period = wanted.partition(":")
    if kind == LABELS and is_period(period):
        return [_labelled(period, settings)]
    if wanted != "auto" and not is_period(wanted):
        raise DataError(
            f"Period must be auto, a date as YYYY-MM-DD, or {LABELS}:YYYY-MM-DD to count labels that have "
            f"come; got {wanted!r}"
        )
    found = _states(_listed(settings), now, settings)
    return found if wanted == "auto" else [_named(wanted, found, now, settings)]


def _labelled(period: str, settings: Settings) -> Period:
    if not is_complete(period, settings, "output"):
        raise DataError(unscored(period, settings))
    if not is_complete(period, settings, "truth"):
        raise DataError(f"{folder(period, settings, 'truth')}/ has no {SUCCESS}: its labels have not come")
    return Period(period, LABELS, ())


def unscored(period: str, settings: Settings) -> str:
    """The sentence for labels that belong to no scores."""
    return (
        f"period {period} has no scores that labels could be joined with; {_remedy(period, settings)}, "
        "with the labels or before them"
    )


def _listed(settings: Settings) -> dict[str, list[str]]:
    """URIs of everything below each period of `score/`, in key order."""
    top, found = f"s3://{settings.bucket}/score/", {}
    for uri, _ in storage.list_uris(top):
        found.setdefault(uri.removeprefix(top).partition("/")[0], []).append(uri)
    return {name: uris for name, uris in sorted(found.items()) if is_period(name)}


def _states(listed: dict[str, list[str]], now: datetime, settings: Settings) -> list[Period]:
    """States of all but the periods that were never begun."""
    scored = {
        name for name, uris in listed.items() if f"{folder(name, settings, 'output')}/{SUCCESS}" in uris
    }
    found = []
    for name, uris in listed.items():
        place = f"{folder(name, settings, 'score')}/"
        inputs = [uri for uri in uris if uri.startswith(place)]
        if inputs or name in scored:
            complete, objects = f"{place}{SUCCESS}" in inputs, storage.data_objects(place, inputs)
            state = _state(name, complete, bool(objects), scored, now)
            found.append(Period(name, state, tuple(objects)))
    return found


def _state(name: str, complete: bool, holds_data: bool, scored: Iterable[str], now: datetime) -> str:
    if name in scored:
        return "scored"
    if not complete:
        return "incomplete"
    if datetime.combine(date.fromisoformat(name), datetime.min.time(), UTC) > now + SKEW:
        return "future"
    if not holds_data:
        return "empty"
    return "late" if any(name < other for other in scored) else "new"


def _named(wanted: str, found: list[Period], now: datetime, settings: Settings) -> Period:
    place = f"{folder(wanted, settings, 'score')}/"
    period = next((each for each in found if each.name == wanted), None)
    if period is None or (period.state == "scored" and not period.objects):
        raise DataError(f"{place}: nothing there to score; {_remedy(wanted, settings)}")
    if not is_complete(wanted, settings, "score"):  # also while rows that were scored are being replaced
        raise DataError(
            f"{place} has no {SUCCESS}, so its upload has not ended; {_remedy(wanted, settings)}, "
            f"or put an empty object {SUCCESS} there"
        )
    if period.state == "future":
        raise DataError(
            f"{place} is dated more than a day after this execution's start, {now:%Y-%m-%d %H:%M} UTC: "
            f"name the right period, or set the clock"
        )
    return Period(wanted, "again", period.objects) if period.state == "scored" else period


def _remedy(period: str, settings: Settings) -> str:
    command = "score --data FILE" if settings.env == "local" else f"upload FILE {settings.options} --to score"
    return f"`python -m ml_pipeline {command} --period {period}` brings its rows"
