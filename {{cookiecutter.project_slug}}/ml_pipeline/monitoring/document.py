"""drift.json of a period: what was measured, against what, and what of it is drift."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ml_pipeline.bias_metrics import STAGES
from ml_pipeline.drift import broken, judge
from ml_pipeline.drift.judge import Judged
from ml_pipeline.monitoring import served, violations
from ml_pipeline.monitoring.joined import Joined
from ml_pipeline.monitoring.measure import GroupMetrics, Measured
from ml_pipeline.monitoring.package import Package
from ml_pipeline.names import WITHOUT_LABELS
from ml_pipeline.settings import Settings

VERSION = 1
NEW_NAMED = 5  # of a column's new categories

Document = dict[str, Any]


def empty(period: str, execution_id: str, package: Mapping[str, Any] | None) -> Document:
    """The document of a period of which nothing was measured."""
    return {
        "version": VERSION,
        "period": period,
        "execution": execution_id,
        "package": package["package_arn"] if package else None,
        "package_version": package["version"] if package else None,
        "rows": 0,
        "status": "empty",
        "metrics": {},
        "features": [],
        "predictions": [],
        "quality": None,
        "bias": [],
        "attribution": None,
        "violations": [],
        "broken": [],
        "notes": [],
        "history": [],
    }


def with_broken(document: Document, found: Sequence[Mapping[str, str]]) -> Document:
    """The document of data that cannot be used; nothing else is measured of them."""
    told = [*document["broken"], *found]
    return document | {
        "status": "broken" if told else document["status"],
        "violations": told,
        "broken": told,
        "metrics": document["metrics"] | {"DataBroken": len(told)},
    }


def with_notes(document: Document, notes: Sequence[str]) -> Document:
    """The document with what is to be told beside what was measured, and nothing else of the kind."""
    return document | {"notes": [*notes]}


def with_measured(document: Document, measured: Measured, package: Package, settings: Settings) -> Document:
    """The document with everything that needs no labels. Broken data is only told to be that."""
    document = document | {"rows": measured.rows}
    found = broken.violations(package.statistics, measured.statistics)
    if found:
        return with_broken(document, found)
    features, outputs = (_judged(role, measured, package, settings) for role in ("feature", "output"))
    bias, attribution = (
        _bias_at_scoring(measured, package, settings),
        _attribution(measured, package, settings),
    )
    told = {
        "DataDrift": violations.of_columns(features),
        "PredictionDrift": violations.of_columns(outputs),
        "BiasDrift": violations.of_bias(bias) if package.bias else None,
        "AttributionDrift": violations.of_attribution(attribution, "label0"),
        "DataBroken": [],
    }
    shares = _attribution_shares(package)
    new = _new_categories(measured, package)
    columns = [_column(each, shares.get(each.name)) | {"new": new.get(each.name)} for each in features]
    document |= {
        "features": sorted(columns, key=lambda each: (-each["importance"], -(each["attribution"] or 0.0))),
        "predictions": [_column(each, None) for each in outputs],
        "bias": bias,
        "attribution": attribution,
    }
    return _with_violations(document, told)


def with_labels(
    document: Document,
    found: Joined,
    statistics: Mapping[str, Any],
    analysis: Mapping[str, Any] | None,
    package: Package,
    settings: Settings,
) -> Document:
    """The document with model quality, and the bias metrics that need labels.

    statistics: of model_quality_statistics.json. analysis: analysis.json, None without facets.
    """
    quality = judge.quality(
        package.thresholds["evaluate"]["quality"],
        _values(statistics),
        found.rows,
        settings.monitor,
    )
    bias = _bias_with_labels(analysis, found.rows, package, settings) if analysis else []
    document = _without_labels(document)
    document |= {
        "quality": {"rows": found.rows, "unmatched": found.unmatched, "metrics": quality},
        "bias": _merged(document["bias"], bias),
        "notes": [],  # an attempt to count other labels may have failed
    }
    told = {"QualityDrop": violations.of_quality(quality)}
    return _with_violations(document, told | ({"BiasDrift": violations.of_bias(bias)} if analysis else {}))


def _without_labels(document: Document) -> Document:
    """The document before labels came: an attempt to count them may have failed after it was written."""
    metrics = {name: count for name, count in document["metrics"].items() if name != "QualityDrop"}
    left = [each for each in document["violations"] if not violations.needs_labels(each)]
    if "BiasDrift" in metrics:
        metrics["BiasDrift"] = sum(map(violations.is_of_bias, left))
    return document | {"metrics": metrics, "violations": left, "bias": _at_scoring(document["bias"])}


def _at_scoring(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of `bias` with the metrics that need no labels alone."""
    kept = [
        {**each, "metrics": {name: one for name, one in each["metrics"].items() if name in WITHOUT_LABELS}}
        for each in entries
    ]
    return [each for each in kept if each["metrics"]]


def of_labels(document: Document, metric: str) -> int:
    """Violations of a roll-up that were only found when labels had come."""
    found = filter(violations.needs_labels, document["violations"])
    return sum(violations.is_of_bias(each) == (metric == "BiasDrift") for each in found)


def with_history(document: Document, earlier: Iterable[Mapping[str, Any]]) -> Document:
    """earlier: documents of earlier periods, oldest first."""
    history = [
        {
            "period": each["period"],
            "metrics": each["metrics"],
            "features": {feature["name"]: judge.ratio(feature) for feature in each["features"]},
        }
        for each in earlier
    ]
    return document | {"history": history}


def _with_violations(document: Document, told: Mapping[str, list[dict[str, str]] | None]) -> Document:
    """told: violations by roll-up, None for what was not measured; they add to what the document has."""
    counts = {name: len(found) for name, found in told.items() if found is not None}
    added = [violation for found in told.values() for violation in found or ()]
    before = document["metrics"]
    all_of_them = [*document["violations"], *added]
    otherwise = "quiet" if document["rows"] >= judge.FEWEST_ROWS else judge.TOO_FEW
    return document | {
        "metrics": before | {name: before.get(name, 0) + count for name, count in counts.items()},
        "violations": all_of_them,
        "status": "drift" if all_of_them else otherwise,
    }


def _judged(role: str, measured: Measured, package: Package, settings: Settings) -> list[Judged]:
    document = package.thresholds["process" if role == "feature" else "evaluate"]
    return [
        judge.column(column, document, measured.counts[served.key(role, column["name"])], settings.monitor)
        for column in document["columns"]
    ]


def _column(judged: Judged, attribution: float | None) -> dict[str, Any]:
    verdict = {"statistics": judged.statistics, "violated": judged.violated}
    return {
        "name": judged.name,
        "kind": judged.kind,
        **verdict,
        "attribution": attribution,
        "importance": (judge.ratio(verdict) or 0.0) * (attribution or 0.0),
        "labels": judged.labels,
        "baseline": judged.baseline_shares,
        "current": judged.current_shares,
    }


def _new_categories(measured: Measured, package: Package) -> dict[str, dict[str, Any]]:
    """By column, the categories that no training row has: how many, and the commonest with their rows."""
    found = {}
    for feature in measured.statistics["features"]:
        if "string_statistics" in feature:
            known = set(package.bins[served.key("feature", feature["name"])].categories)
            buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
            new = [bucket for bucket in buckets if bucket["value"] not in known]
            first = sorted(new, key=lambda bucket: -bucket["count"])[:NEW_NAMED]
            rows = [{"value": bucket["value"], "rows": bucket["count"]} for bucket in first]
            found[feature["name"]] = {"distinct": len(new), "first": rows}
    return found


def _attribution_shares(package: Package) -> dict[str, float]:
    """Of the total mean absolute attribution at the baseline."""
    means = package.mean_attributions
    total = sum(means.values())
    return {name: value / total if total else 0.0 for name, value in means.items()}


def _attribution(measured: Measured, package: Package, settings: Settings) -> dict[str, Any]:
    baseline = package.mean_attributions
    found = judge.attribution(
        package.thresholds["evaluate"]["attributions"],
        baseline,
        measured.attributions,
        measured.attribution_rows,
        settings.monitor,
    )
    return {
        "ndcg": found["value"],
        "threshold": found["threshold"],
        "violated": found["violated"],
        "baseline": baseline,
        "current": measured.attributions,
    }


def _bias_at_scoring(measured: Measured, package: Package, settings: Settings) -> list[dict[str, Any]]:
    return _bias(measured.bias, WITHOUT_LABELS, measured.rows, package, settings)


def _bias_with_labels(
    analysis: Mapping[str, Any], rows: int, package: Package, settings: Settings
) -> list[dict[str, Any]]:
    """Of analysis.json what could not be measured without labels."""
    values: GroupMetrics = {}
    for stage in STAGES:
        for facet, groups in analysis[stage]["facets"].items():
            for group in groups:
                found = values.setdefault((facet, group["value_or_threshold"]), {})
                found |= {each["name"]: _number(each["value"]) for each in group["metrics"]}
    names = {name for found in values.values() for name in found} - set(WITHOUT_LABELS)
    return _bias(values, names, rows, package, settings)


def _bias(
    values: GroupMetrics, wanted: Collection[str], rows: int, package: Package, settings: Settings
) -> list[dict[str, Any]]:
    """Entries of `bias`, of the wanted metrics that the model or settings have bounds for. rows: measured."""
    entries = []
    for (facet, group), found in values.items():
        judged = judge.bias(package.thresholds["bias"], facet, group, found, rows, settings.monitor)
        for stage, table in STAGES.items():
            names = [name for name in table if name in judged and name in wanted]
            head = {"facet": facet, "group": group, "stage": stage, "outcome": _outcome(stage, package)}
            if names:
                # a bound that settings fix is one of parity itself, and stands
                known = _of_baseline(package.bias[stage], facet, group)
                told = {
                    name: {**judged[name], "baseline": known.get(name)}
                    if name in settings.monitor.thresholds
                    else _if_further(name, judged[name])
                    for name in names
                }
                entries.append({**head, "metrics": told})
    return entries


def _of_baseline(stage: Mapping[str, Any], facet: str, group: str) -> dict[str, float | None]:
    """Values of the model's analysis.json by metric."""
    (found,) = (each for each in stage["facets"][facet] if each["value_or_threshold"] == group)
    return {metric["name"]: _number(metric["value"]) for metric in found["metrics"]}


def _outcome(stage: str, package: Package) -> str:
    """What the baseline counted as positive: a class, or an interval."""
    return package.bias[stage]["label_value_or_threshold"]


def _if_further(name: str, judged: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, but none on what is nearer to parity than before: to become fairer is no drift."""
    parity = judge.PARITY.get(name, 0.0)
    further = judged["violated"] and abs(judged["value"] - parity) > abs(judged["baseline"] - parity)
    return {**judged, "violated": further}


def _merged(before: Sequence[Mapping[str, Any]], added: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of `bias`, those of one facet, group and stage together."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in (*before, *added):
        place = entry["facet"], entry["group"], entry["stage"]
        known = found.get(place, {"metrics": {}})
        found[place] = {**entry, "metrics": known["metrics"] | entry["metrics"]}
    return list(found.values())


def _values(statistics: Mapping[str, Any]) -> dict[str, float | None]:
    """Metrics by Model Monitor's names."""
    (section,) = (name for name in statistics if name.endswith("_metrics"))
    return {name: _number(entry.get("value")) for name, entry in statistics[section].items()}


def _number(value: Any) -> float | None:
    """None for what is no number, such as the texts that stand for infinity and NaN."""
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None
