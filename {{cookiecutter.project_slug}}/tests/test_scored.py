"""Scoring runs beside training runs: told in a few lines, listed, found, and never taken for each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ACCOUNT, REGION

from ml_pipeline import clean, foreground, listing, rerun, runs, scored, serve
from ml_pipeline.errors import InputError

GRAPH = {"Steps": [{"Name": "Process", "Arguments": {}}, {"Name": "Train", "Arguments": {}}]}


def column(name: str, violated: bool) -> dict[str, Any]:
    return {"name": name, "violated": violated}


def drift(period: str, status: str = "quiet", **members: Any) -> dict[str, Any]:
    nothing = {
        "features": [],
        "predictions": [],
        "quality": None,
        "bias": [],
        "attribution": None,
        "broken": [],
    }
    return nothing | {"period": period, "rows": 2000, "package_version": 3, "status": status} | members


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a folder in runs/, a minute after the one before; `latest` points at it."""
    monkeypatch.chdir(tmp_path)
    count = iter(range(60))

    def make(pipeline: str, name: str, *drifts: dict[str, Any], status: str = "Succeeded", steps=()) -> Path:
        folder, minute = runs.RUNS / name, next(count)
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/loans-local-{pipeline}/execution/{name}"
        moments = {
            "started": f"2027-01-01T06:{minute:02}:00+00:00",
            "ended": f"2027-01-01T06:{minute:02}:08+00:00",
        }
        execution = {"id": name, "arn": arn, "status": status, "source": None, "steps": list(steps)} | moments
        execution["parameters"] = {"Period": "2027-01-11"}
        files = {"execution.json": execution, "definition.json": GRAPH}
        for each in drifts:
            place = f"monitor/{each['period']}" if len(drifts) > 1 else "monitor"
            files[f"{place}/drift.json"] = each
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(json.dumps(content))
        (runs.RUNS / "latest").unlink(missing_ok=True)
        (runs.RUNS / "latest").symlink_to(name)
        return folder

    return make


def step(name: str, **members: Any) -> dict[str, Any]:
    whole = {"status": "Succeeded", "arguments": {}, "result": None, "failure_reason": None, "type": None}
    return {"name": name} | whole | members


def test_a_scoring_run_tells_what_was_scored_what_moved_and_where_the_report_is(made):
    auc = {"value": 0.7, "bound": 0.8, "baseline": 0.9, "violated": True}
    metrics = {"auc": auc, "f1": auc | {"value": 0.85, "violated": False}}
    run = made(
        "score",
        "abc",
        drift("2027-01-04"),
        drift(
            "2027-01-11",
            "drift",
            features=[column("income", True), column("age", False), column("region", True)],
            predictions=[column("score", True)],
            quality={"rows": 90, "metrics": metrics},
            bias=[{"facet": "sex", "group": "female", "metrics": {"DI": {"violated": True}}}],
            attribution={"ndcg": 0.81, "violated": True},
        ),
    )
    (run / "report.html").touch()
    assert scored.lines(run) == [
        "\nSucceeded in 8.0 s -> runs/abc",
        "2027-01-04: 2,000 rows, version 3, quiet",
        "2027-01-11: 2,000 rows, version 3, drift",
        "  features have moved: income, region",
        "  predictions have moved: score",
        "  bias has grown: DI of sex female",
        "  the model relies on other features: nDCG 0.810",
        "  quality of 90 labelled rows has dropped: auc 0.7 (bound: at least 0.8); holds: f1 0.85 (bound: at "
        "least 0.8)",
        "report: runs/abc/report.html",
    ]


def test_broken_data_are_told_with_the_failure_and_what_to_do(made):
    broken = {
        "feature_name": "income",
        "description": "values are about 100 times those of the training data",
    }
    twice = {"feature_name": "id", "description": "id: 1 value stands more than once"}
    steps = [step("Select"), step("Monitor", status="Failed", failure_reason="DataError: 2027-01-11 broken")]
    document = drift("2027-01-11", "broken", broken=[broken, twice])
    run = made("score", "abc", document, status="Failed", steps=steps)
    told = scored.lines(run)
    assert told[1:4] == [
        "2027-01-11: 2,000 rows, version 3, broken",
        "  income: values are about 100 times those of the training data",
        "  id: 1 value stands more than once",
    ]
    assert "Monitor failed: DataError: 2027-01-11 broken" in told
    steps[-1]["failure_reason"] += ": id: 1 value stands more than once"
    again = scored.lines(made("score", "abd", document, status="Failed", steps=steps))
    assert again[1:3] == told[1:3] and sum("1 value stands" in line for line in again) == 1
    assert told[-1].endswith("-m ml_pipeline score --data FILE --period 2027-01-11")
    assert scored.lines(run, "start it")[-1] == "what to do: mend what is named above, then start it"


def test_scores_of_rows_that_make_no_sense_are_not_to_be_used(made):
    unit = {"feature_name": "income", "description": "values are about 100 times those of the training data"}
    found = drift("2027-01-11", "broken", broken=[unit])
    told = scored.lines(made("score", "abc", drift("2027-01-04"), found))
    assert told[-1] == (
        "2027-01-11: do not use the scores: mend what is named above, then score the period again"
    )


def test_rows_that_could_not_be_read_are_not_called_none(made):
    found = drift(
        "2027-01-11", "broken", rows=0, broken=[{"feature_name": "(all)", "description": "no header"}]
    )
    told = scored.lines(made("score", "abc", found))
    assert told[1] == "2027-01-11: no row could be read, version 3, broken"


def test_too_few_rows_are_called_so_everywhere(made):
    run = made("score", "few", drift("2027-01-11", "too few", rows=49))
    assert scored.lines(run)[1] == ("2027-01-11: 49 rows, version 3, too few, fewer than 50 are not judged")
    assert scored.outcome(run) == "2027-01-11 too few"


def test_new_categories_are_named_with_their_rows(made):
    first = [{"value": "moon", "rows": 301}, {"value": "a\nb", "rows": 1}]
    region = column("region", True) | {"new": {"distinct": 5, "first": first}}
    calm = column("plan", False) | {"new": {"distinct": 1, "first": first[1:]}}
    known = column("age", True) | {"new": {"distinct": 0, "first": []}}
    told = scored.lines(made("score", "abc", drift("2027-01-11", "drift", features=[region, calm, known])))
    assert told[2:] == [
        "  features have moved: region, age",
        "  new categories: region moon (301 rows), a b (1 row) and 3 more",
    ]


def test_quality_is_told_beside_its_bounds_once_labels_have_come(made):
    metrics = {
        "auc": {"value": 0.8712, "bound": 0.8444, "baseline": 0.88, "violated": False},
        "rmse": {"value": 3.5, "bound": 3.2, "baseline": 3.0, "violated": True},
        "recall": {"value": 0.5, "bound": None, "baseline": 0.6, "violated": False},
        "f1": {"value": None, "bound": None, "baseline": 0.6, "violated": False},
        "accuracy": {"value": 0.91, "bound": 0.9, "baseline": 0.85, "violated": False},  # fixed by settings
    }
    quality = {"rows": 1200, "unmatched": 0, "metrics": metrics}
    told = scored.lines(made("score", "abc", drift("2027-01-11", "drift", quality=quality)))
    assert told[2] == (
        "  quality of 1,200 labelled rows has dropped: rmse 3.5 (bound: at most 3.2); "
        "holds: auc 0.8712 (bound: at least 0.8444), accuracy 0.91 (bound: at least 0.9); "
        "is not judged: recall 0.5, f1"
    )
    held = {"rows": 1200, "unmatched": 0, "metrics": {"auc": metrics["auc"]}}
    told = scored.lines(made("score", "abd", drift("2027-01-11", quality=held)))
    assert told[2] == "  quality of 1,200 labelled rows holds: auc 0.8712 (bound: at least 0.8444)"


def test_quality_of_too_few_labels_does_not_hold(made):
    metrics = {"auc": {"value": 0.7, "bound": None, "baseline": 0.9, "violated": False}}
    run = made("score", "abc", drift("2027-01-11", quality={"rows": 30, "metrics": metrics}))
    assert "  quality of 30 labelled rows is not judged: auc 0.7" in scored.lines(run)


def test_notes_of_a_period_are_told(made):
    run = made("score", "abc", drift("2027-01-11", "broken", notes=["the scores are older"]))
    assert "  the scores are older" in scored.lines(run)


def test_labels_alone_are_mended_with_labels(made):
    steps = [step("Monitor", status="Failed", failure_reason="DataError: none of its labels")]
    run = made("score", "abc", status="Failed", steps=steps)
    execution = json.loads((run / "execution.json").read_text())
    execution["parameters"]["Period"] = "labels:2027-01-11"
    (run / "execution.json").write_text(json.dumps(execution))
    assert scored.lines(run)[-1].endswith("score --truth FILE --period 2027-01-11")


@pytest.mark.parametrize(("status", "brings"), [("quiet", "--truth"), ("broken", "--data")])
def test_what_failed_is_brought_again_labels_alone_where_the_rows_are_scored(made, status, brings):
    steps = [step("Monitor", status="Failed", failure_reason="DataError: none of its labels")]
    run = made("score", "abc", drift("2027-01-11", status), status="Failed", steps=steps)
    assert scored.lines(run)[-1].endswith(f"score {brings} FILE --period 2027-01-11")


def test_a_run_that_had_nothing_to_score_says_so(made):
    select = step("Select", result={"summary": "nothing to score, 3 scored already"})
    assert scored.lines(made("score", "abc", steps=[select]))[1:] == ["nothing to score, 3 scored already"]


def test_runs_shows_the_kind_of_each_and_what_a_scoring_run_found(made):
    made("train", "aaa")
    made("score", "bbb", drift("2027-01-04"))
    made("score", "ccc", drift("2027-01-04"), drift("2027-01-11", "broken", package_version=4))
    rows = [line.split("  ") for line in listing.table(runs.newest_first()).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows[1:]]
    assert [row[:2] for row in cells] == [["ccc", "score"], ["bbb", "score"], ["aaa", "train"]]
    assert cells[0][-2:] == ["2 periods, broken", "3, 4"] and cells[1][-2:] == ["2027-01-04 quiet", "3"]


def test_latest_is_the_newest_training_run_where_one_is_needed(made):
    made("train", "aaa")
    made("train", "bbb")
    made("score", "ccc")
    assert runs.find("latest").name == "ccc"
    assert runs.find_training("latest").name == "bbb"
    assert rerun.prepared("Train", "latest", "").source["id"] == "bbb"


@pytest.mark.parametrize("name", ["ccc", "latest"])
@pytest.mark.parametrize(
    "use", [runs.find_training, serve.model_of, lambda name: rerun.prepared("Train", name, "")]
)
def test_a_scoring_run_is_refused_by_what_it_is(made, use, name):
    made("score", "ccc")
    with pytest.raises(InputError, match="run ccc is a scoring run, and a training run is needed"):
        use(name)


def test_steps_of_the_scoring_pipeline_are_not_run_from(made):
    made("train", "aaa")
    with pytest.raises(InputError, match="Monitor is a step of the scoring pipeline"):
        rerun.prepared("monitor", "latest", "")


def test_a_step_gets_its_arguments_of_the_newest_run_that_has_called_it(made):
    made("train", "aaa", steps=[step("Train", arguments={"of": "aaa"}), step("Transform", arguments={})])
    made("score", "bbb", steps=[step("Transform", arguments={"of": "bbb"})])
    found = [foreground.call_of(name, None) for name in ("train", "transform")]
    assert [(call.name, call.arguments) for call in found] == [
        ("train", {"of": "aaa"}),
        ("transform", {"of": "bbb"}),
    ]
    with pytest.raises(InputError, match="scoring run bbb has not called Train: it has called Transform"):
        foreground.call_of("train", "bbb")


def test_a_log_is_that_of_the_newest_run_with_such_a_step(made):
    for name, pipeline, ran in (("aaa", "train", "Train"), ("bbb", "score", "Monitor")):
        folder = made(pipeline, name, steps=[step(ran)]) / "logs"
        folder.mkdir()
        (folder / f"{ran}.log").write_text(f"{ran} of {name}\n")
    assert listing.log("train", None) == "Train of aaa\n"
    assert listing.log("Monitor", None) == "Monitor of bbb\n"
    with pytest.raises(InputError, match="no step 'Train'; there are: Monitor"):
        listing.log("Train", "bbb")


def test_clean_keeps_the_newest_runs_of_each_pipeline(made, monkeypatch, settings):
    monkeypatch.setattr(clean, "STATE", Path("absent"))
    for name, pipeline in (
        ("t1", "train"),
        ("t2", "train"),
        ("s1", "score"),
        ("s2", "score"),
        ("s3", "score"),
    ):
        made(pipeline, name)
    clean.clean(1, settings())
    assert {run.name for run in runs.newest_first()} == {"t2", "s3"}
