"""The step image: built by Docker where an engine answers, else zipped for CodeBuild with what it copies."""

from __future__ import annotations

import dataclasses
import io
import sys
import zipfile
from pathlib import Path

import pytest

from ml_pipeline.cloud import image

DOCKER = """#!/bin/sh
echo "$@" >> {log}
if [ "$1" = login ]; then cat >> {log}; fi
if [ "$1" = {fails} ]; then exit 3; fi
"""
GIVEN = """
echo "$HTTPS_PROXY $NO_PROXY" >> {log}
for each; do case "$each" in id=pip,src=*) cat "${{each#id=pip,src=}}" >> {log} ;; esac; done
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Puts a `docker` on PATH that writes down its arguments; `docker(fails="login")` fails at that."""

    def installed(fails: str = "nothing") -> Path:
        log, command = tmp_path / "log", tmp_path / "bin" / "docker"
        command.parent.mkdir()
        command.write_text(DOCKER.format(log=log, fails=fails))
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
        return log

    return installed


@pytest.fixture
def wanted(settings):
    return dataclasses.replace(settings(), image_tag="0123456789abcdef")


def test_docker_logs_in_without_a_password_on_its_command_line_then_builds_and_pushes(bucket, docker, wanted):
    log = docker()
    told = image.ensure(wanted, "project")
    version, login, rest = log.read_text().split("\n", 2)
    assert version.startswith("version") and login.startswith("login --username AWS --password-stdin 1234")
    build = rest.splitlines()[-1]
    assert (
        f"--platform linux/amd64 --provenance=false --sbom=false --build-arg PYTHON_VERSION={python()}"
        in build
    )
    assert f"--tag {wanted.image_uri} --push" in build
    assert told.endswith("built with Docker and pushed")


def python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_proxy_and_the_index_of_this_machine_reach_the_build(wanted, monkeypatch, tmp_path, settings):
    (tmp_path / "pip.conf").write_text("[global]\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    company = {"BaseImage": "b:1", "HttpProxy": "http://other:3128", "PackageIndexUrl": "https://other/"}
    based = settings(deploy={"parameters": company})
    pip = image.pip_conf(based, tmp_path / "absent")
    command = " ".join(image.build_command(based, pip))
    assert f"--build-arg HTTPS_PROXY --secret id=pip,src={tmp_path}/pip.conf" in command
    assert "3128" not in command and "--build-arg BASE=b:1" in command
    assert image.proxies(based) == {"HTTPS_PROXY": "http://proxy:3128"}


def test_a_companys_proxy_and_index_reach_a_build_of_a_machine_that_has_none(
    bucket, docker, monkeypatch, settings
):
    for name in (*image.PROXIES, "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    log = docker()
    command = log.parent / "bin" / "docker"
    command.write_text(command.read_text() + GIVEN.format(log=log))
    company = {"HttpProxy": "http://proxy:3128", "NoProxy": "acme", "PackageIndexUrl": "https://acme/simple"}
    image.with_docker(dataclasses.replace(settings(deploy={"parameters": company}), image_tag="0"))
    told = log.read_text()
    assert "--build-arg HTTP_PROXY --build-arg HTTPS_PROXY --build-arg NO_PROXY --secret id=pip,src=" in told
    assert "http://proxy:3128 acme\n[global]\nindex-url = https://acme/simple\n" in told


def test_a_failing_docker_is_told_and_not_taken_for_an_image(bucket, docker, wanted):
    docker(fails="login")
    with pytest.raises(image.ImageFailed, match="docker could not log in to ECR: it ended with 3"):
        image.ensure(wanted, "project")


def test_a_docker_command_without_an_engine_is_no_docker(docker):
    docker(fails="version")
    assert not image.engine_answers()


def test_an_engine_that_does_not_answer_in_time_is_no_docker(docker, monkeypatch):
    log = docker()
    command = log.parent / "bin" / "docker"
    command.write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(image, "ANSWER_SECONDS", 0.1)
    assert not image.engine_answers()


def test_neither_docker_nor_codebuild_is_one_sentence(bucket, monkeypatch, wanted):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(image.ImageFailed, match=r"no Docker engine answers here and .* start Docker"):
        image.ensure(wanted, "")


def test_the_zip_holds_what_the_dockerfile_copies_and_is_the_same_each_time():
    names = zipfile.ZipFile(io.BytesIO(image.source_zip())).namelist()
    assert {"Dockerfile", ".dockerignore", ".python-version", "requirements.txt"} <= set(names)
    assert "ml_pipeline/steps/train.py" in names and not [
        n for n in names if n.startswith(("data", "local_aws"))
    ]
    assert image.source_zip() == image.source_zip()
