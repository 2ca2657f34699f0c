"""The rule of a composite alarm: ALARM, OK and INSUFFICIENT_DATA of other alarms, with AND, OR, NOT."""

import re
from collections.abc import Callable
from dataclasses import dataclass

TOKEN = re.compile(
    r"""\s*(?:(?P<state>(?:ALARM|OK|INSUFFICIENT_DATA)\b)\s*\(\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|"""
    r"""(?P<bare>[^\s()"']+))\s*\)|(?P<word>AND|OR|NOT|TRUE|FALSE|\(|\)))""",
    re.IGNORECASE,
)
# (name or ARN of an alarm) -> its state
StateOf = Callable[[str], str]
Test = Callable[[StateOf], bool]


class RuleError(ValueError):
    """The rule cannot be read; the message says where."""


@dataclass(frozen=True)
class CompositeRule:
    """alarms: names, or ARNs, in the order in which the rule names them."""

    alarms: tuple[str, ...]
    holds: Test


def parse(text: str) -> CompositeRule:
    """Raises RuleError."""
    tokens = _tokens(text)
    parser = _Parser(tokens)
    test = parser.either()
    if parser.at < len(tokens):
        raise RuleError(f"AND or OR expected before {tokens[parser.at][0]!r}")
    return CompositeRule(tuple(dict.fromkeys(alarm for _, alarm in tokens if alarm)), test)


def _tokens(text: str) -> list[tuple[str, str]]:
    """(word, "") or (state, alarm)."""
    tokens, at = [], 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        if not found:
            raise RuleError(f"cannot be read from {text[at:].strip()[:40]!r} on")
        alarm = found["double"] or found["single"] or found["bare"] or ""
        tokens.append(((found["state"] or found["word"]).upper(), alarm))
        at = found.end()
    return tokens


class _Parser:
    """NOT binds closest, then AND, then OR."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.at = tokens, 0

    def either(self) -> Test:
        tests = [self._both()]
        while self._took("OR"):
            tests.append(self._both())
        return lambda state_of: any(test(state_of) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._took("AND"):
            tests.append(self._one())
        return lambda state_of: all(test(state_of) for test in tests)

    def _one(self) -> Test:
        if self._took("NOT"):
            test = self._one()
            return lambda state_of: not test(state_of)
        if self._took("("):
            test = self.either()
            if not self._took(")"):
                raise RuleError("a ) is missing")
            return test
        if self.at >= len(self.tokens):
            raise RuleError("it ends too early")
        word, alarm = self.tokens[self.at]
        self.at += 1
        if alarm:
            return lambda state_of: state_of(alarm) == word
        if word in ("TRUE", "FALSE"):
            return lambda _: word == "TRUE"
        raise RuleError(f"an alarm's state expected, got {word!r}")

    def _took(self, word: str) -> bool:
        taken = self.at < len(self.tokens) and self.tokens[self.at] == (word, "")
        self.at += taken
        return taken
