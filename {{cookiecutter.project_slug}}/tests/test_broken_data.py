"""Process refuses data that are broken beside those of the approved model, and takes all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest

from ml_pipeline import broken_data, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.drift import broken
from ml_pipeline.settings import Settings
from ml_pipeline.steps.process import process
from ml_pipeline.steps.register import reports

GROUP = "loans-local"
TRAINED, LATER = "trained", "later"


def applicants(seed: int, rows: int = 600) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    income = generator.lognormal(10, 1, rows).round(1)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 70, rows),
            "income": income,
            "purpose": generator.choice(["boat", "car", "house"], rows),
            "approved": np.where(income > 22000, "yes", "no"),
        }
    )


def register(baselines: dict[str, Any], status: str = "Approved") -> None:
    client = boto3.client("sagemaker")
    kinds = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    container = {"Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:1", "ModelDataUrl": "s3://b/m"}
    client.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus=status,
        InferenceSpecification={"Containers": [container], **kinds},
        **baselines,
    )


def processed(data: pd.DataFrame, execution: str, settings: Settings) -> dict[str, Any]:
    uri = f"s3://{settings.bucket}/raw/2027-01-01/data.csv"
    storage.write_bytes(uri, data.to_csv(index=False).encode())
    return process(uri, "manual", execution, settings)


@pytest.fixture
def trained(bucket: str, settings: Callable[..., Settings]) -> Settings:
    """Settings of a project whose data Process has seen; no version is approved."""
    processed(applicants(1), TRAINED, settings())
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
    return settings()


@pytest.fixture
def champion(trained: Settings) -> Settings:
    """The same with an approved version that was trained on them."""
    steps = (trained.uri(TRAINED, step) for step in ("process", "evaluate", "bias"))
    register(reports(*steps, trained))
    return trained


def test_data_of_the_same_world_are_taken(champion: Settings) -> None:
    assert "600 rows" in processed(applicants(2), LATER, champion)["summary"]


def test_data_that_have_drifted_are_taken(champion: Settings) -> None:
    drifted = applicants(2).assign(income=lambda frame: frame.income * 2)
    assert "600 rows" in processed(drifted, LATER, champion)["summary"]


BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "unit": (
        lambda data: data.assign(income=data.income * 100),
        "column income: values are about 100 times those of the training data: has a unit changed\\? Mend",
    ),
    "emptied": (
        lambda data: data.assign(age=data.age.where(data.index < 30)),
        "column age: only .*% of the rows have a value, 100.0% of the training data have",
    ),
    "gone": (lambda data: data.drop(columns="purpose"), "column purpose: the training data have this column"),
    "text": (
        lambda data: data.assign(age=data.age.astype(str) + " years"),
        "column age: values are String, those of the training data Integral",
    ),
    "codes": (
        lambda data: data.assign(purpose=data.purpose.str[0]),
        "column purpose: 100.0% of the values are none of the training data's categories, such as",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_data_are_refused_with_column_value_and_both_remedies(kind: str, champion: Settings) -> None:
    spoil, told = BROKEN[kind]
    remedy = "the data; or, .* reject that version .* python -m ml_pipeline reject 1$"
    with pytest.raises(DataError, match=f"2027-01-01/data.csv: .*loans-local version 1: {told}.*{remedy}"):
        processed(spoil(applicants(2)), LATER, champion)
    assert storage.list_uris(champion.uri(LATER)) == []


def test_a_message_names_three_columns_and_counts_the_others(settings: Callable[..., Settings]) -> None:
    found = broken.missing(["a", "b", "c", "d", "e"], ["x"])
    told = broken_data.message(found, "s3://b/x.csv", 7, replace(settings(), env="dev"))
    assert "column c: " in told and "column d: " not in told and "; and 2 more. " in told
    assert told.endswith("python -m ml_pipeline reject 7 --env dev")


def test_a_column_that_settings_leave_out_now_is_not_missed(
    champion: Settings, settings: Callable[..., Settings]
) -> None:
    assert (
        "2 features" in processed(applicants(2), LATER, settings(data={"exclude": ("purpose",)}))["summary"]
    )


def test_a_rejected_version_is_no_measure(champion: Settings) -> None:
    client = boto3.client("sagemaker")
    arn = client.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"][0][
        "ModelPackageArn"
    ]
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert "600 rows" in processed(BROKEN["unit"][0](applicants(2)), LATER, champion)["summary"]


def test_a_version_without_statistics_is_told_and_no_measure(
    trained: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    register({})
    processed(BROKEN["unit"][0](applicants(2)), LATER, trained)
    assert "Process: loans-local version 1 has no statistics of its data" in capsys.readouterr().out


def test_a_version_that_has_lost_its_statistics_is_told_and_no_measure(
    champion: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = champion.uri(TRAINED, "process", "statistics.json")
    storage.delete(lost)
    processed(BROKEN["unit"][0](applicants(2)), LATER, champion)
    assert f"Process: loans-local version 1 has lost {lost}" in capsys.readouterr().out
