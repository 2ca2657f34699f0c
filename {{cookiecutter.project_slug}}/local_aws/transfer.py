"""S3 prefixes to folders and back, object by object, so that memory stays flat whatever their size."""

import os
import shutil
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

GZIP_LEVEL = 1
LISTINGS = 1000  # of a checkpoint folder for one state of it; a few milliseconds each
# One request costs half the CPU time of parts of 8 MiB, which the server must join.
WHOLE = TransferConfig(multipart_threshold=512 << 20, multipart_chunksize=64 << 20)


class TransferError(Exception):
    """Objects that are not there, or do not fit into a folder; the message names the URI."""


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of `s3://bucket/key`."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise TransferError(f"expected s3://bucket/prefix, got {uri!r}")
    return bucket, key


def list_keys(s3: Any, uri: str) -> Iterator[str]:
    """Keys below the prefix, without folder markers. TransferError when they cannot be listed."""
    bucket, prefix = split_uri(uri)
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (item["Key"] for item in page.get("Contents", []) if not item["Key"].endswith("/"))
    except ClientError as error:
        raise TransferError(f"{uri}: {error}") from error


def name_below(prefix: str, key: str) -> str:
    """The file's path in a channel: what SageMaker keeps of `key`.

    A prefix is text, not a folder: `in/tra` also matches `in/train/x`, of which `train/x` is kept.
    """
    if prefix.endswith("/") or key.startswith(prefix + "/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def download_prefix(s3: Any, uri: str, folder: Path) -> list[Path]:
    """The files, after every object below `uri` was written into `folder`."""
    bucket, prefix = split_uri(uri)
    folder.mkdir(parents=True, exist_ok=True)
    return [download(s3, bucket, key, inside(folder, name_below(prefix, key))) for key in list_keys(s3, uri)]


def download(s3: Any, bucket: str, key: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file, 1 << 20)
    return path


def inside(folder: Path, name: str) -> Path:
    """`folder/name`. TransferError when a `..` in the key leads out of the folder."""
    path = folder / name
    if ".." in Path(name).parts or path == folder:
        raise TransferError(f"the key {name!r} does not name a file below {folder.name}/")
    return path


def files_below(folder: Path) -> list[Path]:
    """All files below `folder`, sorted; none when it does not exist."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def upload_folder(s3: Any, folder: Path, uri: str) -> list[str]:
    """The URIs of the objects that the files below `folder` became."""
    base = uri.rstrip("/")
    return [upload(s3, path, f"{base}/{path.relative_to(folder).as_posix()}") for path in files_below(folder)]


def upload(s3: Any, path: Path, uri: str) -> str:
    bucket, key = split_uri(uri)
    s3.upload_file(str(path), bucket, key, Config=WHOLE)
    return uri


def upload_archive(s3: Any, folder: Path, archive: Path, uri: str) -> None:
    """Uploads what lies in `folder` as one tar.gz, written to `archive` first."""
    with tarfile.open(archive, "w:gz", compresslevel=GZIP_LEVEL) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    upload(s3, archive, uri)
    archive.unlink()


class Checkpoints:
    """A job's checkpoint folder, kept equal to its S3 prefix: new and changed files go up, deletions too."""

    def __init__(self, s3: Any, folder: Path, uri: str) -> None:
        self._s3, self._folder, self._uri = s3, folder, uri.rstrip("/") + "/"
        self._known: dict[Path, tuple[int, int, int]] = {}

    def restore(self) -> None:
        """Fills the folder with what lies in S3, as on a new instance."""
        shutil.rmtree(self._folder, ignore_errors=True)
        restored = download_prefix(self._s3, self._uri, self._folder)
        self._known = {path: _version(path.lstat()) for path in restored}

    def sync(self) -> None:
        """Brings S3 to the state that the folder has now, whatever the job deletes in the meantime."""
        with tempfile.TemporaryDirectory(prefix=".sync-", dir=self._folder.parent) as held:
            present, changed = self._seen(Path(held))
            for path, link in changed.items():
                upload(self._s3, link, self._key(path))
                self._known[path] = present[path]
        for path in self._known.keys() - present.keys():
            bucket, key = split_uri(self._key(path))
            self._s3.delete_object(Bucket=bucket, Key=key)
            del self._known[path]

    def _seen(self, held: Path) -> tuple[dict[Path, tuple[int, int, int]], dict[Path, Path]]:
        """Every file with its version, and links in `held` to the new and changed ones.

        A job that writes checkpoints faster than they go up deletes those that were listed: the links keep
        their content, and a listing in which a file was gone already is made again. TransferError for a job
        that deletes a file in each of very many listings: no state of its folder can be told.
        """
        for _ in range(LISTINGS):
            try:
                statuses = {path: path.lstat() for path in self._folder.rglob("*")}
                present = {path: _version(each) for path, each in statuses.items() if S_ISREG(each.st_mode)}
                changed = [path for path in present if self._known.get(path) != present[path]]
                links = {path: held / uuid.uuid4().hex for path in changed}
                for path, link in links.items():
                    os.link(path, link)
            except FileNotFoundError:
                continue
            return present, links
        raise TransferError(
            f"{self._uri}: in each of {LISTINGS:,} listings of the checkpoint folder the job had deleted a "
            "file before it was read; checkpoints must be kept for longer than it takes to list them"
        )

    def _key(self, path: Path) -> str:
        return self._uri + path.relative_to(self._folder).as_posix()


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
