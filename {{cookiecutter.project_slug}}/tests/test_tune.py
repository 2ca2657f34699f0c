"""What Tune asks SageMaker for, and what it makes of the answer."""

from datetime import UTC, datetime

import boto3
import botocore.client
import pytest
from botocore.validate import ParamValidator

from ml_pipeline import storage
from ml_pipeline.steps import tune as tuning

STATIC = {"num_round": 20, "eta": 0.3, "max_depth": 3, "objective": "binary:logistic"}
XGBOOST_URI = "s3://bucket/executions/e1/process/xgboost"


def request(settings, static=STATIC):
    return tuning.tuning_request(XGBOOST_URI, "execution123", static, settings)


def test_the_request_is_one_that_the_service_model_accepts(settings):
    made = request(settings()) | {"HyperParameterTuningJobName": "loans-l-execution123-1"}
    made["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = "image"
    shape = (
        boto3.client("sagemaker", region_name="eu-west-1")
        .meta.service_model.operation_model("CreateHyperParameterTuningJob")
        .input_shape
    )
    assert not ParamValidator().validate(made, shape).has_errors()


def test_a_trial_is_fixed_where_it_is_not_tuned(settings):
    chosen = settings(train={"seed": 1}, tune={"seed": 2})
    made = request(chosen, STATIC | {"device": "cuda", "nthread": 4})
    assert made["TrainingJobDefinition"]["StaticHyperParameters"] == {
        "tree_method": "hist",
        "seed": "1",
        "early_stopping_rounds": "5",
        "save_model_on_termination": "true",
        "num_round": "20",
        "objective": "binary:logistic",
        "eval_metric": "auc",
    }
    assert made["HyperParameterTuningJobConfig"]["RandomSeed"] == 2


def test_whole_ranges_are_integers_and_others_continuous(settings):
    half = {"max_leaves": (2, 5.5, "Auto")}
    chosen = settings()
    chosen = settings(tune={"ranges": chosen.tune.ranges | half})
    ranges = request(chosen)["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "max_depth", "MinValue": "2", "MaxValue": "5", "ScalingType": "Linear"}
    ]
    assert ranges["ContinuousParameterRanges"] == [
        {"Name": "eta", "MinValue": "0.05", "MaxValue": "0.3", "ScalingType": "Logarithmic"},
        {"Name": "max_leaves", "MinValue": "2", "MaxValue": "5.5", "ScalingType": "Auto"},
    ]


@pytest.mark.parametrize(
    ("problem", "objective", "name", "direction"),
    [
        ("binary", "", "validation:auc", "Maximize"),
        ("multiclass", "", "validation:mlogloss", "Minimize"),
        ("regression", "", "validation:rmse", "Minimize"),
        ("binary", "validation:logloss", "validation:logloss", "Minimize"),
        ("multiclass", "validation:f1_macro", "validation:f1_macro", "Maximize"),
    ],
)
def test_the_objective_is_optimised_in_its_own_direction(settings, problem, objective, name, direction):
    config = request(settings(data={"problem": problem}, tune={"objective": objective}))
    goal = config["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert goal == {"Type": direction, "MetricName": name}
    assert (
        config["TrainingJobDefinition"]["StaticHyperParameters"]["eval_metric"] == name[len("validation:") :]
    )


def test_spot_trials_may_wait_and_others_send_no_wait(settings):
    spot = request(settings())["TrainingJobDefinition"]
    on_demand = request(settings(tune={"spot": False}))["TrainingJobDefinition"]
    assert spot["EnableManagedSpotTraining"] and not on_demand["EnableManagedSpotTraining"]
    assert spot["StoppingCondition"] == {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    assert on_demand["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}


def test_warm_start_names_its_parents_only_when_there_are_some(settings):
    warm = request(
        settings(tune={"warm_start_parents": ("loans-l-old-1",), "warm_start_type": "TransferLearning"})
    )
    assert warm["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "loans-l-old-1"}],
        "WarmStartType": "TransferLearning",
    }
    assert "WarmStartConfig" not in request(settings())


def test_no_more_trials_run_at_a_time_than_there_are(settings):
    config = request(settings(tune={"trials": 3, "parallel": 9}))["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 3,
        "MaxParallelTrainingJobs": 3,
        "MaxRuntimeInSeconds": 3600,
    }


BEGAN, ENDED = datetime(2026, 1, 5, 6, 0, 0, tzinfo=UTC), datetime(2026, 1, 5, 6, 1, 30, tzinfo=UTC)
TIMES = {"TrainingStartTime": BEGAN, "TrainingEndTime": ENDED}
BEST = {"eta": "0.3", "max_depth": '"4"', "grow_policy": "depthwise"}


def trial(name, hyperparameters, objective=None, **times):
    made = {
        "TrainingJobName": name,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": hyperparameters,
    }
    value = {"FinalHyperParameterTuningJobObjectiveMetric": {"Value": objective}}
    return made | times | (value if objective is not None else {})


@pytest.fixture
def tuned(bucket, monkeypatch):
    """What Tune returns when SageMaker's trials were a middling one, one it stopped, and the best."""
    call = botocore.client.BaseClient._make_api_call
    trials = [trial("t1", {"eta": "0.1"}, 0.7, **TIMES), trial("t2", {}), trial("t3", BEST, 0.8, **TIMES)]

    def answer(self, operation, request):
        if operation == "ListTrainingJobsForHyperParameterTuningJob":  # moto does not know it
            return {"TrainingJobSummaries": trials}
        found = call(self, operation, request)
        return found | ({"BestTrainingJob": trials[2]} if operation.startswith("DescribeHyper") else {})

    def run(settings):
        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answer)
        spec_uri, xgboost_uri = (f"s3://{bucket}/{name}" for name in ("feature_spec.json", "xgboost"))
        storage.write_json(spec_uri, {"target": {"classes": ["a", "b", "c"]}})
        storage.write_bytes(f"{xgboost_uri}/train/data.csv", b"1,0.5\n")
        return tuning.tune(xgboost_uri, spec_uri, "execution123", settings)

    return run


def test_the_best_trial_completes_the_fixed_hyperparameters(tuned, settings):
    done = tuned(settings(tune={"trials": 1}))
    kept = storage.read_json(done["tuning_uri"])
    assert done["best"] == STATIC | {"eta": 0.3, "max_depth": 4, "grow_policy": "depthwise"} == kept["best"]
    assert type(done["best"]["max_depth"]) is int
    assert [each["objective"] for each in kept["trials"]] == [0.7, None, 0.8]
    assert [each["seconds"] for each in kept["trials"]] == [90.0, None, 90.0]
    assert done["job"] == kept["job"] == "loans-l-execution123-1"
    assert done["summary"] == "3 trials, best validation:auc 0.8000 (loans-l-execution123-1)"


def test_the_best_of_a_loss_is_the_lowest(tuned, settings):
    assert (
        "best validation:logloss 0.7000"
        in tuned(settings(tune={"objective": "validation:logloss"}))["summary"]
    )


def test_the_name_of_a_job_has_room_for_its_attempts(tuned, settings):
    chosen = settings(project={"slug": "a-slug-of-24-characters1"})
    where = {"LocationConstraint": chosen.region}
    boto3.client("s3").create_bucket(Bucket=chosen.bucket, CreateBucketConfiguration=where)
    name = tuned(chosen)["job"]
    assert len(f"{name}0") <= 32  # SageMaker's limit, at attempt 10 too


def test_a_job_is_awaited_for_longer_than_it_may_run(tuned, settings, monkeypatch):
    awaited, run = [], tuning.jobs.run
    monkeypatch.setattr(tuning.jobs, "run", lambda *given: awaited.append(given[-1]) or run(*given))
    tuned(settings(tune={"max_runtime_seconds": 7200}))
    assert len(awaited) == 1 and awaited[0] > 7200  # SageMaker's own limit is to end it, and to say why


def test_without_trials_the_fixed_hyperparameters_are_the_best(tuned, settings):
    done = tuned(settings(data={"problem": "multiclass"}, tune={"trials": 0}))
    assert done["job"] is None
    assert done["best"] == STATIC | {"objective": "multi:softprob", "num_class": 3}


def warm(settings, bucket, kind):
    """Settings and a new execution's data folder, after a parent job that read another execution's folder."""
    parent_uri, own_uri = (f"s3://{bucket}/executions/{name}/process/xgboost" for name in ("e1", "e2"))
    for uri in (parent_uri, own_uri):
        for split in tuning.SPLITS:
            storage.write_bytes(f"{uri}/{split}/data.csv", b"1,0.5\n0,0.1\n")
    chosen = settings(tune={"warm_start_parents": ("parent-1",), "warm_start_type": kind})
    parent = tuning.tuning_request(parent_uri, "e1", STATIC, settings())
    parent["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = "image"
    boto3.client("sagemaker").create_hyper_parameter_tuning_job(
        **parent, HyperParameterTuningJobName="parent-1"
    )
    return chosen, parent_uri, own_uri


def test_identical_data_are_read_from_the_parents_own_copy(bucket, settings):
    chosen, parent_uri, own_uri = warm(settings, bucket, "IdenticalDataAndAlgorithm")
    assert tuning.training_data(own_uri, chosen) == parent_uri


def test_data_that_have_changed_need_transfer_learning(bucket, settings):
    chosen, _, own_uri = warm(settings, bucket, "IdenticalDataAndAlgorithm")
    storage.write_bytes(f"{own_uri}/validation/data.csv", b"1,0.6\n")
    with pytest.raises(
        ValueError, match=r"the validation data differ from those of parent-1.*TransferLearning"
    ):
        tuning.training_data(own_uri, chosen)


def test_transfer_learning_reads_the_executions_own_data(bucket, settings):
    chosen, _, own_uri = warm(settings, bucket, "TransferLearning")
    assert tuning.training_data(own_uri, chosen) == own_uri


def test_a_run_that_process_wrote_no_csv_for_is_refused_with_the_remedy(bucket, settings):
    with pytest.raises(ValueError, match=r"Process ran when trials was 0 \(settings.toml, \[tune\]\); run"):
        tuning.training_data(f"s3://{bucket}/executions/e1/process/xgboost", settings())
