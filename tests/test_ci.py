"""The CI files: clean under the linters of their providers, also for two projects in one repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from generate import generate

BIN = Path(sys.executable).parent
PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def lint(*command: str | Path) -> str:
    """What the linter printed; fails when it found something."""
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def lint_github(root: Path) -> None:
    files = sorted((root / ".github" / "workflows").glob("*.yml"))
    lint("actionlint", "-no-color", *files)
    lint("zizmor", "--offline", "--no-progress", "--persona", "pedantic", *files)


def lint_gitlab(path: Path) -> None:
    schema = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    lint("check-jsonschema", *schema, path)


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("github") / "in")


@pytest.fixture(scope="module")
def gitlab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("gitlab") / "in", ci_provider="gitlab")


def documents(project: Path) -> dict[str, dict]:
    """Workflows by file name."""
    return {path.name: yaml.safe_load(path.read_text()) for path in project.glob(".github/workflows/*.yml")}


def test_github_workflows_are_clean_under_actionlint_and_zizmor(github):
    lint_github(github)


def test_a_linter_that_finds_something_fails_the_test_above(github, tmp_path):
    spoilt = tmp_path / ".github" / "workflows" / "deploy.yml"
    spoilt.parent.mkdir(parents=True)
    text = (github / ".github/workflows/deploy.yml").read_text()
    for old, new in (("permissions: {}", "permissions: write-all"), ("needs: dev", "needs: absent")):
        spoilt.write_text(text.replace(old, new))
        with pytest.raises(AssertionError, match=r"excessive-permissions|absent"):
            lint_github(tmp_path)


def test_gitlab_ci_follows_gitlabs_schema(gitlab, tmp_path):
    lint_gitlab(gitlab / ".gitlab-ci.yml")
    spoilt = tmp_path / ".gitlab-ci.yml"
    spoilt.write_text((gitlab / ".gitlab-ci.yml").read_text().replace("stage: plan", "stage: {plan: 1}"))
    with pytest.raises(AssertionError):
        lint_gitlab(spoilt)


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(github):
    for path in github.glob(".github/workflows/*.yml"):
        used = re.findall(r"uses: (.+)", path.read_text())
        assert used and all(PINNED.fullmatch(line) for line in used), path


def test_no_workflow_has_rights_that_a_job_has_not_asked_for(github):
    for name, document in documents(github).items():
        assert document["permissions"] == {}, name
        assert "concurrency" in document, name
        rights = {right for job in document["jobs"].values() for right in job["permissions"]}
        assert rights <= {"contents", "id-token", "pull-requests"}, name
        assert all(job["permissions"]["contents"] == "read" for job in document["jobs"].values())


def test_an_environment_is_deployed_only_after_the_one_before_it(github):
    jobs = documents(github)["deploy.yml"]["jobs"]
    assert {name: jobs[name]["needs"] for name in ("dev", "staging", "prod")} == {
        "dev": "test",
        "staging": "dev",
        "prod": "staging",
    }
    assert all(jobs[name]["environment"] == name for name in ("dev", "staging", "prod"))


def test_a_schedule_of_gitlab_tries_the_newest_sdk_and_deploys_nothing(gitlab):
    document = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text())
    rules = {
        name: job["rules"] for name, job in document.items() if isinstance(job, dict) and "script" in job
    }
    scheduled = [name for name, (rule,) in rules.items() if '$CI_PIPELINE_SOURCE == "schedule"' in rule["if"]]
    assert scheduled == ["newest-sdk"]
    others = [rule["if"] for name, (rule,) in rules.items() if name not in ("newest-sdk", "plan")]
    assert all(condition.startswith('$CI_PIPELINE_SOURCE != "schedule"') for condition in others)


def test_no_key_is_kept_anywhere(github, gitlab):
    for path in [*github.glob(".github/workflows/*.yml"), gitlab / ".gitlab-ci.yml"]:
        assert not re.search(r"secrets\.|SECRET|ACCESS_KEY", path.read_text()), path


def monorepo(folder: Path, source: Path, *slugs: str) -> Path:
    """A git repository with a copy of the project for each slug, in ml/<slug>, and its CI files installed."""
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for slug in slugs:
        project = folder / "ml" / slug
        shutil.copytree(source, project)
        settings = project / "settings.toml"
        settings.write_text(re.sub(r'(?m)^slug = "[^"]+"', f'slug = "{slug}"', settings.read_text()))
        done = subprocess.run(
            [sys.executable, "-m", "ml_pipeline", "workflows"], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_two_projects_in_one_repository_have_workflows_of_their_own(github, tmp_path):
    root = monorepo(tmp_path / "repository", github, "loans", "churn")
    lint_github(root)
    found = documents(root)
    assert len(found) == 6
    pull = found["churn-pull-request.yml"]
    assert pull["env"] == {"PROJECT": "ml/churn"}
    # YAML reads the key `on` as true.
    assert pull[True]["pull_request"]["paths"] == ["ml/churn/**", ".github/workflows/churn-pull-request.yml"]
    assert len({document["name"] for document in found.values()}) == 6  # the concurrency groups are named so
    commented = pull["jobs"]["plan"]["steps"][-1]["run"]
    assert commented == 'gh pr comment "$NUMBER" --body-file plan.md'  # never the other project's comment
    text = (root / ".github/workflows/churn-deploy.yml").read_text()
    assert "vars.AWS_DEPLOY_ROLE_ARN_CHURN" in text and "vars.AWS_DEPLOY_ROLE_ARN }" not in text


def test_two_projects_in_one_repository_are_child_pipelines_of_gitlab(gitlab, tmp_path):
    root = monorepo(tmp_path / "repository", gitlab, "loans", "churn")
    lint_gitlab(root / ".gitlab-ci.yml")
    jobs = yaml.safe_load((root / ".gitlab-ci.yml").read_text())
    assert {name: job["trigger"]["include"] for name, job in jobs.items()} == {
        "loans": "ml/loans/.gitlab-ci.yml",
        "churn": "ml/churn/.gitlab-ci.yml",
    }
    assert jobs["churn"]["variables"]["AWS_PLAN_ROLE_ARN"] == "$AWS_PLAN_ROLE_ARN_CHURN"


def test_installing_twice_changes_nothing(gitlab, tmp_path):
    root = monorepo(tmp_path / "repository", gitlab, "loans")
    before = (root / ".gitlab-ci.yml").read_text()
    command = [sys.executable, "-m", "ml_pipeline", "workflows"]
    told = subprocess.run(command, cwd=root / "ml/loans", check=True, capture_output=True, text=True).stdout
    assert told == ".gitlab-ci.yml of the repository starts this project already\n"
    assert (root / ".gitlab-ci.yml").read_text() == before


def test_a_workflow_that_lost_the_line_to_change_is_refused_and_nothing_is_written(github, tmp_path):
    root = monorepo(tmp_path / "repository", github, "loans")
    workflow = root / "ml/loans/.github/workflows/deploy.yml"
    workflow.write_text(workflow.read_text().replace("  PROJECT: .\n", "  FOLDER: .\n"))
    shutil.rmtree(root / ".github")
    command = [sys.executable, "-m", "ml_pipeline", "workflows"]
    done = subprocess.run(command, cwd=root / "ml/loans", capture_output=True, text=True)
    assert done.returncode == 2
    assert "deploy.yml must hold the line `PROJECT: .` once" in done.stderr
    assert not (root / ".github").exists()


def test_a_project_that_is_its_own_repository_has_nothing_to_install(github, tmp_path):
    project = tmp_path / "alone"
    shutil.copytree(github, project)
    subprocess.run(["git", "init", "--quiet", project], check=True)
    command = [sys.executable, "-m", "ml_pipeline", "workflows"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 2 and "its CI files are where they belong" in done.stderr
