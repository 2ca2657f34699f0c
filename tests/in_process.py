"""A local AWS in the test's own process, for tests that reach into it: faults, grace periods, folders."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from conftest import REGION, ROLE, SLUG
from local_api import BUCKET, Local
from local_aws import container, faults, jobs
from local_aws.images import load_images
from local_aws.sagemaker import SageMaker
from local_aws.server import Front, http_server
from local_aws.state import State


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
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
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
