"""One local AWS with --enforce-iam for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import started
from iam_roles import Enforcing


@pytest.fixture(scope="session")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    """One server for all tests: name what you create after the test."""
    running = started(tmp_path_factory.mktemp("iam"), "--enforce-iam")
    server = Enforcing(running)
    server.client("s3").create_bucket(Bucket="demo-data")
    server.client("s3").create_bucket(Bucket="other-data")
    yield server
    running.end()
