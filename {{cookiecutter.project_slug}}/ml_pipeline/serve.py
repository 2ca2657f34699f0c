"""`serve`: a run's model in the process that serves it in SageMaker, on a port of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from ml_pipeline import runs
from ml_pipeline.errors import InputError

HOST = "127.0.0.1"
READY_SECONDS, POLL_SECONDS = 60, 0.05
JSON_LINES = "application/jsonlines"
LONGEST_ROW = 4000  # characters that are shown; a longer row is sent from its file


def model_of(name: str | None) -> Path:
    """Folder of the run that is named, else of the newest that has a model. Raises InputError without one."""
    if name is None:
        found = (run for run in runs.newest_first() if (run / "model.tar.gz").exists())
        run = next(found, None)
        if run is None:
            raise InputError("there is no model yet: make one with `python -m ml_pipeline run`")
        return run
    run = runs.find_training(name)
    if not (run / "model.tar.gz").exists():
        raise InputError(f"run {run.name} has no model: it ended before Train had made one; name another run")
    return run


def serve(run: Path, port: int) -> int:
    """Serves until Ctrl-C or SIGTERM; exit code 0 then, 1 when the model cannot be served."""
    port = _free(port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(run / "model.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        process = _started(Path(folder), port)
        try:
            if not _ready(process, port):
                return 1
            print("\n".join(_told(run, port)), flush=True)
            return process.wait()
        except KeyboardInterrupt:
            print("\nended", flush=True)
            return 0
        finally:
            process.terminate()
            process.wait()


def _free(port: int) -> int:
    """The port, or a free one for 0. Raises InputError when it cannot be used."""
    try:
        with socket.create_server((HOST, port)) as listening:
            return listening.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) else "ports are 0 to 65535"
        raise InputError(
            f"port {port} cannot be used ({reason}): name another with --port, or 0 for a free one"
        ) from None


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    places = {"SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port), "SERVING_HOST": HOST}
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server.
    command = [sys.executable, "-m", "ml_pipeline.serving"]
    return subprocess.Popen(command, env=os.environ | places, start_new_session=True)


def _ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers; it has said why when it has ended instead."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return direct.open(f"http://{HOST}:{port}/ping").status == 200
        except urllib.error.URLError:
            time.sleep(POLL_SECONDS)
    return False


def _told(run: Path, port: int) -> list[str]:
    address = f"http://{HOST}:{port}/invocations"
    told = [f"the model of run {run.name} answers at {address}; Ctrl-C ends it"]
    example = run / "example.jsonl"
    if not example.exists():
        return told
    row = example.read_text(encoding="utf-8").rstrip("\n")
    data = shlex.quote(row) if len(row) <= LONGEST_ROW else shlex.quote(f"@{example}")
    types = f"-H 'Content-Type: {JSON_LINES}' -H 'Accept: {JSON_LINES}'"
    return [
        *told,
        "a row of its test split:",
        f"curl -sS --noproxy '*' {types} --data-binary {data} {address}",
    ]
