"""SageMaker's operations on the records of `State`."""

import threading
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from local_aws import (
    creation,
    definition,
    executions,
    faults,
    jobs,
    pipelines,
    registry,
    resources,
    transform,
    tuning,
)
from local_aws.events import Events
from local_aws.events.clock import Clock
from local_aws.images import Images, load_images
from local_aws.resources import JOBS, KINDS, RUNNING
from local_aws.state import State
from local_aws.validation import ApiError, operation_model, request_problems

if TYPE_CHECKING:
    from local_aws.iam import Iam
    from local_aws.iam.jobs import Roles

__all__ = ["ApiError", "SageMaker"]

ACCESS_KEY = "AKIALOCALAWS00000000"
INTERRUPTED = "The local AWS ended while this was running"

DESCRIBED = LISTED = (*JOBS, "Model", "ModelPackageGroup")
DELETED = ("TrainingJob", "ProcessingJob", "HyperParameterTuningJob", "Model")
OPERATIONS = {
    **{f"Create{name}": partial(creation.create_job, kind=KINDS[name]) for name in JOBS},
    **{f"Stop{name}": partial(resources.stop_job, kind=KINDS[name]) for name in JOBS},
    **{f"Describe{name}": partial(resources.describe, kind=KINDS[name]) for name in DESCRIBED},
    **{f"List{name}s": partial(resources.list_records, kind=KINDS[name]) for name in LISTED},
    **{f"Delete{name}": partial(resources.delete, kind=KINDS[name]) for name in DELETED},
    "CreateModel": creation.create_model,
    "ListPipelines": partial(resources.list_records, kind=KINDS["Pipeline"]),
    "ListTrainingJobsForHyperParameterTuningJob": creation.list_trials,
    "CreateModelPackageGroup": registry.create_group,
    "DeleteModelPackageGroup": registry.delete_group,
    "CreateModelPackage": registry.create_package,
    "DescribeModelPackage": registry.describe_package,
    "DeleteModelPackage": registry.delete_package,
    "UpdateModelPackage": registry.update_package,
    "ListModelPackages": registry.list_packages,
    "CreatePipeline": pipelines.create_pipeline,
    "UpdatePipeline": pipelines.update_pipeline,
    "DescribePipeline": pipelines.describe_pipeline,
    "DeletePipeline": pipelines.delete_pipeline,
    "StartPipelineExecution": pipelines.start_execution,
    "StopPipelineExecution": pipelines.stop_execution,
    "RetryPipelineExecution": pipelines.retry_execution,
    "DescribePipelineExecution": pipelines.execution,
    "DescribePipelineDefinitionForExecution": pipelines.definition_for_execution,
    "ListPipelineExecutions": pipelines.list_executions,
    "ListPipelineExecutionSteps": pipelines.list_steps,
    "ListPipelineParametersForExecution": pipelines.list_parameters,
    "AddTags": resources.add_tags,
    "ListTags": resources.list_tags,
    "DeleteTags": resources.delete_tags,
}


class SageMaker:
    """The API of one server.

    Keys of the records: jobs, models, groups and pipelines by name; ModelPackage, PipelineExecution by ARN;
    PipelineExecutionStep by any unique name, with `_execution`, the ARN of its execution.
    PipelineExecution holds `_pipeline` (name), `_definition` (text, as it was at the start), `_parameters`
    (value by name, defaults included). A tuning job's trial is a TrainingJob with its `TuningJobArn` and
    the members of HyperParameterTrainingJobSummary.
    Stop operations set the status Stopping, RetryPipelineExecution sets Executing, before they call the
    module that does it.
    """

    # By way of the API modules call one another that could not all import one another.
    definition, executions, jobs, transform, tuning = definition, executions, jobs, transform, tuning

    def __init__(
        self, state: State, endpoint: str, account: str, region: str, enforce_iam: bool = False
    ) -> None:
        self.state, self.endpoint, self.account, self.region = state, endpoint, account, region
        self.clock, self.events = Clock(), Events(self)
        self.enforce_iam = enforce_iam
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()

    def call(self, operation: str, request: dict) -> dict:
        """The answer of `operation`, times as epoch seconds; raises ApiError."""
        if operation not in OPERATIONS:
            known = "is not supported by the local AWS" if operation_model(operation) else "does not exist"
            raise ApiError("UnknownOperationException", f"SageMaker operation {operation} {known}")
        if problems := request_problems(operation, request):
            count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected"
            raise ApiError("ValidationException", f"{count}: {'; '.join(problems)}")
        if fault := faults.fault_for(operation):
            raise ApiError(*fault)
        return resources.answer(operation, OPERATIONS[operation](self, request))

    def client(self, service: str, role_arn: str | None = None, roles: "Roles | None" = None) -> Any:
        """A boto3 client at this server, one for all threads; with --enforce-iam, of the role.

        roles: of the service that works as the role, if it is not SageMaker.
        """
        keys = self.keys(role_arn, roles)
        with self._clients_lock:
            if (service, *keys) not in self._clients:
                self._clients[service, *keys] = self._new_client(service, keys)
            return self._clients[service, *keys]

    def keys(self, role_arn: str | None, roles: "Roles | None" = None) -> tuple[str, ...]:
        """Access key, secret and token of the role's session; the account's own without --enforce-iam."""
        if role_arn is None or not self.enforce_iam:
            return ACCESS_KEY, "local"
        session = (roles or self.roles).session(role_arn)
        return session.access_key_id, session.secret_access_key, session.session_token

    @cached_property
    def roles(self) -> "Roles":
        """With --enforce-iam: what SageMaker may do as a role."""
        from local_aws.iam.jobs import Roles

        return Roles(self)

    def _new_client(self, service: str, keys: tuple[str, ...]) -> Any:
        session = boto3.Session(*keys, region_name=self.region)
        # This process talks to itself: a hash of each body for the signature, and a checksum, tell nothing.
        config = Config(
            proxies={},
            max_pool_connections=50,
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return session.client(service, endpoint_url=self.endpoint, config=config)

    @cached_property
    def iam(self) -> "Iam":
        """Imported when first needed: with moto's part of it, it would delay the start."""
        from local_aws.iam import Iam

        return Iam(self.account, self.region)

    @cached_property
    def images(self) -> Images:
        """The table of images that can run: those of `pyproject.toml` in the working directory, and AWS's."""
        return load_images(Path("pyproject.toml"))

    def arn(self, path: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{path}/{name}"

    def fail_interrupted(self) -> None:
        """Ends what the records of an earlier server show as running: nothing runs it any more."""
        for kind in (kind for kind in KINDS.values() if kind.status):
            for name in self.state.names(kind.name):
                record = self.state.get(kind.name, name)
                if record[kind.status] in RUNNING:
                    self.state.update(kind.name, name, **_interrupted(self, kind, record))


def _interrupted(api: SageMaker, kind: resources.Kind, record: dict) -> dict:
    status = "Stopped" if record[kind.status] == "Stopping" else "Failed"
    now = api.clock.now(record)
    fields = {kind.status: status, "FailureReason": INTERRUPTED, "LastModifiedTime": now}
    if kind.ended:
        fields[kind.ended] = now
    if kind.name == "TrainingJob":
        fields["SecondaryStatus"] = status
    return fields
