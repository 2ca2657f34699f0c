"""What a report says of a bias metric: a sentence for every value, and who is worse off."""

from __future__ import annotations

import pytest

from ml_pipeline import bias_metrics
from ml_pipeline.report import bias

# A metric's value where group d is worse off, and what has to be said of it.
WORSE = {
    "CDDL": (
        0.1,
        "Within the subgroups, g makes up 10.0 percentage points more of those labelled other than",
    ),
    "CI": (0.5, "25.0\xa0% of the rows have g"),
    "DPL": (0.1, "10.0 percentage points less frequent for g"),
    "AD": (0.1, "right 10.0 percentage points less often for g"),
    "CDDPL": (0.1, "10.0 percentage points more of those predicted other than"),
    "DAR": (-0.1, "10.0 percentage points more are truly so for g"),
    "DCA": (-0.1, "g has 0.1000 more such labels than the rest: the model grants it more sparingly to g"),
    "DCR": (-0.1, "g has 0.1000 fewer such labels than the rest: the model refuses g more readily"),
    "DI": (0.5, "0.5000 times as often as the rest; below 0.8 fails the four-fifths rule"),
    "DPPL": (0.1, "predicted 10.0 percentage points less often for g"),
    "DRR": (-0.1, "10.0 percentage points fewer are rightly so for g"),
    "FT": (-0.1, "10.0\xa0% of g would on balance gain"),
    "RD": (0.1, "10.0 percentage points fewer are found for g"),
    "SD": (0.1, "10.0 percentage points more are recognised for g"),
    "TE": (0.1, "g has 0.1000 more false negatives"),
}


@pytest.mark.parametrize("metric", WORSE)
def test_a_bias_sentence_names_the_direction(metric):
    value, wanted = WORSE[metric]
    assert wanted in bias.sentence(metric, value, "g", "yes")
    mirrored = 1 / value if metric == "DI" else -value
    assert wanted not in bias.sentence(metric, mirrored, "g", "yes")


@pytest.mark.parametrize("metric", [*bias_metrics.PRE_TRAINING, *bias_metrics.POST_TRAINING])
@pytest.mark.parametrize("value", [0.0, 0.25, -0.25, float("inf")])
def test_every_bias_metric_has_a_sentence_for_every_value(metric, value):
    assert bias.sentence(metric, value, "{g}", "{yes}").endswith(".")
