"""What `run` refuses: in one line, and before anything is loaded or started."""

from __future__ import annotations

import pytest

from heavy_imports import heavy_imports
from test_run import command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent.csv"], "absent.csv"),
        (["--data", "empty.csv"], "empty.csv"),
        (["--data", "other.csv"], "approved"),
        (["--data", "constant.csv"], "constant.csv: target approved has yes in every row"),
        (["--set", "RawData=s3://x"], "--set RawData: no such parameter; known are: RawDataUri"),
        (["--set", "ApprovalStatus=Perhaps"], "must be one of PendingManualApproval, Approved, Rejected"),
        (["--set", "TriggerReason=-x"], "not begin with '-'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_before_anything_starts(project, arguments, message):
    (project / "empty.csv").write_text("")
    (project / "other.csv").write_text("a,b\n1,2\n")
    sample = (project / "data/sample.csv").read_text().splitlines()
    (project / "constant.csv").write_text("\n".join(row for row in sample if not row.endswith(",no")))
    done = command(project, "run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (project / "runs").exists() and not (project / ".local_aws").exists()


def test_bad_options_and_settings_answer_without_loading_anything_heavy(project):
    for arguments in (["--help"], ["run", "--nonsense"], ["run", "--set", "X=1"]):
        assert heavy_imports(project, arguments) == []


def test_without_a_command_all_are_listed(project):
    done = command(project)
    assert done.returncode == 0 and done.stdout == command(project, "--help").stdout
    assert "  score       " in done.stdout
