"""In front of the local AWS with --enforce-iam: requests that their caller may not make get AWS's refusal.

A key that was given to nobody is the account's root, which may do everything. The secret of a key is not
checked.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from werkzeug.wrappers import Request, Response

from local_aws.iam.answers import Refused, answer
from local_aws.iam.asked import Asked, Unreadable, asked
from local_aws.iam.identity import Denied
from local_aws.iam.needs import needs
from local_aws.iam.principals import Caller
from local_aws.iam.s3_actions import s3_needs
from local_aws.iam.table import PREFIXES
from local_aws.iam.web_identity import check_web_identity
from local_aws.resources import tagged
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

ALWAYS = ("sts", "GetCallerIdentity")
WEB_IDENTITY = ("sts", "AssumeRoleWithWebIdentity")
BLOCK_BYTES = 1 << 20


class Guard:
    """A WSGI application that lets through to `front` what IAM allows.

    service_of: the service that a request is for, None when that cannot be told.
    """

    def __init__(self, front: Callable, api: "SageMaker", service_of: Callable[[dict], str | None]) -> None:
        self.front, self.api, self.iam, self.service_of = front, api, api.iam, service_of

    def __call__(self, environ: dict, start_response: Callable) -> Any:
        return (self._refusal(environ) or self.front)(environ, start_response)

    def _refusal(self, environ: dict) -> Response | None:
        """The answer to what is not allowed; its body is read first, for the connection is used again."""
        signed = self.service_of(environ)
        service = PREFIXES.get(signed or "", signed)
        try:
            if service:
                self._check(environ, service)
        except Refused as refused:
            stream = Request(environ).stream
            while stream.read(BLOCK_BYTES):
                pass
            return answer(environ, service, refused)
        return None

    def _check(self, environ: dict, service: str) -> None:
        """Raises Refused."""
        key, region = scope(environ)
        caller = self.iam.identities.caller(key)
        signed = bool(key)
        if signed and caller is None:
            return
        if self.iam.identities.expired(key):
            raise Refused("ExpiredToken", "The security token included in the request is expired")
        try:
            self._check_known(environ, service, region or self.api.region, caller)
        except Denied as denied:
            raise Refused("AccessDenied", str(denied)) from None
        except Unreadable as problem:
            raise Refused("AccessDenied", f"Refused with --enforce-iam: {problem}") from None

    def _check_known(self, environ: dict, service: str, region: str, caller: Caller | None) -> None:
        account = self.api.account
        if service == "s3":
            self.iam.check(caller, s3_needs(environ, Asked("s3", "", {}, account, region)))
            return
        request = asked(environ, service, account, region)
        what = (service, request.operation)
        if what == WEB_IDENTITY:
            check_web_identity(self.iam, request)
        elif what != ALWAYS and caller is not None:
            self.iam.check(caller, needs(self._named(request), self._tags_of))

    def _named(self, request: Asked) -> Asked:
        """The request with its StackName, which one that names a change set by its ARN does not tell."""
        change_set = request.params.get("ChangeSetName", "")
        if (
            request.service != "cloudformation"
            or "StackName" in request.params
            or ":changeSet/" not in change_set
        ):
            return request
        client = self.api.client("cloudformation")
        try:
            stack = client.describe_change_set(ChangeSetName=change_set)["StackId"]
        except client.exceptions.ClientError:
            return request  # there is none: any stack
        return replace(request, params=request.params | {"StackName": stack})

    def _tags_of(self, arn: str) -> dict[str, str] | None:
        service = arn.split(":", 3)[2] if arn.count(":") >= 5 else ""
        if service == "iam":
            role = self.iam.identities.role(arn)
            return {tag["Key"]: tag["Value"] for tag in _listed(role.tags)} if role else {}
        if service != "sagemaker" or arn.endswith("*"):
            return None
        try:
            kind, name = tagged(self.api, arn)
        except ApiError:
            return {}
        return {tag["Key"]: tag["Value"] for tag in self.api.state.get(kind, name)["_tags"]}


def _listed(tags: Any) -> Any:
    return tags.values() if isinstance(tags, dict) else tags


def scope(environ: dict) -> tuple[str, str]:
    """Access key and region of the request's signature; empty when it has none."""
    _, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if "AWSAccessKeyId" in query:
        return query["AWSAccessKeyId"][0], ""
    parts = (rest.partition(",")[0] or query.get("X-Amz-Credential", [""])[0]).split("/")
    return (parts[0], parts[2]) if len(parts) == 5 else ("", "")
