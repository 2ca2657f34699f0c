"""`make triggers-demo`: dev in a local AWS, where a schedule, drift alarms and an approval do their work.

Nothing in it waits for real time: the local AWS has a clock of its own that can be moved.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from demos.dev import HOUR, Dev  # noqa: E402
from ml_pipeline import settings  # noqa: E402
from ml_pipeline.local import LocalAws  # noqa: E402


def story(dev: Dev) -> list[list[tuple[str, str]]]:
    """Executions of each scene: the schedule's, a drift alarm's too early, and one in time."""
    dev.command("deploy", "--env", "dev")
    dev.command("upload", "data/sample.csv", "--env", "dev")
    people, scenes = dev.subscribed(), []
    dev.say("dev is deployed, its data are there; nobody starts anything from here on")
    dev.advance_to_schedule("train")
    scenes.append(dev.tell_executions())
    dev.command("approve", "1", "--env", "dev")
    dev.say(f"people read: {'; '.join(dev.messages(people)) or 'nothing'}")
    for pause, what in (
        (HOUR, "one hour later the scored rows have drifted"),
        (30 * HOUR, "the next day they have drifted still, and the cool-down is over"),
    ):
        dev.advance(pause, what)
        dev.publish("DataDrift", 3)
        dev.alarms()
        scenes.append(dev.tell_executions())
    dev.advance(2 * HOUR, "two hours without a finding")
    dev.alarms()
    return scenes


def main() -> int:
    wanted = settings.load("dev")
    with tempfile.TemporaryDirectory() as state, LocalAws(Path(state), wanted.region) as aws:
        aws.connect()
        dev = Dev(os.environ["AWS_ENDPOINT_URL"], wanted, PROJECT)
        scenes = story(dev)
    retrain = f"{wanted.prefix}-retrain"
    expected = [[("schedule", "Succeeded")], [(retrain, "Stopped")], [(retrain, "Succeeded")]]
    if scenes != expected:
        print(f"expected {expected}, got {scenes}", file=sys.stderr)
        return 1
    print(
        "\nIt trained when it was due, stopped itself within the cool-down, then trained again: none by hand."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
