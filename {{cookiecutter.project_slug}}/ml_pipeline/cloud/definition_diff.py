"""What a new pipeline would differ in from the deployed one, as unified diffs: definition, code, settings."""

from __future__ import annotations

import difflib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

# What differs at every compilation, or only because the code does, which has a diff of its own.
TIME = re.compile(r"\b\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-\d{3}\b")
CONTENT = re.compile(r"(?<=/code/)[0-9a-f]{32}\b")
IMAGE_TAG = re.compile(r"(?<=:)[0-9a-f]{16}$")
KEY = "REMOTE_FUNCTION_SECRET_KEY"
CONTEXT_LINES = 2


def normalised(definition: str) -> str:
    """The definition as indented JSON, without times, keys and hashes."""
    return json.dumps(_plain(json.loads(definition)), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(key): "KEY" if key == KEY else _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    return IMAGE_TAG.sub("TAG", CONTENT.sub("HASH", TIME.sub("TIME", text)))


def workspaces(definition: str) -> set[str]:
    """URIs of the archives of code that the steps of a definition unpack."""
    return set(re.findall(r"s3://[^\"]+/workspace\.zip", definition))


def archived(archive: bytes) -> dict[str, str]:
    """Texts of the files in a workspace, by path."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        names = [name for name in opened.namelist() if not name.endswith("/")]
        return {_from_package(name): opened.read(name).decode(errors="replace") for name in names}


def _from_package(name: str) -> str:
    """The SDK packs the files under a folder of its own."""
    return name[name.find("ml_pipeline/") :]


def between(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Unified diff of texts by name, in order of the names."""
    return [
        line
        for name in sorted({*before, *after})
        for line in unified(name, before.get(name, ""), after.get(name, ""))
    ]


def unified(name: str, before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        f"deployed/{name}",
        f"checkout/{name}",
        lineterm="",
        n=CONTEXT_LINES,
    )
    return list(lines)


def flat(settings: Mapping[str, Any], place: str = "") -> str:
    """Settings as one `section.key = value` a line."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            lines.append(flat(value, f"{place}{key}."))
        else:
            lines.append(f"{place}{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)
