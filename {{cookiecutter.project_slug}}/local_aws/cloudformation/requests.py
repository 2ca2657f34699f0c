"""What requests give: a template as text or in S3, and options that are not supported."""

from urllib.parse import unquote, urlsplit

from local_aws.cloudformation import parameters
from local_aws.cloudformation.kinds.kind import Caller, ResourceError
from local_aws.cloudformation.kinds.tags import as_map
from local_aws.cloudformation.model import check_types
from local_aws.cloudformation.stack import Stack, Target
from local_aws.cloudformation.template import Template, read, refuse

BODY_BYTES = 51_200
URL_BYTES = 1_048_576
UNSUPPORTED = (
    "NotificationARNs",
    "ResourceTypes",
    "ResourcesToImport",
    "ImportExistingResources",
    "RoleARN",
    "RollbackConfiguration",
    "StackPolicyBody",
    "StackPolicyURL",
    "StackPolicyDuringUpdateBody",
    "StackPolicyDuringUpdateURL",
    "IncludeNestedStacks",
    "TimeoutInMinutes",
)


def check_supported(request: dict) -> None:
    """Raises ApiError for a member that would have no effect here."""
    if found := [name for name in UNSUPPORTED if request.get(name)]:
        raise refuse(f"{found[0]} is not supported by the local AWS")


def template_of(request: dict, caller: Caller, stack: Stack | None = None) -> Template:
    """The template that a request gives."""
    if request.get("UsePreviousTemplate"):
        if stack is None:
            raise refuse("UsePreviousTemplate is for a stack that exists")
        return stack.target.template
    if "TemplateBody" in request:
        text, limit = request["TemplateBody"], BODY_BYTES
    elif "TemplateURL" in request:
        text, limit = _downloaded(request["TemplateURL"], caller), URL_BYTES
    else:
        raise refuse("Either Template URL or Template Body must be specified.")
    if len(text.encode()) > limit:
        raise refuse(
            f"the template has {len(text.encode())} bytes: at most {BODY_BYTES} in TemplateBody, "
            f"{URL_BYTES} by TemplateURL"
        )
    return read(text)


def _downloaded(url: str, caller: Caller) -> str:
    """The text of an object; path and host style of S3's addresses, and this server's own."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    bucket, dot, _ = host.partition(".s3")
    key = path
    if not dot:
        bucket, _, key = path.partition("/")
    try:
        answer = caller.call("s3", "GetObject", {"Bucket": bucket, "Key": key})
    except ResourceError as error:
        raise refuse(f"S3 error: {error} (TemplateURL {url})") from error
    return answer["Body"].read().decode()


def target_of(request: dict, caller: Caller, stack: Stack | None = None) -> Target:
    """What the request wants the stack to be; raises ApiError."""
    check_supported(request)
    template = template_of(request, caller, stack)
    previous = stack.target.parameters if stack else None
    given = parameters.given(template, request.get("Parameters", []), previous)
    old_tags = stack.target.tags if stack else {}
    target = Target(template, given, as_map(request["Tags"]) if "Tags" in request else old_tags)
    check_types(target)
    return target
