"""What tests of schedules, alarms and rules share: a cheap pipeline, roles, queues, the clock."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from conftest import REGION, ROLE, Server
from test_definition import condition, fail, pipeline
from waiting import until

ACCOUNT = "123456789012"
PARAMETERS = [
    {"Name": "TriggerReason", "Type": "String", "DefaultValue": "manual"},
    {"Name": "Period", "Type": "String", "DefaultValue": "auto"},
]


def ask(endpoint: str, path: str, body: object = None) -> dict:
    """The answer of one of the local AWS's own paths; POST when there is a body."""
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    request = urllib.request.Request(f"{endpoint}/local-aws/{path}", data, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def refusal(endpoint: str, path: str, body: object) -> str:
    """The message with which a path refuses a request."""
    try:
        ask(endpoint, path, body)
    except urllib.error.HTTPError as error:
        return json.load(error)["message"]
    raise AssertionError(f"{path} took {body}")


@cache
def client(endpoint: str, service: str) -> Any:
    """One for all tests: a client takes longer to make than to use."""
    session = boto3.Session("AKIALOCALAWS00000000", "local", region_name=REGION)
    config = Config(proxies={}, retries={"total_max_attempts": 1})
    return session.client(service, endpoint_url=endpoint, config=config)


@dataclass
class World:
    """A local AWS with a pipeline, a role that may start it, queues for dead letters and messages."""

    aws: Server
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self) -> None:
        self.pipeline = f"pipe-{self.id}"
        self.pipeline_arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{self.pipeline}"
        self.create_pipeline(self.pipeline)
        self.dead_letters = self.queue("dead")
        self.messages = self.queue("messages")
        self.role_arn = self.role("trigger")
        self.allow("trigger", "sagemaker:StartPipelineExecution", self.pipeline_arn)
        self.allow("trigger", "sqs:SendMessage", self.dead_letters)
        self.let_in(self.dead_letters, "events.amazonaws.com")

    def client(self, service: str) -> Any:
        return client(self.aws.endpoint, service)

    def name(self, what: str) -> str:
        return f"{what}-{self.id}"

    def create_pipeline(self, name: str) -> None:
        """Ends at once: well, or badly when Period is `bad`."""
        bad = {"Type": "Equals", "LeftValue": {"Get": "Parameters.Period"}, "RightValue": "bad"}
        definition = pipeline(condition("Check", [fail()], [], bad), parameters=PARAMETERS)
        self.client("sagemaker").create_pipeline(
            PipelineName=name, RoleArn=ROLE, PipelineDefinition=json.dumps(definition)
        )

    def role(self, what: str, *services: str) -> str:
        trusted = services or ("events.amazonaws.com", "scheduler.amazonaws.com")
        statement = {"Effect": "Allow", "Principal": {"Service": [*trusted]}, "Action": "sts:AssumeRole"}
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        answer = self.client("iam").create_role(RoleName=self.name(what), AssumeRolePolicyDocument=document)
        return answer["Role"]["Arn"]

    def allow(self, role: str, action: str, resource: str) -> None:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        self.client("iam").put_role_policy(
            RoleName=self.name(role),
            PolicyName=action.replace(":", "-"),
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def forbid(self, role: str, action: str) -> None:
        self.client("iam").delete_role_policy(RoleName=self.name(role), PolicyName=action.replace(":", "-"))

    def queue(self, what: str) -> str:
        """Its ARN."""
        self.client("sqs").create_queue(QueueName=self.name(what))
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name(what)}"

    def topic(self, what: str, *queues: str) -> str:
        """The ARN of a topic that passes on, as they are, the messages it gets."""
        arn = self.client("sns").create_topic(Name=self.name(what))["TopicArn"]
        for queue in queues:
            raw = {"RawMessageDelivery": "true"}
            self.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes=raw)
        return arn

    def let_in(self, arn: str, service: str) -> None:
        action = "sqs:SendMessage" if ":sqs:" in arn else "sns:Publish"
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": arn}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        if ":sqs:" in arn:
            url = self.url(arn)
            self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
        else:
            self.client("sns").set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=document
            )

    def url(self, arn: str) -> str:
        return self.client("sqs").get_queue_url(QueueName=arn.split(":")[-1])["QueueUrl"]

    def received(self, arn: str) -> list[dict]:
        """The messages of a queue, which has none of them afterwards."""
        sqs, url, received = self.client("sqs"), self.url(arn), []
        wanted = {"QueueUrl": url, "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10}
        while messages := sqs.receive_message(**wanted).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            received += messages
        return received

    def executions(self) -> list[dict]:
        """Those of the pipeline, the oldest first."""
        sagemaker = self.client("sagemaker")
        answer = sagemaker.list_pipeline_executions(PipelineName=self.pipeline, SortOrder="Ascending")
        return answer["PipelineExecutionSummaries"]

    def parameters(self, execution: dict) -> dict[str, str]:
        arn = execution["PipelineExecutionArn"]
        answer = self.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
        return {each["Name"]: each["Value"] for each in answer["PipelineParameters"]}

    def ended(self, execution: dict) -> dict:
        arn = execution["PipelineExecutionArn"]

        def look() -> dict | None:
            found = self.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
            return found if found["PipelineExecutionStatus"] not in ("Executing", "Stopping") else None

        return until(look)

    def move(self, **where: object) -> dict:
        return ask(self.aws.endpoint, "clock", where)

    def now(self) -> datetime:
        """Of the clock that tests move."""
        return datetime.fromisoformat(ask(self.aws.endpoint, "clock")["now"]).astimezone(UTC)

    def deliveries(self) -> list[dict]:
        """Those that come from something of this world's."""
        listed = ask(self.aws.endpoint, "deliveries")["deliveries"]
        return [each for each in listed if self.id in each["source"]]

    def starts(self, *parameters: tuple[str, str]) -> dict:
        """A target that starts the pipeline."""
        listed = [{"Name": name, "Value": value} for name, value in parameters]
        target = {"Arn": self.pipeline_arn, "RoleArn": self.role_arn}
        target |= {"SageMakerPipelineParameters": {"PipelineParameterList": listed}}
        return target | {"DeadLetterConfig": {"Arn": self.dead_letters}}

    def rule(self, what: str, pattern: dict, *targets: dict) -> str:
        events = self.client("events")
        arn = events.put_rule(Name=self.name(what), EventPattern=json.dumps(pattern))["RuleArn"]
        numbered = [target | {"Id": str(number)} for number, target in enumerate(targets)]
        events.put_targets(Rule=self.name(what), Targets=numbered)
        return arn
