"""Quality of predictions: metrics with bootstrap intervals, beside a trivial model's, and the fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ml_pipeline.names import BETTER_HIGH

SMALLEST_PROBABILITY = 1e-15  # keeps log loss finite where a model is sure and wrong
UNDERFIT_SKILL = 0.1  # less of the way from trivial to perfect, on its own training rows, is no fit
RESAMPLED_ROWS = 10_000  # drawn for one bootstrap resample at most
OVERFIT_GAP = 0.1  # of that way lost between training and test rows; shallow boosted trees lose 0.01 to 0.06

# Metrics of fixed predictions by row weights: ones give the value, resampled counts the bootstrap.
Measure = Callable[[np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Predictions:
    """What a model said about n rows.

    label, predicted: binary 0 or 1, multiclass the place of the class, regression the value, shape (n,).
    score: binary P(1), shape (n,); multiclass shape (n, classes); regression the prediction, shape (n,).
    """

    label: np.ndarray
    score: np.ndarray
    predicted: np.ndarray

    def at(self, places: np.ndarray) -> Predictions:
        return Predictions(self.label[places], self.score[places], self.predicted[places])


def primary(problem: str, wanted: str) -> str:
    """The metric that counts: the wanted one, or the problem's first."""
    return wanted or next(iter(BETTER_HIGH[problem]))


def report(
    problem: str, found: Predictions, trivial: Predictions, samples: int, confidence: float, seed: int
) -> dict[str, dict[str, float | None]]:
    """{metric: {value, low, high, trivial}}; None where a metric is not defined (AUC of a single class).

    low, high: percentile interval over bootstrap resamples of the rows at this confidence.
    """
    ones = np.ones(len(found.label))
    values, constant = (measure(problem, predictions)(ones) for predictions in (found, trivial))
    drawn = resampled(partial(measure, problem), found, values, samples, seed)
    low, high = interval(drawn, confidence)
    columns = {"value": values, "low": low, "high": high, "trivial": constant}
    return {
        metric: {column: _finite(numbers[metric]) for column, numbers in columns.items()}
        for metric in BETTER_HIGH[problem]
    }


def measure(problem: str, found: Predictions) -> Measure:
    """The problem's metrics of these predictions; sorts once, so that each call is linear in the rows."""
    return {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[problem](found)


def resampled(
    measure_of: Callable[[Predictions], Measure],
    found: Predictions,
    values: Mapping[str, float],
    samples: int,
    seed: int,
) -> list[dict[str, float]]:
    """Metrics of bootstrap resamples of the rows; values: of the rows themselves.

    Of n > RESAMPLED_ROWS rows only m = RESAMPLED_ROWS are drawn, and what a metric then differs from its
    value is scaled by sqrt(m / n): a spread falls with the root of the rows. Source: m out of n bootstrap
    (Bickel, Goetze, van Zwet 1997, Resampling fewer than n observations).
    """
    generator, rows = np.random.default_rng(seed), len(found.label)
    if rows <= RESAMPLED_ROWS:
        of_weights = measure_of(found)
        return [of_weights(resampled_weights(generator, rows)) for _ in range(samples)]
    ones, scale = np.ones(RESAMPLED_ROWS), math.sqrt(RESAMPLED_ROWS / rows)
    drawn = (generator.integers(0, rows, RESAMPLED_ROWS) for _ in range(samples))
    measured = (measure_of(found.at(places))(ones) for places in drawn)
    return [
        {name: value + scale * (each[name] - value) for name, value in values.items()} for each in measured
    ]


def interval(
    drawn: Sequence[Mapping[str, float]], confidence: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Lower and upper end of each metric's interval; a resample in which it is undefined does not count."""
    tail = (1 - confidence) / 2
    low, high = {}, {}
    for metric in drawn[0]:
        values = np.array([values[metric] for values in drawn])
        defined = values[np.isfinite(values)]
        ends = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
        low[metric], high[metric] = map(float, ends)
    return low, high


def resampled_weights(generator: np.random.Generator, rows: int) -> np.ndarray:
    """How often each row is drawn in rows draws with replacement, shape (rows,)."""
    return np.bincount(generator.integers(0, rows, rows), minlength=rows).astype(np.float64)


def drawn_rows(rows: int, limit: int, seed: int) -> np.ndarray:
    """Places of at most limit of the rows, in order."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def trivial_predictions(
    problem: str, train_label: np.ndarray, classes: int, label: np.ndarray
) -> Predictions:
    """What a model without features says: class shares and commonest class of training, or its mean."""
    rows = len(label)
    if problem == "regression":
        mean = np.full(rows, train_label.mean())
        return Predictions(label, mean, mean)
    shares = np.bincount(train_label.astype(np.int64), minlength=classes) / len(train_label)
    predicted = np.full(rows, int(shares.argmax()))
    if problem == "binary":
        return Predictions(label, np.full(rows, shares[1]), predicted)
    return Predictions(label, np.tile(shares, (rows, 1)), predicted)


def confusion_matrix(
    label: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray
) -> np.ndarray:
    """Weight of each (label, predicted) pair, shape (classes, classes), labels down."""
    places = label.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(places, weights, classes * classes).reshape(classes, classes)


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of scores in [0, 1], float32; NaN unless both classes are there.

    positive: bool. Counts the pairs of a positive and a negative row that are ranked right, a tie as half of
    one, by two vectorised sorts: half of what XGBoost's own takes, and the same to the last digits.
    """
    rows, hits = len(score), int(positive.sum())
    if hits in (0, rows) or not np.isfinite(score).all():
        return math.nan
    bits = score.view(np.uint32) << np.uint32(1)  # of numbers from 0 to 1 they are in the numbers' order
    after = np.flatnonzero(np.sort(bits | positive) & 1 == 1)  # positive rows after a tie's negative ones
    before = np.flatnonzero(np.sort(bits | ~positive) & 1 == 0)  # and before them
    pairs = int(after.sum()) + int(before.sum()) - hits * (hits - 1)
    return pairs / 2 / (hits * (rows - hits))


def best_f1_threshold(label: np.ndarray, score: np.ndarray) -> float:
    """Score from which a row should count as positive for the highest F1 on these rows.

    It lies half-way to the next lower score, so that rounding a score moves no row.
    Raises ValueError without positives.
    """
    if not (label == 1).any():
        raise ValueError(
            "max_f1 needs a positive label in the validation split, got none: set decision_threshold "
            "to a number (settings.toml, [train])"
        )
    order = np.argsort(-score)
    scores, ends = score[order].astype(np.float64), _group_ends(score[order])
    hits, taken = np.cumsum(label[order] == 1)[ends], ends + 1
    best = int(np.argmax(2 * hits / (taken + hits[-1])))
    last = best == len(ends) - 1
    return float(scores[ends[best]] if last else (scores[ends[best]] + scores[ends[best + 1]]) / 2)


def fit_diagnosis(
    problem: str, metric: str, splits: Mapping[str, Mapping[str, Mapping[str, float | None]]]
) -> dict[str, Any]:
    """How well the model fits, in the sense of bias and variance, told from one metric of the three splits.

    skill = share of the way from the trivial model to a perfect one (perfect is error 0 or score 1);
    bias = 1 - skill on the training rows, variance = skill on training minus skill on test rows.
    diagnosis: `overfit` if variance > OVERFIT_GAP, else `underfit` if the training skill is below
    UNDERFIT_SKILL, else `balanced`; `unknown` where the metric is not defined.
    """
    perfect = 1.0 if BETTER_HIGH[problem][metric] else 0.0
    skill = {name: _skill(splits[name][metric], perfect) for name in ("train", "validation", "test")}
    rule = (
        f"overfit: skill on train is more than {OVERFIT_GAP:g} above that on test; "
        f"underfit: skill on train is below {UNDERFIT_SKILL:g}; else balanced"
    )
    told = {"metric": metric, "rule": rule, "skill": skill}
    if skill["train"] is None or skill["test"] is None:
        return {"diagnosis": "unknown", "bias": None, "variance": None, **told}
    variance = skill["train"] - skill["test"]
    calm = "underfit" if skill["train"] < UNDERFIT_SKILL else "balanced"
    return {
        "diagnosis": "overfit" if variance > OVERFIT_GAP else calm,
        "bias": 1 - skill["train"],
        "variance": variance,
        **told,
    }


def _skill(numbers: Mapping[str, float | None], perfect: float) -> float | None:
    value, trivial = numbers["value"], numbers["trivial"]
    if value is None or trivial is None or trivial == perfect:
        return None
    return (value - trivial) / (perfect - trivial)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _binary(found: Predictions) -> Measure:
    label, score = found.label.astype(np.float64), found.score.astype(np.float64)
    ranked = _ranking(score, label)
    log_losses, squares = _log_losses(np.where(label == 1, score, 1 - score)), (score - label) ** 2

    def of_weights(weights: np.ndarray) -> dict[str, float]:
        (true_negative, false_positive), (false_negative, true_positive) = confusion_matrix(
            label, found.predicted, 2, weights
        )
        total = weights.sum()
        auc, pr_auc = ranked(weights)
        return {
            "auc": auc,
            "pr_auc": pr_auc,
            "logloss": weights @ log_losses / total,
            "brier": weights @ squares / total,
            "accuracy": (true_positive + true_negative) / total,
            "precision": _share(true_positive, true_positive + false_positive),
            "recall": _share(true_positive, true_positive + false_negative),
            "f1": _share(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        }

    return of_weights


def _multiclass(found: Predictions) -> Measure:
    """Averages are over the classes that occur as a label or a prediction, as in scikit-learn."""
    label, score = found.label.astype(np.int64), found.score.astype(np.float64)
    classes = score.shape[1]
    occurring = np.isin(np.arange(classes), np.concatenate([label, found.predicted]))
    ranked = [_ranking(score[:, place], (label == place).astype(np.float64)) for place in range(classes)]
    log_losses = _log_losses(score[np.arange(len(label)), label])

    def of_weights(weights: np.ndarray) -> dict[str, float]:
        matrix = confusion_matrix(label, found.predicted, classes, weights)[occurring][:, occurring]
        hits, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        averaged = {
            "precision": _shares(hits, predicted),
            "recall": _shares(hits, labelled),
            "f1": _shares(2 * hits, predicted + labelled),
        }
        return {
            "logloss": weights @ log_losses / weights.sum(),
            "auc": float(np.mean([of_class(weights)[0] for of_class in ranked])),
            "accuracy": hits.sum() / weights.sum(),
            **{f"{name}_macro": float(shares.mean()) for name, shares in averaged.items()},
            **{f"{name}_weighted": shares @ labelled / labelled.sum() for name, shares in averaged.items()},
        }

    return of_weights


def _regression(found: Predictions) -> Measure:
    label = found.label.astype(np.float64)
    errors = label - found.score.astype(np.float64)

    def of_weights(weights: np.ndarray) -> dict[str, float]:
        total = weights.sum()
        squared = weights @ errors**2
        spread = weights @ (label - weights @ label / total) ** 2
        return {
            "rmse": float(np.sqrt(squared / total)),
            "mae": weights @ np.abs(errors) / total,
            "r2": 1 - squared / spread if spread > 0 else np.nan,
        }

    return of_weights


def _ranking(score: np.ndarray, positive: np.ndarray) -> Callable[[np.ndarray], tuple[float, float]]:
    """AUC and average precision (PR-AUC) by row weights; both NaN unless both classes have weight."""
    order = np.argsort(-score)
    ends, hit = _group_ends(score[order]), positive[order]

    def of_weights(weights: np.ndarray) -> tuple[float, float]:
        sorted_weights = weights[order]
        true = np.cumsum(sorted_weights * hit)[ends]
        taken = np.cumsum(sorted_weights)[ends]
        false = taken - true
        if true[-1] == 0 or false[-1] == 0:
            return np.nan, np.nan
        new_true, new_false = np.diff(true, prepend=0), np.diff(false, prepend=0)
        area = (new_false * (true - new_true / 2)).sum() / (true[-1] * false[-1])
        precision = true / np.maximum(taken, np.finfo(float).tiny)
        return float(area), float((precision * new_true).sum() / true[-1])

    return of_weights


def _group_ends(sorted_scores: np.ndarray) -> np.ndarray:
    """Place of the last row of each run of equal scores: tied rows are taken together."""
    return np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True))


def _log_losses(probability: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(probability, SMALLEST_PROBABILITY, 1))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
