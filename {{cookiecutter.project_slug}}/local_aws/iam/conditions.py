"""The Condition of a policy's statement, and the variables and wildcards of its values.

Rules: IAM user guide, "Condition operators" and "Set operators for multivalued context keys".
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

VARIABLE = re.compile(r"\$\{([^}]*)\}")
WILDCARDS = {"*": ".*", "?": "."}
# The keys that requests have values for; and those that none has (a VPC, a second factor).
KEYS_OF = {
    "aws": (
        "CurrentTime EpochTime MultiFactorAuthAge MultiFactorAuthPresent PrincipalAccount PrincipalArn",
        "PrincipalIsAWSService PrincipalType RequestedRegion ResourceAccount SecureTransport SourceAccount",
        "SourceArn SourceIp SourceOwner SourceVpc SourceVpce TagKeys userid username ViaAWSService",
    ),
    "cloudformation": ("ChangeSetName RoleArn TemplateUrl",),
    "cloudwatch": ("namespace",),
    "events": ("TargetArn",),
    "iam": ("AssociatedResourceArn PassedToService PermissionsBoundary PolicyARN",),
    "kms": ("ViaService",),
    "s3": (
        "delimiter max-keys prefix ResourceAccount VersionId x-amz-acl x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id x-amz-storage-class",
    ),
    "sagemaker": (
        "InstanceTypes InterContainerTrafficEncryption MaxRuntimeInSeconds ModelApprovalStatus",
        "NetworkIsolation OutputKmsKey VolumeKmsKey VpcSecurityGroupIds VpcSubnets",
    ),
    "sns": ("Endpoint Protocol",),
    "sts": ("ExternalId RoleSessionName",),
}
KEYS = {
    f"{service}:{name}".lower()
    for service, lines in KEYS_OF.items()
    for line in lines
    for name in line.split()
}
PREFIXES = (
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "iam:resourcetag/",
    "kms:encryptioncontext:",
)
# In a context when it holds all the tags of the resource: without, a tag that is absent is one not known.
TAGS_KNOWN = "local:resourcetags"
OIDC_CLAIMS = (":aud", ":sub", ":amr", ":azp")

Context = Mapping[str, tuple[str, ...]]
Test = Callable[[str, str, Context], bool]


class NotEvaluated(Exception):
    """What a policy holds that is not evaluated here; the message names it."""


class NoValue(Exception):
    """A policy variable that the request has no value for."""


def context_of(*given: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The values of each key, its name in lower case; later mappings replace keys of earlier ones."""
    merged = {name.lower(): value for each in given for name, value in each.items()}
    return {name: _texts(value) for name, value in merged.items() if value is not None}


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items)


def holds(condition: Mapping[str, Mapping[str, object]], context: Context) -> bool:
    """Whether every operator's every key holds. NotEvaluated names an operator or key that is not known."""
    checks = [
        (*_parsed(operator), _known(key, context), _texts(values))
        for operator, keys in condition.items()
        for key, values in keys.items()
    ]
    return all(_holds(check, context) for check in checks)


def _parsed(operator: str) -> tuple[str, str, bool]:
    """(ForAllValues, ForAnyValue or nothing; the operator; whether it ends with IfExists)."""
    qualifier, _, name = operator.rpartition(":")
    plain = name.removesuffix("IfExists")
    if qualifier not in ("", "ForAllValues", "ForAnyValue") or plain not in (*OPERATORS, *NEGATED, "Null"):
        raise NotEvaluated(f"the condition operator {operator}")
    return qualifier, plain, plain != name


def _known(key: str, context: Context) -> str:
    """The key in lower case; NotEvaluated when a request's value for it is not known here."""
    lower = key.lower()
    if ":resourcetag/" in lower and lower not in context and TAGS_KNOWN not in context:
        raise NotEvaluated(f"the condition key {key} for this resource")
    if lower in KEYS or lower.startswith(PREFIXES) or (lower.endswith(OIDC_CLAIMS) and "." in lower):
        return lower
    raise NotEvaluated(f"the condition key {key}")


def _holds(check: tuple[str, str, bool, str, tuple[str, ...]], context: Context) -> bool:
    qualifier, operator, if_exists, key, wanted = check
    values = context.get(key, ())
    if operator == "Null":
        return any(text.lower() == str(not values).lower() for text in wanted)
    if not values:
        return if_exists or qualifier == "ForAllValues" or (operator in NEGATED and not qualifier)
    negated = operator in NEGATED
    test = OPERATORS[NEGATED.get(operator, operator)]
    matched = [any(_passes(test, text, value, context) for text in wanted) for value in values]
    if qualifier == "ForAllValues":
        return all(match != negated for match in matched)
    if qualifier == "ForAnyValue":
        return any(match != negated for match in matched)
    return any(matched) != negated


def _passes(test: Test, wanted: str, value: str, context: Context) -> bool:
    try:
        return test(wanted, value, context)
    except (NoValue, ValueError):  # ValueError: a number, date or address that is none
        return False


def pattern(text: str, context: Context, ignore_case: bool = False, wildcards: bool = True) -> re.Pattern:
    """`text` as an expression: variables filled in as they are, then * and ? as wildcards. NoValue."""
    if "${" not in text:
        return _expression(text, wildcards, ignore_case)
    parts = VARIABLE.split(text)  # text, variable, text, ...
    made = [_escaped(part, wildcards) for part in parts]
    made[1::2] = [re.escape(_value(name, context)) for name in parts[1::2]]
    return re.compile("".join(made), _flags(ignore_case))


def _value(variable: str, context: Context) -> str:
    if variable in ("*", "?", "$"):
        return variable
    name, _, default = (part.strip() for part in variable.partition(","))
    values = context.get(_known(name, context), ())
    if len(values) == 1:
        return values[0]
    if default and not values:
        return default.strip("'")
    raise NoValue(name)


@lru_cache(4096)
def _expression(text: str, wildcards: bool, ignore_case: bool) -> re.Pattern:
    return re.compile(_escaped(text, wildcards), _flags(ignore_case))


def _escaped(text: str, wildcards: bool) -> str:
    if not wildcards:
        return re.escape(text)
    return "".join(WILDCARDS.get(letter) or re.escape(letter) for letter in text)


def _flags(ignore_case: bool) -> int:
    return re.DOTALL | (re.IGNORECASE if ignore_case else 0)


def arn_matches(wanted: str, arn: str, context: Context) -> bool:
    """Whether the ARN fits: each of the six parts for itself, no wildcard reaches beyond its part."""
    if wanted == "*":
        return True
    patterns, parts = _parts(wanted), arn.split(":", 5)
    if len(patterns) != len(parts):
        return False
    return all(pattern(each, context).fullmatch(part) for each, part in zip(patterns, parts, strict=True))


@lru_cache(4096)
def _parts(arn: str) -> tuple[str, ...]:
    """The six parts of an ARN's pattern; a colon inside ${...} divides nothing."""
    parts, depth = [""], 0
    for letter in arn:
        depth += (letter == "{") - (letter == "}")
        if letter == ":" and depth == 0 and len(parts) < 6:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(parts)


def _exactly(ignore_case: bool) -> Test:
    return lambda wanted, value, context: bool(
        pattern(wanted, context, ignore_case, wildcards=False).fullmatch(value)
    )


def _like(wanted: str, value: str, context: Context) -> bool:
    return bool(pattern(wanted, context).fullmatch(value))


def _numbers(compare: Callable[[float, float], bool]) -> Test:
    return lambda wanted, value, _: compare(float(value), float(wanted))


def _dates(compare: Callable[[float, float], bool]) -> Test:
    return lambda wanted, value, _: compare(_seconds(value), _seconds(wanted))


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _address(wanted: str, value: str, _: Context) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


def _same_bool(wanted: str, value: str, _: Context) -> bool:
    return wanted.lower() == value.lower()


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "Equals": lambda value, wanted: value == wanted,
    "LessThan": lambda value, wanted: value < wanted,
    "LessThanEquals": lambda value, wanted: value <= wanted,
    "GreaterThan": lambda value, wanted: value > wanted,
    "GreaterThanEquals": lambda value, wanted: value >= wanted,
}
OPERATORS: dict[str, Test] = {
    "StringEquals": _exactly(ignore_case=False),
    "StringEqualsIgnoreCase": _exactly(ignore_case=True),
    "StringLike": _like,
    "ArnEquals": arn_matches,
    "ArnLike": arn_matches,
    "Bool": _same_bool,
    "IpAddress": _address,
    **{f"Numeric{name}": _numbers(compare) for name, compare in COMPARISONS.items()},
    **{f"Date{name}": _dates(compare) for name, compare in COMPARISONS.items()},
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
