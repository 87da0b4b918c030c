"""An identity provider of the tests: it signs tokens, and a thread serves its documents."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

from apikeys.issuers import entries

URL = "https://id.example.com/realms/acme"
AUDIENCE = "https://api.example.com"

KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}


def jwks(*keys):
    return {"keys": [key.as_dict(private=False) for key in keys or KEYS.values()]}


def issuer(url=URL, **options):
    entry = {"AUDIENCES": [AUDIENCE], "JWKS": jwks()}
    entry |= options
    return entries.build(url, {name: value for name, value in entry.items() if value is not None})


def claims(**changes):
    now = int(time.time())
    given = {"iss": URL, "sub": "u-1", "aud": AUDIENCE, "iat": now, "exp": now + 300, **changes}
    return {name: value for name, value in given.items() if value is not None}


def sign(alg="RS256", *, key=None, header=None, payload=None, **changes):
    """Return a signed token. ``changes`` are claims; ``payload`` is the text of the claims."""
    key = key or KEYS[alg]
    protected = {"alg": alg, "kid": key.get("kid"), "typ": "JWT", **(header or {})}
    protected = {name: value for name, value in protected.items() if value is not None}
    text = json.dumps(claims(**changes)) if payload is None else payload
    signed = f"{encoded(json.dumps(protected))}.{encoded(text)}"
    signature = jws.JWSRegistry.algorithms[protected["alg"]].sign(signed.encode(), key)
    return f"{signed}.{urlsafe_b64encode(signature).decode()}"


def encoded(text):
    return urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Server:
    """Documents over HTTP on this computer. ``pages`` maps paths to documents or functions."""

    def __init__(self):
        self.pages, self.requests = {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                page = server.pages.get(self.path)
                if callable(page):
                    page(self)
                    return
                body = json.dumps(page).encode()
                self.send_response(200 if page is not None else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def provide(self, *keys):
        """Serve metadata and ``keys``."""
        self.pages["/.well-known/openid-configuration"] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
        }
        self.pages["/jwks"] = jwks(*keys)

    def close(self):
        self._http.shutdown()
        self._http.server_close()
