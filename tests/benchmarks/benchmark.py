"""The generated project beside a plain script on the same rows; --help lists what else can be measured."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import make_data
from processes import Cost, measured

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1]
DATA = {
    "target": '"label"',
    "positive": '"yes"',
    "facets": '["category_0"]',
    "facets_as_features": "true",  # the plain script takes all columns too
    "group": '"category_1"',
    "ids": '["id"]',
    "trials": "0",
    "num_round": "300",
}
READ = "import sys, pandas; pandas.read_csv(sys.argv[1])"


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        sample, project = generated(folder / "sample"), generated(folder / "rows")
        _set(project / "settings.toml", DATA)
        if options.sample:
            report_sample(sample, options.sample)
        for rows in options.rows:
            report_rows(folder, project, rows, options.repeat)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[2_000_000], help="0.2 to 4 million and more")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs of each number of rows")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="first N runs on the sample data")
    parser.add_argument("--folder", type=Path, help="where there is room: 0.5 GB a million rows")
    return parser


def generated(folder: Path) -> Path:
    """A project with the template's environment."""
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config", "-o", str(folder)]
    subprocess.run([*command, str(TEMPLATE)], check=True)
    (project,) = folder.iterdir()
    return project


def report_sample(project: Path, repeat: int) -> None:
    """Wall time on the sample data with tuning, and what the local AWS adds to each step."""
    for _ in range(repeat):
        cost = measured([sys.executable, "-m", "ml_pipeline", "run"], project)
        print(f"sample: {_told(cost)}")
        print(f"  {len(cost.importers)} processes loaded the SDK; steps are forked from one of them")
        own = own_seconds(project)
        for name, seconds in step_seconds(project).items():
            told = f", {seconds - own[name]:.2f} s of them around the function" if name in own else ""
            print(f"  {name:<10} {seconds:5.2f} s{told}")


def report_rows(folder: Path, project: Path, rows: int, repeat: int) -> None:
    """Pairs of runs, one after the other, and their ratios."""
    data = folder / "rows.csv"
    make_data.write(rows, data)
    pairs = []
    for _ in range(repeat):
        plain = measured([sys.executable, str(HERE / "plain.py"), str(data)], folder)
        read = measured([sys.executable, "-c", READ, str(data)], folder)
        ours = measured([sys.executable, "-m", "ml_pipeline", "run", "--fresh", "--data", str(data)], project)
        pairs.append((plain, ours))
        print(f"{rows:,} rows\n  plain:    {_told(plain)}\n  pipeline: {_told(ours)}")
        print(f"  plain:    {json.loads(plain.output.splitlines()[-1])['seconds']}")
        print(f"  reading the file alone: {read.seconds:.1f} s, {rows / read.seconds:,.0f} rows/s")
        for name, seconds in step_seconds(project).items():
            print(f"  {name:<10} {seconds:6.1f} s {rows / max(seconds, 0.001):12,.0f} rows/s")
        for name, peak in sorted(ours.peaks.items(), key=lambda item: -item[1])[:4]:
            print(f"  {peak:6,.0f} MiB {name}")
    for what, of in (("wall", "seconds"), ("CPU", "cpu_seconds"), ("peak memory", "peak")):
        ratios = [getattr(ours, of) / getattr(plain, of) for plain, ours in pairs]
        print(
            f"  {what}: {statistics.median(ratios):.2f} of the plain script's (median of {repeat})",
            flush=True,
        )
    data.unlink()


def own_seconds(project: Path) -> dict[str, float]:
    """Seconds that the SDK spent in each step's function, from the time stamps of its log."""
    found = {}
    for path in (project / "runs" / "latest" / "logs").glob("*.log"):
        stamps = re.findall(
            r"^(\S+ \S+),(\d+) .*INFO +(Invoking|Serializing)", path.read_text(), re.MULTILINE
        )
        times = {what: datetime.fromisoformat(f"{second}.{milli}") for second, milli, what in stamps}
        if len(times) == 2:
            found[path.stem] = (times["Serializing"] - times["Invoking"]).total_seconds()
    return found


def step_seconds(project: Path) -> dict[str, float]:
    """Seconds of each step of the newest run."""
    execution = json.loads((project / "runs" / "latest" / "execution.json").read_text())
    return {step["name"]: _seconds(step) for step in execution["steps"]} | {"all": _seconds(execution)}


def _seconds(span: dict[str, str]) -> float:
    started, ended = (datetime.fromisoformat(span[key]) for key in ("started", "ended"))
    return (ended - started).total_seconds()


def _told(cost: Cost) -> str:
    return f"{cost.seconds:6.1f} s, {cost.cpu_seconds:6.1f} s CPU, largest process {cost.peak:,.0f} MiB"


def _set(path: Path, values: dict[str, str]) -> None:
    text = path.read_text()
    for key, value in values.items():
        text = re.sub(rf"^{key} = [^#\n]*", f"{key} = {value} ", text, count=1, flags=re.MULTILINE)
    path.write_text(text)


if __name__ == "__main__":
    main()
