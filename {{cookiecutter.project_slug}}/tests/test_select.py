"""What a scoring execution takes: which periods, and which model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from conftest import ACCOUNT, REGION
from moto.sagemaker.models import sagemaker_backends
from selected import (
    EXECUTION,
    NOW,
    ROWS,
    SPEC,
    contents,
    mark_scored,
    put,
    register,
)
from test_admission import pipeline_of, started

from ml_pipeline import admission, approved, periods, storage
from ml_pipeline.approved import PackageError
from ml_pipeline.dialect import DataError
from ml_pipeline.features import FeatureSpec
from ml_pipeline.settings import Settings
from ml_pipeline.steps.select import select

# Which periods


def states(settings: Settings, wanted: str = "auto") -> dict[str, str]:
    return {each.name: each.state for each in periods.to_score(wanted, NOW, settings)}


def test_periods_are_told_apart(bucket, settings):
    wanted = settings()
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-11")
    put(wanted, "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(wanted, "2027-01-25", {})
    put(wanted, "2027-01-26", {"_hidden.csv": ROWS, "sub/.hidden": ROWS})
    put(wanted, "2027-02-01", {"a.csv": ROWS, "sub/b.csv": ROWS})
    put(wanted, "2027-02-04", {"a.csv": ROWS})  # begins 12 hours after now
    put(wanted, "2027-02-05", {"a.csv": ROWS})
    put(wanted, "latest", {"a.csv": ROWS})
    assert states(wanted) == {
        "2027-01-04": "late",
        "2027-01-11": "scored",
        "2027-01-18": "incomplete",
        "2027-01-25": "empty",
        "2027-01-26": "empty",
        "2027-02-01": "new",
        "2027-02-04": "new",
        "2027-02-05": "future",
    }
    (newest,) = [each for each in periods.to_score("auto", NOW, wanted) if each.name == "2027-02-01"]
    folder = periods.folder("2027-02-01", wanted, "score")
    assert newest.objects == (f"{folder}/a.csv", f"{folder}/sub/b.csv")


def test_a_period_that_is_named_is_scored_again(bucket, settings):
    wanted = settings()
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-04")
    assert states(wanted, "2027-01-04") == {"2027-01-04": "again"}
    assert states(wanted, "2027-01-11") == {"2027-01-11": "new"}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            "2027-01-05",
            "score/2027-01-05/input/: nothing there to score; `python -m ml_pipeline score",
        ),
        ("2027-01-18", "score/2027-01-18/input/ has no _SUCCESS, so its upload has not ended"),
        ("2027-03-01", "dated more than a day after this execution's start, 2027-02-03 12:00 UTC"),
        ("yesterday", "Period must be auto, a date as YYYY-MM-DD, or labels:YYYY-MM-DD .* got 'yesterday'"),
    ],
)
def test_a_named_period_that_cannot_be_scored_is_refused(named, message, bucket, settings):
    put(settings(), "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(settings(), "2027-03-01", {"a.csv": ROWS})
    with pytest.raises(DataError, match=message):
        periods.to_score(named, NOW, settings())


def test_a_scored_period_whose_rows_are_being_replaced_is_not_scored_again_before_they_are_complete(
    bucket, settings
):
    put(settings(), "2027-01-04", {"a.csv": ROWS}, complete=False)
    mark_scored(settings(), "2027-01-04")
    assert states(settings()) == {"2027-01-04": "scored"}
    with pytest.raises(DataError, match="score/2027-01-04/input/ has no _SUCCESS, so its upload has not"):
        periods.to_score("2027-01-04", NOW, settings())


def test_labels_that_are_asked_for_score_nothing_and_need_no_model(bucket, settings, monkeypatch):
    chosen = settings()
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    monkeypatch.setattr(approved, "newest", lambda group: pytest.fail("no model was asked for"))
    put(chosen, "2027-01-04", {"a.csv": ROWS})
    with pytest.raises(DataError, match=r"2027-01-04 has no scores that labels .* score --data FILE"):
        select("labels:2027-01-04", "manual", EXECUTION, chosen)
    mark_scored(chosen, "2027-01-04")
    with pytest.raises(DataError, match=r"truth/2027-01-04/ has no _SUCCESS: its labels have not come"):
        select("labels:2027-01-04", "manual", EXECUTION, chosen)
    storage.mark_success(periods.folder("2027-01-04", chosen, "truth"))
    found = select("labels:2027-01-04", "manual", EXECUTION, chosen)
    entry = {"period": "2027-01-04", "state": "labels", "objects": [], "rows": 0, "broken": []}
    assert found["periods"] == [entry] and found["package"] is None
    assert found["summary"] == "nothing to score, labels of 2027-01-04"


def test_the_summary_tells_what_is_left_and_why(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    wanted = settings(data={"ids": ("id",)})
    register(wanted)
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-11")
    put(wanted, "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(wanted, "2027-01-25", {})
    put(wanted, "2027-01-26", {"a.csv": "id,age\nA1,30\n"})
    put(wanted, "2027-02-20", {"a.csv": ROWS})
    assert select("auto", "manual", EXECUTION, wanted)["summary"] == (
        "2027-01-04 (late): 3 rows in 1 object, 2027-01-25 is empty, 2027-01-26 is broken (1 violation), "
        "2027-01-18 is incomplete, 2027-02-20 is in the future, 1 scored already, version 1"
    )


def test_now_is_when_the_execution_started(bucket, settings):
    wanted = settings()
    put(wanted, "2099-01-05", {})
    put(wanted, "2099-01-08", {})
    name = pipeline_of(wanted, "score")
    own = started(name)
    (execution,) = sagemaker_backends[ACCOUNT][REGION].pipelines[name].pipeline_executions.values()
    execution.start_time = datetime(2099, 1, 5, tzinfo=UTC)
    result = select("auto", "manual", own, wanted)
    assert [each["period"] for each in result["periods"]] == ["2099-01-05"]
    assert select("auto", "manual", "of no execution", wanted)["periods"] == []


def test_a_second_scoring_execution_stops_itself_before_it_reads_anything(bucket, settings, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(client: Any, arn: str) -> None:
        raise Stopped(arn)

    wanted = settings(triggers={"cool_down_hours": 24.0})
    monkeypatch.setattr(admission, "_stop", stop)
    name = pipeline_of(wanted, "score")
    first, second = started(name), started(name)
    put(wanted, "2026-01-05", {"a.csv": ROWS})  # and no model: whoever goes on fails
    with pytest.raises(PackageError):
        select("auto", "manual", first, wanted)
    with pytest.raises(Stopped, match=second):
        select("2026-01-05", "alarm", second, wanted)
    assert [uri.rpartition("/executions/")[2] for uri, _ in storage.list_uris(wanted.uri(""))] == [
        f"{first}/select/admitted.json"
    ]


def test_scoring_does_not_cool_down(bucket, settings):
    wanted = settings(triggers={"cool_down_hours": 24.0})
    name = pipeline_of(wanted, "score")
    boto3.client("sagemaker").start_pipeline_execution(PipelineName=name)  # moto: Succeeded at once
    assert select("auto", "an alarm", started(name), wanted)["summary"] == "nothing to score"


# Which model


def test_nothing_to_score_needs_no_model(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    result = select("auto", "manual", EXECUTION, settings())
    assert (result["summary"], result["package"], result["periods"]) == ("nothing to score", None, [])
    assert contents(result["input_uri"]) == {}


def test_without_an_approved_version_the_command_that_approves_is_named(scored, bucket, settings):
    wanted = settings()
    register(wanted, status="PendingManualApproval")
    put(wanted, "2027-02-01", {"a.csv": ROWS})
    with pytest.raises(PackageError, match=r"no approved model .* `python -m ml_pipeline approve VERSION`"):
        select("auto", "manual", EXECUTION, wanted)


def test_the_newest_approved_version_is_described_with_what_it_was_trained_on(scored, bucket, settings):
    wanted = settings(data={"ids": ("id",)})
    register(wanted)
    second = register(wanted)
    register(wanted, status="Rejected")
    result = select("auto", "manual", EXECUTION, wanted)
    folder = f"s3://{bucket}/executions/trained"
    assert result["package"] == {
        "package_arn": second,
        "version": 2,
        "model_uri": f"{folder}/train/model.tar.gz",
        "feature_spec_uri": wanted.uri(EXECUTION, "select", "feature_spec.json"),
        "thresholds": {
            "process": f"{folder}/process/thresholds.json",
            "evaluate": f"{folder}/evaluate/thresholds.json",
            "bias": None,
        },
        "baselines": {
            "statistics": f"{folder}/process/statistics.json",
            "constraints": f"{folder}/process/constraints.json",
            "quality_statistics": f"{folder}/evaluate/model_quality_statistics.json",
            "quality_constraints": f"{folder}/evaluate/model_quality_constraints.json",
            "attributions": f"{folder}/evaluate/attributions.json",
            "bias": None,
        },
        "passed_columns": ["id"],
    }
    assert FeatureSpec.from_json(storage.read_bytes(result["package"]["feature_spec_uri"])) == SPEC
    assert (result["model_uri"], result["image_uri"], result["passed_columns"]) == (
        f"{folder}/train/model.tar.gz",
        "image:tag",
        1,
    )


SPOILT = {
    "gone": (
        lambda folder: storage.delete(f"{folder}/train/model.tar.gz"),
        "has lost its model: there is no",
    ),
    "changed": (
        lambda folder: storage.write_bytes(f"{folder}/train/model.tar.gz", b"another"),
        "was registered with a model of SHA-256 [0-9a-f]{64}, but .* has [0-9a-f]{64}",
    ),
    "no baseline": (
        lambda folder: storage.delete(f"{folder}/process/statistics.json"),
        "has lost .*/process/statistics.json",
    ),
    "no thresholds": (
        lambda folder: storage.delete(f"{folder}/evaluate/thresholds.json"),
        "has lost .*/evaluate/thresholds.json",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_version_that_is_not_what_was_registered_is_refused(case, scored, bucket, settings):
    spoil, message = SPOILT[case]
    register(settings())
    spoil(f"s3://{bucket}/executions/trained")
    with pytest.raises(PackageError, match=f"version 1 {message}.*`python -m ml_pipeline reject 1`"):
        select("auto", "manual", EXECUTION, settings())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"CustomerMetadataProperties": {}}, "has no model_sha256 in its metadata"),
        (
            {"DriftCheckBaselines": {}},
            "has no baseline ModelDataQuality.Statistics, .* in DriftCheck",
        ),
    ],
)
def test_a_version_that_was_registered_by_other_means_is_refused(members, message, scored, bucket, settings):
    register(settings(), **members)
    with pytest.raises(PackageError, match=message):
        select("auto", "manual", EXECUTION, settings())


def test_an_approved_version_is_looked_for_where_its_environment_is(settings):
    assert approved.to_approve(settings()).endswith("approve VERSION`")
