"""Builds, delivery pipelines and connections to source providers."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Call, Caller, Kind
from local_aws.cloudformation.kinds.tags import tagging

PIPELINE = (
    "ArtifactStore",
    "ArtifactStores",
    "ExecutionMode",
    "Name",
    "PipelineType",
    "RoleArn",
    "Stages",
    "Triggers",
    "Variables",
)
CONNECTION_TAGS = ("TagResource", "UntagResource", "ResourceArn", "TagKeys")


def _delivery(caller: Caller, properties: dict) -> dict:
    pipeline = {name: properties[name] for name in PIPELINE if name in properties}
    return {"pipeline": {**pipeline, "Stages": [_stage(stage) for stage in properties["Stages"]]}}


def _stage(stage: dict) -> dict:
    return {**stage, "Actions": [_action(action) for action in stage["Actions"]]}


def _action(action: dict) -> dict:
    """An action whose configuration is text, as the API has it."""
    if "Configuration" not in action:
        return action
    return {**action, "Configuration": dict(action["Configuration"])}


def _delivery_change(caller: Caller, id: str, old: dict, new: dict) -> None:
    caller.call("codepipeline", "UpdatePipeline", _delivery(caller, new))


def _source(value: dict) -> dict[str, Any]:
    return {("buildspec" if name == "BuildSpec" else name): each for name, each in value.items()}


def _project(caller: Caller, properties: dict) -> dict:
    return {"source": _source(properties["Source"])}


def _connection(service: str) -> Kind:
    return Kind(
        service,
        create="CreateConnection",
        describe=Call("GetConnection", {"ConnectionArn": "{id}"}, "Connection"),
        delete=Call("DeleteConnection", {"ConnectionArn": "{id}"}),
        id="ConnectionArn",
        name="ConnectionName",
        name_length=32,
        attributes={
            "ConnectionArn": "{id}",
            "ConnectionStatus": "ConnectionStatus",
            "OwnerAccountId": "OwnerAccountId",
        },
        aspects=(tagging(service, *CONNECTION_TAGS),),
    )


KINDS = {
    "AWS::CodeBuild::Project": Kind(
        "codebuild",
        create="CreateProject",
        update=Call("UpdateProject", {"name": "{id}"}),
        describe=Call("BatchGetProjects", {"names": "{id}"}, "projects.0"),
        delete=Call("DeleteProject", {"name": "{id}"}),
        name="Name",
        name_length=150,
        prepared=_project,
        consumed=("Source",),
        attributes={"Arn": "arn:aws:codebuild:{region}:{account}:project/{id}", "Id": "{id}"},
    ),
    "AWS::CodePipeline::Pipeline": Kind(
        "codepipeline",
        create="CreatePipeline",
        delete=Call("DeletePipeline", {"name": "{id}"}),
        describe=Call("GetPipeline", {"name": "{id}"}, "pipeline"),
        name="Name",
        name_length=100,
        prepared=_delivery,
        consumed=PIPELINE,
        attributes={"Version": "version", "Arn": "arn:aws:codepipeline:{region}:{account}:{id}"},
        aspects=(
            Aspect(PIPELINE, _delivery_change),
            tagging(
                "codepipeline",
                "TagResource",
                "UntagResource",
                "resourceArn",
                "tagKeys",
                "arn:aws:codepipeline:{region}:{account}:{id}",
            ),
        ),
    ),
    "AWS::CodeConnections::Connection": _connection("codeconnections"),
    "AWS::CodeStarConnections::Connection": _connection("codestar-connections"),
}
