"""A job's process: forked from a server that has the SDK loaded, in a group and an environment of its own."""

import importlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FORK = multiprocessing.get_context("forkserver")
PRELOAD = "local_aws.preload"
CHECKOUT = Path(__file__).resolve().parent.parent
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
DIED_WITHOUT_CODE = 255
KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class ContainerError(Exception):
    """What a container writes into its failure file before it exits with code 1."""


@dataclass(frozen=True)
class Spec:
    """What a container is started with.

    module: its entry point is `module.main(root, record)`. root: the folder that is /opt/ml.
    """

    module: str
    root: Path
    log: Path
    environment: dict[str, str]
    record: dict


def start_fork_server() -> None:
    """Starts the process that jobs are forked from; it loads the SDK while the caller goes on."""
    FORK.set_forkserver_preload([PRELOAD])
    before = os.environ.get("PYTHONPATH")
    # Python before 3.12.4 does not hand sys.path to the fork server and ignores what it then cannot import.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *([before] if before else [])])
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def environment(endpoint: str, region: str, root: Path, keys: tuple[str, ...]) -> dict[str, str]:
    """The variables of a container, built and not inherited: nothing of the user's leads to another AWS.

    keys: access key, secret and, of a role's session, token.
    """
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    named = dict(zip(KEY_VARIABLES, keys, strict=False))
    return (
        kept
        | named
        | {
            "HOME": str(root),
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "*",
        }
    )


class Container:
    """One run of a container."""

    def __init__(self, spec: Spec) -> None:
        self._process = FORK.Process(target=run, args=(spec,), name=spec.root.name)
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it runs on, whatever its watcher died of."""
        self.send(signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float) -> int | None:
        """The exit code (negative: the signal that ended it), None when it still runs after `seconds`."""
        if not multiprocessing.connection.wait([self._process.sentinel], seconds):
            return None
        self._process.join()
        self.send(signal.SIGKILL)
        code = self._process.exitcode
        return DIED_WITHOUT_CODE if code is None else code

    def send(self, number: signal.Signals) -> None:
        """Signals the whole process group, also what is left of one whose first process has ended."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS: a group of zombies is not permitted
            if self._process.is_alive():  # not yet a group of its own
                self._process.kill()


def run(spec: Spec) -> None:
    """The forked process: becomes the container and runs its entry point."""
    os.setsid()
    threading.Thread(target=_die_with_server, name="server watch", daemon=True).start()
    _redirect_output(spec.log)
    os.environ.clear()
    os.environ.update(spec.environment)
    main = importlib.import_module(spec.module).main
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != CHECKOUT]
    os.chdir(spec.root)
    try:
        main(spec.root, spec.record)
    except ContainerError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        (spec.root / "output" / "failure").write_text(str(error))
        sys.exit(1)


def _die_with_server() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os.killpg(0, signal.SIGKILL)


def _redirect_output(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
    sys.stdout.reconfigure(line_buffering=True)
