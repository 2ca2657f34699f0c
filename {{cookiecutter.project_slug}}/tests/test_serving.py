"""The real server process, answering real requests about a small real Booster."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from ml_pipeline import ubjson
from ml_pipeline.features import Category, FeatureSpec, Number, Target, Texts
from ml_pipeline.payloads import read_csv, write_csv
from ml_pipeline.serving import Model, ModelError, load_model

SPEC = FeatureSpec(
    ids=("id",),
    features=(
        Number("income", median=50.0, center=50.0, scale=10.0),
        Category("purpose", ("boat", "car, used")),
    ),
    target=Target("approved", "binary", ("no", "yes"), "yes"),
    missing=("?",),
)
ROWS = [[60, "boat"], [41.5, "car, used"], [None, "plane"], [55, None]]
ENCODED = np.array([[1, 0], [-0.85, 1], [0, -1], [0.5, -2]], np.float32)
CSV = b'60,boat\n41.5,"car, used"\n?,plane\n55,\n'


def trained(
    spec: FeatureSpec, objective: str, labels: Callable[[np.ndarray], np.ndarray], **more: object
) -> Model:
    rng = np.random.default_rng(3)
    incomes, purposes = rng.normal(50, 10, 400), rng.choice(["boat", "car, used", None, "other"], 400)
    encoded = spec.encode({"income": incomes, "purpose": purposes.astype(object)})
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, **more}
    booster = xgboost.train(parameters, xgboost.DMatrix(encoded, labels(encoded)), 8)
    booster.set_attr(decision_threshold="0.3")
    return Model(spec, booster, 0.3)


def stored(model: Model, folder: Path) -> Path:
    model.booster.save_model(folder / "model.ubj")
    (folder / "feature_spec.json").write_text(model.spec.to_json())
    return folder


@pytest.fixture(scope="module")
def model() -> Model:
    """Its threshold is the second lowest score of ROWS: all but one are positive."""
    model = trained(SPEC, "binary:logistic", lambda x: (x[:, 0] + x[:, 1] > 0.2).astype(int))
    threshold = float(np.sort(model.score(ENCODED).scores)[1])
    model.booster.set_attr(decision_threshold=repr(threshold))
    return Model(SPEC, model.booster, threshold)


@pytest.fixture(scope="module")
def port(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = stored(model, tmp_path_factory.mktemp("model"))
    more = {"SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port), "SERVING_HOST": "127.0.0.1"}
    server = subprocess.Popen([sys.executable, "-m", "ml_pipeline.serving"], env=os.environ | more)
    try:
        wait_for_ping(server, port)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def wait_for_ping(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        try:
            assert ask(port, "/ping")[0] == 200
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError(f"no answer to /ping; exit code {server.poll()}")


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(
        "GET" if body is None else "POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()}
    )
    response = connection.getresponse()
    return response.status, response.read()


def invoke(port: int, body: bytes, content_type: str = "text/csv", **headers: str) -> tuple[int, str]:
    status, content = ask(port, "/invocations", body, Content_Type=content_type, **headers)
    return status, content.decode()


def expected(model: Model) -> list[tuple[str, float]]:
    """Labels and scores from the Booster alone."""
    scores = model.booster.predict(xgboost.DMatrix(ENCODED))
    return [("no" if score == scores.min() else "yes", float(str(score))) for score in scores]


def refusal(answer: tuple[int, str]) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["error"]


def parquet(columns: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


def test_scores_are_the_boosters_and_labels_follow_the_threshold(port, model):
    status, content = invoke(port, CSV)
    rows = [line.split(",") for line in content.splitlines()]
    assert status == 200
    assert [(label, float(score)) for label, score in rows] == expected(model)


NAMED = [{"income": income, "purpose": purpose, "note": "x"} for income, purpose in ROWS]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv; charset=utf-8", CSV.replace(b"\n", b"\r\n")),
        (
            "text/csv; header=present",
            b'note, purpose ,income\nx,boat, 60\n,"car, used",41.5\n,plane,?\n,,55\n',
        ),
        ("application/jsonlines", "\n".join(map(json.dumps, ROWS)).encode()),
        ("application/jsonlines", "\n".join(map(json.dumps, NAMED)).encode() + b"\n"),
        ("application/json", json.dumps(ROWS).encode()),
        ("application/json", json.dumps({"instances": NAMED}).encode()),
        (
            "application/x-parquet",
            parquet(
                {"purpose": [row[1] for row in ROWS], "income": [row[0] for row in ROWS], "note": [[1]] * 4}
            ),
        ),
        (
            "application/x-parquet",
            parquet(
                {
                    "income": ["60", "41.5", None, " 55"],
                    "purpose": pd.Categorical(["boat", "car, used", "plane", None]),
                }
            ),
        ),
    ],
)
def test_every_format_of_the_same_rows_gets_the_same_answer(port, content_type, body):
    assert invoke(port, body, content_type) == invoke(port, CSV)


def test_a_padded_marker_and_a_padded_category_read_as_in_training(port):
    assert invoke(port, b"60 , boat\n ? ,plane \n, ?\n") == invoke(port, b"60,boat\n?,plane\n?,?\n")


def test_nan_is_a_missing_value(port):
    assert invoke(port, b"nan,boat\nNaN,boat\n") == invoke(port, b",boat\n,boat\n")


def test_a_single_json_row_is_answered_as_one_row(port):
    for row in (ROWS[0], NAMED[0]):
        assert invoke(port, json.dumps(row).encode(), "application/json") == invoke(port, b"60,boat\n")


def test_json_lines_hold_what_csv_holds(port, model):
    _, lines = invoke(port, CSV, Accept="application/jsonlines")
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [(row["predicted_label"], row["score"]) for row in rows] == expected(model)
    _, document = invoke(port, CSV, Accept="application/json")
    assert json.loads(document) == {"predictions": rows}


def test_attributions_sum_to_the_margin(port, model):
    _, lines = invoke(
        port,
        CSV,
        Accept="application/jsonlines",
        X_Amzn_SageMaker_Custom_Attributes="trace=1, attributions=true",
    )
    rows = [json.loads(line) for line in lines.splitlines()]
    names = ["attribution_income", "attribution_purpose", "attribution_bias"]
    assert [list(row)[2:] for row in rows] == [names] * 4
    margins = [np.log(row["score"] / (1 - row["score"])) for row in rows]
    np.testing.assert_allclose([sum(row[name] for name in names) for row in rows], margins, atol=1e-5)


@pytest.mark.parametrize("accept", ["*/*", "text/html, text/csv;q=0.9", "TEXT/CSV"])
def test_csv_is_answered_where_it_will_do(port, accept):
    assert invoke(port, CSV, Accept=accept) == invoke(port, CSV)


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("text/csv", b"60,boat\nabc,boat\n", "row 2, column income: 'abc' is not a number"),
        ("text/csv", b"60,boat\n1,boat\ninf,boat\n", "row 3, column income: inf is not a finite number"),
        (
            "text/csv",
            b"60,boat\n60\n",
            "Row #2: Expected 2 columns, got 1: 60; the columns are income, purpose",
        ),
        ("text/csv", b"", "Empty CSV file"),
        ("text/csv", b"60,\xff\n", "invalid UTF8"),
        (
            "text/csv; header=present",
            b"income,note\n1,2\n",
            "no column purpose; the columns are income, note",
        ),
        ("text/csv; header=present", b"income,purpose,income\n1,a,2\n", "more than one column income"),
        ("text/csv; header=present", b"income,purpose\n", "no rows"),
        ("text/csv; header=present", b"", "no header"),
        ("text/csv; header=present", b"income,purpose\n60,\xff\n", "invalid UTF8"),
        ("application/jsonlines", b'[1, "boat"]\n[1, \n', "row 2: not JSON"),
        ("application/jsonlines", b'[1, "boat"]\n{"income": 1}', "row 2: no purpose; null stands for"),
        ("application/jsonlines", b"[1]", "row 1: expected 2 values, got 1; the columns are income, purpose"),
        ("application/jsonlines", b'[true, "boat"]', "row 1, column income: True is not a number"),
        ("application/jsonlines", b'[Infinity, "boat"]', "row 1, column income: inf is not a finite number"),
        ("application/jsonlines", b'[1, ["boat"]]', "row 1, column purpose: ['boat'] is not a text"),
        ("application/jsonlines", b"5", "row 1: expected an array or an object, got 5"),
        ("application/jsonlines", b"\n", "no rows"),
        ("application/json", b'{"instances": []}', "no rows"),
        ("application/json", b'{"instances": 5}', "expected rows or"),
        ("application/json", b"[" * 100000, "not JSON"),
        ("application/json", b"", "not JSON"),
        ("application/x-parquet", b"PAR1 nonsense", "not a parquet file"),
        ("application/x-parquet", parquet({"income": [1.0]}), "no column purpose"),
        ("application/x-parquet", parquet({"income": [[1]], "purpose": ["boat"]}), "[1] is not a number"),
    ],
)
def test_a_malformed_body_is_refused_with_400_and_its_place(port, content_type, body, message):
    status, error = refusal(invoke(port, body, content_type))
    assert status == 400 and message in error


@pytest.mark.parametrize(
    "content_type", ["", "text/libsvm", "text/csv; charset=latin-1", "text/csv; header=maybe"]
)
def test_an_unknown_content_type_is_refused_with_415(port, content_type):
    assert refusal(invoke(port, CSV, content_type))[0] == 415


def test_an_unknown_accept_is_refused_with_406_and_the_known_ones(port):
    status, error = refusal(invoke(port, CSV, Accept="application/x-recordio-protobuf"))
    assert status == 406 and "text/csv, application/jsonlines" in error


def test_execution_parameters_fit_what_batch_transform_allows(port):
    _, body = ask(port, "/execution-parameters")
    parameters = json.loads(body)
    assert parameters["BatchStrategy"] == "MULTI_RECORD" and parameters["MaxConcurrentTransforms"] >= 1
    assert parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100


def test_of_several_classes_each_has_a_score_and_the_highest_is_the_label(tmp_path):
    target = Target("kind", "multiclass", ("a", 'b "x"', "c"), "")
    spec = FeatureSpec((), SPEC.features, target, ())
    labels = trained(spec, "multi:softprob", lambda x: np.digitize(x[:, 0], [-0.5, 0.5]), num_class=3)
    model = load_model(stored(labels, tmp_path))
    columns = {"income": np.array([20.0, 50.0, 80.0]), "purpose": np.full(3, "boat", object)}
    predictions = model.predict(columns)
    assert list(predictions.columns) == ["predicted_label", "score_a", 'score_b "x"', "score_c"]
    assert [target.classes[place] for place in predictions.places] == ["a", 'b "x"', "c"]
    np.testing.assert_allclose(predictions.scores.sum(axis=1), 1, atol=1e-6)
    encoded = spec.encode(columns)
    margins = model.booster.predict(xgboost.DMatrix(encoded), output_margin=True)
    attributions = model.attributions(encoded, predictions.places)
    np.testing.assert_allclose(attributions.sum(axis=1), margins[range(3), predictions.places], atol=1e-5)


def test_a_regression_answers_the_number(tmp_path):
    spec = FeatureSpec((), SPEC.features, Target("price", "regression", (), ""), ())
    model = load_model(stored(trained(spec, "reg:squarederror", lambda x: x[:, 0] * 7), tmp_path))
    predictions = model.predict({"income": np.array([40.0]), "purpose": np.array(["boat"], object)})
    assert list(predictions.columns) == ["prediction"]
    assert predictions.scores == model.booster.predict(xgboost.DMatrix(np.array([[-1.0, 0.0]], np.float32)))


def test_a_line_break_within_quotes_ends_no_row_of_a_body_of_any_length():
    rows = 300_000  # 3 MB, which is read in parts
    columns = read_csv(b'60,"a\nb"\n' * rows, SPEC, header=False)
    assert columns["income"].tolist() == [60.0] * rows
    assert columns["purpose"].counts() == {"a\nb": rows}


def test_a_label_with_a_comma_is_quoted():
    label = Texts(np.array(["a,b", "c"], object), np.array([1, 0]))
    assert write_csv({"predicted_label": label, "score": np.array([0.5, 0.25])}) == b'"c",0.5\n"a,b",0.25\n'


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -50, -1])
def test_a_cut_off_model_is_refused_before_xgboost_reads_it(model, tmp_path, kept):
    folder = stored(model, tmp_path)
    content = (folder / "model.ubj").read_bytes()
    (folder / "model.ubj").write_bytes(content[: int(len(content) * kept) if kept == 0.5 else kept])
    with pytest.raises(ModelError, match=r"model\.ubj is no XGBoost model in UBJSON: cut off after"):
        load_model(folder)


def test_a_whole_model_passes_as_ubjson_and_a_longer_one_does_not(model):
    content = bytes(model.booster.save_raw("ubj"))
    ubjson.check(content)
    with pytest.raises(ubjson.UbjsonError, match="1 bytes too many"):
        ubjson.check(content + b"}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.ubj").unlink(), r"model\.ubj cannot be read: No such file"),
        (lambda folder: (folder / "model.ubj").write_bytes(b"nonsense"), "no type"),
        (lambda folder: (folder / "model.ubj").write_bytes(b"{}"), "is no XGBoost model"),
        (
            lambda folder: (folder / "feature_spec.json").write_text("{}"),
            "feature_spec.json: not a feature spec",
        ),
        (
            lambda folder: (folder / "feature_spec.json").write_text(
                FeatureSpec((), SPEC.features[:1], SPEC.target, ()).to_json()
            ),
            "takes 2 features, its spec has 1",
        ),
        (
            lambda folder: (folder / "feature_spec.json").write_text(
                FeatureSpec((), SPEC.features, Target("k", "multiclass", ("a", "b"), ""), ()).to_json()
            ),
            "needs the objective multi:softprob, got binary:logistic",
        ),
    ],
)
def test_a_broken_model_folder_is_refused_by_file(model, tmp_path, change, message):
    change(stored(model, tmp_path))
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


def test_a_binary_model_without_a_threshold_is_refused(model, tmp_path):
    booster = model.booster.copy()
    booster.set_attr(decision_threshold=None)
    with pytest.raises(ModelError, match=r"decision_threshold must be in \[0, 1\], got None"):
        load_model(stored(Model(SPEC, booster, 0.3), tmp_path))


def test_a_broken_model_ends_the_server_with_one_line_and_exit_code_1(tmp_path):
    environment = os.environ | {"SM_MODEL_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "ml_pipeline.serving"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert (
        ended.stderr == f"serving: {tmp_path}/feature_spec.json cannot be read: No such file or directory\n"
    )
