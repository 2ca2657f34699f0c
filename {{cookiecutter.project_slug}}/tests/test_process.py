from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from ml_pipeline import baseline, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.features import FeatureSpec
from ml_pipeline.ingest import Options, read
from ml_pipeline.steps.process import check_file, process

EXECUTION = "exec1"
SPLITS = ("train", "validation", "test")


def applicants(rows: int = 400, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 1, rows).round(1)
    purpose = rng.choice(["boat", "car", "house"], rows).astype(object)
    frame = pd.DataFrame(
        {
            "id": [f"{number:06d}" for number in range(rows)],
            "sex": rng.choice(["f", "m"], rows),
            "income": income,
            "purpose": purpose,
            "approved": np.where(income > 22000, "yes", "no"),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "income"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "purpose"] = None
    return frame


def put(bucket: str, content: str | bytes | pd.DataFrame, name: str = "raw/data.csv") -> str:
    if isinstance(content, pd.DataFrame) and name.lower().endswith(".parquet"):
        buffer = io.BytesIO()
        content.to_parquet(buffer)
        content = buffer.getvalue()
    if isinstance(content, pd.DataFrame):
        content = content.to_csv(index=False)
    uri = f"s3://{bucket}/{name}"
    storage.write_bytes(uri, content.encode() if isinstance(content, str) else content)
    return uri


def frames(result: dict[str, Any], kind: str) -> dict[str, pd.DataFrame]:
    return {name: storage.read_parquet(f"{result[kind]}/{name}.parquet") for name in SPLITS}


@pytest.fixture
def loans(settings):
    return settings(data={"ids": ("id",), "facets": ("sex",)}, split={"method": "stratified"})


@pytest.fixture
def done(bucket, loans):
    return process(put(bucket, applicants()), "manual", EXECUTION, loans)


def test_every_row_lands_in_exactly_one_split_unchanged(done):
    rows = pd.concat(frames(done, "splits_uri").values()).sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(rows, applicants(), check_dtype=False)


def test_stratified_splits_have_the_exact_share_of_each_class(done):
    whole = applicants().approved.value_counts()
    for name, fraction in (("test", 0.25), ("validation", 0.2)):
        counts = frames(done, "splits_uri")[name].approved.value_counts()
        assert counts.to_dict() == {label: round(n * fraction) for label, n in whole.items()}


def test_encoded_splits_are_the_spec_applied_to_the_raw_ones(done):
    spec = FeatureSpec.from_json(storage.read_bytes(done["feature_spec_uri"]))
    raw, encoded = frames(done, "splits_uri"), frames(done, "encoded_uri")
    assert spec.names == ("income", "purpose")
    for name in SPLITS:
        assert list(encoded[name].columns) == ["label", "income", "purpose"]
        columns = {column: raw[name][column].to_numpy() for column in spec.names}
        np.testing.assert_array_equal(encoded[name][list(spec.names)], spec.encode(columns))
        assert (encoded[name].label == (raw[name].approved == "yes")).all()


def test_the_spec_is_fitted_on_the_training_split_alone(done):
    spec = json.loads(storage.read_bytes(done["feature_spec_uri"]))
    assert spec["features"][0]["median"] == frames(done, "splits_uri")["train"].income.median()
    assert spec["features"][0]["median"] != applicants().income.median()


def test_xgboosts_csv_is_the_encoded_split_without_a_header(done):
    for name in ("train", "validation"):
        content = storage.read_bytes(f"{done['xgboost_uri']}/{name}/data.csv")
        rows = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.float32)
        np.testing.assert_array_equal(rows, frames(done, "encoded_uri")[name].to_numpy(np.float32))


def test_batch_transforms_csv_is_id_label_and_raw_features_of_the_test_split(done):
    content = storage.read_bytes(done["transform_input_uri"])
    rows = pd.read_csv(io.BytesIO(content), names=["id", "approved", "income", "purpose"], dtype={"id": str})
    expected = frames(done, "splits_uri")["test"][list(rows.columns)]
    pd.testing.assert_frame_equal(rows, expected, check_dtype=False)
    assert b'"' not in content


def test_the_hash_is_of_the_raw_bytes(bucket, done):
    assert (
        done["data_sha256"] == hashlib.sha256(storage.read_bytes(f"s3://{bucket}/raw/data.csv")).hexdigest()
    )


def test_the_thresholds_are_of_the_training_splits_features(done, loans):
    document = storage.read_json(loans.uri(EXECUTION, "process", "thresholds.json"))
    train = frames(done, "splits_uri")["train"]
    assert document["rows"] == len(train) and document["alpha"] == 0.005
    income, purpose = document["columns"]
    assert (income["name"], purpose["name"]) == ("income", "purpose")
    present = train.income.dropna()
    inner = np.histogram(present, [-np.inf, *income["edges"], np.inf])[0]
    assert income["counts"] == [*inner.tolist(), len(train) - len(present)]
    counts = train.purpose.value_counts()
    assert purpose["categories"] == sorted(counts.index, key=lambda word: (-counts[word], word))
    assert purpose["counts"][:3] == [counts[word] for word in purpose["categories"]]


def test_the_profile_counts_what_was_read_and_split(done, loans):
    profile = storage.read_json(loans.uri(EXECUTION, "process", "profile.json"))
    sizes = {name: len(frame) for name, frame in frames(done, "splits_uri").items()}
    assert {name: split["rows"] for name, split in profile["splits"].items()} == sizes
    assert profile["rows"] == 400 and profile["sources"][0]["rows"] == 400
    columns = {column["name"]: column for column in profile["columns"]}
    assert {name: column["role"] for name, column in columns.items()} == {
        "id": "id",
        "sex": "other",
        "income": "feature",
        "purpose": "feature",
        "approved": "target",
    }
    assert columns["income"]["missing"] == applicants().income.isna().sum()
    assert (columns["income"]["kind"], columns["purpose"]["kind"]) == ("number", "category")


def test_statistics_and_constraints_describe_the_training_split(done, loans):
    train = frames(done, "splits_uri")["train"]
    income, purpose = storage.read_json(loans.uri(EXECUTION, "process", "statistics.json"))["features"]
    numbers = income["numerical_statistics"]
    assert numbers["common"] == {
        "num_present": int(train.income.notna().sum()),
        "num_missing": int(train.income.isna().sum()),
    }
    assert (numbers["min"], numbers["max"]) == (train.income.min(), train.income.max())
    assert numbers["std_dev"] == pytest.approx(train.income.std(ddof=0))
    buckets = numbers["distribution"]["kll"]["buckets"]
    assert [bucket["count"] for bucket in buckets] == np.histogram(train.income.dropna(), 10)[0].tolist()
    assert numbers["distribution"]["kll"]["sketch"]["data"] == [sorted(train.income.dropna())]
    counts = train.purpose.value_counts()
    categories = purpose["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert {bucket["value"]: bucket["count"] for bucket in categories} == counts.to_dict()
    first, second = storage.read_json(loans.uri(EXECUTION, "process", "constraints.json"))["features"]
    assert first["num_constraints"] == {"is_non_negative": True}
    assert first["completeness"] == train.income.notna().mean()
    assert second["string_constraints"] == {"domains": ["boat", "car", "house"]}


def test_a_large_columns_sketch_keeps_its_quantiles(settings):
    values = np.random.default_rng(0).normal(size=50_000)
    spec = FeatureSpec.from_json(
        json.dumps(
            {
                "version": 1,
                "ids": [],
                "missing": [],
                "features": [{"kind": "number", "name": "x", "median": 0.0, "center": 0.0, "scale": 1.0}],
                "target": {
                    "name": "approved",
                    "problem": "binary",
                    "classes": ["no", "yes"],
                    "positive": "yes",
                },
            }
        )
    )
    feature = baseline.measure({"x": values}, spec).statistics["features"][0]
    levels = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    weights = sum(len(level) * 2**height for height, level in enumerate(levels))
    assert weights == pytest.approx(len(values), rel=0.001)
    np.testing.assert_allclose(
        np.quantile(levels[-1], [0.1, 0.5, 0.9]), np.quantile(values, [0.1, 0.5, 0.9]), atol=0.01
    )


def test_parquet_gives_what_the_same_rows_as_csv_give(bucket, loans):
    first = process(put(bucket, applicants()), "manual", "csv", loans)
    second = process(put(bucket, applicants(), "raw2/data.parquet"), "manual", "parquet", loans)
    for kind in ("splits_uri", "encoded_uri"):
        for one, other in zip(frames(first, kind).values(), frames(second, kind).values(), strict=True):
            pd.testing.assert_frame_equal(one, other)


def test_a_prefix_gives_what_one_object_of_all_its_rows_gives(bucket, loans):
    frame = applicants()
    whole = process(put(bucket, frame), "manual", "whole", loans)
    put(bucket, frame[:150], "parts/a.csv")
    put(bucket, frame[150:][frame.columns[::-1]], "parts/b.csv")
    put(bucket, "", "parts/_SUCCESS")
    parts = process(f"s3://{bucket}/parts/", "manual", "parts", loans)
    pd.testing.assert_frame_equal(frames(whole, "encoded_uri")["test"], frames(parts, "encoded_uri")["test"])
    assert whole["data_sha256"] != parts["data_sha256"]


def test_processing_twice_writes_the_same_bytes(bucket, loans):
    uri = put(bucket, applicants())
    process(uri, "manual", "one", loans)
    process(uri, "manual", "two", loans)
    one, two = (
        {
            name.removeprefix(loans.uri(e)): storage.read_bytes(name)
            for name, _ in storage.list_uris(loans.uri(e))
        }
        for e in ("one", "two")
    )
    assert one == two and len(one) == 14


def test_padded_cells_and_padded_markers_read_as_without_padding(bucket):
    uri = put(bucket, "a, b ,c\n 1 , >50K, ?\n?,x  y , 2.50\n")
    frame = read(uri, Options(("?",), {})).table.to_pandas()
    assert list(frame.columns) == ["a", "b", "c"]
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    assert cells == [[1.0, ">50K", None], [None, "x y", 2.5]]


def test_leading_zeros_of_ids_are_kept(bucket, loans):
    frame = applicants().assign(id=lambda f: f.id.str[-4:])
    result = process(put(bucket, frame), "manual", EXECUTION, loans)
    assert set(pd.concat(frames(result, "splits_uri").values()).id) == set(frame.id)


def test_whole_number_labels_print_as_integers(bucket, settings):
    frame = applicants().assign(approved=lambda f: (f.approved == "yes") * 1.0)
    chosen = settings(data={"ids": ("id",), "positive": "1"})
    result = process(put(bucket, frame), "manual", EXECUTION, chosen)
    assert set(frames(result, "splits_uri")["test"].approved) == {"0", "1"}


def test_rows_without_a_label_are_dropped_and_counted(bucket, loans):
    frame = applicants()
    frame.loc[:9, "approved"] = None
    result = process(put(bucket, frame), "manual", EXECUTION, loans)
    assert sum(map(len, frames(result, "splits_uri").values())) == 390
    assert "400 rows" in result["summary"] and "10 without a label dropped" in result["summary"]


def test_a_category_with_a_comma_or_a_quote_survives_batch_transforms_csv(bucket, loans):
    frame = applicants().assign(purpose='car, "used"\nold')
    result = process(put(bucket, frame), "manual", EXECUTION, loans)
    rows = pd.read_csv(io.BytesIO(storage.read_bytes(result["transform_input_uri"])), header=None)
    assert set(rows[3]) == {'car, "used" old'}


def test_a_regression_keeps_its_numbers_as_labels(bucket, settings):
    chosen = settings(data={"target": "income", "problem": "regression", "positive": "", "ids": ("id",)})
    frame = applicants().dropna(subset=["income"])
    result = process(put(bucket, frame), "manual", EXECUTION, chosen)
    encoded = pd.concat(frames(result, "encoded_uri").values())
    assert sorted(encoded.label) == sorted(frame.income)


def test_no_csv_for_tuning_is_written_without_trials(bucket, settings):
    process(
        put(bucket, applicants()), "manual", EXECUTION, settings(data={"ids": ("id",)}, tune={"trials": 0})
    )
    names = {
        name.rpartition(f"{EXECUTION}/process/")[2] for name, _ in storage.list_uris(f"s3://{bucket}/ex")
    }
    assert "transform/test.csv" in names and not [name for name in names if name.startswith("xgboost")]


def test_a_large_split_is_written_in_row_groups_and_keeps_its_order(bucket, settings, monkeypatch):
    monkeypatch.setattr("ml_pipeline.steps.process.GROUP_ROWS", 64)
    result = process(put(bucket, applicants()), "manual", EXECUTION, settings(data={"ids": ("id",)}))
    for kind in ("splits_uri", "encoded_uri"):
        content = storage.read_bytes(f"{result[kind]}/train.parquet")
        file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        assert file.num_row_groups > 1 and file.schema_arrow.metadata is None
    ids = frames(result, "splits_uri")["train"].id
    assert ids.is_monotonic_increasing and len(ids) == file.metadata.num_rows


def test_no_key_is_on_two_sides(bucket, settings):
    frame = applicants().assign(customer=lambda f: "c" + (f.index // 4).astype(str))
    chosen = settings(data={"ids": ("id",)}, split={"method": "by_key", "key": "customer"})
    result = process(put(bucket, frame), "manual", EXECUTION, chosen)
    keys = [set(part.customer) for part in frames(result, "splits_uri").values()]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert "customer" not in frames(result, "encoded_uri")["test"].columns


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "number"])
def test_ordered_splits_put_the_newest_rows_last(bucket, settings, written):
    times = pd.date_range("2023-11-01", periods=400, freq="D")
    when = range(9, 409) if written == "number" else times.strftime(written)
    frame = applicants().assign(when=when).sample(frac=1, random_state=0)
    chosen = settings(data={"ids": ("id",)}, split={"method": "ordered", "time": "when"})
    result = process(put(bucket, frame), "manual", EXECUTION, chosen)
    train, validation, test = (part.when for part in frames(result, "splits_uri").values())
    assert train.max() < validation.min() and validation.max() < test.min()
    assert (len(train), len(validation), len(test)) == (220, 80, 100)


def changed(**columns: Any) -> pd.DataFrame:
    return applicants().assign(**columns)


REFUSED = {
    "no object": (None, {}, "no such object, and no data below it"),
    "empty object": ("", {}, "data.csv: the object is empty; bring its rows, or delete it"),
    "blank lines": ("\n\n", {}, "only blank lines"),
    "header only": ("id,approved\n", {}, "no rows, only the header id, approved"),
    "header without a line end": ("id,approved", {}, "no rows, only the header id, approved"),
    "not UTF-8": (
        b"id,approved\n1,\xff\n",
        {},
        "data.csv: line 2 holds the byte 0xFF, which is not UTF-8",
    ),
    "a ragged row": (
        "id,approved\n1,yes\n2\n",
        {},
        "data.csv row 2 has 1 cells, not 2: '2'; correct it",
    ),
    "a name twice": ("x,x,approved\n1,2,yes\n", {}, "more than one x"),
    "target absent": (
        changed(),
        {"data": {"target": "y"}},
        r"no column 'y', which target names.*id, sex, income",
    ),
    "facet absent": (changed(), {"data": {"facets": ("race",)}}, "no column 'race', which facets names"),
    "id absent": (changed(), {"data": {"ids": ("key",)}}, "no column 'key', which ids names"),
    "group absent": (changed(), {"data": {"group": "region"}}, "no column 'region', which group names"),
    "excluded absent": (changed(), {"data": {"exclude": ("n",)}}, "no column 'n', which exclude names"),
    "key absent": (
        changed(),
        {"split": {"method": "by_key", "key": "k"}},
        r"which key names \(settings.toml, \[split",
    ),
    "time absent": (
        changed(),
        {"split": {"method": "ordered", "time": "t"}},
        "no column 't', which time names",
    ),
    "a column called label": (changed(label=1), {}, "no column but the target may be named 'label'"),
    "positive absent": (
        changed(),
        {"data": {"positive": "1"}},
        "no label '1', which positive names.*are: no, yes",
    ),
    "three labels": (
        changed(approved=["yes", "no", "maybe", "no"] * 100),
        {},
        "has 3 labels.*maybe, no, yes",
    ),
    "one label": (changed(approved="yes"), {}, "target approved has yes in every row"),
    "no label": (changed(approved=None), {}, "target approved has no value in every row"),
    "a rare class": (
        changed(approved=["yes"] + ["no"] * 399),
        {"split": {"method": "stratified"}},
        "validation has no 'yes', test has no 'yes'",
    ),
    "an infinity": (
        changed(income=[1, "inf"] * 200),
        {},
        r"data.csv row 2, column income: inf is not a finite",
    ),
    "spoilt numbers": (
        changed(income=lambda f: ["n.a."] + [str(i) for i in range(399)]),
        {"split": {"validation_fraction": 0.05, "test_fraction": 0.05}},
        r"data.csv row 1, column income: 9\d.\d% of the cells are numbers, but not n.a.; correct them, name",
    ),
    "no number": (
        changed(income=lambda f: f.income.astype(object).where(f.index != 6, "12 EUR")),
        {"data": {"kinds": {"income": "number"}}},
        "data.csv row 7, column income: '12 EUR' is not a number",
    ),
    "free text": (changed(note=lambda f: "note " + f.id), {}, "column note has another text in every row"),
    "no value": (changed(hole=None), {}, "column hole has no value in the"),
    "key missing": (
        changed(key=[None, *range(399)]),
        {"split": {"method": "by_key", "key": "key"}},
        "column key has no value in 1 of 400 rows",
    ),
    "no time": (
        changed(when=["yesterday", *["2024-01-01"] * 399]),
        {"split": {"method": "ordered", "time": "when"}},
        "column when holds 'yesterday': times must be numbers or ISO 8601",
    ),
    "one time": (
        changed(when="2024-01-01"),
        {"split": {"method": "ordered", "time": "when"}},
        r"train has no row, validation has no row .* bring more rows \(those of one when stay in one split\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_data_are_refused_by_place_and_nothing_is_written(bucket, settings, case):
    content, sections, message = REFUSED[case]
    uri = f"s3://{bucket}/raw/data.csv" if content is None else put(bucket, content)
    sections = {"data": {"ids": ("id",)} | sections.get("data", {}), "split": sections.get("split", {})}
    with pytest.raises(DataError, match=message):
        process(uri, "manual", EXECUTION, settings(**sections))
    assert storage.list_uris(f"s3://{bucket}/executions/") == []


def test_objects_with_other_columns_below_a_prefix_are_refused(bucket, loans):
    put(bucket, applicants(), "raw/2024-01-01/a.csv")
    put(bucket, applicants().drop(columns="sex"), "raw/2024-01-01/b.csv")
    with pytest.raises(
        DataError, match=r"raw/2024-01-01/b\.csv: not the columns of the first .* differ in sex"
    ):
        process(f"s3://{bucket}/raw/2024-01-01/", "manual", EXECUTION, loans)


def test_a_bad_cell_is_named_by_its_own_object(bucket, loans):
    put(bucket, applicants(), "raw/2024-01-01/a.csv")
    put(bucket, applicants().assign(income=[1.0] * 3 + [np.inf] * 397), "raw/2024-01-01/b.csv")
    with pytest.raises(DataError, match=r"raw/2024-01-01/b\.csv row 4, column income: inf"):
        process(f"s3://{bucket}/raw/2024-01-01/", "manual", EXECUTION, loans)


def test_a_nested_parquet_column_is_refused_by_name(bucket, loans):
    uri = put(bucket, applicants().assign(tags=[["a"]] * 400), "raw/data.parquet")
    with pytest.raises(DataError, match=r"column tags: list<.*> is no number, text or truth value"):
        process(uri, "manual", EXECUTION, loans)


@pytest.mark.parametrize("name", ["raw/data.xlsx", "raw/data"])
def test_a_file_of_another_kind_is_refused(bucket, loans, name):
    with pytest.raises(DataError, match=r"must end with \.csv, \.tsv, \.txt, \.data or \.parquet"):
        process(put(bucket, "x", name), "manual", EXECUTION, loans)


@pytest.mark.parametrize("name", ["data.tsv", "data.txt", "adult.data", "DATA.CSV", "DATA.PARQUET"])
def test_a_table_may_have_other_endings(bucket, loans, name):
    expected = process(put(bucket, applicants(), "raw/data.csv"), "manual", EXECUTION, loans)
    content = applicants().to_csv(index=False, sep="\t") if name != "DATA.PARQUET" else applicants()
    found = process(put(bucket, content, f"others/{name}"), "manual", EXECUTION, loans)
    assert found["summary"] == expected["summary"]


def test_a_numeric_facet_needs_a_threshold_before_anything_is_trained(bucket, settings):
    wanted = {"ids": ("id",), "facets": ("income",)}
    with pytest.raises(
        DataError, match=r"data\.csv: facet income is a number with \d+ values: name the thresh"
    ):
        process(put(bucket, applicants()), "manual", EXECUTION, settings(data=wanted))
    process(
        put(bucket, applicants()),
        "manual",
        EXECUTION,
        settings(data=wanted | {"facet_values": {"income": (22000,)}}),
    )


def test_a_group_that_the_facet_does_not_have_is_refused_with_those_it_has(bucket, settings):
    wanted = {"ids": ("id",), "facets": ("sex",), "facet_values": {"sex": ("female",)}}
    with pytest.raises(DataError, match=r"facet sex has no value 'female', which facet_values .* are: f, m"):
        process(put(bucket, applicants()), "manual", EXECUTION, settings(data=wanted))


def test_a_local_file_is_refused_as_process_would_refuse_it(tmp_path, settings):
    path = tmp_path / "data.csv"
    applicants().assign(approved="yes").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"data\.csv: target approved has yes in every row"):
        check_file(path, settings(data={"ids": ("id",)}))
    applicants().to_csv(path, index=False)
    check_file(path, settings(data={"ids": ("id",)}))
