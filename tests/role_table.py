"""The README's section "What each role may do", rendered from the templates; run it to write it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import templates
from templates import INFRA, Statement

README = INFRA.parent / "README.md"
HEADING = "## What each role may do"
INTRODUCTION = """\
Each role has only what this table says; it is made from `infra/*.yaml`. `<Project>` is the slug,
`<Environment>` such as `prod`; where no region and account are named, they are the stack's own. So that
`churn-*` means one project alone, no other slug of the account may begin with `churn-`. A permissions
boundary, a path and a prefix for all roles are Parameters (`settings.toml`, `[deploy.parameters]`)."""
CLOSING = """\
The template's tests deploy these roles into the local AWS with `--enforce-iam`. The execution, trigger,
plan, deploy, image and weekly role do their whole work there, cannot do it without any one statement, and
are refused what lies outside of it. Not seen there, since the local AWS does not do it: the metrics that
SageMaker publishes of a job's machine, the network interfaces of jobs and builds in a VPC, grants of a key
to the volumes of jobs, the pull of AWS's own images, and the push of an image with Docker. The local AWS
runs no CodePipeline, so its pipeline role, its check role and what plan and deploy have in common with that
are only read against their templates. Rights on a subscription are asked for on its topic, as AWS's
refusals do, though its reference names no resource."""
# Template, role's logical name, who uses it. Deploy and plan are the same in codepipeline.yaml, a test says.
ROLES = (
    ("foundation.yaml", "ExecutionRole", "the pipelines and the jobs of their steps"),
    ("triggers.yaml", "TriggerRole", "schedules and the rule that starts a retraining"),
    (
        "foundation.yaml",
        "ImageBuildRole",
        "the CodeBuild project that builds the image without a Docker engine",
    ),
    ("ci.yaml", "PlanRole", "CI, for a proposed change"),
    ("ci.yaml", "DeployRole", "CI, for the branch that is deployed"),
    (
        "codepipeline.yaml",
        "CheckRole",
        "with CodePipeline: lint and tests; the same comes to plan and deploy",
    ),
    ("codepipeline.yaml", "PipelineRole", "with CodePipeline: CodePipeline itself"),
    ("codepipeline.yaml", "WeeklyRole", "with CodePipeline: the schedule that starts the weekly test"),
)
WHEN = {
    "HasSecrets": "with `[secrets]`",
    "HasKey": "with a KMS key",
    "HasKeys": "with KMS keys",
    "RunsInVpc": "with `vpc_only`",
    "HasBaseRepository": "with BaseRepositoryArn",
    "HasPipConf": "with PipConfSecretArn",
    "BuildsInVpc": "with BuildVpcId",
}


def section() -> str:
    """The whole section, heading included."""
    tables = (table(*role) for role in ROLES)
    return "\n\n".join((HEADING, INTRODUCTION, *tables, CLOSING)) + "\n"


def table(file: str, logical: str, user: str) -> str:
    """Markdown of one role: its name, who uses it, a row a statement."""
    role = templates.resources(templates.load(INFRA / file), "AWS::IAM::Role")[logical]
    name = templates.words(role["RoleName"]).removeprefix("<RolePrefix>")
    rows = [row(each) for each in templates.statements(role)]
    return "\n".join((f"**`{name}`**: {user}", "", "| For | May | On |", "|---|---|---|", *rows))


def row(statement: Statement) -> str:
    purpose = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", statement.sid).capitalize().replace("vpc", "VPC")
    only = [*([WHEN[statement.when]] if statement.when else []), *limits(statement.condition)]
    what = " ".join((purpose, f"({', '.join(only)})")) if only else purpose
    return f"| {what} | {actions(statement.actions)} | {places(statement.resources)} |"


def actions(names: tuple[str, ...]) -> str:
    """`s3:` GetObject, PutObject; each service once."""
    services: dict[str, list[str]] = {}
    for name in names:
        service, _, action = name.partition(":")
        services.setdefault(service, []).append(action)
    return "; ".join(f"`{service}:` {', '.join(each)}" for service, each in services.items())


def places(resources: tuple[Any, ...]) -> str:
    texts = [templates.words(each) for each in resources]
    return ", ".join("everything" if text == "*" else f"`{text}`" for text in texts)


def limits(condition: dict[str, Any]) -> Iterator[str]:
    """What binds a statement beside its resources."""
    for keys in condition.values():
        for key, value in keys.items():
            texts = [templates.words(each) for each in templates.as_list(value)]
            yield f"`{key}` {' or '.join(f'`{text}`' for text in texts)}"


def written(readme: str) -> str:
    """The README with its section made anew."""
    before, _, rest = readme.partition(HEADING)
    after = rest[rest.index("\n## ") :]
    return f"{before}{section()}{after}"


def main() -> None:
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
