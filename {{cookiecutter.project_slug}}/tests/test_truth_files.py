"""Files of ground truth, as they are read before any of them is joined to a scored row."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_pipeline import storage
from ml_pipeline.dialect import DataError
from ml_pipeline.features import FeatureSpec, Number, Target
from ml_pipeline.monitoring import truth

SPEC = FeatureSpec(
    ("id",), (Number("income", 0.0, 0.0, 1.0),), Target("approved", "binary", ("no", "yes"), "yes"), ("", "?")
)
AMOUNT = FeatureSpec(("id",), SPEC.features, Target("approved", "regression", (), ""), ("", "?"))
ROWS = pd.DataFrame({"id": ["7", "b 2", "c"], "approved": ["yes", "no", "yes"]})


def event(key: Any, label: str) -> str:
    return json.dumps(
        {
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": key},
            "eventVersion": "0",
        }
    )


def read(
    bucket: str,
    files: dict[str, bytes],
    spec: FeatureSpec = SPEC,
    ids: tuple[str, ...] = ("id",),
    decimal: str = ".",
) -> truth.Truth:
    for name, content in files.items():
        storage.write_bytes(f"s3://{bucket}/truth/{name}", content)
    return truth.read(f"s3://{bucket}/truth", spec, ids, ("", "?"), decimal)


def labels_of(found: truth.Truth, *ids: str | None) -> list[float | None]:
    places = found.places(truth.key_texts([pa.array(ids, pa.string())]))
    return [None if place < 0 else float(found.labels[place]) for place in places]


def lines(*events: str) -> bytes:
    return "\n\n".join(events).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", ROWS.to_csv(index=False).encode()),
        ("l.csv", ROWS.to_csv(index=False, sep=";").encode()),
        ("l.tsv", ROWS.to_csv(index=False, sep="\t").encode()),
        ("l.csv", b"id,approved\n 7.0,yes\nb  2,no\nc,yes\n"),
        ("l.parquet", ROWS.to_parquet(index=False)),
        ("l.jsonl", lines(event(7, "yes"), event(" b  2", "no"), event("c", "yes"))),
        ("l.ndjson", lines(event("7.0", "yes"), event("b 2", "no"), event("c", '"yes"'))),
        ("L.JSON", lines(event("7", "yes"), event("b 2", "no"), event("c", "yes"))),
    ],
)
def test_every_form_of_truth_gives_the_same(bucket: str, name: str, content: bytes) -> None:
    found = read(bucket, {name: content})
    assert labels_of(found, "7", "b 2", "c", "d", None) == [1.0, 0.0, 1.0, None, None]
    assert found.unlabelled == 0


def test_all_objects_of_a_period_are_its_truth_and_a_local_file_is_read_alike(
    bucket: str, tmp_path: Path
) -> None:
    first, second = b"id,approved\na,yes\n,?\n", b"id,approved\nb,no\nc,?\n"
    found = read(bucket, {"1.csv": first.replace(b",?", b"d,?"), "deep/2.csv": second, "_SUCCESS": b""})
    assert labels_of(found, "a", "b", "c", "d") == [1.0, 0.0, None, None] and found.unlabelled == 2
    (tmp_path / "2.csv").write_bytes(second)
    local = truth.read_file(tmp_path / "2.csv", SPEC, ("id",), ("", "?"), ".")
    assert labels_of(local, "b", "c") == [0.0, None] and local.unlabelled == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", b"id,approved\n1,2.50\n2,-1e3\n3,\n"),
        ("l.jsonl", lines(event("1", "2.5"), event("2", "-1000"))),
    ],
)
def test_labels_of_a_regression_are_numbers(bucket: str, name: str, content: bytes) -> None:
    assert labels_of(read(bucket, {name: content}, AMOUNT), "1", "2", "3") == [2.5, -1000.0, None]


def test_labels_with_decimal_commas_are_read_where_settings_say_so(bucket: str) -> None:
    content = {"l.csv": b"id;approved\n1;2,50\n2;-1,5\n"}
    assert labels_of(read(bucket, content, AMOUNT, decimal=","), "1", "2") == [2.5, -1.5]
    hint = (
        r"'2,50' is not a number: a CSV with decimal commas needs decimal = \",\" \(settings.toml, \[data\]\)"
    )
    with pytest.raises(DataError, match=rf"l.csv row 1, column approved: {hint}; correct the cell"):
        read(bucket, content, AMOUNT)


def test_labels_that_look_like_numbers_stay_the_texts_that_they_are(bucket: str) -> None:
    codes = FeatureSpec(("id",), SPEC.features, Target("approved", "binary", ("01", "02"), "02"), ("",))
    assert labels_of(read(bucket, {"l.csv": b"id,approved\na,02\nb,01\n"}, codes), "a", "b") == [1.0, 0.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,approved\na,yes\nb,?\na,no\n",
            r"l.csv row 3: id 'a' has a label already, at .*l.csv row 1; .*: 1\)",
        ),
        (
            "id,approved\na,?\nb,yes\nc,perhaps\n",
            r"l.csv row 3, column approved: label must be one of no, yes",
        ),
        ("id,label\na,yes\n", "no column 'approved'; .* id, approved; there are: id, label"),
        ("approved,who\nyes,a\n", "no column 'id'"),
        ("id,approved\na,yes\n,no\n", r"l.csv row 2: no id \(id\)"),
        ("id,approved\na,?\n", "no row has a label"),
        ("", "l.csv: the object is empty; bring its rows, or delete it"),
    ],
)
def test_a_file_that_is_no_truth_is_refused_with_its_row(bucket: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(bucket, {"l.csv": content.encode()})


def test_a_row_is_counted_in_its_own_object(bucket: str) -> None:
    with pytest.raises(DataError, match=r"2.csv row 2: id 'a' has a label already, at .*1.csv row 1"):
        read(bucket, {"1.csv": b"id,approved\na,yes\n", "2.csv": b"id,approved\nb,yes\na,no\n"})


def test_a_folder_without_an_object_is_refused(bucket: str) -> None:
    with pytest.raises(DataError, match="truth: no object with labels"):
        read(bucket, {"_SUCCESS": b""})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "l.jsonl line 2: must be {"),
        ('{"groundTruthData": {"data": "yes", "encoding": "CSV"}}', r"line 2: must be .*no 'eventMetadata'"),
        (event("b", "yes").replace("CSV", "BASE64"), "encoding 'BASE64'"),
        (event("b", "yes,no"), "line 2: must be"),
        (event("", "yes"), "eventId ''"),
        (event(" ", "yes"), "eventId ' '"),
        (event(None, "yes"), "eventId None"),
        ("\x80", "line 2: must be"),
        (event("b", "perhaps"), "l.jsonl row 2, column approved: label must be one of no, yes"),
    ],
)
def test_a_broken_line_of_json_is_named(bucket: str, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(bucket, {"l.jsonl": f"{event('a', 'yes')}\n{line}\n".encode("latin-1")})


def test_a_scored_row_without_an_id_has_no_label(bucket: str) -> None:
    found = read(bucket, {"l.csv": b"id,approved\n7,yes\n"})
    missing = truth._hashes(pa.array([""]))  # what a missing id would be hashed to
    nobody = truth.Truth(missing, found.labels, 0)
    keys = pa.array([None, "7"], pa.string())
    assert (nobody.places(keys).tolist(), found.places(keys).tolist()) == ([-1, -1], [-1, 0])


def test_rows_known_by_two_ids_need_a_table(bucket: str) -> None:
    table = b"id,day,approved\na,1,yes\na,2,no\n"
    found = read(bucket, {"l.csv": table}, ids=("id", "day"))
    keys = truth.key_texts([pa.array(["a", "a"]), pa.array(["2", None])])
    assert np.array_equal(found.places(keys) >= 0, [True, False])
    assert found.labels[found.places(keys)[0]] == 0
    with pytest.raises(DataError, match="rows are known by id, day: bring a CSV with these"):
        read(bucket, {"l.csv": table, "m.jsonl": event("a", "yes").encode()}, ids=("id", "day"))


def test_ids_of_two_columns_are_not_mixed_up() -> None:
    def keys(*rows: tuple[str, str]) -> Any:
        return truth.key_texts([pa.array(column) for column in zip(*rows, strict=True)])

    assert len(set(keys(("a", "bc"), ("ab", "c")).to_pylist())) == 2


def test_labels_take_little_memory_for_each_row(tmp_path: Path) -> None:
    path, rows = tmp_path / "labels.csv", 800_000
    path.write_text(
        "id,approved\n" + "".join(f"customer-{row},{'yes' if row % 3 else 'no'}\n" for row in range(rows))
    )
    truth.read_file(path, SPEC, ("id",), ("",), ".")  # what is loaded once
    tracemalloc.start()
    found = truth.read_file(path, SPEC, ("id",), ("",), ".")
    peak = tracemalloc.get_traced_memory()[1]  # of Python and numpy, not of Arrow
    tracemalloc.stop()
    assert len(found.keys) == rows and found.labels.sum() == 533333
    assert peak / rows < 40
