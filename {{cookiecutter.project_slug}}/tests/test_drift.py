"""Distances against numbers worked out by hand and by scipy, bins that batches add up in, broken data."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ml_pipeline import baseline
from ml_pipeline.drift import bins, broken, distances
from ml_pipeline.drift.bins import Bins
from ml_pipeline.features import Category, Column, FeatureSpec, Number, Target, Texts


def texts(values: list[str | None]) -> Texts:
    words = sorted({value for value in values if value is not None})
    places = {word: place for place, word in enumerate(words)} | {None: len(words)}
    return Texts(np.array([*words, None], object), np.array([places[value] for value in values]))


def drawn(shares: dict[str | None, float], rows: int, seed: int = 0) -> Texts:
    words = np.array([*shares], object)
    return Texts(words, np.random.default_rng(seed).choice(len(words), rows, p=[*shares.values()]))


def made(column: Column) -> tuple[Bins, np.ndarray]:
    return bins.of_texts("x", column) if isinstance(column, Texts) else bins.of_numbers("x", column)


def statistics(column: Column) -> dict[str, Any]:
    """statistics.json of one column."""
    feature = Category("x", ()) if isinstance(column, Texts) else Number("x", 0.0, 0.0, 1.0)
    spec = FeatureSpec((), (feature,), Target("y", "binary", ("a", "b"), "b"), ())
    return baseline.measure({"x": column}, spec).statistics


# Distances


def test_psi_of_many_rows_is_the_sum_of_share_differences_times_log_ratios() -> None:
    by_hand = 0.1 * math.log(0.6 / 0.5) + (-0.1) * math.log(0.4 / 0.5)
    million = 10**6
    found = distances.psi(np.array([0.5, 0.5]) * million, np.array([0.6, 0.4]) * million)
    assert found == pytest.approx(by_hand, rel=1e-4)


def test_psi_is_finite_for_bins_that_either_sample_lacks_and_0_for_the_same_shares() -> None:
    assert 0 < distances.psi(np.array([10, 0]), np.array([0, 10])) < math.inf
    assert distances.psi(np.array([30, 70]), np.array([3, 7])) == pytest.approx(0, abs=1e-3)
    assert distances.psi(np.array([30, 70]), np.array([0, 0])) == 0


def test_ks_is_the_largest_gap_of_the_cumulated_shares() -> None:
    assert distances.ks(np.array([1, 1, 2]), np.array([2, 1, 1])) == pytest.approx(0.25)
    assert distances.ks(np.array([5, 5]), np.array([0, 0])) == 0


def test_ks_in_as_many_bins_as_values_is_scipys() -> None:
    generator = np.random.default_rng(1)
    one, two = generator.integers(0, 9, 300), generator.integers(1, 10, 200)
    counts = [np.bincount(each, minlength=10) for each in (one, two)]
    assert distances.ks(*counts) == pytest.approx(stats.ks_2samp(one, two).statistic)


def test_chi_squared_is_pearsons_of_the_table_of_both_samples() -> None:
    expected, counts = np.array([30, 50, 20]), np.array([9, 5, 6])
    theirs = stats.chi2_contingency(np.stack([expected, counts]), correction=False).statistic
    assert distances.chi_squared(expected, counts) == pytest.approx(theirs)
    with_empty = distances.chi_squared(np.append(expected, 0), np.append(counts, 0))
    assert with_empty == pytest.approx(theirs)


def test_l_infinity_is_the_largest_difference_of_shares() -> None:
    assert distances.l_infinity(np.array([6, 4, 0]), np.array([3, 3, 4])) == pytest.approx(0.4)


def test_distances_of_many_samples_are_those_of_each() -> None:
    generator = np.random.default_rng(2)
    expected, counts = generator.integers(0, 50, (7, 5)), generator.integers(1, 50, (7, 5))
    for distance in (distances.psi, distances.ks, distances.chi_squared, distances.l_infinity):
        each = [float(distance(e, c)) for e, c in zip(expected, counts, strict=True)]
        assert distance(expected, counts) == pytest.approx(each)


def test_ndcg_is_the_gain_of_the_current_order_over_that_of_the_baselines() -> None:
    baseline_, current = {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.1, "b": 0.7, "c": 0.2}
    ideal = 0.5 + 0.3 / math.log2(3) + 0.2 / math.log2(4)
    gain = 0.3 + 0.2 / math.log2(3) + 0.5 / math.log2(4)  # in the order b, c, a
    assert distances.ndcg(baseline_, current) == pytest.approx(gain / ideal)
    assert distances.ndcg(baseline_, baseline_) == 1
    assert distances.ndcg(baseline_, {"c": 1.0}) < 1  # what it lacks comes last


def test_ndcg_is_scikit_learns() -> None:
    from sklearn.metrics import ndcg_score

    generator = np.random.default_rng(3)
    one, two = generator.random(12), generator.random(12)
    names = [f"f{place:02}" for place in range(12)]
    found = distances.ndcg(dict(zip(names, one, strict=True)), dict(zip(names, two, strict=True)))
    assert found == pytest.approx(ndcg_score([one], [two]))


# Bins


def with_zeros(rows: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    values = generator.exponential(10, rows)
    values[generator.random(rows) < 0.6] = 0
    values[generator.random(rows) < 0.1] = np.nan
    return values


COLUMNS = {
    "smooth": lambda rows, seed: np.random.default_rng(seed).normal(0, 1, rows),
    "zeros": with_zeros,
    "flag": lambda rows, seed: (np.random.default_rng(seed).random(rows) < 0.2) * 1.0,
    "constant": lambda rows, seed: np.full(rows, 3.0),
    "few words": lambda rows, seed: drawn({"a": 0.6, "b": 0.3, None: 0.1}, rows, seed),
    "many words": lambda rows, seed: drawn({f"w{n}": 1 / 400 for n in range(400)}, rows, seed),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_training_columns_counts_are_those_that_its_bins_count(name: str) -> None:
    column = COLUMNS[name](3000, 1)
    found, counts = made(column)
    assert found.count(column).tolist() == counts.tolist()
    assert counts.sum() == 3000 and len(found.labels) == len(counts)


@pytest.mark.parametrize("name", COLUMNS)
def test_counts_of_batches_add_up_to_those_of_the_whole(name: str) -> None:
    found, _ = made(COLUMNS[name](500, 1))
    whole = COLUMNS[name](1000, 2)
    cut = (slice(0, 137), slice(137, 900), slice(900, 1000))
    parts = [Texts(whole.words, whole.places[c]) if isinstance(whole, Texts) else whole[c] for c in cut]
    assert np.sum([found.count(part) for part in parts], axis=0).tolist() == found.count(whole).tolist()


@pytest.mark.parametrize("name", COLUMNS)
def test_bins_come_back_from_json_as_they_were(name: str) -> None:
    found, _ = made(COLUMNS[name](500, 1))
    assert Bins.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_smooth_number_has_bins_of_the_same_share() -> None:
    _, counts = made(np.random.default_rng(1).lognormal(0, 2, 4000))
    assert counts[:-1].tolist() == [200] * 20 and counts[-1] == 0


def test_a_value_that_many_rows_have_is_a_bin_of_its_own() -> None:
    column = with_zeros(5000, 1)
    found, counts = made(column)
    place = found.labels.index("0")
    assert counts[place] == np.count_nonzero(column == 0)
    assert (counts[place + 1 : -1] > 0).all()
    moved = found.count(np.where(column == 0, -1e-9, column))
    assert moved[place] == 0 and moved[place - 1] == counts[place]


def test_bins_of_large_numbers_are_written_out() -> None:
    found, _ = made(np.linspace(1000, 90_000, 5000))
    assert found.labels[:2] == ["below 5451", "5451 to 9902"]
    assert found.labels[2] == "9902 to 14,353" and found.labels[-2] == "from 85,567"


def test_a_constant_that_changes_falls_into_another_bin() -> None:
    found, _ = made(np.full(100, 3.0))
    assert found.count(np.array([3.0, 3.1, 2.9, np.nan])).tolist() == [1, 1, 1, 1]


def test_known_but_rare_words_are_others_and_never_seen_ones_unknown() -> None:
    found, counts = made(drawn({"a": 0.5, "b": 0.485, "c": 0.008, "d": 0.007}, 5000))
    assert found.labels == ["a", "b", "other", "unknown", "missing"]
    assert found.count(texts(["a", "c", "d", "new", None])).tolist() == [1, 0, 2, 1, 1]
    assert counts[3:].tolist() == [0, 0]


def test_as_many_rows_are_expected_to_be_unknown_as_words_have_a_single_row() -> None:
    words = ["a"] * 500 + ["b"] * 400 + [f"once{n}" for n in range(100)]
    found, counts = made(texts(words))
    assert found.seen_once == 100
    assert found.expected(counts).tolist() == [500, 400, 0, 100]


def test_groups_of_bins_have_enough_rows_of_the_smaller_sample() -> None:
    expected = np.array([5000.0, 3000, 1500, 480, 15, 5, 0])
    for rows in (50, 100, 10_000, 10**7):
        group = bins.groups(expected, rows)
        sizes = bins.grouped(expected, group) * min(rows / expected.sum(), 1)
        assert sizes.min() >= bins.ENOUGH and len(sizes) == group.max() + 1 > 1
    assert bins.groups(np.array([999.0, 1.0]), 50).max() == 0


# Broken data


def judged(before: Column, now: Column) -> list[tuple[str, str]]:
    found = broken.violations(statistics(before), statistics_of_batch(now))
    return [(each["constraint_check_type"], each["description"]) for each in found]


def statistics_of_batch(column: Column) -> dict[str, Any]:
    """As `statistics`, also of a column without a single value."""
    if isinstance(column, Texts) or not np.isnan(column).all():
        return statistics(column)
    return {"features": [baseline.number_feature("x", False, (0, len(column)), {})]}


INCOME = np.random.default_rng(5).lognormal(10, 1, 5000)


@pytest.mark.parametrize(("factor", "told"), [(100, "100 times"), (0.01, "1/100 of"), (1e4, "10,000 times")])
def test_a_changed_unit_is_broken_and_told(factor: float, told: str) -> None:
    ((check, description),) = judged(INCOME, INCOME[:800] * factor)
    assert check == "baseline_drift_check"
    assert description == f"values are about {told} those of the training data: has a unit changed?"


def test_a_changed_unit_of_a_column_that_is_mostly_zero_is_broken() -> None:
    before = with_zeros(5000, 1)
    ((_, description),) = judged(before, with_zeros(2000, 2) * 100)
    assert "has a unit changed?" in description


def test_values_that_have_doubled_are_drift_and_not_broken() -> None:
    assert judged(INCOME, INCOME[:800] * 2) == []


def test_values_that_grew_and_spread_are_not_taken_for_another_unit() -> None:
    other = np.random.default_rng(6).lognormal(12, 3, 800)
    assert not any("unit" in description for _, description in judged(INCOME, other))


def test_a_column_that_has_lost_its_values_is_broken() -> None:
    ((check, description),) = judged(INCOME, np.full(100, np.nan))
    assert check == "completeness_check" and description.startswith("all values are missing, 100.0%")
    half = INCOME[:1000].copy()
    half[:600] = np.nan
    ((check, description),) = judged(INCOME, half)
    assert check == "completeness_check" and "only 40.0% of the rows have a value" in description
    half[:] = INCOME[:1000]
    half[:400] = np.nan
    assert judged(INCOME, half) == []


def test_a_text_column_that_has_lost_its_values_is_broken() -> None:
    before = drawn({"a": 0.7, "b": 0.3}, 1000)
    assert judged(before, texts([None] * 90 + ["a"] * 10))[0][0] == "completeness_check"


def test_a_rarely_filled_column_is_not_broken_by_a_batch_that_has_less_by_chance() -> None:
    before = np.where(np.arange(1000) % 25 == 0, 1.0 + np.arange(1000), np.nan)
    now = np.full(60, np.nan)
    now[0] = 26.0
    assert judged(before, now) == []


def test_values_far_out_of_the_range_are_broken() -> None:
    age = np.random.default_rng(7).integers(18, 80, 2000).astype(float)
    ((check, description),) = judged(age, np.where(np.arange(500) < 300, -999.0, age[:500]))
    assert check == "baseline_drift_check"
    assert "60.0% of the values are far outside of the training data's range, 18 to 7" in description
    assert judged(age, age[:500] + 30) == []  # beyond the range, not far


def test_a_measure_that_is_stuck_is_broken_and_a_month_that_batches_have_one_of_is_not() -> None:
    assert judged(INCOME, np.full(200, float(np.median(INCOME))))[0][1].startswith("all values are ")
    months = np.random.default_rng(8).integers(1, 13, 2000).astype(float)
    assert judged(months, np.full(200, 6.0)) == []


def test_a_column_that_never_changed_may_change() -> None:
    assert judged(np.full(500, 1.0), np.full(200, 2.0)) == []


def test_categories_that_are_mostly_unknown_are_broken() -> None:
    before = drawn({"north": 0.6, "south": 0.4}, 1000)
    ((check, description),) = judged(before, drawn({"N": 0.6, "S": 0.3, "north": 0.1}, 400))
    assert check == "categorical_values_check" and description.endswith("categories, such as 'N'")
    assert judged(before, drawn({"north": 0.4, "south": 0.3, "west": 0.3}, 400)) == []


def test_names_that_differ_in_every_row_are_not_broken_by_new_ones() -> None:
    assert judged(texts([f"n{n}" for n in range(900)]), texts([f"m{n}" for n in range(300)])) == []


def test_a_number_that_has_become_text_is_broken() -> None:
    assert judged(INCOME, drawn({"low": 0.5, "high": 0.5}, 100))[0][0] == "data_type_check"


def test_few_rows_are_never_broken() -> None:
    assert judged(INCOME, INCOME[:49] * 100) == []


def test_data_of_the_same_world_are_not_broken() -> None:
    for seed in range(20):
        for make in COLUMNS.values():
            assert judged(make(2000, 1000 + seed), make(60, seed)) == []


def test_columns_that_have_changed_places_are_broken_and_those_that_have_drifted_are_not() -> None:
    told = "values are like those of {} in the training data: have columns changed places?"
    assert held("age", "term", "years") == {}
    assert held("term", "age", "years") == {"age": told.format("term"), "term": told.format("age")}
    assert held("term", "years", "age") == {
        name: told.format(other) for name, other in (("age", "term"), ("term", "years"), ("years", "age"))
    }
    # What was this month's is last month's now: no column holds what the last one held.
    assert held("more", "age", "term") == {}
    # Another unit would be told of each by itself.
    assert held("age", "ratio", "years", of=("age", "years", "ratio")) == {
        "years": told.format("ratio"),
        "ratio": told.format("years"),
    }


def held(*columns: str, of: tuple[str, ...] = ("age", "term", "years")) -> dict[str, str]:
    """By column what is broken of it, if these columns hold the values of the first ones."""
    before, now = (
        {
            "age": generator.normal(42, 12, rows),
            "term": generator.choice([12.0, 24.0, 36.0, 48.0, 60.0], rows),
            "years": generator.exponential(7, rows),
            "more": generator.normal(52, 12, rows),
            "ratio": generator.exponential(0.07, rows),
        }
        for generator, rows in ((np.random.default_rng(1), 3000), (np.random.default_rng(2), 400))
    )
    wanted = dict(zip(of, (now[name] for name in columns), strict=True))
    found = broken.violations(of_columns({name: before[name] for name in wanted}), of_columns(wanted))
    return {each["feature_name"]: each["description"] for each in found}


def of_columns(columns: dict[str, Column]) -> dict[str, Any]:
    """statistics.json of several columns."""
    return {"features": [statistics(values)["features"][0] | {"name": n} for n, values in columns.items()]}


def test_a_column_that_is_gone_is_told_by_name() -> None:
    (violation,) = broken.missing(["a", "b"], ["b", "c"])
    assert (violation["feature_name"], violation["constraint_check_type"]) == ("a", "missing_column_check")
