"""Gate: what a model must reach to be registered, as arithmetic on its metrics and its bias analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ml_pipeline.bias_metrics import STAGES
from ml_pipeline.names import BETTER_HIGH
from ml_pipeline.settings import Gate

PLACE = "settings.toml, [gate]"


def verdict(metrics: Mapping[str, Any], analysis: Mapping[str, Any] | None, gate: Gate) -> dict[str, Any]:
    """{passed, missed: [{metric, value, bound, side, why}]}; side: `at least`, `at most`, `above`, `below`.

    metrics: metrics.json. analysis: Clarify's analysis.json, None without facets. A number that could not be
    computed misses its bound. Raises ValueError if a bound names no metric of the analysis.
    """
    missed = [*_quality(metrics, gate), *_champion(metrics, gate), *_bias(analysis, gate.bias)]
    return {"passed": not missed, "missed": missed}


def told(verdict: Mapping[str, Any]) -> str:
    """The verdict in a few words, for a step's summary."""
    return (
        "gate passed"
        if verdict["passed"]
        else f"gate missed: {'; '.join(miss['why'] for miss in verdict['missed'])}"
    )


def _quality(metrics: Mapping[str, Any], gate: Gate) -> Iterator[dict[str, Any]]:
    name, high = metrics["primary"], _better_high(metrics)
    value, trivial = metrics["test"][name]["value"], metrics["test"][name]["trivial"]
    if gate.threshold == "trivial":
        reached = None not in (value, trivial) and (value > trivial if high else value < trivial)
        if not reached:
            side = "above" if high else "below"
            yield _miss(name, value, trivial, side, f"a trivial model's score, {PLACE} threshold = trivial")
    elif not _reaches(value, gate.threshold, high):
        yield _miss(name, value, gate.threshold, _side(high), f"{PLACE} threshold")


def _champion(metrics: Mapping[str, Any], gate: Gate) -> Iterator[dict[str, Any]]:
    if metrics["champion"] is None:
        return
    name, high = metrics["primary"], _better_high(metrics)
    champion = metrics["champion"]["test"][name]["value"]
    if champion is None:
        return
    bound = champion - gate.champion_tolerance if high else champion + gate.champion_tolerance
    value = metrics["test"][name]["value"]
    if not _reaches(value, bound, high):
        version = metrics["champion"]["package"].rpartition("/")[2]
        why = (
            f"the champion, version {version}, has {champion:.6g}, "
            f"{PLACE} champion_tolerance = {gate.champion_tolerance:g}"
        )
        yield _miss(name, value, bound, _side(high), why)


def _bias(
    analysis: Mapping[str, Any] | None, bounds: Mapping[str, tuple[float, float]]
) -> Iterator[dict[str, Any]]:
    for name, (low, high) in bounds.items():
        entries = list(_entries(analysis, name))
        if not entries:
            raise ValueError(f"{name} is no bias metric of the analysis ({PLACE[:-1]}.bias])")
        for group, entry in entries:
            value = _number(entry["value"])
            reason = f" ({entry['error']})" if entry.get("error") else ""
            why = f"{group}{reason}, {PLACE[:-1]}.bias]"
            if value is None or value < low:
                yield _miss(name, entry["value"], low, _side(True), why)
            elif value > high:
                yield _miss(name, entry["value"], high, _side(False), why)


def _entries(analysis: Mapping[str, Any] | None, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`facet = value`, metric entry) of every group that the analysis has measured."""
    for stage in STAGES:
        for facet, groups in (analysis or {}).get(stage, {}).get("facets", {}).items():
            for group in groups:
                found = (entry for entry in group["metrics"] if entry["name"] == name)
                yield from ((f"{facet} = {group['value_or_threshold']}", entry) for entry in found)


def _number(value: float | str | None) -> float | None:
    """The value; Clarify writes an infinite one as `Infinity`, which float reads."""
    return None if value is None else float(value)


def _reaches(value: float | None, bound: float, high: bool) -> bool:
    return value is not None and (value >= bound if high else value <= bound)


def _better_high(metrics: Mapping[str, Any]) -> bool:
    return BETTER_HIGH[metrics["problem"]][metrics["primary"]]


def _side(high: bool) -> str:
    return "at least" if high else "at most"


def _miss(metric: str, value: Any, bound: float | None, side: str, origin: str) -> dict[str, Any]:
    shown = "not computable" if value is None else f"{float(value):.6g}"
    limit = "not computable" if bound is None else f"{bound:.6g}"
    why = f"{metric} is {shown}, must be {side} {limit} ({origin})"
    return {"metric": metric, "value": value, "bound": bound, "side": side, "why": why}
