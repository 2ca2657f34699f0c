"""A run told in a few lines."""

import json

import pytest

from ml_pipeline import summary

MOMENTS = {"started": "2026-01-05T06:00:00.000+00:00", "ended": "2026-01-05T06:00:09.500+00:00"}
MISS = {
    "metric": "auc",
    "value": None,
    "bound": 0.5,
    "side": "above",
    "why": "auc is undefined, must be above 0.5",
}


def step(name, kind, status, reason=None):
    return {"name": name, "type": kind, "status": status, "failure_reason": reason}


@pytest.fixture
def run(tmp_path):
    def made(status, steps, **files):
        files["execution"] = {"status": status, "steps": steps, **MOMENTS}
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return made


def test_an_undefined_metric_is_told_as_such_with_the_bound_it_missed(run):
    value = {"value": None, "low": None, "high": None, "trivial": 0.5}
    metrics = {"primary": "auc", "test": {"auc": value}, "fit": {"diagnosis": "unknown"}, "champion": None}
    folder = run("Failed", [step("Rejected", "Fail", "Failed")], metrics=metrics, verdict={"missed": [MISS]})
    told = summary.lines(folder, kept=True)
    assert told[0].strip() == f"Failed in 9.5 s -> {folder}"
    assert told[1] == "test auc undefined [undefined, undefined], trivial 0.5000; fit: unknown"
    assert told[2:] == ["rejected by the gate:", "  auc is undefined, must be above 0.5"]


def test_a_failure_without_a_log_is_told_by_its_reason(run):
    folder = run("Failed", [step("Process", "TrainingJob", "Failed", "CapacityError: no ml.m5.large")])
    told = summary.lines(folder, kept=True)
    assert "Process failed: CapacityError: no ml.m5.large" in told
    assert told[-1].startswith("what to do: mend what is named above, then ")


@pytest.mark.parametrize("kept", [True, False])
def test_only_a_version_that_outlives_the_run_is_offered_for_approval(run, kept):
    package = {
        "ModelPackageVersion": 3,
        "ModelPackageGroupName": "loans-local",
        "ModelApprovalStatus": "PendingManualApproval",
    }
    told = summary.lines(run("Succeeded", [], model_package=package), kept)
    assert any(line.endswith("-m ml_pipeline approve 3") for line in told) == kept


@pytest.mark.parametrize(
    ("statuses", "kept", "wanted"),
    [
        ({"Process": "Succeeded", "Train": "Failed"}, True, "run --from Train"),
        ({"Process": "Succeeded", "Train": "Failed"}, False, "run"),
        ({"Process": "Failed"}, True, "run"),
        ({"Process": "Succeeded", "Train": "Stopped"}, True, "run --from Train"),
    ],
)
def test_the_command_to_go_on_with_runs_nothing_twice(run, statuses, kept, wanted):
    steps = [step(name, "TrainingJob", status, "it broke") for name, status in statuses.items()]
    status = "Stopped" if "Stopped" in statuses.values() else "Failed"
    assert summary.lines(run(status, steps), kept)[-1].endswith(f"-m ml_pipeline {wanted}")


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_what_ended_in_the_cloud_is_started_there_again(run, status):
    folder = run(status, [step("Train", "TrainingJob", status, "no disk")])
    told = summary.lines(folder, False, "ml start --env dev")[-1]
    assert (
        told.endswith("ml start --env dev") and "deploy" in told if status == "Failed" else "to go on" in told
    )
    assert " run" not in told
