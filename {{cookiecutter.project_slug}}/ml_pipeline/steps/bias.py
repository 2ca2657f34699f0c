"""Bias: Clarify's pre- and post-training metrics of each facet on the test split, then the gate."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from ml_pipeline import bias_metrics, clarify, facets, metrics, storage, thresholds
from ml_pipeline.bias_metrics import POST_TRAINING, PRE_TRAINING, STAGES, Groups
from ml_pipeline.facets import Outcomes, Table
from ml_pipeline.settings import Settings
from ml_pipeline.steps import gate

OUTCOMES = {"label", "predicted_label", "prediction"}  # columns of predictions.csv


def bias(
    splits_uri: str,
    encoded_uri: str,
    predictions_uri: str,
    metrics_uri: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Writes analysis.json in Clarify's schema with the engine of settings, thresholds.json, verdict.json.

    predictions_uri: predictions.csv of Evaluate. Returns summary, analysis_uri, passed, verdict_uri.
    """
    raw = storage.read_parquet(f"{splits_uri}/test.parquet")
    encoded = storage.read_parquet(f"{encoded_uri}/test.parquet").drop(columns="label")
    content = io.BytesIO(storage.read_bytes(predictions_uri))
    predictions = pd.read_csv(content, dtype=str, keep_default_na=False, usecols=OUTCOMES.__contains__)
    found = facets.outcomes(predictions, settings.data, settings.bias.label_threshold)
    tables = tables_of(raw, encoded, found, settings)
    measured = {
        table.facet.name: _measured(table, place, execution_id, settings)
        for place, table in enumerate(tables, start=1)
    }
    analysis = document(settings.data.target, found, measured)
    verdict = gate.verdict(storage.read_json(metrics_uri), analysis, settings.gate)
    analysis_uri, verdict_uri = (
        settings.uri(execution_id, "bias", name) for name in ("analysis.json", "verdict.json")
    )
    storage.write_json(analysis_uri, analysis)
    storage.write_json(
        settings.uri(execution_id, "bias", "thresholds.json"), thresholds.of_bias(tables, settings)
    )
    storage.write_json(verdict_uri, verdict)
    summary = f"{_counts(measured, len(raw))}, {gate.told(verdict)}"
    print(f"Bias: {summary} -> {analysis_uri}", flush=True)
    return {
        "summary": summary,
        "analysis_uri": analysis_uri,
        "passed": verdict["passed"],
        "verdict_uri": verdict_uri,
    }


def tables_of(raw: pd.DataFrame, encoded: pd.DataFrame, found: Outcomes, settings: Settings) -> list[Table]:
    """One table a facet, in the order of settings."""
    data = settings.data
    group = raw[data.group] if data.group else None
    return [facets.table(found, facets.facet(raw[name], data), encoded, group) for name in data.facets]


def in_step(table: Table, ft_rows: int, seed: int) -> Groups:
    """The metrics of one facet, computed here; FT on at most ft_rows seeded rows."""
    places = metrics.drawn_rows(len(table.columns), ft_rows, seed)
    samples = {",".join(values): table.sample(values) for values in table.facet.disadvantaged}
    return {
        stage: [
            {"value_or_threshold": name, "metrics": bias_metrics.measured(wanted, sample, places)}
            for name, sample in samples.items()
        ]
        for stage, wanted in STAGES.items()
    }


def document(target: str, found: Outcomes, measured: dict[str, Groups]) -> dict[str, Any]:
    """analysis.json in Clarify's schema. measured: by facet."""
    head = {"label": target, "label_value_or_threshold": found.positive}
    return {"version": "1.0"} | {
        stage: {**head, "facets": {facet: groups[stage] for facet, groups in measured.items()}}
        for stage in STAGES
    }


def _measured(table: Table, place: int, execution_id: str, settings: Settings) -> Groups:
    limit, seed = settings.bias.ft_rows, settings.bias.seed
    if settings.bias.engine == "in_step":
        return in_step(table, limit, seed)
    few = len(table.columns) <= limit
    measured = clarify.measure(table, place, few, execution_id, settings)
    return measured if few else with_ft(measured, table, metrics.drawn_rows(len(table.columns), limit, seed))


def with_ft(measured: Groups, table: Table, places: np.ndarray) -> Groups:
    """Clarify's groups with FT computed here on these rows alone: the container would take them all."""
    stage = "post_training_bias_metrics"
    groups = []
    for group, values in zip(measured[stage], table.facet.disadvantaged, strict=True):
        sample = bias_metrics.rows_of(table.sample(values), places)
        ft = bias_metrics.entry("FT", POST_TRAINING["FT"], sample)
        entries = sorted([*group["metrics"], ft], key=lambda entry: entry["name"])
        groups.append({**group, "metrics": entries})
    return {**measured, stage: groups}


def _counts(measured: dict[str, Groups], rows: int) -> str:
    count = len(PRE_TRAINING) + len(POST_TRAINING)
    groups = ", ".join(f"{facet} {len(found[next(iter(STAGES))])}" for facet, found in measured.items())
    return f"{count} metrics of {rows:,} rows, groups: {groups}"
