"""What stands in for AWS's images: the XGBoost and the Clarify container; and the table of images."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from conftest import IMAGE, ROLE
from local_api import BUCKET, Local
from local_aws.container import ContainerError
from local_aws.images import clarify, load_images
from local_aws.images.xgboost import check_channels, read_csv
from local_aws.images.xgboost_hyperparameters import validated
from local_aws.validation import ApiError

pytest_plugins = ["in_process"]

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
CLARIFY = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
BINARY = {
    "objective": "binary:logistic",
    "eval_metric": "auc",
    "num_round": "12",
    "max_depth": "3",
    "seed": "1",
}


def rows(count: int, seed: int) -> np.ndarray:
    """Label first, then four features, the last with missing values. float32, shape (count, 5)."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 4)).astype(np.float32).round(3)
    label = (features[:, 0] + generator.normal(size=count) > 0).astype(np.float32)
    features[::7, 3] = np.nan
    return np.column_stack([label, features])


def text(table: np.ndarray) -> bytes:
    return pd.DataFrame(table).to_csv(header=False, index=False).encode()


def training(local: Local, name: str, hyperparameters: dict[str, str], count: int = 400) -> dict:
    """A CreateTrainingJob request on data of its own."""
    for channel, seed in (("train", 1), ("validation", 2)):
        local.put(f"{name}/{channel}/data.csv", text(rows(count, seed)))
    return {
        "TrainingJobName": name,
        "HyperParameters": hyperparameters,
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel_of(name, each) for each in ("train", "validation")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/{name}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def channel_of(name: str, channel: str) -> dict:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/{channel}/"}
    return {"ChannelName": channel, "DataSource": {"S3DataSource": source}, "ContentType": "text/csv"}


def model(local: Local, record: dict) -> xgb.Booster:
    archive = local.get(record["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["xgboost-model"]
        return xgb.Booster(model_file=bytearray(tar.extractfile("xgboost-model").read()))


def matrix(seed: int, count: int = 400) -> xgb.DMatrix:
    table = rows(count, seed)
    return xgb.DMatrix(table[:, 1:], label=table[:, 0])


def test_xgboost_trains_the_very_model_that_the_library_does(local):
    record = local.run(training(local, "same-model", BINARY))
    parameters = {
        "objective": "binary:logistic",
        "eval_metric": "auc",
        "max_depth": 3,
        "seed": 1,
        "nthread": 2,
    }
    expected = xgb.train(parameters, matrix(1), 12)
    assert record["TrainingJobStatus"] == "Completed"
    assert np.array_equal(model(local, record).predict(matrix(2)), expected.predict(matrix(2)))


def test_xgboost_logs_a_line_of_both_channels_each_round_and_the_last_is_the_final_metric(local):
    record = local.run(training(local, "log-lines", BINARY))
    lines = [line for line in local.log("log-lines").splitlines() if line.startswith("[")]
    log: dict = {}
    evals = [(matrix(1), "train"), (matrix(2), "validation")]
    parameters = {"objective": "binary:logistic", "eval_metric": "auc", "max_depth": 3, "seed": 1}
    xgb.train(parameters, matrix(1), 12, evals=evals, evals_result=log, verbose_eval=False)
    wanted = zip(log["train"]["auc"], log["validation"]["auc"], strict=True)
    assert lines == [
        f"[{number}]\ttrain-auc:{train:.5f}\tvalidation-auc:{validation:.5f}"
        for number, (train, validation) in enumerate(wanted)
    ]
    assert record["_metrics"]["validation:auc"] == [round(value, 5) for value in log["validation"]["auc"]]
    final = {item["MetricName"]: item["Value"] for item in record["FinalMetricDataList"]}
    assert final["validation:auc"] == record["_metrics"]["validation:auc"][-1]


def test_xgboost_stops_early_and_keeps_the_best_round(local):
    overfitting = BINARY | {"num_round": "200", "early_stopping_rounds": "3", "eta": "0.5", "max_depth": "8"}
    record = local.run(training(local, "early-stop", overfitting))
    scores = record["_metrics"]["validation:auc"]
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 3
    assert model(local, record).num_boosted_rounds() == best + 1


@pytest.mark.parametrize(("save", "kept"), [("true", True), ("false", False)])
def test_a_stopped_trial_keeps_its_model_when_told(local, save, kept):
    endless = BINARY | {"num_round": "1000000", "save_model_on_termination": save}
    name = local.create(training(local, f"stopped-{save}", endless))
    local.await_line(name, "[5]")
    local.stop(name)
    record = local.ended(name)
    assert record["TrainingJobStatus"] == "Stopped"
    if kept:
        assert model(local, record).num_boosted_rounds() >= 6
    else:
        assert local.keys(f"{name}/models/") == []


def test_a_trial_gets_its_share_of_the_cores(local, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 3}
    arn = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/shares"
    job = {"HyperParameterTuningJobConfig": {"ResourceLimits": limits}, "HyperParameterTuningJobArn": arn}
    local.api.state.put(
        "HyperParameterTuningJob", "shares", job | {"HyperParameterTuningJobStatus": "Completed"}
    )
    assert local.api.jobs._trial_threads(local.api, arn) == 2


def test_the_containers_own_metrics_are_logged_and_the_tuning_objective_comes_last(local):
    hyperparameters = BINARY | {
        "eval_metric": "logloss,f1",
        "_tuning_objective_metric": "validation:accuracy",
    }
    record = local.run(training(local, "own-metrics", hyperparameters))
    booster = model(local, record)
    labels, scores = matrix(2).get_label(), booster.predict(matrix(2))
    accuracy = float(np.mean((scores > 0.5) == labels))
    assert (
        record["FailureReason"] if "FailureReason" in record else record["TrainingJobStatus"] == "Completed"
    )
    assert record["_metrics"]["validation:accuracy"][-1] == pytest.approx(accuracy, abs=1e-5)
    assert set(record["_metrics"]) == {
        f"{channel}:{name}" for channel in ("train", "validation") for name in ("logloss", "f1", "accuracy")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": "3"}, "Extraneous hyperparameter found: depth"),
        ({"device": "cuda"}, "Extraneous hyperparameter found: device"),
        ({"num_round": None}, "Missing required hyperparameter: num_round"),
        ({"num_round": "0"}, "num_round: value '0'"),
        ({"eta": "1.5"}, "eta: value '1.5'"),
        ({"subsample": "0"}, "subsample: value '0'"),
        ({"max_depth": "3.5"}, "max_depth: value '3.5'"),
        ({"objective": "reg:quantileerror"}, "objective: value 'reg:quantileerror'"),
        ({"objective": None}, "needs the hyperparameter objective"),
        ({"objective": "multi:softprob", "eval_metric": "merror"}, "'num_class'"),
        ({"objective": "reg:squarederror"}, "Metric 'auc' can only be applied"),
        ({"eval_metric": "gini"}, "eval_metric: value 'gini'"),
        ({"monotone_constraints": "(1,0)"}, "monotone_constraints can be used only"),
        ({"_kfold": "3"}, "_kfold is not supported"),
        ({"booster": "dart"}, "booster is not supported by the local AWS"),
        ({"tree_method": "gpu_hist"}, "tree_method: value 'gpu_hist'"),
    ],
)
def test_a_hyperparameter_that_the_container_refuses_is_refused(change, message):
    given = {name: value for name, value in (BINARY | change).items() if value is not None}
    with pytest.raises(ContainerError, match=message.replace("(", r"\(")):
        validated(given)


def test_hyperparameters_become_numbers_under_xgboosts_names():
    given = BINARY | {"learning_rate": "0.3", "max_leaves": "7", "eval_metric": "error@0.6,auc"}
    values = validated(given)
    assert (values["eta"], values["max_leaves"], values["eval_metric"]) == (0.3, 7, "error@0.6,auc")
    assert "learning_rate" not in values


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            {"train": {"ContentType": "text/csv"}, "test": {"ContentType": "text/csv"}},
            "Extraneous channel found: test",
        ),
        ({"train": {}}, "text/libsvm"),
        ({"train": {"ContentType": "text/csv; charset=utf-8"}}, "charset"),
        ({"validation": {"ContentType": "text/csv"}}, "Missing required channel: train"),
    ],
)
def test_a_channel_that_the_container_refuses_is_refused(channels, message):
    with pytest.raises(ContainerError, match=message):
        check_channels(channels)


def test_a_refusal_of_the_container_is_the_jobs_failure_reason(local):
    record = local.run(training(local, "refused-depth", BINARY | {"depth": "3"}))
    assert record["FailureReason"] == "AlgorithmError: Extraneous hyperparameter found: depth, exit code: 1"


def test_csv_is_read_as_the_numbers_it_holds(tmp_path):
    table = rows(50, 3)
    (tmp_path / "a.csv").write_bytes(text(table[:20]))
    (tmp_path / "b.csv").write_bytes(text(table[20:]))
    read = read_csv([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert np.array_equal(read, table, equal_nan=True)


@pytest.mark.parametrize("body", ["label,age\n1,30\n", '1,"a"\n0,"b"\n'])
def test_csv_with_a_header_or_words_is_refused_with_its_name(tmp_path, body):
    (tmp_path / "data.csv").write_text(body)
    with pytest.raises(ContainerError, match=r"data\.csv: not a header-less table of numbers"):
        read_csv([tmp_path / "data.csv"])


def people(count: int = 300, seed: int = 5) -> pd.DataFrame:
    """Label and prediction as 0/1, facet and group, and two numeric features."""
    generator = np.random.default_rng(seed)
    sex = generator.choice(["Female", "Male"], count)
    score = generator.normal(size=count) + (sex == "Male") * 0.8
    return pd.DataFrame(
        {
            "label": (score + generator.normal(size=count) > 0.5).astype(int),
            "predicted": (score > 0.5).astype(int),
            "sex": sex,
            "group": generator.integers(0, 3, count),
            "age": generator.integers(18, 80, count),
            "income": generator.normal(size=count),
        }
    )


CONFIG = {
    "version": "1.0",
    "dataset_type": "text/csv",
    "label": "label",
    "label_values_or_threshold": [1],
    "predicted_label": "predicted",
    "facet": [{"name_or_index": "sex", "value_or_threshold": ["Female"]}],
    "group_variable": "group",
    "methods": {"pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": "all"}},
}


def values(report: dict, facet: str = "sex", place: int = 0) -> dict[str, object]:
    """Value by metric, of both stages."""
    stages = ("pre_training_bias_metrics", "post_training_bias_metrics")
    groups = [report[stage]["facets"][facet][place] for stage in stages if stage in report]
    return {metric["name"]: metric["value"] for group in groups for metric in group["metrics"]}


def rate(frame: pd.DataFrame, column: str, sex: str) -> float:
    return frame.loc[frame.sex == sex, column].mean()


def test_clarify_measures_by_the_formulas():
    frame = people()
    found = values(clarify.analysis(frame, CONFIG))
    women, men = (frame.sex == "Female").sum(), (frame.sex == "Male").sum()
    assert found["CI"] == pytest.approx((men - women) / (men + women))
    assert found["DPL"] == pytest.approx(rate(frame, "label", "Male") - rate(frame, "label", "Female"))
    assert found["DI"] == pytest.approx(rate(frame, "predicted", "Female") / rate(frame, "predicted", "Male"))
    hits = frame.assign(hit=frame.label == frame.predicted)
    assert found["AD"] == pytest.approx(rate(hits, "hit", "Male") - rate(hits, "hit", "Female"))
    assert set(found) == {
        *("CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL"),
        *("DPPL", "DI", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD", "CDDPL", "TE", "FT", "GE"),
    }


def test_the_flip_test_has_the_containers_sign():
    """Every woman is accepted, her nearest men are not: +1 in the code, -1 in the documentation."""
    frame = pd.DataFrame({"label": [1, 0] * 20, "sex": ["Female"] * 20 + ["Male"] * 20, "x": [0.0] * 40})
    frame["predicted"] = (frame.sex == "Female").astype(int)
    config = {name: value for name, value in CONFIG.items() if name != "group_variable"}
    assert values(clarify.analysis(frame, config))["FT"] == 1.0


@pytest.mark.parametrize("kind", [int, float, str, bool, "category", "int8"])
@pytest.mark.parametrize("count", [30, 300])
def test_the_type_of_the_label_column_changes_nothing(kind, count):
    frame = people(count)
    expected = clarify.analysis(frame.assign(sex=frame.sex.astype(object)), CONFIG)
    wanted = {bool: [True], str: ["1"]}.get(kind, [1])
    typed = frame.assign(label=frame.label.astype(kind), predicted=frame.predicted.astype(kind))
    config = CONFIG | {"label_values_or_threshold": wanted}
    assert values(clarify.analysis(typed, config)) == values(expected)


def test_rows_without_an_index_from_zero_are_measured_alike():
    frame = people()
    assert values(clarify.analysis(frame.set_index(frame.index + 7), CONFIG)) == values(
        clarify.analysis(frame, CONFIG)
    )


def test_a_metric_that_cannot_be_computed_is_null_with_its_reason_and_the_others_are_not():
    frame = people().assign(predicted=0)
    report = clarify.analysis(frame, CONFIG | {"group_variable": "group"})
    metrics = {
        metric["name"]: metric
        for metric in report["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"]
    }
    assert metrics["CDDPL"] == {
        "name": "CDDPL",
        "description": metrics["CDDPL"]["description"],
        "value": None,
        "error": "No positive labels in set",
    }
    assert metrics["DPPL"]["value"] == 0.0
    assert metrics["DI"]["value"] == 0.0


def test_an_infinite_metric_is_the_word_that_clarify_writes():
    frame = people()
    frame["predicted"] = (frame.sex == "Female").astype(int)
    assert values(clarify.analysis(frame, CONFIG))["DI"] == "Infinity"


def test_a_facet_without_values_is_measured_for_each_of_its_values():
    report = clarify.analysis(people(), CONFIG | {"facet": [{"name_or_index": "sex"}]})
    groups = report["pre_training_bias_metrics"]["facets"]["sex"]
    found = {group["value_or_threshold"]: group["metrics"][1]["value"] for group in groups}
    assert found.keys() == {"Female", "Male"}
    assert values(report, place=0)["DPL"] == pytest.approx(-values(report, place=1)["DPL"])


def test_a_number_is_a_threshold_of_a_column_of_numbers():
    frame = people()
    frame["age"] = frame.age.astype(float)
    config = CONFIG | {"facet": [{"name_or_index": "age", "value_or_threshold": [40]}]}
    report = clarify.analysis(frame, config)
    (group,) = report["pre_training_bias_metrics"]["facets"]["age"]
    old = frame.age > 40
    assert group["value_or_threshold"] == f"(40.0, {frame.age.max()}]"
    assert values(report, "age")["DPL"] == pytest.approx(frame.label[~old].mean() - frame.label[old].mean())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"predictor": {"model_name": "m"}}, "predictor"),
        ({"methods": {"shap": {}}}, "shap"),
        ({"methods": {"pdp": {}, "pre_training_bias": {}}}, "pdp"),
        ({"methods": {"report": {"name": "report"}}}, "report"),
        ({"probability_threshold": 0.4}, "probability_threshold"),
        ({"label": None}, "label is required"),
        ({"predicted_label": None}, "predicted_label"),
    ],
)
def test_what_clarify_is_not_stood_in_for_is_refused_by_name(change, named):
    config = {name: value for name, value in (CONFIG | change).items() if value is not None}
    with pytest.raises(ContainerError, match=named):
        clarify.check(config)


def processing(local: Local, name: str, config: dict, frame: pd.DataFrame) -> dict:
    local.put(f"{name}/analysis_config.json", json.dumps(config).encode())
    local.put(f"{name}/dataset.csv", frame.to_csv(header=False, index=False).encode())

    def source(input_name: str, file: str, folder: str) -> dict:
        given = {"S3Uri": f"s3://{BUCKET}/{name}/{file}", "LocalPath": f"/opt/ml/processing/input/{folder}"}
        return {"InputName": input_name, "S3Input": given | {"S3DataType": "S3Prefix", "S3InputMode": "File"}}

    target = {"S3Uri": f"s3://{BUCKET}/{name}/output", "LocalPath": "/opt/ml/processing/output"}
    output = {"OutputName": "analysis_result", "S3Output": target | {"S3UploadMode": "EndOfJob"}}
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
    return {
        "ProcessingJobName": name,
        "ProcessingInputs": [
            source("analysis_config", "analysis_config.json", "config"),
            source("dataset", "dataset.csv", "data"),
        ],
        "ProcessingOutputConfig": {"Outputs": [output]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": CLARIFY},
        "RoleArn": ROLE,
    }


def test_a_clarify_job_writes_the_analysis_of_its_dataset_to_s3(local):
    frame = people()
    config = CONFIG | {"headers": list(frame.columns)}
    record = local.run(processing(local, "clarify", config, frame), "ProcessingJob")
    assert record["ProcessingJobStatus"] == "Completed", record.get("FailureReason")
    report = json.loads(local.get(f"s3://{BUCKET}/clarify/output/analysis.json"))
    assert report == clarify.analysis(frame, CONFIG)
    assert report["pre_training_bias_metrics"]["label"] == "label"


def test_a_clarify_job_that_asks_for_too_much_fails_by_name_and_writes_nothing(local):
    frame = people()
    config = CONFIG | {"headers": list(frame.columns), "predictor": {"model_name": "m"}}
    record = local.run(processing(local, "clarify-predictor", config, frame), "ProcessingJob")
    reason = "AlgorithmError: analysis_config: predictor is not supported by the local AWS, exit code: 1"
    assert (record["ProcessingJobStatus"], record["FailureReason"]) == ("Failed", reason)
    assert local.keys("clarify-predictor/output") == []


def test_an_unknown_image_is_refused_with_the_known_patterns(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.local_aws.images]\n"*/demo-*:*" = "python -m ml.serving"\n'
    )
    images = load_images(tmp_path / "pyproject.toml")
    with pytest.raises(ApiError, match=r"other:1.*sagemaker-xgboost:3\.2-0.*demo-") as raised:
        images.resolve("other:1")
    assert raised.value.code == "ValidationException"
    with pytest.raises(ApiError):
        images.resolve(XGBOOST.replace("3.2-0", "1.7-1"))


def test_a_projects_image_serves_with_this_interpreter(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.local_aws.images]\n"*/demo-*:*" = "python -m ml.serving"\n'
    )
    images = load_images(tmp_path / "pyproject.toml")
    assert images.resolve(IMAGE).serve == (sys.executable, "-m", "ml.serving")
    assert images.resolve(CLARIFY).serve == ()
    assert load_images(Path("nowhere.toml")).resolve(XGBOOST).module == "local_aws.images.xgboost"
