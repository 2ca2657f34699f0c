"""`make drift-demo`, as a user types it: three quiet weeks, one that drifts, a quiet one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

QUICK = "\n[env.dev.tune]\ntrials = 0\n"
OUTCOME = re.compile(r"(\w+) \(TriggerReason = ([\w-]+)\)")


def test_the_demo_retrains_once_and_for_the_drift(project):
    settings = project / "settings.toml"
    settings.write_text(settings.read_text() + QUICK)
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    before = settings.read_text()
    done = subprocess.run(["make", "drift-demo"], cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert settings.read_text() == before

    weeks = re.split(r"\bweek \d\n", done.stdout)[1:]
    assert len(weeks) == 5
    assert [OUTCOME.findall(week.partition(" scored: ")[2])[0] for week in weeks] == [
        ("Succeeded", "schedule")
    ] * 5
    scored_by = [re.search(r"; version (\d), (quiet|drift)", week).groups() for week in weeks]
    assert scored_by == [("1", "quiet")] * 3 + [("1", "drift"), ("2", "quiet")]
    for quiet in (0, 1, 2, 4):
        assert "alarms: none" in weeks[quiet] and "has started a training" not in weeks[quiet]
    trained = weeks[3].partition("The alarm has started a training: ")[2]
    assert OUTCOME.findall(trained)[0] == ("Succeeded", "loan-approval-dev-retrain")
    assert re.search(r"alarms: .*loan-approval-dev-data-drift.*loan-approval-dev-retrain", weeks[3])
    assert "Version 2 is approved" in weeks[3]

    found = re.search(r"auc (0\.\d+) on the newest labelled rows, the champion (0\.\d+)", trained)
    assert float(found[1]) > float(found[2]) + 0.01
    assert re.search(r"drift: .*income", weeks[3])

    page = (project / "runs" / "drift-demo.html").read_text()
    ringing = re.search(r"alarms: (.*)", weeks[3])[1].split(", ")
    assert f"{len(ringing)} alarms, 2 trainings and 2 approvals" in page
    assert all(f"{name} rings" in page for name in ringing) and "Version 2 is approved" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
