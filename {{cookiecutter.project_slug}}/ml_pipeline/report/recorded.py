"""A run's folder as Python values; what the run did not get to write is None."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from ml_pipeline.metrics import Predictions


@dataclass(frozen=True)
class Run:
    """A folder `runs/<execution id>/`."""

    folder: Path

    def json(self, name: str) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @cached_property
    def execution(self) -> dict[str, Any]:
        return self.json("execution.json")

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        return self.json("metrics.json")

    @cached_property
    def verdict(self) -> dict[str, Any] | None:
        return self.json("verdict.json")

    @cached_property
    def profile(self) -> dict[str, Any] | None:
        return self.json("profile.json")

    @cached_property
    def lineage(self) -> dict[str, Any] | None:
        return self.json("lineage.json")

    @cached_property
    def settings(self) -> dict[str, Any]:
        return (self.lineage or {}).get("settings", {})

    @property
    def confidence(self) -> str:
        """Of the metrics' intervals, such as `95 %`."""
        chosen = self.settings.get("evaluate", {}).get("confidence")
        return f"{100 * chosen:g}\N{NO-BREAK SPACE}%" if chosen else "bootstrap"

    @property
    def id(self) -> str:
        return self.execution["id"]

    @cached_property
    def seconds(self) -> float:
        return seconds_between(self.execution["started"], self.execution["ended"]) or 0.0

    @cached_property
    def classes(self) -> list[str]:
        """Labels in the model's order, the positive one last for two; empty for a regression."""
        return (self.metrics or {}).get("confusion_matrix", {}).get("labels", [])

    @cached_property
    def predictions(self) -> Predictions | None:
        """The test split's, as metrics take them."""
        path = self.folder / "predictions.csv"
        return read_predictions(path, self.classes) if self.metrics and path.exists() else None

    def log(self, step: str) -> str:
        path = self.folder / "logs" / f"{step}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def seconds_between(started: str | None, ended: str | None) -> float | None:
    if not started or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def read_predictions(path: Path, classes: list[str]) -> Predictions:
    """predictions.csv with labels as places in classes; without classes they are numbers.

    Ids come first, and may bear any name: the columns are taken from the end.
    """
    with path.open(newline="", encoding="utf-8") as file:
        names = next(csv.reader(file))
    count = {0: 2, 2: 3}.get(len(classes), 2 + len(classes))
    places = [f"f{place}" for place in range(len(names))]
    wanted = places[-count:]
    words = wanted[:2] if classes else []
    types = {name: pa.string() if name in words else pa.float64() for name in wanted}
    table = pa.csv.read_csv(
        path,
        pa.csv.ReadOptions(column_names=places, skip_rows_after_names=1),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(column_types=types, include_columns=wanted),
    )
    columns = [column.combine_chunks() for column in table.columns]
    if not classes:
        label, prediction = (column.to_numpy(zero_copy_only=False) for column in columns)
        return Predictions(label, prediction, prediction)
    label, predicted = (_places(column, classes) for column in columns[:2])
    scores = np.stack([column.to_numpy(zero_copy_only=False) for column in columns[2:]], axis=1)
    return Predictions(label, scores[:, 0] if len(classes) == 2 else scores, predicted)


def _places(column: pa.Array, classes: list[str]) -> np.ndarray:
    return pa.compute.index_in(column, pa.array(classes)).to_numpy(zero_copy_only=False)
