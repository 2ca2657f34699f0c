"""The local AWS as a child process, and an environment from which no request leaves this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

PROJECT = Path(__file__).parent.parent
STATE = PROJECT / ".local_aws"
ACCOUNT = "123456789012"
READY_SECONDS, STOP_SECONDS = 60, 20
# All that a local run takes over from the user's environment: no AWS or proxy variable is among it.
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TERM",
    "COLUMNS",
    "NO_COLOR",
    "PYTHONBREAKPOINT",
    "DYLD_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
)


class LocalAwsError(RuntimeError):
    """The local AWS did not come up, or another one answers."""


class LocalAws:
    """`python -m local_aws` while the `with` block lasts; boto3 in this process speaks to it alone."""

    def __init__(self, state: Path, region: str) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._log, self._ended = state / "server.log", False
        _seal(state / "home", region)
        command = [
            sys.executable,
            "-m",
            "local_aws",
            "--port",
            "0",
            "--state",
            str(state),
            "--until-stdin-closes",
        ]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then stops the execution.
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def connect(self) -> None:
        """Waits until the server answers and makes it this process's AWS. Raises LocalAwsError otherwise."""
        import boto3

        line = self._process.stdout.readline().decode() if self._process.stdout else ""
        endpoint = line.rpartition(" ")[2].strip()
        if not endpoint.startswith("http://127.0.0.1:"):
            raise LocalAwsError(f"the local AWS did not start: {_reason(self._log)} (log: {self._log})")
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        client = boto3.client("sts")
        account = client.get_caller_identity()["Account"]
        if client.meta.endpoint_url != endpoint or account != ACCOUNT:
            raise LocalAwsError(
                f"expected account {ACCOUNT} at {endpoint}, got {account} at {client.meta.endpoint_url}: "
                "nothing was done"
            )

    def end(self) -> None:
        """Tells the server to save what it holds and to end, which takes a moment. Returns at once."""
        if not self._ended:  # a second signal would end it before it has saved
            self._ended = True
            self._process.terminate()

    def __enter__(self) -> LocalAws:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def prepare(settings: Any) -> None:
    """Bucket and execution role, as the foundation stack makes them in the cloud."""
    import json

    import boto3
    from botocore.exceptions import ClientError

    s3, iam = boto3.client("s3"), boto3.client("iam")
    if settings.bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        place = {} if settings.region == "us-east-1" else {"LocationConstraint": settings.region}
        s3.create_bucket(Bucket=settings.bucket, **({"CreateBucketConfiguration": place} if place else {}))
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    try:
        path, _, name = settings.role_arn.partition(":role")[2].rpartition("/")
        iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=policy)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise


def _seal(home: Path, region: str) -> None:
    """Replaces this process's environment by one that is built, not inherited."""
    home.mkdir(exist_ok=True)
    nowhere = "http://127.0.0.1:9"  # the discard port: a request that would leave the machine fails at once
    built = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "LOCALAWSLOCALAWSLOCA",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    os.environ.clear()
    os.environ.update(built)


def _reason(log: Path) -> str:
    """The server's own words for why it ended, else the last thing it printed."""
    lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    return next((line for line in reversed(lines) if line.startswith("local AWS: ")), lines[-1])
