"""Bounds that chance seldom exceeds: of a share in two samples, of a normal number, of simulated ones."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

TAIL = 0.01  # of simulated values lie in the tail that is taken to fall off exponentially
FEWEST = 20  # values that the tail's slope is taken from


def normal(rate: float) -> float:
    """z that a standard normal number exceeds with this probability."""
    return NormalDist().inv_cdf(1 - rate)


def student(z: float, freedom: float) -> float:
    """What Student's t exceeds as seldom as a normal number exceeds z: few rows tell the spread.

    Source: Abramowitz and Stegun (1972), 26.7.5, its first two terms.
    """
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def simulated(values: np.ndarray, rate: float) -> float:
    """What values drawn like these exceed with this probability, which may be less than one in their number.

    Beyond the greatest TAIL of the values their distribution is taken to go on as an exponential one with the
    mean excess of that tail, which is more than a normal one's. Source: Pickands (1975), Statistical
    inference using extreme order statistics, with shape 0.
    """
    ordered = np.sort(values)
    tail = min(max(FEWEST, math.ceil(TAIL * len(ordered))), len(ordered) - 1)
    share = tail / len(ordered)
    if rate >= share:
        return float(np.quantile(ordered, 1 - rate))
    bound = ordered[-tail - 1]
    return float(bound + (ordered[-tail:] - bound).mean() * math.log(share / rate))


def share_above(count: float, rows: float, batch_rows: int, rate: float) -> float:
    """How far a batch's share may lie from the baseline's, either way; at most `rate` of batches lie further.

    count of rows in the baseline. The number in the batch is beta-binomial: above with Beta(count + 1,
    rows - count), below with Beta(count, rows - count + 1), the bounds of Clopper and Pearson (1934) carried
    over to a second sample, so that the rate holds for any share and size.
    """
    high = greatest(count + 1, max(rows - count, 0.0), batch_rows, rate / 2)
    low = batch_rows - greatest(rows - count + 1, count, batch_rows, rate / 2)
    share = count / rows
    return max(high / batch_rows - share, share - low / batch_rows)


def greatest(alpha: float, beta: float, rows: int, rate: float) -> int:
    """Least k that a beta-binomial number of `rows` trials exceeds with at most this probability."""
    if beta <= 0:
        return rows
    mean, total = alpha / (alpha + beta), alpha + beta
    spread = math.sqrt(rows * mean * (1 - mean) * (total + rows) / (total + 1))
    first = max(math.floor(rows * mean - 2 * spread), 0)
    last = min(math.ceil(rows * mean + 12 * spread + 60), rows)
    k = np.arange(first, last)
    steps = np.log((rows - k) * (alpha + k)) - np.log((k + 1) * (beta + rows - k - 1))
    logs = _log_probability(first, alpha, beta, rows) + np.append(0.0, np.cumsum(steps))
    above = np.cumsum(np.exp(logs)[::-1])[::-1]  # P(X >= k), but for what lies beyond the last
    exceeding = np.append(above[1:], 0.0)
    return first + int(np.argmax(exceeding <= rate))


def _log_probability(k: int, alpha: float, beta: float, rows: int) -> float:
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    chosen = math.lgamma(rows + 1) - math.lgamma(k + 1) - math.lgamma(rows - k + 1)
    return chosen + log_beta(k + alpha, rows - k + beta) - log_beta(alpha, beta)
