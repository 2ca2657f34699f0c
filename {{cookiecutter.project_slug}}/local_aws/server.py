"""HTTP on loopback: SageMaker's operations are ours, S3's bodies lie in files, moto answers the rest."""

import json
import re
import socket
import threading
import traceback
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

from local_aws import connections, faults, joblog, moto_gaps
from local_aws.codebuild import Builds
from local_aws.ecr import PREFIX, Layers, replaced_body
from local_aws.objects import FileS3
from local_aws.sagemaker import ApiError, SageMaker

JSON = "application/x-amz-json-1.1"
BY_MOTO = (
    "budgets",
    "codebuild",
    "codepipeline",
    "ec2",
    "ecr",
    "events",
    "iam",
    "kms",
    "logs",
    "monitoring",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "sts",
    "tagging",
)
WEB_IDENTITY = b"AssumeRoleWithWebIdentity"
LOG_STREAMS = "Logs_20140328.DescribeLogStreams"
OWN = "/local-aws/"  # what no AWS has
ANSWERED = ("sagemaker", "s3", "cloudformation", "scheduler", *connections.SERVICES, *BY_MOTO)


class Handler(MotoRequestHandler):
    """moto's handler (it keeps S3's metadata headers), in HTTP/1.1 and without a line for each request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *args: object) -> None:
        """Says nothing: a run makes thousands of requests."""


class Front:
    """The WSGI application: one entry for every AWS client."""

    def __init__(self, api: SageMaker) -> None:
        self.api = api
        self.moto = DomainDispatcherApplication(create_backend_app)
        # It lists moto's own folder at each request to find out who answers.
        self.moto.get_backend_for_host = cache(self.moto.get_backend_for_host)
        self.layers = Layers(api)
        self.s3 = FileS3(self.moto, api.state.folder, api.account)
        self.builds = Builds(api)
        self._asked: set[str] = set()
        self.connections = connections.Connections(api.account)
        self._stacks: Any = None
        self._lock = threading.Lock()
        by_itself = dict.fromkeys(("events", "monitoring"), self._started_by_itself)
        self._services: dict[str, Callable[[dict], Callable]] = {
            **dict.fromkeys(BY_MOTO, self._moto),
            **dict.fromkeys(connections.SERVICES, self._connections),
            **by_itself,
            "cloudformation": self._cloudformation,
            "codebuild": self._codebuild,
            "ecr": self._ecr,
            "logs": self._logs,
            "s3": lambda environ: self.s3,
            "sagemaker": self._sagemaker,
            "scheduler": partial(self._events, part="scheduler"),
        }
        self._own: dict[str, Callable[[dict], Callable]] = {
            "allowed": lambda environ: _json(200, {"allowed": api.iam.allowed()}),
            "clock": partial(self._events, part="own"),
            "deliveries": partial(self._events, part="own"),
            "denials": self._denials,
            "faults": self._faults,
            "layers": lambda environ: self.layers.download(environ["PATH_INFO"]),
        }

    def __call__(self, environ: dict, start_response: Callable) -> Any:
        return self._application(environ)(environ, start_response)

    def _application(self, environ: dict) -> Callable:
        service = service_of(environ)
        if service in self._services:
            return self._services[service](environ)
        own = environ["PATH_INFO"].removeprefix(OWN).partition("/")[0]
        if service is None and environ["PATH_INFO"].startswith(OWN) and own in self._own:
            return self._own[own](environ)
        return _refusal(environ, service)

    def _moto(self, environ: dict) -> Callable:
        moto_gaps.fill(service_of(environ))
        return self.moto

    def _started_by_itself(self, environ: dict) -> Callable:
        self.api.events.install(service_of(environ))
        return self._moto(environ)

    def _codebuild(self, environ: dict) -> Callable:
        return self.builds if self.builds.answers(environ) else self._moto(environ)

    def _logs(self, environ: dict) -> Callable:
        if environ.get("HTTP_X_AMZ_TARGET") == LOG_STREAMS:
            self._restore_log(environ)
        return self._moto(environ)

    def _sagemaker(self, environ: dict) -> Response:
        prefix, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        try:
            if prefix != "SageMaker":
                place = environ["PATH_INFO"]
                raise ApiError("UnknownOperationException", f"The local AWS does not answer {place}")
            return _json(200, self.api.call(operation, _request(environ)))
        except ApiError as error:
            return _json_error(500 if error.code == "InternalFailure" else 400, error.code, error.message)
        except Exception as error:  # the client gets an answer, the terminal the traceback
            traceback.print_exc()
            return _json_error(500, "InternalFailure", f"{operation}: {error!r} (see the server's output)")

    def _ecr(self, environ: dict) -> Callable:
        """Layers are ours, moto keeps the rest: an image under the digest of its manifest."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        try:
            if self.layers.answers(target):
                return _json(200, self.layers.answer(target, _request(environ)))
            if target == f"{PREFIX}PutImage":
                replaced_body(environ, self.layers.checked_manifest(_request(environ)))
        except ApiError as error:
            return _json_error(400, error.code, error.message)
        return self._moto(environ)

    def _connections(self, environ: dict) -> Response:
        _, _, region, service, _ = credential_scope(environ)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        try:
            return _json(200, self.connections.call(service, region, operation, _request(environ)))
        except ApiError as error:
            return _json_error(400, error.code, error.message)

    def _cloudformation(self, environ: dict) -> Response:
        # Imported here: few servers are asked for a stack.
        from local_aws.cloudformation import CloudFormation

        with self._lock:
            if self._stacks is None:
                self._stacks = CloudFormation(self.api.endpoint, self.api.account)
        key, _, region, *_ = credential_scope(environ)
        return self._stacks.answer(environ, key, region)

    def _restore_log(self, environ: dict) -> None:
        """Before a job's streams are first asked for: moto forgets them at its end, the log files stay."""
        body = Request(environ).get_data()
        environ["wsgi.input"] = BytesIO(body)
        asked = json.loads(body)
        job = asked.get("logStreamNamePrefix", "").partition("/")[0]
        path = self.api.state.folder / "logs" / f"{job}.log"
        if job not in self._asked and path.exists():
            self._asked.add(job)
            joblog.restore(self.api.client("logs"), asked["logGroupName"], job, path)

    def _events(self, environ: dict, part: str) -> Response:
        from local_aws.events import http  # not needed by most runs

        return getattr(http, part)(self.api, environ)

    def _faults(self, environ: dict) -> Response:
        """POST orders a fault (see faults.py), DELETE forgets all."""
        if environ["REQUEST_METHOD"] == "DELETE":
            faults.clear()
            return _json(200, {})
        try:
            faults.inject(self.api, _request(environ))
        except (ValueError, re.error) as error:
            return _json_error(400, "ValidationException", str(error))
        return _json(200, {})

    def _denials(self, environ: dict) -> Response:
        """What was refused so far, oldest first: action, resource, principal, reason.

        DELETE forgets it, and what was allowed.
        """
        if environ["REQUEST_METHOD"] == "DELETE":
            self.api.iam.forget()
        return _json(200, {"denials": list(self.api.iam.denials)})


def service_of(environ: dict) -> str | None:
    """The service that a request is for; None when it is not signed, and no operation that needs no key."""
    return signing_service(environ) or ("sts" if _asks_for_first_key(environ) else None)


def _asks_for_first_key(environ: dict) -> bool:
    """Whether this is AssumeRoleWithWebIdentity, which is never signed."""
    if "HTTP_AUTHORIZATION" in environ or "form" not in environ.get("CONTENT_TYPE", ""):
        return False
    body = Request(environ).get_data(parse_form_data=False)
    environ["wsgi.input"] = BytesIO(body)
    return WEB_IDENTITY in body


def credential_scope(environ: dict) -> list[str]:
    """Access key, date, region, service and ending that a request is signed with; empty when it is not."""
    _, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
    query = parse_qs(environ.get("QUERY_STRING", ""))
    scope = (rest.partition(",")[0] or query.get("X-Amz-Credential", [""])[0]).split("/")
    return scope if len(scope) == 5 else []


def signing_service(environ: dict) -> str | None:
    """The service a request is signed for; None when it is not signed."""
    if "AWSAccessKeyId" in parse_qs(environ.get("QUERY_STRING", "")):  # presigned in S3's own, older form
        return "s3"
    scope = credential_scope(environ)
    return scope[3].lower() if scope else None


def _request(environ: dict) -> dict:
    body = Request(environ).get_data()
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", f"The request is not JSON: {error}") from error


def _refusal(environ: dict, service: str | None) -> Response:
    if service is None:
        return _xml_error(403, "MissingAuthenticationToken", "The request is not signed: any key will do")
    message = f"The local AWS does not answer {service}; it answers {', '.join(ANSWERED)}"
    if "json" in environ.get("CONTENT_TYPE", "") or "HTTP_X_AMZ_TARGET" in environ:
        return _json_error(400, "UnknownOperationException", message)
    return _xml_error(400, "UnknownOperationException", message)


def _json(status: int, document: dict) -> Response:
    return Response(json.dumps(document), status, content_type=JSON)


def _json_error(status: int, code: str, message: str) -> Response:
    response = _json(status, {"__type": code, "message": message})
    response.headers["x-amzn-errortype"] = code
    return response


def _xml_error(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    text = f"<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>"
    return Response(text, status, content_type="text/xml")


def http_server(front: Callable, listening: socket.socket) -> BaseWSGIServer:
    """A server, one thread a request, on a socket that listens already."""
    host, port = listening.getsockname()
    return make_server(host, port, front, threaded=True, request_handler=Handler, fd=listening.fileno())
