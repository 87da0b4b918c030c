"""Whatever stands in ``Authorization``: 401 or 400 with a JSON body, never a 500."""

import http.client
import json
import socket
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apikeys import token
from tests.factories import mint_pat

GOOD = token.compose("acme", "pat", "0" * 16, "A" * 43)  # well-formed, and of nobody
CODES = {
    400: {"invalid_request"},
    401: {"not_authenticated", "malformed_key", "invalid_key", "invalid_token"},
}

HOSTILE = [
    b"",
    b" ",
    b"Bearer",
    b"bearer",
    b"Bearer ",
    b"Bearer \t ",
    b"Bearer\t" + GOOD.encode(),
    b"Bearer  \x00",
    b"\x00Bearer x",
    b"Bearer\x00x",
    b"Bearer acme_pat_\x00",
    b"Bearer " + GOOD.encode() + b"\x00",
    b"Bearer \xff\xfe\xfd",
    b"Bearer \xc3\xa9",
    b"Bearer acme_pat_\xe2\x80\xae",
    b"Bearer " + GOOD.encode() + b" " + GOOD.encode(),
    b"Bearer " + GOOD.encode() + b"," + GOOD.encode(),
    b"Bearer " + GOOD.encode() + b", Bearer " + GOOD.encode(),
    b"Basic YTpi, Bearer " + GOOD.encode(),
    b"Bearer Bearer " + GOOD.encode(),
    b"Bearer: " + GOOD.encode(),
    b"Bearer=" + GOOD.encode(),
    b"Bearer-" + GOOD.encode(),
    b"Bearer" + GOOD.encode(),
    b'Bearer "' + GOOD.encode() + b'"',
    b"Bearer <" + GOOD.encode() + b">",
    b"Bearer =",
    b"Bearer ====",
    b"Bearer a" + b"=" * 100_000,
    b"Bearer %00%ff",
    b"Bearer {scope}{0}{view.__class__}",
    b"Bearer %s%d%(x)s",
    b"Bearer " + b"a" * 8192,
    b"Bearer " + b"a" * 8193,
    b"Bearer " + b"a" * 1_000_000,
    b"Bearer acme_pat_" + b"a" * 1_000_000,
    b"a" * 1_000_000,
    b"Bearer" + b" " * 1_000_000 + b"x",
    b"\t" * 1_000_000 + b"Bearer x",
    b"Digest " + GOOD.encode(),
    b"Basic " + GOOD.encode(),
    b"Token " + GOOD.encode(),
    b"OAuth " + GOOD.encode(),
]


def shorten(value):
    return f"{value[:24]!r}-{len(value)}"


def check(status, body, challenge):
    assert status in CODES, (status, body)
    answer = json.loads(body)
    assert set(answer) == {"detail", "code"}
    assert answer["code"] in CODES[status]
    assert challenge.startswith('Bearer realm="api"')
    assert challenge.isascii()


def ask(client, value):
    response = client.get("/api/payments/", headers={"Authorization": value})
    check(response.status_code, response.content, response["WWW-Authenticate"])


# A WSGI server hands the bytes on as Latin-1 (PEP 3333).
pieces = st.one_of(
    st.sampled_from(
        ["Bearer", "bearer", "BEARER", "Basic", " ", "\t", ",", ";", "=", "\x00", "\xa0", "\x85"]
    ),
    st.sampled_from([GOOD, GOOD[:-1], GOOD.upper(), "acme_pat_", "acme_key_", "acme", "é", '"']),
    st.text(st.characters(max_codepoint=255), max_size=30),
    st.text(st.characters(), max_size=10),
)
headers = st.lists(pieces, max_size=8).map("".join)
fuzz = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class TestThroughTheTestClient:
    @pytest.mark.parametrize("value", HOSTILE, ids=shorten)
    def test_known(self, client, db, value):
        ask(client, value.decode("latin-1"))

    @pytest.mark.slow
    @fuzz
    @given(value=headers)
    def test_fuzzed(self, client, db, value):
        ask(client, value)

    @pytest.mark.slow
    @fuzz
    @given(rest=st.text(max_size=80), start=st.sampled_from(["acme_pat_", "acme_key_", ""]))
    def test_fuzzed_credentials(self, client, db, start, rest):
        ask(client, f"Bearer {start}{rest}")

    @pytest.mark.slow
    @fuzz
    @given(data=st.data())
    def test_a_good_key_with_any_one_change_is_refused(self, client, db, data):
        if not hasattr(type(self), "text") or not self.exists():
            type(self).text = mint_pat().token
        text = self.text
        at = data.draw(st.integers(0, len(text) - 1))
        change = data.draw(st.characters(max_codepoint=255).filter(lambda c: c not in text[at]))
        mutant = data.draw(
            st.sampled_from(
                [
                    text[:at] + change + text[at + 1 :],
                    text[:at] + text[at + 1 :],
                    text[: at + 1] + change + text[at + 1 :],
                ]
            )
        )
        if mutant.strip(" \t") != text:  # a blank at the end is no change
            ask(client, f"Bearer {mutant}")

    def exists(self):
        from apikeys.models import PersonalAccessToken

        return PersonalAccessToken.objects.filter(public_id=self.text.split("_")[2]).exists()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class _Server(WSGIServer):
    def process_request(self, request, client_address):
        try:
            super().process_request(request, client_address)
        finally:
            connections.close_all()


@pytest.fixture
def server(transactional_db, monkeypatch):
    """A real WSGI server that lets long headers through to the application."""
    monkeypatch.setattr(http.client, "_MAXLINE", 3_000_000)
    server = _Server(("127.0.0.1", 0), _Quiet)
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address
    server.shutdown()
    thread.join()
    server.server_close()


def send(address, *values, path="/api/payments/"):
    """The answer to a request with these ``Authorization`` headers, byte by byte."""
    lines = [f"GET {path} HTTP/1.0".encode(), b"Host: 127.0.0.1"]
    lines += [b"Authorization: " + value for value in values]
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read(), response.headers.get("WWW-Authenticate", "")


class TestOverASocket:
    @pytest.mark.slow
    def test_known(self, server):
        for value in HOSTILE:
            check(*send(server, value))

    def test_several_headers(self, server):
        good = mint_pat().token.encode()
        assert send(server, b"Bearer " + good)[0] == 200
        for pair in (
            [b"Bearer " + good, b"Bearer " + good],
            [b"Bearer " + good, b"Basic YTpi"],
            [b"Basic YTpi", b"Bearer " + good],
            [b"Bearer " + good, b""],
            [b"", b"Bearer " + good],
        ):
            check(*send(server, *pair))

    def test_a_good_key_between_blanks(self, server):
        good = mint_pat().token.encode()
        for form in (b"  Bearer %s", b"Bearer %s  ", b"\tbearer   %s\t"):
            assert send(server, form % good)[0] == 200

    @pytest.mark.slow
    @settings(fuzz, max_examples=150)
    @given(
        value=st.lists(
            st.one_of(
                st.sampled_from([b"Bearer", b"bearer ", b" ", b"\t", GOOD.encode(), b"acme_pat_"]),
                st.binary(max_size=40),
            ),
            max_size=6,
        ).map(b"".join)
    )
    def test_fuzzed(self, server, value):
        # A line ends at CR or LF: what follows is another header, or the server's own 400.
        check(*send(server, value.replace(b"\r", b"").replace(b"\n", b"")))
