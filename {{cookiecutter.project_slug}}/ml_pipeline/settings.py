"""Typed settings from settings.toml, with per-environment overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ml_pipeline import settings_checks
from ml_pipeline.settings_checks import FILE, SettingsError, refuse, refuse_unknown, where

ENVIRONMENTS = ("local", "dev", "staging", "prod")
OPTIONAL = ("tags", "secrets", "prices")  # tables that a file may leave out


@dataclass(frozen=True)
class Between:
    """Closed interval a number must lie in."""

    low: float
    high: float


@dataclass(frozen=True)
class Matching:
    """Regular expression a text must match as a whole, and its meaning in words."""

    pattern: str
    meaning: str


Name = Annotated[str, Matching(r".+", "a non-empty text")]
Fraction = Annotated[float, Between(0.0, 1.0)]
Positive = Annotated[int, Between(1, 2**31)]
Seconds = Annotated[int, Between(60, 28 * 86400)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
SecretArn = Annotated[
    str,
    Matching(
        r"arn:aws[\w-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+", "the ARN of a Secrets Manager secret"
    ),
]
InstanceType = Annotated[str, Matching(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type such as ml.m5.xlarge")]
Scale = Literal["Linear", "Logarithmic", "Auto"]


@dataclass(frozen=True)
class Project:
    slug: Annotated[
        str,
        Matching(r"(?=.{3,24}$)(?!.*--)[a-z][a-z0-9-]*[a-z0-9]", "3 to 24 of a-z, 0-9 and single hyphens"),
    ]
    region: Annotated[str, Matching(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}", "an AWS region such as eu-west-1")]


@dataclass(frozen=True)
class Data:
    file: Name
    target: Name
    problem: Literal["binary", "multiclass", "regression"]
    positive: str
    facets: tuple[str, ...]
    facet_values: Mapping[str, tuple[str | int | float, ...]]
    facets_as_features: bool
    group: str
    ids: tuple[str, ...]
    exclude: tuple[str, ...]
    missing: tuple[str, ...]
    kinds: Mapping[str, Literal["number", "category"]]
    delimiter: Annotated[str, Matching(r'[\t\x20-\x7e]?(?<!")', "empty or one character other than a quote")]
    decimal: Literal[".", ","]
    columns: tuple[Name, ...]


@dataclass(frozen=True)
class Split:
    method: Literal["random", "stratified", "ordered", "by_key"]
    key: str
    time: str
    validation_fraction: Fraction
    test_fraction: Fraction
    seed: Seed


@dataclass(frozen=True)
class Tune:
    trials: Annotated[int, Between(0, 750)]
    parallel: Annotated[int, Between(1, 100)]
    strategy: Literal["Bayesian", "Random"]
    early_stopping: Literal["Auto", "Off"]
    objective: Annotated[str, Matching(r"(validation:[\w-]+)?", 'empty or such as "validation:auc"')]
    ranges: Mapping[str, tuple[int | float, int | float, Scale]]
    warm_start_parents: tuple[str, ...]
    warm_start_type: Literal["IdenticalDataAndAlgorithm", "TransferLearning"]
    instance_type: InstanceType
    spot: bool
    max_runtime_seconds: Annotated[int, Between(120, 15768000)]
    trial_max_runtime_seconds: Seconds
    trial_max_wait_seconds: Seconds
    seed: Seed


@dataclass(frozen=True)
class Train:
    hyperparameters: Mapping[str, int | float | str]
    instance_type: InstanceType
    early_stopping_rounds: Positive
    checkpoint_rounds: Positive
    curve_rows: Positive
    class_weight: Literal["none", "balanced"]
    decision_threshold: Fraction | Literal["max_f1"]
    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Between(0, 1024)]
    spot: bool
    max_runtime_seconds: Seconds
    max_wait_seconds: Seconds
    seed: Seed


@dataclass(frozen=True)
class Transform:
    instance_type: InstanceType
    instance_count: Positive
    max_payload_mb: Annotated[int, Between(1, 100)]
    max_concurrent: Annotated[int, Between(1, 100)]


@dataclass(frozen=True)
class Evaluate:
    bootstrap_samples: Annotated[int, Between(20, 10000)]
    confidence: Annotated[float, Between(0.5, 0.999)]
    attribution_rows: Positive
    train_rows: Positive


@dataclass(frozen=True)
class Bias:
    engine: Literal["in_step", "clarify"]
    ft_rows: Annotated[int, Between(10, 100000)]
    label_threshold: float | Literal["median"]
    seed: Seed


@dataclass(frozen=True)
class Gate:
    metric: str
    threshold: float | Literal["trivial"]
    champion_tolerance: Annotated[float, Between(0.0, 1e9)]
    bias: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Compute:
    instance_type: InstanceType
    volume_gb: Annotated[int, Between(1, 16384)]
    max_runtime_seconds: Seconds


@dataclass(frozen=True)
class Deploy:
    account: Annotated[str, Matching(r"(\d{12})?", "empty or the 12 digits of an AWS account")]
    promotion: Literal["copy", "retrain"]
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Network:
    vpc_only: bool


@dataclass(frozen=True)
class Schedule:
    train: str
    score: str
    timezone: Name
    flexible_minutes: Annotated[int, Between(0, 1440)]


@dataclass(frozen=True)
class Triggers:
    cool_down_hours: Annotated[float, Between(0, 8760)]
    email: Annotated[str, Matching(r"([^@\s]+@[^@\s]+)?", "empty or an e-mail address")]


@dataclass(frozen=True)
class Monitor:
    false_alarm_rate: Annotated[float, Between(0.0001, 0.5)]
    smallest_shift: Fraction
    categorical_method: Literal["ChiSquared", "LInfinity"]
    feature_metrics: bool
    thresholds: Mapping[str, Annotated[float, Between(0.0, 1e9)]]


@dataclass(frozen=True)
class Settings:
    """All of settings.toml for one environment; what steps get as their constants."""

    env: str
    project: Project
    data: Data
    split: Split
    tune: Tune
    train: Train
    transform: Transform
    evaluate: Evaluate
    bias: Bias
    gate: Gate
    compute: Compute
    deploy: Deploy
    network: Network
    schedule: Schedule
    triggers: Triggers
    monitor: Monitor
    tags: Mapping[str, str]
    secrets: Mapping[str, SecretArn]
    prices: Mapping[str, Annotated[float, Between(0, 1000)]] = field(default_factory=dict)
    suffix: str = ""
    account: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    kms_key_arn: str = ""
    commit: str = "unknown"
    xgboost_image_uri: str = ""
    clarify_image_uri: str = ""
    image_tag: str = ""

    @property
    def environment(self) -> str:
        """The environment, or a developer's private copy of it: `dev-<suffix>`."""
        return f"{self.env}-{self.suffix}" if self.suffix else self.env

    @property
    def options(self) -> str:
        """What a command is given to work on this environment."""
        return f"--env {self.env}" + (f" --suffix {self.suffix}" if self.suffix else "")

    @property
    def prefix(self) -> str:
        """`<slug>-<environment>`, which every AWS name begins with."""
        return f"{self.project.slug}-{self.environment}"

    @property
    def resource_tags(self) -> dict[str, str]:
        """Tags of all that is made; [tags] may give Project and Environment other values."""
        return {"Project": self.project.slug, "Environment": self.environment, **self.tags}

    @property
    def region(self) -> str:
        return self.project.region

    @property
    def bucket(self) -> str:
        return f"{self.prefix}-{self.account}-{self.region}"

    @property
    def role_arn(self) -> str:
        return self.role("execution")

    def role(self, name: str) -> str:
        """ARN of a role of this environment, with the path and prefix of [deploy.parameters]."""
        path = self.deploy.parameters.get("RolePath", "/")
        before = self.deploy.parameters.get("RolePrefix", "")
        return f"arn:{self.partition}:iam::{self.account}:role{path}{before}{self.prefix}-{name}"

    @property
    def image_uri(self) -> str:
        """The project's own image, which runs every step and serves every model."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}/{self.prefix}:{self.image_tag}"

    @property
    def partition(self) -> str:
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def uri(self, execution_id: str, *parts: str) -> str:
        """S3 place of an artefact of one execution, without a trailing slash."""
        return "/".join((f"s3://{self.bucket}/executions/{execution_id}", *parts))


def load(env: str, path: Path = Path(FILE)) -> Settings:
    """Settings of one environment. Raises SettingsError naming the place, the value and what is allowed."""
    document = _overridden(_document(path), env)
    hints = get_type_hints(Settings, include_extras=True)
    wanted = {
        each.name: hints[each.name]
        for each in fields(Settings)
        if each.name in document or _is_section(hints[each.name])
    }
    refuse_unknown(document, [*wanted, *OPTIONAL], "")
    sections = {name: _typed(hint, document.get(name, _ABSENT), name) for name, hint in wanted.items()}
    settings = Settings(env=env, **({name: {} for name in OPTIONAL} | sections))
    settings_checks.check(settings)
    return settings


_ABSENT = object()


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"no {path.name} in {path.resolve().parent}: run this in the project's folder"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from None


def _overridden(document: dict[str, Any], env: str) -> dict[str, Any]:
    overrides = document.pop("env", {})
    refuse_unknown(overrides, ENVIRONMENTS, "env")
    return _merged(document, overrides.get(env, {}))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    def value(key: str) -> Any:
        if isinstance(base.get(key), dict) and isinstance(over.get(key), dict):
            return _merged(base[key], over[key])
        return over.get(key, base.get(key))

    return {key: value(key) for key in [*base, *(key for key in over if key not in base)]}


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and hint.__module__ == __name__


def _typed(hint: Any, value: Any, place: str) -> Any:
    """The value as the hint's type; place is the dotted way to it, section first."""
    if value is _ABSENT:
        raise SettingsError(f"{place.rpartition('.')[2]} is missing ({where(place.rpartition('.')[0])})")
    if _is_section(hint):
        return _section(hint, value, place)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _constrained(_typed(arguments[0], value, place), arguments[1], place)
    if origin is Literal:
        return (
            value if value in arguments else refuse(value, "one of " + ", ".join(map(str, arguments)), place)
        )
    if origin in (Union, UnionType):
        return _first_that_fits(arguments, value, place)
    if origin is tuple:
        return _items(arguments, value, place)
    if origin is Mapping:
        return _table(arguments[1], value, place)
    return _scalar(hint, value, place)


def _section(hint: type, table: Any, place: str) -> Any:
    if not isinstance(table, dict):
        refuse(table, "a table", place)
    hints = get_type_hints(hint, include_extras=True)
    refuse_unknown(table, tuple(hints), place)
    return hint(
        **{name: _typed(kind, table.get(name, _ABSENT), f"{place}.{name}") for name, kind in hints.items()}
    )


def _constrained(value: Any, limit: Between | Matching, place: str) -> Any:
    if isinstance(limit, Between) and not limit.low <= value <= limit.high:
        refuse(value, f"in [{limit.low:g}, {limit.high:g}]", place)
    if isinstance(limit, Matching) and not re.fullmatch(limit.pattern, value):
        refuse(value, limit.meaning, place)
    return value


def _first_that_fits(hints: tuple[Any, ...], value: Any, place: str) -> Any:
    problems = []
    for hint in hints:
        try:
            return _typed(hint, value, place)
        except SettingsError as error:
            problems.append(str(error))
    raise SettingsError(" or ".join(dict.fromkeys(problems)))


def _items(hints: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    many = len(hints) == 2 and hints[1] is Ellipsis
    if not isinstance(value, list) or not (many or len(value) == len(hints)):
        refuse(value, "a list" if many else f"a list of {len(hints)} values", place)
    kinds = [hints[0]] * len(value) if many else hints
    return tuple(_typed(kind, item, place) for kind, item in zip(kinds, value, strict=True))


def _table(hint: Any, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(value, "a table", place)
    return {key: _typed(hint, item, f"{place}.{key}") for key, item in value.items()}


def _scalar(kind: type, value: Any, place: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    return value if type(value) is kind else refuse(value, words[kind], place)
