"""A trained model with its baselines, and periods that it has scored: what Monitor finds in the bucket."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd

from ml_pipeline import serving, storage
from ml_pipeline.features import FeatureSpec
from ml_pipeline.settings import Settings
from ml_pipeline.steps.bias import bias
from ml_pipeline.steps.evaluate import evaluate, load
from ml_pipeline.steps.monitor import monitor
from ml_pipeline.steps.process import process
from ml_pipeline.steps.train import train

TRAINED, SCORED = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
OBJECTIVE = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}
DATA = {"ids": ("id",), "facets": ("sex",), "group": "region"}
WORDS = {"binary": ["no", "yes"], "multiclass": ["low", "mid", "top"]}


def applicants(rows: int, seed: int, problem: str = "binary") -> pd.DataFrame:
    """Rows of a world that does not change; those of two seeds differ by chance alone."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"{seed}-{place}" for place in range(rows)],
            "sex": generator.choice(["female", "male"], rows, p=[0.4, 0.6]),
            "income": generator.normal(40, 12, rows).round(2),
            "debt": generator.exponential(5, rows).round(2),
            "region": generator.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2]),
        }
    )
    frame.loc[generator.random(rows) < 0.05, "debt"] = np.nan
    return frame.assign(approved=labels(frame, generator, problem))


def labels(frame: pd.DataFrame, generator: np.random.Generator, problem: str = "binary") -> np.ndarray:
    value = frame["income"] / 12 + (frame["region"] == "north") + (frame["sex"] == "male") * 0.5
    value = (value - frame["debt"].fillna(5) / 5 + generator.normal(0, 0.5, len(frame))).to_numpy()
    if problem == "regression":
        return value.round(3)
    bounds = [3.0] if problem == "binary" else [2.5, 4.0]
    return np.array(WORDS[problem])[np.digitize(value, bounds)]


@dataclass(frozen=True)
class World:
    """A model and its baselines in the bucket."""

    settings: Settings
    package: dict[str, Any]

    def score(
        self, periods: dict[str, pd.DataFrame | dict[str, Any]], execution: str = SCORED
    ) -> dict[str, Any]:
        """What Monitor returns for these periods, ready ones as rows, others as Select describes them."""
        entries = [
            self.answered(period, found, execution)
            if isinstance(found, pd.DataFrame)
            else {"period": period, **found}
            for period, found in periods.items()
        ]
        place = self.settings.uri(execution, "transform")
        return monitor(self.package, entries, place, execution, self.settings)

    def answered(self, period: str, rows: pd.DataFrame, execution: str, objects: int = 2) -> dict[str, Any]:
        """The entry of a period whose rows batch transform has answered, in so many objects."""
        model, spec = load(self.package["model_uri"]), self.spec
        columns = [*self.package["passed_columns"], *spec.names]
        for place, part in enumerate(np.array_split(np.arange(len(rows)), objects)):
            some = rows.iloc[part]
            found = model.predict({name: some[name].to_numpy() for name in spec.names}).columns
            outputs = {name: serving_texts(values) for name, values in found.items()}
            answer = some[columns].assign(**outputs).to_csv(index=False, header=False)
            uri = self.settings.uri(execution, "transform", period, f"part-{place}.csv.out")
            storage.write_bytes(uri, answer.encode())
        names = [f"part-{place}" for place in range(objects)]
        return {"period": period, "state": "ready", "objects": names, "rows": len(rows), "broken": []}

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.from_json(storage.read_bytes(self.package["feature_spec_uri"]))

    def uri(self, *parts: str) -> str:
        return "/".join((f"s3://{self.settings.bucket}", *parts))

    def truth(self, period: str, rows: pd.DataFrame, name: str = "labels.csv", **options: Any) -> None:
        """Complete ground truth of a period; options of to_csv."""
        content = rows[["id", "approved"]].to_csv(index=False, **options)
        self.put_truth(period, name, content.encode())

    def put_truth(self, period: str, name: str, content: bytes) -> None:
        storage.write_bytes(self.uri("truth", period, name), content)
        storage.mark_success(self.uri("truth", period))

    def drift(self, period: str) -> dict[str, Any]:
        return storage.read_json(self.uri("score", period, "monitor", "drift.json"))

    def names(self, prefix: str) -> list[str]:
        """Keys below the prefix."""
        return [storage.split_uri(uri)[1] for uri, _ in storage.list_uris(self.uri(prefix))]

    def training_rows(self, period: str) -> int:
        """Rows of the training data that Monitor has made of the period."""
        return len(storage.read_parquet(self.uri("raw", period, "data.parquet")))

    def table(self, period: str, name: str) -> pd.DataFrame:
        """A file of scores as it was published."""
        return pd.read_csv(self.uri_of_bytes("score", period, "output", name), dtype=str)

    def uri_of_bytes(self, *parts: str) -> Any:
        return storage.stream(self.uri(*parts))


def serving_texts(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.words[values.places]


def sent() -> dict[str, float]:
    """The largest value of each metric that CloudWatch holds, in this process, but for those of a feature."""
    client = boto3.client("cloudwatch")
    listed = client.list_metrics(Namespace="MLPipeline")["Metrics"]
    own = [metric for metric in listed if all(each["Name"] != "Feature" for each in metric["Dimensions"])]
    return {metric["MetricName"]: value_of(client, metric) for metric in own}


def value_of(client: Any, metric: dict[str, Any]) -> float:
    now = datetime.now(UTC)
    points = client.get_metric_statistics(
        Namespace="MLPipeline",
        MetricName=metric["MetricName"],
        Dimensions=metric["Dimensions"],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max(point["Maximum"] for point in points)


def make(settings: Settings, scratch: Path, rows: int = 3000) -> None:
    """Process, Train, Transform, Evaluate and Bias of the training world."""
    problem = settings.data.problem
    raw_uri = f"s3://{settings.bucket}/given/data.csv"
    storage.write_bytes(raw_uri, applicants(rows, 1, problem).to_csv(index=False).encode())
    done = process(raw_uri, "manual", TRAINED, settings)
    best = {"num_round": 20, "eta": 0.3, "max_depth": 3, **OBJECTIVE[problem]}
    trained = train(done["encoded_uri"], done["feature_spec_uri"], best, str(scratch), TRAINED, settings)
    answered_uri = settings.uri(TRAINED, "transform", "test.csv.out")
    storage.write_bytes(answered_uri, _answers(done["transform_input_uri"], trained["model_uri"]))
    splits = done["splits_uri"], done["encoded_uri"]
    evaluated = evaluate(*splits, trained["model_uri"], answered_uri, TRAINED, settings)
    if settings.data.facets:
        bias(*splits, evaluated["predictions_uri"], evaluated["metrics_uri"], TRAINED, settings)


def _answers(input_uri: str, model_uri: str) -> bytes:
    lines = storage.read_bytes(input_uri).decode().splitlines()
    body = "\n".join(line.split(",", 2)[2] for line in lines).encode()
    call = serving.Call("text/csv", False, "text/csv", False)
    answers = serving.answer(load(model_uri), body, call).decode().splitlines()
    return "".join(f"{line},{answer}\n" for line, answer in zip(lines, answers, strict=True)).encode()


def package(settings: Settings) -> dict[str, Any]:
    """What Select returns of the model."""
    has_bias = bool(settings.data.facets)

    def uri(*parts: str) -> str:
        return settings.uri(TRAINED, *parts)

    return {
        "package_arn": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/loans-local/3",
        "version": 3,
        "model_uri": uri("train", "model.tar.gz"),
        "feature_spec_uri": uri("process", "feature_spec.json"),
        "thresholds": {
            "process": uri("process", "thresholds.json"),
            "evaluate": uri("evaluate", "thresholds.json"),
            "bias": uri("bias", "thresholds.json") if has_bias else None,
        },
        "baselines": {
            "statistics": uri("process", "statistics.json"),
            "constraints": uri("process", "constraints.json"),
            "quality_statistics": uri("evaluate", "model_quality_statistics.json"),
            "quality_constraints": uri("evaluate", "model_quality_constraints.json"),
            "attributions": uri("evaluate", "attributions.json"),
            "bias": uri("bias", "analysis.json") if has_bias else None,
        },
        "passed_columns": [*settings.data.ids, *settings.data.facets],
    }


def replaced(settings: Settings, **data: Any) -> Settings:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **data))
