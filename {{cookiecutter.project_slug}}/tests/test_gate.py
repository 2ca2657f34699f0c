"""The gate's arithmetic: quality, champion, bias."""

from __future__ import annotations

from typing import Any

import pytest

from ml_pipeline.settings import Gate
from ml_pipeline.steps.gate import verdict

GATE = {"metric": "", "threshold": 0.0, "champion_tolerance": 0.01, "bias": {}}


def gate(**values: Any) -> Gate:
    return Gate(**GATE | values)


def metrics(
    value: float | None, trivial: float = 0.5, champion: float | None = None, **more: Any
) -> dict[str, Any]:
    champions = {"package": "arn:group/7", "test": {"auc": {"value": champion}}}
    measured = {"problem": "binary", "primary": "auc", "test": {"auc": {"value": value, "trivial": trivial}}}
    return measured | {"champion": champions if champion is not None else None} | more


def errors(value: float, trivial: float, champion: float | None = None) -> dict[str, Any]:
    measured = metrics(value, trivial, champion, problem="regression", primary="rmse")
    measured["test"]["rmse"] = measured["test"].pop("auc")
    if champion is not None:
        measured["champion"]["test"]["rmse"] = measured["champion"]["test"].pop("auc")
    return measured


def analysis(*entries: tuple[str, str, Any], error: str = "") -> dict[str, Any]:
    """(facet value, metric, value) of facet sex."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for group, name, value in entries:
        groups.setdefault(group, []).append(
            {"name": name, "value": value} | ({"error": error} if error else {})
        )
    found = [{"value_or_threshold": group, "metrics": listed} for group, listed in groups.items()]
    return {"version": "1.0", "post_training_bias_metrics": {"label": "y", "facets": {"sex": found}}}


@pytest.mark.parametrize(
    ("measured", "passed"),
    [
        (metrics(0.51), True),
        (metrics(0.5), False),
        (metrics(None), False),
        (errors(1.9, 2.0), True),
        (errors(2.0, 2.0), False),
    ],
)
def test_trivial_means_strictly_better_than_the_trivial_model(measured: dict[str, Any], passed: bool) -> None:
    found = verdict(measured, None, gate(threshold="trivial"))
    assert found["passed"] is passed
    assert len(found["missed"]) == (not passed)


@pytest.mark.parametrize(
    ("measured", "bound", "passed", "side"),
    [
        (metrics(0.9), 0.9, True, "at least"),
        (metrics(0.899), 0.9, False, "at least"),
        (errors(3.0, 9.0), 3.0, True, "at most"),
        (errors(3.1, 9.0), 3.0, False, "at most"),
    ],
)
def test_a_threshold_bounds_in_the_metrics_own_direction(
    measured: dict[str, Any], bound: float, passed: bool, side: str
) -> None:
    found = verdict(measured, None, gate(threshold=bound))
    assert found["passed"] is passed
    if not passed:
        (miss,) = found["missed"]
        value = measured["test"][measured["primary"]]["value"]
        assert (miss["metric"], miss["value"], miss["bound"], miss["side"]) == (
            measured["primary"],
            value,
            bound,
            side,
        )
        assert f"must be {side} {bound:g}" in miss["why"]


@pytest.mark.parametrize(
    ("measured", "passed"),
    [
        (metrics(0.89), True),
        (metrics(0.89, champion=0.895), True),
        (metrics(0.89, champion=0.91), False),
        (errors(2.0, 9.0, champion=1.995), True),
        (errors(2.0, 9.0, champion=1.98), False),
    ],
)
def test_a_model_may_not_be_worse_than_the_champion_by_more_than_the_tolerance(
    measured: dict[str, Any], passed: bool
) -> None:
    found = verdict(measured, None, gate(threshold="trivial"))
    assert found["passed"] is passed
    assert [miss["why"].count("champion, version 7,") for miss in found["missed"]] == ([] if passed else [1])


def test_a_bias_bound_holds_for_every_facet_value() -> None:
    found = verdict(
        metrics(0.9),
        analysis(("female", "DPPL", 0.2), ("male", "DPPL", -0.2), ("other", "DPPL", 0.0)),
        gate(bias={"DPPL": (-0.1, 0.1)}),
    )
    assert [(miss["value"], miss["bound"], miss["side"]) for miss in found["missed"]] == [
        (0.2, 0.1, "at most"),
        (-0.2, -0.1, "at least"),
    ]
    assert "sex = female" in found["missed"][0]["why"]


def test_a_bounded_bias_metric_without_a_value_misses_with_its_reason() -> None:
    found = verdict(
        metrics(0.9), analysis(("f", "DI", None), error="Facet set is empty"), gate(bias={"DI": (0.8, 2)})
    )
    (miss,) = found["missed"]
    assert miss["value"] is None
    assert "Facet set is empty" in miss["why"]


def test_an_infinite_bias_metric_misses_its_upper_bound() -> None:
    found = verdict(metrics(0.9), analysis(("f", "DI", "Infinity")), gate(bias={"DI": (0.8, 1.25)}))
    assert [(miss["value"], miss["bound"]) for miss in found["missed"]] == [("Infinity", 1.25)]


def test_a_bias_metric_without_a_bound_never_misses() -> None:
    assert verdict(metrics(0.9), analysis(("f", "DI", 9.0)), gate())["passed"] is True


def test_a_bound_on_an_unknown_bias_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DPPLX is no bias metric.*\[gate.bias\]"):
        verdict(metrics(0.9), analysis(("f", "DPPL", 0.0)), gate(bias={"DPPLX": (0, 1)}))
