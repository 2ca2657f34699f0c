"""The search of a tuning job: which hyperparameters to try next, and which trial to give up."""

import math
from itertools import product
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

MIN_PEERS = 3
# A range this wide is searched on a logarithmic scale when ScalingType is Auto.
AUTO_LOG_RATIO = 1000.0
STARTUP_TRIALS = 10


def ranges_by_name(config: dict) -> dict[str, dict]:
    """Every range of a HyperParameterTuningJobConfig, with its `Kind`: Integer, Continuous, Categorical."""
    ranges = config.get("ParameterRanges", {})
    kinds = ("Integer", "Continuous", "Categorical")
    return {
        item["Name"]: item | {"Kind": kind}
        for kind in kinds
        for item in ranges.get(f"{kind}ParameterRanges", [])
    }


def range_problem(item: dict) -> str | None:
    """What is wrong with a range, None when it can be searched."""
    if item["Kind"] == "Categorical":
        return None
    number = int if item["Kind"] == "Integer" else float
    try:
        low, high = number(item["MinValue"]), number(item["MaxValue"])
    except ValueError:
        got = f"{item['MinValue']!r} and {item['MaxValue']!r}"
        return f"MinValue and MaxValue must be {item['Kind']} numbers, got {got}"
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return f"MinValue {item['MinValue']} must be less than MaxValue {item['MaxValue']}"
    scaling = item.get("ScalingType", "Auto")
    if scaling == "ReverseLogarithmic":
        return "ScalingType ReverseLogarithmic is not supported by the local AWS"
    if scaling == "Logarithmic" and low <= 0:
        return f"ScalingType Logarithmic needs a MinValue above 0, got {item['MinValue']}"
    return None


def new_search(config: dict, maximize: bool) -> "Grid | Search":
    """The search of a HyperParameterTuningJobConfig."""
    return Grid(ranges_by_name(config)) if config["Strategy"] == "Grid" else Search(config, maximize)


class Grid:
    """Every combination of the (categorical) ranges, once."""

    def __init__(self, ranges: dict[str, dict]) -> None:
        values = product(*(item["Values"] for item in ranges.values()))
        self._untried = [dict(zip(ranges, combination, strict=True)) for combination in values]
        self.size = len(self._untried)

    def ask(self, trial_name: str) -> dict[str, str]:
        """The next combination."""
        return self._untried.pop(0)

    def tell(self, trial_name: str, objective: float | None) -> None:
        """Changes nothing: what is tried does not depend on it."""

    def learn(self, hyperparameters: dict[str, str], objective: float) -> None:
        """Changes nothing."""


class Search:
    """Optuna behind ask and tell; hyperparameters are strings, as in the API."""

    def __init__(self, config: dict, maximize: bool) -> None:
        import optuna  # 0.6 s that no other part of the local AWS needs

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._ranges = ranges_by_name(config)
        self._space = {name: self._distribution(item) for name, item in self._ranges.items()}
        direction = "maximize" if maximize else "minimize"
        self._study = optuna.create_study(direction=direction, sampler=self._sampler(config))
        self._asked: dict[str, optuna.Trial] = {}

    def ask(self, trial_name: str) -> dict[str, str]:
        """The hyperparameters of the next trial."""
        trial = self._study.ask(self._space)
        self._asked[trial_name] = trial
        return {name: as_text(value) for name, value in trial.params.items()}

    def tell(self, trial_name: str, objective: float | None) -> None:
        """The trial's objective, None when it has none."""
        trial = self._asked.pop(trial_name)
        if objective is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, objective)

    def learn(self, hyperparameters: dict[str, str], objective: float) -> None:
        """A trial of a parent job; it is left out when it lies outside the ranges of this one."""
        params = {name: self._value(name, hyperparameters.get(name)) for name in self._space}
        if all(value is not None for value in params.values()):
            make = self._optuna.trial.create_trial
            self._study.add_trial(make(params=params, distributions=self._space, value=objective))

    def _value(self, name: str, text: str | None) -> int | float | str | None:
        """The hyperparameter's value, None when it is not in its range."""
        item, space = self._ranges[name], self._space[name]
        if text is None or item["Kind"] == "Categorical":
            return text if text in item.get("Values", []) else None
        value = float(text)
        return (
            (int(value) if item["Kind"] == "Integer" else value) if space.low <= value <= space.high else None
        )

    def _distribution(self, item: dict) -> "optuna.distributions.BaseDistribution":
        distributions = self._optuna.distributions
        if item["Kind"] == "Categorical":
            return distributions.CategoricalDistribution(item["Values"])
        low, high = float(item["MinValue"]), float(item["MaxValue"])
        scaling = item.get("ScalingType", "Auto")
        log = scaling == "Logarithmic" or (scaling == "Auto" and low > 0 and high / low >= AUTO_LOG_RATIO)
        if item["Kind"] == "Integer":
            return distributions.IntDistribution(int(low), int(high), log=log)
        return distributions.FloatDistribution(low, high, log=log)

    def _sampler(self, config: dict) -> "optuna.samplers.BaseSampler":
        samplers, seed = self._optuna.samplers, config.get("RandomSeed")
        if config["Strategy"] == "Random":
            return samplers.RandomSampler(seed)
        limits = config["ResourceLimits"]
        startup = min(STARTUP_TRIALS, max(2, limits["MaxNumberOfTrainingJobs"] // 3))
        parallel = limits["MaxParallelTrainingJobs"] > 1
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=parallel)


def as_text(value: int | float | str) -> str:
    """A hyperparameter as the API has it; a float in as many digits as give it back."""
    return value if isinstance(value, str) else repr(value)


def falls_behind(values: list[float], peers: list[list[float]], maximize: bool) -> bool:
    """Whether the latest of `values` (one a round) is worse than the median of the peers' running averages.

    peers: values of earlier trials; those with fewer rounds do not count, and MIN_PEERS must be left.
    Source: SageMaker, early stopping of training jobs (TrainingJobEarlyStoppingType Auto).
    """
    rounds = len(values)
    averages = [fmean(peer[:rounds]) for peer in peers if len(peer) >= rounds]
    if not rounds or len(averages) < MIN_PEERS:
        return False
    bar = median(averages)
    return values[-1] < bar if maximize else values[-1] > bar
