"""The managed XGBoost 3.2-0 container in algorithm mode."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.container import ContainerError
from local_aws.images.xgboost_hyperparameters import MAXIMISED, TUNING_METRIC, Value, validated

if TYPE_CHECKING:
    import numpy as np
    import xgboost as xgb

CHANNELS = ("train", "validation", "code")
CSV = ("text/csv", "csv", "text/csv; label_size=1")
FOR_CONTAINER = (
    "num_round",
    "early_stopping_rounds",
    "save_model_on_termination",
    TUNING_METRIC,
)
MAX_DEPTH = 3
MODEL_FILE = "xgboost-model"


def main(root: Path, record: dict) -> None:
    """The container's entry point."""
    config = root / "input" / "config"
    values = validated(json.loads((config / "hyperparameters.json").read_text()))
    channels = json.loads((config / "inputdataconfig.json").read_text())
    check_channels(channels)
    stop = StopRequest(save=values.get("save_model_on_termination") == "true")
    matrices = {
        name: matrix(name, root / "input" / "data" / name, values)
        for name in ("train", "validation")
        if name in channels
    }
    if len({data.num_col() for data in matrices.values()}) > 1:
        counts = ", ".join(f"{name} {data.num_col()}" for name, data in matrices.items())
        raise ContainerError(f"The channels have different numbers of features: {counts}")
    booster = train(values, matrices, stop)
    path = root / "model" / MODEL_FILE
    booster.save_model(path.with_suffix(".ubj"))
    path.with_suffix(".ubj").rename(path)  # the container names no extension; XGBoost writes UBJSON by it


def check_channels(channels: dict[str, dict]) -> None:
    """Raises ContainerError as the container does for a channel that it does not take."""
    for name, channel in channels.items():
        if name not in CHANNELS:
            raise ContainerError(f"Extraneous channel found: {name}")
        content = channel.get("ContentType", "text/libsvm")
        if name != "code" and content not in CSV:
            allowed = ", ".join(CSV)
            message = f"ContentType {content!r} is not supported by the local AWS, exactly {allowed} are"
            raise ContainerError(f"Channel {name}: {message}")
    if "train" not in channels:
        raise ContainerError("Missing required channel: train")


class StopRequest:
    """SIGTERM, remembered so that the model so far is saved; without `save` it ends the container at once."""

    def __init__(self, save: bool) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._remember if save else self._exit)

    def _remember(self, *_: object) -> None:
        self.received = True

    def _exit(self, *_: object) -> None:
        sys.exit(0)


def matrix(name: str, folder: Path, values: dict[str, Value]) -> "xgb.DMatrix":
    """The channel's rows: label first, then the features."""
    import xgboost as xgb

    rows = read_csv(data_files(name, folder))
    if rows.shape[1] < 2:
        raise ContainerError(f"Channel {name}: {rows.shape[1]} columns, there must be a label and features")
    print(f"{name} matrix has {len(rows)} rows and {rows.shape[1] - 1} columns", flush=True)
    return xgb.DMatrix(rows[:, 1:], label=rows[:, 0], nthread=threads(values))


def data_files(name: str, folder: Path) -> list[Path]:
    """The channel's files. ContainerError when there is none, or one that the container does not take."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or len(parts) > MAX_DEPTH + 1:
            raise ContainerError(f"Channel {name}: hidden or too deeply nested file {'/'.join(parts)}")
    if not files:
        raise ContainerError(f"No data in channel {name}")
    return files


def read_csv(files: list[Path]) -> "np.ndarray":
    """float32 rows of header-less files; empty cells are missing. ContainerError names a cell of text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    tables = []
    for path in files:
        try:
            tables.append(
                pa.csv.read_csv(
                    path, pa.csv.ReadOptions(autogenerate_column_names=True), None, _numbers(path)
                )
            )
        except pa.ArrowInvalid as error:
            raise ContainerError(f"{path.name}: not a header-less table of numbers: {error}") from error
    if len({table.num_columns for table in tables}) > 1:
        raise ContainerError(f"The files of a channel differ in columns: {[t.num_columns for t in tables]}")
    return np.vstack([_rows(table) for table in tables])


def _numbers(path: Path) -> Any:
    """How to convert the file's cells: all of them to numbers."""
    import pyarrow as pa
    import pyarrow.csv

    with path.open() as file:
        columns = file.readline().count(",") + 1
    types = {f"f{index}": pa.float32() for index in range(columns)}
    return pa.csv.ConvertOptions(column_types=types, null_values=["", "nan", "NaN", "NA"])


def _rows(table: Any) -> "np.ndarray":
    import numpy as np

    rows = np.empty((table.num_rows, table.num_columns), np.float32)
    for index, column in enumerate(table.columns):
        rows[:, index] = column.to_numpy()
    return rows


def threads(values: dict[str, Value]) -> int:
    """As many as the hyperparameter nthread says, else OMP_NUM_THREADS, else all cores."""
    return int(values.get("nthread") or os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def train(values: dict[str, Value], matrices: dict[str, "xgb.DMatrix"], stop: StopRequest) -> "xgb.Booster":
    """The booster; with early stopping only its rounds up to the best one.

    Prints each round's metrics. Early stopping watches the last metric on the channel validation.
    """
    import xgboost as xgb

    builtin, own = metrics(values)
    parameters = {name: value for name, value in values.items() if name not in FOR_CONTAINER}
    parameters |= {"nthread": threads(values)} | ({"eval_metric": builtin} if builtin else {})
    if own and not builtin:
        parameters["disable_default_eval_metric"] = True
    callbacks: list[xgb.callback.TrainingCallback] = [report_rounds(stop)]
    if "early_stopping_rounds" in values and "validation" in matrices:
        callbacks.append(early_stopping(int(values["early_stopping_rounds"]), [*builtin, *own]))
    try:
        return xgb.train(
            parameters,
            matrices["train"],
            int(values["num_round"]),
            evals=[(data, name) for name, data in matrices.items()],
            custom_metric=own_metrics(own) if own else None,
            callbacks=callbacks,
            verbose_eval=False,
        )
    except xgb.core.XGBoostError as error:
        raise ContainerError(f"XGB train call failed with exception:\n{error}") from error


def metrics(values: dict[str, Value]) -> tuple[list[str], list[str]]:
    """The metrics to report: XGBoost's own, and those that the container adds; the tuning objective last."""
    names = [name.strip() for name in str(values.get("eval_metric", "")).split(",") if name.strip()]
    objective = str(values.get(TUNING_METRIC, "")).partition(":")[2]
    if objective and objective not in names:
        names.append(objective)
    own = [name for name in names if name in OWN_METRICS]
    return [name for name in names if name not in OWN_METRICS], own


def report_rounds(stop: StopRequest) -> "xgb.callback.TrainingCallback":
    import xgboost as xgb

    class ReportRounds(xgb.callback.TrainingCallback):
        def after_iteration(self, model: object, epoch: int, evals_log: dict) -> bool:
            scores = [
                f"{channel}-{name}:{values[-1]:.5f}"
                for channel, log in evals_log.items()
                for name, values in log.items()
            ]
            print("\t".join([f"[{epoch}]", *scores]), flush=True)
            return stop.received

    return ReportRounds()


def early_stopping(rounds: int, names: list[str]) -> "xgb.callback.EarlyStopping":
    import xgboost as xgb

    metric = names[-1] if names else None
    maximise = metric.partition("@")[0] in MAXIMISED if metric else None
    return xgb.callback.EarlyStopping(
        rounds, metric_name=metric, data_name="validation", maximize=maximise, save_best=True
    )


def own_metrics(names: list[str]) -> Any:
    """XGBoost's custom_metric for the container's own metrics, computed on predicted labels."""

    def scores(predictions: "np.ndarray", data: "xgb.DMatrix") -> list[tuple[str, float]]:
        labels = data.get_label()
        return [(name, float(OWN_METRICS[name](labels, predictions))) for name in names]

    return scores


def _on_classes(function: str, **options: str) -> Any:
    def score(labels: "np.ndarray", predictions: "np.ndarray") -> float:
        from sklearn import metrics as sklearn_metrics

        classes = predictions.argmax(axis=1) if predictions.ndim > 1 else (predictions > 0.5).astype(int)
        return getattr(sklearn_metrics, function)(labels, classes, **options)

    return score


def _on_values(function: str) -> Any:
    def score(labels: "np.ndarray", predictions: "np.ndarray") -> float:
        from sklearn import metrics as sklearn_metrics

        return getattr(sklearn_metrics, function)(labels, predictions)

    return score


OWN_METRICS = {
    "accuracy": _on_classes("accuracy_score"),
    "balanced_accuracy": _on_classes("balanced_accuracy_score"),
    "f1": _on_classes("f1_score", average="macro"),
    "f1_binary": _on_classes("f1_score", average="binary"),
    "f1_macro": _on_classes("f1_score", average="macro"),
    "precision": _on_classes("precision_score", average="binary"),
    "precision_macro": _on_classes("precision_score", average="macro"),
    "precision_micro": _on_classes("precision_score", average="micro"),
    "recall": _on_classes("recall_score", average="binary"),
    "recall_macro": _on_classes("recall_score", average="macro"),
    "recall_micro": _on_classes("recall_score", average="micro"),
    "mse": _on_values("mean_squared_error"),
    "r2": _on_values("r2_score"),
}
