"""The report of a run: its numbers, its words, and names that try to break it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from ml_pipeline import bias_metrics, metrics, report
from ml_pipeline.errors import InputError
from ml_pipeline.features import Target
from ml_pipeline.metrics import Predictions
from ml_pipeline.report import curves, quality, words
from ml_pipeline.report.recorded import Run, read_predictions
from ml_pipeline.report.words import MINUS, NONE
from ml_pipeline.run import _reported
from ml_pipeline.steps.evaluate import output_columns

EXECUTION = "abcdefghijkl"
HOSTILE = "<script>alert(1)</script>"
NAMES = [HOSTILE, "\"double\" & 'single'", "$x_1$ ünïcode 列 \u202e", "_" + "long " * 60]
CLASSES = {"binary": [HOSTILE, 'yes & "no"'], "multiclass": ["a", "_b", "</svg>"], "regression": []}
Maker = Callable[..., Path]


def predictions(problem: str, rows: int = 400) -> Predictions:
    """Of a model that is right more often than not."""
    generator = np.random.default_rng(3)
    if problem == "regression":
        label = generator.normal(100, 20, rows)
        found = label + generator.normal(2, 8, rows)
        return Predictions(label, found, found)
    classes = len(CLASSES[problem])
    label = generator.integers(0, classes, rows)
    score = np.eye(classes)[label] + generator.random((rows, classes))
    score = (score / score.sum(axis=1, keepdims=True)).round(3)
    if problem == "binary":
        return Predictions(label, score[:, 1], (score[:, 1] >= 0.5).astype(int))
    return Predictions(label, score, score.argmax(axis=1))


def write_predictions(path: Path, found: Predictions, problem: str) -> None:
    target = Target("label", problem, tuple(CLASSES[problem]), "")
    names = CLASSES[problem]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([HOSTILE, "label", *output_columns(target)])
        for place in range(len(found.label)):
            key = f'{place}, "a"\nb' if place < 3 else f"{place}"
            score = np.atleast_1d(found.score[place]).tolist()
            if names:
                row = [names[found.label[place]], names[found.predicted[place]], *score]
            else:
                row = [found.label[place], *score]
            writer.writerow([key, *row])


def steps(*statuses: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": "Fail" if name == "Rejected" else "TrainingJob",
            "status": status,
            "started": f"2026-01-02T03:04:{place:02}.000+00:00",
            "ended": f"2026-01-02T03:04:{place + 1:02}.000+00:00",
            "failure_reason": f"{HOSTILE} is the reason" if status == "Failed" else None,
            "job": name.lower(),
            "arguments": None,
            "result": {"summary": f"{name} said {HOSTILE}"},
        }
        for place, (name, status) in enumerate(statuses)
    ]


def definition(*names: str) -> dict[str, Any]:
    before = [None, *names]
    return {
        "Steps": [
            {"Name": name, "Arguments": {}, "DependsOn": [earlier] if earlier else []}
            for earlier, name in zip(before, names, strict=False)
        ]
    }


def metrics_document(found: Predictions, problem: str) -> dict[str, Any]:
    trivial = metrics.trivial_predictions(problem, found.label, len(CLASSES[problem]), found.label)
    measured = metrics.report(problem, found, trivial, 20, 0.95, 1)
    primary = metrics.primary(problem, "")
    splits = dict.fromkeys(("test", "validation", "train"), measured)
    document = {"problem": problem, "primary": primary, "threshold": 0.5, **splits, "champion": None}
    document["fit"] = metrics.fit_diagnosis(problem, primary, splits)
    if problem != "regression":
        classes = len(CLASSES[problem])
        counts = metrics.confusion_matrix(found.label, found.predicted, classes, np.ones(len(found.label)))
        labels = CLASSES[problem]
        document["confusion_matrix"] = {"labels": labels, "counts": counts.astype(int).tolist()}
    return document


def analysis(found: Predictions, outcome: str) -> dict[str, Any]:
    label, predicted = found.label == 1, found.predicted == 1
    facet = np.arange(len(label)) % 3 == 0
    sample = bias_metrics.Sample(label, predicted, facet, None, found.score[:, None])
    return {
        stage: {
            "label_value_or_threshold": outcome,
            "facets": {
                NAMES[0]: [
                    {"value_or_threshold": NAMES[1], "metrics": bias_metrics.measured(wanted, sample, facet)}
                ]
            },
        }
        for stage, wanted in bias_metrics.STAGES.items()
    }


@pytest.fixture
def run(tmp_path: Path) -> Maker:
    """Factory: the folder of a run as `run` leaves it, with names that are hard to show."""

    def make(problem: str = "binary", name: str = EXECUTION, status: str = "Succeeded", **files: Any) -> Path:
        folder = tmp_path / name
        (folder / "bias").mkdir(parents=True)
        (folder / "logs").mkdir()
        found = predictions(problem)
        curve = {"metric": "auc", "best_round": 2}
        curve |= {split: {"auc": [0.6, 0.7, 0.8, 0.75]} for split in ("train", "validation")}
        values = {name: 1.0 / (place + 1) for place, name in enumerate(NAMES)}
        columns = [
            {"name": n, "kind": "number", "role": "feature", "missing": 3, "distinct": 9} for n in NAMES
        ]
        trial = {"status": "Completed", "hyperparameters": {"eta": 0.1, "max_depth": 3}, "seconds": 1.5}
        splits = {
            s: {"rows": 400, "classes": dict.fromkeys(CLASSES[problem], 200)} for s in ("train", "test")
        }
        written = {
            "execution.json": {
                "id": name,
                "arn": f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/loans/execution/{name}",
                "status": status,
                "failure_reason": None,
                "parameters": {"RawDataUri": f"s3://b/{HOSTILE}"},
                "started": "2026-01-02T03:04:00.000+00:00",
                "ended": "2026-01-02T03:05:00.000+00:00",
                "steps": steps(("Process", "Succeeded"), ("Train", "Succeeded")),
            },
            "definition.json": definition("Process", "Train"),
            "metrics.json": metrics_document(found, problem),
            "verdict.json": {"passed": True, "missed": []},
            "learning_curve.json": curve,
            "attributions.json": {
                "explanations": {"tree_shap": {"label0": {"global_shap_values": values}}},
                "ranking": NAMES,
                "rows": 400,
            },
            "partial_dependence.json": {
                "rows": 400,
                "seed": 1,
                "outputs": CLASSES[problem][1:] or ["prediction"],
                "features": [
                    {
                        "name": NAMES[2],
                        "kind": "category",
                        "values": NAMES[:2],
                        "average": [[0.25, 0.75]] * max(len(CLASSES[problem]) - 1, 1),
                        "rows": [200, 200],
                    }
                ],
            },
            "profile.json": {
                "data_sha256": "ab" * 32,
                "sources": [{"uri": f"s3://b/{HOSTILE}", "bytes": 5_000, "rows": 800}],
                "rows": 800,
                "rows_without_label": 0,
                "columns": columns,
                "split": {"method": "random", "seed": 1},
                "splits": splits,
            },
            "tuning.json": {
                "job": "tuning",
                "best": {"eta": 0.1, "max_depth": 3},
                "objective": "validation:auc",
                "trials": [{**trial, "name": f"{n}", "objective": 0.5 + n / 10} for n in range(3)],
            },
            "lineage.json": {
                "commit": "0123abcd",
                "image_uri": "image:1",
                "versions": {"numpy": "2"},
                "settings": {"gate": {"bias": {"DPPL": [-1, 1]}}, "tune": {"trials": 3}},
            },
        }
        if problem == "binary":
            written["bias/analysis.json"] = analysis(found, CLASSES[problem][1])
        for place, value in (written | {k.replace("__", "/") + ".json": v for k, v in files.items()}).items():
            if value is not None:
                (folder / place).write_text(json.dumps(value), encoding="utf-8")
        write_predictions(folder / "predictions.csv", found, problem)
        return folder

    return make


class Page(HTMLParser):
    """What a browser would make of the page: its text, tags and ids."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attributes if name == "id"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.mark.parametrize("problem", CLASSES)
def test_hostile_names_are_shown_and_never_run(run, problem):
    page = Page(report.write(run(problem)))
    assert page.tags.count("script") == (
        2 if problem == "binary" else 1
    )  # ours: the slider's numbers, the script
    assert {" ".join(name.split()) for name in NAMES} <= {" ".join(text.split()) for text in page.texts}
    assert page.ids and len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("problem", CLASSES)
def test_the_same_run_gives_the_same_page(run, problem):
    folder = run(problem)
    first = report.write(folder).read_bytes()
    assert report.write(folder).read_bytes() == first


@pytest.mark.parametrize("problem", CLASSES)
def test_predictions_are_read_back_whatever_the_ids_are(run, problem):
    wanted, found = predictions(problem), Run(run(problem)).predictions
    for field in ("label", "score", "predicted"):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        *((None, NONE), (0.0, "0"), (1e-16, "0"), (12.0, "12"), (0.5, "0.5000"), (123.456, "123.5")),
        *((-1234.5, f"{MINUS}1,234"), (1.11e-9, f"1.11e{MINUS}09"), (2e20, "2.00e+20")),
    ],
)
def test_numbers_have_four_digits_and_no_rounding_noise(value, told):
    assert words.number(value) == told
    assert words.signed(value) == (f"+{told}" if value and value > 1e-12 else told)


def test_curves_are_scikit_learns():
    found = predictions("binary")
    cuts = curves.thresholds(found.label == 1, found.score)
    false, true, _ = roc_curve(found.label, found.score, drop_intermediate=False)
    np.testing.assert_allclose(cuts.roc, [false, true])
    precision, recall, _ = precision_recall_curve(found.label, found.score)
    np.testing.assert_allclose(cuts.precision_recall, [recall[-2::-1], precision[-2::-1]])


def test_a_drawn_curve_has_few_points_its_ends_and_its_area():
    generator = np.random.default_rng(1)
    label = generator.random(20_000) < 0.02
    whole = curves.thresholds(label, generator.normal(label * 1.5, 1)).roc
    drawn = whole[:, curves.thinned(whole)]
    assert drawn.shape[1] <= curves.POINTS + 2
    np.testing.assert_array_equal(drawn[:, [0, -1]], whole[:, [0, -1]])
    assert auc(*drawn) == pytest.approx(auc(*whole), abs=0.002)


def test_the_point_on_the_curve_is_the_models_confusion_matrix():
    found = predictions("binary")
    cuts = curves.thresholds(found.label == 1, found.score)
    place = quality.place_of(cuts, 0.5)
    assert cuts.true_positive[place] == ((found.label == 1) & (found.predicted == 1)).sum()
    assert cuts.false_positive[place] == ((found.label == 0) & (found.predicted == 1)).sum()


@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_cost_is_that_of_the_errors_over_the_better_constant_decision(ratio):
    found = predictions("binary")
    positive = found.label == 1
    cuts = curves.thresholds(positive, found.score)
    constant = min((~positive).sum(), ratio * positive.sum())
    costs = cuts.costs(ratio)
    assert min(costs[0], costs[-1]) == pytest.approx(1)
    for place in (3, 50, 200):
        called = found.score >= cuts.threshold[place]
        cost = (called & ~positive).sum() + ratio * (~called & positive).sum()
        assert costs[place] == pytest.approx(cost / constant)


def test_calibration_bins_hold_every_row_and_wilsons_interval():
    found = predictions("binary")
    bins = curves.calibration(found.label == 1, found.score)
    assert bins.rows.sum() == len(found.label)
    assert np.average(bins.observed, weights=bins.rows) == pytest.approx(found.label.mean())
    hits = round(bins.observed[4] * bins.rows[4])
    theirs = binomtest(hits, int(bins.rows[4])).proportion_ci(method="wilson")
    assert (bins.low[4], bins.high[4]) == pytest.approx((theirs.low, theirs.high))


def test_a_score_that_is_a_probability_has_no_calibration_error():
    score = np.repeat([0.25, 0.75], 400)
    positive = np.tile([True, False, False, False], 100), np.tile([True, True, True, False], 100)
    assert curves.calibration(np.concatenate(positive), score).error == pytest.approx(0)


def test_a_rejected_run_says_first_which_number_missed_which_bound(run):
    missed = [{"why": f"auc is 0.6, must be at least 0.7 ({HOSTILE})"}, {"why": "DPPL is 0.3"}]
    execution = json.loads((run() / "execution.json").read_text())
    ended = steps(("Process", "Succeeded"), ("Rejected", "Failed"))
    folder = run(
        name="rejected",
        execution=execution | {"status": "Failed", "steps": ended},
        verdict={"passed": False, "missed": missed},
    )
    told = Page(report.write(folder)).text
    assert told.index("Rejected by the gate") < told.index("auc is 0.6, must be at least 0.7 (<script>")
    assert told.index("DPPL is 0.3") < told.index("2 steps ran")


def test_a_failed_run_has_a_page_with_its_error_and_the_end_of_its_log(run):
    execution = json.loads((run() / "execution.json").read_text())
    ended = steps(("Process", "Succeeded"), ("Train", "Failed"))
    absent = dict.fromkeys(("metrics", "verdict", "attributions", "partial_dependence", "bias__analysis"))
    folder = run(
        name="failed",
        execution=execution | {"status": "Failed", "steps": ended},
        learning_curve=None,
        **absent,
    )
    log = ["first", *["line"] * 50, f"ValueError: {HOSTILE} is too long"]
    (folder / "logs" / "Train.log").write_text("\n".join(log))
    page = Page(report.write(folder))
    assert "Failed in Train" in page.text
    assert page.text.count(f"ValueError: {HOSTILE} is too long") == 2  # in words, and in the log
    assert "first" not in page.text
    assert "tuning" in page.ids and "quality" not in page.ids


@pytest.mark.parametrize(("best", "told"), [(2, "and were dropped"), (3, "a larger num_round")])
def test_a_learning_curve_says_whether_more_rounds_may_do_better(run, best, told):
    aucs = {"auc": [0.6, 0.7, 0.8, 0.75 if best == 2 else 0.85]}
    curve = {"metric": "auc", "best_round": best, "train": aucs, "validation": aucs}
    assert told in Page(report.write(run(learning_curve=curve))).text


def test_a_stopped_run_says_where_it_stood(run):
    execution = json.loads((run() / "execution.json").read_text())
    stopped = execution | {
        "status": "Stopped",
        "steps": steps(("Process", "Succeeded"), ("Train", "Stopped")),
    }
    assert "Stopped during Train" in Page(report.write(run(name="stopped", execution=stopped))).text


def test_a_run_that_left_nothing_but_its_execution_has_a_page(tmp_path, run):
    execution = json.loads((run() / "execution.json").read_text())
    folder = tmp_path / "bare"
    folder.mkdir()
    failed = execution | {"status": "Failed", "steps": [], "failure_reason": "no capacity"}
    (folder / "execution.json").write_text(json.dumps(failed))
    assert "no capacity" in Page(report.write(folder)).text


def test_a_step_that_was_not_reached_or_was_kept_is_told_as_such(run):
    execution = json.loads((run() / "execution.json").read_text())
    (kept,) = steps(("Process", "Succeeded"))
    folder = run(
        name="again",
        execution=execution | {"steps": [kept | {"kept_from": "earlier"}]},
        definition=definition("Process", "Tune"),
    )
    told = Page(report.write(folder)).text
    assert f"Process kept {NONE} of run earlier: Process said" in told
    assert "Tune not reached" in told


def test_every_bias_metric_is_told_with_its_value_and_its_bound(run):
    folder = run(lineage={"settings": {"gate": {"bias": {"DPPL": [-1, 1], "CDDL": [-1, 1]}}}, "versions": {}})
    told = Page(report.write(folder)).text
    measured = json.loads((folder / "bias" / "analysis.json").read_text())
    for stage in bias_metrics.STAGES:
        for entry in measured[stage]["facets"][NAMES[0]][0]["metrics"]:
            assert entry["description"] in told
    assert f"{MINUS}1 to 1: kept" in told
    assert f"null ✗ {MINUS}1 to 1: missed Not computable: Group variable is empty or not provided" in told
    assert "1 bound missed: CDDL of" in told


def test_two_runs_are_compared_by_metrics_settings_data_and_ranks(run):
    first = run(name="first")
    changed = json.loads((first / "lineage.json").read_text())
    changed["settings"]["tune"]["trials"] = 9
    turned = json.loads((first / "attributions.json").read_text())
    turned["ranking"] = NAMES[::-1]
    profile = json.loads((first / "profile.json").read_text()) | {"rows": 900, "data_sha256": "cd" * 32}
    second = run(name="second", lineage=changed, attributions=turned, profile=profile)
    path = report.compare(first, second)
    assert path == second / "compare-first.html"
    told = Page(path).text
    assert "tune.trials 3 9" in told
    assert "rows 800 900" in told
    assert "abababababab, then cdcdcdcdcdcd" in told
    assert f"{NAMES[0]} 1 4 down 3" in told
    assert "no different" in told


def test_runs_that_do_not_differ_are_not_said_to_differ_by_chance(run):
    told = Page(report.compare(run(name="first"), run(name="second"))).text
    assert "The second run is no different" in told and "chance" not in told


def test_runs_of_different_problems_are_not_compared(run):
    with pytest.raises(InputError, match="binary and regression: compare runs of one problem"):
        report.compare(run(name="first"), run("regression", name="second"))


def test_a_page_that_cannot_be_made_is_told_and_no_half_of_it_is_left(run):
    folder = run()
    (folder / "metrics.json").write_text("{broken")
    with ThreadPoolExecutor(1) as beside:
        told = _reported(folder, beside.submit(report.write, folder))
    assert told.startswith("report: not made, JSONDecodeError: ")
    assert f"ml_pipeline report {EXECUTION}" in told
    assert not list(folder.glob("*.html"))


def test_of_many_classes_those_are_drawn_that_a_feature_moves_most(run):
    outputs = [f"output{place}" for place in range(60)]
    averages = [[0.5 - place / 1000, 0.5 + place / 1000] for place in range(60)]
    feature = {"name": "x", "kind": "number", "values": [0.0, 1.0], "average": averages, "rows": [200, 200]}
    found = {"rows": 400, "seed": 1, "outputs": outputs, "features": [feature]}
    page = Page(report.write(run("multiclass", partial_dependence=found))).text
    assert "set to each value. The 6 classes of 60 that move most." in page
    assert {name for name in outputs if re.search(rf"{name}\b", page)} == {*outputs[-6:]}


def test_a_large_run_makes_a_small_page(run):
    rows = 400_000
    generator = np.random.default_rng(2)
    score = generator.random(rows)
    names = np.array(CLASSES["binary"])[(generator.random(rows) < score).astype(int)]
    folder = run()
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in CLASSES["binary"]}
    lines = (
        f"{quoted[name]},{quoted[name]},{value!r}" for name, value in zip(names, score.tolist(), strict=True)
    )
    (folder / "predictions.csv").write_text("\n".join(["label,predicted_label,score", *lines]) + "\n")
    assert len(read_predictions(folder / "predictions.csv", CLASSES["binary"]).label) == rows
    assert report.write(folder).stat().st_size < 500_000
