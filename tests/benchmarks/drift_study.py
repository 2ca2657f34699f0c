"""How often rules of drift ring in a stable world, and what they find in changed ones; --help lists options.

Each of the sample's features is held against its baseline, alone; a rule rings if any of them has drifted.
Evidently's is also shown as its dataset drift: half of the columns.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1]
sys.path.insert(0, str(TEMPLATE / "{{cookiecutter.project_slug}}"))

import drift_rules  # noqa: E402, which needs the path
import drift_worlds  # noqa: E402
from drift_worlds import BASELINES, SHIFTS, SIZES  # noqa: E402

EVIDENTLY_ANY, EVIDENTLY_HALF = "Evidently, any column", "Evidently, dataset"
SHOWN = (
    drift_rules.CALIBRATED,
    drift_rules.PSI,
    drift_rules.ROBUST,
    drift_rules.SIMPLE,
    EVIDENTLY_ANY,
    EVIDENTLY_HALF,
)
COMPARED = (drift_rules.CALIBRATED, drift_rules.PSI, drift_rules.ROBUST, EVIDENTLY_ANY)
CHUNK = 25  # repetitions of a process
Z = 1.96  # of 95 % intervals
FOUND = 0.9  # of batches, for a shift to count as found
TRUSTED = 0.05  # of stable batches may ring, or nothing is found by it

Rings = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """Repetitions first to last against a baseline; those below `shifted` have changed worlds too."""

    baseline_rows: int
    first: int
    last: int
    shifted: int
    large: int = 0
    check: bool = False


def main() -> None:
    options = _parser().parse_args()
    drift_worlds.pools()
    options.results.mkdir(exist_ok=True)
    if options.repetitions:
        _measure_own(options)
    if options.evidently:
        _measure_evidently(options)
    for line in report({rows: _rings(_read(options.results, rows)) for rows in BASELINES}):
        print(line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--repetitions", type=int, default=400, help="stable batches of each size; 0: as measured"
    )
    parser.add_argument("--shifted", type=int, default=100, help="of them with changed worlds beside")
    parser.add_argument(
        "--evidently", type=int, default=100, help="the same of Evidently, which takes longer"
    )
    parser.add_argument("--evidently-shifted", type=int, default=50)
    parser.add_argument(
        "--evidently-large", type=int, default=20, help="of them with batches of 100,000 rows"
    )
    parser.add_argument(
        "--check", type=int, default=1, help="repetitions in which Evidently's preset itself runs"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument(
        "--results", type=Path, default=Path("drift-study"), help="folder of what was measured"
    )
    return parser


def _measure_own(options: argparse.Namespace) -> None:
    with ProcessPoolExecutor(options.processes) as processes:
        for rows in BASELINES:
            parts = list(_parts(options.repetitions, Part(rows, 0, 0, options.shifted)))
            _write(options.results / f"own-{rows}.json", processes.map(own, parts))


def _measure_evidently(options: argparse.Namespace) -> None:
    python = evidently_python()
    with ThreadPoolExecutor(options.processes) as threads:
        for rows in BASELINES:
            part = Part(rows, 0, options.check, options.evidently_shifted, options.evidently_large, True)
            parts = [part] if part.last else []
            parts += _parts(options.evidently, replace(part, check=False))
            found = threads.map(lambda part: evidently(python, part), parts)
            _write(options.results / f"evidently-{rows}.json", found)


def _write(file: Path, found: Iterator[Rings]) -> None:
    """{rule: hits} of all parts; hits: see `own`."""
    parts = list(found)
    hits = {rule: np.concatenate([part[rule] for part in parts]).tolist() for rule in parts[0]}
    file.write_text(json.dumps(hits))


def _read(folder: Path, rows: int) -> Rings:
    files = [folder / f"{family}-{rows}.json" for family in ("own", "evidently")]
    return {
        rule: np.array(hits)
        for file in files
        if file.exists()
        for rule, hits in json.loads(file.read_text()).items()
    }


def _parts(repetitions: int, after: Part) -> Iterator[Part]:
    """CHUNK by CHUNK up to so many repetitions."""
    for first in range(after.last, repetitions, CHUNK):
        yield replace(after, first=first, last=min(first + CHUNK, repetitions))


def own(part: Part) -> Rings:
    """By rule whether a column has drifted, shape (repetitions, columns + shifts, sizes).

    The first are the columns of a stable batch, the others the one that a shift changes, -1 if not drawn.
    """
    hits: dict[str, list] = {rule: [] for rule in drift_rules.RULES}
    for draw in drift_worlds.draws(part.baseline_rows, range(part.first, part.last), part.shifted):
        judge = drift_rules.judge_of(draw.baseline, draw.repetition)
        answers = [judge.answers(name, values) for name, values in draw.batch.items()]
        if draw.shifted:
            answers += [judge.answers(each.column, draw.shifted[each.name]) for each in SHIFTS]
        for rule, of_rule in hits.items():
            missing = [np.full(len(SIZES), -1)] * (0 if draw.shifted else len(SHIFTS))
            of_rule.append(np.array([answer[rule] for answer in answers] + missing, np.int8))
    return {rule: np.array(of_rule) for rule, of_rule in hits.items()}


def evidently(python: Path, part: Part) -> Rings:
    """The same of Evidently, by a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hits.npy"
        numbers = [part.baseline_rows, part.first, part.last, part.shifted, part.large]
        command = [python, HERE / "drift_evidently.py", *map(str, numbers), file]
        environment = os.environ | {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, *(["--check"] if part.check else [])], check=True, env=environment)
        return {"Evidently": np.load(file)}


def evidently_python() -> Path:
    """Python of the environment of evidently.txt, made or brought up to date."""
    python = TEMPLATE / ".evidently" / "bin" / "python"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, python.parents[1]], check=True)
    into = ["--python", str(python), "--require-hashes", str(HERE / "evidently.txt")]
    subprocess.run([uv, "pip", "sync", "--quiet", *into], check=True)
    return python


def _rings(hits: Rings) -> Rings:
    """By rule whether a batch rings, shape (repetitions, 1 + shifts, sizes): stable first; -1: not drawn."""
    rings = {rule: _combined(of_rule, lambda share: share > 0) for rule, of_rule in hits.items()}
    if "Evidently" in rings:
        rings[EVIDENTLY_ANY] = rings.pop("Evidently")
        rings[EVIDENTLY_HALF] = _combined(hits["Evidently"], lambda share: share >= 0.5)
    return rings


def _combined(hits: np.ndarray, rings: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    names = list(drift_worlds.pools()[0])
    columns = len(names)
    stable = hits[:, :columns]
    worlds = [stable]
    for place, shift in enumerate(SHIFTS):
        batch = stable.copy()
        batch[:, names.index(shift.column)] = hits[:, columns + place]
        worlds.append(batch)
    return np.stack([np.where(each.min(axis=1) < 0, -1, rings(each.mean(axis=1))) for each in worlds], axis=1)


def interval(count: int, of: int) -> tuple[float, float]:
    """Share with 95 % confidence, low and high. Source: Wilson (1927)."""
    share, square = count / of, Z * Z / of
    middle, half = share + square / 2, Z * math.sqrt(share * (1 - share) / of + square / of / 4)
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def report(rings: dict[int, Rings]) -> Iterator[str]:
    """Tables in Markdown."""
    for rows, of_rules in rings.items():
        yield from _false_alarms(rows, of_rules)
    for rows, of_rules in rings.items():
        yield from _found(rows, of_rules)
    for rows, of_rules in rings.items():
        yield from _side_by_side(rows, of_rules)
    yield from _smallest(rings)
    for rows, of_rules in rings.items():
        for place, shift in enumerate(SHIFTS, 1):
            yield from _rates(f"{shift.name}, baseline {rows:,}", place, of_rules, SHOWN)


def _false_alarms(rows: int, of_rules: Rings) -> Iterator[str]:
    yield from _rates(f"stable, baseline {rows:,}", 0, of_rules, (*SHOWN, drift_rules.ANY_SIZE))


def _rates(title: str, place: int, of_rules: Rings, rules: tuple[str, ...]) -> Iterator[str]:
    cells = [title, *(f"{size:,}" for size in SIZES), "batches"]
    yield from ("", "| " + " | ".join(cells) + " |", "|" + "---|" * len(cells))
    for rule in (rule for rule in rules if rule in of_rules):
        columns = [of_size[of_size >= 0] for of_size in of_rules[rule][:, place].T]
        cells = [_with_interval(int(each.sum()), len(each)) for each in columns]
        batches = ", ".join(str(count) for count in sorted({len(each) for each in columns}, reverse=True))
        yield f"| {rule} | " + " | ".join(cells) + f" | {batches} |"


def _with_interval(count: int, of: int) -> str:
    low, high = interval(count, of)
    return f"{100 * count / of:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _found(rows: int, of_rules: Rings) -> Iterator[str]:
    """The least size from which on FOUND of the shifted batches ring, and TRUSTED of the stable at most."""
    rules = [rule for rule in SHOWN if rule in of_rules]
    yield ""
    yield f"| found in {FOUND:.0%}, baseline {rows:,} | " + " | ".join(rules) + " |"
    yield "|" + "---|" * (1 + len(rules))
    for place, shift in enumerate(SHIFTS, 1):
        yield f"| {shift.name} | " + " | ".join(_size(of_rules[rule], place) for rule in rules) + " |"


def _side_by_side(rows: int, of_rules: Rings) -> Iterator[str]:
    """Percent of batches that ring, of COMPARED rules in a cell."""
    rules = [rule for rule in COMPARED if rule in of_rules]
    cells = [f"{' / '.join(rules)}, baseline {rows:,}", *(f"{size:,}" for size in SIZES)]
    yield from ("", "| " + " | ".join(cells) + " |", "|" + "---|" * len(cells))
    for place, name in enumerate(("stable", *(each.name for each in SHIFTS))):
        shares = np.stack([_shares(of_rules[rule][:, place]) for rule in rules])
        cells = [" / ".join(f"{100 * share:.0f}" for share in of_size) for of_size in shares.T]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _size(rings: np.ndarray, place: int) -> str:
    enough = (_shares(rings[:, place]) >= FOUND) & (_shares(rings[:, 0]) <= TRUSTED)
    from_on = np.flatnonzero(np.logical_and.accumulate(enough[::-1])[::-1])
    return f"{SIZES[from_on[0]]:,}" if len(from_on) else "never"


def _shares(rings: np.ndarray) -> np.ndarray:
    """Share of rings by size, shape (sizes,). rings: shape (repetitions, sizes)."""
    return np.array([of_size[of_size >= 0].mean() for of_size in rings.T])


def _smallest(rings: dict[int, Rings]) -> Iterator[str]:
    """What smallest_shift takes away among the most rows."""
    rules = {"0.02": drift_rules.CALIBRATED, "0": drift_rules.ANY_SIZE}
    cells = [f"{SIZES[-1]:,} rows", *(f"baseline {rows:,}, {shift}" for rows in rings for shift in rules)]
    yield from ("", "| " + " | ".join(cells) + " |", "|" + "---|" * len(cells))
    for place, name in enumerate(("stable", *(each.name for each in SHIFTS))):
        shares = [
            _shares(of_rules[rule][:, place])[-1] for of_rules in rings.values() for rule in rules.values()
        ]
        yield f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |"


if __name__ == "__main__":
    main()
