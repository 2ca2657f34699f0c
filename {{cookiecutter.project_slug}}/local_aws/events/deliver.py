"""What a rule or a schedule sends, brought to its target: checked, tried again, at last put aside."""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_aws.events.clock import iso
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.iam import Decision
    from local_aws.sagemaker import SageMaker

RULES, SCHEDULER, ALARMS = "events.amazonaws.com", "scheduler.amazonaws.com", "cloudwatch.amazonaws.com"
ACTIONS = {
    "sagemaker": "sagemaker:StartPipelineExecution",
    "codepipeline": "codepipeline:StartPipelineExecution",
    "sns": "sns:Publish",
    "sqs": "sqs:SendMessage",
}
# Of a target without a RetryPolicy, for both services.
MAX_ATTEMPTS, MAX_AGE_SECONDS = 185, 86400
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15, 3600
RETRIED = ("ThrottlingException", "Throttling", "InternalFailure", "ServiceUnavailable", "InternalError")
MISSING = (
    "ResourceNotFound",
    "NotFound",
    "NotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)


class Undelivered(Exception):
    """The target did not take it: the target API's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


@dataclass
class Parcel:
    """One thing for one target.

    sender: ARN of the rule, schedule or alarm, of `service`. target: as PutTargets or CreateSchedule take it.
    body: for a topic or queue. parameters: for a pipeline. attributes: of the message that ends in the
    dead-letter queue. due: the moment it is meant for. problem: why it cannot be
    sent at all. execution: the Scheduler's id of this run.
    """

    sender: str
    service: str
    target: dict
    due: float
    body: str = ""
    subject: str = ""
    parameters: list[dict] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    execution: str = ""
    attempts: int = 0
    token: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def arn(self) -> str:
        return self.target["Arn"]

    @property
    def context(self) -> dict[str, str]:
        return source(self.sender)

    def filled(self, text: str) -> str:
        """`text` with what is only known when it is sent."""
        if self.service != SCHEDULER:
            return text
        words = {"execution-id": self.execution, "attempt-number": str(self.attempts)}
        for name, value in words.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return text


def source(sender: str) -> dict[str, str]:
    """What a policy may ask about who sends: for a schedule, its group."""
    *parts, name = sender.split(":")
    if parts[2] == "scheduler":
        name = f"schedule-group/{name.split('/')[1]}"
    return {"aws:SourceArn": ":".join([*parts, name]), "aws:SourceAccount": parts[4]}


class Courier:
    """Delivers; keeps what is to be tried again (a source of the clock) and a list of all that happened."""

    def __init__(self, api: "SageMaker") -> None:
        self.api = api
        self.deliveries: list[dict] = []
        self._again: list[tuple[float, Parcel]] = []

    def send(self, parcel: Parcel) -> None:
        """Tries to deliver; on failure it is tried again, put into the dead-letter queue, or lost."""
        parcel.attempts += 1
        try:
            self._note(parcel, "delivered", self._deliver(parcel))
        except Undelivered as error:
            self._failed(parcel, error)

    def next_due(self) -> float | None:
        return min((moment for moment, _ in self._again), default=None)

    def run_next(self) -> None:
        first = min(self._again, key=lambda each: each[0])
        self._again.remove(first)
        self.send(first[1])

    def _failed(self, parcel: Parcel, error: Undelivered) -> None:
        now, policy = self.api.clock.now(), parcel.target.get("RetryPolicy", {})
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (parcel.attempts - 1), LONGEST_PAUSE_SECONDS)
        exhausted = ""
        if parcel.attempts > policy.get("MaximumRetryAttempts", MAX_ATTEMPTS):
            exhausted = "MaximumRetryAttempts"
        elif now + pause - parcel.due > policy.get("MaximumEventAgeInSeconds", MAX_AGE_SECONDS):
            exhausted = "MaximumEventAgeInSeconds"
        if error.code in RETRIED and not exhausted:
            self._note(parcel, "to be tried again", str(error))
            self._again.append((now + pause, parcel))
            self.api.clock.wake()
            return
        self._note(parcel, *self._put_aside(parcel, error, exhausted if error.code in RETRIED else ""))

    def _put_aside(self, parcel: Parcel, error: Undelivered, exhausted: str) -> tuple[str, str]:
        """Outcome and detail, after the dead-letter queue was tried."""
        queue = parcel.target.get("DeadLetterConfig", {}).get("Arn")
        if not queue:
            return "lost", f"{error}; there is no dead-letter queue"
        code = _rule_code(error.code) if parcel.service == RULES else error.code
        attributes = parcel.attributes | {
            "TARGET_ARN": parcel.arn,
            "ERROR_CODE": code,
            "ERROR_MESSAGE": error.message,
            "RETRY_ATTEMPTS": str(parcel.attempts - 1),
        }
        if exhausted:
            attributes["EXHAUSTED_RETRY_CONDITION"] = exhausted
        try:
            self._check(parcel, queue)
            self._queue(queue, parcel.filled(parcel.body), attributes)
        except Undelivered as refused:
            return "lost", f"{error}; the dead-letter queue {queue} did not take it: {refused}"
        return "dead-letter queue", str(error)

    def _deliver(self, parcel: Parcel) -> str:
        """What came of it: the ARN of the execution, the id of the message."""
        if parcel.problem:
            raise Undelivered("ValidationException", parcel.problem)
        self._check(parcel, parcel.arn)
        service = parcel.arn.split(":")[2]
        if service == "sagemaker":
            return self._start(parcel)
        if service == "codepipeline":
            name = parcel.arn.split(":")[-1]
            return self._call(service, "start_pipeline_execution", name=name)["pipelineExecutionId"]
        if service == "sqs":
            group = parcel.target.get("SqsParameters", {})
            return self._queue(parcel.arn, parcel.filled(parcel.body), {}, **group)
        subject = {"Subject": parcel.subject} if parcel.subject else {}
        message = {"TopicArn": parcel.arn, "Message": parcel.filled(parcel.body)}
        return self._call("sns", "publish", **message, **subject)["MessageId"]

    def _start(self, parcel: Parcel) -> str:
        parameters = [
            {"Name": each["Name"], "Value": parcel.filled(each["Value"])} for each in parcel.parameters
        ]
        request = {"PipelineName": parcel.arn, "ClientRequestToken": parcel.token}
        try:
            answer = self.api.call(
                "StartPipelineExecution", request | ({"PipelineParameters": parameters} if parameters else {})
            )
        except ApiError as error:
            raise Undelivered(error.code, error.message) from error
        return answer["PipelineExecutionArn"]

    def _queue(self, arn: str, body: str, attributes: dict[str, str], **more: str) -> str:
        url = self._call("sqs", "get_queue_url", QueueName=arn.split(":")[-1])["QueueUrl"]
        typed = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
        message = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": typed}
        return self._call("sqs", "send_message", **message, **more)["MessageId"]

    def _call(self, service: str, method: str, **request: object) -> dict:
        try:
            return getattr(self.api.client(service), method)(**request)
        except ClientError as error:
            detail = error.response["Error"]
            raise Undelivered(detail["Code"], detail["Message"]) from error

    def _check(self, parcel: Parcel, arn: str) -> None:
        """Raises Undelivered unless the target's role, or else the resource's own policy, allows it.

        EventBridge puts into a rule's dead-letter queue as itself, the Scheduler as the target's role.
        """
        action, role = ACTIONS[arn.split(":")[2]], parcel.target.get("RoleArn")
        if role and (parcel.service == SCHEDULER or arn == parcel.arn):
            decision = self.api.iam.role_allows(role, parcel.service, action, arn, parcel.context)
            _refuse_unless(decision, f"{role}, assumed by {parcel.service},", action, arn)
            return
        self._check_exists(arn)
        decision = self.api.iam.service_allows(parcel.service, action, arn, self._context(parcel))
        _refuse_unless(decision, parcel.service, action, arn)
        if action == ACTIONS["sns"]:
            self._check_key(parcel, arn)

    def _context(self, parcel: Parcel) -> dict[str, str]:
        # By this key a topic's default policy lets in the alarms of its account, and no other service.
        owner = {"aws:SourceOwner": parcel.context["aws:SourceAccount"]}
        return parcel.context | (owner if parcel.service == ALARMS else {})

    def _check_exists(self, arn: str) -> None:
        if arn.split(":")[2] == "sqs":
            self._call("sqs", "get_queue_url", QueueName=arn.split(":")[-1])
        else:
            self._call("sns", "get_topic_attributes", TopicArn=arn)

    def _check_key(self, parcel: Parcel, topic: str) -> None:
        """A service that publishes to an encrypted topic must be let in by the policy of its key.

        Of EventBridge that policy sees the topic alone, not the rule and not its account.
        """
        attributes = self._call("sns", "get_topic_attributes", TopicArn=topic)["Attributes"]
        key = attributes.get("KmsMasterKeyId")
        if not key:
            return
        if key.endswith("alias/aws/sns"):
            message = f"{parcel.service} may not use {key} of {topic}: AWS's own key lets no service in"
            raise Undelivered("KMSAccessDenied", message)
        arn = self._call("kms", "describe_key", KeyId=key)["KeyMetadata"]["Arn"]
        sender = {} if parcel.service == RULES else parcel.context
        context = sender | {"kms:EncryptionContext:aws:sns:topicArn": topic}
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            decision = self.api.iam.service_allows(parcel.service, action, arn, context)
            _refuse_unless(decision, parcel.service, action, arn)

    def _note(self, parcel: Parcel, outcome: str, detail: str) -> None:
        self.deliveries.append(
            {
                "time": iso(self.api.clock.now()),
                "source": parcel.sender,
                "target": parcel.arn,
                "attempt": parcel.attempts,
                "outcome": outcome,
                "detail": detail,
            }
        )


def _rule_code(code: str) -> str:
    """The target API's error as EventBridge reports it for rules."""
    if code in ("AccessDeniedException", "KMSAccessDenied"):
        return "NO_PERMISSIONS"
    if code in MISSING:
        return "NO_RESOURCE"
    return "THROTTLING" if code in RETRIED[:2] else "SDK_CLIENT_ERROR"


def _refuse_unless(decision: "Decision", who: str, action: str, arn: str) -> None:
    if not decision.allowed:
        message = f"{who} is not authorized to perform: {action} on resource: {arn} {decision.reason}"
        raise Undelivered("AccessDeniedException", message)
