"""What Register writes into the Model Registry."""

import boto3
import pytest
from botocore.validate import ParamValidator

from ml_pipeline.steps import register as registering


def test_the_request_is_one_that_the_service_model_accepts(settings):
    shape = (
        boto3.client("sagemaker", region_name="eu-west-1")
        .meta.service_model.operation_model("CreateModelPackage")
        .input_shape
    )
    made = registering.package_request("s3://b/m.tar.gz", "execution123", "Approved", settings())
    made |= registering.reports("s3://b/p", "s3://b/e", "s3://b/b", settings(data={"facets": ("sex",)}))
    assert not ParamValidator().validate(made, shape).has_errors()


def test_the_execution_id_is_the_token_so_that_a_retry_registers_nothing_twice(settings):
    made = registering.package_request("s3://b/m.tar.gz", "execution123", "Approved", settings())
    assert made["ClientToken"] == "execution123"


def test_baselines_that_drift_is_measured_against_travel_with_the_version(settings):
    folders = ("s3://b/1/process", "s3://b/2/evaluate", "s3://b/3/bias")
    with_facet = registering.reports(*folders, settings(data={"facets": ("sex",)}))
    without = registering.reports(*folders, settings())
    baselines = with_facet["DriftCheckBaselines"]
    assert baselines["ModelDataQuality"]["Statistics"]["S3Uri"] == "s3://b/1/process/statistics.json"
    assert (
        baselines["ModelQuality"]["Constraints"]["S3Uri"]
        == "s3://b/2/evaluate/model_quality_constraints.json"
    )
    assert baselines["Bias"]["PostTrainingConstraints"]["S3Uri"] == "s3://b/3/bias/analysis.json"
    assert "Bias" not in without["DriftCheckBaselines"] and "Bias" not in without["ModelMetrics"]


def test_metadata_holds_only_characters_and_lengths_the_registry_takes():
    cleaned = registering.customer_metadata(
        {"hyperparameter.x": '{"a": [1, 2]}>', "long": "y" * 300, "empty": ""}
    )
    assert cleaned == {"hyperparameter.x": "__a_: _1_ 2___", "long": "y" * 256}


def test_more_metadata_than_the_registry_takes_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"takes 50 metadata keys, got 51.*train\.hyperparameters"):
        registering.customer_metadata({f"k{n}": "v" for n in range(51)})


def test_the_card_holds_every_measured_number_and_hyperparameter():
    value = {"value": 0.9, "low": 0.8, "high": 1.0, "trivial": 0.5}
    metrics = {
        "problem": "binary",
        "test": {"auc": value},
        "validation": {"auc": value},
        "train": {"auc": value},
    }
    card = registering.card(metrics, {"eta": 0.1}, {"git_commit": "abc"})
    numbers = card["evaluation_details"][0]["metric_groups"][0]["metric_data"]
    assert [number["name"] for number in numbers] == ["test_auc", "validation_auc", "train_auc"]
    assert card["training_details"]["training_job_details"]["hyper_parameters"] == [
        {"name": "eta", "value": "0.1"}
    ]
