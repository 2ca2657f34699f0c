"""settings.toml with single values replaced: comments, order and all else stay as they are."""

from __future__ import annotations

import contextlib
import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array, Item, Table

from ml_pipeline import settings

LONG_LINE = 100  # characters of a list, from which it is written over several lines


def edited(text: str, values: Mapping[tuple[str, str], Any]) -> str:
    """The TOML text with the values, by section and key; those that are there already stay as written."""
    document = tomlkit.parse(text)
    for (section, key), value in values.items():
        table = document[section]
        if table[key] != value:
            _replace(table, key, value)
    return tomlkit.dumps(document)


def _replace(table: Table, key: str, value: Any) -> None:
    old = table[key]
    if isinstance(old, Table):
        for name in dict.fromkeys([*old, *value]):
            _set(old, name, value)
    elif isinstance(old, Array) and len(old) and value[: len(old)] == old.unwrap():
        width = _width(old)
        old.extend(value[len(old) :])
        _align_comment(old, width)
    else:
        table[key] = _item(value)
        _align_comment(table[key], _width(old))


def _set(table: Table, name: str, values: Mapping[str, Any]) -> None:
    if name not in values:
        del table[name]
    elif table.get(name) != values[name]:
        table[name] = values[name]


def _item(value: Any) -> Item:
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    item = tomlkit.item(value)
    if isinstance(item, Array):
        item.multiline(len(item.as_string()) > LONG_LINE)
    return item


def _width(item: Item) -> int:
    return len(item.as_string().rpartition("\n")[2])


def _align_comment(item: Item, width: int) -> None:
    """Leaves a comment where it began if the value, whose last line had `width` characters, has room."""
    if item.trivia.comment:
        item.trivia.comment_ws = " " * max(2, len(item.trivia.comment_ws) + width - _width(item))


def difference(old: str, new: str) -> str:
    """Unified diff of two versions of settings.toml."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), settings.FILE, f"{settings.FILE} (new)"
    )
    return "".join(lines)


@contextlib.contextmanager
def candidate(path: Path, text: str) -> Iterator[Path]:
    """A file beside the path with the text: rename it to replace the path at once, else it is gone."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
