"""The query protocol: requests in, XML out, by botocore's model of the service."""

import threading
import traceback
from typing import Any
from xml.sax.saxutils import escape

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from moto.core.model import ServiceModel
from moto.core.parse import QueryParser
from moto.core.serialize import QuerySerializer
from werkzeug.wrappers import Request, Response

from local_aws.cloudformation.api import OPERATIONS, Operations, Region
from local_aws.cloudformation.kinds.kind import Caller
from local_aws.sagemaker import ACCESS_KEY
from local_aws.validation import ApiError

SERVICE = "cloudformation"
XML = "text/xml"


class CloudFormation:
    """CloudFormation for every region. Resources are made with the access key of whoever asks for a stack."""

    def __init__(self, endpoint: str, account: str) -> None:
        self.endpoint, self.account = endpoint, account
        self._regions: dict[str, Region] = {}
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.RLock()
        self._loader = botocore.loaders.create_loader()
        self._model = ServiceModel(self._loader.load_service_model(SERVICE, "service-2"), SERVICE)

    def answer(self, environ: dict, key: str, region: str) -> Response:
        """The answer to a request that is signed with this access key for this region."""
        request = Request(environ)
        operation = request.values.get("Action", "")
        try:
            return self._answered(operation, request, key, region)
        except ApiError as error:
            return _error(400, error.code, error.message)
        except Exception as error:  # the client gets an answer, the terminal the traceback
            traceback.print_exc()
            return _error(500, "InternalFailure", f"{operation}: {error!r} (see the server's output)")

    def _answered(self, operation: str, request: Request, key: str, region: str) -> Response:
        if operation not in OPERATIONS:
            known = operation in self._model.operation_names
            reason = "is not supported by the local AWS" if known else "does not exist"
            raise ApiError("InvalidAction", f"CloudFormation operation {operation} {reason}")
        model = self._model.operation_model(operation)
        parsed = QueryParser(model).parse({"values": request.values})
        given = parsed if isinstance(parsed, dict) else {}  # else nothing was given
        if missing := [name for name in model.input_shape.required_members if name not in given]:
            raise ApiError("ValidationError", f"{operation} needs {', '.join(missing)}")
        caller, service = (
            Caller(self._client_of(each, region), region, self.account) for each in (key, ACCESS_KEY)
        )
        operations = Operations(self._region(region), caller, service)
        result = operations.call(operation, given)
        answer = QuerySerializer(model).serialize(result)
        return Response(answer["body"], answer["status_code"], content_type=XML)

    def _region(self, name: str) -> Region:
        with self._lock:
            return self._regions.setdefault(name, Region())

    def _client_of(self, key: str, region: str) -> Any:
        return lambda service: self._client(service, key, region)

    def _client(self, service: str, key: str, region: str) -> Any:
        with self._lock:
            wanted = service, key, region
            if wanted not in self._clients:
                self._clients[wanted] = self._new_client(*wanted)
            return self._clients[wanted]

    def _new_client(self, service: str, key: str, region: str) -> Any:
        core = botocore.session.Session()
        core.register_component("data_loader", self._loader)  # it has read the models before
        session = boto3.Session(key, "local", region_name=region, botocore_session=core)
        config = Config(proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return session.client(service, endpoint_url=self.endpoint, config=config)


def _error(status: int, code: str, message: str) -> Response:
    kind = "Sender" if status < 500 else "Receiver"
    error = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    text = f"<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>"
    return Response(text, status, content_type=XML)
