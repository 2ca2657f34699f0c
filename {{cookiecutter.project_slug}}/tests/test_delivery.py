"""What a file must hold before it goes into the bucket, and a period that is complete or absent."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from selected import ROWS, SPEC, register

from ml_pipeline import delivery, storage
from ml_pipeline.cloud import upload
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError
from ml_pipeline.monitoring import results

DATA = {"ids": ("id",), "target": "approved"}
LINE = {"groundTruthData": {"data": "yes", "encoding": "CSV"}, "eventMetadata": {"eventId": "A1"}}


def written(folder, name: str, text: str):
    path = folder / name
    path.write_text(text)
    return path


def test_the_data_files_of_a_folder_are_taken_and_marks_are_not(tmp_path):
    for name in ("b.csv", "a.PARQUET", "_SUCCESS", ".hidden.csv"):
        written(tmp_path, name, "x")
    assert [path.name for path in delivery.files(str(tmp_path))] == ["a.PARQUET", "b.csv"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [((), "a folder without files"), (("notes.docx",), r"notes.docx: .* must end with")],
)
def test_a_folder_that_holds_no_tables_is_refused(tmp_path, names, sentence):
    for name in names:
        written(tmp_path, name, "x")
    with pytest.raises(InputError, match=sentence):
        delivery.files(str(tmp_path))


def test_rows_without_a_column_that_the_model_needs_are_refused_by_its_name(tmp_path, settings):
    delivery.check_rows([written(tmp_path, "rows.csv", ROWS)], SPEC, settings(data=DATA))
    short = written(tmp_path, "short.csv", "id,Age\nA1,30\n")
    with pytest.raises(DataError, match=r"short.csv: no column age, plan; is 'age' age.*there are: id, Age"):
        delivery.check_rows([short], SPEC, settings(data=DATA))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "approved;id\nyes;A1\n"),
        ("labels.jsonl", f"\n{json.dumps(LINE)}\n"),
    ],
)
def test_labels_are_a_table_with_ids_and_target_or_lines_of_model_monitor(tmp_path, settings, name, text):
    delivery.check_truth(written(tmp_path, name, text), settings(data=DATA).data)


@pytest.mark.parametrize(
    ("name", "text", "data", "sentence"),
    [
        ("labels.csv", "id,label\nA1,yes\n", DATA, "no column 'approved'.*there are: id, label"),
        ("labels.jsonl", '{"eventId": "A1"}\n', DATA, "a line must be .*, the first is '.*A1"),
        ("labels.jsonl", "", DATA, "a line must be .*, the first is ''"),
        ("labels.jsonl", json.dumps(LINE), {"ids": ("id", "day")}, "known by id, day: bring a CSV"),
        (
            "labels.csv",
            "approved\nyes\n",
            {"ids": ()},
            r"ids names no column \(settings.toml, \[data\]\): name one",
        ),
    ],
)
def test_labels_that_could_not_be_joined_are_refused(tmp_path, settings, name, text, data, sentence):
    with pytest.raises(DataError, match=f"{name}: .*{sentence}"):
        delivery.check_truth(written(tmp_path, name, text), settings(data=data).data)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("labels.csv", "id,approved\nA1,yes\nA2,perhaps\n", "row 2, column approved: .* one of no, yes"),
        ("labels.csv", "id,approved\nA1,yes\nA1,no\n", "row 2: id 'A1' has a label already, at .*repeat: 1"),
        ("labels.csv", "id,approved\nA1,\n", "no row has a label"),
        ("labels.jsonl", f"{json.dumps(LINE)}\n{{\n", "line 2: must be"),
    ],
)
def test_labels_that_monitor_would_refuse_are_refused_at_once(tmp_path, settings, name, text, sentence):
    good = written(tmp_path, "good.jsonl", json.dumps(LINE))
    delivery.check_labels(good, "2027-01-01", SPEC, settings(data=DATA))
    with pytest.raises(DataError, match=f"{name}:? {sentence}"):
        delivery.check_labels(written(tmp_path, name, text), "2027-01-01", SPEC, settings(data=DATA))


def test_labels_are_checked_by_the_model_that_scored_the_period_else_by_the_approved_one(
    bucket, tmp_path, settings, capsys
):
    chosen, perhaps = settings(data=DATA), written(tmp_path, "l.csv", "id,approved\nA1,perhaps\n")
    delivery.check_labels(perhaps, "2027-01-01", None, chosen)
    assert "no version is approved yet" in capsys.readouterr().out
    register(chosen)
    with pytest.raises(DataError, match="one of no, yes"):
        delivery.check_labels(perhaps, "2027-01-01", None, chosen)
    place, target = f"s3://{bucket}/spec.json", replace(SPEC.target, classes=("no", "perhaps"))
    storage.write_bytes(place, replace(SPEC, target=target).to_json().encode())
    results.write_scored("2027-01-01", {"feature_spec_uri": place}, "", "x", chosen)
    storage.mark_success(f"s3://{bucket}/score/2027-01-01/output")
    delivery.check_labels(perhaps, "2027-01-01", None, chosen)


def test_labels_that_monitor_would_refuse_are_not_uploaded(bucket, tmp_path, settings):
    labels, chosen = written(tmp_path, "labels.csv", "id,approved\nA1,perhaps\n"), settings(data=DATA)
    register(chosen)
    with pytest.raises(DataError, match=r"labels.csv row 1, column approved: label must be one of no, yes"):
        upload.upload([labels], "truth", "2027-01-01", False, chosen)
    assert storage.list_uris(f"s3://{bucket}/truth/") == []


def test_rows_that_the_approved_model_could_not_score_are_not_uploaded(bucket, tmp_path, settings):
    rows, chosen = written(tmp_path, "rows.csv", "id,age\nA1,30\n"), settings(data=DATA)
    register(chosen)
    with pytest.raises(DataError, match=r"rows.csv: no column plan"):
        upload.upload([rows], "score", "2027-01-01", False, chosen)
    assert storage.list_uris(f"s3://{bucket}/score/") == []


@pytest.mark.parametrize("name", ["header.csv", "header.parquet"])
def test_files_without_a_row_are_refused_unless_another_has_one(tmp_path, settings, name):
    path = tmp_path / name
    empty = pd.DataFrame({"id": [], "age": [], "plan": []}, dtype=str)
    empty.to_csv(path, index=False) if name.endswith(".csv") else empty.to_parquet(path)
    with pytest.raises(DataError, match=f"{name}: no row below the header; bring rows to score"):
        delivery.check_rows([path], SPEC, settings(data=DATA))
    delivery.check_rows([path, written(tmp_path, "rows.csv", ROWS)], SPEC, settings(data=DATA))


def test_a_period_that_is_replaced_is_incomplete_until_all_of_it_is_there(bucket, tmp_path, monkeypatch):
    folder = f"s3://{bucket}/score/2027-01-01/input"
    old, new = written(tmp_path, "old.csv", "1"), written(tmp_path, "new.csv", "2")
    delivery.put([old], folder)
    seen = []
    for name in ("upload", "delete", "mark_success"):
        keep = getattr(storage, name)
        monkeypatch.setattr(
            storage, name, lambda *given, keep=keep, name=name: (seen.append((name, given[-1])), keep(*given))
        )
    delivery.put([new], folder)
    assert seen == [
        ("delete", f"{folder}/_SUCCESS"),
        ("delete", f"{folder}/old.csv"),
        ("upload", f"{folder}/new.csv"),
        ("mark_success", folder),
    ]
    assert [uri for uri, _ in storage.list_uris(f"{folder}/")] == [f"{folder}/_SUCCESS", f"{folder}/new.csv"]
