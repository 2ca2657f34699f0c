"""A content hash changes with what a pipeline is made of, and with nothing else."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

import pytest

from ml_pipeline import upsert


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout of the project's inputs, which upsert takes for the project."""
    for name in upsert.INPUTS:
        source, target = upsert.PROJECT / name, tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (tmp_path / "README.md").write_text("words\n")
    monkeypatch.setattr(upsert, "PROJECT", tmp_path)
    monkeypatch.setattr(upsert, "PACKAGE", tmp_path / upsert.PACKAGE.name)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(folder, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def content_hash(settings):
    def of(**sections) -> str:
        return upsert.content_hash(dataclasses.replace(settings(**sections), commit=upsert.git_commit()))

    return of


def test_a_commit_of_other_files_keeps_hash_and_payloads(checkout, content_hash):
    before = content_hash()
    (checkout / "README.md").write_text("more words\n")
    assert "-dirty" not in upsert.git_commit()
    assert upsert.git_commit() == git(checkout, "rev-parse", "HEAD")
    commit(checkout)
    assert content_hash() == before


@pytest.mark.parametrize(
    "path", ["ml_pipeline/steps/train.py", "requirements.txt", "Dockerfile", ".python-version"]
)
def test_whatever_an_image_is_built_from_makes_another_image(checkout, settings, path):
    before = upsert.located(settings(), "1").image_tag
    assert upsert.located(settings(), "2").image_tag == before
    with (checkout / path).open("a") as file:
        file.write("\n")
    assert upsert.located(settings(), "1").image_tag != before


def test_another_base_makes_another_image(checkout, settings):
    tags = {
        upsert.located(settings(deploy={"parameters": parameters}), "1").image_tag
        for parameters in ({}, {"BaseImage": "python:a"}, {"BaseImage": "python:b"}, {"RolePath": "/a/"})
    }
    assert len(tags) == 3


@pytest.mark.parametrize("path", ["ml_pipeline/steps/train.py", "requirements.txt"])
def test_one_line_of_code_or_lock_is_another_hash(checkout, content_hash, path):
    before = content_hash()
    with (checkout / path).open("a") as file:
        file.write("# edited\n")
    commit(checkout)
    assert content_hash() != before


def test_a_setting_is_another_hash_and_the_managed_images_are_none(checkout, content_hash, settings):
    assert content_hash(train={"seed": 8}) != content_hash()
    plain = dataclasses.replace(settings(), commit="c")
    assert upsert.content_hash(plain) == upsert.content_hash(
        dataclasses.replace(plain, xgboost_image_uri="x")
    )


def test_when_executions_start_and_who_is_told_changes_no_pipeline(checkout, content_hash):
    before = content_hash()
    assert content_hash(schedule={"train": "rate(1 day)", "score": ""}) == before
    assert content_hash(triggers={"email": "ml@example.com"}) == before
    assert content_hash(triggers={"cool_down_hours": 1.0}) != before


def test_lineage_never_names_a_commit_that_does_not_hold_the_code(checkout, content_hash):
    """What was compiled of uncommitted code says so, and is compiled anew once it is committed."""
    (checkout / "ml_pipeline" / "new.py").write_text("")  # not even added to git
    assert upsert.git_commit().endswith("-dirty")
    uncommitted = content_hash()
    newest = commit(checkout)
    assert upsert.git_commit() == newest
    assert content_hash() != uncommitted


def test_without_git_the_commit_is_unknown(checkout):
    shutil.rmtree(checkout / ".git")
    assert upsert.git_commit() == "unknown"
