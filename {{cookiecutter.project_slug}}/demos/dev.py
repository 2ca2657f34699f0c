"""dev in a local AWS, as the demos see it: commands typed, the clock moved, and what has come of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ml_pipeline import settings
from ml_pipeline.local import ACCOUNT

HOUR = 3600
LONGEST_WAIT_HOURS = 32 * 24
RUNNING = ("Executing", "Stopping")
POLL_SECONDS = 0.5


class Dev:
    """A local AWS with dev deployed into it, and the time there."""

    def __init__(self, endpoint: str, wanted: settings.Settings, project: Path) -> None:
        import boto3

        self.endpoint, self.prefix, self._project = endpoint, wanted.prefix, project
        self.bucket = f"{wanted.prefix}-{ACCOUNT}-{wanted.region}"
        whose = {"Project": wanted.project.slug, "Environment": wanted.environment}
        self.dimensions = [{"Name": name, "Value": value} for name, value in whose.items()]
        self.client = boto3.client
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        print(f"{self.now():%a %d %b %H:%M}  {text}", flush=True)

    def now(self) -> datetime:
        return datetime.fromisoformat(self._clock()["now"])

    def command(self, *words: str) -> None:
        """Runs a command of the project as one types it, and shows what it prints."""
        print(f"\n$ python -m ml_pipeline {' '.join(words)}", flush=True)
        subprocess.run([sys.executable, "-m", "ml_pipeline", *words], cwd=self._project, check=True)
        print(flush=True)

    def advance(self, seconds: int, what: str) -> None:
        self._clock({"advance_seconds": seconds})
        self.say(what)

    def advance_to_schedule(self, pipeline: str) -> None:
        """Hour by hour, until EventBridge Scheduler starts this pipeline, train or score."""
        for _ in range(LONGEST_WAIT_HOURS):
            delivered = self._clock({"advance_seconds": HOUR})["deliveries"]
            if any(each["source"].endswith(f"/{self.prefix}-{pipeline}") for each in delivered):
                return self.say("the schedule is due")
        raise RuntimeError(f"nothing was scheduled in {LONGEST_WAIT_HOURS} hours (settings.toml, [schedule])")

    def publish(self, metric: str, violations: int) -> None:
        """As a monitoring step does once it has compared scored rows with the training data."""
        datum = {
            "MetricName": metric,
            "Dimensions": self.dimensions,
            "Value": violations,
            "Unit": "Count",
        }
        self.client("cloudwatch").put_metric_data(Namespace="MLPipeline", MetricData=[datum])
        self.say(f"{metric} = {violations} is published")

    def read(self, key: str) -> Any:
        """Content of a JSON object in the environment's bucket."""
        return json.load(self.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"])

    def published(self) -> dict[str, int]:
        """Largest number of violations of each metric within the last hour, of those that were sent."""
        from ml_pipeline.monitoring.cloudwatch import NAMESPACE, ROLL_UPS

        client, now = self.client("cloudwatch"), self.now()
        window = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=1), "Period": 60}
        found = {}
        for name in ROLL_UPS:
            answer = client.get_metric_statistics(
                Namespace=NAMESPACE,
                MetricName=name,
                Dimensions=self.dimensions,
                Statistics=["Maximum"],
                **window,
            )
            if answer["Datapoints"]:
                found[name] = int(max(point["Maximum"] for point in answer["Datapoints"]))
        return found

    def alarms(self) -> list[str]:
        """Names of the alarms that ring, told as well."""
        answer = self.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        listed = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
        ringing = [alarm["AlarmName"] for alarm in listed if alarm["StateValue"] == "ALARM"]
        self.say(f"alarms: {', '.join(ringing) or 'none'}")
        return ringing

    def executions(self, pipeline: str = "train") -> dict[str, tuple[str, str]]:
        """(TriggerReason, status) of each execution that has not been told, once none runs any more."""
        client = self.client("sagemaker")
        while True:
            found = client.list_pipeline_executions(
                PipelineName=f"{self.prefix}-{pipeline}", SortOrder="Ascending"
            )
            listed = found["PipelineExecutionSummaries"]
            if all(each["PipelineExecutionStatus"] not in RUNNING for each in listed):
                break
            time.sleep(POLL_SECONDS)
        new = [each for each in listed if each["PipelineExecutionArn"] not in self._told]
        self._told |= {each["PipelineExecutionArn"] for each in listed}
        return {
            each["PipelineExecutionArn"]: (self._reason(each), each["PipelineExecutionStatus"])
            for each in new
        }

    def tell_executions(self, pipeline: str = "train") -> list[tuple[str, str]]:
        found = self.executions(pipeline)
        for arn, (reason, status) in found.items():
            self.say(f"execution {arn.rpartition('/')[2]}: TriggerReason = {reason}, {status}")
        return list(found.values())

    def subscribed(self) -> str:
        """URL of a queue that gets what people would get by e-mail."""
        sqs, sns = self.client("sqs"), self.client("sns")
        url = sqs.create_queue(QueueName="people")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
        topic = next(topic for topic in topics if topic.endswith(f":{self.prefix}-notifications"))
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url

    def messages(self, url: str) -> list[str]:
        answer = self.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10)
        return [json.loads(message["Body"])["Message"] for message in answer.get("Messages", [])]

    def _reason(self, execution: dict[str, Any]) -> str:
        answer = self.client("sagemaker").list_pipeline_parameters_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return {each["Name"]: each["Value"] for each in answer["PipelineParameters"]}["TriggerReason"]

    def _clock(self, move: dict[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps(move).encode() if move else None
        request = urllib.request.Request(f"{self.endpoint}/local-aws/clock", body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            return json.load(answer)
