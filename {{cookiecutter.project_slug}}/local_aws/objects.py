"""S3 with its bodies in files: memory stays flat whatever their size, and the next server finds them again.

moto keeps the metadata. A body never passes through it: a PUT is streamed to a file and moto gets a token
that names the file; a GET is answered by moto as a HEAD, and the file is streamed. Large bodies that this
process makes or reads itself go by name too: see `put` and `opened`.
"""

import base64
import hashlib
import io
import itertools
import json
import os
import pickle
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

import moto.s3.models as moto_s3
from botocore.exceptions import ClientError
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Response
from werkzeug.wsgi import LimitedStream

from local_aws.state import FORMAT, SavedLater, StateError, replace_file

BLOCK_BYTES = 1 << 20
TOKEN = b"local-aws-body:" + secrets.token_hex(16).encode()
NOT_A_BODY = (
    "acl",
    "attributes",
    "legal-hold",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploads",
)
STREAMED_HEADERS = (
    "HTTP_CONTENT_MD5",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_AMZ_DECODED_CONTENT_LENGTH",
    "HTTP_X_AMZ_TRAILER",
    "wsgi.input_terminated",
)
ATTEMPTS = 10
BODY_HEADER = "x-local-aws-body"  # of what answers a GET: the file's name


class BadBody(Exception):
    """The body of a request is not what its headers say; `code` is S3's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Body:
    """A file of the bodies' folder."""

    name: str
    size: int
    md5: str

    def token(self) -> bytes:
        return b"|".join((TOKEN, self.name.encode(), str(self.size).encode(), self.md5.encode()))


class Bodies:
    """The folder of bodies. A file that is no longer needed goes with the next save of the metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unneeded: list[str] = []

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, blocks: Iterator[bytes]) -> Body:
        """The file that now holds `blocks`; none is left when they raise."""
        name, md5, size = secrets.token_hex(16), hashlib.md5(usedforsecurity=False), 0
        try:
            with self.path(name).open("wb") as file:
                for block in blocks:
                    file.write(block)
                    md5.update(block)
                    size += len(block)
        except BaseException:
            self.path(name).unlink(missing_ok=True)
            raise
        return Body(name, size, md5.hexdigest())

    def joined(self, names: list[str], md5: str) -> Body:
        """The file that now holds the bytes of these, one after the other."""
        whole = secrets.token_hex(16)
        with self.path(whole).open("wb") as file:
            for name in names:
                with self.path(name).open("rb") as part:
                    shutil.copyfileobj(part, file, BLOCK_BYTES)
        return Body(whole, self.path(whole).stat().st_size, md5)

    def link(self, body: Body) -> Body:
        """A second name of the same file: bodies are never changed in place."""
        copy = secrets.token_hex(16)
        os.link(self.path(body.name), self.path(copy))
        return replace(body, name=copy)

    def drop(self, name: str) -> None:
        self._unneeded.append(name)

    def take_unneeded(self) -> list[str]:
        unneeded, self._unneeded = self._unneeded, []
        return unneeded

    def remove(self, names: list[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)


class FileKey(moto_s3.FakeKey):
    """moto's object, with its body in a file."""

    bodies: Bodies
    _file: str | None = None

    def __new__(cls, *args: object, **kwargs: object) -> "FileKey":
        return object.__new__(cls)  # moto's own keeps every instance for ever

    @property
    def value(self) -> bytes:
        return self.bodies.path(self._file).read_bytes()

    @value.setter
    def value(self, given: bytes) -> None:
        body = _named(given) or self.bodies.write(iter([given]))
        self._file, self.contentsize = body.name, body.size
        self._etag = self._etag or body.md5

    def blocks(self, first: int, last: int) -> Iterator[bytes]:
        with self.bodies.path(self._file).open("rb") as file:
            yield from read_blocks(file, first, last)

    def open(self) -> BinaryIO:
        return self.bodies.path(self._file).open("rb")

    def link(self) -> Body:
        return self.bodies.link(Body(self._file, self.contentsize, self._etag))

    def dispose(self, garbage: bool = False) -> None:
        if not self.disposed:
            self.disposed = True
            self.bodies.drop(self._file)
            if self.multipart:
                self.multipart.dispose()

    def __del__(self) -> None:
        """Only `dispose` frees the body: metadata that is saved may still name it."""

    def __deepcopy__(self, memo: dict) -> "FileKey":
        return self

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("lock", "_value_buffer")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.Lock()


class FileMultipart(moto_s3.FakeMultipart):
    """moto's multipart upload, assembled file by file."""

    def complete(self, body: Iterator[tuple[int, str]]) -> tuple[bytes, str, None]:
        """(token, etag, no checksum); moto's errors for wrong parts. moto then disposes of the parts."""
        listed = [(self.parts.get(number), etag.strip('"')) for number, etag in body]
        if not listed:
            raise moto_s3.MalformedXML
        if any(part is None or part.etag.strip('"') != etag for part, etag in listed):
            raise moto_s3.InvalidPart
        if any(part.contentsize < moto_s3.S3_UPLOAD_PART_MIN_SIZE for part, _ in listed[:-1]):
            raise moto_s3.EntityTooSmall
        parts = [part for part, _ in listed]
        digest = hashlib.md5(b"".join(bytes.fromhex(etag) for _, etag in listed), usedforsecurity=False)
        etag = f"{digest.hexdigest()}-{len(parts)}"
        return FileKey.bodies.joined([part._file for part in parts], etag).token(), etag, None


@dataclass(frozen=True)
class CopySource:
    """What moto copies from: the key, whose value is a token of a second name of its file."""

    key: FileKey

    @property
    def value(self) -> bytes:
        return self.key.link().token()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.key, name)


def put(s3: Any, bucket: str, key: str, blocks: Iterator[bytes]) -> None:
    """Puts an object whose body this process writes: the request, which is judged as any other, names it."""
    body = FileKey.bodies.write(blocks)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body.token())
    finally:
        FileKey.bodies.remove([body.name])  # the object has a link of its own


def opened(s3: Any, bucket: str, key: str) -> BinaryIO:
    """The file of an object's body; the request, which is judged as any other, asks for a byte of it."""
    for _ in range(ATTEMPTS):
        try:
            answer = s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidRange":
                raise
            return io.BytesIO()  # no byte, so no first one
        with suppress(FileNotFoundError):  # replaced since
            name = answer["ResponseMetadata"]["HTTPHeaders"][BODY_HEADER]
            return FileKey.bodies.path(name).open("rb", BLOCK_BYTES)
    raise RuntimeError(f"s3://{bucket}/{key} changed {ATTEMPTS} times while it was opened")


def _named(given: bytes) -> Body | None:
    """The body that a token names; None for bytes that are no token."""
    if not given.startswith(TOKEN):
        return None
    _, name, size, md5 = given.decode().split("|")
    return Body(name, int(size), md5)


def read_blocks(file: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    """Bytes `first` to `last`, both included."""
    file.seek(first)
    left = last - first + 1
    while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
        left -= len(block)
        yield block


def _unjudged(bucket: Any, action: str, resource: str) -> Any:
    """moto reads a bucket policy without conditions: "deny what does not come over TLS" would deny all."""
    from moto.iam.access_control import PermissionResult

    return PermissionResult.NEUTRAL


def install(bodies: Bodies) -> None:
    """Makes moto's S3 keep its bodies in files. Once a process."""
    FileKey.bodies = bodies
    moto_s3.FakeKey, moto_s3.FakeMultipart = FileKey, FileMultipart
    moto_s3.FakeBucket.get_permission = _unjudged
    backend = moto_s3.S3Backend
    moto_copy = backend.copy_object

    def copy_object(self: Any, src_key: FileKey, *args: Any, **kwargs: Any) -> None:
        moto_copy(self, CopySource(src_key), *args, **kwargs)

    def upload_part_copy(
        self: Any,
        dest_bucket_name: str,
        multipart_id: str,
        part_id: int,
        src_bucket_name: str,
        src_key_name: str,
        src_version_id: str | None,
        start_byte: int | None,
        end_byte: int | None,
    ) -> FileKey:
        upload = self.get_bucket(dest_bucket_name).multiparts[multipart_id]
        source = self.get_object(src_bucket_name, src_key_name, version_id=src_version_id)
        first, last = (0, source.contentsize - 1) if start_byte is None else (start_byte, end_byte)
        return upload.set_part(part_id, bodies.write(source.blocks(first, last)).token())

    backend.copy_object, backend.upload_part_copy = copy_object, upload_part_copy


class FileS3:
    """A WSGI application in front of moto's S3; its metadata lie in `objects.pickle` of the state folder."""

    def __init__(self, app: Callable, folder: Path, account: str) -> None:
        self.app = app
        self.path = folder / "objects.pickle"
        self.bodies = Bodies(folder / "objects")
        install(self.bodies)
        self.backend = moto_s3.s3_backends[account]["aws"]
        self.lock = threading.RLock()  # moto's S3 has none; guards every change and the save
        self._load()
        self._saver = SavedLater(self._write, "objects")

    def __call__(self, environ: dict, start_response: Callable) -> Any:
        method, names_body = environ["REQUEST_METHOD"], _names_body(environ)
        if method == "GET" and names_body and "uploadId" not in _query(environ):
            return self._get(environ)(environ, start_response)
        if method in ("GET", "HEAD"):
            return self.app(environ, start_response)
        if method == "PUT" and names_body and "HTTP_X_AMZ_COPY_SOURCE" not in environ:
            return self._put(environ, start_response)
        return self._change(environ, start_response)

    def _change(self, environ: dict, start_response: Callable) -> Any:
        with self.lock:
            answer = self.app(environ, start_response)
        self._saver.changed()
        return answer

    def _put(self, environ: dict, start_response: Callable) -> Any:
        headers: dict[str, str] = {}
        try:
            body = self._received(environ, headers)
        except BadBody as error:
            return _error(400, error.code, str(error))(environ, start_response)
        forwarded = {name: value for name, value in environ.items() if name not in STREAMED_HEADERS} | headers
        if not any(name.startswith("HTTP_X_AMZ_CHECKSUM_") for name in forwarded):
            forwarded.pop("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", None)
        token = body.token()
        forwarded |= {
            "wsgi.input": io.BytesIO(token),
            "CONTENT_LENGTH": str(len(token)),
            "HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        }
        answer = Response.from_app(self._change, forwarded)
        if answer.status_code >= 300:
            self.bodies.drop(body.name)
        return answer(environ, start_response)

    def _received(self, environ: dict, headers: dict[str, str]) -> Body:
        blocks = _body_blocks(environ, headers)
        first = next(blocks, b"")
        if named := _named(first):
            return self.bodies.link(named)
        body = self.bodies.write(itertools.chain([first], blocks))
        told = environ.get("HTTP_CONTENT_MD5")
        if told and base64.b64decode(told).hex() != body.md5:
            self.bodies.drop(body.name)
            raise BadBody("BadDigest", f"Content-MD5 is {told}, the MD5 of the body is {body.md5} (hex)")
        return body

    def _get(self, environ: dict) -> Callable:
        """The answer to a GET of an object: moto's to a HEAD, with the bytes of the file that it is about."""
        for _ in range(ATTEMPTS):
            head = Response.from_app(self.app, environ | {"REQUEST_METHOD": "HEAD"})
            if head.status_code not in (200, 206):
                return self.app
            file = self._open(environ, head.headers["ETag"])
            if file is not None:
                return _streamed(head, file)
        raise RuntimeError(f"{environ['PATH_INFO']} changed {ATTEMPTS} times while it was read")

    def _open(self, environ: dict, etag: str) -> BinaryIO | None:
        """The open file of the object; None when it is no longer the one with this etag."""
        bucket, name = _bucket_and_key(environ)
        version_id = _query(environ).get("versionId", [None])[0]
        key = self.backend.get_object(bucket, name, version_id=version_id)
        if key is None or key.etag != etag:
            return None
        try:
            return key.open()
        except FileNotFoundError:
            return None

    def save(self) -> None:
        self._saver.save()

    def _write(self) -> None:
        """Writes the metadata, atomically, then removes the files that they no longer name."""
        with self.lock:
            unneeded = self.bodies.take_unneeded()
            body = pickle.dumps((self.backend.buckets, self.backend.tagger))
        replace_file(self.path, json.dumps(_written_by()).encode() + b"\n" + body)
        self.bodies.remove(unneeded)

    def _load(self) -> None:
        if self.path.exists():
            header, _, body = self.path.read_bytes().partition(b"\n")
            if not header.startswith(b"{") or json.loads(header) != _written_by():
                remedy = f"start with --fresh or delete {self.path.parent}"
                message = f"{self.path} was written by {header[:99]!r}, this is {_written_by()}: {remedy}"
                raise StateError(message)
            self.backend.buckets, self.backend.tagger = pickle.loads(body)
            for name in self.backend.buckets:
                moto_s3.s3_backends.bucket_accounts[name] = (self.backend.partition, self.backend.account_id)
        kept = {key._file for key in self._keys()}
        self.bodies.remove([path.name for path in self.bodies.folder.iterdir() if path.name not in kept])

    def _keys(self) -> Iterator[FileKey]:
        for bucket in self.backend.buckets.values():
            for _, versions in bucket.keys.lists():
                yield from (key for key in versions if isinstance(key, FileKey))
            for upload in bucket.multiparts.values():
                yield from upload.parts.values()


def _written_by() -> dict:
    return {"format": FORMAT, "moto": ".".join(version("moto").split(".")[:2])}


def _query(environ: dict) -> dict[str, list[str]]:
    return parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _bucket_and_key(environ: dict) -> tuple[str, str]:
    path = environ["PATH_INFO"].encode("latin-1").decode()
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


def _names_body(environ: dict) -> bool:
    """Whether the request is about an object's bytes, or a part's."""
    return bool(_bucket_and_key(environ)[1]) and not any(name in _query(environ) for name in NOT_A_BODY)


def _streamed(head: Response, file: BinaryIO) -> Response:
    size = os.fstat(file.fileno()).st_size
    first, last = 0, size - 1
    if found := re.match(r"bytes (\d+)-(\d+)/", head.headers.get("Content-Range", "")):
        first, last = int(found[1]), int(found[2])
    answer = Response(read_blocks(file, first, last), head.status_code, head.headers)
    answer.headers["Content-Length"] = str(last - first + 1)
    answer.headers[BODY_HEADER] = Path(file.name).name
    answer.call_on_close(file.close)
    return answer


def _body_blocks(environ: dict, headers: dict[str, str]) -> Iterator[bytes]:
    """The body in blocks, aws-chunked framing taken off; its trailers are put into `headers`."""
    stream = environ["wsgi.input"]
    if not environ.get("wsgi.input_terminated"):
        stream = LimitedStream(stream, int(environ.get("CONTENT_LENGTH") or 0))
    stream = io.BufferedReader(stream, BLOCK_BYTES) if isinstance(stream, io.RawIOBase) else stream
    try:
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-"):
            yield from _chunks(stream, headers)
        else:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except ClientDisconnected as error:
        raise BadBody("IncompleteBody", "The connection ended before Content-Length bytes came") from error


def _chunks(stream: BinaryIO, headers: dict[str, str]) -> Iterator[bytes]:
    while left := int(stream.readline().split(b";")[0] or b"0", 16):
        while left and (block := stream.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            yield block
        if left or stream.readline() != b"\r\n":
            raise BadBody("IncompleteBody", f"A chunk of the body lacks {left} bytes or its end")
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers["HTTP_" + name.strip().upper().replace("-", "_")] = value.strip()


def _error(status: int, code: str, message: str) -> Response:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(text, status, content_type="application/xml")
