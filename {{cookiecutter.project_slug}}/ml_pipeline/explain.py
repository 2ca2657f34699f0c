"""How a prediction moves with one feature: partial dependence, in the units of the raw data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_pipeline.features import MISSING, UNKNOWN, Category, Feature
from ml_pipeline.metrics import drawn_rows
from ml_pipeline.serving import Model

ROWS = 500  # test rows averaged over; each is predicted once a grid value
FEATURES = 6  # the ones that matter most
NUMBERS = 20  # grid values of a numeric feature
CATEGORIES = 12  # of a categorical one, the commonest
TAIL = 0.05  # left out at each end of a numeric feature, where rows are few
CODES = {MISSING: "(missing)", UNKNOWN: "(unknown)"}


def partial_dependence(model: Model, features: np.ndarray, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Mean prediction over the rows when one feature is set to each of its values in turn.

    features: encoded, shape (n, features). Returns {rows, seed, outputs, features: [{name, kind, values,
    average, rows}]}: values in original units or category names; average a list per output, each as long as
    values; rows how many of the drawn rows have that category. Source: Friedman (2001), section 8.2.
    """
    drawn = features[drawn_rows(len(features), ROWS, seed)]
    target = model.spec.target
    outputs = {"binary": [target.positive], "multiclass": list(target.classes)}.get(target.problem, [])
    return {
        "rows": len(drawn),
        "seed": seed,
        "outputs": outputs or ["prediction"],
        "features": [_curve(model, drawn, model.spec.names.index(name)) for name in names],
    }


def grid(feature: Feature, column: np.ndarray) -> np.ndarray:
    """Encoded values to try, float32, ascending; a category's in the order of its name's code.

    Of a number at most NUMBERS quantiles that occur, of a category the CATEGORIES commonest.
    """
    present, counts = np.unique(column, return_counts=True)
    if isinstance(feature, Category):
        return np.sort(present[np.argsort(-counts, kind="stable")[:CATEGORIES]])
    if len(present) <= NUMBERS:
        return present
    shares = np.linspace(TAIL, 1 - TAIL, NUMBERS)
    values = np.unique(np.quantile(column, shares, method="nearest"))
    return values if len(values) > 1 else present[[0, -1]]


def average_prediction(model: Model, features: np.ndarray, place: int, values: np.ndarray) -> np.ndarray:
    """Mean score, shape (values, outputs), with the feature at this place set to each value."""
    changed = np.tile(features, (len(values), 1))
    changed[:, place] = np.repeat(values, len(features))
    scores = model.score(changed).scores.astype(np.float64)
    return scores.reshape(len(values), len(features), -1).mean(axis=1)


def _curve(model: Model, drawn: np.ndarray, place: int) -> dict[str, Any]:
    feature = model.spec.features[place]
    values = grid(feature, drawn[:, place])
    average = average_prediction(model, drawn, place, values)
    rows = (drawn[:, place, None] == values).sum(axis=0)
    return {
        "name": feature.name,
        "kind": feature.kind,
        "values": original(feature, values),
        "average": average.T.tolist(),
        "rows": rows.tolist(),
    }


def original(feature: Feature, values: np.ndarray) -> list[float] | list[str]:
    """Encoded values as numbers in the units of the raw data, or as category names."""
    if isinstance(feature, Category):
        return [CODES.get(int(code)) or feature.categories[int(code)] for code in values]
    numbers = values.astype(np.float64) * feature.scale + feature.center
    largest = max(abs(feature.center), feature.scale, np.finfo(float).tiny)
    return numbers.round(6 - math.floor(math.log10(largest))).tolist()  # what float32 holds
