"""The generated project's pipeline, run as a user runs it, judged by the files it leaves."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

SECONDS = 300


def command(
    project: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml_pipeline", *arguments],
        cwd=project,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def results(project: Path, name: str = "latest") -> dict[str, object]:
    """Every JSON file of a run by its name without ending."""
    folder = project / "runs" / name
    return {
        path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1))


def heed_ctrl_c() -> None:
    """For a child: a shell that starts these tests with `&` makes all that they start ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Listener:
    """Counts the connections to a port that nothing may connect to."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.connections += 1
            connection.close()


@pytest.fixture(scope="module")
def ran(make_project):
    """A default project after one run, in an environment that does all it can to send requests elsewhere."""
    project, trap = make_project(), Listener()
    elsewhere = f"http://127.0.0.1:{trap.port}"
    home = project.parent / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text(
        f"[profile real]\nendpoint_url = {elsewhere}\nignore_configured_endpoint_urls = true\n"
        f"[default]\nendpoint_url = {elsewhere}\nignore_configured_endpoint_urls = true\n"
    )
    done = command(
        project,
        "run",
        env={
            "HOME": str(home),
            "AWS_PROFILE": "real",
            "AWS_ENDPOINT_URL_S3": elsewhere,
            "AWS_ENDPOINT_URL_SAGEMAKER": elsewhere,
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
            "HTTP_PROXY": elsewhere,
            "HTTPS_PROXY": elsewhere,
            "AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL",
            "AWS_SECRET_ACCESS_KEY": "real",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done, trap


def test_a_run_registers_a_model_that_beats_the_trivial_one(ran):
    found = results(ran[0])
    auc = found["metrics"]["test"]["auc"]
    assert found["verdict"] == {"passed": True, "missed": []}
    assert 0.8 < auc["low"] <= auc["value"] <= auc["high"] < 1 and auc["trivial"] == 0.5
    assert found["model_package"]["ModelApprovalStatus"] == "PendingManualApproval"
    assert found["model_package"]["ModelPackageVersion"] == 1


def test_a_model_version_names_its_data_its_commit_and_its_hyperparameters(ran):
    found = results(ran[0])
    lineage = found["model_package"]["CustomerMetadataProperties"]
    data = (ran[0] / "data/sample.csv").read_bytes()
    assert lineage["data_sha256"] == hashlib.sha256(data).hexdigest()
    assert lineage["git_commit"] == "unknown"  # the project is no git repository yet
    assert lineage["hyperparameter.eta"] == str(found["tuning"]["best"]["eta"])


def test_an_account_that_is_not_the_local_one_is_left_alone(project):
    code = (
        "import sys\nfrom ml_pipeline import __main__, local\n"
        "local.ACCOUNT = '999999999999'\nsys.exit(__main__.main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(
        r"expected account 9{12} at http://127\.0\.0\.1:\d+, got 123456789012 .*nothing", done.stderr
    )
    assert list((project / ".local_aws/objects").rglob("*")) == []


def test_a_second_run_at_the_same_time_is_refused(project):
    first = subprocess.Popen(
        [sys.executable, "-m", "ml_pipeline", "run"], cwd=project, stdout=subprocess.PIPE, text=True
    )
    while not first.stdout.readline().startswith("Process"):
        pass
    second = command(project, "run")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert second.returncode == 1
    assert "is in use by another local AWS" in second.stderr


def test_nothing_of_a_local_run_leaves_loopback_whatever_the_users_environment_says(ran):
    assert ran[2].connections == 0


def test_the_steps_of_a_run_are_those_of_the_graph_and_all_succeeded(ran):
    execution = results(ran[0])["execution"]
    names = ["Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Gate", "Register"]
    assert [step["name"] for step in execution["steps"]] == names
    assert {step["status"] for step in execution["steps"]} == {"Succeeded"}
    assert execution["parameters"]["TriggerReason"] == "manual"
    train = execution["steps"][2]
    assert train["arguments"]["best"] == execution["steps"][1]["result"]["best"]
    assert train["result"]["model_uri"].endswith(f"/executions/{execution['id']}/train/model.tar.gz")


def test_the_output_has_one_line_a_step_and_a_summary(ran):
    lines = ran[1].stdout.splitlines()
    for name in ("Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Gate", "Register"):
        assert len([line for line in lines if re.match(rf"{name} +Succeeded +\d+\.\d s ", line)]) == 1
    assert any(
        line.startswith("registered ") and "version 1, PendingManualApproval" in line for line in lines
    )


def test_the_model_artifact_holds_a_booster_and_its_features_and_nothing_else(ran):
    with tarfile.open(ran[0] / "runs/latest/model.tar.gz") as archive:
        assert sorted(archive.getnames()) == ["feature_spec.json", "model.ubj"]


def test_predictions_hold_ids_label_predicted_label_and_score_of_every_test_row(ran):
    with (ran[0] / "runs/latest/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["applicant_id", "label", "predicted_label", "score"]
    assert len(rows) == results(ran[0])["profile"]["splits"]["test"]["rows"]
    assert {row["label"] for row in rows} == {"yes", "no"}


def test_tuning_reports_each_trial_with_its_objective(ran):
    tuning = results(ran[0])["tuning"]
    objectives = [trial["objective"] for trial in tuning["trials"] if trial["objective"] is not None]
    best = max(tuning["trials"], key=lambda trial: trial["objective"] or 0)
    assert len(tuning["trials"]) == 4 and objectives
    assert best["hyperparameters"].items() <= tuning["best"].items()


def test_bias_measures_all_clarify_metrics_for_each_group(ran):
    analysis = results(ran[0])["bias/analysis"]
    for part, count in (("pre_training_bias_metrics", 8), ("post_training_bias_metrics", 13)):
        groups = analysis[part]["facets"]["sex"]
        assert len(groups) == 2
        assert all(len(group["metrics"]) == count for group in groups)
        assert all(np.isfinite(metric["value"]) for group in groups for metric in group["metrics"])


def test_logs_hold_what_each_step_printed(ran):
    for name in ("Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Register"):
        assert f"{name}: " in (ran[0] / f"runs/latest/logs/{name}.log").read_text()


def test_the_second_run_meets_the_approved_champion_and_starts_from_its_parents_trials(ran):
    project = ran[0]
    assert command(project, "approve", "7").returncode == 2
    for decision, status in (("reject", "Rejected"), ("approve", "Approved")):
        assert command(project, decision, "1").returncode == 0
        assert results(project)["model_package"]["ModelApprovalStatus"] == status
    parent = results(project)["tuning"]["job"]
    edit(project / "settings.toml", "warm_start_parents = []", f'warm_start_parents = ["{parent}"]')
    done = command(project, "run", "--set", "ApprovalStatus=Approved")
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(project)
    assert found["metrics"]["champion"]["package"].endswith("/1")
    # The same data, splits and seed: the champion was trained on the same rows and scores the same test rows.
    assert found["metrics"]["champion"]["test"]["auc"]["value"] > 0.8
    assert found["tuning"]["job"] != parent and len(found["tuning"]["trials"]) == 4
    assert found["model_package"]["ModelPackageVersion"] == 2
    assert found["model_package"]["ModelApprovalStatus"] == "Approved"


def test_the_definition_is_all_that_is_printed_and_is_what_ran(ran):
    done = command(ran[0], "definition")
    printed = json.loads(done.stdout)
    stored = results(ran[0])["definition"]
    assert done.returncode == 0
    assert [step["Name"] for step in printed["Steps"]] == [step["Name"] for step in stored["Steps"]]
    train = next(step for step in printed["Steps"] if step["Name"] == "Train")["Arguments"]
    place = train["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"]
    assert train["EnableManagedSpotTraining"] is True
    assert {"Get": "Execution.PipelineExecutionId"} in place
    stopping = train["StoppingCondition"]
    assert stopping["MaxWaitTimeInSeconds"] >= stopping["MaxRuntimeInSeconds"]


def test_the_shipped_workspace_holds_the_package_alone(ran):
    import zipfile

    found = [
        path for path in (ran[0] / ".local_aws").rglob("*") if path.is_file() and zipfile.is_zipfile(path)
    ]
    workspaces = [
        names
        for names in (zipfile.ZipFile(path).namelist() for path in found)
        if any("ml_pipeline/" in n for n in names)
    ]
    assert workspaces
    for names in workspaces:
        files = [name.partition("/")[2] for name in names if not name.endswith("/")]
        assert all(name.startswith("ml_pipeline/") for name in files), files
        assert {Path(name).suffix for name in files} == {".py", ".css", ".js"}
        assert "ml_pipeline/report/page.css" in files


def test_a_raising_step_is_told_in_15_lines_with_the_users_own_frame(make_project):
    project = make_project()
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    train = project / "ml_pipeline/steps/train.py"
    text = train.read_text()
    signature = re.search(
        r"^def train\(.*?\) -> dict\[str, Any\]:\n(    \"\"\".*?\"\"\"\n)?", text, re.M | re.S
    )
    train.write_text(
        text[: signature.end()] + '    raise ValueError("the moon is full")\n' + text[signature.end() :]
    )
    place = text[: signature.end()].count("\n") + 1
    done = command(project, "run", "--fresh")
    told = done.stdout[done.stdout.index("Failed in") :].strip().splitlines()
    assert done.returncode == 1
    assert len(told) <= 15
    assert any("ValueError: the moon is full" in line for line in told)
    assert f"  at ml_pipeline/steps/train.py:{place}" in told
    assert "Traceback (most recent call last)" in (project / "runs/latest/logs/Train.log").read_text()
    assert [step["status"] for step in results(project)["execution"]["steps"]] == [
        "Succeeded",
        "Succeeded",
        "Failed",
    ]
    assert not (project / "runs/latest/model_package.json").exists()


def test_a_killed_step_fails_the_run_and_says_so(make_project):
    project = make_project()
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    evaluate = project / "ml_pipeline/steps/evaluate.py"
    evaluate.write_text(
        evaluate.read_text() + "\n\ndef evaluate(*args):\n    import os\n    os.kill(os.getpid(), 9)\n"
    )
    edit(
        evaluate,
        "def evaluate(*args)",
        "def evaluate(splits_uri, encoded_uri, model_uri, predictions_uri, execution_id, settings)",
    )
    done = command(project, "run", "--fresh")
    execution = results(project)["execution"]
    assert done.returncode == 1
    assert execution["status"] == "Failed"
    assert (
        execution["steps"][-1]["name"] == "Evaluate" and "SIGKILL" in execution["steps"][-1]["failure_reason"]
    )


def test_a_model_that_misses_a_bound_is_rejected_with_the_number_and_the_bound(make_project):
    project = make_project()
    edit(project / "settings.toml", 'threshold = "trivial"', "threshold = 0.999")
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    done = command(project, "run")
    found = results(project)
    missed = found["verdict"]["missed"]
    assert done.returncode == 1
    assert [miss["metric"] for miss in missed] == ["auc"] and missed[0]["bound"] == 0.999
    assert f"  {missed[0]['why']}" in done.stdout.splitlines()
    assert f"auc is {missed[0]['value']:.6g}" in missed[0]["why"] and "0.999" in missed[0]["why"]
    assert found["execution"]["steps"][-1]["name"] == "Rejected"
    assert found["tuning"]["job"] is None
    assert "model_package" not in found


def test_ctrl_c_stops_the_execution_and_leaves_no_process(make_project):
    project = make_project()
    process = subprocess.Popen(
        [sys.executable, "-m", "ml_pipeline", "run"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    for line in process.stdout:
        if line.startswith("Process"):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 1, rest
    assert results(project)["execution"]["status"] == "Stopped"
    deadline = time.monotonic() + 10
    while (left := _processes_of(project)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def _processes_of(project: Path) -> list[str]:
    """Command lines of the processes that name the project or, as far as /proc tells, work in it."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [
        line
        for line in listed.splitlines()
        if str(project) in line or str(project) in _folder_of(line.split()[0])
    ]


def _folder_of(process: str) -> str:
    try:
        return os.readlink(f"/proc/{process}/cwd")
    except OSError:  # it has ended, or this is not Linux
        return ""


def test_without_facets_the_graph_has_no_bias_step(make_project):
    project = make_project()
    edit(project / "settings.toml", 'facets = ["sex"]', "facets = []")
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    done = command(project, "run", "--fresh")
    found = results(project)
    names = [step["name"] for step in found["execution"]["steps"]]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Bias" not in names and names[-2:] == ["Gate", "Register"]
    assert found["verdict"]["passed"] is True
    assert "Bias" not in found["model_package"]["ModelMetrics"]


def _use(project: Path, frame, *, target: str, problem: str, positive: str, facet: str, method: str) -> None:
    frame.to_csv(project / "data.csv", index=False)
    for old, new in (
        ('target = "approved"', f'target = "{target}"'),
        ('problem = "binary"', f'problem = "{problem}"'),
        ('positive = "yes"', f'positive = "{positive}"'),
        ('facets = ["sex"]', f'facets = ["{facet}"]'),
        ('group = "region"', 'group = ""'),
        ('ids = ["applicant_id"]', "ids = []"),
        ('method = "stratified"', f'method = "{method}"'),
        ("trials = 4", "trials = 2"),
    ):
        edit(project / "settings.toml", old, new)


def test_a_multiclass_set_runs_to_a_registered_model(make_project):
    project, wine = make_project(), load_wine(as_frame=True)
    frame = wine.frame.assign(
        target=np.array(["barolo", "grignolino", "barbera"])[wine.target],
        vineyard=np.where(np.arange(len(wine.target)) % 3, "hill", "plain"),
    )
    _use(
        project,
        frame,
        target="target",
        problem="multiclass",
        positive="barolo",
        facet="vineyard",
        method="stratified",
    )
    done = command(project, "run", "--data", "data.csv", "--fresh")
    found = results(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["metrics"]["test"]["accuracy"]["value"] > 0.85
    assert found["metrics"]["primary"] == "logloss"
    assert found["bias/analysis"]["pre_training_bias_metrics"]["label_value_or_threshold"] == "barolo"
    with (project / "runs/latest/predictions.csv").open() as file:
        assert next(csv.reader(file)) == [
            "label",
            "predicted_label",
            "score_barbera",
            "score_barolo",
            "score_grignolino",
        ]


def test_a_regression_set_runs_to_a_registered_model(make_project):
    project, diabetes = make_project(), load_diabetes(as_frame=True)
    frame = diabetes.frame.assign(sex=np.where(diabetes.frame["sex"] > 0, "a", "b"))
    _use(project, frame, target="target", problem="regression", positive="", facet="sex", method="random")
    done = command(project, "run", "--data", "data.csv", "--fresh")
    test = results(project)["metrics"]["test"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert test["rmse"]["value"] < test["rmse"]["trivial"]
    assert test["r2"]["value"] > 0.25


def test_both_bias_engines_give_the_same_analysis(make_project):
    project = make_project(bias_engine="clarify")
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    analyses = []
    for engine, steps in (("clarify", ()), ("in_step", ("--from", "Bias"))):  # of the same model
        if steps:
            edit(project / "settings.toml", 'engine = "clarify"', f'engine = "{engine}"')
        done = command(project, "run", *steps)
        assert done.returncode == 0, done.stdout + done.stderr
        analyses.append(results(project)["bias/analysis"])
    for part in ("pre_training_bias_metrics", "post_training_bias_metrics"):
        ours, theirs = ({**analysis[part]} for analysis in analyses)
        assert _values(ours) == pytest.approx(_values(theirs), rel=0, abs=1e-9)


def _values(metrics: dict) -> dict[tuple[str, str, str], float]:
    return {
        (facet, group["value_or_threshold"], metric["name"]): metric["value"]
        for facet, groups in metrics["facets"].items()
        for group in groups
        for metric in group["metrics"]
    }


def test_the_readme_s_own_step_applies_runs_and_is_shown(make_project):
    project = make_project()
    diff = re.search(r"```diff\n(.*?)```", (project / "README.md").read_text(), re.S).group(1)
    applied = subprocess.run(
        ["git", "apply", "-v", "-"], cwd=project, input=diff, capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stderr
    edit(project / "settings.toml", "trials = 4", "trials = 0")
    done = command(project, "run", "--fresh")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = {step["name"]: step for step in results(project)["execution"]["steps"]}
    share = steps["Uncertain"]["result"]["share"]
    assert 0 < share < 1
    assert re.search(rf"^Uncertain +Succeeded .* share={share:.4g}$", done.stdout, re.M)
    assert steps["Uncertain"]["arguments"]["predictions_uri"].endswith("/evaluate/predictions.csv")
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", "ml_pipeline"], cwd=project)
    assert lint.returncode == 0
