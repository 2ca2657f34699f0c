"""One pass over the scored rows of a period: statistics, counts by bin, groups, and rows drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ml_pipeline import bias_metrics, cells, facets, metrics, threads
from ml_pipeline.facets import Facet, Outcomes
from ml_pipeline.features import Column, Texts
from ml_pipeline.monitoring import groups, served, summaries
from ml_pipeline.monitoring.groups import Group, Tally
from ml_pipeline.monitoring.package import Package
from ml_pipeline.sampling import Reservoir
from ml_pipeline.serving import Model
from ml_pipeline.settings import Settings

DRAWN = 1  # beside a seed: data that were made with the same one must not decide which rows are drawn
GroupMetrics = dict[tuple[str, str], dict[str, float | None]]  # by facet and group


@dataclass(frozen=True)
class Measured:
    """What the rows of a period are like. statistics: as statistics.json. counts: by key of the column.

    bias: the metrics that need no labels. attributions: mean absolute TreeSHAP of drawn rows.
    """

    rows: int
    statistics: dict[str, Any]
    counts: dict[str, np.ndarray]
    bias: GroupMetrics
    attributions: dict[str, float]
    attribution_rows: int


class Measuring:
    """Takes the rows in blocks; what it holds does not grow with their number."""

    def __init__(self, package: Package, settings: Settings) -> None:
        self._package, self._settings = package, settings
        self._summaries = {feature.name: summaries.of_feature(feature) for feature in package.spec.features}
        self._counts: dict[str, np.ndarray] = {}
        self._groups = package.groups(settings.data)
        self._tallies = {(group.facet, group.name): Tally() for group in self._groups}
        self._drawn = Reservoir(settings.evaluate.attribution_rows, (settings.split.seed, DRAWN))
        self._rows = 0

    def add(self, block: pa.RecordBatch) -> None:
        self._rows += block.num_rows
        names = [name for name in self._package.layout.types if not name.startswith("passed")]
        for name, found in zip(
            names, threads.mapped(lambda n: self._add_column(n, block), names), strict=True
        ):
            self._counts[name] = self._counts.get(name, 0) + found
        if self._groups:
            self._add_groups(block)
        self._drawn.add(block)

    def ended(self, model: Model) -> Measured:
        """What was measured. Raises ValueError when there was no row."""
        drawn = self._drawn.rows()
        encoded = model.spec.encode(features_of(drawn, self._package))
        features = [self._summaries[name].feature(name) for name in self._package.spec.names]
        return Measured(
            self._rows,
            {"version": 0, "dataset": {"item_count": self._rows}, "features": features},
            self._counts,
            self._bias(),
            mean_attributions(model, encoded),
            len(encoded),
        )

    def _add_column(self, name: str, block: pa.RecordBatch) -> np.ndarray:
        column = served.values(block, name)
        role, _, raw = name.partition(": ")
        if role == "feature":
            self._summaries[raw].add(column)
        return self._package.bins[name].count(column)

    def _add_groups(self, block: pa.RecordBatch) -> None:
        positive = positives(block, self._package)
        for group in self._groups:
            members = group.members(served.values(block, self._package.layout.role_of(group.facet)))
            within = self._within(block, group.facet)
            self._tallies[group.facet, group.name].add(members, positive, within)

    def _within(self, block: pa.RecordBatch, facet: str) -> tuple[list[Any], np.ndarray]:
        """Conditional groups; all rows are one where settings name none, or the facet itself."""
        column = self._settings.data.group
        if column in ("", facet):
            return [""], np.zeros(block.num_rows, np.int64)
        return groups.conditional(block, self._package.layout, column)

    def _bias(self) -> GroupMetrics:
        """The metrics that need no labels."""
        return {
            (facet, name): tally.metrics(self._settings.data.group not in ("", facet))
            for (facet, name), tally in self._tallies.items()
        }


def features_of(rows: pa.Table, package: Package) -> dict[str, Column]:
    """Raw features by name."""
    return {name: cells.values(rows[served.key("feature", name)]) for name in package.spec.names}


def positives(block: pa.RecordBatch, package: Package) -> np.ndarray:
    """Whether each row is predicted positive, bool, shape (n,)."""
    target = package.spec.target
    if target.problem == "regression":
        return served.values(block, served.key("output", "prediction")) > groups.threshold(package.bias)
    predicted = served.values(block, served.key("output", "predicted_label"))
    return (predicted.words == target.positive)[predicted.places]


def flip_test(
    group: Group, rows: pa.Table, encoded: np.ndarray, package: Package, settings: Settings
) -> float | None:
    """FT of a group on at most ft_rows of the rows, of the columns that the baseline takes."""
    places = metrics.drawn_rows(len(encoded), settings.bias.ft_rows, settings.bias.seed)
    (block,) = rows.take(pa.array(places)).combine_chunks().to_batches()
    members = group.members(served.values(block, package.layout.role_of(group.facet)))
    positive = positives(block, package)
    columns = facets.table(
        Outcomes(positive, positive, ""),
        Facet(group.facet, members, ()),
        pd.DataFrame(encoded[places], columns=list(package.spec.names)),
        _series(block, package, settings.data.group),
    ).columns
    try:
        return bias_metrics.ft(columns.to_numpy(), positive, members)
    except ValueError:  # a group has no row
        return None


def mean_attributions(model: Model, encoded: np.ndarray) -> dict[str, float]:
    """Mean absolute TreeSHAP by feature, as in the baseline."""
    values = model.attributions(encoded, model.score(encoded).places).astype(np.float64)
    return dict(zip(model.spec.names, np.abs(values[:, :-1]).mean(axis=0).tolist(), strict=True))


def _series(block: pa.RecordBatch, package: Package, column: str) -> pd.Series | None:
    if not column:
        return None
    values = served.values(block, package.layout.role_of(column))
    plain = values.words[values.places] if isinstance(values, Texts) else values
    return pd.Series(plain, name=column)
