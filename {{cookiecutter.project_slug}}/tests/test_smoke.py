"""Smoke tests: where two AWS differ, and what is written when the local half does not come to its end."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_pipeline.cloud import recording, smoke
from ml_pipeline.cloud.recording import Difference, Recording

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/loans-dev-try-{}/execution/1"


def recorded(**answer: object) -> Recording:
    return Recording(
        "Succeeded", None, {"Train: DescribeTrainingJob": recording.fields([answer])}, {"Train": 1.0}
    )


def test_recordings_of_the_same_answers_do_not_differ_whatever_the_times():
    times = ({"CreationTime": datetime(year, 1, 1, tzinfo=UTC), "N": year} for year in (2026, 2027))
    first, second = (recorded(**answer) for answer in times)
    assert recording.differences(first, second) == []


def test_a_field_that_is_missing_is_a_difference_and_so_is_another_status():
    cloud = recorded(
        TrainingJobStatus="Completed", Spot={"Saved": 1}, Log=[{"Status": "Starting"}, {"Status": "Ended"}]
    )
    local = recorded(TrainingJobStatus="Failed", Spot={}, Log=[{"Status": "Starting"}])
    where = "Train: DescribeTrainingJob"
    assert recording.differences(cloud, local) == [
        Difference(where, "Log[].Status", "Ended, Starting", "Starting"),
        Difference(where, "Spot.Saved", "number", None),
        Difference(where, "TrainingJobStatus", "Completed", "Failed"),
    ]


def test_an_answer_that_one_of_them_never_gave_is_a_difference():
    silent = Recording("Failed", None, {}, {})
    assert recording.differences(recorded(A=1), silent) == [
        Difference("Train: DescribeTrainingJob", "", "answered", None)
    ]


def local_half(monkeypatch, reason: str, **recordings: Recording) -> None:
    """The process of the local half leaves these recordings, and ends for this reason."""

    def run(command: list[str]) -> str:
        if recordings:
            found = {name: each.to_json() for name, each in recordings.items()}
            Path(command[3]).write_text(json.dumps(found))
        return reason

    monkeypatch.setattr(smoke, "_run", run)


@pytest.fixture
def smoked(settings, monkeypatch, tmp_path, capsys):
    """Smokes with a cloud where both pipelines succeed: exit code, what was printed, JSON and page."""
    monkeypatch.chdir(tmp_path)
    deleted = []
    monkeypatch.setattr(smoke.source, "local_file", Path)
    monkeypatch.setattr(smoke.deploy, "deploy", lambda *_, ci: 0)
    monkeypatch.setattr(smoke.upsert, "resolved", lambda settings, _: settings)
    monkeypatch.setattr(smoke.infrastructure, "with_outputs", lambda settings: settings)
    monkeypatch.setattr(smoke, "executed", lambda *_: {name: ARN.format(name) for name in smoke.PIPELINES})
    monkeypatch.setattr(smoke.costs, "used", lambda arn: [])
    monkeypatch.setattr(smoke, "record", lambda arn, group: recorded(TrainingJobStatus="Completed"))
    monkeypatch.setattr(smoke.destroy, "destroy", lambda *_, **__: deleted.append(1) or 0)

    def run() -> tuple[int, str, dict, str]:
        code = smoke.smoke(settings(project={"slug": "loans"}))
        assert deleted == [1]
        (document,), (page,) = tmp_path.glob("smoke-*.json"), tmp_path.glob("smoke-*.md")
        return code, capsys.readouterr().out, json.loads(document.read_text()), page.read_text()

    return run


def test_a_local_half_that_fails_in_training_is_held_against_the_cloud_all_the_same(smoked, monkeypatch):
    local_half(monkeypatch, "", train=Recording("Failed", "Train: no memory", {}, {"Train": 1.0}))
    code, told, document, page = smoked()
    assert code == 1
    assert "train on the local AWS: Failed: Train: no memory" in told
    assert "score on the local AWS: not executed: train has Failed" in told
    assert document["score"]["local"]["failure_reason"] == "train has Failed"
    (found,) = document["score"]["differences"]
    assert found == Difference("Train: DescribeTrainingJob", "", "answered", None).__dict__
    assert page.count("In the cloud: Succeeded;") == 2
    assert "On the local AWS: not executed: train has Failed." in page


def test_a_local_half_that_has_nothing_to_show_is_told_with_its_reason(smoked, monkeypatch):
    local_half(monkeypatch, "error: port 9 is taken")
    code, told, document, page = smoked()
    assert code == 1 and document["train"]["cloud"]["status"] == "Succeeded"
    assert "train on the local AWS: not executed: error: port 9 is taken" in told
    assert page.count("On the local AWS: not executed: error: port 9 is taken.") == 2


def test_a_local_half_that_succeeds_leaves_nothing_to_say(smoked, monkeypatch):
    both = dict.fromkeys(smoke.PIPELINES, recorded(TrainingJobStatus="Completed"))
    local_half(monkeypatch, "", **both)
    code, told, document, _ = smoked()
    assert code == 0 and "on the local AWS:" not in told
    assert [document[name]["differences"] for name in smoke.PIPELINES] == [[], []]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("print('x', file=sys.stderr)", ""),
        ("sys.exit('first\\nerror: last')", "error: last"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
def test_the_reason_why_a_process_failed_is_its_last_line(capfd, text, reason):
    assert smoke._run([sys.executable, "-c", f"import sys; {text}"]) == reason
    assert reason in capfd.readouterr().err or reason.startswith("exit code")


def test_a_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(smoke, "LOCAL_SECONDS", 0.2)
    assert smoke._run([sys.executable, "-c", "import time; time.sleep(60)"]) == "it took more than 0.2 s"
