"""What a page is made of; render.py draws each kind. Texts are escaped there, svg alone is markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

NOT_REACHED, KEPT = "not reached", "kept"  # what becomes of a step that did not run


@dataclass(frozen=True)
class Cell:
    """A cell of a table. tone: good, bad or quiet; whole: its text stays on one line.

    fill: 0 to 1, how dark its background is.
    """

    text: str
    tone: str = ""
    fill: float | None = None


@dataclass(frozen=True)
class Table:
    """caption says what it shows. words: places of the columns that are texts; others are numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: list[str]
    rows: list[list[str | Cell]]
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Figure:
    """finding: what the picture says. caption: how to read it. wide: too wide to be shrunk to a phone."""

    kind: ClassVar[str] = "figure"
    title: str
    svg: str
    finding: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room. small: many a row."""

    kind: ClassVar[str] = "figures"
    figures: list[Figure]
    small: bool = False


@dataclass(frozen=True)
class Key:
    """What the colours of the figures below mean: (base, now or moved; words)."""

    kind: ClassVar[str] = "key"
    colours: list[tuple[str, str]]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    kind: ClassVar[str] = "facts"
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Points:
    """A list of (what it is about, text)."""

    kind: ClassVar[str] = "points"
    points: list[tuple[str, str]]


@dataclass(frozen=True)
class Links:
    """(text, address relative to the page) of other pages."""

    kind: ClassVar[str] = "links"
    links: list[tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """Text as a program wrote it. label: what it is."""

    kind: ClassVar[str] = "listing"
    label: str
    text: str


@dataclass(frozen=True)
class More:
    """Blocks under a line that opens them."""

    kind: ClassVar[str] = "more"
    summary: str
    blocks: list[Any]


@dataclass(frozen=True)
class Heading:
    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Box:
    """A step. start, width: its place in the run's time, 0 to 1."""

    name: str
    status: str
    seconds: float | None
    start: float
    width: float
    told: str


@dataclass(frozen=True)
class Graph:
    """Boxes in layers: each waits for some of the layer before."""

    kind: ClassVar[str] = "graph"
    layers: list[list[Box]]


@dataclass(frozen=True)
class Timeline:
    kind: ClassVar[str] = "timeline"
    boxes: list[Box]
    seconds: float


@dataclass(frozen=True)
class Event:
    """time: ISO 8601, shown: the same for people. what: a word or two. tone: good, bad or quiet."""

    time: str
    shown: str
    what: str
    title: str
    text: str
    tone: str


@dataclass(frozen=True)
class Events:
    """One below the other along a line."""

    kind: ClassVar[str] = "events"
    events: list[Event]


@dataclass(frozen=True)
class Costs:
    """A chart that a slider redraws: rows of one option each, `data` what the script computes them from."""

    kind: ClassVar[str] = "costs"
    figure: Figure
    table: Table
    data: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """finding: what is to be known of it, in one plain sentence."""

    id: str
    title: str
    finding: str
    blocks: list[Any]


@dataclass(frozen=True)
class Page:
    """tone: good, bad or quiet. facts: the few numbers shown beneath the verdict."""

    title: str
    tone: str
    headline: str
    lead: list[str]
    facts: list[tuple[str, str, str]]
    blocks: list[Any]
    sections: list[Section] = field(default_factory=list)
