"""The local half of `smoke`: `python -m ml_pipeline.cloud.smoke_local FILE JSON`, apart."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ml_pipeline.cloud.access import settings_of
from ml_pipeline.local import ACCOUNT, LocalAws, prepare


def main(path: str, shared: str) -> int:
    """Writes recordings of both pipelines on an empty local AWS to a file. shared: smoke.SHARED, as JSON."""
    given = json.loads(shared)
    settings = settings_of(given["env"], given["suffix"])
    settings = replace(
        settings,
        subnets=tuple(given["subnets"]),
        security_groups=tuple(given["security_groups"]),
        kms_key_arn=given["kms_key_arn"],
    )
    with tempfile.TemporaryDirectory() as state, LocalAws(Path(state), settings.region) as aws:
        from ml_pipeline import source, upsert
        from ml_pipeline.cloud import smoke

        aws.connect()
        settings = smoke.small(upsert.resolved(settings, ACCOUNT))
        prepare(settings)
        data = source.local_file(settings.data.file)
        ran = smoke.executed(settings, data)
        found = {name: smoke.record(arn, settings.prefix).to_json() for name, arn in ran.items()}
    Path(path).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
