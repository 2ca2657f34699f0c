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
