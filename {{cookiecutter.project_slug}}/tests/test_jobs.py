"""Child jobs: named by attempt, found again by a retry."""

import dataclasses
import itertools
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.sagemaker.models import sagemaker_backends

from ml_pipeline import jobs

REQUEST = {
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    },
    "AppSpecification": {"ImageUri": "image"},
    "RoleArn": "arn:aws:iam::123456789012:role/loans-local-execution",
}


def run():
    return jobs.run("processing", "loans-local-bias-e1", REQUEST, max_seconds=300)["ProcessingJobName"]


def end(name: str, status: str, reason: str) -> None:
    job = sagemaker_backends["123456789012"]["eu-west-1"].processing_jobs[name]
    job.processing_job_status, job.failure_reason = status, reason


def names() -> set[str]:
    return {
        job["ProcessingJobName"]
        for job in boto3.client("sagemaker").list_processing_jobs()["ProcessingJobSummaries"]
    }


def test_a_completed_job_of_an_earlier_attempt_is_taken_instead_of_started_again(bucket):
    assert run() == run() == "loans-local-bias-e1-1"
    assert names() == {"loans-local-bias-e1-1"}


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_after_a_failed_job_the_next_number_is_started(bucket, status):
    run()
    end("loans-local-bias-e1-1", status, "out of memory")
    assert run() == "loans-local-bias-e1-2"


def test_when_all_attempts_have_failed_the_last_reason_is_told(bucket, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_ATTEMPTS", 1)
    run()
    end("loans-local-bias-e1-1", "Failed", "out of memory")
    with pytest.raises(jobs.JobFailed, match="all of 1 attempts failed; the last: out of memory"):
        run()


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_job_that_fails_raises_with_its_own_reason(bucket, monkeypatch, status):
    run()
    end("loans-local-bias-e1-1", "InProgress", "")
    pauses = iter([lambda: end("loans-local-bias-e1-1", status, "AlgorithmError: no such column")])
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: next(pauses)())
    with pytest.raises(jobs.JobFailed, match=f"e1-1 {status}: AlgorithmError: no such column"):
        run()


def test_a_job_is_looked_at_often_at_first_and_at_least_every_half_minute(bucket, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 100:
            end("loans-local-bias-e1-1", "Completed", "")

    run()
    end("loans-local-bias-e1-1", "InProgress", "")
    monkeypatch.setattr(jobs.time, "sleep", sleep)
    run()
    assert pauses[0] <= 1 and pauses[-1] == 30
    assert all(next_one <= 1.25 * one for one, next_one in itertools.pairwise(pauses))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ResourceNotFound", "Amazon SageMaker can't find a tuning job with name: x"),
        ("ValidationException", "Could not find requested job with name: x"),
    ],
)
def test_a_job_that_is_not_there_is_known_by_what_sagemaker_answers(monkeypatch, code, message):
    assert found_when_refused(monkeypatch, code, message) is None


def test_whoever_may_not_look_at_jobs_is_told_so(monkeypatch):
    with pytest.raises(ClientError, match="AccessDeniedException"):
        found_when_refused(monkeypatch, "AccessDeniedException", "not authorized")


def found_when_refused(monkeypatch, code, message):
    client = boto3.client("sagemaker", region_name="eu-west-1")
    error = ClientError({"Error": {"Code": code, "Message": message}}, "Describe")
    monkeypatch.setattr(client, "_make_api_call", mock.Mock(side_effect=error))
    return jobs._found(jobs.KINDS["tuning"], client, "x")


def test_a_job_that_does_not_end_in_time_is_said_so(bucket):
    run()
    end("loans-local-bias-e1-1", "InProgress", "")
    with pytest.raises(jobs.JobFailed, match=r"still InProgress after 0\.1 s"):
        jobs.run("processing", "loans-local-bias-e1", REQUEST, max_seconds=0.1)


def test_child_jobs_carry_project_environment_and_execution(settings):
    chosen = dataclasses.replace(settings(), tags={"team": "credit", "Project": "another"})
    assert {tag["Key"]: tag["Value"] for tag in jobs.tags(chosen, "e1")} == {
        "team": "credit",
        "Project": "another",
        "Environment": "local",
        "Execution": "e1",
    }
