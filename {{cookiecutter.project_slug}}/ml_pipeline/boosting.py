"""XGBoost with early stopping, in checkpointed segments that a spot interruption cannot change."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ml_pipeline import checkpoints, metrics
from ml_pipeline.checkpoints import Checkpoint
from ml_pipeline.names import OBJECTIVE_METRICS
from ml_pipeline.settings import Settings
from ml_pipeline.steps.tune import METRICS

# Metrics of the learning curve, by problem; the one that early stopping looks at is put last.
WATCHED = {"binary": ("logloss", "auc"), "multiclass": ("merror", "mlogloss"), "regression": ("mae", "rmse")}
# What tuning or the managed container adds, and what [train] of settings.toml decides instead.
NOT_OF_THE_BOOSTER = {
    "num_round",
    "early_stopping_rounds",
    "save_model_on_termination",
    "csv_weights",
    "eval_metric",
    "seed",
    "nthread",
    "device",
    "tree_method",
}
# Metrics that SageMaker's container adds: tuning may look at them, XGBoost itself does not know them.
CONTAINER_ONLY = {"accuracy", "balanced_accuracy", "mse", "r2"}
CONTAINER_ONLY |= {f"f1{kind}" for kind in ("", "_binary", "_macro")}
CONTAINER_ONLY |= {f"{kind}{mean}" for kind in ("precision", "recall") for mean in ("", "_macro", "_micro")}


@dataclass(frozen=True)
class Rows:
    """Encoded rows of one split: features shape (n, features), label and weight shape (n,)."""

    features: np.ndarray
    label: np.ndarray
    weight: np.ndarray | None = None

    def at(self, places: np.ndarray) -> Rows:
        weight = None if self.weight is None else self.weight[places]
        return Rows(self.features[places], self.label[places], weight)


@dataclass(frozen=True)
class Plan:
    """How to train. parameters: XGBoost's, without the seed. metric: what early stopping looks at.

    curve_rows: training rows that the learning curve looks at.
    """

    parameters: Mapping[str, Any]
    rounds: int
    metric: str
    early_stopping_rounds: int
    checkpoint_rounds: int
    curve_rows: int
    seed: int


def training_plan(best: Mapping[str, Any], settings: Settings) -> Plan:
    """The plan from XGBoost's hyperparameters (numbers may be text, as tuning gives them) and settings."""
    values = {name: _number(value) for name, value in best.items() if not name.startswith("_")}
    if values.get("booster", "gbtree") != "gbtree":
        raise ValueError(
            f"booster must be gbtree, got {values['booster']!r} (settings.toml, [train.hyperparameters])"
        )
    _check_device(settings.train.device)
    problem, wanted = settings.data.problem, settings.tune.objective.removeprefix("validation:")
    metric = METRICS[problem] if not wanted or wanted in CONTAINER_ONLY else wanted
    own = {
        "tree_method": "hist",
        "device": settings.train.device,
        "nthread": settings.train.threads,
        "eval_metric": [*(name for name in WATCHED[problem] if name != metric), metric],
    }
    parameters = {name: value for name, value in values.items() if name not in NOT_OF_THE_BOOSTER} | own
    train = settings.train
    return Plan(
        parameters,
        int(values["num_round"]),
        metric,
        train.early_stopping_rounds,
        train.checkpoint_rounds,
        train.curve_rows,
        train.seed,
    )


def fit(train: Rows, validation: Rows, plan: Plan, folder: Path) -> Checkpoint:
    """The training after its last round, from the newest checkpoint in the folder that belongs to it if any.

    Every segment begins with a seed of its own and a booster read from bytes, whether or not the training was
    interrupted in between: a resumed training gives the uninterrupted one's bytes by construction.
    """
    identity = fingerprint(train, validation, plan)
    matrix = _matrix(train, plan)
    watched = {"train": _watched(train, matrix, plan), "validation": _matrix(validation, plan, matrix)}
    state = checkpoints.newest(folder, identity)
    if state:
        print(f"Train: resumed after {state.rounds} rounds from {folder}", flush=True)
    while state is None or (state.rounds < plan.rounds and not stopped(state.curve, plan)):
        state = _segment(matrix, watched, plan, state)
        checkpoints.save(folder, state, identity)
    return state


def _matrix(rows: Rows, plan: Plan, cuts_of: xgboost.DMatrix | None = None) -> xgboost.DMatrix:
    """The rows in bins, a byte a cell. cuts_of: the matrix whose bins they are put into."""
    return xgboost.QuantileDMatrix(
        rows.features,
        rows.label,
        weight=rows.weight,
        ref=cuts_of,
        max_bin=plan.parameters.get("max_bin"),
        nthread=plan.parameters["nthread"] or None,
    )


def _watched(train: Rows, matrix: xgboost.DMatrix, plan: Plan) -> xgboost.DMatrix:
    """What the training side of the learning curve is measured on: sorting all of a million rows for their
    AUC after each round would take as long as training them."""
    if len(train.label) <= plan.curve_rows:
        return matrix
    return _matrix(train.at(metrics.drawn_rows(len(train.label), plan.curve_rows, plan.seed)), plan, matrix)


def _segment(
    matrix: xgboost.DMatrix, watched: Mapping[str, xgboost.DMatrix], plan: Plan, state: Checkpoint | None
) -> Checkpoint:
    """The state after up to checkpoint_rounds more rounds."""
    first = state.rounds if state else 0
    ranked = watched if _ranks(plan) else {}
    progress = _Progress(plan, first, state.curve if state else {}, ranked)
    measured = [name for name in plan.parameters["eval_metric"] if not (ranked and name == "auc")]
    booster = xgboost.train(
        {**plan.parameters, "eval_metric": measured, "seed": plan.seed + first},
        matrix,
        min(plan.checkpoint_rounds, plan.rounds - first),
        evals=[(rows, split) for split, rows in watched.items()],
        xgb_model=bytearray(state.booster) if state else None,
        callbacks=[progress],
        verbose_eval=False,
    )
    _check_device_used(booster, plan.parameters["device"])
    return Checkpoint(bytes(booster.save_raw("ubj")), progress.curve)


def _ranks(plan: Plan) -> bool:
    """Whether the AUC is measured here: XGBoost's own takes a sixth of a large training.

    Rows of one class have one weight, if any, which changes no AUC.
    """
    return plan.parameters.get("objective") == "binary:logistic" and "auc" in plan.parameters["eval_metric"]


class _Progress(xgboost.callback.TrainingCallback):
    """Adds each round to the curve, prints it as SageMaker's metric patterns want it, stops early.

    ranked: rows by split whose AUC XGBoost does not measure.
    """

    def __init__(
        self,
        plan: Plan,
        first: int,
        curve: Mapping[str, Mapping[str, list[float]]],
        ranked: Mapping[str, xgboost.DMatrix],
    ) -> None:
        self.plan, self.first = plan, first
        self.curve = {split: {name: list(v) for name, v in found.items()} for split, found in curve.items()}
        self.ranked = {split: (rows, rows.get_label() == 1) for split, rows in ranked.items()}

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        shown = []
        for split, values in evals_log.items():
            found = {name: float(history[-1]) for name, history in values.items()}
            if split in self.ranked:
                rows, positive = self.ranked[split]
                found["auc"] = metrics.auc(_scores(model, rows), positive)
            for name, value in found.items():
                self.curve.setdefault(split, {}).setdefault(name, []).append(value)
                shown.append(f"{split}-{name}:{value:.5f}")
        print(f"[{self.first + epoch}]", *shown, sep="\t", flush=True)
        if not math.isfinite(self.curve["validation"][self.plan.metric][-1]):
            raise ValueError(
                f"validation {self.plan.metric} is not a number after round {self.first + epoch}: the "
                "validation split needs rows of every class, and hyperparameters must be in range"
            )
        return stopped(self.curve, self.plan)


def _scores(model: xgboost.Booster, rows: xgboost.DMatrix) -> np.ndarray:
    """Booster.predict's, but for a last digit, in a tenth of the time: its own logistic function is slow."""
    with np.errstate(over="ignore"):  # of what is as good as never positive
        return 1 / (1 + np.exp(-model.predict(rows, output_margin=True)))


def best_round(curve: Mapping[str, Mapping[str, list[float]]], plan: Plan) -> int:
    """First round (from 0) with the best validation value."""
    values = np.array(curve["validation"][plan.metric])
    return int(values.argmax() if OBJECTIVE_METRICS[plan.metric] else values.argmin())


def stopped(curve: Mapping[str, Mapping[str, list[float]]], plan: Plan) -> bool:
    """Whether early_stopping_rounds rounds have passed without a better validation value."""
    last = len(curve["validation"][plan.metric]) - 1
    return last - best_round(curve, plan) >= plan.early_stopping_rounds


def cut(trained: Checkpoint, plan: Plan) -> xgboost.Booster:
    """The model up to its best round."""
    booster = xgboost.Booster(model_file=bytearray(trained.booster))
    return booster[: best_round(trained.curve, plan) + 1]


def fingerprint(train: Rows, validation: Rows, plan: Plan) -> str:
    """SHA-256 of all that decides what the training gives: data, plan and library."""
    digest = hashlib.sha256(json.dumps([asdict(plan), xgboost.__version__], sort_keys=True).encode())
    for rows in (train, validation):
        for array in (rows.features, rows.label, rows.weight):
            digest.update(b"none" if array is None else f"{array.shape}{array.dtype}".encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _check_device(device: str) -> None:
    if device == "cuda" and not xgboost.build_info()["USE_CUDA"]:
        raise ValueError(
            f'device is "cuda" (settings.toml, [train]), but XGBoost {xgboost.__version__} here has no CUDA: '
            'install `xgboost` in place of `xgboost-cpu` in the image, or set device = "cpu"'
        )


def _check_device_used(booster: xgboost.Booster, device: str) -> None:
    """XGBoost falls back to the CPU where it finds no GPU."""
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if used.partition(":")[0] != device:
        raise ValueError(
            f'device is "{device}" (settings.toml, [train]), but XGBoost trained on {used}: choose an '
            'instance_type with a GPU, or set device = "cpu"'
        )


def _number(value: Any) -> Any:
    """Texts that are numbers as numbers: tuning gives all values as text."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
