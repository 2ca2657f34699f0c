"""Event patterns that moto's matcher reads as EventBridge does; any other is refused."""

from collections.abc import Iterator

TEXTS = ("prefix", "suffix", "equals-ignore-case", "wildcard", "cidr")
COMPARISONS = ("<", "<=", "=", ">=", ">")


def problems(pattern: object, place: str = "") -> Iterator[str]:
    """What is wrong with a pattern, one sentence each."""
    if not isinstance(pattern, dict) or not pattern:
        yield f"{place or 'the pattern'} must be an object with at least one member"
        return
    for name, value in pattern.items():
        inside = f"{place}.{name}".lstrip(".")
        if name == "$or" and isinstance(value, list):
            for each in value:
                yield from problems(each, inside)
        elif isinstance(value, dict):
            yield from problems(value, inside)
        elif not isinstance(value, list) or not value:
            yield f"{inside} must be an object or an array that is not empty"
        else:
            for each in value:
                yield from _filter_problems(each, inside)


def _filter_problems(given: object, place: str) -> Iterator[str]:
    if not isinstance(given, dict):
        return
    name, value = next(iter(given.items()), ("", None))
    known = name in (*TEXTS, "exists", "numeric", "anything-but") and len(given) == 1
    if not known:
        yield f"{place}: unrecognized match type {', '.join(given) or '{}'}"
    elif name == "exists" and not isinstance(value, bool):
        yield f"{place}: exists takes true or false, got {value!r}"
    elif name == "numeric" and not _is_numeric(value):
        yield f"{place}: numeric takes pairs of {', '.join(COMPARISONS)} and a number, got {value!r}"
    elif name == "anything-but" and isinstance(value, dict):
        yield from _filter_problems(value, place)
    elif name in TEXTS and not isinstance(value, str | list | dict):
        yield f"{place}: {name} takes text, got {value!r}"


def _is_numeric(value: object) -> bool:
    if not isinstance(value, list) or not value or len(value) % 2:
        return False
    signs, numbers = value[::2], value[1::2]
    return all(sign in COMPARISONS for sign in signs) and all(isinstance(n, int | float) for n in numbers)
