"""What the pipeline is held against: `python tests/benchmarks/plain.py FILE.csv`.

One process, pandas, scikit-learn and XGBoost, as one would write it without a pipeline: reads, splits,
imputes, scales and encodes, trains with early stopping, evaluates. It lets go of what it no longer needs.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, RobustScaler
from xgboost import XGBClassifier

SEED = 42
METRICS_OF_SCORES = (roc_auc_score, average_precision_score, log_loss, brier_score_loss)
METRICS_OF_LABELS = (accuracy_score, precision_score, recall_score, f1_score, confusion_matrix)


def main(path: str) -> None:
    clock, seconds = time.perf_counter(), {}

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[name], clock = round(now - clock, 2), now

    frame = pd.read_csv(path)
    lap("read")
    label, features = (frame.pop("label") == "yes").astype(int), frame.drop(columns="id")
    del frame
    rest, test, rest_label, test_label = train_test_split(
        features, label, test_size=0.2, stratify=label, random_state=SEED
    )
    del features
    train, validation, train_label, validation_label = train_test_split(
        rest, rest_label, test_size=0.2, stratify=rest_label, random_state=SEED
    )
    del rest
    lap("split")
    numbers = train.select_dtypes("number").columns
    words = train.columns.difference(numbers)
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), RobustScaler()), numbers),
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
            words,
        ),
    )
    train, validation = encoder.fit_transform(train), encoder.transform(validation)
    lap("encode")
    model = XGBClassifier(
        n_estimators=300,
        learning_rate=0.1,
        max_depth=6,
        subsample=0.9,
        colsample_bytree=0.9,
        early_stopping_rounds=30,
        eval_metric="auc",
        random_state=SEED,
    )
    model.fit(train, train_label, eval_set=[(validation, validation_label)], verbose=False)
    lap("train")
    scores = model.predict_proba(encoder.transform(test))[:, 1]
    found = {metric.__name__: float(metric(test_label, scores)) for metric in METRICS_OF_SCORES}
    found |= {
        metric.__name__: metric(test_label, scores >= 0.5).tolist()
        if metric is confusion_matrix
        else float(metric(test_label, scores >= 0.5))
        for metric in METRICS_OF_LABELS
    }
    lap("evaluate")
    print(json.dumps({"rounds": model.best_iteration + 1, "metrics": found, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
