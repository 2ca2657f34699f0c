"""Jobs, steps and builds with --enforce-iam: each does what its role may, and no more."""

import re
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from moto.sts.models import AssumedRole, sts_backends

from local_aws.iam.asked import Asked
from local_aws.iam.identity import Denied, Need
from local_aws.iam.needs import needs
from local_aws.iam.principals import PARTITION
from local_aws.iam.table import TAGGING
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

SERVICE, SESSION = "sagemaker.amazonaws.com", "SageMaker"
SESSION_SECONDS = 43200
RENEWED_SECONDS = 3600
IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)")
NOTHING: Mapping[str, object] = MappingProxyType({})
PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


class Roles:
    """The roles that a service works as, SageMaker or another: one session each, renewed by the hour.

    context: what a role's trust may ask beside the account.
    """

    def __init__(
        self,
        api: "SageMaker",
        service: str = SERVICE,
        session: str = SESSION,
        context: Mapping[str, object] = NOTHING,
    ) -> None:
        self.api, self._lock = api, threading.Lock()
        self._service, self._session = service, session
        self._context = {"aws:SourceAccount": api.account, **context}
        self._held: dict[str, tuple[float, AssumedRole]] = {}

    def session(self, role_arn: str) -> AssumedRole:
        """ApiError when the role does not exist, or does not trust the service."""
        self.check_trust(role_arn)
        with self._lock:
            begun, held = self._held.get(role_arn, (0.0, None))
            if held is None or time.monotonic() - begun > RENEWED_SECONDS:
                held = self._assumed(role_arn)
                self._held[role_arn] = (time.monotonic(), held)
            return held

    def check_trust(self, role_arn: str) -> None:
        decision = self.api.iam.role_trusts(role_arn, self._service, self._context)
        if not decision.allowed:
            message = f"Could not assume role {role_arn}. Please ensure that the role exists and allows "
            raise ApiError("ValidationException", f"{message}principal '{self._service}' to assume the role.")

    def _assumed(self, role_arn: str) -> AssumedRole:
        backend = sts_backends[self.api.account][PARTITION]
        return backend.assume_role(
            region_name=self.api.region,
            role_session_name=self._session,
            role_arn=role_arn,
            policy=None,
            duration=SESSION_SECONDS,
            external_id=None,
        )

    def check_call(self, role_arn: str, operation: str, request: dict) -> None:
        """Raises AccessDeniedException unless a pipeline's role may do this to run a step.

        Pipelines tags all jobs that it creates.
        """
        wanted = needs(
            Asked("sagemaker", operation, request, self.api.account, self.api.region), lambda _: None
        )
        if operation.startswith("Create") and not request.get("Tags"):
            wanted.insert(1, Need(f"sagemaker:{TAGGING['sagemaker']}", wanted[0].resource))
        self._check(role_arn, wanted, f"Failed to invoke sagemaker:{operation}. Error Details: ")

    def check_pull(self, role_arn: str, image: str) -> None:
        """Raises AccessDeniedException unless the role may pull the image.

        Not asked for images of other accounts, which AWS's own are.
        """
        found = IMAGE.match(image)
        if found is None or found[1] != self.api.account:
            return
        repository = f"arn:{PARTITION}:ecr:{found[2]}:{found[1]}:repository/{found[3]}"
        wanted = [Need("ecr:GetAuthorizationToken", "*"), *(Need(action, repository) for action in PULL)]
        self._check(role_arn, wanted, "The role cannot pull the image: ")

    def _check(self, role_arn: str, wanted: list[Need], prefix: str) -> None:
        try:
            self.api.iam.check(self.api.iam.identities.role_caller(role_arn, self._session), wanted)
        except Denied as denied:
            raise ApiError("AccessDeniedException", f"{prefix}{denied}") from None
