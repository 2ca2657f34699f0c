"""Rows to score in the form that batch transform takes, and what cannot be brought into it."""

from __future__ import annotations

import codecs

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from selected import (
    CANONICAL,
    EXECUTION,
    NOW,
    ROWS,
    SPEC,
    contents,
    parquet,
    put,
    register,
)

from ml_pipeline import admission, canonical
from ml_pipeline.features import Category, FeatureSpec
from ml_pipeline.steps.select import select

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


@pytest.mark.parametrize("rows", ["id;plan;age\nA1;basic;30,5\n", "A1;30,5;basic\n"])
def test_decimal_commas_become_points(rows, scored):
    _, written = scored({"a.csv": rows}, data={"ids": ("id",), "decimal": ",", "delimiter": ";"})
    assert written == {"2027-02-01/a.csv": "A1,30.5,basic\n"}


@pytest.mark.parametrize("cell", ["", "?"])
def test_without_a_header_a_missing_number_in_the_first_row_is_one(cell, scored):
    assert scored({"a.csv": f"A1,{cell},basic\n"})[1] == {"2027-02-01/a.csv": "A1,,basic\n"}


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
        [
            (
                "age",
                "data_type_check",
                "no header, and in row 1, column age, 'basic' is not a number; the columns are taken as id, "
                "age, plan: bring them in this order, or a header line; if that is their order, correct",
            )
        ],
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
        [
            (
                "age",
                "data_type_check",
                "row 1, column age: '30,5' is not a number: a CSV with decimal commas needs decimal = \",\" "
                "(settings.toml, [data]); correct the cell",
            )
        ],
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
    assert entry["broken"][-1]["description"] == "51 more; the log of Select names them"
