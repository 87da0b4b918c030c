"""Hostile headers and bodies at every endpoint that takes a credential: none ends in a 500.

A sample by default; a million headers and 100,000 bodies with ``--long``.
"""

import base64
import json
import random

import pytest
from django.core.cache import cache
from django.test import Client

from tests import endpoints

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner:DeprecationWarning"),
]

CHUNKS = 20
SAMPLE = [pytest.param(0, 300, id="sample")]
LONG_HEADERS = [pytest.param(n, 1_000_000 // CHUNKS, marks=pytest.mark.long, id=f"long-{n}")
                for n in range(1, CHUNKS + 1)]  # fmt: skip
LONG_BODIES = [pytest.param(n, 100_000 // CHUNKS, marks=pytest.mark.long, id=f"long-{n}")
               for n in range(1, CHUNKS + 1)]  # fmt: skip

URLS = [
    ("get", "/api/token/"), ("get", "/api/payments/"), ("post", "/api/tokens/"),
    ("post", "/o/token/"), ("post", "/o/introspect/"), ("post", "/o/revoke_token/"),
    ("post", "/o/register/"), ("put", "/o/register/x/"), ("post", "/o/device-authorization/"),
    ("get", "/gateway/authorize/"),
]  # fmt: skip
TYPES = [
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json",
    "application/json; charset=utf-16", "multipart/form-data", "text/plain", "",
    "a/b; charset=\x85",
]  # fmt: skip
PIECES = [
    "Bearer", "bearer", "Basic", "Token", "Api-Key", "Signature", "Digest", "DPoP", " ", "\t", ",",
    ":", "=", ".", "%", "%00", "%zz", "+", "\x85", "\xa0", "\xff", "\x1c", "\x7f", '"', "'", "\\",
    "acme_pat_", "acme_key_", "_", "0" * 16, "A" * 49, "eyJhbGciOiJub25lIn0",
    "eyJ0eXAiOiJhdCtqd3QifQ",
    "eyJ", "e30", "bnVsbA", "W10", "LTE", "a.b.c", "....", "grant_type=", "token=", "\u00e9",
    "\u0130",
]  # fmt: skip
NAMES = [
    "grant_type", "client_id", "client_secret", "token", "code", "code_verifier", "redirect_uri",
    "scope", "refresh_token", "subject_token", "subject_token_type", "requested_token_type",
    "resource", "audience", "username", "password", "device_code", "token_type_hint", "assertion",
    "client_name", "redirect_uris", "grant_types", "token_endpoint_auth_method", "name", "scopes",
    "expires_at", "projects", "tokens", "description", "allowed_networks", "rate_limits",
]  # fmt: skip
VALUES = [
    "password", "authorization_code", "refresh_token", "client_credentials", "shop", "webapp", "tv",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:token-type:access_token", "ada", "openid", "payments:read", "keys:write",
    endpoints.CLIENT_SECRET, "http://[", "https://shop.example/callback", "\0", "\ud800", "",
    "9" * 400,
    "-1", "null", "1e999", "a" * 3000, "\u202e", "2026-11-28", "0001-01-01T00:00:00+23:59",
]  # fmt: skip


@pytest.fixture
def site(settings):
    settings.DEMO = True
    return endpoints.Site()


class Hostile:
    """Makes up headers and bodies; the same ones for the same seed."""

    def __init__(self, seed, site):
        self.random = random.Random(seed)
        self.good = [site.pat.token, site.key.token, site.access_token()]

    def text(self, most=6):
        pieces = [*PIECES, *self.good]
        return "".join(self.random.choices(pieces, k=self.random.randint(0, most)))

    def header(self):
        choice = self.random.random()
        scheme = self.random.choice(["Bearer ", "Basic ", "Token ", "Bearer", "\x85Bearer ", ""])
        if choice < 0.3:
            inner = self.text().encode(
                self.random.choice(["latin-1", "utf-8", "utf-16"]), "replace"
            )
            return scheme + base64.b64encode(inner).decode()
        if choice < 0.5:
            good = self.random.choice(self.good)
            at = self.random.randrange(len(good))
            return scheme + good[:at] + self.random.choice(PIECES) + good[at + 1 :]
        if choice < 0.6:
            letters = [
                chr(self.random.randrange(1, 256)) for _ in range(self.random.randint(1, 60))
            ]
            return scheme + "".join(letters)
        return scheme + self.text()

    def value(self, depth=3):
        choice = self.random.random()
        if depth and choice < 0.15:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 3))]
        if depth and choice < 0.25:
            return {self.random.choice(NAMES): self.value(depth - 1)}
        if choice < 0.35:
            return self.random.choice([None, True, 0, -1, 10**400, 1.5, float("inf"), float("nan")])
        return self.random.choice([*VALUES, *self.good, self.text(3)])

    def body(self):
        names = self.random.choices(NAMES, k=self.random.randint(0, 6))
        data = {name: self.value() for name in names}
        choice = self.random.random()
        if choice < 0.35:
            return json.dumps(data).encode("utf-8", "surrogatepass")
        if choice < 0.7:
            pairs = [f"{name}={value}" for name, value in data.items()]
            return "&".join(pairs).encode("utf-8", "surrogatepass")
        if choice < 0.9:
            parts = [
                f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                for name, value in data.items()
            ]
            return ("".join(parts) + "--x--\r\n").encode("utf-8", "surrogatepass")
        return self.random.randbytes(self.random.randint(0, 200))


@pytest.fixture
def ends_badly(caplog):
    """Return a function that sends requests, and lists those that end in a server error."""

    def ends_badly(send, hostile, number):
        bad = []
        for index in range(number):
            method, url = hostile.random.choice(URLS)
            request = send(hostile, method, url)
            client = Client(raise_request_exception=False)
            response = client.generic(method.upper(), url, **request)
            if response.status_code >= 500:
                bad.append((method, url, request, response.status_code, response.exc_info))
            if index % 100 == 0:
                cache.clear()  # no limit of attempts keeps the rest from being looked at
                caplog.clear()  # pytest would keep the requests of all log records
        return bad

    return ends_badly


def with_a_header(hostile, method, url):
    body = {"content_type": TYPES[0], "data": b"token=x&grant_type=client_credentials"}
    return {"HTTP_AUTHORIZATION": hostile.header()} | (body if method != "get" else {})


def with_a_body(hostile, method, url):
    request = {"content_type": hostile.random.choice(TYPES), "data": hostile.body()}
    if hostile.random.random() < 0.5:
        token = hostile.random.choice(hostile.good)
        request["HTTP_AUTHORIZATION"] = hostile.random.choice([f"Bearer {token}", hostile.header()])
    return request


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "number"), [*SAMPLE, *LONG_HEADERS])
def test_no_header_ends_in_a_server_error(site, ends_badly, seed, number):
    assert ends_badly(with_a_header, Hostile(seed, site), number) == []


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "number"), [*SAMPLE, *LONG_BODIES])
def test_no_body_ends_in_a_server_error(site, ends_badly, seed, number):
    assert ends_badly(with_a_body, Hostile(seed, site), number) == []


HEADERS = [
    "Bearer a.b.c", "Bearer eyJ.eyJ.x", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer e30.e30.e30",
    "Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0....", "Bearer eyJ0eXAiOiJhdCtqd3QifQ.e30.x",
    "\x85", "\x85Bearer x", "\x85 \x85", "Bearer \x85", "Basic \x85", "Basic \xff", "Basic =",
    "Basic",
    "Basic Og==", "Basic OjpA", "\x85Bearer eyJ.eyJ.x", "\x1cBearer eyJ.eyJ.x", "Basic\x85Og==",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(("method", "url"), URLS)
def test_a_malformed_authorization_header_is_the_clients_error(site, method, url, header):
    """As they were found: each ended in a 500 at some endpoint."""
    request = {"HTTP_AUTHORIZATION": header, "content_type": TYPES[0], "data": b"token=x"}
    response = Client(raise_request_exception=False).generic(method.upper(), url, **request)

    assert 400 <= response.status_code < 500
