"""A file that cannot be used is refused before a run, by place, value and remedy; an odd one is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_pipeline import ingest
from ml_pipeline.dialect import HEAD_BYTES, DataError
from ml_pipeline.ingest import Options, read_file
from ml_pipeline.steps.process import check_file


def people(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "job": rng.choice(["cook", "smith"], rows),
            "sex": rng.choice(["f", "m"], rows),
            "approved": rng.choice(["no", "yes"], rows),
        }
    )


def text(frame: pd.DataFrame, **options: Any) -> str:
    return frame.to_csv(index=False, **options)


def with_cell(row: int, column: str, value: object) -> str:
    frame = people().astype(object)
    frame.loc[row - 1, column] = value
    return text(frame)


LATE = "x,approved\n" + "1,yes\n" * (HEAD_BYTES // 6)  # what follows is not in the head any more
REFUSED = {
    "header only": ("age,approved\n", {}, "no rows, only the header age, approved"),
    "constant target": (text(people().assign(approved="yes")), {}, "target approved has yes in every row"),
    "all missing": (text(people().assign(hole="")), {}, r"column hole has no value .* add it to exclude"),
    "a name twice": ("x,x,approved\n1,2,yes\n", {}, "more than one x; rename"),
    "infinity": (with_cell(7, "age", "inf"), {}, "data.csv row 7, column age: inf is not a finite number"),
    "1e999": (with_cell(7, "age", "1e999"), {}, "data.csv row 7, column age: inf is not a finite number"),
    "beyond float32": (
        with_cell(7, "age", "1e300"),
        {},
        "data.csv row 7, column age: .* too large for",
    ),
    "mixed types in a test row": (
        with_cell(7, "age", "old"),
        {},
        r"data.csv row 7, column age: (99\.\d|100\.0)% of the cells are numbers, but not old; correct them",
    ),
    "mixed types in a training row": (
        with_cell(1, "age", "old"),
        {},
        r"data.csv row 1, column age: 99\.\d% of the cells are numbers, but not old; correct them, name them",
    ),
    "no number in a column of numbers": (
        with_cell(7, "age", "old"),
        {"data": {"kinds": {"age": "number"}}},
        "data.csv row 7, column age: 'old' is not a number; correct the cell",
    ),
    "a text where no split is": (
        text(people()) + "Total,,,\n",
        {},
        r"data.csv row 301, column age: 99\.7% of the cells are numbers, but not Total; correct them",
    ),
    "nothing but the target": (
        text(people()[["approved"]]),
        {},
        r"no column is left as a feature: approved \(target\) \(settings.toml",
    ),
    "the same rows again and again": (
        text(pd.concat([people(8).drop_duplicates("approved")] * 200)),
        {"split": {"method": "stratified"}},
        r"train has no row, validation has no row .* more rows \(those that are equal stay in one split\)",
    ),
    "many rare classes": (
        text(people().assign(approved=[f"k{n if n < 40 else 40}" for n in range(300)])),
        {"data": {"problem": "multiclass", "positive": ""}, "split": {"method": "stratified"}},
        r"^.{,300}and 34 more, test has no .{,150}and 34 more \(train .{,400}$",
    ),
    "a title above the header": (
        "Sales of May\n\n" + text(people()),
        {},
        "first line, 'Sales of May', is no header: most lines have 4 cells with comma as delimiter; delete",
    ),
    "a class with one row": (
        with_cell(7, "approved", "maybe"),
        {"data": {"problem": "multiclass"}, "split": {"method": "stratified"}},
        r"validation has no 'maybe', test has no 'maybe' .*; bring more rows, leave rare labels out",
    ),
    "ragged": (text(people()) + "1,2\n", {}, r"data.csv row 301 has 2 cells, not 4: '1,2'; correct it"),
    "ragged far down": (LATE + "1\n", {}, r"data.csv row 174,763 has 1 cells, not 2: '1'"),
    "a quote never closed": (LATE + '1,"' + "y\n" * HEAD_BYTES * 2, {}, "a quote that opens a cell is never"),
    "a long line far down": (
        LATE + "y" * HEAD_BYTES * 2 + ",no\n",
        {},
        r"a line is longer than 1,048,576 bytes",
    ),
    "Latin-1 far down": (LATE.encode() + "1,né\n".encode("latin-1"), {}, "line 174,764 holds the byte 0xE9"),
    "UTF-16": (
        text(people()).encode("utf-16"),
        {},
        "encoded in UTF-16, not UTF-8; convert it: iconv",
    ),
    "two delimiters": ("a|b,approved\n1|2,yes\n", {}, "can be comma .*, pipe .*: name it in delimiter"),
    "another delimiter": (
        text(people()),
        {"data": {"delimiter": ";"}},
        "no column 'approved', .* age,job",
    ),
    "a long line": ("x" * 3 * HEAD_BYTES, {}, "no line ends in the first 1,048,576 bytes"),
    "a facet's group not in test": (
        text(people().assign(age=range(300), sex=["x", *"fm" * 149, "f"])),
        {"data": {"facets": ("sex",)}, "split": {"method": "ordered", "time": "age"}},
        r"facet sex, group 'x': no row in the test split, .* \(\d train, \d validation, 0 test\); bring more",
    ),
    "a facet of one group": (
        text(people().assign(sex="f")),
        {"data": {"facets": ("sex",)}},
        "facet sex, group other than 'f': no row in the test split",
    ),
    "a split too small": (
        text(people(4).assign(approved=["1", "2", "3", "4"])),
        {
            "data": {"problem": "regression", "positive": ""},
            "split": {"method": "ordered", "time": "age"},
        },
        r"validation has 1 row, test has 1 row \(2 train, 1 validation, 1 test\); bring more rows",
    ),
}


@pytest.fixture
def checked(tmp_path: Path, settings: Callable[..., Any]) -> Callable[..., None]:
    def check(content: str | bytes, sections: dict[str, Any]) -> None:
        path = tmp_path / "data.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        check_file(path, settings(**sections))

    return check


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_before_a_run_by_place_value_and_remedy(checked, case):
    content, sections, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as refused:
        checked(content, sections)
    assert "data.csv" in str(refused.value) and "\n" not in str(refused.value)


def test_missing_values_of_a_facet_need_no_row_in_test(checked):
    checked(with_cell(7, "sex", ""), {"data": {"facets": ("sex",)}})


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_reads_as_the_comma_does(tmp_path, delimiter):
    expected = frame_of(tmp_path, text(people()))
    pd.testing.assert_frame_equal(frame_of(tmp_path, text(people(), sep=delimiter)), expected)
    assert expected["age"].tolist() == people()["age"].tolist()


def test_decimal_commas_read_as_points_do_where_settings_say_so(tmp_path):
    (tmp_path / "a.csv").write_text("x;word\n-12,5;a,b\n,25;c\n+3;1,2,3\n")
    table = read_file(tmp_path / "a.csv", Options((), {}, decimal=",")).table
    assert table.to_pydict() == {"x": [-12.5, 0.25, 3], "word": ["a,b", "c", "1,2,3"]}
    assert read_file(tmp_path / "a.csv", Options((), {})).table["x"].to_pylist() == ["-12,5", ",25", "+3"]


def test_byte_order_marks_quoted_lines_and_index_columns_are_read(tmp_path):
    expected = frame_of(tmp_path, text(people()))
    pd.testing.assert_frame_equal(frame_of(tmp_path, "\ufeff" + text(people())), expected)
    lines = "".join(f'"{line}"\n' for line in text(people()).splitlines())
    pd.testing.assert_frame_equal(frame_of(tmp_path, lines), expected)
    indexed = frame_of(tmp_path, people().to_csv())
    pd.testing.assert_frame_equal(indexed.drop(columns="column_1"), expected)
    assert indexed["column_1"].tolist() == list(range(300))


def test_a_line_of_spaces_is_no_row(tmp_path):
    (tmp_path / "a.csv").write_text("x,approved\n1,yes\n   \n2,no\n \t\n")
    table = read_file(tmp_path / "a.csv", Options((), {})).table
    assert table.to_pydict() == {"x": [1, 2], "approved": ["yes", "no"]}


def test_a_file_without_a_header_gets_the_names_of_the_settings(tmp_path):
    content = text(people(), header=False)
    found = frame_of(tmp_path, content, columns=tuple(people().columns))
    pd.testing.assert_frame_equal(found, frame_of(tmp_path, text(people())))


def frame_of(folder: Path, content: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    path = folder / "data.csv"
    path.write_text(content, encoding="utf-8")
    return read_file(path, Options(("",), {}, "", columns)).table.to_pandas()


def test_a_column_of_numbers_that_holds_a_text_far_down_is_read_as_it_was_written(tmp_path):
    rows = 200_000
    found = frame_of(tmp_path, "a,b\n" + "1.50,\n" * rows + "x,last\n")
    assert found["a"].value_counts().to_dict() == {"1.50": rows, "x": 1}
    assert found["b"].dropna().to_dict() == {rows: "last"}


def test_padded_numbers_are_numbers(tmp_path):
    assert frame_of(tmp_path, "a,b\n1, 2\n3,\xa04 \n").to_dict("list") == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_reading_keeps_texts_in_little_memory(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,word\n" + "".join(f"{i:07d},the word number {i % 9}\n" for i in range(500_000)))
    table = read_file(path, Options(("",), {"id": "category"})).table
    assert table.nbytes < 500_000 * (7 + 4 + 4) * 1.1  # characters and offsets of ids, codes of words


def test_parquet_and_named_columns_do_not_go_together(tmp_path, settings):
    path = tmp_path / "data.parquet"
    people().to_parquet(path)
    with pytest.raises(DataError, match=r"parquet names its columns itself; .* set it to \[\]"):
        check_file(path, settings(data={"columns": ("a", "b")}))


def test_a_large_file_is_refused_for_its_head_alone(tmp_path, settings, monkeypatch):
    monkeypatch.setattr("ml_pipeline.steps.process.CHECKED_BYTES", 10)
    path = tmp_path / "data.csv"
    path.write_text(text(people().assign(approved="yes")))
    check_file(path, settings())
    path.write_text(text(people()), encoding="utf-16")
    with pytest.raises(DataError, match="encoded in UTF-16"):
        check_file(path, settings())


def test_a_bad_cell_is_told_by_its_row_in_the_file_whatever_block_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BLOCK_BYTES", 1 << 10)
    path = tmp_path / "data.csv"
    rows = [f"{number},{number},{number}" for number in range(1, 4001)]
    rows[2999] = "3000,3000,old"
    path.write_text("\n".join(["a,b,c", *rows]) + "\n")
    with pytest.raises(DataError, match=r"data.csv row 3,000, column c: 'old' is not a number"):
        read_file(path, Options(("",), {"c": "number"}))
