"""A page's blocks as one HTML document that needs nothing else; the image of the steps has all it takes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_pipeline.report import blocks
from ml_pipeline.report.markup import Html, element, joined
from ml_pipeline.report.words import NONE

HERE = Path(__file__).parent
TONE_MARKS = {"good": "✓", "bad": "✗"}
MARKS = {"Succeeded": "✓", "Failed": "✗", "Stopped": "■", blocks.NOT_REACHED: NONE, blocks.KEPT: "✓"}
TONES = {"Succeeded": "good", "Failed": "bad", blocks.KEPT: "good"}
TOLD = {
    3: "told",
    4: "told",
    5: "told five",
}  # by columns: of a table whose last column is a sentence, which a phone shows below the others


def write(path: Path, page: blocks.Page) -> Path:
    """The path, once the page is there as a whole: a reader sees the old file or the new one."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(document(page), encoding="utf-8")
    return unfinished.replace(path)


def document(page: blocks.Page) -> str:
    """The page as a file. Its only script is ours, named by its hash: no name in the data can run."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'",
        ),
        element("link", rel="icon", href="data:,"),
        element("title", f"{page.headline} {NONE} {page.title}"),
        element("style", Html(style)),
    ]
    body = [
        element("a", "Skip to the content", class_="skip", href="#main"),
        element("header", element("p", page.title, class_="run")),
        element("div", _contents(page), _main(page), class_="page"),
        element("script", Html(script)),
    ]
    root = element("html", element("head", head), "\n", element("body", body), lang="en")
    return f"<!doctype html>\n{root}\n"


def _contents(page: blocks.Page) -> Html:
    links = [("verdict", "Verdict"), *((section.id, section.title) for section in page.sections)]
    items = [element("li", element("a", title, href=f"#{place}")) for place, title in links]
    return element("nav", element("ul", items), aria_label="Contents")


def _main(page: blocks.Page) -> Html:
    mark = element("span", TONE_MARKS.get(page.tone, "■"), class_="mark", aria_hidden="true")
    verdict = [
        element("h1", mark, " ", page.headline, id="headline"),
        *(element("p", text) for text in page.lead),
        drawn(page.blocks, 2),
        element("dl", [_tile(*fact) for fact in page.facts], class_="tiles") if page.facts else None,
    ]
    sections = [
        element("section", verdict, id="verdict", class_=f"verdict {page.tone}", aria_labelledby="headline"),
        *map(_section, page.sections),
    ]
    return element("main", sections, id="main", tabindex="-1")


def _tile(name: str, value: str, note: str) -> Html:
    told = [" ", element("span", note, class_="note")] if note else []
    return element("div", element("dt", name), element("dd", element("span", value, class_="value"), *told))


def _section(section: blocks.Section) -> Html:
    content = [
        element("h2", section.title, id=f"{section.id}-title"),
        element("p", section.finding, class_="finding"),
        drawn(section.blocks, 3),
    ]
    return element("section", content, id=section.id, aria_labelledby=f"{section.id}-title")


def drawn(found: list[Any], level: int) -> Html:
    """level: of the headings among the blocks."""
    return joined(DRAWN[block.kind](block, level) for block in found)


def _table(block: blocks.Table, level: int = 0) -> Html:
    told = TOLD.get(len(block.columns)) if len(block.columns) - 1 in block.words else None
    numbers = [place not in block.words for place in range(len(block.columns))]
    head = [
        _column(name, "n" if number else None) for name, number in zip(block.columns, numbers, strict=True)
    ]
    rows = [
        element("tr", [_cell(*each) for each in zip(row, numbers, range(len(row)), strict=True)], role="row")
        for row in block.rows
    ]
    return _scrolled(block.caption, element("span", block.caption), head, rows, told)


def _scrolled(label: str, caption: str, head: list[Html], rows: list[Html], kind: str | None) -> Html:
    """A table in a box of its own. The roles keep it one where CSS takes its form away."""
    content = [
        element("caption", caption),
        element("thead", element("tr", head, role="row"), role="rowgroup"),
        element("tbody", rows, role="rowgroup"),
    ]
    table = element("table", content, role="table", class_=kind)
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)


def _column(name: str, kind: str | None = None) -> Html:
    return element("th", name, scope="col", role="columnheader", class_=kind)


def _cell(value: str | blocks.Cell, number: bool, place: int) -> Html:
    cell = blocks.Cell(value) if isinstance(value, str) else value
    filled = cell.fill is not None
    kinds = [kind for kind in ("n" if number else "", cell.tone, "filled" if filled else "") if kind]
    mark = TONE_MARKS.get(cell.tone)
    return element(
        "td" if place else "th",
        element("span", f"{mark} ", aria_hidden="true") if mark else None,
        cell.text,
        scope=None if place else "row",
        role="cell" if place else "rowheader",
        class_=" ".join(kinds) or None,
        style=f"--fill: {cell.fill:.3f}" if filled else None,
    )


def _figure(block: blocks.Figure, level: int) -> Html:
    picture = element("div", Html(block.svg), role="img", aria_label=block.finding)
    wide = {"tabindex": "0", "role": "region", "aria_label": block.title} if block.wide else {}
    content = [
        element(f"h{level}", block.title),
        element("div", picture, class_="plot scroll" if block.wide else "plot", **wide),
        element("figcaption", element("strong", block.finding), " ", block.caption),
    ]
    return element("figure", content, role="group", aria_label=f"{block.title}: {block.finding}")


def _figures(block: blocks.Figures, level: int) -> Html:
    kind = "figures small" if block.small else "figures"
    return element("div", [_figure(each, level) for each in block.figures], class_=kind)


def _key(block: blocks.Key, level: int) -> Html:
    return element("ul", [element("li", text, class_=kind) for kind, text in block.colours], class_="key")


def _facts(block: blocks.Facts, level: int) -> Html:
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in block.facts]
    return element("dl", pairs, class_="pairs")


def _points(block: blocks.Points, level: int) -> Html:
    items = [element("li", element("strong", f"{head}."), " ", text) for head, text in block.points]
    return element("ul", items, class_="points")


def _links(block: blocks.Links, level: int) -> Html:
    items = [element("li", element("a", text, href=address)) for text, address in block.links]
    return element("ul", items, class_="points")


def _listing(block: blocks.Listing, level: int) -> Html:
    text = element("pre", block.text, tabindex="0", role="region", aria_label=block.label)
    return element("div", element("p", block.label), text, class_="listing")


def _more(block: blocks.More, level: int) -> Html:
    return element("details", element("summary", block.summary), drawn(block.blocks, level))


def _graph(block: blocks.Graph, level: int) -> Html:
    layers = [element("li", [_box(box) for box in layer]) for layer in block.layers]
    return element("ol", layers, class_="graph", aria_label="The steps in their order")


def _box(box: blocks.Box) -> Html:
    skipped = " skipped" if box.seconds is None else ""
    mark = element("span", MARKS.get(box.status, "…"), aria_hidden="true")
    took = box.status if box.seconds is None else f"{box.seconds:.1f} s"
    content = [element("span", box.name, class_="name"), element("span", mark, " ", took, class_="state")]
    return element("div", content, class_=f"box {TONES.get(box.status, 'quiet')}{skipped}")


def _timeline(block: blocks.Timeline, level: int) -> Html:
    head = [
        *(_column("Step"), _column("Status"), _column("Seconds", "n")),
        *(_column("From start to end"), _column("What it said")),
    ]
    label = "When each step ran"
    rows = [_timeline_row(box) for box in block.boxes]
    return _scrolled(label, f"{label}, in {block.seconds:.1f} s", head, rows, "timeline told")


def _timeline_row(box: blocks.Box) -> Html:
    ran = box.seconds is not None
    style = f"left: {100 * box.start:.2f}%; width: {100 * box.width:.2f}%"
    bar = element("div", element("span", style=style) if ran else None, class_="bar", aria_hidden="true")
    cells = [
        element("th", box.name, scope="row", role="rowheader"),
        element("td", box.status, role="cell", class_=TONES.get(box.status, "quiet")),
        element("td", f"{box.seconds:.1f}" if ran else NONE, role="cell", class_="n"),
        element("td", bar, role="cell"),
        element("td", box.told, role="cell", class_="wide"),
    ]
    return element("tr", cells, role="row")


def _events(block: blocks.Events, level: int) -> Html:
    return element("ol", [_event(event, level) for event in block.events], class_="events")


def _event(event: blocks.Event, level: int) -> Html:
    mark = element("span", TONE_MARKS.get(event.tone, "■"), class_="mark", aria_hidden="true")
    content = [
        element("p", element("time", event.shown, datetime=event.time), " · ", event.what, class_="when"),
        element(f"h{level}", mark, " ", event.title),
        element("p", event.text) if event.text else None,
    ]
    return element("li", content, class_=event.tone or "quiet")


def _costs(block: blocks.Costs, level: int) -> Html:
    ratios = block.data["ratios"]
    slider = element(
        "input", id="ratio", type="range", min=0, max=len(ratios) - 1, step=1, value=ratios.index(1.0)
    )
    controls = [
        element("label", "A missed positive costs", for_="ratio"),
        slider,
        element("output", for_="ratio", id="told"),
    ]
    data = json.dumps(block.data, sort_keys=True).replace("<", "\\u003c")
    content = [
        _figure(block.figure, level),
        element("div", controls, class_="slider", hidden=True),
        element("script", Html(data), type="application/json", id="cost-data"),
        _table(block.table),
    ]
    return element("div", content, id="costs")


Drawn = Callable[[Any, int], Html]
DRAWN: dict[str, Drawn] = {
    "table": _table,
    "figure": _figure,
    "figures": _figures,
    "key": _key,
    "facts": _facts,
    "points": _points,
    "links": _links,
    "text": lambda block, level: element("p", block.text),
    "heading": lambda block, level: element(f"h{level}", block.text),
    "listing": _listing,
    "more": _more,
    "graph": _graph,
    "timeline": _timeline,
    "events": _events,
    "costs": _costs,
}
