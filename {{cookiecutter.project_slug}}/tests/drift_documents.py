"""drift.json documents as Monitor writes them, made by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/loans-dev/3"
Document = dict[str, Any]
NOTHING = {"features": [], "predictions": [], "bias": [], "attribution": None}  # is measured of broken data


def statistic(value: float, threshold: float | None) -> Document:
    return {"value": value, "threshold": threshold, "violated": threshold is not None and value > threshold}


def number(
    name: str, shift: float = 0.0, attribution: float | None = 0.1, missing: float = 0.0, bound: float = 0.08
) -> Document:
    """A numeric column in 20 bins whose rows have moved towards its upper end. shift: 0 to 1."""
    edges = [f"{20 + 2.5 * place:g}" for place in range(19)]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    labels = [f"below {edges[0]}", *inner, f"from {edges[-1]}", "missing"]
    chance = 1 + np.sin(np.arange(20) * 7 + len(name)) / 25
    before, after = np.ones(20), np.linspace(1 - shift, 1 + shift, 20) ** 2 * chance
    current = [*(after / after.sum() * (1 - missing)), missing]
    return column(name, "number", labels, [*(before / 20), 0.0], current, attribution, bound)


def category(
    name: str,
    shares: dict[str, tuple[float, float]],
    unknown: float = 0.0,
    attribution: float | None = 0.1,
    bound: float = 0.08,
) -> Document:
    """shares: of each category in the training data and now."""
    labels = [*shares, "unknown", "missing"]
    before, after = (
        [*(pair[place] for pair in shares.values()), rest, 0.0] for place, rest in ((0, 0.0), (1, unknown))
    )
    return column(name, "category", labels, before, after, attribution, bound)


def column(
    name: str,
    kind: str,
    labels: list[str],
    before: list[float],
    after: list[float],
    attribution: float | None,
    bound: float,
) -> Document:
    old, new = np.array(before), np.array(after) / np.sum(after)
    smooth = np.maximum([old, new], 1e-4)
    psi = float(((smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])).sum())
    statistics = {"psi": statistic(psi, bound)}
    if kind == "number":
        statistics["ks"] = statistic(float(np.abs(np.cumsum(new - old)).max()), 0.06)
    else:
        statistics["chi_squared"] = statistic(1000 * psi, 1000 * bound)
        statistics["l_infinity"] = statistic(float(np.abs(new - old).max()), 0.06)
        statistics["unknown"] = statistic(float(new[-2]), 0.02)
    statistics["missing"] = statistic(abs(float(new[-1] - old[-1])), 0.02)
    return {
        "name": name,
        "kind": kind,
        "statistics": statistics,
        "violated": any(each["violated"] for each in statistics.values()),
        "attribution": attribution,
        "importance": psi * (attribution or 0.0),
        "labels": labels,
        "baseline": old.tolist(),
        "current": new.tolist(),
    }


def features(shift: float = 0.0, unknown: float = 0.0) -> list[Document]:
    """Those of a loan: the first and the third move."""
    region = {
        "north": (0.5, 0.5 - unknown),
        "south": (0.3, 0.3),
        "a place with a rather long name": (0.2, 0.2),
    }
    weights = [0.34, 0.2, 0.15, 0.1, 0.08, 0.07, 0.06]
    names = ["income", "age", "region", "debt", "years employed", "children", "hours a week"]
    made = [number(name, attribution=weight) for name, weight in zip(names, weights, strict=True)]
    made[0] = number("income", shift, weights[0])
    made[2] = category("region", region, unknown, weights[2])
    return made


def predictions(shift: float = 0.0) -> list[Document]:
    labels = {"yes": (0.24, 0.24 + shift / 3), "no": (0.76, 0.76 - shift / 3)}
    found = [category("predicted_label", labels, attribution=None), number("score", shift, None)]
    return [
        {key: value for key, value in each.items() if key not in ("attribution", "importance")}
        for each in found
    ]


def quality(auc: float = 0.9) -> Document:
    metrics = {
        "auc": {"baseline": 0.91, "value": auc, "bound": 0.88, "violated": auc < 0.88},
        "logloss": {"baseline": 0.3, "value": 1.2 - auc, "bound": 0.33, "violated": 1.2 - auc > 0.33},
    }
    return {"rows": 3100, "unmatched": 4, "metrics": metrics}


def bias(dppl: float = 0.11) -> list[Document]:
    def metric(baseline: float, value: float | None, low: float, high: float) -> Document:
        violated = value is not None and not low <= value <= high
        return {"baseline": baseline, "value": value, "low": low, "high": high, "violated": violated}

    metrics = {
        "DPPL": metric(0.1, dppl, 0.04, 0.16),
        "DI": metric(0.7, 0.69, 0.5, 0.9),
        "FT": metric(0.0, None, -0.1, 0.1),
    }
    stage = "post_training_bias_metrics"
    return [{"facet": "sex", "group": "Female", "stage": stage, "outcome": ">50K", "metrics": metrics}]


def attribution(ndcg: float = 0.998) -> Document:
    before = {"income": 0.9, "age": 0.5, "region": 0.4, "debt": 0.2}
    after = before if ndcg > 0.98 else {"region": 0.9, "income": 0.6, "age": 0.4, "debt": 0.2}
    return {"ndcg": ndcg, "threshold": 0.98, "violated": ndcg < 0.98, "baseline": before, "current": after}


def history(*income: float | None) -> list[Document]:
    """Weeks before 2026-02-16 by the ratio of a statistic of income to its bound, None of broken data."""
    days = [f"2026-01-{day:02}" for day in (5, 12, 19, 26)] + ["2026-02-02", "2026-02-09"]
    names = ("DataDrift", "PredictionDrift", "QualityDrop", "BiasDrift", "AttributionDrift", "DataBroken")
    return [
        {
            "period": day,
            "metrics": {"DataBroken": 1}
            if ratio is None
            else dict.fromkeys(names, 0) | {"DataDrift": int(ratio > 1)},
            "features": {} if ratio is None else {"income": ratio, "region": ratio / 10},
        }
        for day, ratio in zip(days[len(days) - len(income) :], income, strict=True)
    ]


def violation(name: str, check: str, description: str) -> Document:
    return {"feature_name": name, "constraint_check_type": check, "description": description}


def document(**changed: Any) -> Document:
    """A quiet period of 2026-02-16 after two quiet ones."""
    made = {
        "version": 1,
        "period": "2026-02-16",
        "execution": "abcdefghijkl",
        "package": PACKAGE,
        "package_version": 3,
        "rows": 3421,
        "status": "quiet",
        "features": features(),
        "predictions": predictions(),
        "quality": None,
        "bias": bias(),
        "attribution": attribution(),
        "violations": [],
        "broken": [],
        "history": history(0.3, 0.4),
    } | changed
    return {"metrics": roll_ups(made), **made}


def roll_ups(made: Document) -> Document:
    """What is sent to CloudWatch of a document."""
    if made["broken"]:
        return {"DataBroken": len(made["broken"])}
    quality = made["quality"]
    worse = {"QualityDrop": sum(each["violated"] for each in quality["metrics"].values())} if quality else {}
    return {
        "DataDrift": sum(feature["violated"] for feature in made["features"]),
        "PredictionDrift": sum(column["violated"] for column in made["predictions"]),
        **worse,
        "BiasDrift": sum(m["violated"] for each in made["bias"] for m in each["metrics"].values()),
        "AttributionDrift": int(bool(made["attribution"] and made["attribution"]["violated"])),
        "DataBroken": len(made["broken"]),
    }


def drifted(**changed: Any) -> Document:
    """income has moved for the third week in a row, region has a new category; labels show a worse model."""
    found = features(0.5, unknown=0.12)
    violations = [
        violation("income", "baseline_drift_check", "PSI is 0.289, more than the bound 0.08"),
        violation("region", "categorical_values_check", "12 % of the values are none of the training data's"),
    ]
    return document(
        **{
            "status": "drift",
            "features": found,
            "predictions": predictions(0.4),
            "quality": quality(0.84),
            "bias": bias(0.21),
            "attribution": attribution(0.95),
            "violations": violations,
            "history": history(0.2, 0.3, 0.4, 0.6, 1.4, 2.2),
        }
        | changed
    )


def broken(**changed: Any) -> Document:
    """income came in cents."""
    found = [
        violation(
            "income",
            "baseline_drift_check",
            "values are about 100 times those of the training data: has a unit changed?",
        )
    ]
    return document(**NOTHING | {"status": "broken", "broken": found, "violations": found} | changed)


def empty() -> Document:
    return document(**NOTHING | {"status": "empty", "rows": 0, "metrics": {"DataBroken": 0}})


def events() -> list[Document]:
    """Of five weeks in the fourth of which the world shifts."""
    names = ("DataDrift", "PredictionDrift", "QualityDrop", "BiasDrift", "AttributionDrift")
    calm = dict.fromkeys(names, 0)
    found = []
    for week, day in enumerate(["02", "09", "16", "23"]):
        rang = week == 3
        metrics = calm | ({"DataDrift": 2, "PredictionDrift": 1, "QualityDrop": None} if rang else {})
        if rang:
            found.append(event("2026-02-22T12:00:00+00:00", "shift", "Incomes rise by a half", "", "quiet"))
        found.append(
            event(
                f"2026-02-{day}T06:30:00+00:00",
                "scored",
                f"2026-02-{day} scored",
                "1,000 rows",
                "bad" if rang else "good",
                metrics,
            )
        )
    found += [
        event("2026-02-23T07:00:00+00:00", "alarm", "loans-dev-data-drift rings", "DataDrift = 2", "bad"),
        event(
            "2026-02-23T07:01:00+00:00",
            "execution",
            "A training starts",
            "TriggerReason loans-dev-data-drift",
            "quiet",
        ),
        event("2026-02-23T08:01:00+00:00", "approved", "Version 2 is approved", "beats the champion", "good"),
        event("2026-03-02T06:30:00+00:00", "scored", "2026-03-02 scored", "quiet again", "good", calm),
        event("2026-03-03T06:30:00+00:00", "truth", "Labels of 2026-03-02 come", "", "quiet"),
    ]
    return found


def event(
    time: str, kind: str, title: str, text: str, tone: str, metrics: Document | None = None
) -> Document:
    return {"time": time, "kind": kind, "title": title, "text": text, "tone": tone, "metrics": metrics}
