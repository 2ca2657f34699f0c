"""What the approved model brings to be measured against: its columns and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_pipeline import storage
from ml_pipeline.drift.bins import Bins
from ml_pipeline.features import FeatureSpec
from ml_pipeline.monitoring import groups, served
from ml_pipeline.monitoring.groups import Group
from ml_pipeline.monitoring.served import Layout
from ml_pipeline.settings import Data


@dataclass(frozen=True)
class Package:
    """document: as Select names it. thresholds: documents by step; bias and its thresholds may be None."""

    document: Mapping[str, Any]
    layout: Layout
    thresholds: Mapping[str, Any]
    statistics: Mapping[str, Any]
    constraints: Mapping[str, Any]
    attributions: Mapping[str, Any]
    bias: Mapping[str, Any] | None

    @property
    def spec(self) -> FeatureSpec:
        return self.layout.spec

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(name for name in self.layout.passed if name in self.spec.ids)

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """By key of the column: features and outputs."""
        of = {"feature": self.thresholds["process"], "output": self.thresholds["evaluate"]}
        return {
            served.key(role, column["name"]): Bins.from_json(column)
            for role, document in of.items()
            for column in document["columns"]
        }

    def groups(self, data: Data) -> list[Group]:
        """Groups whose bias is measured."""
        return groups.of_baseline(self.bias, data) if self.bias else []

    @property
    def mean_attributions(self) -> dict[str, float]:
        """Mean absolute TreeSHAP by feature at the baseline."""
        return self.attributions["explanations"]["tree_shap"]["label0"]["global_shap_values"]


def load(document: Mapping[str, Any]) -> Package:
    """The package that Select describes."""
    baselines, thresholds = document["baselines"], document["thresholds"]
    spec = FeatureSpec.from_json(storage.read_bytes(document["feature_spec_uri"]))
    return Package(
        document,
        Layout(tuple(document["passed_columns"]), spec),
        {name: uri and storage.read_json(uri) for name, uri in thresholds.items()},
        storage.read_json(baselines["statistics"]),
        storage.read_json(baselines["constraints"]),
        storage.read_json(baselines["attributions"]),
        storage.read_json(baselines["bias"]) if baselines["bias"] else None,
    )
