"""`run --from STEP`: the steps from there on run again, the ones before are kept from an earlier run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ml_pipeline import graph, runs
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

STEPS = Path(__file__).parent / "steps"
OF_LATER_STEPS = ("file", "facet_values", "group")  # of [data]: nothing that Process makes depends on them
SCORING = ("select", "monitor")  # steps that the training pipeline does not have


@dataclass(frozen=True)
class Rerun:
    """step: the first to run again. source: `execution.json` of the run that earlier steps are kept of."""

    step: str
    source: dict[str, Any]

    def selected(self, definition: dict[str, Any]) -> list[str]:
        """Names of the steps to run. Raises InputError when the source lacks one that they need.

        A step in a branch runs with its condition, which may come out differently this time.
        """
        if self.step not in graph.needs(definition):
            raise InputError(f"--from {self.step}: the pipeline has no such step")
        first = graph.outermost(definition, self.step)
        succeeded = {step["name"] for step in self.source["steps"] if step["status"] == "Succeeded"}
        for needed in graph.upstream(definition, first):
            if needed not in succeeded:
                raise InputError(
                    f"--from {self.step}: {needed}, which comes before it, has not succeeded in run "
                    f"{self.source['id']}: use --from {needed}, or name another run with --of"
                )
        return graph.downstream(definition, first)


def prepared(step: str, of: str, new_data: str) -> Rerun:
    """What `--from STEP --of RUN` asks for, checked as far as that goes before the pipeline is compiled.

    new_data: the option that names other data, if one was given; InputError unless STEP is what reads it.
    """
    run = runs.find_training(of)
    definition, source = runs.read(run, "definition.json"), runs.read(run, "execution.json")
    known = graph.needs(definition)
    if step.lower() in SCORING and step.capitalize() not in known:
        raise InputError(
            f"{step.capitalize()} is a step of the scoring pipeline, whose runs are always whole: "
            "`python -m ml_pipeline score --data FILE`"
        )
    rerun = Rerun(step_name(step, [*known, *(name for name in written() if name not in known)]), source)
    if source["ended"] is None:
        raise InputError(f"run {source['id']} has not ended: name another one with --of")
    if rerun.step in known:
        rerun.selected(definition)
    if new_data and (rerun.step not in known or graph.upstream(definition, rerun.step)):
        first = next(iter(known))
        raise InputError(
            f"{new_data} is read by {first}, which --from {rerun.step} keeps of run {source['id']}: "
            f"leave it out, or use --from {first}"
        )
    return rerun


def check_settings(rerun: Rerun, present: Settings) -> None:
    """Raises InputError if a kept step has worked by other [data] or [split] than settings have now."""
    run = runs.find_training(rerun.source["id"])
    needs = graph.needs(runs.read(run, "definition.json"))
    if not (run / "lineage.json").exists() or rerun.step == next(iter(needs)):
        return
    before, after = runs.read(run, "lineage.json")["settings"], json.loads(json.dumps(asdict(present)))
    for section in ("data", "split"):
        for key, now in after[section].items():
            if key not in OF_LATER_STEPS and before[section].get(key) != now:
                raise InputError(
                    f"{key} is {now!r} (settings.toml, [{section}]), but {before[section].get(key)!r} in run "
                    f"{run.name}, whose data --from {rerun.step} keeps: run without --from, or undo "
                    f"the change"
                )
    columns = [column["name"] for column in runs.read(run, "profile.json")["columns"]]
    if present.data.group and present.data.group not in columns:
        raise InputError(
            f"group is {present.data.group!r} (settings.toml, [data]), a column that run {run.name} has not; "
            f"there are: {', '.join(columns)}"
        )


def check_known(source: dict[str, Any]) -> None:
    """Raises InputError unless the local AWS, which is up, has the execution of this `execution.json`."""
    import boto3

    client = boto3.client("sagemaker")
    try:
        client.describe_pipeline_execution(PipelineExecutionArn=source["arn"])
    except client.exceptions.ResourceNotFound:
        raise InputError(
            f"run {source['id']} is not in the local AWS: it ran with --fresh, or `make clean` has "
            "forgotten it; run the whole pipeline"
        ) from None


def step_name(given: str, names: list[str]) -> str:
    """The name as the graph writes it. Raises InputError, which lists all, for one that is not there."""
    found = {name.lower(): name for name in names}
    if given.lower() in found:
        return found[given.lower()]
    near = get_close_matches(given.lower(), found, 1)
    hint = f"did you mean {found[near[0]]}? " if near else ""
    raise InputError(f"no step {given!r}; {hint}there are: {', '.join(names)}")


def written() -> list[str]:
    """Names of the steps that there is a function for: `tune` in tune.py is Tune."""
    files = sorted(path for path in STEPS.glob("*.py"))
    return [path.stem.capitalize() for path in files if f"\ndef {path.stem}(" in path.read_text("utf-8")]
