"""What a step was made of beside its data: settings, commit, image, library versions."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ml_pipeline.settings import Settings

# Distributions that decide what a step computes; of the two that bring XGBoost one is installed.
PACKAGES = ("sagemaker-core", "boto3", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost", "xgboost-cpu")


def lineage(settings: Settings) -> dict[str, Any]:
    """{commit, image_uri, versions: {name: version}, settings} of the process that calls it."""
    return {
        "commit": settings.commit,
        "image_uri": settings.image_uri,
        "versions": {"python": platform.python_version()} | _installed(),
        "settings": asdict(settings),
    }


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
