"""Small plots as inline SVG, written here: the image of the steps has no plotting library.

Their colours and fonts are classes of page.css, so that they follow light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_pipeline.report.markup import Html, element
from ml_pipeline.report.words import share, short

WIDTH = 340  # units of a plot, drawn at about one pixel each
LINE = 16  # height of a line of text
LEFT, RIGHT, TOP, AREA = 38, 6, 10, 124  # around a plot of bins, and the height of its area
GAP = 10  # before a bin that stands apart
LABEL = 16  # characters of a label below the axis
HALF = 19  # characters that half the axis has room for
LONGEST = 34  # of a category's
ROW, BAR = 38, 7  # of a category: height of the row and of each of its two bars
SHARES = 120  # room for a category's two shares
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)  # of the axis of shares
MOST_TICKS = 4
LANE, WIDE = 58, 720  # of a timeline: height of a series, width of all
FITS = 44  # of a label below it
NAMES = 130  # room for the names of its series


@dataclass(frozen=True)
class Scale:
    """Places of shares in a plot of bins. top: the largest share that is drawn."""

    top: float

    def y(self, value: float) -> str:
        return f"{TOP + AREA * (1 - value / self.top):.1f}"


Span = tuple[float, float]


def bins(
    labels: Sequence[str], baseline: Sequence[float], current: Sequence[float], apart: int, moved: bool
) -> str:
    """Shares by bin: the baseline as an area, the current as a line.

    apart: how many of the last bins are none of the axis. moved: drawn in the colour of what has drifted.
    """
    scale = Scale(1.08 * max(*baseline, *current, STEPS[0]))
    spans, inner = _spans(len(labels), apart), len(labels) - apart
    groups = [slice(0, inner), *(slice(place, place + 1) for place in range(inner, len(labels)))]
    now = "now moved" if moved else "now"
    parts = _grid(scale)
    parts += [_outline(spans[group], baseline[group], scale, "base") for group in groups]
    parts += [_outline(spans[group], current[group], scale, now) for group in groups]
    parts += _axis(labels[:inner], spans) + _apart(labels[inner:], spans[inner:])
    return _svg(WIDTH, TOP + AREA + LINE * (2 if apart else 1) + 4, parts)


def _spans(count: int, apart: int) -> list[Span]:
    width = (WIDTH - LEFT - RIGHT - GAP * apart) / count
    lefts = [LEFT + width * place + GAP * max(place - (count - apart) + 1, 0) for place in range(count)]
    return [(left, left + width) for left in lefts]


def _grid(scale: Scale) -> list[Html]:
    step = next(step for step in STEPS if scale.top / step <= MOST_TICKS)
    ticks = [step * place for place in range(int(scale.top / step) + 1)]
    lines = [element("path", class_="grid", d=f"M{LEFT} {scale.y(tick)}H{WIDTH - RIGHT}") for tick in ticks]
    return lines + [_text(f"{tick:.0%}", LEFT - 5, float(scale.y(tick)) + 4, "end") for tick in ticks]


def _outline(spans: Sequence[Span], shares: Sequence[float], scale: Scale, kind: str) -> Html:
    steps = "".join(f"V{scale.y(value)}H{right:.1f}" for (_, right), value in zip(spans, shares, strict=True))
    return element("path", class_=kind, d=f"M{spans[0][0]:.1f} {scale.y(0)}{steps}V{scale.y(0)}")


def _axis(labels: Sequence[str], spans: Sequence[Span]) -> list[Html]:
    """The first, the middle and the last bin of the axis in words, as far as there is room."""
    y, last = TOP + AREA + LINE, len(labels) - 1
    found = {0: "start", last: "end"} if last else {0: "start"}
    first, middle, end = (len(short(labels[place], LABEL)) for place in (0, last // 2, last))
    if last > 3 and max(first, end) + middle / 2 <= HALF:
        found[last // 2] = "middle"
    places = {
        "start": lambda span: span[0],
        "middle": lambda span: sum(span) / 2,
        "end": lambda span: span[1],
    }
    return [
        _text(short(labels[place], LABEL), places[anchor](spans[place]), y, anchor)
        for place, anchor in found.items()
    ]


def _apart(labels: Sequence[str], spans: Sequence[Span]) -> list[Html]:
    """On a line of their own, since the bins are narrow."""
    if not labels:
        return []
    text = ", ".join(short(label, LABEL) for label in labels)
    return [_text(text, spans[-1][1], TOP + AREA + 2 * LINE, "end")]


def categories(
    labels: Sequence[str], baseline: Sequence[float], current: Sequence[float], moved: bool
) -> str:
    """A row a category: its name, two bars, and the baseline share with the current one."""
    top = max(*baseline, *current, STEPS[0])
    rows = zip(labels, baseline, current, strict=True)
    parts = [part for place, row in enumerate(rows) for part in _category(*row, place * ROW, top, moved)]
    return _svg(WIDTH, len(labels) * ROW + 2, parts)


def _category(label: str, before: float, after: float, y: float, top: float, moved: bool) -> list[Html]:
    room = WIDTH - SHARES
    bars = [(before, "base", y + LINE + 2), (after, "now moved" if moved else "now", y + LINE + 2 + BAR)]
    return [
        _text(short(label, LONGEST), 0, y + LINE - 3, "start", "name"),
        *(
            element("rect", class_=kind, x=0, y=place, width=f"{room * value / top:.1f}", height=BAR)
            for value, kind, place in bars
        ),
        _text(f"{share(before)} → {share(after)}", WIDTH, y + LINE + BAR + 6, "end"),
    ]


def lanes(series: Mapping[str, Sequence[float | None]], labels: Sequence[str]) -> str:
    """A lane a series of counts: a bar for each place, a dot for nothing, a gap where it was not measured.

    labels: of the places, written below: all where there is room, else the first and the last.
    """
    width = (WIDE - NAMES) / len(labels)
    parts: list[Html] = []
    for lane, (name, values) in enumerate(series.items()):
        floor = (lane + 1) * LANE - 8
        top = max([1.0, *(value for value in values if value is not None)])
        parts += [
            element("path", class_="grid", d=f"M{NAMES} {floor}H{WIDE}"),
            _text(name, 0, floor - 4, "start", "name"),
        ]
        for place, value in enumerate(values):
            if value is not None:
                parts += _count(value, NAMES + width * place, width, floor, top)
    y = len(series) * LANE + LINE - 4
    if width >= FITS:
        told = [
            _text(label, NAMES + width * (place + 0.5), y, "middle") for place, label in enumerate(labels)
        ]
    else:
        told = [_text(labels[0], NAMES, y, "start"), _text(labels[-1], WIDE, y, "end")]
    return _svg(WIDE, y + 6, parts + told)


def _count(value: float, x: float, width: float, floor: float, top: float) -> list[Html]:
    middle = f"{x + width / 2:.1f}"
    if not value:
        return [element("circle", class_="base", cx=middle, cy=floor, r=3)]
    height, thick = (LANE - 28) * value / top, min(0.6 * width, 26)
    bar = element(
        "rect",
        class_="now moved",
        x=f"{x + (width - thick) / 2:.1f}",
        y=f"{floor - height:.1f}",
        width=f"{thick:.1f}",
        height=f"{height:.1f}",
    )
    return [bar, _text(f"{value:g}", middle, floor - height - 4, "middle", "name")]


def _text(text: str, x: float | str, y: float, anchor: str, kind: str | None = None) -> Html:
    return element("text", text, x=x, y=f"{y:.0f}", text_anchor=anchor, class_=kind)


def _svg(width: float, height: float, parts: list[Html]) -> str:
    return element(
        "svg",
        Html("".join(parts)),
        viewBox=f"0 0 {width} {height:.0f}",
        class_="shape",
        aria_hidden="true",
        focusable="false",
    )
