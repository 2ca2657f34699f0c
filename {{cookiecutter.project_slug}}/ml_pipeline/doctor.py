"""`doctor`: what a local run needs of this machine, each in one line: ok, or the remedy."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from ctypes.util import find_library
from importlib.metadata import distributions
from pathlib import Path

from ml_pipeline import settings
from ml_pipeline.errors import InputError
from ml_pipeline.local import PROJECT, STATE

LOCK = "requirements-dev.txt"
NEEDED_BYTES = 2 * 10**9  # a few runs on data of some 100 MB
LIBOMP = ("/opt/homebrew/opt/libomp/lib/libomp.dylib", "/usr/local/opt/libomp/lib/libomp.dylib")
SHOWN = 3


class Remedy(Exception):
    """What keeps a local run from working and what to do about it."""


def doctor() -> int:
    """Prints a line for each check; exit code 1 when one needs a remedy."""
    failed = False
    for name, check in CHECKS.items():
        try:
            print(f"ok      {name:<13} {check()}")
        except Remedy as remedy:
            failed = True
            print(f"mend    {name:<13} {remedy}")
    return int(failed)


def python() -> str:
    wanted = (PROJECT / ".python-version").read_text().strip()
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found != wanted:
        raise Remedy(
            f"this is Python {found}, .python-version names {wanted}: use .venv/bin/python (make setup)"
        )
    return f"{sys.version.split()[0]}, {sys.executable}"


def make() -> str:
    found = shutil.which("make")
    if not found:
        raise Remedy("not on PATH: install it (Debian: apt-get install make; macOS: xcode-select --install)")
    return found


def uv() -> str:
    return shutil.which("uv") or "not on PATH: `make` fetches one into .venv when it needs it"


def libomp() -> str:
    if sys.platform != "darwin":
        return "only macOS needs it apart"
    if not find_library("omp") and not any(Path(path).exists() for path in LIBOMP):
        raise Remedy("XGBoost needs it: brew install libomp")
    return "found"


def packages() -> str:
    """Raises Remedy when the environment is not what the lock says."""
    from packaging.requirements import Requirement

    installed = {found.name.lower().replace("_", "-"): found.version for found in distributions()}
    lines = (PROJECT / LOCK).read_text(encoding="utf-8").splitlines()
    locked = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    wanted = [each for each in locked if each.marker is None or each.marker.evaluate()]
    wrong = [
        f"{each.name}{each.specifier} ({installed.get(each.name.lower().replace('_', '-'), 'absent')})"
        for each in wanted
        if installed.get(each.name.lower().replace("_", "-")) not in each.specifier
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Remedy(f"{LOCK} wants {', '.join(wrong[:SHOWN])}{more}: rm -rf .venv, then make setup")
    return f"{len(wanted)} as in {LOCK}"


def configuration() -> str:
    try:
        settings.load("local")
    except InputError as error:
        raise Remedy(str(error)) from None
    return "settings.toml is valid"


def proxies() -> str:
    found = sorted(name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    return f"{', '.join(found)}: a local run does without" if found else "none"


def aws_variables() -> str:
    found = sorted(name for name in os.environ if name.startswith("AWS_"))
    return f"{', '.join(found)}: a local run does not see them" if found else "none"


def disk() -> str:
    free = shutil.disk_usage(PROJECT).free
    if free < NEEDED_BYTES:
        raise Remedy(
            f"{free / 1e9:.1f} GB free, {NEEDED_BYTES / 1e9:.0f} GB are advised: "
            "python -m ml_pipeline clean --keep 3, or make room"
        )
    return f"{free / 1e9:.1f} GB free"


def folders() -> str:
    for folder in (PROJECT, PROJECT / "runs", STATE):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise Remedy(f"{folder} cannot be written to: chown -R $USER {folder}")
    return "runs/ and .local_aws/ can be written"


def local_aws() -> str:
    """Raises Remedy while another process holds the state folder; the lock of one that died is free."""
    if not (STATE / "lock").exists():
        return "not used yet"
    with (STATE / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Remedy(
                "another run or `python -m local_aws` uses .local_aws: let it end, or stop it "
                "(pgrep -af local_aws lists it)"
            ) from None
    return "free"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": python,
    "make": make,
    "uv": uv,
    "libomp": libomp,
    "packages": packages,
    "settings": configuration,
    "proxies": proxies,
    "AWS variables": aws_variables,
    "disk": disk,
    "folders": folders,
    "local AWS": local_aws,
}
