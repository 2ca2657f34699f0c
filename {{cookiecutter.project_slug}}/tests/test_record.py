"""What a step was called with and returned is kept beside its artefacts."""

import numpy as np
import pytest

from ml_pipeline import storage
from ml_pipeline.record import recorded


def test_arguments_and_result_are_written_and_success_last(bucket, settings, monkeypatch):
    def double(number, execution_id, settings):
        return {"double": number * 2}

    written, write = [], storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda uri, body: written.append(uri) or write(uri, body))
    assert recorded(double)(4, "e1", settings()) == {"double": 8}
    folder = settings().uri("e1", "double")
    names = ("arguments.json", "lineage.json", "result.json", "_SUCCESS")
    assert written == [f"{folder}/{name}" for name in names]
    assert storage.read_json(f"{folder}/arguments.json") == {"number": 4, "execution_id": "e1"}
    assert storage.read_json(f"{folder}/result.json") == {"double": 8}
    made_of = storage.read_json(f"{folder}/lineage.json")
    assert made_of["settings"]["data"]["target"] == settings().data.target
    assert made_of["versions"]["numpy"] == np.__version__


def test_a_step_that_raises_leaves_its_arguments_and_no_success(bucket, settings):
    def broken(execution_id, settings):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        recorded(broken)("e1", settings())
    folder = settings().uri("e1", "broken")
    assert [uri for uri, _ in storage.list_uris(folder)] == [
        f"{folder}/{name}.json" for name in ("arguments", "lineage")
    ]


@pytest.mark.parametrize(
    "result", [{"auc": np.float32(0.5)}, {"auc": float("nan")}, {"di": float("inf")}, [1], None]
)
def test_a_result_that_is_not_plain_json_is_refused(bucket, settings, result):
    def measure(execution_id, settings):
        return result

    with pytest.raises(TypeError, match="measure must return a dict of JSON types"):
        recorded(measure)("e1", settings())
