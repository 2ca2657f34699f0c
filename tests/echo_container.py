"""A container for batch transform tests, started as `serve`: answers each row with the sum of its numbers.

Variables change that: ECHO_FAIL_FIRST (that many requests get 503), ECHO_PARAMETERS (its answer to
/execution-parameters), ECHO_DIE (exit code at start), ECHO_SECONDS (of work a request), ECHO_EXTRA (rows that
are too many) and ECHO_DEAF (it does not heed SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock, at_work, failures_left = threading.Lock(), 0, int(os.environ.get("ECHO_FAIL_FIRST", 0))

    def do_GET(self) -> None:
        parameters = os.environ.get("ECHO_PARAMETERS", "")
        if self.path == "/ping":
            self.answer(200, "")
        elif self.path == "/execution-parameters" and parameters:
            self.answer(200, parameters)
        else:
            self.answer(404, "not found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        rows = body.split("\n")
        with Handler.lock:
            Handler.at_work += 1
            fails, Handler.failures_left = Handler.failures_left > 0, Handler.failures_left - 1
            at_work = Handler.at_work
        seen = {"rows": len(rows), "first": rows[0][:60], "bytes": len(body), "at_work": at_work}
        line = json.dumps(seen | {"accept": self.headers["Accept"]})
        sys.stdout.write(f"request {line}\n")  # in one piece: other requests log at the same time
        sys.stdout.flush()
        time.sleep(float(os.environ.get("ECHO_SECONDS", 0)))
        self.answer(503, "busy") if fails else self.answer(*predict(rows, self.headers["Content-Type"]))
        with Handler.lock:
            Handler.at_work -= 1

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


def predict(rows: list[str], content_type: str) -> tuple[int, str]:
    results = []
    for number, row in enumerate(rows, 1):
        try:
            fields = json.loads(row)["features"] if "json" in content_type else row.split(",")
            total = sum(map(float, fields))
        except ValueError:
            return 400, f"row {number} is not numbers: {row}"
        results.append(json.dumps({"sum": total}) if "json" in content_type else f"{total:g}")
    return 200, "\n".join(results + results[:1] * int(os.environ.get("ECHO_EXTRA", 0))) + "\n"


def main() -> None:
    if os.environ.get("ECHO_DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("pid", os.getpid(), flush=True)
    model = sorted(path.name for path in Path(os.environ["SM_MODEL_DIR"]).iterdir())
    print(
        "model",
        *model,
        "batch",
        os.environ["SAGEMAKER_BATCH"],
        "colour",
        os.environ.get("COLOUR"),
        flush=True,
    )
    if code := int(os.environ.get("ECHO_DIE", 0)):
        print("cannot read the model", flush=True)
        sys.exit(code)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
