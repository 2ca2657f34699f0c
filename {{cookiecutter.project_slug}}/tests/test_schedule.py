"""What EventBridge Scheduler would refuse is refused when settings are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ml_pipeline import schedule, settings

PROJECT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 6 ? * MON *)",
        "cron(0/5 9-18 ? * MON-FRI *)",
        "cron(0-15/1 8-8 ? * 2,3,4 2027-2030)",
        "cron(0 0 L * ? *)",
        "cron(0 0 15W JAN,jul ? *)",
        "cron(0 0 ? * 6#3 *)",
        "cron(0 0 ? * FRIL *)",
        "rate(1 day)",
        "rate(1 hours)",
        "at(2028-02-29T23:59:59)",
    ],
)
def test_what_the_scheduler_takes_is_taken(expression):
    schedule.check(expression)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 6 * * *", "at(...), rate(...) or cron(...)"),
        ("cron(0 6 ? * MON)", "got 5"),
        ("cron(0 6 * * * *)", "exactly one must be ?"),
        ("cron(0 6 ? * ? *)", "exactly one must be ?"),
        ("cron(60 6 ? * MON *)", "minutes must be in 0 to 59"),
        ("cron(*/60 * * * ? *)", "after / comes a number from 1 to 59"),
        ("cron(0 24 ? * MON *)", "hours must be in 0 to 23"),
        ("cron(0 6 32 * ? *)", "day of month must be in 1 to 31"),
        ("cron(0 6 1 13 ? *)", "month must be in 1 to 12"),
        ("cron(0 6 ? * 0 *)", "day of week must be in 1 to 7"),
        ("cron(0 6 ? * MON 1969)", "year must be in 1970 to 2199"),
        ("cron(0 6 ? ? MON *)", "month must be in 1 to 12"),
        ("cron(0 18-9 ? * MON *)", "from lower to higher"),
        ("cron(0, 6 ? * MON *)", "minutes must be in 0 to 59"),
        ("cron(0 6 ?,1 * MON *)", "exactly one must be ?"),
        ("rate(0 days)", "at least 1"),
        ("rate(2 weeks)", "minutes, hours or days"),
        ("at(2027-02-30T06:00:00)", "day is out of range"),
        ("at(2027-01-31 06:00)", "2027-01-31T06:00:00"),
    ],
)
def test_what_the_scheduler_refuses_is_refused_with_what_is_wrong(expression, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        schedule.check(expression)


@pytest.mark.parametrize(
    ("line", "bad", "sentence"),
    [
        ("train = .*", 'train = "cron(0 6 * * MON)"', r"train must be .* got 'cron\(0 6 \* \* MON\)' "),
        ("score = .*", 'score = "weekly"', "score must be .* got 'weekly' "),
        ("timezone = .*", 'timezone = "Europe/Lundon"', "did you mean Europe/London.* got 'Europe/Lundon' "),
    ],
)
def test_settings_with_such_a_schedule_are_refused_with_their_place(tmp_path, line, bad, sentence):
    text = (PROJECT / "settings.toml").read_text()
    file = tmp_path / "settings.toml"
    file.write_text(re.sub(rf"(?m)(?<=^){line}$", lambda _: bad, text))
    with pytest.raises(settings.SettingsError, match=rf"{sentence}\(settings.toml, \[schedule\]\)"):
        settings.load("dev", file)
