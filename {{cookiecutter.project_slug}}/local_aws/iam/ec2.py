"""What requests to EC2 need: the networks that the local AWS keeps."""

import re
from collections.abc import Iterator
from typing import Any

from local_aws.iam.asked import Asked
from local_aws.iam.identity import Need

TYPES = {
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "igw": "internet-gateway",
    "nat": "natgateway",
    "pl": "prefix-list",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "subnet": "subnet",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}
CREATED = {
    "CreateInternetGateway": "internet-gateway",
    "CreateNatGateway": "natgateway",
    "CreateRouteTable": "route-table",
    "CreateSecurityGroup": "security-group",
    "CreateSubnet": "subnet",
    "CreateVpc": "vpc",
    "CreateVpcEndpoint": "vpc-endpoint",
    "AllocateAddress": "elastic-ip",
}
IDENTIFIER = re.compile(r"([a-z]+)-[0-9a-f]{8,17}")


def ec2_needs(asked: Asked) -> Iterator[Need]:
    """The action on what is created and on every resource that the request names; Describe has none."""
    action = f"ec2:{asked.operation}"
    named = [] if asked.operation.startswith("Describe") else list(dict.fromkeys(_named(asked)))
    created = [asked.arn(f"{CREATED[asked.operation]}/*")] if asked.operation in CREATED else []
    for resource in [*created, *named] or ["*"]:
        yield Need(action, resource)
    if created and any(name.startswith("TagSpecification") for name in asked.params):
        yield Need("ec2:CreateTags", created[0])


def _named(asked: Asked) -> Iterator[str]:
    for text in _texts(asked.params):
        found = IDENTIFIER.fullmatch(text)
        if found and found[1] in TYPES:
            yield asked.arn(f"{TYPES[found[1]]}/{text}")


def _texts(holder: Any) -> Iterator[str]:
    if isinstance(holder, str):
        yield holder
    for item in holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ():
        yield from _texts(item)
