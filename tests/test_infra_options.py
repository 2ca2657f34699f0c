"""Each optional Parameter of each template changes just what it should, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from local_aws.cloudformation import parameters
from local_aws.cloudformation.intrinsics import Scope, resolve
from local_aws.cloudformation.template import Template, read
from local_aws.validation import ApiError
from templates import FILES, INFRA

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0a1b2c3d-0000-1111-2222-333344445555"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/company"
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:token-AbCdEf"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
CONNECTION = f"arn:aws:codeconnections:us-east-1:{ACCOUNT}:connection/0a1b2c3d"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": "us-east-1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
NEEDED = {
    "Project": "churn",
    "Environment": "dev",
    "TuningJobPrefix": "churn-d",
    "BucketName": f"churn-dev-{ACCOUNT}-us-east-1",
    "Provider": "github",
    "Repository": "acme/churn",
}


@cache
def template_of(file: str) -> Template:
    return read((INFRA / f"{file}.yaml").read_text())


def rendered(template: Template, given: dict[str, str]) -> dict[str, Any]:
    """Properties of the resources that there would be, and outputs; statements of policies by their Sid."""
    declared = template.section("Parameters")
    asked = [
        {"ParameterKey": key, "ParameterValue": value} for key, value in given.items() if key in declared
    ]
    names = parameters.values_of(template, parameters.given(template, asked)) | PSEUDO
    scope = Scope(
        names, template.section("Mappings"), template.section("Conditions"), str, _is_there, _attribute
    )
    found = {}
    for section in ("Resources", "Outputs"):
        for name, each in template.section(section).items():
            if "Condition" not in each or scope.holds(each["Condition"]):
                content = each["Properties"] if section == "Resources" else {"Value": each["Value"]}
                found[name] = resolve(content, scope)
    return found


def _is_there(name: str) -> str:
    return f"<{name}>"


def _attribute(name: str, attribute: str) -> str:
    return f"<{name}.{attribute}>"


def members(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Properties by name, but each statement of a role's policies on its own."""
    for name, value in properties.items():
        if name != "Policies":
            yield name, value
            continue
        for policy in value:
            yield from ((each["Sid"], each) for each in policy["PolicyDocument"]["Statement"])


def changes(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """`+Resource`, `-Resource`, `Resource.Property` and, of a role, `Resource.+Sid` or `Resource.-Sid`."""
    found = {f"-{name}" for name in before.keys() - after.keys()}
    found |= {f"+{name}" for name in after.keys() - before.keys()}
    for name in before.keys() & after.keys():
        old, new = dict(members(before[name])), dict(members(after[name]))
        found |= {f"{name}.+{key}" for key in new.keys() - old.keys()}
        found |= {f"{name}.-{key}" for key in old.keys() - new.keys()}
        found |= {f"{name}.{key}" for key in old.keys() & new.keys() if old[key] != new[key]}
    return found


FOUNDATION_ROLES, CODEPIPELINE_ROLES = (
    ("Execution", "ImageBuild"),
    ("Check", "Plan", "Deploy", "Pipeline", "Weekly"),
)
UNDER_A_KEY = {
    "Bucket.BucketEncryption",
    "Repository.EncryptionConfiguration",
    "ImageBuild.+EncryptionKey",
    "ExecutionRole.+UseTheKey",
    "ExecutionRole.+GrantTheKeyToVolumes",
    "ImageBuildRole.+UseTheKey",
    "+KmsKeyArn",
}
BUILD = "ImageBuild.Environment"
ENDPOINTS = {f"{name}Endpoint" for name in ("SageMaker", "EcrApi", "EcrDkr", "Logs", "CloudWatch", "Sts")}
VPC = {"Vpc", "SubnetA", "SubnetB", "RouteTable", "RouteTableOfSubnetA", "RouteTableOfSubnetB"}
SCHEDULED = {"TrainSchedule": "rate(7 days)", "ScoreSchedule": "rate(1 day)"}


def of_roles(roles: tuple[str, ...], change: str) -> set[str]:
    return {f"{role}Role.{change}" for role in roles}


# (template, what else is given, Parameter, its value, what changes)
OPTIONS: list[tuple[str, dict[str, str], str, str, set[str]]] = [
    ("foundation", {}, "KmsKeyArn", KEY, UNDER_A_KEY),
    ("foundation", {}, "CreateKmsKey", "true", UNDER_A_KEY | {"+Key", "+KeyAlias", "+TopicKmsKeyArn"}),
    ("foundation", {"KmsKeyArn": KEY}, "CreateKmsKey", "true", set()),
    ("foundation", {}, "SecretArns", f"{SECRET},{SECRET}", {"ExecutionRole.+ReadNamedSecrets"}),
    (
        "foundation",
        {},
        "PermissionsBoundaryArn",
        POLICY,
        of_roles(FOUNDATION_ROLES, "+PermissionsBoundary") | {"-TriggerBoundary", "TriggerBoundaryArn.Value"},
    ),
    (
        "foundation",
        {},
        "RolePath",
        "/ml/",
        of_roles(FOUNDATION_ROLES, "Path") | {"ExecutionRole.GiveItselfToJobs", "TriggerBoundary.Path"},
    ),
    (
        "foundation",
        {},
        "RolePrefix",
        "acme-",
        of_roles(FOUNDATION_ROLES, "RoleName")
        | {"ExecutionRole.GiveItselfToJobs", "TriggerBoundary.ManagedPolicyName"},
    ),
    (
        "foundation",
        {},
        "VpcOnly",
        "true",
        {"ExecutionRole.+PutJobsIntoTheVpc", "ExecutionRole.+LookAtTheVpc"},
    ),
    ("foundation", {}, "BaseImage", "example.com/python:3.12", {BUILD}),
    (
        "foundation",
        {},
        "BaseRepositoryArn",
        f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/python",
        {"ImageBuildRole.+PullTheBaseImage"},
    ),
    ("foundation", {}, "PackageIndexUrl", "https://packages.acme.com/simple", {BUILD}),
    ("foundation", {}, "PipConfSecretArn", SECRET, {BUILD, "ImageBuildRole.+ReadPipConf"}),
    ("foundation", {}, "HttpProxy", "http://proxy.acme.com:3128", {BUILD}),
    ("foundation", {}, "NoProxy", "localhost", {BUILD}),
    (
        "foundation",
        {"BuildSubnetIds": "subnet-1", "BuildSecurityGroupIds": "sg-1"},
        "BuildVpcId",
        "vpc-1",
        {
            "ImageBuild.+VpcConfig",
            "ImageBuildRole.+PutBuildsIntoTheVpc",
            "ImageBuildRole.+LendInterfacesToBuilds",
        },
    ),
    ("foundation", {"BuildVpcId": "vpc-1"}, "BuildSubnetIds", "subnet-1", {"ImageBuild.VpcConfig"}),
    ("foundation", {"BuildVpcId": "vpc-1"}, "BuildSecurityGroupIds", "sg-1", {"ImageBuild.VpcConfig"}),
    ("triggers", {}, "TrainSchedule", "cron(0 6 ? * MON *)", {"+StartTraining"}),
    ("triggers", {}, "ScoreSchedule", "cron(0 6 ? * MON *)", {"+StartScoring"}),
    (
        "triggers",
        SCHEDULED,
        "ScheduleTimezone",
        "Europe/Berlin",
        {"StartTraining.ScheduleExpressionTimezone", "StartScoring.ScheduleExpressionTimezone"},
    ),
    (
        "triggers",
        SCHEDULED,
        "FlexibleMinutes",
        "0",
        {"StartTraining.FlexibleTimeWindow", "StartScoring.FlexibleTimeWindow"},
    ),
    (
        "triggers",
        SCHEDULED,
        "SchedulesState",
        "DISABLED",
        {"StartTraining.State", "StartScoring.State", "RetrainRule.State"},
    ),
    ("triggers", {}, "NotificationEmail", "ml@acme.com", {"+EmailSubscription"}),
    ("triggers", {}, "TopicKmsKeyArn", KEY, {"Notifications.+KmsMasterKeyId"}),
    ("triggers", {}, "TriggerBoundaryArn", POLICY, {"TriggerRole.+PermissionsBoundary"}),
    ("triggers", {}, "PermissionsBoundaryArn", POLICY, {"TriggerRole.+PermissionsBoundary"}),
    ("triggers", {"PermissionsBoundaryArn": POLICY}, "TriggerBoundaryArn", f"{POLICY}-2", set()),
    ("triggers", {}, "RolePath", "/ml/", {"TriggerRole.Path"}),
    ("triggers", {}, "RolePrefix", "acme-", {"TriggerRole.RoleName"}),
    (
        "network",
        {},
        "VpcCidr",
        "10.9.0.0/22",
        {"Vpc.CidrBlock", "SubnetA.CidrBlock", "SubnetB.CidrBlock"},
    ),
    (
        "network",
        {"SubnetIds": "subnet-1,subnet-2"},
        "VpcId",
        "vpc-1",
        {f"-{name}" for name in {*VPC, "S3Endpoint"}}
        | {f"{name}.{member}" for name in ENDPOINTS for member in ("VpcId", "SubnetIds")}
        | {"JobsSecurityGroup.VpcId", "EndpointsSecurityGroup.VpcId", "SubnetIds.Value"},
    ),
    (
        "network",
        {"VpcId": "vpc-1"},
        "SubnetIds",
        "subnet-1,subnet-2",
        {f"{name}.SubnetIds" for name in ENDPOINTS} | {"SubnetIds.Value"},
    ),
    ("network", {"VpcId": "vpc-1", "SubnetIds": "subnet-1"}, "RouteTableIds", "rtb-1", {"+S3Endpoint"}),
    (
        "network",
        {},
        "CreateEndpoints",
        "false",
        {f"-{name}" for name in {*ENDPOINTS, "EndpointsSecurityGroup", "EndpointsHearJobs"}}
        | {"JobsSecurityGroup.SecurityGroupEgress"},
    ),
    ("network", {}, "S3PrefixListId", "pl-1", {"JobsSecurityGroup.SecurityGroupEgress"}),
    ("network", {}, "KmsKeyArn", KEY, {"+KmsEndpoint"}),
    ("network", {}, "SecretArns", SECRET, {"+SecretsManagerEndpoint"}),
    ("ci", {}, "Branch", "trunk", {"DeployRole.AssumeRolePolicyDocument"}),
    (
        "ci",
        {},
        "OidcProviderArn",
        PROVIDER,
        {"-OidcProvider", "OidcProviderArn.Value"} | of_roles(("Deploy", "Plan"), "AssumeRolePolicyDocument"),
    ),
    (
        "ci",
        {"Provider": "gitlab"},
        "OidcHost",
        "gitlab.acme.com",
        {"OidcProvider.Url", "OidcProvider.ClientIdList"}
        | of_roles(("Deploy", "Plan"), "AssumeRolePolicyDocument"),
    ),
    ("ci", {}, "KmsKeyArns", f"{KEY},{KEY}", {"DeployRole.+UseTheKeys", "PlanRole.+ReadWithTheKeys"}),
    (
        "ci",
        {},
        "PermissionsBoundaryArn",
        POLICY,
        of_roles(("Deploy", "Plan"), "+PermissionsBoundary") | {"DeployRole.MakeTriggerRole"},
    ),
]
TRIGGER_RIGHTS = (
    "MakeTriggerRole",
    "KeepTriggerRole",
    "GiveTriggerRole",
    "GiveExecutionRole",
    "LookAtExecutionRole",
)
IN_DEPLOY = {f"DeployRole.{sid}" for sid in TRIGGER_RIGHTS}
SOURCES = {"Deployment.Stages", "Review.Stages", "Weekly.Stages"}
OPTIONS += [
    ("ci", {}, "RolePath", "/ml/", of_roles(("Deploy", "Plan"), "Path") | IN_DEPLOY),
    ("ci", {}, "RolePrefix", "acme-", of_roles(("Deploy", "Plan"), "RoleName") | IN_DEPLOY),
    ("codepipeline", {}, "RolePath", "/ml/", of_roles(CODEPIPELINE_ROLES, "Path") | IN_DEPLOY),
    ("codepipeline", {}, "RolePrefix", "acme-", of_roles(CODEPIPELINE_ROLES, "RoleName") | IN_DEPLOY),
    (
        "codepipeline",
        {},
        "PermissionsBoundaryArn",
        POLICY,
        of_roles(CODEPIPELINE_ROLES, "+PermissionsBoundary") | {"DeployRole.MakeTriggerRole"},
    ),
    ("codepipeline", {}, "KmsKeyArns", KEY, {"DeployRole.+UseTheKeys", "PlanRole.+ReadWithTheKeys"}),
    (
        "codepipeline",
        {},
        "ConnectionArn",
        CONNECTION,
        SOURCES
        | of_roles(("Check", "Plan", "Deploy"), "Clone")
        | {"-Connection", "ConnectionArn.Value", "PipelineRole.Watch"},
    ),
    ("codepipeline", {}, "ConnectionProvider", "GitLab", {"Connection.ProviderType"}),
    (
        "codepipeline",
        {},
        "Branch",
        "trunk",
        SOURCES | {"Deployment.Triggers", "Review.Triggers", "Check.Environment"},
    ),
    (
        "codepipeline",
        {},
        "Folder",
        "ml/churn",
        {"Deployment.Triggers", "Review.Triggers"}
        | {f"{each}.Environment" for each in ("Check", "NewestSdk", "Plan", "Deploy")},
    ),
    ("codepipeline", {}, "DeployTo", "dev staging", {"Deployment.Stages"}),
    ("codepipeline", {"DeployTo": "dev staging"}, "DeployTo", "dev staging prod", {"Deployment.Stages"}),
]


@pytest.mark.parametrize(
    ("file", "others", "name", "value", "wanted"), OPTIONS, ids=[f"{each[0]}-{each[2]}" for each in OPTIONS]
)
def test_an_option_changes_just_what_it_should(file, others, name, value, wanted):
    template = template_of(file)
    before = rendered(template, NEEDED | others)
    after = rendered(template, NEEDED | others | {name: value})
    assert changes(before, after) == wanted


def test_no_option_is_left_out_above():
    optional = {
        (path.stem, name)
        for path in FILES
        for name, parameter in template_of(path.stem).section("Parameters").items()
        if "Default" in parameter
    }
    assert optional == {(file, name) for file, _, name, _, _ in OPTIONS}


@pytest.mark.parametrize(
    ("given", "deploys", "plans"),
    [
        (
            {"Provider": "github"},
            ["repo:acme/churn:ref:refs/heads/main"]
            + [f"repo:acme/churn:environment:{name}" for name in ("dev", "staging", "prod")],
            ["repo:acme/churn:pull_request"],
        ),
        (
            {"Provider": "gitlab"},
            ["project_path:acme/churn:ref_type:branch:ref:main"],
            ["project_path:acme/churn:ref_type:branch:ref:*"],
        ),
    ],
)
def test_a_role_of_ci_is_bound_to_repository_branch_and_environments(given, deploys, plans):
    found = rendered(template_of("ci"), NEEDED | given)
    host = {"github": "token.actions.githubusercontent.com", "gitlab": "gitlab.com"}[given["Provider"]]
    audience = {"github": "sts.amazonaws.com", "gitlab": "https://gitlab.com"}[given["Provider"]]
    assert found["OidcProvider"] == {"Url": f"https://{host}", "ClientIdList": [audience]}
    for role, subjects in (("DeployRole", deploys), ("PlanRole", plans)):
        (statement,) = json.loads(found[role]["AssumeRolePolicyDocument"])["Statement"]
        assert statement["Principal"] == {"Federated": "<OidcProvider>"}
        assert statement["Condition"] == {
            "StringEquals": {f"{host}:aud": audience},
            "StringLike": {f"{host}:sub": subjects},
        }


@pytest.mark.parametrize("repository", ["acme/*", "acme", "acme/churn:ref", "acme/ch?rn", "", 'acme/x"'])
def test_a_repository_that_would_let_others_in_is_refused(repository):
    with pytest.raises(ApiError, match="Parameter 'Repository' failed"):
        rendered(template_of("ci"), NEEDED | {"Repository": repository})
