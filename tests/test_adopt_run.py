"""adopt, then a real local run, on files such as public data sets are: nothing is edited in between."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SECONDS = 300
ROWS = 1500


def command(project: Path, *arguments: str, **env: str) -> str:
    """Standard output of a command that succeeds."""
    done = subprocess.run(
        [sys.executable, "-m", "ml_pipeline", *arguments],
        cwd=project,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def untuned(project: Path) -> Path:
    path = project / "settings.toml"
    path.write_text(path.read_text().replace("trials = 4 ", "trials = 0 "))
    return project


def result(project: Path, name: str) -> Any:
    return json.loads((project / "runs" / "latest" / f"{name}.json").read_text())


def roles(project: Path) -> dict[str, str]:
    return {column["name"]: column["role"] for column in result(project, "profile")["columns"]}


def churn() -> pd.DataFrame:
    """Customers; who calls the service often, or has the international plan, leaves."""
    generator = np.random.default_rng(1)
    calls, plan = generator.poisson(1.5, ROWS), generator.choice(["no", "yes"], ROWS, p=[0.8, 0.2])
    leaves = calls + (plan == "yes") + generator.normal(0, 0.5, ROWS) > 2.5
    columns = {
        "Phone": [f"{300 + n % 99}-{n:04d}" for n in range(ROWS)],
        "Area Code": generator.choice([408, 415, 510], ROWS),
        "Int'l Plan": plan,
        'Calls ("service"), n': calls,
        "größe": [f"{n:.1f}" if n > 0 else "-" for n in generator.normal(1, 1, ROWS)],
        "Churn?": np.where(leaves, "True.", "False."),
    }
    return pd.DataFrame(columns)


def test_a_file_with_an_index_and_labels_such_as_true_with_a_dot_runs(project: Path):
    churn().to_csv(untuned(project) / "data" / "churn.csv")
    command(project, "adopt", "data/churn.csv", "--target", "Churn?", "--facet", "Area Code")
    command(project, "run")
    found = result(project, "metrics")
    assert found["problem"] == "binary" and found["test"]["auc"]["value"] > 0.8
    assert roles(project) == {
        "column_1": "other",
        "Phone": "id",
        "Area Code": "other",
        "Int'l Plan": "feature",
        'Calls ("service"), n': "feature",
        "größe": "feature",
        "Churn?": "target",
    }
    with (project / "runs/latest/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["predicted_label"] for row in rows} == {"True.", "False."}
    assert all(row["Phone"][3] == "-" for row in rows)
    missing = {column["name"]: column["missing"] for column in result(project, "profile")["columns"]}
    assert missing["größe"] == (churn()["größe"] == "-").sum() > 100


def test_a_regression_with_semicolons_and_quotes_runs(project: Path):
    generator = np.random.default_rng(2)
    acid, alcohol = generator.normal(8, 2, ROWS).round(1), generator.normal(10, 1, ROWS).round(1)
    quality = (5.6 + 0.8 * (alcohol - 10) - 0.2 * (acid - 8) + generator.normal(0, 0.4, ROWS)).round()
    table = pd.DataFrame(
        {"fixed acidity": acid, "alcohol": alcohol, "quality": quality.clip(3, 8).astype(int)}
    )
    table.to_csv(untuned(project) / "wine.csv", sep=";", index=False, quoting=csv.QUOTE_ALL)
    command(project, "adopt", "wine.csv", "--target", "quality")
    command(project, "run")
    rmse = result(project, "metrics")["test"]["rmse"]
    assert result(project, "metrics")["problem"] == "regression"
    assert rmse["value"] < 0.8 * rmse["trivial"]


def names_of_buckets(s3: Any) -> list[str]:
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_a_file_without_a_header_runs_from_s3_with_the_users_credentials(project: Path, server):
    table = churn()[["Area Code", "Int'l Plan", 'Calls ("service"), n', "größe", "Churn?"]]
    content = table.to_csv(index=False, header=False).replace(",", ", ").encode()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="of-the-user")
    s3.put_object(Bucket="of-the-user", Key="raw/churn.csv", Body=content)
    user = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAUSERUSERUSERUSER",
        "AWS_SECRET_ACCESS_KEY": "users",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    uri, before = "s3://of-the-user/raw/churn.csv", names_of_buckets(s3)
    told = command(untuned(project), "adopt", uri, "--target", "5", "--facet", "2", **user)
    assert f"{uri}: {len(content):,} bytes\n" in told
    told = command(project, "run", **user)
    assert f"{uri}: {len(content):,} bytes, kept from before\n" in told
    assert result(project, "profile")["data_sha256"] == hashlib.sha256(content).hexdigest()
    assert result(project, "profile")["rows"] == ROWS
    assert roles(project)["column_2"] == "other" and roles(project)["column_5"] == "target"
    assert result(project, "metrics")["test"]["auc"]["value"] > 0.75  # of calls alone
    assert names_of_buckets(s3) == before  # the run's own artefacts went elsewhere
