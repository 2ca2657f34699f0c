"""Numbers and names as a reader takes them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ml_pipeline.names import BETTER_HIGH

NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
ROUNDING = 1e-12  # a smaller number is what rounding left of zero
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
# What is measured of a column that may have drifted -> its name, and what it says in a few words.
STATISTICS = {
    "psi": ("PSI", "population stability index: how far the shares of all bins have moved, 0 for not at all"),
    "ks": ("KS", "Kolmogorov-Smirnov: the largest difference between the shares of rows up to any value"),
    "chi_squared": ("chi-squared", "test statistic of the difference between the counts of the categories"),
    "l_infinity": ("L-infinity", "the largest difference between the shares of any category"),
    "missing": ("missing", "how far the share of rows without a value has moved"),
    "unknown": ("unknown", "share of rows with a category that the training data did not have"),
}
# Metric -> its name, and what it says in a few words.
METRICS = {
    "auc": ("ROC AUC", "chance that a positive row scores above a negative one"),
    "pr_auc": ("PR AUC", "average precision over all thresholds"),
    "logloss": ("log loss", "how far the scores are from the labels; sure and wrong costs most"),
    "brier": ("Brier score", "mean squared distance of score and label"),
    "accuracy": ("accuracy", "share of rows that are labelled right"),
    "precision": ("precision", "share of predicted positives that are positive"),
    "recall": ("recall", "share of positives that are found"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "precision_macro": ("precision, macro", "mean over classes, each counting alike"),
    "recall_macro": ("recall, macro", "mean over classes, each counting alike"),
    "f1_macro": ("F1, macro", "mean over classes, each counting alike"),
    "precision_weighted": ("precision, weighted", "mean over classes by their rows"),
    "recall_weighted": ("recall, weighted", "mean over classes by their rows"),
    "f1_weighted": ("F1, weighted", "mean over classes by their rows"),
    "rmse": ("RMSE", "typical size of an error, large ones counting more"),
    "mae": ("MAE", "mean size of an error"),
    "r2": ("R²", "share of the label's variance that is explained"),
}


def number(value: float | None) -> str:
    """Four significant digits, thousands separated; a dash where there is none."""
    if value is None:
        return NONE
    size = abs(value)
    if size < ROUNDING:
        return "0"
    if size >= 1e15 or size < 1e-4:
        return f"{value:.2e}".replace("-", MINUS)
    whole = value == int(value)
    digits = 0 if whole or size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 4 if size < 1 else 3
    return f"{value:,.{digits}f}".replace("-", MINUS)


def brief(value: float | None) -> str:
    """Three significant digits at most, thousands separated; a dash where there is none."""
    if value is None:
        return NONE
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{0 if abs(value) < ROUNDING else value:.3g}"
    return text.replace("-", MINUS)


def signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value >= ROUNDING else text


def share(value: float) -> str:
    """As percent, with a decimal where it tells something."""
    percent = 100 * value
    digits = 0 if percent in (0, 100) else 2 if percent < 1 or 99 < percent < 100 else 1
    return f"{percent:.{digits}f}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """A difference of shares."""
    return f"{100 * abs(value):.1f} percentage points"


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(text: str | None) -> str:
    """A time of execution.json to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC" if text else NONE


def size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    found = list(names)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else ""


def categories(new: Mapping[str, Any]) -> str:
    """`moon (301 rows), mars (1 row) and 3 more`. new: categories of a column, as drift.json has them."""
    told = [f"{short(each['value'])} ({plural(each['rows'], 'row')})" for each in new["first"]]
    more = new["distinct"] - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def short(text: str, limit: int = 28) -> str:
    """The text on one line, cut to the limit."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def metric(name: str) -> str:
    return METRICS.get(name, (name, ""))[0]


def side(name: str) -> str:
    """Which way a metric keeps its bound."""
    errors = (each for table in BETTER_HIGH.values() for each, high in table.items() if not high)
    return "at most" if name in errors else "at least"


def ordinal(count: int) -> str:
    """`first` to `tenth`, then `11th`."""
    if count <= len(ORDINALS):
        return ORDINALS[count - 1]
    teens = 11 <= count % 100 <= 13
    return f"{count}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th')}"


def ended(text: str) -> str:
    """As a sentence ends."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def upper(text: str) -> str:
    """With a capital, as a sentence begins."""
    return text[:1].upper() + text[1:]
