"""How often bias rings in a stable world when batches are far larger than the baseline; --help lists options.

The baseline's own chance is then nearly all there is. More alarms than usual are allowed, so that a few
hundred batches tell something: each has a baseline of its own, drawn and calibrated anew.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}"
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from conftest import SETTINGS  # noqa: E402, which needs the path
from ml_pipeline import thresholds  # noqa: E402
from ml_pipeline.drift import calibrate, judge  # noqa: E402
from ml_pipeline.facets import Facet, Outcomes, Table  # noqa: E402

SIZES = ((150, 4_000), (300, 6_000), (800, 16_000), (2_000, 40_000))  # baseline, batch
USUAL, RARE = 0.3, 1.9  # merit from where on the outcome is positive: four in ten rows, and 6 to 8 in 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200, help="of each size (default: 200)")
    parser.add_argument("--rate", type=float, default=0.05, help="of them that may ring (default: 0.05)")
    options = parser.parse_args()
    print("| positive from | baseline | batch | rang |\n|---|---|---|---|")
    with ProcessPoolExecutor() as pool:
        for cut in (USUAL, RARE):
            for baseline, batch in SIZES:
                one = partial(rings, baseline, batch, cut, options.rate)
                rang = sum(pool.map(one, range(options.batches)))
                print(f"| {cut} | {baseline:,} | {batch:,} | {rang} of {options.batches} |", flush=True)


def rings(baseline: int, batch: int, cut: float, rate: float, seed: int) -> bool:
    """Whether any metric of any group rings in a batch of the baseline's world."""
    generator = np.random.default_rng(seed)
    allowed = replace(SETTINGS.monitor, false_alarm_rate=rate / calibrate.OTHERS_SHARE)
    settings = replace(SETTINGS, monitor=allowed, bias=replace(SETTINGS.bias, seed=seed))
    document = thresholds.of_bias(applicants(baseline, cut, generator), settings)
    return any(
        found["violated"]
        for table in applicants(batch, cut, generator)
        for values in table.facet.disadvantaged
        for found in judge.bias(
            document,
            table.facet.name,
            ",".join(values),
            thresholds.bias_values(table.sample(values)),
            batch,
            settings.monitor,
        ).values()
    )


def applicants(rows: int, cut: float, generator: np.random.Generator) -> list[Table]:
    """Two facets of 5 groups in all, one with 5 % of the rows; the model is against women."""
    female = generator.random(rows) < 0.45
    region = generator.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    merit = generator.standard_normal(rows)
    label = merit + generator.standard_normal(rows) - 0.2 * female > cut
    predicted = merit + 0.5 * generator.standard_normal(rows) - 0.4 * female > cut - 0.3 * (cut > 1)
    outcomes = Outcomes(label, predicted, "yes")
    columns = pd.DataFrame({"grade": generator.integers(0, 4, rows).astype(float)})
    facets = (
        Facet("sex", np.where(female, "f", "m").astype(object), (("f",),)),
        Facet("region", region, tuple((name,) for name in "abcd")),
    )
    return [Table(outcomes, facet, "grade", columns) for facet in facets]


if __name__ == "__main__":
    main()
