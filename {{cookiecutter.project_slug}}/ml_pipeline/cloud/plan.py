"""`plan`: what a deploy would change, found out with read calls and change sets that are deleted again."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ml_pipeline import graph, storage, upsert
from ml_pipeline.cloud import definition_diff, infrastructure, preflight, stacks
from ml_pipeline.cloud.infrastructure import FOUNDATION, NETWORK
from ml_pipeline.cloud.stacks import READY, Stack
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.settings import Settings

UNCHANGED, CHANGED = 0, 3
COMMENT_CHARACTERS = 60_000  # of the 65,536 that a comment on GitHub may have
LOCK_LINES = 40  # of the lock's diff, which names every hash


@dataclass(frozen=True)
class Finding:
    """What one thing would become. lines: how; a diff's or a change's. changed: whether at all."""

    title: str
    changed: bool
    lines: tuple[str, ...] = ()


def plan(settings: Settings, account: str, markdown: bool) -> int:
    """Prints what would change; 0 when nothing would, else 3."""
    settings = upsert.resolved(settings, account)
    preflight.checkout()
    preflight.schedules(settings)
    templates = infrastructure.templates(settings)
    known: dict[str, str] = {}
    findings = []
    for kind, template in templates.items():
        stack = infrastructure.stack(kind, template, settings, known)
        findings.append(_stack(stack))
        if stacks.state(stack.name) == READY:
            found = stacks.outputs(stack.name)
            known |= found
            settings = _with(kind, found, settings)
    findings += [_image(settings), *_pipelines(settings)]
    text = _markdown(settings, findings) if markdown else _plain(findings)
    print(text)
    return CHANGED if any(finding.changed for finding in findings) else UNCHANGED


def _with(kind: str, found: dict[str, str], settings: Settings) -> Settings:
    if kind == NETWORK:
        return infrastructure.in_network(settings, found)
    return replace(settings, kms_key_arn=found.get("KmsKeyArn", "")) if kind == FOUNDATION else settings


def _stack(stack: Stack) -> Finding:
    """A new stack is told by its template: a change set would leave an empty stack behind."""
    if stacks.state(stack.name) != READY:
        lines = (f"+ {name} ({kind})" for name, kind in stack.template.resources)
        return Finding(f"stack {stack.name}: new, with at most these resources", True, tuple(lines))
    changes = stacks.change_set(stack)
    stacks.discard(stack, changes)
    outcome = f"{len(changes.lines)} resources would change" if changes.lines else "unchanged"
    return Finding(f"stack {stack.name}: {outcome}", bool(changes.lines), changes.lines)


def _image(settings: Settings) -> Finding:
    there = preflight.has_image(settings)
    outcome = "is there" if there else "would be built"
    return Finding(f"image {settings.prefix}:{settings.image_tag}: {outcome}", not there)


def _pipelines(settings: Settings) -> list[Finding]:
    """A finding for each pipeline; of those that would be updated also how, what they share once."""
    client = boto3.client("sagemaker")
    present = {name: upsert.described(client, f"{settings.prefix}-{name}") for name in PIPELINES}
    changed = [name for name in PIPELINES if not (present[name] and upsert.unchanged(settings, name))]
    compiled = sealed_definitions(settings) if changed else {}
    findings = [
        _pipeline(f"{settings.prefix}-{name}", present[name], compiled[name] if name in changed else None)
        for name in PIPELINES
    ]
    updated = [name for name in changed if present[name]]
    findings += [_definition(name, present[name]["PipelineDefinition"], compiled[name]) for name in updated]
    return findings + (_shared(settings, client, present[updated[0]]) if updated else [])


def _pipeline(name: str, present: dict[str, Any] | None, wanted: str | None) -> Finding:
    """wanted: the definition that it would get; None leaves it as it is."""
    if wanted is None:
        return Finding(f"pipeline {name}: unchanged", False)
    if present:
        return Finding(f"pipeline {name}: would be updated", True)
    compiled = definition_diff.normalised(wanted)
    steps = tuple(f"+ {step}" for step in graph.needs(json.loads(compiled)))
    return Finding(f"pipeline {name}: new, with these steps", True, steps)


def _definition(pipeline: str, deployed: str, wanted: str) -> Finding:
    before, after = (definition_diff.normalised(text) for text in (deployed, wanted))
    return _diff(
        f"definition of {pipeline}", definition_diff.unified(f"definition-{pipeline}.json", before, after)
    )


def _shared(settings: Settings, client: Any, present: dict[str, Any]) -> list[Finding]:
    """What both pipelines are made of, held against what a deployed one was made of."""
    arn = present["PipelineArn"]
    return [
        _diff("code", _code(present["PipelineDefinition"])),
        _diff("settings", _settings(settings, client, arn)),
        _diff("lock and Dockerfile", _files(settings, client, arn)),
    ]


def _diff(title: str, lines: list[str]) -> Finding:
    return Finding(f"{title}: {'differs' if lines else 'the same'}", bool(lines), tuple(lines))


def _code(deployed: str) -> list[str]:
    """Diff of the code that the deployed steps unpack and that of the checkout."""
    uris = sorted(definition_diff.workspaces(deployed))
    before = definition_diff.archived(storage.read_bytes(uris[0])) if uris else {}
    after = {
        path.relative_to(upsert.PROJECT).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in upsert.sources()
    }
    return definition_diff.between(before, after)


def _settings(settings: Settings, client: Any, arn: str) -> list[str]:
    before = _inputs(settings, client, arn)["settings"]
    after = json.loads(json.dumps(asdict(upsert.plain(settings))))
    texts = (definition_diff.flat(each | {"image_tag": "", "commit": ""}) for each in (before, after))
    return definition_diff.unified("settings", *texts)


def _files(settings: Settings, client: Any, arn: str) -> list[str]:
    before, after = _inputs(settings, client, arn)["files"], upsert.inputs(settings)["files"]
    lines = definition_diff.between(before, after)
    more = [f"... and {len(lines) - LOCK_LINES} more lines"] if len(lines) > LOCK_LINES else []
    return lines[:LOCK_LINES] + more


def _inputs(settings: Settings, client: Any, arn: str) -> dict[str, Any]:
    """What the deployed pipeline was made of; nothing when it was made by something else."""
    deployed = upsert.deployed_hash(client, arn)
    try:
        return storage.read_json(f"{upsert.code_uri(settings, deployed or 'none')}/inputs.json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied"):
            raise
        return {"settings": {}, "files": {}}


def sealed_definitions(settings: Settings) -> dict[str, str]:
    """Definitions as they would be compiled, by a child process whose only AWS is one on loopback."""
    options = [
        *("--pipeline", "both"),
        *("--env", settings.env, "--account", settings.account),
        *(("--suffix", settings.suffix) if settings.suffix else ()),
        *(("--subnets", ",".join(settings.subnets)) if settings.subnets else ()),
        *(("--security-groups", ",".join(settings.security_groups)) if settings.subnets else ()),
        *(("--kms-key-arn", settings.kms_key_arn) if settings.kms_key_arn else ()),
    ]
    command = [sys.executable, "-m", "ml_pipeline", "definition", *options]
    done = subprocess.run(command, cwd=upsert.PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise InputError(done.stderr.strip().removeprefix("error: ") or "the pipelines could not be compiled")
    return {name: json.dumps(definition) for name, definition in json.loads(done.stdout).items()}


def _plain(findings: list[Finding]) -> str:
    return "\n".join(
        line for finding in findings for line in (finding.title, *(f"  {each}" for each in finding.lines))
    )


def _markdown(settings: Settings, findings: list[Finding]) -> str:
    """A comment for a pull request: a title a line, differences folded, cut to what one may hold."""
    changed = any(finding.changed for finding in findings)
    head = f"### Plan for `{settings.prefix}`: {'changes' if changed else 'no changes'}\n"
    left = COMMENT_CHARACTERS - len(head)
    parts = [head]
    for finding in findings:
        part = _folded(finding, left)
        parts.append(part)
        left -= len(part)
    return "\n".join(parts)


def _folded(finding: Finding, room: int) -> str:
    if not finding.lines:
        return f"- {finding.title}"
    kept, size = [], 0
    for line in finding.lines:
        size += len(line) + 1
        if size > room - 500:
            kept.append("... cut here: `plan` on your machine prints all of it")
            break
        kept.append(line)
    fence = "`" * 6  # longer than any in the lines
    body = "\n".join(kept)
    return f"<details><summary>{finding.title}</summary>\n\n{fence}diff\n{body}\n{fence}\n</details>\n"
