"""What Register writes into the Model Registry."""

import hashlib

import boto3
import pytest
from botocore.validate import ParamValidator

from ml_pipeline import storage
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


@pytest.fixture
def registered(bucket, settings):
    """DescribeModelPackage of a version whose artefacts are of several executions, as after a rerun."""

    def run(**sections):
        chosen = settings(**sections)
        model_uri, spec_uri, metrics_uri, verdict_uri = (
            f"s3://{bucket}/{place}" for place in ("m/model.tar.gz", "p/spec.json", "e/m.json", "b/v.json")
        )
        storage.write_json(metrics_uri, {"problem": "binary", "test": {}, "validation": {}, "train": {}})
        storage.write_bytes(model_uri, b"model")
        given = (
            {"eta": 0.1},
            "s3://b/raw/2026-01-05/",
            "the data's hash",
            spec_uri,
            metrics_uri,
            verdict_uri,
        )
        done = registering.register(model_uri, *given, "Rejected", "schedule", "e9", chosen)
        assert done["summary"] == "version 1 of loans-local, Rejected"
        return boto3.client("sagemaker").describe_model_package(ModelPackageName=done["model_package_arn"])

    return run


def test_a_version_tells_what_it_was_made_of_and_why(registered, bucket):
    made = registered()
    assert made["CustomerMetadataProperties"] == {
        "execution": "e9",
        "git_commit": "unknown",
        "data_uri": "s3://b/raw/2026-01-05/",
        "data_sha256": "the data_s hash",
        "model_sha256": hashlib.sha256(b"model").hexdigest(),
        "trigger_reason": "schedule",
        "verdict_uri": f"s3://{bucket}/b/v.json",
        "hyperparameter.eta": "0.1",
    }
    assert made["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == f"s3://{bucket}/m/model.tar.gz"
    assert (made["ModelApprovalStatus"], made["Task"]) == ("Rejected", "CLASSIFICATION")


def test_a_regression_is_registered_as_one(registered):
    assert registered(data={"problem": "regression"})["Task"] == "REGRESSION"


def test_baselines_that_drift_is_measured_against_travel_with_the_version(registered, bucket):
    baselines = registered(data={"facets": ("sex",)})["DriftCheckBaselines"]
    place = f"s3://{bucket}"
    assert baselines["ModelDataQuality"]["Statistics"]["S3Uri"] == f"{place}/p/statistics.json"
    assert baselines["ModelQuality"]["Constraints"]["S3Uri"] == f"{place}/e/model_quality_constraints.json"
    assert baselines["Explainability"]["Constraints"]["S3Uri"] == f"{place}/e/attributions.json"
    for stage in ("PreTrainingConstraints", "PostTrainingConstraints"):
        assert baselines["Bias"][stage]["S3Uri"] == f"{place}/b/analysis.json"


def test_without_facets_a_version_has_no_report_of_bias(registered):
    made = registered()
    assert "Bias" not in made["DriftCheckBaselines"] and "Bias" not in made["ModelMetrics"]


def test_the_group_of_all_versions_is_tagged_with_no_execution(registered):
    registered()
    client = boto3.client("sagemaker")
    arn = client.describe_model_package_group(ModelPackageGroupName="loans-local")["ModelPackageGroupArn"]
    found = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
    assert found == {"Project": "loans", "Environment": "local"}


def test_metadata_holds_only_characters_and_lengths_the_registry_takes():
    cleaned = registering.customer_metadata(
        {"hyperparameter.x": '{"a": [1, 2]}>', "long": "y" * 300, "empty": ""}
    )
    assert cleaned == {"hyperparameter.x": "__a_: _1_ 2___", "long": "y" * 256}


def test_more_metadata_than_the_registry_takes_is_refused_with_the_remedy():
    assert len(registering.customer_metadata({f"k{n}": "v" for n in range(50)})) == 50
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
