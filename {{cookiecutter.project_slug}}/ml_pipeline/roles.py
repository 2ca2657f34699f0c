"""What each column of a file is for, which problem its target poses and how to split it; with the reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml_pipeline.checks import ALMOST_NUMERIC, FEW_WORDS, LABEL
from ml_pipeline.columns import Columns
from ml_pipeline.errors import InputError
from ml_pipeline.facets import MAX_NUMERIC_GROUPS
from ml_pipeline.features import canonical_text, is_number
from ml_pipeline.settings import Data

MAX_CLASSES = 100
MAX_COUNTED_CLASSES = 20  # whole numbers from 0 or 1 up to here are classes, others an amount
NEARLY_UNIQUE = 0.95  # share of a text column's values that differ, from which they say which row it is
REPEATING = 0.01  # share of rows with an id that others have too, from which it is a key
MIN_KEYS, MIN_KEY_SHARE = 20, 0.02  # a column named like an id has fewer values than these: it is a code
MAX_CODES = 1000
PROSE_WORDS = 6  # on average in a cell, from which a text is prose
LONG_NUMBER = 100_000  # an account number is larger
SHOWN = 8  # labels a reason lists
POSITIVE_WORDS = ("yes", "y", "true", "t", "positive", "pos", "+", ">50k")
ID_WORDS = {"id", "ids", "uuid", "guid", "key", "identifier", "email"}
ROW_WORDS = {"index", "row", "rownum", "rownumber", "no", "nr", "number", "num"}
CODE_WORDS = ID_WORDS | {"code", "zip", "zipcode", "postal", "postcode", "plz", "sku", "type", "category"}
CODE_WORDS |= {"region", "country", "district", "branch", "department", "dept", "channel", "status"}
_DAY = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
_DAY_IN_WORDS = r"\d{1,2}[-. ]{1,2}[A-Za-z]{3,9}[-., ]{1,2}(\d{4}|\d{2})|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
DATE = re.compile(rf"({_DAY}|{_DAY_IN_WORDS})(,?[T ]\d{{1,2}}:\d{{2}}.*)?")
# Numbers with more to them than float() takes: thousands, decimal commas, currencies, percents, parentheses.
_AMOUNT = r"(\d{1,3}([,' ]\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+|\d+,\d+|\d*\.?\d+)"
DECORATED = re.compile(rf"\(?[-+]? ?[$€£¥]? ?[-+]?{_AMOUNT} ?[%$€£¥kKmM]?\)?")
PANDAS_INDEX_NAME = re.compile(r"Unnamed: \d+")


@dataclass(frozen=True)
class Wish:
    """What the user names; "" or () leaves it to be found out."""

    target: str
    problem: str = ""
    positive: str = ""
    facets: tuple[str, ...] = ()
    group: str = ""
    ids: tuple[str, ...] = ()
    time: str = ""

    @property
    def named(self) -> set[str]:
        """Columns whose role is not to be found out."""
        return {self.target, *self.facets, self.group, *self.ids, self.time} - {""}


@dataclass(frozen=True)
class Finding:
    """A value for a key of settings.toml, or an entry of its list, and why."""

    key: str
    value: object
    why: str


def problem(columns: Columns, wish: Wish) -> Finding:
    """Raises InputError for a target that nothing can be learned about, or that does not fit the wish."""
    labels = columns.labels.dropna()
    distinct = sorted(labels.unique().tolist())
    numbers = columns.frame[wish.target] if columns.frame[wish.target].dtype.kind == "f" else None
    _refuse_unlearnable(labels, distinct, numbers, wish)
    if wish.problem:
        return Finding("problem", wish.problem, "as you say")
    if len(distinct) == 2:
        return Finding("problem", "binary", f"{wish.target} has 2 labels: {', '.join(distinct)}")
    if numbers is None or wish.positive:
        return Finding(
            "problem", "multiclass", f"{wish.target} has {len(distinct)} labels: {listed(distinct)}"
        )
    if (numbers.dropna() % 1 != 0).any():
        return Finding("problem", "regression", f"{wish.target} has decimals, {_range(numbers)}")
    lowest = int(numbers.min())
    counted = lowest in (0, 1) and numbers.max() - lowest + 1 == len(distinct)
    if counted and len(distinct) <= MAX_COUNTED_CLASSES:
        why = f"{wish.target} counts {len(distinct)} classes from {lowest}; an amount: --problem regression"
        return Finding("problem", "multiclass", why)
    why = f"{wish.target} has {len(distinct)} whole numbers, {_range(numbers)}; classes: --problem multiclass"
    return Finding("problem", "regression", why)


def _refuse_unlearnable(
    labels: pd.Series, distinct: list[str], numbers: pd.Series | None, wish: Wish
) -> None:
    place = f"target {wish.target}"
    if len(distinct) < 2:
        has = f"has {distinct[0]!r} in every row" if distinct else "has no value in any row"
        raise InputError(f"{place} {has}: there is nothing to learn; name another --target")
    if wish.problem == "regression" or (numbers is None and len(distinct) > FEW_WORDS):
        _refuse_spoilt(labels, numbers, place)
    if wish.problem == "regression" and numbers is None:
        raise InputError(f"{place} holds texts, a regression predicts a number: {listed(distinct)}")
    if wish.problem == "binary" and len(distinct) > 2:
        raise InputError(f"{place} has {len(distinct)} labels, a binary problem has 2: {listed(distinct)}")
    by_class = numbers is None or wish.positive or wish.problem == "multiclass"
    if wish.problem != "regression" and by_class and len(distinct) > MAX_CLASSES:
        raise InputError(
            f"{place} has {len(distinct):,} labels, at most {MAX_CLASSES} are classes: {listed(distinct)}; "
            f"name another --target, or join rare labels"
        )
    if wish.positive and wish.problem != "regression" and canonical_text(wish.positive) not in distinct:
        raise InputError(f"{place} has no label {wish.positive!r}; --positive is one of {listed(distinct)}")


def _refuse_spoilt(labels: pd.Series, numbers: pd.Series | None, place: str) -> None:
    words = [word for word in labels.unique() if not is_number(word)]
    if numbers is None and not labels.isin(words).mean() > 1 - ALMOST_NUMERIC:
        raise InputError(
            f"{place} holds numbers, but also {listed(words)}: correct these cells, "
            f"or name the texts in missing (settings.toml, [data])"
        )
    if numbers is None and _are_decorated(labels):
        examples = listed(sorted(words))
        raise InputError(f"{place} holds numbers that cannot be read, {examples}: write them as 1234.5")


def positive(columns: Columns, wish: Wish, of_problem: str) -> Finding:
    """The label counted as 1: named, or the one that says so, or the rarest. "" for a regression."""
    if of_problem == "regression":
        return Finding("positive", "", "")
    if wish.positive:
        return Finding("positive", canonical_text(wish.positive), "as you say")
    counts = columns.labels.value_counts().sort_index()
    if of_problem == "multiclass" and not wish.facets:
        return Finding("positive", "", "needed with a --facet only")
    for label in counts.index if of_problem == "binary" else ():
        if label.lower().rstrip(".") in POSITIVE_WORDS or (label == "1" and {"0", "-1"} & {*counts.index}):
            return Finding("positive", label, f"reads as the positive one; {_shares(counts)}")
    return Finding("positive", counts.idxmin(), f"the rarest label: {_shares(counts)}; else --positive")


def _shares(counts: pd.Series) -> str:
    shares = counts / counts.sum()
    return ", ".join(f"{label} {share:.1%}" for label, share in shares.items())


def column_roles(columns: Columns, wish: Wish, data: Data, total: int) -> Iterator[Finding]:
    """Columns that are no features (ids, exclude) or not of the kind they look like (kinds).

    data: what settings.toml excludes, or gives a kind, stays so. total: rows of the whole file.
    """
    yield from (Finding("ids", name, "as you say") for name in wish.ids)
    for place, name in enumerate(columns.frame.columns, 1):
        if name in wish.named - {wish.group}:
            continue
        found = _role(columns, name, place, total, name == wish.group)
        if name in data.exclude and not (found and found.key == "exclude"):
            yield Finding("exclude", name, "settings.toml has it there already")
        elif name in data.kinds and not (found and found.key == "kinds"):
            yield Finding("kinds", name, f"settings.toml says {data.kinds[name]} already")
        elif found:
            yield found


def _role(columns: Columns, name: str, place: int, total: int, is_group: bool) -> Finding | None:
    column = columns.frame[name]
    found = _useless(name, column) or _index(name, place, column, total)
    if not found and not is_group:
        found = _identifier(name, column, total) or _text_without_use(name, column)
    return found or _code(name, column, name in columns.coded)


def _useless(name: str, column: pd.Series) -> Finding | None:
    if column.isna().all():
        return Finding("exclude", name, "no value in any row")
    if column.nunique() == 1 and (column.dtype.kind == "f" or column.notna().all()):
        rows = "in every row" if column.notna().all() else "wherever there is one"
        return Finding("exclude", name, f"the same value {rows}: {_cell(column.dropna().iloc[0])}")
    if column.dtype.kind != "f" and column.nunique() > FEW_WORDS and _are_decorated(column):
        word = next(word for word in column.dropna() if not is_number(word))
        return Finding("exclude", name, f"numbers that cannot be read, such as {word}: write them as 1234.5")
    if name == LABEL:
        return Finding("exclude", name, "the name of the target in what Process writes; rename it to keep it")
    return None


def _index(name: str, place: int, column: pd.Series, total: int) -> Finding | None:
    nameless = name == f"column_{place}" or PANDAS_INDEX_NAME.fullmatch(name)
    if nameless and _counts_rows(column, total):
        return Finding("exclude", name, "a column without a name that counts the rows: pandas' index")
    return None


def _identifier(name: str, column: pd.Series, total: int) -> Finding | None:
    """An id if a value says which row, or whose, it is; numbers only if their name or form says so, too."""
    distinct, present, tokens = column.nunique(), int(column.notna().sum()), _tokens(name)
    many = distinct >= max(MIN_KEYS, MIN_KEY_SHARE * present)
    if column.dtype.kind != "f":
        if many and distinct >= NEARLY_UNIQUE * present and not _is_prose(column) and not _is_dates(column):
            key = "ids" if column.notna().all() else "exclude"
            return Finding(key, name, f"{_share(distinct, present)} of its texts differ")
    elif (column.dropna() % 1 != 0).any():
        return None
    elif distinct == len(column) and distinct >= MIN_KEYS:
        if tokens & (ID_WORDS | ROW_WORDS):
            return Finding("ids", name, "named like an id, another number in every row")
        if _counts_rows(column, total):
            return Finding("ids", name, "counts the rows")
        digits = column.astype(np.int64).astype(str).str.len()
        if column.min() >= LONG_NUMBER and digits.nunique() == 1:
            return Finding("ids", name, f"another number of {digits.iloc[0]} digits in every row")
    if many and tokens & ID_WORDS and column.notna().all():
        return Finding("ids", name, f"named like an id, {distinct:,} values in {present:,} rows")
    return None


def _text_without_use(name: str, column: pd.Series) -> Finding | None:
    if column.dtype.kind == "f":
        return None
    if _is_dates(column):
        return Finding(
            "exclude",
            name,
            "dates: a new one is unknown to the model; make an age or a month of it, or --time",
        )
    if column.nunique() > FEW_WORDS and _is_prose(column):
        return Finding("exclude", name, "prose: make numbers or categories of it")
    return None


def _code(name: str, column: pd.Series, begins_with_zero: bool) -> Finding | None:
    if begins_with_zero:
        return Finding("kinds", name, "digits that begin with 0 are codes, not amounts")
    whole = column.dtype.kind == "f" and not (column.dropna() % 1 != 0).any()
    if whole and 2 < column.nunique() <= MAX_CODES and _tokens(name) & CODE_WORDS:
        return Finding("kinds", name, f"named like a code, {column.nunique()} whole numbers: a category")
    return None


def facet_value(columns: Columns, name: str) -> Finding | None:
    """Where a numeric facet of many values is cut in two. Raises InputError for a facet of one group."""
    column = columns.frame[name]
    if column.nunique(dropna=False) < 2:
        raise InputError(f"facet {name} has {_cell(column.iloc[0])} in every row: no groups to compare")
    if column.dtype.kind != "f" or column.nunique() <= MAX_NUMERIC_GROUPS:
        return None
    median = float(column.quantile(0.5, "lower"))
    cut = median if median < column.max() else float(column[column < column.max()].max())
    cut = int(cut) if cut.is_integer() else cut
    why = f"{name} has {column.nunique():,} numbers: compares rows above the median {cut:g} with the others"
    return Finding("facet_values", {name: [cut]}, why)


def split(columns: Columns, wish: Wish, found: list[Finding], of_problem: str, total: int) -> list[Finding]:
    """Method, key and time of [split]."""
    inferred = [str(each.value) for each in found if each.key == "ids"]
    key = next((name for name in wish.ids if _repeats(columns.frame[name], total) > 0), "")
    repeating = [name for name in inferred if _repeats(columns.frame[name], total) > REPEATING]
    key = key or min(repeating, key=lambda name: columns.frame[name].nunique(), default="")
    if wish.time:
        method, why = "ordered", f"validation and test rows are the newest by {wish.time}"
    elif key:
        method, why = "by_key", f"{key} repeats: all rows of one stay in one split"
    elif of_problem == "regression":
        method, why = "random", "a regression has no classes to keep the shares of"
    else:
        method, why = "stratified", "each split keeps the shares of the classes"
    return [
        Finding("method", method, why),
        Finding("key", key if method == "by_key" else "", ""),
        Finding("time", wish.time, ""),
    ]


def _repeats(column: pd.Series, total: int) -> float:
    """Share of the file's rows whose value others have too, estimated; 0 if a value is missing."""
    if column.isna().any():
        return 0.0
    return float(column.duplicated(keep=False).mean()) * total / len(column)


def _counts_rows(column: pd.Series, total: int) -> bool:
    if column.dtype.kind != "f" or column.isna().any() or (column % 1 != 0).any():
        return False
    return column.nunique() == len(column) and column.max() - column.min() < 1.2 * total


def _is_dates(column: pd.Series) -> bool:
    return column.dtype.kind != "f" and _matching(column, DATE)


def _matching(column: pd.Series, form: re.Pattern[str]) -> bool:
    words = column.dropna().unique()
    return len(words) > 0 and sum(form.fullmatch(word) is not None for word in words) > 0.9 * len(words)


def _are_decorated(column: pd.Series) -> bool:
    """Whether it holds numbers of which more than a few are written so that none can read them."""
    words = column.dropna().unique()
    return _matching(column, DECORATED) and sum(map(is_number, words)) < ALMOST_NUMERIC * len(words)


def _is_prose(column: pd.Series) -> bool:
    return float(column.dropna().str.count(" ").mean()) + 1 >= PROSE_WORDS


def _tokens(name: str) -> set[str]:
    """Words of a name: customerID, customer_id and Customer Id have the same."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return set(re.split(r"[\W_]+", parted.lower()))


def _range(numbers: pd.Series) -> str:
    return f"{numbers.min():g} to {numbers.max():g}"


def _share(part: int, whole: int) -> str:
    return "all" if part == whole else f"{part / whole:.1%}"


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def listed(words: list[str]) -> str:
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return ", ".join(map(str, words[:SHOWN])) + more
