"""A local server that speaks the OpenAI protocol and answers from a script."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ScriptedModel:
    """A local server for ``/v1/chat/completions`` that gives its answers in order.

    An answer is text; an int, the HTTP status of a failure; bytes, the body of a web page; or a
    mapping, the message as it is, with ``finish_reason`` among its keys. The last answer repeats.
    """

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                model.requests.append(json.loads(self.rfile.read(length)))
                position = min(len(model.requests), len(model.answers)) - 1
                status, kind, data = reply(model.answers[position])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def settings(self):
        """The ``llm`` section that talks to this server."""
        return {
            "api_base": self.url,
            "api_key": "${SCRIPTED_KEY}",
            "models": [{"name": "scripted"}],
            "retries": 0,
            "retry_delay": 0,
            "timeout": 30,
        }


def reply(answer):
    """Status, content type and body of an answer."""
    if isinstance(answer, bytes):
        return 200, "text/html", answer
    if isinstance(answer, int):
        error = {"error": {"message": "scripted failure"}}
        return answer, "application/json", json.dumps(error).encode()
    message = dict(answer) if isinstance(answer, dict) else {"content": answer}
    reason = message.pop("finish_reason", "stop")
    message["role"] = "assistant"
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }
    return 200, "application/json", json.dumps(body).encode()


def diff(search, replace):
    return f"An idea.\n\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"
