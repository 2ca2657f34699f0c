"""Objects in S3 by URI: bytes, JSON and parquet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

UPLOADS = 4  # files at a time
MIB = 2**20
# Files of a step are few and go several at a time: a request each costs half the CPU time of 8 MiB parts.
WHOLE = TransferConfig(multipart_threshold=512 * MIB, multipart_chunksize=64 * MIB, io_chunksize=MIB)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises ValueError for anything else."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"expected s3://bucket/key, got {uri!r}")
    return bucket, key


def read_bytes(uri: str) -> bytes:
    bucket, key = split_uri(uri)
    return _s3().get_object(Bucket=bucket, Key=key)["Body"].read()


def read_text(uri: str) -> str | None:
    """The object's text; None if there is no such object."""
    try:
        return read_bytes(uri).decode()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


def stream(uri: str) -> BinaryIO:
    """The object's bytes as they arrive."""
    bucket, key = split_uri(uri)
    return _s3().get_object(Bucket=bucket, Key=key)["Body"]


def sha256(uri: str) -> str:
    """Hash of the object's bytes, which are not held at once."""
    digest, body = hashlib.sha256(), stream(uri)
    while piece := body.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


def read_head(uri: str, size: int) -> str:
    """The text that the object begins with, up to size bytes of it."""
    bucket, key = split_uri(uri)
    body = _s3().get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{size - 1}")["Body"]
    return body.read().decode(errors="ignore")


def write_bytes(uri: str, content: bytes) -> None:
    bucket, key = split_uri(uri)
    _s3().put_object(Bucket=bucket, Key=key, Body=content)


def read_json(uri: str) -> Any:
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Writes strict JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    write_bytes(uri, json.dumps(value, indent=1, allow_nan=False).encode())


def read_parquet(uri: str) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.parquet")
        download(uri, path)
        return pd.read_parquet(path)


def write_csv(uri: str, table: pa.Table) -> None:
    """Writes a header and rows; a missing cell is empty, no cell is quoted unless one of them needs it."""
    header = io.StringIO(newline="")
    csv.writer(header, lineterminator="\n").writerow(table.column_names)
    write_bytes(uri, header.getvalue().encode() + csv_rows(table))


def csv_rows(table: pa.Table) -> bytes:
    """Rows of a CSV without header: a missing cell is empty, none is quoted unless one of them needs it."""
    try:
        return _rows(table, "none")
    except pa.ArrowInvalid:  # a comma, a quote or a line break in a cell
        return _rows(table, "needed")


def _rows(table: pa.Table, quoting: str) -> bytes:
    buffer = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    pyarrow.csv.write_csv(table, buffer, options)
    return buffer.getvalue()


def download(uri: str, path: Path) -> None:
    bucket, key = split_uri(uri)
    _s3().download_file(bucket, key, str(path), Config=WHOLE)


def upload(path: Path, uri: str, metadata: Mapping[str, str] | None = None) -> None:
    bucket, key = split_uri(uri)
    extra = {"Metadata": dict(metadata)} if metadata else None
    _s3().upload_file(str(path), bucket, key, ExtraArgs=extra, Config=WHOLE)


def metadata(uri: str) -> dict[str, str]:
    """What the object was uploaded with beside its bytes."""
    bucket, key = split_uri(uri)
    return _s3().head_object(Bucket=bucket, Key=key)["Metadata"]


@contextmanager
def uploading(folder: Path, uri: str) -> Iterator[None]:
    """Uploads all files below the folder, several at a time, while the `with` block goes on."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(UPLOADS) as pool:
        uploads = [pool.submit(upload, path, f"{uri}/{path.relative_to(folder)}") for path in paths]
        yield
        for each in uploads:
            each.result()


def list_uris(prefix_uri: str) -> list[tuple[str, int]]:
    """(URI, size in bytes) of every object whose key begins with the prefix, in key order."""
    bucket, prefix = split_uri(prefix_uri)
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [
        (f"s3://{bucket}/{item['Key']}", item["Size"]) for page in pages for item in page.get("Contents", [])
    ]


def etags(prefix_uri: str) -> dict[str, str]:
    """ETag of every object whose key begins with the prefix, by URI, in key order."""
    bucket, prefix = split_uri(prefix_uri)
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        f"s3://{bucket}/{item['Key']}": item["ETag"] for page in pages for item in page.get("Contents", [])
    }


def fingerprint(folder_uri: str, etags: Mapping[str, str]) -> str:
    """Another one when a data object below the folder, which ends with a slash, is replaced, new or gone."""
    named = [f"{uri} {etags[uri]}" for uri in data_objects(folder_uri, etags)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def exists(uri: str) -> bool:
    """Whether there is an object of exactly this name."""
    return any(found == uri for found, _ in list_uris(uri))


def data_objects(folder_uri: str, uris: Iterable[str]) -> list[str]:
    """Those of the URIs that lie below the folder and are data: no folder marker, nothing as _SUCCESS is."""
    names = [uri for uri in uris if uri.startswith(folder_uri)]
    return [uri for uri in names if not _hidden(uri.removeprefix(folder_uri))]


def _hidden(name: str) -> bool:
    return any(part == "" or part[0] in "_." for part in name.split("/"))


def folders(prefix_uri: str) -> list[str]:
    """Names of the folders right below the prefix, which ends with a slash."""
    bucket, prefix = split_uri(prefix_uri)
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    found = (item["Prefix"] for page in pages for item in page.get("CommonPrefixes", []))
    return [name.removeprefix(prefix).rstrip("/") for name in found]


def delete(uri: str) -> None:
    bucket, key = split_uri(uri)
    _s3().delete_object(Bucket=bucket, Key=key)


def mark_success(prefix_uri: str, content: bytes = b"") -> None:
    """Writes `_SUCCESS`, the last object of a folder: without it the folder is incomplete."""
    write_bytes(f"{prefix_uri}/_SUCCESS", content)


def _s3() -> Any:
    return _client(os.environ.get("AWS_ENDPOINT_URL"))


@cache
def _client(endpoint: str | None) -> Any:
    """One client for all calls, since making one takes longer than most of them."""
    # As over HTTPS, where botocore sends a CRC32 only: over HTTP it would read each body once more.
    unsigned = Config(s3={"payload_signing_enabled": False})
    return boto3.client("s3", endpoint_url=endpoint, config=unsigned)
