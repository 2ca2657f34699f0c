"""Which steps a rerun runs and keeps."""

import json

import pytest

from ml_pipeline import clean, graph, rerun, runs
from ml_pipeline.errors import InputError


def step(name, *needed, **arguments):
    read = {f"from{place}": {"Get": f"Steps.{other}.Out"} for place, other in enumerate(needed)}
    return {"Name": name, "Type": "Training", "Arguments": read | arguments}


GATE = {"Conditions": [{"LeftValue": {"Std:Join": {"Values": [{"Get": "Steps.Measure.Out"}]}}}]}
DEFINITION = {
    "Steps": [
        step("Read"),
        step("Fit", "Read"),
        step("Note", "Read"),
        step("Measure", "Fit", "Read"),
        {"Name": "After", "Type": "Training", "Arguments": {}, "DependsOn": ["Note"]},
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": GATE | {"IfSteps": [step("Keep", "Fit")], "ElseSteps": [step("Drop")]},
        },
    ]
}


def test_a_step_needs_what_it_reads_waits_for_or_is_decided_by():
    assert graph.needs(DEFINITION) == {
        "Read": set(),
        "Fit": {"Read"},
        "Note": {"Read"},
        "Measure": {"Fit", "Read"},
        "After": {"Note"},
        "Gate": {"Measure"},
        "Keep": {"Fit", "Gate"},
        "Drop": {"Gate"},
    }


def test_a_rerun_runs_the_step_and_all_that_needs_it_and_no_branch_without_its_condition():
    source = {
        "id": "abc",
        "steps": [{"name": name, "status": "Succeeded"} for name in graph.needs(DEFINITION)],
    }
    for first, wanted in (
        ("Fit", ["Fit", "Measure", "Gate", "Keep", "Drop"]),
        ("Note", ["Note", "After"]),
        ("Keep", ["Gate", "Keep", "Drop"]),
    ):
        assert rerun.Rerun(first, source).selected(DEFINITION) == wanted


def test_a_rerun_is_refused_with_the_first_step_that_its_source_lacks():
    source = {
        "id": "abc",
        "steps": [{"name": "Read", "status": "Succeeded"}, {"name": "Fit", "status": "Failed"}],
    }
    with pytest.raises(
        InputError, match="Fit, which comes before it, has not succeeded in run abc: use --from Fit"
    ):
        rerun.Rerun("Keep", source).selected(DEFINITION)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, day in (("abcd", 1), ("abxy", 3), ("efgh", 2)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        steps = [{"kept_from": "first" if name == "abxy" else None}]
        text = json.dumps({"id": name, "started": f"2026-01-0{day}T00:00:00.000+00:00", "steps": steps})
        (folder / "execution.json").write_text(text)
    (tmp_path / "runs/latest").symlink_to("efgh")
    return tmp_path


def test_runs_are_listed_newest_first_and_once(folders):
    assert [run.name for run in runs.newest_first()] == ["abxy", "efgh", "abcd"]


@pytest.mark.parametrize(
    ("name", "wanted"), [("latest", "efgh"), ("e", "efgh"), ("abx", "abxy"), ("runs/abcd", "abcd")]
)
def test_a_run_is_found_by_id_beginning_latest_and_path(folders, name, wanted):
    assert runs.find(name).name == wanted


@pytest.mark.parametrize(
    ("name", "message"), [("ab", "more than one; the newest are: abxy, abcd "), ("z", "none")]
)
def test_a_name_that_fits_not_exactly_one_run_is_refused(folders, name, message):
    with pytest.raises(InputError, match=message):
        runs.find(name)


def test_an_object_is_needed_by_the_run_that_wrote_it_by_a_kept_step_or_by_a_version(folders):
    ids = clean.needed_ids([folders / "runs/abxy"])
    pointed_at = ("s3://b/executions/abcd/train/model.tar.gz",)
    objects = (
        "executions/abxy/x",
        "checkpoints/first/x",
        "executions/abcd/train/model.tar.gz",
        "executions/abcd/x",
    )
    assert [clean.is_needed(f"s3://b/{key}", ids, pointed_at) for key in objects] == [True, True, True, False]
