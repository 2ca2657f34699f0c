"""The steps of a compiled definition and which of them need which."""

from __future__ import annotations

import json
import re
from typing import Any

REFERENCE = re.compile(r'"Get": "Steps\.([A-Za-z0-9_-]+)')
BRANCHES = ("IfSteps", "ElseSteps")


def needs(definition: dict[str, Any]) -> dict[str, set[str]]:
    """Names of the steps that each step needs itself, in the order of the definition, branches included."""
    found: dict[str, set[str]] = {}
    for step in definition["Steps"]:
        arguments = {key: value for key, value in step["Arguments"].items() if key not in BRANCHES}
        found[step["Name"]] = {*step.get("DependsOn", []), *REFERENCE.findall(json.dumps(arguments))}
        for branch in BRANCHES:
            inner = needs({"Steps": step["Arguments"].get(branch, [])})
            found |= {name: needed | {step["Name"]} for name, needed in inner.items()}
    return found


def downstream(definition: dict[str, Any], name: str) -> list[str]:
    """The step and every one that needs it, directly or through others, in the order of the definition."""
    needed, reached = needs(definition), {name}
    while more := {step for step, wanted in needed.items() if step not in reached and wanted & reached}:
        reached |= more
    return [step for step in needed if step in reached]


def upstream(definition: dict[str, Any], name: str) -> list[str]:
    """Every step that the step needs, directly or through others, in the order of the definition."""
    needed, reached = needs(definition), {name}
    while more := set().union(*(needed[step] for step in reached)) - reached:
        reached |= more
    return [step for step in needed if step in reached - {name}]


def outermost(definition: dict[str, Any], name: str) -> str:
    """The step itself, or the condition in one of whose branches it lies."""
    return next(step["Name"] for step in definition["Steps"] if name in needs({"Steps": [step]}))
