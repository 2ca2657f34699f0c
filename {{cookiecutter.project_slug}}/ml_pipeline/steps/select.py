"""Select: the newest approved model, and the periods it is to score, as batch transform takes them."""

from __future__ import annotations

from typing import Any

from ml_pipeline.settings import Settings


def select(period: str, trigger_reason: str, execution_id: str, settings: Settings) -> dict[str, Any]:
    raise NotImplementedError
