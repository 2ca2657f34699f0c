"""Plots as inline SVG whose colours are the page's CSS variables, so that they follow light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml_pipeline.report.words import short

# Colours that matplotlib writes -> the page's variables. No data are drawn in these colours otherwise.
INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006", "#0a0007", "#0a0008")
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--paper"}
VARIABLES |= {colour: f"--series-{place}" for place, colour in enumerate(SERIES, start=1)}
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))  # series differ without colour too
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # names may hold dollar signs
}
WIDE, HALF = (8.6, 3.6), (5.4, 3.9)  # inches of 72 units: drawn at about the size they are shown at
LEGEND = {"handlelength": 1.8, "borderaxespad": 0.2, "labelspacing": 0.3}

MOVED = ("curve", "area")  # ids that the page's script looks for

Draw = Callable[[Axes], None]


def svg(draw: Draw, size: tuple[float, float], prefix: str) -> str:
    """Markup of one plot. prefix: makes its ids the only ones of the page."""
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has it
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _page_markup(buffer.getvalue(), prefix)


def _page_markup(text: str, prefix: str) -> str:
    """The svg element with the page's colours and font, without what only a file of its own needs."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(
        r'(<svg)[^>]*?(viewBox="[^"]*")[^>]*>', r'\1 \2 aria-hidden="true" focusable="false">', text, count=1
    )
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used or m[1] in MOVED else "", text
    )
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(
        r"#0[0-9a-f]{5}\b", lambda m: f"var({VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], text
    )
    text = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", text)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.S)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), text)
    return text.replace("\n", " ")


def lines(
    curves: Mapping[str, np.ndarray],
    x: str,
    y: str,
    diagonal: bool = False,
    marks: Mapping[str, tuple[float, float]] | None = None,
    unit: bool = True,
) -> Draw:
    """Curves of shape (2, n) by name. marks: points with their words. unit: both axes are shares."""

    def draw(axes: Axes) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        for place, (name, curve) in enumerate(curves.items()):
            axes.plot(*curve, label=short(name), **series(place))
        for name, point in (marks or {}).items():
            axes.plot(
                *point, "o", color=INK, markersize=7, markerfacecolor=PAPER, markeredgewidth=2, label=name
            )
        if unit:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        axes.set(xlabel=x, ylabel=y)
        if len(curves) > 1 or marks:
            axes.legend(**LEGEND)

    return draw


def series(place: int) -> dict[str, Any]:
    return {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}


def reliability(found: Mapping[str, Any], x: str, y: str) -> Draw:
    """Calibration of one or two models, with intervals."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="perfect")
        for place, (name, bins) in enumerate(found.items()):
            reach = np.clip([bins.observed - bins.low, bins.high - bins.observed], 0, None)
            axes.errorbar(
                bins.score,
                bins.observed,
                reach,
                marker="o",
                markersize=5,
                elinewidth=1.2,
                label=short(name),
                **series(place),
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xlabel=x, ylabel=y)
        axes.legend(**LEGEND)

    return draw


def histogram(groups: Mapping[str, np.ndarray], x: str, unit: bool, mark: tuple[str, float] | None) -> Draw:
    """Shares of the rows of each group by value."""

    def draw(axes: Axes) -> None:
        everything = np.concatenate(list(groups.values()))
        low, high = (0, 1) if unit else np.quantile(everything, [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1, 31)
        for place, (name, values) in enumerate(groups.items()):
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
            axes.stairs(counts, edges, fill=True, color=SERIES[place], alpha=0.25)
            axes.stairs(counts, edges, label=short(name), linewidth=1.8, **series(place))
        if mark:
            axes.axvline(mark[1], color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=mark[0])
        axes.set(xlabel=x, ylabel="share of rows")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if len(groups) > 1 or mark:
            axes.legend(**LEGEND)

    return draw


def scatter(
    x: np.ndarray,
    y: np.ndarray,
    labels: tuple[str, str],
    trend: tuple[np.ndarray, np.ndarray],
    diagonal: bool,
) -> Draw:
    """Points with the mean of y along x, and the line that a perfect model would give."""

    def draw(axes: Axes) -> None:
        axes.plot(x, y, ".", color=SERIES[0], alpha=0.35, markersize=5, markeredgewidth=0)
        ends = [min(x.min(), y.min()), max(x.max(), y.max())] if diagonal else [x.min(), x.max()]
        axes.plot(
            ends,
            ends if diagonal else [0, 0],
            color=INK,
            linewidth=1.2,
            linestyle=(0, (4, 3)),
            label="perfect",
        )
        axes.plot(*trend, color=SERIES[1], marker="o", markersize=4, label="mean")
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.legend(**LEGEND)

    return draw


def bars(names: Sequence[str], values: Sequence[float], x: str) -> Draw:
    """Horizontal bars, the first on top."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, color=SERIES[0], height=0.68)
        axes.set_yticks(places, [short(name, 24) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x)

    return draw


def learning(curve: Mapping[str, Mapping[str, Any]], metric: str, best: int, places: np.ndarray) -> Draw:
    def draw(axes: Axes) -> None:
        for place, split in enumerate(("train", "validation")):
            values = np.array(curve[split][metric])
            axes.plot(places + 1, values[places], label=split, **series(place))
        axes.axvline(
            best + 1, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=f"kept: round {best + 1}"
        )
        axes.set(xlabel="round (tree)", ylabel=metric)
        axes.legend(**LEGEND)

    return draw


def dependence(feature: Mapping[str, Any], outputs: Sequence[str], span: tuple[float, float], y: str) -> Draw:
    """Mean prediction along one feature. span: of the y axis, shared by the features."""

    def draw(axes: Axes) -> None:
        numeric = feature["kind"] == "number"
        for place, (output, average) in enumerate(zip(outputs, feature["average"], strict=True)):
            x = np.array(feature["values"]) if numeric else np.arange(len(feature["values"]))
            axes.plot(x, average, marker="o", markersize=4, label=short(output), **(series(place)))
            if not numeric:
                axes.lines[-1].set_linestyle("none")
                axes.lines[-1].set_markersize(8)
        if not numeric:
            axes.set_xticks(range(len(feature["values"])), [short(value, 14) for value in feature["values"]])
            axes.tick_params(axis="x", rotation=35 if len("".join(feature["values"])) > 30 else 0)
            axes.set_xlim(-0.5, len(feature["values"]) - 0.5)
            for label in axes.get_xticklabels() if len("".join(feature["values"])) > 30 else []:
                label.set_horizontalalignment("right")
        axes.set(xlabel=short(feature["name"], 40), ylabel=y, ylim=span)
        if len(outputs) > 1:
            axes.legend(**LEGEND)

    return draw


def parallel(
    names: Sequence[str], values: np.ndarray, shown: np.ndarray, scores: np.ndarray, best: int, y: str
) -> Draw:
    """One line a trial through its hyperparameters to its score.

    values: shape (trials, names), scaled to 0..1. shown: the ends of each axis, shape (2, names), in words.
    scores: scaled to 0..1, the better the higher.
    """

    def draw(axes: Axes) -> None:
        table = np.column_stack([values, scores])
        for trial in np.argsort(scores):
            chosen = trial == best
            axes.plot(
                table[trial],
                color=SERIES[1] if chosen else SERIES[0],
                linewidth=3 if chosen else 1.5,
                alpha=1.0 if chosen else 0.25 + 0.55 * float(scores[trial]),
                marker="o",
                markersize=6 if chosen else 3.5,
                zorder=3 if chosen else 2,
                label="best trial" if chosen else None,
            )
        columns = [*names, y]
        axes.set_xticks(range(len(columns)), [short(name, 18) for name in columns])
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        for place in range(len(columns)):
            axes.vlines(place, 0, 1, color=MUTED, linewidth=0.8, zorder=1)
            for end, text in zip((-0.06, 1.06), shown[:, place], strict=True):
                axes.text(place, end, text, ha="center", va="center", color=MUTED, fontsize=9.5)
        axes.set(yticks=[], ylim=(-0.13, 1.13), xlim=(-0.4, len(columns) - 0.6))
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)

    return draw


def cost(threshold: np.ndarray, relative: np.ndarray, chosen: tuple[float, float], top: float) -> Draw:
    """Relative cost by threshold. The page's script redraws the curve for other costs."""

    def draw(axes: Axes) -> None:
        axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="without the model")
        axes.plot(threshold, np.minimum(relative, top), color=SERIES[0], gid="curve")
        axes.patch.set_gid("area")
        axes.axvline(
            chosen[0], color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="the model's threshold"
        )
        axes.set(xlim=(0, 1), ylim=(0, top), xlabel="threshold", ylabel="relative cost")
        axes.legend(loc="upper right", **LEGEND)

    return draw
