"""Objects as they are written."""

from __future__ import annotations

import csv
import io
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
