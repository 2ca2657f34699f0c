"""Filters of a transform job: which columns of a row they choose, and which forms are refused."""

from __future__ import annotations

import pytest

from local_aws.rowfilter import BadFilter, BadRow, Processing, parse, split_csv


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        ("$", ["a", "b", "c", "d", "e"]),
        ("$[1:]", ["b", "c", "d", "e"]),
        ("$[1:3]", ["b", "c", "d"]),
        ("$[:2]", ["a", "b", "c"]),
        ("$[-2:]", ["d", "e"]),
        ("$[:-2]", ["a", "b", "c", "d"]),
        ("$[0,-1]", ["a", "e"]),
        ("$[2]", ["c"]),
    ],
)
def test_a_filter_chooses_columns_with_the_end_included(path: str, chosen: list[str]) -> None:
    assert parse(path).of(["a", "b", "c", "d", "e"]) == chosen


@pytest.mark.parametrize("path", ["$[1:]", "$[2:]", "$[3:]", "$[4:]", "$[0:]", "$[-2:]", "$[:1]", "$[1]"])
@pytest.mark.parametrize("line", [b"a,b,c,d", b",,,", b'a,"b,c",d,e', b"a,b"])
def test_the_fast_way_to_a_row_leads_to_the_same(path: str, line: bytes) -> None:
    kept = parse(path).of(split_csv(line))
    assert Processing(input_filter=path).request_rows([line]) == [",".join(kept).encode()]


@pytest.mark.parametrize("path", ["a.b", "$.a", "$['a','b']", "$[1]x", "$[]", "$[1:2:3]"])
def test_a_filter_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(BadFilter, match="only the forms"):
        parse(path)


def test_csv_fields_stay_as_they_are_written() -> None:
    assert split_csv(b'a,"b, ""c""",,1.50') == ["a", '"b, ""c"""', "", "1.50"]
    with pytest.raises(BadRow):
        split_csv(b'a"b,c')


def test_a_join_of_media_types_that_have_no_rows_is_refused() -> None:
    with pytest.raises(BadFilter, match="got 'application/json'"):
        Processing("application/json", "application/json", join=True)
