"""An execution runs the stored definition: order, conditions, failures, stops, retries."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator
from copy import copy
from itertools import pairwise

import numpy as np
import pytest
from botocore.exceptions import ClientError

from conftest import REGION, ROLE, Server, started
from test_definition import condition, fail, get, pipeline
from waiting import until

XGBOOST = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:3.2-0"
ENDED = ("Succeeded", "Failed", "Stopped")
SLOW_ROUNDS = "1000000"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local AWS that waits a hundredth of what a retry policy says, with data to train on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_RETRY_WAIT_SCALE", "0.01")
        server = started(tmp_path_factory.mktemp("executions"))
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[:, 0] = rows[:, 1] > 0
    body = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rows)
    s3.put_object(Bucket="bucket", Key="train/data.csv", Body=body.encode())
    yield server
    server.end()


@pytest.fixture(autouse=True)
def no_faults_left(aws: Server) -> Iterator[None]:
    yield
    urllib.request.urlopen(urllib.request.Request(f"{aws.endpoint}/local-aws/faults", method="DELETE"))


def order_fault(aws: Server, **fault: object) -> None:
    body = json.dumps(fault).encode()
    urllib.request.urlopen(urllib.request.Request(f"{aws.endpoint}/local-aws/faults", body, method="POST"))


def train(name: str, rounds: object = "1", depends_on: tuple[str, ...] = (), **members: object) -> dict:
    """A step that trains XGBoost for a number of rounds; an unknown hyperparameter makes it fail."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}}
    request = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": rounds, "nthread": "1"},
        "InputDataConfig": [{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    step = {"Name": name, "Type": "Training", "Arguments": request}
    return step | ({"DependsOn": list(depends_on)} if depends_on else {}) | members


def broken(name: str, **members: object) -> dict:
    return train(name, rounds="none", **members)


class Execution:
    """An execution of a definition on a local AWS."""

    def __init__(self, aws: Server, definition: dict, **request: object) -> None:
        self.client = aws.client("sagemaker")
        self.pipeline = f"pipe-{uuid.uuid4().hex[:8]}"
        text = json.dumps(definition)
        self.client.create_pipeline(PipelineName=self.pipeline, RoleArn=ROLE, PipelineDefinition=text)
        answer = self.client.start_pipeline_execution(PipelineName=self.pipeline, **request)
        self.arn = answer["PipelineExecutionArn"]

    @property
    def id(self) -> str:
        return self.arn.rsplit("/", 1)[-1]

    def describe(self) -> dict:
        return self.client.describe_pipeline_execution(PipelineExecutionArn=self.arn)

    def steps(self) -> dict[str, dict]:
        answer = self.client.list_pipeline_execution_steps(
            PipelineExecutionArn=self.arn, SortOrder="Ascending"
        )
        return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}

    def statuses(self) -> dict[str, str]:
        return {name: step["StepStatus"] for name, step in self.steps().items()}

    def ended(self) -> dict:
        return until(lambda: (answer := self.describe())["PipelineExecutionStatus"] in ENDED and answer)

    def job(self, step: str) -> dict:
        arn = self.steps()[step]["Metadata"]["TrainingJob"]["Arn"]
        return self.client.describe_training_job(TrainingJobName=arn.rsplit("/", 1)[-1])

    def until_running(self, step: str) -> dict:
        """The step's job, once it trains."""
        until(lambda: self.statuses().get(step) == "Executing")
        return until(lambda: (job := self.job(step))["SecondaryStatus"] == "Training" and job)


def test_steps_run_in_order_and_independent_ones_side_by_side(aws: Server) -> None:
    definition = pipeline(
        train("Last", depends_on=("Left", "Right")), train("Left", "4000"), train("Right", "4000")
    )
    execution = Execution(aws, definition)
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    steps = execution.steps()
    assert max(steps["Left"]["StartTime"], steps["Right"]["StartTime"]) < min(
        steps["Left"]["EndTime"], steps["Right"]["EndTime"]
    )
    assert steps["Last"]["StartTime"] >= max(steps["Left"]["EndTime"], steps["Right"]["EndTime"])
    assert [*steps] == ["Left", "Right", "Last"]


def test_parallelism_is_bounded_as_asked(aws: Server) -> None:
    definition = pipeline(*(train(name) for name in "ABC"))
    execution = Execution(aws, definition, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    steps = sorted(execution.steps().values(), key=lambda step: step["StartTime"])
    for before, after in pairwise(steps):
        assert before["EndTime"] <= after["StartTime"]


def test_parameters_variables_and_properties_reach_the_job(aws: Server) -> None:
    environment = {
        "WORD": get("Parameters.Word"),
        "ID": get("Execution.PipelineExecutionId"),
        "NAME": get("Execution.TrainingJobName"),
        "MODEL": {
            "Std:Join": {"On": ":", "Values": ["model", get("Steps.First.ModelArtifacts.S3ModelArtifacts")]}
        },
    }
    second = train("Second", {"Std:Join": {"Values": [get("Parameters.Rounds")]}})
    second["Arguments"] |= {"Environment": environment, "TrainingJobName": "demo-local-second"}
    parameters = [
        {"Name": "Word", "Type": "String", "DefaultValue": "default"},
        {"Name": "Rounds", "Type": "Integer", "DefaultValue": 1},
    ]
    execution = Execution(
        aws,
        pipeline(train("First"), second, parameters=parameters),
        PipelineParameters=[{"Name": "Rounds", "Value": "2"}],
    )
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    job = execution.job("Second")
    assert job["TrainingJobName"].startswith(f"demo-local-second-{execution.id}-")
    assert job["HyperParameters"]["num_round"] == "2"
    first = execution.job("First")["ModelArtifacts"]["S3ModelArtifacts"]
    names = {"ID": execution.id, "NAME": job["TrainingJobName"], "MODEL": f"model:{first}"}
    assert job["Environment"] == {"WORD": "default"} | names


def put_result(aws: Server, key: str, result: object) -> dict:
    """A reference to a value in S3, as that of a function step's result."""
    aws.client("s3").put_object(
        Bucket="bucket", Key=key, Body=json.dumps({"Result": {"ok": result}}).encode()
    )
    return {
        "Std:JsonGet": {"S3Uri": {"Std:Join": {"Values": [f"s3://bucket/{key}"]}}, "Path": "Result['ok']"}
    }


@pytest.mark.parametrize("passed", [True, False])
def test_only_the_branch_that_the_condition_chooses_runs(aws: Server, passed: bool) -> None:
    value = put_result(aws, f"results-{passed}.json", passed)
    test = {"Type": "Equals", "LeftValue": value, "RightValue": True}
    inner = condition("Inner", [train("Deep")], [], {"Type": "LessThan", "LeftValue": 1, "RightValue": 2})
    after = train("After", depends_on=("Deep",))
    message = {"Std:Join": {"On": " ", "Values": ["rejected by", get("Execution.PipelineName")]}}
    execution = Execution(aws, pipeline(condition("Gate", [inner], [fail(message=message)], test), after))
    answer = execution.ended()
    gate = execution.steps()["Gate"]
    assert gate["Metadata"] == {"Condition": {"Outcome": str(passed)}}
    if passed:
        assert execution.statuses() == dict.fromkeys(("Gate", "Inner", "Deep", "After"), "Succeeded")
    else:
        rejected = f"rejected by {execution.pipeline}"
        assert execution.statuses() == {"Gate": "Succeeded", "Rejected": "Failed"}
        assert execution.steps()["Rejected"]["Metadata"] == {"Fail": {"ErrorMessage": rejected}}
        assert (answer["PipelineExecutionStatus"], answer["FailureReason"]) == ("Failed", rejected)


def test_a_condition_on_null_fails_the_step_and_says_why(aws: Server) -> None:
    test = {"Type": "Equals", "LeftValue": put_result(aws, "null.json", None), "RightValue": True}
    execution = Execution(aws, pipeline(condition("Gate", [], [fail()], test)))
    reason = "Std:JsonGet Result['ok'] of s3://bucket/null.json: is null, not one value"
    assert execution.ended()["FailureReason"] == f"Step Gate failed: {reason}"
    assert execution.steps()["Gate"]["FailureReason"] == reason


def test_after_a_failed_step_what_runs_ends_and_nothing_else_starts(aws: Server) -> None:
    definition = pipeline(
        broken("Bad"),
        train("Slow", "20000"),
        train("Next", depends_on=("Bad",)),
        train("Later", depends_on=("Slow",)),
    )
    execution = Execution(aws, definition)
    answer = execution.ended()
    assert execution.statuses() == {"Bad": "Failed", "Slow": "Succeeded"}
    assert answer["FailureReason"].startswith("Step Bad failed: AlgorithmError: ")
    assert execution.steps()["Bad"]["FailureReason"] == execution.job("Bad")["FailureReason"]


def test_arguments_that_the_api_refuses_when_resolved_fail_the_step(aws: Server) -> None:
    parameters = [{"Name": "Type", "Type": "String", "DefaultValue": "ml.nothing"}]
    step = train("Train")
    step["Arguments"]["ResourceConfig"]["InstanceType"] = get("Parameters.Type")
    execution = Execution(aws, pipeline(step, parameters=parameters))
    assert "got 'ml.nothing'" in execution.ended()["FailureReason"]


def test_a_stopped_execution_stops_its_jobs_and_starts_no_more(aws: Server) -> None:
    execution = Execution(aws, pipeline(train("Slow", SLOW_ROUNDS), train("Next", depends_on=("Slow",))))
    execution.until_running("Slow")
    execution.client.stop_pipeline_execution(PipelineExecutionArn=execution.arn)
    assert execution.describe()["PipelineExecutionStatus"] in ("Stopping", "Stopped")
    assert execution.ended()["PipelineExecutionStatus"] == "Stopped"
    assert execution.statuses() == {"Slow": "Stopped"}
    assert execution.job("Slow")["TrainingJobStatus"] == "Stopped"


def test_a_retry_keeps_what_succeeded_and_runs_the_rest(aws: Server) -> None:
    parts = ["s3://bucket/given.json"]
    value = {"Std:JsonGet": {"S3Uri": {"Std:Join": {"Values": parts}}, "Path": "Result['ok']"}}
    second = train("Second", value, depends_on=("First",))
    execution = Execution(aws, pipeline(train("First"), second, train("Third", depends_on=("Second",))))
    assert "given.json" in execution.ended()["FailureReason"]
    before = execution.steps()
    put_result(aws, "given.json", "1")
    execution.client.retry_pipeline_execution(PipelineExecutionArn=execution.arn)
    answer = execution.ended()
    assert answer["PipelineExecutionStatus"] == "Succeeded" and "FailureReason" not in answer
    after = execution.steps()
    assert {name: step["StepStatus"] for name, step in after.items()} == dict.fromkeys(
        ("First", "Second", "Third"), "Succeeded"
    )
    assert after["First"] == before["First"]
    assert (before["Second"]["AttemptCount"], after["Second"]["AttemptCount"]) == (1, 2)


def test_a_stopped_execution_can_be_retried(aws: Server) -> None:
    execution = Execution(aws, pipeline(train("First"), train("Second", SLOW_ROUNDS, depends_on=("First",))))
    execution.until_running("Second")
    execution.client.stop_pipeline_execution(PipelineExecutionArn=execution.arn)
    execution.ended()
    execution.client.retry_pipeline_execution(PipelineExecutionArn=execution.arn)
    execution.until_running("Second")
    assert execution.statuses() == {"First": "Succeeded", "Second": "Executing"}
    execution.client.stop_pipeline_execution(PipelineExecutionArn=execution.arn)
    execution.ended()


def policy(kind: str, **members: object) -> list[dict]:
    return [{"ExceptionType": [kind], "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 2} | members]


def test_a_job_that_the_platform_lost_is_run_again_when_the_policy_says_so(aws: Server) -> None:
    prefix = f"lost-{uuid.uuid4().hex[:6]}"
    order_fault(aws, kind="internal_error", after_log=r"^\[0\]", job_prefix=prefix)
    step = train("Lost", "4000", RetryPolicies=policy("SageMaker.JOB_INTERNAL_ERROR"))
    step["Arguments"]["TrainingJobName"] = prefix
    execution = Execution(aws, pipeline(step))
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    assert execution.steps()["Lost"]["AttemptCount"] == 2
    jobs = execution.client.list_training_jobs(NameContains=prefix)["TrainingJobSummaries"]
    assert sorted(job["TrainingJobStatus"] for job in jobs) == ["Completed", "Failed"]


def test_a_policy_for_other_errors_does_not_retry(aws: Server) -> None:
    execution = Execution(aws, pipeline(broken("Bad", RetryPolicies=policy("SageMaker.JOB_INTERNAL_ERROR"))))
    execution.ended()
    assert execution.steps()["Bad"]["AttemptCount"] == 1


def test_a_policy_ends_after_its_attempts(aws: Server) -> None:
    order_fault(aws, kind="throttle", operation="CreateTrainingJob", times=9)
    execution = Execution(aws, pipeline(train("Train", RetryPolicies=policy("Step.THROTTLING"))))
    assert "ThrottlingException" in execution.ended()["FailureReason"]
    assert execution.steps()["Train"]["AttemptCount"] == 3


def test_throttling_and_service_errors_are_retried_without_a_policy(aws: Server) -> None:
    order_fault(aws, kind="throttle", operation="CreateTrainingJob")
    order_fault(aws, kind="error", operation="CreateTrainingJob")
    execution = Execution(aws, pipeline(train("Train")))
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    assert execution.steps()["Train"]["AttemptCount"] == 3


def test_a_running_execution_keeps_the_definition_it_started_with(aws: Server) -> None:
    execution = Execution(aws, pipeline(train("First", "4000"), train("Old", depends_on=("First",))))
    new = json.dumps(pipeline(train("First"), train("New", depends_on=("First",))))
    execution.client.update_pipeline(PipelineName=execution.pipeline, PipelineDefinition=new)
    execution.ended()
    assert execution.statuses() == {"First": "Succeeded", "Old": "Succeeded"}


def reads(name: str, step: str) -> dict:
    """A step that takes the place of another one's model over into its environment."""
    made = train(name)
    made["Arguments"]["Environment"] = {"MODEL": get(f"Steps.{step}.ModelArtifacts.S3ModelArtifacts")}
    return made


def again(source: Execution, definition: dict, *selected: str, of: str | None = None) -> Execution:
    """Another execution of the source's pipeline, of the selected steps alone. of: the source's ARN."""
    text, place = json.dumps(definition), {"SourcePipelineExecutionArn": of or source.arn}
    source.client.update_pipeline(PipelineName=source.pipeline, PipelineDefinition=text)
    chosen = {"SelectedSteps": [{"StepName": name} for name in selected]} | (place if of != "" else {})
    answer = source.client.start_pipeline_execution(
        PipelineName=source.pipeline, SelectiveExecutionConfig=chosen
    )
    selective = copy(source)
    selective.arn = answer["PipelineExecutionArn"]
    return selective


def test_selected_steps_run_with_the_present_code_on_the_outputs_of_the_source(aws: Server) -> None:
    source = Execution(aws, pipeline(train("A"), reads("B", "A"), broken("C", depends_on=("B",))))
    assert source.ended()["PipelineExecutionStatus"] == "Failed"
    mended = pipeline(train("A", "7"), reads("B", "A"), train("C", "2", depends_on=("B",)))
    first = again(source, mended, "B", "C")
    assert first.ended()["PipelineExecutionStatus"] == "Succeeded"
    second = again(first, mended, "C")
    assert second.ended()["PipelineExecutionStatus"] == "Succeeded"
    for kept, execution, whence in (("A", first, source), ("A", second, first), ("B", second, first)):
        step = execution.steps()[kept]
        assert step["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": whence.arn}
        assert step["Metadata"] == whence.steps()[kept]["Metadata"]
    assert "SelectiveExecutionResult" not in first.steps()["B"]
    assert first.job("B")["TrainingJobName"] != source.job("B")["TrainingJobName"]
    assert first.job("B")["Environment"] == {"MODEL": source.job("A")["ModelArtifacts"]["S3ModelArtifacts"]}
    assert first.job("C")["HyperParameters"]["num_round"] == "2"
    assert second.describe()["SelectiveExecutionConfig"]["SourcePipelineExecutionArn"] == first.arn


def test_steps_after_the_selected_ones_do_not_run(aws: Server) -> None:
    definition = pipeline(train("A"), reads("B", "A"), train("C", depends_on=("B",)))
    source = Execution(aws, definition)
    source.ended()
    execution = again(source, definition, "A", "B", of="")
    assert execution.ended()["PipelineExecutionStatus"] == "Succeeded"
    assert [*execution.steps()] == ["A", "B"]


def test_a_kept_condition_lets_the_branch_it_chose_run_again(aws: Server) -> None:
    chosen = {"Type": "Equals", "LeftValue": get("Parameters.Way"), "RightValue": "left"}
    parameters = [{"Name": "Way", "Type": "String", "DefaultValue": "left"}]
    gate = condition("Gate", [train("Left")], [fail("Right")], chosen)
    definition = pipeline(train("A"), gate | {"DependsOn": ["A"]}, parameters=parameters)
    source = Execution(aws, definition)
    source.ended()
    assert again(source, definition, "Left").ended()["PipelineExecutionStatus"] == "Succeeded"
    whole = again(source, definition, "Gate", "Left", "Right")
    assert whole.ended()["PipelineExecutionStatus"] == "Succeeded"
    assert whole.statuses() == {"A": "Succeeded", "Gate": "Succeeded", "Left": "Succeeded"}


def test_a_selection_that_cannot_be_run_is_refused(aws: Server) -> None:
    definition = pipeline(train("A"), broken("B", depends_on=("A",)), train("C", depends_on=("B",)))
    source, other = Execution(aws, definition), Execution(aws, definition)
    running = Execution(aws, pipeline(train("A", SLOW_ROUNDS), train("B", depends_on=("A",))))
    running.until_running("A")
    source.ended()
    other.ended()
    for message, selected, of in (
        ("Invalid SelectedSteps: D; the pipeline has A, B, C", ("D",), source.arn),
        ("Invalid SelectedSteps: B between two of them must be selected too", ("A", "C"), source.arn),
        (r"Invalid SourcePipelineExecutionArn: null. The selected steps \[B\] have dep", ("B",), ""),
        ("has no succeeded step B", ("C",), source.arn),
        ("is an execution of another pipeline", ("B", "C"), other.arn),
    ):
        with pytest.raises(ClientError, match=message):
            again(source, definition, *selected, of=of)
    with pytest.raises(ClientError, match="is still Executing"):
        again(running, pipeline(train("A"), train("B", depends_on=("A",))), "B")
    assert (
        len(
            source.client.list_pipeline_executions(PipelineName=source.pipeline)["PipelineExecutionSummaries"]
        )
        == 1
    )
    running.client.stop_pipeline_execution(PipelineExecutionArn=running.arn)
    running.ended()
