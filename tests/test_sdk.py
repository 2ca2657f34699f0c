"""The command line loads what it needs of the SDK, and leaves the rest to be loaded as it is."""

from __future__ import annotations

import ast
import subprocess
import sys

from conftest import PROJECT

CODE = """
import inspect, logging, sys
from ml_pipeline import sdk
sdk.load()
names = ("docker", "paramiko", "xgboost", "sklearn", "sagemaker.mlops.workflow.pipeline")
loaded = {name for name in names if name in sys.modules}
level, handlers = logging.getLogger().level, logging.getLogger().handlers
from sagemaker.serve.model_builder import ModelBuilder
print((loaded, level, len(handlers), "build" in vars(ModelBuilder)))
"""


def test_loading_the_sdk_leaves_its_serving_half_and_xgboost_out_but_keeps_nobody_from_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=PROJECT,
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    warning = 30
    assert ast.literal_eval(done.stdout) == ({"sagemaker.mlops.workflow.pipeline"}, warning, 0, True)
