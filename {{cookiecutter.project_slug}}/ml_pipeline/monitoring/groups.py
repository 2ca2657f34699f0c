"""The groups that bias is measured for, as the model's baseline knows them, in rows that come in blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml_pipeline import bias_metrics, facets
from ml_pipeline.features import Column, Feature, Texts, canonical_text, is_number
from ml_pipeline.monitoring import served
from ml_pipeline.monitoring.served import Layout
from ml_pipeline.names import WITHOUT_LABELS
from ml_pipeline.settings import Data

POST = "post_training_bias_metrics"
_INTERVAL = re.compile(r"\((\S+), \S+\]")  # what is above a threshold, as facets and Clarify name it


@dataclass(frozen=True)
class Group:
    """A disadvantaged group: rows with one of the values or, if above is not None, a greater number.

    name: as in analysis.json.
    """

    facet: str
    name: str
    values: tuple[str, ...]
    above: float | None

    def members(self, column: Column) -> np.ndarray:
        """Whether each row is in the group, bool, shape (n,); a missing value is above nothing."""
        if isinstance(column, Texts):
            return np.fromiter(map(self._has, column.words), bool, len(column.words))[column.places]
        if self.above is not None:
            return column > self.above
        distinct, places = np.unique(column, return_inverse=True)
        words = [None if np.isnan(number) else str(number) for number in distinct]
        return np.fromiter(map(self._has, words), bool, len(words))[places]

    def _has(self, word: str | None) -> bool:
        if self.above is not None:
            return word is not None and is_number(word) and float(word) > self.above
        return (facets.MISSING if word is None else canonical_text(word)) in self.values


def of_baseline(analysis: Mapping[str, Any], data: Data) -> list[Group]:
    """Groups of analysis.json, in its order."""
    return [
        _group(facet, found["value_or_threshold"], data)
        for facet, groups in analysis[POST]["facets"].items()
        for found in groups
    ]


def threshold(analysis: Mapping[str, Any]) -> float:
    """Of a regression: the number above which the baseline counted a prediction as positive."""
    return float(_INTERVAL.fullmatch(analysis[POST]["label_value_or_threshold"])[1])


def _group(facet: str, name: str, data: Data) -> Group:
    interval = _INTERVAL.fullmatch(name)
    if interval and is_number(interval[1]):
        return Group(facet, name, (), float(interval[1]))
    wanted = tuple(canonical_text(str(value)) for value in data.facet_values.get(facet, ()))
    return Group(facet, name, wanted if ",".join(wanted) == name else (name,), None)


def conditional(block: pa.RecordBatch, layout: Layout, column: str) -> tuple[list[Any], np.ndarray]:
    """Distinct values of the column that conditional metrics are taken within, and each row's place in them.

    A feature is taken as the model sees it, as in the baseline.
    """
    values = served.values(block, layout.role_of(column))
    feature = _feature(column, layout)
    if feature is not None:
        encoded = feature.encode(values, layout.spec.missing).round(facets.DECIMALS)
        distinct, places = np.unique(encoded, return_inverse=True)
        return distinct.tolist(), places
    return values.words.tolist(), values.places


def _feature(name: str, layout: Layout) -> Feature | None:
    return next((feature for feature in layout.spec.features if feature.name == name), None)


class Tally:
    """Rows of one facet's group, predicted positive or not, within each conditional group."""

    def __init__(self) -> None:
        self._tables: dict[Any, np.ndarray] = {}

    def add(self, member: np.ndarray, positive: np.ndarray, within: tuple[list[Any], np.ndarray]) -> None:
        names, places = within
        cells = places.astype(np.int64) * 4 + member * 2 + positive
        counts = np.bincount(cells, minlength=4 * len(names)).reshape(-1, 2, 2)
        for name, table in zip(names, counts, strict=True):
            if table.any():
                self._tables[name] = self._tables.get(name, 0) + table

    def metrics(self, is_conditional: bool) -> dict[str, float | None]:
        """CI, DPPL, DI and CDDPL, None where one is not defined; conventions of bias_metrics."""
        tables = np.array([*self._tables.values()], np.float64).reshape(-1, 2, 2)
        (a0, a1), (d0, d1) = tables.sum(axis=0)
        if not a0 + a1 or not d0 + d1:
            return dict.fromkeys(WITHOUT_LABELS)
        share_a, share_d = a1 / (a0 + a1), d1 / (d0 + d1)
        defined = is_conditional and a0 + d0 and a1 + d1
        return {
            "CI": float((a0 + a1 - d0 - d1) / tables.sum()),
            "DPPL": float(share_a - share_d),
            "DI": bias_metrics.ratio(share_d, share_a),
            "CDDPL": _conditional_disparity(tables) if defined else None,
        }


def _conditional_disparity(tables: np.ndarray) -> float:
    """tables: (groups, facet, positive)."""
    outcomes, sizes = tables.sum(axis=1), tables.sum(axis=(1, 2))
    shares = np.divide(tables[:, 1], outcomes, out=np.zeros_like(outcomes), where=outcomes > 0)
    return float((sizes * (shares[:, 0] - shares[:, 1])).sum() / sizes.sum())
