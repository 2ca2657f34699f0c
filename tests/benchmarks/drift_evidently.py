"""What Evidently's DataDriftPreset finds, in the environment of evidently.txt: `drift_study.py` starts it.

The preset draws pictures, which takes seconds. Asked here is what it asks itself of each column: the kind of
the column, the test by default for it, and that test's verdict. --check runs the preset as well and fails if
it finds otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from drift_worlds import SHIFTS, SIZES, Draw, Values, draws
from evidently import Report
from evidently.core.datasets import infer_column_type
from evidently.legacy.calculations.stattests import get_stattest
from evidently.presets import DataDriftPreset

LARGE = 100_000  # rows, of which the distances of a batch take seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline_rows", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("shifted", type=int)
    parser.add_argument("large", type=int, help="repetitions in which batches of LARGE rows are looked at")
    parser.add_argument("results", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found = []
    for draw in draws(options.baseline_rows, range(options.first, options.last), options.shifted):
        if options.check:
            _check(draw)
        found.append(
            _verdicts(draw, [size for size in SIZES if size < LARGE or draw.repetition < options.large])
        )
    np.save(options.results, np.array(found))


def _verdicts(draw: Draw, sizes: list[int]) -> np.ndarray:
    """Shape (columns + shifts, sizes), -1 where nothing was measured."""
    baseline = {name: series(values) for name, values in draw.baseline.items()}
    batches = [(name, values) for name, values in draw.batch.items()]
    batches += [(each.column, draw.shifted[each.name]) for each in SHIFTS if draw.shifted]
    found = [_drifted(baseline[name], series(values), sizes) for name, values in batches]
    missing = [[-1] * len(SIZES)] * (len(baseline) + len(SHIFTS) - len(found))
    return np.array(found + missing, np.int8)


def _drifted(baseline: pd.Series, batch: pd.Series, sizes: list[int]) -> list[int]:
    baseline = baseline.dropna()
    return [int(drifted(baseline, batch[:size])) if size in sizes else -1 for size in SIZES]


def drifted(baseline: pd.Series, batch: pd.Series) -> bool:
    kind = infer_column_type(batch)
    baseline, batch = baseline.dropna(), batch.dropna()
    return bool(get_stattest(baseline, batch, kind, None)(baseline, batch, kind, None).drifted)


def series(values: Values) -> pd.Series:
    """The column as pandas reads it from a CSV."""
    whole = not values.words and (values.levels == np.rint(values.levels)).all() and values.places.min() >= 0
    return pd.Series(values.cells().astype(np.int64) if whole else values.cells())


def _check(draw: Draw) -> None:
    """Stops if the preset's count of drifted columns is another one; of each size, stable and all shifted."""
    baseline = pd.DataFrame({name: series(values) for name, values in draw.baseline.items()})
    shifted = {each.column: draw.shifted[each.name] for each in SHIFTS}
    for batch in (draw.batch, draw.batch | shifted):
        current = pd.DataFrame({name: series(values) for name, values in batch.items()})
        for size in SIZES:
            report = Report([DataDriftPreset()]).run(current[:size], baseline).dict()
            theirs = int(report["metrics"][0]["value"]["count"])
            own = sum(drifted(baseline[name], current[name][:size]) for name in baseline)
            if theirs != own:
                sys.exit(f"{size} rows: the preset finds {theirs} columns drifted, drift_evidently.py {own}")


if __name__ == "__main__":
    main()
