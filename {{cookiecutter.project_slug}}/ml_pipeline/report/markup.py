"""HTML elements whose texts are escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

VOID = ("input", "link", "meta")  # have no end tag
Child: TypeAlias = "str | Iterable[Child] | None"
Value: TypeAlias = "str | int | bool | None"


class Html(str):
    """Markup, which is not escaped again."""


def element(tag: str, *children: Child, **attributes: Value) -> Html:
    """`<tag attributes>children</tag>`: texts are escaped, Html is not, None is left out.

    An underscore in the name of an attribute stands for a hyphen, one at its end for nothing (`class_`).
    """
    inside = "".join(_markup(child) for child in children)
    head = f"<{tag}{''.join(_attribute(*each) for each in attributes.items())}>"
    return Html(head if tag in VOID else f"{head}{inside}</{tag}>")


def joined(children: Iterable[Child]) -> Html:
    """One a line."""
    return Html("\n".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, str):
        return child if isinstance(child, Html) else escape(child, quote=False)
    return joined(child)


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
