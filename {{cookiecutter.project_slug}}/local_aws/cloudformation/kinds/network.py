"""Networks: VPCs, subnets, route tables, security groups and endpoints."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Call, Caller, Kind, ResourceError
from local_aws.cloudformation.kinds.tags import as_list

EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def _tags(caller: Caller, id: str, old: dict, new: dict) -> None:
    kept = {tag["Key"] for tag in as_list(new.get("Tags"))}
    if gone := [{"Key": tag["Key"]} for tag in as_list(old.get("Tags")) if tag["Key"] not in kept]:
        caller.call("ec2", "DeleteTags", {"Resources": [id], "Tags": gone})
    if "Tags" in new:
        caller.call("ec2", "CreateTags", {"Resources": [id], "Tags": as_list(new["Tags"])})


def _dns(caller: Caller, id: str, old: dict, new: dict) -> None:
    for name in ("EnableDnsSupport", "EnableDnsHostnames"):
        if old.get(name) != new.get(name):
            value = {"Value": new.get(name, name == "EnableDnsSupport")}
            caller.call("ec2", "ModifyVpcAttribute", {"VpcId": id, name: value})


def _public_ip(caller: Caller, id: str, old: dict, new: dict) -> None:
    value = {"Value": new.get("MapPublicIpOnLaunch", False)}
    caller.call("ec2", "ModifySubnetAttribute", {"SubnetId": id, "MapPublicIpOnLaunch": value})


def _permission(rule: dict) -> dict:
    """One rule of CloudFormation as the API's IpPermission."""
    result: dict[str, Any] = {"IpProtocol": rule["IpProtocol"]}
    result |= {name: rule[name] for name in ("FromPort", "ToPort") if name in rule}
    description = {"Description": rule["Description"]} if "Description" in rule else {}
    for name, member, inner in (
        ("CidrIp", "IpRanges", "CidrIp"),
        ("CidrIpv6", "Ipv6Ranges", "CidrIpv6"),
        ("SourceSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ("DestinationSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ("SourcePrefixListId", "PrefixListIds", "PrefixListId"),
        ("DestinationPrefixListId", "PrefixListIds", "PrefixListId"),
    ):
        if name in rule:
            result[member] = [{inner: rule[name], **description}]
    return result


def _rules(property: str, direction: str) -> Aspect:
    """The rules of a security group in one direction."""

    def put(caller: Caller, id: str, old: dict, new: dict) -> None:
        before, after = old.get(property, []), new.get(property, [])
        gone = [_permission(rule) for rule in before if rule not in after]
        if direction == "Egress" and not before:
            gone = [EVERYWHERE]  # which every new group allows
        if direction == "Egress" and not after:
            after = [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]
        if gone:
            request = {"GroupId": id, "IpPermissions": gone}
            caller.call("ec2", f"RevokeSecurityGroup{direction}", request)
        if added := [_permission(rule) for rule in after if rule not in before]:
            request = {"GroupId": id, "IpPermissions": added}
            caller.call("ec2", f"AuthorizeSecurityGroup{direction}", request)

    return Aspect((property,), put)


def _one_rule(caller: Caller, properties: dict) -> dict:
    if "GroupId" not in properties:
        raise ResourceError("GroupId is required: the local AWS has no networks before VPCs")
    return {"GroupId": properties["GroupId"], "IpPermissions": [_permission(properties)]}


RULE_PROPERTIES = ("CidrIp", "CidrIpv6", "Description", "FromPort", "GroupId", "IpProtocol", "ToPort")


def _endpoint_change(caller: Caller, id: str, old: dict, new: dict) -> None:
    request: dict[str, Any] = {"VpcEndpointId": id}
    for name, member in (
        ("RouteTableIds", "RouteTable"),
        ("SubnetIds", "Subnet"),
        ("SecurityGroupIds", "SecurityGroup"),
    ):
        before, after = set(old.get(name, [])), set(new.get(name, []))
        request[f"Add{member}Ids"] = sorted(after - before)
        request[f"Remove{member}Ids"] = sorted(before - after)
    if old.get("PolicyDocument") != new.get("PolicyDocument"):
        changed = (
            {"PolicyDocument": new["PolicyDocument"]} if "PolicyDocument" in new else {"ResetPolicy": True}
        )
        request |= changed
    if "PrivateDnsEnabled" in new:
        request["PrivateDnsEnabled"] = new["PrivateDnsEnabled"]
    caller.call("ec2", "ModifyVpcEndpoint", {name: value for name, value in request.items() if value != []})


def _standalone(direction: str, peer: str) -> Kind:
    return Kind(
        "ec2",
        create=f"AuthorizeSecurityGroup{direction}",
        delete=Call(
            f"RevokeSecurityGroup{direction}", {"GroupId": "{GroupId}", "SecurityGroupRuleIds": "{id}"}
        ),
        id="SecurityGroupRules.0.SecurityGroupRuleId",
        prepared=_one_rule,
        consumed=(*RULE_PROPERTIES, f"{peer}SecurityGroupId", f"{peer}PrefixListId"),
        attributes={"Id": "{id}"},
    )


KINDS = {
    "AWS::EC2::VPC": Kind(
        "ec2",
        create="CreateVpc",
        describe=Call("DescribeVpcs", {"VpcIds": "{id}"}, "Vpcs.0"),
        delete=Call("DeleteVpc", {"VpcId": "{id}"}),
        id="Vpc.VpcId",
        attributes={"VpcId": "{id}", "CidrBlock": "CidrBlock"},
        aspects=(
            Aspect(("EnableDnsSupport", "EnableDnsHostnames"), _dns),
            Aspect(("Tags",), _tags),
        ),
    ),
    "AWS::EC2::Subnet": Kind(
        "ec2",
        create="CreateSubnet",
        describe=Call("DescribeSubnets", {"SubnetIds": "{id}"}, "Subnets.0"),
        delete=Call("DeleteSubnet", {"SubnetId": "{id}"}),
        id="Subnet.SubnetId",
        attributes={
            "SubnetId": "{id}",
            "AvailabilityZone": "AvailabilityZone",
            "CidrBlock": "CidrBlock",
            "VpcId": "VpcId",
        },
        aspects=(Aspect(("MapPublicIpOnLaunch",), _public_ip), Aspect(("Tags",), _tags)),
    ),
    "AWS::EC2::RouteTable": Kind(
        "ec2",
        create="CreateRouteTable",
        delete=Call("DeleteRouteTable", {"RouteTableId": "{id}"}),
        id="RouteTable.RouteTableId",
        attributes={"RouteTableId": "{id}"},
        aspects=(Aspect(("Tags",), _tags),),
    ),
    "AWS::EC2::SubnetRouteTableAssociation": Kind(
        "ec2",
        create="AssociateRouteTable",
        delete=Call("DisassociateRouteTable", {"AssociationId": "{id}"}),
        id="AssociationId",
        attributes={"Id": "{id}"},
    ),
    "AWS::EC2::SecurityGroup": Kind(
        "ec2",
        create="CreateSecurityGroup",
        describe=Call("DescribeSecurityGroups", {"GroupIds": "{id}"}, "SecurityGroups.0"),
        delete=Call("DeleteSecurityGroup", {"GroupId": "{id}"}),
        id="GroupId",
        name="GroupName",
        name_length=255,
        renamed={"GroupDescription": "Description"},
        attributes={"GroupId": "{id}", "Id": "{id}", "VpcId": "VpcId"},
        aspects=(
            _rules("SecurityGroupIngress", "Ingress"),
            _rules("SecurityGroupEgress", "Egress"),
            Aspect(("Tags",), _tags),
        ),
    ),
    "AWS::EC2::SecurityGroupIngress": _standalone("Ingress", "Source"),
    "AWS::EC2::SecurityGroupEgress": _standalone("Egress", "Destination"),
    "AWS::EC2::VPCEndpoint": Kind(
        "ec2",
        create="CreateVpcEndpoint",
        describe=Call("DescribeVpcEndpoints", {"VpcEndpointIds": "{id}"}, "VpcEndpoints.0"),
        delete=Call("DeleteVpcEndpoints", {"VpcEndpointIds": "{id}"}),
        id="VpcEndpoint.VpcEndpointId",
        attributes={
            "Id": "{id}",
            "CreationTimestamp": "CreationTimestamp",
            "DnsEntries": "DnsEntries",
            "NetworkInterfaceIds": "NetworkInterfaceIds",
        },
        aspects=(
            Aspect(
                ("RouteTableIds", "SubnetIds", "SecurityGroupIds", "PolicyDocument", "PrivateDnsEnabled"),
                _endpoint_change,
            ),
            Aspect(("Tags",), _tags),
        ),
    ),
}
