"""Scored rows beside the labels that have come for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ml_pipeline import bias_metrics, metrics, model_quality
from ml_pipeline.bias_metrics import POST_TRAINING, STAGES, Sample
from ml_pipeline.dialect import DataError
from ml_pipeline.features import Target
from ml_pipeline.metrics import Predictions
from ml_pipeline.monitoring import groups, measure, served, truth
from ml_pipeline.monitoring.counted import Classified, Outcomes, Regressed
from ml_pipeline.monitoring.groups import Group
from ml_pipeline.monitoring.package import Package
from ml_pipeline.monitoring.truth import Truth
from ml_pipeline.sampling import Reservoir
from ml_pipeline.serving import Model
from ml_pipeline.settings import Settings


@dataclass(frozen=True)
class Joined:
    """Rows with a label. exact: metrics of all of them where `predictions` are drawn ones.

    samples: outcomes of each group. drawn: at most ft_rows of the rows, for FT; None without facets.
    unmatched: labels without a scored row.
    """

    predictions: Predictions
    exact: Mapping[str, float]
    samples: Mapping[Group, Sample]
    drawn: pa.Table | None
    unmatched: int

    @property
    def rows(self) -> int:
        return self.predictions.rows


class Joining:
    """Takes the scored rows in blocks, and counts of those with a label what quality and bias are of.

    What grows with the labels is `Truth`, and one byte of each label here.
    """

    def __init__(self, labels: Truth, package: Package, settings: Settings) -> None:
        self._truth, self._package, self._settings = labels, package, settings
        self._is_joined = np.zeros(len(labels.keys), bool)
        target, seed = package.spec.target, (settings.split.seed, measure.DRAWN)
        self._predicted: Classified | Regressed = (
            Regressed(seed) if target.problem == "regression" else Classified(len(target.classes))
        )
        self._outcomes = {group: Outcomes() for group in package.groups(settings.data)}
        self._codes: dict[Any, int] = {}
        self._drawn = Reservoir(settings.bias.ft_rows, (settings.bias.seed, measure.DRAWN))

    def add(self, block: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows that have a label, and the labels. Raises DataError for a label of more than one row."""
        keys = truth.key_texts(truth.ids_of(block, self._package.ids))
        places = self._truth.places(keys)
        rows = np.flatnonzero(places >= 0)
        self._refuse_twice(rows, places[rows], keys)
        matched, label = block.take(pa.array(rows)), self._truth.labels[places[rows]].astype(np.float64)
        if len(label):
            found = _predictions(matched, label, self._package)
            self._predicted.add(found)
            if self._outcomes:
                self._add_outcomes(matched, found)
        return matched, label

    def ended(self) -> Joined:
        """Raises DataError when no label belongs to a row."""
        if not self._is_joined.any():
            raise DataError(
                f"none of its {len(self._is_joined):,} labels belongs to a scored row; are they of "
                f"another period, or is {', '.join(self._package.ids)} another id?"
            )
        column = self._settings.data.group
        return Joined(
            self._predicted.predictions(),
            self._predicted.exact,
            {group: each.sample(column not in ("", group.facet)) for group, each in self._outcomes.items()},
            self._drawn.rows() if self._outcomes else None,
            int(np.count_nonzero(~self._is_joined)),
        )

    def _refuse_twice(self, rows: np.ndarray, places: np.ndarray, keys: pa.Array) -> None:
        """rows: of the block, that have a label. places: their labels'."""
        order = np.argsort(places, kind="stable")
        twice = self._is_joined[places]
        twice[order[1:]] |= places[order[1:]] == places[order[:-1]]
        if twice.any():
            raise DataError(
                f"more than one scored row has the id "
                f"{truth.shown(keys[int(rows[twice.argmax()])].as_py())!r}: "
                f"its label may be of either; mend the ids, and score the period again"
            )
        self._is_joined[places] = True

    def _add_outcomes(self, matched: pa.RecordBatch, found: Predictions) -> None:
        label, predicted = _outcomes(found, self._package)
        within = self._within(matched)
        for group, outcomes in self._outcomes.items():
            column = served.values(matched, self._package.layout.role_of(group.facet))
            outcomes.add(group.members(column), label, predicted, within)
        self._drawn.add(matched)

    def _within(self, matched: pa.RecordBatch) -> np.ndarray:
        """Each row's conditional group, from 0."""
        column = self._settings.data.group
        if not column:
            return np.zeros(len(matched), np.int64)
        names, places = groups.conditional(matched, self._package.layout, column)
        return np.array([self._codes.setdefault(name, len(self._codes)) for name in names], np.int64)[places]


def _predictions(block: pa.RecordBatch, label: np.ndarray, package: Package) -> Predictions:
    """Of more than two classes without scores: see `Classified`."""
    target = package.spec.target
    names = [served.key("output", name) for name in served.outputs_of(target)]
    if target.problem == "regression":
        values = served.values(block, names[0])
        return Predictions(label, values, values)
    places = package.spec.encode_label(served.values(block, names[0])).astype(np.int64)
    is_binary = target.problem == "binary"
    score = served.values(block, names[1]) if is_binary else np.zeros(len(label))
    return Predictions(label, score, places)


def quality(joined: Joined, package: Package, settings: Settings) -> dict[str, Any]:
    """Document of model_quality_statistics.json."""
    target, found = package.spec.target, joined.predictions
    constant = found if target.problem == "regression" else _constant(found, target)
    samples, seed = settings.evaluate.bootstrap_samples, settings.split.seed
    document = model_quality.statistics(target.problem, found, constant, target.classes, samples, seed)
    (section,) = (name for name in document if name.endswith("_metrics"))
    for name, value in joined.exact.items():
        document[section][name]["value"] = value if math.isfinite(value) else "NaN"
    return document


def _constant(found: Predictions, target: Target) -> Predictions:
    """What knows the shares of the labels alone."""
    shares = np.bincount(found.label.astype(np.int64), found.weights, len(target.classes)) / found.rows
    return replace(metrics.constant_predictions(target.problem, shares, found.label), counts=found.counts)


def analysis(joined: Joined, model: Model, package: Package, settings: Settings) -> dict[str, Any]:
    """Document of analysis.json: all of Clarify's metrics of the joined rows, as in the baseline."""
    measured = {group: _measured(group, joined, model, package, settings) for group in joined.samples}
    return {"version": "1.0"} | {
        stage: {
            **{key: package.bias[stage][key] for key in ("label", "label_value_or_threshold")},
            "facets": _by_facet({group: stages[stage] for group, stages in measured.items()}),
        }
        for stage in STAGES
    }


def _measured(
    group: Group, joined: Joined, model: Model, package: Package, settings: Settings
) -> dict[str, list[dict[str, Any]]]:
    found = {
        stage: [
            bias_metrics.entry(name, metric, joined.samples[group])
            for name, metric in table.items()
            if name != "FT"
        ]
        for stage, table in STAGES.items()
    }
    encoded = model.spec.encode(measure.features_of(joined.drawn, package))
    flip = measure.flip_test(group, joined.drawn, encoded, package, settings)
    told = {"value": flip} if flip is not None else {"value": None, "error": "a group has no row"}
    entry = {"name": "FT", "description": POST_TRAINING["FT"][0], **told}
    return found | {groups.POST: sorted([*found[groups.POST], entry], key=lambda each: each["name"])}


def _outcomes(found: Predictions, package: Package) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, by label and as predicted."""
    target = package.spec.target
    if target.problem == "regression":
        threshold = groups.threshold(package.bias)
        return found.label > threshold, found.predicted > threshold
    place = target.classes.index(target.positive)
    return found.label == place, found.predicted == place


def _by_facet(entries: Mapping[Group, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for group, measured in entries.items():
        found.setdefault(group.facet, []).append({"value_or_threshold": group.name, "metrics": measured})
    return found
