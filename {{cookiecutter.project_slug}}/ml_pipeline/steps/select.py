"""Select: the newest approved model, and the periods it is to score, as batch transform takes them."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from ml_pipeline import admission, approved, canonical, layout, periods, storage, threads
from ml_pipeline.canonical import Converted, Violation
from ml_pipeline.layout import Wanted
from ml_pipeline.periods import Period
from ml_pipeline.settings import Settings

MOST_VIOLATIONS = 100  # of a period that are told one by one


def select(period: str, trigger_reason: str, execution_id: str, settings: Settings) -> dict[str, Any]:
    """The newest approved version's model, and the rows of each period to score in the form that it takes.

    period: `auto`, all that are complete and not scored, or one by name, scored before or not; or, by
    `labels:` and its name, one of which labels have come, and nothing is scored.
    Returns summary, package (None without an approved version, if there is nothing to score), model_uri,
    image_uri, input_uri (`<period>/<object>.csv` below it, of ready periods), passed_columns (how many come
    before the features) and periods: {period, state, objects, rows, broken} of each that was taken; state is
    ready, broken (by violations in the form of Model Monitor), empty, or labels.
    Raises PackageError without a model that can score, DataError for a period that is not there.
    """
    now = admission.admit("score", trigger_reason, execution_id, settings)
    found = periods.to_score(period, now, settings)
    taken = [each for each in found if each.state in periods.TAKEN]
    for each in found:
        if each.state != "scored":
            print(f"Select: {each.told}", flush=True)
    of_labels = [each.state for each in found] == [periods.LABELS]  # whose own model is the one that counts
    package = None if of_labels else approved.newest(settings.prefix)
    if package is None and any(each.objects for each in taken):
        raise approved.PackageError(approved.to_approve(settings))
    folder = settings.uri(execution_id, "select")
    model = _model(package, folder, settings) if package else None
    input_uri = f"{folder}/input/"
    prepared = [_prepared(each, input_uri, model[1]) if model else _unread(each) for each in taken]
    summary = _summary(found, prepared, package)
    print(f"Select: {summary} -> {input_uri}", flush=True)
    return {
        "summary": summary,
        "package": model[0] if model else None,
        "model_uri": model[0]["model_uri"] if model else "",
        "image_uri": approved.container(package)["Image"] if package else "",
        "input_uri": input_uri,
        "passed_columns": len(model[1].passed) if model else 0,
        "periods": prepared,
    }


def _model(package: dict[str, Any], folder: str, settings: Settings) -> tuple[dict[str, Any], Wanted]:
    """What Monitor needs to know of the version, which is intact, and the columns of its rows."""
    baselines = approved.baselines(package, settings)
    thresholds = approved.thresholds(baselines)
    uris = {uri for uri in (*baselines.values(), *thresholds.values()) if uri}
    approved.check_present(package, sorted(uris), settings)
    spec = approved.spec(package, settings)
    feature_spec_uri = f"{folder}/feature_spec.json"
    storage.write_bytes(feature_spec_uri, spec.to_json().encode())
    wanted = layout.wanted(spec, settings)
    return {
        "package_arn": package["ModelPackageArn"],
        "version": package["ModelPackageVersion"],
        "model_uri": approved.container(package)["ModelDataUrl"],
        "feature_spec_uri": feature_spec_uri,
        "thresholds": thresholds,
        "baselines": baselines,
        "passed_columns": list(wanted.passed),
    }, wanted


def _unread(period: Period) -> dict[str, Any]:
    entry = _entry(period, [], 0, [])
    return entry | {"state": periods.LABELS} if period.state == periods.LABELS else entry


def _prepared(period: Period, input_uri: str, wanted: Wanted) -> dict[str, Any]:
    """The period's entry, after its rows were written below input_uri if all of them can be scored."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "made")
        names = _names(period)
        convert = partial(_converted, scratch=Path(scratch, "read"), folder=folder, wanted=wanted)
        made = threads.mapped(convert, list(names.items()))
        for line in (line for each in made for line in each.told):
            print(f"Select: {line}", flush=True)
        broken = [each for one in made for each in one.violations] or canonical.repeated(
            made, wanted.spec.ids
        )
        for each in broken:
            print(f"Select: {period.name} is broken: {each['description']}", flush=True)
        rows = sum(each.rows for each in made)
        holding = [each for each in made if each.rows]
        for each in made:
            if not each.rows:  # batch transform takes no empty object
                each.path.unlink(missing_ok=True)
        if not broken and rows:
            with storage.uploading(folder, f"{input_uri}{period.name}"):
                pass
        return _entry(period, [names[each.uri] for each in holding], rows, broken)


def _converted(named: tuple[str, str], scratch: Path, folder: Path, wanted: Wanted) -> Converted:
    uri, name = named
    source, target = scratch / name, folder / f"{name}.csv"
    for path in (source, target):
        path.parent.mkdir(parents=True, exist_ok=True)
    storage.download(uri, source)
    made = canonical.converted(uri, source, target, wanted)
    source.unlink()
    return made


def _names(period: Period) -> dict[str, str]:
    """By URI, the object's name below the period's input without its ending, unless two were alike then."""
    marker = f"/{period.name}/input/"
    whole = {uri: uri.partition(marker)[2] for uri in period.objects}
    stems = {uri: name.rpartition(".")[0] or name for uri, name in whole.items()}
    alike = Counter(stems.values())
    return {uri: whole[uri] if alike[stem] > 1 else stem for uri, stem in stems.items()}


def _entry(period: Period, objects: list[str], rows: int, broken: list[Violation]) -> dict[str, Any]:
    state = "broken" if broken else "ready" if rows else "empty"
    if len(broken) > MOST_VIOLATIONS:
        more = f"{len(broken) - MOST_VIOLATIONS + 1:,} more; the log of Select names them"
        broken = [
            *broken[: MOST_VIOLATIONS - 1],
            canonical.violation(canonical.WHOLE, "data_type_check", more),
        ]
    return {"period": period.name, "state": state, "objects": objects, "rows": rows, "broken": broken}


def _summary(found: list[Period], prepared: list[dict[str, Any]], package: dict[str, Any] | None) -> str:
    """What is scored, by which version, and what is left out and why."""
    states = {each.name: each.state for each in found}
    parts = [_told(each, states[each["period"]]) for each in prepared]
    words = {"incomplete": "incomplete", "future": "in the future"}
    parts += [f"{each.name} is {words[each.state]}" for each in found if each.state in words]
    scored = list(states.values()).count("scored")
    parts += [f"{scored} scored already"] if scored else []
    if not any(each["state"] == "ready" for each in prepared):
        return ", ".join(["nothing to score", *parts])
    return ", ".join([*parts, f"version {package['ModelPackageVersion']}"])


def _told(entry: dict[str, Any], state: str) -> str:
    if entry["state"] == periods.LABELS:
        return f"labels of {entry['period']}"
    if entry["state"] == "empty":
        return f"{entry['period']} is empty"
    if entry["state"] == "broken":
        return f"{entry['period']} is broken ({_counted(len(entry['broken']), 'violation')})"
    note = "" if state == "new" else f" ({state})"
    objects = _counted(len(entry["objects"]), "object")
    return f"{entry['period']}{note}: {_counted(entry['rows'], 'row')} in {objects}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
