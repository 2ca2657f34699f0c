"""What would make an execution fail is refused before a pipeline is written."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from ml_pipeline import schedule
from ml_pipeline.cloud import deploy, infrastructure, preflight, stacks
from ml_pipeline.errors import InputError


@pytest.fixture
def quotas(monkeypatch):
    """A Service Quotas that answers as the stub is told."""
    client = boto3.client("service-quotas", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(preflight.boto3, "client", lambda service: client)
    with Stubber(client) as stub:
        yield stub


def listed(**values: float) -> dict:
    return {"Quotas": [{"QuotaName": name, "Value": value} for name, value in values.items()]}


def test_a_quota_of_zero_for_an_instance_type_that_is_used_is_refused(quotas, settings):
    names = {"ml.m5.large for spot training job usage": 0.0, "ml.m5.large for transform job usage": 4.0}
    quotas.add_response("list_service_quotas", listed(**names), {"ServiceCode": "sagemaker"})
    with pytest.raises(InputError, match=r"'ml\.m5\.large for spot training job usage' is 0 in eu-west-1"):
        preflight.quotas(settings())


def test_a_quota_of_zero_for_what_is_not_used_does_not_matter(quotas, settings):
    names = {"ml.m5.large for spot training job usage": 0.0, "ml.p4d.24xlarge for training job usage": 0.0}
    quotas.add_response("list_service_quotas", listed(**names))
    assert preflight.quotas(settings(train={"spot": False}, tune={"spot": False})) == []


def test_who_may_not_ask_for_quotas_is_told_and_goes_on(quotas, settings):
    quotas.add_client_error("list_service_quotas", "AccessDeniedException")
    (line,) = preflight.quotas(settings())
    assert "quotas were not looked at" in line and "AccessDeniedException" in line


def test_a_quota_of_zero_is_told_before_a_first_deployment_makes_anything(bucket, monkeypatch, settings):
    quotas, others = boto3.client("service-quotas"), boto3.client
    monkeypatch.setattr(
        boto3, "client", lambda name, **more: quotas if name == "service-quotas" else others(name, **more)
    )
    boto3.client("s3").delete_bucket(Bucket=bucket)
    with Stubber(quotas) as stub:
        stub.add_response("list_service_quotas", listed(**{"ml.m5.large for transform job usage": 0.0}))
        with pytest.raises(InputError, match=r"'ml\.m5\.large for transform job usage' is 0"):
            deploy.deploy(settings(), settings().account, ci=False)
    assert not boto3.client("cloudformation").list_stacks()["StackSummaries"]


def test_each_kind_of_job_draws_on_its_own_quota(settings):
    wanted = settings(
        compute={"instance_type": "ml.m5.large"},
        train={"instance_type": "ml.m5.xlarge", "spot": True},
        tune={"instance_type": "ml.m5.2xlarge", "spot": False},
        transform={"instance_type": "ml.c5.large"},
        bias={"engine": "clarify"},
        data={"facets": ("sex",)},
    )
    assert preflight.quota_names(wanted) == [
        "ml.m5.large for training job usage",
        "ml.m5.xlarge for spot training job usage",
        "ml.m5.2xlarge for training job usage",
        "ml.c5.large for transform job usage",
        "ml.m5.large for processing job usage",
    ]
    assert not [n for n in preflight.quota_names(settings(tune={"trials": 0})) if "2xlarge" in n]


def test_another_python_than_the_images_is_refused(monkeypatch, tmp_path):
    (tmp_path / ".python-version").write_text("3.9\n")
    monkeypatch.setattr(preflight, "PROJECT", tmp_path)
    with pytest.raises(InputError, match=r"the image has 3.9 \(.python-version\)"):
        preflight.python()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ndef f(:\n", r"ml_pipeline/bad\.py:2: .*; nothing was done"),
        ("x = '\0'\n", "ml_pipeline/bad.py:1: "),
    ],
)
def test_code_that_python_cannot_read_is_refused_by_its_line(monkeypatch, tmp_path, source, message):
    monkeypatch.setattr(preflight, "PROJECT", tmp_path)
    monkeypatch.setattr(preflight, "python", lambda: "3.11")
    module = tmp_path / "ml_pipeline" / "bad.py"
    module.parent.mkdir()
    module.write_text(source)
    monkeypatch.setattr(preflight, "sources", lambda: [module])
    with pytest.raises(InputError, match=message):
        preflight.checkout()


def test_a_checkout_without_a_python_version_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "PROJECT", tmp_path)
    with pytest.raises(InputError, match=r"\.python-version is missing"):
        preflight.python()


def test_an_image_that_ecr_does_not_have_is_refused_with_the_command_that_builds_it(bucket, settings):
    boto3.client("ecr").create_repository(repositoryName=settings().prefix)
    with pytest.raises(InputError, match="`python -m ml_pipeline image --env local` builds and pushes it"):
        preflight.image(dataclasses.replace(settings(), image_tag="0123456789abcdef"))


def test_a_role_that_does_not_exist_is_refused(bucket, settings):
    with pytest.raises(InputError, match="role loans-local-execution does not exist"):
        preflight.role(settings())


@pytest.mark.parametrize("pipeline", ["train", "score"])
def test_a_schedule_whose_moment_is_over_is_refused_with_its_zone(bucket, settings, pipeline):
    wanted = settings(schedule={pipeline: "at(2020-01-31T06:00:00)", "timezone": "Europe/London"})
    told = rf"^{pipeline} must be .* got 'at\(2020-01-31T06:00:00\)' in Europe/London: .* \(settings.toml, "
    with pytest.raises(InputError, match=told):
        preflight.schedules(wanted)
    preflight.schedules(dataclasses.replace(wanted, suffix="ana"))  # whose schedules are off


TRIGGERS = """
Parameters:
  TrainSchedule: {Type: String}
  ScoreSchedule: {Type: String}
  ScheduleTimezone: {Type: String}
  FlexibleMinutes: {Type: Number}
  SchedulesState: {Type: String}
Resources:
  Queue: {Type: AWS::SQS::Queue}
"""


def test_a_schedule_that_has_done_its_work_does_not_keep_later_deployments_away(bucket, settings):
    once = {"train": "at(2020-01-31T06:00:00)", "timezone": "Europe/London", "flexible_minutes": 5}
    wanted = settings(schedule=once)
    values = {
        **infrastructure.schedule_parameters("train", wanted),
        **infrastructure.schedule_parameters("score", wanted),
    }
    with pytest.raises(InputError, match="train must be a moment still to come"):
        preflight.schedules(wanted)
    boto3.client("cloudformation").create_stack(
        StackName=infrastructure.name(infrastructure.TRIGGERS, wanted),
        TemplateBody=TRIGGERS,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
    )
    preflight.schedules(wanted)
    # What would have the schedule itself updated, or made anew, is refused as before.
    changes = [("train", "at(2020-02-01T06:00:00)"), ("timezone", "UTC"), ("flexible_minutes", 6)]
    for name, value in changes:
        with pytest.raises(InputError, match="train must be a moment still to come"):
            preflight.schedules(settings(schedule={**once, name: value}))


def test_a_schedule_is_past_in_its_own_time_zone():
    noon = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)
    at = "at(2027-01-31T12:30:00)"
    assert schedule.is_past(at, "Europe/Berlin", noon)
    assert not schedule.is_past(at, "UTC", noon) and not schedule.is_past(at, "America/New_York", noon)
    assert not schedule.is_past("cron(0 6 ? * MON 2020)", "UTC", noon)


@pytest.fixture
def stack(monkeypatch):
    """A function that has CloudFormation answer with a stack in this status."""
    client = boto3.client("cloudformation", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(stacks.boto3, "client", lambda service: client)
    with Stubber(client) as stub:

        def answer(status):
            found = {
                "StackName": "loans-dev-triggers",
                "StackStatus": status,
                "CreationTime": datetime.now(UTC),
            }
            stub.add_response("describe_stacks", {"Stacks": [found]})

        yield answer


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (
            "ROLLBACK_COMPLETE",
            "delete it with `aws cloudformation delete-stack --stack-name loans-dev-triggers`",
        ),
        ("ROLLBACK_FAILED", "`aws cloudformation delete-stack --stack-name loans-dev-triggers`"),
        ("CREATE_FAILED", "`aws cloudformation delete-stack --stack-name loans-dev-triggers`"),
        ("DELETE_FAILED", "`aws cloudformation delete-stack --stack-name loans-dev-triggers`"),
        ("UPDATE_FAILED", "`aws cloudformation rollback-stack --stack-name loans-dev-triggers`"),
        (
            "UPDATE_ROLLBACK_FAILED",
            "`aws cloudformation continue-update-rollback --stack-name loans-dev-triggers`",
        ),
        ("ROLLBACK_IN_PROGRESS", "wait for its end"),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "wait for its end"),
        ("CREATE_IN_PROGRESS", "wait for its end"),
    ],
)
def test_a_stack_that_cannot_be_changed_now_is_refused_with_its_status_and_the_remedy(stack, status, remedy):
    stack(status)
    with pytest.raises(InputError) as refused:
        stacks.state("loans-dev-triggers")
    told = str(refused.value)
    assert told.startswith("stack loans-dev-triggers is ") and status in told
    assert remedy in told and told.endswith("nothing was done")


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_stack_that_has_come_to_rest_is_ready_for_a_change(stack, status):
    stack(status)
    assert stacks.state("loans-dev-triggers") == stacks.READY
