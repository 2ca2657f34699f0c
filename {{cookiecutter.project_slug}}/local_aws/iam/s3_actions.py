"""What requests to S3 need. AWS: "Required permissions for Amazon S3 API operations"."""

import re
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from werkzeug.wrappers import Request

from local_aws.iam.asked import Asked, Unreadable
from local_aws.iam.identity import Need
from local_aws.iam.principals import PARTITION

BUCKET_PARTS = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
READ_PARTS = {
    "location": "GetBucketLocation",
    "policyStatus": "GetBucketPolicyStatus",
    "uploads": "ListBucketMultipartUploads",
    "versions": "ListBucketVersions",
}
OWN_DELETES = {"policy": "DeleteBucketPolicy", "website": "DeleteBucketWebsite"}
OBJECT_PARTS = {
    "acl": "Acl",
    "tagging": "Tagging",
    "retention": "Retention",
    "legal-hold": "LegalHold",
}
HEADERS = (
    "x-amz-acl",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
)
QUERIES = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:VersionId",
}
KEY_HEADER = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"


def s3_needs(environ: dict, asked: Asked) -> list[Need]:
    """The needs of a request to S3. Its body is read only where it names objects."""
    query = {
        name: values[0]
        for name, values in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True).items()
    }
    bucket, key = _place(environ)
    about = _about(environ, query, asked)
    if not bucket:
        return [Need("s3:ListAllMyBuckets", "*", about)]
    named = _object(environ, query, bucket, key, asked) if key else _bucket(environ, query, bucket)
    return [Need(need.action, need.resource, about | need.context) for need in named]


def _place(environ: dict) -> tuple[str, str]:
    path = environ["PATH_INFO"].encode("latin-1").decode()
    host = re.match(r"(.+)\.s3[.-][^:]*", environ.get("HTTP_HOST", ""))
    bucket, _, key = (f"/{host[1]}{path}" if host else path).removeprefix("/").partition("/")
    return bucket, key


def _about(environ: dict, query: dict[str, str], asked: Asked) -> dict[str, object]:
    headers = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in HEADERS}
    about = {f"s3:{name}": value for name, value in headers.items() if value}
    about |= {key: query[name] for name, key in QUERIES.items() if name in query}
    return about | {"s3:ResourceAccount": asked.account}


def _arn(bucket: str, key: str = "") -> str:
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


def _bucket(environ: dict, query: dict[str, str], bucket: str) -> Iterator[Need]:
    method = environ["REQUEST_METHOD"]
    part = next(
        (name for name in query if name in BUCKET_PARTS or name in READ_PARTS or name == "delete"), ""
    )
    if method == "POST" and part == "delete":
        yield from _deleted(environ, bucket)
    elif method in ("GET", "HEAD"):
        subject = READ_PARTS.get(part) or (f"Get{BUCKET_PARTS[part]}" if part else "ListBucket")
        yield Need(f"s3:{subject}", _arn(bucket))
    elif method == "PUT":
        yield Need(f"s3:Put{BUCKET_PARTS[part]}" if part else "s3:CreateBucket", _arn(bucket))
    elif method == "DELETE":
        subject = OWN_DELETES.get(part) or (f"Put{BUCKET_PARTS[part]}" if part else "DeleteBucket")
        yield Need(f"s3:{subject}", _arn(bucket))
    else:
        raise Unreadable(f"the local AWS does not know the permissions that {method} of a bucket needs")


def _deleted(environ: dict, bucket: str) -> Iterator[Need]:
    """DeleteObjects: one need for each object."""
    body = Request(environ).get_data()
    environ["wsgi.input"] = BytesIO(body)
    environ.pop("wsgi.input_terminated", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    try:
        listed = ElementTree.fromstring(body).iterfind("{*}Object")
    except ElementTree.ParseError as error:
        raise Unreadable(f"the list of objects to delete is not XML: {error}") from None
    for item in listed:
        version = item.findtext("{*}VersionId")
        yield Need(
            f"s3:DeleteObject{'Version' if version else ''}", _arn(bucket, item.findtext("{*}Key") or "")
        )


def _object(environ: dict, query: dict[str, str], bucket: str, key: str, asked: Asked) -> Iterator[Need]:
    method, resource = environ["REQUEST_METHOD"], _arn(bucket, key)
    version = "Version" if "versionId" in query else ""
    part = next((name for name in query if name in OBJECT_PARTS), "")
    if part:
        verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}[method]
        yield Need(
            f"s3:{verb}Object{version if part in ('acl', 'tagging') else ''}{OBJECT_PARTS[part]}", resource
        )
    elif method in ("GET", "HEAD"):
        yield from _read(query, bucket, key, version, asked)
    elif method == "DELETE":
        yield Need(
            "s3:AbortMultipartUpload" if "uploadId" in query else f"s3:DeleteObject{version}", resource
        )
    elif method in ("PUT", "POST") and "restore" not in query and "select" not in query:
        yield from _written(environ, query, bucket, resource, asked)
    else:
        raise Unreadable(f"the local AWS does not know the permissions that {method} {'&'.join(query)} needs")


def _read(query: dict[str, str], bucket: str, key: str, version: str, asked: Asked) -> Iterator[Need]:
    resource = _arn(bucket, key)
    if "uploadId" in query:
        yield Need("s3:ListMultipartUploadParts", resource)
        return
    yield Need(f"s3:GetObject{version}", resource)
    if "attributes" in query:
        yield Need(f"s3:GetObject{version}Attributes", resource)
    found = _stored(bucket, key, query.get("versionId"))
    if found is None and _stored_bucket(bucket):  # without this, AWS does not tell that there is none
        yield Need("s3:ListBucket", _arn(bucket))
    elif found is not None and found.encryption == "aws:kms":
        yield from _key_need("kms:Decrypt", found.kms_key_id, asked)


def _written(
    environ: dict, query: dict[str, str], bucket: str, resource: str, asked: Asked
) -> Iterator[Need]:
    yield Need("s3:PutObject", resource)
    if "HTTP_X_AMZ_TAGGING" in environ:
        yield Need("s3:PutObjectTagging", resource)
    if "HTTP_X_AMZ_ACL" in environ:
        yield Need("s3:PutObjectAcl", resource)
    if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
        path, _, version = source.partition("?versionId=")
        from_bucket, _, from_key = unquote(path).removeprefix("/").partition("/")
        yield from _read(
            {"versionId": version} if version else {},
            from_bucket,
            from_key,
            "Version" if version else "",
            asked,
        )
    used, key = _encryption(environ, bucket)
    if used == "aws:kms":
        yield from _key_need("kms:GenerateDataKey", key, asked)
        if "uploads" in query or "uploadId" in query:
            yield from _key_need("kms:Decrypt", key, asked)


def _encryption(environ: dict, bucket: str) -> tuple[str, str]:
    """How what is written is encrypted, and with which key: as the request says, else as the bucket does."""
    if "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION" in environ:
        return environ["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"], environ.get(KEY_HEADER, "")
    stored = _stored_bucket(bucket)
    rule = (stored.encryption or {}).get("Rule", {}) if stored else {}
    first = rule[0] if isinstance(rule, list) else rule
    default = first.get("ApplyServerSideEncryptionByDefault", {})
    return default.get("SSEAlgorithm", ""), default.get("KMSMasterKeyID", "")


def _key_need(action: str, key: str | None, asked: Asked) -> Iterator[Need]:
    """The use of a customer's key; that of AWS's own (no key named, or alias/aws/s3) S3 has for everybody."""
    if key and not key.endswith("alias/aws/s3"):
        arn = key if key.startswith("arn:") else asked.arn(f"key/{key}", "kms")
        yield Need(action, arn, {"kms:ViaService": f"s3.{asked.region}.amazonaws.com"})


def _stored_bucket(bucket: str) -> Any:
    backends = sys.modules["moto.s3.models"].s3_backends
    if bucket not in backends.bucket_accounts:
        return None
    partition, owner = backends.bucket_accounts[bucket]
    return backends[owner][partition].buckets.get(bucket)


def _stored(bucket: str, key: str, version: str | None) -> Any:
    """moto's object; None when there is none."""
    held = _stored_bucket(bucket)
    if held is None:
        return None
    backend = sys.modules["moto.s3.models"].s3_backends[held.account_id][PARTITION]
    return backend.get_object(bucket, key, version_id=version)
