"""What the fork server loads before jobs are forked from it: importing this module is the work."""

import gc
import importlib
import os
import sys

import boto3

from local_aws.service_models import share_service_models

# The SDK's front half is not in a step's container, takes 1.5 s, and makes AWS clients at import.
FRONT_HALF = ("sagemaker.mlops", "sagemaker.serve", "sagemaker.train")
LIBRARIES = (
    "pandas",
    "pyarrow.parquet",
    "pyarrow.csv",
    "sklearn.impute",
    "sklearn.neighbors",
    "sklearn.preprocessing",
    "xgboost",
)


def load_sdk() -> None:
    for name in FRONT_HALF:
        sys.modules[name] = None
    importlib.import_module("sagemaker.core.remote_function.invoke_function")
    importlib.import_module("sagemaker.core.remote_function.core.stored_function")
    for name in FRONT_HALF:
        del sys.modules[name]


def warm_clients() -> None:
    """Makes, once, the clients that the SDK makes in every step. Sends nothing."""
    session = importlib.import_module("sagemaker.core.helper.session_helper").Session
    session(boto_session=boto3.Session("AKIALOCALAWS00000000", "local", region_name="us-east-1"))
    boto3.DEFAULT_SESSION = None


gc.disable()  # while nearly all that is made is kept
for variable in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[variable]
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
# Read when OpenMP is loaded: threads that spin on cores which others use make trials 10 times slower.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
load_sdk()
share_service_models()
warm_clients()
for library in LIBRARIES:
    importlib.import_module(library)
gc.collect()
gc.freeze()
gc.enable()
