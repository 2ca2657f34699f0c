"""`score` on a laptop, as a user types it, from no model at all to labels and a broken file."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROWS = 600
QUICK = """
[env.local.tune]
trials = 0
[env.local.train.hyperparameters]
num_round = 20
[env.local.evaluate]
bootstrap_samples = 20
"""
PERIOD = "2026-01-05"


def typed(project: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "ml_pipeline", *arguments]
    done = subprocess.run(command, cwd=project, env=kept, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def fresh(make_project: Callable[..., Path]) -> Path:
    """A project in which nothing has run; beside its data new rows and their labels."""
    project = make_project(project_slug="demo")
    with (project / "settings.toml").open("a") as file:
        file.write(QUICK)
    with (project / "data" / "sample.csv").open() as file:
        rows = list(csv.DictReader(file))[:ROWS]
    features = [name for name in rows[0] if name != "approved"]
    write(project / "new" / "one.csv", features, rows[: ROWS // 2])
    write(project / "new" / "two.csv", features, rows[ROWS // 2 :])
    write(project / "labels.csv", ["applicant_id", "approved"], rows)
    write(project / "short.csv", features[:-1], rows)
    write(project / "header.csv", features, [])
    write(project / "wrong.csv", ["applicant_id", "approved"], [rows[0] | {"approved": "perhaps"}])
    for row in rows:
        row["income"] = f"{float(row['income'] or 0) * 100:.0f}"
    write(project / "cents.csv", features, rows)
    rows[6]["age"] = "forty"
    write(project / "words.csv", features, rows)
    return project


def write(path: Path, names: list[str], rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    """The same, after `score` was refused twice and a version was approved."""
    code, out, err = typed(fresh, "score", "--data", "new")
    assert code == 2 and "ml_pipeline run`" in err and len(err.splitlines()) == 1, err
    assert not out and not (fresh / ".local_aws").exists()
    assert typed(fresh, "run")[0] == 0
    code, out, err = typed(fresh, "score", "--data", "new")
    assert code == 2 and "1 PendingManualApproval" in err and "ml_pipeline approve 1`" in err, err
    assert "compiling" not in out and len(list((fresh / "runs").glob("*/execution.json"))) == 2  # and latest
    assert typed(fresh, "approve", "1")[0] == 0
    return fresh


@pytest.fixture(scope="module")
def scored(project: Path) -> tuple[str, Path]:
    """Output of `score` of a folder with labels, and the folder of the run."""
    code, out, err = typed(project, "score", "--data", "new", "--truth", "labels.csv", "--period", PERIOD)
    assert code == 0, out + err
    return out, project / re.search(r"-> (runs/\w+)", out)[1]


def test_score_shows_its_steps_and_tells_what_was_scored(scored):
    out, run = scored
    for step in ("Select", "Transform", "Monitor"):
        assert re.search(rf"^{step} +Succeeded +[\d.]+ s  \S", out, re.MULTILINE)
    assert re.search(rf"^{PERIOD}: {ROWS} rows, version 1, (quiet|drift)$", out, re.MULTILINE)
    assert out.splitlines()[-1] == f"report: runs/{run.name}/report.html"


def test_the_run_keeps_scores_measures_and_the_drift_report(scored):
    run = scored[1]
    for name in ("one", "two"):
        with (run / "output" / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == ROWS // 2 and list(rows[0]) == ["applicant_id", "predicted_label", "score"]
    drift = json.loads((run / "monitor" / "drift.json").read_text())
    assert drift["execution"] == run.name and drift["quality"]["rows"] == ROWS
    assert (run / "report.html").read_text() == (run / "monitor" / "report.html").read_text()
    execution = json.loads((run / "execution.json").read_text())
    assert execution["parameters"]["Period"] == PERIOD
    assert {path.name for path in (run / "logs").iterdir()} == {"Select.log", "Transform.log", "Monitor.log"}


@pytest.fixture(scope="module")
def unlabelled(project, scored) -> str:
    """Output of `score` of a period without labels."""
    code, out, err = typed(project, "score", "--data", "new/one.csv", "--period", "2026-01-12")
    assert code == 0, out + err
    return out


def test_only_what_is_asked_for_is_compiled(scored, unlabelled):
    """run compiles the training pipeline alone, score that of scoring; a second time neither."""
    assert "compiling demo-local-score ..." in scored[0] and "demo-local-train" not in scored[0]
    assert "compiling" not in unlabelled


def test_scores_do_not_depend_on_the_form_of_the_rows(project, scored):
    """Typed parquet, other columns first behind another delimiter, and three objects instead of two."""
    frame = pd.concat([pd.read_csv(project / "new" / f"{name}.csv", dtype=str) for name in ("one", "two")])
    names, folder = list(frame), project / "forms"
    folder.mkdir()
    first, second, third = (frame[place : place + ROWS // 3] for place in range(0, ROWS, ROWS // 3))
    typed_first = pd.read_csv(io.StringIO(first.to_csv(index=False)))
    assert {"int64", "float64"} & {str(kind) for kind in typed_first.dtypes}
    typed_first[names[::-1]].to_parquet(folder / "a.parquet", index=False)
    second[names[::-1]].to_csv(folder / "b.csv", sep=";", index=False)
    third[[*names[3:], *names[:3]]].to_csv(folder / "c.tsv", sep="\t", index=False)
    code, out, err = typed(project, "score", "--data", "forms", "--period", "2026-02-02")
    assert code == 0, out + err
    assert scores_of(project / re.search(r"-> (runs/\w+)", out)[1]) == scores_of(scored[1])


def scores_of(run: Path) -> dict[str, tuple[str, str]]:
    """Label and score of each id, as they are written."""
    rows = [row for path in (run / "output").iterdir() for row in csv.DictReader(path.open())]
    assert len(rows) == ROWS
    return {row["applicant_id"]: (row["predicted_label"], row["score"]) for row in rows}


def test_labels_that_come_later_are_joined_without_the_rows(project, unlabelled):
    assert "labelled rows" not in unlabelled
    before = json.loads(
        (project / re.search(r"-> (runs/\w+)", unlabelled)[1] / "monitor/drift.json").read_text()
    )
    code, out, err = typed(project, "score", "--truth", "labels.csv", "--period", "2026-01-12")
    assert code == 0, out + err
    assert re.search(r"^Select .* nothing to score, labels of 2026-01-12$", out, re.MULTILINE)
    assert f"\n  quality of {ROWS // 2} labelled rows " in out and "raw/2026-01-12 holds 300 labelled" in out
    run = project / re.search(r"-> (runs/\w+)", out)[1]
    drift = json.loads((run / "monitor" / "drift.json").read_text())
    assert drift["quality"]["rows"] == ROWS // 2 and drift["execution"] == before["execution"]
    assert out.splitlines()[-1] == f"report: runs/{run.name}/report.html"


def test_labelled_rows_of_today_are_training_data_though_a_run_has_read_its_own_today(project, scored):
    code, out, err = typed(project, "score", "--data", "new/one.csv", "--truth", "labels.csv")
    assert code == 0 and re.search(r"raw/[\d-]+ holds 300 labelled rows", out), out + err


def test_a_period_that_is_named_again_is_replaced_as_a_whole(project, scored):
    code, out, err = typed(project, "score", "--data", "new/two.csv", "--period", PERIOD)
    assert code == 0, out + err
    run = project / re.search(r"-> (runs/\w+)", out)[1]
    assert [path.name for path in (run / "output").iterdir()] == ["two.csv"]
    assert f"{PERIOD}: {ROWS // 2} rows" in out


def test_data_whose_unit_has_changed_are_scored_and_told_to_be_broken(project, scored):
    code, out, err = typed(project, "score", "--data", "cents.csv", "--period", "2026-01-19")
    assert code == 0, out + err
    assert "\n2026-01-19: 600 rows, version 1, broken\n  income: values are about " in out
    run = project / re.search(r"-> (runs/\w+)", out)[1]
    assert json.loads((run / "monitor" / "drift.json").read_text())["metrics"] == {"DataBroken": 1}
    assert "income" in (run / "report.html").read_text()


def test_rows_that_cannot_be_scored_fail_the_run_which_keeps_what_was_found(project, scored):
    code, out, err = typed(project, "score", "--data", "words.csv", "--period", PERIOD)
    assert code == 1, out + err
    assert re.search(rf"^{PERIOD}: .*broken$", out, re.MULTILINE) and "'forty'" in out
    assert f"\n  score/{PERIOD}/output holds the scores of an earlier delivery" in out
    run = project / re.search(r"-> (runs/\w+)", out)[1]
    assert json.loads((run / "monitor" / "drift.json").read_text())["status"] == "broken"
    assert (run / "report.html").exists() and not (run / "output").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "short.csv"), "short.csv: no column "),
        (("--data", "absent.csv"), "absent.csv: no such file"),
        (("--data", "header.csv"), "header.csv: no row below the header"),
        ((), "name rows to score with --data"),
        (
            ("--truth", "labels.csv", "--period", "2025-01-06"),
            "2025-01-06 has no scores that labels could be",
        ),
        (
            ("--truth", "wrong.csv", "--period", "2026-01-12"),
            "wrong.csv row 1, column approved: label must be",
        ),
        (("--data", "infra"), "infra/ci.yaml: the name must end with .csv"),
        (("--data", "new", "--truth", "short.csv"), "short.csv: no column 'approved'"),
        (("--data", "new", "--period", "2999-01-05"), "--period 2999-01-05 is in the future"),
        (("--data", "new", "--period", ""), "--period must be a date as YYYY-MM-DD, got ''"),
        (("--data", "new", "--period", "5.1.2026"), "--period must be a date as YYYY-MM-DD, got '5.1.2026'"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_stored(project, unlabelled, arguments, sentence):
    before = sorted((project / "runs").iterdir())
    code, out, err = typed(project, "score", *arguments)
    assert code == 2 and sentence in err and len(err.splitlines()) == 1, err
    assert "compiling" not in out and sorted((project / "runs").iterdir()) == before
