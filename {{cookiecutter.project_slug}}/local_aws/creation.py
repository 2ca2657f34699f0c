"""Creation of jobs and models: their first record, and the rules that the service model does not hold."""

from typing import TYPE_CHECKING

from local_aws.resources import KINDS, Kind, found, new_record, page
from local_aws.validation import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker import SageMaker

DAY_SECONDS = 86400


def create_job(api: "SageMaker", request: dict, kind: Kind) -> dict:
    """Records the job as InProgress and starts it."""
    name = request[kind.id]
    if api.enforce_iam:
        _check_role(api, request)
    record = new_record(api, kind, request) | {kind.status: "InProgress"} | FIRST[kind.name](api, request)
    with api.state.lock:
        if api.state.has(kind.name, name):
            message = f"{kind.name} names must be unique within an AWS account and region, and a "
            message += f"{kind.name} with this name already exists ({record[kind.arn]})"
            raise ApiError("ResourceInUse", message)
        api.state.put(kind.name, name, record)
    api.jobs.start(api, kind.name, name)
    return record


def _check_role(api: "SageMaker", request: dict) -> None:
    """Raises what CreateTrainingJob and its like answer when SageMaker cannot work as the job's role."""
    algorithm = request.get("AlgorithmSpecification") or request.get("AppSpecification") or {}
    image = algorithm.get("TrainingImage") or algorithm.get("ImageUri") or ""
    if "RoleArn" in request:
        api.roles.check_trust(request["RoleArn"])
        api.roles.check_pull(request["RoleArn"], image)


def create_model(api: "SageMaker", request: dict) -> dict:
    kind = KINDS["Model"]
    containers = request.get("Containers", []) + [request.get("PrimaryContainer")] * (
        "PrimaryContainer" in request
    )
    if not containers:
        raise ApiError("ValidationException", "CreateModel: PrimaryContainer or Containers is required")
    for container in containers:
        _check_container(api, container)
    record = new_record(api, kind, request)
    with api.state.lock:
        if api.state.has("Model", request["ModelName"]):
            message = f'Cannot create already existing model "{record["ModelArn"]}".'
            raise ApiError("ValidationException", message)
        api.state.put("Model", request["ModelName"], record)
    return record


def list_trials(api: "SageMaker", request: dict) -> dict:
    """The training jobs whose TuningJobArn is the tuning job's."""
    name, operation = request["HyperParameterTuningJobName"], "ListTrainingJobsForHyperParameterTuningJob"
    arn = found(api, KINDS["HyperParameterTuningJob"], name)["HyperParameterTuningJobArn"]
    trials = [
        {"TunedHyperParameters": {}} | trial for trial in api.state.find("TrainingJob", TuningJobArn=arn)
    ]
    return page(KINDS["TrainingJob"], operation, request, trials, answered=("HyperParameterTuningJobName",))


def _check_container(api: "SageMaker", container: dict) -> None:
    if "ModelPackageName" in container:
        found(api, KINDS["ModelPackage"], container["ModelPackageName"])
    elif "Image" in container:
        api.images.resolve(container["Image"])
    else:
        raise ApiError("ValidationException", "CreateModel: a container needs Image or ModelPackageName")


def _first_training(api: "SageMaker", request: dict) -> dict:
    algorithm = request.get("AlgorithmSpecification", {})
    if "TrainingImage" not in algorithm:
        message = "CreateTrainingJob.AlgorithmSpecification.TrainingImage is required (local AWS)"
        raise ApiError("ValidationException", message)
    api.images.resolve(algorithm["TrainingImage"])
    stopping = {"MaxRuntimeInSeconds": DAY_SECONDS} | request.get("StoppingCondition", {})
    _check_spot("CreateTrainingJob", request, stopping)
    output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    model = f"{output}/{request['TrainingJobName']}/output/model.tar.gz"
    now, message = api.clock.now(), "Starting the training job"
    started = {"Status": "Starting", "StartTime": now, "StatusMessage": message}
    return {
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [started],
        "StoppingCondition": stopping,
        "ModelArtifacts": {"S3ModelArtifacts": model},
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
    }


def _first_processing(api: "SageMaker", request: dict) -> dict:
    api.images.resolve(request["AppSpecification"]["ImageUri"])
    return {"StoppingCondition": request.get("StoppingCondition", {"MaxRuntimeInSeconds": DAY_SECONDS})}


def _first_transform(api: "SageMaker", request: dict) -> dict:
    found(api, KINDS["Model"], request["ModelName"])
    api.transform.check(api, request)
    return {}


def _first_tuning(api: "SageMaker", request: dict) -> dict:
    api.tuning.check(api, request)
    definition = request["TrainingJobDefinition"]
    api.images.resolve(definition["AlgorithmSpecification"]["TrainingImage"])
    _check_spot("TrainingJobDefinition", definition, definition["StoppingCondition"])
    counters = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
    config = request["HyperParameterTuningJobConfig"]
    return {
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        "TrainingJobStatusCounters": dict.fromkeys(counters, 0),
        "ObjectiveStatusCounters": dict.fromkeys(("Succeeded", "Pending", "Failed"), 0),
    }


def _check_spot(place: str, request: dict, stopping: dict) -> None:
    wait, runtime = stopping.get("MaxWaitTimeInSeconds"), stopping.get("MaxRuntimeInSeconds", DAY_SECONDS)
    if request.get("EnableManagedSpotTraining") and (wait is None or wait < runtime):
        message = f"{place}: Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to"
        raise ApiError("ValidationException", f"{message} MaxRuntimeInSeconds ({runtime}), got {wait}")
    if wait is not None and not request.get("EnableManagedSpotTraining"):
        message = f"{place}: MaxWaitTimeInSeconds needs EnableManagedSpotTraining"
        raise ApiError("ValidationException", message)


FIRST = {
    "TrainingJob": _first_training,
    "ProcessingJob": _first_processing,
    "TransformJob": _first_transform,
    "HyperParameterTuningJob": _first_tuning,
}
