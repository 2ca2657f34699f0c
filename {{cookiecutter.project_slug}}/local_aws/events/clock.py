"""The local AWS's time: the machine's, or as far ahead of it as it was moved."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

LONGEST_WAIT_SECONDS = 3600.0


class Source(Protocol):
    """Something that is due at moments of its own: schedules, alarms, deliveries to try again."""

    def next_due(self) -> float | None:
        """Epoch seconds of what comes next, None when nothing does."""

    def run_next(self) -> None:
        """Does what `next_due` answered; the clock shows that moment, or a later one."""


class Clock:
    """Wall time plus an offset; runs what is due in order, in real time or while it is moved.

    `turn` is held by whatever happens by itself, so that one thing happens at a time.
    """

    def __init__(self) -> None:
        self.offset = 0.0
        self.turn = threading.RLock()
        self._sources: list[Source] = []
        self._woken = threading.Event()

    def now(self, record: dict | None = None) -> float:
        """Epoch seconds; for a record, on the clock as it stood when the record was made.

        So a move of the clock makes nothing that runs meanwhile longer than it is.
        """
        return time.time() + (self.offset if record is None else record.get("_offset", 0.0))

    def add(self, source: Source) -> None:
        self._sources.append(source)
        if len(self._sources) == 1:
            threading.Thread(target=self._run, name="clock", daemon=True).start()
        self.wake()

    def wake(self) -> None:
        """To be called when something may be due earlier than before."""
        self._woken.set()

    def move_to(self, moment: float) -> None:
        """Sets the clock ahead; what is due on the way happens in order, each at its own moment."""
        with self.turn:
            if moment < self.now():
                ahead = f"it is {iso(self.now())} already"
                raise ValueError(f"the clock moves forward only, got {iso(moment)}: {ahead}")
            while (due := self._first()) and due[0] <= moment:
                self.offset = max(self.offset, due[0] - time.time())
                due[1].run_next()
            self.offset = max(self.offset, moment - time.time())

    def _first(self) -> tuple[float, Source] | None:
        due = [(moment, source) for source in self._sources if (moment := source.next_due()) is not None]
        return min(due, key=lambda each: each[0], default=None)

    def _run(self) -> None:
        while True:
            self._woken.clear()
            with self.turn:
                due = self._first()
                if due and due[0] <= self.now():
                    due[1].run_next()
                    continue
                wait = due[0] - self.now() if due else LONGEST_WAIT_SECONDS
            self._woken.wait(min(wait, LONGEST_WAIT_SECONDS))


def iso(moment: float) -> str:
    """UTC, to the second, as AWS's events have it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(request: object, now: float) -> float:
    """Where a request moves the clock: {"advance_seconds": N} or {"to": ISO 8601}. Raises ValueError."""
    match request:
        case {"advance_seconds": int() | float() as seconds, **rest} if not rest:
            return now + seconds
        case {"to": str() as text, **rest} if not rest:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ValueError(f"to: got {text!r}, which has no time zone: end it in Z for UTC")
            return moment.timestamp()
    raise ValueError(
        f'the clock takes {{"advance_seconds": number}} or {{"to": "2026-12-07T06:00:00Z"}}, got {request!r}'
    )
