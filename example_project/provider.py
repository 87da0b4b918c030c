"""An identity provider for `manage.py demo --issuer`, in a separate process.

It prints its URL, serves its metadata and public keys, and signs the claims that arrive on
standard input, one JSON object per line. It ends when standard input is closed. Do not use it
elsewhere: anyone who starts it decides what it signs.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from joserfc import jwt
from joserfc.jwk import RSAKey

HOST = "127.0.0.1"
_LIFETIME = 12 * 60 * 60  # seconds


def main() -> None:
    key = RSAKey.generate_key(2048, auto_kid=True)
    pages: dict[str, object] = {"/jwks": {"keys": [key.as_dict(private=False)]}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            body = json.dumps(page).encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    url = f"http://{HOST}:{server.server_address[1]}"
    for issuer in (url, f"{url}/ci"):  # users log in at the first, CI jobs run at the second
        page = f"{issuer.removeprefix(url)}/.well-known/openid-configuration"
        pages[page] = {"issuer": issuer, "jwks_uri": f"{url}/jwks"}
    Thread(target=server.serve_forever, daemon=True).start()
    _say(url)
    for line in sys.stdin:
        now = int(time.time())
        claims = {"iss": url, "iat": now, "exp": now + _LIFETIME, **json.loads(line)}
        header = {"alg": "RS256", "typ": "JWT", "kid": key.kid}
        _say(jwt.encode(header, claims, key))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
