"""A local HTTP server of the chat completions protocol, with scripted replies."""

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Overrides the client's own delays before a retry.
RETRY_AT_ONCE = {"retry-after-ms": "1"}


@dataclass(frozen=True)
class Reply:
    """A response of the server; text is sent as it is, anything else as JSON."""

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Answering = Callable[[Mapping[str, Any]], Reply]


class ChatServer(ThreadingHTTPServer):
    """Replies by a function, and records the requests."""

    daemon_threads = True

    def __init__(self, answering: Answering) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answering: Answering = answering
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = 0
        self.max_open = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients that give up leave broken pipes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.open += 1
            server.max_open = max(server.max_open, server.open)
        try:
            reply = server.answering(body)
        finally:
            with server.lock:
                server.open -= 1
        is_text = isinstance(reply.payload, str)
        content = (reply.payload if is_text else json.dumps(reply.payload)).encode()
        self.send_response(reply.status)
        headers = {"content-type": "application/json", **reply.headers}
        for name, value in (*headers.items(), ("content-length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def serving(answering: Answering) -> Generator[ChatServer]:
    """Serve until the end of the block."""
    server = ChatServer(answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(content: object, **more: object) -> Reply:
    """Make a reply of one message, for 30 tokens of prompt and 5 of completion."""
    return Reply(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "tiny-2026",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": content, **more},
                }
            ],
            "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35},
        }
    )


def failure(status: int, message: str, **more: object) -> Reply:
    """Make an error in OpenAI's format; retries of the client follow at once."""
    return Reply({"error": {"message": message, **more}}, status, RETRY_AT_ONCE)
