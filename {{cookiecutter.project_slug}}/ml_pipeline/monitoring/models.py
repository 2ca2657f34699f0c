"""Models and the packages they come from, each loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_pipeline.monitoring import package
from ml_pipeline.monitoring.package import Package
from ml_pipeline.serving import Model
from ml_pipeline.steps.evaluate import load


@dataclass(frozen=True)
class Scorer:
    """A package and, once it is needed, its model."""

    package: Package

    @cached_property
    def model(self) -> Model:
        return load(self.package.document["model_uri"])


class Models:
    def __init__(self) -> None:
        self._scorers: dict[str, Scorer] = {}

    def of(self, document: Mapping[str, Any]) -> Scorer:
        """document: as Select returns it. One package may have been scored with other passed columns."""
        known = repr((document["package_arn"], document["passed_columns"]))
        if known not in self._scorers:
            self._scorers[known] = Scorer(package.load(document))
        return self._scorers[known]
