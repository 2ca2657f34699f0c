"""Which raw data an execution takes that was given none."""

from dataclasses import replace
from datetime import UTC, datetime

import boto3
import pytest
from conftest import REGION

from ml_pipeline import periods, run, storage
from ml_pipeline.dialect import DataError
from ml_pipeline.errors import InputError


def put(bucket: str, *keys: str) -> None:
    for key in keys:
        storage.write_bytes(f"s3://{bucket}/raw/{key}", b"")


def test_the_default_means_the_newest_complete_period(bucket, settings):
    put(bucket, "2026-09-30/a.csv", "2026-09-30/_SUCCESS", "2026-10-02/a.csv", "2026-10-02/_SUCCESS")
    put(bucket, "2026-10-03/a.csv", "latest/_SUCCESS", "2026-99-99/_SUCCESS")
    for default in (f"s3://{bucket}/raw/", f"s3://{bucket}/raw"):
        assert periods.taken(default, settings()) == f"s3://{bucket}/raw/2026-10-02/"


def test_the_data_of_a_local_run_are_no_period_whose_labelled_rows_they_would_keep_away(
    bucket, settings, tmp_path
):
    path = tmp_path / "data.csv"
    path.write_text("a\n1\n")
    uri = run._uploaded(path, settings())
    assert storage.read_bytes(uri) == b"a\n1\n" and periods.taken(uri, settings()) == uri
    assert periods.present(settings()) == []
    with pytest.raises(DataError, match=r"no complete period .* `python -m ml_pipeline score --truth FILE`"):
        periods.taken(f"s3://{bucket}/raw/", settings())


def test_any_other_place_is_taken_as_it_is(bucket, settings):
    for uri in (f"s3://{bucket}/raw/2026-10-03/", f"s3://{bucket}/raw/x.csv", "s3://another/raw/"):
        assert periods.taken(uri, settings()) == uri


def test_without_a_complete_period_the_command_that_makes_one_is_named(bucket, settings):
    dev = replace(settings(), env="dev", suffix="ana")
    boto3.client("s3").create_bucket(
        Bucket=dev.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    put(dev.bucket, "2026-10-03/a.csv")
    command = r"`python -m ml_pipeline upload FILE --env dev --suffix ana"
    with pytest.raises(DataError, match=rf"no complete period .* {command}` makes one"):
        periods.taken(f"s3://{dev.bucket}/raw/", dev)
    with pytest.raises(
        DataError, match=rf"nothing there to score; {command} --to score --period 2026-10-03`"
    ):
        periods.to_score("2026-10-03", datetime(2026, 10, 4, tzinfo=UTC), dev)


@pytest.mark.parametrize("text", ["20260105", "2026-W02-1", "2026-1-5", "2026-02-30", "05.01.2026", ""])
def test_a_period_is_written_in_one_way_alone(text):
    assert periods.checked("2026-01-05") == "2026-01-05"
    with pytest.raises(InputError, match="--period must be a date as YYYY-MM-DD, got"):
        periods.checked(text)
