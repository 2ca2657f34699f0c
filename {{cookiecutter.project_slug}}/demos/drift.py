"""`make drift-demo`: a model in a world that changes, scored every week in a local AWS until it is retrained.

Nothing in it waits for real time: the local AWS has a clock of its own that can be moved. It runs in a copy
of the project, in which the training pipeline has no schedule: only drift can start it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from demos import applicants  # noqa: E402
from demos.applicants import World  # noqa: E402
from demos.dev import HOUR, Dev  # noqa: E402
from ml_pipeline import settings  # noqa: E402
from ml_pipeline.local import LocalAws  # noqa: E402

PAGE = PROJECT / "runs" / "drift-demo.html"
NOT_COPIED = shutil.ignore_patterns(".venv", ".git", ".local_aws", "runs", "__pycache__", ".pytest_cache")
SCHEDULE = """
[env.dev.schedule]
train = ""
score = "cron(0 5 ? * MON *)"
flexible_minutes = 0
"""
ROWS = 2000  # applicants a week
FILES = 2  # objects a week
DAY = 24 * HOUR
MONDAY = 0
# Interest rates have risen: less income, more debt; and late payments count far less than open credits now.
SHIFTED = World(income=0.8, debt_ratio=0.1, late_payments=-0.2, open_credits=-0.9)
WEEKS = (World(), World(), World(), SHIFTED, SHIFTED)


@dataclass
class Story:
    """What has happened so far, for the page, beside what is printed."""

    dev: Dev
    events: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, kind: str, title: str, text: str = "", tone: str = "quiet", **more: Any) -> None:
        self.dev.say(f"{title}{': ' if text else ''}{text}")
        self.note(kind, title, text, tone, **more)

    def note(self, kind: str, title: str, text: str = "", tone: str = "quiet", **more: Any) -> None:
        """For the page alone."""
        time = self.dev.now().isoformat(timespec="minutes")
        self.events.append(
            {"time": time, "kind": kind, "title": title, "text": text, "tone": tone, "metrics": None} | more
        )


def story(dev: Dev, told: Story) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """Of each week the alarms that rang and the trainings, (TriggerReason, status), that they started."""
    dev.command("deploy", "--env", "dev")
    dev.command("upload", "data/sample.csv", "--env", "dev")
    dev.command("start", "--env", "dev")
    told.tell("execution", "A first model is trained", _outcome(dev.executions()))
    approve(1, told)
    found = []
    for number, world in enumerate(WEEKS, start=1):
        found.append(week(number, world, told))
        if found[-1][1]:
            approve(2, told)
    return found


def approve(version: int, told: Story) -> None:
    told.dev.command("approve", str(version), "--env", "dev")
    told.tell("approved", f"Version {version} is approved", "it scores from now on", "good")


def week(number: int, world: World, told: Story) -> tuple[list[str], list[tuple[str, str]]]:
    """A week's applicants and their outcomes arrive on Sunday; the schedule scores them on Monday."""
    dev = told.dev
    before_monday = (MONDAY - dev.now().weekday() - 1) % 7 or 7
    dev.advance(before_monday * DAY, f"week {number}")
    if world != WEEKS[max(number - 2, 0)]:
        told.tell("shift", "The world changes", "less income, more debt, other reasons to approve", "bad")
    period = f"{dev.now():%Y-%m-%d}"
    arrive(dev, period, applicants.applicants(ROWS, number, world, first=10_000 * number))
    dev.advance_to_schedule("score")
    outcome, drift = _outcome(dev.executions("score")), dev.read(f"score/{period}/monitor/drift.json")
    tone = "good" if drift["status"] == "quiet" else "bad"
    scored = f"{outcome}; {_found(drift)}"
    told.tell("scored", f"{ROWS:,} rows of {period} scored", scored, tone, metrics=dev.published())
    ringing = dev.alarms()
    for name in ringing:
        told.note("alarm", f"{name} rings", tone="bad")
    trained = dev.executions()
    for arn in trained:
        compared = _compared(dev.read(f"executions/{arn.rpartition('/')[2]}/evaluate/metrics.json"))
        told.tell("execution", "The alarm has started a training", f"{_outcome(trained)}; {compared}", "good")
    return ringing, list(trained.values())


def arrive(dev: Dev, period: str, rows: list[dict[str, Any]]) -> None:
    """As systems upstream would write them: applicants in some files, outcomes in another, marks last."""
    s3, bucket = dev.client("s3"), dev.bucket
    features = [{name: cell for name, cell in row.items() if name != applicants.LABEL} for row in rows]
    labels = [{name: row[name] for name in (applicants.ID, applicants.LABEL)} for row in rows]
    folders = {f"score/{period}/input": [features[part::FILES] for part in range(FILES)]}
    folders[f"truth/{period}"] = [labels]
    for folder, parts in folders.items():
        for place, part in enumerate(parts):
            body = applicants.as_csv(part).encode()
            s3.put_object(Bucket=bucket, Key=f"{folder}/part-{place}.csv", Body=body)
        s3.put_object(Bucket=bucket, Key=f"{folder}/_SUCCESS", Body=b"")


def _outcome(executions: dict[str, tuple[str, str]]) -> str:
    told = [f"{status} (TriggerReason = {reason})" for reason, status in executions.values()]
    return ", ".join(told) or "nothing ran"


def _found(drift: dict[str, Any]) -> str:
    moved = [each["name"] for each in (*drift["features"], *drift["predictions"]) if each["violated"]]
    return f"version {drift['package_version']}, {drift['status']}{': ' if moved else ''}{', '.join(moved)}"


def _compared(metrics: dict[str, Any]) -> str:
    """The primary metric of the new model and of the champion, on the same rows of the newest period."""
    name, champion = metrics["primary"], metrics["champion"]
    own = f"{name} {metrics['test'][name]['value']:.3f} on the newest labelled rows"
    return f"{own}, the champion {champion['test'][name]['value']:.3f}" if champion else own


def expected(prefix: str, found: list[tuple[list[str], list[tuple[str, str]]]]) -> str | None:
    """What is not as it should be, or None."""
    for number, (ringing, trained) in enumerate(found, start=1):
        if number != 4 and (ringing or trained):
            return f"week {number} was to be quiet, but {ringing} rang and {trained} ran"
    ringing, trained = found[3]
    if f"{prefix}-retrain" not in ringing or trained != [(f"{prefix}-retrain", "Succeeded")]:
        return f"week 4 was to retrain once, but {ringing} rang and {trained} ran"
    return None


def main() -> int:
    if settings.load("dev").data.target != applicants.LABEL:
        print(
            "drift-demo speaks of the applicants in data/sample.csv, settings.toml of other data: "
            "run it in a newly generated project",
            file=sys.stderr,
        )
        return 2
    from ml_pipeline.report import timeline

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        shutil.copytree(PROJECT, project, ignore=NOT_COPIED)
        with (project / "settings.toml").open("a", encoding="utf-8") as file:
            file.write(SCHEDULE)
        wanted = settings.load("dev", project / "settings.toml")
        with LocalAws(Path(folder, "state"), wanted.region) as aws:
            aws.connect()
            told = Story(Dev(os.environ["AWS_ENDPOINT_URL"], wanted, project))
            found = story(told.dev, told)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(timeline.page(told.events), encoding="utf-8")
    wrong = expected(wanted.prefix, found)
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    print("\nThree quiet weeks, a fourth that drifted and was learned from, a fifth that is quiet again.")
    print(f"timeline: {PAGE.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
