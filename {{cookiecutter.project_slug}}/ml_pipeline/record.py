"""Keeps what a step was called with and what it returned beside its artefacts."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from ml_pipeline import storage
from ml_pipeline.lineage import lineage


def recorded(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The step function, which now also writes arguments, lineage and result as JSON, and last `_SUCCESS`.

    The function must take `execution_id` and `settings`. Raises TypeError when its result is not made of JSON
    types: the SDK would let it pass, and a condition on it would read null.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> dict[str, Any]:
        logging.getLogger("botocore").setLevel(logging.WARNING)  # the SDK has turned on its INFO lines
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        folder = arguments["settings"].uri(arguments["execution_id"], function.__name__)
        plain = {name: value for name, value in arguments.items() if _is_json(value)}
        storage.write_json(f"{folder}/arguments.json", plain)
        storage.write_json(f"{folder}/lineage.json", lineage(arguments["settings"]))
        result = function(*args, **kwargs)
        if not isinstance(result, dict) or not _is_json(result):
            raise TypeError(f"{function.__name__} must return a dict of JSON types, got {_culprit(result)}")
        storage.write_json(f"{folder}/result.json", result)
        storage.mark_success(folder)
        return result

    return call


def _culprit(result: Any) -> str:
    if not isinstance(result, dict):
        return repr(result)
    return ", ".join(f"{key} = {value!r}" for key, value in result.items() if not _is_json({key: value}))


def _is_json(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return False
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False
