"""Bias metrics against AWS's own library, and the Bias step with both engines."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from typing import Any

import botocore.client
import numpy as np
import pandas as pd
import pytest
from botocore.exceptions import ClientError

from ml_pipeline import bias_metrics, clarify, facets, metrics, names, storage
from ml_pipeline.bias_metrics import POST_TRAINING, PRE_TRAINING, STAGES
from ml_pipeline.facets import Facet, Outcomes, Table
from ml_pipeline.settings import Settings
from ml_pipeline.steps import bias as bias_step
from ml_pipeline.steps.bias import bias

EXECUTION = "abcdefghijkl"
METRICS = {
    "problem": "binary",
    "primary": "auc",
    "champion": None,
    "test": {"auc": {"value": 0.8, "trivial": 0.5}},
}


def frames(rows: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Raw and encoded test rows and predictions, biased against women and the young."""
    generator = np.random.default_rng(seed)
    sex = generator.choice(["female", "male"], rows, p=[0.35, 0.65]).astype(object)
    sex[generator.random(rows) < 0.05] = None
    age = generator.integers(18, 70, rows).astype(float)
    region = generator.choice(["north", "south", "west"], rows)
    income = generator.normal(2, 1, rows) + (sex == "male")
    truth = income + generator.normal(0, 1, rows) + age / 50
    guess = income + generator.normal(0, 0.5, rows) + age / 50
    grade = generator.choice(["1", "2"], rows)  # looks like a number: a trap for who guesses types
    raw = pd.DataFrame({"sex": sex, "age": age, "region": region, "income": income, "grade": grade})
    places = {"north": 0.0, "south": 1.0, "west": 2.0}
    encoded = pd.DataFrame(
        {
            "income": income.astype("f4"),
            "region": pd.Series(region).map(places),
            "age": (age - 40).astype("f4") / 7,
        }
    )
    texts = [np.where(values > 3.2, "yes", "no") for values in (truth, guess)]
    predictions = pd.DataFrame({"label": texts[0], "predicted_label": texts[1], "score": guess})
    return raw, encoded, predictions


def put(
    raw: pd.DataFrame, encoded: pd.DataFrame, predictions: pd.DataFrame, settings: Settings
) -> tuple[str, ...]:
    """Writes what Bias reads; its first arguments."""
    places = [settings.uri(EXECUTION, *parts) for parts in (("process", "splits"), ("process", "encoded"))]
    storage.write_bytes(f"{places[0]}/test.parquet", raw.to_parquet(index=False))
    storage.write_bytes(f"{places[1]}/test.parquet", encoded.assign(label=0.0).to_parquet(index=False))
    predictions_uri = settings.uri(EXECUTION, "evaluate", "predictions.csv")
    storage.write_bytes(predictions_uri, predictions.to_csv(index=False).encode())
    metrics_uri = settings.uri(EXECUTION, "evaluate", "metrics.json")
    storage.write_json(metrics_uri, METRICS)
    return (*places, predictions_uri, metrics_uri)


def reference(dataset: bytes, config: dict[str, Any]) -> dict[str, Any]:
    """analysis.json of AWS's smclarify for what a Clarify job gets; its text columns as categories."""
    from smclarify.bias import report

    frame = pd.read_csv(io.BytesIO(dataset), header=None, names=config["headers"])
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame.astype(dict.fromkeys(texts, "category"))
    positive, (facet,) = config["label_values_or_threshold"], config["facet"]
    label = report.LabelColumn(config["label"], frame[config["label"]], positive)
    predicted = report.LabelColumn(config["predicted_label"], frame[config["predicted_label"]], positive)
    column = report.FacetColumn(facet["name_or_index"], facet.get("value_or_threshold"))
    group = frame[config["group_variable"]] if "group_variable" in config else None
    frame_without = {stage: config["methods"][stage.removesuffix("_metrics")]["methods"] for stage in STAGES}
    document: dict[str, Any] = {"version": "1.0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for stage, kind in zip(STAGES, report.StageType, strict=True):
            chosen = [frame_without[stage]] if frame_without[stage] == "all" else frame_without[stage]
            found = report.bias_report(frame, column, label, kind, predicted, chosen, group)
            document[stage] = {"label": config["label"], "facets": {column.name: found}}
    return document


def values(groups: bias_metrics.Groups) -> dict[tuple[str, str], float | str | None]:
    return {
        (group["value_or_threshold"], entry["name"]): entry["value"]
        for stage in STAGES
        for group in groups[stage]
        for entry in group["metrics"]
    }


def assert_same_numbers(mine: bias_metrics.Groups, theirs: bias_metrics.Groups) -> None:
    mine_values, their_values = values(mine), values(theirs)
    assert mine_values.keys() == their_values.keys()
    for key, value in their_values.items():
        assert mine_values[key] == (
            pytest.approx(value, abs=1e-9) if isinstance(value, float | int) else value
        ), key


def descriptions(groups: bias_metrics.Groups) -> list[tuple[str, str]]:
    return [(e["name"], e["description"]) for s in STAGES for g in groups[s] for e in g["metrics"]]


DATA = [
    {"facets": ("sex",), "group": "region"},
    {"facets": ("sex",), "facet_values": {"sex": ("female",)}},
    {"facets": ("sex",), "facet_values": {"sex": ("female", "male")}, "group": "region"},
    {"facets": ("age",), "facet_values": {"age": (40,)}, "group": "region"},
    {"facets": ("region",), "group": "sex"},
    {"facets": ("grade",), "facet_values": {"grade": ("1",)}, "group": "grade"},
]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("rows", [24, 900])
def test_all_21_metrics_equal_those_of_smclarify(
    data: dict[str, Any], rows: int, settings: Callable[..., Settings]
) -> None:
    raw, encoded, predictions = frames(rows)
    chosen = settings(data=data)
    outcomes = facets.outcomes(predictions, chosen.data, "median")
    (table,) = bias_step.tables_of(raw, encoded, outcomes, chosen)
    mine = bias_step.in_step(table, rows, 0)
    config = clarify.analysis_config(table, "approved", with_ft=True)
    theirs = clarify.read(reference(clarify.dataset(table, "approved"), config), table)
    assert_same_numbers(mine, theirs)
    assert descriptions(mine) == descriptions(theirs)
    assert len(mine["pre_training_bias_metrics"][0]["metrics"]) == 8
    assert len(mine["post_training_bias_metrics"][0]["metrics"]) == 13


@pytest.mark.parametrize("seed", range(6))
def test_rare_outcomes_are_infinite_or_null_where_smclarify_has_them_so(seed: int) -> None:
    generator = np.random.default_rng(seed)
    facet = generator.random(14) < 0.4
    facet[:2] = True, False
    label, predicted = generator.random(14) < 0.2, generator.random(14) < 0.2
    predicted[3] = True
    label[4] = True
    columns = pd.DataFrame({"x": generator.normal(size=14), "g": generator.integers(0, 3, 14).astype(float)})
    words = np.where(facet, "d", "a").astype(object)
    table = Table(Outcomes(label, predicted, "1"), Facet("f", words, (("d",),)), "g", columns.round(9))
    config = clarify.analysis_config(table, "y", with_ft=True)
    theirs = clarify.read(reference(clarify.dataset(table, "y"), config), table)
    assert_same_numbers(bias_step.in_step(table, 14, 0), theirs)


def test_flip_test_has_the_containers_sign() -> None:
    """Neighbours in group a are refused what the one row of d gets: it would lose its positive prediction."""
    features = np.zeros((12, 1))
    facet = np.arange(12) == 0
    assert bias_metrics.ft(features, facet, facet) == 1.0
    assert bias_metrics.ft(features, ~facet, facet) == -1.0


def test_flip_test_looks_at_the_seeded_rows_alone() -> None:
    raw, encoded, predictions = frames(300)
    outcomes = Outcomes(*((predictions[n] == "yes").to_numpy() for n in ("label", "predicted_label")), "yes")
    table = Table(outcomes, Facet("sex", raw["sex"].to_numpy(), (("female",),)), "", encoded.astype(float))
    places = metrics.drawn_rows(300, 50, seed=3)
    assert len(places) == 50 and (np.diff(places) > 0).all()
    part = bias_metrics.rows_of(table.sample(("female",)), places)
    found = values(bias_step.in_step(table, 50, 3))
    assert found["female", "FT"] == bias_metrics.ft(part.features, part.predicted, part.facet)
    assert found["female", "DPPL"] == bias_metrics.dpl(outcomes.predicted, table.sample(("female",)).facet)


@pytest.mark.parametrize(("metric", "reason"), [("CDDL", "Group variable"), ("CI", "set is empty")])
def test_a_metric_that_cannot_be_computed_is_null_with_its_reason(metric: str, reason: str) -> None:
    nobody = np.zeros(20, bool)
    half = np.arange(20) < 10
    sample = bias_metrics.Sample(half, half, nobody if metric == "CI" else half, None, np.zeros((20, 1)))
    entry = bias_metrics.entry(metric, PRE_TRAINING[metric], sample)
    assert entry["value"] is None
    assert reason in entry["error"]


def test_regression_thresholds_the_label_at_its_median_unless_told(settings: Callable[..., Settings]) -> None:
    data = settings(data={"problem": "regression"}).data
    predictions = pd.DataFrame({"label": ["1", "2", "9"], "prediction": ["2.5", "2", "1"]})
    at_median = facets.outcomes(predictions, data, "median")
    assert at_median.label.tolist() == [False, False, True]
    assert at_median.predicted.tolist() == [True, False, False]
    assert at_median.positive == "(2.0, 9.0]"
    assert facets.outcomes(predictions, data, 1.5).label.tolist() == [False, True, True]


def test_a_row_at_the_threshold_is_not_above_it(settings: Callable[..., Settings]) -> None:
    data = settings(data={"facet_values": {"age": (40,)}}).data
    found = facets.facet(pd.Series([39.0, 40.0, 41.0, np.nan], name="age"), data)
    assert found.disadvantaged == (("(40.0, 41.0]",),)
    assert np.isin(found.values, found.disadvantaged[0]).tolist() == [False, False, True, False]


def test_numbers_have_digits_that_every_csv_reader_keeps(settings: Callable[..., Settings]) -> None:
    """One that rounded them would find other neighbours than the in_step engine does."""
    chosen = settings(data={"facets": ("sex",)})
    raw, encoded, predictions = frames(900)
    outcomes = facets.outcomes(predictions, chosen.data, "median")
    (table,) = bias_step.tables_of(raw, encoded, outcomes, chosen)
    for value in table.columns["income"]:
        assert float(f"{value:.15g}") == value


def test_multiclass_counts_the_named_class_as_positive(settings: Callable[..., Settings]) -> None:
    data = settings(data={"problem": "multiclass", "positive": "b"}).data
    predictions = pd.DataFrame({"label": ["a", "b", "c"], "predicted_label": ["b", "b", "a"]})
    found = facets.outcomes(predictions, data, "median")
    assert found.label.tolist() == [False, True, False]
    assert found.predicted.tolist() == [True, True, False]


def test_a_label_is_positive_however_settings_write_it(settings: Callable[..., Settings]) -> None:
    data = settings(data={"positive": " very  high "}).data
    predictions = pd.DataFrame({"label": ["very high", "low"], "predicted_label": ["low", "very high"]})
    found = facets.outcomes(predictions, data, "median")
    assert (found.label.tolist(), found.predicted.tolist()) == ([True, False], [False, True])


@pytest.mark.parametrize(
    ("column", "wanted", "values", "groups"),
    [
        (["a  b", " a b", None], (" a  b",), ["a b", "a b", "(missing)"], (("a b",),)),
        ([35.0, 40.5, np.nan], (35, 40.5), ["35", "40.5", "(missing)"], (("35", "40.5"),)),
        ([39.0, np.nan, 41.0], (40,), ["[39.0, 40.0]", "(missing)", "(40.0, 41.0]"], (("(40.0, 41.0]",),)),
        (["1", "2", "3"], ("1",), ["1", "2", "3"], (("1",),)),
    ],
)
def test_values_of_a_facet_are_those_of_its_column_however_they_are_written(
    settings: Callable[..., Settings], column: list[Any], wanted: Any, values: list[str], groups: Any
) -> None:
    found = facets.facet(pd.Series(column, name="f"), settings(data={"facet_values": {"f": wanted}}).data)
    assert found.values.tolist() == values and found.disadvantaged == groups


@pytest.mark.parametrize(
    "column", [np.arange(20.0), np.array([f"branch {number:02}" for number in range(50)])]
)
def test_each_of_a_few_numbers_or_of_many_texts_is_a_group(
    settings: Callable[..., Settings], column: np.ndarray
) -> None:
    found = facets.facet(pd.Series(column, name="f"), settings().data)
    assert len(found.disadvantaged) == len(column)


def test_a_row_without_a_facet_value_is_a_group_of_its_own(settings: Callable[..., Settings]) -> None:
    found = facets.facet(pd.Series(["m", None, "f"], name="sex"), settings().data)
    assert found.disadvantaged == (("(missing)",), ("f",), ("m",))


def test_a_numeric_facet_of_many_values_asks_for_a_threshold(settings: Callable[..., Settings]) -> None:
    with pytest.raises(ValueError, match=r"facet_values = \{ age = \[40\] \} \(settings.toml, \[data\]\)"):
        facets.facet(pd.Series(np.arange(21.0), name="age"), settings().data)


def test_the_step_writes_clarifys_schema_and_a_verdict(
    bucket: str, settings: Callable[..., Settings]
) -> None:
    chosen = settings(
        data={
            "facets": ("sex", "age"),
            "facet_values": {"sex": ("female",), "age": (40,)},
            "group": "region",
        },
        gate={"bias": {"DPPL": (-0.1, 0.1)}},
    )
    result = bias(*put(*frames(900), chosen), EXECUTION, chosen)
    analysis = storage.read_json(result["analysis_uri"])
    post = analysis["post_training_bias_metrics"]
    assert (post["label"], post["label_value_or_threshold"]) == ("approved", "yes")
    assert [g["value_or_threshold"] for g in post["facets"]["sex"]] == ["female"]
    assert [g["value_or_threshold"] for g in post["facets"]["age"]] == ["(40.0, 69.0]"]
    (dppl,) = (e for e in post["facets"]["sex"][0]["metrics"] if e["name"] == "DPPL")
    assert dppl["value"] > 0.1
    verdict = storage.read_json(result["verdict_uri"])
    assert result["passed"] is verdict["passed"] is False
    assert ("DPPL", dppl["value"], 0.1) in {(m["metric"], m["value"], m["bound"]) for m in verdict["missed"]}


def test_the_thresholds_have_the_values_of_the_analysis_and_a_bootstraps_deviations(
    bucket: str, settings: Callable[..., Settings]
) -> None:
    chosen = settings(data={"facets": ("sex", "region"), "group": "region"})
    analysis = storage.read_json(bias(*put(*frames(900), chosen), EXECUTION, chosen)["analysis_uri"])
    document = storage.read_json(chosen.uri(EXECUTION, "bias", "thresholds.json"))
    assert document["rows"] == 900 and document["alpha"] == chosen.monitor.false_alarm_rate / 8
    groups = [(each["facet"], each["group"]) for each in document["facets"]]
    assert groups == [("sex", facets.MISSING), ("sex", "female"), ("sex", "male")] + [
        ("region", name) for name in ("north", "south", "west")
    ]
    female = document["facets"][1]["metrics"]
    told = {
        each["name"]: each["value"]
        for stage in STAGES
        for each in analysis[stage]["facets"]["sex"][1]["metrics"]
    }
    assert list(female) == list(names.BIAS_DRIFT)
    assert {name: metric["value"] for name, metric in female.items()} == {name: told[name] for name in female}
    raw, _, predictions = frames(900)
    women, positive = (raw.sex == "female").to_numpy(), (predictions.predicted_label == "yes").to_numpy()
    shares = [positive[side].mean() for side in (women, ~women)]
    by_hand = sum(p * (1 - p) / side.mean() for p, side in zip(shares, (women, ~women), strict=True)) ** 0.5
    assert female["DPPL"]["deviation"] == pytest.approx(by_hand, rel=0.25)  # 100 resamples


@pytest.mark.parametrize("ft_rows", [200, 10_000])
def test_both_engines_give_the_same_analysis(
    bucket: str, settings: Callable[..., Settings], ft_rows: int
) -> None:
    data = {"facets": ("sex", "age"), "facet_values": {"age": (40,)}, "group": "region"}
    here, there = (
        settings(data=data, bias={"engine": e, "ft_rows": ft_rows}) for e in ("in_step", "clarify")
    )
    inputs = frames(900)
    arguments = put(*inputs, here)
    expected = storage.read_json(bias(*arguments, EXECUTION, here)["analysis_uri"])
    finish_clarify_jobs(*inputs, there, with_ft=ft_rows >= 900)
    found = storage.read_json(bias(*arguments, EXECUTION, there)["analysis_uri"])
    for facet in ("sex", "age"):
        mine, theirs = ({s: document[s]["facets"][facet] for s in STAGES} for document in (expected, found))
        assert_same_numbers(mine, theirs)
    config = storage.read_json(there.uri(EXECUTION, "bias", "clarify-1", "analysis_config.json"))
    assert config["methods"]["post_training_bias"]["methods"] == (
        "all" if ft_rows >= 900 else [name for name in POST_TRAINING if name != "FT"]
    )


def finish_clarify_jobs(
    raw: pd.DataFrame, encoded: pd.DataFrame, predictions: pd.DataFrame, settings: Settings, with_ft: bool
) -> None:
    """Puts the results of the jobs to come where they will write them; moto's jobs are completed at once."""
    outcomes = facets.outcomes(predictions, settings.data, "median")
    for place, table in enumerate(bias_step.tables_of(raw, encoded, outcomes, settings), start=1):
        config = clarify.analysis_config(table, "approved", with_ft)
        analysis = reference(clarify.dataset(table, "approved"), config)
        uri = settings.uri(EXECUTION, "bias", f"clarify-{place}", "output", "analysis.json")
        storage.write_bytes(uri, json.dumps(analysis).encode())


def test_an_account_that_may_not_run_clarify_is_told_what_to_do(
    bucket: str, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(data={"facets": ("sex",)}, bias={"engine": "clarify"})
    arguments = put(*frames(60), chosen)
    call = botocore.client.BaseClient._make_api_call

    def refusing(self: Any, operation: str, request: dict[str, Any]) -> Any:
        if operation == "CreateProcessingJob":
            error = {"Code": "AccessDeniedException", "Message": "not available to new customers"}
            raise ClientError({"Error": error}, operation)
        return call(self, operation, request)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refusing)
    with pytest.raises(RuntimeError, match=r'not available to new customers.*engine = "in_step"'):
        bias(*arguments, EXECUTION, chosen)


def test_the_names_that_settings_know_are_those_that_are_measured():
    assert tuple(PRE_TRAINING) == names.PRE_TRAINING_BIAS
    assert tuple(POST_TRAINING) == names.POST_TRAINING_BIAS
