"""Evaluate: metrics of model and champion, fit diagnosis, attributions; without facets the gate."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
from botocore.exceptions import ClientError

from ml_pipeline import explain, metrics, model_quality, serving, storage
from ml_pipeline.features import FeatureSpec, Target
from ml_pipeline.metrics import Predictions
from ml_pipeline.serving import Model
from ml_pipeline.settings import Settings
from ml_pipeline.steps import gate

SPLITS = ("train", "validation", "test")
Report = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Encoded:
    """One encoded split: label shape (n,), features float32 of shape (n, features)."""

    label: np.ndarray
    features: np.ndarray


def evaluate(
    splits_uri: str,
    encoded_uri: str,
    model_uri: str,
    predictions_uri: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Writes metrics.json, predictions.csv, attributions.json and Model Monitor's model-quality baseline.

    predictions_uri: what Transform made of the test split. Returns summary, metrics_uri, predictions_uri, and
    without facets passed and verdict_uri. Raises ValueError if the predictions are not those of that split.
    """
    folder = settings.uri(execution_id, "evaluate")
    model = load(model_uri)
    splits = {name: _encoded(f"{encoded_uri}/{name}.parquet") for name in SPLITS}
    raw = storage.read_parquet(f"{splits_uri}/test.parquet")
    served = read_served(storage.read_bytes(predictions_uri), raw, model.spec, predictions_uri)
    found = {name: _scored(model, splits[name]) for name in ("train", "validation")}
    found["test"] = of_served(served, splits["test"].label, model.spec.target)
    document = metrics_document(found, splits["train"].label, model, settings)
    document["champion"] = champion(
        raw, splits["train"].label, splits["test"].label, model.spec.target, settings
    )
    storage.write_json(f"{folder}/metrics.json", document)
    columns = [*model.spec.ids, "label", *output_columns(model.spec.target)]
    storage.write_bytes(f"{folder}/predictions.csv", served[columns].to_csv(index=False).encode())
    attributed = attributions(model, splits["test"].features, settings)
    storage.write_json(f"{folder}/attributions.json", attributed)
    top, seed = attributed["ranking"][: explain.FEATURES], settings.split.seed
    dependence = explain.partial_dependence(model, splits["test"].features, top, seed)
    storage.write_json(f"{folder}/partial_dependence.json", dependence)
    _write_model_quality(folder, found["test"], splits["train"].label, model.spec.target, settings)
    return _result(folder, document, settings)


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


def read_served(content: bytes, raw: pd.DataFrame, spec: FeatureSpec, uri: str) -> pd.DataFrame:
    """Ids, `label`, features and outputs as text, from batch transform's header-less CSV.

    raw: the test split, whose rows these must be in the same order. Raises ValueError naming the first other.
    """
    inputs = [*spec.ids, spec.target.name, *spec.names]
    names = [*inputs, *output_columns(spec.target)]
    served = pd.read_csv(io.BytesIO(content), header=None, dtype=str, keep_default_na=False)
    if served.shape != (len(raw), len(names)):
        raise ValueError(
            f"{uri}: {served.shape[0]:,} rows of {served.shape[1]} columns, but the test split and the model "
            f"make {len(raw):,} rows of {len(names)}: {', '.join(names)}"
        )
    for place, name in enumerate(inputs):
        _check_column(served[place], raw[name], uri)
    return served.set_axis(["label" if name == spec.target.name else name for name in names], axis=1)


def of_served(served: pd.DataFrame, label: np.ndarray, target: Target) -> Predictions:
    """The served predictions beside the encoded labels."""
    outputs = served[output_columns(target)]
    if target.problem == "regression":
        values = outputs["prediction"].to_numpy(np.float64)
        return Predictions(label, values, values)
    places = {name: place for place, name in enumerate(target.classes)}
    unknown = outputs.loc[~outputs["predicted_label"].isin(places), "predicted_label"]
    if len(unknown):
        raise ValueError(f"predicted label {unknown.iloc[0]!r} is none of {', '.join(target.classes)}")
    predicted = outputs["predicted_label"].map(places).to_numpy(np.int64)
    scores = outputs.iloc[:, 1:].to_numpy(np.float64)
    return Predictions(label, scores if target.problem == "multiclass" else scores[:, 0], predicted)


def metrics_document(
    found: Mapping[str, Predictions], train_label: np.ndarray, model: Model, settings: Settings
) -> dict[str, Any]:
    """metrics.json but for the champion."""
    target = model.spec.target
    primary = metrics.primary(target.problem, settings.gate.metric)
    reports = {name: report(found[name], train_label, target, settings) for name in reversed(SPLITS)}
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
    package = newest_approved(settings.prefix)
    if package is None:
        return None
    arn, model_uri = package
    try:
        model = load(model_uri)
        if model.spec.target != target:
            raise ValueError(f"it predicts {model.spec.target}, this model {target}")
        scored = model.predict({name: raw[name].to_numpy() for name in model.spec.names})
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"the approved champion {arn} cannot score this test split: {error}. If its columns or labels "
            f"are of the past, reject it: python -m ml_pipeline reject {arn.rpartition('/')[2]}"
        ) from error
    return {"package": arn, "test": report(_of_model(label, scored), train_label, target, settings)}


def newest_approved(group: str) -> tuple[str, str] | None:
    """ARN and model.tar.gz of the group's newest approved version, or None."""
    client = boto3.client("sagemaker")
    query = {
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": 1,
    }
    try:
        found = client.list_model_packages(ModelPackageGroupName=group, **query)["ModelPackageSummaryList"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
            raise
        return None  # a group that does not exist yet
    if not found:
        return None
    arn = found[0]["ModelPackageArn"]
    containers = client.describe_model_package(ModelPackageName=arn)["InferenceSpecification"]["Containers"]
    return arn, containers[0]["ModelDataUrl"]


def attributions(model: Model, features: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Mean absolute TreeSHAP of each feature in Clarify's `explanations` schema, and their ranking.

    Exact, in units of the margin (log-odds, or the predicted number); of several classes the predicted one.
    """
    seed = settings.split.seed
    places = metrics.drawn_rows(len(features), settings.evaluate.attribution_rows, seed)
    drawn = features[places]
    values = model.attributions(drawn, model.score(drawn).places).astype(np.float64)
    means = dict(zip(model.spec.names, map(float, np.abs(values[:, :-1]).mean(axis=0)), strict=True))
    label = {"global_shap_values": means, "expected_value": float(values[:, -1].mean())}
    return {
        "version": "1.0",
        "explanations": {"tree_shap": {"label0": label}},
        "ranking": sorted(means, key=lambda name: (-means[name], name)),
        "rows": len(places),
        "seed": seed,
    }


def _encoded(uri: str) -> Encoded:
    frame = storage.read_parquet(uri)
    features = np.ascontiguousarray(frame.drop(columns="label").to_numpy(np.float32))
    return Encoded(frame["label"].to_numpy(np.float64), features)


def _scored(model: Model, split: Encoded) -> Predictions:
    return _of_model(split.label, model.score(split.features))


def _of_model(label: np.ndarray, found: serving.Predictions) -> Predictions:
    predicted = found.scores if found.target.problem == "regression" else found.places
    return Predictions(label, found.scores, predicted)


def _check_column(served: pd.Series, raw: pd.Series, uri: str) -> None:
    if raw.dtype.kind == "f":
        values = served.replace("", "nan").astype(np.float64)
        differs = (values != raw.to_numpy()) & ~(values.isna() & raw.isna().to_numpy())
    else:
        differs = served != raw.fillna("").to_numpy()
    if differs.any():
        row = int(differs.to_numpy().argmax())
        raise ValueError(
            f"{uri}: row {row + 1} has {raw.name} = {served.iloc[row]!r}, the test split {raw.iloc[row]!r}: "
            "these are not the predictions of this split in its order"
        )


def _write_model_quality(
    folder: str, found: Predictions, train_label: np.ndarray, target: Target, settings: Settings
) -> None:
    constant = metrics.trivial_predictions(target.problem, train_label, len(target.classes), found.label)
    statistics = model_quality.statistics(
        target.problem,
        found,
        constant,
        target.classes,
        settings.evaluate.bootstrap_samples,
        settings.split.seed,
    )
    storage.write_json(f"{folder}/model_quality_statistics.json", statistics)
    storage.write_json(f"{folder}/model_quality_constraints.json", model_quality.constraints(statistics))


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
