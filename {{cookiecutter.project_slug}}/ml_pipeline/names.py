"""Names that settings are checked against before anything heavy is loaded."""

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
# What the managed XGBoost 3.2-0 container takes and [train] does not decide elsewhere.
HYPERPARAMETERS = (
    *("num_round", "eta", "gamma", "max_depth", "min_child_weight", "max_delta_step", "subsample"),
    *("colsample_bytree", "colsample_bylevel", "colsample_bynode", "lambda", "alpha", "sketch_eps"),
    *("scale_pos_weight", "grow_policy", "max_leaves", "max_bin", "num_parallel_tree", "base_score"),
    *("monotone_constraints", "interaction_constraints", "tweedie_variance_power", "sampling_method"),
)
# Metrics of that container that tuning may look at -> whether more is better.
OBJECTIVE_METRICS = {
    **dict.fromkeys(("accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro"), True),
    **dict.fromkeys(("map", "ndcg", "precision", "precision_macro", "precision_micro", "r2"), True),
    **dict.fromkeys(("recall", "recall_macro", "recall_micro"), True),
    **dict.fromkeys(("error", "logloss", "mae", "mape", "merror", "mlogloss", "mphe", "mse"), False),
    **dict.fromkeys(("poisson-nloglik", "rmse", "rmsle", "gamma-nloglik", "tweedie-nloglik"), False),
}
# What the scoring pipeline measures of a column against its baseline, and of the ranking of attributions.
DRIFT_STATISTICS = ("psi", "ks", "chi_squared", "l_infinity", "missing", "unknown", "ndcg")
# Of a model's quality what an alarm may start a training for; each more would make all bounds wider.
QUALITY_DRIFT = {
    "binary": ("auc", "accuracy", "recall", "precision"),
    "multiclass": ("accuracy", "weighted_f1"),
    "regression": ("rmse", "mae", "r2"),
}
# Metrics that need no labels: they are measured when rows are scored, the others when their labels have come.
WITHOUT_LABELS = ("CI", "DPPL", "DI", "CDDPL")
# Differences of shares, whose spread is that of shares. The others are these in other words (KL, JS, LP, TVD
# and KS are DPL, DI is DPPL), have no spread to speak of (DCA, DCR and TE are ratios of counts), or are of
# single rows (FT, GE).
BIAS_DRIFT = ("CI", "DPL", "CDDL", "DPPL", "CDDPL", "AD", "RD", "SD", "DAR", "DRR")
