"""Partial dependence: scikit-learn's own numbers, told in the units of the raw data."""

import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.inspection import partial_dependence

from ml_pipeline import explain
from ml_pipeline.features import MISSING, UNKNOWN, Category, FeatureSpec, Number, Target
from ml_pipeline.serving import Model

SPEC = {
    "binary": Target("approved", "binary", ("no", "yes"), "yes"),
    "multiclass": Target("grade", "multiclass", ("a", "b", "c"), ""),
    "regression": Target("price", "regression", (), ""),
}
OBJECTIVES = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}
FEATURES = (Number("income", 50_000, 50_000, 10_000), Category("region", ("north", "south", "west")))


def encoded(rows: int = 300) -> np.ndarray:
    generator = np.random.default_rng(5)
    region = generator.choice([0, 1, 2, MISSING], rows, p=[0.5, 0.3, 0.1, 0.1])
    return np.column_stack([generator.normal(0, 1, rows), region]).astype(np.float32)


def trained(problem: str, features: np.ndarray) -> Model:
    value = features[:, 0] + (features[:, 1] == 1)
    label = {"binary": value > 0.3, "multiclass": np.digitize(value, [0, 1]), "regression": value}[problem]
    parameters = {**OBJECTIVES[problem], "max_depth": 3, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(features, label.astype(float)), 10)
    return Model(FeatureSpec((), FEATURES, SPEC[problem], ()), booster, 0.5)


class Classifier(ClassifierMixin, BaseEstimator):
    """The model as scikit-learn wants it."""

    def __init__(self, model: Model) -> None:
        self.model, self.fitted_ = model, True

    def fit(self, features: np.ndarray, label: np.ndarray) -> "Classifier":
        return self

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(len(self.model.spec.target.classes))

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        scores = self.model.score(features.astype(np.float32)).scores
        return scores if scores.ndim == 2 else np.column_stack([1 - scores, scores])


class Regressor(RegressorMixin, BaseEstimator):
    def __init__(self, model: Model) -> None:
        self.model, self.fitted_ = model, True

    def fit(self, features: np.ndarray, label: np.ndarray) -> "Regressor":
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.score(features.astype(np.float32)).scores


@pytest.mark.parametrize("problem", SPEC)
@pytest.mark.parametrize("place", [0, 1])
def test_averages_are_scikit_learns(problem, place):
    features = encoded()
    model = trained(problem, features)
    estimator = (Regressor if problem == "regression" else Classifier)(model)
    values = explain.grid(FEATURES[place], features[:, place])
    theirs = partial_dependence(
        estimator, features, [place], custom_values={place: values}, method="brute", kind="average"
    )
    (curve,) = explain.partial_dependence(model, features, [FEATURES[place].name], 1)["features"]
    np.testing.assert_allclose(curve["average"], theirs["average"], rtol=1e-5)


def test_numbers_are_in_their_own_units_and_categories_have_their_names():
    features = encoded()
    found = explain.partial_dependence(trained("binary", features), features, ["income", "region"], 1)
    income, region = found["features"]
    low, high = np.quantile(features[:, 0], [0.05, 0.95], method="nearest") * 10_000 + 50_000
    assert (income["values"][0], income["values"][-1]) == pytest.approx((low, high), abs=1)
    assert region["values"] == ["(missing)", "north", "south", "west"]
    assert region["rows"] == [int((features[:, 1] == code).sum()) for code in (MISSING, 0, 1, 2)]


def test_of_many_categories_the_commonest_are_tried():
    column = np.repeat(np.arange(40), np.arange(40, 0, -1)).astype(np.float32)
    values = explain.grid(Category("city", tuple(map(str, range(40)))), column)
    assert values.tolist() == list(range(explain.CATEGORIES))


def test_a_whole_number_is_not_told_as_its_rounding_error():
    feature = Number("years", 5.0, 4.1, 7.3)
    values = ((np.array([0, 3, 12]) - 4.1) / 7.3).astype(np.float32)
    assert explain.original(feature, values) == [0, 3, 12]


def test_the_rows_averaged_over_are_drawn_by_the_seed():
    features = encoded(2_000)
    model = trained("regression", features)
    first, same, other = (explain.partial_dependence(model, features, ["income"], seed) for seed in (1, 1, 2))
    assert first == same
    assert first["rows"] == explain.ROWS
    assert first["features"][0]["average"] != other["features"][0]["average"]


def test_a_category_that_training_has_not_seen_is_told_as_unknown():
    assert explain.original(FEATURES[1], np.array([UNKNOWN, 0])) == ["(unknown)", "north"]
