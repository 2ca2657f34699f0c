"""`make triggers-demo`, as a user types it: what starts by itself, and what does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

QUICK = "\n[env.dev.tune]\ntrials = 0\n"
STARTED = re.compile(r"execution (\w+): TriggerReason = (\S+), (\w+)")


def test_the_demo_starts_what_is_due_and_nothing_within_the_cool_down(project):
    settings = project / "settings.toml"
    settings.write_text(settings.read_text() + QUICK)
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    done = subprocess.run(["make", "triggers-demo"], cwd=project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = STARTED.findall(done.stdout)
    assert [(reason, status) for _, reason, status in found] == [
        ("schedule", "Succeeded"),
        ("loan-approval-dev-retrain", "Stopped"),
        ("loan-approval-dev-retrain", "Succeeded"),
    ]
    assert len({identifier for identifier, *_ in found}) == 3
    assert re.search(r"Mon \d+ \w+ 06:\d\d  the schedule is due", done.stdout)
    assert 'people read: "Version 1 of loan-approval-dev was approved."' in done.stdout
    assert done.stdout.count("alarms: loan-approval-dev-data-drift, loan-approval-dev-retrain") == 2
    last = done.stdout.partition("two hours without a finding")[2]
    assert "alarms: none" in last
