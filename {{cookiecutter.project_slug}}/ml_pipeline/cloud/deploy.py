"""`deploy` and `upsert`: stacks, image and pipelines of one environment, as far as each has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ml_pipeline import upsert
from ml_pipeline.cloud import destroy, image, infrastructure, preflight, stacks
from ml_pipeline.cloud.infrastructure import FOUNDATION, NETWORK, TRIGGERS
from ml_pipeline.cloud.stacks import ABSENT, Stack
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings

MINUTES = {NETWORK: 4, FOUNDATION: 2, TRIGGERS: 2}  # to create; an update takes less


def deploy(settings: Settings, account: str, ci: bool) -> int:
    """All stacks, image, pipelines; with ci what CI's role may change: image, pipelines, triggers."""
    started = time.monotonic()
    settings = upsert.resolved(settings, account)
    preflight.checkout()
    preflight.schedules(settings)
    templates = infrastructure.templates(settings)
    states = {kind: stacks.state(infrastructure.name(kind, settings)) for kind in templates}
    if ci:
        settings = infrastructure.with_outputs(settings)
    if states[FOUNDATION] == ABSENT:
        _names_are_free(settings)
        preflight.quotas(settings)  # again before the upsert, many minutes later
    minutes = sum(MINUTES[kind] for kind, state in states.items() if state == ABSENT)
    if minutes:
        print(
            f"expected: {minutes} minutes for new stacks, and 6 for the image when ECR has none of this code"
        )
    known: dict[str, str] = {}
    for kind in (kind for kind in templates if kind != TRIGGERS):
        if not ci:
            _apply(infrastructure.stack(kind, templates[kind], settings, known))
        known |= infrastructure.outputs(kind, settings)
    settings = infrastructure.with_outputs(settings)
    print(image.ensure(settings, known["ImageBuildProject"]), flush=True)
    _upserted(settings)
    _apply(infrastructure.stack(TRIGGERS, templates[TRIGGERS], settings, known))
    print(f"deployed {settings.prefix} in {(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def _names_are_free(settings: Settings) -> None:
    """Raises InputError for what an earlier foundation was told to retain: a new one could not be made."""
    left = destroy.contents(settings)
    if left:
        raise InputError(
            f"{'; '.join(left)}: an earlier foundation has left that, and its names are taken until "
            f"`python -m ml_pipeline destroy {settings.options} --all` deletes it for good; "
            "nothing was done"
        )


def upsert_alone(settings: Settings, account: str) -> int:
    """The pipelines alone, of an environment whose foundation stands and whose image lies in ECR."""
    settings = infrastructure.with_outputs(upsert.located(settings, account))
    _upserted(settings)
    return 0


def image_alone(settings: Settings, account: str) -> int:
    """The image alone, built and pushed if ECR has none of this code."""
    settings = upsert.located(settings, account)
    preflight.checkout()
    known = infrastructure.outputs(FOUNDATION, settings)
    print(image.ensure(settings, known["ImageBuildProject"]))
    return 0


def _upserted(settings: Settings) -> None:
    done = [upsert.unchanged(settings, pipeline) for pipeline in PIPELINES]
    if None in done:
        for line in preflight.check(settings):
            print(f"note: {line}")
        done = upsert.upsert(settings, PIPELINES)
    for each in done:
        place = upsert.code_uri(settings, each.content_hash)
        print(f"pipeline {each.name}: {each.outcome} ({place})", flush=True)


def _apply(stack: Stack) -> None:
    with _timed(f"stack {stack.name}") as told:
        changes = stacks.change_set(stack)
        for line in changes.lines:
            print(f"  {line}", flush=True)
        if changes.lines:
            stacks.execute(stack, changes)
        told.append(f"{len(changes.lines)} resources changed" if changes.lines else "unchanged")


@contextmanager
def _timed(what: str) -> Iterator[list[str]]:
    print(f"{what} ...", flush=True)
    began, told = time.monotonic(), []
    yield told
    print(f"{what}: {', '.join(told)} in {time.monotonic() - began:.0f} s", flush=True)
