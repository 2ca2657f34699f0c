"""Applicants of a stable world, and the one column of theirs that each changed world changes; numpy alone.

Each world is made once, from the same seeds, so that row i is the same applicant in all of them, and kept in
the temporary folder. Baselines and batches are drawn from these rows without replacement: a batch has no row
of its baseline, and a world that has not changed is exactly that.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SOURCE = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}" / "demos" / "applicants.py"
ROWS = 400_000  # of each world
BLOCK_ROWS = 20_000
SEED = 20240229
NOT_FEATURES = ("applicant_id", "sex", "approved")  # id, facet and label: not what the sample's model sees
BASELINES = (2560, 50_000)
SIZES = (100, 300, 1000, 3000, 10_000, 100_000)
NEW = "wedding"


@dataclass(frozen=True)
class Shift:
    """A change of one column. world: fields of applicants.World; missing: share of cells that lose theirs."""

    name: str
    column: str
    world: Mapping[str, float] = field(default_factory=dict)
    missing: float = 0.0


SHIFTS = (
    *(Shift(f"income x {factor}", "income", {"income": factor}) for factor in (0.95, 0.9, 0.8, 0.7)),
    *(Shift(f"debt ratio + {more}", "debt_ratio", {"debt_ratio": more}) for more in (0.02, 0.05, 0.1)),
    *(Shift(f"new category, {share:.0%}", "purpose", {"new": share}) for share in (0.01, 0.03, 0.08)),
    *(
        Shift(f"missing, + {more * 100:.0f} points", "employment_years", missing=more)
        for more in (0.02, 0.05, 0.1)
    ),
)


@dataclass(frozen=True)
class Values:
    """A column as places among its distinct values, of all worlds; -1 for missing.

    levels: floats, ascending, or words.
    """

    places: np.ndarray
    levels: np.ndarray

    @property
    def words(self) -> bool:
        return self.levels.dtype == object

    def __getitem__(self, rows: np.ndarray | slice) -> Values:
        return Values(self.places[rows], self.levels)

    def without(self, rows: np.ndarray) -> Values:
        """The column with no value where `rows` is true."""
        return Values(np.where(rows, -1, self.places), self.levels)

    def cells(self) -> np.ndarray:
        """Its values: floats with NaN, or words with None, for missing."""
        return np.append(self.levels, None if self.words else np.nan)[self.places]


@dataclass(frozen=True)
class Draw:
    """One repetition: a baseline, and a batch of the largest size; smaller batches are its first rows.

    shifted: by a shift's name, the one column of the same applicants that differs.
    """

    repetition: int
    baseline: dict[str, Values]
    batch: dict[str, Values]
    shifted: dict[str, Values]


def draws(baseline_rows: int, repetitions: range, shifted: int) -> Iterator[Draw]:
    """Repetitions, the first `shifted` of them with changed columns. Same numbers, same rows."""
    stable, changed = pools()
    for repetition in repetitions:
        random = np.random.default_rng((SEED, baseline_rows, repetition))
        rows = random.choice(ROWS, baseline_rows + SIZES[-1], replace=False)
        base, later = rows[:baseline_rows], rows[baseline_rows:]
        batch = {name: column[later] for name, column in stable.items()}
        yield Draw(
            repetition,
            {name: column[base] for name, column in stable.items()},
            batch,
            {
                each.name: _of(each, batch, changed, later, random)
                for each in (SHIFTS if repetition < shifted else ())
            },
        )


def _of(
    shift: Shift,
    batch: Mapping[str, Values],
    changed: Mapping[str, Values],
    rows: np.ndarray,
    random: np.random.Generator,
) -> Values:
    if not shift.missing:
        return changed[shift.name][rows]
    column = batch[shift.column]
    present = (column.places >= 0).mean()
    return column.without(random.random(len(rows)) < shift.missing / present)


@functools.cache
def pools() -> tuple[dict[str, Values], dict[str, Values]]:
    """Columns of the stable world by name, and the changed columns by shift; made if they are not there."""
    made = [each for each in SHIFTS if each.world]
    code = SOURCE.read_bytes() + repr((ROWS, BLOCK_ROWS, SEED, made)).encode()
    folder = Path(tempfile.gettempdir()) / "drift-study" / hashlib.sha256(code).hexdigest()[:16]
    if not folder.exists():
        _make(folder, made)
    words = json.loads((folder / "words.json").read_text())
    with np.load(folder / "stable.npz") as stable, np.load(folder / "changed.npz") as others:
        columns: dict[str, Values] = {}
        changed: dict[str, Values] = {}
        for name, array in stable.items():
            of_shifts = {each.name: others[each.name] for each in made if each.column == name}
            first, *rest = _values([array, *of_shifts.values()], words.get(name))
            columns[name] = first
            changed |= dict(zip(of_shifts, rest, strict=True))
    return columns, changed


def _values(arrays: list[np.ndarray], words: list[str] | None) -> list[Values]:
    """The same column of several worlds, with common levels."""
    if words:
        return [Values(array, np.array(words, object)) for array in arrays]
    levels = np.unique(np.concatenate(arrays))
    levels = levels[~np.isnan(levels)]
    return [
        Values(np.where(np.isnan(each), -1, np.searchsorted(levels, each)).astype(np.int32), levels)
        for each in arrays
    ]


def _make(folder: Path, made: list[Shift]) -> None:
    """All worlds, on all cores."""
    print(f"making {ROWS:,} applicants of each of {1 + len(made)} worlds", file=sys.stderr)
    with multiprocessing.Pool() as workers:
        stable = workers.map(_block, [(None, number) for number in range(ROWS // BLOCK_ROWS)], 1)
        changed = {
            each.name: workers.map(_block, [(each, number) for number in range(ROWS // BLOCK_ROWS)], 1)
            for each in made
        }
    lists = {name: _joined(stable, name) for name in stable[0]}
    words = {
        name: [*sorted(set(cells) - {""}), NEW] for name, cells in lists.items() if isinstance(cells[-1], str)
    }
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        unfinished = Path(name) / "made"
        unfinished.mkdir()
        arrays = {name: _array(cells, words.get(name)) for name, cells in lists.items()}
        np.savez(unfinished / "stable.npz", **arrays)
        others = {
            each.name: _array(_joined(changed[each.name], each.column), words.get(each.column))
            for each in made
        }
        np.savez(unfinished / "changed.npz", **others)
        (unfinished / "words.json").write_text(json.dumps(words))
        os.replace(unfinished, folder)


def _joined(blocks: list[dict[str, list[Any]]], name: str) -> list[Any]:
    return [cell for block in blocks for cell in block[name]]


def _array(cells: list[Any], words: list[str] | None) -> np.ndarray:
    if words is None:
        return np.array([np.nan if cell == "" else cell for cell in cells], np.float64)
    places = {word: place for place, word in enumerate(words)} | {"": -1}
    return np.array([places[cell] for cell in cells], np.int16)


def _block(task: tuple[Shift | None, int]) -> dict[str, list[Any]]:
    """Cells by column: all of the stable world, or the one that a shift changes."""
    shift, number = task
    module = _applicants()
    fields: dict[str, Any] = dict(shift.world) if shift else {}
    if new := fields.pop("new", 0.0):
        known = {name: (share * (1 - new), effect) for name, (share, effect) in module.PURPOSE.items()}
        fields["purposes"] = {NEW: (new, 0.0), **known}
    rows = module.applicants(BLOCK_ROWS, SEED + number, module.World(**fields))
    names = [shift.column] if shift else [name for name in rows[0] if name not in NOT_FEATURES]
    return {name: [row[name] for row in rows] for name in names}


def _applicants() -> ModuleType:
    """The demo's module, which is in no package."""
    spec = importlib.util.spec_from_file_location("applicants", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["applicants"] = module
    spec.loader.exec_module(module)
    return module
