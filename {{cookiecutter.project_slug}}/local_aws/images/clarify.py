"""The bias part of SageMaker's Clarify container, with AWS's own formulas (smclarify 0.5).

Of smclarify only the metrics are used, on boolean columns made here: its report guesses whether a column is
continuous, and is silently wrong on few rows, on 0/1 labels stored as floats, and on pandas 3's strings.
FT has the sign of the code, which is the container's, not that of the documentation.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.container import ContainerError

if TYPE_CHECKING:
    import pandas as pd

CONFIG, DATA, OUTPUT = "processing/input/config", "processing/input/data", "processing/output"
KNOWN = (
    *("version", "dataset_type", "dataset_uri", "headers", "label", "label_values_or_threshold"),
    *(
        "predicted_label",
        "excluded_columns",
        "joinsource_name_or_index",
        "group_variable",
        "facet",
        "methods",
    ),
)
REQUIRED = ("dataset_type", "label", "label_values_or_threshold", "facet", "methods")
STAGES = {"pre_training_bias": "PRETRAINING_METRICS", "post_training_bias": "POSTTRAINING_METRICS"}
CSV, PARQUET = "text/csv", "application/x-parquet"
# As smclarify: an integer column with more distinct values than this share of its rows is continuous.
CONTINUOUS_FRACTION = 0.05
FLAG_VALUES = 2


@dataclass(frozen=True)
class Bias:
    """What the metrics are computed from.

    rows: all columns but labels and excluded ones. label, predicted: the positive rows. group: its values.
    """

    rows: "pd.DataFrame"
    label: "pd.Series"
    predicted: "pd.Series | None"
    group: "pd.Series | None"


def main(root: Path, record: dict) -> None:
    """The container's entry point: analysis.json of the dataset."""
    (path,) = (root / CONFIG).glob("analysis_config.json") or [None]
    if path is None:
        raise ContainerError(f"no analysis_config.json in /opt/ml/{CONFIG}")
    config = json.loads(path.read_text())
    check(config)
    frame = read_dataset(root / DATA, config)
    report = analysis(frame, config)
    (root / OUTPUT / "analysis.json").write_text(json.dumps(report, indent=1, allow_nan=False))
    print(f"Analysed {len(frame):,} rows for {len(config['facet'])} facets", flush=True)


def check(config: dict) -> None:
    """Raises ContainerError for what is missing, and by name for what is not stood in for."""
    if unknown := [name for name in config if name not in KNOWN]:
        raise ContainerError(f"analysis_config: {', '.join(unknown)} is not supported by the local AWS")
    for name in (name for name in REQUIRED if not config.get(name)):
        raise ContainerError(f"analysis_config: {name} is required for a bias analysis")
    if unknown := [name for name in config["methods"] if name not in STAGES]:
        raise ContainerError(
            f"analysis_config: methods {', '.join(unknown)}: the local AWS has none of these"
        )
    if "post_training_bias" in config["methods"] and "predicted_label" not in config:
        raise ContainerError("analysis_config: post_training_bias needs predicted_label, a column")


def read_dataset(folder: Path, config: dict) -> "pd.DataFrame":
    """The dataset with its headers."""
    import pandas as pd

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kind, headers = config["dataset_type"], config.get("headers")
    if kind == CSV:
        parts = [pd.read_csv(path, header=None if headers else 0, skipinitialspace=True) for path in files]
    elif kind == PARQUET:
        parts = [pd.read_parquet(path) for path in files]
    else:
        raise ContainerError(f"analysis_config: dataset_type {kind!r} is not supported by the local AWS")
    if not parts:
        raise ContainerError(f"no files in /opt/ml/{DATA}")
    frame = pd.concat(parts, ignore_index=True)
    if headers and len(headers) != frame.shape[1]:
        raise ContainerError(f"{len(headers)} headers for {frame.shape[1]} columns of the dataset")
    return frame.set_axis(headers, axis=1) if headers else frame


def analysis(frame: "pd.DataFrame", config: dict) -> dict[str, Any]:
    """Clarify's analysis.json of the dataset."""
    wanted, label_name = config["label_values_or_threshold"], column(frame, config["label"])
    label, text = chosen(frame[label_name], wanted)
    bias = bias_of(frame, config, label)
    groups = [
        (column(frame, facet["name_or_index"]), facet.get("value_or_threshold")) for facet in config["facet"]
    ]
    head = {"label": label_name, "label_value_or_threshold": text}
    return {"version": "1.0"} | {
        f"{stage}_metrics": {
            **head,
            "facets": {name: _facet(bias, name, values, stage, config) for name, values in groups},
        }
        for stage in config["methods"]
    }


def bias_of(frame: "pd.DataFrame", config: dict, label: "pd.Series") -> Bias:
    """Predictions count as positive by the rule that the label's column is read by."""
    wanted, label_name = config["label_values_or_threshold"], column(frame, config["label"])
    join = [config["joinsource_name_or_index"]] if "joinsource_name_or_index" in config else []
    without = [label_name, *(column(frame, name) for name in [*config.get("excluded_columns", []), *join])]
    predicted, group = None, None
    if "predicted_label" in config:
        name = column(frame, config["predicted_label"])
        predicted = _above(frame[name], wanted) if _is_threshold(frame[label_name], wanted) else None
        predicted = _equal(frame[name], wanted) if predicted is None else predicted
        without.append(name)
    if "group_variable" in config:
        group = frame[column(frame, config["group_variable"])]
    return Bias(frame.drop(columns=without), label, predicted, group)


def column(frame: "pd.DataFrame", name_or_index: str | int) -> str:
    """The column's name. ContainerError when there is none."""
    if isinstance(name_or_index, int) and name_or_index in range(frame.shape[1]):
        return frame.columns[name_or_index]
    if name_or_index not in frame.columns:
        known = ", ".join(map(str, frame.columns))
        raise ContainerError(f"the dataset has no column {name_or_index!r}: it has {known}")
    return name_or_index


def chosen(values: "pd.Series", wanted: list) -> tuple["pd.Series", str]:
    """Which rows have a wanted value, or lie above the one threshold; and how Clarify names that."""
    if _is_threshold(values, wanted):
        return _above(values, wanted), f"({float(wanted[0])}, {float(values.max())}]"
    return _equal(values, wanted), ",".join(map(str, wanted))


def _above(values: "pd.Series", wanted: list) -> "pd.Series":
    return values > float(wanted[0])


def _is_threshold(values: "pd.Series", wanted: list) -> bool:
    """smclarify's rule, but for flags: a column of two whole numbers is never continuous."""
    kind, distinct = values.dtype.kind, values.nunique()
    if len(wanted) != 1 or kind not in "iuf":
        return False
    if distinct <= FLAG_VALUES and all(float(value).is_integer() for value in values.dropna().unique()):
        return False
    return kind == "f" or distinct >= CONTINUOUS_FRACTION * values.count()


def _equal(values: "pd.Series", wanted: list) -> "pd.Series":
    """Rows with a wanted value; `1`, `1.0` and `"1"` are one value, so are `true` and `"True"`."""
    if values.dtype.kind in "iuf":
        return values.isin([float(value) for value in wanted if _is_number(value)])
    return values.astype(str).isin([str(value) for value in wanted])


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


def _facet(bias: Bias, name: str, wanted: list | None, stage: str, config: dict) -> list[dict]:
    """One entry for the values named, or for each value of the column when none is."""
    values, methods = bias.rows[name], config["methods"][stage].get("methods", "all")
    groups = [wanted] if wanted else [[value] for value in values.dropna().unique()]
    rest = bias.rows.drop(columns=name)
    return [_entry(bias, rest, *chosen(values, group), stage, methods) for group in groups]


def _entry(
    bias: Bias, rows: "pd.DataFrame", facet: "pd.Series", text: str, stage: str, methods: str | list[str]
) -> dict:
    """The metrics of one facet group; `rows` are the features of the flip test."""
    import smclarify.bias.metrics as smclarify

    functions = {function.__name__: function for function in getattr(smclarify, STAGES[stage])}
    names = sorted(functions if methods == "all" else methods)
    if unknown := [name for name in names if name not in functions]:
        raise ContainerError(f"analysis_config: {stage} has no metric {', '.join(unknown)}")
    arguments = {
        "df": rows,
        "feature": facet,
        "sensitive_facet_index": facet,
        "label": bias.label,
        "positive_label_index": bias.label,
        "predicted_label": bias.predicted,
        "positive_predicted_label_index": bias.predicted,
        "group_variable": bias.group,
    }
    return {"value_or_threshold": text, "metrics": [_metric(functions[name], arguments) for name in names]}


def _metric(function: Any, arguments: dict) -> dict:
    """One entry of analysis.json: null with the reason where the metric cannot be computed."""
    from smclarify.bias.metrics import call_metric, common

    entry = {"name": function.__name__, "description": common.metric_description(function)}
    try:
        value = float(call_metric(function, **arguments))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        return entry | {"value": None, "error": str(error)}
    if math.isnan(value):
        return entry | {"value": None, "error": "the metric is not a number on this data"}
    if math.isinf(value):
        return entry | {"value": "Infinity" if value > 0 else "-Infinity"}
    return entry | {"value": value}
