"""One line a step while an execution runs: redrawn in a terminal, printed once each elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

ENDED = {"Succeeded": "green", "Failed": "red", "Stopped": "yellow", "kept": "bright_black"}


@dataclass(frozen=True)
class Line:
    """What is shown of one step."""

    name: str
    status: str
    seconds: float | None
    text: str


def line(step: dict[str, Any], text: str) -> Line:
    """step: as ListPipelineExecutionSteps reports it. text: its result or reason in one line."""
    started = step.get("StartTime")
    seconds = ((step.get("EndTime") or datetime.now(UTC)) - started).total_seconds() if started else None
    return Line(step["StepName"], step["StepStatus"], seconds, text)


def kept_line(step: dict[str, Any], text: str) -> Line:
    """The line of a step that an earlier run did: it took this one no time."""
    return Line(step["StepName"], "kept", None, text)


class Progress:
    """Shows steps by name in the order given, then whatever else turns up."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._printed: set[str] = set()
        self._live = Live(console=Console(), auto_refresh=False) if sys.stdout.isatty() else None

    def __enter__(self) -> Callable[[list[Line]], None]:
        if self._live:
            self._live.start()
        return self._show

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def _show(self, lines: list[Line]) -> None:
        if self._live:
            self._live.update(_table(self._names, lines), refresh=True)
        else:
            self._print(lines)

    def _print(self, lines: list[Line]) -> None:
        for shown in lines:
            if shown.status in ENDED and shown.name not in self._printed:
                self._printed.add(shown.name)
                seconds = "" if shown.seconds is None else f"{shown.seconds:.1f} s"
                print(f"{shown.name:<12} {shown.status:<9} {seconds:>8}  {shown.text}", flush=True)


def _table(names: list[str], lines: list[Line]) -> Table:
    found = {shown.name: shown for shown in lines}
    table = Table.grid(padding=(0, 2))
    for name in [*names, *(name for name in found if name not in names)]:
        shown = found.get(name, Line(name, "", None, ""))
        seconds = "" if shown.seconds is None else f"{shown.seconds:.1f} s"
        table.add_row(name, Text(shown.status, ENDED.get(shown.status, "cyan")), seconds, Text(shown.text))
    return table
