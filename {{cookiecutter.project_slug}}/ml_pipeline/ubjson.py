"""Whether bytes are one whole UBJSON value: XGBoost's own reader crashes the process on many that are not."""

from __future__ import annotations

WIDTHS = dict(zip(b"ZNTFiUIlLdDC", (0, 0, 0, 0, 1, 1, 2, 4, 8, 4, 8, 1), strict=True))
INTEGERS = b"iUIlL"
MAX_DEPTH = 64


class UbjsonError(ValueError):
    """Bytes that are cut off or otherwise no UBJSON."""


def check(content: bytes) -> None:
    """Raises UbjsonError unless content is exactly one UBJSON value. Source: ubjson.org, draft 12."""
    end = _after_value(content, 0, 0)
    if end != len(content):
        raise UbjsonError(f"{len(content) - end} bytes too many after byte {end}")


def _after_value(content: bytes, at: int, depth: int) -> int:
    """Position after the value whose marker stands at `at`."""
    marker = _byte(content, at)
    return _after_payload(content, at + 1, marker, depth)


def _after_payload(content: bytes, at: int, marker: int, depth: int) -> int:
    if marker in WIDTHS:
        return _within(content, at + WIDTHS[marker])
    if marker in b"SH":
        return _after_text(content, at)
    if marker in b"[{" and depth < MAX_DEPTH:
        return _after_container(content, at, marker, depth + 1)
    raise UbjsonError(f"{bytes([marker])!r} at byte {at - 1} is no type")


def _after_container(content: bytes, at: int, marker: int, depth: int) -> int:
    """Position after an array or object: closed by a bracket, or with a count and perhaps one type."""
    kind = None
    if _byte(content, at) == ord("$"):
        kind, at = _byte(content, at + 1), at + 2
        if _byte(content, at) != ord("#"):
            raise UbjsonError(f"a typed array without a count at byte {at}")
    if _byte(content, at) != ord("#"):
        return _after_open_container(content, at, marker, depth)
    count, at = _length(content, at + 1)
    if marker == ord("[") and kind in WIDTHS:
        return _within(content, at + count * WIDTHS[kind])
    for _ in range(count):
        at = _after_text(content, at) if marker == ord("{") else at
        at = _after_value(content, at, depth) if kind is None else _after_payload(content, at, kind, depth)
    return at


def _after_open_container(content: bytes, at: int, marker: int, depth: int) -> int:
    closing = ord("]") if marker == ord("[") else ord("}")
    while _byte(content, at) != closing:
        at = _after_text(content, at) if marker == ord("{") else at
        at = _after_value(content, at, depth)
    return at + 1


def _after_text(content: bytes, at: int) -> int:
    length, at = _length(content, at)
    return _within(content, at + length)


def _length(content: bytes, at: int) -> tuple[int, int]:
    """A length and the position after it."""
    marker = _byte(content, at)
    if marker not in INTEGERS:
        raise UbjsonError(f"no length at byte {at}")
    end = _within(content, at + 1 + WIDTHS[marker])
    length = int.from_bytes(content[at + 1 : end], "big", signed=marker != ord("U"))
    if length < 0:
        raise UbjsonError(f"a negative length at byte {at}")
    return length, end


def _byte(content: bytes, at: int) -> int:
    _within(content, at + 1)
    return content[at]


def _within(content: bytes, end: int) -> int:
    if end > len(content):
        raise UbjsonError(f"cut off after {len(content)} bytes")
    return end
