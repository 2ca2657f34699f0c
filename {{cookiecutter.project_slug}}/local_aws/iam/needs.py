"""What a request needs: actions on resources, with what conditions may ask about them.

Not evaluated: that copying an object with its tags needs them read, keys used by services other than S3 and
KMS, the network interfaces of jobs in a VPC.
"""

import re
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from local_aws.iam.asked import Asked, Unreadable
from local_aws.iam.conditions import TAGS_KNOWN
from local_aws.iam.ec2 import ec2_needs
from local_aws.iam.iam_actions import iam_needs
from local_aws.iam.identity import Need
from local_aws.iam.table import FORMS, PASSED, SAME, TAGGING

PLACE = re.compile(r"\{([^}]+)\}")
TAG_MEMBERS = ("Tags", "tags", "TagList", "ResourceTags")
CONTEXTS = {
    "sagemaker:InstanceTypes": "InstanceType",
    "sagemaker:VpcSubnets": "Subnets",
    "sagemaker:VpcSecurityGroupIds": "SecurityGroupIds",
    "sagemaker:VolumeKmsKey": "VolumeKmsKeyId",
    "sagemaker:OutputKmsKey": "KmsKeyId",
    "sagemaker:NetworkIsolation": "EnableNetworkIsolation",
    "sagemaker:InterContainerTrafficEncryption": "EnableInterContainerTrafficEncryption",
    "sagemaker:MaxRuntimeInSeconds": "MaxRuntimeInSeconds",
    "sagemaker:ModelApprovalStatus": "ModelApprovalStatus",
    "cloudwatch:namespace": "Namespace",
    "events:TargetArn": "Targets.Arn",
    "cloudformation:ChangeSetName": "ChangeSetName",
    "cloudformation:TemplateUrl": "TemplateURL",
    "cloudformation:RoleArn": "RoleARN",
    "sns:Protocol": "Protocol",
    "sns:Endpoint": "Endpoint",
    "sts:ExternalId": "ExternalId",
    "sts:RoleSessionName": "RoleSessionName",
}
Tags = Callable[[str], dict[str, str] | None]


def needs(asked: Asked, tags_of: Tags) -> list[Need]:
    """The needs of a request. tags_of: the tags of the resource an ARN names, None where they are not known.

    Unreadable for an operation that the local AWS does not know the permissions of.
    """
    special = {"iam": iam_needs, "ec2": ec2_needs}.get(asked.service)
    own = list(special(asked)) if special else _own(asked)
    more = list(_more(asked, own[0].resource))
    if _is_about_composite_alarms(asked):
        own = [Need(need.action, "*") for need in own]  # CloudWatch takes no narrower scope
    about = context(asked)
    return [
        Need(need.action, need.resource, about | _tag_context(tags_of(need.resource)) | need.context)
        for need in (*own, *more)
    ]


def _is_about_composite_alarms(asked: Asked) -> bool:
    described = asked.operation == "DescribeAlarms" and "CompositeAlarm" in asked.params.get("AlarmTypes", [])
    return asked.service == "cloudwatch" and (described or asked.operation == "PutCompositeAlarm")


def _own(asked: Asked) -> list[Need]:
    if (asked.service, asked.operation) == ("events", "PutEvents"):
        return list(_events(asked))
    operation = SAME.get((asked.service, asked.operation), asked.operation)
    form = FORMS.get((asked.service, operation))
    if form is None:
        message = f"the local AWS does not know the permissions that {asked.service}:{asked.operation} needs"
        raise Unreadable(message)
    action = f"{asked.service}:{operation}"
    return [Need(action, resource) for resource in _resources(asked, form)]


def _resources(asked: Asked, form: str) -> list[str]:
    if form == "*":
        return ["*"]
    names = PLACE.findall(form)
    choices = [_values(asked, name) for name in names]
    return [_filled(asked, form, dict(zip(names, chosen, strict=True))) for chosen in product(*choices)]


def _filled(asked: Asked, form: str, values: dict[str, str]) -> str:
    for value in values.values():
        if value.startswith("arn:"):
            return value + (form.rpartition("}")[2] if asked.service == "sagemaker" else "")
    path = PLACE.sub(lambda place: values[place[1]], form)
    if asked.service == "cloudwatch" and path.startswith("dashboard/"):
        return f"arn:aws:cloudwatch::{asked.account}:{path}"
    return asked.arn(path)


def _values(asked: Asked, names: str) -> list[str]:
    """The values of a form's place; * for a parameter that is absent."""
    found = next((asked.params[name] for name in names.split("|") if asked.params.get(name)), "*")
    values = found if isinstance(found, list) else [found]
    return [READ.get(names, _as_it_is)(asked, str(value)) for value in values]


def _as_it_is(asked: Asked, value: str) -> str:
    return value


def _rule(asked: Asked, name: str) -> str:
    bus = asked.params.get("EventBusName", "default").rpartition("/")[2]
    return name if bus == "default" else f"{bus}/{name}"


def _key(asked: Asked, given: str) -> str:
    """The ARN of a key, whatever names it: its id, its ARN, an alias."""
    if given == "*" or ":key/" in given:
        return given
    module = sys.modules.get("moto.kms.models")
    name = given.rpartition(":")[2]
    if module and name.startswith("alias/"):
        name = module.kms_backends[asked.account][asked.region].get_key_id_from_alias(name) or "*"
    return asked.arn(f"key/{name}", "kms")


def _secret(asked: Asked, given: str) -> str:
    """The ARN of a secret, which has six letters more than its name."""
    module = sys.modules.get("moto.secretsmanager.models")
    secrets = module.secretsmanager_backends[asked.account][asked.region].secrets if module else {}
    return secrets[given].arn if not given.startswith("arn:") and given in secrets else given


def _package(asked: Asked, given: str) -> str:
    return given.replace(":model-package-group/", ":model-package/")


READ: dict[str, Callable[[Asked, str], str]] = {
    "Name|Rule": _rule,
    "KeyId": _key,
    "SecretId": _secret,
    "QueueUrl": lambda asked, url: url.rpartition("/")[2],
    "ids": lambda asked, build: build.partition(":")[0],
    "id": lambda asked, build: build.partition(":")[0],
    "ModelPackageGroupName": _package,
    "SubscriptionArn": lambda asked, arn: ":".join(arn.split(":")[:6]),
}


def _more(asked: Asked, resource: str) -> Iterator[Need]:
    """What else the request needs: to tag what it creates, to pass roles, to read what it names."""
    if asked.operation.startswith(("Create", "Put")) and _tags(asked.params) and asked.service in TAGGING:
        yield Need(f"{asked.service}:{TAGGING[asked.service]}", resource)
    paths, service = PASSED.get(asked.service, ((), ""))
    for role in dict.fromkeys(role for path in paths for role in _at(asked.params, path.split("."))):
        yield Need(
            "iam:PassRole", role, {"iam:PassedToService": service, "iam:AssociatedResourceArn": resource}
        )
    yield from MORE.get((asked.service, asked.operation), _nothing)(asked, resource)


def _at(holder: Any, path: list[str]) -> Iterator[str]:
    """The texts at a path; a list on the way is gone through."""
    if isinstance(holder, list):
        for item in holder:
            yield from _at(item, path)
    elif not path:
        yield holder
    elif isinstance(holder, dict) and path[0] in holder:
        yield from _at(holder[path[0]], path[1:])


def _nothing(asked: Asked, resource: str) -> Iterator[Need]:
    yield from ()


def _group(asked: Asked, resource: str) -> Iterator[Need]:
    """AWS's reference has CreateModelPackage on the package and on its group: both are asked for."""
    group = asked.params.get("ModelPackageGroupName", "*")
    arn = group if group.startswith("arn:") else asked.arn(f"model-package-group/{group}")
    yield Need("sagemaker:CreateModelPackage", arn)


def _definition(asked: Asked, resource: str) -> Iterator[Need]:
    place = asked.params.get("PipelineDefinitionS3Location")
    if place:
        yield Need("s3:GetObject", f"arn:aws:s3:::{place['Bucket']}/{place['ObjectKey']}")


def _template(asked: Asked, resource: str) -> Iterator[Need]:
    url = asked.params.get("TemplateURL")
    if url:
        host, _, path = url.partition("://")[2].partition("/")
        bucket = re.match(r"(.+)\.s3[.-]", host)  # else the path begins with it
        yield Need("s3:GetObject", f"arn:aws:s3:::{f'{bucket[1]}/{path}' if bucket else path}")


def _alias(asked: Asked, resource: str) -> Iterator[Need]:
    module = sys.modules.get("moto.kms.models")
    alias = asked.params["AliasName"]
    target = asked.params.get("TargetKeyId")
    if target is None and module:
        target = module.kms_backends[asked.account][asked.region].get_key_id_from_alias(alias)
    if target:
        yield Need(f"kms:{asked.operation}", _key(asked, target))


def _events(asked: Asked) -> Iterator[Need]:
    for entry in asked.params.get("Entries") or [{}]:
        bus = entry.get("EventBusName", "default")
        yield Need("events:PutEvents", bus if bus.startswith("arn:") else asked.arn(f"event-bus/{bus}"))


def _session_tags(asked: Asked, resource: str) -> Iterator[Need]:
    if asked.params.get("Tags") or asked.params.get("PolicyArns"):
        raise Unreadable("the local AWS evaluates neither session tags nor PolicyArns of a session")
    yield from ()


MORE = {
    ("sagemaker", "CreateModelPackage"): _group,
    ("sagemaker", "CreatePipeline"): _definition,
    ("sagemaker", "UpdatePipeline"): _definition,
    **{("cloudformation", name): _template for name in ("CreateStack", "UpdateStack", "CreateChangeSet")},
    **{("kms", name): _alias for name in ("CreateAlias", "DeleteAlias", "UpdateAlias")},
    ("sts", "AssumeRole"): _session_tags,
}


def _tags(params: dict) -> dict[str, str]:
    """The tags that a request gives, in whatever form its service has them."""
    given = next((params[name] for name in TAG_MEMBERS if params.get(name)), {})
    if isinstance(given, dict):
        return given
    names = {"Key": "Value", "key": "value", "TagKey": "TagValue"}
    return {item[key]: item.get(value, "") for item in given for key, value in names.items() if key in item}


def context(asked: Asked) -> dict[str, object]:
    """What conditions may ask about the request."""
    own = {key: member for key, member in CONTEXTS.items() if key.startswith(f"{asked.service}:")}
    found = {key: list(_found(asked.params, member)) for key, member in own.items()}
    tags = _tags(asked.params)
    keys = list(tags) or asked.params.get("TagKeys") or asked.params.get("tagKeys")
    given = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    if asked.service == "sns":
        given["aws:SourceOwner"] = asked.account
    return (
        {key: values for key, values in found.items() if values}
        | given
        | ({"aws:TagKeys": keys} if keys else {})
    )


def _found(params: dict, member: str) -> Iterator[Any]:
    return _at(params, member.split(".")) if "." in member else _named(params, member)


def _named(holder: Any, member: str) -> Iterator[Any]:
    """Every value of the members of this name, however deep."""
    for item in holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ():
        if isinstance(item, (dict, list)):
            yield from _named(item, member)
    if isinstance(holder, dict) and holder.get(member) is not None:
        value = holder[member]
        yield from value if isinstance(value, list) else [value]


def _tag_context(tags: dict[str, str] | None) -> dict[str, object]:
    if tags is None:
        return {}
    return {
        f"{prefix}:ResourceTag/{key}": value for prefix in ("aws", "iam") for key, value in tags.items()
    } | {TAGS_KNOWN: "all"}
