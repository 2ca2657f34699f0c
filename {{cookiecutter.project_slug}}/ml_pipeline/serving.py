"""The model behind SageMaker's container contract: /ping, /invocations, /execution-parameters.

Raw rows come in as CSV, JSON Lines, JSON or parquet; predictions go out as CSV, JSON Lines or JSON.
Scikit-learn and pandas stay out of here: they would triple the time to the first /ping.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ml_pipeline import ubjson
from ml_pipeline.features import FeatureSpec, RowError, SpecError, Target, Texts
from ml_pipeline.payloads import READERS, WRITERS, PayloadError

if TYPE_CHECKING:
    import xgboost

MAX_BODY_BYTES = 100 * 2**20  # the most that batch transform sends
PAYLOAD_MB = 6  # what /execution-parameters asks for; times MAX_CONCURRENT SageMaker allows 100
MAX_CONCURRENT = 16
ARTIFACT = ("model.ubj", "feature_spec.json")  # all that model.tar.gz holds
OBJECTIVES = {"binary": "binary:logistic", "multiclass": "multi:softprob"}
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class ModelError(ValueError):
    """A model folder that cannot be served; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Predictions:
    """scores: probability of the positive class, shape (n,), or of each class, (n, classes); or the number.

    places: index of the predicted class, shape (n,); zeros for regression.
    """

    target: Target
    scores: np.ndarray
    places: np.ndarray

    @property
    def columns(self) -> dict[str, np.ndarray | Texts]:
        """Output columns by name, in order."""
        if self.target.problem == "regression":
            return {"prediction": self.scores}
        label = {"predicted_label": Texts(np.array(self.target.classes, dtype=object), self.places)}
        if self.target.problem == "binary":
            return label | {"score": self.scores}
        return label | {f"score_{name}": self.scores[:, i] for i, name in enumerate(self.target.classes)}


@dataclass(frozen=True)
class Model:
    """A Booster and what turns raw rows into its input. threshold: score from which a row is positive."""

    spec: FeatureSpec
    booster: xgboost.Booster
    threshold: float

    def predict(self, columns: Mapping[str, np.ndarray | Texts]) -> Predictions:
        """Predictions for raw columns by name. Raises RowError for a cell that cannot be read."""
        return self.score(self.spec.encode(columns))

    def score(self, encoded: np.ndarray) -> Predictions:
        """Predictions for encoded rows, float32, shape (n, features)."""
        scores = self.booster.inplace_predict(encoded)
        if self.spec.target.problem == "multiclass":
            places = scores.argmax(axis=1)
        elif self.spec.target.problem == "binary":
            places = (scores >= self.threshold).astype(np.int64)
        else:
            places = np.zeros(len(scores), np.int64)
        return Predictions(self.spec.target, scores, places)

    def attributions(self, encoded: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Exact TreeSHAP of the margin (log-odds, or the number), shape (n, features + 1).

        The last column is the expected value; a row's columns sum to its margin. Of several classes it is the
        predicted one's.
        """
        import xgboost

        rows = xgboost.DMatrix(encoded, feature_names=self.booster.feature_names)
        contributions = self.booster.predict(rows, pred_contribs=True)
        return contributions[np.arange(len(places)), places] if contributions.ndim == 3 else contributions


def load_model(folder: Path) -> Model:
    """The model in `model.ubj` and `feature_spec.json`; nothing in there can run code.

    Raises ModelError for a file that is absent, broken or does not fit the other.
    """
    spec, path = _load_spec(folder / ARTIFACT[1]), folder / ARTIFACT[0]
    booster = _load_booster(path)
    if booster.num_features() != len(spec.features):
        raise ModelError(f"{path} takes {booster.num_features()} features, its spec has {len(spec.features)}")
    if booster.feature_names is not None and tuple(booster.feature_names) != spec.names:
        raise ModelError(f"{path} was trained on features of other names than its spec has")
    binary = spec.target.problem == "binary"
    model = Model(spec, booster, _threshold(booster, path) if binary else 0.0)
    _check_scores(model, path)
    return model


def build_app(model: Model) -> Starlette:
    """The ASGI application that answers SageMaker for the model."""

    async def ping(request: Request) -> Response:
        return Response()

    async def execution_parameters(request: Request) -> Response:
        concurrent = min(os.cpu_count() or 1, MAX_CONCURRENT)
        return JSONResponse(
            {
                "MaxConcurrentTransforms": concurrent,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": PAYLOAD_MB,
            }
        )

    async def invocations(request: Request) -> Response:
        try:
            call = _call(request)
            body = await _body(request)
            content = await run_in_threadpool(answer, model, body, call)
        except RequestError as error:
            return JSONResponse({"error": str(error)}, error.status)
        return Response(content, media_type=call.accept)

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/execution-parameters", execution_parameters),
            Route("/invocations", invocations, methods=["POST"]),
        ]
    )


class RequestError(ValueError):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """What the headers of a request ask for."""

    content_type: str
    header: bool
    accept: str
    attributions: bool


def answer(model: Model, body: bytes | bytearray, call: Call) -> bytes:
    """Response body for a request body. Raises RequestError with status 400 for rows that cannot be read."""
    try:
        columns = READERS[call.content_type](body, model.spec, call.header)
        encoded = model.spec.encode(columns)
    except (PayloadError, RowError) as error:
        raise RequestError(400, str(error)) from None
    predictions = model.score(encoded)
    outputs = predictions.columns
    if call.attributions:
        names = [f"attribution_{name}" for name in (*model.spec.names, "bias")]
        outputs |= dict(zip(names, model.attributions(encoded, predictions.places).T, strict=True))
    return WRITERS[call.accept](outputs)


def main() -> None:
    """Serves the model of SM_MODEL_DIR on port SAGEMAKER_BIND_TO_PORT until SIGTERM."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else requests at a time spin against each other
    sys.meta_path.insert(0, _Absent())
    folder = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    if not port.isdigit():
        sys.exit(f"serving: SAGEMAKER_BIND_TO_PORT must be a port number, got {port!r}")
    try:
        model = load_model(folder)
    except ModelError as error:
        sys.exit(f"serving: {error}")
    host = os.environ.get("SERVING_HOST", "0.0.0.0")
    uvicorn.run(
        build_app(model), host=host, port=int(port), log_level="warning", access_log=False, lifespan="off"
    )


class _Absent:
    """Makes xgboost and pyarrow, for which they are optional, do without: they cost 3 s at the start."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in ("sklearn", "pandas"):
            raise ModuleNotFoundError(f"serving does without {name}", name=name)


def _call(request: Request) -> Call:
    content_type, *parameters = _parts(request.headers.get("content-type", ""), ";")
    if content_type not in READERS:
        raise RequestError(415, f"Content-Type must be one of {', '.join(READERS)}, got {content_type!r}")
    for parameter in parameters:
        if parameter not in ("header=present", "header=absent", "charset=utf-8"):
            raise RequestError(415, f"Content-Type {content_type} takes no {parameter!r}")
    wanted = _parts(request.headers.get("accept", "*/*"), ",")
    accepted = ["text/csv" if kind == "*/*" else kind for kind in (_parts(item, ";")[0] for item in wanted)]
    accept = next((kind for kind in accepted if kind in WRITERS), None)
    if accept is None:
        raise RequestError(406, f"Accept must be one of {', '.join(WRITERS)}, got {', '.join(accepted)!r}")
    attributes = _parts(request.headers.get(ATTRIBUTES, ""), ",")
    return Call(content_type, "header=present" in parameters, accept, "attributions=true" in attributes)


def _parts(header: str, separator: str) -> list[str]:
    return [part.strip().lower() for part in header.split(separator)]


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(413, f"the body must have at most {MAX_BODY_BYTES:,} bytes; send fewer rows")
    return body


def _load_spec(path: Path) -> FeatureSpec:
    try:
        return FeatureSpec.from_json(_read(path))
    except SpecError as error:
        raise ModelError(f"{path}: {error}") from None


def _load_booster(path: Path) -> xgboost.Booster:
    content = _read(path)
    try:
        ubjson.check(content)
    except ubjson.UbjsonError as error:
        raise ModelError(f"{path} is no XGBoost model in UBJSON: {error}") from None
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no XGBoost model: {str(error).splitlines()[0]}") from None
    return booster


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def _threshold(booster: xgboost.Booster, path: Path) -> float:
    text = booster.attr("decision_threshold")
    try:
        threshold = float(text or "")
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise ModelError(f"{path}: its attribute decision_threshold must be in [0, 1], got {text!r}")
    return threshold


def _check_scores(model: Model, path: Path) -> None:
    """Scores a row: the objective must give what the problem needs."""
    problem, row = model.spec.target.problem, np.zeros((1, len(model.spec.features)), np.float32)
    objective = json.loads(model.booster.save_config())["learner"]["objective"]["name"]
    if objective != OBJECTIVES.get(problem, objective):
        raise ModelError(
            f"{path}: a {problem} model needs the objective {OBJECTIVES[problem]}, got {objective}"
        )
    shape = model.booster.inplace_predict(row).shape
    wanted = (1, len(model.spec.target.classes)) if problem == "multiclass" else (1,)
    if shape != wanted:
        raise ModelError(f"{path}: a {problem} model gives {wanted} scores for a row, got {shape}")


if __name__ == "__main__":
    main()
