"""Receive the browser's redirect after a login (RFC 8252 section 7.3)."""

import hmac
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer
from subprocess import Popen
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from .errors import LoginError

PATH: Final = "/callback"
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    "<body style='font:1.1rem system-ui;margin:4rem auto;max-width:30rem'><h1>{title}</h1>"
    "<p>You can close this window and return to the terminal.</p></body></html>"
)


class Loopback(HTTPServer):
    """Listen on a free port of the loopback. Raises ``LoginError`` without one."""

    allow_reuse_address = False
    timeout = 1

    def __init__(self) -> None:
        try:
            super().__init__(("127.0.0.1", 0), _Handler)
        except OSError as error:
            raise LoginError(
                f"Cannot listen for the browser's answer: {error.strerror}. Try --device."
            ) from None
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}{PATH}"
        self.state = ""
        self.answer: Mapping[str, str] | None = None

    def wait(
        self, state: str, seconds: float, browser: Popen[bytes] | None = None
    ) -> Mapping[str, str]:
        """Wait for a redirect with ``state``; return its parameters. Ignore all other requests.

        Raise ``LoginError`` after ``seconds``, or when the process ``browser`` ended.
        """
        self.state = state
        end = monotonic() + seconds
        while (answer := self.answer) is None:
            is_over = monotonic() > end or (browser is not None and browser.poll() is not None)
            self.handle_request()  # also after the end: the last request may still wait
            if is_over and not self.has_answer:
                raise LoginError("The login in the browser was not completed. Try again.")
        return answer

    @property
    def has_answer(self) -> bool:
        return self.answer is not None

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's method would make a DNS lookup
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(5)  # a silent connection must not block the login
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
            return self._page(404, "This login was not started here.")
        self.server.answer = params
        self._page(200, "The login failed." if "error" in params else "You are logged in.")
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
        pass  # do not log the URL, which contains the code
