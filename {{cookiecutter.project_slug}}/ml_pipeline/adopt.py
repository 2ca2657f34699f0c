"""adopt: rewrites settings.toml so that the pipeline runs on a data file of the user's."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ml_pipeline import columns, header, ingest, pitfalls, roles, sampling, settings, settings_edit, source
from ml_pipeline.columns import Columns
from ml_pipeline.dialect import DELIMITERS
from ml_pipeline.errors import InputError
from ml_pipeline.header import Header
from ml_pipeline.local import STATE
from ml_pipeline.names import BETTER_HIGH
from ml_pipeline.roles import Finding, Wish
from ml_pipeline.sampling import Sample
from ml_pipeline.settings import Settings
from ml_pipeline.steps.process import check_file

ROWS = 200_000  # looked at unless --rows says otherwise
SEED = 42
# Settings of another section that one problem may have and another may not, and what they are then.
RESET = {
    ("train", "class_weight"): "none",
    ("gate", "metric"): "",
    ("gate", "threshold"): "trivial",
    ("tune", "objective"): "",
}


@dataclass(frozen=True)
class Request:
    """What `adopt` was asked for. file: as given, a path or s3://. rows: to look at, at most."""

    file: str
    wish: Wish
    rows: int
    dry_run: bool


@dataclass(frozen=True)
class Found:
    """A file as it was understood. findings: what settings.toml gets, and why."""

    path: Path
    header: Header
    wish: Wish
    sample: Sample
    columns: Columns
    findings: tuple[Finding, ...]

    def of(self, key: str) -> list[Any]:
        return [finding.value for finding in self.findings if finding.key == key]


def request(chosen: Namespace) -> Request:
    rows = ROWS if chosen.rows is None else chosen.rows
    if rows < 1:
        raise InputError(f"--rows must be at least 1, got {rows}")
    wish = Wish(
        target=chosen.target.strip(),
        problem=chosen.problem or "",
        positive=chosen.positive,
        facets=tuple(dict.fromkeys(chosen.facet)),
        group=chosen.group,
        ids=tuple(dict.fromkeys(chosen.id)),
        time=chosen.time,
    )
    return Request(chosen.file, wish, rows, chosen.dry_run)


def adopt(wanted: Request, present: Settings) -> int:
    """Exit code 0: settings.toml fits the file then. Raises InputError, and nothing is written."""
    found = understood(source.local_file(wanted.file), wanted, present)
    values = {("data", "file"): _place(wanted.file)} | _values(found, present)
    before = Path(settings.FILE).read_text(encoding="utf-8")
    after = settings_edit.edited(before, values)
    with settings_edit.candidate(Path(settings.FILE), after) as candidate:
        print("\n".join(_told(found, values["data", "kinds"], present)), flush=True)
        _check(candidate, values, found.path)
        for warning in _warned(found, present):
            print(warning)
        if wanted.dry_run:
            print(settings_edit.difference(before, after) or f"{settings.FILE}: nothing to change")
        else:
            candidate.replace(settings.FILE)
            print(f"{settings.FILE}: {'nothing to change' if before == after else 'written'}")
            print(_next(present, found))
    return 0


def understood(path: Path, wanted: Request, present: Settings) -> Found:
    """Raises InputError for a file that cannot be read and for columns that cannot have the roles wanted."""
    head = header.read(path, wanted.wish, present.data)
    wish = header.by_name(wanted.wish, head)
    _check_names(path, head.names, wish)
    rows = sampling.as_texts(ingest.batches(path, head.options), str(path))
    sample = sampling.draw(rows, wanted.rows, SEED)
    if not sample.total:
        raise InputError(f"{path}: no rows, only the header {roles.listed(list(head.names))}")
    texts = {*wish.ids, *(name for name, kind in present.data.kinds.items() if kind == "category")}
    commas = bool(head.delimiter) and columns.have_comma_numbers(sample.table, present.data.missing)
    table = ingest.with_points(sample.table) if commas else sample.table
    read = columns.understood(table, present.data.missing, wish.target, texts)
    findings = (_decimal(commas), *_findings(read, wish, present, sample.total))
    return Found(path, head, wish, sample, read, findings)


def _decimal(commas: bool) -> Finding:
    return Finding("decimal", ",", "12,5 is read as 12.5") if commas else Finding("decimal", ".", "")


def _findings(read: Columns, wish: Wish, present: Settings, total: int) -> Iterator[Finding]:
    problem = roles.problem(read, wish)
    cuts = {name: roles.facet_value(read, name) for name in wish.facets}
    in_columns = list(roles.column_roles(read, wish, present.data, total))
    yield problem
    yield roles.positive(read, wish, str(problem.value))
    yield from (Finding("facets", name, "as you say") for name in wish.facets)
    yield from (cut for name, cut in cuts.items() if cut and name not in present.data.facet_values)
    yield from in_columns
    for marker, places in read.found.items():
        yield Finding("missing", marker, f"no value, in {roles.listed(list(places))}")
    yield from roles.split(read, wish, in_columns, str(problem.value), total)
    yield from _of_another_problem(str(problem.value), present)


def _check_names(path: Path, names: tuple[str, ...], wish: Wish) -> None:
    """Raises InputError unless each column named is there once, and the target has no other role."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column names must differ, but there is more than one {', '.join(twice)}")
    options = [("target", wish.target), ("group", wish.group), ("time", wish.time)]
    options += [("facet", name) for name in wish.facets] + [("id", name) for name in wish.ids]
    for option, name in options:
        if name and name not in names:
            raise InputError(f"{path}: no column {name!r}, which --{option} names; {_nearest(name, names)}")
        if option != "target" and name == wish.target:
            raise InputError(f"--{option} {name}: it is the target; name another column")


def _nearest(name: str, names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return (
            f"there is {names[0]!r} alone: name what divides the cells in delimiter (settings.toml, [data])"
        )
    folded = {each.casefold(): each for each in names}
    near = [folded[each] for each in get_close_matches(name.casefold(), folded, 3)]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"


def _place(file: str) -> str:
    """The file as settings.toml names it: relative within the project, else absolute, or its URI."""
    if file.startswith(source.SCHEME):
        return file
    path, project = Path(file).expanduser().resolve(), Path.cwd().resolve()
    return str(path.relative_to(project) if path.is_relative_to(project) else path)


def _values(found: Found, present: Settings) -> dict[tuple[str, str], Any]:
    """Values by section and key of settings.toml."""
    wish, kept = found.wish, present.data
    kinds = {name: kept.kinds.get(name, "category") for name in found.of("kinds")}
    limits = {name: [*kept.facet_values[name]] for name in wish.facets if name in kept.facet_values}
    for limit in found.of("facet_values"):
        limits |= limit
    problem = found.of("problem")[0]
    head = found.header
    return {
        ("data", "target"): wish.target,
        ("data", "problem"): problem,
        ("data", "positive"): found.of("positive")[0],
        ("data", "facets"): [*wish.facets],
        ("data", "facet_values"): limits,
        ("data", "group"): wish.group,
        ("data", "ids"): found.of("ids"),
        ("data", "exclude"): found.of("exclude"),
        ("data", "missing"): [*found.columns.markers],
        ("data", "kinds"): kinds,
        ("data", "delimiter"): _delimiter(head, present),
        ("data", "decimal"): found.of("decimal")[0],
        ("data", "columns"): [] if head.has_line else [*head.names],
        ("split", "method"): found.of("method")[0],
        ("split", "key"): found.of("key")[0],
        ("split", "time"): found.of("time")[0],
        **{place: RESET[place] for place in RESET if found.of(".".join(place))},
    }


def _of_another_problem(problem: str, present: Settings) -> Iterator[Finding]:
    """Settings beyond [data] and [split] that do not fit the problem, as they were before anyone set them."""
    reset = {
        ("train", "class_weight"): problem == "regression" and present.train.class_weight != "none",
        ("gate", "metric"): present.gate.metric and present.gate.metric not in BETTER_HIGH[problem],
        ("gate", "threshold"): present.data.problem != problem and present.gate.threshold != "trivial",
        ("tune", "objective"): present.data.problem != problem and present.tune.objective != "",
    }
    for (section, key), unfit in reset.items():
        if unfit:
            old = getattr(getattr(present, section), key)
            why = f"was {old!r}, which is not for a {problem} problem"
            yield Finding(f"{section}.{key}", RESET[section, key], why)


def _delimiter(head: Header, present: Settings) -> str:
    """That of settings.toml if the file has it, else empty: it is found out."""
    kept = present.data.delimiter
    return kept if head.delimiter == kept else ""


def _told(found: Found, kinds: Mapping[str, str], present: Settings) -> Iterator[str]:
    """What was read, then a line for each finding that says anything."""
    rows, total = found.sample.table.num_rows, found.sample.total
    of_total = f" of {total:,}, drawn evenly from the whole file with seed {SEED}" if rows < total else ""
    yield f"{found.path}: {rows:,} rows{of_total}, {_columns(len(found.header.names))}"
    told = [*_format_told(found.header), ("target", found.wish.target, "as you say")]
    told += [(each.key, _shown(each.value), each.why) for each in found.findings if each.why]
    told += _features_told(found, kinds, present)
    widths = [max(len(line[place]) for line in told) for place in (0, 1)]
    for key, value, why in told:
        yield f"  {key:<{widths[0]}}  {value:<{widths[1]}}  {why}"


def _features_told(
    found: Found, kinds: Mapping[str, str], present: Settings
) -> Iterator[tuple[str, str, str]]:
    """How many numbers and categories the model sees, and which."""
    names = _features(found, present.data.facets_as_features)
    numeric = {name for name in names if found.columns.frame[name].dtype.kind == "f"}
    numbers = [name for name in names if kinds.get(name, "number" if name in numeric else "") == "number"]
    categories = [name for name in names if name not in numbers]
    for kind, those in (("number", numbers), ("category", categories)):
        if those:
            plural = {"number": "numbers", "category": "categories"}[kind] if len(those) > 1 else kind
            yield "features", f"{len(those):,} {plural}", roles.listed(those)


def _features(found: Found, with_facets: bool) -> list[str]:
    wish = found.wish
    others = {wish.target, wish.time, *found.of("ids"), *found.of("exclude"), *found.of("key")}
    others |= set() if with_facets else {*wish.facets}
    return [name for name in found.columns.frame if name not in others]


def _columns(number: int) -> str:
    return f"{number:,} column{'s' * (number != 1)}"


def _format_told(head: Header) -> Iterator[tuple[str, str, str]]:
    if head.delimiter not in ("", ","):
        name = DELIMITERS.get(head.delimiter, repr(head.delimiter))
        yield "delimiter", name, "divides the first line, and the others into as many cells"
    if not head.has_line:
        first, last = head.names[0], head.names[-1]
        yield "columns", f"{first} ... {last}", "no header: the first line looks like the rows below it"


def _shown(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value) or '""'


def _warned(found: Found, present: Settings) -> Iterator[str]:
    """What may go wrong with the data, a line each; nothing stops for it."""
    frame, labels, wish = found.columns.frame, found.columns.labels, found.wish
    problem, total = found.of("problem")[0], found.sample.total
    features = frame[_features(found, with_facets=False)]
    labelled = labels.notna()
    target = frame[wish.target] if problem == "regression" else labels
    fractions = {"validation": present.split.validation_fraction, "test": present.split.test_fraction}
    warnings: list[str] = []
    if not labelled.all():
        warnings.append(f"{(~labelled).mean():.1%} of the rows have no {wish.target} and are left out")
    warnings += pitfalls.leaks(features[labelled], target[labelled], problem == "regression")
    if problem != "regression":
        warnings += pitfalls.small_groups(labels[labelled], f"classes of {wish.target}", total, fractions)
    for name in (name for name in wish.facets if name not in present.data.facet_values):
        if not any(name in cut for cut in found.of("facet_values")):
            groups = pitfalls.groups(frame[name])
            warnings += pitfalls.small_groups(groups, f"groups of facet {name}", total, fractions)
    warnings += pitfalls.wide_categories(features)
    warnings += pitfalls.numbers_like_ids(features)
    return (f"warning: {text}" for text in warnings)


def _check(candidate: Path, values: dict[tuple[str, str], Any], path: Path) -> None:
    """Raises InputError if the settings could not be used, or the file not with them."""
    for env in settings.ENVIRONMENTS:
        loaded = settings.load(env, candidate)
        for (section, key), value in values.items():
            if _plain(getattr(getattr(loaded, section), key)) != _plain(value):
                raise InputError(
                    f"[env.{env}.{section}] sets {key}, so that what fits the file has no effect: "
                    f"take it out first ({settings.FILE})"
                )
    check_file(path, settings.load("local", candidate))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple | list) else value


def _next(present: Settings, found: Found) -> str:
    other = present.data.target != found.wish.target and STATE.exists()
    forget = "make clean (if a model of the earlier data was approved), then " if other else ""
    return f"next: {forget}make run"
