"""The SageMaker SDK and the graph, loaded without the half of the SDK that a pipeline does not need."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import botocore.loaders
import botocore.session

# What the SDK's mlops package loads a whole serving toolkit for (docker, paramiko, graphene): one class.
MODEL_BUILDER = "sagemaker.serve.model_builder"


def load() -> None:
    """Imports ml_pipeline.pipeline in half the time; a later import of the serving half is the real one.

    Needs a region in the environment, which the SDK looks for when it is imported.
    """
    if "ml_pipeline.pipeline" in sys.modules:
        return
    _share_service_models()
    with collected_later(), _logging_as_before(), _without_model_builder():
        import ml_pipeline.pipeline  # noqa: F401


def _share_service_models() -> None:
    """One loader for all boto3 sessions: the SDK makes several, and each would read the models anew."""
    shared = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda search_path=None: shared


@contextlib.contextmanager
def _without_model_builder() -> Iterator[None]:
    """An empty ModelBuilder in its place: the SDK asks whether an argument of a step of its own is one."""
    if MODEL_BUILDER in sys.modules:
        yield
        return
    names = (MODEL_BUILDER.rpartition(".")[0], MODEL_BUILDER)
    empty = {name: ModuleType(name) for name in names}
    empty[MODEL_BUILDER].ModelBuilder = type("ModelBuilder", (), {})
    sys.modules.update(empty)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def collected_later() -> Iterator[None]:
    """Garbage is looked for after the import, not again and again among what it makes and keeps."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    """Importing the SDK turns on the INFO lines of every library."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
