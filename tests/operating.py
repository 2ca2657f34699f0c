"""A project whose commands are typed, as a user types them, against a local AWS that stands for the cloud."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Server
from waiting import until

ACCOUNT, REGION, SLUG = "123456789012", "us-east-1", "demo"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
SECONDS = 300
QUICK = """
[env.dev.tune]
trials = 0
[env.dev.train.hyperparameters]
num_round = 20
[env.dev.evaluate]
bootstrap_samples = 20
[env.prod.deploy]
promotion = "retrain"
[env.prod.train.hyperparameters]
num_round = 30
[env.prod.evaluate]
bootstrap_samples = 20
"""
FOUNDATION = """
from ml_pipeline import upsert
from ml_pipeline.cloud import access, deploy, infrastructure
settings = access.connect(access.settings_of({env!r}))
settings = upsert.located(settings, settings.account)
stack = infrastructure.stack("foundation", infrastructure.templates(settings)["foundation"], settings, dict())
deploy._apply(stack)
print(settings.image_tag)
"""


@dataclass
class Cloud:
    """A local AWS that stands for the cloud, and a project whose commands are typed against it."""

    server: Server
    project: Path
    digest: str = ""  # of dev's image

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | KEYS | {"AWS_ENDPOINT_URL": self.server.endpoint, "COLUMNS": "200"}

    def begun(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ml_pipeline", *arguments],
            cwd=self.project,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def typed(self, *arguments: str, code: int = 0) -> str:
        """Standard output of a command that ends so; standard error of one that is refused."""
        process = self.begun(*arguments)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        return err if code == 2 else out

    def python(self, text: str, given: str = "") -> str:
        """What the text prints, run in the project as a program with this standard input."""
        command = [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=self.project, env=self.env, input=given, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, service: str) -> Any:
        return self.server.client(service)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        answer = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def status(self, arn: str) -> str:
        answer = self.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
        return answer["PipelineExecutionStatus"]

    def ended(self, arn: str) -> str:
        return until(lambda: (now := self.status(arn)) in ("Succeeded", "Failed", "Stopped") and now)

    def start(self, **values: str) -> str:
        """ARN of an execution that a schedule, an alarm or a person started."""
        given = [{"Name": name, "Value": value} for name, value in values.items()]
        client = self.client("sagemaker")
        return client.start_pipeline_execution(PipelineName=f"{SLUG}-dev-train", PipelineParameters=given)[
            "PipelineExecutionArn"
        ]


def bucket(env: str) -> str:
    return f"{SLUG}-{env}-{ACCOUNT}-{REGION}"


def push_image(client: Any, repository: str, tag: str) -> str:
    """Digest of an image of two layers, pushed as Docker pushes one. client: ECR's."""
    blobs = [b'{"architecture": "amd64"}', b"layer one" * 1000, os.urandom(100_000)]
    described = []
    for blob in blobs:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        upload = client.initiate_layer_upload(repositoryName=repository)["uploadId"]
        place = {"repositoryName": repository, "uploadId": upload}
        middle = len(blob) // 2
        for first, part in ((0, blob[:middle]), (middle, blob[middle:])):
            last = first + len(part) - 1
            client.upload_layer_part(**place, partFirstByte=first, partLastByte=last, layerPartBlob=part)
        client.complete_layer_upload(**place, layerDigests=[digest])
        described.append({"digest": digest, "size": len(blob), "mediaType": "application/octet-stream"})
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": described[0], "layers": described[1:]}
    text = json.dumps(manifest, indent=3)
    answer = client.put_image(
        repositoryName=repository, imageManifest=text, imageManifestMediaType=kind, imageTag=tag
    )
    digest = answer["image"]["imageId"]["imageDigest"]
    assert digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return digest


def serving(project: Path, state: Path) -> Server:
    """A local AWS that serves models with the project's own code, as its image would."""
    with (state / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_aws", "--port", "0", "--state", str(state)],
            cwd=project,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    return Server(process, state, process.stdout.readline())


def operated(project: Path, state: Path) -> Iterator[Cloud]:
    """dev and staging with their foundations, and in dev the pipeline of a project that trains in no time."""
    settings = (project / "settings.toml").read_text()
    (project / "settings.toml").write_text(re.sub("(?m)^trials = 20$", "trials = 0", settings) + QUICK)
    server = serving(project, state)
    made = Cloud(server, project)
    tags = [made.python(FOUNDATION.format(env=env)).split()[-1] for env in ("dev", "staging")]
    made.digest = push_image(made.client("ecr"), f"{SLUG}-dev", tags[0])
    made.typed("upsert", "--env", "dev")
    yield made
    server.end(signal.SIGTERM)


def held(cloud: Cloud) -> dict[str, list[str]]:
    """All that environments are made of, by name."""
    sagemaker, s3 = cloud.client("sagemaker"), cloud.client("s3")
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    names = [each["ModelPackageGroupName"] for each in groups]
    return {
        "stacks": sorted(
            each["StackName"] for each in cloud.client("cloudformation").describe_stacks()["Stacks"]
        ),
        "pipelines": sorted(each["PipelineName"] for each in sagemaker.list_pipelines()["PipelineSummaries"]),
        "objects": sorted(f"{bucket}/{key}" for bucket in buckets for key in cloud.keys(bucket, "")),
        "versions": sorted(
            f"{each['ModelPackageArn']} {each['ModelApprovalStatus']}"
            for name in names
            for each in sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
        ),
        "metrics": sorted(
            {
                str(each)
                for each in cloud.client("cloudwatch").list_metrics()["Metrics"]
                if "dev-try" not in str(each)
            }
        ),
    }
