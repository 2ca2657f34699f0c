"""What becomes of scored data: each way in which the world or the data change rings the alarm made for it.

One project in a local AWS: deployed, trained, approved. Its copy has its rules off, so that no alarm trains.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest

from conftest import REGION, child_environment
from make_sample import applicants
from started_by_itself import ask
from waiting import until

made = applicants()
ACCOUNT, SUFFIX = "123456789012", "mine"
PREFIX = f"loan-approval-dev-{SUFFIX}"
BUCKET = f"{PREFIX}-{ACCOUNT}-{REGION}"
RETRAINING = ("data-drift", "prediction-drift", "quality-drop", "bias-drift", "attribution-drift")
ROWS = 2000
HOURS_TO_QUIET = 2
QUICK = '\n[env.dev.tune]\ntrials = 0\n\n[env.dev.schedule]\ntrain = ""\nscore = ""\n'
Rows = list[dict[str, Any]]


@dataclass
class Deployed:
    """The project, its AWS, and the day that the next period is named by."""

    project: Path
    endpoint: str
    day: date = dataclasses.field(default_factory=lambda: date(2026, 1, 5))

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "LOCALAWSLOCALAWSLOCA", "aws_secret_access_key": "local"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def command(self, *words: str) -> str:
        """What a command of the project prints, with dev's private copy meant."""
        environment = child_environment() | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "LOCALAWSLOCALAWSLOCA",
            "AWS_SECRET_ACCESS_KEY": "local",
            "PYTHONPATH": str(self.project),
        }
        command = [sys.executable, "-m", "ml_pipeline", *words, "--env", "dev", "--suffix", SUFFIX]
        done = subprocess.run(
            command, cwd=self.project, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, key: str, body: bytes) -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def json(self, key: str) -> Any:
        return json.loads(self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def keys(self, prefix: str) -> set[str]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {item["Key"].removeprefix(prefix) for item in found}

    def arrive(self, rows: Rows, labels: Rows | None) -> str:
        """The period that the rows, without their labels, now wait in to be scored."""
        self.day += timedelta(days=7)
        period = self.day.isoformat()
        features = [{name: cell for name, cell in row.items() if name != made.LABEL} for row in rows]
        self.put(f"score/{period}/input/rows.csv", made.as_csv(features).encode())
        self.put(f"score/{period}/input/_SUCCESS", b"")
        if labels is not None:
            pairs = [{name: row[name] for name in (made.ID, made.LABEL)} for row in labels]
            self.put(f"truth/{period}/labels.csv", made.as_csv(pairs).encode())
            self.put(f"truth/{period}/_SUCCESS", b"")
        return period

    def execute(self, pipeline: str, **values: str) -> str:
        """Status of an execution that has ended."""
        client = self.client("sagemaker")
        arn = client.start_pipeline_execution(
            PipelineName=f"{PREFIX}-{pipeline}",
            PipelineParameters=[{"Name": name, "Value": value} for name, value in values.items()],
        )["PipelineExecutionArn"]

        def ended() -> str | None:
            now = client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            return None if now in ("Executing", "Stopping") else now

        return until(ended)

    def scored(
        self, rows: Rows, labels: Rows | None = None, status: str = "Succeeded"
    ) -> tuple[str, set[str]]:
        """The period, and the alarms that ring once it is scored; then they are quiet again."""
        period = self.arrive(rows, labels)
        assert self.execute("score", Period=period) == status
        ringing = self.ringing()
        ask(self.endpoint, "clock", {"advance_seconds": HOURS_TO_QUIET * 3600})
        assert self.ringing() == set()
        return period, ringing

    def ringing(self) -> set[str]:
        found = self.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        alarms = [*found["MetricAlarms"], *found["CompositeAlarms"]]
        names = {alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM"}
        return {name.removeprefix(f"{PREFIX}-") for name in names}


@pytest.fixture(scope="module")
def deployed(
    make_project: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    project = make_project()
    settings = project / "settings.toml"
    settings.write_text(settings.read_text() + QUICK)
    command = [sys.executable, "-m", "local_aws", "--port", "0", "--region", REGION]
    command += ["--state", str(tmp_path_factory.mktemp("state"))]
    server = subprocess.Popen(
        command, cwd=project, env=child_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        found = Deployed(project, server.stdout.readline().split()[-1])
        found.command("deploy")
        found.command("upload", "data/sample.csv", "--period", "2026-01-05")
        assert found.execute("train", ApprovalStatus="Approved") == "Succeeded"
        yield found
    finally:
        server.terminate()
        server.wait(30)


def world(seed: int, **changes: Any) -> Rows:
    return made.applicants(ROWS, seed, made.World(**changes), first=seed * 10_000)


def test_a_world_that_has_not_changed_is_quiet(deployed):
    for seed in (1, 2, 3):
        rows = world(seed)
        period, ringing = deployed.scored(rows, rows)
        assert ringing == set()
        drift = deployed.json(f"score/{period}/monitor/drift.json")
        assert drift["status"] == "quiet" and drift["rows"] == ROWS
        assert set(drift["metrics"].values()) == {0} and len(drift["metrics"]) == 6


def test_labelled_rows_become_the_next_training_data(deployed):
    rows = world(4)
    period, _ = deployed.scored(rows, rows)
    assert deployed.keys(f"raw/{period}/") == {"data.parquet", "_SUCCESS"}
    deployed.execute("train")  # which may well find the champion better, as nothing has changed
    client = deployed.client("sagemaker")
    newest = client.list_pipeline_executions(PipelineName=f"{PREFIX}-train")["PipelineExecutionSummaries"][0]
    read = deployed.json(
        f"executions/{newest['PipelineExecutionArn'].rpartition('/')[2]}/process/result.json"
    )
    assert read["raw_data_uri"] == f"s3://{BUCKET}/raw/{period}/"
    assert read["summary"].startswith(f"{ROWS:,} rows -> ")


def test_sudden_drift_rings_data_drift_and_the_composite(deployed):
    _, ringing = deployed.scored(world(5, income=0.7, debt_ratio=0.1))
    assert {"data-drift", "prediction-drift", "retrain"} <= ringing
    assert "data-broken" not in ringing


def test_gradual_drift_rings_before_it_is_large(deployed):
    """Incomes rise by 3 % a period: quiet at first, noticed before they are a third higher."""
    ringing = [deployed.scored(world(6 + place, income=1.03**place))[1] for place in (1, 4, 7, 10)]
    assert "data-drift" not in ringing[0]
    assert "data-drift" in ringing[-1]
    assert all("data-broken" not in found for found in ringing)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("income", lambda value: "", id="all missing"),
        pytest.param("income", lambda value: value and value * 100, id="in cents"),
        pytest.param("age", lambda value: value * 12, id="in months"),
    ],
)
def test_a_broken_column_rings_data_broken_alone(deployed, name, change):
    rows = world(20)
    broken = [{**row, name: change(row[name])} for row in rows]
    period, ringing = deployed.scored(broken, rows)
    assert ringing == {"data-broken"}
    assert "raw" not in {key.partition("/")[0] for key in deployed.keys(f"raw/{period}/")}
    assert deployed.keys(f"raw/{period}/") == set()
    (violation,) = deployed.json(f"score/{period}/monitor/constraint_violations.json")["violations"]
    assert violation["feature_name"] == name


def test_a_missing_column_rings_data_broken_and_is_not_scored(deployed):
    rows = [{name: cell for name, cell in row.items() if name != "income"} for row in world(21)]
    period, ringing = deployed.scored(rows, status="Failed")
    assert ringing == {"data-broken"}
    assert deployed.keys(f"score/{period}/output/") == set()
    deployed.client("s3").delete_object(Bucket=BUCKET, Key=f"score/{period}/input/rows.csv")
    deployed.client("s3").delete_object(Bucket=BUCKET, Key=f"score/{period}/input/_SUCCESS")


def test_a_new_category_rings_data_drift(deployed):
    purposes = {name: (share * 0.92, effect) for name, (share, effect) in made.PURPOSE.items()}
    rows = world(22, purposes={"solar panels": (0.08, 0.0), **purposes})
    period, ringing = deployed.scored(rows)
    assert "data-drift" in ringing and "data-broken" not in ringing
    violations = deployed.json(f"score/{period}/monitor/constraint_violations.json")["violations"]
    assert ("purpose", "categorical_values_check") in {
        (each["feature_name"], each["constraint_check_type"]) for each in violations
    }


def test_label_shift_rings_prediction_drift(deployed):
    """As many approvals again among those who apply: P(label) has moved, P(features | label) has not."""
    rows = [row for seed in (23, 24) for row in world(seed)]
    keep = Random(1)
    kept = [row for row in rows if row[made.LABEL] == "yes" or keep.random() < 0.4][:ROWS]
    _, ringing = deployed.scored(kept)
    assert {"prediction-drift", "retrain"} <= ringing and "data-broken" not in ringing


def test_another_rule_of_approval_rings_quality_drop_alone(deployed):
    """Whoever applies is the same, and so are the scores: only the outcomes tell."""
    rows = world(25)
    keep = Random(2)
    others = {"yes": "no", "no": "yes"}
    labels = [row | {made.LABEL: others[row[made.LABEL]]} if keep.random() < 0.2 else row for row in rows]
    _, ringing = deployed.scored(rows, labels)
    assert "quality-drop" in ringing and "retrain" in ringing
    assert not ringing & {"data-drift", "prediction-drift", "attribution-drift", "data-broken"}


def test_bias_alone_rings_bias_drift_alone(deployed):
    """The model does not see sex: that women are those at most risk changes no column and no score."""
    rows = world(26)
    risks = [
        row["late_payments"] + 4 * (row["debt_ratio"] or 0) - (row["income"] or 0) / 40_000 for row in rows
    ]
    places = sorted(range(ROWS), key=lambda place: risks[place], reverse=True)
    women = sum(row["sex"] == "female" for row in rows)
    sexes = dict.fromkeys(places[:women], "female") | dict.fromkeys(places[women:], "male")
    _, ringing = deployed.scored([row | {"sex": sexes[place]} for place, row in enumerate(rows)])
    assert ringing == {"bias-drift", "retrain"}


def test_labels_that_come_late_are_counted_when_they_come(deployed):
    rows = world(27)
    period, _ = deployed.scored(rows)
    assert deployed.keys(f"raw/{period}/") == set()
    swapped = [row | {made.LABEL: "yes"} for row in rows]
    pairs = [{name: row[name] for name in (made.ID, made.LABEL)} for row in swapped]
    deployed.put(f"truth/{period}/labels.csv", made.as_csv(pairs).encode())
    deployed.put(f"truth/{period}/_SUCCESS", b"")
    _, ringing = deployed.scored(world(28))
    assert "quality-drop" in ringing
    assert "_SUCCESS" in deployed.keys(f"score/{period}/monitor/quality/")
    assert "_SUCCESS" in deployed.keys(f"raw/{period}/")


def test_nothing_is_scored_twice_unless_it_is_asked_for(deployed):
    rows = world(29)
    period, _ = deployed.scored(rows)
    first = deployed.client("s3").head_object(Bucket=BUCKET, Key=f"score/{period}/output/_SUCCESS")
    assert deployed.execute("score") == "Succeeded"
    second = deployed.client("s3").head_object(Bucket=BUCKET, Key=f"score/{period}/output/_SUCCESS")
    assert first["LastModified"] == second["LastModified"] and first.get("VersionId") == second.get(
        "VersionId"
    )
    assert deployed.execute("score", Period=period) == "Succeeded"
    third = deployed.client("s3").head_object(Bucket=BUCKET, Key=f"score/{period}/output/_SUCCESS")
    assert third["VersionId"] != first["VersionId"]
