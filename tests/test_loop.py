"""The daily loop of a generated project: run --from, step, serve, logs, runs, clean, doctor."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heavy_imports import heavy_imports
from test_run import command, edit, heed_ctrl_c, results


@pytest.fixture(scope="module")
def ran(make_project) -> Path:
    """A project with one run. Tests that change it work on a copy."""
    project = make_project()
    edit(project / "settings.toml", "trials = 4", "trials = 1")
    done = command(project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def copy(ran, tmp_path) -> Path:
    return Path(shutil.copytree(ran, tmp_path / "project", symlinks=True))


def latest(project: Path) -> str:
    return (project / "runs/latest").resolve().name


def break_evaluate(project: Path) -> None:
    edit(
        project / "ml_pipeline/steps/evaluate.py",
        "    folder = settings.uri(execution_id",
        '    raise ValueError("the moon is full")\n    folder = settings.uri(execution_id',
    )


def test_a_failed_run_goes_on_where_it_failed_with_the_command_that_it_prints(copy):
    first, evaluate = latest(copy), copy / "ml_pipeline/steps/evaluate.py"
    text = evaluate.read_text()
    break_evaluate(copy)
    failed = command(copy, "run", "--from", "Transform")
    second = latest(copy)
    assert failed.returncode == 1
    (told,) = re.findall(r"-m ml_pipeline (run --from Evaluate)$", failed.stdout, re.M)
    evaluate.write_text(text)
    done = command(copy, *told.split())
    found = results(copy)
    steps = {step["name"]: step for step in found["execution"]["steps"]}
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["execution"]["source"] == second
    assert {name: step["kept_from"] for name, step in steps.items()} == {
        **dict.fromkeys(("Process", "Tune", "Train"), first),
        "Transform": second,
        **dict.fromkeys(("Evaluate", "Bias", "Gate", "Register"), None),
    }
    assert (
        steps["Evaluate"]["arguments"]["predictions_uri"] == steps["Transform"]["result"]["predictions_uri"]
    )
    assert re.search(rf"^Tune +kept +of run {first}: 1 trials", done.stdout, re.M)


def test_a_rerun_has_all_that_a_whole_run_has(copy):
    whole = copy / "runs" / latest(copy)
    done = command(copy, "run", "--from", "bias")
    again = copy / "runs" / latest(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _files(again) == _files(whole)
    for name in ("tuning.json", "metrics.json", "profile.json", "model.tar.gz", "bias/analysis.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    kept = (again / "logs/Train.log").read_text()
    assert kept == f"--- kept: this ran in run {whole.name} ---\n" + (whole / "logs/Train.log").read_text()
    assert not (again / "logs/Bias.log").read_text().startswith("---")
    assert results(copy)["execution"]["parameters"] == results(copy, whole.name)["execution"]["parameters"]
    version = results(copy)["model_package"]
    assert version["ModelPackageVersion"] == 2
    assert f"/{whole.name}/train/" in version["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    for reports in (version["ModelMetrics"], version["DriftCheckBaselines"]):
        assert f"/{again.name}/bias/analysis.json" in json.dumps(reports["Bias"])
        assert f"/{whole.name}/process/" in json.dumps(reports["ModelDataQuality"])


def _files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", ["Tune", "Register"])
def test_a_rerun_can_begin_at_either_end(copy, step):
    done = command(copy, "run", "--from", step, "--set", "ApprovalStatus=Approved", "--of", latest(copy)[:6])
    found = results(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["model_package"]["ModelApprovalStatus"] == "Approved"
    ran_again = [step["name"] for step in found["execution"]["steps"] if step["kept_from"] is None]
    assert (
        ran_again
        == {
            "Tune": ["Tune", "Train", "Transform", "Evaluate", "Bias", "Gate", "Register"],
            "Register": ["Gate", "Register"],
        }[step]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--from", "Bais"], "no step 'Bais'; did you mean Bias? there are: Process, Tune, Train,"),
        (["run", "--from", "Bias", "--of", "xyz"], "run 'xyz' fits none; the newest are: "),
        (["run", "--from", "Bias", "--fresh"], "--fresh starts from nothing"),
        (
            ["run", "--from", "Bias", "--data", "data/sample.csv"],
            "--data is read by Process, which --from Bias",
        ),
        (["run", "--from", "Bias", "--set", "RawDataUri=s3://b/k"], "--set RawDataUri is read by Process"),
        (["run", "--of", "xyz"], "add --from STEP"),
        (["step", "gate"], "no step 'gate'; "),
        (["step", "Evaluate", "--of", "xyz"], "run 'xyz' fits none"),
        (["logs", "Gate"], "no step 'Gate'; there are: Process, Tune,"),
        (["serve", "--of", "xyz"], "run 'xyz' fits none"),
        (["serve", "--port", "70000"], "port 70000 cannot be used"),
        (["clean", "--keep", "0"], "--keep must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_changes_nothing(ran, arguments, message):
    before = sorted(path.name for path in (ran / "runs").iterdir())
    done = command(ran, *arguments)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in (ran / "runs").iterdir()) == before


def test_a_source_that_did_not_get_that_far_is_refused_with_the_first_step_it_lacks(copy):
    path = copy / "runs" / latest(copy) / "execution.json"
    execution = json.loads(path.read_text())
    execution["steps"] = execution["steps"][:4]
    path.write_text(json.dumps(execution))
    done = command(copy, "run", "--from", "Register")
    assert done.returncode == 2
    assert "Evaluate, which comes before it, has not succeeded" in done.stderr
    assert "use --from Evaluate" in done.stderr


@pytest.mark.parametrize("arguments", [["run", "--from", "Evaluate"], ["step", "Evaluate"]])
def test_a_run_that_the_local_aws_has_forgotten_cannot_be_gone_on_with(copy, arguments):
    shutil.rmtree(copy / ".local_aws")
    done = command(copy, *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"run {latest(copy)} is not in the local AWS" in done.stderr


def test_tuning_that_process_wrote_no_data_for_is_refused_before_anything_starts(copy):
    edit(copy / "settings.toml", "trials = 1", "trials = 0")
    assert command(copy, "run", "--from", "Process").returncode == 0
    untuned = latest(copy)
    edit(copy / "settings.toml", "trials = 0", "trials = 1")
    done = command(copy, "run", "--from", "tune")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"--from Tune: Process of run {untuned} has written no data for Tune, since trials" in done.stderr
    assert latest(copy) == untuned


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'positive = "yes"',
            'positive = "no"',
            "positive is 'no' (settings.toml, [data]), but 'yes' in run ",
        ),
        (
            "test_fraction = 0.20",
            "test_fraction = 0.25",
            "test_fraction is 0.25 (settings.toml, [split]), but 0.2",
        ),
        (
            'group = "region"',
            'group = "planet"',
            "group is 'planet' (settings.toml, [data]), a column that run ",
        ),
    ],
)
def test_settings_that_the_kept_data_were_not_made_by_are_refused_before_anything_starts(
    copy, old, new, message
):
    edit(copy / "settings.toml", old, new)
    before = latest(copy)
    done = command(copy, "run", "--from", "Bias")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert message in done.stderr and before in done.stderr
    assert latest(copy) == before


def test_a_step_alone_gives_what_it_gave_in_the_run_and_leaves_the_run_as_it_was(copy):
    run = copy / "runs" / latest(copy)
    before = {name: (run / name).read_bytes() for name in _files(run)}
    step = next(step for step in results(copy)["execution"]["steps"] if step["name"] == "Train")
    done = command(copy, "step", "TRAIN")
    printed = json.loads(done.stdout[done.stdout.index("\n{\n") :])
    assert done.returncode == 0, done.stderr
    assert printed["summary"] == step["result"]["summary"]
    assert printed["model_uri"] != step["result"]["model_uri"]
    assert printed["model_uri"].rpartition("/")[0] in done.stdout.splitlines()[0]
    assert {name: (run / name).read_bytes() for name in _files(run)} == before
    assert latest(copy) == run.name


def test_a_debugger_stops_in_a_step_and_where_it_raises(copy):
    text = "    breakpoint()\n    raise ValueError(execution_id)\n    folder = settings.uri(execution_id"
    edit(copy / "ml_pipeline/steps/evaluate.py", "    folder = settings.uri(execution_id", text)
    done = subprocess.run(
        [sys.executable, "-m", "ml_pipeline", "step", "evaluate", "--pdb"],
        cwd=copy,
        input="p 'first', settings.env\ncontinue\np 'then', settings.env\nquit\n",
        capture_output=True,
        text=True,
    )
    assert "('first', 'local')" in done.stdout
    assert "('then', 'local')" in done.stdout
    assert done.returncode == 1 and re.search(r"ValueError: step[0-9a-f]{8}$", done.stderr, re.M)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_served_model_answers_the_curl_line_as_it_is_printed_and_ends_cleanly(copy, number):
    example = json.loads((copy / "runs/latest/example.jsonl").read_text()) | {"purpose": 'it\'s "new" $HOME'}
    (copy / "runs" / latest(copy) / "example.jsonl").write_text(json.dumps(example) + "\n")
    serving = subprocess.Popen(
        [sys.executable, "-m", "ml_pipeline", "serve", "--port", "0"],
        cwd=copy,
        env=os.environ | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    line = [serving.stdout.readline() for _ in range(3)][-1]
    asked = subprocess.run(line, shell=True, capture_output=True, text=True)
    port = int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1))
    refused = command(copy, "serve", "--port", str(port))
    serving.send_signal(number)
    rest, _ = serving.communicate(timeout=20)
    answer = json.loads(asked.stdout)
    assert 0 < answer["score"] < 1 and answer["predicted_label"] in ("yes", "no")
    assert (
        refused.returncode == 2 and f"port {port} cannot be used (Address already in use)" in refused.stderr
    )
    assert serving.returncode == 0 and rest.strip() == "ended"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_example_row_is_the_first_of_the_test_split_as_the_model_takes_it(ran):
    import pandas as pd

    row = json.loads((ran / "runs/latest/example.jsonl").read_text())
    first = pd.read_csv(ran / "runs/latest/predictions.csv").iloc[0]
    sample = pd.read_csv(ran / "data/sample.csv").set_index("applicant_id").loc[first["applicant_id"]]
    assert "applicant_id" not in row and "approved" not in row
    for name, value in row.items():
        assert pd.isna(sample[name]) if value is None else sample[name] == value


def test_runs_are_listed_with_quality_version_as_it_is_now_and_source(copy):
    first = latest(copy)
    command(copy, "run", "--from", "Gate")
    assert command(copy, "approve", "1").returncode == 0
    listed = [line.split() for line in command(copy, "runs").stdout.splitlines()[1:]]
    auc = f"{results(copy)['metrics']['test']['auc']['value']:.4f}"
    assert [row[:2] for row in listed] == [[latest(copy), "train"], [first, "train"]]
    assert listed[0][6:] == ["auc", auc, "2", "PendingManualApproval", first]
    assert listed[1][6:] == ["auc", auc, "1", "Approved"]


def test_a_reader_that_has_seen_enough_is_no_traceback(ran):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as gone:
        typed = [sys.executable, "-m", "ml_pipeline", "runs"]
        done = subprocess.run(typed, cwd=ran, stdout=gone, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_log_of_a_step_is_printed_as_it_is(ran):
    done = command(ran, "logs", "train", "--of", latest(ran)[:5])
    assert done.stdout == (ran / "runs/latest/logs/Train.log").read_text()


def test_clean_keeps_what_the_newest_run_and_the_model_versions_need(copy):
    first = latest(copy)
    command(copy, "run", "--from", "Train")
    command(copy, "approve", "2")
    command(copy, "run", "--from", "Train", "--of", first)
    last = latest(copy)
    done = command(copy, "clean", "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (copy / "runs").iterdir()} == {last, "latest"}
    assert (
        int(re.match(r"deleted 2 runs and (\d+) objects .*; kept 1 run and all", done.stdout).group(1)) >= 10
    )
    # Transform reads what the first run's Process made, Evaluate also scores version 2, of the deleted run.
    again = command(copy, "run", "--from", "Transform")
    assert again.returncode == 0, again.stdout + again.stderr
    assert results(copy)["metrics"]["champion"]["package"].endswith("/2")
    assert {step["kept_from"] for step in results(copy)["execution"]["steps"]} == {first, last, None}


def test_the_doctor_finds_nothing_on_this_machine_and_names_the_remedy_of_what_is_broken(copy):
    well = command(copy, "doctor")
    (copy / ".python-version").write_text("3.99\n")
    edit(copy / "settings.toml", "trials = 1", "trials = -1")
    lock = (copy / "requirements-dev.txt").read_text()
    (copy / "requirements-dev.txt").write_text(lock.replace("numpy==", "numpy==9", 1))
    with (copy / ".local_aws/lock").open("w") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        ill = command(copy, "doctor", env={"PATH": "/nowhere"})
    assert well.returncode == 0, well.stdout
    assert [line.split()[0] for line in well.stdout.splitlines()] == ["ok"] * 11
    told = {line[8:21].strip(): line[22:] for line in ill.stdout.splitlines() if line.startswith("mend")}
    assert ill.returncode == 1
    assert {*told} == {"Python", "make", "packages", "settings", "local AWS"}
    assert ".python-version names 3.99" in told["Python"]
    assert "numpy==9" in told["packages"] and "make setup" in told["packages"]
    assert "trials" in told["settings"]


def test_help_lists_the_commands_by_where_they_work(ran):
    told = command(ran, "--help").stdout.partition("examples:")[0]
    parts = re.split(r"^(on this machine|in the cloud|in CI)\b.*:$", told, flags=re.MULTILINE)[1:]
    listed = [re.findall(r"^  ([a-z]+) ", text, re.MULTILINE) for text in parts[1::2]]
    assert parts[::2] == ["on this machine", "in the cloud", "in CI"]
    assert [names[:2] for names in listed] == [["adopt", "run"], ["deploy", "plan"], ["workflows"]]


@pytest.mark.parametrize("arguments", [["runs"], ["logs", "Train"], ["doctor"]])
def test_what_only_looks_loads_nothing_heavy(ran, arguments):
    assert heavy_imports(ran, arguments) == []


def test_the_editor_s_launch_configurations_name_commands_and_steps_that_exist(ran):
    launch = json.loads((ran / ".vscode/launch.json").read_text())
    (step,) = launch["inputs"]
    ran_as_jobs = [step["name"] for step in results(ran)["execution"]["steps"] if step["arguments"]]
    assert step["options"] == ran_as_jobs and step["default"] in ran_as_jobs
    for configuration in launch["configurations"]:
        given = [text.replace("${input:step}", step["default"]) for text in configuration["args"]]
        given = [text.replace("${file}", "tests/test_gate.py") for text in given]
        done = subprocess.run(
            [sys.executable, "-m", configuration["module"], *given, "--help"], cwd=ran, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    ignored = subprocess.run(["git", "check-ignore", "--no-index", ".vscode/launch.json"], cwd=ran)
    assert ignored.returncode != 0


def test_the_readme_s_notebook_lines_give_a_run_s_metrics_and_frames(ran, monkeypatch):
    lines = re.search(r"```python\n(.*?)```", (ran / "README.md").read_text(), re.S).group(1)
    assert len([line for line in lines.splitlines() if line]) <= 10
    monkeypatch.chdir(ran)
    made: dict = {}
    exec(lines, made)
    found = results(ran)
    assert made["metrics"].loc["auc", "value"] == found["metrics"]["test"]["auc"]["value"]
    assert len(made["predictions"]) == found["profile"]["splits"]["test"]["rows"]
    assert made["trials"]["objective"].max() == max(t["objective"] for t in found["tuning"]["trials"])
    assert made["steps"].loc["Evaluate", "status"] == "Succeeded"
    assert len(made["curve"]["auc"]) == len(found["learning_curve"]["validation"]["auc"])
