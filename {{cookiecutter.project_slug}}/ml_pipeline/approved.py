"""The newest approved version of the model package group: what it is made of, and that it still is."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import storage
from ml_pipeline.errors import CloudError
from ml_pipeline.features import FeatureSpec, SpecError
from ml_pipeline.settings import Settings

HASH = "model_sha256"  # of model.tar.gz, which Register keeps in the package's metadata
SPEC = "feature_spec.json"  # member of model.tar.gz
THRESHOLDS = "thresholds.json"  # beside the baselines of each step
ABSENT = ("404", "NoSuchKey")


class PackageError(CloudError):
    """A model package that cannot be used; the message names it, what is wrong and what to do."""


def newest(group: str) -> dict[str, Any] | None:
    """What DescribeModelPackage answers of the group's newest approved version; None without one."""
    client = boto3.client("sagemaker")
    query = {
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": 1,
    }
    try:
        found = client.list_model_packages(ModelPackageGroupName=group, **query)["ModelPackageSummaryList"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
            raise
        return None  # a group that does not exist yet
    return client.describe_model_package(ModelPackageName=found[0]["ModelPackageArn"]) if found else None


def container(package: dict[str, Any]) -> dict[str, Any]:
    """Image and ModelDataUrl of the version."""
    return package["InferenceSpecification"]["Containers"][0]


def to_approve(settings: Settings) -> str:
    """The sentence for a group without an approved version."""
    return (
        f"{settings.prefix} has no approved model that could score: train one, then "
        f"`python -m ml_pipeline approve VERSION{_where(settings)}`"
    )


def baselines(package: dict[str, Any], settings: Settings) -> dict[str, str | None]:
    """URIs of what later data are held against; bias is None for a version that was trained without facets.

    Raises PackageError for a version that has none.
    """
    given = package.get("DriftCheckBaselines", {})
    places = {
        "statistics": ("ModelDataQuality", "Statistics"),
        "constraints": ("ModelDataQuality", "Constraints"),
        "quality_statistics": ("ModelQuality", "Statistics"),
        "quality_constraints": ("ModelQuality", "Constraints"),
        "attributions": ("Explainability", "Constraints"),
        "bias": ("Bias", "PostTrainingConstraints"),
    }
    found = {name: given.get(of, {}).get(part, {}).get("S3Uri") for name, (of, part) in places.items()}
    lacking = [".".join(places[name]) for name, uri in found.items() if uri is None and name != "bias"]
    if lacking:
        raise _unusable(package, f"has no baseline {', '.join(lacking)} in DriftCheckBaselines", settings)
    return found


def thresholds(found: dict[str, str | None]) -> dict[str, str | None]:
    """URIs of the calibrated thresholds, which lie beside the baselines."""

    def beside(uri: str | None) -> str | None:
        return uri and f"{uri.rpartition('/')[0]}/{THRESHOLDS}"

    return {
        "process": beside(found["constraints"]),
        "evaluate": beside(found["quality_constraints"]),
        "bias": beside(found["bias"]),
    }


def spec(package: dict[str, Any], settings: Settings) -> FeatureSpec:
    """What the version's own model takes; its artifact is read, and is the one that was registered.

    Raises PackageError when it is gone, or has changed since.
    """
    uri = container(package)["ModelDataUrl"]
    registered = package.get("CustomerMetadataProperties", {}).get(HASH)
    if registered is None:
        raise _unusable(package, f"has no {HASH} in its metadata, so its model cannot be checked", settings)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.tar.gz")
        try:
            storage.download(uri, path)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ABSENT:
                raise
            raise _unusable(package, f"has lost its model: there is no {uri}", settings) from None
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != registered:
            problem = f"was registered with a model of SHA-256 {registered}, but {uri} has {digest}"
            raise _unusable(package, problem, settings)
        return _spec(path, package, settings)


def check_present(package: dict[str, Any], uris: list[str], settings: Settings) -> None:
    """Raises PackageError when one of the version's objects is gone."""
    gone = [uri for uri in uris if not storage.exists(uri)]
    if gone:
        raise _unusable(package, f"has lost {', '.join(gone)}", settings)


def _spec(path: Path, package: dict[str, Any], settings: Settings) -> FeatureSpec:
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(SPEC)
            return FeatureSpec.from_json(member.read() if member else b"")
    except (tarfile.TarError, KeyError, SpecError) as error:
        raise _unusable(package, f"has a model that cannot be read: {error}", settings) from None


def _unusable(package: dict[str, Any], problem: str, settings: Settings) -> PackageError:
    version = package["ModelPackageVersion"]
    return PackageError(
        f"{settings.prefix} version {version} {problem}. Train and approve another one, or fall back on an "
        f"earlier one: `python -m ml_pipeline reject {version}{_where(settings)}`"
    )


def _where(settings: Settings) -> str:
    return "" if settings.env == "local" else f" {settings.options}"
