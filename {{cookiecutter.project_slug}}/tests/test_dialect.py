from __future__ import annotations

import codecs
import io

import pandas as pd
import pytest

from ml_pipeline.dialect import HEAD_BYTES, DataError, Dialect, not_utf8, sniff, unquoted

READ = {
    "comma": (b"a,b\n1,2\n", Dialect(",", ("a", "b"), 4, False)),
    "semicolon, decimal commas": (b"a;b\n1,5;2,5\n", Dialect(";", ("a", "b"), 4, False)),
    "tab": (b"a\tb,c\n1\t2\n", Dialect("\t", ("a", "b,c"), 6, False)),
    "pipe": (b"a|b\n1|2\n", Dialect("|", ("a", "b"), 4, False)),
    "another delimiter within quotes": (b'"x;y","b"\n1,2\n', Dialect(",", ("x;y", "b"), 10, False)),
    "one column": (b"a b\n1\n", Dialect(",", ("a b",), 4, False)),
    "a delimiter at the end": (b"a;\n1,5;\n2,5;\n", Dialect(";", ("a", "column_2"), 3, False)),
    "two columns and lists in cells": (b"a,b\n1,x;y;z\n2,x;y;z\n", Dialect(",", ("a", "b"), 4, False)),
    "byte order mark": (codecs.BOM_UTF8 + b"a,b\n1,2\n", Dialect(",", ("a", "b"), 7, False)),
    "blank lines first": (b"\n\r\na,b\n1,2", Dialect(",", ("a", "b"), 7, False)),
    "no line end": (b"a,b", Dialect(",", ("a", "b"), 3, False)),
    "padded and unicode": (" a , größe?\r\n1,2".encode(), Dialect(",", ("a", "größe?"), 15, False)),
    "a line break in a name": (b'"a\nb",c\n1,2\n', Dialect(",", ("a\nb", "c"), 8, False)),
    "pandas' index": (b",a\n0,1\n", Dialect(",", ("column_1", "a"), 3, False)),
    "quoted lines": (b'"a,b"\n"1,""x"""\n', Dialect(",", ("a", "b"), 6, True)),
    "quoted rows": (b'a,b\r\n"1,""x"""\r\n', Dialect(",", ("a", "b"), 5, True)),
    "one quoted column": (b'name\n"Smith, J"\n', Dialect(",", ("name",), 5, False)),
}
REFUSED = {
    "two delimiters": (
        b"a|b,c\n1|2,3\n",
        r"be comma \(2 columns\), pipe \(2 columns\): name it in delim",
    ),
    "a comment": (
        b"# of May\nx\ty\n1\t2\n",
        "first line, '# of May', is no header: most .* 2 cells with tab",
    ),
    "Excel's delimiter": (b"sep=;\na;b;c\n1;2;3\n", "first line, 'sep=;', is no header: .* with semicolon"),
    "UTF-16": (
        "a,b\n1,2\n".encode("utf-16"),
        "UTF-16, .*iconv -f UTF-16 -t UTF-8 'raw/my x.csv' > 'raw/utf8-my x.csv'",
    ),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-le"), "in UTF-16LE, .* iconv -f UTF-16LE -t UTF-8"),
    "big endian": ("a,b\n1,2\n".encode("utf-16-be"), "encoded in UTF-16BE"),
    "UTF-32": ("a,b\n1,2\n".encode("utf-32"), "encoded in UTF-32"),
    "Latin-1": ("a,b\n1,2\n3,é\n".encode("latin-1"), "line 3 holds the byte 0xE9, .*iconv -f WINDOWS-1252"),
    "a zero byte": (b"a,b\n1,\x00\n", "line 2 holds a zero byte"),
    "a zip archive": (
        b"PK\x03\x04...",
        "not a CSV but a zip archive or an Excel file: save the sheet as",
    ),
    "a web page": (b"<!DOCTYPE html>", "not a CSV but a web page"),
    "one line": (b"x" * HEAD_BYTES, "no line ends in the first 1,048,576 bytes; this is not a CSV"),
    "JSON": (b"[1, 2" * HEAD_BYTES, "no line ends in the first 1,048,576 bytes; this is JSON"),
    "blank": (b"\n\n", "only blank lines"),
}


@pytest.mark.parametrize("case", READ)
def test_the_dialect_is_what_the_head_shows(case):
    head, expected = READ[case]
    assert sniff(head, "my x.csv") == expected


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_csv_is_refused_with_the_remedy(case):
    head, message = REFUSED[case]
    with pytest.raises(DataError, match=f"^raw/my x.csv: .*{message}"):
        sniff(head, "raw/my x.csv")


def test_an_object_is_converted_where_it_is_copied_to():
    with pytest.raises(DataError, match=r"UTF-8 x\.csv > utf8-x\.csv$"):
        sniff("a,b\n".encode("utf-16"), "s3://bucket/raw/x.csv")


def test_named_columns_make_the_first_line_a_row():
    assert sniff(b"1;2\n3;4\n", "x.csv", columns=("a", "b")) == Dialect(";", ("a", "b"), 0, False)
    with pytest.raises(DataError, match="first row has 2 cells with semicolon as delimiter, but columns"):
        sniff(b"1;2\n", "x.csv", columns=("a", "b", "c"))


def test_a_delimiter_that_is_named_decides():
    assert sniff(b"a|b,c\n1|2,3\n", "x.csv", delimiter="|").names == ("a", "b,c")
    assert sniff(b"a:b\n1:2\n", "x.csv", delimiter=":").names == ("a", "b")


def test_rows_begin_where_the_dialect_says():
    content = b'\xef\xbb\xbf\n"a\nb";c\n1;"2"\n'
    found = sniff(content, "x.csv")
    rows = pd.read_csv(io.BytesIO(content[found.data_offset :]), sep=found.delimiter, names=found.names)
    assert rows.to_dict("list") == {"a\nb": [1], "c": [2]}


def test_only_lines_that_are_one_quoted_cell_lose_their_quotes():
    lines = b'"1,""a, b"",2"\r\n"x","y"\n"1,2"\n1,"2"\n'
    assert unquoted(lines) == b'1,"a, b",2\r\n"x","y"\n1,2\n1,"2"\n'


def test_a_character_cut_by_two_blocks_is_utf8_and_a_bad_byte_is_told_by_its_line():
    assert not_utf8(iter(["é\n".encode()[:1], "é\n".encode()[1:]]), "x.csv") is None
    assert "x.csv: line 3 holds the byte 0xFF" in str(not_utf8(iter([b"a\nb", b"\nc\xff"]), "x.csv"))
    assert "line 1 holds the byte 0xC3" in str(not_utf8(iter([b"a\xc3"]), "x.csv"))
