"""Parts of Monitor by themselves: columns that come in blocks, violations, and CloudWatch's limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import botocore.session
import numpy as np
import pyarrow as pa
import pytest
from botocore.validate import ParamValidator

from ml_pipeline import baseline, sampling, storage
from ml_pipeline.drift import judge
from ml_pipeline.drift.judge import Judged
from ml_pipeline.features import Category, FeatureSpec, Number, Target, Texts
from ml_pipeline.monitoring import (
    cloudwatch,
    document,
    groups,
    publishing,
    results,
    served,
    summaries,
    violations,
)
from ml_pipeline.monitoring.groups import Tally
from ml_pipeline.monitoring.served import Layout
from ml_pipeline.monitoring.summaries import NumberSummary, TextSummary
from ml_pipeline.settings import Settings
from ml_pipeline.sketch import SIZE, Sketch

SPEC = FeatureSpec(
    ("id",),
    (Number("score", 0.0, 0.0, 1.0), Category("region", ("north", "south"))),
    Target("approved", "binary", ("no", "yes"), "yes"),
    ("", "?"),
)


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    values = generator.gamma(2.0, 3.0, rows).round(3)
    values[generator.random(rows) < 0.1] = np.nan
    return values


def texts(words: list[str | None], places: np.ndarray) -> Texts:
    return Texts(np.array(words, object), places)


def test_few_numbers_in_blocks_have_the_statistics_of_the_baseline() -> None:
    values, summary = numbers(SIZE), NumberSummary()
    for part in np.array_split(values, 7):
        summary.add(part)
    found = summary.feature("x")
    (wanted,) = baseline.measure({"x": values}, _spec_of("x")).statistics["features"]
    distributions = [each["numerical_statistics"].pop("distribution")["kll"] for each in (found, wanted)]
    assert distributions[0] == distributions[1]
    moments = [each.pop("numerical_statistics") for each in (found, wanted)]
    assert moments[0].pop("common") == moments[1].pop("common")
    assert moments[0] == pytest.approx(moments[1]) and found == wanted


def test_texts_in_blocks_have_the_statistics_of_the_baseline() -> None:
    words, places = ["b", "a", None], np.random.default_rng(0).integers(0, 3, 500)
    summary = TextSummary(())
    for part in np.array_split(places, 7):
        summary.add(texts(words, part))
    spec = FeatureSpec((), (Category("x", ("a", "b")),), SPEC.target, ())
    wanted = baseline.measure({"x": texts(words, places)}, spec).statistics["features"][0]
    assert summary.feature("x") == wanted


@pytest.mark.parametrize("rows", [SIZE + 1, 100_000, 1_000_000])
def test_a_sketch_is_right_about_every_rank_and_small(rows: int) -> None:
    values, sketch = np.random.default_rng(1).permutation(rows).astype(float), Sketch()
    for part in np.array_split(values, max(rows // served.BLOCK_ROWS, 1)):
        sketch.add(part)
    found, weights = sketch.ranked()
    assert weights.sum() == rows
    below = np.cumsum(weights) - weights / 2
    assert np.abs(below - found).max() < 0.0012 * rows  # a value is its own rank
    assert len(found) < 20 * SIZE


def test_memory_does_not_grow_with_distinct_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MAX_WORDS", 5)
    summary = TextSummary(["known"])
    summary.add(texts([*(f"w{place}" for place in range(50)), "known", None], np.arange(52)))
    found = summary.feature("x")["string_statistics"]
    assert found["common"] == {"num_present": 51, "num_missing": 1}
    assert {"value": "known", "count": 1} in found["distribution"]["categorical"]["buckets"]
    assert found["distinct_count"] == 5


def test_a_column_without_a_value_is_of_unknown_type() -> None:
    summary = NumberSummary()
    summary.add(np.full(4, np.nan))
    assert summary.feature("x") == {
        "name": "x",
        "inferred_type": "Unknown",
        "numerical_statistics": {"common": {"num_present": 0, "num_missing": 4}},
    }


def test_blocks_are_the_same_however_the_rows_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "BLOCK_ROWS", 100)
    batch = pa.record_batch({"x": np.arange(250)})
    cut = [[batch], [batch.slice(start, 7) for start in range(0, 250, 7)]]
    whole, parts = ([block["x"].to_pylist() for block in served.whole_blocks(each)] for each in cut)
    assert whole == parts == [[*range(100)], [*range(100, 200)], [*range(200, 250)]]


def test_rows_are_drawn_alike_however_they_arrive() -> None:
    batch = pa.record_batch({"x": np.arange(1000)})
    drawn = []
    for size in (1000, 13):
        reservoir = sampling.Reservoir(20, (7, 1))
        for start in range(0, 1000, size):
            reservoir.add(batch.slice(start, size))
        drawn.append(reservoir.rows()["x"].to_pylist())
    assert drawn[0] == drawn[1] and len(drawn[0]) == 20


def test_a_cell_with_a_line_break_is_whole_wherever_the_bytes_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = b"".join(b'"a\n%d",1.5,north,yes,0.75\n' % place for place in range(20))
    monkeypatch.setattr(served.storage, "stream", lambda uri: pa.BufferReader(content))
    for size in range(30, 90):
        monkeypatch.setattr(served, "READ_BYTES", size)
        (block,) = served.blocks("s3://b/x.out", Layout(("id",), SPEC))
        assert block[served.key("passed", "id")].to_pylist() == [f"a\n{place}" for place in range(20)]


def test_answered_objects_are_those_of_batch_transform(bucket: str) -> None:
    place = f"s3://{bucket}/transform/2026-08-03"
    for name in (
        "2026-08-03/b.csv.out",
        "2026-08-03/deep/a.csv.out",
        "2026-08-03/notes.txt",
        "2026-08-031/c.out",
    ):
        storage.write_bytes(f"s3://{bucket}/transform/{name}", b"")
    assert served.objects(place) == [f"{place}/b.csv.out", f"{place}/deep/a.csv.out"]
    with pytest.raises(ValueError, match="2026-08-10: batch transform left no answered object there"):
        served.objects(f"s3://{bucket}/transform/2026-08-10")


def test_a_folder_loses_its_mark_before_anything_else(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, deleted, delete = f"s3://{bucket}/score", [], storage.delete
    for name in ("A.csv", "_SUCCESS", "z.csv"):
        storage.write_bytes(f"{place}/{name}", b"")
    storage.write_bytes(f"s3://{bucket}/scored", b"")
    monkeypatch.setattr(storage, "delete", lambda uri: deleted.append(uri) or delete(uri))
    publishing.clear(place)
    assert deleted == [f"{place}/_SUCCESS", f"{place}/A.csv", f"{place}/z.csv"]
    assert storage.list_uris(f"s3://{bucket}/") == [(f"s3://{bucket}/scored", 0)]


def test_the_history_reaches_back_12_periods_and_never_to_the_period_itself(
    bucket: str, settings: Callable[..., Settings]
) -> None:
    names = [f"2026-06-{day:02}" for day in range(1, 16)]
    for name in names:
        results.write(document.empty(name, "e1", None), settings())
    storage.write_bytes(f"s3://{bucket}/score/2026-06-20/input/a.csv", b"")  # was never monitored
    assert [each["period"] for each in results.earlier("2026-06-14", settings())] == names[1:13]
    assert [each["period"] for each in results.earlier("2026-06-21", settings())] == names[3:]


def test_a_feature_may_have_the_name_of_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pa.BufferReader(b'a,1.5,north,yes,0.75\n"b, c",,,no,0.25\n')
    monkeypatch.setattr(served.storage, "stream", lambda uri: content)
    (block,) = served.blocks("s3://b/x.out", Layout(("id",), SPEC))
    assert block[served.key("passed", "id")].to_pylist() == ["a", "b, c"]
    assert block[served.key("feature", "score")].to_pylist() == [1.5, None]
    assert block[served.key("feature", "region")].to_pylist() == ["north", None]
    assert block[served.key("output", "score")].to_pylist() == [0.75, 0.25]


@pytest.mark.parametrize("content", [b"a,1.5,north,yes\n", b"a,x,north,yes,0.5\n", b"a,1,north,yes,0.5\nb\n"])
def test_rows_that_are_not_of_the_model_are_refused(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(served.storage, "stream", lambda uri: pa.BufferReader(content))
    with pytest.raises(ValueError, match=r"s3://b/x.out: not rows of 5 columns"):
        list(served.blocks("s3://b/x.out", Layout(("id",), SPEC)))


def test_requests_keep_to_what_cloudwatch_takes(settings: Callable[..., Settings]) -> None:
    psi = {f"feature {place} é": place / 7 for place in range(2500)} | {"lost": np.nan, "far": np.inf}
    roll_ups = {"DataDrift": 2, "DataBroken": 0, "BiasDrift": np.inf}
    found = cloudwatch.requests(roll_ups, psi, settings())
    operation = (
        botocore.session.get_session().get_service_model("cloudwatch").operation_model("PutMetricData")
    )
    for request in found:
        assert not ParamValidator().validate(request, operation.input_shape).has_errors()
        assert len(request["MetricData"]) <= 1000
    sent = [datum for request in found for datum in request["MetricData"]]
    assert len(sent) == 2502 and all(np.isfinite(datum["Value"]) for datum in sent)
    own = [{"Name": "Project", "Value": "loans"}, {"Name": "Environment", "Value": "local"}]
    assert sent[0] == {"MetricName": "DataDrift", "Dimensions": own, "Value": 2.0, "Unit": "Count"}
    features = {datum["Dimensions"][2]["Value"] for datum in sent[2:]}
    assert len(features) == 2500 and all(name.isascii() for name in features)


def test_a_private_copy_does_not_ring_for_its_environment(settings: Callable[..., Settings]) -> None:
    copy = dataclasses.replace(settings(), env="dev", suffix="ana")
    (request,) = cloudwatch.requests({"DataDrift": 1}, {}, copy)
    assert {"Name": "Environment", "Value": "dev-ana"} in request["MetricData"][0]["Dimensions"]


@pytest.mark.parametrize(
    ("name", "value"), [("x", "x"), ("größe", "gr\\xf6\\xdfe"), (":x", "_x"), ("x" * 300, "x" * 255)]
)
def test_a_name_becomes_what_a_dimension_may_be(name: str, value: str) -> None:
    assert cloudwatch.dimension(name) == value


def judged(**statistics: tuple[float, float, bool]) -> Judged:
    found = {
        name: {"value": value, "threshold": threshold, "violated": violated}
        for name, (value, threshold, violated) in statistics.items()
    }
    return Judged("income", "number", found, True, [], [], [])


def test_a_column_has_one_violation_a_check_with_the_statistic_that_exceeds_the_most() -> None:
    distances = {"psi": (0.4, 0.1, True), "ks": (0.2, 0.1, True)}
    column = judged(**distances, missing=(0.3, 0.1, True), unknown=(9, 8, False))
    assert violations.of_columns([column]) == [
        {
            "feature_name": "income",
            "constraint_check_type": "baseline_drift_check",
            "description": "Population stability index distance: 0.4 exceeds threshold: 0.1",
        },
        {
            "feature_name": "income",
            "constraint_check_type": "completeness_check",
            "description": "Share of missing values distance: 0.3 exceeds threshold: 0.1",
        },
    ]


def test_of_two_statistics_one_without_a_tolerance_is_exceeded_the_most() -> None:
    (found,) = violations.of_columns([judged(psi=(0.4, 0.1, True), ks=(0.1, 0.0, True))])
    assert found["description"] == "Kolmogorov-Smirnov distance: 0.1 exceeds threshold: 0"


def test_what_needs_labels_is_told_apart() -> None:
    metric: dict[str, Any] = {"value": 0.4, "baseline": 0.1, "low": 0.0, "high": 0.2, "violated": True}
    entry = {"facet": "sex", "group": "f", "stage": "", "metrics": {"DPPL": metric, "AD": metric}}
    found = [
        *violations.of_bias([entry]),
        *violations.of_quality({"auc": metric | {"bound": 0.5}, "rmse": metric | {"bound": 0.3}}),
        *violations.of_columns([judged(psi=(0.4, 0.1, True))]),
        *violations.of_attribution({"violated": True, "ndcg": 0.7, "threshold": 0.9}, "label0"),
    ]
    assert [each["constraint_check_type"] for each in found] == [
        "bias_drift_check",
        "bias_drift_check",
        "LessThanThreshold",
        "GreaterThanThreshold",
        "baseline_drift_check",
        "feature_attribution_drift_check",
    ]
    assert [violations.needs_labels(each) for each in found] == [False, True, True, True, False, False]
    assert found[5]["description"].startswith("Feature attribution drift 0.7000 exceeds threshold 0.9000")
    counted = {"violations": found[1:]}
    assert [document.of_labels(counted, name) for name in ("QualityDrop", "BiasDrift")] == [2, 1]


@pytest.mark.parametrize(
    ("name", "baseline", "value", "rings"),
    [("DPPL", 0.1, 0.3, True), ("DPPL", -0.1, 0.0, False), ("DI", 0.8, 0.5, True), ("DI", 0.5, 0.9, False)],
)
def test_to_become_fairer_is_no_drift(name: str, baseline: float, value: float, rings: bool) -> None:
    judged = {"value": value, "baseline": baseline, "low": 0.0, "high": 0.0, "violated": True}
    assert document._if_further(name, judged)["violated"] is rings
    assert document._if_further(name, judged | {"violated": False})["violated"] is False


def test_labels_without_a_violation_leave_a_period_that_has_drifted_so() -> None:
    drifted = document.empty("2026-08-03", "e1", None) | {"rows": 900, "violations": [{"description": "x"}]}
    drifted |= {"metrics": {"DataDrift": 1, "BiasDrift": 1}}
    found = document._with_violations(drifted, {"QualityDrop": [], "BiasDrift": []})
    assert found["status"] == "drift" and found["violations"] == drifted["violations"]
    found = document._with_violations(found, {"BiasDrift": [{"description": "y"}]})
    assert found["metrics"] == {"DataDrift": 1, "BiasDrift": 2, "QualityDrop": 0}


@pytest.mark.parametrize(
    ("value", "threshold", "violated", "ratio"),
    [
        (0.4, 0.1, True, 4.0),
        (0.4, 0.1, False, 1.0),
        (0.05, 0.1, False, 0.5),
        (0.4, 0.0, True, 1.4),
        (0.0, 0.0, False, 0.0),
        (0.4, None, False, None),
    ],
)
def test_a_ratio_above_1_means_drift(
    value: float, threshold: float | None, violated: bool, ratio: float | None
) -> None:
    psi = {"value": value, "threshold": threshold, "violated": violated}
    assert judge.ratio({"statistics": {"psi": psi}, "violated": violated}) == ratio


def test_a_group_without_a_row_has_no_metric() -> None:
    tally = Tally()
    tally.add(np.ones(3, bool), np.array([True, False, True]), ([""], np.zeros(3, int)))
    assert tally.metrics(False) == dict.fromkeys(groups.WITHOUT_LABELS)


def test_a_group_of_several_values_is_known_by_all_of_them(settings: Callable[..., Settings]) -> None:
    data = settings(data={"facets": ("age",), "facet_values": {"age": ("x", 2.0)}}).data
    (group,) = groups.of_baseline({groups.POST: {"facets": {"age": [{"value_or_threshold": "x,2"}]}}}, data)
    assert group.members(texts(["x", "2", "x,2", None], np.arange(4))).tolist() == [True, True, False, False]


def _spec_of(name: str) -> FeatureSpec:
    return FeatureSpec((), (Number(name, 0.0, 0.0, 1.0),), SPEC.target, ())
