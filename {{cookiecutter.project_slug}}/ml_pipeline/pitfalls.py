"""What may go wrong with data that can be read: leakage, small groups, identifiers, too many categories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ml_pipeline.facets import MISSING
from ml_pipeline.features import canonical_text

LEAK = 0.98  # AUC or R2 of one column alone, from which it most likely tells the label
ALIKE = 0.99  # share of rows in which a column and the target agree, from which it is a copy
LEAF_FRACTION = 0.001  # of the rows in a leaf, so that a tree cannot learn single rows
TREE_CELLS, TREE_ROWS = 400_000, 2_000  # looked at: so many cells, but of each column so many rows
FEW_ROWS = 30  # in a split: a share of them is known to a tenth at best
MANY_CATEGORIES = 100
FOLDS = 3
SEED = 42


def leaks(features: pd.DataFrame, target: pd.Series, is_regression: bool) -> Iterator[str]:
    """Columns that alone nearly determine the target, which most likely are not known when it is predicted.

    features: float64 or str. target: float64 for a regression, else the labels as str. Neither is missing.
    """
    rows = np.random.default_rng(SEED).permutation(len(target))
    rows = rows[: max(TREE_ROWS, TREE_CELLS // max(1, features.shape[1]))]
    few = target.iloc[rows]
    for name in features:
        codes = _codes(features[name].iloc[rows])
        score, measure = _score_of_one(codes, few, is_regression), "R2" if is_regression else "AUC"
        if score < LEAK:
            continue
        agreement = _agreement(codes[:, 0], few, is_regression)
        if agreement >= ALIKE:
            yield f"{name} is the target in other words (they agree by {agreement:.1%}): add it to exclude"
        else:
            yield (
                f"{name} alone tells the target ({measure} {score:.3f}): if it is known only afterwards, "
                f"it leaks; add it to exclude"
            )


def _codes(column: pd.Series) -> np.ndarray:
    """Numbers as they are, texts as their places; a missing cell is below all. Shape (n, 1)."""
    if column.dtype.kind != "f":
        return pd.factorize(column, sort=True)[0].reshape(-1, 1).astype(np.float64)
    finite = column.where(np.isfinite(column))
    return finite.fillna(finite.min() - 1).to_numpy(np.float64).reshape(-1, 1)


def _score_of_one(codes: np.ndarray, target: pd.Series, is_regression: bool) -> float:
    """Cross-validated AUC (the mean of one class against the others), or R2, of a tree on one column."""
    leaf = max(2, int(LEAF_FRACTION * len(target)))
    if is_regression:
        tree = DecisionTreeRegressor(min_samples_leaf=leaf, random_state=SEED)
        folds = KFold(FOLDS, shuffle=True, random_state=SEED)
        return float(r2_score(target, cross_val_predict(tree, codes, target, cv=folds)))
    counts = target.value_counts()
    kept = target.isin(counts.index[counts >= FOLDS]).to_numpy()
    labels = target[kept]
    if labels.nunique() < 2:
        return 0.0
    tree = DecisionTreeClassifier(min_samples_leaf=leaf, random_state=SEED)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(tree, codes[kept], labels, cv=folds, method="predict_proba")
    if scores.shape[1] == 2:
        return float(roc_auc_score(labels == sorted(labels.unique())[1], scores[:, 1]))
    return float(roc_auc_score(labels, scores, multi_class="ovr", labels=sorted(labels.unique())))


def _agreement(codes: np.ndarray, target: pd.Series, is_regression: bool) -> float:
    """Share of rows in which each value stands for one label and each label for one value; 0 to 1."""
    if is_regression:
        return abs(float(np.corrcoef(codes, target)[0, 1]))
    table = pd.crosstab(codes, target.to_numpy())
    return float(table.max(axis=1).sum() / len(target)) if table.shape[0] == table.shape[1] else 0.0


def groups(facet: pd.Series) -> pd.Series:
    """The facet's values as texts, with one for rows that have none."""
    return facet.map(lambda value: MISSING if pd.isna(value) else canonical_text(str(value)))


def small_groups(groups: pd.Series, what: str, rows: int, fractions: dict[str, float]) -> Iterator[str]:
    """Values of a column so rare that a held-out split has too few of their rows to measure.

    rows: of the whole file, of which the groups are a sample. fractions: of the rows, by split.
    """
    counts = groups.value_counts() * (rows / len(groups))
    for split, fraction in fractions.items():
        small = (counts * fraction)[counts * fraction < FEW_ROWS].sort_values()
        if len(small):
            told = ", ".join(f"{name} ~{n:.0f}" for name, n in small.head(5).items())
            more = f" and {len(small) - 5} more" if len(small) > 5 else ""
            yield f"{what}: fewer than {FEW_ROWS} rows in the {split} split, too few to measure: {told}{more}"


def wide_categories(features: pd.DataFrame) -> Iterator[str]:
    """Text columns with so many values that most are too rare to learn from."""
    for name in features:
        column = features[name]
        if column.dtype.kind != "f" and column.nunique() > MANY_CATEGORIES:
            yield (
                f"{name} has {column.nunique():,} texts in {int(column.notna().sum()):,} rows: "
                f"join the rare ones, or add it to exclude"
            )


def numbers_like_ids(features: pd.DataFrame) -> Iterator[str]:
    """Columns of whole numbers that differ in every row; rightly a feature if they are an amount."""
    for name in features:
        column = features[name]
        whole = column.dtype.kind == "f" and column.notna().all() and not (column % 1 != 0).any()
        if whole and column.nunique() == len(column):
            yield f"{name} is another whole number in every row: if it is no amount, name it with --id"
