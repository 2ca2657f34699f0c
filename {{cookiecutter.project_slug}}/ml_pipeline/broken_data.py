"""Refuses training data that are broken by the baseline of the model that is approved now."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from ml_pipeline import approved, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.drift import broken
from ml_pipeline.drift.broken import Violation
from ml_pipeline.settings import Settings

TOLD = 3  # columns that a message names


def check(statistics: dict[str, Any], columns: list[str], uri: str, settings: Settings) -> None:
    """Raises DataError for data that the newest approved version was not trained on the like of.

    statistics: of the training split, as in statistics.json; columns: names of all that were read, so that
    one that settings now leave out is not missed.
    """
    package = approved.newest(settings.prefix)
    if package is None:
        return
    baseline = _baseline(package, settings)
    if baseline is None:
        return
    names = [feature["name"] for feature in baseline["features"]]
    found = [*broken.missing(names, columns), *broken.violations(baseline, statistics)]
    if found:
        raise DataError(message(found, uri, package["ModelPackageVersion"], settings))


def message(found: list[Violation], uri: str, version: int, settings: Settings) -> str:
    """Columns and values, and the two ways out of it."""
    told = "; ".join(f"column {each['feature_name']}: {each['description']}" for each in found[:TOLD])
    more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
    end = "" if told.endswith("?") and not more else "."
    where = "" if settings.env == "local" else f" {settings.options}"
    return (
        f"{uri}: these data look broken beside those of the approved {settings.prefix} version {version}: "
        f"{told}{more}{end} Mend the data; or, if they are meant to be so from now on, reject that version "
        f"and start again: python -m ml_pipeline reject {version}{where}"
    )


def _baseline(package: dict[str, Any], settings: Settings) -> dict[str, Any] | None:
    """statistics.json of the version; None, and said so, for one that has none."""
    quality = package.get("DriftCheckBaselines", {}).get("ModelDataQuality", {})
    uri = quality.get("Statistics", {}).get("S3Uri")
    version = f"{settings.prefix} version {package['ModelPackageVersion']}"
    if uri is None:
        print(f"Process: {version} has no statistics of its data to compare these with", flush=True)
        return None
    try:
        return storage.read_json(uri)
    except ClientError as error:
        if error.response["Error"]["Code"] not in approved.ABSENT:
            raise
        print(f"Process: {version} has lost {uri}: these data are not compared with its own", flush=True)
        return None
