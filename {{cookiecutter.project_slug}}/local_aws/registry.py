"""The model registry: package groups and their numbered versions."""

from typing import TYPE_CHECKING

from local_aws.resources import KINDS, found, last_part, new_record, page
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

GROUP, PACKAGE = KINDS["ModelPackageGroup"], KINDS["ModelPackage"]
REPLACED = (
    "ModelApprovalStatus",
    "ModelPackageRegistrationType",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)


def create_group(api: "SageMaker", request: dict) -> dict:
    name = request["ModelPackageGroupName"]
    first = {"ModelPackageGroupStatus": "Completed", "CreatedBy": {}, "_versions": 0}
    record = new_record(api, GROUP, request) | first
    with api.state.lock:
        if api.state.has(GROUP.name, name):
            message = f"Model Package Group already exists: {record['ModelPackageGroupArn']}"
            raise ApiError("ValidationException", message)
        api.state.put(GROUP.name, name, record)
    return record


def delete_group(api: "SageMaker", request: dict) -> dict:
    name = last_part(request["ModelPackageGroupName"])
    with api.state.lock:
        found(api, GROUP, name)
        if versions := api.state.find(PACKAGE.name, ModelPackageGroupName=name):
            message = f"ModelPackageGroup {name} holds {len(versions)} model packages: delete them first"
            raise ApiError("ConflictException", message)
        api.state.delete(GROUP.name, name)
    return {}


def create_package(api: "SageMaker", request: dict) -> dict:
    """The package; the one made before when its client token was used before."""
    if "ModelPackageName" in request or "ModelPackageGroupName" not in request:
        message = "CreateModelPackage: the local AWS has versions of a ModelPackageGroupName only"
        raise ApiError("ValidationException", message)
    with api.state.lock:
        token = request.get("ClientToken")
        if token and (made := api.state.find(PACKAGE.name, _token=token)):
            return made[0]
        record = _version(api, request)
        api.state.put(PACKAGE.name, record["ModelPackageArn"], record | {"_token": token})
    return record


def _version(api: "SageMaker", request: dict) -> dict:
    group = last_part(request["ModelPackageGroupName"])
    version = found(api, GROUP, group)["_versions"] + 1
    api.state.update(GROUP.name, group, _versions=version)
    numbered = {
        "ModelPackageName": group,
        "ModelPackageGroupName": group,
        "ModelPackageVersion": version,
        "ModelPackageArn": api.arn(PACKAGE.path, f"{group}/{version}"),
        "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
        "CreatedBy": {},
    }
    return new_record(api, PACKAGE, request | {"ModelPackageName": group}) | numbered


def describe_package(api: "SageMaker", request: dict) -> dict:
    return found(api, PACKAGE, package_arn(api, request["ModelPackageName"]))


def package_arn(api: "SageMaker", name_or_arn: str) -> str:
    return name_or_arn if name_or_arn.startswith("arn:") else api.arn(PACKAGE.path, name_or_arn)


def delete_package(api: "SageMaker", request: dict) -> dict:
    arn = package_arn(api, request["ModelPackageName"])
    with api.state.lock:
        found(api, PACKAGE, arn)
        api.state.delete(PACKAGE.name, arn)
    return {}


def update_package(api: "SageMaker", request: dict) -> dict:
    arn = request["ModelPackageArn"]
    with api.state.lock:
        record = found(api, PACKAGE, arn)
        fields = {name: request[name] for name in REPLACED if name in request}
        removed = request.get("CustomerMetadataPropertiesToRemove", [])
        metadata = record.get("CustomerMetadataProperties", {}) | request.get(
            "CustomerMetadataProperties", {}
        )
        fields["CustomerMetadataProperties"] = {k: v for k, v in metadata.items() if k not in removed}
        added = request.get("AdditionalInferenceSpecificationsToAdd", [])
        fields["AdditionalInferenceSpecifications"] = (
            record.get("AdditionalInferenceSpecifications") or []
        ) + added or None
        changed = {"LastModifiedTime": api.clock.now(), "LastModifiedBy": {}}
        return api.state.update(PACKAGE.name, arn, **fields, **changed)


def list_packages(api: "SageMaker", request: dict) -> dict:
    """Versions of the named group; without one, by AWS's default, the packages outside any group: none."""
    group = last_part(request.get("ModelPackageGroupName", ""))
    records = api.state.find(PACKAGE.name, ModelPackageGroupName=group)
    return page(PACKAGE, "ListModelPackages", request, records, answered=("ModelPackageGroupName",))
