"""Records of one local AWS, in memory and in `records.json` of its state folder."""

import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

FORMAT = 1
SAVE_DELAY_SECONDS = 0.5
OURS = ("records.json", "objects.pickle", "objects", "jobs", "layers", "logs")


class StateError(Exception):
    """The state folder cannot be used; the message names folder and remedy."""


def _hold(folder: Path) -> TextIO:
    """Open file whose lock keeps other servers away from the folder; it falls with this process."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"{folder} is in use by another local AWS: wait until it ends, or choose another with --state"
        ) from None
    return file


class SavedLater:
    """Calls `write` on demand, and in a thread of its own soon after a change; never twice at a time."""

    def __init__(self, write: Callable[[], None], name: str) -> None:
        self._write, self._dirty, self._writing = write, threading.Event(), threading.Lock()
        threading.Thread(target=self._run, name=f"save {name}", daemon=True).start()

    def changed(self) -> None:
        self._dirty.set()

    def save(self) -> None:
        with self._writing:
            self._dirty.clear()
            self._write()

    def _run(self) -> None:
        while self._dirty.wait():
            time.sleep(SAVE_DELAY_SECONDS)
            self.save()


class State:
    """Records by kind and name, JSON types in the API's member names; keys with a leading `_` are private.

    `lock` guards the records, `changed` (a condition on it) is notified after every change. Both are held
    for memory operations only. Every answer is a copy.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder = folder.resolve()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._records: dict[str, dict[str, dict]] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._watchers: list[Callable[[str, dict | None, dict], None]] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = _hold(self.folder)
        if fresh:
            _empty(self.folder)
        self._load()
        self._saver = SavedLater(self._write, "state")

    @property
    def path(self) -> Path:
        return self.folder / "records.json"

    def put(self, kind: str, name: str, record: dict) -> None:
        """Stores a copy of `record` under (kind, name), replacing what was there. JSON types only."""
        text = json.dumps(record)
        with self.changed:
            before = self._records.get(kind, {}).get(name)
            self._texts[kind, name] = text
            self._records.setdefault(kind, {})[name] = after = json.loads(text)
            for watcher in self._watchers:
                watcher(kind, before, after)
            self._touch()

    def watch(self, watcher: Callable[[str, dict | None, dict], None]) -> None:
        """Has `watcher(kind, before, after)` called at every change, under the lock: it must not wait."""
        with self.lock:
            self._watchers.append(watcher)

    def get(self, kind: str, name: str) -> dict:
        """A copy of the record; KeyError when absent."""
        with self.lock:
            return json.loads(self._texts[kind, name])

    def has(self, kind: str, name: str) -> bool:
        return (kind, name) in self._texts

    def find(self, kind: str, **equal: object) -> list[dict]:
        """Copies of the records whose fields equal those given, in order of creation."""
        with self.lock:
            return [self.get(kind, name) for name in self.names(kind, **equal)]

    def names(self, kind: str, **equal: object) -> list[str]:
        """Names of the records that `find` answers."""
        with self.lock:
            named = self._records.get(kind, {}).items()
            return [n for n, r in named if all(r.get(field) == value for field, value in equal.items())]

    def update(self, kind: str, name: str, **fields: object) -> dict:
        """A copy of the record after its `fields` were set; KeyError when absent."""
        with self.changed:
            record = self.get(kind, name) | fields
            self.put(kind, name, record)
            return self.get(kind, name)

    def delete(self, kind: str, name: str) -> None:
        """Forgets the record; KeyError when absent."""
        with self.changed:
            del self._texts[kind, name]
            del self._records[kind][name]
            self._touch()

    def wait(self, kind: str, name: str, until: Callable[[dict], bool], timeout: float | None = None) -> dict:
        """The record once `until(record)` holds; TimeoutError when too late, KeyError when absent."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            while not until(record := self.get(kind, name)):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{kind} {name} did not get there in {timeout} s")
                self.changed.wait(left)
            return record

    def save(self) -> None:
        """Writes all records to the state folder, atomically."""
        self._saver.save()

    def _write(self) -> None:
        with self.lock:
            lines = [f"[{json.dumps(key)},{text}]" for key, text in self._texts.items()]
        body = f'{{"format": {FORMAT}, "records": [\n' + ",\n".join(lines) + "\n]}\n"
        replace_file(self.path, body.encode())

    def _touch(self) -> None:
        self._saver.changed()
        self.changed.notify_all()

    def _load(self) -> None:
        if not self.path.exists():
            return
        for (kind, name), record in read_document(self.path)["records"]:
            self._texts[kind, name] = json.dumps(record)
            self._records.setdefault(kind, {})[name] = record


def replace_file(path: Path, body: bytes) -> None:
    """Writes `body` to `path` so that a reader, or a crash, sees the old bytes or the new ones."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with partial.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_document(path: Path) -> dict:
    """The JSON document at `path`; StateError when it is not one that this version wrote."""
    remedy = f"start with --fresh or delete {path.parent}"
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise StateError(f"{path} is not readable ({error}): {remedy}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise StateError(f"{path} has format {got!r}, this version reads {FORMAT}: {remedy}")
    return document


def _empty(folder: Path) -> None:
    for path in (folder / name for name in OURS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
