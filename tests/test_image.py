"""The Dockerfile, judged without Docker: its instructions are read, and run where they can be."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from conftest import REGION, Server
from generate import generate, uv
from local_aws.transfer import split_uri
from waiting import until

IMPORTS_OF_THE_IMAGE = """
import importlib, pathlib, sys
for path in sorted(pathlib.Path("ml_pipeline/steps").glob("*.py")):
    importlib.import_module(f"ml_pipeline.steps.{path.stem}")
importlib.import_module("ml_pipeline.serving")
importlib.import_module("sagemaker.core.remote_function.invoke_function")
"""
COMPILE = """
from ml_pipeline import local, settings, upsert
located = upsert.located(settings.load("local"), local.ACCOUNT)
local.prepare(located)
print(upsert.upsert(located, ("train",))[0].definition.replace(chr(10), " "))
"""
TRAIN = """
import pathlib, sys
from dataclasses import replace
from ml_pipeline import settings
from ml_pipeline.steps.train import train
encoded_uri, feature_spec_uri, folder, file = sys.argv[1:]
located = replace(settings.load("local", pathlib.Path(file)), account="123456789012")
best = {"num_round": 5, "objective": "binary:logistic"}
print(train(encoded_uri, feature_spec_uri, best, folder, "execution1", located)["model_uri"])
"""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, with continued lines joined and comments dropped."""
    lines = [
        line for line in dockerfile.read_text().splitlines() if line.strip() and not line.startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("image") / "in")


def arguments(project: Path, name: str) -> list[str]:
    return [text for instruction, text in instructions(project / "Dockerfile") if instruction == name]


def test_the_base_is_the_slim_python_that_is_asked_for_on_amd64(project):
    assert instructions(project / "Dockerfile")[:3] == [
        ("ARG", "PYTHON_VERSION"),
        ("ARG", "BASE=python:${PYTHON_VERSION}-slim"),
        ("FROM", "--platform=linux/amd64 ${BASE}"),
    ]


def test_every_copied_file_exists_and_reaches_the_build(project):
    ignored = (project / ".dockerignore").read_text().splitlines()
    sources = [source for text in arguments(project, "COPY") for source in text.split()[:-1]]
    assert sources == [".python-version", "requirements.txt", "ml_pipeline"]
    assert all((project / source).exists() and f"!{source}" in ignored for source in sources)
    assert "*" in ignored


def test_nothing_stands_between_sagemaker_and_its_command(project):
    names = {instruction for instruction, _ in instructions(project / "Dockerfile")}
    assert names == {"ARG", "FROM", "WORKDIR", "ENV", "COPY", "RUN"}


def test_packages_come_from_the_hashed_lock_alone(project):
    installs = [text for text in arguments(project, "RUN") if "pip install" in text]
    assert len(installs) == 1 and "--require-hashes --requirement requirements.txt" in installs[0]


@pytest.mark.parametrize(("pinned", "code"), [("running", 0), ("3.9", 1)])
def test_a_base_with_another_python_is_refused(project, tmp_path, pinned, code):
    check = next(text for text in arguments(project, "RUN") if text.startswith("python -c"))
    version = "{}.{}".format(*sys.version_info) if pinned == "running" else pinned
    (tmp_path / ".python-version").write_text(f"{version}\n")
    command = [sys.executable, *shlex.split(check)[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert ("must have Python 3.9 (.python-version)" in done.stderr) == bool(code)


def test_serve_starts_the_command_that_the_local_aws_starts(project, tmp_path):
    command = next(text for text in arguments(project, "RUN") if "serve" in text)
    serve = tmp_path / "serve"
    subprocess.run(["sh", "-c", command.replace("/usr/local/bin/serve", shlex.quote(str(serve)))], check=True)
    images = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["local_aws"]["images"]
    assert serve.read_text() == "#!/bin/sh\nexec {}\n".format(*images.values())
    assert os.access(serve, os.X_OK)


class Image:
    """The Dockerfile's instructions done one after the other below a folder that stands for `/`.

    `python` is that of a new environment, and uv installs in pip's stead, which takes minutes.
    """

    def __init__(self, project: Path, root: Path) -> None:
        self.project, self.root, self.folder = project, root, root
        self.bin = root / "environment" / "bin"
        self.environment = {"PATH": f"{self.bin}:/usr/bin:/bin"}
        subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, self.bin.parent], check=True)
        for name, text in instructions(project / "Dockerfile"):
            {"WORKDIR": self._workdir, "ENV": self._env, "COPY": self._copy, "RUN": self._run}.get(
                name, lambda text: None
            )(text)

    def _here(self, text: str) -> str:
        for folder in ("/opt/program", "/usr/local/bin"):
            text = text.replace(folder, f"{self.root}{folder}")
        return text

    def _workdir(self, text: str) -> None:
        self.folder = Path(self._here(text))
        self.folder.mkdir(parents=True)
        Path(self._here("/usr/local/bin")).mkdir(parents=True)

    def _env(self, text: str) -> None:
        self.environment |= dict(pair.split("=", 1) for pair in shlex.split(self._here(text)))

    def _copy(self, text: str) -> None:
        *sources, target = text.split()
        for source in sources:
            place = self.folder / (source if target == "./" else target)
            if (self.project / source).is_dir():
                shutil.copytree(self.project / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(self.project / source, place)

    def _run(self, text: str) -> None:
        command = re.sub(r"^--mount=\S+\s+", "", self._here(text))
        fast = f"{uv()} pip install --quiet --python {self.bin}/python"
        command = command.replace("python -m pip install --no-cache-dir", fast)
        environment = os.environ | self.environment  # uv finds its cache and its index there
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def python(self, *arguments: str, cwd: Path, **variables: str) -> str:
        """Standard output of the image's Python; it sees what the image has, and `cwd` for a module."""
        done = subprocess.run(
            [self.bin / "python", *arguments],
            cwd=cwd,
            env=self.environment | variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def image(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(project, tmp_path_factory.mktemp("root"))


def test_steps_and_serving_import_with_the_packages_of_the_image_alone(image, project):
    image.python("-P", "-c", IMPORTS_OF_THE_IMAGE, cwd=image.folder, AWS_DEFAULT_REGION="us-east-1")


@pytest.fixture(scope="module")
def aws(server: Server) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture(scope="module")
def processed(
    image: Image, project: Path, aws: dict[str, str], server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Result of the compiled pipeline's first step, called in the image as SageMaker's job driver does."""
    compiled = subprocess.run(
        [sys.executable, "-c", COMPILE],
        cwd=project,
        env=os.environ | aws,
        capture_output=True,
        text=True,
        check=True,
    )
    step = json.loads(compiled.stdout.splitlines()[-1])["Steps"][0]["Arguments"]
    s3, folder = server.client("s3"), tmp_path_factory.mktemp("job")
    bucket, key = split_uri(step["InputDataConfig"][1]["DataSource"]["S3DataSource"]["S3Uri"])
    s3.upload_file(str(project / "data/sample.csv"), bucket, "raw/2026-01-05/sample.csv")
    s3.download_file(bucket, key, str(folder / "workspace.zip"))
    shutil.unpack_archive(folder / "workspace.zip", folder)
    values = {"Parameters.RawDataUri": f"s3://{bucket}/raw/2026-01-05/sample.csv"}
    arguments = resolved(step["AlgorithmSpecification"]["ContainerArguments"], values)
    module = ("-m", "sagemaker.core.remote_function.invoke_function")
    workspace = folder / "sagemaker_remote_function_workspace"
    image.python(*module, *arguments, cwd=workspace, **(aws | step["Environment"]))
    results = f"{resolved(step['OutputDataConfig']['S3OutputPath'], values)}/results.json"
    body = s3.get_object(**dict(zip(("Bucket", "Key"), split_uri(results), strict=True)))["Body"]
    return json.load(body)["Result"]


def resolved(value: Any, values: dict[str, str]) -> Any:
    """`value` as SageMaker fills it in: the execution's id is `execution1`."""
    if isinstance(value, dict) and "Std:Join" in value:
        return value["Std:Join"]["On"].join(resolved(value["Std:Join"]["Values"], values))
    if isinstance(value, dict):
        return values.get(value["Get"], "execution1")
    return [resolved(item, values) for item in value] if isinstance(value, list) else value


def test_a_step_of_a_compiled_pipeline_runs_with_what_the_image_installs_alone(processed):
    assert re.match(r"[\d,]+ rows -> [\d,]+ train", processed["summary"])
    assert processed["feature_spec_uri"].endswith("/execution1/process/feature_spec.json")


def test_serve_of_the_image_answers_for_a_model_that_its_own_train_made(
    image, processed, aws, project, server, tmp_path
):
    uris = processed["encoded_uri"], processed["feature_spec_uri"]
    places = (*uris, str(tmp_path), str(project / "settings.toml"))
    model_uri = image.python("-P", "-c", TRAIN, *places, cwd=tmp_path, **aws).splitlines()[-1]
    server.client("s3").download_file(*split_uri(model_uri), str(tmp_path / "model.tar.gz"))
    shutil.unpack_archive(tmp_path / "model.tar.gz", tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = {"SM_MODEL_DIR": str(tmp_path / "model"), "SAGEMAKER_BIND_TO_PORT": port}
    serve = image.root / "usr/local/bin/serve"
    with subprocess.Popen([serve], cwd=tmp_path, env=image.environment | variables) as process:
        try:
            until(lambda: _answers(f"http://127.0.0.1:{port}/ping"))
            rows = (project / "data/sample.csv").read_text().splitlines()[:2]
            names, cells = (row.split(",") for row in rows)
            record = {name: cell or None for name, cell in zip(names, cells, strict=True)}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps(record).encode(),
                {"Content-Type": "application/json", "Accept": "application/json"},
            )
            with urllib.request.urlopen(request) as answer:
                (prediction,) = json.load(answer)["predictions"]
            assert 0 < prediction["score"] < 1
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status == 200
    except OSError:
        return False
