"""SageMaker Clarify's 8 pre-training and 13 post-training bias metrics, with the container's conventions.

Everywhere: label, predicted, facet are boolean arrays of shape (n,), True for a positive outcome and for the
disadvantaged group d; the rest of the rows is the advantaged group a. q is a share of positive outcomes.
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


@dataclass(frozen=True)
class Sample:
    """Test rows as the metrics of one facet group see them. group: None, or sortable values, shape (n,)."""

    label: np.ndarray
    predicted: np.ndarray
    facet: np.ndarray
    group: np.ndarray | None
    features: np.ndarray


def ci(facet: np.ndarray) -> float:
    """Class imbalance (n_a - n_d) / n, in [-1, 1]; 0 is equal sizes."""
    _require_both_groups(facet)
    return float((~facet).sum() - facet.sum()) / len(facet)


def dpl(outcome: np.ndarray, facet: np.ndarray) -> float:
    """Difference q_a - q_d of positive shares, in [-1, 1]: DPL of labels, DPPL of predictions."""
    _require_both_groups(facet)
    return float(outcome[~facet].mean() - outcome[facet].mean())


def kl(label: np.ndarray, facet: np.ndarray) -> float:
    """Kullback-Leibler divergence of the label distributions, sum of P_a ln(P_a / P_d), in nats.

    As in the container, a label that one group lacks is left out, so that the sum can be negative.
    """
    shares_a, shares_d = _label_shares(label, facet)
    return float((shares_a * np.log(shares_a / shares_d)).sum())


def js(label: np.ndarray, facet: np.ndarray) -> float:
    """Jensen-Shannon divergence of the label distributions, in [0, ln 2]; labels as in `kl`."""
    shares_a, shares_d = _label_shares(label, facet)
    middle = (shares_a + shares_d) / 2
    parts = shares_a * np.log(shares_a / middle), shares_d * np.log(shares_d / middle)
    return float(0.5 * (parts[0].sum() + parts[1].sum()))


def lp(label: np.ndarray, facet: np.ndarray) -> float:
    """Euclidean distance of the label distributions, in [0, sqrt 2]; labels as in `kl`."""
    return _distance(label, facet, 2)


def tvd(label: np.ndarray, facet: np.ndarray) -> float:
    """Total variation distance, half the L1 distance, in [0, 1]; labels as in `kl`."""
    return 0.5 * _distance(label, facet, 1)


def ks(label: np.ndarray, facet: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance, the largest difference of shares, in [0, 1]; labels as in `kl`."""
    return _distance(label, facet, np.inf)


def cdd(outcome: np.ndarray, facet: np.ndarray, group: np.ndarray | None) -> float:
    """Conditional demographic disparity, in [-1, 1]: CDDL of labels, CDDPL of predictions.

    In each subgroup: share of d among the negative outcomes minus among the positive; mean over rows.
    """
    if group is None:
        raise ValueError("Group variable is empty or not provided")
    if not outcome.any() or outcome.all():
        raise ValueError(f"No {'negative' if outcome.any() else 'positive'} labels in set")
    places, sizes = np.unique(group, return_inverse=True, return_counts=True)[1:]

    def share_of_d(rows: np.ndarray) -> np.ndarray:
        of_d = np.bincount(places[rows & facet], minlength=len(sizes))
        of_all = np.bincount(places[rows], minlength=len(sizes))
        return np.divide(of_d, of_all, out=np.zeros(len(sizes)), where=of_all > 0)

    return float((sizes * (share_of_d(~outcome) - share_of_d(outcome))).sum() / sizes.sum())


def di(predicted: np.ndarray, facet: np.ndarray) -> float:
    """Disparate impact q'_d / q'_a, in [0, inf); 1 is parity, below 0.8 fails the four-fifths rule."""
    _require_both_groups(facet)
    return ratio(predicted[facet].mean(), predicted[~facet].mean())


def dca(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Difference in conditional acceptance, n_a(1) / n'_a(1) - n_d(1) / n'_d(1)."""
    _require_both_groups(facet)
    return _difference(_over(label, predicted, ~facet), _over(label, predicted, facet))


def dcr(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Difference in conditional rejection, n_d(0) / n'_d(0) - n_a(0) / n'_a(0)."""
    _require_both_groups(facet)
    return _difference(_over(~label, ~predicted, facet), _over(~label, ~predicted, ~facet))


def rd(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Recall difference, a minus d, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(predicted, label & ~facet) - _hit_share(predicted, label & facet)


def sd(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Specificity difference, d minus a, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(~predicted, ~label & facet) - _hit_share(~predicted, ~label & ~facet)


def dar(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Difference in acceptance rates: precision of a minus that of d, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(label, predicted & ~facet) - _hit_share(label, predicted & facet)


def drr(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Difference in rejection rates: negative predictive value of d minus that of a, in [-1, 1]."""
    _require_both_groups(facet)
    return _hit_share(~label, ~predicted & facet) - _hit_share(~label, ~predicted & ~facet)


def ad(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Accuracy difference, a minus d, in [-1, 1]."""
    _require_both_groups(facet)
    right = label == predicted
    return float(right[~facet].mean() - right[facet].mean())


def te(label: np.ndarray, predicted: np.ndarray, facet: np.ndarray) -> float:
    """Treatment equality: false negatives per false positive, d minus a, in (-inf, inf)."""
    _require_both_groups(facet)
    ratios = (_over(label & ~predicted, ~label & predicted, rows) for rows in (facet, ~facet))
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


def ge(label: np.ndarray, predicted: np.ndarray) -> float:
    """Generalized entropy index (alpha = 2) of the benefits predicted - label + 1, in [0, inf), over all."""
    benefit = predicted.astype(float) - label + 1
    if not benefit.any():
        raise ValueError(
            "All predicted labels are false negatives. There should be at least one prediction that is not "
            "false negative."
        )
    return float(((benefit / benefit.mean()) ** 2 - 1).sum() / (2 * len(benefit)))


Metric = tuple[str, Callable[[Sample], float]]
# Name in analysis.json -> Clarify's description and the metric, in the order of the report.
PRE_TRAINING: dict[str, Metric] = {
    "CDDL": (
        "Conditional Demographic Disparity in Labels (CDDL)",
        lambda s: cdd(s.label, s.facet, s.group),
    ),
    "CI": ("Class Imbalance (CI)", lambda s: ci(s.facet)),
    "DPL": ("Difference in Positive Proportions in Labels (DPL)", lambda s: dpl(s.label, s.facet)),
    "JS": ("Jensen-Shannon Divergence (JS)", lambda s: js(s.label, s.facet)),
    "KL": ("Kullback-Liebler Divergence (KL)", lambda s: kl(s.label, s.facet)),
    "KS": ("Kolmogorov-Smirnov Distance (KS)", lambda s: ks(s.label, s.facet)),
    "LP": ("L-p Norm (LP)", lambda s: lp(s.label, s.facet)),
    "TVD": ("Total Variation Distance (TVD)", lambda s: tvd(s.label, s.facet)),
}
POST_TRAINING: dict[str, Metric] = {
    "AD": ("Accuracy Difference (AD)", lambda s: ad(s.label, s.predicted, s.facet)),
    "CDDPL": (
        "Conditional Demographic Disparity in Predicted Labels (CDDPL)",
        lambda s: cdd(s.predicted, s.facet, s.group),
    ),
    "DAR": ("Difference in Acceptance Rates (DAR)", lambda s: dar(s.label, s.predicted, s.facet)),
    "DCA": ("Difference in Conditional Acceptance (DCA)", lambda s: dca(s.label, s.predicted, s.facet)),
    "DCR": ("Difference in Conditional Rejection (DCR)", lambda s: dcr(s.label, s.predicted, s.facet)),
    "DI": ("Disparate Impact (DI)", lambda s: di(s.predicted, s.facet)),
    "DPPL": (
        "Difference in Positive Proportions in Predicted Labels (DPPL)",
        lambda s: dpl(s.predicted, s.facet),
    ),
    "DRR": ("Difference in Rejection Rates (DRR)", lambda s: drr(s.label, s.predicted, s.facet)),
    "FT": ("Flip Test (FT)", lambda s: ft(s.features, s.predicted, s.facet)),
    "GE": ("Generalized Entropy (GE)", lambda s: ge(s.label, s.predicted)),
    "RD": ("Recall Difference (RD)", lambda s: rd(s.label, s.predicted, s.facet)),
    "SD": ("Specificity Difference (SD)", lambda s: sd(s.label, s.predicted, s.facet)),
    "TE": ("Treatment Equality (TE)", lambda s: te(s.label, s.predicted, s.facet)),
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
    group = None if sample.group is None else sample.group[places]
    return Sample(
        sample.label[places], sample.predicted[places], sample.facet[places], group, sample.features[places]
    )


def _require_both_groups(facet: np.ndarray) -> None:
    if not facet.any() or facet.all():
        raise ValueError(f"{'Negated facet' if facet.any() else 'Facet'} set is empty")


def _label_shares(label: np.ndarray, facet: np.ndarray) -> np.ndarray:
    """Shares of the labels that both groups have, shape (2, labels): group a, group d."""
    _require_both_groups(facet)
    positive = np.array([label[~facet].mean(), label[facet].mean()])
    shares = np.stack([1 - positive, positive], axis=1)
    shares = shares[:, (shares > 0).all(axis=0)]
    if not shares.size:
        raise ValueError("No instance of common facet found, dataset may be too small")
    return shares


def _distance(label: np.ndarray, facet: np.ndarray, order: float) -> float:
    shares_a, shares_d = _label_shares(label, facet)
    return float(np.linalg.norm(shares_a - shares_d, order))


def _over(part: np.ndarray, whole: np.ndarray, rows: np.ndarray) -> float:
    return ratio((part & rows).sum(), (whole & rows).sum())


def _hit_share(hit: np.ndarray, rows: np.ndarray) -> float:
    return ratio((hit & rows).sum(), rows.sum())


def ratio(part: float, whole: float) -> float:
    if whole == 0:
        return math.inf if part else 0.0
    return float(part / whole)


def _difference(first: float, second: float) -> float:
    """first - second, 0 where both are infinite."""
    return 0.0 if first == second else first - second
