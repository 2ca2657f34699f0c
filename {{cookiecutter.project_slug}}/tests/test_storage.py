"""Objects as they are written."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest

from ml_pipeline import storage


@pytest.mark.parametrize("texts", [["a", ""], ['say "a"', "b,c"], ["two\nlines", "é"]])
def test_a_table_is_read_back_from_its_csv_as_it_was_written(texts: list[str], bucket: str) -> None:
    uri = f"s3://{bucket}/table.csv"
    storage.write_csv(uri, pa.table({"a, b": texts, "n": [0.1, None]}))
    content = storage.read_bytes(uri).decode()
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows == [["a, b", "n"], [texts[0], "0.1"], [texts[1], ""]]
