from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, RobustScaler

from ml_pipeline.features import Category, FeatureSpec, Number, RowError, SpecError, Target, Texts, fit

SPEC = FeatureSpec(
    ids=("id",),
    features=(Number("income", median=50.0, center=40.0, scale=20.0), Category("purpose", ("boat", "car"))),
    target=Target("approved", "binary", ("no", "yes"), "yes"),
    missing=("?", "-999"),
)


def encode(income: list[object], purpose: list[object]) -> list[list[float]]:
    columns = {"income": np.array(income, dtype=object), "purpose": np.array(purpose, dtype=object)}
    return SPEC.encode(columns).tolist()


def random_frame(rows: int, seed: int, words: str) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = {
        "normal": rng.normal(size=rows),
        "skewed": rng.lognormal(10, 2, rows),
        "whole": rng.integers(0, 9, rows).astype(float),
        "constant": np.full(rows, 3.25),
    }
    texts = {
        "few": rng.choice(list(words), rows).astype(object),
        "many": np.array([f"word {i}" for i in rng.integers(0, rows // 2, rows)], dtype=object),
        "same": np.full(rows, "x", dtype=object),
    }
    for name in ("normal", "skewed"):
        numbers[name][rng.random(rows) < 0.2] = np.nan
    for name in ("few", "many"):
        texts[name][rng.random(rows) < 0.2] = None
    return pd.DataFrame(numbers | texts | {"approved": rng.choice(["yes", "no"], rows)})


def test_encoding_is_what_scikit_learns_transformers_give(settings):
    training, unseen = random_frame(500, 1, "abcdef"), random_frame(400, 2, "abcdefXYZ")
    numbers, texts = ["normal", "skewed", "whole", "constant"], ["few", "many", "same"]
    scaler = make_pipeline(SimpleImputer(strategy="median"), RobustScaler())
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    scaler.fit(training[numbers].to_numpy())
    encoder.fit(with_nan(training[texts]))
    expected = np.hstack(
        [scaler.transform(unseen[numbers].to_numpy()), encoder.transform(with_nan(unseen[texts]))]
    )
    spec = fit(arrays(training), settings().data)
    encoded = spec.encode({name: unseen[name].to_numpy() for name in spec.names})
    assert list(spec.names) == numbers + texts
    np.testing.assert_array_equal(encoded, expected.astype(np.float32))
    assert (encoded[:, 4] == -1).any() and (encoded[:, 5] == -2).any()


def arrays(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: frame[name].to_numpy() for name in frame}


def with_nan(frame: pd.DataFrame) -> np.ndarray:
    return np.where(frame.isna(), np.nan, frame.to_numpy(object))


def test_a_spec_read_back_from_its_json_encodes_the_same(settings):
    frame = random_frame(300, 3, "abc")
    spec = fit(arrays(frame), settings().data)
    again = FeatureSpec.from_json(spec.to_json())
    assert again == spec
    columns = {name: frame[name].to_numpy() for name in spec.names}
    np.testing.assert_array_equal(again.encode(columns), spec.encode(columns))


def test_numbers_written_as_text_encode_as_the_numbers():
    assert encode(["60", " 6e1 ", 60, 60.0], ["car"] * 4) == [[1.0, 1.0]] * 4


def test_markers_empty_cells_and_nan_take_the_median():
    assert encode([None, "", " ", "?", "nan", float("nan"), "-999", -999], ["car"] * 8) == [[0.5, 1.0]] * 8


def test_unknown_categories_are_minus_one_and_missing_ones_minus_two():
    assert [row[1] for row in encode([50] * 6, ["boat", " car ", "plane", "", "?", None])] == [
        0,
        1,
        -1,
        -2,
        -2,
        -2,
    ]


@pytest.mark.parametrize("cell", ["abc", "1_000", True, [1], "inf", float("-inf"), 10**400])
def test_a_number_column_refuses_anything_else_by_row(cell):
    with pytest.raises(RowError, match="row 2, column income: "):
        encode([1, cell], ["car", "car"])


def test_a_number_beyond_float32_is_refused_by_row():
    with pytest.raises(RowError, match="row 2, column income: the number is too large"):
        encode([1, 1e300], ["car", "car"])


def test_a_category_that_is_a_list_is_refused_by_row():
    with pytest.raises(RowError, match=r"row 3, column purpose: \['car'\] is not a text"):
        encode([1, 1, 1], ["car", None, ["car"]])


@pytest.mark.parametrize("cell", [1, 1.0, "1", "1.0", " 1 "])
def test_a_whole_number_is_the_same_category_however_it_is_written(cell):
    assert Category("zip", ("0", "1", "1.5")).encode(np.array([cell], dtype=object), ()).tolist() == [1.0]


def test_one_and_true_are_different_categories_in_one_column():
    cells = np.array([1, True, 1.0, False], dtype=object)
    assert Category("flag", ("1", "False", "True")).encode(cells, ()).tolist() == [0.0, 2.0, 0.0, 1.0]


def test_distinct_words_and_places_encode_as_the_column():
    texts = Texts(np.array(["car", None, "plane"], dtype=object), np.array([2, 0, 0, 1]))
    assert SPEC.encode({"income": np.full(4, 60.0), "purpose": texts})[:, 1].tolist() == [-1, 1, 1, -2]


def test_the_positive_class_of_a_binary_target_is_one(settings):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "approved": ["a", "b", "a"]})
    target = fit(arrays(frame), settings(data={"positive": "a"}).data).target
    assert target.classes == ("b", "a")


def test_labels_encode_to_their_class_and_decode_back():
    labels = np.array(["yes", "no", "yes"], dtype=object)
    assert SPEC.encode_label(labels).tolist() == [1.0, 0.0, 1.0]
    assert SPEC.decode(SPEC.encode_label(labels)).tolist() == labels.tolist()


def test_a_label_that_is_no_class_is_refused_by_row():
    with pytest.raises(RowError, match="row 2, column approved: label must be one of no, yes, got 'maybe'"):
        SPEC.encode_label(np.array(["yes", "maybe"], dtype=object))


def test_labels_of_a_regression_are_the_numbers(settings):
    frame = pd.DataFrame({"x": [1.0, 2.0], "price": [3.5, 4.0]})
    spec = fit(
        arrays(frame), settings(data={"target": "price", "problem": "regression", "positive": ""}).data
    )
    assert spec.target == Target("price", "regression", (), "")
    assert spec.encode_label(np.array(["3.5", 4], dtype=object)).tolist() == [3.5, 4.0]
    with pytest.raises(RowError, match="row 1, column price: label must be a number, got ''"):
        spec.encode_label(np.array([""], dtype=object))


def test_facets_ids_and_excluded_columns_are_no_features_unless_facets_are_wanted(settings):
    frame = pd.DataFrame({"id": ["1"], "sex": ["f"], "x": [1.0], "note": ["n"], "approved": ["yes"]})
    data = settings(data={"facets": ("sex",), "ids": ("id",), "exclude": ("note",)}).data
    assert fit(arrays(frame), data).names == ("x",)
    assert fit(arrays(frame), dataclasses.replace(data, facets_as_features=True)).names == ("sex", "x")


def test_a_feature_without_a_value_is_refused_by_name(settings):
    frame = pd.DataFrame({"x": [1.0, 2.0], "hole": [None, None], "approved": ["yes", "no"]})
    with pytest.raises(
        SpecError,
        match="column hole has no value in the 2 training rows: mend the data, or add it to exclude",
    ):
        fit(arrays(frame), settings().data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version must be 1, got 2"),
        ({"extra": []}, "unexpected keyword argument 'extra'"),
        ({"features": [{"kind": "vector", "name": "x"}]}, "KeyError 'vector'"),
        ({"features": []}, "feature names"),
        ({"target": {"name": "y"}}, "classes"),
        (
            {"features": [{"kind": "number", "name": "x", "median": 0, "center": 0, "scale": None}]},
            "TypeError",
        ),
    ],
)
def test_another_document_is_no_spec(change, message):
    with pytest.raises(SpecError, match=message):
        FeatureSpec.from_json(json.dumps(json.loads(SPEC.to_json()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", b"\xff"])
def test_anything_else_is_no_spec(text):
    with pytest.raises(SpecError, match="not a feature specification"):
        FeatureSpec.from_json(text)
