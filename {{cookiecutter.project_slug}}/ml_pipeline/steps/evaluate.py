"""Evaluate: metrics of model and champion, fit diagnosis, attributions; without facets the gate."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ml_pipeline import (
    approved,
    encoded,
    explain,
    metrics,
    model_quality,
    serving,
    storage,
    threads,
    thresholds,
)
from ml_pipeline.features import FeatureSpec, Target
from ml_pipeline.metrics import Predictions
from ml_pipeline.serving import Model
from ml_pipeline.settings import Settings
from ml_pipeline.steps import gate

SPLITS = ("train", "validation", "test")
Report = dict[str, dict[str, float | None]]


def evaluate(
    splits_uri: str,
    encoded_uri: str,
    model_uri: str,
    predictions_uri: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Writes metrics.json, predictions.csv, attributions.json, and the baseline of outputs and quality.

    predictions_uri: what Transform made of the test split. Returns summary, metrics_uri, predictions_uri, and
    without facets passed and verdict_uri. Raises ValueError if the predictions are not those of that split.
    """
    folder = settings.uri(execution_id, "evaluate")
    model = load(model_uri)
    target = model.spec.target
    with ThreadPoolExecutor(1) as beside:  # what holds one core is done beside something else that does
        reading = beside.submit(read_test, f"{splits_uri}/test.parquet", predictions_uri, model.spec)
        uris = [f"{encoded_uri}/{name}.parquet" for name in SPLITS]
        train, validation, test = threads.mapped(encoded.read, uris)
        found = {
            "train": _scored(model, drawn(train, settings)),
            "validation": _scored(model, validation),
        }
        raw, served = reading.result()
        found["test"] = of_served(served, test.label, target)
        explaining = beside.submit(contributions, model, test.features, settings)
        describing = beside.submit(_write_model_quality, folder, found["test"], train.label, target, settings)
        document = metrics_document(found, train.label, model, settings)
        explained, spreads = explaining.result(), describing.result()
    document["champion"] = champion(raw, train.label, test.label, target, settings)
    storage.write_json(f"{folder}/metrics.json", document)
    columns = [*model.spec.ids, "label", *output_columns(target)]
    storage.write_csv(f"{folder}/predictions.csv", served.select(columns))
    attributed = attributions(explained, model.spec.names, settings.split.seed)
    storage.write_json(f"{folder}/attributions.json", attributed)
    top, seed = attributed["ranking"][: explain.FEATURES], settings.split.seed
    dependence = explain.partial_dependence(model, test.features, top, seed)
    storage.write_json(f"{folder}/partial_dependence.json", dependence)
    outputs = {name: served[name] for name in output_columns(target)}
    bounds = thresholds.of_outputs(outputs, np.abs(explained[:, :-1]), model.spec.names, spreads, settings)
    storage.write_json(f"{folder}/thresholds.json", bounds)
    return _result(folder, document, settings)


def drawn(train: encoded.Encoded, settings: Settings) -> encoded.Encoded:
    """At most train_rows of the training rows: a million more would take long and tell nothing more."""
    places = metrics.drawn_rows(len(train.label), settings.evaluate.train_rows, settings.split.seed)
    return encoded.Encoded(train.label[places], train.features[places])


def load(model_uri: str) -> Model:
    """The model of a model.tar.gz in S3."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(model_uri))) as archive:
            for name in serving.ARTIFACT:
                Path(folder, name).write_bytes(archive.extractfile(name).read())
        return serving.load_model(Path(folder))


def output_columns(target: Target) -> list[str]:
    """What the model adds to a row."""
    if target.problem == "regression":
        return ["prediction"]
    scores = [f"score_{name}" for name in target.classes] if target.problem == "multiclass" else ["score"]
    return ["predicted_label", *scores]


def read_test(raw_uri: str, predictions_uri: str, spec: FeatureSpec) -> tuple[pd.DataFrame, pa.Table]:
    """The test split as it was raw, and `read_served` of its predictions."""
    raw = storage.read_parquet(raw_uri)
    return raw, read_served(storage.read_bytes(predictions_uri), raw, spec, predictions_uri)


def read_served(content: bytes, raw: pd.DataFrame, spec: FeatureSpec, uri: str) -> pa.Table:
    """Ids, `label`, features and outputs from batch transform's header-less CSV; outputs are texts.

    raw: the test split, whose rows these must be in the same order. Raises ValueError naming the first other.
    """
    inputs = [*spec.ids, spec.target.name, *spec.names]
    names = [*inputs, *output_columns(spec.target)]
    numbers = [place for place, name in enumerate(inputs) if raw[name].dtype.kind == "f"]
    served = _parse_served(content, len(names), numbers, uri)
    if served.shape != (len(raw), len(names)):
        raise ValueError(
            f"{uri}: {served.num_rows:,} rows of {served.num_columns} columns, but the test split and the "
            f"model make {len(raw):,} rows of {len(names)}: {', '.join(names)}"
        )
    for place, name in enumerate(inputs):
        _check_column(served[place], raw[name], uri)
    return served.rename_columns(["label" if name == spec.target.name else name for name in names])


def _parse_served(content: bytes, columns: int, numbers: Collection[int], uri: str) -> pa.Table:
    kinds = {f"f{place}": pa.float64() if place in numbers else pa.string() for place in range(columns)}
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=b'"' in content),
            convert_options=pyarrow.csv.ConvertOptions(column_types=kinds, null_values=[""]),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(f"{uri}: these are not the predictions of the test split: {error}") from None


def of_served(served: pa.Table, label: np.ndarray, target: Target) -> Predictions:
    """The served predictions beside the encoded labels."""
    names = output_columns(target)
    if target.problem == "regression":
        values = served["prediction"].cast(pa.float64()).to_numpy()
        return Predictions(label, values, values)
    places = pc.index_in(served["predicted_label"], value_set=pa.array(target.classes))
    if places.null_count:
        unknown = served["predicted_label"].filter(places.is_null())[0].as_py()
        raise ValueError(f"predicted label {unknown!r} is none of {', '.join(target.classes)}")
    scores = np.stack([served[name].cast(pa.float64()).to_numpy() for name in names[1:]], axis=1)
    return Predictions(
        label, scores if target.problem == "multiclass" else scores[:, 0], places.to_numpy().astype(np.int64)
    )


def metrics_document(
    found: Mapping[str, Predictions], train_label: np.ndarray, model: Model, settings: Settings
) -> dict[str, Any]:
    """metrics.json but for the champion."""
    target = model.spec.target
    primary = metrics.primary(target.problem, settings.gate.metric)
    names = SPLITS[::-1]
    reported = threads.mapped(lambda name: report(found[name], train_label, target, settings), names)
    reports = dict(zip(names, reported, strict=True))
    document = {
        "problem": target.problem,
        "primary": primary,
        "threshold": model.threshold if target.problem == "binary" else None,
        **reports,
        "champion": None,
        "fit": metrics.fit_diagnosis(target.problem, primary, reports),
    }
    if target.problem == "regression":
        return document
    test = found["test"]
    counts = metrics.confusion_matrix(
        test.label, test.predicted, len(target.classes), np.ones(len(test.label))
    )
    labels = list(target.classes)
    return {**document, "confusion_matrix": {"labels": labels, "counts": counts.astype(int).tolist()}}


def report(found: Predictions, train_label: np.ndarray, target: Target, settings: Settings) -> Report:
    """{metric: {value, low, high, trivial}} of one split."""
    trivial = metrics.trivial_predictions(target.problem, train_label, len(target.classes), found.label)
    chosen = settings.evaluate
    return metrics.report(
        target.problem, found, trivial, chosen.bootstrap_samples, chosen.confidence, settings.split.seed
    )


def champion(
    raw: pd.DataFrame, train_label: np.ndarray, label: np.ndarray, target: Target, settings: Settings
) -> dict[str, Any] | None:
    """{package, test} of the newest approved model on the same test rows, or None without one.

    Raises ValueError if it cannot score these rows.
    """
    package = approved.newest(settings.prefix)
    if package is None:
        return None
    arn = package["ModelPackageArn"]
    try:
        model = load(approved.container(package)["ModelDataUrl"])
        if model.spec.target != target:
            raise ValueError(f"it predicts {model.spec.target}, this model {target}")
        scored = model.predict({name: raw[name].to_numpy() for name in model.spec.names})
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"the approved champion {arn} cannot score this test split: {error}. If its columns or labels "
            f"are of the past, reject it: python -m ml_pipeline reject {arn.rpartition('/')[2]}"
        ) from error
    return {"package": arn, "test": report(_of_model(label, scored), train_label, target, settings)}


def contributions(model: Model, features: np.ndarray, settings: Settings) -> np.ndarray:
    """TreeSHAP of drawn rows, float64, shape (rows, features + 1); the last is the expected value.

    Exact, in units of the margin (log-odds, or the predicted number); of several classes the predicted one.
    """
    drawn = features[
        metrics.drawn_rows(len(features), settings.evaluate.attribution_rows, settings.split.seed)
    ]
    return model.attributions(drawn, model.score(drawn).places).astype(np.float64)


def attributions(values: np.ndarray, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Mean absolute contribution of each feature in Clarify's `explanations` schema, and their ranking."""
    means = dict(zip(names, map(float, np.abs(values[:, :-1]).mean(axis=0)), strict=True))
    label = {"global_shap_values": means, "expected_value": float(values[:, -1].mean())}
    return {
        "version": "1.0",
        "explanations": {"tree_shap": {"label0": label}},
        "ranking": sorted(means, key=lambda name: (-means[name], name)),
        "rows": len(values),
        "seed": seed,
    }


def _scored(model: Model, split: encoded.Encoded) -> Predictions:
    return _of_model(split.label, model.score(split.features))


def _of_model(label: np.ndarray, found: serving.Predictions) -> Predictions:
    predicted = found.scores if found.target.problem == "regression" else found.places
    return Predictions(label, found.scores, predicted)


def _check_column(served: pa.ChunkedArray, raw: pd.Series, uri: str) -> None:
    if raw.dtype.kind == "f":
        values, wanted = served.to_numpy(), raw.to_numpy()
        differs = (values != wanted) & ~(np.isnan(values) & np.isnan(wanted))
    else:
        texts = pa.Table.from_pandas(raw.to_frame(), preserve_index=False)[0].cast(pa.string())
        differs = pc.not_equal(served, texts.fill_null("")).to_numpy()
    if differs.any():
        row = int(differs.argmax())
        raise ValueError(
            f"{uri}: row {row + 1} has {raw.name} = {served[row].as_py()!r}, "
            f"the test split {raw.iloc[row]!r}: these are not the predictions of this split in its order"
        )


def _write_model_quality(
    folder: str, found: Predictions, train_label: np.ndarray, target: Target, settings: Settings
) -> model_quality.Spreads:
    constant = metrics.trivial_predictions(target.problem, train_label, len(target.classes), found.label)
    statistics, spreads = model_quality.statistics_and_spreads(
        target.problem,
        found,
        constant,
        target.classes,
        settings.evaluate.bootstrap_samples,
        settings.split.seed,
    )
    storage.write_json(f"{folder}/model_quality_statistics.json", statistics)
    storage.write_json(f"{folder}/model_quality_constraints.json", model_quality.constraints(statistics))
    return spreads


def _result(folder: str, document: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What the step returns; without facets it is the last that measures, and applies the gate."""
    result: dict[str, Any] = {
        "summary": summary(document),
        "metrics_uri": f"{folder}/metrics.json",
        "predictions_uri": f"{folder}/predictions.csv",
    }
    if not settings.data.facets:
        verdict = gate.verdict(document, None, settings.gate)
        storage.write_json(f"{folder}/verdict.json", verdict)
        result |= {"passed": verdict["passed"], "verdict_uri": f"{folder}/verdict.json"}
        result["summary"] += f", {gate.told(verdict)}"
    print(f"Evaluate: {result['summary']} -> {folder}", flush=True)
    return result


def summary(document: dict[str, Any]) -> str:
    """The primary metric with its interval, the trivial model's, the champion's, and the fit."""
    name = document["primary"]
    shown = {key: "undefined" if v is None else f"{v:.4f}" for key, v in document["test"][name].items()}
    told = f"test {name} {shown['value']} [{shown['low']}, {shown['high']}], trivial {shown['trivial']}"
    if document["champion"]:
        value = document["champion"]["test"][name]["value"]
        told += ", champion undefined" if value is None else f", champion {value:.4f}"
    return f"{told}, fit {document['fit']['diagnosis']}"
