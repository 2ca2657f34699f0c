"""What a command of a generated project has imported when it ends, of what takes long to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

CODE = """
import sys, runpy
sys.argv = ["ml_pipeline", *sys.argv[1:]]
try:
    runpy.run_module("ml_pipeline", run_name="__main__", alter_sys=True)
except SystemExit:
    pass
print(sorted({"sagemaker", "pandas", "boto3", "numpy", "rich", "xgboost"} & set(sys.modules)))
"""


def heavy_imports(project: Path, arguments: list[str]) -> list[str]:
    """Names of the heavy modules, after `python -m ml_pipeline ARGUMENTS`."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout.splitlines()[-1])
