"""`workflows`: CI files of a project in a folder of a larger repository, put where the provider looks."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ml_pipeline.errors import InputError
from ml_pipeline.local import PROJECT

GITHUB, GITLAB = Path(".github/workflows"), Path(".gitlab-ci.yml")
ROLES = ("AWS_PLAN_ROLE_ARN", "AWS_DEPLOY_ROLE_ARN")
COMMAND = "python -m ml_pipeline workflows"


def install(slug: str, project: Path = PROJECT) -> list[Path]:
    """Files written in the repository's root, so that several projects can live in one repository.

    Raises InputError when the project is the repository, has no CI files, or has ones without a line that has
    to be changed.
    """
    root = _root(project)
    folder = project.resolve().relative_to(root).as_posix()
    if folder == ".":
        raise InputError(f"{root} is the project's own repository: its CI files are where they belong")
    workflows = sorted((project / GITHUB).glob("*.yml"))
    if not workflows and not (project / GITLAB).exists():
        raise InputError(f"{project} has neither {GITHUB} nor {GITLAB}: there is nothing to install")
    texts = {root / GITHUB / f"{slug}-{path.name}": github(path, slug, folder) for path in workflows}
    if (project / GITLAB).exists():
        texts |= _with_child(root / GITLAB, slug, folder)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def github(path: Path, slug: str, folder: str) -> str:
    """The workflow for a project in the folder: with its own name, paths and role variables."""
    text = path.read_text(encoding="utf-8")
    name = next((line for line in text.splitlines() if line.startswith("name: ")), "name: ")
    own = GITHUB / f"{slug}-{path.name}"
    lines = {name: f"{name} ({slug})", "  PROJECT: .": f"  PROJECT: {folder}"}
    if "paths:" in text:
        lines['    paths: ["**"]'] = f'    paths: ["{folder}/**", "{own.as_posix()}"]'
    for old, new in lines.items():
        if text.count(f"\n{old}\n") != 1:
            raise InputError(f"{path} must hold the line `{old.strip()}` once: `{COMMAND}` changes it")
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    # The bot's last comment may be the plan of another project: each plan is a comment of its own.
    text = text.replace(" --edit-last --create-if-none", "")
    for role in ROLES:
        text = text.replace(role, f"{role}_{_suffix(slug)}")
    source = f"{folder}/{GITHUB.as_posix()}/{path.name}"
    return f"# Made by `{COMMAND}` from {source}: change that, then repeat.\n{text}"


def gitlab(slug: str, folder: str) -> str:
    """The job that starts the project's own file as a child pipeline when something in the folder changes."""
    roles = "".join(f"    {role}: ${role}_{_suffix(slug)}\n" for role in ROLES)
    return (
        f"# Made by `{COMMAND}` in {folder}.\n"
        f"{slug}:\n"
        "  trigger:\n"
        f"    include: {folder}/{GITLAB.name}\n"
        "    strategy: depend\n"
        "  variables:\n"
        f"    PROJECT: {folder}\n"
        f"{roles}"
        "  rules:\n"
        f"    - if: $CI_MERGE_REQUEST_IID\n"
        f"      changes: [{folder}/**/*]\n"
        f"    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH\n"
        f"      changes: [{folder}/**/*]\n"
    )


def _with_child(path: Path, slug: str, folder: str) -> dict[Path, str]:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if f"\n{slug}:" in f"\n{before}":
        return {}
    return {path: f"{before}\n{gitlab(slug, folder)}" if before else gitlab(slug, folder)}


def _suffix(slug: str) -> str:
    return slug.upper().replace("-", "_")


def _root(project: Path) -> Path:
    asked = ["git", "-C", str(project), "rev-parse", "--show-toplevel"]
    try:
        return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise InputError(f"{project} is in no git repository: `git init` it first") from None
