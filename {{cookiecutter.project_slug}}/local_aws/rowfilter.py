"""Batch transform's filters and join: SageMaker's subset of JSONPath on CSV rows and JSON Lines."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

CSV, JSON_LINES = "text/csv", "application/jsonlines"
OUTPUT, INPUT = "SageMakerOutput", "SageMakerInput"
FIELD = re.compile(r'"(?:[^"]|"")*"|[^,"]*')
SELECTOR = re.compile(r"\.([A-Za-z_][\w-]*)|\[([^\[\]]+)\]")
SLICE = re.compile(r"(-?\d*)\s*:\s*(-?\d*)")
NAMES = re.compile(r"'([^']*)'(?:\s*,\s*'([^']*)')*")


class BadRow(ValueError):
    """A row that is not what it should be, or has not what a filter asks for."""


class BadFilter(ValueError):
    """An expression outside the supported subset of JSONPath."""


@dataclass(frozen=True)
class Selector:
    """One part of a path: names, positions, or a slice whose end is included."""

    names: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    ends: tuple[int | None, int | None] | None = None


@cache
def parse(path: str) -> tuple[Selector, ...]:
    """The parts of `$`, `$.a`, `$['a','b']`, `$[0,-1]`, `$[1:4]`; BadFilter for anything else."""
    selectors, position = [], 1 if path.startswith("$") else 0
    while position == 0 or position < len(path):
        part = SELECTOR.match(path, position) if position else None
        if part is None:
            raise BadFilter(f"{path!r} is not of the form $, $.a, $['a','b'], $[0,-1] or $[1:4]")
        selectors.append(Selector((part[1],)) if part[1] else _bracket(path, part[2].strip()))
        position = part.end()
    return tuple(selectors)


def _bracket(path: str, inside: str) -> Selector:
    if part := SLICE.fullmatch(inside):
        return Selector(ends=(_number(part[1]), _number(part[2])))
    if NAMES.fullmatch(inside):
        return Selector(names=tuple(re.findall(r"'([^']*)'", inside)))
    try:
        return Selector(positions=tuple(int(item) for item in inside.split(",")))
    except ValueError:
        raise BadFilter(f"{path!r}: [{inside}] is neither names, positions nor a slice") from None


def _number(text: str) -> int | None:
    return int(text) if text else None


def select(selectors: tuple[Selector, ...], value: object) -> object:
    """What of `value` the selectors name; BadRow when it is not there."""
    for selector in selectors:
        value = _select(selector, value)
    return value


def _select(selector: Selector, value: object) -> object:
    if selector.names:
        return _named(selector.names, value)
    if not isinstance(value, list):
        raise BadRow(f"a filter asks for positions, got {type(value).__name__}")
    if selector.ends:
        return _slice(value, *selector.ends)
    chosen = [_at(value, position) for position in selector.positions]
    return chosen if len(chosen) > 1 else chosen[0]


def _named(names: tuple[str, ...], value: object) -> object:
    missing = [name for name in names if not isinstance(value, dict) or name not in value]
    if missing:
        there = ", ".join(value) if isinstance(value, dict) else type(value).__name__
        raise BadRow(f"a filter asks for {missing[0]!r}, the record has {there}")
    return {name: value[name] for name in names} if len(names) > 1 else value[names[0]]


def _at(value: list, position: int) -> object:
    if not -len(value) <= position < len(value):
        raise BadRow(f"a filter asks for position {position}, the row has {len(value)} columns")
    return value[position]


def _slice(value: list, start: int | None, end: int | None) -> list:
    last = len(value) - 1 if end is None else end + (len(value) if end < 0 else 0)
    first = 0 if start is None else start + (len(value) if start < 0 else 0)
    return value[max(0, first) : last + 1]


def split_csv(line: bytes) -> list[str]:
    """The fields of a CSV row as they are written, quotes included."""
    text, fields, position = line.decode(), [], 0
    if '"' not in text:
        return text.split(",")
    while True:
        field = FIELD.match(text, position)
        fields.append(field.group())
        position = field.end() + 1
        if position > len(text):
            return fields
        if text[field.end()] != ",":
            raise BadRow(
                f"the CSV row has a quote inside a field at character {field.end() + 1}: {text[:200]!r}"
            )


def join_csv(fields: object) -> bytes:
    return ",".join(fields if isinstance(fields, list) else [fields]).encode()


def read_json(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadRow(f"the line is not JSON ({error}): {line[:200]!r}") from None


def write_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _beside_csv(row: list, prediction: list) -> list:
    return row + prediction


def _beside_json(record: object, prediction: object) -> dict:
    first = record if isinstance(record, dict) else {INPUT: record}
    return first | {OUTPUT: prediction}


READ: dict[str, Callable[[bytes], object]] = {CSV: split_csv, JSON_LINES: read_json}
WRITE: dict[str, Callable[[object], bytes]] = {CSV: join_csv, JSON_LINES: write_json}
BESIDE: dict[str, Callable] = {CSV: _beside_csv, JSON_LINES: _beside_json}


@dataclass(frozen=True)
class Processing:
    """A job's DataProcessing. content_type, accept: media types of the rows that go in and come out."""

    content_type: str = CSV
    accept: str = CSV
    input_filter: str = "$"
    output_filter: str = "$"
    join: bool = False

    def __post_init__(self) -> None:
        parse(self.input_filter)
        parse(self.output_filter)
        used = {self.content_type} if self.input_filter != "$" or self.join else set()
        used |= {self.accept} if self.changes_output else set()
        for media_type in used - READ.keys():
            raise BadFilter(f"filters and JoinSource take {' and '.join(READ)}, got {media_type!r}")
        if self.join and self.content_type != self.accept:
            raise BadFilter(f"JoinSource Input needs Accept {self.content_type!r}, got {self.accept!r}")

    @property
    def changes_output(self) -> bool:
        return self.join or self.output_filter != "$"

    def request_row(self, line: bytes) -> bytes:
        """What of an input row is sent to the model."""
        if self.input_filter == "$":
            return line
        row = READ[self.content_type](line)
        return WRITE[self.content_type](select(parse(self.input_filter), row))

    def output_row(self, line: bytes, prediction: bytes) -> bytes:
        """What is written for an input row and its prediction."""
        result = READ[self.accept](prediction)
        if self.join:
            result = BESIDE[self.accept](READ[self.accept](line), result)
        return WRITE[self.accept](select(parse(self.output_filter), result))
