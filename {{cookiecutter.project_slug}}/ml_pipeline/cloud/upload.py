"""`upload FILE`: data of one period, in the environment's bucket, complete or absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import ClientError

from ml_pipeline import approved, delivery, periods, storage
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

# What --to takes -> what an execution may have done with such a period.
PLACES = {"raw": "trained on it", "score": "scored it", "truth": "used these labels"}


def upload(paths: Sequence[Path], to: str, period: str, replace: bool, settings: Settings) -> str:
    """URI of the period's folder, which holds the files and, last, `_SUCCESS`.

    Raises InputError for a period that is complete, or holds other files, unless it is to be replaced, and
    for rows that the approved model could not score, or labels that could not be joined with scores.
    """
    folder = periods.folder(period, settings, to)
    present = _present(folder, settings)
    if not replace:
        mark, names = f"{folder}/{periods.SUCCESS}", {path.name for path in paths}
        others = [name for uri in present if uri != mark and (name := uri.rpartition("/")[2]) not in names]
        _check(period, mark in present, others, PLACES[to])
    if to == "score":
        _check_rows(paths, settings)
    if to == "truth":
        for path in paths:
            delivery.check_labels(path, period, None, settings)
    delivery.put(paths, folder)
    return f"{folder}/"


def is_scored(period: str, settings: Settings) -> bool:
    """Whether the period's rows have scores, so that only an execution that names it scores it again."""
    return periods.is_complete(period, settings, "output")


def _check_rows(paths: Sequence[Path], settings: Settings) -> None:
    package = approved.newest(settings.prefix)
    if package is None:
        print("note: no version is approved yet, so that the columns could not be checked", flush=True)
        return
    delivery.check_rows(paths, approved.spec(package, settings), settings)


def _present(folder: str, settings: Settings) -> list[str]:
    """URIs of the objects in the folder. Raises InputError when there is no bucket."""
    try:
        return [uri for uri, _ in storage.list_uris(f"{folder}/")]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        raise InputError(
            f"there is no bucket {settings.bucket}: `python -m ml_pipeline deploy "
            f"{settings.options}` makes it; nothing was uploaded"
        ) from None


def _check(period: str, complete: bool, others: list[str], done: str) -> None:
    if complete:
        raise InputError(
            f"period {period} is complete already, and an execution may have {done}: name another one "
            "with --period, or give --replace (the bucket keeps the old versions)"
        )
    if others:
        raise InputError(
            f"period {period} holds {', '.join(others)} of an upload that has not ended: finish that one, "
            "name another one with --period, or give --replace"
        )
