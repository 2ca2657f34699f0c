"""Hyperparameter tuning jobs: trials that are real training jobs, searched with Optuna."""

import secrets
import threading
from typing import TYPE_CHECKING

from local_aws.creation import create_job
from local_aws.resources import KINDS, RUNNING
from local_aws.search import Grid, falls_behind, new_search, range_problem, ranges_by_name
from local_aws.validation import ApiError, request_problems

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

KIND, TRIAL = "HyperParameterTuningJob", "TrainingJob"
STATUS = "HyperParameterTuningJobStatus"
OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"
STRATEGIES = ("Bayesian", "Random", "Grid")
UNSUPPORTED = ("TrainingJobDefinitions", "Autotune")
UNSUPPORTED_CONFIG = ("StrategyConfig", "TuningJobCompletionCriteria")
UNSUPPORTED_DEFINITION = ("HyperParameterTuningResourceConfig", "HyperParameterRanges", "TuningObjective")
NOT_OF_A_TRIAL = ("DefinitionName", "StaticHyperParameters")
SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "TunedHyperParameters",
    "FailureReason",
    OBJECTIVE,
    "ObjectiveStatus",
)
MAX_REASON = 1024
IDENTICAL = "IdenticalDataAndAlgorithm"


def check(api: "SageMaker", request: dict) -> None:
    """Raises ValidationException for a request that cannot be carried out; the service model holds for it."""
    for problem in (*_unsupported(request), *_range_problems(request), *_parent_problems(api, request)):
        raise ApiError("ValidationException", f"CreateHyperParameterTuningJob: {problem}")


def start(api: "SageMaker", name: str) -> None:
    """Runs the tuning job that is recorded; returns at once."""
    threading.Thread(target=_work, args=(api, name), name=name, daemon=True).start()


def _unsupported(request: dict) -> list[str]:
    config, definition = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition", {})
    problems = []
    if config["Strategy"] not in STRATEGIES:
        problems.append(
            f"Strategy {config['Strategy']} needs trials that resume; use {', '.join(STRATEGIES)}"
        )
    for place, members, unsupported in (
        ("", request, UNSUPPORTED),
        ("HyperParameterTuningJobConfig.", config, UNSUPPORTED_CONFIG),
        ("TrainingJobDefinition.", definition, UNSUPPORTED_DEFINITION),
        ("ParameterRanges.", config.get("ParameterRanges", {}), ("AutoParameters",)),
    ):
        found = [member for member in unsupported if member in members]
        problems += [f"{place}{member} is not supported by the local AWS" for member in found]
    for place, members, member in (
        ("", request, "TrainingJobDefinition"),
        ("HyperParameterTuningJobConfig.", config, "HyperParameterTuningJobObjective"),
        ("TrainingJobDefinition.", definition, "ResourceConfig"),
    ):
        if member not in members:
            problems.append(f"{place}{member} is required")
    return problems


def _range_problems(request: dict) -> list[str]:
    config = request["HyperParameterTuningJobConfig"]
    ranges, grid = ranges_by_name(config), config["Strategy"] == "Grid"
    static = request.get("TrainingJobDefinition", {}).get("StaticHyperParameters", {})
    problems = [] if ranges else ["ParameterRanges must hold at least one range"]
    for name, item in ranges.items():
        if problem := range_problem(item):
            problems.append(f"ParameterRanges {name}: {problem}")
        if name in static:
            problems.append(f"{name} is both in ParameterRanges and in StaticHyperParameters")
        if grid and item["Kind"] != "Categorical":
            problems.append(f"ParameterRanges {name}: Strategy Grid takes categorical ranges only")
    if not grid and "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        problems.append(
            f"ResourceLimits.MaxNumberOfTrainingJobs is required for Strategy {config['Strategy']}"
        )
    return problems


def _parent_problems(api: "SageMaker", request: dict) -> list[str]:
    warm = request.get("WarmStartConfig", {"ParentHyperParameterTuningJobs": [], "WarmStartType": ""})
    problems = []
    for item in warm["ParentHyperParameterTuningJobs"]:
        name = item["HyperParameterTuningJobName"]
        if not api.state.has(KIND, name):
            problems.append(f"WarmStartConfig: the parent {name} does not exist")
            continue
        found = _differences(api.state.get(KIND, name), request, warm["WarmStartType"])
        problems += [f"WarmStartConfig: the parent {name} {difference}" for difference in found]
    return problems


def _differences(parent: dict, request: dict, warm_start_type: str) -> list[str]:
    """Why `parent` cannot be a parent of the requested job."""
    mine, theirs = request["HyperParameterTuningJobConfig"], parent["HyperParameterTuningJobConfig"]
    differences = [f"is {parent[STATUS]}: it must have ended"] if parent[STATUS] in RUNNING else []
    objective = "HyperParameterTuningJobObjective"
    if mine[objective] != theirs[objective]:
        differences.append(f"has the objective {theirs[objective]}, this job {mine[objective]}")
    if _hyperparameters(parent) != _hyperparameters(request):
        differences.append(
            f"has {_hyperparameters(parent)} hyperparameters, this job {_hyperparameters(request)}"
        )
    new, old = ranges_by_name(mine), ranges_by_name(theirs)
    for name in sorted(new.keys() & old.keys()):
        if new[name]["Kind"] != old[name]["Kind"]:
            differences.append(f"has {name} {old[name]['Kind']}, this job {new[name]['Kind']}")
    if warm_start_type == IDENTICAL:
        for member in ("AlgorithmSpecification", "InputDataConfig"):
            if _content(parent, member) != _content(request, member):
                differences.append(f"has another {member}, which {IDENTICAL} forbids")
    return differences


def _hyperparameters(job: dict) -> int:
    static = job["TrainingJobDefinition"].get("StaticHyperParameters", {})
    return len(static) + len(ranges_by_name(job["HyperParameterTuningJobConfig"]))


def _content(job: dict, member: str) -> object:
    return job["TrainingJobDefinition"].get(member)


def _work(api: "SageMaker", name: str) -> None:
    """The job's thread. Whatever goes wrong, the job gets a final status."""
    status, reason = "Failed", "InternalServerError: the local AWS failed, see its output"
    try:
        check(api, api.state.get(KIND, name))
        status, reason = Tuning(api, name).run()
    except ApiError as error:
        reason = f"ClientError: {error}"
    finally:
        now = api.clock.now(api.state.get(KIND, name))
        ended = {"HyperParameterTuningEndTime": now, "LastModifiedTime": now, "FailureReason": reason}
        api.state.update(KIND, name, **{STATUS: status}, **ended)


class Tuning:
    """One tuning job at work."""

    def __init__(self, api: "SageMaker", name: str) -> None:
        self.api, self.state, self.name = api, api.state, name
        self.job = api.state.get(KIND, name)
        self.config = self.job["HyperParameterTuningJobConfig"]
        objective = self.config["HyperParameterTuningJobObjective"]
        self.metric, self.maximize = objective["MetricName"], objective["Type"] == "Maximize"
        self.search = new_search(self.config, self.maximize)
        limits = self.config["ResourceLimits"]
        grid = isinstance(self.search, Grid)
        self.trials = self.search.size if grid else limits["MaxNumberOfTrainingJobs"]
        self.parallel = limits["MaxParallelTrainingJobs"]
        self.deadline = self.job["CreationTime"] + limits.get("MaxRuntimeInSeconds", float("inf"))
        self.running: list[str] = []
        self.ended: list[dict] = []
        self.looked_at: dict[str, int] = {}
        self.asked_to_stop: set[str] = set()

    def _now(self) -> float:
        return self.api.clock.now(self.job)

    def run(self) -> tuple[str, str | None]:
        """Final status and FailureReason, once every trial has ended."""
        parents = self._learn_from_parents()
        while True:
            seen = self._seen()
            self._take_ended()
            self._start_trials()
            self._stop_trials()
            self._report(parents)
            if not self.running:
                return self._result()
            self._await_change(seen)

    def _learn_from_parents(self) -> list[dict]:
        """The parents' trials that have an objective."""
        warm = self.job.get("WarmStartConfig", {"ParentHyperParameterTuningJobs": []})
        trials = []
        for item in warm["ParentHyperParameterTuningJobs"]:
            parent = self.state.get(KIND, item["HyperParameterTuningJobName"])
            found = self.state.find(TRIAL, TuningJobArn=parent["HyperParameterTuningJobArn"])
            trials += [
                trial | {"TuningJobName": parent[f"{KIND}Name"]} for trial in found if OBJECTIVE in trial
            ]
        for trial in trials:
            self.search.learn(trial["HyperParameters"], trial[OBJECTIVE]["Value"])
        return trials

    def _over(self) -> bool:
        """Whether no further trial may start."""
        stopping = self.state.get(KIND, self.name)[STATUS] != "InProgress"
        return stopping or self._now() >= self.deadline or len(self.ended) + len(self.running) >= self.trials

    def _start_trials(self) -> None:
        while len(self.running) < self.parallel and not self._over():
            number = len(self.ended) + len(self.running) + 1
            name = f"{self.name}-{number:03d}-{secrets.token_hex(4)}"
            self._create_trial(name, self.search.ask(name))
            self.running.append(name)

    def _create_trial(self, name: str, tuned: dict[str, str]) -> None:
        definition = self.job["TrainingJobDefinition"]
        request = {member: value for member, value in definition.items() if member not in NOT_OF_A_TRIAL}
        static = definition.get("StaticHyperParameters", {})
        request |= {
            "TrainingJobName": name,
            "HyperParameters": static | tuned | {"_tuning_objective_metric": self.metric},
            "Tags": self.job["_tags"],
        }
        if problems := request_problems("CreateTrainingJob", request):
            raise ApiError("ValidationException", f"trial {name}: {'; '.join(problems)}")
        trial = {
            "TuningJobArn": self.job[f"{KIND}Arn"],
            "TunedHyperParameters": tuned,
            "ObjectiveStatus": "Pending",
        }
        create_job(self.api, request | trial, KINDS[TRIAL])

    def _take_ended(self) -> None:
        for name in list(self.running):
            trial = self.state.get(TRIAL, name)
            if trial["TrainingJobStatus"] in RUNNING:
                continue
            self.running.remove(name)
            value = self._objective(trial)
            self.search.tell(name, value)
            fields: dict[str, object] = {"ObjectiveStatus": "Failed" if value is None else "Succeeded"}
            if value is not None:
                kind = self.config["HyperParameterTuningJobObjective"]["Type"]
                fields[OBJECTIVE] = {"Type": kind, "MetricName": self.metric, "Value": value}
            self.ended.append(self.state.update(TRIAL, name, **fields))

    def _objective(self, trial: dict) -> float | None:
        """The latest value that the trial logged; None when it failed or logged none."""
        if trial["TrainingJobStatus"] == "Failed":
            return None
        values = {item["MetricName"]: item["Value"] for item in trial.get("FinalMetricDataList", [])}
        return values.get(self.metric)

    def _stop_trials(self) -> None:
        """Stops all when the job is to stop, else those that fall behind when early stopping is on."""
        every = self.state.get(KIND, self.name)[STATUS] == "Stopping" or self._now() >= self.deadline
        early = self.config.get("TrainingJobEarlyStoppingType", "Off") == "Auto"
        peers = [_history(trial, self.metric) for trial in self.ended if OBJECTIVE in trial]
        for name in self.running:
            if name not in self.asked_to_stop and (every or (early and self._falls_behind(name, peers))):
                self.asked_to_stop.add(name)
                self._stop_trial(name)

    def _falls_behind(self, name: str, peers: list[list[float]]) -> bool:
        """Whether the trial did after any of the rounds since it was last looked at."""
        values = _history(self.state.get(TRIAL, name), self.metric)
        first = self.looked_at.get(name, 0) + 1
        self.looked_at[name] = len(values)
        return any(falls_behind(values[:end], peers, self.maximize) for end in range(first, len(values) + 1))

    def _stop_trial(self, name: str) -> None:
        try:
            self.api.call("StopTrainingJob", {"TrainingJobName": name})
        except ApiError:
            if self.state.get(TRIAL, name)["TrainingJobStatus"] in RUNNING:
                raise

    def _report(self, parents: list[dict]) -> None:
        """Brings counters and best trials of the record up to date."""
        statuses = [trial["TrainingJobStatus"] for trial in self.ended]
        failed, of_objective = statuses.count("Failed"), [trial["ObjectiveStatus"] for trial in self.ended]
        fields: dict[str, object] = {
            "TrainingJobStatusCounters": {
                "Completed": statuses.count("Completed"),
                "InProgress": len(self.running),
                "RetryableError": 0,
                "NonRetryableError": failed,
                "Stopped": statuses.count("Stopped"),
            },
            "ObjectiveStatusCounters": {
                "Succeeded": of_objective.count("Succeeded"),
                "Pending": len(self.running),
                "Failed": of_objective.count("Failed"),
            },
        }
        if best := self._best(self.ended):
            fields["BestTrainingJob"] = best
        identical = self.job.get("WarmStartConfig", {}).get("WarmStartType") == IDENTICAL
        if identical and (overall := self._best(parents + self.ended)):
            fields["OverallBestTrainingJob"] = {"TuningJobName": self.name} | overall
        if any(self.job.get(member) != value for member, value in fields.items()):
            self.job = self.state.update(KIND, self.name, **fields, LastModifiedTime=self._now())

    def _best(self, trials: list[dict]) -> dict | None:
        scored = [trial for trial in trials if OBJECTIVE in trial]
        if not scored:
            return None
        sign = 1 if self.maximize else -1
        best = max(scored, key=lambda trial: sign * trial[OBJECTIVE]["Value"])
        return {member: best[member] for member in (*SUMMARY, "TuningJobName") if member in best}

    def _result(self) -> tuple[str, str | None]:
        if self.state.get(KIND, self.name)[STATUS] == "Stopping":
            return "Stopped", None
        if any(OBJECTIVE in trial for trial in self.ended):
            return "Completed", None
        failed = [trial for trial in self.ended if trial["TrainingJobStatus"] == "Failed"]
        if failed and len(failed) == len(self.ended):
            first = f"{failed[0]['TrainingJobName']}: {failed[0].get('FailureReason', 'no reason given')}"
            return "Failed", f"All training jobs failed. Please take a look at them; the first is {first}"[
                :MAX_REASON
            ]
        message = (
            f"No objective metrics found after running {len(self.ended)} training jobs. Please ensure that "
        )
        return "Failed", f"{message}the algorithm is emitting the objective metric {self.metric}"[:MAX_REASON]

    def _seen(self) -> list[object]:
        """What of the records decides what happens next."""
        trials = [self.state.get(TRIAL, name) for name in self.running]
        looked_at = [(trial["TrainingJobStatus"], len(_history(trial, self.metric))) for trial in trials]
        return [self.state.get(KIND, self.name)[STATUS], *looked_at]

    def _await_change(self, seen: list[object]) -> None:
        """Returns when a trial or the job has changed since `seen`, or the job's time is over."""
        with self.state.changed:
            while len(seen) == len(self.running) + 1 and self._seen() == seen:
                left = self.deadline - self._now()
                if left <= 0 and not set(self.running) <= self.asked_to_stop:
                    return
                self.state.changed.wait(left if 0 < left < threading.TIMEOUT_MAX else None)


def _history(trial: dict, metric: str) -> list[float]:
    return trial.get("_metrics", {}).get(metric, [])
