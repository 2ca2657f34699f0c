"""Raw data by period: `raw/<YYYY-MM-DD>/`, complete once it holds `_SUCCESS`."""

from __future__ import annotations

from datetime import date

from ml_pipeline import storage
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError
from ml_pipeline.settings import Settings

SUCCESS = "_SUCCESS"


def folder(period: str, settings: Settings) -> str:
    return f"s3://{settings.bucket}/raw/{period}"


def checked(text: str) -> str:
    """The period that a user named. Raises InputError for what is no date."""
    if is_period(text):
        return text
    raise InputError(f"--period must be a date as YYYY-MM-DD, got {text!r}")


def is_period(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def taken(raw_data_uri: str, settings: Settings) -> str:
    """The place itself; of `s3://<bucket>/raw/`, the default, the newest complete period below it.

    Raises DataError when there is none.
    """
    if raw_data_uri.rstrip("/") != f"s3://{settings.bucket}/raw":
        return raw_data_uri
    for period in reversed(present(settings)):
        if is_complete(period, settings):
            return f"{folder(period, settings)}/"
    raise DataError(
        f"{raw_data_uri}: no complete period below it (raw/<YYYY-MM-DD>/ with _SUCCESS): "
        f"`python -m ml_pipeline upload FILE --env {settings.env}` makes one"
    )


def present(settings: Settings) -> list[str]:
    """Periods with any object, the oldest first."""
    return sorted(name for name in storage.folders(f"s3://{settings.bucket}/raw/") if is_period(name))


def is_complete(period: str, settings: Settings) -> bool:
    mark = f"{folder(period, settings)}/{SUCCESS}"
    return mark in (uri for uri, _ in storage.list_uris(mark))
