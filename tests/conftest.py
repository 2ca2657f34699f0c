"""Fixtures for the local AWS: a real `python -m local_aws` child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config

from generate import generate, uv

PROJECT = Path(__file__).parent.parent / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(PROJECT))

REGION = "us-east-1"
SLUG = "demo"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/{SLUG}-local:1"
ROLE = f"arn:aws:iam::123456789012:role/{SLUG}-local-execution"
END_SECONDS = 30
# A generated project's modules are compiled by the first of its processes, not by each of the hundreds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# AWS's service models are read once: each client has a session of its own, which would read them again.
LOADER = botocore.loaders.create_loader()
botocore.session.create_loader = lambda search_path=None: LOADER
# These files take a minute or more: they begin first, so that at the end no core waits for one.
LONGEST = (
    "test_loop",
    "test_run",
    "test_generation",
    "test_score",
    "test_report",
    "test_operate",
    "test_deploy",
    "test_drift_alarms",
    "test_infra",
    "test_jobs",
    "test_resilience",
    "test_transform",
    "test_least_privilege",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@dataclass
class Server:
    """A running local AWS. `state` is its folder, `ready` the line it printed."""

    process: subprocess.Popen[str]
    state: Path
    ready: str

    @property
    def endpoint(self) -> str:
        return self.ready.rpartition(" ")[2].strip()

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client that retries nothing."""
        session = boto3.Session("AKIALOCALAWS00000000", "local", region_name=REGION)
        settings = Config(proxies={}, retries={"total_max_attempts": 1}, **config)
        return session.client(service, endpoint_url=self.endpoint, config=settings)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after the signal."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


def child_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "2"}


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """`python -m local_aws` in `folder`, whose pyproject.toml names the image of a project."""
    folder.mkdir(parents=True, exist_ok=True)
    table = f'[tool.local_aws.images]\n"*/{SLUG}-*:*" = "python -m ml_pipeline.serving"\n'
    (folder / "pyproject.toml").write_text(table)
    command = [sys.executable, "-m", "local_aws", "--state", "state", *options]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def started(folder: Path, *options: str) -> Server:
    process = start(folder, "--port", "0", *options)
    ready = process.stdout.readline()
    assert ready, (folder / "server.log").read_text()
    return Server(process, folder / "state", ready)


def refused(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and standard error of a local AWS that does not come up."""
    process = start(folder, *options)
    try:
        return process.wait(END_SECONDS), (folder / "server.log").read_text()
    finally:
        process.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One local AWS for all tests: name what you create after the test."""
    running = started(tmp_path_factory.mktemp("aws"))
    yield running
    running.end()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a local AWS of this test's own, in the same folder each time."""
    running: list[Server] = []

    def begin(*options: str) -> Server:
        running.append(started(tmp_path / "aws", *options))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Generates a project of one's own: `make_project(bias_engine="clarify")`."""
    return lambda **answers: generate(tmp_path_factory.mktemp("project") / "in", **answers)


@pytest.fixture
def project(make_project: Callable[..., Path]) -> Path:
    """A default project that this test may change."""
    return make_project()


@pytest.fixture(scope="module")
def clock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local AWS for a file whose tests move its clock; it sends no event of SageMaker twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_REPEAT_EVENTS_EVERY", "0")
        running = started(tmp_path_factory.mktemp("clock"))
    yield running
    running.end()


@pytest.fixture(scope="session")
def aws_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AWS CLI. It pins its own botocore, so it lives in an environment of its own."""
    folder = tmp_path_factory.mktemp("cli")
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, "awscli==1.46.*"], check=True)
    return folder / "bin" / "aws"
