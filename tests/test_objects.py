"""S3 of the local AWS: bodies on disk, memory flat, everything still there after a restart."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from conftest import REGION, Server
from local_api import BUCKET, Local
from local_aws.objects import FileKey, opened, put

pytest_plugins = ["in_process"]

MEGABYTE = 1 << 20
LARGE = 300 * MEGABYTE
KEYS = ["plain/a.csv", "a b+c%2Fd=é/日本 x~", "double//slash", "dots/../kept", "q?u#e&r=y", "trailing/"]


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    server.client("s3").create_bucket(Bucket=name)
    return name


def peak_megabytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


def files(server: Server) -> set[str]:
    return {path.name for path in (server.state / "objects").iterdir()}


def wait_for(holds: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not (done := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_whatever_the_size_of_an_object(
    server: Server, bucket: str, tmp_path: Path
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    block = os.urandom(MEGABYTE)
    with source.open("wb") as file:
        for _ in range(LARGE // MEGABYTE):
            file.write(block)
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="warm", Body=b"x")
    before = peak_megabytes(server)
    s3.upload_file(str(source), bucket, "large")
    with source.open("rb") as file:
        s3.put_object(Bucket=bucket, Key="at once", Body=file)
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "large"})
    s3.download_file(bucket, "copied", str(copy))
    assert peak_megabytes(server) - before < 100
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert s3.head_object(Bucket=bucket, Key="at once")["ContentLength"] == LARGE


@pytest.mark.parametrize("key", KEYS)
def test_any_key_reads_back_what_was_written(server: Server, key: str) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="keys")
    written = s3.put_object(
        Bucket="keys", Key=key, Body=key.encode(), Metadata={"a_b": "1"}, ContentType="text/x"
    )
    read = s3.get_object(Bucket="keys", Key=key)
    assert read["Body"].read() == key.encode()
    assert (read["Metadata"], read["ContentType"], read["ETag"]) == ({"a_b": "1"}, "text/x", written["ETag"])
    assert key in [each["Key"] for each in s3.list_objects_v2(Bucket="keys")["Contents"]]


def test_a_range_is_the_bytes_asked_for(server: Server, bucket: str) -> None:
    s3, body = server.client("s3"), bytes(range(256)) * 10
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    ranges = {
        "bytes=0-0": body[:1],
        "bytes=100-199": body[100:200],
        "bytes=2500-": body[2500:],
        "bytes=-7": body[-7:],
    }
    for asked, expected in ranges.items():
        answer = s3.get_object(Bucket=bucket, Key="k", Range=asked)
        assert (answer["Body"].read(), answer["ContentLength"]) == (expected, len(expected))
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=2560-")


def test_a_missing_key_or_bucket_is_an_error_by_name(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="none")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.put_object(Bucket="no-such-bucket-here", Key="k", Body=b"x")


def test_an_empty_object_is_empty(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="_SUCCESS", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="_SUCCESS")["Body"].read() == b""


def test_a_delimiter_groups_keys_as_folders_across_pages(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    for key in ("a/1", "a/2", "b/1", "c", "d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = [
        *s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}
        )
    ]
    assert len(pages) > 1
    assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/", "b/"]
    assert [c["Key"] for page in pages for c in page.get("Contents", [])] == ["c", "d"]


def test_replaced_deleted_and_aborted_bodies_leave_the_disk(server: Server, bucket: str) -> None:
    s3, before = server.client("s3"), files(server)
    for _ in range(2):
        s3.put_object(Bucket=bucket, Key="k", Body=os.urandom(10))
    multipart(s3, bucket, "k", [os.urandom(5 * MEGABYTE), b"end"])
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    assert wait_for(lambda: len(files(server) - before) == 2)
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    assert wait_for(lambda: not files(server) - before)  # of earlier tests some may be gone


def test_a_copy_outlives_its_source(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"body")
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    s3.delete_object(Bucket=bucket, Key="a")
    time.sleep(1)
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"body"


def test_versions_are_kept_apart(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]
    read = [s3.get_object(Bucket=bucket, Key="k", VersionId=each)["Body"].read() for each in ids]
    assert read == [b"1", b"2"]
    s3.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="k")
    listed = s3.list_object_versions(Bucket=bucket)
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (2, 1)


def test_an_upload_that_is_cut_off_makes_no_object(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    for key, length in (("cut", 1000), ("whole", 9)):
        url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key})
        connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
        connection.putrequest("PUT", url.removeprefix(server.endpoint))
        connection.putheader("Content-Length", str(length))
        connection.endheaders(b"only this")
        connection.sock.shutdown(socket.SHUT_WR)
        connection.getresponse().read()
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["whole"]


def test_a_body_that_does_not_match_its_md5_is_refused(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_many_writers_at_a_time_lose_nothing(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    keys = [f"k{number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
        bodies = list(pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys))
    assert bodies == [key.encode() for key in keys]


def test_pandas_reads_and_writes_parquet_by_s3_uri(server: Server, bucket: str) -> None:
    code = (
        "import pandas as pd; f = pd.DataFrame({'a': range(100_000), 'b': 'x'});"
        f"f.to_parquet('s3://{bucket}/f.parquet');"
        f"print(pd.read_parquet('s3://{bucket}/f.parquet', columns=['a']).a.sum())"
    )
    variables = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
    }
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, timeout=60
    )
    assert (run.stdout.strip(), run.returncode) == (str(sum(range(100_000))), 0), run.stderr


def test_the_next_server_has_every_object(new_server: Callable[..., Server]) -> None:
    first = new_server()
    s3 = first.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="é", Body=b"small", Metadata={"m": "1"}, Tagging="t=1")
    part = os.urandom(5 * MEGABYTE)
    multipart(s3, "kept", "large", [part, b"end"])
    s3.put_object(Bucket="kept", Key="large2", Body=b"gone")
    s3.delete_object(Bucket="kept", Key="large2")
    assert first.end() == 0
    s3 = new_server().client("s3")
    answer = s3.get_object(Bucket="kept", Key="é")
    assert (answer["Body"].read(), answer["Metadata"]) == (b"small", {"m": "1"})
    assert s3.get_object_tagging(Bucket="kept", Key="é")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert s3.get_object(Bucket="kept", Key="large")["Body"].read() == part + b"end"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="kept")["Contents"]] == ["large", "é"]
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"


def test_a_killed_server_leaves_no_object_without_its_body(new_server: Callable[..., Server]) -> None:
    first = new_server()
    s3 = first.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="k", Body=b"old")
    old = files(first)
    assert wait_for(lambda: (first.state / "objects.pickle").exists())
    time.sleep(1)
    s3.put_object(Bucket="kept", Key="k", Body=b"new")
    first.end(signal.SIGKILL)
    assert old <= files(first)
    second = new_server()
    assert second.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"old"
    assert files(second) == old


def multipart(s3: Any, bucket: str, key: str, bodies: list[bytes]) -> None:
    upload = {"Bucket": bucket, "Key": key}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def test_a_body_that_the_server_makes_itself_is_an_object_as_any_other(local: Local) -> None:
    rows = b"one,two\n"
    put(local.s3, BUCKET, "made/here", iter([rows[:4], rows[4:]]))
    with opened(local.s3, BUCKET, "made/here") as file:
        assert file.read() == rows
    found = local.s3.get_object(Bucket=BUCKET, Key="made/here")
    assert (found["Body"].read(), found["ContentLength"]) == (rows, len(rows))
    assert found["ETag"].strip('"') == hashlib.md5(rows).hexdigest()


def test_a_body_without_bytes_can_be_opened_and_one_that_is_not_there_cannot(local: Local) -> None:
    put(local.s3, BUCKET, "nothing", iter([]))
    with opened(local.s3, BUCKET, "nothing") as file:
        assert file.read() == b""
    with pytest.raises(local.s3.exceptions.NoSuchKey):
        opened(local.s3, BUCKET, "absent")


def test_no_body_stays_of_an_object_that_is_refused(local: Local) -> None:
    def bodies() -> set[str]:
        return {path.name for path in FileKey.bodies.folder.iterdir()}

    put(local.s3, BUCKET, "kept", iter([b"1"]))
    before = bodies()
    with pytest.raises(local.s3.exceptions.NoSuchBucket):
        put(local.s3, "no-such-bucket", "refused", iter([b"2"]))
    with pytest.raises(local.s3.exceptions.NoSuchBucket):
        local.s3.put_object(Bucket="no-such-bucket", Key="refused", Body=b"2")
    put(local.s3, BUCKET, "kept", iter([b"3"]))  # a change, with which what is no longer needed goes
    assert wait_for(lambda: len(bodies()) == len(before))
