"""An in-process S3 bucket, and settings that do not depend on settings.toml, which is yours to edit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from moto import mock_aws

from ml_pipeline import admission, storage
from ml_pipeline.settings import (
    Bias,
    Compute,
    Data,
    Deploy,
    Evaluate,
    Gate,
    Monitor,
    Network,
    Project,
    Schedule,
    Settings,
    Split,
    Train,
    Transform,
    Triggers,
    Tune,
)

# Read when OpenMP is loaded: else its threads spin, and on a busy machine training takes ten times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ACCOUNT = "123456789012"
REGION = "eu-west-1"
MACHINE = "ml.m5.large"

SETTINGS = Settings(
    env="local",
    account=ACCOUNT,
    project=Project(slug="loans", region=REGION),
    data=Data(
        file="data/sample.csv",
        target="approved",
        problem="binary",
        positive="yes",
        facets=(),
        facet_values={},
        facets_as_features=False,
        group="",
        ids=(),
        exclude=(),
        missing=("", "?"),
        kinds={},
        delimiter="",
        decimal=".",
        columns=(),
    ),
    split=Split(method="random", key="", time="", validation_fraction=0.2, test_fraction=0.25, seed=7),
    tune=Tune(
        trials=2,
        parallel=1,
        strategy="Bayesian",
        early_stopping="Auto",
        objective="",
        ranges={"eta": (0.05, 0.3, "Logarithmic"), "max_depth": (2, 5, "Linear")},
        warm_start_parents=(),
        warm_start_type="IdenticalDataAndAlgorithm",
        instance_type=MACHINE,
        spot=True,
        max_runtime_seconds=3600,
        trial_max_runtime_seconds=600,
        trial_max_wait_seconds=1200,
        seed=7,
    ),
    train=Train(
        hyperparameters={"num_round": 20, "eta": 0.3, "max_depth": 3},
        instance_type=MACHINE,
        early_stopping_rounds=5,
        checkpoint_rounds=5,
        curve_rows=100_000,
        class_weight="none",
        decision_threshold=0.5,
        device="cpu",
        threads=1,
        spot=True,
        max_runtime_seconds=600,
        max_wait_seconds=1200,
        seed=7,
    ),
    transform=Transform(instance_type=MACHINE, instance_count=1, max_payload_mb=6, max_concurrent=2),
    evaluate=Evaluate(bootstrap_samples=50, confidence=0.95, attribution_rows=200, train_rows=100_000),
    bias=Bias(engine="in_step", ft_rows=500, label_threshold="median", seed=7),
    gate=Gate(metric="", threshold="trivial", champion_tolerance=0.01, bias={}),
    compute=Compute(instance_type=MACHINE, volume_gb=10, max_runtime_seconds=600),
    deploy=Deploy(account="", promotion="copy", parameters={}),
    network=Network(vpc_only=False),
    schedule=Schedule(train="", score="", timezone="UTC", flexible_minutes=0),
    triggers=Triggers(cool_down_hours=24.0, email=""),
    monitor=Monitor(
        false_alarm_rate=0.01,
        smallest_shift=0.02,
        categorical_method="ChiSquared",
        feature_metrics=False,
        thresholds={},
    ),
    tags={},
    secrets={},
)


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """Factory: `settings(data={"target": "y"}, split={...})` are SETTINGS with single values replaced."""

    def build(**sections: dict[str, Any]) -> Settings:
        changed = {
            name: dataclasses.replace(getattr(SETTINGS, name), **values) for name, values in sections.items()
        }
        return dataclasses.replace(SETTINGS, **changed)

    return build


@pytest.fixture(scope="session", autouse=True)
def service_models() -> Iterator[None]:
    """AWS's service models, read once: each test has a session of its own, which would read them again."""
    shared = botocore.loaders.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda search_path=None: shared)
        yield


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an empty S3 bucket, the settings' own, that lives in this process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        where = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket=SETTINGS.bucket, CreateBucketConfiguration=where)
        yield SETTINGS.bucket


@pytest.fixture
def scored(
    bucket: str, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`scored(objects)` is the entry of a period with these objects, and what Transform's input is then."""
    import selected  # here, because most tests do without what it loads

    monkeypatch.setattr(admission, "admit", lambda *arguments: selected.NOW)
    return partial(selected.prepared, settings)


@pytest.fixture(scope="session")
def trained() -> dict[str, dict[str, bytes]]:
    """What training left in the bucket, so that each model is made once."""
    return {}


@pytest.fixture
def world(
    bucket: str, settings: Callable[..., Settings], tmp_path: Path, trained: dict[str, dict[str, bytes]]
) -> Callable[..., Any]:
    """`world("binary", data={...})`: a trained model; sections are those of `settings`."""
    import monitored  # here, because most tests do without xgboost and scikit-learn

    def make(problem: str = "binary", **sections: dict[str, Any]) -> Any:
        data = {"problem": problem, "positive": {"binary": "yes", "multiclass": "top"}.get(problem, "")}
        sections["data"] = monitored.DATA | data | sections.get("data", {})
        made = settings(**sections)
        known = repr((problem, sections["data"]))
        if known not in trained:
            monitored.make(made, tmp_path / "checkpoints")
            uris = (uri for uri, _ in storage.list_uris(made.uri(monitored.TRAINED)))
            trained[known] = {uri: storage.read_bytes(uri) for uri in uris}
        for uri, content in trained[known].items():
            storage.write_bytes(uri, content)
        return monitored.World(made, monitored.package(made))

    return make
