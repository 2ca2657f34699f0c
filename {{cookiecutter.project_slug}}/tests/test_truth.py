"""Labels that come for scored rows: with them, later, or in a form that cannot be joined."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import monitored
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from monitored import World, applicants, sent

from ml_pipeline import bias_metrics, model_quality, storage
from ml_pipeline.bias_metrics import Sample
from ml_pipeline.dialect import DataError
from ml_pipeline.metrics import Predictions, trivial_predictions
from ml_pipeline.monitoring import cloudwatch, groups
from ml_pipeline.monitoring.groups import Tally
from ml_pipeline.report import drift
from ml_pipeline.settings import Settings

PERIOD, NEXT = "2026-08-03", "2026-08-10"
MARK = f"score/{PERIOD}/monitor/quality/_SUCCESS"


def quality(made: World, period: str = PERIOD) -> dict[str, Any]:
    return storage.read_json(made.uri("score", period, "monitor", "quality", "model_quality_statistics.json"))


def test_quality_is_that_of_the_scored_rows_beside_their_labels(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    scores = pd.concat([made.table(PERIOD, f"part-{place}.csv") for place in (0, 1)])
    label, predicted = rows["approved"].to_numpy() == "yes", scores["predicted_label"].to_numpy() == "yes"
    found = Predictions(label * 1.0, scores["score"].astype(float).to_numpy(), predicted * 1)
    constant = trivial_predictions("binary", found.label, 2, found.label)
    assert quality(made) == model_quality.statistics("binary", found, constant, ("no", "yes"), 50, 7)
    assert sent()["QualityDrop"] == 0.0
    assert MARK in made.names("score")
    page = storage.read_bytes(made.uri("score", PERIOD, "monitor", "report.html")).decode()
    assert page == drift.page(made.drift(PERIOD))


def test_a_model_that_has_become_worse_is_told(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    rows["approved"] = np.where(np.arange(900) % 2, rows["approved"], "no")
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    found = made.drift(PERIOD)
    assert (
        sent()["QualityDrop"] == len([m for m in found["quality"]["metrics"].values() if m["violated"]]) > 0
    )
    assert sent()["DataDrift"] == 0.0 and found["status"] == "drift"
    assert {"metric_name": "precision", "constraint_check_type": "LessThanThreshold"}.items() <= next(
        each for each in found["violations"] if each.get("metric_name") == "precision"
    ).items()


def test_late_labels_are_counted_once_when_they_come(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    rows["approved"] = np.where(np.arange(900) % 2, rows["approved"], "no")
    made.score({PERIOD: rows}, "cccccccccccc")
    assert "QualityDrop" not in sent() and made.drift(PERIOD)["quality"] is None
    made.truth(PERIOD, rows)
    result = made.score({NEXT: applicants(900, 8)}, "dddddddddddd")
    found = made.drift(PERIOD)
    assert found["quality"]["rows"] == 900 and found["execution"] == "cccccccccccc"
    assert sent()["QualityDrop"] == found["metrics"]["QualityDrop"] > 0
    assert [uri.split("/")[4] for uri in result["drift_uris"]] == [PERIOD, NEXT]
    assert made.drift(NEXT)["quality"] is None
    again = made.score({}, "eeeeeeeeeeee")
    assert again["violations"] == {"DataBroken": 0} and again["drift_uris"] == []


def test_late_labels_are_held_against_the_version_that_scored_the_rows(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.score({PERIOD: rows}, "cccccccccccc")
    thresholds = storage.read_json(made.package["thresholds"]["evaluate"])
    thresholds["quality"]["metrics"]["auc"]["value"] = 0.5
    other = made.uri("given", "thresholds.json")
    storage.write_json(other, thresholds)
    newer = {"package_arn": f"{made.package['package_arn'].rpartition('/')[0]}/4", "version": 4}
    newer |= {"thresholds": made.package["thresholds"] | {"evaluate": other}}
    for period, each in ((PERIOD, rows), (NEXT, applicants(900, 8))):
        made.truth(period, each)
    replace(made, package=made.package | newer).score({NEXT: applicants(900, 8)}, "dddddddddddd")
    old, new = (made.drift(period) for period in (PERIOD, NEXT))
    assert (old["package_version"], new["package_version"]) == (3, 4)
    assert old["quality"]["metrics"]["auc"]["baseline"] > 0.8
    assert new["quality"]["metrics"]["auc"]["baseline"] == 0.5


def test_labels_whose_count_was_not_sent_are_counted_once_more_and_not_twice(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = world(), applicants(600, 7)
    rows["approved"] = np.where(rows["sex"] == "female", "no", "yes")
    made.score({PERIOD: rows}, "cccccccccccc")
    made.truth(PERIOD, rows)

    def fails(*given: object) -> None:
        raise OSError("the network is gone")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="network"):
        broken.setattr(cloudwatch, "send", fails)
        made.score({}, "dddddddddddd")
    first = made.drift(PERIOD)
    result = made.score({}, "eeeeeeeeeeee")
    assert made.drift(PERIOD) == first and first["metrics"]["QualityDrop"] > 0
    late = sum(metric["violated"] for metric in first["quality"]["metrics"].values())
    of_bias = [each for each in first["violations"] if each["constraint_check_type"] == "bias_drift_check"]
    needing = [each for each in of_bias if each["metric_name"] not in groups.WITHOUT_LABELS]
    assert len({(each["facet_value"], each["metric_name"]) for each in of_bias}) == len(of_bias)
    assert first["metrics"]["BiasDrift"] == len(of_bias) and len(needing) > 0
    wanted = {"DataBroken": 0, "QualityDrop": late, "BiasDrift": len(needing)}
    assert result["violations"] == wanted and late == first["metrics"]["QualityDrop"]


def test_labels_without_a_mark_are_not_complete(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    made.truth(PERIOD, rows)
    storage.delete(made.uri("truth", PERIOD, "_SUCCESS"))
    made.score({PERIOD: rows})
    assert made.drift(PERIOD)["quality"] is None and made.names("raw") == []


def test_labels_of_rows_that_were_not_scored_and_rows_without_a_label_are_told(
    world: Callable[..., World],
) -> None:
    made, rows = world(), applicants(600, 7)
    labelled = pd.concat([rows.iloc[:400], applicants(30, 99)])
    labelled.iloc[0, labelled.columns.get_loc("approved")] = "?"
    made.truth(PERIOD, labelled)
    summary = made.score({PERIOD: rows})["summary"]
    assert made.drift(PERIOD)["quality"] | {"metrics": 0} == {"rows": 399, "unmatched": 30, "metrics": 0}
    assert "399 joined, 30 belong to no scored row, 1 without a label" in summary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,approved\nx1,yes\nx2,no\n", "none of its 2 labels belongs to a scored row"),
        ("id,approved\n7-1,yes\n7-2,no\n7-1,no\n", "l.csv row 3: id '7-1' has a label already"),
    ],
)
def test_truth_that_cannot_be_joined_is_told_and_leaves_nothing(
    world: Callable[..., World], content: str, message: str
) -> None:
    made, rows = world(), applicants(600, 7)
    made.put_truth(PERIOD, "l.csv", content.encode())
    again = rf"\(each scoring run tries truth/{PERIOD} again"
    with pytest.raises(DataError, match=f"truth/{PERIOD} was not joined: .*{message}.*{again}"):
        made.score({PERIOD: rows})
    assert not [name for name in made.names("") if "quality/" in name or name.startswith("raw/")]
    assert made.drift(PERIOD)["quality"] is None and "QualityDrop" not in sent()
    assert sent()["DataDrift"] == 0.0 and f"score/{PERIOD}/monitor/report.html" in made.names("score")


def test_labels_of_another_period_that_cannot_be_joined_are_told_and_fail_nothing(
    world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    made, rows = world(), applicants(600, 7)
    made.score({PERIOD: rows}, "cccccccccccc")
    made.put_truth(PERIOD, "l.csv", b"id,approved\n7-1,perhaps\n")
    result = made.score({NEXT: applicants(600, 8)}, "dddddddddddd")
    told = f"truth/{PERIOD} was not joined: .*l.csv row 1, column approved: label must be one of no, yes"
    assert re.search(told, result["summary"]) and re.search(told, capsys.readouterr().out)
    (note,) = made.drift(PERIOD)["notes"]
    page = storage.read_bytes(made.uri("score", PERIOD, "monitor", "report.html")).decode()
    assert re.match(told, note) and f"truth/{PERIOD} was not joined" in page
    assert [uri.split("/")[4] for uri in result["drift_uris"]] == [NEXT] and made.drift(NEXT)["notes"] == []
    assert MARK not in made.names("score") and made.names("raw") == []
    made.truth(PERIOD, rows, "l.csv")
    made.score({}, "eeeeeeeeeeee")
    assert made.drift(PERIOD)["notes"] == [] and made.drift(PERIOD)["quality"]["rows"] == 600


def test_labels_that_are_asked_for_by_name_are_counted_alone_or_fail(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    asked = {"state": "labels", "objects": [], "rows": 0, "broken": []}
    made.score({PERIOD: rows}, "cccccccccccc")
    made.truth(PERIOD, rows)
    made.score({PERIOD: asked}, "dddddddddddd")
    again = made.score({PERIOD: asked}, "eeeeeeeeeeee")
    found = made.drift(PERIOD)
    assert [uri.split("/")[4] for uri in again["drift_uris"]] == [PERIOD]
    assert found["execution"] == "cccccccccccc" and found["quality"]["rows"] == 600
    made.put_truth(PERIOD, "labels.csv", b"id,approved\nx,yes\n")
    with pytest.raises(DataError, match=f"truth/{PERIOD} was not joined: none of its 1 labels"):
        made.score({PERIOD: asked}, "ffffffffffff")
    assert "none of its 1 labels" in made.drift(PERIOD)["notes"][0]
    assert made.drift(PERIOD) | {"notes": []} == found
    made.score({NEXT: rows.assign(income=rows["income"] * 100)}, "gggggggggggg")
    made.truth(NEXT, rows)
    with pytest.raises(DataError, match=f"labels of {NEXT} are not used, since its data are broken"):
        made.score({NEXT: asked}, "hhhhhhhhhhhh")


def test_labels_that_were_replaced_are_counted_anew(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    made.truth(PERIOD, rows[:300])
    made.score({PERIOD: rows}, "cccccccccccc")
    made.truth(PERIOD, rows)
    assert made.score({}, "dddddddddddd")["drift_uris"] != []
    assert made.drift(PERIOD)["quality"]["rows"] == 600
    assert made.training_rows(PERIOD) == 600
    assert made.score({}, "eeeeeeeeeeee")["drift_uris"] == []
    storage.write_bytes(made.uri(MARK), b"")  # of a version that did not tell the labels
    made.truth(PERIOD, rows[:200])
    assert made.score({}, "ffffffffffff")["drift_uris"] == []


def test_labels_of_scored_rows_that_are_gone_are_of_no_use(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(300, 7)
    made.score({PERIOD: rows}, "cccccccccccc")
    made.truth(PERIOD, rows)
    for uri, _ in storage.list_uris(made.settings.uri("cccccccccccc", "transform")):
        storage.delete(uri)
    assert f"labels of {PERIOD} are not used, since s3://" in made.score({}, "dddddddddddd")["summary"]


def test_an_id_that_was_scored_twice_has_no_label(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    rows.loc[500, "id"] = rows.loc[3, "id"]
    made.truth(PERIOD, rows.iloc[:400])
    with pytest.raises(DataError, match="more than one scored row has the id '7-3'"):
        made.score({PERIOD: rows})
    assert made.names("raw") == []


def test_without_an_id_labels_are_not_joined_and_that_is_said_once(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    unnamed = World(monitored.replaced(made.settings, ids=()), made.package | {"passed_columns": ["sex"]})
    for period in (PERIOD, NEXT):
        unnamed.truth(period, rows)
    summary = unnamed.score({PERIOD: rows, NEXT: rows})["summary"]
    assert summary.count("cannot be joined without an id") == 1
    assert list(unnamed.table(PERIOD, "part-0.csv")) == ["predicted_label", "score"]


def test_labels_of_broken_data_are_not_used(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(600, 7)
    made.score({PERIOD: rows.assign(income=rows["income"] * 100)}, "cccccccccccc")
    made.truth(PERIOD, rows)
    summary = made.score({}, "dddddddddddd")["summary"]
    assert f"labels of {PERIOD} are not used, since its data are broken" in summary
    assert made.names("raw") == [] and made.drift(PERIOD)["quality"] is None
    assert "are not used" not in made.score({}, "eeeeeeeeeeee")["summary"]
    made.score({PERIOD: rows}, "ffffffffffff")
    assert made.drift(PERIOD)["quality"]["rows"] == made.training_rows(PERIOD) == 600


def test_bias_without_labels_is_that_of_all_scored_rows(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.score({PERIOD: rows})
    scores = pd.concat([made.table(PERIOD, f"part-{place}.csv") for place in (0, 1)])
    predicted = scores["predicted_label"].to_numpy() == "yes"
    member = rows["sex"].to_numpy() == "female"
    values = {
        name: metric["value"]
        for entry in made.drift(PERIOD)["bias"]
        if entry["group"] == "female"
        for name, metric in entry["metrics"].items()
    }
    assert set(values) == {"CI", "DPPL", "CDDPL"}
    assert values["CI"] == pytest.approx(bias_metrics.ci(member))
    assert values["DPPL"] == pytest.approx(bias_metrics.dpl(predicted, member))
    assert values["CDDPL"] == pytest.approx(bias_metrics.cdd(predicted, member, rows["region"].to_numpy()))


def test_bias_of_labels_is_that_of_the_bias_step(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(900, 7)
    made.truth(PERIOD, rows.iloc[:700])
    made.score({PERIOD: rows})
    scores = pd.concat([made.table(PERIOD, f"part-{place}.csv") for place in (0, 1)])[:700]
    found = storage.read_json(made.uri("score", PERIOD, "monitor", "quality", "analysis.json"))
    sample = Sample(
        rows["approved"].to_numpy()[:700] == "yes",
        scores["predicted_label"].to_numpy() == "yes",
        rows["sex"].to_numpy()[:700] == "female",
        rows["region"].to_numpy()[:700],
        np.empty((700, 0)),
    )
    for stage, table in bias_metrics.STAGES.items():
        (female,) = [each for each in found[stage]["facets"]["sex"] if each["value_or_threshold"] == "female"]
        assert [each["name"] for each in female["metrics"]] == list(table)
        for each in female["metrics"]:
            if each["name"] != "FT":
                assert each["value"] == pytest.approx(table[each["name"]][1](sample)), each["name"]


def test_bounds_that_settings_fix_replace_the_calibrated_ones_of_quality_and_bias(
    world: Callable[..., World],
) -> None:
    bounds = {"auc": 0.999, "DPL": 0.01, "AD": 0.9, "DI": 0.01, "GE": 0.9}
    made, rows = world(monitor={"thresholds": bounds}), applicants(900, 12)
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    found = made.drift(PERIOD)
    quality = found["quality"]["metrics"]
    assert quality["auc"]["bound"] == 0.999 and quality["accuracy"]["bound"] < quality["accuracy"]["value"]
    women = [entry["metrics"] for entry in found["bias"] if entry["group"] == "female"]
    bias = {name: each for metrics in women for name, each in metrics.items()}
    assert [bias["DPL"][side] for side in ("low", "high")] == [-0.01, 0.01]
    assert 0.01 < bias["DPL"]["value"] < bias["DPL"]["baseline"]  # fairer than before, and not enough
    assert [bias["AD"][side] for side in ("low", "high")] == [-0.9, 0.9]
    assert [bias["DI"][side] for side in ("low", "high")] == [0.99, 1.01] and bias["DI"]["baseline"] > 0
    assert bias["DI"]["violated"] and bias["GE"]["high"] == 0.9 and not bias["GE"]["violated"]
    assert sent()["QualityDrop"] == 1.0 and sent()["BiasDrift"] == 4.0  # of men it is the opposite
    page = storage.read_bytes(made.uri("score", PERIOD, "monitor", "report.html")).decode()
    assert page == drift.page(found)


def test_bias_that_becomes_worse_rings_alone(world: Callable[..., World]) -> None:
    made, rows = world(), applicants(3000, 7)
    poor = rows["income"] < rows["income"].median()
    generator = np.random.default_rng(3)
    rows["sex"] = np.where(poor == (generator.random(3000) < 0.9), "female", "male")
    made.truth(PERIOD, rows)
    made.score({PERIOD: rows})
    found = sent()
    assert found["BiasDrift"] > 0
    assert found["DataDrift"] == found["PredictionDrift"] == found["AttributionDrift"] == 0.0
    of_bias = [each for each in made.drift(PERIOD)["violations"] if "facet" in each]
    assert len({(each["facet_value"], each["metric_name"]) for each in of_bias}) == len(of_bias)
    (told, *_) = made.drift(PERIOD)["violations"]
    assert told["constraint_check_type"] == "bias_drift_check" and told["facet"] == "sex"


def test_a_tally_of_blocks_is_that_of_the_whole() -> None:
    generator = np.random.default_rng(1)
    member, positive = generator.random(500) < 0.4, generator.random(500) < 0.6
    group = generator.integers(0, 3, 500)
    whole, parts = Tally(), Tally()
    whole.add(member, positive, (["a", "b", "c"], group))
    for start in range(0, 500, 70):
        rows = slice(start, start + 70)
        names, places = np.unique(group[rows], return_inverse=True)
        parts.add(member[rows], positive[rows], (["abc"[name] for name in names], places))
    assert whole.metrics(True) == parts.metrics(True)
    assert whole.metrics(True)["CDDPL"] == pytest.approx(bias_metrics.cdd(positive, member, group))
    assert whole.metrics(True)["DI"] == pytest.approx(bias_metrics.di(positive, member))
    assert whole.metrics(False)["CDDPL"] is None


@pytest.mark.parametrize(
    ("name", "above", "column", "members"),
    [
        ("(40.0, 69.0]", 40.0, pa.array(["40", "41.5", None, "x"]), [False, True, False, False]),
        ("(40.0, 69.0]", 40.0, pa.array([40.0, 41.5, None, 99.0]), [False, True, False, True]),
        ("35", None, pa.array([35.0, 36.0, None]), [True, False, False]),
        ("(missing)", None, pa.array(["a", None]), [False, True]),
    ],
)
def test_a_group_holds_whom_the_baseline_named(
    settings: Callable[..., Settings], name: str, above: float | None, column: pa.Array, members: list[bool]
) -> None:
    from ml_pipeline import cells

    analysis = {groups.POST: {"facets": {"age": [{"value_or_threshold": name}]}}}
    (group,) = groups.of_baseline(analysis, settings().data)
    assert group.above == above
    assert group.members(cells.values(pa.chunked_array([column]))).tolist() == members
