"""The file that a command reads: a local path as it is, an object of S3 downloaded once a version."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ml_pipeline.errors import InputError
from ml_pipeline.local import STATE

DOWNLOADS = STATE / "downloads"
SCHEME = "s3://"


def local_file(source: str) -> Path:
    """The path itself, or that of a copy of the object, which the user's own credentials fetch.

    Call it before a local run: that one has no credentials but its own. Raises InputError.
    """
    if not source.startswith(SCHEME):
        return _existing(Path(source).expanduser())
    bucket, _, key = source.removeprefix(SCHEME).partition("/")
    if not bucket or not key or key.endswith("/"):
        raise InputError(f"{source}: name one object, s3://bucket/key, that is CSV or parquet")
    return _downloaded(source, bucket, key)


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a file; name one CSV or parquet file in it")
    if not path.exists():
        raise InputError(
            f"{path}: no such file; name one that is there (if you named none: file in settings.toml, [data])"
        )
    return path


def _downloaded(uri: str, bucket: str, key: str) -> Path:
    """Where the object lies after this: a folder for each of its versions, named by URI and ETag."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.Session().client("s3")
        found = client.head_object(Bucket=bucket, Key=key)
        version = hashlib.sha256(f"{uri} {found['ETag']}".encode()).hexdigest()[:16]
        path = DOWNLOADS / version / key.rpartition("/")[2]
        print(f"{uri}: {found['ContentLength']:,} bytes{', kept from before' if path.exists() else ''}")
        if not path.exists():
            _fetch(client, bucket, key, path)
    except ClientError as error:
        raise InputError(f"{uri}: {_answer(error.response, bucket)}") from None
    except (BotoCoreError, Boto3Error) as error:
        raise InputError(f"{uri}: {_obstacle(error)}") from None
    return path


def _fetch(client: Any, bucket: str, key: str, path: Path) -> None:
    """Downloads beside the place and renames, so that half a file never lies there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.part")
    try:
        client.download_file(bucket, key, str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _answer(response: Any, bucket: str) -> str:
    """What S3's refusal means, and the remedy. HEAD has no body: the status is all it tells."""
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    code = response["Error"]["Code"]
    told = {
        301: f"bucket {bucket} lies in another region: set AWS_REGION to it",
        400: "S3 refuses the request, as it does when the credentials have expired: "
        "renew them (aws sso login), or set AWS_REGION to the bucket's region",
        403: "access denied: these credentials need s3:GetObject on it and s3:ListBucket on its bucket "
        "(aws sts get-caller-identity tells whose they are)",
        404: f"no such object, or no such bucket; aws s3 ls s3://{bucket}/ lists what there is",
    }
    return told.get(status, f"S3 answers {status} {code}: {response['Error'].get('Message', '')}")


def _obstacle(error: Exception) -> str:
    """Why no answer came, and the remedy, by the kind of botocore's error."""
    told = {
        "NoCredentialsError": "no AWS credentials: aws sso login or aws configure, or set AWS_PROFILE",
        "PartialCredentialsError": "incomplete AWS credentials: aws configure, or set AWS_PROFILE",
        "ProfileNotFound": f"{error}: set AWS_PROFILE to one of `aws configure list-profiles`",
        "EndpointConnectionError": f"{error}: check the network, the proxy and AWS_REGION",
    }
    return told.get(type(error).__name__, f"{error}; check credentials (aws sts get-caller-identity), region")
