"""A tuning job searches with real trials, and reports them as the API does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from botocore.exceptions import ClientError

from conftest import REGION, ROLE, Server, started
from local_aws.search import Search, falls_behind, range_problem
from waiting import until

XGBOOST = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:3.2-0"
ENDED = ("Completed", "Failed", "Stopped")
AUC = {"Type": "Maximize", "MetricName": "validation:auc"}
ETA = {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.5", "ScalingType": "Logarithmic"}
DEPTH = {"Name": "max_depth", "MinValue": "1", "MaxValue": "6", "ScalingType": "Auto"}
RANGES = {"ContinuousParameterRanges": [ETA], "IntegerParameterRanges": [DEPTH]}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local AWS with data on which deeper trees and more rounds score better."""
    server = started(tmp_path_factory.mktemp("tuning"))
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 5))
    labels = (features[:, 0] * features[:, 1] + 0.3 * random.normal(size=600) > 0).astype(int)
    rows = [",".join(map(str, [label, *row])) for label, row in zip(labels, features, strict=True)]
    for channel, part in {"train": rows[:400], "validation": rows[400:]}.items():
        s3.put_object(Bucket="bucket", Key=f"{channel}/data.csv", Body="\n".join(part).encode())
    yield server
    server.end()


def channel(name: str) -> dict:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{name}"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


def request(ranges: dict = RANGES, trials: int = 4, parallel: int = 2, **config: object) -> dict:
    limits = {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel}
    return {
        "HyperParameterTuningJobName": f"tune-{uuid.uuid4().hex[:8]}",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": AUC,
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
            "RandomSeed": 7,
        }
        | config,
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "num_round": "10",
                "objective": "binary:logistic",
                "eval_metric": "auc",
            },
            "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "InputDataConfig": [channel("train"), channel("validation")],
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
        "Tags": [{"Key": "Project", "Value": "demo"}],
    }


def static(asked: dict, **hyperparameters: str) -> dict:
    asked["TrainingJobDefinition"]["StaticHyperParameters"] |= hyperparameters
    return asked


class Job:
    """A tuning job on a local AWS."""

    def __init__(self, aws: Server, asked: dict) -> None:
        self.client, self.name = aws.client("sagemaker"), asked["HyperParameterTuningJobName"]
        self.client.create_hyper_parameter_tuning_job(**asked)

    def describe(self) -> dict:
        return self.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def ended(self) -> dict:
        return until(lambda: (job := self.describe())["HyperParameterTuningJobStatus"] in ENDED and job)

    def trials(self) -> list[dict]:
        """The trials' summaries, in order of creation."""
        answer = self.client.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=self.name, MaxResults=100, SortBy="Name", SortOrder="Ascending"
        )
        return answer["TrainingJobSummaries"]

    def values(self) -> list[float]:
        return [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in self.trials()]


def test_the_best_trial_is_the_one_with_the_best_last_value(aws: Server) -> None:
    asked = request(trials=5)
    job = Job(aws, asked)
    answer, trials = job.ended(), job.trials()
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert [trial["TrainingJobStatus"] for trial in trials] == ["Completed"] * 5
    best = max(trials, key=lambda trial: trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    assert answer["BestTrainingJob"]["TrainingJobName"] == best["TrainingJobName"]
    assert answer["BestTrainingJob"]["TunedHyperParameters"] == best["TunedHyperParameters"]
    record = job.client.describe_training_job(TrainingJobName=best["TrainingJobName"])
    last = {item["MetricName"]: item["Value"] for item in record["FinalMetricDataList"]}["validation:auc"]
    metric = {"Type": "Maximize", "MetricName": "validation:auc", "Value": last}
    assert answer["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"] == metric
    assert "OverallBestTrainingJob" not in answer
    counters = {"Completed": 5, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    assert answer["TrainingJobStatusCounters"] == counters
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 5, "Pending": 0, "Failed": 0}


def test_a_trial_is_a_training_job_of_the_definition(aws: Server) -> None:
    asked = request(trials=1, parallel=1)
    job = Job(aws, asked)
    job.ended()
    (trial,) = job.trials()
    record = job.client.describe_training_job(TrainingJobName=trial["TrainingJobName"])
    assert trial["TrainingJobName"].startswith(f"{job.name}-001-")
    assert len(trial["TrainingJobName"]) == len(job.name) + 13
    tuned = trial["TunedHyperParameters"]
    assert tuned.keys() == {"eta", "max_depth"}
    assert 0.01 <= float(tuned["eta"]) <= 0.5 and tuned["max_depth"] in "123456"
    fixed = asked["TrainingJobDefinition"]["StaticHyperParameters"]
    assert record["HyperParameters"] == fixed | tuned | {"_tuning_objective_metric": "validation:auc"}
    assert record["TuningJobArn"] == job.describe()["HyperParameterTuningJobArn"]
    assert job.client.list_tags(ResourceArn=record["TrainingJobArn"])["Tags"] == asked["Tags"]
    model = record["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://bucket/")
    assert aws.client("s3").head_object(Bucket="bucket", Key=model)["ContentLength"] > 0


def test_no_more_trials_run_at_once_than_asked(aws: Server) -> None:
    job = Job(aws, request(trials=4, parallel=2))
    job.ended()
    spans = [(trial["CreationTime"], trial["TrainingEndTime"]) for trial in job.trials()]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(at_once) == 2


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_the_same_seed_tries_the_same_hyperparameters(aws: Server, strategy: str) -> None:
    def tried(seed: int) -> list[dict]:
        asked = static(request(trials=4, parallel=1, Strategy=strategy, RandomSeed=seed), num_round="2")
        job = Job(aws, asked)
        job.ended()
        return [trial["TunedHyperParameters"] for trial in job.trials()]

    assert tried(3) == tried(3) != tried(4)


def test_grid_tries_every_combination_once(aws: Server) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "max_depth", "Values": ["1", "2"]},
            {"Name": "tree_method", "Values": ["hist", "approx"]},
        ]
    }
    asked = static(request(ranges, Strategy="Grid"), num_round="1")
    del asked["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    job = Job(aws, asked)
    job.ended()
    tried = {tuple(sorted(trial["TunedHyperParameters"].items())) for trial in job.trials()}
    assert len(job.trials()) == len(tried) == 4


def test_when_every_trial_fails_the_job_fails_with_the_reason_of_one(aws: Server) -> None:
    job = Job(aws, static(request(trials=2), objective="no:such"))
    answer = job.ended()
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("All training jobs failed")
    assert job.trials()[0]["FailureReason"] in answer["FailureReason"]
    assert answer["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert "BestTrainingJob" not in answer


def test_a_trial_that_fails_does_not_fail_the_job(aws: Server) -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "tree_method", "Values": ["hist", "nonsense"]}]}
    job = Job(aws, request(ranges, Strategy="Grid"))
    answer = job.ended()
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert answer["BestTrainingJob"]["TunedHyperParameters"] == {"tree_method": "hist"}
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}


def test_an_objective_that_is_never_logged_fails_the_job_by_its_name(aws: Server) -> None:
    objective = {"Type": "Maximize", "MetricName": "validation:nothing"}
    definitions = [{"Name": "validation:nothing", "Regex": "nothing=([0-9.]+)"}]
    asked = request(trials=1, HyperParameterTuningJobObjective=objective)
    asked["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    answer = Job(aws, asked).ended()
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    assert "validation:nothing" in answer["FailureReason"]


def test_a_stopped_job_stops_its_trials_and_starts_no_more(aws: Server) -> None:
    job = Job(aws, static(request(trials=4, parallel=1), num_round="1000000"))
    until(lambda: job.describe()["TrainingJobStatusCounters"]["InProgress"] == 1)
    job.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=job.name)
    assert job.ended()["HyperParameterTuningJobStatus"] == "Stopped"
    assert [trial["TrainingJobStatus"] for trial in job.trials()] == ["Stopped"]


def test_early_stopping_stops_a_trial_below_the_median_while_it_runs(aws: Server) -> None:
    # The last learns nothing after its first tree, and takes as long as the others.
    ranges = {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.03", "0.02", "0.01", "0.000001"]}]}
    asked = request(ranges, parallel=1, Strategy="Grid", TrainingJobEarlyStoppingType="Auto")
    job = Job(aws, static(asked, num_round="1000", max_depth="5", save_model_on_termination="true"))
    answer = job.ended()
    *peers, last = job.trials()
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert last["TunedHyperParameters"] == {"eta": "0.000001"}
    assert last["TrainingJobStatus"] == "Stopped"
    assert answer["TrainingJobStatusCounters"]["Stopped"] >= 1
    worst = min(trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in peers)
    assert last["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] < worst
    assert last["ObjectiveStatus"] == "Succeeded"


def warm_start(kind: str, *parents: str) -> dict:
    names = [{"HyperParameterTuningJobName": parent} for parent in parents]
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": names, "WarmStartType": kind}}


def test_a_warm_start_knows_the_trials_of_its_parent(aws: Server) -> None:
    parent = Job(aws, request(trials=3, Strategy="Random"))
    parent.ended()
    poor = {"ContinuousParameterRanges": [ETA | {"MinValue": "0.011", "MaxValue": "0.012"}]}
    asked = request(poor | {"IntegerParameterRanges": [DEPTH | {"MaxValue": "2"}]}, trials=1)
    child = Job(aws, asked | warm_start("IdenticalDataAndAlgorithm", parent.name))
    answer = child.ended()
    overall = answer["OverallBestTrainingJob"]
    assert overall["TuningJobName"] == parent.name
    assert overall["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == max(parent.values())
    assert answer["BestTrainingJob"]["TrainingJobName"] == child.trials()[0]["TrainingJobName"]


def test_a_transfer_names_no_overall_best(aws: Server) -> None:
    parent = Job(aws, request(trials=1))
    parent.ended()
    child = Job(aws, request(trials=1) | warm_start("TransferLearning", parent.name))
    assert "OverallBestTrainingJob" not in child.ended()


def ended_reason(aws: Server, asked: dict) -> str:
    """Why the job is refused, at once or as its FailureReason."""
    try:
        answer = Job(aws, asked).ended()
    except ClientError as error:
        return str(error)
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    return answer["FailureReason"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"Strategy": "Hyperband"},
            "Strategy Hyperband needs trials that resume; use Bayesian, Random, Grid",
        ),
        (
            {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.9}},
            "HyperParameterTuningJobConfig.TuningJobCompletionCriteria is not supported",
        ),
        ({"ParameterRanges": {}}, "ParameterRanges must hold at least one range"),
        (
            {"ParameterRanges": {"ContinuousParameterRanges": [ETA | {"MinValue": "0"}]}},
            "ParameterRanges eta: ScalingType Logarithmic needs a MinValue above 0, got 0",
        ),
        (
            {"ParameterRanges": {"IntegerParameterRanges": [DEPTH | {"MinValue": "9"}]}},
            "ParameterRanges max_depth: MinValue 9 must be less than MaxValue 6",
        ),
        ({"Strategy": "Grid"}, "Strategy Grid takes categorical ranges only"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(aws: Server, config: dict, sentence: str) -> None:
    assert sentence in ended_reason(aws, request(**config))


def test_a_hyperparameter_cannot_be_tuned_and_static(aws: Server) -> None:
    assert "eta is both in ParameterRanges" in ended_reason(aws, static(request(), eta="0.1"))


def test_a_parent_must_be_there_have_ended_and_seek_the_same(aws: Server) -> None:
    parent = Job(aws, request(trials=1))
    parent.ended()
    kind = "IdenticalDataAndAlgorithm"
    assert "the parent nobody does not exist" in ended_reason(aws, request() | warm_start(kind, "nobody"))
    other = {"Type": "Minimize", "MetricName": "validation:logloss"}
    asked = request(HyperParameterTuningJobObjective=other) | warm_start(kind, parent.name)
    assert "has the objective" in ended_reason(aws, asked)
    asked = static(request(), gamma="1") | warm_start(kind, parent.name)
    assert "has 5 hyperparameters, this job 6" in ended_reason(aws, asked)
    asked = request() | warm_start(kind, parent.name)
    asked["TrainingJobDefinition"]["InputDataConfig"].pop()
    assert "has another InputDataConfig" in ended_reason(aws, asked)


def test_a_trial_is_stopped_below_the_median_of_running_averages() -> None:
    peers = [[0.5, 0.7], [0.6, 0.8], [0.7, 0.9]]
    assert not falls_behind([0.6, 0.7], peers, maximize=True)
    assert falls_behind([0.9, 0.69], peers, maximize=True)
    assert falls_behind([0.6, 0.71], peers, maximize=False)
    assert not falls_behind([0.6, 0.69], peers[:2], maximize=True), "two peers are too few"
    assert not falls_behind([0.1, 0.1, 0.1], peers, maximize=True), "no peer got that far"


def test_bayesian_search_finds_the_better_end_of_a_range() -> None:
    config = {
        "Strategy": "Bayesian",
        "RandomSeed": 1,
        "ParameterRanges": {"ContinuousParameterRanges": [ETA | {"ScalingType": "Linear"}]},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 30, "MaxParallelTrainingJobs": 1},
    }
    search = Search(config, maximize=False)
    tried = []
    for number in range(30):
        eta = float(search.ask(str(number))["eta"])
        search.tell(str(number), abs(eta - 0.4))
        tried.append(abs(eta - 0.4))
    assert np.mean(tried[20:]) < np.mean(tried[:10]) / 2


def test_what_a_parent_learned_is_used() -> None:
    config = {
        "Strategy": "Bayesian",
        "RandomSeed": 1,
        "ParameterRanges": {"ContinuousParameterRanges": [ETA | {"ScalingType": "Linear"}]},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 1},
    }
    search = Search(config, maximize=False)
    for eta in np.linspace(0.02, 0.49, 40):
        search.learn({"eta": str(eta)}, abs(eta - 0.4))
    search.learn({"eta": "7.0"}, -100.0)
    asked = [float(search.ask(str(number))["eta"]) for number in range(5)]
    assert np.mean(np.abs(np.array(asked) - 0.4)) < 0.08


def test_reverse_logarithmic_scaling_is_refused_by_name() -> None:
    problem = range_problem(ETA | {"Kind": "Continuous", "ScalingType": "ReverseLogarithmic"})
    assert problem == "ScalingType ReverseLogarithmic is not supported by the local AWS"
