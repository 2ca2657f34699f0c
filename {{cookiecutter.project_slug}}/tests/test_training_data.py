"""`raw/<period>/`: what Monitor makes of scored rows and their labels, leaves as it is, or takes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from monitored import World, applicants

from ml_pipeline import ingest, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.monitoring import cloudwatch, publishing
from ml_pipeline.steps.process import prepare, reading

PERIOD, NEXT = "2026-08-03", "2026-08-10"
MARK = f"score/{PERIOD}/monitor/quality/_SUCCESS"
VIOLATION = {"feature_name": "id", "constraint_check_type": "data_type_check", "description": "twice"}
UNSCORED = {
    "broken": {"state": "broken", "objects": [], "rows": 9, "broken": [VIOLATION]},
    "empty": {"state": "empty", "objects": [], "rows": 0, "broken": []},
}


def test_scored_rows_and_their_labels_are_the_next_training_data(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.truth(PERIOD, rows.iloc[:800])
    made.score({PERIOD: rows})
    assert made.names("raw") == [f"raw/{PERIOD}/_SUCCESS", f"raw/{PERIOD}/data.parquet"]
    data, split = made.settings.data, made.settings.split
    read = ingest.read(made.uri("raw", PERIOD) + "/", reading(data, split))
    given = rows.iloc[:800].to_csv(index=False)
    storage.write_bytes(made.uri("given", "next.csv"), given.encode())
    wanted = ingest.read(made.uri("given", "next.csv"), reading(data, split))
    plain = [each.table.select(wanted.table.column_names).to_pandas() for each in (read, wanted)]
    pd.testing.assert_frame_equal(*plain, check_dtype=False, check_categorical=False)
    assert len(prepare(read, data, split, "raw").spec.features) == 3


def test_training_data_that_are_there_are_left(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    made.truth(PERIOD, rows)
    for name in ("data.csv", "data.parquet"):
        publishing.clear(made.uri("raw", PERIOD))
        storage.write_bytes(made.uri("raw", PERIOD, name), b"mine")
        storage.mark_success(made.uri("raw", PERIOD))
        left = f"raw/{PERIOD} holds other data than Monitor's and is left as it is"
        assert left in made.score({PERIOD: rows})["summary"]
        assert made.names("raw") == [f"raw/{PERIOD}/_SUCCESS", f"raw/{PERIOD}/{name}"]
        assert storage.read_bytes(made.uri("raw", PERIOD, name)) == b"mine"
        assert made.drift(PERIOD)["quality"]["rows"] == 600


def test_training_data_that_monitor_made_are_replaced_when_the_period_is_scored_again(
    world: Callable[..., World],
) -> None:
    made, rows = world(), applicants(600, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows[:400]}, "cccccccccccc")
    assert made.training_rows(PERIOD) == 400
    made.score({PERIOD: rows}, "dddddddddddd")
    assert made.training_rows(PERIOD) == 600
    storage.write_bytes(made.uri("raw", PERIOD, "more.csv"), b"mine")
    made.score({PERIOD: rows[:500]}, "eeeeeeeeeeee")
    assert made.training_rows(PERIOD) == 600 and f"raw/{PERIOD}/more.csv" in made.names("raw")


def test_training_data_that_did_not_arrive_have_no_mark(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows, upload = world(), applicants(600, 7), storage.upload

    def fails(path: Path, uri: str, *more: Any) -> None:
        if uri.endswith("data.parquet"):
            raise OSError("the network is gone")
        upload(path, uri, *more)

    made.truth(PERIOD, rows)
    monkeypatch.setattr(storage, "upload", fails)
    with pytest.raises(OSError, match="network"):
        made.score({PERIOD: rows})
    assert made.names("raw") == [] and MARK not in made.names("score")


def test_training_data_are_there_before_an_alarm_can_ring(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows, seen = world(), applicants(600, 7), []
    made.truth(PERIOD, rows)
    monkeypatch.setattr(
        cloudwatch, "send", lambda *given: seen.append((made.names("raw"), made.names("score")))
    )
    made.score({PERIOD: rows})
    ((raw, score),) = seen
    assert f"raw/{PERIOD}/_SUCCESS" in raw
    assert MARK not in score  # else a retry after a failure here would never count the labels


def test_training_data_of_an_earlier_delivery_go_when_a_later_one_is_broken(
    world: Callable[..., World],
) -> None:
    made, rows = world(), applicants(300, 7)
    for period in (PERIOD, NEXT):
        made.truth(period, rows)
        made.score({period: rows})
    kept = [name for name in made.names("raw") if NEXT in name]
    summary = made.score({PERIOD: rows.assign(debt=np.nan)}, "dddddddddddd")["summary"]
    assert made.names("raw") == kept and len(kept) == 2
    (note,) = made.drift(PERIOD)["notes"]
    assert f"raw/{PERIOD} held the labelled rows of an earlier delivery" in note and note in summary
    page = storage.read_bytes(made.uri("score", PERIOD, "monitor", "report.html")).decode()
    assert f"raw/{PERIOD} held the labelled rows of an earlier delivery" in page
    made.score({PERIOD: rows.assign(debt=np.nan)}, "dddddddddddf")  # tells of it still
    assert made.drift(PERIOD)["notes"] == [note]
    made.score({PERIOD: rows}, "eeeeeeeeeeee")
    assert made.training_rows(PERIOD) == 300 and made.drift(PERIOD)["notes"] == []


@pytest.mark.parametrize("labels", ["of other rows", "not complete"])
def test_they_go_when_the_later_delivery_has_no_labels(world: Callable[..., World], labels: str) -> None:
    made, rows = world(), applicants(300, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    other = applicants(300, 8).assign(id=[f"B{place}" for place in range(300)])
    if labels == "not complete":
        storage.delete(made.uri("truth", PERIOD, "_SUCCESS"))
        assert f"raw/{PERIOD} held the labelled rows of an earlier" in made.score({PERIOD: other})["summary"]
    else:
        with pytest.raises(
            DataError, match=f"none of its 300 labels .*; raw/{PERIOD} held the labelled rows of"
        ):
            made.score({PERIOD: other}, "dddddddddddd")
    assert made.names("raw") == []
    made.truth(PERIOD, other)
    made.score({})
    assert made.training_rows(PERIOD) == 300


@pytest.mark.parametrize("state", UNSCORED)
def test_they_go_as_well_when_the_later_delivery_cannot_be_scored(
    world: Callable[..., World], state: str
) -> None:
    made, rows = world(), applicants(300, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    with pytest.raises(DataError, match=f"{PERIOD} was not scored"):
        made.score({PERIOD: UNSCORED[state]}, "dddddddddddd")
    assert made.names("raw") == []
    scores, training = made.drift(PERIOD)["notes"]
    with pytest.raises(DataError, match=f"{PERIOD} was not scored"):
        made.score({PERIOD: UNSCORED[state]}, "dddddddddddf")
    assert made.drift(PERIOD)["notes"] == [scores, training]
    assert "score/" in scores and f"raw/{PERIOD} held the labelled rows of an earlier" in training


@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_training_data_of_somebody_else_stay_when_the_scored_rows_are_broken(
    world: Callable[..., World], name: str
) -> None:
    made, rows = world(), applicants(300, 7)
    storage.write_bytes(made.uri("raw", PERIOD, name), b"mine")
    storage.mark_success(made.uri("raw", PERIOD))
    made.score({PERIOD: rows.assign(debt=np.nan)})
    assert made.names("raw") == [f"raw/{PERIOD}/_SUCCESS", f"raw/{PERIOD}/{name}"]
    assert made.drift(PERIOD)["notes"] == []
