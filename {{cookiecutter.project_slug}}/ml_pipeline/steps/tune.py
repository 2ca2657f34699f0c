"""Tune: SageMaker Automatic Model Tuning on the managed XGBoost container."""

from __future__ import annotations

from typing import Any

import boto3

from ml_pipeline import isolation, jobs, storage
from ml_pipeline.names import OBJECTIVE_METRICS
from ml_pipeline.settings import Settings

METRICS = {"binary": "auc", "multiclass": "mlogloss", "regression": "rmse"}
OBJECTIVES = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}
OWN_TRAINING_ONLY = {"device", "nthread"}
SPLITS = ("train", "validation")


def tune(xgboost_uri: str, feature_spec_uri: str, execution_id: str, settings: Settings) -> dict[str, Any]:
    """Best hyperparameters found, on top of the fixed ones; with 0 trials the fixed ones alone.

    Returns summary, job (its name, or None), best (XGBoost's names, with num_round), tuning_uri (all trials).
    Raises jobs.JobFailed with SageMaker's reason.
    """
    fixed = dict(settings.train.hyperparameters)
    classes = len(storage.read_json(feature_spec_uri)["target"]["classes"])
    static = fixed | {"objective": OBJECTIVES[settings.data.problem]}
    if settings.data.problem == "multiclass":
        static["num_class"] = classes
    tuning: dict[str, Any] = {"job": None, "best": static, "objective": None, "trials": []}
    if settings.tune.trials:
        tuning = _searched(xgboost_uri, execution_id, static, settings)
    tuning_uri = settings.uri(execution_id, "tune", "tuning.json")
    storage.write_json(tuning_uri, tuning)
    summary = _summary(tuning)
    print(f"Tune: {summary}", flush=True)
    return {"summary": summary, "job": tuning["job"], "best": tuning["best"], "tuning_uri": tuning_uri}


def _searched(
    xgboost_uri: str, execution_id: str, static: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    data_uri = training_data(xgboost_uri, settings)
    request = tuning_request(data_uri, execution_id, static, settings)
    name = f"{settings.project.slug[:13]}-{settings.env[0]}-{execution_id}"
    job = jobs.run("tuning", name, request, settings.tune.max_runtime_seconds + 600)
    trials = _trials(job["HyperParameterTuningJobName"])
    best = static | _numbers(job["BestTrainingJob"]["TunedHyperParameters"])
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    return {"job": job["HyperParameterTuningJobName"], "best": best, "objective": objective, "trials": trials}


def training_data(xgboost_uri: str, settings: Settings) -> str:
    """Folder of the CSVs that the trials read. Raises ValueError if Process has not written them.

    IdenticalDataAndAlgorithm asks for the parent's own input, and each execution writes a copy: the parent's
    is taken when it holds the same bytes. Raises ValueError when it does not.
    """
    tune = settings.tune
    if not storage.list_uris(f"{xgboost_uri}/"):
        raise ValueError(
            f"no data at {xgboost_uri}: Process ran when trials was 0 (settings.toml, [tune]); run it again"
        )
    if not tune.warm_start_parents or tune.warm_start_type == "TransferLearning":
        return xgboost_uri
    parent = tune.warm_start_parents[0]
    job = boto3.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=parent)
    channel = job["TrainingJobDefinition"]["InputDataConfig"][0]
    parent_uri = channel["DataSource"]["S3DataSource"]["S3Uri"].removesuffix(f"/{channel['ChannelName']}/")
    for split in SPLITS:
        own, others = (storage.read_bytes(f"{uri}/{split}/data.csv") for uri in (xgboost_uri, parent_uri))
        if own != others:
            raise ValueError(
                f"the {split} data differ from those of {parent}, which warm_start_type = "
                f"{tune.warm_start_type} forbids: TransferLearning allows it (settings.toml, [tune])"
            )
    return parent_uri


def tuning_request(
    xgboost_uri: str, execution_id: str, static: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    """CreateHyperParameterTuningJob request without its name. Numbers in it are strings."""
    tune = settings.tune
    metric = (tune.objective or f"validation:{METRICS[settings.data.problem]}").removeprefix("validation:")
    request: dict[str, Any] = {
        "HyperParameterTuningJobConfig": {
            "Strategy": tune.strategy,
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize" if OBJECTIVE_METRICS[metric] else "Minimize",
                "MetricName": f"validation:{metric}",
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": tune.trials,
                "MaxParallelTrainingJobs": min(tune.parallel, tune.trials),
                "MaxRuntimeInSeconds": tune.max_runtime_seconds,
            },
            "ParameterRanges": _ranges(tune.ranges),
            "TrainingJobEarlyStoppingType": tune.early_stopping,
            "RandomSeed": tune.seed,
        },
        "TrainingJobDefinition": _trial(
            xgboost_uri, execution_id, static | {"eval_metric": metric}, settings
        ),
        "Tags": jobs.tags(settings, execution_id),
    }
    if tune.warm_start_parents:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [
                {"HyperParameterTuningJobName": name} for name in tune.warm_start_parents
            ],
            "WarmStartType": tune.warm_start_type,
        }
    return request


def _ranges(ranges: Any) -> dict[str, list[dict[str, str]]]:
    integers, floats = [], []
    for name, (low, high, scaling) in ranges.items():
        whole = isinstance(low, int) and isinstance(high, int)
        entry = {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}
        (integers if whole else floats).append(entry)
    return {"IntegerParameterRanges": integers, "ContinuousParameterRanges": floats}


def _trial(xgboost_uri: str, execution_id: str, static: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """One trial: the managed container in algorithm mode, which cannot resume, so without checkpoints."""
    tune = settings.tune
    hyperparameters = {
        "tree_method": "hist",
        "seed": settings.train.seed,
        "early_stopping_rounds": settings.train.early_stopping_rounds,
        "save_model_on_termination": "true",
        **{name: value for name, value in static.items() if name not in OWN_TRAINING_ONLY},
    }
    stopping = {"MaxRuntimeInSeconds": tune.trial_max_runtime_seconds}
    if tune.spot:
        stopping["MaxWaitTimeInSeconds"] = tune.trial_max_wait_seconds
    return {
        "StaticHyperParameters": {k: str(v) for k, v in hyperparameters.items() if k not in tune.ranges},
        "AlgorithmSpecification": {"TrainingImage": settings.xgboost_image_uri, "TrainingInputMode": "File"},
        "RoleArn": settings.role_arn,
        "InputDataConfig": [_channel(name, f"{xgboost_uri}/{name}/") for name in SPLITS],
        "OutputDataConfig": {"S3OutputPath": settings.uri(execution_id, "tune", "models")}
        | isolation.output_key(settings),
        "ResourceConfig": {
            "InstanceType": tune.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": settings.compute.volume_gb,
            **isolation.volume_key(settings, tune.instance_type),
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": tune.spot,
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        **isolation.training(settings),
    }


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        "ContentType": "text/csv",
        "InputMode": "File",
    }


def _trials(job: str) -> list[dict[str, Any]]:
    pages = (
        boto3.client("sagemaker")
        .get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        .paginate(HyperParameterTuningJobName=job, SortBy="CreationTime", SortOrder="Ascending")
    )
    return [_row(trial) for page in pages for trial in page["TrainingJobSummaries"]]


def _row(trial: dict[str, Any]) -> dict[str, Any]:
    started, ended = trial.get("TrainingStartTime"), trial.get("TrainingEndTime")
    return {
        "name": trial["TrainingJobName"],
        "status": trial["TrainingJobStatus"],
        "objective": trial.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        "hyperparameters": _numbers(trial["TunedHyperParameters"]),
        "seconds": (ended - started).total_seconds() if started and ended else None,
    }


def _numbers(hyperparameters: dict[str, str]) -> dict[str, int | float | str]:
    return {name: _number(value.strip('"')) for name, value in hyperparameters.items()}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _summary(tuning: dict[str, Any]) -> str:
    if tuning["job"] is None:
        return "skipped (0 trials), fixed hyperparameters"
    values = [trial["objective"] for trial in tuning["trials"] if trial["objective"] is not None]
    name = tuning["objective"]
    best = max(values) if OBJECTIVE_METRICS[name.removeprefix("validation:")] else min(values)
    return f"{len(tuning['trials'])} trials, best {name} {best:.4f} ({tuning['job']})"
