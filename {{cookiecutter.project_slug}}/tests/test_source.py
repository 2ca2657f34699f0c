"""Files from S3, on an S3 in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest

from ml_pipeline import source
from ml_pipeline.errors import InputError


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(source, "DOWNLOADS", tmp_path / "downloads")
    return tmp_path / "downloads"


def put(bucket: str, key: str, content: bytes) -> str:
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
    return f"s3://{bucket}/{key}"


def test_an_object_is_copied_under_its_own_name(bucket: str, capsys: pytest.CaptureFixture[str]):
    uri = put(bucket, "a/b/mine.csv", b"x,y\n1,2\n")
    path = source.local_file(uri)
    assert (path.name, path.read_bytes()) == ("mine.csv", b"x,y\n1,2\n")
    assert capsys.readouterr().out == f"{uri}: 8 bytes\n"


def test_an_object_is_fetched_once_a_version(bucket: str, downloads: Path):
    uri = put(bucket, "mine.csv", b"first")
    first = source.local_file(uri)
    first.write_bytes(b"marked")
    assert source.local_file(uri).read_bytes() == b"marked"
    put(bucket, "mine.csv", b"second")
    assert source.local_file(uri).read_bytes() == b"second"
    assert first.read_bytes() == b"marked"
    assert sorted(path.name for path in downloads.rglob("*.*")) == ["mine.csv"] * 2


def test_an_absent_object_or_bucket_is_refused_with_how_to_look(bucket: str, downloads: Path):
    for uri in (f"s3://{bucket}/gone.csv", "s3://no-such-bucket-of-mine/gone.csv"):
        with pytest.raises(InputError, match=f"^{uri}: no such object, or no such bucket; aws s3 ls s3://"):
            source.local_file(uri)
    assert not downloads.exists()


def test_a_prefix_is_refused(bucket: str):
    for uri in (f"s3://{bucket}", f"s3://{bucket}/raw/", "s3:///a.csv"):
        with pytest.raises(InputError, match="name one object, s3://bucket/key"):
            source.local_file(uri)


def test_missing_credentials_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match=r"^s3://mine/a.csv: no AWS credentials: aws sso login"):
        source.local_file("s3://mine/a.csv")
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(InputError, match=r"profile \(gone\).*aws configure list-profiles"):
        source.local_file("s3://mine/a.csv")


def test_an_endpoint_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match=r'"http://127.0.0.1:9/mine/a.csv": check the network'):
        source.local_file("s3://mine/a.csv")


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes the S3 that boto3 finds answer every HEAD with this status, and no body, as S3 does."""

    class Refusal(BaseHTTPRequestHandler):
        status = 0

        def do_HEAD(self) -> None:
            self.send_response(self.status)
            if self.status == 301:
                self.send_header("x-amz-bucket-region", "eu-central-1")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield lambda status: setattr(Refusal, "status", status)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (301, r"bucket mine lies in another region: set AWS_REGION to it$"),
        (400, r"S3 refuses the request, as it does when the credentials have expired: renew them \(aws sso"),
        (403, r"access denied: these credentials need s3:GetObject on it and s3:ListBucket on its bucket"),
        (503, r"S3 answers 503"),
    ],
)
def test_a_refusal_of_s3_is_told_with_the_remedy(
    refusing: Callable[[int], None], downloads: Path, status: int, remedy: str
):
    refusing(status)
    with pytest.raises(InputError, match=f"^s3://mine/a.csv: {remedy}"):
        source.local_file("s3://mine/a.csv")
    assert not downloads.exists()


def test_a_local_path_stays_and_must_be_a_file(tmp_path: Path):
    path = tmp_path / "mine.csv"
    with pytest.raises(InputError, match=r"mine.csv: no such file; name one that is there"):
        source.local_file(str(path))
    path.touch()
    assert source.local_file(str(path)) == path
    with pytest.raises(InputError, match="a folder, not a file"):
        source.local_file(str(tmp_path))
