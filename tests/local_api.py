"""What tests do with a local AWS in their own process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from local_aws.sagemaker import SageMaker

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
        return [
            item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        ]

    def create(self, request: dict, kind: str = "TrainingJob") -> str:
        self.api.call(f"Create{kind}", request)
        return request[f"{kind}Name"]

    def ended(self, name: str, kind: str = "TrainingJob") -> dict:
        """The record of the job once it has ended."""
        return self.api.state.wait(
            kind, name, lambda record: record[f"{kind}Status"] in ENDED, LONGEST_SECONDS
        )

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
