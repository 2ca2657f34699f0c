"""What the XGBoost 3.2-0 container accepts as hyperparameters, all of which arrive as text."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from local_aws.container import ContainerError

MAXIMISED = (
    *("accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg"),
    *("precision", "precision_macro", "precision_micro", "r2", "recall", "recall_macro", "recall_micro"),
)
MINIMISED = (
    *(
        "aft-nloglik",
        "cox-nloglik",
        "error",
        "gamma-deviance",
        "gamma-nloglik",
        "interval-regression-accuracy",
    ),
    *("logloss", "mae", "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle"),
    "tweedie-nloglik",
)
OBJECTIVES = (
    *("aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson"),
    *("multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map"),
    *("reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma"),
    *("reg:pseudohubererror", "reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox"),
)
WITH_THRESHOLD = ("error", "ndcg", "map")
ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}
TUNING_METRIC = "_tuning_objective_metric"
# Those that the project's settings do not take; its trials are trees of the method hist.
UNSUPPORTED = (
    *("csv_weights", "_kfold", "_num_cv_round", "use_dask_gpu_training", "booster", "verbosity", "updater"),
    *("dsplit", "refresh_leaf", "process_type", "predictor", "sample_type", "normalize_type", "rate_drop"),
    *("one_drop", "skip_drop", "lambda_bias", "deterministic_histogram"),
    *("aft_loss_distribution", "aft_loss_distribution_scale"),
)

Value = int | float | str
Reader = Callable[[str], Value | None]


@dataclass(frozen=True)
class Number:
    """Reads a number within [low, high]; the bounds named open are excluded."""

    kind: type[int] | type[float]
    low: float = -math.inf
    high: float = math.inf
    open: str = ""

    def __call__(self, text: str) -> Value | None:
        try:
            number = self.kind(text)
        except ValueError:
            return None
        above = number > self.low if "low" in self.open else number >= self.low
        below = number < self.high if "high" in self.open else number <= self.high
        return number if above and below else None


def one_of(*allowed: str) -> Reader:
    return lambda text: text if text in allowed else None


def list_of(allowed: Callable[[str], bool]) -> Reader:
    return lambda text: text if all(allowed(part.strip()) for part in text.split(",")) else None


def is_metric(name: str) -> bool:
    base, _, threshold = name.partition("@")
    if not threshold:
        return name in MAXIMISED + MINIMISED
    return base in WITH_THRESHOLD and Number(float)(threshold) is not None


def tuning_metric(text: str) -> str | None:
    channel, _, metric = text.partition(":")
    return text if channel in ("train", "validation") and is_metric(metric) else None


def text(value: str) -> str:
    return value


COUNT, NATURAL = Number(int, 1), Number(int, 0)
FRACTION = Number(float, 0, 1)
RATE = Number(float, 0, 1, open="low")
POSITIVE, NOT_NEGATIVE = Number(float, 0, open="low"), Number(float, 0)
READERS: dict[str, Reader] = {
    "num_round": COUNT,
    "early_stopping_rounds": COUNT,
    "nthread": COUNT,
    "eta": FRACTION,
    "gamma": NOT_NEGATIVE,
    "max_depth": NATURAL,
    "min_child_weight": NOT_NEGATIVE,
    "max_delta_step": NOT_NEGATIVE,
    "subsample": RATE,
    "colsample_bytree": RATE,
    "colsample_bylevel": RATE,
    "colsample_bynode": RATE,
    "lambda": NOT_NEGATIVE,
    "alpha": NOT_NEGATIVE,
    "tree_method": one_of("auto", "exact", "approx", "hist"),
    "sketch_eps": Number(float, 0, 1, open="low high"),
    "scale_pos_weight": POSITIVE,
    "grow_policy": one_of("depthwise", "lossguide"),
    "max_leaves": NATURAL,
    "max_bin": NATURAL,
    "monotone_constraints": text,
    "interaction_constraints": text,
    "tweedie_variance_power": Number(float, 1, 2, open="low high"),
    "objective": one_of(*OBJECTIVES),
    "num_class": Number(int, 2),
    "base_score": NOT_NEGATIVE,
    TUNING_METRIC: tuning_metric,
    "eval_metric": list_of(is_metric),
    "seed": Number(int, -(2**31), 2**31 - 1, open="low high"),
    "num_parallel_tree": COUNT,
    "save_model_on_termination": one_of("true", "false"),
    "sampling_method": one_of("uniform", "gradient_based"),
}


def validated(given: dict[str, str]) -> dict[str, Value]:
    """The hyperparameters by XGBoost's name, numbers as such. ContainerError as the container reports it."""
    values: dict[str, Value] = {}
    for name, raw in given.items():
        known = ALIASES.get(name, name)
        if known in UNSUPPORTED:
            raise ContainerError(f"Hyperparameter {name} is not supported by the local AWS")
        if known not in READERS:
            raise ContainerError(f"Extraneous hyperparameter found: {name}")
        value = READERS[known](raw)
        if value is None:
            raise ContainerError(f"Hyperparameter {name}: value {raw!r} is of the wrong type or out of range")
        values[known] = value
    _check_together(values)
    return values


def _check_together(values: dict[str, Value]) -> None:
    objective, metrics = values.get("objective"), str(values.get("eval_metric", "")).split(",")
    if "num_round" not in values:
        raise ContainerError("Missing required hyperparameter: num_round")
    if metrics != [""] and objective is None:
        raise ContainerError(f"eval_metric={values['eval_metric']} needs the hyperparameter objective")
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in values:
        raise ContainerError("Require input for parameter 'num_class' for multi-classification")
    if "auc" in metrics and not str(objective).startswith(("binary:", "rank:")):
        raise ContainerError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "monotone_constraints" in values and values.get("tree_method") not in ("exact", "hist"):
        raise ContainerError("monotone_constraints can be used only when tree_method is 'exact' or 'hist'.")
    if "interaction_constraints" in values and values.get("tree_method") not in ("exact", "hist", "approx"):
        raise ContainerError(
            "interaction_constraints can be used only when tree_method is 'exact', 'hist' or 'approx'."
        )
