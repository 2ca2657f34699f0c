"""Thresholds in simulated worlds: seldom exceeded while nothing changes, exceeded when something does."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SETTINGS
from scipy import stats

from ml_pipeline import metrics, model_quality, thresholds
from ml_pipeline.drift import bins, calibrate, judge, tails
from ml_pipeline.drift.bins import Bins
from ml_pipeline.drift.judge import Judged
from ml_pipeline.facets import Facet, Outcomes, Table
from ml_pipeline.features import Column, Texts
from ml_pipeline.monitoring import violations
from ml_pipeline.names import QUALITY_DRIFT
from ml_pipeline.settings import Monitor

ANY_SHIFT = dataclasses.replace(SETTINGS.monitor, smallest_shift=0.0)
ROWS = 2400  # of the baselines
WORDS = np.array([*(f"w{n}" for n in range(2000)), None], object)

World = dict[str, Column]


def words(shares: np.ndarray, rows: int, generator: np.random.Generator) -> Texts:
    return Texts(WORDS, generator.choice(len(shares), rows, p=shares / shares.sum()))


def world(rows: int, generator: np.random.Generator) -> World:
    """Correlated, skewed, tied, mostly zero, missing and constant numbers; few, rare and many categories."""
    common = generator.standard_normal(rows)
    correlated = {f"correlated{n}": common + 0.5 * generator.standard_normal(rows) for n in range(3)}
    zeros, rare = generator.exponential(1, rows), generator.exponential(1, rows)
    zeros[generator.random(rows) < 0.7], rare[generator.random(rows) < 0.995] = 0, 0
    gaps, few_gaps = generator.standard_normal((2, rows))
    gaps[generator.random(rows) < 0.3], few_gaps[generator.random(rows) < 0.002] = np.nan, np.nan
    some_words = words(np.array([5.0, 3, 2]), rows, generator)
    some_words.places[generator.random(rows) < 0.05] = len(WORDS) - 1
    return correlated | {
        "skewed": np.round(generator.lognormal(3, 1.5, rows)),
        "zeros": zeros,
        "nearly all zero": rare,
        "flag": (generator.random(rows) < 0.03) * 1.0,
        "counts": generator.poisson(2, rows) * 1.0,
        "gaps": gaps,
        "few gaps": few_gaps,
        "constant": np.full(rows, 5.0),
        "two words": words(np.array([6.0, 4]), rows, generator),
        "rare words": words(np.array([0.99, 0.006, 0.003, 0.0008, 0.0002]), rows, generator),
        "many words": words(1 / np.arange(1, 301) ** 1.1, rows, generator),
        "endless words": words(1 / np.arange(1, 2001) ** 0.8, rows, generator),
        "words with gaps": some_words,
    }


def counted(name: str, column: Column) -> tuple[Bins, np.ndarray]:
    return bins.of_texts(name, column) if isinstance(column, Texts) else bins.of_numbers(name, column)


def calibrated(found: World, alpha: float, seed: int = 1) -> dict[str, Any]:
    """thresholds.json as it is read again."""
    rows = len(next(iter(found.values())))
    document = calibrate.columns([counted(*item) for item in found.items()], rows, alpha, seed)
    return json.loads(json.dumps(document, allow_nan=False))


def judged(document: dict[str, Any], batch: World, monitor: Monitor = ANY_SHIFT) -> dict[str, Judged]:
    return {
        column["name"]: judge.column(
            column, document, Bins.from_json(column).count(batch[column["name"]]), monitor
        )
        for column in document["columns"]
    }


def upper(rate: float, trials: int) -> int:
    """False alarms that a rate of this much exceeds once in a thousand tests."""
    return int(stats.binom.ppf(0.999, trials, rate))


# Tails


@pytest.mark.parametrize(("count", "rows", "batch"), [(0, 500, 50), (3, 500, 80), (9, 50, 100_000)])
def test_the_greatest_number_is_that_of_scipys_beta_binomial(count: int, rows: int, batch: int) -> None:
    theirs = stats.betabinom(batch, count + 1, rows - count)
    for rate in (0.05, 1e-3, 1e-5):
        found = tails.greatest(count + 1, rows - count, batch, rate)
        assert theirs.sf(found) <= rate * (1 + 1e-6) and (found == 0 or theirs.sf(found - 1) > rate)


def test_simulated_tails_go_on_beyond_the_simulated_values() -> None:
    values = np.random.default_rng(1).exponential(1, 4000)
    assert tails.simulated(values, 0.3) == pytest.approx(-math.log(0.3), rel=0.05)
    assert tails.simulated(values, 1e-5) == pytest.approx(-math.log(1e-5), rel=0.15)


def test_students_tail_is_scipys() -> None:
    for freedom in (20, 100, 5000):
        found = tails.student(NormalDist().inv_cdf(1 - 1e-4), freedom)
        assert found == pytest.approx(stats.t(freedom).isf(1e-4), rel=0.02)


# Columns


@pytest.mark.parametrize(("batch_rows", "alpha"), [(50, 0.1), (333, 0.1), (5000, 0.1), (1000, 0.02)])
def test_a_stable_world_rings_no_more_often_than_allowed_over_all_columns(
    batch_rows: int, alpha: float
) -> None:
    generator, alarms, trials = np.random.default_rng(batch_rows), 0, 0
    for seed in range(8):
        document = calibrated(world(ROWS, generator), alpha, seed)
        for _ in range(25):
            batch = world(batch_rows, generator)
            alarms += any(each.violated for each in judged(document, batch).values())
            trials += 1
    assert alarms <= upper(alpha, trials)


def test_thresholds_are_not_so_high_that_chance_never_reaches_them() -> None:
    generator = np.random.default_rng(4)
    found = {f"x{n}": generator.standard_normal(ROWS) for n in range(10)}
    document, alarms = calibrated(found, 0.4), 0
    for _ in range(100):
        batch = {name: generator.standard_normal(300) for name in found}
        alarms += any(each.violated for each in judged(document, batch).values())
    assert alarms >= 10  # of 40 that are allowed


SHIFTS: dict[str, Callable[[World, np.random.Generator], Any]] = {
    "correlated0": lambda batch, _: batch["correlated0"] + 0.6,
    "skewed": lambda batch, _: batch["skewed"] * 2,
    "zeros": lambda batch, generator: np.where(generator.random(400) < 0.7, 0, batch["zeros"]),
    "flag": lambda batch, generator: (generator.random(400) < 0.15) * 1.0,
    "constant": lambda batch, generator: np.where(generator.random(400) < 0.1, 6.0, 5.0),
    "two words": lambda batch, generator: words(np.array([4.0, 6]), 400, generator),
    "many words": lambda batch, generator: words(1 / np.arange(1, 301) ** 0.7, 400, generator),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_a_clear_shift_rings_for_its_column_alone(name: str) -> None:
    generator = np.random.default_rng(11)
    document = calibrated(world(ROWS, generator), 0.005)
    for _ in range(5):
        batch = world(400, generator)
        batch[name] = SHIFTS[name](batch, generator)
        assert [key for key, each in judged(document, batch, SETTINGS.monitor).items() if each.violated] == [
            name
        ]


def test_missing_values_ring_by_their_share_alone() -> None:
    generator = np.random.default_rng(12)
    document, batch = calibrated(world(ROWS, generator), 0.005), world(1000, generator)
    batch["few gaps"][:60] = np.nan
    batch["two words"].places[:60] = len(WORDS) - 1
    found = judged(document, batch, SETTINGS.monitor)
    for name in ("few gaps", "two words"):
        assert [key for key, each in found[name].statistics.items() if each["violated"]] == ["missing"]


def test_one_new_word_among_a_million_rows_rings_nothing_and_many_do() -> None:
    generator = np.random.default_rng(13)
    document = calibrated({"two words": words(np.array([6.0, 4]), 100_000, generator)}, 0.005)
    shares = [600_000, 400_000, 0]
    (column,) = document["columns"]
    one = judge.column(column, document, np.array([599_999, 400_000, 1, 0]), SETTINGS.monitor)
    many = judge.column(column, document, np.array([560_000, 400_000, 40_000, 0]), SETTINGS.monitor)
    assert sum(shares) == 10**6 and not one.violated
    assert many.statistics["unknown"]["violated"] and many.statistics["unknown"]["value"] == 0.04


def test_columns_whose_every_word_is_new_have_new_words_without_alarm() -> None:
    ids = [Texts(np.array([f"{batch}-{n}" for n in range(800)], object), np.arange(800)) for batch in "ab"]
    document = calibrated({"id": ids[0]}, 0.005)
    assert not judged(document, {"id": ids[1]})["id"].violated


def test_fewer_than_50_rows_are_not_judged() -> None:
    generator = np.random.default_rng(14)
    found = {"x": generator.standard_normal(ROWS), "y": words(np.array([6.0, 4]), ROWS, generator)}
    document = calibrated(found, 0.005)
    fixed = dataclasses.replace(SETTINGS.monitor, thresholds={"psi": 0.01})
    for monitor in (SETTINGS.monitor, fixed):
        for rows, verdict in ((49, False), (50, True)):
            batch = {"x": np.full(rows, 9.0), "y": Texts(WORDS, np.full(rows, 7))}
            assert [each.violated for each in judged(document, batch, monitor).values()] == [verdict] * 2


def test_a_small_shift_that_many_rows_prove_rings_only_if_settings_want_it() -> None:
    generator = np.random.default_rng(15)
    document = calibrated({"x": generator.standard_normal(300_000)}, 0.005)
    batch = {"x": generator.standard_normal(300_000) + 0.03}
    (loose,), (strict,) = (
        judged(document, batch, monitor).values() for monitor in (SETTINGS.monitor, ANY_SHIFT)
    )
    assert strict.violated and not loose.violated
    assert loose.statistics["ks"]["value"] > loose.statistics["ks"]["threshold"]


def test_thresholds_of_settings_replace_the_calibrated_ones() -> None:
    generator = np.random.default_rng(16)
    document = calibrated({"x": generator.standard_normal(ROWS)}, 0.005)
    batch = {"x": generator.standard_normal(500) + 0.1}
    fixed = dataclasses.replace(SETTINGS.monitor, thresholds={"ks": 0.001, "psi": 9.0})
    (found,) = judged(document, batch, fixed).values()
    assert found.statistics["ks"] == {
        "value": found.statistics["ks"]["value"],
        "threshold": 0.001,
        "violated": True,
    }
    assert found.statistics["psi"]["threshold"] == 9.0 and not found.statistics["psi"]["violated"]


def test_settings_choose_the_statistic_of_categories() -> None:
    generator = np.random.default_rng(17)
    document = calibrated({"x": words(np.array([6.0, 4]), ROWS, generator)}, 0.005)
    batch = {"x": words(np.array([6.0, 4]), 500, generator)}
    for method, name in (("ChiSquared", "chi_squared"), ("LInfinity", "l_infinity")):
        monitor = dataclasses.replace(SETTINGS.monitor, categorical_method=method)
        assert list(judged(document, batch, monitor)["x"].statistics) == ["psi", name, "missing", "unknown"]


def test_thresholds_fall_as_batches_grow_and_also_between_the_sizes_of_the_file() -> None:
    generator = np.random.default_rng(18)
    document = calibrated({"x": generator.standard_normal(20_000)}, 0.005)
    (column,), bounds = document["columns"], []
    for rows in (60, 80, 100, 400, 1000, 3000, 40_000, 10**6, 10**8):
        batch = np.append(np.full(20, rows // 20), 0)
        bounds.append(judge.column(column, document, batch, ANY_SHIFT).statistics["ks"]["threshold"])
    assert all(one > two for one, two in pairwise(bounds))
    assert bounds[-1] == pytest.approx(bounds[-2], rel=0.05)  # the baseline is finite too


def test_the_same_seed_gives_the_same_thresholds() -> None:
    found = world(500, np.random.default_rng(19))
    assert calibrated(found, 0.01, 3) == calibrated(found, 0.01, 3) != calibrated(found, 0.01, 4)


# Attributions


def contributions(rows: int, generator: np.random.Generator, scale: tuple[float, ...]) -> np.ndarray:
    return np.abs(generator.standard_normal((rows, len(scale)))) * np.array(scale)


def means(values: np.ndarray) -> dict[str, float]:
    return {f"f{place}": float(value) for place, value in enumerate(values.mean(axis=0))}


SCALE = (1.0, 0.9, 0.85, 0.3, 0.28, 0.1, 0.02, 0.0)


def test_rankings_of_a_stable_world_ring_no_more_often_than_allowed_and_a_new_order_does() -> None:
    generator, alarms, alpha, trials = np.random.default_rng(20), 0, 0.05, 300
    for seed in range(20):
        before = contributions(800, generator, SCALE)
        names = list(means(before))
        document = json.loads(json.dumps(calibrate.attributions(before, names, alpha, seed)))
        for _ in range(trials // 20):
            now = means(contributions(200, generator, SCALE))
            alarms += judge.attribution(document, means(before), now, 200, ANY_SHIFT)["violated"]
    assert alarms <= upper(alpha, trials)
    moved = means(contributions(200, generator, SCALE[::-1]))
    found = judge.attribution(document, means(before), moved, 200, SETTINGS.monitor)
    assert found["violated"] and found["value"] < found["threshold"]
    assert not judge.attribution(document, means(before), moved, 49, SETTINGS.monitor)["violated"]


def test_a_fixed_ndcg_is_a_lower_bound() -> None:
    before = contributions(800, np.random.default_rng(21), SCALE)
    document = calibrate.attributions(before, list(means(before)), 0.001, 1)
    fixed = dataclasses.replace(SETTINGS.monitor, thresholds={"ndcg": 0.9})
    same = judge.attribution(document, means(before), means(before), 500, fixed)
    assert same == {"value": 1.0, "threshold": 0.9, "violated": False}


# Quality


def scored(rows: int, generator: np.random.Generator, noise: float) -> metrics.Predictions:
    label = (generator.random(rows) < 0.3) * 1.0
    score = 1 / (1 + np.exp(-(2 * label - 1.5 + noise * generator.standard_normal(rows))))
    return metrics.Predictions(label, score, (score > 0.5) * 1)


def quality_of(found: metrics.Predictions, alpha: float, seed: int) -> dict[str, Any]:
    document, spreads = model_quality.statistics_and_spreads(
        "binary", found, found, ("no", "yes"), samples=100, seed=seed
    )
    assert document["binary_classification_metrics"]["auc"]["value"] == spreads["auc"][0]
    rows = len(found.label)
    deviations = {name: calibrate.deviation(*spreads[name], rows) for name in QUALITY_DRIFT["binary"]}
    return json.loads(json.dumps(calibrate.quality(deviations, rows, alpha), allow_nan=False))


@pytest.mark.parametrize("batch_rows", [60, 800])
def test_quality_of_a_stable_world_rings_no_more_often_than_allowed_and_a_worse_one_does(
    batch_rows: int,
) -> None:
    generator, alarms, alpha, trials = np.random.default_rng(batch_rows), 0, 0.05, 300
    for seed in range(20):
        document = quality_of(scored(600, generator, 1.0), alpha, seed)
        for _ in range(trials // 20):
            batch = scored(batch_rows, generator, 1.0)
            values = metrics.measure("binary", batch)(np.ones(batch_rows))
            alarms += any(
                each["violated"] for each in judge.quality(document, values, batch_rows, ANY_SHIFT).values()
            )
    assert alarms <= upper(alpha, trials)
    worse = metrics.measure("binary", scored(800, generator, 6.0))(np.ones(800))
    found = judge.quality(quality_of(scored(600, generator, 1.0), 0.001, 1), worse, 800, ANY_SHIFT)
    assert found["auc"]["violated"] and found["auc"]["value"] < found["auc"]["bound"]
    better = judge.quality(document, dict.fromkeys(document["metrics"], 1.0), 800, ANY_SHIFT)
    assert not any(each["violated"] for each in better.values())


def test_a_model_without_an_error_may_make_one() -> None:
    document = calibrate.quality({"accuracy": calibrate.deviation(1.0, 0.0, 300)}, 300, 0.001)
    assert not judge.quality(document, {"accuracy": 0.99}, 100, ANY_SHIFT)["accuracy"]["violated"]
    assert judge.quality(document, {"accuracy": 0.7}, 100, ANY_SHIFT)["accuracy"]["violated"]


def test_errors_ring_when_they_grow_and_what_is_undefined_never() -> None:
    spreads = {"rmse": (10.0, 0.5), "mae": (8.0, 0.3), "r2": (0.6, 0.03)}
    deviations = {name: calibrate.deviation(*pair, 400) for name, pair in spreads.items()}
    document = calibrate.quality(deviations, 400, 0.001)
    worse = judge.quality(document, {"rmse": 20.0, "mae": 16.0, "r2": -0.5}, 400, ANY_SHIFT)
    assert [each["violated"] for each in worse.values()] == [True] * 3
    better = judge.quality(document, {"rmse": 1.0, "mae": 1.0, "r2": 0.99}, 400, ANY_SHIFT)
    assert [each["violated"] for each in better.values()] == [False] * 3
    undefined = judge.quality(document, {"rmse": None, "mae": math.nan}, 400, ANY_SHIFT)
    assert [each["bound"] for each in undefined.values()] == [None] * 3
    few = judge.quality(document, {"rmse": 90.0}, 49, ANY_SHIFT)
    assert not few["rmse"]["violated"]


# Bias


def applicants(rows: int, generator: np.random.Generator, against: float = 0.4) -> list[Table]:
    """Two facets, one of them with small groups. against: how much less women are predicted."""
    female = generator.random(rows) < 0.45
    region = generator.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    merit = generator.standard_normal(rows)
    label = merit + generator.standard_normal(rows) - 0.2 * female > 0.3
    predicted = merit + 0.5 * generator.standard_normal(rows) - against * female > 0.3
    outcomes = Outcomes(label, predicted, "yes")
    columns = pd.DataFrame({"grade": generator.integers(0, 4, rows).astype(float)})
    sex = Facet("sex", np.where(female, "f", "m").astype(object), (("f",),))
    return [
        Table(outcomes, sex, "grade", columns),
        Table(outcomes, Facet("region", region, tuple((name,) for name in "abcd")), "grade", columns),
    ]


def bias_of(tables: list[Table], alpha: float, seed: int) -> dict[str, Any]:
    settings = dataclasses.replace(
        SETTINGS,
        bias=dataclasses.replace(SETTINGS.bias, seed=seed),
        monitor=dataclasses.replace(SETTINGS.monitor, false_alarm_rate=alpha / calibrate.OTHERS_SHARE),
    )
    return json.loads(json.dumps(thresholds.of_bias(tables, settings), allow_nan=False))


def violated(document: dict[str, Any], tables: list[Table]) -> set[tuple[str, str, str]]:
    """Facet, group and metric."""
    return {
        (table.facet.name, values[0], name)
        for table in tables
        for values in table.facet.disadvantaged
        for name, found in judge.bias(
            document,
            table.facet.name,
            values[0],
            thresholds.bias_values(table.sample(values)),
            len(table.outcomes.label),
            ANY_SHIFT,
        ).items()
        if found["violated"]
    }


@pytest.mark.parametrize("batch_rows", [150, 1500])
def test_bias_of_a_stable_world_rings_no_more_often_than_allowed(batch_rows: int) -> None:
    generator, alarms, alpha, trials = np.random.default_rng(batch_rows), 0, 0.06, 75
    for seed in range(25):
        document = bias_of(applicants(800, generator), alpha, seed)
        alarms += sum(bool(violated(document, applicants(batch_rows, generator))) for _ in range(3))
    assert alarms <= upper(alpha, trials)


def test_a_model_that_turns_against_a_group_rings_for_it() -> None:
    generator = np.random.default_rng(30)
    document = bias_of(applicants(2000, generator), 0.00125, 1)
    found = violated(document, applicants(2000, generator, against=1.4))
    assert ("sex", "f", "DPPL") in found and not {("sex", "f", "DPL"), ("sex", "f", "CI")} & found
    assert {facet for facet, _, _ in found} == {"sex"}


def test_a_world_without_exceptions_still_has_a_deviation() -> None:
    women = np.arange(400) % 4 == 0
    sex = Facet("sex", np.where(women, "f", "m").astype(object), (("f",),))
    tables = [Table(Outcomes(~women, ~women, "yes"), sex, "", pd.DataFrame(index=range(400)))]
    (group,) = bias_of(tables, 0.01, 1)["facets"]
    assert group["metrics"]["DPPL"]["value"] == 1.0
    assert 0.1 < group["metrics"]["DPPL"]["deviation"] < 1


def test_a_group_of_few_rows_is_not_judged() -> None:
    generator = np.random.default_rng(31)
    document = bias_of(applicants(800, generator), 0.00125, 1)
    group = next(each for each in document["facets"] if each["group"] == "d")
    values = {name: metric["value"] + 1 for name, metric in group["metrics"].items()}
    assert not any(
        found["violated"]
        for found in judge.bias(document, "region", "d", values, 300, SETTINGS.monitor).values()
    )
    women = {"DPPL": document["facets"][0]["metrics"]["DPPL"]["value"] + 1}
    assert judge.bias(document, "sex", "f", women, 300, SETTINGS.monitor)["DPPL"]["violated"]


def test_a_bound_of_settings_is_judged_where_the_baseline_has_none() -> None:
    fixed = dataclasses.replace(ANY_SHIFT, thresholds={"DI": 0.2, "TE": 1.0, "DPPL": 0.1, "psi": 0.1})
    document = calibrate.bias([{"facet": "sex", "group": "f", "share": 0.0, "metrics": {}}], 400, 0.01)
    values = {"DI": 0.7, "TE": -0.9, "DPPL": math.inf, "DPL": 0.9}
    found = judge.bias(document, "sex", "f", values, 400, fixed)
    assert list(found) == ["DI", "TE", "DPPL"]
    assert [found["DI"][name] for name in ("baseline", "low", "high", "violated")] == [None, 0.8, 1.2, True]
    assert [found["TE"][name] for name in ("low", "high", "violated")] == [-1.0, 1.0, False]
    assert found["DPPL"] == {"baseline": None, "value": None, "low": None, "high": None, "violated": False}
    assert judge.bias(document, "sex", "f", values, 49, fixed)["DI"]["violated"] is False
    entry = {"facet": "sex", "group": "f", "metrics": found}
    (told,) = violations.of_bias([entry])
    assert told["description"] == "DI is 0.7, baseline not known: outside of 0.8 to 1.2"


def test_a_bound_of_quality_is_judged_where_the_baseline_has_none() -> None:
    fixed = dataclasses.replace(ANY_SHIFT, thresholds={"auc": 0.8})
    document = calibrate.quality({}, 400, 0.01)
    found = judge.quality(document, {"auc": 0.75, "accuracy": 0.1}, 100, fixed)
    assert found == {"auc": {"baseline": None, "value": 0.75, "bound": 0.8, "violated": True}}
