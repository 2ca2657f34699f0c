"""Names of the metrics, for what must know them before anything heavy is loaded."""

from __future__ import annotations

# Metric -> whether more is better, by problem; the first is the primary one unless settings name another.
BETTER_HIGH: dict[str, dict[str, bool]] = {
    "binary": {
        "auc": True,
        "pr_auc": True,
        "logloss": False,
        "brier": False,
        "accuracy": True,
        "precision": True,
        "recall": True,
        "f1": True,
    },
    "multiclass": {
        "logloss": False,
        "auc": True,
        "accuracy": True,
        "precision_macro": True,
        "recall_macro": True,
        "f1_macro": True,
        "precision_weighted": True,
        "recall_weighted": True,
        "f1_weighted": True,
    },
    "regression": {"rmse": False, "mae": False, "r2": True},
}
# SageMaker Clarify's, before and after training.
PRE_TRAINING_BIAS = ("CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD")
POST_TRAINING_BIAS = ("AD", "CDDPL", "DAR", "DCA", "DCR", "DI", "DPPL", "DRR", "FT", "GE", "RD", "SD", "TE")
