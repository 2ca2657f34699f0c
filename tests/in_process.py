"""A local AWS in the test's own process, for tests that reach into it: faults, grace periods, folders."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, REGION, ROLE, SLUG
from local_aws import container, faults, jobs
from local_aws.images import load_images
from local_aws.sagemaker import SageMaker
from local_aws.server import Front, http_server
from local_aws.state import State

BUCKET = "job-tests"
ENDED = ("Completed", "Failed", "Stopped")
LONGEST_SECONDS = 90


@dataclass
class Local:
    """A local AWS and what tests do with it."""

    api: SageMaker

    @property
    def s3(self) -> Any:
        return self.api.client("s3")

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def create(self, request: dict, kind: str = "TrainingJob") -> str:
        self.api.call(f"Create{kind}", request)
        return request[f"{kind}Name"]

    def ended(self, name: str, kind: str = "TrainingJob") -> dict:
        """The record of the job once it has ended."""
        return self.api.state.wait(kind, name, lambda record: record[f"{kind}Status"] in ENDED, LONGEST_SECONDS)

    def run(self, request: dict, kind: str = "TrainingJob") -> dict:
        return self.ended(self.create(request, kind), kind)

    def log(self, name: str) -> str:
        return (self.api.state.folder / "logs" / f"{name}.log").read_text()

    def await_line(self, name: str, text: str) -> str:
        """The log line that holds `text`, once it is there."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline:
            for line in self.log(name).splitlines() if text in self._log(name) else []:
                if text in line:
                    return line
            time.sleep(0.02)
        raise TimeoutError(f"{text!r} is not in the log of {name}:\n{self._log(name)}")

    def _log(self, name: str) -> str:
        path = self.api.state.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self, name: str) -> None:
        self.api.call("StopTrainingJob", {"TrainingJobName": name})


@pytest.fixture(scope="session")
def session_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    folder = tmp_path_factory.mktemp("in-process")
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(f'[tool.local_aws.images]\n"*/{SLUG}-*:*" = "python -m ml_pipeline.serving"\n')
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    container.start_fork_server()
    api = SageMaker(State(folder / "state"), endpoint, "123456789012", REGION)
    api.__dict__["images"] = load_images(pyproject)
    server = http_server(Front(api), listening)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    local = Local(api)
    local.s3.create_bucket(Bucket=BUCKET)
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    api.client("iam").create_role(
        RoleName=ROLE.rpartition("/")[2],
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    yield local
    jobs.stop_all(api)
    server.shutdown()


@pytest.fixture
def local(session_local: Local) -> Iterator[Local]:
    """One local AWS for all tests; none leaves a fault behind."""
    yield session_local
    faults.clear()


__all__ = ["BUCKET", "IMAGE", "ROLE", "Local", "Path", "local", "session_local"]
