"""What a scored period gets: its scores, what is measured against the training data, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import monitored
import numpy as np
import pandas as pd
import pytest
from monitored import World, applicants, sent

from ml_pipeline import storage
from ml_pipeline.dialect import DataError
from ml_pipeline.drift import distances
from ml_pipeline.monitoring import served

PERIOD = "2026-08-03"


def test_a_stable_period_sends_zeros(world: Callable[..., World]) -> None:
    made = world()
    made.score({PERIOD: applicants(1500, 7)})
    wanted = ("AttributionDrift", "BiasDrift", "DataBroken", "DataDrift", "PredictionDrift")
    assert sent() == dict.fromkeys(wanted, 0.0)
    assert not boto3.client("cloudwatch").list_metrics(MetricName="FeaturePSI")["Metrics"]  # they cost money
    assert made.drift(PERIOD)["status"] == "quiet"


def test_a_period_has_its_own_statistics_beside_the_constraints_of_the_version(
    world: Callable[..., World],
) -> None:
    made, rows = world(), applicants(900, 7)
    made.score({PERIOD: rows})
    statistics, constraints = (
        storage.read_json(made.uri("score", PERIOD, "monitor", f"{name}.json"))
        for name in ("statistics", "constraints")
    )
    assert constraints == storage.read_json(made.package["baselines"]["constraints"])
    assert statistics["dataset"] == {"item_count": 900}
    names, held = ([each["name"] for each in document["features"]] for document in (statistics, constraints))
    assert names == held == ["income", "debt", "region"]
    means = {
        each["name"]: each["numerical_statistics"]["mean"]
        for each in statistics["features"]
        if "numerical_statistics" in each
    }
    assert means == pytest.approx(rows[["income", "debt"]].mean().to_dict())


def test_each_object_has_the_ids_and_outputs_of_its_rows(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(301, 8)
    made.score({PERIOD: rows})
    first, second = (made.table(PERIOD, f"part-{place}.csv") for place in (0, 1))
    assert list(first) == ["id", "predicted_label", "score"]
    assert [*first["id"], *second["id"]] == rows["id"].tolist()
    answered = storage.read_bytes(made.settings.uri(monitored.SCORED, "transform", PERIOD, "part-0.csv.out"))
    last = answered.decode().splitlines()[-1].split(",")
    assert [last[0], last[-2], float(last[-1])] == [*first.iloc[-1, :2], float(first.iloc[-1, 2])]


@pytest.mark.parametrize(
    ("problem", "columns"),
    [
        ("multiclass", ["id", "predicted_label", "score_low", "score_mid", "score_top"]),
        ("regression", ["id", "prediction"]),
    ],
)
def test_other_problems_are_scored_and_measured_alike(
    world: Callable[..., World], problem: str, columns: list[str]
) -> None:
    made, rows = world(problem), applicants(900, 9, problem)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    assert list(made.table(PERIOD, "part-0.csv")) == columns
    found = made.drift(PERIOD)
    assert [each["name"] for each in found["predictions"]] == columns[1:]
    assert found["status"] == "quiet" and found["quality"]["rows"] == 900
    names = {name for entry in found["bias"] for name in entry["metrics"]}
    assert {"DPPL", "DPL", "AD"} <= names


def test_drift_rings_for_what_has_moved_alone(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(1500, 7)
    made.score({PERIOD: rows.assign(debt=rows["debt"] * 2)})
    found, violations = (
        made.drift(PERIOD),
        storage.read_json(made.uri("score", PERIOD, "monitor", "constraint_violations.json")),
    )
    moved = {each["feature_name"] for each in violations["violations"] if "feature_name" in each}
    assert "debt" in moved and not {"income", "region"} & moved
    (told,) = [each for each in violations["violations"] if each.get("feature_name") == "debt"]
    assert told["constraint_check_type"] == "baseline_drift_check"
    distance, threshold = told["description"].partition("distance: ")[2].split(" exceeds threshold: ")
    assert float(distance) > float(threshold)
    assert sent()["DataDrift"] == 1.0 and sent()["DataBroken"] == 0.0
    assert found["status"] == "drift" and found["features"][0]["name"] == "debt"


def test_missing_and_new_values_are_their_own_checks(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(1500, 7)
    rows.loc[:300, "income"] = np.nan
    rows.loc[:300, "region"] = "moon"
    made.score({PERIOD: rows})
    found = {
        (each.get("feature_name"), each["constraint_check_type"]) for each in made.drift(PERIOD)["violations"]
    }
    assert {("income", "completeness_check"), ("region", "categorical_values_check")} <= found


def test_a_feature_whose_missing_values_alone_have_drifted_comes_before_those_that_have_not(
    world: Callable[..., World],
) -> None:
    made, rows = world(), applicants(1500, 7)
    rows["region"] = rows["region"].where(np.arange(1500) % 10 > 0)
    made.score({PERIOD: rows})
    first, *others = made.drift(PERIOD)["features"]
    assert first["name"] == "region" and not first["statistics"]["psi"]["violated"]
    assert first["attribution"] < max(each["attribution"] for each in others)
    assert not any(each["violated"] for each in others)


@pytest.mark.parametrize(
    ("column", "broken"), [("income", lambda values: values * 100), ("debt", lambda values: values * np.nan)]
)
def test_of_broken_data_only_that_is_sent(
    world: Callable[..., World], column: str, broken: Callable[[pd.Series], pd.Series]
) -> None:
    made, rows = world(), applicants(1500, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows.assign(**{column: broken(rows[column])})})
    assert sent() == {"DataBroken": 1.0}
    found = made.drift(PERIOD)
    assert found["status"] == "broken" and found["broken"][0]["feature_name"] == column
    assert found["features"] == [] and found["attribution"] is None and found["quality"] is None
    assert made.names("raw") == []
    assert len(made.table(PERIOD, "part-0.csv")) == 750


def test_a_period_that_was_not_scored_fails_the_step_after_the_others_are_published(
    world: Callable[..., World],
) -> None:
    made = world()
    violation = {
        "feature_name": "income",
        "constraint_check_type": "missing_column_check",
        "description": "score/2026-08-10/input/a.csv: no column income",
    }
    broken = {"state": "broken", "objects": ["a"], "rows": 4, "broken": [violation]}
    empty = {"state": "empty", "objects": [], "rows": 0, "broken": []}
    storage.write_bytes(made.uri("score", "2026-08-10", "monitor", "statistics.json"), b"of other rows")
    with pytest.raises(
        DataError, match=r"2026-08-10 was not scored: .* no column income; 2026-08-17 .* no row"
    ):
        made.score({PERIOD: applicants(900, 7), "2026-08-10": broken, "2026-08-17": empty})
    assert sent()["DataBroken"] == 1.0 and sent()["DataDrift"] == 0.0
    assert made.drift("2026-08-10")["violations"] == [violation] and made.drift("2026-08-10")["rows"] == 4
    names = ("_SUCCESS", "constraint_violations.json", "drift.json", "report.html")
    assert made.names("score/2026-08-10") == [f"score/2026-08-10/monitor/{name}" for name in names]
    assert [made.drift(p)["status"] for p in (PERIOD, "2026-08-10", "2026-08-17")] == [
        "quiet",
        "broken",
        "empty",
    ]
    assert f"score/{PERIOD}/output/_SUCCESS" in made.names("score")
    assert not [name for name in made.names("score/2026-08-10") if "output" in name]


@pytest.mark.parametrize("state", ["broken", "empty"])
def test_scores_of_an_earlier_delivery_lose_their_mark_when_the_new_one_cannot_be_scored(
    world: Callable[..., World], state: str
) -> None:
    made = world()
    made.score({PERIOD: applicants(300, 7)}, "cccccccccccc")
    scores = [name for name in made.names(f"score/{PERIOD}/output") if not name.endswith("_SUCCESS")]
    violation = {"feature_name": "id", "constraint_check_type": "data_type_check", "description": "twice"}
    entry = {"state": state, "objects": [], "rows": 0, "broken": [violation] if state == "broken" else []}
    for execution in ("dddddddddddd", "eeeeeeeeeeee"):
        with pytest.raises(DataError, match=f"{PERIOD} was not scored"):
            made.score({PERIOD: entry}, execution)
        assert made.names(f"score/{PERIOD}/output") == scores
        (note,) = made.drift(PERIOD)["notes"]
        assert f"score/{PERIOD}/output holds the scores of an earlier delivery" in note
        page = storage.read_bytes(made.uri("score", PERIOD, "monitor", "report.html")).decode()
        assert "the scores of an earlier delivery" in page
    made.score({PERIOD: applicants(300, 8)}, "ffffffffffff")
    assert f"score/{PERIOD}/output/_SUCCESS" in made.names("score") and made.drift(PERIOD)["notes"] == []


def test_too_few_rows_have_a_status_of_their_own(world: Callable[..., World]) -> None:
    made = world()
    summary = made.score({PERIOD: applicants(49, 7), "2026-08-10": applicants(50, 8)})["summary"]
    assert made.drift(PERIOD)["status"] == "too few" and f"{PERIOD}: 49 rows, too few;" in summary
    assert made.drift("2026-08-10")["status"] == "quiet"


def test_without_a_model_nothing_is_scored_and_nothing_is_broken(world: Callable[..., World]) -> None:
    made = World(world().settings, None)
    assert made.score({})["monitor_uris"] == []
    assert sent() == {"DataBroken": 0.0}


def test_a_period_scored_again_is_replaced_as_a_whole(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows.assign(debt=rows["debt"] * 3)}, "cccccccccccc")
    storage.write_bytes(made.uri("score", PERIOD, "output", "gone.csv"), b"")
    made.score({PERIOD: rows}, "dddddddddddd")
    assert made.names(f"score/{PERIOD}/output/") == [
        f"score/{PERIOD}/output/{name}" for name in ("_SUCCESS", "part-0.csv", "part-1.csv")
    ]
    found = made.drift(PERIOD)
    assert found["execution"] == "dddddddddddd" and found["status"] == "quiet"
    assert found["quality"]["rows"] == 900


def test_while_a_period_is_replaced_it_has_no_mark(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = world(), applicants(900, 7)
    made.score({PERIOD: rows})

    def fails(path: Path, uri: str) -> None:
        raise OSError("the network is gone")

    monkeypatch.setattr(storage, "upload", fails)
    with pytest.raises(OSError, match="network"):
        made.score({PERIOD: rows})
    assert f"score/{PERIOD}/output/_SUCCESS" not in made.names("score")
    assert f"score/{PERIOD}/monitor/_SUCCESS" not in made.names("score")


def test_rows_that_transform_has_lost_are_not_published(world: Callable[..., World]) -> None:
    made = world()
    entry = made.answered(PERIOD, applicants(300, 7), monitored.SCORED)
    with pytest.raises(ValueError, match="answered 300 of 301 rows"):
        monitored.monitor(
            made.package, [entry | {"rows": 301}], made.settings.uri(monitored.SCORED, "transform"),
            monitored.SCORED, made.settings,
        )  # fmt: skip
    assert made.names("score") == []


def test_a_page_that_cannot_be_drawn_loses_no_metric(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_pipeline.report import drift

    def fails(document: dict[str, Any]) -> str:
        raise ZeroDivisionError

    made = world()
    monkeypatch.setattr(drift, "page", fails)
    with pytest.raises(ZeroDivisionError):
        made.score({PERIOD: applicants(900, 7)})
    assert sent()["DataDrift"] == 0.0
    assert made.drift(PERIOD)["status"] == "quiet"


def test_the_history_is_that_of_the_periods_before(world: Callable[..., World]) -> None:
    made = world()
    for place, period in enumerate(("2026-07-20", "2026-08-10", "2026-07-27")):
        made.score({period: applicants(600, 20 + place)})
    made.score({PERIOD: applicants(600, 7)})
    history = made.drift(PERIOD)["history"]
    assert [each["period"] for each in history] == ["2026-07-20", "2026-07-27"]
    psi = made.drift("2026-07-20")["features"][0]
    ratio = psi["statistics"]["psi"]["value"] / psi["statistics"]["psi"]["threshold"]
    assert history[0]["features"][psi["name"]] == pytest.approx(ratio)
    assert history[0]["metrics"]["DataDrift"] == 0


def test_the_largest_psi_of_each_feature_is_sent_if_settings_want_it(world: Callable[..., World]) -> None:
    made, rows = world(monitor={"feature_metrics": True}), applicants(900, 7)
    made.score({PERIOD: rows.assign(debt=rows["debt"] * 2), "2026-08-10": applicants(900, 8)})
    client = boto3.client("cloudwatch")
    metrics = client.list_metrics(Namespace="MLPipeline", MetricName="FeaturePSI")["Metrics"]
    found = {
        each["Value"]: monitored.value_of(client, metric)
        for metric in metrics
        for each in metric["Dimensions"]
        if each["Name"] == "Feature"
    }
    psi = [
        {each["name"]: each["statistics"]["psi"]["value"] for each in made.drift(period)["features"]}
        for period in (PERIOD, "2026-08-10")
    ]
    assert psi[0]["debt"] > psi[1]["debt"]
    assert found == {name: max(one[name] for one in psi) for name in ("income", "debt", "region")}


def test_attribution_drift_is_that_of_the_ranking_on_the_period(world: Callable[..., World]) -> None:
    made, rows = world(monitor={"thresholds": {"ndcg": 0.999}}), applicants(1500, 7)
    made.score({PERIOD: rows})
    assert made.drift(PERIOD)["attribution"]["violated"] is False
    made.score({PERIOD: rows.assign(income=40 + (rows["income"] - 40) / 30)})
    found = made.drift(PERIOD)["attribution"]
    assert max(found["baseline"], key=found["baseline"].__getitem__) == "income"
    assert max(found["current"], key=found["current"].__getitem__) == "debt"
    assert found["ndcg"] == pytest.approx(distances.ndcg(found["baseline"], found["current"]))
    assert found["ndcg"] < 0.999 and found["violated"] and sent()["AttributionDrift"] == 1.0


def test_data_of_a_single_value_are_broken(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(1500, 7)
    made.score({PERIOD: rows.assign(income=rows["income"].median())})
    assert made.drift(PERIOD)["status"] == "broken"


def test_predictions_that_have_moved_ring_for_themselves(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(1500, 7)
    made.score({PERIOD: rows.assign(income=rows["income"] + 15)})
    names = {each["feature_name"] for each in made.drift(PERIOD)["violations"] if "feature_name" in each}
    assert names == {"income", "predicted_label", "score"} and sent()["PredictionDrift"] == 2.0


def test_a_document_is_the_same_in_small_blocks(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = world(), applicants(1500, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    before = made.drift(PERIOD)
    monkeypatch.setattr(served, "READ_BYTES", 1 << 10)
    monkeypatch.setattr(served, "BLOCK_ROWS", 64)
    made.score({PERIOD: rows})
    assert made.drift(PERIOD) == before


def test_fixed_thresholds_replace_the_calibrated_ones(world: Callable[..., World]) -> None:
    made = world(monitor={"thresholds": {"psi": 1e-9}})
    made.score({PERIOD: applicants(900, 7)})
    assert sent()["DataDrift"] == 3.0 and sent()["PredictionDrift"] == 2.0
