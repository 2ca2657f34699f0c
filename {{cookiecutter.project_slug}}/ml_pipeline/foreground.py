"""`step NAME`: a step's plain function in this very process, with the arguments that it had in a run."""

from __future__ import annotations

import importlib
import inspect
import json
import pdb
import secrets
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ml_pipeline import runs
from ml_pipeline.errors import InputError
from ml_pipeline.local import ACCOUNT, STATE, LocalAws, prepare
from ml_pipeline.rerun import check_known, step_name, written
from ml_pipeline.settings import Settings

NEW_ID = "step"  # with 8 hexadecimal digits as long as an execution's id: names of child jobs hold no more


@dataclass(frozen=True)
class Called:
    """A call of a step's function. source: `execution.json` of the run that it was recorded in."""

    name: str
    arguments: dict[str, Any]
    source: dict[str, Any]


def call_of(step: str, of: str | None) -> Called:
    """The recorded call of a step. Raises InputError when there is none.

    of: the run; None takes the newest of those, training or scoring, that have called the step.
    """
    name = step_name(step, written())
    called = (run for run in runs.newest_first() if name in _recorded(run)) if of is None else ()
    run = next(iter(called), None) or runs.find(of or "latest")
    recorded = _recorded(run)
    if name not in recorded:
        kind = "scoring run" if runs.pipeline_of(run) == "score" else "run"
        raise InputError(
            f"{kind} {run.name} has not called {name}: it has called {', '.join(recorded) or 'no step'}; "
            "name another run with --of"
        )
    return Called(name.lower(), recorded[name], runs.read(run, "execution.json"))


def _recorded(run: Path) -> dict[str, dict[str, Any]]:
    """Arguments by step."""
    execution = runs.read(run, "execution.json")
    return {ran["name"]: ran["arguments"] for ran in execution["steps"] if ran["arguments"] is not None}


def call(called: Called, settings: Settings, post_mortem: bool) -> int:
    """Calls the function on the local AWS, prints its result; it writes under an execution id of its own."""
    name = called.name
    function = getattr(importlib.import_module(f"ml_pipeline.steps.{name}"), name)
    execution_id = f"{NEW_ID}{secrets.token_hex(4)}"
    with LocalAws(STATE, settings.region) as aws, tempfile.TemporaryDirectory() as folder:
        from ml_pipeline import upsert

        aws.connect()
        check_known(called.source)
        settings = upsert.resolved(settings, ACCOUNT)
        prepare(settings)
        given = called.arguments | {"execution_id": execution_id, "settings": settings}
        if "checkpoint_path" in inspect.signature(function).parameters:
            given["checkpoint_path"] = (
                folder  # in place of the container's; empty, so that nothing is resumed
            )
        bound = _bound(function, given)
        print(f"{name}: outputs go to {settings.uri(execution_id, name)}/ in the local AWS", flush=True)
        with PostMortem(post_mortem):
            result = function(*bound.args, **bound.kwargs)
        print(json.dumps(result, indent=1))
    return 0


def _bound(function: Callable[..., Any], given: dict[str, Any]) -> inspect.BoundArguments:
    try:
        return inspect.signature(function).bind(**given)
    except TypeError as error:
        raise InputError(
            f"{function.__name__} has other parameters now than when it ran ({error}): "
            f"run --from {function.__name__.capitalize()} first"
        ) from None


class PostMortem:
    """Opens the debugger where an error was raised, if it is wanted; the error goes on after that."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> PostMortem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wanted and isinstance(error, Exception):
            traceback.print_exception(error)
            pdb.post_mortem(trace)
