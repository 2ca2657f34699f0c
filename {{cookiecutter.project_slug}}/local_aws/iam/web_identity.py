"""AssumeRoleWithWebIdentity: what AWS STS checks of the token of an OpenID Connect provider, and of the role.

The token's signature is not checked: the provider's keys lie on the internet.
"""

import base64
import json
import time
from typing import TYPE_CHECKING

from moto.iam.models import iam_backends

from local_aws.iam.answers import Refused
from local_aws.iam.asked import Asked
from local_aws.iam.identity import Need
from local_aws.iam.policies import Policies, Principal
from local_aws.iam.principals import PARTITION, Caller

if TYPE_CHECKING:
    from local_aws.iam.identity import Iam

ACTION = "sts:AssumeRoleWithWebIdentity"


def check_web_identity(iam: "Iam", asked: Asked) -> None:
    """Raises Refused unless the account has the token's provider, and the role trusts what the token says."""
    claims = _claims(asked.params.get("WebIdentityToken", ""))
    url = str(claims["iss"]).partition("://")[2].rstrip("/")
    arn = f"arn:{PARTITION}:iam::{asked.account}:oidc-provider/{url}"
    provider = iam_backends[asked.account][PARTITION].open_id_providers.get(arn)
    if provider is None:
        raise Refused(
            "InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {claims['iss']}"
        )
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if not set(audiences) & set(provider.client_id_list):
        raise Refused("InvalidIdentityToken", "Incorrect token audience")
    context = {f"{url}:aud": audiences, f"{url}:sub": claims["sub"]}
    context |= {"sts:RoleSessionName": asked.params.get("RoleSessionName")}
    caller = Caller(Principal(arn, federated=arn), Policies())
    if not iam.decide(caller, Need(ACTION, asked.params.get("RoleArn", "*"), context)).allowed:
        raise Refused("AccessDenied", f"Not authorized to perform {ACTION}")


def _claims(token: str) -> dict:
    """What the token claims. Refused when it is none, or expired."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        missing = [name for name in ("iss", "aud", "sub", "exp") if name not in claims]
    except (IndexError, ValueError, TypeError):
        raise Refused("InvalidIdentityToken", "The token is not a JSON web token") from None
    if missing:
        raise Refused("InvalidIdentityToken", f"The token has no {', '.join(missing)}")
    if claims["exp"] < time.time():
        raise Refused("ExpiredToken", f"Token expired: current time {int(time.time())}, exp {claims['exp']}")
    return claims
