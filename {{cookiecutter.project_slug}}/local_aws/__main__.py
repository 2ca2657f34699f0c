"""The command: one local AWS, until SIGTERM or SIGINT."""

import argparse
import importlib
import os
import signal
import socket
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path

from local_aws.container import start_fork_server
from local_aws.service_models import share_service_models

HOST = "127.0.0.1"
BACKLOG = 256
POLL_SECONDS = 0.05
LOADED_AHEAD = (
    "moto.sts.responses",
    "moto.iam.responses",
    "moto.logs.responses",
)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after a signal; 2 for a bad option, a port in use or an unreadable state folder."""
    started = time.monotonic()
    options = parser().parse_args(arguments)
    try:
        listening = listen(options.port)
    except OSError as error:
        return refused(f"port {options.port} cannot be used ({error.strerror}): choose another with --port")
    endpoint = f"http://{HOST}:{listening.getsockname()[1]}"
    os.environ.update(environment(endpoint, options.region))
    start_fork_server()  # it loads the SDK while this process loads moto
    share_service_models()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.until_stdin_closes:
        threading.Thread(target=await_end_of_input, args=(stop,), name="stdin", daemon=True).start()
    return serve(options, listening, endpoint, stop, started)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser("python -m local_aws", description="An AWS on this machine, for tests.")
    result.add_argument("--port", type=int, default=4566, help="0 takes a free one (default: 4566)")
    result.add_argument("--state", type=Path, default=Path(".local_aws"), help="folder (default: .local_aws)")
    result.add_argument("--fresh", action="store_true", help="forget what the state folder holds")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    result.add_argument(
        "--region", default=region, help=f"default: AWS_REGION, else us-east-1 (now {region})"
    )
    result.add_argument("--enforce-iam", action="store_true", help="refuse what IAM does not allow")
    result.add_argument("--until-stdin-closes", action="store_true", help="end with the starting process")
    return result


def listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen(BACKLOG)
    return listening


def environment(endpoint: str, region: str) -> dict[str, str]:
    """What this process and the jobs talk to: this server, with keys that are worth nothing elsewhere.

    Drops what could send a client elsewhere: other AWS settings and proxies of `os.environ`.
    """
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIALOCALAWS00000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }


def serve(
    options: argparse.Namespace,
    listening: socket.socket,
    endpoint: str,
    stop: threading.Event,
    started: float,
) -> int:
    # Loaded here: with moto it takes a second, in which the fork server works too.
    from moto.core import DEFAULT_ACCOUNT_ID

    from local_aws.sagemaker import SageMaker
    from local_aws.server import Front, http_server
    from local_aws.state import State, StateError

    try:
        state = State(options.state, options.fresh)
        api = SageMaker(state, endpoint, DEFAULT_ACCOUNT_ID, options.region, options.enforce_iam)
        front = Front(api)
    except StateError as error:
        return refused(str(error))
    api.fail_interrupted()
    server = http_server(guarded(front) if options.enforce_iam else front, listening)
    threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="http", daemon=True).start()
    seconds = time.monotonic() - started
    print(f"local AWS ready in {seconds:.1f} s, state in {state.folder}: {endpoint}", flush=True)
    threading.Thread(target=load_ahead, name="load ahead", daemon=True).start()
    stop.wait()
    end(front, server)
    return 0


def guarded(front):
    """The application with IAM's checks before it."""
    from local_aws.iam.guard import Guard
    from local_aws.server import service_of

    return Guard(front, front.api, service_of)


def load_ahead() -> None:
    """Imports what the first requests would wait for."""
    for module in LOADED_AHEAD:
        importlib.import_module(module)
    importlib.import_module("local_aws.validation").service_model()


def await_end_of_input(stop: threading.Event) -> None:
    """Sets `stop` once the process that holds the other end of standard input has closed it or ended."""
    while os.read(0, 4096):
        pass
    stop.set()


def end(front, server) -> None:
    """Stops what runs, while it is still answered; then saves. A second signal ends the process at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        front.api.executions.stop_all(front.api)
        front.api.jobs.stop_all(front.api)
        server.shutdown()
    finally:
        end_fork_server()
        front.api.state.save()
        front.s3.save()


def end_fork_server() -> None:
    """Ends it at once: by itself it would first load all that it was asked to."""
    process = forkserver._forkserver._forkserver_pid
    if process is not None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def refused(message: str) -> int:
    print(f"local AWS: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
