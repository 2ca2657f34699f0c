"""The commands that work with what is deployed, typed as a user types them, against `python -m local_aws`."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from operating import ACCOUNT, REGION, SLUG, Cloud, bucket, held, operated
from waiting import until


@pytest.fixture(scope="module")
def cloud(make_project, tmp_path_factory) -> Iterator[Cloud]:
    yield from operated(make_project(project_slug=SLUG), tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="module")
def trained(cloud: Cloud) -> str:
    """ARN of an execution that trained on what was uploaded: upload and start, as a user types them."""
    out = cloud.typed("upload", "data/sample.csv", "--env", "dev", "--period", "2026-10-01")
    assert f"s3://{bucket('dev')}/raw/2026-10-01/, complete" in out
    out = cloud.typed("start", "--env", "dev")
    assert "expected time and cost: unknown, since no execution has succeeded yet" in out
    arn = re.search(r"arn:aws:sagemaker:\S+", out)[0]
    out = cloud.typed("status", "--env", "dev", "--follow")
    assert re.search(r"Register +Succeeded", out) and out.rstrip().endswith("Succeeded"), out
    return arn


@pytest.fixture(scope="module")
def fetched(cloud: Cloud, trained: str) -> Path:
    """Folder of the run that `fetch` filled."""
    out = cloud.typed("fetch", trained.rpartition("/")[2], "--env", "dev")
    folder = cloud.project / "runs" / trained.rpartition("/")[2]
    assert f"report: {folder.relative_to(cloud.project)}/report.html" in out
    return folder


def test_an_execution_that_is_given_no_data_names_the_period_it_took(fetched):
    steps = {step["name"]: step for step in json.loads((fetched / "execution.json").read_text())["steps"]}
    period = f"s3://{bucket('dev')}/raw/2026-10-01/"
    assert steps["Process"]["arguments"]["raw_data_uri"] == f"s3://{bucket('dev')}/raw/"
    assert steps["Process"]["result"]["raw_data_uri"] == period
    package = json.loads((fetched / "model_package.json").read_text())
    assert package["CustomerMetadataProperties"]["data_uri"] == period


def test_fetch_fills_the_folder_as_a_run_does(fetched):
    names = {path.relative_to(fetched).as_posix() for path in fetched.rglob("*") if path.is_file()}
    wanted = {
        "execution.json",
        "metrics.json",
        "verdict.json",
        "model.tar.gz",
        "report.html",
        "predictions.csv",
    }
    assert wanted | {"logs/Train.log", "definition.json", "model_package.json"} <= names


def test_a_complete_period_is_only_replaced_when_told_to(cloud, trained, tmp_path):
    folder = "raw/2026-09-01/"
    other = tmp_path / "other.csv"
    other.write_bytes((cloud.project / "data" / "sample.csv").read_bytes())
    cloud.typed("upload", "data/sample.csv", "--env", "dev", "--period", "2026-09-01")
    first = cloud.keys(bucket("dev"), folder)
    refused = cloud.typed("upload", str(other), "--env", "dev", "--period", "2026-09-01", code=2)
    assert "period 2026-09-01 is complete already" in refused and "--replace" in refused
    assert cloud.keys(bucket("dev"), folder) == first == [f"{folder}_SUCCESS", f"{folder}sample.csv"]
    cloud.typed("upload", str(other), "--env", "dev", "--period", "2026-09-01", "--replace")
    assert cloud.keys(bucket("dev"), folder) == [f"{folder}_SUCCESS", f"{folder}other.csv"]


def test_an_upload_that_has_not_ended_is_not_mixed_with_another_file(cloud):
    cloud.client("s3").put_object(Bucket=bucket("dev"), Key="raw/2026-08-01/half.csv", Body=b"")
    refused = cloud.typed("upload", "data/sample.csv", "--env", "dev", "--period", "2026-08-01", code=2)
    assert "period 2026-08-01 holds half.csv of an upload that has not ended" in refused
    assert cloud.keys(bucket("dev"), "raw/2026-08-01/") == ["raw/2026-08-01/half.csv"]


BAD = [
    (
        ("upload", "data/sample.csv", "--env", "dev", "--period", "01.10.2026"),
        "--period must be a date as YYYY",
    ),
    (("upload", "data/none.csv", "--env", "dev"), "data/none.csv: no such file"),
    (
        ("upload", "README.md", "--env", "dev"),
        "README.md: the name must end with .csv, .tsv, .txt, .data or .parquet",
    ),
    (("start", "--env", "test"), "--env must be one of dev, staging, prod, got 'test'"),
    (("start", "--env", "dev", "--set", "Speed=9"), "--set Speed: no such parameter; known are: RawDataUri"),
    (
        ("start", "--env", "dev", "--pipeline", "score", "--set", "RawDataUri=x"),
        "--set RawDataUri: no such parameter; known are: Period, TriggerReason",
    ),
    (
        ("status", "nowhere", "--env", "dev", "--pipeline", "score"),
        "demo-dev-score has had no execution yet: `python -m ml_pipeline start --env dev --pipeline score`",
    ),
    (
        ("upload", "data/sample.csv", "--env", "dev", "--to", "truth", "--period", "1.1.2026"),
        "--period must be a date as YYYY",
    ),
    (("upload", "infra", "--env", "dev", "--to", "score"), "infra/ci.yaml: the name must end with .csv"),
    (("upload", "README.md", "--env", "dev", "--to", "truth"), "README.md: "),
    (("start", "--env", "prod"), "there is no pipeline demo-prod-train in account 123456789012, us-east-1"),
    (
        ("status", "nowhere", "--env", "dev"),
        "execution 'nowhere' fits none of demo-dev-train; the newest are: ",
    ),
    (("stop", "nowhere", "--env", "dev"), "execution 'nowhere' fits none"),
    (("fetch", "nowhere", "--env", "dev"), "execution 'nowhere' fits none"),
    (("logs", "Trian", "--env", "dev"), "no step 'Trian'; did you mean Train?"),
    (("logs", "Train", "--env", "dev", "--of", "latest"), "--of latest names a run on this machine"),
    (("logs", "Train", "abc"), "abc is for executions in the cloud: add --env"),
    (("approve", "99", "--env", "dev"), "demo-dev has no version 99; registered are: 1"),
    (
        ("approve", "latest", "--env", "dev"),
        "such as 3, got 'latest': `python -m ml_pipeline status --env dev` tells",
    ),
    (
        ("reject", "v1"),
        "such as 3, got 'v1': `python -m ml_pipeline runs` tells",
    ),
    (("promote", "1.0", "--to", "staging"), "got '1.0': `python -m ml_pipeline status --env dev` tells"),
    (("promote", "99", "--to", "staging"), "demo-dev has no version 99; registered are: 1"),
    (("promote", "1", "--to", "dev"), "nothing comes before dev: say with --env where the version is"),
    (("promote", "1", "--to", "local"), "--to must be one of dev, staging, prod, got 'local'"),
    (("promote", "1", "--to", "dev", "--env", "dev"), "the version is in dev already"),
    (("smoke", "--env", "prod"), "smoke works in a copy of dev alone, got --env prod"),
]


REFUSALS = """
import contextlib, io, json, sys
from ml_pipeline.__main__ import main
told = []
for arguments in json.loads(sys.stdin.read()):
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        told.append([main(arguments), err.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def refusals(cloud: Cloud, trained: str) -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and standard error of each bad command; one process types them all, to import only once."""
    told = json.loads(cloud.python(REFUSALS, json.dumps([arguments for arguments, _ in BAD])))
    return {arguments: tuple(pair) for (arguments, _), pair in zip(BAD, told, strict=True)}


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_what_cannot_be_meant_is_refused_in_one_sentence(refusals, arguments, message):
    code, told = refusals[arguments]
    assert code == 2 and message in told and len(told.splitlines()) == 1, told


def test_account_region_and_endpoint_are_said_first(cloud, trained):
    first = cloud.typed("status", "--env", "dev").splitlines()[0]
    place = f"account {ACCOUNT}, region {REGION}, endpoint {cloud.server.endpoint}"
    assert first.startswith(f"demo-dev: {place}, as arn:aws:")


def test_an_object_of_s3_is_fetched_after_it_is_said_where_it_goes(cloud, trained):
    body = (cloud.project / "data" / "sample.csv").read_bytes()
    cloud.client("s3").put_object(Bucket=bucket("dev"), Key="exports/july.csv", Body=body)
    given = f"s3://{bucket('dev')}/exports/july.csv"
    lines = cloud.typed("upload", given, "--env", "dev", "--period", "2026-07-01").splitlines()
    assert lines[0].startswith(f"demo-dev: account {ACCOUNT}, ") and lines[1].startswith(f"{given}: ")
    wanted = ["raw/2026-07-01/_SUCCESS", "raw/2026-07-01/july.csv"]
    assert cloud.keys(bucket("dev"), "raw/2026-07-01/") == wanted


def test_status_tells_every_step_of_the_execution_that_is_named(cloud, trained):
    out = cloud.typed("status", trained.rpartition("/")[2][:6], "--env", "dev")
    steps = [line.split()[0] for line in out.splitlines()[2:-1]]
    assert steps == ["Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Gate", "Register"]
    assert out.splitlines()[-1] == "Succeeded"


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_logs_of_a_step_are_those_of_its_job(cloud, trained, fetched, follow):
    out = cloud.typed("logs", "train", trained.rpartition("/")[2], "--env", "dev", *follow)
    assert out.splitlines()[1:] == (fetched / "logs" / "Train.log").read_text().splitlines()
    assert "Train: " in out


def test_start_tells_the_time_and_the_cost_of_the_last_that_succeeded(cloud, trained):
    told = cloud.python(
        "from dataclasses import replace\n"
        "from ml_pipeline.cloud import access, costs\n"
        "settings = access.connect(access.settings_of('dev'))\n"
        "print(costs.expectation('train', settings).told())\n"
        "print(costs.expectation('train', replace(settings, prices={'ml.m5.large': 1.0})).told())\n"
        f"used = list(costs.used({trained!r}))\n"
        "print(len(used), sum(use.seconds * settings.prices[use.instance_type] for use in used) / 3600)\n"
    ).splitlines()[1:]
    jobs, usd = told[2].split()
    assert int(jobs) == 8  # seven steps and the transform job
    assert f"USD {float(usd):.4f} (as the last one that succeeded)" in told[0]
    assert "cost unknown: no price for ml.m5.xlarge (settings.toml, [prices])" in told[1]


def approval(cloud: Cloud, env: str, version: int) -> str:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{SLUG}-{env}/{version}"
    return cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"]


def test_a_version_is_approved_and_rejected_where_it_is(cloud, trained):
    assert approval(cloud, "dev", 1) == "PendingManualApproval"
    cloud.typed("reject", "1", "--env", "dev")
    assert approval(cloud, "dev", 1) == "Rejected"
    assert "demo-dev version 1 is Rejected" in cloud.typed("promote", "1", "--to", "staging", code=2)
    cloud.typed("approve", "1", "--env", "dev")
    assert approval(cloud, "dev", 1) == "Approved"


@pytest.fixture(scope="module")
def promoted(cloud: Cloud, trained: str) -> dict[str, Any]:
    """The version in staging, as DescribeModelPackage has it."""
    cloud.typed("approve", "1", "--env", "dev")
    out = cloud.typed("promote", "1", "--to", "staging")
    assert "registered demo-staging version 1, PendingManualApproval" in out
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{SLUG}-staging/1"
    return cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)


def test_a_promoted_version_names_its_source_and_waits_for_approval(promoted):
    source = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{SLUG}-dev/1"
    assert promoted["CustomerMetadataProperties"]["promoted_from"] == source
    assert promoted["ModelApprovalStatus"] == "PendingManualApproval"
    named = set(re.findall(rf"s3://{bucket('dev')}/[^\"\\]*", json.dumps(promoted, default=str)))
    assert named == {f"s3://{bucket('dev')}/raw/2026-10-01/"}  # of the data, which are not copied


def test_a_promoted_image_keeps_its_digest(cloud, promoted):
    host, _, rest = promoted["InferenceSpecification"]["Containers"][0]["Image"].partition("/")
    repository, _, tag = rest.partition(":")
    assert (host, repository) == (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com", "demo-staging")
    client = cloud.client("ecr")
    (image,) = client.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    assert image["imageId"]["imageDigest"] == cloud.digest
    for layer in json.loads(image["imageManifest"])["layers"]:
        url = client.get_download_url_for_layer(repositoryName=repository, layerDigest=layer["digest"])
        body = subprocess.run(["curl", "-s", url["downloadUrl"]], capture_output=True, check=True).stdout
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer["digest"]


def test_every_object_that_a_promoted_version_names_is_there_with_the_same_bytes(cloud, promoted):
    named = set(re.findall(rf"s3://{bucket('staging')}/([^\"\\\s]+)", json.dumps(promoted, default=str)))
    assert {key.rpartition("/")[2] for key in named} >= {"model.tar.gz", "statistics.json", "analysis.json"}
    s3 = cloud.client("s3")
    for key in named:
        one, other = (s3.get_object(Bucket=bucket(env), Key=key)["Body"].read() for env in ("dev", "staging"))
        assert one == other, key
        marked = s3.head_object(Bucket=bucket("staging"), Key=f"{key.rpartition('/')[0]}/_SUCCESS")
        assert marked["LastModified"] >= s3.head_object(Bucket=bucket("staging"), Key=key)["LastModified"]


def test_a_second_promotion_finds_the_version_there(cloud, promoted):
    assert "demo-dev version 1 is demo-staging version 1 already" in cloud.typed(
        "promote", "1", "--to", "staging"
    )
    listed = cloud.client("sagemaker").list_model_packages(ModelPackageGroupName="demo-staging")
    assert len(listed["ModelPackageSummaryList"]) == 1


def test_an_environment_that_retrains_registers_what_it_trained_on_its_own_data(cloud, trained):
    cloud.typed("approve", "1", "--env", "dev")
    promote = ("promote", "1", "--to", "prod", "--env", "dev")
    told = cloud.typed(*promote, code=2)
    assert "there is no pipeline demo-prod-train" in told and "deploy --env prod first" in told
    cloud.typed("deploy", "--env", "prod")
    told = cloud.typed(*promote, code=2)
    assert f"s3://{bucket('prod')}/raw/ has no complete period" in told
    assert "upload FILE --env prod first" in told and len(told.splitlines()) == 1
    cloud.typed("upload", "data/sample.csv", "--env", "prod", "--period", "2026-10-02")
    execution = re.search(r"status (\w+) --env prod --follow", cloud.typed(*promote))[1]
    assert "Succeeded" in cloud.typed("status", execution, "--env", "prod", "--follow")
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{SLUG}-prod/1"
    package = cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
    made_of = package["CustomerMetadataProperties"]
    assert made_of["data_uri"] == f"s3://{bucket('prod')}/raw/2026-10-02/"
    assert (made_of["execution"], made_of["hyperparameter.num_round"]) == (execution, "30")
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert bucket("dev") not in json.dumps(package, default=str)


SCORED, IDS = "2026-09-28", 500


@pytest.fixture(scope="module")
def files(cloud: Cloud, tmp_path_factory) -> dict[str, Path]:
    """New rows, the same without a column, and their labels."""
    folder = tmp_path_factory.mktemp("files")
    with (cloud.project / "data" / "sample.csv").open() as file:
        rows = list(csv.DictReader(file))[:IDS]
    features = [name for name in rows[0] if name != "approved"]
    columns = {"rows": features, "short": features[:-1], "labels": ["applicant_id", "approved"]}
    for name, wanted in columns.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, wanted, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return {name: folder / f"{name}.csv" for name in columns}


@pytest.fixture(scope="module")
def scored(cloud: Cloud, trained: str, files: dict[str, Path]) -> Path:
    """The fetched run of an execution that scored what was uploaded, all typed as a user types it."""
    cloud.typed("approve", "1", "--env", "dev")
    to_score = ("--env", "dev", "--to", "score", "--period", SCORED)
    assert f"/score/{SCORED}/input/, complete" in cloud.typed("upload", str(files["rows"]), *to_score)
    of = ("--env", "dev", "--pipeline", "score")
    out = cloud.typed("start", *of)
    execution = re.search(r"started (\w+): arn", out)[1]
    assert f"status {execution} --env dev --pipeline score --follow" in out
    out = cloud.typed("status", *of, "--follow")
    assert re.search(r"Monitor +Succeeded", out) and out.rstrip().endswith("Succeeded"), out
    out = cloud.typed("fetch", execution, *of)
    assert f"{SCORED}: {IDS} rows, version 1, " in out and f"report: runs/{execution}/report.html" in out
    return cloud.project / "runs" / execution


def test_fetch_brings_what_a_scoring_execution_published(cloud, scored):
    names = {path.relative_to(scored).as_posix() for path in scored.rglob("*") if path.is_file()}
    measures = ("drift.json", "statistics.json", "constraints.json", "constraint_violations.json")
    assert {f"monitor/{name}" for name in measures} <= names
    assert {"output/rows.csv", "report.html", "definition.json", "logs/Monitor.log"} <= names
    lines = (scored / "output" / "rows.csv").read_text().splitlines()
    assert lines[0] == "applicant_id,predicted_label,score" and len(lines) == IDS + 1
    drift = cloud.client("s3").get_object(Bucket=bucket("dev"), Key=f"score/{SCORED}/monitor/drift.json")
    assert json.loads((scored / "monitor" / "drift.json").read_text()) == json.load(drift["Body"])


def test_an_execution_of_the_other_pipeline_is_found_by_its_option(cloud, scored):
    told = cloud.typed("status", scored.name, "--env", "dev", code=2)
    assert "(--pipeline score looks among the others)" in told
    assert scored.name in cloud.typed("status", scored.name, "--env", "dev", "--pipeline", "score")
    log = cloud.typed("logs", "monitor", scored.name, "--env", "dev", "--pipeline", "score")
    assert f"Monitor: {SCORED}" in log


def test_rows_that_the_approved_model_cannot_score_are_not_uploaded(cloud, scored, files):
    told = cloud.typed(
        "upload", str(files["short"]), "--env", "dev", "--to", "score", "--period", "2026-09-29", code=2
    )
    assert "short.csv: no column " in told and len(told.splitlines()) == 1
    assert cloud.keys(bucket("dev"), "score/2026-09-29/") == []


def test_rows_that_take_the_place_of_scored_ones_are_scored_when_they_are_named(cloud, scored, files):
    given = ("upload", str(files["rows"]), "--env", "dev", "--to", "score", "--period", SCORED)
    assert "an execution may have scored it" in cloud.typed(*given, code=2)
    told = cloud.typed(*given, "--replace")
    assert f"start --env dev --pipeline score --set Period={SCORED}" in told


def test_labels_that_come_late_are_joined_and_become_training_data(cloud, scored, files):
    cloud.typed("upload", str(files["labels"]), "--env", "dev", "--to", "truth", "--period", SCORED)
    cloud.typed("start", "--env", "dev", "--pipeline", "score")
    assert "Succeeded" in cloud.typed("status", "--env", "dev", "--pipeline", "score", "--follow")
    found = cloud.typed("status", "--env", "dev", "--pipeline", "score").splitlines()[1].partition(",")[0]
    cloud.typed("fetch", found, "--env", "dev", "--pipeline", "score")
    drift = json.loads((cloud.project / "runs" / found / "monitor" / "drift.json").read_text())
    assert drift["period"] == SCORED and drift["quality"]["rows"] == IDS
    assert (cloud.project / "runs" / found / "monitor/quality/model_quality_statistics.json").exists()
    wanted = [f"raw/{SCORED}/_SUCCESS", f"raw/{SCORED}/data.parquet"]
    assert cloud.keys(bucket("dev"), f"raw/{SCORED}/") == wanted


def steps_of(cloud: Cloud, arn: str) -> list[tuple[str, str]]:
    answer = cloud.client("sagemaker").list_pipeline_execution_steps(
        PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    return [(step["StepName"], step["StepStatus"]) for step in answer["PipelineExecutionSteps"]]


def test_a_storm_of_alarms_within_the_cool_down_computes_nothing(cloud, trained):
    arns = [cloud.start(TriggerReason="demo-dev-retrain") for _ in range(3)]
    assert [cloud.ended(arn) for arn in arns] == ["Stopped"] * 3
    for arn in arns:
        assert steps_of(cloud, arn) == [("Process", "Stopped")]
        kept = cloud.keys(bucket("dev"), f"executions/{arn.rpartition('/')[2]}/process/")
        assert [key.rpartition("/")[2] for key in kept] == ["arguments.json", "lineage.json"]
        alerts = cloud.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
        assert "FailureReason" not in alerts


@pytest.fixture(scope="module")
def storm(cloud: Cloud, trained: str) -> list[str]:
    """ARNs of three executions that a schedule started at once, ended, the one that worked first."""
    with ThreadPoolExecutor(3) as pool:
        arns = list(pool.map(lambda _: cloud.start(TriggerReason="schedule"), range(3)))
    states = {arn: cloud.ended(arn) for arn in arns}
    assert sorted(states.values()) == ["Stopped", "Stopped", "Succeeded"], states
    return sorted(arns, key=lambda arn: states[arn] != "Succeeded")


def test_of_starts_at_the_same_moment_exactly_one_works(cloud, storm):
    assert all(steps_of(cloud, arn) == [("Process", "Stopped")] for arn in storm[1:])
    assert steps_of(cloud, storm[0])[-1] == ("Register", "Succeeded")


def test_a_retried_execution_is_not_stopped_by_itself_but_by_a_person(cloud, storm):
    cloud.client("sagemaker").retry_pipeline_execution(
        PipelineExecutionArn=storm[1], ClientRequestToken="retry" * 8
    )
    until(lambda: ("Process", "Succeeded") in steps_of(cloud, storm[1]))
    out = cloud.typed("stop", storm[1].rpartition("/")[2], "--env", "dev")
    assert f"{storm[1].rpartition('/')[2]} is Stopped" in out and cloud.status(storm[1]) == "Stopped"
    again = cloud.typed("stop", storm[1].rpartition("/")[2], "--env", "dev")
    assert "is Stopped already; no job of it runs" in again
    assert "Stopped" in cloud.typed("status", storm[1].rpartition("/")[2], "--env", "dev", code=1)


@pytest.fixture(scope="module")
def smoked(cloud: Cloud, trained: str) -> tuple[str, dict[str, Any], str]:
    """Output, JSON and page of `smoke`, with a local AWS that stands for the cloud."""
    before = held(cloud)
    out = cloud.typed("smoke", "--env", "dev")
    assert held(cloud) == before
    json_path, page_path = (cloud.project / name for name in re.findall(r"smoke-[\d-]+\.(?:json|md)", out))
    return out, json.loads(json_path.read_text()), page_path.read_text()


@pytest.mark.parametrize(("pipeline", "last"), [("train", "Register"), ("score", "Monitor")])
def test_smoke_finds_no_difference_where_there_is_none(smoked, pipeline, last):
    out, document, page = smoked
    found = document[pipeline]
    assert found["differences"] == [] and found["cloud"]["answers"] == found["local"]["answers"]
    assert re.search(rf"{pipeline}: Succeeded, USD 0\.\d+, 0 differences", out)
    assert page.count("The answers of both are the same, but for times.") == 2
    assert {"execution", last} <= set(found["cloud"]["seconds"])


def test_smoke_looks_at_every_step_and_what_it_started(smoked):
    answers = smoked[1]["train"]["cloud"]["answers"]
    jobs = {name for name in answers if ": Describe" in name}
    steps = ("Process", "Tune", "Train", "Transform", "Evaluate", "Bias", "Register")
    assert {f"{step}: ListPipelineExecutionSteps" for step in steps} <= set(answers)
    started = {f"started by a step: Describe{kind}" for kind in ("TransformJob", "HyperParameterTuningJob")}
    assert jobs == {f"{step}: DescribeTrainingJob" for step in steps} | started | {
        "started by a step: DescribeTrainingJob"
    }
    assert {"DescribePipeline", "DescribePipelineExecution", "DescribeModelPackage"} <= set(answers)
    answers = smoked[1]["score"]["cloud"]["answers"]
    jobs = {name for name in answers if ": Describe" in name}
    assert jobs == {f"{step}: DescribeTrainingJob" for step in ("Select", "Transform", "Monitor")} | {
        "started by a step: DescribeTransformJob"
    }


def test_what_smoke_writes_names_no_account(smoked):
    assert ACCOUNT not in json.dumps(smoked[1]) + smoked[2]


def test_a_field_that_the_cloud_does_not_answer_is_reported(cloud, smoked):
    text = json.dumps(smoked[1]["train"])
    told = cloud.python(
        "import json\n"
        "from ml_pipeline.cloud import recording, smoke\n"
        f"found = json.loads({text!r})\n"
        "del found['cloud']['answers']['Train: DescribeTrainingJob']['BillableTimeInSeconds']\n"
        "cloud, local = (recording.Recording(**found[name]) for name in ('cloud', 'local'))\n"
        "print(smoke.page([smoke.Smoked('train', cloud, local, 'USD 1')], 'today'))\n"
    )
    assert "| Train: DescribeTrainingJob | BillableTimeInSeconds | absent | number |" in told
