"""What a scoring execution takes: which periods, which model, and which rows in which form."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import ACCOUNT, REGION
from moto.sagemaker.models import sagemaker_backends
from test_admission import pipeline_of, started

from ml_pipeline import admission, approved, canonical, periods, storage
from ml_pipeline.approved import PackageError
from ml_pipeline.dialect import DataError
from ml_pipeline.features import Category, FeatureSpec, Number, Target
from ml_pipeline.settings import Settings
from ml_pipeline.steps.select import select

EXECUTION = "abcdefghijkl"
NOW = datetime(2027, 2, 3, 12, tzinfo=UTC)
SPEC = FeatureSpec(
    ids=("id",),
    features=(Number("age", 40.0, 40.0, 10.0), Category("plan", ("basic", "gold, old", "True"))),
    target=Target("approved", "binary", ("no", "yes"), "yes"),
    missing=("", "?"),
)
ROWS = "id,age,plan\nA1,30,basic\nA2,?,\nA3,41.5,None of these\n"
CANONICAL = "A1,30,basic\nA2,,\nA3,41.5,None of these\n"
CONTAINER_TYPES = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}


def archive(spec: FeatureSpec) -> bytes:
    buffer = io.BytesIO()
    # without the time of day, so that a second version of the same model has the same bytes
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        body = spec.to_json().encode()
        entry = tarfile.TarInfo("feature_spec.json")
        entry.size = len(body)
        tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def register(settings: Settings, spec: FeatureSpec = SPEC, status: str = "Approved", **members: Any) -> str:
    """ARN of a version whose model and baselines lie in the bucket."""
    client, folder = boto3.client("sagemaker"), f"s3://{settings.bucket}/executions/trained"
    if not client.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        client.create_model_package_group(ModelPackageGroupName=settings.prefix)
    model = archive(spec)
    storage.write_bytes(f"{folder}/train/model.tar.gz", model)

    def source(uri: str) -> dict[str, str]:
        storage.write_bytes(uri, b"{}")
        storage.write_bytes(f"{uri.rpartition('/')[0]}/thresholds.json", b"{}")
        return {"ContentType": "application/json", "S3Uri": uri}

    def pair(stem: str) -> dict[str, Any]:
        return {kind: source(f"{folder}/{stem}{kind.lower()}.json") for kind in ("Statistics", "Constraints")}

    request = {
        "ModelPackageGroupName": settings.prefix,
        "ModelApprovalStatus": status,
        "InferenceSpecification": {
            "Containers": [{"Image": "image:tag", "ModelDataUrl": f"{folder}/train/model.tar.gz"}],
            **CONTAINER_TYPES,
        },
        "CustomerMetadataProperties": {"model_sha256": hashlib.sha256(model).hexdigest()},
        "DriftCheckBaselines": {
            "ModelDataQuality": pair("process/"),
            "ModelQuality": pair("evaluate/model_quality_"),
            "Explainability": {"Constraints": source(f"{folder}/evaluate/attributions.json")},
        },
    }
    return client.create_model_package(**request | members)["ModelPackageArn"]


def put(settings: Settings, period: str, objects: dict[str, str | bytes], complete: bool = True) -> None:
    folder = periods.folder(period, settings, "score")
    for name, content in objects.items():
        content = content.encode() if isinstance(content, str) else content
        storage.write_bytes(f"{folder}/{name}", content)
    if complete:
        storage.mark_success(folder)


def mark_scored(settings: Settings, *scored: str) -> None:
    for period in scored:
        storage.mark_success(periods.folder(period, settings, "output"))


@pytest.fixture
def scored(
    bucket: str, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`scored(objects)` is the entry of a period with these objects, and what Transform's input is then."""
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)

    def run(
        objects: dict[str, str | bytes], spec: FeatureSpec = SPEC, **sections: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        chosen = settings(**{"data": {"ids": spec.ids}} | sections)
        register(chosen, spec)
        put(chosen, "2027-02-01", objects)
        result = select("auto", "manual", EXECUTION, chosen)
        (entry,) = result["periods"]
        return entry, contents(result["input_uri"])

    return run


def contents(folder: str) -> dict[str, str]:
    return {
        uri.removeprefix(folder): storage.read_bytes(uri).decode() for uri, _ in storage.list_uris(folder)
    }


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


# Which periods


def states(settings: Settings, wanted: str = "auto") -> dict[str, str]:
    return {each.name: each.state for each in periods.to_score(wanted, NOW, settings)}


def test_periods_are_told_apart(bucket, settings):
    wanted = settings()
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-11")
    put(wanted, "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(wanted, "2027-01-25", {})
    put(wanted, "2027-01-26", {"_hidden.csv": ROWS, "sub/.hidden": ROWS})
    put(wanted, "2027-02-01", {"a.csv": ROWS, "sub/b.csv": ROWS})
    put(wanted, "2027-02-04", {"a.csv": ROWS})  # begins 12 hours after now
    put(wanted, "2027-02-05", {"a.csv": ROWS})
    put(wanted, "latest", {"a.csv": ROWS})
    assert states(wanted) == {
        "2027-01-04": "late",
        "2027-01-11": "scored",
        "2027-01-18": "incomplete",
        "2027-01-25": "empty",
        "2027-01-26": "empty",
        "2027-02-01": "new",
        "2027-02-04": "new",
        "2027-02-05": "future",
    }
    (newest,) = [each for each in periods.to_score("auto", NOW, wanted) if each.name == "2027-02-01"]
    folder = periods.folder("2027-02-01", wanted, "score")
    assert newest.objects == (f"{folder}/a.csv", f"{folder}/sub/b.csv")


def test_a_period_that_is_named_is_scored_again(bucket, settings):
    wanted = settings()
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-04")
    assert states(wanted, "2027-01-04") == {"2027-01-04": "again"}
    assert states(wanted, "2027-01-11") == {"2027-01-11": "new"}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            "2027-01-05",
            "score/2027-01-05/input/: nothing there to score; `python -m ml_pipeline score",
        ),
        ("2027-01-18", "score/2027-01-18/input/ has no _SUCCESS, so its upload has not ended"),
        ("2027-03-01", "dated more than a day after this execution's start, 2027-02-03 12:00 UTC"),
        ("yesterday", "Period must be auto, a date as YYYY-MM-DD, or labels:YYYY-MM-DD .* got 'yesterday'"),
    ],
)
def test_a_named_period_that_cannot_be_scored_is_refused(named, message, bucket, settings):
    put(settings(), "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(settings(), "2027-03-01", {"a.csv": ROWS})
    with pytest.raises(DataError, match=message):
        periods.to_score(named, NOW, settings())


def test_labels_that_are_asked_for_score_nothing_and_need_no_model(bucket, settings, monkeypatch):
    chosen = settings()
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    monkeypatch.setattr(approved, "newest", lambda group: pytest.fail("no model was asked for"))
    put(chosen, "2027-01-04", {"a.csv": ROWS})
    with pytest.raises(DataError, match=r"2027-01-04 has no scores that labels .* score --data FILE"):
        select("labels:2027-01-04", "manual", EXECUTION, chosen)
    mark_scored(chosen, "2027-01-04")
    with pytest.raises(DataError, match=r"truth/2027-01-04/ has no _SUCCESS: its labels have not come"):
        select("labels:2027-01-04", "manual", EXECUTION, chosen)
    storage.mark_success(periods.folder("2027-01-04", chosen, "truth"))
    found = select("labels:2027-01-04", "manual", EXECUTION, chosen)
    entry = {"period": "2027-01-04", "state": "labels", "objects": [], "rows": 0, "broken": []}
    assert found["periods"] == [entry] and found["package"] is None
    assert found["summary"] == "nothing to score, labels of 2027-01-04"


def test_the_summary_tells_what_is_left_and_why(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    wanted = settings(data={"ids": ("id",)})
    register(wanted)
    put(wanted, "2027-01-04", {"a.csv": ROWS})
    put(wanted, "2027-01-11", {"a.csv": ROWS})
    mark_scored(wanted, "2027-01-11")
    put(wanted, "2027-01-18", {"a.csv": ROWS}, complete=False)
    put(wanted, "2027-01-25", {})
    put(wanted, "2027-01-26", {"a.csv": "id,age\nA1,30\n"})
    put(wanted, "2027-02-20", {"a.csv": ROWS})
    assert select("auto", "manual", EXECUTION, wanted)["summary"] == (
        "2027-01-04 (late): 3 rows in 1 object, 2027-01-25 is empty, 2027-01-26 is broken (1 violation), "
        "2027-01-18 is incomplete, 2027-02-20 is in the future, 1 scored already, version 1"
    )


def test_now_is_when_the_execution_started(bucket, settings):
    wanted = settings()
    put(wanted, "2099-01-05", {})
    put(wanted, "2099-01-08", {})
    name = pipeline_of(wanted, "score")
    own = started(name)
    (execution,) = sagemaker_backends[ACCOUNT][REGION].pipelines[name].pipeline_executions.values()
    execution.start_time = datetime(2099, 1, 5, tzinfo=UTC)
    result = select("auto", "manual", own, wanted)
    assert [each["period"] for each in result["periods"]] == ["2099-01-05"]
    assert select("auto", "manual", "of no execution", wanted)["periods"] == []


def test_a_second_scoring_execution_stops_itself_before_it_reads_anything(bucket, settings, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(client: Any, arn: str) -> None:
        raise Stopped(arn)

    wanted = settings(triggers={"cool_down_hours": 24.0})
    monkeypatch.setattr(admission, "_stop", stop)
    name = pipeline_of(wanted, "score")
    first, second = started(name), started(name)
    put(wanted, "2026-01-05", {"a.csv": ROWS})  # and no model: whoever goes on fails
    with pytest.raises(PackageError):
        select("auto", "manual", first, wanted)
    with pytest.raises(Stopped, match=second):
        select("2026-01-05", "alarm", second, wanted)
    assert [uri.rpartition("/executions/")[2] for uri, _ in storage.list_uris(wanted.uri(""))] == [
        f"{first}/select/admitted.json"
    ]


def test_scoring_does_not_cool_down(bucket, settings):
    wanted = settings(triggers={"cool_down_hours": 24.0})
    name = pipeline_of(wanted, "score")
    boto3.client("sagemaker").start_pipeline_execution(PipelineName=name)  # moto: Succeeded at once
    assert select("auto", "an alarm", started(name), wanted)["summary"] == "nothing to score"


# Which model


def test_nothing_to_score_needs_no_model(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    result = select("auto", "manual", EXECUTION, settings())
    assert (result["summary"], result["package"], result["periods"]) == ("nothing to score", None, [])
    assert contents(result["input_uri"]) == {}


def test_without_an_approved_version_the_command_that_approves_is_named(scored, bucket, settings):
    wanted = settings()
    register(wanted, status="PendingManualApproval")
    put(wanted, "2027-02-01", {"a.csv": ROWS})
    with pytest.raises(PackageError, match=r"no approved model .* `python -m ml_pipeline approve VERSION`"):
        select("auto", "manual", EXECUTION, wanted)


def test_the_newest_approved_version_is_described_with_what_it_was_trained_on(scored, bucket, settings):
    wanted = settings(data={"ids": ("id",)})
    register(wanted)
    second = register(wanted)
    register(wanted, status="Rejected")
    result = select("auto", "manual", EXECUTION, wanted)
    folder = f"s3://{bucket}/executions/trained"
    assert result["package"] == {
        "package_arn": second,
        "version": 2,
        "model_uri": f"{folder}/train/model.tar.gz",
        "feature_spec_uri": wanted.uri(EXECUTION, "select", "feature_spec.json"),
        "thresholds": {
            "process": f"{folder}/process/thresholds.json",
            "evaluate": f"{folder}/evaluate/thresholds.json",
            "bias": None,
        },
        "baselines": {
            "statistics": f"{folder}/process/statistics.json",
            "constraints": f"{folder}/process/constraints.json",
            "quality_statistics": f"{folder}/evaluate/model_quality_statistics.json",
            "quality_constraints": f"{folder}/evaluate/model_quality_constraints.json",
            "attributions": f"{folder}/evaluate/attributions.json",
            "bias": None,
        },
        "passed_columns": ["id"],
    }
    assert FeatureSpec.from_json(storage.read_bytes(result["package"]["feature_spec_uri"])) == SPEC
    assert (result["model_uri"], result["image_uri"], result["passed_columns"]) == (
        f"{folder}/train/model.tar.gz",
        "image:tag",
        1,
    )


SPOILT = {
    "gone": (
        lambda folder: storage.delete(f"{folder}/train/model.tar.gz"),
        "has lost its model: there is no",
    ),
    "changed": (
        lambda folder: storage.write_bytes(f"{folder}/train/model.tar.gz", b"another"),
        "was registered with a model of SHA-256 [0-9a-f]{64}, but .* has [0-9a-f]{64}",
    ),
    "no baseline": (
        lambda folder: storage.delete(f"{folder}/process/statistics.json"),
        "has lost .*/process/statistics.json",
    ),
    "no thresholds": (
        lambda folder: storage.delete(f"{folder}/evaluate/thresholds.json"),
        "has lost .*/evaluate/thresholds.json",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_version_that_is_not_what_was_registered_is_refused(case, scored, bucket, settings):
    spoil, message = SPOILT[case]
    register(settings())
    spoil(f"s3://{bucket}/executions/trained")
    with pytest.raises(PackageError, match=f"version 1 {message}.*`python -m ml_pipeline reject 1`"):
        select("auto", "manual", EXECUTION, settings())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"CustomerMetadataProperties": {}}, "has no model_sha256 in its metadata"),
        (
            {"DriftCheckBaselines": {}},
            "has no baseline ModelDataQuality.Statistics, .* in DriftCheck",
        ),
    ],
)
def test_a_version_that_was_registered_by_other_means_is_refused(members, message, scored, bucket, settings):
    register(settings(), **members)
    with pytest.raises(PackageError, match=message):
        select("auto", "manual", EXECUTION, settings())


def test_an_approved_version_is_looked_for_where_its_environment_is(settings):
    assert approved.to_approve(settings()).endswith("approve VERSION`")


# Which rows, in which form

TABLES = {
    "comma": ROWS,
    "another order": "plan,id,age\nbasic,A1,30\n,A2,?\nNone of these,A3,41.5\n",
    "a label and more": "id,approved,age,extra,plan\nA1,yes,30,x,basic\nA2,,?,,\nA3,no,41.5,,None of these\n",
    "semicolon": ROWS.replace(",", ";"),
    "pipe, spaces": "id | age | plan\n A1 | 30 |basic \nA2|?| \nA3| 41.5 |None  of these\n",
    "no header": ROWS.partition("\n")[2],
    "byte order mark, CRLF": codecs.BOM_UTF8.decode() + ROWS.replace("\n", "\r\n"),
    "quoted lines": '"id,age,plan"\n"A1,30,basic"\n"A2,?,"\n"A3,41.5,None of these"\n',
    "more than once, but not needed": "x,id,age,x,plan\n,A1,30,,basic\n,A2,?,,\n,A3,41.5,,None of these\n",
}


@pytest.mark.parametrize("first", ["A0,,", "A0,?,elsewhere"])
def test_a_first_row_without_a_number_is_a_row_too(first, scored):
    _, written = scored({"rows.csv": f"{first}\n{CANONICAL}"})
    assert written == {"2027-02-01/rows.csv": f"{first.replace('?', '')}\n{CANONICAL}"}


@pytest.mark.parametrize("case", TABLES)
def test_any_csv_becomes_the_one_that_batch_transform_takes(case, scored):
    entry, written = scored({"rows.csv": TABLES[case]})
    assert written == {"2027-02-01/rows.csv": CANONICAL}
    assert entry == {"period": "2027-02-01", "state": "ready", "objects": ["rows"], "rows": 3, "broken": []}


def test_a_number_that_means_no_value_is_an_empty_cell_and_others_stay_as_written(scored):
    spec = FeatureSpec(("id",), SPEC.features, SPEC.target, ("", "-999"))
    rows = "id,age,plan\nA1,-999,basic\nA2,1e2,-999\nA3,NaN,\nA4,0.10,\n"
    assert scored({"a.csv": rows}, spec)[1] == {"2027-02-01/a.csv": "A1,,basic\nA2,1e2,\nA3,,\nA4,0.10,\n"}


def test_tsv_and_parquet_are_taken_too(scored):
    table = parquet(
        plan=["basic", None, "None of these"], id=["A1", "A2", "A3"], age=[30, None, 41.5], index=[1, 2, 3]
    )
    entry, written = scored({"a.tsv": ROWS.replace(",", "\t").replace("A", "B"), "b.parquet": table})
    assert written == {"2027-02-01/a.csv": CANONICAL.replace("A", "B"), "2027-02-01/b.csv": CANONICAL}
    assert (entry["objects"], entry["rows"]) == (["a", "b"], 6)


def test_parquets_own_types_become_the_words_of_the_training_data(scored):
    table = parquet(id=[1.0, 2.0, 3.0], age=pa.array([1, None, 3], pa.int8()), plan=[True, None, False])
    assert scored({"a.parquet": table})[1] == {"2027-02-01/a.csv": "1,1,True\n2,,\n3,3,false\n"}


def test_a_cell_with_a_comma_a_quote_or_a_line_break_stays_one_cell_of_one_line(scored):
    rows = 'id,age,plan\nA1,30,"gold,\nold"\nA2,31,"say ""x"""\n'
    _, written = scored({"a.csv": rows})
    assert written == {"2027-02-01/a.csv": '"A1","30","gold, old"\n"A2","31","say ""x"""\n'}


def test_objects_of_one_name_stay_apart_and_folders_are_kept(scored):
    objects = {f"{name}.csv": ROWS.replace("A", letter) for name, letter in (("a", "B"), ("sub/a", "C"))}
    entry, written = scored(objects | {"a.tsv": ROWS.replace(",", "\t")})
    assert entry["objects"] == ["a.csv", "a.tsv", "sub/a"]
    assert sorted(written) == [f"2027-02-01/{name}.csv" for name in entry["objects"]]
    assert written["2027-02-01/sub/a.csv"] == CANONICAL.replace("A", "C")


def test_what_training_on_the_rows_will_need_passes_by_the_model(scored):
    data = {"ids": ("id",), "facets": ("sex", "plan"), "group": "region", "exclude": ("note", "secret")}
    rows = (
        "sex,id,age,plan,region,day,note\nF,A1,30,basic,N,2027-01-30, as  said\n,A2,31,basic,,2027-01-31,\n"
    )
    _, written = scored({"a.csv": rows}, data=data, split={"method": "ordered", "time": "day"})
    assert written["2027-02-01/a.csv"] == (
        "A1,F,N,2027-01-30,as said,,30,basic\nA2,,,2027-01-31,,,31,basic\n"
    )


def test_without_a_header_the_columns_of_settings_are_taken(scored):
    columns = {"ids": ("id",), "columns": ("plan", "approved", "age", "id"), "delimiter": ";"}
    assert scored({"a.csv": "basic;yes;30;A1\n"}, data=columns)[1] == {"2027-02-01/a.csv": "A1,30,basic\n"}
    _, written = scored({"a.csv": "basic;30;A1\n"}, data=columns)
    assert written == {"2027-02-01/a.csv": "A1,30,basic\n"}


def test_a_table_without_numbers_is_known_to_have_no_header_by_its_categories(scored):
    spec = FeatureSpec((), (Category("a", ("x", "y")), Category("b", ("u",))), SPEC.target, ("",))
    assert scored({"t.csv": "y,unheard of\nx,u\n"}, spec)[1] == {"2027-02-01/t.csv": "y,unheard of\nx,u\n"}


def test_memory_does_not_grow_with_the_object(scored):
    rows = "id,age,plan\n" + "".join(f"A{row},{row % 70},basic\n" for row in range(200_000))
    entry, written = scored({"a.csv": rows})
    assert entry["rows"] == 200_000
    assert written["2027-02-01/a.csv"] == rows.partition("\n")[2]


# What cannot be scored

HEADER = "id,age,plan\n"
BROKEN: dict[str, tuple[str | bytes, list[tuple[str, str, str]]]] = {
    "missing columns": (
        "id,Age,approved\nA1,30,yes\n",
        [
            (
                "age",
                "missing_column_check",
                "no column age, plan; is 'age' age?; there are: id, Age, ",
            ),
            ("plan", "missing_column_check", "no column age, plan"),
        ],
    ),
    "no header and another number of cells": (
        "A1,30,basic,x\nA2,31,basic,y\n",
        [
            (
                "(all)",
                "missing_column_check",
                "no header, and 4 cells in the first row where 3 are taken: id, age, ",
            )
        ],
    ),
    "no header and another order": (
        "30,basic,A1\n31,basic,A2\n",
        [("age", "data_type_check", "row 1, column age: 'basic' is not a number; correct the cell")],
    ),
    "an unreadable number": (
        HEADER + "A1,30,basic\nA2,3O,basic\n",
        [
            (
                "age",
                "data_type_check",
                "a.csv row 2, column age: '3O' is not a number; correct the cell, or train",
            )
        ],
    ),
    "a decimal comma": (
        HEADER.replace(",", ";") + "A1;30,5;basic\n",
        [("age", "data_type_check", "row 1, column age: '30,5' is not a number")],
    ),
    "an infinite number": (
        HEADER + "A1,inf,basic\n",
        [("age", "data_type_check", "inf is not a finite")],
    ),
    "a number beyond float32": (
        HEADER + "A1,30,basic\nA2,1e300,basic\n",
        [("age", "data_type_check", r"row 2, column age: 1e+300 is too large for the model")],
    ),
    "a row of another length": (
        HEADER + "A1,30,basic\nA2,31\n",
        [("(all)", "data_type_check", "a.csv row 2 has 2 cells, not 3: 'A2,31'")],
    ),
    "a name twice": (
        "id,age,plan,age\nA1,30,basic,31\n",
        [("age", "extra_column_check", "more than one column age; rename or leave out one of each")],
    ),
    "an empty object": (b"", [("(all)", "completeness_check", "a.csv: the object is empty")]),
    "blank lines": ("\n\n", [("(all)", "data_type_check", "only blank lines")]),
    "UTF-16": (
        ROWS.encode("utf-16"),
        [("(all)", "data_type_check", "encoded in UTF-16, not UTF-8; convert")],
    ),
    "not UTF-8": (
        (HEADER + "A1,30,é\n").encode("latin-1"),
        [("(all)", "data_type_check", "line 2 holds the byte 0xE9, which is not UTF-8")],
    ),
    "a zip archive": (
        b"PK\x03\x04...",
        [("(all)", "data_type_check", "not a CSV but a zip archive or an")],
    ),
    "a header further down": (
        ROWS + ROWS.replace("A", "B"),
        [
            (
                "(all)",
                "data_type_check",
                "a.csv row 4 holds the columns' names once more: were files with headers",
            )
        ],
    ),
    "a header further down, none at the beginning": (
        CANONICAL + HEADER + "B1,30,basic\n",
        [("(all)", "data_type_check", "a.csv row 4 holds the columns' names once more")],
    ),
    "an id twice": (
        HEADER + "A1,30,basic\nA2,30,gold\nA1,31,\n",
        [
            (
                "id",
                "data_type_check",
                "id: 1 value stands more than once in the period.*'A1' in a.csv row 1 and a.csv row 3",
            )
        ],
    ),
    "no id": (
        HEADER + "A1,30,basic\n?,31,\n",
        [
            (
                "id",
                "completeness_check",
                "a.csv row 2, column id: no value, so its score has no owner; give the row",
            )
        ],
    ),
    "two columns at once": (
        "id,age,plan\n,old,basic\nA2,older,basic\n",
        [
            ("age", "data_type_check", "row 1, column age: 'old'"),
            ("id", "completeness_check", "row 1, column id"),
        ],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_scored_is_a_violation_that_names_place_and_remedy(case, scored):
    content, expected = BROKEN[case]
    entry, written = scored({"a.csv": content})
    assert (entry["state"], written) == ("broken", {})
    assert len(entry["broken"]) == len(expected)
    for found, (name, check, told) in zip(entry["broken"], expected, strict=True):
        assert (found["feature_name"], found["constraint_check_type"]) == (name, check)
        assert all(part in found["description"] for part in told.split(".*"))


def test_other_formats_are_violations_too(scored):
    entry, _ = scored({"a.xlsx": b"PK\x03\x04", "b.parquet": b"no", "c.csv": ROWS})
    assert [each["description"].partition(": ")[2][:40] for each in entry["broken"]] == [
        "the name must end with .csv, .tsv, .txt,",
        "not a parquet file: Parquet file size is",
    ]


def test_an_id_that_stands_in_two_objects_is_named_with_both(scored):
    entry, written = scored({"a.csv": ROWS, "b.parquet": parquet(id=["B1", "A3"], age=[1, 2], plan=["", ""])})
    assert "'A3' in a.csv row 3 and b.parquet row 2;" in entry["broken"][0]["description"]
    assert written == {}


def test_ids_of_two_columns_are_only_told_when_both_recur(scored):
    spec = FeatureSpec(("id", "day"), SPEC.features, SPEC.target, SPEC.missing)
    rows = "id,day,age,plan\nA1,1,30,\nA1,2,30,\nA2,1,30,\n"
    assert scored({"a.csv": rows}, spec)[0]["state"] == "ready"
    entry, _ = scored({"a.csv": rows + "A1,2,31,\n"}, spec)
    assert "id + day: 1 value stands more than once" in entry["broken"][0]["description"]
    assert "'A1', '2' in a.csv row 2 and a.csv row 4" in entry["broken"][0]["description"]


def test_texts_that_differ_in_a_byte_or_a_length_differ_in_their_hashes():
    texts = ["", "a", "b", "a\0", "aaaaaaaa", "aaaaaaaaa", "é", "\0" * 8, "\0" * 9, "x" * 70, "x" * 69 + "y"]
    one = canonical.id_hashes([pa.array(texts)])
    assert len(set(one.tolist())) == len(texts)
    assert (canonical.id_hashes([pa.array(["left out", *texts]).slice(1)]) == one).all()
    two = canonical.id_hashes([pa.array(["a", "b", "ab"]), pa.array(["b", "a", ""])])
    assert len(set(two.tolist())) == 3


def test_ids_that_only_share_a_hash_are_no_violation(scored, monkeypatch):
    monkeypatch.setattr(canonical, "id_hashes", lambda columns: np.zeros(len(columns[0]), np.uint64))
    assert scored({"a.csv": ROWS})[0]["state"] == "ready"


def test_a_period_of_headers_alone_is_empty(scored):
    entry, written = scored({"a.csv": HEADER, "b.csv": HEADER})
    assert (entry["state"], entry["rows"], written) == ("empty", 0, {})


def test_an_object_without_rows_is_left_out_beside_others(scored):
    entry, written = scored({"a.csv": HEADER, "b.csv": ROWS})
    assert (entry["objects"], list(written)) == (["b"], ["2027-02-01/b.csv"])


def test_a_broken_period_leaves_others_and_nothing_half_written(bucket, settings, monkeypatch):
    monkeypatch.setattr(admission, "admit", lambda *arguments: NOW)
    wanted = settings(data={"ids": ("id",)})
    register(wanted)
    put(wanted, "2027-01-25", {"a.csv": ROWS, "b.csv": HEADER + "B1,old,\n"})
    put(wanted, "2027-02-01", {"a.csv": ROWS})
    result = select("auto", "manual", EXECUTION, wanted)
    assert [each["state"] for each in result["periods"]] == ["broken", "ready"]
    assert contents(result["input_uri"]) == {"2027-02-01/a.csv": CANONICAL}


def test_of_many_violations_the_first_are_told(scored):
    entry, _ = scored({f"{number:03}.csv": b"" for number in range(150)})
    assert len(entry["broken"]) == 100
    assert "051 more" not in entry["broken"][-1]["description"]
    assert entry["broken"][-1]["description"] == "51 more; the log of Select names them"
