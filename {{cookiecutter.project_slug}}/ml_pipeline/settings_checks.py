"""Values of settings.toml that do not go together, and how a value is refused."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ml_pipeline import schedule
from ml_pipeline.errors import InputError
from ml_pipeline.names import (
    BETTER_HIGH,
    DRIFT_STATISTICS,
    HYPERPARAMETERS,
    OBJECTIVE_METRICS,
    POST_TRAINING_BIAS,
    PRE_TRAINING_BIAS,
    QUALITY_DRIFT,
    WITHOUT_LABELS,
)
from ml_pipeline.parameters import PIPELINES

if TYPE_CHECKING:
    from ml_pipeline.settings import Data, Gate, Monitor, Schedule, Settings, Split, Train, Tune

FILE = "settings.toml"
MOST_PARENTS = 5  # of a warm start


class SettingsError(InputError):
    """A value in settings.toml that cannot be used; the message names place, value and remedy."""


def check(settings: Settings) -> None:
    """Raises SettingsError for what one value alone cannot tell."""
    _check_data(settings.data)
    _check_split(settings.split, settings.data)
    _check_tune(settings.tune)
    _check_train(settings.train, settings.data)
    _check_gate(settings.gate, settings.data)
    _check_fixed(settings.monitor, settings.data)
    _check_schedule(settings.schedule)


def refuse(value: Any, allowed: str, place: str) -> Any:
    section, _, key = place.rpartition(".")
    raise SettingsError(f"{key} must be {allowed}, got {value!r} ({where(section)})")


def refuse_unknown(table: Mapping[str, Any], known: list[str] | tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"
            raise SettingsError(f"unknown key {key} ({where(place)}); {hint}")


def where(place: str) -> str:
    return f"{FILE}, [{place}]" if place else FILE


def _check_data(data: Data) -> None:
    columns = {"facets": data.facets, "ids": data.ids, "exclude": data.exclude, "group": (data.group,)}
    for key, names in columns.items():
        if data.target in names:
            refuse(data.target, "another column than target", f"data.{key}")
    if data.problem == "binary" and not data.positive:
        refuse("", "the label that counts as 1", "data.positive")
    if data.problem == "multiclass" and data.facets and not data.positive:
        refuse("", "the class whose bias is measured, since facets are named", "data.positive")
    refuse_unknown(data.facet_values, data.facets, "data.facet_values")
    if len(set(data.columns)) < len(data.columns):
        refuse(list(data.columns), "names that differ", "data.columns")


def _check_split(split: Split, data: Data) -> None:
    shares = split.validation_fraction, split.test_fraction
    if min(shares) <= 0 or sum(shares) >= 1:
        raise SettingsError(
            f"validation_fraction and test_fraction must be above 0 and leave rows to train on, got "
            f"{shares[0]:g} and {shares[1]:g} ({where('split')})"
        )
    for method, key in (("by_key", "key"), ("ordered", "time")):
        if split.method == method and not getattr(split, key):
            refuse("", f"the column that method = {method} needs", f"split.{key}")
        if split.method == method and getattr(split, key) == data.target:
            refuse(data.target, "another column than target", f"split.{key}")
    if split.method == "stratified" and data.problem == "regression":
        refuse(split.method, "random, ordered or by_key, since a regression has no classes", "split.method")


def _check_tune(tune: Tune) -> None:
    wait, runtime = tune.trial_max_wait_seconds, tune.trial_max_runtime_seconds
    _at_least(wait, "tune.trial_max_wait_seconds", runtime, "trial_max_runtime_seconds")
    for name, (low, high, _) in tune.ranges.items():
        if low >= high:
            refuse([low, high], "from a lower to a higher number", f"tune.ranges.{name}")
    refuse_unknown(tune.ranges, HYPERPARAMETERS, "tune.ranges")
    if len(tune.warm_start_parents) > MOST_PARENTS:
        refuse(len(tune.warm_start_parents), f"at most {MOST_PARENTS} names", "tune.warm_start_parents")
    if tune.objective and tune.objective.removeprefix("validation:") not in OBJECTIVE_METRICS:
        known = ", ".join(OBJECTIVE_METRICS)
        refuse(tune.objective, f"empty or validation: and one of {known}", "tune.objective")


def _check_train(train: Train, data: Data) -> None:
    _at_least(
        train.max_wait_seconds, "train.max_wait_seconds", train.max_runtime_seconds, "max_runtime_seconds"
    )
    rounds = train.hyperparameters.get("num_round")
    if type(rounds) is not int or rounds < 1:
        refuse(rounds, "a whole number of rounds, at least 1", "train.hyperparameters.num_round")
    refuse_unknown(train.hyperparameters, HYPERPARAMETERS, "train.hyperparameters")
    if train.class_weight == "balanced" and data.problem == "regression":
        refuse("balanced", "none, since a regression has no classes", "train.class_weight")


def _check_gate(gate: Gate, data: Data) -> None:
    for metric, (low, high) in gate.bias.items():
        if low > high:
            refuse([low, high], "[lowest, highest]", f"gate.bias.{metric}")
    refuse_unknown(gate.bias, (*PRE_TRAINING_BIAS, *POST_TRAINING_BIAS), "gate.bias")
    if gate.metric and gate.metric not in BETTER_HIGH[data.problem]:
        known = ", ".join(BETTER_HIGH[data.problem])
        refuse(gate.metric, f"empty or one of {known} for {data.problem}", "gate.metric")
    if gate.bias and not data.facets:
        refuse([], "at least one column, since [gate.bias] sets bounds", "data.facets")


def _check_fixed(monitor: Monitor, data: Data) -> None:
    """Refuses a fixed threshold that nothing would ever be held against."""
    quality, bias = QUALITY_DRIFT[data.problem], (*PRE_TRAINING_BIAS, *POST_TRAINING_BIAS)
    refuse_unknown(monitor.thresholds, (*DRIFT_STATISTICS, *quality, *bias), "monitor.thresholds")
    for name in monitor.thresholds:
        since = f"since [monitor.thresholds] fixes {name}"
        if name in bias and not data.facets:
            refuse([], f"at least one column, {since}", "data.facets")
        if name in ("CDDL", "CDDPL") and not data.group:
            refuse("", f"a column, {since}", "data.group")
        if name in (*quality, *bias) and name not in WITHOUT_LABELS and not data.ids:
            refuse([], f"at least one column, {since}, and labels are joined by it", "data.ids")
        method = {"chi_squared": "ChiSquared", "l_infinity": "LInfinity"}.get(
            name, monitor.categorical_method
        )
        if method != monitor.categorical_method:
            refuse(monitor.categorical_method, f"{method}, {since}", "monitor.categorical_method")


def _check_schedule(section: Schedule) -> None:
    for pipeline in PIPELINES:
        expression = getattr(section, pipeline)
        try:
            if expression:
                schedule.check(expression)
        except ValueError as error:
            refuse(expression, f"what EventBridge Scheduler takes ({error})", f"schedule.{pipeline}")
    try:
        schedule.check_timezone(section.timezone)
    except ValueError as error:
        refuse(section.timezone, f"what EventBridge Scheduler takes ({error})", "schedule.timezone")


def _at_least(value: int, place: str, floor: int, floor_name: str) -> None:
    if value < floor:
        refuse(value, f"at least {floor_name} ({floor})", place)
