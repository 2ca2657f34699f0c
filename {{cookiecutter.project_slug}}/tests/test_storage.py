"""Objects as they are written."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from boto3.exceptions import S3UploadFailedError

from ml_pipeline import storage


@pytest.mark.parametrize("texts", [["a", ""], ['say "a"', "b,c"], ["two\nlines", "é"]])
def test_a_table_is_read_back_from_its_csv_as_it_was_written(texts: list[str], bucket: str) -> None:
    uri = f"s3://{bucket}/table.csv"
    storage.write_csv(uri, pa.table({"a, b": texts, "n": [0.1, None]}))
    content = storage.read_bytes(uri).decode()
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows == [["a, b", "n"], [texts[0], "0.1"], [texts[1], ""]]


def test_all_files_of_a_folder_are_uploaded_when_the_block_has_ended(tmp_path: Path, bucket: str) -> None:
    names = [f"{folder}/{number}.txt" for folder in ("a", "b/c") for number in range(5)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with storage.uploading(tmp_path, f"s3://{bucket}/kept"):
        pass
    found = {uri: storage.read_bytes(uri).decode() for uri, _ in storage.list_uris(f"s3://{bucket}/kept/")}
    assert found == {f"s3://{bucket}/kept/{name}": name for name in names}


def test_an_upload_that_fails_fails_the_block(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(S3UploadFailedError, match="NoSuchBucket"):  # noqa: SIM117
        with storage.uploading(tmp_path, f"s3://{bucket}-absent/kept"):
            pass


@pytest.mark.parametrize("text", ["s3:///key", "s3://", "file://bucket/key", "bucket/key"])
def test_what_names_no_object_of_s3_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"expected s3://bucket/key, got {text!r}")):
        storage.split_uri(text)


def test_an_object_whose_name_goes_on_is_another_one(bucket: str) -> None:
    storage.write_bytes(f"s3://{bucket}/_SUCCESS-not", b"")
    assert not storage.exists(f"s3://{bucket}/_SUCCESS")
    storage.write_bytes(f"s3://{bucket}/_SUCCESS", b"")
    assert storage.exists(f"s3://{bucket}/_SUCCESS")


def test_a_head_is_so_many_bytes_and_leaves_out_half_a_letter(bucket: str) -> None:
    storage.write_bytes(f"s3://{bucket}/table.csv", "abcdé".encode())
    heads = [storage.read_head(f"s3://{bucket}/table.csv", size) for size in (1, 4, 5, 6, 9)]
    assert heads == ["a", "abcd", "abcd", "abcdé", "abcdé"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan_and_no_infinity(bucket: str, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(f"s3://{bucket}/found.json", {"auc": number})
    assert storage.list_uris(f"s3://{bucket}/") == []


def test_marks_and_hidden_files_are_no_data() -> None:
    folder = "s3://b/raw/2026-01-05/"
    names = [
        "",
        "_SUCCESS",
        ".crc",
        "deep/",
        "deep/_tmp/a.csv",
        "deep//a.csv",
        "deep/.b.csv",
        "a.csv",
        "d/_b",
    ]
    kept = ["a.csv", "deep/a_1.csv"]
    given = [f"{folder}{name}" for name in (*names, "deep/a_1.csv")] + ["s3://b/raw/2026-01-06/c.csv"]
    assert storage.data_objects(folder, given) == [f"{folder}{name}" for name in kept]
