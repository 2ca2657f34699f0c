"""The commands: one row of the table each, with a function for its options and one that does it.

What is heavy (boto3, pandas, the SDK) is imported inside the second, once settings and arguments are checked.
"""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml_pipeline import listing, parameters, rerun, runs, settings
from ml_pipeline.cloud import commands as cloud_commands
from ml_pipeline.cloud import operate_commands, options
from ml_pipeline.errors import InputError
from ml_pipeline.parameters import PIPELINES
from ml_pipeline.rerun import Rerun


@dataclass(frozen=True)
class Command:
    """One subcommand. help: one line of the list of commands. call: returns the exit code."""

    name: str
    help: str
    options: Callable[[ArgumentParser], None]
    call: Callable[[Namespace], int]


def _run_options(parser: ArgumentParser) -> None:
    parser.description = "Runs the compiled pipeline on a local AWS; its results are in runs/<execution id>/."
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="CSV or parquet, or s3://bucket/key (default: file in settings.toml, [data])",
    )
    names = ", ".join(parameter.name for parameter in parameters.of("train", ""))
    operate_commands.set_option(parser, names)
    parser.add_argument(
        "--from", dest="step", metavar="STEP", help="run STEP and what follows it, keep what came before"
    )
    _of_option(parser, "with --from: the run that earlier steps are kept of")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="on an empty local AWS that is thrown away: no champion, no earlier runs",
    )


def _of_option(parser: ArgumentParser, meaning: str, default: str = "latest") -> None:
    text = f"{meaning}: its id or the beginning of it (default: {default})"
    parser.add_argument("--of", metavar="RUN", help=text)


def _run(chosen: Namespace) -> int:
    wanted = settings.load("local")
    values = operate_commands.assignments(chosen.set, "train")
    again = _rerun(chosen, values)
    if again:
        rerun.check_settings(again, wanted)
    given = chosen.data or ("" if again else wanted.data.file)
    from ml_pipeline import run, source

    data = source.local_file(given) if given else None
    if data:
        from ml_pipeline.steps.process import check_file

        check_file(data, wanted)
    runs.check_writable()
    named = f" --data {shlex.quote(chosen.data)}" if chosen.data else ""
    return run.run(run.Request(data, values, chosen.fresh, again, named), wanted)


def _score_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Scores new rows with the newest approved model on a local AWS and holds them against its training "
        "data; scores, measures and the drift report are in runs/<execution id>/."
    )
    parser.add_argument(
        "--data",
        metavar="DIR_OR_FILE",
        help="CSV or parquet, s3://bucket/key, or a folder of files; no labels are needed",
    )
    parser.add_argument(
        "--truth",
        metavar="FILE",
        help="labels by id, CSV or JSON Lines: of these rows, or, without --data, of a period scored before",
    )
    parser.add_argument("--period", metavar="YYYY-MM-DD", help="what the rows are of (default: today, UTC)")


def _score(chosen: Namespace) -> int:
    wanted = settings.load("local")
    from ml_pipeline import delivery, periods, score, source

    now = datetime.now(UTC)
    period = periods.checked(f"{now:%Y-%m-%d}" if chosen.period is None else chosen.period)
    if period > f"{now + periods.SKEW:%Y-%m-%d}":
        raise InputError(f"--period {period} is in the future: it is the day that the rows are of")
    if not chosen.data and not chosen.truth:
        raise InputError("nothing to do: name rows to score with --data, labels that have come with --truth")
    data = delivery.files(chosen.data) if chosen.data else []
    truth = source.local_file(chosen.truth) if chosen.truth else None
    if truth:
        delivery.check_truth(truth, wanted.data)
    runs.check_writable()
    return score.score(score.Request(tuple(data), truth, period), wanted)


def _rerun(chosen: Namespace, values: dict[str, str]) -> Rerun | None:
    if chosen.step is None:
        if chosen.of:
            raise InputError(f"--of {chosen.of} names the run that --from keeps steps of: add --from STEP")
        return None
    if chosen.fresh:
        raise InputError(
            "--fresh starts from nothing, --from keeps what a run has made: leave one of them out"
        )
    new_data = "--data" if chosen.data else "--set RawDataUri" if "RawDataUri" in values else ""
    return rerun.prepared(chosen.step, chosen.of or "latest", new_data)


def _step_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Calls a step's function in this process, with the arguments it had in a run and the local AWS up, "
        "for breakpoint(), a debugger or a profiler. It writes beside the run's results, never over them; "
        "Register makes a version, Monitor publishes its periods anew."
    )
    parser.add_argument("step", metavar="NAME", help="such as Evaluate")
    _of_option(parser, "the run whose arguments it gets", "the newest that has called it")
    parser.add_argument("--pdb", action="store_true", help="open the debugger where an error is raised")


def _step(chosen: Namespace) -> int:
    wanted = settings.load("local")
    from ml_pipeline import foreground

    return foreground.call(foreground.call_of(chosen.step, chosen.of), wanted, chosen.pdb)


def _serve_options(parser: ArgumentParser) -> None:
    _of_option(parser, "the run whose model it is", "the newest with a model")
    parser.add_argument(
        "--port", type=int, default=8080, metavar="N", help="0 takes a free one (default: 8080)"
    )


def _serve(chosen: Namespace) -> int:
    settings.load("local")
    from ml_pipeline import serve

    return serve.serve(serve.model_of(chosen.of), chosen.port)


def _logs_options(parser: ArgumentParser) -> None:
    parser.add_argument("step", metavar="STEP", help="such as Train")
    _of_option(parser, "the run on this machine", "the newest with such a log")
    parser.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="with --env: the execution (default: the newest)"
    )
    options.cloud_or_local_options(parser)
    parser.add_argument("--pipeline", choices=PIPELINES, help="with --env: of which one (default: train)")
    parser.add_argument("--follow", action="store_true", help="with --env: until the step has ended")


def _logs(chosen: Namespace) -> int:
    if chosen.env:
        if chosen.of:
            raise InputError(
                f"--of {chosen.of} names a run on this machine: with --env write its id after STEP"
            )
        chosen.pipeline = chosen.pipeline or PIPELINES[0]
        return operate_commands.logs(chosen)
    if chosen.execution or chosen.follow or chosen.pipeline:
        given = chosen.execution or ("--follow" if chosen.follow else "--pipeline")
        raise InputError(
            f"{given} is for executions in the cloud: add --env ENV, or name a local run with --of"
        )
    print(listing.log(chosen.step, chosen.of), end="")
    return 0


def _runs(chosen: Namespace) -> int:
    print(listing.table(runs.newest_first()))
    return 0


def _metrics_options(parser: ArgumentParser) -> None:
    parser.description = "Prints a run's metrics as a Markdown table, for a terminal or a CI summary."
    parser.add_argument("run", nargs="?", default="latest", metavar="RUN", help="default: latest")
    parser.add_argument(
        "--against", metavar="FOLDER", help="folder of the run shown beside it, if there is one"
    )


def _metrics(chosen: Namespace) -> int:
    print(listing.metrics(runs.find_training(chosen.run), Path(chosen.against) if chosen.against else None))
    return 0


def _workflows(chosen: Namespace) -> int:
    from ml_pipeline.cloud import workflows

    written = workflows.install(settings.load("local").project.slug)
    print("\n".join(map(str, written)) or f"{workflows.GITLAB} of the repository starts this project already")
    return 0


def _clean_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Deletes older runs and their objects in the local AWS; never what a model version, runs/latest or a "
        "step that a kept run took over points at, nor the periods that were scored."
    )
    parser.add_argument(
        "--keep",
        type=int,
        required=True,
        metavar="N",
        help="how many of the newest runs stay, training and scoring each",
    )


def _clean(chosen: Namespace) -> int:
    wanted = settings.load("local")
    if chosen.keep < 1:
        raise InputError(
            f"--keep must be at least 1, got {chosen.keep}; `make clean` forgets the local AWS whole"
        )
    from ml_pipeline import clean

    return clean.clean(chosen.keep, wanted)


def _version_option(parser: ArgumentParser) -> None:
    parser.add_argument("version", metavar="VERSION", help="its number, as `run` printed it")
    options.cloud_or_local_options(parser)


def _approve(chosen: Namespace) -> int:
    return _decide(chosen, "Approved")


def _reject(chosen: Namespace) -> int:
    return _decide(chosen, "Rejected")


def _decide(chosen: Namespace, status: str) -> int:
    version = options.version_number(chosen.version, chosen.env, chosen.suffix)
    if chosen.env:
        return operate_commands.decide(chosen, version, status)
    wanted = settings.load("local")
    from ml_pipeline import run

    return run.decide(version, status, wanted)


def _report_options(parser: ArgumentParser) -> None:
    parser.description = (
        "Makes report.html of a run anew; of two runs, a page in the second's folder that holds them "
        "against each other. A RUN is an id, the beginning of one, latest or a path."
    )
    parser.add_argument("run", nargs="?", default="latest", metavar="RUN", help="default: latest")
    parser.add_argument("other", nargs="?", metavar="RUN", help="the run that is held against the first")


def _report(chosen: Namespace) -> int:
    first = runs.find_training(chosen.run) if chosen.other else runs.find(chosen.run)
    second = runs.find_training(chosen.other) if chosen.other else None
    from ml_pipeline import report

    if runs.pipeline_of(first) == "score" and not report.is_scoring(first):
        raise InputError(f"scoring run {first.name} has measured nothing: it has no report")
    print(report.compare(first, second) if second else report.write(first))
    return 0


def _no_options(parser: ArgumentParser) -> None:
    pass


def _adopt_options(parser: ArgumentParser) -> None:
    parser.description = "Looks at a file of yours and makes [data] and [split] of settings.toml fit it."
    parser.add_argument("file", metavar="FILE", help="CSV or parquet, or s3://bucket/key")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("--positive", default="", metavar="VALUE", help="the label counted as 1")
    parser.add_argument("--problem", choices=("binary", "multiclass", "regression"), help="if guessed wrong")
    parser.add_argument(
        "--group", default="", metavar="COLUMN", help="bias is measured within its values too"
    )
    parser.add_argument("--time", default="", metavar="COLUMN", help="the newest rows by it become test rows")
    for option, does in (("--facet", "its groups are compared for bias"), ("--id", "it identifies a row")):
        parser.add_argument(
            option, action="extend", nargs="+", default=[], metavar="COLUMN", help=f"{does}; one or more"
        )
    parser.add_argument("--rows", type=int, metavar="N", help="look at N rows, drawn from the whole file")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def _adopt(chosen: Namespace) -> int:
    present = settings.load("local")
    from ml_pipeline import adopt

    return adopt.adopt(adopt.request(chosen), present)


GROUPS = {
    "on this machine, with neither an AWS account nor Docker": (
        Command("adopt", "make settings.toml fit a data file of yours", _adopt_options, _adopt),
        Command("run", "the whole pipeline on a local AWS, or --from a step on", _run_options, _run),
        Command("score", "new rows, scored by the approved model; what has drifted", _score_options, _score),
        Command(
            "step", "one step's function in this process, for a debugger or profiler", _step_options, _step
        ),
        Command("serve", "a run's model on a port, with a curl line that asks it", _serve_options, _serve),
        Command("runs", "all runs, the newest first", _no_options, _runs),
        Command("metrics", "a run's metrics, beside another's, as Markdown", _metrics_options, _metrics),
        Command("logs", "what a step of a run has printed", _logs_options, _logs),
        Command(
            "approve", "make a model version the one that the next run must meet", _version_option, _approve
        ),
        Command("reject", "take a model version out again", _version_option, _reject),
        Command("report", "make the page of a run anew, or compare two runs", _report_options, _report),
        Command("clean", "delete all but the newest runs", _clean_options, _clean),
        Command(
            "doctor",
            "what a run, or an environment, needs: ok, or the remedy",
            options.cloud_or_local_options,
            cloud_commands.doctor,
        ),
        Command(
            "definition",
            "print a compiled pipeline definition (JSON)",
            cloud_commands.definition_options,
            cloud_commands.definition,
        ),
    ),
    "in the cloud, where each tells account, region and endpoint first": (
        Command(
            "deploy",
            "stacks, image and pipelines of an environment, as in this checkout",
            cloud_commands.deploy_options,
            cloud_commands.deploy,
        ),
        Command(
            "plan",
            "what a deploy would change, without changing it",
            cloud_commands.plan_options,
            cloud_commands.plan,
        ),
        Command(
            "image",
            "build and push the step image, if ECR does not have it",
            options.environment_options,
            cloud_commands.image,
        ),
        Command(
            "upsert",
            "create or update the pipelines, if they have changed",
            options.environment_options,
            cloud_commands.upsert,
        ),
        Command(
            "destroy",
            "take an environment down; data and models stay",
            cloud_commands.destroy_options,
            cloud_commands.destroy,
        ),
        Command(
            "upload",
            "data of a period: to train on, to score, or labels of what was scored",
            operate_commands.upload_options,
            operate_commands.upload,
        ),
        Command(
            "start",
            "start a pipeline: expected time, cost, and where to look",
            operate_commands.start_options,
            operate_commands.start,
        ),
        Command(
            "status",
            "the steps of an execution; --follow until it has ended",
            operate_commands.status_options,
            operate_commands.status,
        ),
        Command(
            "stop", "stop an execution and its jobs", operate_commands.stop_options, operate_commands.stop
        ),
        Command(
            "fetch",
            "an execution's results and report, into runs/",
            operate_commands.fetch_options,
            operate_commands.fetch,
        ),
        Command(
            "promote",
            "a version into the next environment; approve, reject and logs take --env",
            operate_commands.promote_options,
            operate_commands.promote,
        ),
        Command(
            "smoke",
            "both pipelines once, on the smallest machines, held against the local AWS",
            operate_commands.smoke_options,
            operate_commands.smoke,
        ),
    ),
    "in CI": (
        Command(
            "workflows",
            "the CI files of a project in a folder of a larger repository",
            _no_options,
            _workflows,
        ),
    ),
}
