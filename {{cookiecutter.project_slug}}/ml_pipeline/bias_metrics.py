"""SageMaker Clarify's 8 pre-training and 13 post-training bias metrics, with the container's conventions.

Everywhere: label, predicted, facet are boolean arrays of shape (n,), True for a positive outcome and for the
disadvantaged group d; the rest of the rows is the advantaged group a. q is a share of positive outcomes.
counts: how many rows each stands for, whole numbers above 0, shape (n,); None = one.
A metric that is not defined raises ValueError; x/0 is infinite, 0/0 is 0.
Source: SageMaker developer guide, "Measure Pre-training Bias", "Measure Post-training Data and Model Bias".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FT_NEIGHBOURS = 5  # of the container; one where group a has fewer than FT_FEW_ROWS rows
FT_FEW_ROWS = 10


Counts = np.ndarray | None


@dataclass(frozen=True)
class Sample:
    """Rows as the metrics of one facet group see them. group: None, or sortable values, shape (n,)."""

    label: np.ndarray
    predicted: np.ndarray
    facet: np.ndarray
    group: np.ndarray | None
    features: np.ndarray
    counts: Counts = None


def ci(facet: np.ndarray, counts: Counts = None) -> float:
    """Class imbalance (n_a - n_d) / n, in [-1, 1]; 0 is equal sizes."""
    _require_both_groups(facet)
    of_a, of_d = _rows(~facet, counts), _rows(facet, counts)
    return float(of_a - of_d) / (of_a + of_d)


def dpl(outcome: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Difference q_a - q_d of positive shares, in [-1, 1]: DPL of labels, DPPL of predictions."""
    _require_both_groups(facet)
    return _hit_share(outcome, ~facet, counts) - _hit_share(outcome, facet, counts)


def kl(label: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Kullback-Leibler divergence of the label distributions, sum of P_a ln(P_a / P_d), in nats.

    As in the container, a label that one group lacks is left out, so that the sum can be negative.
    """
    shares_a, shares_d = _label_shares(label, facet, counts)
    return float((shares_a * np.log(shares_a / shares_d)).sum())


def js(label: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Jensen-Shannon divergence of the label distributions, in [0, ln 2]; labels as in `kl`."""
    shares_a, shares_d = _label_shares(label, facet, counts)
    middle = (shares_a + shares_d) / 2
    parts = shares_a * np.log(shares_a / middle), shares_d * np.log(shares_d / middle)
    return float(0.5 * (parts[0].sum() + parts[1].sum()))


def lp(label: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Euclidean distance of the label distributions, in [0, sqrt 2]; labels as in `kl`."""
    return _distance(label, facet, 2, counts)


def tvd(label: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Total variation distance, half the L1 distance, in [0, 1]; labels as in `kl`."""
    return 0.5 * _distance(label, facet, 1, counts)


def ks(label: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Kolmogorov-Smirnov distance, the largest difference of shares, in [0, 1]; labels as in `kl`."""
    return _distance(label, facet, np.inf, counts)


def cdd(outcome: np.ndarray, facet: np.ndarray, group: np.ndarray | None, counts: Counts = None) -> float:
    """Conditional demographic disparity, in [-1, 1]: CDDL of labels, CDDPL of predictions.

    In each subgroup: share of d among the negative outcomes minus among the positive; mean over rows.
    """
    if group is None:
        raise ValueError("Group variable is empty or not provided")
    if not outcome.any() or outcome.all():
        raise ValueError(f"No {'negative' if outcome.any() else 'positive'} labels in set")
    groups, places = np.unique(group, return_inverse=True)

    def sizes_of(rows: np.ndarray) -> np.ndarray:
        return np.bincount(places[rows], None if counts is None else counts[rows], len(groups))

    sizes = sizes_of(np.ones(len(places), bool))

    def share_of_d(rows: np.ndarray) -> np.ndarray:
        of_d, of_all = sizes_of(rows & facet), sizes_of(rows)
        return np.divide(of_d, of_all, out=np.zeros(len(sizes)), where=of_all > 0)

    return float((sizes * (share_of_d(~outcome) - share_of_d(outcome))).sum() / sizes.sum())


def di(predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Disparate impact q'_d / q'_a, in [0, inf); 1 is parity, below 0.8 fails the four-fifths rule."""
    _require_both_groups(facet)
    return ratio(_hit_share(predicted, facet, counts), _hit_share(predicted, ~facet, counts))


def dca(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Difference in conditional acceptance, n_a(1) / n'_a(1) - n_d(1) / n'_d(1)."""
    _require_both_groups(facet)
    return _difference(_over(label, predicted, ~facet, counts), _over(label, predicted, facet, counts))


def dcr(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Difference in conditional rejection, n_d(0) / n'_d(0) - n_a(0) / n'_a(0)."""
    _require_both_groups(facet)
    return _difference(_over(~label, ~predicted, facet, counts), _over(~label, ~predicted, ~facet, counts))


def rd(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Recall difference, a minus d, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(predicted, label & ~facet, counts) - _hit_share(predicted, label & facet, counts)


def sd(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Specificity difference, d minus a, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(~predicted, ~label & facet, counts) - _hit_share(~predicted, ~label & ~facet, counts)


def dar(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Difference in acceptance rates: precision of a minus that of d, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(label, predicted & ~facet, counts) - _hit_share(label, predicted & facet, counts)


def drr(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Difference in rejection rates: negative predictive value of d minus that of a, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(~label, ~predicted & facet, counts) - _hit_share(~label, ~predicted & ~facet, counts)


def ad(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Accuracy difference, a minus d, in [-1, 1]."""
    _require_both_groups(facet)
    right = label == predicted
    return _hit_share(right, ~facet, counts) - _hit_share(right, facet, counts)


def te(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray, counts: Counts = None) -> float:
    """Treatment equality: false negatives per false positive, d minus a, in (-inf, inf)."""
    _require_both_groups(facet)
    ratios = (_over(label & ~predicted, ~label & predicted, rows, counts) for rows in (facet, ~facet))
    return _difference(*ratios)


def ft(features: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Flip test, in [-1, 1]: (rows of d that lose a positive outcome - rows that gain one) / n_d.

    Lose and gain: decided as for the nearest neighbours in group a. features: shape (n, columns), no NaN.
    This is the container's sign, the opposite of the developer guide's.
    """
    from sklearn.neighbors import KNeighborsClassifier  # here, because the command line would wait for it

    _require_both_groups(facet)
    few = (~facet).sum() < FT_FEW_ROWS
    neighbours = KNeighborsClassifier(n_neighbors=1 if few else FT_NEIGHBOURS)
    neighbours.fit(features[~facet], predicted[~facet])
    of_a, own = neighbours.predict(features[facet]), predicted[facet]
    return float((own & ~of_a).sum() - (~own & of_a).sum()) / len(own)


def ge(label: np.ndarray, predicted: np.ndarray, counts: Counts = None) -> float:
    """Generalized entropy index (alpha = 2) of the benefits predicted - label + 1, in [0, inf), over all."""
    benefit = predicted.astype(float) - label + 1
    if not benefit.any():
        raise ValueError(
            "All predicted labels are false negatives. There should be at least one prediction that is not "
            "false negative."
        )
    return float(np.average((benefit / np.average(benefit, weights=counts)) ** 2 - 1, weights=counts) / 2)


Metric = tuple[str, Callable[[Sample], float]]
# Name in analysis.json -> Clarify's description and the metric, in the order of the report.
PRE_TRAINING: dict[str, Metric] = {
    "CDDL": (
        "Conditional Demographic Disparity in Labels (CDDL)",
        lambda s: cdd(s.label, s.facet, s.group, s.counts),
    ),
    "CI": ("Class Imbalance (CI)", lambda s: ci(s.facet, s.counts)),
    "DPL": ("Difference in Positive Proportions in Labels (DPL)", lambda s: dpl(s.label, s.facet, s.counts)),
    "JS": ("Jensen-Shannon Divergence (JS)", lambda s: js(s.label, s.facet, s.counts)),
    "KL": ("Kullback-Liebler Divergence (KL)", lambda s: kl(s.label, s.facet, s.counts)),
    "KS": ("Kolmogorov-Smirnov Distance (KS)", lambda s: ks(s.label, s.facet, s.counts)),
    "LP": ("L-p Norm (LP)", lambda s: lp(s.label, s.facet, s.counts)),
    "TVD": ("Total Variation Distance (TVD)", lambda s: tvd(s.label, s.facet, s.counts)),
}
POST_TRAINING: dict[str, Metric] = {
    "AD": ("Accuracy Difference (AD)", lambda s: ad(s.label, s.predicted, s.facet, s.counts)),
    "CDDPL": (
        "Conditional Demographic Disparity in Predicted Labels (CDDPL)",
        lambda s: cdd(s.predicted, s.facet, s.group, s.counts),
    ),
    "DAR": ("Difference in Acceptance Rates (DAR)", lambda s: dar(s.label, s.predicted, s.facet, s.counts)),
    "DCA": (
        "Difference in Conditional Acceptance (DCA)",
        lambda s: dca(s.label, s.predicted, s.facet, s.counts),
    ),
    "DCR": (
        "Difference in Conditional Rejection (DCR)",
        lambda s: dcr(s.label, s.predicted, s.facet, s.counts),
    ),
    "DI": ("Disparate Impact (DI)", lambda s: di(s.predicted, s.facet, s.counts)),
    "DPPL": (
        "Difference in Positive Proportions in Predicted Labels (DPPL)",
        lambda s: dpl(s.predicted, s.facet, s.counts),
    ),
    "DRR": ("Difference in Rejection Rates (DRR)", lambda s: drr(s.label, s.predicted, s.facet, s.counts)),
    "FT": ("Flip Test (FT)", lambda s: ft(s.features, s.predicted, s.facet)),
    "GE": ("Generalized Entropy (GE)", lambda s: ge(s.label, s.predicted, s.counts)),
    "RD": ("Recall Difference (RD)", lambda s: rd(s.label, s.predicted, s.facet, s.counts)),
    "SD": ("Specificity Difference (SD)", lambda s: sd(s.label, s.predicted, s.facet, s.counts)),
    "TE": ("Treatment Equality (TE)", lambda s: te(s.label, s.predicted, s.facet, s.counts)),
}
STAGES = {"pre_training_bias_metrics": PRE_TRAINING, "post_training_bias_metrics": POST_TRAINING}
# {stage: [{"value_or_threshold": the disadvantaged values, "metrics": entries}]}, as in analysis.json.
Groups = dict[str, list[dict[str, Any]]]


def measured(metrics: dict[str, Metric], sample: Sample, ft_rows: np.ndarray) -> list[dict[str, Any]]:
    """Entries of analysis.json: name, description, value, and error where the value is null.

    ft_rows: places of the rows that FT looks at, which is quadratic.
    """
    return [
        entry(name, metrics[name], sample if name != "FT" else rows_of(sample, ft_rows)) for name in metrics
    ]


def entry(name: str, metric: Metric, sample: Sample) -> dict[str, Any]:
    """One metric's entry; an infinite value is the text `Infinity`, as Clarify writes it."""
    description, function = metric
    head = {"name": name, "description": description}
    try:
        value = function(sample)
    except ValueError as error:
        return {**head, "value": None, "error": str(error)}
    if math.isinf(value):
        return {**head, "value": "Infinity" if value > 0 else "-Infinity"}
    return {**head, "value": value}


def rows_of(sample: Sample, places: np.ndarray) -> Sample:
    """The sample of these rows alone."""
    return Sample(*(None if rows is None else rows[places] for rows in vars(sample).values()))


def _require_both_groups(facet: np.ndarray) -> None:
    if not facet.any() or facet.all():
        raise ValueError(f"{'Negated facet' if facet.any() else 'Facet'} set is empty")


def _label_shares(label: np.ndarray, facet: np.ndarray, counts: Counts) -> np.ndarray:
    """Shares of the labels that both groups have, shape (2, labels): group a, group d."""
    _require_both_groups(facet)
    positive = np.array([_hit_share(label, rows, counts) for rows in (~facet, facet)])
    shares = np.stack([1 - positive, positive], axis=1)
    shares = shares[:, (shares > 0).all(axis=0)]
    if not shares.size:
        raise ValueError("No instance of common facet found, dataset may be too small")
    return shares


def _distance(label: np.ndarray, facet: np.ndarray, order: float, counts: Counts) -> float:
    shares_a, shares_d = _label_shares(label, facet, counts)
    return float(np.linalg.norm(shares_a - shares_d, order))


def _over(part: np.ndarray, whole: np.ndarray, rows: np.ndarray, counts: Counts) -> float:
    return ratio(_rows(part & rows, counts), _rows(whole & rows, counts))


def _hit_share(hit: np.ndarray, rows: np.ndarray, counts: Counts) -> float:
    return ratio(_rows(hit & rows, counts), _rows(rows, counts))


def _rows(chosen: np.ndarray, counts: Counts) -> int:
    return int(np.count_nonzero(chosen) if counts is None else counts[chosen].sum())


def ratio(part: float, whole: float) -> float:
    if whole == 0:
        return math.inf if part else 0.0
    return float(part / whole)


def _difference(first: float, second: float) -> float:
    """first - second, 0 where both are infinite."""
    return 0.0 if first == second else first - second
