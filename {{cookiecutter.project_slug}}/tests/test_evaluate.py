"""Evaluation of a model that Process and Train have made, with what its container answers as predictions."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, mean_squared_error, roc_auc_score

from ml_pipeline import approved, metrics, model_quality, serving, storage
from ml_pipeline.drift.bins import Bins
from ml_pipeline.features import Category, FeatureSpec, Target
from ml_pipeline.names import BETTER_HIGH
from ml_pipeline.settings import Settings
from ml_pipeline.steps.evaluate import evaluate, load, read_served
from ml_pipeline.steps.process import process
from ml_pipeline.steps.train import train

EXECUTION = "abcdefghijkl"
OBJECTIVE = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}


def table(problem: str, rows: int = 900) -> pd.DataFrame:
    """Applicants with an id, missing values and a label of two or three classes, or a number."""
    generator = np.random.default_rng(4)
    income, region = generator.normal(3, 1, rows), generator.choice(["north", "south", "west"], rows)
    value = income + (region == "north") + generator.normal(0, 0.2, rows)
    label = {
        "binary": np.where(value > 3.5, "yes", "no"),
        "multiclass": np.select([value < 3, value < 4], ["low", "mid"], "top"),
        "regression": value.round(3),
    }[problem]
    income[::9] = np.nan
    frame = {
        "id": [f"a{n:04}" for n in range(rows)],
        "income": income.round(3),
        "region": region,
        "label": label,
    }
    return pd.DataFrame(frame).rename(columns={"label": "approved"})


@dataclass(frozen=True)
class Ran:
    """A model and its predictions in the bucket, ready to be evaluated."""

    settings: Settings

    def uri(self, *parts: str) -> str:
        return self.settings.uri(EXECUTION, *parts)

    @property
    def model_uri(self) -> str:
        return self.uri("train", "model.tar.gz")

    @property
    def predictions_uri(self) -> str:
        return self.uri("transform", "test.csv.out")

    def evaluate(self) -> dict[str, Any]:
        places = (self.uri("process", "splits"), self.uri("process", "encoded"))
        return evaluate(*places, self.model_uri, self.predictions_uri, EXECUTION, self.settings)


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, bytes]]:
    """What Process, Train and Transform left in the bucket, so that each model is made once."""
    return {}


@pytest.fixture
def run(
    bucket: str, settings: Callable[..., Settings], tmp_path: Path, kept: dict[str, dict[str, bytes]]
) -> Callable[..., Ran]:
    """Makes a model and its predictions; `run("binary", rounds=20, gate={...})`."""

    def go(problem: str = "binary", rounds: int = 20, **sections: dict[str, Any]) -> Ran:
        data = {"problem": problem, "positive": "yes" if problem == "binary" else "", "ids": ("id",)}
        ran = Ran(settings(**{"data": data} | sections))
        s3 = boto3.client("s3")
        if f"{problem} {rounds}" not in kept:
            make(ran.settings, rounds, tmp_path / f"{problem}-{rounds}")
            uris = (uri for uri, _ in storage.list_uris(ran.settings.uri(EXECUTION)))
            kept[f"{problem} {rounds}"] = {uri: storage.read_bytes(uri) for uri in uris}
        for uri, content in kept[f"{problem} {rounds}"].items():
            s3.put_object(Bucket=bucket, Key=uri.partition(f"{bucket}/")[2], Body=content)
        return ran

    return go


def make(settings: Settings, rounds: int, checkpoints: Path) -> None:
    """Process, Train, Transform."""
    problem = settings.data.problem
    raw_uri = f"s3://{settings.bucket}/raw/2024-01-01/data.csv"
    storage.write_bytes(raw_uri, table(problem).to_csv(index=False).encode())
    done = process(raw_uri, "manual", EXECUTION, settings)
    best = {"num_round": rounds, "eta": 0.3, "max_depth": 3, **OBJECTIVE[problem]}
    places = (done["encoded_uri"], done["feature_spec_uri"], best, str(checkpoints))
    trained = train(*places, EXECUTION, settings)
    answers = batch_transform(done["transform_input_uri"], trained["model_uri"])
    storage.write_bytes(settings.uri(EXECUTION, "transform", "test.csv.out"), answers)


def batch_transform(input_uri: str, model_uri: str) -> bytes:
    """What a transform job writes: lines go to the container without id and label, its answer joins them."""
    lines = storage.read_bytes(input_uri).decode().splitlines()
    body = "\n".join(line.split(",", 2)[2] for line in lines).encode()
    call = serving.Call("text/csv", False, "text/csv", False)
    answers = serving.answer(load(model_uri), body, call).decode().splitlines()
    return "".join(f"{line},{answer}\n" for line, answer in zip(lines, answers, strict=True)).encode()


def predictions(ran: Ran) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(storage.read_bytes(ran.uri("evaluate", "predictions.csv"))))


def register(group: str, model_uri: str, status: str = "Approved") -> str:
    client = boto3.client("sagemaker")
    container = {"Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:1", "ModelDataUrl": model_uri}
    kinds = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    specification = {"Containers": [container], **kinds}
    return client.create_model_package(
        ModelPackageGroupName=group, ModelApprovalStatus=status, InferenceSpecification=specification
    )["ModelPackageArn"]


def test_metrics_are_those_of_the_served_predictions(run: Callable[..., Ran]) -> None:
    ran = run()
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    served = predictions(ran)
    test, label = document["test"], served["label"] == "yes"
    assert list(served) == ["id", "label", "predicted_label", "score"]
    assert test["auc"]["value"] == pytest.approx(roc_auc_score(label, served["score"]), abs=1e-9)
    assert test["f1"]["value"] == pytest.approx(f1_score(label, served["predicted_label"] == "yes"), abs=1e-9)
    assert ((served["score"] >= document["threshold"]) == (served["predicted_label"] == "yes")).all()
    counts = pd.crosstab(served["label"], served["predicted_label"])
    assert document["confusion_matrix"] == {"labels": ["no", "yes"], "counts": counts.to_numpy().tolist()}
    assert (document["problem"], document["primary"], document["champion"]) == ("binary", "auc", None)
    assert test["auc"]["low"] < test["auc"]["value"] < test["auc"]["high"]
    assert test["auc"]["trivial"] == 0.5
    assert document["fit"]["diagnosis"] in ("balanced", "overfit")
    for split in ("train", "validation", "test"):
        assert list(document[split]) == list(BETTER_HIGH["binary"])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_other_splits_are_scored_with_the_model(split: str, run: Callable[..., Ran]) -> None:
    ran = run()
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    frame = storage.read_parquet(ran.uri("process", "encoded", f"{split}.parquet"))
    scores = load(ran.model_uri).booster.inplace_predict(frame.drop(columns="label").to_numpy(np.float32))
    assert document[split]["auc"]["value"] == pytest.approx(roc_auc_score(frame["label"], scores), abs=1e-9)


def test_metrics_of_the_training_split_are_those_of_rows_drawn_by_seed(run: Callable[..., Ran]) -> None:
    ran = run(evaluate={"train_rows": 100})
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    frame = storage.read_parquet(ran.uri("process", "encoded", "train.parquet"))
    frame = frame.iloc[metrics.drawn_rows(len(frame), 100, ran.settings.split.seed)]
    scores = load(ran.model_uri).booster.inplace_predict(frame.drop(columns="label").to_numpy(np.float32))
    assert document["train"]["auc"]["value"] == pytest.approx(roc_auc_score(frame["label"], scores), abs=1e-9)


def test_multiclass_and_regression_are_evaluated_alike(run: Callable[..., Ran]) -> None:
    ran = run("multiclass")
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    served = predictions(ran)
    assert list(served) == ["id", "label", "predicted_label", "score_low", "score_mid", "score_top"]
    assert document["primary"] == "logloss"
    assert document["threshold"] is None
    accuracy = (served["label"] == served["predicted_label"]).mean()
    assert document["test"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert accuracy > 0.7 > document["test"]["accuracy"]["trivial"]


def test_regression_writes_label_and_prediction(run: Callable[..., Ran]) -> None:
    ran = run("regression")
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    served = predictions(ran)
    assert list(served) == ["id", "label", "prediction"]
    mse = mean_squared_error(served["label"], served["prediction"])
    assert document["test"]["rmse"]["value"] == pytest.approx(mse**0.5, abs=1e-6)
    assert document["test"]["rmse"]["value"] < document["test"]["rmse"]["trivial"]
    assert "confusion_matrix" not in document


SPOILT: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a row less": (
        lambda lines: lines[:-1],
        r"but the test split and the model make {rows} rows of 6: id, approved",
    ),
    "another order": (lambda lines: [lines[1], lines[0], *lines[2:]], r"row 1 has id = "),
    "another label": (lambda lines: [swapped_label(lines[0]), *lines[1:]], r"row 1 has approved = "),
    "another number": (
        lambda lines: [lines[0].replace(",", ",", 1), *map(shifted, lines[1:])],
        r"has income = ",
    ),
    "a column less": (
        lambda lines: [line.rpartition(",")[0] for line in lines],
        r"{rows} rows of 5 columns, but",
    ),
}


def swapped_label(line: str) -> str:
    return line.replace(",yes,", ",NO,", 1).replace(",no,", ",yes,", 1).replace(",NO,", ",no,", 1)


def shifted(line: str) -> str:
    cells = line.split(",")
    return ",".join([*cells[:2], "9.5", *cells[3:]])


@pytest.mark.parametrize("spoilt", SPOILT)
def test_predictions_of_other_rows_are_refused(spoilt: str, run: Callable[..., Ran]) -> None:
    ran = run()
    spoil, message = SPOILT[spoilt]
    lines = storage.read_bytes(ran.predictions_uri).decode().splitlines()
    storage.write_bytes(ran.predictions_uri, "\n".join(spoil(lines)).encode())
    with pytest.raises(ValueError, match=message.format(rows=len(lines))):
        ran.evaluate()


def test_a_line_break_within_quotes_ends_no_row_of_predictions_of_any_length() -> None:
    rows = 200_000  # 2.4 MB, which are read in parts
    spec = FeatureSpec((), (Category("note", ("a\nb",)),), Target("y", "regression", (), ""), ())
    raw = pd.DataFrame({"y": np.ones(rows), "note": ["a\nb"] * rows})
    served = read_served(b'1.0,"a\nb",2\n' * rows, raw, spec, "s3://bucket/test.csv.out")
    assert served["prediction"].unique().to_pylist() == ["2"]


def test_the_newest_approved_version_is_scored_on_the_same_rows(run: Callable[..., Ran]) -> None:
    ran = run(rounds=1)
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="loans-local")
    assert storage.read_json(ran.evaluate()["metrics_uri"])["champion"] is None
    weak_uri = f"s3://{ran.settings.bucket}/weak.tar.gz"
    storage.write_bytes(weak_uri, storage.read_bytes(ran.model_uri))
    expected = storage.read_json(ran.evaluate()["metrics_uri"])["test"]
    arn = register("loans-local", weak_uri)
    challenger = run(rounds=20)
    document = storage.read_json(challenger.evaluate()["metrics_uri"])
    assert document["champion"]["package"] == arn
    assert document["champion"]["test"]["auc"]["value"] == pytest.approx(expected["auc"]["value"], abs=1e-12)
    assert document["test"]["auc"]["value"] > expected["auc"]["value"]


def test_the_champion_is_the_newest_version_that_is_approved(bucket: str) -> None:
    assert approved.newest("loans-local") is None
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="loans-local")
    assert approved.newest("loans-local") is None
    register("loans-local", "s3://b/1.tar.gz")
    second = register("loans-local", "s3://b/2.tar.gz")
    register("loans-local", "s3://b/3.tar.gz", "PendingManualApproval")
    register("loans-local", "s3://b/4.tar.gz", "Rejected")
    found = approved.newest("loans-local")
    assert (found["ModelPackageArn"], approved.container(found)["ModelDataUrl"]) == (
        second,
        "s3://b/2.tar.gz",
    )


def test_a_champion_that_cannot_score_the_rows_is_told_with_the_remedy(run: Callable[..., Ran]) -> None:
    old = run("multiclass")
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="loans-local")
    old_uri = f"s3://{old.settings.bucket}/old.tar.gz"
    storage.write_bytes(old_uri, storage.read_bytes(old.model_uri))
    arn = register("loans-local", old_uri)
    with pytest.raises(
        ValueError, match=rf"{arn} cannot score this test split.*reject it: python -m ml_pipeline reject 1"
    ):
        run("binary").evaluate()


def test_attributions_are_the_mean_absolute_contributions(run: Callable[..., Ran]) -> None:
    ran = run(evaluate={"attribution_rows": 50})
    ran.evaluate()
    found = storage.read_json(ran.uri("evaluate", "attributions.json"))
    values = found["explanations"]["tree_shap"]["label0"]["global_shap_values"]
    test = (
        storage.read_parquet(ran.uri("process", "encoded", "test.parquet"))
        .drop(columns="label")
        .to_numpy(np.float32)
    )
    model = load(ran.model_uri)
    rows = test[metrics.drawn_rows(len(test), 50, ran.settings.split.seed)]
    margin = model.booster.inplace_predict(rows, predict_type="margin")
    contributions = model.attributions(rows, model.score(rows).places)
    assert contributions.sum(axis=1) == pytest.approx(margin, abs=1e-4)
    assert list(values.values()) == pytest.approx(np.abs(contributions[:, :-1]).mean(axis=0).tolist())
    assert found["rows"] == 50
    assert found["ranking"] == ["income", "region"]
    assert values["income"] > values["region"] > 0


THRESHOLDS = {
    "binary": (["predicted_label", "score"], ["auc", "accuracy", "recall", "precision"]),
    "multiclass": (
        ["predicted_label", "score_low", "score_mid", "score_top"],
        ["accuracy", "weighted_f1"],
    ),
    "regression": (["prediction"], ["rmse", "mae", "r2"]),
}


@pytest.mark.parametrize("problem", OBJECTIVE)
def test_the_thresholds_are_of_outputs_attributions_and_quality(
    problem: str, run: Callable[..., Ran]
) -> None:
    ran = run(problem)
    ran.evaluate()
    document, table_ = storage.read_json(ran.uri("evaluate", "thresholds.json")), predictions(ran)
    outputs, checked = THRESHOLDS[problem]
    assert [column["name"] for column in document["columns"]] == outputs
    assert all(sum(column["counts"]) == len(table_) == document["rows"] for column in document["columns"])
    last = Bins.from_json(document["columns"][-1]).count(table_[outputs[-1]].to_numpy())
    assert last.tolist() == document["columns"][-1]["counts"]
    assert document["attributions"]["features"] == ["income", "region"]
    assert all(0 < bound <= 1 for bound in document["attributions"]["thresholds"]["ndcg"])
    statistics = storage.read_json(ran.uri("evaluate", "model_quality_statistics.json"))
    section = next(value for name, value in statistics.items() if name.endswith("_metrics"))
    assert list(document["quality"]["metrics"]) == checked
    for name, metric in document["quality"]["metrics"].items():
        assert metric["value"] == section[name]["value"]
        assert metric["deviation"] == pytest.approx(section[name]["standard_deviation"] * len(table_) ** 0.5)


@pytest.mark.parametrize("problem", OBJECTIVE)
def test_the_baseline_has_model_monitors_metrics(problem: str, run: Callable[..., Ran]) -> None:
    ran = run(problem)
    document = storage.read_json(ran.evaluate()["metrics_uri"])
    folder = ran.uri("evaluate")
    statistics, constraints = (
        storage.read_json(f"{folder}/model_quality_{kind}.json") for kind in ("statistics", "constraints")
    )
    section = model_quality.SECTIONS[problem]
    values, bounds = statistics[f"{section}_metrics"], constraints[f"{section}_constraints"]
    assert statistics["dataset"]["item_count"] == len(predictions(ran))
    same = {
        "binary": {"auc": "auc", "au_prc": "pr_auc", "recall": "recall", "f1": "f1", "accuracy": "accuracy"},
        "multiclass": {
            "accuracy": "accuracy",
            "weighted_f1": "f1_weighted",
            "weighted_recall": "recall_weighted",
        },
        "regression": {"rmse": "rmse", "mae": "mae", "r2": "r2"},
    }[problem]
    for theirs, ours in same.items():
        assert values[theirs]["value"] == pytest.approx(document["test"][ours]["value"], abs=1e-12)
        assert bounds[theirs]["threshold"] == values[theirs]["value"]
        assert values[theirs]["standard_deviation"] > 0
    for name, bound in bounds.items():
        greater = name in ("mae", "mse", "rmse", "false_positive_rate", "false_negative_rate")
        assert bound["comparison_operator"] == f"{'Greater' if greater else 'Less'}ThanThreshold"


def test_model_monitors_f_scores_weigh_recall_by_beta() -> None:
    label, predicted = np.array([1, 1, 1, 0, 0.0]), np.array([1, 0, 0, 1, 0])
    found = metrics.Predictions(label, np.array([0.9, 0.2, 0.3, 0.6, 0.1]), predicted)
    values = model_quality.statistics("binary", found, found, ("0", "1"), 20, 0)[
        "binary_classification_metrics"
    ]
    precision, recall = 1 / 2, 1 / 3
    for name, beta in (("f0_5", 0.5), ("f2", 2)):
        expected = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
        assert values[name]["value"] == pytest.approx(expected)
    assert values["recall"]["standard_deviation"] == "NaN"
    assert values["confusion_matrix"] == {"0": {"0": 1, "1": 1}, "1": {"0": 2, "1": 1}}


def test_without_facets_the_gate_decides_here(run: Callable[..., Ran]) -> None:
    passed = run().evaluate()
    assert passed["passed"] is True
    assert storage.read_json(passed["verdict_uri"]) == {"passed": True, "missed": []}
    missed = run(gate={"threshold": 0.9999}).evaluate()
    assert missed["passed"] is False
    (miss,) = storage.read_json(missed["verdict_uri"])["missed"]
    assert (miss["metric"], miss["bound"]) == ("auc", 0.9999)


def test_with_facets_the_gate_is_left_to_bias(run: Callable[..., Ran]) -> None:
    data = {"problem": "binary", "positive": "yes", "ids": ("id",), "facets": ("region",)}
    result = run(data=data).evaluate()
    assert result.keys() == {"summary", "metrics_uri", "predictions_uri"}
