"""Which rows go into which split: by their content, their key and the seed, never by their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_process import applicants

from ml_pipeline import splits


def places(frame: pd.DataFrame, settings: Any, **split: Any) -> np.ndarray:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return splits.assign(table, "approved", settings(split=split).split)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_rows_that_are_equal_share_a_split(settings, method):
    once = applicants(63).drop(columns="id")
    many = pd.concat([once] * 10).sample(frac=1, random_state=1)
    assigned = pd.Series(places(many.reset_index(drop=True), settings, method=method), index=many.index)
    assert (assigned.groupby(level=0).nunique() == 1).all()
    assert set(assigned) == {splits.TRAIN, splits.VALIDATION, splits.TEST}


@pytest.mark.parametrize("method", ["random", "stratified", "by_key"])
def test_another_seed_splits_otherwise_and_the_same_seed_alike(settings, method):
    first, again, other = (
        places(applicants(), settings, method=method, key="id", seed=seed) for seed in (1, 1, 2)
    )
    assert (first == again).all() and 0.2 < (first != other).mean() < 0.9


def test_random_and_keyed_rows_stay_in_their_split_when_rows_come_and_go(settings):
    frame, rest = applicants(), applicants()[100:].iloc[::-1].reset_index(drop=True)
    for split in ({"method": "random"}, {"method": "by_key", "key": "id"}):
        before = dict(zip(frame.id, places(frame, settings, **split), strict=True))
        after = dict(zip(rest.id, places(rest, settings, **split), strict=True))
        assert after == {key: before[key] for key in after}


@pytest.mark.parametrize("words", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_row_has_the_hash_it_has_always_had_so_that_it_stays_in_its_split(words):
    table = pa.table({"x": [1.5, None, 0.0, -0.0], "w": pa.array(["a", "b", None, None]).cast(words)})
    first, second, third = 15906296302227728585, 7896502699238640477, 13760409949104505366
    assert splits.row_hashes(table, 7).tolist() == [first, second, third, third]


def test_fractions_of_random_splits_are_about_those_asked_for(settings):
    shares = np.bincount(places(applicants(4000), settings, method="random")) / 4000
    np.testing.assert_allclose(shares, [0.55, 0.2, 0.25], atol=0.03)
