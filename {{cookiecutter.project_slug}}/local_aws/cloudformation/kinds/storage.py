"""Buckets, keys, image repositories, log groups, parameters, and the registry and pipelines of SageMaker."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Call, Caller, Kind
from local_aws.cloudformation.kinds.tags import as_list, as_map, tagging

LIFECYCLE_LEFT = ("TagFilters", "ExpirationInDays", "ExpirationDate", "ExpiredObjectDeleteMarker", "Prefix")


def _bucket_call(
    name: str, operation: str, deletes: str, member: str, converted=lambda value: value
) -> Aspect:
    """The property that a call of this bucket sets, and another one takes away."""

    def put(caller: Caller, id: str, old: dict, new: dict) -> None:
        if name in new:
            caller.call("s3", operation, {"Bucket": id, member: converted(new[name])})
        elif deletes:
            caller.call("s3", deletes, {"Bucket": id})

    return Aspect((name,), put)


def _new_bucket(caller: Caller, properties: dict) -> dict:
    if caller.region == "us-east-1":
        return {}
    return {"CreateBucketConfiguration": {"LocationConstraint": caller.region}}


def _encryption(value: dict) -> dict:
    rules = [
        {
            "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
            "ApplyServerSideEncryptionByDefault": rule.get("ServerSideEncryptionByDefault", {}),
        }
        for rule in value["ServerSideEncryptionConfiguration"]
    ]
    return {"Rules": rules}


def _lifecycle(value: dict) -> dict:
    return {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}


def _lifecycle_rule(rule: dict) -> dict:
    left = ("Id", "Transitions", "NoncurrentVersionTransitions", *LIFECYCLE_LEFT)
    sizes = ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
    result = {name: value for name, value in rule.items() if name not in (*left, *sizes)}
    if "Id" in rule:
        result["ID"] = rule["Id"]
    if "NoncurrentVersionExpirationInDays" in rule:
        days = result.pop("NoncurrentVersionExpirationInDays")
        result["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    expiration = {
        "Days": rule.get("ExpirationInDays"),
        "Date": rule.get("ExpirationDate"),
        "ExpiredObjectDeleteMarker": rule.get("ExpiredObjectDeleteMarker"),
    }
    if found := {name: each for name, each in expiration.items() if each is not None}:
        result["Expiration"] = found
    for name, days, api_days in (
        ("Transitions", "TransitionInDays", "Days"),
        ("NoncurrentVersionTransitions", "TransitionInDays", "NoncurrentDays"),
    ):
        if name in rule:
            result[name] = [_with_renamed(each, {days: api_days}) for each in rule[name]]
    return result | {"Filter": _lifecycle_filter(rule, sizes)}


def _lifecycle_filter(rule: dict, sizes: tuple[str, ...]) -> dict:
    parts = {name: rule[name] for name in ("Prefix", *sizes) if name in rule}
    tags = rule.get("TagFilters", [])
    if len(parts) + len(tags) > 1:
        return {"And": parts | ({"Tags": tags} if tags else {})}
    return parts or ({"Tag": tags[0]} if tags else {"Prefix": ""})


def _with_renamed(value: dict, names: dict[str, str]) -> dict:
    return {names.get(name, name): each for name, each in value.items()}


def _notification(caller: Caller, id: str, old: dict, new: dict) -> None:
    asked = new.get("NotificationConfiguration", {})
    bridge = asked.get("EventBridgeConfiguration", {}).get("EventBridgeEnabled", False)
    request = {name: value for name, value in asked.items() if name != "EventBridgeConfiguration"}
    if bridge:
        request["EventBridgeConfiguration"] = {}
    caller.call(
        "s3", "PutBucketNotificationConfiguration", {"Bucket": id, "NotificationConfiguration": request}
    )


def _logging(caller: Caller, id: str, old: dict, new: dict) -> None:
    asked = new.get("LoggingConfiguration")
    status: dict[str, Any] = {}
    if asked is not None:
        bucket, prefix = asked.get("DestinationBucketName", id), asked.get("LogFilePrefix", "")
        status = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": prefix}}
    caller.call("s3", "PutBucketLogging", {"Bucket": id, "BucketLoggingStatus": status})


def _versioning(caller: Caller, id: str, old: dict, new: dict) -> None:
    asked = new.get("VersioningConfiguration", {"Status": "Suspended"})
    caller.call("s3", "PutBucketVersioning", {"Bucket": id, "VersioningConfiguration": asked})


def _bucket_policy(caller: Caller, id: str, old: dict, new: dict) -> None:
    if "PolicyDocument" in new:
        caller.call("s3", "PutBucketPolicy", {"Bucket": id, "Policy": new["PolicyDocument"]})


def _rotation(caller: Caller, id: str, old: dict, new: dict) -> None:
    operation = "EnableKeyRotation" if new.get("EnableKeyRotation") else "DisableKeyRotation"
    days = {"RotationPeriodInDays": new["RotationPeriodInDays"]} if "RotationPeriodInDays" in new else {}
    caller.call("kms", operation, {"KeyId": id, **(days if operation.startswith("Enable") else {})})


def _enabled(caller: Caller, id: str, old: dict, new: dict) -> None:
    caller.call("kms", "EnableKey" if new.get("Enabled", True) else "DisableKey", {"KeyId": id})


def _key_policy(caller: Caller, id: str, old: dict, new: dict) -> None:
    if "KeyPolicy" in new:
        request = {"KeyId": id, "PolicyName": "default", "Policy": new["KeyPolicy"]}
        caller.call("kms", "PutKeyPolicy", request)


def _key_tags(caller: Caller, id: str, old: dict, new: dict) -> None:
    if gone := sorted(set(as_map(old.get("Tags"))) - set(as_map(new.get("Tags")))):
        caller.call("kms", "UntagResource", {"KeyId": id, "TagKeys": gone})
    if "Tags" in new:
        caller.call("kms", "TagResource", {"KeyId": id, "Tags": _key_tag_list(new)})


def _key_tag_list(properties: dict) -> list[dict[str, str]]:
    tags = as_map(properties.get("Tags"))
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


def _remembered(caller: Caller, id: str, old: dict, new: dict) -> None:
    """Does nothing: the property is for the time of deletion."""


def _key_description(caller: Caller, id: str, old: dict, new: dict) -> None:
    caller.call("kms", "UpdateKeyDescription", {"KeyId": id, "Description": new.get("Description", "")})


def _repository_call(name: str, operation: str, deletes: str, converted) -> Aspect:
    def put(caller: Caller, id: str, old: dict, new: dict) -> None:
        if name in new:
            caller.call("ecr", operation, {"repositoryName": id, **converted(new[name])})
        elif deletes:
            caller.call("ecr", deletes, {"repositoryName": id})

    return Aspect((name,), put)


def _retention(caller: Caller, id: str, old: dict, new: dict) -> None:
    if "RetentionInDays" in new:
        request = {"logGroupName": id, "retentionInDays": new["RetentionInDays"]}
        caller.call("logs", "PutRetentionPolicy", request)
    else:
        caller.call("logs", "DeleteRetentionPolicy", {"logGroupName": id})


def _log_key(caller: Caller, id: str, old: dict, new: dict) -> None:
    if "KmsKeyId" in new:
        caller.call("logs", "AssociateKmsKey", {"logGroupName": id, "kmsKeyId": new["KmsKeyId"]})
    else:
        caller.call("logs", "DisassociateKmsKey", {"logGroupName": id})


def _definition(caller: Caller, properties: dict) -> dict:
    source = properties["PipelineDefinition"]
    if "PipelineDefinitionBody" in source:
        return {"PipelineDefinition": source["PipelineDefinitionBody"]}
    place = source["PipelineDefinitionS3Location"]
    names = {"Key": "ObjectKey", "Version": "VersionId"}
    place = {names.get(name, name): value for name, value in place.items() if name != "ETag"}
    return {"PipelineDefinitionS3Location": place}


def _parameter_value(caller: Caller, id: str, old: dict, new: dict) -> None:
    request = {name: value for name, value in new.items() if name != "Tags"}
    caller.call("ssm", "PutParameter", {**request, "Name": id, "Overwrite": True})


SAGEMAKER = "arn:aws:sagemaker:{region}:{account}"
SAGEMAKER_TAGS = ("sagemaker", "AddTags", "DeleteTags", "ResourceArn", "TagKeys")
BUCKET = "{id}.s3.amazonaws.com"

KINDS = {
    "AWS::S3::Bucket": Kind(
        "s3",
        create="CreateBucket",
        describe=Call("HeadBucket", {"Bucket": "{id}"}),
        delete=Call("DeleteBucket", {"Bucket": "{id}"}),
        name="BucketName",
        name_length=63,
        lower=True,
        renamed={"BucketName": "Bucket", "ObjectLockEnabled": "ObjectLockEnabledForBucket"},
        prepared=_new_bucket,
        unique=True,
        attributes={
            "Arn": "arn:aws:s3:::{id}",
            "DomainName": BUCKET,
            "RegionalDomainName": "{id}.s3.{region}.amazonaws.com",
            "DualStackDomainName": "{id}.s3.dualstack.{region}.amazonaws.com",
        },
        aspects=(
            Aspect(("VersioningConfiguration",), _versioning),
            Aspect(("NotificationConfiguration",), _notification),
            Aspect(("LoggingConfiguration",), _logging),
            _bucket_call(
                "BucketEncryption",
                "PutBucketEncryption",
                "DeleteBucketEncryption",
                "ServerSideEncryptionConfiguration",
                _encryption,
            ),
            _bucket_call(
                "PublicAccessBlockConfiguration",
                "PutPublicAccessBlock",
                "DeletePublicAccessBlock",
                "PublicAccessBlockConfiguration",
            ),
            _bucket_call(
                "LifecycleConfiguration",
                "PutBucketLifecycleConfiguration",
                "DeleteBucketLifecycle",
                "LifecycleConfiguration",
                _lifecycle,
            ),
            _bucket_call(
                "OwnershipControls",
                "PutBucketOwnershipControls",
                "DeleteBucketOwnershipControls",
                "OwnershipControls",
            ),
            _bucket_call(
                "Tags",
                "PutBucketTagging",
                "DeleteBucketTagging",
                "Tagging",
                lambda tags: {"TagSet": as_list(tags)},
            ),
        ),
    ),
    "AWS::S3::BucketPolicy": Kind(
        "s3",
        describe=Call("GetBucketPolicy", {"Bucket": "{id}"}, "Policy"),
        delete=Call("DeleteBucketPolicy", {"Bucket": "{id}"}),
        name="Bucket",
        unique=True,
        aspects=(Aspect(("PolicyDocument",), _bucket_policy),),
    ),
    "AWS::KMS::Key": Kind(
        "kms",
        create="CreateKey",
        describe=Call("DescribeKey", {"KeyId": "{id}"}, "KeyMetadata"),
        delete=Call("ScheduleKeyDeletion", {"KeyId": "{id}", "PendingWindowInDays": "{PendingWindowInDays}"}),
        id="KeyMetadata.KeyId",
        renamed={"KeyPolicy": "Policy"},
        prepared=lambda caller, properties: {"Tags": _key_tag_list(properties)},
        consumed=("Tags",),
        attributes={"Arn": "arn:aws:kms:{region}:{account}:key/{id}", "KeyId": "{id}"},
        aspects=(
            Aspect(("EnableKeyRotation", "RotationPeriodInDays"), _rotation),
            Aspect(("Enabled",), _enabled),
            Aspect(("KeyPolicy",), _key_policy),
            Aspect(("Description",), _key_description),
            Aspect(("Tags",), _key_tags),
            Aspect(("PendingWindowInDays",), _remembered),
        ),
    ),
    "AWS::KMS::Alias": Kind(
        "kms",
        create="CreateAlias",
        update=Call("UpdateAlias", {"AliasName": "{id}"}),
        delete=Call("DeleteAlias", {"AliasName": "{id}"}),
        name="AliasName",
    ),
    "AWS::ECR::Repository": Kind(
        "ecr",
        create="CreateRepository",
        describe=Call("DescribeRepositories", {"repositoryNames": "{id}"}, "repositories.0"),
        delete=Call("DeleteRepository", {"repositoryName": "{id}", "force": "{EmptyOnDelete}"}),
        name="RepositoryName",
        name_length=256,
        lower=True,
        attributes={
            "Arn": "arn:aws:ecr:{region}:{account}:repository/{id}",
            "RepositoryUri": "repositoryUri",
        },
        aspects=(
            _repository_call(
                "ImageTagMutability",
                "PutImageTagMutability",
                "",
                lambda value: {"imageTagMutability": value},
            ),
            _repository_call(
                "ImageScanningConfiguration",
                "PutImageScanningConfiguration",
                "",
                lambda value: {"imageScanningConfiguration": value},
            ),
            _repository_call(
                "LifecyclePolicy",
                "PutLifecyclePolicy",
                "DeleteLifecyclePolicy",
                lambda value: {"lifecyclePolicyText": value["LifecyclePolicyText"]},
            ),
            _repository_call(
                "RepositoryPolicyText",
                "SetRepositoryPolicy",
                "DeleteRepositoryPolicy",
                lambda value: {"policyText": value},
            ),
            Aspect(("EmptyOnDelete",), _remembered),
            tagging(
                "ecr",
                "TagResource",
                "UntagResource",
                "resourceArn",
                "tagKeys",
                "arn:aws:ecr:{region}:{account}:repository/{id}",
            ),
        ),
    ),
    "AWS::Logs::LogGroup": Kind(
        "logs",
        create="CreateLogGroup",
        delete=Call("DeleteLogGroup", {"logGroupName": "{id}"}),
        name="LogGroupName",
        name_length=512,
        attributes={"Arn": "arn:aws:logs:{region}:{account}:log-group:{id}:*"},
        aspects=(
            Aspect(("RetentionInDays",), _retention),
            Aspect(("KmsKeyId",), _log_key),
            tagging(
                "logs",
                "TagResource",
                "UntagResource",
                "resourceArn",
                "tagKeys",
                "arn:aws:logs:{region}:{account}:log-group:{id}",
            ),
        ),
    ),
    "AWS::SSM::Parameter": Kind(
        "ssm",
        create="PutParameter",
        describe=Call("GetParameter", {"Name": "{id}"}, "Parameter"),
        delete=Call("DeleteParameter", {"Name": "{id}"}),
        name="Name",
        attributes={"Arn": "ARN", "Type": "Type", "Value": "Value"},
        aspects=(
            tagging(
                "ssm",
                "AddTagsToResource",
                "RemoveTagsFromResource",
                "ResourceId",
                "TagKeys",
                ResourceType="Parameter",
            ),
            Aspect(("Value", "Description", "Type", "Tier", "AllowedPattern", "DataType"), _parameter_value),
        ),
    ),
    "AWS::SageMaker::ModelPackageGroup": Kind(
        "sagemaker",
        create="CreateModelPackageGroup",
        describe=Call("DescribeModelPackageGroup", {"ModelPackageGroupName": "{name}"}),
        delete=Call("DeleteModelPackageGroup", {"ModelPackageGroupName": "{name}"}),
        id="ModelPackageGroupArn",
        name="ModelPackageGroupName",
        attributes={
            "ModelPackageGroupArn": "{id}",
            "ModelPackageGroupStatus": "ModelPackageGroupStatus",
            "CreationTime": "CreationTime",
        },
        aspects=(tagging(*SAGEMAKER_TAGS),),
    ),
    "AWS::SageMaker::Pipeline": Kind(
        "sagemaker",
        create="CreatePipeline",
        update=Call("UpdatePipeline", {"PipelineName": "{id}"}),
        delete=Call("DeletePipeline", {"PipelineName": "{id}"}),
        name="PipelineName",
        name_length=256,
        prepared=_definition,
        consumed=("PipelineDefinition",),
        aspects=(tagging(*SAGEMAKER_TAGS, SAGEMAKER + ":pipeline/{id}"),),
    ),
}
