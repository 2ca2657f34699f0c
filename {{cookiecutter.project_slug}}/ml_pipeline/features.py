"""FeatureSpec: fitted on the training split, saved as JSON, applied in training and in serving."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ml_pipeline import threads

if TYPE_CHECKING:
    from ml_pipeline.settings import Data

VERSION = 1
UNKNOWN = -1  # code of a category that the training split does not hold
MISSING = -2  # code of a category cell without a value
TINY_SCALE = 10 * np.finfo(np.float64).eps  # a smaller one is no scale: scikit-learn's RobustScaler takes 1
_WHOLE = re.compile(r"(-?\d+)\.0+")
_SCALARS = {str, bool, int, float, type(None)}


class SpecError(ValueError):
    """A feature specification that cannot be read, or training data that none can be fitted on."""


class RowError(ValueError):
    """A cell that cannot be read. row counts from 1."""

    def __init__(self, row: int, column: str, problem: str) -> None:
        super().__init__(f"row {row}, column {column}: {problem}")
        self.row, self.column, self.problem = row, column, problem


@dataclass(frozen=True)
class Texts:
    """A text column as its distinct words (objects, str or None) and each row's place among them."""

    words: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> str | None:
        return self.words[self.places[row]]

    def counts(self) -> dict[str, int]:
        """How many rows have each word, without those that none has."""
        counts = np.bincount(self.places, minlength=len(self.words)).tolist()
        pairs = zip(self.words.tolist(), counts, strict=True)
        return {word: count for word, count in pairs if count and word is not None}


Column = np.ndarray | Texts


@dataclass(frozen=True)
class Number:
    """A numeric feature: missing -> median, then (value - center) / scale."""

    kind: ClassVar[str] = "number"
    name: str
    median: float
    center: float
    scale: float

    def encode(self, values: np.ndarray, missing: Iterable[str]) -> np.ndarray:
        """float64, shape (n,). Raises RowError for a cell that is neither missing nor a finite number."""
        numbers = parse_numbers(values, missing, self.name)
        numbers[np.isnan(numbers)] = self.median
        numbers -= self.center
        numbers /= self.scale
        return numbers


@dataclass(frozen=True)
class Category:
    """A categorical feature: the place in `categories`, UNKNOWN or MISSING."""

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]

    def encode(self, values: Column, missing: Iterable[str]) -> np.ndarray:
        """float64, shape (n,). Raises RowError for a cell that is no scalar."""
        if isinstance(values, Texts):
            return self.encode(values.words, missing)[values.places]
        places = {category: float(place) for place, category in enumerate(self.categories)}
        texts = parse_texts(values, missing, self.name, self.categories)
        codes = {text: MISSING if text is None else places.get(text, UNKNOWN) for text in set(texts)}
        return np.fromiter(map(codes.__getitem__, texts), np.float64, len(texts))


Feature = Number | Category
KINDS: dict[str, type[Number] | type[Category]] = {"number": Number, "category": Category}


@dataclass(frozen=True)
class Target:
    """The column to predict. classes: sorted, for binary the positive one last; () for regression."""

    name: str
    problem: Literal["binary", "multiclass", "regression"]
    classes: tuple[str, ...]
    positive: str


@dataclass(frozen=True)
class FeatureSpec:
    """What turns raw columns into the model's input. missing: texts that mean "no value", beside ""."""

    ids: tuple[str, ...]
    features: tuple[Feature, ...]
    target: Target
    missing: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def encode(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Model input, float32, shape (n, features).

        columns: by name, shape (n,): numbers, or objects (text, None). Categories that were not in the
        training data become -1, missing ones -2. Raises KeyError for an absent column, RowError for a cell
        that cannot be read.
        """
        first = columns[self.names[0]]
        encoded = np.empty((len(first), len(self.features)), np.float32)
        with np.errstate(over="ignore"):
            for place, feature in enumerate(self.features):
                encoded[:, place] = feature.encode(columns[feature.name], self.missing)
        self._refuse_infinite(encoded)
        return encoded

    def encode_label(self, labels: Column) -> np.ndarray:
        """float64, shape (n,): place of the class (binary: 1 = positive); for regression the number itself.

        Raises RowError for a label that is missing or none of the classes.
        """
        name = self.target.name
        if self.target.problem == "regression":
            numbers = parse_numbers(labels, self.missing, name)
            return _all_known(numbers, np.isnan(numbers), labels, name, "a number")
        codes = Category(name, self.target.classes).encode(labels, self.missing)
        return _all_known(codes, codes < 0, labels, name, f"one of {', '.join(self.target.classes)}")

    def decode(self, places: np.ndarray) -> np.ndarray:
        """Class labels (str objects, shape (n,)) from their places."""
        return np.array(self.target.classes, dtype=object)[places.astype(np.int64)]

    def to_json(self) -> str:
        features = [{"kind": feature.kind} | asdict(feature) for feature in self.features]
        document = {"version": VERSION} | asdict(self) | {"features": features}
        return json.dumps(document, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> FeatureSpec:
        """The specification in the text. Raises SpecError for another version and anything else."""
        try:
            document = json.loads(text)
            version = document.pop("version")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise SpecError("not a feature specification: no JSON object with a version") from None
        if version != VERSION:
            raise SpecError(f"feature specification version must be {VERSION}, got {version!r}")
        try:
            return _from_document(document)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SpecError(f"not a feature specification: {type(error).__name__} {error}") from None

    def _refuse_infinite(self, encoded: np.ndarray) -> None:
        if not np.isfinite(encoded).all():
            rows, places = np.nonzero(~np.isfinite(encoded))
            raise RowError(int(rows[0]) + 1, self.names[places[0]], "the number is too large for the model")


def fit(columns: Mapping[str, Column], data: Data) -> FeatureSpec:
    """Specification of the training rows' features: all but target, ids, exclude and, unless told, facets.

    columns: by name, each taken once: numbers, or texts with None for missing.
    Raises SpecError when no feature is left or one has no value at all.
    """
    left_out = {data.target, *data.ids, *data.exclude, *(() if data.facets_as_features else data.facets)}
    names = [name for name in columns if name not in left_out]
    if not names:
        raise SpecError(
            f"no column is left as a feature (settings.toml, [data]); left out: {', '.join(sorted(left_out))}"
        )
    features = threads.mapped(lambda name: _fit_feature(name, columns[name], data.missing), names)
    target = _fit_target(columns[data.target], data)
    return FeatureSpec(data.ids, tuple(features), target, tuple(data.missing))


def parse_numbers(values: np.ndarray, missing: Iterable[str], column: str) -> np.ndarray:
    """float64 with NaN for missing, shape (n,), from numbers or objects (numbers, text, None).

    Raises RowError for a text that is no number, a boolean and an infinity.
    """
    markers = frozenset(missing) | {""}
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
    else:
        numbers = np.empty(len(values))
        for place, value in enumerate(values.tolist()):
            try:
                numbers[place] = _number(value, markers)
            except (TypeError, ValueError, OverflowError):
                raise RowError(place + 1, column, f"{value!r} is not a number") from None
    for marker in markers:
        if is_number(marker):
            numbers[numbers == float(marker)] = np.nan
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise RowError(int(infinite[0]) + 1, column, f"{numbers[infinite[0]]} is not a finite number")
    return numbers


def parse_texts(
    values: np.ndarray, missing: Iterable[str], column: str, known: Iterable[str] = ()
) -> list[str | None]:
    """Canonical texts, None for missing. Raises RowError for a list or an object.

    known: texts to be met; they tell how true and false are spelled (True, TRUE) when the cells are booleans.
    """
    markers = frozenset(map(canonical_text, missing)) | {""}
    spelling = {text.lower(): text for text in known if text.lower() in ("true", "false")}
    cells = values.tolist()
    types = set(map(type, cells))
    for place, cell in enumerate(cells if not types <= _SCALARS else ()):
        if not isinstance(cell, tuple(_SCALARS)):
            raise RowError(place + 1, column, f"{cell!r} is not a text")
    if len(types & {bool, int, float}) > 1:  # 1 == 1.0 == True: a table of distinct cells would mix them up
        return [_text(cell, markers, spelling) for cell in cells]
    distinct = {cell: _text(cell, markers, spelling) for cell in set(cells)}
    return list(map(distinct.__getitem__, cells))


def canonical_text(text: str) -> str:
    """The text with single spaces, and whole numbers without `.0`: " 1.0" in one file is "1" in another."""
    text = " ".join(text.split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def is_number(text: str) -> bool:
    """Whether the text reads as a number, infinities and NaN included."""
    try:
        return "_" not in text and float(text) is not None
    except ValueError:
        return False


def _number(cell: object, markers: frozenset[str]) -> float:
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        text = cell.strip()
        if text in markers:
            return math.nan
        if "_" in text:  # float() would take 1_000, no other reader of CSV does
            raise ValueError
        return float(text)
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise TypeError
    return float(cell)


def _text(cell: object, markers: frozenset[str], spelling: Mapping[str, str]) -> str | None:
    if cell is None or cell != cell:
        return None
    if isinstance(cell, bool):
        word = str(cell).lower()
        return spelling.get(word, word)
    text = canonical_text(str(cell))
    return None if text in markers else text


def _all_known(
    codes: np.ndarray, unknown: np.ndarray, labels: Column, column: str, allowed: str
) -> np.ndarray:
    rows = np.flatnonzero(unknown)
    if len(rows):
        raise RowError(int(rows[0]) + 1, column, f"label must be {allowed}, got {labels[rows[0]]!r}")
    return codes


def _fit_feature(name: str, values: Column, missing: Iterable[str]) -> Feature:
    is_number_column = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
    feature = _fit_number(name, values) if is_number_column else _fit_category(name, values, missing)
    if feature is None:
        raise SpecError(
            f"column {name} has no value in the {len(values):,} training rows: "
            f"mend the data, or add it to exclude (settings.toml, [data])"
        )
    return feature


def _fit_number(name: str, values: np.ndarray) -> Number | None:
    """What scikit-learn's SimpleImputer (median), then its RobustScaler learn, without their copies."""
    absent = np.isnan(values)
    if absent.all():
        return None
    median = float(np.median(values[~absent]))
    filled = np.where(absent, median, values)
    low, high = np.percentile(filled, (25, 75), overwrite_input=True)
    scale = float(high - low)
    # the centre is the median again: rows filled with it do not move it
    return Number(name, median, median, scale if scale >= TINY_SCALE else 1.0)


def _fit_category(name: str, values: Column, missing: Iterable[str]) -> Category | None:
    """The distinct texts, sorted as scikit-learn's OrdinalEncoder sorts them."""
    texts = sorted(_distinct(values, missing, name))
    return Category(name, tuple(texts)) if texts else None


def _distinct(values: Column, missing: Iterable[str], name: str) -> set[str]:
    cells = np.array([*values.counts()], object) if isinstance(values, Texts) else values
    return {text for text in parse_texts(cells, missing, name) if text is not None}


def _fit_target(labels: Column, data: Data) -> Target:
    if data.problem == "regression":
        return Target(data.target, data.problem, (), "")
    positive = canonical_text(data.positive)
    classes = sorted(_distinct(labels, data.missing, data.target))
    if data.problem == "binary":
        classes.sort(key=lambda label: label == positive)
    return Target(data.target, data.problem, tuple(classes), positive)


def _from_document(document: dict[str, Any]) -> FeatureSpec:
    features = []
    for item in document["features"]:
        fields = {key: tuple(value) if key == "categories" else value for key, value in item.items()}
        features.append(KINDS[fields.pop("kind")](**fields))
    target = Target(**document["target"] | {"classes": tuple(document["target"]["classes"])})
    others = {key: tuple(value) for key, value in document.items() if key not in ("features", "target")}
    spec = FeatureSpec(features=tuple(features), target=target, **others)
    numbers = [x for f in features if isinstance(f, Number) for x in (f.median, f.center, f.scale)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    if not features or len(set(spec.names)) < len(features):
        raise ValueError("feature names must be there and differ")
    return spec
