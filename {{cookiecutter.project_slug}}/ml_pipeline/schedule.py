"""Whether EventBridge Scheduler would take an expression or a time zone, told before anything is deployed.

Source: Schedule types, EventBridge Scheduler User Guide.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime
from difflib import get_close_matches
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
AT = "at() takes a moment as 2027-01-31T06:00:00"
RATE = "rate() takes a whole number of at least 1 and minutes, hours or days, such as rate(7 days)"
SIX = "cron() takes six fields: minutes, hours, day of month, month, day of week, year"


class Field(NamedTuple):
    """A field of cron(): its numbers, names for them, and a pattern for what only this field may hold."""

    name: str
    low: int
    high: int
    names: dict[str, int]
    special: str


FIELDS = (
    Field("minutes", 0, 59, {}, ""),
    Field("hours", 0, 23, {}, ""),
    Field("day of month", 1, 31, {}, r"\?|L|LW|(0?[1-9]|[12]\d|3[01])W"),
    Field("month", 1, 12, MONTHS, ""),
    Field("day of week", 1, 7, DAYS, rf"\?|L|([1-7]|{'|'.join(DAYS)})(L|#[1-5])"),
    Field("year", 1970, 2199, {}, ""),
)


def check(expression: str) -> None:
    """Raises ValueError, with what is wrong, for an expression that EventBridge Scheduler refuses."""
    found = re.fullmatch(r"(at|rate|cron)\((.*)\)", expression)
    if not found:
        raise ValueError("an expression is at(...), rate(...) or cron(...)")
    {"at": _check_at, "rate": _check_rate, "cron": _check_cron}[found[1]](found[2])


def check_timezone(name: str) -> None:
    """Raises ValueError for what is no name of the IANA time zone database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if not known:  # a machine without the database cannot judge: CloudFormation will
            return
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "such as Europe/London"
        raise ValueError(f"a name of the IANA time zone database is needed, {hint}") from None


def is_past(expression: str, timezone: str, now: datetime) -> bool:
    """Whether the one moment of an `at(...)` is over. now: with a time zone."""
    found = re.fullmatch(r"at\((.*)\)", expression)
    return bool(found) and datetime.fromisoformat(found[1]).replace(tzinfo=ZoneInfo(timezone)) <= now


def _check_at(text: str) -> None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
        raise ValueError(AT)
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{AT}; {error}") from None


def _check_rate(text: str) -> None:
    if not re.fullmatch(r"[1-9]\d* (minute|hour|day)s?", text):
        raise ValueError(RATE)


def _check_cron(text: str) -> None:
    fields = text.upper().split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"{SIX}; got {len(fields)}")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError("of day of month and day of week exactly one must be ?")
    for field, value in zip(FIELDS, fields, strict=True):
        parts = value.split(",")
        if "?" in parts and len(parts) > 1:
            raise ValueError(f"{field.name}: ? stands alone, got {value}")
        for part in parts:
            if not (field.special and re.fullmatch(field.special, part)):
                _check_part(field, part)


def _check_part(field: Field, part: str) -> None:
    """A number, a name, a range, `*`, each with a step or without."""
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if slash and not (step.isdecimal() and 1 <= int(step) <= field.high):
        raise ValueError(f"{field.name}: after / comes a number from 1 to {field.high}, got {part}")
    if span != "*":
        begin = _number(field, first, part)
        if dash and _number(field, last, part) < begin:
            raise ValueError(f"{field.name}: a range goes from lower to higher, got {part}")


def _number(field: Field, text: str, part: str) -> int:
    number = field.names.get(text, int(text) if text.isdecimal() else -1)
    if not field.low <= number <= field.high:
        raise ValueError(f"{field.name} must be in {field.low} to {field.high}, got {part}")
    return number
