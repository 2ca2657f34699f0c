"""A step's container: does in an unpacked workspace what the SDK's job_driver.sh does."""

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws.container import ContainerError
from local_aws.layout import HOST, Refused
from local_aws.transfer import split_uri

BOOTSTRAP = "sagemaker_remote_function_bootstrap"
ENTRYPOINT = ["/bin/bash", f"/opt/ml/input/data/{BOOTSTRAP}/job_driver.sh"]
WORKSPACE = "sagemaker_remote_function_workspace"
DEFAULT_CHANNEL = "sm_rf_user_ws"
# The SDK adds this channel when it would install packages or run commands before the step.
PREPARATION_CHANNEL = "pre_exec_script_and_dependencies"
# What botocore tells of the endpoint and the keys in our variables; a container in the cloud has neither.
LOCAL_ONLY = ("botocore.configprovider", "botocore.credentials")
UNSUPPORTED = {
    "--distribution": "mpirun and torchrun",
    "--job_conda_env": "conda environments",
    "--run_in_context": "SageMaker Experiments",
}


def check(record: dict) -> None:
    """Raises Refused when the training job is not a function step that can run here."""
    algorithm, name = record["AlgorithmSpecification"], record["TrainingJobName"]
    if algorithm.get("ContainerEntrypoint") != ENTRYPOINT:
        got = algorithm.get("ContainerEntrypoint", "the image's own entry point")
        raise Refused(f"{name}: on a project image the local AWS runs function steps (@step) only, got {got}")
    for option, what in UNSUPPORTED.items():
        if option in algorithm["ContainerArguments"]:
            raise Refused(f"{name}: {what} ({option}) are not supported by the local AWS")
    settings = argument(record, "--dependency_settings")
    channels = [channel["ChannelName"] for channel in record.get("InputDataConfig", [])]
    if PREPARATION_CHANNEL in channels or (settings and json.loads(settings).get("dependency_file")):
        message = "installs no dependencies and runs no pre-execution commands: put them into the image"
        raise Refused(f"{name}: the local AWS {message}")


def missing_result(s3: Any, record: dict) -> str:
    """What the step did not leave in S3, empty when all is there.

    The SDK's entry point exits 0 when it could not report an error, and when the step ended by itself.
    """
    bucket, prefix = split_uri(record["OutputDataConfig"]["S3OutputPath"])
    names = ["payload.pkl", *(["results.json"] if argument(record, "--serialize_output_to_json") else [])]
    for key in (f"{prefix.rstrip('/')}/{name}" for name in names):
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return f"the step left no result: s3://{bucket}/{key} does not exist"
    return ""


def argument(record: dict, option: str) -> str | None:
    """The value of the option among the container's arguments."""
    arguments = record["AlgorithmSpecification"]["ContainerArguments"]
    return arguments[arguments.index(option) + 1] if option in arguments else None


def main(root: Path, record: dict) -> None:
    """The container's entry point; exits with the SDK's code."""
    _check_python(argument(record, "--client_python_version"))
    workspace = _unpack(root, argument(record, "--func_step_s3_dir") or DEFAULT_CHANNEL)
    os.environ.update(_toolkit_variables(root, record))
    os.chdir(workspace)
    sys.path.insert(0, str(workspace))
    for name in [name for name in sys.modules if name.partition(".")[0] == "local_aws"]:
        del sys.modules[name]  # a step that imports it must fail here as it would in the cloud
    _redirect_sdk(root)
    for name in LOCAL_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
    from sagemaker.core.remote_function import invoke_function

    try:
        invoke_function.main(record["AlgorithmSpecification"]["ContainerArguments"])
    except SystemExit as end:
        if isinstance(end.__context__, SystemExit):  # the step's own, in whose place the SDK exits with 0
            _tell_exit(root, end.__context__)
        raise


def _tell_exit(root: Path, end: SystemExit) -> None:
    """Leaves why there is no result, should there be none."""
    called = f"sys.exit({'' if end.code is None else repr(end.code)})"
    message = f"the step left no result: it called {called}; a step must return its result, or raise"
    (root / "output" / "failure").write_text(message)


def _check_python(client: str | None) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if client != here:
        message = (
            f"the step was compiled with Python {client}, its container has {here}: use one version for both"
        )
        raise ContainerError(f"RuntimeEnvironmentError: {message}")


def _unpack(root: Path, channel: str) -> Path:
    """The folder that the shipped workspace was unpacked to; an empty one when none was shipped."""
    folder = root / "work"
    archive = root / "input" / "data" / channel / "workspace.zip"
    (folder / WORKSPACE).mkdir(parents=True)
    if archive.exists():
        shutil.unpack_archive(archive, folder)
    return folder / WORKSPACE


def _toolkit_variables(root: Path, record: dict) -> dict[str, str]:
    resources = record["ResourceConfig"]
    return {
        "SM_MODEL_DIR": str(root / "model"),
        "SM_INPUT_DIR": str(root / "input"),
        "SM_INPUT_DATA_DIR": str(root / "input" / "data"),
        "SM_INPUT_CONFIG_DIR": str(root / "input" / "config"),
        "SM_OUTPUT_DIR": str(root / "output"),
        "SM_OUTPUT_FAILURE": str(root / "output" / "failure"),
        "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
        "SM_CURRENT_HOST": HOST,
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_INSTANCE_TYPE": resources["InstanceType"],
        "SM_NUM_CPUS": str(os.cpu_count()),
        "SM_NUM_GPUS": "0",
    }


def _redirect_sdk(root: Path) -> None:
    """Points the SDK's two fixed paths below /opt/ml at the job's folder."""
    from sagemaker.core.remote_function import errors
    from sagemaker.core.remote_function.checkpoint_location import CheckpointLocation

    errors.FAILURE_REASON_PATH = str(root / "output" / "failure")
    CheckpointLocation._local_path = f"{root / 'checkpoints'}/"
