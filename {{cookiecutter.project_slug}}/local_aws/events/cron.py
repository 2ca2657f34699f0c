"""When a schedule is due: AWS's at(), rate() and cron() expressions, in a time zone."""

import calendar
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

UNIT_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
FIELDS = ("minutes", "hours", "day of month", "month", "day of week", "year")
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))
MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
NAMES = ({}, {}, {}, MONTHS, DAYS | {"L": 7}, {})


@dataclass(frozen=True)
class At:
    """Once."""

    moment: float

    def after(self, moment: float) -> float | None:
        return self.moment if self.moment > moment else None


@dataclass(frozen=True)
class Rate:
    """Every `seconds`, counted from `begin`."""

    seconds: int
    begin: float

    def after(self, moment: float) -> float | None:
        passed = max(0, math.floor((moment - self.begin) / self.seconds) + 1)
        return self.begin + passed * self.seconds


@dataclass(frozen=True)
class Cron:
    """The six fields of an AWS cron expression.

    A local time that the clocks skip in spring has no run; one that comes twice in autumn has one.
    """

    fields: tuple[str, ...]
    zone: ZoneInfo

    def after(self, moment: float) -> float | None:
        """The first run later than `moment`, None when there is none until 2199."""
        first = datetime.fromtimestamp(moment, self.zone).date() - timedelta(days=1)
        for day in self._days(first):
            # Sorted by instant: around a change of the clocks local order is not the order in time.
            later = sorted(run for run in self._runs(day) if run > moment)
            if later:
                return later[0]
        return None

    def _runs(self, day: date) -> Iterator[float]:
        for hour in sorted(self._sets[1]):
            for minute in sorted(self._sets[0]):
                local = datetime.combine(day, time(hour, minute), self.zone)
                instant = local.astimezone(UTC)
                if instant.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    yield instant.timestamp()

    def _days(self, first: date) -> Iterator[date]:
        for year in sorted(year for year in self._sets[5] if year >= first.year):
            for month in sorted(self._sets[3]):
                if (year, month) >= (first.year, first.month):
                    days = sorted(self._days_of_month(year, month))
                    yield from (date(year, month, day) for day in days if date(year, month, day) >= first)

    def _days_of_month(self, year: int, month: int) -> set[int]:
        length = calendar.monthrange(year, month)[1]
        if self.fields[4] == "?":
            found = {_day_of_month(part, year, month) for part in _special(self.fields[2], "LW")}
            return {day for day in self._sets[2] | found if 1 <= day <= length}
        named = {_day_of_week(part, year, month) for part in _special(self.fields[4], "L#")}
        return {day for day in range(1, length + 1) if _weekday(year, month, day) in self._sets[4]} | {
            day for day in named if 1 <= day <= length
        }

    @cached_property
    def _sets(self) -> list[set[int]]:
        """The numbers that each field names as numbers, names, ranges and steps."""
        return [_numbers(text, position) for position, text in enumerate(self.fields)]


Schedule = At | Rate | Cron


def parse(text: str, zone: str, begin: float) -> Schedule:
    """The schedule of an expression; `begin` is where a rate counts from. ValueError says what is wrong."""
    known = _zone(zone)
    kind, found = text.partition("(")[0], re.fullmatch(r"(at|rate|cron)\((.*)\)", text)
    if not found:
        raise ValueError(f"expected at(...), rate(...) or cron(...), got {kind!r}")
    if kind == "at":
        return At(_local_time(found[2], known))
    return _rate(found[2], begin) if kind == "rate" else _cron(found[2], known)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"time zone {name!r} is unknown: use an IANA name, such as Europe/London") from None


def _local_time(text: str, zone: ZoneInfo) -> float:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
        raise ValueError(f"at() takes yyyy-mm-ddThh:mm:ss, got {text!r}")
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def _rate(text: str, begin: float) -> Rate:
    found = re.fullmatch(r"([1-9]\d*) (minute|hour|day)s?", text)
    if not found:
        raise ValueError(f"rate() takes a number of at least 1 and minutes, hours or days, got {text!r}")
    return Rate(int(found[1]) * UNIT_SECONDS[found[2]], begin)


def _cron(text: str, zone: ZoneInfo) -> Cron:
    fields = tuple(text.upper().split())
    if len(fields) != len(FIELDS):
        raise ValueError(f"cron() takes six fields ({', '.join(FIELDS)}), got {len(fields)}")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError("exactly one of day of month and day of week must be ?")
    for position in (0, 1, 3, 5):
        if "?" in fields[position]:
            raise ValueError(f"{FIELDS[position]}: ? is for the days only")
    cron = Cron(fields, zone)
    _ = cron._sets  # raises for what is not a number
    return cron


def _numbers(text: str, position: int) -> set[int]:
    if text == "?":
        return set()
    special = _special(text, {2: "LW", 4: "L#"}.get(position, ""))
    ordinary = [part for part in text.split(",") if part not in special]
    return {number for part in ordinary for number in _part(part, position)}


def _special(text: str, marks: str) -> list[str]:
    """Parts of a field that depend on the month: L, LW, 15W; 6L, FRIL, 3#2."""
    allowed = {"LW": r"L|LW|(0?[1-9]|[12]\d|3[01])W", "L#": rf"{_day()}L|{_day()}#[1-5]"}.get(marks)
    found = [part for part in text.split(",") if allowed and re.fullmatch(allowed, part)]
    if found and len(found) < len(text.split(",")) and marks == "L#":
        raise ValueError(f"day of week: {found[0]} stands alone, got {text!r}")
    return found


def _day() -> str:
    return rf"([1-7]|{'|'.join(DAYS)})"


def _part(part: str, position: int) -> range:
    low, high = RANGES[position]
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        begin, end = low, high
    else:
        begin = _number(first, position)
        end = _number(last, position) if dash else (high if slash else begin)
    if begin > end or (slash and not re.fullmatch(r"[1-9]\d*", step)):
        raise ValueError(f"{FIELDS[position]}: got {part!r}")
    return range(begin, end + 1, int(step) if slash else 1)


def _number(text: str, position: int) -> int:
    low, high = RANGES[position]
    number = NAMES[position].get(text, int(text) if re.fullmatch(r"\d+", text) else -1)
    if not low <= number <= high:
        raise ValueError(f"{FIELDS[position]}: must be {low} to {high}, got {text!r}")
    return number


def _weekday(year: int, month: int, day: int) -> int:
    """1 for Sunday to 7 for Saturday."""
    return date(year, month, day).isoweekday() % 7 + 1


def _day_of_month(part: str, year: int, month: int) -> int:
    """The day that L, LW or 15W is in that month; 0 when it has none."""
    length = calendar.monthrange(year, month)[1]
    if part == "L":
        return length
    day = length if part == "LW" else int(part[:-1])
    if day > length:
        return 0
    weekday = _weekday(year, month, day)
    if weekday == DAYS["SAT"]:
        return day - 1 if day > 1 else day + 2
    if weekday == DAYS["SUN"]:
        return day + 1 if day < length else day - 2
    return day


def _day_of_week(part: str, year: int, month: int) -> int:
    """The day that 6L (last Friday) or 3#2 (second Tuesday) is; 0 for none."""
    length = calendar.monthrange(year, month)[1]
    name, hash_, nth = part.partition("#")
    wanted = _number(name.removesuffix("L"), 4)
    days = [day for day in range(1, length + 1) if _weekday(year, month, day) == wanted]
    if hash_:
        return days[int(nth) - 1] if int(nth) <= len(days) else 0
    return days[-1]
