"""A server without any access control, for the demo of the gateway.

``python -m example_project.blackbox`` serves on a free port and prints the port's number.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OFFERS = {
    "1001": ["Brass gear wheels, ten percent off", "Punched cards, three for two"],
    "1002": ["Magnetic tape, a reel for free"],
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path.partition("?")[0].split("/"):
            case ["", "subscribers", subscriber, "offers"] if subscriber in OFFERS:
                self._answer(200, {"subscriber": subscriber, "offers": OFFERS[subscriber]})
            case _:
                self._answer(404, {"detail": "Not found."})

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, facts: object) -> None:
        body = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)  # noqa: T201 - the parent process reads it
    server.serve_forever()


if __name__ == "__main__":
    main()
