"""Train: XGBoost with early stopping and checkpoints; its model and learning curve."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml_pipeline import encoded, metrics, storage
from ml_pipeline.encoded import Encoded
from ml_pipeline.settings import Settings, Train
from ml_pipeline.steps.tune import SPLITS

if TYPE_CHECKING:
    from xgboost import Booster


def train(
    encoded_uri: str,
    feature_spec_uri: str,
    best: dict[str, Any],
    checkpoint_path: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    """Trains with the hyperparameters `best`, or resumes from checkpoint_path; writes model and curve.

    Returns summary, model_uri, rounds (trees of a class in the model), learning_curve_uri.
    Raises ValueError for hyperparameters or a device that cannot be used.
    """
    from ml_pipeline import boosting  # here, because the command line would wait for XGBoost

    plan = boosting.training_plan(best, settings)
    training, validation = (encoded.read(f"{encoded_uri}/{split}.parquet") for split in SPLITS)
    weight = class_weights(training.label, settings.train.class_weight, settings.data.problem)
    trained = boosting.fit(
        boosting.Rows(training.features, training.label, weight),
        boosting.Rows(validation.features, validation.label),
        plan,
        Path(checkpoint_path),
    )
    booster = boosting.cut(trained, plan)
    if settings.data.problem == "binary":
        threshold = decision_threshold(booster, validation, settings.train)
        booster.set_attr(decision_threshold=repr(threshold))
    model_uri, curve_uri = (
        settings.uri(execution_id, "train", name) for name in ("model.tar.gz", "learning_curve.json")
    )
    watched = {"train": min(len(training.label), plan.curve_rows), "validation": len(validation.label)}
    head = {"metric": plan.metric, "best_round": boosting.best_round(trained.curve, plan), "rows": watched}
    curve = {**head, **trained.curve}
    storage.write_json(curve_uri, curve)
    storage.write_bytes(model_uri, packed(booster, storage.read_bytes(feature_spec_uri)))
    rounds = booster.num_boosted_rounds()
    scores = ", ".join(f"{split} {trained.curve[split][plan.metric][rounds - 1]:.4f}" for split in SPLITS)
    summary = f"{rounds} of {trained.rounds} rounds kept, {plan.metric}: {scores}"
    print(f"Train: {summary} -> {model_uri}", flush=True)
    return {"summary": summary, "model_uri": model_uri, "rounds": rounds, "learning_curve_uri": curve_uri}


def class_weights(label: np.ndarray, class_weight: str, problem: str) -> np.ndarray | None:
    """Weight of each row or None; balanced gives each class the same sum (scikit-learn's `balanced`)."""
    if class_weight == "none":
        return None
    if problem == "regression":
        raise ValueError("class_weight must be none for regression, got balanced (settings.toml, [train])")
    classes, places, counts = np.unique(label, return_inverse=True, return_counts=True)
    return (len(label) / (len(classes) * counts))[places]


def decision_threshold(booster: Booster, validation: Encoded, train: Train) -> float:
    """Score from which a row counts as positive: of settings, or the best for F1 on the validation split."""
    if train.decision_threshold != "max_f1":
        return float(train.decision_threshold)
    return metrics.best_f1_threshold(validation.label, booster.inplace_predict(validation.features))


def packed(booster: Booster, feature_spec: bytes) -> bytes:
    """model.tar.gz with `model.ubj` and `feature_spec.json`; the same model gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (
            ("feature_spec.json", feature_spec),
            ("model.ubj", bytes(booster.save_raw("ubj"))),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)
