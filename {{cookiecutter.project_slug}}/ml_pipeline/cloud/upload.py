"""`upload FILE`: labelled data of one period, in the environment's bucket, complete or absent."""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ClientError

from ml_pipeline import periods, storage
from ml_pipeline.cloud import infrastructure
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings


def upload(path: Path, period: str, replace: bool, settings: Settings) -> str:
    """URI of the period's folder, which holds the file and, last, `_SUCCESS`.

    Raises InputError for a period that is complete, or holds other files, unless it is to be replaced.
    """
    folder = periods.folder(period, settings)
    mark, target = f"{folder}/{periods.SUCCESS}", f"{folder}/{path.name}"
    present = _present(folder, settings)
    others = [uri for uri in present if uri not in (mark, target)]
    if not replace:
        _check(period, mark in present, [uri.rpartition("/")[2] for uri in others])
    # Without its mark first, so that no execution takes a period that is half replaced.
    for uri in [mark, *others] if present else []:
        storage.delete(uri)
    storage.upload(path, target)
    storage.mark_success(folder)
    return f"{folder}/"


def _present(folder: str, settings: Settings) -> list[str]:
    """URIs of the objects in the folder. Raises InputError when there is no bucket."""
    try:
        return [uri for uri, _ in storage.list_uris(f"{folder}/")]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        raise InputError(
            f"there is no bucket {settings.bucket}: `python -m ml_pipeline deploy "
            f"{infrastructure.options(settings)}` makes it; nothing was uploaded"
        ) from None


def _check(period: str, complete: bool, others: list[str]) -> None:
    if complete:
        raise InputError(
            f"period {period} is complete already, and an execution may have trained on it: name another one "
            "with --period, or give --replace (the bucket keeps the old versions)"
        )
    if others:
        raise InputError(
            f"period {period} holds {', '.join(others)} of an upload that has not ended: finish that one, "
            "name another one with --period, or give --replace"
        )
