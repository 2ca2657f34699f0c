"""Every command that a CI file of a provider runs, extracted from it and run against a local AWS."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import templates
from test_deploy import Desk, desk  # noqa: F401, the fixture that `prepared` takes

ENVIRONMENTS = ("dev", "staging", "prod")
# What runners and their own tools do, in the order in which it is looked for.
OF_THE_RUNNER = (
    "cd ",
    "python -m pip install",
    "python3 -m pip install",
    "printf %s",
    "gh pr comment",
    "cat plan.md",
)
# What a runner, or CodeBuild, has in its environment.
RUNNER = {
    "PROJECT": ".",
    "FOLDER": ".",
    "BRANCH": "main",
    "GITHUB_STEP_SUMMARY": "summary.md",
    "GITHUB_WORKSPACE": "elsewhere",
}


def github_commands(project: Path) -> Iterator[str]:
    for path in sorted(project.glob(".github/workflows/*.yml")):
        jobs = yaml.safe_load(path.read_text())["jobs"]
        for step in (step for job in jobs.values() for step in job["steps"]):
            if "run" in step:
                yield step["run"]


def gitlab_commands(project: Path) -> Iterator[str]:
    document = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    for job in document.values():
        if isinstance(job, dict):
            yield from (*job.get("before_script", ()), *job.get("script", ()))


def codebuild_commands(project: Path) -> Iterator[str]:
    template = templates.load(project / "infra" / "codepipeline.yaml")
    for build in templates.resources(template, "AWS::CodeBuild::Project").values():
        phases = yaml.safe_load(build["Source"]["BuildSpec"])["phases"].values()
        for line in (command for phase in phases for command in phase["commands"]):
            for environment in ENVIRONMENTS if "$ENVIRONMENT" in line else ("",):
                yield line.replace('"$ENVIRONMENT"', environment)


PROVIDERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "github": github_commands,
    "gitlab": gitlab_commands,
    "codepipeline": codebuild_commands,
}


@pytest.fixture(scope="module")
def commands(make_project: Callable[..., Path]) -> dict[str, set[str]]:
    """The project's own commands, without comments, by provider."""
    return {
        provider: {
            re.sub(r" +# .*", "", command)
            for command in extracted(make_project(ci_provider=provider))
            if not command.startswith(OF_THE_RUNNER)
        }
        for provider, extracted in PROVIDERS.items()
    }


@pytest.fixture(scope="module")
def prepared(desk: Desk) -> Desk:  # noqa: F811
    """What a person has done before CI can work: the environment of the runner, and the foundation."""
    (desk.project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    parameters = {"Project": "demo", "Environment": "dev", "TuningJobPrefix": "demo-d"}
    desk.client("cloudformation").create_stack(
        StackName="demo-dev-foundation",
        TemplateBody=(desk.project / "infra" / "foundation.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    return desk


def run(desk: Desk, command: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    return subprocess.run(
        ["bash", "-c", command],
        cwd=desk.project,
        env=desk.environment | RUNNER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_provider_lints_tests_runs_plans_and_deploys(commands):
    for provider, found in commands.items():
        assert {"make lint", "make test", "make run"} <= found, provider
        assert any("ml_pipeline plan --env dev" in command for command in found), provider
        assert {"make definition", "make run ARGS=--fresh"} <= found, provider  # with the newest SDK, weekly
        assert any(re.match("make lock .*--upgrade-package sagemaker ", command) for command in found), (
            provider
        )
        assert any(re.search("ml_pipeline metrics latest --against ", command) for command in found), provider
        for environment in ENVIRONMENTS:
            assert f".venv/bin/python -m ml_pipeline deploy --env {environment} --ci" in found, provider


def test_the_make_targets_that_workflows_name_exist(commands, prepared):
    everything = {command for found in commands.values() for command in found}
    for command in (each.partition(" || ")[0] for each in everything if re.match("make (?!-C)", each)):
        done = run(prepared, f"{command} --dry-run")
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert run(prepared, "make absent --dry-run").returncode != 0


def test_what_a_provider_checks_out_to_compare_with_is_a_project_that_runs(commands, prepared):
    for command in ("git branch -M main", "git remote add origin ."):
        assert run(prepared, command).returncode == 0, command
    for provider in ("gitlab", "codepipeline"):  # GitHub has an action for it
        (checkout,) = (each for each in commands[provider] if each.startswith("git "))
        (runs,) = (each for each in commands[provider] if each.startswith("make -C "))
        for command in (checkout.partition(" || ")[0], runs.partition(" || ")[0] + " --dry-run"):
            done = run(prepared, command)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        assert "-m ml_pipeline run" in done.stdout
        assert run(prepared, "git worktree remove --force base").returncode == 0


def test_every_command_of_a_workflow_does_its_work(commands, prepared):
    everything = {command for found in commands.values() for command in found}
    # staging and prod are given the same commands as dev, which the test above sees.
    own = {
        re.sub(r"--env \w+", "--env dev", each)
        for each in everything
        if not each.startswith(("make ", "git "))
    }
    assert run(prepared, ".venv/bin/python -m ml_pipeline run --set ApprovalStatus=Rejected").returncode == 0
    measured = (prepared.project / "runs" / "latest").resolve()
    for place in ("base", "elsewhere/base"):
        shutil.copytree(measured, prepared.project / place / "runs" / "latest")
    for command in sorted(own, key=lambda each: " deploy " in each):  # a plan of what is there tells nothing
        done = run(prepared, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "--against" in command and ">>" not in command:
            assert "| metric (test) | value | interval | before | change |" in done.stdout, command
    assert (prepared.project / "plan.md").read_text().startswith("### Plan for `demo-dev`: changes")
    summary = (prepared.project / "summary.md").read_text()
    assert "### Run " in summary and "| auc |" in summary
    assert "| metric (test) | value | interval | before | change |" in summary
    assert prepared.stacks()["demo-dev-triggers"] == "CREATE_COMPLETE"
    pipeline = prepared.client("sagemaker").describe_pipeline(PipelineName="demo-dev-train")
    assert pipeline["PipelineStatus"] == "Active"
