"""Who goes on when executions meet: one works, the others stop before anything is computed."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import boto3
import pytest
from conftest import ACCOUNT, REGION
from moto.sagemaker.models import sagemaker_backends

from ml_pipeline import admission, storage
from ml_pipeline.admission import Execution, refusal
from ml_pipeline.steps.process import process

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def execution(name: str, hours: float, status: str = "Executing", reason="manual", begun=False) -> Execution:
    """One that started so many hours before noon."""
    return Execution(f"arn/{name}", NOON - timedelta(hours=hours), status, reason, begun)


@pytest.mark.parametrize(
    ("reason", "others", "why"),
    [
        ("manual", [], None),
        ("manual", [execution("old", 1)], "old, which started before it, is running"),
        ("schedule", [execution("old", 1)], "old, which started before it, is running"),
        ("manual", [execution("old", 1, "Stopping")], None),
        ("manual", [execution("old", 1, "Succeeded")], None),
        ("schedule", [execution("old", 1, "Succeeded")], None),
        ("drift", [execution("old", 1, "Succeeded")], "within 24 h of old"),
        ("drift", [execution("old", 1, "Failed")], "within 24 h of old"),
        ("drift", [execution("old", 1, "Stopped")], None),
        ("drift", [execution("old", 24, "Succeeded")], None),
        (
            "drift",
            [execution("done", 23, "Succeeded"), execution("late", 1, "Stopped")],
            "within 24 h of done",
        ),
        (
            "drift",
            [execution("newer", 1, "Failed"), execution("done", 48, "Succeeded")],
            "within 24 h of newer",
        ),
        ("manual", [execution("young", -1)], None),
        ("manual", [execution("young", -1, begun=True)], "young is at work already"),
        ("drift", [execution("young", -1, "Succeeded")], None),
        # The alarm's own is about to stop itself: it must not take the schedule's turn with it.
        ("schedule", [execution("done", 2, "Succeeded"), execution("old", 1, reason="drift")], None),
        ("schedule", [execution("old", 1, reason="drift")], "old, which started before it, is running"),
    ],
)
def test_what_an_execution_finds_decides_whether_it_goes_on(reason, others, why):
    found = refusal(execution("own", 0, reason=reason), others, DAY)
    assert (why in found) if why else (found is None)


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_of_executions_that_start_at_once_exactly_one_goes_on(order):
    all_of_them = [execution(name, 0) for name in order]
    assert [each.id for each in all_of_them if refusal(each, all_of_them, DAY) is None] == ["a"]


def test_a_retried_execution_is_not_stopped_by_itself():
    own = execution("own", 1, begun=True)
    assert refusal(execution("own", 1), [own], DAY) is None


def test_a_storm_of_hundreds_is_decided_at_once():
    many = [execution(f"{number:03}", 0, reason="drift") for number in range(500)]
    assert [each.id for each in many if refusal(each, many, DAY) is None] == ["000"]


def pipeline_of(settings, of: str = "train") -> str:
    client = boto3.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
    made = {"PipelineName": f"{settings.prefix}-{of}", "PipelineDefinition": "{}", "RoleArn": role}
    client.create_pipeline(**made, ClientRequestToken="t" * 32)
    return made["PipelineName"]


def started(name: str) -> str:
    given = [{"Name": "TriggerReason", "Value": "manual"}]
    client = boto3.client("sagemaker")
    arn = client.start_pipeline_execution(PipelineName=name, PipelineParameters=given)["PipelineExecutionArn"]
    pipeline = sagemaker_backends[ACCOUNT][REGION].pipelines[name]
    pipeline.pipeline_executions[arn].pipeline_execution_status = "Executing"  # moto: Succeeded at once
    return arn.rpartition("/")[2]


def test_the_second_execution_stops_itself_and_leaves_no_result(bucket, settings, monkeypatch):
    stopped, wanted = [], settings()
    monkeypatch.setattr(admission, "_stop", lambda client, arn: stopped.append(arn))
    name = pipeline_of(wanted)
    first, second = started(name), started(name)
    admission.admit("train", "manual", first, wanted)
    admission.admit("train", "manual", second, wanted)
    assert [arn.rpartition("/")[2] for arn in stopped] == [second]
    assert [uri for uri, _ in storage.list_uris(f"s3://{bucket}/")] == [
        wanted.uri(first, "process", "admitted.json")
    ]


def test_a_call_outside_of_an_execution_asks_nobody_to_stop(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "_stop", lambda client, arn: pytest.fail(arn))
    admission.admit("train", "drift", "nobody", settings())
    pipeline_of(settings())
    admission.admit("train", "drift", "nobody", settings())
    assert storage.list_uris(f"s3://{bucket}/") == []


def test_nothing_is_read_before_an_execution_is_admitted(bucket, settings, monkeypatch):
    class Refused(Exception):
        pass

    def admit(pipeline, reason, execution_id, settings):
        raise Refused(reason, execution_id)

    monkeypatch.setattr(admission, "admit", admit)
    with pytest.raises(Refused, match="drift"):
        process(f"s3://{bucket}/raw/", "drift", "execution1", settings())  # which holds no period
