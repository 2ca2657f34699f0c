"""A refusal in the form of each service's protocol."""

import json
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

JSON_CODES = {"AccessDenied": "AccessDeniedException", "ExpiredToken": "ExpiredTokenException"}
EC2_CODES = {"AccessDenied": "UnauthorizedOperation", "ExpiredToken": "RequestExpired"}
# JSON services that answer as their older query protocol does, and one of REST.
ANSWERED_403 = ("scheduler", "sqs", "cloudwatch")
CBOR_MAP, CBOR_TEXT = 0xA0, 0x60


class Refused(Exception):
    """A request that gets no answer but this. code: as the query protocol has it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(environ: dict, service: str, refused: Refused) -> Response:
    """The refusal as the client of this service reads it."""
    code, message = refused.code, str(refused)
    if service == "s3":
        return _xml(f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>")
    if service == "ec2":
        error = f"<Error><Code>{EC2_CODES.get(code, code)}</Code><Message>{escape(message)}</Message></Error>"
        return _xml(f"<Response><Errors>{error}</Errors><RequestID>local</RequestID></Response>")
    if environ["PATH_INFO"].startswith("/service/"):
        return _cbor(code, message)
    if "HTTP_X_AMZ_TARGET" in environ or service == "scheduler":
        return _json(403 if service in ANSWERED_403 else 400, code, message, service)
    error = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
    return _xml(f"<ErrorResponse><Error>{error}</Error><RequestId>local</RequestId></ErrorResponse>")


def _xml(text: str) -> Response:
    return Response(text, 403, content_type="text/xml")


def _json(status: int, code: str, message: str, service: str) -> Response:
    name = JSON_CODES.get(code, code)
    response = Response(json.dumps({"__type": name, "message": message, "Message": message}), status)
    response.content_type = "application/x-amz-json-1.1"
    response.headers["x-amzn-errortype"] = name
    if service in ("sqs", "cloudwatch"):
        response.headers["x-amzn-query-error"] = f"{code};Sender"
    return response


def _cbor(code: str, message: str) -> Response:
    members = {"__type": JSON_CODES.get(code, code), "message": message}
    body = bytes([CBOR_MAP + len(members)])
    body += b"".join(_cbor_text(text) for pair in members.items() for text in pair)
    response = Response(body, 403, content_type="application/cbor")
    response.headers["smithy-protocol"] = "rpc-v2-cbor"
    response.headers["x-amzn-query-error"] = f"{code};Sender"
    return response


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 24:
        return bytes([CBOR_TEXT + len(data)]) + data
    return bytes([CBOR_TEXT + 25]) + len(data).to_bytes(2, "big") + data
