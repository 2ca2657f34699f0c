"""`make triggers-demo`: dev in a local AWS, where a schedule, drift alarms and an approval do their work.

Nothing in it waits for real time: the local AWS has a clock of its own that can be moved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from ml_pipeline import settings  # noqa: E402
from ml_pipeline.local import LocalAws  # noqa: E402

HOUR = 3600
LONGEST_WAIT_HOURS = 32 * 24
RUNNING = ("Executing", "Stopping")
POLL_SECONDS = 0.5


class World:
    """A local AWS with dev deployed into it, and the time there."""

    def __init__(self, endpoint: str, wanted: settings.Settings) -> None:
        import boto3

        self.endpoint, self.prefix = endpoint, wanted.prefix
        whose = {"Project": wanted.project.slug, "Environment": wanted.environment}
        self.dimensions = [{"Name": name, "Value": value} for name, value in whose.items()]
        self.client = boto3.client
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        now = datetime.fromisoformat(self._clock()["now"])
        print(f"{now:%a %d %b %H:%M}  {text}", flush=True)

    def command(self, *words: str) -> None:
        """Runs a command of the project as one types it, and shows what it prints."""
        print(f"\n$ python -m ml_pipeline {' '.join(words)}", flush=True)
        subprocess.run([sys.executable, "-m", "ml_pipeline", *words], cwd=PROJECT, check=True)
        print(flush=True)

    def advance(self, seconds: int, what: str) -> None:
        self._clock({"advance_seconds": seconds})
        self.say(what)

    def advance_to_schedule(self) -> None:
        """Hour by hour, until EventBridge Scheduler starts a training."""
        schedule = f"/{self.prefix}-train"  # that of scoring may be due before, and finds nothing to score
        for _ in range(LONGEST_WAIT_HOURS):
            delivered = self._clock({"advance_seconds": HOUR})["deliveries"]
            if any(each["source"].endswith(schedule) for each in delivered):
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

    def alarms(self) -> None:
        answer = self.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        listed = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
        ringing = [alarm["AlarmName"] for alarm in listed if alarm["StateValue"] == "ALARM"]
        self.say(f"alarms: {', '.join(ringing) or 'none'}")

    def executions(self) -> dict[str, tuple[str, str]]:
        """(TriggerReason, status) of each execution that has not been told, once none runs any more."""
        client = self.client("sagemaker")
        while True:
            found = client.list_pipeline_executions(
                PipelineName=f"{self.prefix}-train", SortOrder="Ascending"
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

    def tell_executions(self) -> list[tuple[str, str]]:
        found = self.executions()
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


def story(world: World) -> list[list[tuple[str, str]]]:
    """Executions of each scene: the schedule's, a drift alarm's too early, and one in time."""
    world.command("deploy", "--env", "dev")
    world.command("upload", "data/sample.csv", "--env", "dev")
    people, scenes = world.subscribed(), []
    world.say("dev is deployed, its data are there; nobody starts anything from here on")
    world.advance_to_schedule()
    scenes.append(world.tell_executions())
    world.command("approve", "1", "--env", "dev")
    world.say(f"people read: {'; '.join(world.messages(people)) or 'nothing'}")
    for pause, what in (
        (HOUR, "one hour later the scored rows have drifted"),
        (30 * HOUR, "the next day they have drifted still, and the cool-down is over"),
    ):
        world.advance(pause, what)
        world.publish("DataDrift", 3)
        world.alarms()
        scenes.append(world.tell_executions())
    world.advance(2 * HOUR, "two hours without a finding")
    world.alarms()
    return scenes


def main() -> int:
    wanted = settings.load("dev")
    with tempfile.TemporaryDirectory() as state, LocalAws(Path(state), wanted.region) as aws:
        aws.connect()
        world = World(os.environ["AWS_ENDPOINT_URL"], wanted)
        scenes = story(world)
    retrain = f"{wanted.prefix}-retrain"
    expected = [[("schedule", "Succeeded")], [(retrain, "Stopped")], [(retrain, "Succeeded")]]
    if scenes != expected:
        print(f"expected {expected}, got {scenes}", file=sys.stderr)
        return 1
    print(
        "\nIt trained when it was due, stopped itself within the cool-down, then trained again: none by hand."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
