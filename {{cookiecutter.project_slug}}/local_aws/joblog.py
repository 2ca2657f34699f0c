"""A job's log: from its file to CloudWatch Logs, and the metrics that its lines hold."""

import math
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

BATCH_EVENTS, BATCH_BYTES, EVENT_BYTES = 10_000, 1_000_000, 250_000
FLUSH_SECONDS = 1.0
READ_BYTES = 1 << 20
# CloudWatch's agent writes a tab as #011, and AWS's own expressions expect it so.
ESCAPED_TAB = "#011"
XGBOOST_METRIC = re.compile(r"\t(train|validation)-([^:\s]+):(\S+)")
XGBOOST_NAMES = ("train:", "validation:")
XGBOOST_ROUND = re.compile(r"^\[\d+\]\t")


class JobLog:
    """Follows a log file and carries it to a CloudWatch Logs stream."""

    def __init__(self, logs: Any, group: str, stream: str, path: Path) -> None:
        self._logs, self._group, self._stream = logs, group, stream
        self._path, self._offset, self._rest = path, 0, b""
        self._events: list[dict] = []
        self._flushed = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self._open()

    def _open(self) -> None:
        """Makes the stream; where the job's role may not, the job has no log in CloudWatch."""
        try:
            _open_group(self._logs, self._group)
            self._logs.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
        except ClientError as error:
            self._lose(error)

    def _lose(self, error: ClientError) -> None:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise error
        self.write(f"[local AWS] this log is not in CloudWatch: {error.response['Error']['Message']}")
        self._logs = None

    def pump(self) -> list[str]:
        """The complete lines written since the last call."""
        lines: list[str] = []
        while chunk := self._read():
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            lines += [line.decode(errors="replace").rstrip("\r") for line in complete]
        self._add(lines)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()
        return lines

    def finish(self) -> list[str]:
        """The last lines, an unfinished one included, once all of the log is in CloudWatch."""
        lines = self.pump()
        if self._rest:
            last, self._rest = self._rest.decode(errors="replace"), b""
            self._add([last])
            lines.append(last)
        self._flush()
        return lines

    def write(self, line: str) -> None:
        """Adds a line of the platform's own to the log file."""
        with self._path.open("a") as file:
            file.write(line + "\n")

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read(READ_BYTES)
        self._offset += len(chunk)
        return chunk

    def _add(self, lines: list[str]) -> None:
        self._events += _events(lines)

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if self._logs is None:
            self._events.clear()
            return
        try:
            _put(self._logs, self._group, self._stream, self._events)
        except ClientError as error:
            self._lose(error)


def restore(logs: Any, group: str, job: str, path: Path) -> None:
    """Puts the log of a job that an earlier server ran back into CloudWatch Logs, if it is not there."""
    _open_group(logs, group)
    if not logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]:
        stream = f"{job}/{int(path.stat().st_mtime)}"
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        _put(logs, group, stream, _events(path.read_text(errors="replace").split("\n")))


def _open_group(logs: Any, group: str) -> None:
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)


def _events(lines: list[str]) -> list[dict]:
    now = int(time.time() * 1000)
    return [
        {"timestamp": now, "message": line[start : start + EVENT_BYTES]}
        for line in lines
        for start in range(0, len(line), EVENT_BYTES)
    ]


def _put(logs: Any, group: str, stream: str, events: list[dict]) -> None:
    """Sends the events and empties the list."""
    while events:
        batch = _batch(events)
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events[:batch])
        del events[:batch]


def _batch(events: list[dict]) -> int:
    """How many of `events` fit into one PutLogEvents request."""
    size = 0
    for count, event in enumerate(events[:BATCH_EVENTS]):
        size += 4 * len(event["message"]) + 26
        if size > BATCH_BYTES and count:
            return count
    return min(len(events), BATCH_EVENTS)


class Metrics:
    """The values that a job's log lines hold, by metric.

    definitions: name to regular expression with one group. Those of the built-in XGBoost are implicit:
    `<channel>:<metric>` of each round's line.
    """

    def __init__(self, definitions: list[dict], xgboost: bool) -> None:
        given = [each for each in definitions if not (xgboost and each["Name"].startswith(XGBOOST_NAMES))]
        self._definitions = [(each["Name"], re.compile(each["Regex"])) for each in given]
        self._xgboost = xgboost
        self.history: dict[str, list[float]] = {}
        self._stamps: dict[str, float] = {}

    def read(self, lines: list[str]) -> bool:
        """Whether `lines` held a value."""
        found = [value for line in lines for value in self._values(line)]
        for name, text in found:
            number = _number(text)
            if number is not None:
                self.history.setdefault(name, []).append(number)
                self._stamps[name] = time.time()
        return bool(found)

    def final(self) -> list[dict]:
        """FinalMetricDataList: the latest value of each metric."""
        return [
            {"MetricName": name, "Value": values[-1], "Timestamp": self._stamps[name]}
            for name, values in self.history.items()
        ]

    def _values(self, line: str) -> list[tuple[str, str]]:
        values = []
        for name, pattern in self._definitions:
            match = pattern.search(line) or pattern.search(line.replace("\t", ESCAPED_TAB))
            if match:
                values.append((name, match.group(1)))
        if self._xgboost and XGBOOST_ROUND.match(line):
            values += [(f"{channel}:{name}", text) for channel, name, text in XGBOOST_METRIC.findall(line)]
        return values


def _number(text: str) -> float | None:
    """The number in `text`; None for what is no finite number, which CloudWatch refuses."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
