"""Scored rows beside the labels that have come for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml_pipeline import bias_metrics, metrics, model_quality
from ml_pipeline.bias_metrics import POST_TRAINING, STAGES, Sample
from ml_pipeline.dialect import DataError
from ml_pipeline.metrics import Predictions
from ml_pipeline.monitoring import groups, measure, served, truth
from ml_pipeline.monitoring.groups import Group
from ml_pipeline.monitoring.package import Package
from ml_pipeline.monitoring.truth import Truth
from ml_pipeline.sampling import Reservoir
from ml_pipeline.serving import Model
from ml_pipeline.settings import Settings


@dataclass(frozen=True)
class Joined:
    """Rows with a label. members: of each group. within: conditional group of each row, None without.

    drawn: of them at most ft_rows, for FT; None without facets. unmatched: labels without a scored row.
    """

    predictions: Predictions
    members: Mapping[Group, np.ndarray]
    within: np.ndarray | None
    drawn: pa.Table | None
    unmatched: int

    @property
    def rows(self) -> int:
        return len(self.predictions.label)


class Joining:
    """Takes the scored rows in blocks, and holds of those with a label what quality and bias are of."""

    def __init__(self, labels: Truth, package: Package, settings: Settings) -> None:
        self._truth, self._package, self._settings = labels, package, settings
        self._groups = package.groups(settings.data)
        self._times = np.zeros(len(labels.keys), np.int64)
        self._parts: list[Predictions] = []
        self._members: dict[Group, list[np.ndarray]] = {group: [] for group in self._groups}
        self._codes: dict[Any, int] = {}
        self._within: list[np.ndarray] = []
        self._drawn = Reservoir(settings.bias.ft_rows, (settings.bias.seed, measure.DRAWN))

    def add(self, block: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows that have a label, and the labels. Raises DataError for a label of more than one row."""
        keys = truth.key_texts(truth.ids_of(block, self._package.ids))
        places = self._truth.places(keys)
        np.add.at(self._times, places[places >= 0], 1)
        self._refuse_twice(places, keys)
        matched, label = block.filter(pa.array(places >= 0)), self._truth.labels[places[places >= 0]]
        if len(label):
            self._parts.append(_predictions(matched, label, self._package))
            if self._groups:
                self._add_groups(matched)
        return matched, label

    def ended(self) -> Joined:
        """Raises DataError when no label belongs to a row."""
        if not self._parts:
            raise DataError(
                f"none of its {len(self._times):,} labels belongs to a scored row; are they of "
                f"another period, or is {', '.join(self._package.ids)} another id?"
            )
        whole = [np.concatenate(parts) for parts in zip(*map(_arrays, self._parts), strict=True)]
        return Joined(
            Predictions(*whole),
            {group: np.concatenate(parts) for group, parts in self._members.items()},
            np.concatenate(self._within) if self._within else None,
            self._drawn.rows() if self._groups else None,
            int(np.count_nonzero(self._times == 0)),
        )

    def _refuse_twice(self, places: np.ndarray, keys: pa.Array) -> None:
        twice = (places >= 0) & (self._times[places] > 1)
        if twice.any():
            raise DataError(
                f"more than one scored row has the id {truth.shown(keys[int(twice.argmax())].as_py())!r}: "
                f"its label may be of either; mend the ids, and score the period again"
            )

    def _add_groups(self, matched: pa.RecordBatch) -> None:
        for group in self._groups:
            column = served.values(matched, self._package.layout.role_of(group.facet))
            self._members[group].append(group.members(column))
        if self._settings.data.group:
            names, places = groups.conditional(matched, self._package.layout, self._settings.data.group)
            codes = [self._codes.setdefault(name, len(self._codes)) for name in names]
            self._within.append(np.array(codes, np.int64)[places])
        self._drawn.add(matched)


def _arrays(part: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return part.label, part.score, part.predicted


def _predictions(block: pa.RecordBatch, label: np.ndarray, package: Package) -> Predictions:
    target = package.spec.target
    names = [served.key("output", name) for name in served.outputs_of(target)]
    if target.problem == "regression":
        values = served.values(block, names[0])
        return Predictions(label, values, values)
    predicted = served.values(block, names[0])
    places = package.spec.encode_label(predicted).astype(np.int64)
    scores = np.stack([served.values(block, name) for name in names[1:]], axis=1)
    return Predictions(label, scores if target.problem == "multiclass" else scores[:, 0], places)


def quality(joined: Joined, package: Package, settings: Settings) -> dict[str, Any]:
    """Document of model_quality_statistics.json."""
    target, found = package.spec.target, joined.predictions
    constant = metrics.trivial_predictions(target.problem, found.label, len(target.classes), found.label)
    samples, seed = settings.evaluate.bootstrap_samples, settings.split.seed
    return model_quality.statistics(target.problem, found, constant, target.classes, samples, seed)


def analysis(joined: Joined, model: Model, package: Package, settings: Settings) -> dict[str, Any]:
    """Document of analysis.json: all of Clarify's metrics of the joined rows, as in the baseline."""
    measured = {group: _measured(group, joined, model, package, settings) for group in joined.members}
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
    label, predicted = _outcomes(joined.predictions, package)
    within = joined.within if settings.data.group not in ("", group.facet) else None
    sample = Sample(label, predicted, joined.members[group], within, np.empty((len(label), 0)))
    found = {
        stage: [bias_metrics.entry(name, metric, sample) for name, metric in table.items() if name != "FT"]
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
