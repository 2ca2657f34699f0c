"""The table that bias is measured on: outcomes, a facet as text, and numbers; the same for both engines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ml_pipeline.bias_metrics import Sample
from ml_pipeline.features import canonical_text
from ml_pipeline.settings import Data

MISSING = "(missing)"  # the group of rows without a value
DECIMALS = 9  # of a column: no CSV reader rounds so few, and the flip test finds the same neighbours
MAX_NUMERIC_GROUPS = 20  # a numeric column with more values needs a threshold


@dataclass(frozen=True)
class Outcomes:
    """Positive or not, shape (n,). positive: how the analysis calls a positive label."""

    label: np.ndarray
    predicted: np.ndarray
    positive: str


@dataclass(frozen=True)
class Facet:
    """A facet's value of each row as text, shape (n,), and the sets of them disadvantaged in turn."""

    name: str
    values: np.ndarray
    disadvantaged: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """One facet's rows. group: which of the columns conditional metrics are taken within, empty for none.

    columns: float64; all are features of the flip test, as Clarify takes every column without a role.
    """

    outcomes: Outcomes
    facet: Facet
    group: str
    columns: pd.DataFrame

    def sample(self, disadvantaged: tuple[str, ...]) -> Sample:
        group = self.columns[self.group].to_numpy() if self.group else None
        chosen = np.isin(self.facet.values, disadvantaged)
        return Sample(self.outcomes.label, self.outcomes.predicted, chosen, group, self._features)

    @cached_property
    def _features(self) -> np.ndarray:
        return self.columns.to_numpy()


def outcomes(predictions: pd.DataFrame, data: Data, label_threshold: float | str) -> Outcomes:
    """Positive labels and predictions from the texts of predictions.csv.

    Classification: the label `positive` of settings. Regression: above the threshold, or the labels' median.
    """
    if data.problem != "regression":
        positive = canonical_text(data.positive)
        label, predicted = (predictions[name].to_numpy() == positive for name in ("label", "predicted_label"))
        return Outcomes(label, predicted, positive)
    label, predicted = (predictions[name].to_numpy(np.float64) for name in ("label", "prediction"))
    threshold = float(np.median(label)) if label_threshold == "median" else float(label_threshold)
    return Outcomes(label > threshold, predicted > threshold, _interval(threshold, label.max()))


def facet(values: pd.Series, data: Data) -> Facet:
    """The facet from its raw column: values of settings, above a numeric threshold, or each value in turn.

    Raises ValueError for a numeric column of many values without a threshold.
    """
    name, wanted = str(values.name), data.facet_values.get(str(values.name), ())
    numeric = values.dtype.kind in "iuf"
    if numeric and len(wanted) == 1:
        return _split_at(values, float(wanted[0]))
    texts = _texts(values)
    if wanted:
        return Facet(name, texts, (tuple(_text(value) for value in wanted),))
    found = sorted(set(texts))
    if numeric and len(found) > MAX_NUMERIC_GROUPS:
        raise ValueError(
            f"facet {name} is a number with {len(found)} values: name the threshold above which a row is "
            f"disadvantaged, facet_values = {{ {name} = [40] }} (settings.toml, [data])"
        )
    return Facet(name, texts, tuple((text,) for text in found))


def table(found: Outcomes, of_facet: Facet, encoded: pd.DataFrame, group: pd.Series | None) -> Table:
    """The rows of one facet. encoded: the model's input, imputed; its column of the facet is left out.

    A group column that is a feature is taken as it is encoded; another one is added, numbered by value.
    """
    columns = encoded.drop(columns=[of_facet.name], errors="ignore").astype(np.float64).round(DECIMALS)
    if group is None or group.name == of_facet.name:
        return Table(found, of_facet, "", columns)
    if group.name not in columns:
        columns[group.name] = np.unique(_texts(group), return_inverse=True)[1].astype(np.float64)
    return Table(found, of_facet, str(group.name), columns)


def _split_at(values: pd.Series, threshold: float) -> Facet:
    """Two groups, named by their intervals as Clarify does; a missing value is in neither."""
    numbers = values.to_numpy(np.float64)
    above, below = _interval(threshold, np.nanmax(numbers)), f"[{np.nanmin(numbers)}, {threshold}]"
    texts = np.where(np.isnan(numbers), MISSING, np.where(numbers > threshold, above, below)).astype(object)
    return Facet(str(values.name), texts, ((above,),))


def _interval(low: float, high: float) -> str:
    return f"({float(low)}, {float(high)}]"


def _texts(values: pd.Series) -> np.ndarray:
    """Objects, shape (n,); each distinct value is looked at once."""
    places, distinct = pd.factorize(values, use_na_sentinel=True)
    words = [*map(_text, distinct), MISSING]  # a missing value's place is -1
    return np.array(words, dtype=object)[places]


def _text(value: object) -> str:
    return canonical_text(str(value))
