"""The browser's way back to this program (RFC 8252 section 7.3)."""

import hmac
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from .errors import LoginError

PATH: Final = "/callback"
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    "<body style='font:1.1rem system-ui;margin:4rem auto;max-width:30rem'><h1>{title}</h1>"
    "<p>You may close this window and go back to the terminal.</p></body></html>"
)


class Loopback(HTTPServer):
    """Listens on a port of the system's choosing, on this machine only."""

    allow_reuse_address = False
    timeout = 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}{PATH}"
        self.state = ""
        self.answer: Mapping[str, str] | None = None

    def wait(self, state: str, seconds: float) -> Mapping[str, str]:
        """The parameters that come back with ``state``; whatever lacks it is ignored.

        Raises ``LoginError`` after so many ``seconds``.
        """
        self.state = state
        end = monotonic() + seconds
        while self.answer is None:
            if monotonic() > end:
                raise LoginError("Nobody finished the log-in in the browser. Try again.")
            self.handle_request()
        return self.answer

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(5)  # one that says nothing keeps nobody waiting
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        params = {name: values[0] for name, values in parse_qs(url.query).items()}
        state = params.get("state", "")
        if url.path != PATH or not hmac.compare_digest(state.encode(), self.server.state.encode()):
            return self._page(404, "This is not the log-in that was begun here.")
        self.server.answer = params
        self._page(200, "The log-in failed." if "error" in params else "You are logged in.")
        return None

    def _page(self, status: int, title: str) -> None:
        page = _PAGE.format(title=title).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass  # the code is in the URL
