"""Training: resumed equals uninterrupted, the model package, what hyperparameters and devices are taken."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.metrics import roc_auc_score

from ml_pipeline import checkpoints, metrics, storage
from ml_pipeline.boosting import Plan, Rows, cut, fit, training_plan
from ml_pipeline.settings import Settings
from ml_pipeline.steps.train import class_weights, packed, train

EXECUTION = "abcdefghijkl"
PROGRESS = re.compile(r"\[(\d+)\].*\tvalidation-auc:([-+0-9.eE]+)")  # as SageMaker's own patterns find it
SAMPLING = {"subsample": 0.7, "colsample_bytree": 0.6, "colsample_bynode": 0.7, "eta": 0.1, "max_depth": 4}
PARAMETERS = {
    **SAMPLING,
    "objective": "binary:logistic",
    "eval_metric": ["logloss", "auc"],
    "tree_method": "hist",
    "device": "cpu",
    "nthread": 1,
}
PLAN = Plan(
    PARAMETERS,
    rounds=150,
    metric="auc",
    early_stopping_rounds=25,
    checkpoint_rounds=20,
    curve_rows=10_000,
    seed=11,
)
KILLED = """
import os, signal, sys
from pathlib import Path
from test_train import PLAN, rows
from ml_pipeline.boosting import fit

folder, moment = sys.argv[1:]

class Killer:
    def write(self, text):
        if text == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    def flush(self):
        pass

def replace(source, target):
    if Path(target).name == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

sys.stdout, rename, os.replace = Killer(), os.replace, replace
fit(rows(4000, 0), rows(1500, 1), PLAN, Path(folder))
"""


def rows(count: int, seed: int) -> Rows:
    """Two interacting features, two that mean nothing, and noise that early stopping meets."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 4)).astype(np.float32)
    signal_ = features[:, 0] * features[:, 1] + 0.5 * features[:, 0]
    return Rows(features, (signal_ + generator.normal(size=count) > 0).astype(np.float64))


def auc(booster: xgboost.Booster, found: Rows) -> float:
    """scikit-learn's AUC of the scores that the learning curve ranks: logistic, in float32.

    XGBoost's own logistic function rounds other margins to a tie, which is worth 1e-6 of AUC.
    """
    margin = booster.inplace_predict(found.features, predict_type="margin")
    return roc_auc_score(found.label, 1 / (1 + np.exp(-margin)))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> checkpoints.Checkpoint:
    return fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("moment", "left"),
    [("[0]", 0), ("[33]", 1), ("[41]", 2), ("checkpoint-00000040", 1)],
    ids=["before a checkpoint", "after one", "after two", "while one is written"],
)
def test_a_killed_training_resumes_to_the_uninterrupted_model_byte_for_byte(
    moment: str, left: int, uninterrupted: checkpoints.Checkpoint, tmp_path: Path
) -> None:
    assert killed(moment, tmp_path) == -signal.SIGKILL
    assert len(list(tmp_path.glob("checkpoint-*"))) == left
    resumed = fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path)
    assert resumed == uninterrupted
    assert bytes(cut(resumed, PLAN).save_raw("ubj")) == bytes(cut(uninterrupted, PLAN).save_raw("ubj"))


def killed(moment: str, folder: Path) -> int:
    """Exit of a training in a process of its own, killed as it prints that round or completes that file."""
    here = Path(__file__).parent
    environment = {"PYTHONPATH": f"{here}:{here.parent}", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", KILLED, str(folder), moment], env=environment).returncode


def test_early_stopping_falls_inside_a_segment(uninterrupted: checkpoints.Checkpoint) -> None:
    """Else the test above would not meet it."""
    assert uninterrupted.rounds < PLAN.rounds
    assert uninterrupted.rounds % PLAN.checkpoint_rounds


def test_a_resumed_training_repeats_no_whole_segment(
    uninterrupted: checkpoints.Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path)
    max(tmp_path.iterdir()).unlink()
    capsys.readouterr()
    fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path)
    first = next(match[1] for line in capsys.readouterr().out.splitlines() if (match := PROGRESS.match(line)))
    assert int(first) == uninterrupted.rounds // 20 * 20


def test_every_segment_has_a_seed_of_its_own(tmp_path: Path) -> None:
    """Else each would draw the rows and columns of the first again."""
    plan = replace(PLAN, rounds=2, checkpoint_rounds=1)
    data = rows(4000, 0)
    found = fit(data, rows(1500, 1), plan, tmp_path)
    matrix, booster = xgboost.DMatrix(data.features, data.label), None
    for first in (0, 1):
        booster = xgboost.train(PARAMETERS | {"seed": 11 + first}, matrix, 1, xgb_model=booster)
    assert found.booster == bytes(booster.save_raw("ubj"))


CHANGES: dict[str, Callable[[], tuple[Rows, Plan]]] = {
    "labels": lambda: (replace(rows(4000, 0), label=1 - rows(4000, 0).label), PLAN),
    "data": lambda: (rows(4000, 5), PLAN),
    "weights": lambda: (replace(rows(4000, 0), weight=np.arange(4000.0) % 3 + 1), PLAN),
    "hyperparameters": lambda: (rows(4000, 0), replace(PLAN, parameters=PARAMETERS | {"eta": 0.2})),
    "seed": lambda: (rows(4000, 0), replace(PLAN, seed=12)),
    "segments": lambda: (rows(4000, 0), replace(PLAN, checkpoint_rounds=30)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_another_training_is_ignored_with_a_warning(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path / "shared")
    capsys.readouterr()
    other, plan = CHANGES[change]()
    found = fit(other, rows(1500, 1), plan, tmp_path / "shared")
    assert "ignored checkpoint" in capsys.readouterr().out
    assert found == fit(other, rows(1500, 1), plan, tmp_path / "alone")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\x80\x04" + b])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: Callable[[bytes], bytes], uninterrupted: checkpoints.Checkpoint, tmp_path: Path
) -> None:
    fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    assert fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path) == uninterrupted


def test_two_checkpoints_are_kept(uninterrupted: checkpoints.Checkpoint, tmp_path: Path) -> None:
    fit(rows(4000, 0), rows(1500, 1), PLAN, tmp_path)
    last = uninterrupted.rounds // 20 * 20
    names = [f"checkpoint-{n:08d}" for n in (last, uninterrupted.rounds)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_the_model_is_cut_to_its_best_round(uninterrupted: checkpoints.Checkpoint) -> None:
    values = uninterrupted.curve["validation"]["auc"]
    booster = cut(uninterrupted, PLAN)
    assert booster.num_boosted_rounds() == int(np.argmax(values)) + 1 < uninterrupted.rounds
    assert auc(booster, rows(1500, 1)) == pytest.approx(max(values), abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_curve_is_what_xgboost_and_scikit_learn_measure(weighted: bool, tmp_path: Path) -> None:
    train, validation, plan = rows(4000, 0), rows(1500, 1), replace(PLAN, rounds=5)
    weight = class_weights(train.label, "balanced", "binary") if weighted else None
    train = replace(train, weight=weight)
    found = fit(train, validation, plan, tmp_path)
    matrix = xgboost.QuantileDMatrix(train.features, train.label, weight=weight)
    evals = [
        (matrix, "train"),
        (xgboost.QuantileDMatrix(validation.features, validation.label, ref=matrix), "validation"),
    ]
    expected: dict[str, dict[str, list[float]]] = {}
    parameters = {**plan.parameters, "seed": plan.seed}
    booster = xgboost.train(parameters, matrix, 5, evals=evals, evals_result=expected, verbose_eval=False)
    for split, of_split in (("train", train), ("validation", validation)):
        curve = found.curve[split]
        assert curve["logloss"] == pytest.approx(expected[split]["logloss"], abs=1e-9)
        aucs = [auc(booster[: number + 1], of_split) for number in range(5)]
        assert curve["auc"] == pytest.approx(aucs, abs=1e-9)


def test_a_package_holds_two_files_and_nothing_of_the_day(uninterrupted: checkpoints.Checkpoint) -> None:
    content = packed(cut(uninterrupted, PLAN), b"{}")
    assert content == packed(cut(uninterrupted, PLAN), b"{}")
    assert content[4:8] == bytes(4)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        assert archive.extractfile("feature_spec.json").read() == b"{}"
    assert [(m.name, m.mtime, m.uid, m.gid, m.uname) for m in members] == [
        ("feature_spec.json", 0, 0, 0, ""),
        ("model.ubj", 0, 0, 0, ""),
    ]


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    label = np.array([0, 0, 0, 1.0, 2, 2])
    weights = class_weights(label, "balanced", "multiclass")
    assert [weights[label == value].sum() for value in range(3)] == pytest.approx([2, 2, 2])
    assert class_weights(label, "none", "multiclass") is None
    with pytest.raises(ValueError, match=r"class_weight must be none for regression"):
        class_weights(label, "balanced", "regression")


def test_hyperparameters_given_as_text_are_numbers_and_containers_own_are_left_out(
    settings: Callable[..., Settings],
) -> None:
    best = {"num_round": "30", "eta": "0.25", "max_depth": "4", "early_stopping_rounds": "9", "_kfold": "5"}
    best |= {"eval_metric": "auc", "save_model_on_termination": "true", "objective": "binary:logistic"}
    plan = training_plan(best, settings(train={"seed": 3, "threads": 2}))
    assert plan.rounds == 30
    assert plan.parameters == {
        "eta": 0.25,
        "max_depth": 4,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": "cpu",
        "nthread": 2,
        "eval_metric": ["logloss", "auc"],
    }
    assert (plan.seed, plan.early_stopping_rounds) == (3, 5)


@pytest.mark.parametrize(
    ("objective", "metric"), [("", "auc"), ("validation:aucpr", "aucpr"), ("validation:f1", "auc")]
)
def test_early_stopping_looks_at_the_tuning_objective_where_xgboost_knows_it(
    objective: str, metric: str, settings: Callable[..., Settings]
) -> None:
    plan = training_plan(
        {"num_round": 5, "objective": "binary:logistic"}, settings(tune={"objective": objective})
    )
    assert (plan.metric, plan.parameters["eval_metric"][-1]) == (metric, metric)


def test_a_gpu_without_a_cuda_build_is_refused_with_the_remedy(settings: Callable[..., Settings]) -> None:
    if xgboost.build_info()["USE_CUDA"]:
        plan = training_plan({"num_round": 1}, settings(train={"device": "cuda"}))
        assert plan.parameters["device"] == "cuda"
        return
    with pytest.raises(ValueError, match=r'\(settings.toml, \[train\]\).*`xgboost`.*device = "cpu"'):
        training_plan({"num_round": 1}, settings(train={"device": "cuda"}))


def test_another_booster_than_trees_is_refused(settings: Callable[..., Settings]) -> None:
    with pytest.raises(ValueError, match=r"booster must be gbtree, got 'gblinear' \(settings.toml"):
        training_plan({"num_round": 1, "booster": "gblinear"}, settings())


def put(settings: Settings, problem: str = "binary") -> tuple[str, str]:
    """Writes encoded splits and a specification; their URIs."""
    encoded = settings.uri(EXECUTION, "process", "encoded")
    for seed, split in enumerate(("train", "validation")):
        found = rows(800, seed)
        label = {"binary": found.label, "multiclass": found.label + (found.features[:, 2] > 1)}.get(
            problem, found.features[:, 0] * 2.0
        )
        frame = pd.DataFrame(found.features, columns=list("abcd"))
        frame.insert(0, "label", label)
        storage.write_bytes(f"{encoded}/{split}.parquet", frame.to_parquet(index=False))
    spec_uri = settings.uri(EXECUTION, "process", "feature_spec.json")
    storage.write_bytes(spec_uri, b'{"version": 1}')
    return encoded, spec_uri


BEST = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": "3"},
    "regression": {"objective": "reg:squarederror"},
}


@pytest.mark.parametrize("problem", BEST)
def test_the_step_writes_the_model_and_its_learning_curve(
    problem: str, bucket: str, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    chosen = settings(data={"problem": problem}, train={"decision_threshold": "max_f1", "curve_rows": 600})
    best: dict[str, Any] = {**SAMPLING, **BEST[problem], "num_round": 40}
    result = train(*put(chosen, problem), best, str(tmp_path), EXECUTION, chosen)
    with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(result["model_uri"]))) as archive:
        assert sorted(archive.getnames()) == ["feature_spec.json", "model.ubj"]
        assert archive.extractfile("feature_spec.json").read() == b'{"version": 1}'
        booster = xgboost.Booster(model_file=bytearray(archive.extractfile("model.ubj").read()))
    curve = storage.read_json(result["learning_curve_uri"])
    values = curve["validation"][curve["metric"]]
    assert curve["metric"] == {"binary": "auc", "multiclass": "mlogloss", "regression": "rmse"}[problem]
    assert values[curve["best_round"]] == (max if problem == "binary" else min)(values)
    assert result["rounds"] == booster.num_boosted_rounds() == curve["best_round"] + 1
    assert set(curve["train"]) == set(curve["validation"])
    assert curve["rows"] == {"train": 600, "validation": 800}
    assert (booster.attr("decision_threshold") is not None) is (problem == "binary")
    assert json.loads(json.dumps(result)) == result


def test_the_same_input_gives_the_same_bytes(
    bucket: str, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    contents = []
    for attempt in ("first", "second"):
        result = train(
            *put(settings()),
            {**SAMPLING, **BEST["binary"], "num_round": 12},
            str(tmp_path / attempt),
            EXECUTION,
            settings(),
        )
        contents.append(storage.read_bytes(result["model_uri"]))
    assert contents[0] == contents[1]


def test_progress_lines_are_what_sagemakers_patterns_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fit(rows(4000, 0), rows(1500, 1), replace(PLAN, rounds=21), tmp_path)
    matches = [match for line in capsys.readouterr().out.splitlines() if (match := PROGRESS.match(line))]
    assert [int(match[1]) for match in matches] == list(range(21))
    assert [float(match[2]) for match in matches] == pytest.approx(found.curve["validation"]["auc"], abs=1e-5)


def test_the_learning_curve_looks_at_seeded_training_rows_and_changes_no_tree(
    uninterrupted: checkpoints.Checkpoint, tmp_path: Path
) -> None:
    plan, data = replace(PLAN, curve_rows=500), rows(4000, 0)
    found = fit(data, rows(1500, 1), plan, tmp_path)
    assert found.booster == uninterrupted.booster
    assert found.curve["validation"] == uninterrupted.curve["validation"]
    drawn = data.at(metrics.drawn_rows(4000, 500, PLAN.seed))
    booster = xgboost.Booster(model_file=bytearray(found.booster))
    assert found.curve["train"]["auc"][-1] == pytest.approx(auc(booster, drawn), abs=1e-9)


def test_training_rows_are_binned_as_finely_as_the_hyperparameters_say(tmp_path: Path) -> None:
    plan = replace(PLAN, parameters=PARAMETERS | {"max_bin": 4}, rounds=5)
    booster = xgboost.Booster(model_file=bytearray(fit(rows(4000, 0), rows(1500, 1), plan, tmp_path).booster))
    splits = booster.trees_to_dataframe().query("Feature != 'Leaf'").groupby("Feature")["Split"].nunique()
    assert 1 < splits.max() <= 4


@pytest.mark.filterwarnings("ignore:.*only positive or negative samples")
def test_a_validation_split_of_one_class_is_told(tmp_path: Path) -> None:
    one_class = Rows(rows(50, 1).features, np.zeros(50))
    with pytest.raises(ValueError, match="validation auc is not a number after round 0"):
        fit(rows(500, 0), one_class, PLAN, tmp_path)
