"""adopt on small files as they are found in the wild; and what it refuses."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomlkit
from conftest import SETTINGS

from ml_pipeline import header, ingest, sampling
from ml_pipeline import settings as settings_file
from ml_pipeline.__main__ import main
from ml_pipeline.roles import Wish
from ml_pipeline.steps.process import check_file

ROWS = 300


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder that holds settings.toml alone, made from SETTINGS."""
    text = tomlkit.document()
    for name, value in dataclasses.asdict(SETTINGS).items():
        if isinstance(value, dict):
            text[name] = {key: list(v) if isinstance(v, tuple) else v for key, v in value.items()}
    (tmp_path / "settings.toml").write_text(f"# mine\n{tomlkit.dumps(text)}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frame(**columns: Any) -> pd.DataFrame:
    """Rows with two features that tell a little of the target y (no, yes), and the columns."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=ROWS).round(3)
    color = generator.choice(["red", "blue", "green"], ROWS)
    y = np.where(x + (color == "red") + generator.normal(size=ROWS) > 0.5, "yes", "no")
    return pd.DataFrame({"x": x, "color": color} | columns | ({} if "y" in columns else {"y": y}))


def csv(table: pd.DataFrame, **options: Any) -> str:
    return table.to_csv(index=False, **options)


def labels(no: str, yes: str) -> np.ndarray:
    return frame()["y"].map({"no": no, "yes": yes}).to_numpy()


COUNT = np.arange(ROWS)
PHONES = [f"{300 + n % 7}-{n:04d}" for n in COUNT]
CUSTOMERS = [f"c{n // 3:04d}" for n in COUNT]
AMOUNT = (frame()["x"] * 3 + 10).round(2)
QUALITY = (frame()["x"] * 0.8 + 5.5).round().clip(3, 8).astype(int)
DAYS = pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d")
DATE_FORMS = ("%m/%d/%y", "%d-%b-%Y", "%d %B %Y", "%B %d, %Y", "%d.%m.%y %H:%M")
MARKED = ["?" if n % 10 == 0 else "-" if n % 10 == 1 else "n/a" if n % 10 == 2 else n * 1.5 for n in COUNT]
HOLED = ["none" if n % 9 == 0 else n % 50 for n in COUNT]
CODED = [-999 if n % 20 == 0 else n % 70 for n in COUNT]
ZIPS = [f"{n % 40 * 251:05d}" for n in COUNT]

CHURN = {"Int'l Plan": COUNT % 2, "Area Code": 400 + COUNT % 3, "Phone": PHONES}
UNICODE = frame(**{"Größe in m²": COUNT % 7}).rename(columns={"y": "gültig?"})
# What a file holds, the options of adopt, and what [data] (or [split], for method, key and time) then says.
FILES: dict[str, tuple[str | bytes, list[str], dict[str, Any]]] = {
    "churn": (
        csv(frame(y=labels("True.", "False."), **CHURN).rename(columns={"y": "Churn?"})),
        ["--target", "Churn?"],
        {"positive": "True.", "ids": ("Phone",), "kinds": {"Area Code": "category"}, "problem": "binary"},
    ),
    "semicolons and quotes": (
        csv(frame(**{"emp.var.rate": COUNT % 5 / 10}), sep=";", quoting=2),
        ["--target", "y"],
        {"positive": "yes", "delimiter": "", "ids": (), "exclude": (), "method": "stratified"},
    ),
    "whole numbers as an amount": (
        csv(frame(quality=QUALITY), sep=";"),
        ["--target", "quality"],
        {"problem": "regression", "positive": "", "method": "random"},
    ),
    "decimal commas": (
        csv(frame(price=AMOUNT), sep=";", decimal=","),
        ["--target", "price"],
        {"problem": "regression", "decimal": ",", "exclude": ()},
    ),
    "commas that may divide thousands": (
        csv(frame(salary=[f"{n % 9 + 1},{n:03d}" for n in COUNT]), sep=";"),
        ["--target", "y"],
        {"decimal": ".", "exclude": ("salary",)},
    ),
    "decimals": (csv(frame(price=AMOUNT)), ["--target", "price"], {"problem": "regression"}),
    "classes as numbers": (
        csv(frame(kind=COUNT % 3)),
        ["--target", "kind"],
        {"problem": "multiclass", "positive": ""},
    ),
    "an unnamed index": (
        frame(PassengerId=COUNT + 892).to_csv(),
        ["--target", "y"],
        {"exclude": ("column_1",), "ids": ("PassengerId",)},
    ),
    "no header, blanks after commas": (
        csv(frame(y=labels(" <=50K", " >50K")), header=False).replace(",", ", "),
        ["--target", "3", "--facet", "column_2"],
        {"columns": ("column_1", "column_2", "column_3"), "positive": ">50K", "facets": ("column_2",)},
    ),
    "tabs, a byte order mark, unicode": (
        b"\xef\xbb\xbf" + csv(UNICODE, sep="\t").encode(),
        ["--target", "gültig?", "--group", "Größe in m²"],
        {"target": "gültig?", "group": "Größe in m²"},
    ),
    "quotes in headers": (
        csv(frame(**{'the "best" one, it\'s': COUNT % 4, "back\\slash": COUNT % 3, "a=b # c": COUNT % 6})),
        ["--target", "y", "--facet", 'the "best" one, it\'s', "--facet", "back\\slash"],
        {"facets": ('the "best" one, it\'s', "back\\slash")},
    ),
    "missing-value markers": (
        csv(frame(a=MARKED, b=HOLED)),
        ["--target", "y"],
        {"missing": ("", "?", "-", "n/a", "none"), "kinds": {}},
    ),
    "a number for no value": (csv(frame(a=CODED)), ["--target", "y"], {"missing": ("", "?", "-999")}),
    "a customer's rows": (
        csv(frame(customer_id=CUSTOMERS)),
        ["--target", "y"],
        {"ids": ("customer_id",), "method": "by_key", "key": "customer_id"},
    ),
    "a key that is named": (
        csv(frame(shop=COUNT % 60)),
        ["--target", "y", "--id", "shop"],
        {"ids": ("shop",), "key": "shop"},
    ),
    "a time": (
        csv(frame(day=DAYS)),
        ["--target", "y", "--time", "day"],
        {"method": "ordered", "time": "day", "exclude": (), "ids": ()},
    ),
    "dates, prose, a constant, an empty column": (
        csv(frame(day=DAYS, note=[f"{n} and no end to what it says" for n in COUNT], k=7, none=None)),
        ["--target", "y"],
        {"exclude": ("day", "note", "k", "none"), "ids": ()},
    ),
    "codes that begin with 0": (csv(frame(place=ZIPS)), ["--target", "y"], {"kinds": {"place": "category"}}),
    "numbers that cannot be read": (
        csv(frame(fee=[f"1,{n:03d}.50" for n in COUNT])),
        ["--target", "y"],
        {"exclude": ("fee",)},
    ),
    "numbers of which some can be read": (
        csv(
            frame(
                fee=[f"{n * 13:,}" for n in COUNT],
                gain=[f"{n - 150}%" for n in COUNT],
                owed=[f"({n}.50)" for n in COUNT],
                paid=[f"1.{n:03d},50 €" for n in COUNT],
            )
        ),
        ["--target", "y"],
        {"exclude": ("fee", "gain", "owed", "paid"), "ids": ()},
    ),
    "dates in other ways": (
        csv(frame(**{form: pd.to_datetime(DAYS).strftime(form) for form in DATE_FORMS})),
        ["--target", "y"],
        {"exclude": DATE_FORMS, "ids": ()},
    ),
    "a column named label": (csv(frame(label=COUNT % 5)), ["--target", "y"], {"exclude": ("label",)}),
    "lines in quotes": (
        "\n".join(f'"{line}"' for line in csv(frame()).splitlines()),
        ["--target", "y"],
        {"positive": "yes"},
    ),
    "labels 1 and 2": (csv(frame(y=labels("1", "2"))), ["--target", "y"], {"positive": "2"}),
    "labels 0 and 1": (csv(frame(y=labels("1", "0"))), ["--target", "y"], {"positive": "1"}),
    "the rarer label": (
        csv(frame(y=labels("good", "bad"))),
        ["--target", "y"],
        {"positive": "bad", "problem": "binary"},
    ),
    "the label that is named": (csv(frame()), ["--target", "y", "--positive", "no"], {"positive": "no"}),
    "a facet of many numbers": (
        csv(frame(age=COUNT % 61)),
        ["--target", "y", "--facet", "age"],
        {"facets": ("age",), "facet_values": {"age": (29,)}},
    ),
}


def adopt(folder: Path, content: str | bytes | pd.DataFrame, *options: str, name: str = "mine.csv") -> int:
    path = folder / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return main(["adopt", str(path), *options])


def loaded() -> settings_file.Settings:
    return settings_file.load("local", Path("settings.toml"))


@pytest.mark.parametrize("case", FILES)
def test_after_adopt_the_settings_fit_the_file(folder: Path, case: str):
    content, options, expected = FILES[case]
    assert adopt(folder, content, *options) == 0
    found = loaded()
    values = {key: getattr(found.split if hasattr(found.split, key) else found.data, key) for key in expected}
    assert values == expected
    assert found.data.file == "mine.csv"
    check_file(folder / "mine.csv", found)


@pytest.mark.parametrize(
    "case",
    [
        "churn",
        "an unnamed index",
        "no header, blanks after commas",
        "quotes in headers",
        "missing-value markers",
        "a customer's rows",
        "dates, prose, a constant, an empty column",
        "a facet of many numbers",
    ],
)
def test_adopting_again_changes_nothing(folder: Path, case: str, capsys: pytest.CaptureFixture[str]):
    content, options, _ = FILES[case]
    adopt(folder, content, *options)
    once = (folder / "settings.toml").read_bytes()
    capsys.readouterr()
    assert adopt(folder, content, *options) == 0
    assert (folder / "settings.toml").read_bytes() == once
    assert "settings.toml: nothing to change" in capsys.readouterr().out


def test_a_parquet_file_with_truth_values_and_an_index_is_adopted(folder: Path):
    table = frame(y=labels("no", "yes") == "yes", id=COUNT).set_index("id")
    assert adopt(folder, table, "--target", "y", name="mine.parquet") == 0
    assert (loaded().data.positive, loaded().data.ids) == ("true", ())
    check_file(folder / "mine.parquet", loaded())


TEXT = csv(frame())
# What a file holds, the options of adopt, and what the one line says then.
REFUSED: dict[str, tuple[str | bytes, str, str]] = {
    "unknown target": (TEXT, "--target colour", "no column 'colour', .* did you mean 'color'"),
    "unknown facet": (TEXT, "--target y --facet Z", "which --facet names; there are: x, color, y"),
    "constant target": ("a,y\n1,no\n2,no\n", "--target y", "target y has 'no' in every row"),
    "empty target": ("a,y\n1,\n2,?\n", "--target y", "target y has no value in any row"),
    "target as facet": (TEXT, "--target y --facet y", "--facet y: it is the target"),
    "target as id": (TEXT, "--target y --id y", "--id y: it is the target"),
    "target as group": (TEXT, "--target y --group y", "--group y: it is the target"),
    "target as time": (TEXT, "--target y --time y", "--time y: it is the target"),
    "unknown label": (TEXT, "--target y --positive Ja", "no label 'Ja'; --positive is one of no, yes"),
    "header only": ("a,y\n", "--target y", "no rows, only the header a, y"),
    "empty file": ("", "--target y", "mine.csv: the file is empty"),
    "Excel by content": (b"PK\x03\x04" + b"\0" * 99, "--target y", "Excel"),
    "names twice": ("a,a,y\n1,2,no\n3,4,yes\n", "--target y", "more than one a"),
    "no header": (csv(frame(), header=False), "--target y", "first line looks like data.*--target column_"),
    "many texts": (csv(frame(y=[f"n{n // 2}" for n in COUNT])), "--target y", "150 labels, at most 100"),
    "spoilt numbers": (csv(frame(y=[*AMOUNT.astype(str)[1:], "abc"])), "--target y", "but also abc"),
    "numbers with commas": (
        csv(frame(y=[f"1,{n:03d}" for n in COUNT])),
        "--target y",
        "write them as 1234.5",
    ),
    "numbers of which some have commas": (
        csv(frame(y=[f"{n * 13:,}" for n in COUNT])),
        "--target y",
        "numbers that cannot be read, 1,001, .* write them as 1234.5",
    ),
    "divided by spaces": (
        csv(frame(), sep=" "),
        "--target y",
        "there is 'x color y' alone: name .* delimiter",
    ),
    "one group": (csv(frame(sex="f")), "--target y --facet sex", "facet sex has 'f' in every row"),
    "one row of a class": (csv(frame(y=["a", *"bc" * 149, "b"])), "--target y", "has no 'a'"),
    "no rows wanted": (TEXT, "--target y --rows 0", "--rows must be at least 1, got 0"),
    "nothing to learn from": (csv(frame()[["y"]].assign(name=PHONES)), "--target y", "no column is left"),
    "an infinite number": (csv(frame(a=["inf", *COUNT[1:]])), "--target y", "row 1, column a"),
    "times as days first": (
        csv(frame(day=pd.to_datetime(DAYS).strftime("%d/%m/%Y"))),
        "--target y --time day",
        "column day holds '01/01/2024': times must be .* ISO 8601 such as",
    ),
    "texts to regress": (TEXT, "--target y --problem regression", "target y holds texts"),
    "three labels of two": (
        csv(frame(y=COUNT % 3)),
        "--target y --problem binary",
        "a binary problem has 2: 0, 1, 2",
    ),
}
NO_CSV = {
    "mine.xlsx": (
        r"save it as CSV, or .* openpyxl installed: pandas.read_excel\('mine.xlsx'\).to_csv\('mine.csv'"
    ),
    "mine.zip": "packed: unpack it",
    "adult.dat": "must end with .csv, .tsv, .txt, .data or .parquet; rename a CSV to adult.csv",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_adopted_is_refused_and_nothing_written(
    folder: Path, case: str, capsys: pytest.CaptureFixture[str]
):
    content, options, message = REFUSED[case]
    assert_refused(folder, content, options, message, capsys)


@pytest.mark.parametrize("name", NO_CSV)
def test_what_is_no_table_is_refused_by_its_name(folder: Path, name: str, capsys: pytest.CaptureFixture[str]):
    assert_refused(folder, TEXT, "--target y", NO_CSV[name], capsys, name)


def assert_refused(
    folder: Path,
    content: str | bytes,
    options: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    name: str = "mine.csv",
) -> None:
    before = (folder / "settings.toml").read_bytes()
    assert adopt(folder, content, *options.split(), name=name) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1, error
    assert (folder / "settings.toml").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {name, "settings.toml"}


@pytest.mark.parametrize("name", ["mine.tsv", "mine.txt", "mine.data", "MINE.CSV"])
def test_a_csv_may_have_other_endings(folder: Path, name: str):
    assert adopt(folder, csv(frame(), sep="\t"), "--target", "y", name=name) == 0
    assert settings_file.load("local", folder / "settings.toml").data.file == name


@pytest.mark.parametrize(
    ("cells", "told"), [(2024, "in every row: 2024"), ([2024, *[None] * 299], "wherever there is one: 2024")]
)
def test_a_column_of_one_value_is_left_out_and_told_as_it_is(
    folder: Path, cells: Any, told: str, capsys: pytest.CaptureFixture[str]
):
    assert adopt(folder, csv(frame(year=cells)), "--target", "y") == 0
    assert re.search(rf"exclude +year +the same value {told}\n", capsys.readouterr().out)


def test_what_was_found_is_told_before_the_reason_why_it_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert adopt(folder, csv(frame()[["y"]].assign(name=PHONES)), "--target", "y") == 2
    told = capsys.readouterr()
    assert re.search(r"ids +name +all of its texts differ\n", told.out)
    assert re.search(r"mine.csv: no column is left as a feature: name \(ids\), y \(target\)", told.err)


def test_it_is_told_which_columns_the_model_sees_and_as_what(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    table = csv(frame(zip=ZIPS, age=COUNT % 61, customer_id=CUSTOMERS, sex=labels("f", "m")))
    assert adopt(folder, table, "--target", "y", "--facet", "sex") == 0
    told = capsys.readouterr().out
    assert re.search(r"features +2 numbers +x, age\n +features +2 categories +color, zip\n", told), told


def test_lists_in_cells_are_refused_with_their_place(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert adopt(folder, frame(tags=[["a"]] * ROWS), "--target", "y", name="mine.parquet") == 2
    assert re.search(r"mine.parquet: column tags holds list<.*>; leave it out", capsys.readouterr().err)


def test_a_folder_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["adopt", str(folder), "--target", "y"]) == 2
    assert f"{folder}: a folder, not a file" in capsys.readouterr().err


def test_a_dry_run_shows_the_change_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    before = (folder / "settings.toml").read_text()
    assert adopt(folder, csv(frame()), "--target", "y", "--dry-run") == 0
    out = capsys.readouterr().out
    assert (folder / "settings.toml").read_text() == before
    assert '\n-target = "approved"\n' in out and '\n+target = "y"\n' in out
    adopt(folder, csv(frame()), "--target", "y")
    after = (folder / "settings.toml").read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert changed == [line[1:] for line in out.splitlines() if re.match(r"\+(?!\+)", line)]


RARE = COUNT % 15 == 0
PAID = np.where(labels("0", "1") == "1", COUNT % 90 + 100, COUNT % 90)
WARNED: dict[str, tuple[pd.DataFrame, str]] = {
    "copy": (frame(flag=labels("0", "1")), "flag is the target in other words"),
    "leak": (frame(paid=PAID), r"paid alone tells the target \(AUC 1.000\)"),
    "copy of a number": (frame(y=AMOUNT, z=AMOUNT * 2 + 1), "z is the target in other words"),
    "small classes": (
        frame(y=np.where(RARE, "rare", labels("no", "yes"))),
        "classes of y: fewer than 30 rows in the test split, too few to measure: rare ~5",
    ),
    "small groups": (
        frame(sex=np.where(RARE, "x", labels("f", "m"))),
        "groups of facet sex: fewer than 30 rows in the test split, too few to measure: x ~5",
    ),
    "many categories": (frame(seat=[f"t{n * 7 % 150}" for n in COUNT]), "seat has 150 texts in 300 rows"),
    "amounts like ids": (frame(amount=COUNT * 31 + 7), "amount is another whole number in every row"),
    "no label": (frame(y=np.where(COUNT % 5 == 0, "?", labels("no", "yes"))), "20.0% of the rows have no y"),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_danger_in_the_data_is_told_and_adopted(
    folder: Path, case: str, capsys: pytest.CaptureFixture[str]
):
    table, message = WARNED[case]
    facets = ["--facet", "sex"] if "sex" in table else []
    assert adopt(folder, csv(table), "--target", "y", *facets) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert any(re.search(message, line) for line in warnings), warnings


def test_harmless_data_are_adopted_without_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]):
    table = pd.concat([frame()] * 4)
    adopt(folder, csv(table), "--target", "y", "--facet", "color")
    assert "warning" not in capsys.readouterr().out


def test_rows_are_drawn_from_the_whole_file_and_the_same_each_time(folder: Path):
    (folder / "mine.csv").write_text("n\n" + "\n".join(map(str, range(100_000))))
    found = header.read(folder / "mine.csv", Wish("n"), SETTINGS.data).options
    drawn = [sampling.draw(ingest.batches(folder / "mine.csv", found), 1000, seed) for seed in (1, 1, 2)]
    numbers = [np.array(sample.table["n"].to_pylist(), int) for sample in drawn]
    assert [len(n) for n in numbers] == [1000] * 3 and drawn[0].total == 100_000
    assert (numbers[0] == numbers[1]).all() and (numbers[0] != numbers[2]).any()
    assert (np.diff(numbers[0]) > 0).all()
    tenths = np.histogram(numbers[0], bins=10, range=(0, 100_000))[0]
    assert tenths.min() > 60 and tenths.max() < 140


def test_comments_order_and_other_sections_stay(folder: Path):
    path = folder / "settings.toml"
    text = path.read_text().replace('target = "approved"', 'target = "approved"      # what I predict')
    text = text.replace("ids = []", "ids = [   # mine\n    'old',\n]   # who")
    text += "\n[env.prod.tune]  # last\ntrials = 20\n"
    path.write_text(text)
    adopt(folder, csv(frame()), "--target", "y")
    before, after = text.splitlines(), path.read_text().splitlines()
    assert 'target = "y"             # what I predict' in after
    assert "ids = []  # who" in after
    assert [line for line in after if line.startswith("#")] == ["# mine"]
    kept = [line for line in before if line in after]
    assert kept == [line for line in after if line in before] and len(kept) > 70
    assert after[-2:] == ["[env.prod.tune]  # last", "trials = 20"]


def test_what_the_user_excluded_or_gave_a_kind_stays(folder: Path):
    table = csv(frame(Phone=PHONES, zip=10_000 + COUNT % 9, extra=COUNT % 5))
    path = folder / "settings.toml"
    text = path.read_text().replace("exclude = []", 'exclude = ["extra", "gone"]')
    path.write_text(text.replace("[data.kinds]", '[data.kinds]\nPhone = "category"\nzip = "number"'))
    assert adopt(folder, table, "--target", "y") == 0
    data = loaded().data
    assert (data.exclude, data.ids) == (("extra",), ())
    assert data.kinds == {"Phone": "category", "zip": "number"}


def test_settings_that_a_regression_cannot_have_are_reset(folder: Path):
    path = folder / "settings.toml"
    text = path.read_text().replace('class_weight = "none"', 'class_weight = "balanced"')
    path.write_text(text.replace('metric = ""', 'metric = "auc"').replace('"trivial"', "0.8"))
    assert loaded().gate.threshold == 0.8
    assert adopt(folder, csv(frame(y=AMOUNT)), "--target", "y") == 0
    found = loaded()
    assert (found.train.class_weight, found.gate.metric, found.gate.threshold) == ("none", "", "trivial")


def test_an_override_that_would_undo_the_change_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    with (folder / "settings.toml").open("a") as file:
        file.write('\n[env.prod.data]\ntarget = "approved"\n')
    assert adopt(folder, csv(frame()), "--target", "y") == 2
    assert "[env.prod.data] sets target" in capsys.readouterr().err


def test_what_run_reads_is_named_relative_to_the_project(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
):
    (folder / "data").mkdir()
    adopt(folder, csv(frame()), "--target", "y", name="data/mine.csv")
    assert loaded().data.file == "data/mine.csv"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    adopt(elsewhere, csv(frame()), "--target", "y")
    assert loaded().data.file == str(elsewhere / "mine.csv")
