"""Synthetic loan applicants: those of data/sample.csv, and those of a world that has changed since.

Only `random.Random.random` is drawn from, whose sequence Python promises to keep, and all numbers are
rounded: every Python makes the same rows.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from statistics import NormalDist
from typing import Any

NORMAL = NormalDist()
ID, LABEL = "applicant_id", "approved"
# Share of applicants, and effect on the log-odds of approval.
Table = Mapping[str, tuple[float, float]]
REGIONS: Table = {"north": (0.22, 0.1), "south": (0.28, -0.1), "east": (0.18, 0.0), "west": (0.32, 0.05)}
EMPLOYMENT: Table = {
    "salaried": (0.58, 0.4),
    "self-employed": (0.17, -0.1),
    "public": (0.12, 0.7),
    "retired": (0.06, 0.2),
    "unemployed": (0.07, -1.6),
}
HOUSING: Table = {"rent": (0.45, -0.2), "mortgage": (0.33, 0.3), "own": (0.17, 0.6), "family": (0.05, -0.1)}
PURPOSE: Table = {
    "car": (0.3, 0.2),
    "home improvement": (0.2, 0.4),
    "debt consolidation": (0.24, -0.5),
    "education": (0.1, 0.1),
    "business": (0.1, -0.6),
    "medical": (0.06, -0.1),
}
MISSING_SHARES = {"income": 0.04, "employment_years": 0.05, "debt_ratio": 0.03, "housing": 0.03}
SEX_EFFECT = -0.6  # the bias against "female" that the pipeline is to find


@dataclass(frozen=True)
class World:
    """Who applies, and who is approved. The default is the world of data/sample.csv.

    income: factor. debt_ratio: added. late_payments, open_credits: their effects on the log-odds, each.
    """

    income: float = 1.0
    debt_ratio: float = 0.0
    purposes: Table = field(default_factory=lambda: PURPOSE)
    late_payments: float = -1.15
    open_credits: float = -0.25


def applicants(count: int, seed: int, world: World = World(), first: int = 1) -> list[dict[str, Any]]:
    """Rows by column, the label last; ids count from `first`."""
    random = Random(seed)
    return [_applicant(random, number, world) for number in range(first, first + count)]


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The rows with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _applicant(random: Random, number: int, world: World) -> dict[str, Any]:
    sex = "female" if random.random() < 0.45 else "male"
    age = round(_clipped(42 + 13 * _normal(random), 19, 78))
    employment = _choice(random, EMPLOYMENT)
    years = (
        round(_clipped((age - 19) * random.random() ** 1.5, 0, 45), 1) if employment != "unemployed" else 0.0
    )
    salary = math.exp(10.45 + 0.006 * min(age, 55) + 0.42 * _normal(random) - 0.08 * (sex == "female"))
    income = round(salary * (0.45 if employment == "unemployed" else 1.0) * world.income, -2)
    amount = round(_clipped(math.exp(9.2 + 0.75 * _normal(random)), 1000, 90000), -2)
    row: dict[str, Any] = {
        ID: f"A{100000 + number}",
        "sex": sex,
        "age": age,
        "region": _choice(random, REGIONS),
        "employment": employment,
        "employment_years": years,
        "income": int(income),
        "housing": _choice(random, HOUSING),
        "purpose": _choice(random, world.purposes),
        "loan_amount": int(amount),
        "term_months": (12, 24, 36, 48, 60, 84)[int(6 * random.random())],
        "debt_ratio": round(_clipped(0.33 + world.debt_ratio + 0.17 * _normal(random), 0.0, 0.98), 3),
        "open_credits": int(_clipped(2.6 + 2.0 * _normal(random), 0, 12)),
        "late_payments": int(-math.log(1 - random.random()) * 0.9),
    }
    approved = random.random() < 1 / (1 + math.exp(-_log_odds(row, world)))
    holes = {name: "" for name, share in MISSING_SHARES.items() if random.random() < share}
    return row | holes | {LABEL: "yes" if approved else "no"}


def _log_odds(row: dict[str, Any], world: World) -> float:
    """Log-odds of approval from affordability, history and job, with bends and an interaction."""
    monthly = row["loan_amount"] / row["term_months"] / (row["income"] / 12)
    odds = 1.55 - 7.0 * min(monthly, 0.7) - 4.2 * max(row["debt_ratio"] - 0.25, 0.0)
    odds += 1.6 * math.log(row["income"] / 38000) + 0.09 * min(row["employment_years"], 12)
    odds += world.late_payments * row["late_payments"] + world.open_credits * max(row["open_credits"] - 4, 0)
    odds -= 0.05 * max(25 - row["age"], 0) + 0.03 * max(row["age"] - 65, 0)
    odds += 0.9 * (row["housing"] == "own" and row["purpose"] == "home improvement")
    tables = {"region": REGIONS, "employment": EMPLOYMENT, "housing": HOUSING, "purpose": world.purposes}
    odds += sum(table[str(row[name])][1] for name, table in tables.items())
    return 1.35 * (odds + SEX_EFFECT * (row["sex"] == "female"))


def _normal(random: Random) -> float:
    return NORMAL.inv_cdf(1e-9 + random.random() * (1 - 2e-9))


def _choice(random: Random, table: Table) -> str:
    point = random.random()
    for name, (share, _) in table.items():
        point -= share
        if point < 0:
            return name
    return name


def _clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
