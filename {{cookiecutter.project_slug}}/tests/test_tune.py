"""What Tune asks SageMaker for."""

import boto3
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


def test_tuned_hyperparameters_are_not_fixed_as_well(settings):
    fixed = request(settings())["TrainingJobDefinition"]["StaticHyperParameters"]
    assert not {"eta", "max_depth"} & set(fixed)
    assert fixed["num_round"] == "20" and all(isinstance(value, str) for value in fixed.values())


def test_whole_ranges_are_integers_and_others_continuous(settings):
    ranges = request(settings())["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "max_depth", "MinValue": "2", "MaxValue": "5", "ScalingType": "Linear"}
    ]
    assert ranges["ContinuousParameterRanges"] == [
        {"Name": "eta", "MinValue": "0.05", "MaxValue": "0.3", "ScalingType": "Logarithmic"}
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
    assert spot["EnableManagedSpotTraining"] and spot["StoppingCondition"]["MaxWaitTimeInSeconds"] == 1200
    assert not on_demand["EnableManagedSpotTraining"]
    assert "MaxWaitTimeInSeconds" not in on_demand["StoppingCondition"]


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
    limits = request(settings(tune={"trials": 3, "parallel": 9}))["HyperParameterTuningJobConfig"][
        "ResourceLimits"
    ]
    assert (limits["MaxNumberOfTrainingJobs"], limits["MaxParallelTrainingJobs"]) == (3, 3)


def test_best_hyperparameters_come_back_as_numbers():
    best = tuning._numbers({"eta": "0.1", "max_depth": '"5"', "tree_method": "hist"})
    assert best == {"eta": 0.1, "max_depth": 5, "tree_method": "hist"}
    assert type(best["max_depth"]) is int


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
