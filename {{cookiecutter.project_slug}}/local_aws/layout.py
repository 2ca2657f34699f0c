"""A job's folder, laid out as SageMaker lays out /opt/ml for a container."""

import json
import shutil
from pathlib import Path
from typing import Any

from local_aws.transfer import TransferError, download_prefix

CONTAINER_ROOT = "/opt/ml"
DEFAULT_CHECKPOINTS = "/opt/ml/checkpoints"
FOLDERS = ("input/config", "input/data", "model", "output/data", "checkpoints", "tmp")
HOST, GROUP = "algo-1", "homogeneousCluster"


class Refused(Exception):
    """The job asks for what the local AWS does not do; the message names it."""


def local_path(root: Path, path: str) -> Path:
    """Where the container's `path` lies. Refused when that is not below /opt/ml."""
    parts = Path(path).parts
    if parts[:3] != ("/", "opt", "ml") or ".." in parts or len(parts) == 3:
        raise Refused(f"the local AWS has only paths below {CONTAINER_ROOT}/, got LocalPath {path!r}")
    return root.joinpath(*parts[3:])


def empty_folder(root: Path) -> None:
    """A new instance: nothing is left of what an earlier container wrote."""
    shutil.rmtree(root, ignore_errors=True)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)


def lay_out_training(s3: Any, record: dict, root: Path) -> None:
    """Fills `root` with channels and configuration of a training job."""
    channels = record.get("InputDataConfig", [])
    _one_instance(record["ResourceConfig"].get("InstanceCount", 1))
    mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    config = root / "input" / "config"
    inputs = {channel["ChannelName"]: _channel_config(channel, mode) for channel in channels}
    _write(config / "hyperparameters.json", record.get("HyperParameters", {}))
    _write(config / "inputdataconfig.json", inputs)
    _write(config / "resourceconfig.json", _resources(record["ResourceConfig"].get("InstanceType", "")))
    _write(config / "checkpointconfig.json", {"LocalPath": str(checkpoints(record, root))})
    for channel in channels:
        folder = root / "input" / "data" / channel["ChannelName"]
        _download(s3, _s3_prefix(channel["ChannelName"], channel["DataSource"]), folder)


def lay_out_processing(s3: Any, record: dict, root: Path) -> None:
    """Fills `root` with inputs, output folders and configuration of a processing job."""
    cluster = record["ProcessingResources"]["ClusterConfig"]
    _one_instance(cluster["InstanceCount"])
    (root / "config").mkdir()
    _write(root / "config" / "processingjobconfig.json", record_for_container(record))
    _write(root / "config" / "resourceconfig.json", _resources(cluster["InstanceType"]))
    for source in record.get("ProcessingInputs", []):
        given = _member(source, "S3Input", f"ProcessingInput {source['InputName']}")
        _refuse_other("S3InputMode", given.get("S3InputMode", "File"), "File")
        _refuse_other("S3CompressionType", given.get("S3CompressionType", "None"), "None")
        uri = _s3_prefix(source["InputName"], {"S3DataSource": given})
        _download(s3, uri, local_path(root, given["LocalPath"]))
    for output in record.get("ProcessingOutputConfig", {}).get("Outputs", []):
        target = _member(output, "S3Output", f"ProcessingOutput {output['OutputName']}")
        _refuse_other("S3UploadMode", target["S3UploadMode"], "EndOfJob")
        local_path(root, target["LocalPath"]).mkdir(parents=True, exist_ok=True)


def checkpoints(record: dict, root: Path) -> Path:
    return local_path(root, record.get("CheckpointConfig", {}).get("LocalPath", DEFAULT_CHECKPOINTS))


def record_for_container(record: dict) -> dict:
    return {name: value for name, value in record.items() if not name.startswith("_")}


def _channel_config(channel: dict, mode: str) -> dict:
    name = channel["ChannelName"]
    used = channel.get("InputMode", mode)
    _refuse_other(f"channel {name}: InputMode", used, "File")
    _refuse_other(f"channel {name}: CompressionType", channel.get("CompressionType", "None"), "None")
    _refuse_other(f"channel {name}: RecordWrapperType", channel.get("RecordWrapperType", "None"), "None")
    source = channel["DataSource"].get("S3DataSource", {})
    config = {
        "TrainingInputMode": used,
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": "None",
    }
    return config | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})


def _s3_prefix(name: str, source: dict) -> str:
    given = _member(source, "S3DataSource", f"channel {name}")
    _refuse_other(f"{name}: S3DataType", given["S3DataType"], "S3Prefix")
    return given["S3Uri"]


def _member(holder: dict, member: str, place: str) -> dict:
    if member not in holder:
        raise Refused(f"{place}: the local AWS takes {member} only, got {', '.join(holder)}")
    return holder[member]


def _refuse_other(place: str, got: str, supported: str) -> None:
    if got != supported:
        raise Refused(f"{place} {got!r} is not supported by the local AWS, only {supported!r}")


def _one_instance(count: int) -> None:
    if count != 1:
        raise Refused(f"InstanceCount {count} is not supported by the local AWS, only 1")


def _download(s3: Any, uri: str, folder: Path) -> None:
    if not download_prefix(s3, uri, folder):
        raise TransferError(f'No S3 objects found under S3 URL "{uri}" given in input data source.')


def _resources(instance_type: str) -> dict:
    group = {"instance_group_name": GROUP, "instance_type": instance_type, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": instance_type,
        "current_group_name": GROUP,
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "eth0",
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
