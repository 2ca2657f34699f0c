"""Waiting for what the local AWS does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
SECONDS = 90


def until(reached: Callable[[], Value]) -> Value:
    """What `reached` answers, once that is true. Raises TimeoutError after SECONDS."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := reached():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"not reached within {SECONDS} s")
