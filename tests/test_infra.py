"""The CloudFormation templates as they are written: clean, bounded, and what the README says of them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

import role_table
import templates
from generate import TEMPLATE
from templates import FILES, INFRA, load

BIN = Path(sys.executable).parent
LOADED = {path.name: load(path) for path in FILES}
ROLES = [
    (file, name, role)
    for file, template in LOADED.items()
    for name, role in templates.resources(template, "AWS::IAM::Role").items()
]
REQUEST_BYTES = 51_200  # the longest template that a request to CloudFormation may hold itself
INLINE_CHARACTERS, MANAGED_CHARACTERS = (
    10_240,
    6_144,
)  # of all policies of a role, of a managed one, without spaces
# What commands and people take from a stack; every other output is a Parameter of another template.
FOR_COMMANDS = {
    "RepositoryUri",
    "ModelPackageGroupName",
    "ExecutionRoleArn",
    "ImageBuildProject",
    "SecurityGroupIds",
}
FOR_PEOPLE = {
    "TriggerRoleArn",
    "TopicArn",
    "FailedDeliveriesUrl",
    "DashboardName",
    "DeployRoleArn",
    "PlanRoleArn",
}


@pytest.fixture(scope="session")
def checkov() -> Path:
    """The checkov of tests/checkov.txt, in an environment of its own, made once."""
    lock, folder = TEMPLATE / "tests" / "checkov.txt", TEMPLATE / ".checkov"
    ready = folder / hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists():
        uv = shutil.which("uv") or str(BIN / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        into = ["--python", str(folder / "bin" / "python"), "--require-hashes", "--requirement", str(lock)]
        subprocess.run([uv, "pip", "install", "--quiet", *into], check=True)
        ready.touch()
    return folder / "bin" / "checkov"


def checked(checkov: Path, folder: Path) -> dict[str, Any]:
    """checkov's results for a folder, without asking anything of the network."""
    command = [
        sys.executable.replace(str(BIN), str(checkov.parent)),
        str(checkov),
        "--directory",
        str(folder),
    ]
    options = ["--framework", "cloudformation", "--skip-download", "--output", "json", "--soft-fail"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["results"]


def linted(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "cfn-lint", "--non-zero-exit-code", "informational", "--", *paths],
        capture_output=True,
        text=True,
    )


def test_the_templates_are_clean_under_cfn_lint(tmp_path):
    done = linted(*FILES)
    assert done.returncode == 0, done.stdout
    spoilt = tmp_path / "triggers.yaml"
    spoilt.write_text((INFRA / "triggers.yaml").read_text().replace("Mode: !If", "Mod: !If"))
    assert "'Mode' is a required property" in linted(spoilt).stdout


def test_the_templates_are_clean_under_checkov_and_no_suppression_is_idle(checkov, tmp_path):
    results = checked(checkov, INFRA)
    assert (
        not results["failed_checks"] and not results["parsing_errors"] and len(results["passed_checks"]) > 50
    )
    suppressed = {
        (each["file_path"][1:], each["resource"].split(".")[1], each["check_id"])
        for each in results["skipped_checks"]
    }
    assert suppressed == set(suppressions())
    shutil.copy(INFRA / "foundation.yaml", tmp_path)
    spoilt = (
        (tmp_path / "foundation.yaml")
        .read_text()
        .replace("BlockPublicPolicy: true", "BlockPublicPolicy: false")
    )
    (tmp_path / "foundation.yaml").write_text(spoilt)
    assert [each["check_id"] for each in checked(checkov, tmp_path)["failed_checks"]] == ["CKV_AWS_54"]


def suppressions() -> list[tuple[str, str, str]]:
    """(file, resource, check) of each, all of which must have a reason."""
    found = []
    for file, template in LOADED.items():
        for name, resource in template["Resources"].items():
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
                assert len(skip["comment"].split()) > 4, (file, name, skip)
                found.append((file, name, skip["id"]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_template_fits_into_a_request(path):
    assert path.stat().st_size < REQUEST_BYTES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_wildcard_and_every_silenced_lint_has_its_reason_beside_it(path):
    lines = path.read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.search(r'Resource: "\*"|ignore_checks', line):
            assert "   # " in line, line
        if re.search(r"arn:[^ ]*:\*:", line):
            assert "# " in before or ":*:" in before, line


@pytest.mark.parametrize(
    ("file", "name", "role"), ROLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_role_has_a_whole_service_or_a_whole_account(file, name, role):
    for statement in templates.statements(role):
        assert all("*" not in action for action in statement.actions), statement
        for resource in map(templates.words, statement.resources):
            assert resource == "*" or re.search(r"<|/aws/|sagemaker-|/\*", resource), statement
        if resource == "*" and statement.sid == "PublishMetrics":
            assert statement.condition["StringEquals"]["cloudwatch:namespace"][0] == "MLPipeline"
    assert len({each.sid for each in templates.statements(role)}) == len([*templates.statements(role)])


@pytest.mark.parametrize(
    ("file", "name", "role"), ROLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_role_takes_a_companys_boundary_path_and_prefix(file, name, role):
    assert role["Path"] == {"Ref": "RolePath"}
    assert role["RoleName"]["Fn::Sub"].startswith("${RolePrefix}${Project}-")
    _, bound, _ = role["PermissionsBoundary"]["Fn::If"]
    assert bound == {"Ref": "PermissionsBoundaryArn"}


@pytest.mark.parametrize(
    ("file", "name", "role"), ROLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_nobody_assumes_a_role_without_a_condition(file, name, role):
    for statement in templates.trust(role):
        assert statement["Condition"] and statement["Principal"] != "*"


@pytest.mark.parametrize(
    ("file", "name", "role"), ROLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_roles_policies_are_no_longer_than_iam_takes(file, name, role):
    assert length([policy["PolicyDocument"] for policy in role["Policies"]]) < INLINE_CHARACTERS


def test_the_boundary_of_the_trigger_role_allows_just_what_the_role_does():
    (boundary,) = templates.resources(LOADED["foundation.yaml"], "AWS::IAM::ManagedPolicy").values()
    assert length([boundary["PolicyDocument"]]) < MANAGED_CHARACTERS
    (role,) = templates.resources(LOADED["triggers.yaml"], "AWS::IAM::Role").values()
    bounded = {
        each["Sid"]: templates.as_list(each["Action"]) for each in boundary["PolicyDocument"]["Statement"]
    }
    assert bounded == {each.sid: each.actions for each in templates.statements(role)}


def length(documents: list[Any]) -> int:
    """Characters of policies with the longest values that their Parameters may have."""
    values = {
        "Project": 24,
        "Environment": 28,
        "RolePath": 30,
        "RolePrefix": 20,
        "AWS::Region": 14,
        "AWS::AccountId": 12,
    }
    text = json.dumps(documents, separators=(",", ":"))
    for name, size in values.items():
        text = text.replace(f"${{{name}}}", "x" * size)
    return len(text)


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("executions/abc/train/model.tar.gz", True),
        ("score/2026-01-31/output/part.csv", True),
        ("score/2026-01-31/monitor/quality/analysis.json", True),
        ("score/2026-01-31/input/part.csv", False),
        ("raw/2026-01-31/data.parquet", True),
        ("raw/2026-01-31/_SUCCESS", True),
        ("checkpoints/abc/round-100", True),
        ("code/hash/churn-dev-train/Train/time/abc/results/results.json", True),
        ("code/hash/churn-dev-train/abc/Train/exception/payload.pkl", True),
        ("code/hash/definition-train.json", False),
        ("code/hash/churn-dev-train/Train/time/function/payload.pkl", False),
        ("code/hash/churn-dev-train/sm_rf_user_ws/time/workspace.zip", False),
        ("code/image/tag.zip", False),
        ("raw/2026-01-31/data.csv", False),
        ("truth/2026-01-31/labels.csv", False),
    ],
)
def test_a_step_writes_results_and_labelled_rows_but_neither_code_nor_what_was_given(key, written):
    role = LOADED["foundation.yaml"]["Resources"]["ExecutionRole"]["Properties"]
    writing = [each for each in templates.statements(role) if "s3:PutObject" in each.actions]
    places = [templates.words(resource) for each in writing for resource in each.resources]
    assert any(fnmatchcase(f"<Bucket>/{key}", place) for place in places) == written
    deleting = [each.resources for each in templates.statements(role) if "s3:DeleteObject" in each.actions]
    assert [[templates.words(each) for each in found] for found in deleting] == [
        ["<Bucket>/raw/*/data.parquet", "<Bucket>/raw/*/_SUCCESS"],
        ["<Bucket>/score/*/output/*", "<Bucket>/score/*/monitor/*"],
        ["<Bucket>/checkpoints/*"],
    ]


def test_deploy_and_plan_may_do_the_same_wherever_they_run():
    for name in ("DeployRole", "PlanRole"):
        roles = [LOADED[file]["Resources"][name]["Properties"] for file in ("ci.yaml", "codepipeline.yaml")]
        assert roles[0]["Policies"][0] == roles[1]["Policies"][0]
        assert [policy["PolicyName"] for policy in roles[1]["Policies"][1:]] == ["build"]


def test_the_plan_role_changes_nothing():
    (role,) = [role for file, name, role in ROLES if (file, name) == ("ci.yaml", "PlanRole")]
    done = {action.partition(":")[2] for each in templates.statements(role) for action in each.actions}
    assert {name for name in done if not re.match("Describe|Get|List|Decrypt", name)} == {
        "CreateChangeSet",
        "DeleteChangeSet",
        "TagResource",  # of a change set: there is no such call
    }


@pytest.mark.parametrize("file", LOADED)
def test_every_parameter_is_described_and_refuses_what_cannot_be(file):
    for name, parameter in LOADED[file]["Parameters"].items():
        assert parameter["Description"], name
        if "AllowedValues" in parameter:
            assert parameter.get("Default") in (None, *parameter["AllowedValues"])
        elif parameter["Type"] == "Number":
            assert {"MinValue", "MaxValue"} <= set(parameter)
        else:
            assert parameter["ConstraintDescription"], name
            assert (
                re.fullmatch(parameter["AllowedPattern"], parameter.get("Default", "churn"))
                or "Default" not in parameter
            )


def test_a_parameter_is_the_same_in_every_template():
    seen: dict[str, Any] = {}
    for template in LOADED.values():
        for name, parameter in template["Parameters"].items():
            kind = {key: value for key, value in parameter.items() if key != "Description"}
            if name not in ("Repository",):  # CodePipeline knows no id in it
                assert seen.setdefault(name, kind) == kind, name


def test_every_output_is_a_parameter_of_another_stack_or_for_people():
    parameters = {name for template in LOADED.values() for name in template["Parameters"]}
    outputs = {name: each for template in LOADED.values() for name, each in template["Outputs"].items()}
    assert {*outputs} - parameters == FOR_COMMANDS | FOR_PEOPLE
    assert all(each["Description"] for each in outputs.values())


def test_nothing_expires_that_a_model_or_a_pipeline_may_point_at():
    (bucket,) = templates.resources(LOADED["foundation.yaml"], "AWS::S3::Bucket").values()
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert [rule["Prefix"] for rule in rules if "ExpirationInDays" in rule] == ["checkpoints/"]
    assert not [rule for rule in rules if {"ExpirationDate", "TagFilters"} & set(rule)]
    (repository,) = templates.resources(LOADED["foundation.yaml"], "AWS::ECR::Repository").values()
    policy = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])
    assert [rule["selection"]["tagStatus"] for rule in policy["rules"]] == ["untagged"]
    kept = {
        name: LOADED["foundation.yaml"]["Resources"][name]
        for name in ("Bucket", "Key", "Repository", "ModelPackageGroup")
    }
    assert {(each["DeletionPolicy"], each["UpdateReplacePolicy"]) for each in kept.values()} == {
        ("RetainExceptOnCreate", "Retain")
    }


@pytest.mark.parametrize("file", LOADED)
def test_what_a_failed_creation_has_made_does_not_stand_in_the_way_of_the_next(file):
    """A named resource that outlives the rollback makes each later creation fail: it exists already."""
    policies = {name: each.get("DeletionPolicy") for name, each in LOADED[file]["Resources"].items()}
    assert not [name for name, policy in policies.items() if policy == "Retain"]


def test_alarms_look_at_the_metrics_of_the_project_as_agreed():
    alarms = templates.resources(LOADED["triggers.yaml"], "AWS::CloudWatch::Alarm").values()
    ours = {each["MetricName"]: each for each in alarms if each["Namespace"] == "MLPipeline"}
    names = {
        metric: each["AlarmName"]["Fn::Sub"].removeprefix("${Project}-${Environment}-")
        for metric, each in ours.items()
    }
    assert names == {
        "DataDrift": "data-drift",
        "PredictionDrift": "prediction-drift",
        "QualityDrop": "quality-drop",
        "BiasDrift": "bias-drift",
        "AttributionDrift": "attribution-drift",
        "DataBroken": "data-broken",
    }
    for each in ours.values():
        assert [dimension["Name"] for dimension in each["Dimensions"]] == ["Project", "Environment"]
        assert (each["Statistic"], each["Period"], each["TreatMissingData"]) == (
            "Maximum",
            3600,
            "notBreaching",
        )
    (composite,) = templates.resources(LOADED["triggers.yaml"], "AWS::CloudWatch::CompositeAlarm").values()
    assert "DataBroken" not in composite["AlarmRule"]["Fn::Sub"]
    assert composite["AlarmRule"]["Fn::Sub"].count("ALARM(") == 5


def test_the_dashboard_shows_every_metric_and_every_alarm():
    (dashboard,) = templates.resources(LOADED["triggers.yaml"], "AWS::CloudWatch::Dashboard").values()
    text = dashboard["DashboardBody"]["Fn::Sub"]
    assert len(json.loads(text)["widgets"]) >= 8
    for name, alarm in templates.resources(LOADED["triggers.yaml"], "AWS::CloudWatch::Alarm").items():
        assert f"${{{name}.Arn}}" in text
        assert alarm["Namespace"] != "MLPipeline" or f'"{alarm["MetricName"]}"' in text


def test_every_rule_and_schedule_is_retried_within_bounds_and_has_a_dead_letter_queue():
    rules = templates.resources(LOADED["triggers.yaml"], "AWS::Events::Rule").values()
    schedules = templates.resources(LOADED["triggers.yaml"], "AWS::Scheduler::Schedule").values()
    targets = [target for rule in rules for target in rule["Targets"]] + [
        each["Target"] for each in schedules
    ]
    assert len(targets) == 5
    for target in targets:
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 3}
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": "FailedDeliveries.Arn"}}


@pytest.mark.parametrize("file", ["foundation.yaml", "codepipeline.yaml"])
def test_build_commands_are_valid_shell(file):
    projects = templates.resources(LOADED[file], "AWS::CodeBuild::Project").values()
    for project in projects:
        buildspec = yaml.safe_load(project["Source"]["BuildSpec"])
        commands = [command for phase in buildspec["phases"].values() for command in phase["commands"]]
        done = subprocess.run(["bash", "-n"], input="\n".join(commands), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def cloning_builds(template: dict[str, Any]) -> set[str]:
    """CodeBuild projects, by logical name, that are given a repository to clone instead of its files."""
    found = set()
    for pipeline in templates.resources(template, "AWS::CodePipeline::Pipeline").values():
        stages = [each["Fn::If"][1] if "Fn::If" in each else each for each in pipeline["Stages"]]
        actions = [action for stage in stages for action in stage["Actions"]]
        (source,) = (each for each in actions if each["ActionTypeId"]["Category"] == "Source")
        assert source["Configuration"]["OutputArtifactFormat"] == "CODEBUILD_CLONE_REF"
        given = [each for each in actions if source["OutputArtifacts"][0] in each.get("InputArtifacts", [])]
        # Nothing but CodeBuild takes such an artifact.
        assert {each["ActionTypeId"]["Provider"] for each in given} == {"CodeBuild"}
        found |= {each["Configuration"]["ProjectName"]["Ref"] for each in given}
    return found


def test_builds_may_clone_by_the_connection_and_fetch_with_its_credentials():
    """What AWS asks for of a full clone: UseConnection for the build's role, git's helper for commands."""
    template = LOADED["codepipeline.yaml"]
    projects = templates.resources(template, "AWS::CodeBuild::Project")
    assert cloning_builds(template) == set(projects)
    fetching = set()
    for name, project in projects.items():
        role = template["Resources"][project["ServiceRole"]["Fn::GetAtt"].removesuffix(".Arn")]["Properties"]
        (clone,) = (each for each in templates.statements(role) if each.sid == "Clone")
        assert clone.actions == ("codeconnections:UseConnection", "codestar-connections:UseConnection")
        buildspec = yaml.safe_load(project["Source"]["BuildSpec"])
        commands = [command for phase in buildspec["phases"].values() for command in phase["commands"]]
        if any("git fetch" in command for command in commands):
            fetching.add(name)
            assert buildspec["env"]["git-credential-helper"] is True, name  # YAML's yes
    assert fetching == {"Check"}


def test_the_readme_says_what_each_role_may_do():
    readme = role_table.README.read_text(encoding="utf-8")
    assert role_table.written(readme) == readme, "run .venv/bin/python tests/role_table.py"
