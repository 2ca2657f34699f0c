"""Monitor: publishes the scores, joins labels that have come, measures drift and tells CloudWatch."""

from __future__ import annotations

from typing import Any

from ml_pipeline.settings import Settings


def monitor(
    package: dict[str, Any],
    periods: list[dict[str, Any]],
    predictions_uri: str,
    execution_id: str,
    settings: Settings,
) -> dict[str, Any]:
    raise NotImplementedError
