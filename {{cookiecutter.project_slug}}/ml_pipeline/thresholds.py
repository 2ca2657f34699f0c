"""thresholds.json of Process, Evaluate and Bias: from where on later data, outputs and bias have drifted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml_pipeline import bias_metrics, cells
from ml_pipeline.baseline import Measured
from ml_pipeline.bias_metrics import STAGES, Sample
from ml_pipeline.drift import bins, calibrate
from ml_pipeline.drift.bins import Bins
from ml_pipeline.drift.calibrate import FEATURES_SHARE, OTHERS_SHARE
from ml_pipeline.facets import Table
from ml_pipeline.model_quality import Spreads
from ml_pipeline.names import BIAS_DRIFT, QUALITY_DRIFT
from ml_pipeline.settings import Settings

BIAS_SAMPLES = 100  # bootstrap resamples behind a bias metric's deviation
BIAS_ROWS = 2000  # drawn for one of them at most
DEFINED = 0.9  # of the resamples must have a metric, or its deviation is not known


def of_features(measured: Measured, settings: Settings) -> dict[str, Any]:
    """Thresholds of the features of the training split."""
    alpha = settings.monitor.false_alarm_rate * FEATURES_SHARE
    return calibrate.columns(measured.counted, measured.rows, alpha, settings.split.seed)


def of_outputs(
    outputs: Mapping[str, pa.ChunkedArray],
    absolute: np.ndarray,
    features: Sequence[str],
    spreads: Spreads,
    settings: Settings,
) -> dict[str, Any]:
    """Thresholds of what the model says of the test split, of attributions and of quality.

    outputs: cells as text; absolute: |attribution|, shape (rows, features); spreads: of quality.
    """
    alpha, seed = settings.monitor.false_alarm_rate * OTHERS_SHARE, settings.split.seed
    rows = len(next(iter(outputs.values())))
    counted = [_output(name, column) for name, column in outputs.items()]
    wanted = QUALITY_DRIFT[settings.data.problem]
    deviations = {
        name: calibrate.deviation(*spreads[name], rows) for name in wanted if np.isfinite(spreads[name]).all()
    }
    return {
        **calibrate.columns(counted, rows, alpha, seed),
        "attributions": calibrate.attributions(absolute, features, alpha, seed),
        "quality": calibrate.quality(deviations, rows, alpha),
    }


def of_bias(tables: Sequence[Table], settings: Settings) -> dict[str, Any]:
    """Thresholds of the bias metrics of each facet's groups."""
    found = [_group(table, values, settings) for table in tables for values in table.facet.disadvantaged]
    alpha = settings.monitor.false_alarm_rate * OTHERS_SHARE
    return calibrate.bias(found, len(tables[0].outcomes.label), alpha)


def _output(name: str, column: pa.ChunkedArray) -> tuple[Bins, np.ndarray]:
    if name == "predicted_label":
        return bins.of_texts(name, cells.values(column))
    return bins.of_numbers(name, column.cast(pa.float64()).to_numpy())


def _group(table: Table, values: tuple[str, ...], settings: Settings) -> dict[str, Any]:
    sample = table.sample(values)
    share = _least(sample) / len(sample.label)
    name = ",".join(values)
    return {"facet": table.facet.name, "group": name, "share": share, "metrics": _bias(sample, settings)}


def _least(sample: Sample) -> int:
    """The fewest rows that a share is taken of: of the group or the rest, labelled or predicted one way."""
    sides, outcomes = (sample.facet, ~sample.facet), (sample.label, sample.predicted)
    ways = [rows for outcome in outcomes for rows in (outcome, ~outcome)]
    return min(int(np.count_nonzero(side & way)) for side in sides for way in ways)


def _bias(sample: Sample, settings: Settings) -> dict[str, dict[str, float]]:
    """Value and deviation of each metric that nearly every resample of the rows has."""
    generator, rows = np.random.default_rng(settings.bias.seed), len(sample.label)
    population, drawn_rows, values = _with_one_of_each(sample), min(rows, BIAS_ROWS), bias_values(sample)
    places = generator.integers(0, len(population.label), (BIAS_SAMPLES, drawn_rows))
    resamples = [bias_values(bias_metrics.rows_of(population, each)) for each in places]
    drawn = {name: np.array([each[name] for each in resamples]) for name in values}
    return {
        name: calibrate.deviation(value, float(np.std(drawn[name][np.isfinite(drawn[name])])), drawn_rows)
        for name, value in values.items()
        if np.isfinite(value) and np.isfinite(drawn[name]).mean() >= DEFINED
    }


def _with_one_of_each(sample: Sample) -> Sample:
    """One row more of each label, prediction and side of the facet, without features.

    A small group that happens to be all of a kind would else seem to have no spread at all. Source: Agresti
    and Caffo (2000), Simple and effective confidence intervals for proportions and differences.
    """
    kinds = np.array([*np.ndindex(2, 2, 2)], bool)
    label, predicted, facet = (
        np.append(rows, more)
        for rows, more in zip((sample.label, sample.predicted, sample.facet), kinds.T, strict=True)
    )
    group = None if sample.group is None else np.append(sample.group, np.resize(sample.group, len(kinds)))
    return Sample(label, predicted, facet, group, np.empty((len(label), 0)))


def bias_values(sample: Sample) -> dict[str, float]:
    """By metric; NaN where it is not defined."""
    return {name: _value(function, sample) for name, function in _functions().items()}


def _functions() -> dict[str, Callable[[Sample], float]]:
    return {name: wanted[name][1] for name in BIAS_DRIFT for wanted in STAGES.values() if name in wanted}


def _value(function: Callable[[Sample], float], sample: Sample) -> float:
    try:
        return function(sample)
    except ValueError:
        return np.nan
