"""Checkpoints of a training: written atomically, named by round, and never resumed by another training."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = 2  # the newest, and the one before should its upload have been cut off
NAME = re.compile(r"checkpoint-(\d{8})")


@dataclass(frozen=True)
class Checkpoint:
    """A training after whole segments: booster, and learning curve, which is all the early-stopping state.

    curve: {split: {metric: [value of each round]}}.
    """

    booster: bytes
    curve: dict[str, dict[str, list[float]]]

    @property
    def rounds(self) -> int:
        """Rounds trained so far."""
        return len(next(iter(next(iter(self.curve.values())).values())))


def save(folder: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Adds the checkpoint and deletes all but the newest; a kill at any moment leaves a whole one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{checkpoint.rounds:08d}"
    unfinished = folder / ".unfinished"  # always this name, so that kills leave one file at most
    with unfinished.open("wb") as file:
        file.write(_packed(checkpoint, fingerprint))
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()


def newest(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The newest checkpoint of this very training, or None; each one passed over is told with its reason."""
    for path in _newest_first(folder):
        try:
            return _unpacked(path.read_bytes(), fingerprint)
        except ValueError as error:
            print(f"Train: warning: ignored checkpoint {path}: {error}", flush=True)
    return None


def _newest_first(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if NAME.fullmatch(path.name)), reverse=True)


def _packed(checkpoint: Checkpoint, fingerprint: str) -> bytes:
    """One JSON line, then the booster."""
    head = {"fingerprint": fingerprint, "sha256": _sha256(checkpoint.booster), "curve": checkpoint.curve}
    return json.dumps(head).encode() + b"\n" + checkpoint.booster


def _unpacked(content: bytes, fingerprint: str) -> Checkpoint:
    """Raises ValueError saying why the content is no checkpoint of this training."""
    line, _, booster = content.partition(b"\n")
    head = _head(line)
    if head["fingerprint"] != fingerprint:
        raise ValueError("it belongs to other data, hyperparameters, settings or another XGBoost version")
    if head["sha256"] != _sha256(booster):
        raise ValueError("it is damaged: its checksum does not match")
    return Checkpoint(booster, head["curve"])


def _head(line: bytes) -> dict[str, Any]:
    try:
        head = json.loads(line)
    except ValueError:
        raise ValueError("it cannot be read: its first line is not JSON") from None
    if not isinstance(head, dict) or not {"fingerprint", "sha256", "curve"} <= head.keys():
        raise ValueError("it cannot be read: its first line lacks fingerprint, sha256 or curve")
    return head


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
