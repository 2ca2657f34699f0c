"""Child jobs: named by attempt, found again by a retry."""

import boto3
import pytest
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
    return jobs.run("processing", "loans-local-bias-e1", REQUEST, max_seconds=5)["ProcessingJobName"]


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


def test_after_a_failed_job_the_next_number_is_started(bucket):
    run()
    end("loans-local-bias-e1-1", "Failed", "out of memory")
    assert run() == "loans-local-bias-e1-2"


def test_a_job_that_fails_raises_with_its_own_reason(bucket, monkeypatch):
    run()
    end("loans-local-bias-e1-1", "InProgress", "")
    pauses = iter([lambda: end("loans-local-bias-e1-1", "Failed", "AlgorithmError: no such column")])
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: next(pauses)())
    with pytest.raises(jobs.JobFailed, match="loans-local-bias-e1-1 Failed: AlgorithmError: no such column"):
        run()


def test_a_job_that_does_not_end_in_time_is_said_so(bucket):
    run()
    end("loans-local-bias-e1-1", "InProgress", "")
    with pytest.raises(jobs.JobFailed, match=r"still InProgress after 0\.1 s"):
        jobs.run("processing", "loans-local-bias-e1", REQUEST, max_seconds=0.1)


def test_child_jobs_carry_project_environment_and_execution(settings):
    assert {tag["Key"]: tag["Value"] for tag in jobs.tags(settings(), "e1")} == {
        "Project": "loans",
        "Environment": "local",
        "Execution": "e1",
    }
