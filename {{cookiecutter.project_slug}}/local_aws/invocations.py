"""Requests to a model's container: objects cut into batches, answers in their order."""

import itertools
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus

import urllib3

from local_aws.rowfilter import BadRow, Processing

PING_TIMEOUT_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.1
MOST_OF_MESSAGE = 800
GROUP_LINES = 1000  # lines that are looked at together, which takes a fifth of the time


class BadObject(Exception):
    """An object that has no output; the message says why, in the container's words where it has any."""


class BadAnswer(Exception):
    """What the container answered, or that it did not."""


@dataclass(frozen=True)
class Limits:
    """How objects are cut. split: by line, else each object is one request. single: one record a request."""

    at_once: int
    payload_bytes: int
    split: bool
    single: bool


@dataclass(frozen=True)
class Batch:
    """The input rows of one request and its body."""

    rows: list[bytes]
    body: bytes


@dataclass(frozen=True)
class Endpoint:
    """A container's HTTP side. retries: how often a request that the container fails is sent again."""

    url: str
    timeout_seconds: float
    retries: int
    headers: dict[str, str]
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=100))

    def answers_ping(self) -> bool:
        try:
            return self._get("/ping").status == HTTPStatus.OK
        except urllib3.exceptions.HTTPError:
            return False  # not up yet

    def execution_parameters(self) -> dict:
        """What the container wants; nothing when it does not say. BadAnswer when it is not JSON."""
        try:
            answer = self._get("/execution-parameters")
            return json.loads(answer.data) if answer.status == HTTPStatus.OK else {}
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise BadAnswer(f"/execution-parameters: {error}") from None

    def invoke(self, body: bytes) -> bytes:
        """The answer to a request. BadObject when it is refused, or has failed more than `retries` times."""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
            try:
                answer = self._send(
                    "POST", "/invocations", self.timeout_seconds, body=body, headers=self.headers
                )
            except urllib3.exceptions.HTTPError as error:
                problem = f"the container did not answer: {error}"
                continue
            if answer.status == HTTPStatus.OK:
                return answer.data
            text = answer.data.decode(errors="replace").strip()[:MOST_OF_MESSAGE]
            problem = f"Bad HTTP status received from algorithm: {answer.status}: {text}"
            if (
                answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
                and answer.status != HTTPStatus.TOO_MANY_REQUESTS
            ):
                break
        raise BadObject(problem)

    def _get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self._send("GET", path, PING_TIMEOUT_SECONDS)

    def _send(self, method: str, path: str, seconds: float, **more: object) -> urllib3.BaseHTTPResponse:
        return self.pool.request(method, self.url + path, timeout=seconds, retries=False, **more)


def transformed(
    lines: Iterable[bytes],
    endpoint: Endpoint,
    processing: Processing,
    limits: Limits,
    assemble_lines: bool,
    pool: ThreadPoolExecutor,
) -> Iterator[bytes]:
    """What an object's lines become, in their order.

    pool: of `at_once` threads, that sends the requests of all objects; at most so many wait of this one.
    """
    pending: deque = deque()
    for batch in batches(lines, processing, limits):
        if len(pending) == limits.at_once:
            yield _output(*_next(pending), processing, assemble_lines)
        pending.append((batch, pool.submit(endpoint.invoke, batch.body)))
    while pending:
        yield _output(*_next(pending), processing, assemble_lines)


def _next(pending: deque) -> tuple[Batch, bytes]:
    batch, answer = pending.popleft()
    return batch, answer.result()


def batches(lines: Iterable[bytes], processing: Processing, limits: Limits) -> Iterator[Batch]:
    """The requests of an object: each as many rows as fit, one row, or all of it."""
    if not limits.split:
        body = b"".join(lines)
        _check_size(len(body), limits, "the object")
        yield Batch([body], body)
        return
    rows: list[bytes] = []
    sent: list[bytes] = []
    size = 0
    for number, some in _groups(lines, 1 if limits.single else GROUP_LINES):
        requests = _requests(number, some, processing)
        length = sum(map(len, requests)) + len(requests)
        if not limits.single and size + length <= limits.payload_bytes:
            rows += some
            sent += requests
            size += length
            continue
        for place, (row, request) in enumerate(zip(some, requests, strict=True)):
            _check_size(len(request), limits, f"row {number + place}")
            if rows and (limits.single or size + len(request) + 1 > limits.payload_bytes):
                yield Batch(rows, b"\n".join(sent))
                rows, sent, size = [], [], 0
            rows.append(row)
            sent.append(request)
            size += len(request) + 1
    if rows:
        yield Batch(rows, b"\n".join(sent))


def _groups(lines: Iterable[bytes], most: int) -> Iterator[tuple[int, list[bytes]]]:
    """Rows without their line ends, several at a time, and the number of the first, counted from 1."""
    lines, number = iter(lines), 1
    while some := [line.rstrip(b"\r\n") for line in itertools.islice(lines, most)]:
        yield number, some
        number += len(some)


def _requests(number: int, rows: list[bytes], processing: Processing) -> list[bytes]:
    try:
        return processing.request_rows(rows)
    except BadRow:
        return [_request_row(number + place, row, processing) for place, row in enumerate(rows)]


def _request_row(number: int, row: bytes, processing: Processing) -> bytes:
    try:
        return processing.request_rows([row])[0]
    except BadRow as error:
        raise BadObject(f"row {number}: {error}") from None


def _check_size(size: int, limits: Limits, what: str) -> None:
    if size > limits.payload_bytes:
        allowed = limits.payload_bytes >> 20
        raise BadObject(f"{what} has {size:,} bytes, MaxPayloadInMB allows {allowed} MB a request")


def _output(batch: Batch, answer: bytes, processing: Processing, assemble_lines: bool) -> bytes:
    if processing.changes_output:
        predictions = answer.removesuffix(b"\n").split(b"\n")
        if len(predictions) != len(batch.rows):
            counts = f"{len(predictions)} rows for {len(batch.rows)} records"
            raise BadObject(f"the container answered {counts}: they cannot be joined or filtered")
        made = [each.rstrip(b"\r") for each in predictions] if b"\r" in answer else predictions
        try:
            return b"\n".join([*processing.output_rows(batch.rows, made), b""])
        except BadRow as error:
            raise BadObject(str(error)) from None
    return answer.removesuffix(b"\n") + b"\n" if assemble_lines else answer
