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


LOG = """[0]	train-auc:0.7
Traceback (most recent call last):
  File "/opt/ml/code/ml_pipeline/record.py", line 35, in call
    result = function(*args, **kwargs)
  File "/opt/ml/code/ml_pipeline/steps/train.py", line 61, in train
    plan = training_plan(best)
KeyError: 'device'

During handling of the above exception, another exception occurred:

  File "/opt/ml/code/ml_pipeline/record.py", line 35, in call
    result = function(*args, **kwargs)
  File "/usr/lib/python3.12/site-packages/xgboost/core.py", line 9, in check
    raise XGBoostError(message)
  File "/opt/ml/code/ml_pipeline/steps/train.py", line 64, in train
    raise ValueError(text)
ValueError: device must be cpu (settings.toml, [train])
"""


def test_a_failure_with_a_log_is_told_by_its_last_error_and_the_projects_own_lines(run):
    folder = run("Failed", [step("Train", "TrainingJob", "Failed", "AlgorithmError: exit code 1")])
    (folder / "logs").mkdir()
    (folder / "logs" / "Train.log").write_text(LOG)
    assert summary.lines(folder, kept=False)[1:] == [
        "steps: Train Failed",
        "Train failed: ValueError: device must be cpu (settings.toml, [train])",
        "  at ml_pipeline/steps/train.py:61",
        "  at ml_pipeline/steps/train.py:64",
        f"log: {folder / 'logs' / 'Train.log'}",
        f"what to do: change settings.toml as said above, then {summary.COMMAND} run",
    ]


def test_of_many_frames_the_last_five_are_told(run):
    folder = run("Failed", [step("Train", "TrainingJob", "Failed")])
    (folder / "logs").mkdir()
    frames = [f'  File "/opt/ml/code/ml_pipeline/a.py", line {line}, in f\n' for line in range(9)]
    (folder / "logs" / "Train.log").write_text("".join(frames) + "ValueError: x\n")
    told = summary.lines(folder, kept=False)
    assert [line for line in told if line.startswith("  at ")] == [
        f"  at ml_pipeline/a.py:{line}" for line in range(4, 9)
    ]


def test_a_champion_is_told_beside_the_model_and_a_rerun_names_its_source(run):
    value = {"value": 0.8, "low": 0.7, "high": 0.9, "trivial": 0.5}
    champion = {"package": "arn/3", "test": {"auc": value | {"value": 0.75}}}
    metrics = {"primary": "auc", "test": {"auc": value}, "fit": {"diagnosis": "good"}, "champion": champion}
    missed = [MISS | {"why": f"bound {number}"} for number in range(9)]
    folder = run("Failed", [step("R", "Fail", "Failed")], metrics=metrics, verdict={"missed": missed})
    document = json.loads((folder / "execution.json").read_text())
    (folder / "execution.json").write_text(json.dumps(document | {"source": "abc"}))
    told = summary.lines(folder, kept=True)
    assert told[0].endswith(", with earlier steps of run abc")
    assert told[2] == "champion auc 0.7500 (version 3)"
    assert told[4:] == [f"  bound {number}" for number in range(8)] and len(told) <= 15


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
        ({"Process": "Succeeded", "Train": "Failed"}, False, "run --data 'my calls.csv'"),
        ({"Process": "Failed"}, True, "run --data 'my calls.csv'"),
        ({"Process": "Succeeded", "Train": "Stopped"}, True, "run --from Train"),
    ],
)
def test_the_command_to_go_on_with_runs_nothing_twice(run, statuses, kept, wanted):
    steps = [step(name, "TrainingJob", status, "it broke") for name, status in statuses.items()]
    status = "Stopped" if "Stopped" in statuses.values() else "Failed"
    told = summary.lines(run(status, steps), kept, options=" --data 'my calls.csv'")
    assert told[-1].endswith(f"-m ml_pipeline {wanted}")


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_what_ended_in_the_cloud_is_started_there_again(run, status):
    folder = run(status, [step("Train", "TrainingJob", status, "no disk")])
    told = summary.lines(folder, False, "ml start --env dev")[-1]
    assert (
        told
        == {
            "Failed": "what to do: mend what is named above, deploy that if it is code or settings, then "
            "ml start --env dev",
            "Stopped": "to go on: ml start --env dev",
        }[status]
    )
