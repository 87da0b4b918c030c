"""What was signed is what is routed, to the byte, on every kind of server."""

import pytest
import requests
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory

from apikeys.refusals import Refused
from apikeys.signatures import message_of
from tests.gateway.servers import Site
from tests.signing import caller


def wsgi(path, query="", **environ):
    environ = {"PATH_INFO": path, "QUERY_STRING": query} | environ
    return WSGIRequest(RequestFactory()._base_environ(**environ))


def asgi(path, raw, query=b""):
    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"testserver")]}
    return ASGIRequest(scope | {"raw_path": raw, "query_string": query}, None)


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        # No server says how it came: as Django spells it.
        (wsgi("/a b/c", "x=%20&y"), "http://testserver/a%20b/c?x=%20&y"),
        # It says so, and means what Django goes by.
        (wsgi("/a/b", RAW_URI="/a%2Fb?x", QUERY_STRING="x"), "http://testserver/a%2Fb?x"),
        (wsgi("/a/b", REQUEST_URI="/%61/b"), "http://testserver/%61/b"),
        (asgi("/a/b", b"/a%2fb", b"x=1"), "http://testserver/a%2fb?x=1"),
        # It says something else, as a proxy that rewrites paths makes it: what Django goes by.
        (wsgi("/a/b", RAW_URI="/other"), "http://testserver/a/b"),
        (wsgi("/a", RAW_URI="http://evil.example/a"), "http://testserver/a"),
        (wsgi("/a", RAW_URI="/a#b"), "http://testserver/a"),
        (asgi("/a", b"/other"), "http://testserver/a"),
        (asgi("/a", b""), "http://testserver/a"),
    ],
)
def test_the_url(request_, url):
    assert message_of(request_).url == url


def test_what_a_client_says_of_itself_counts_for_nothing():
    said = {
        f"HTTP_{name}": "/other"
        for name in ("RAW_URI", "REQUEST_URI", "X_ORIGINAL_URI", "X_REWRITE_URL", "X_FORWARDED_URI")
    } | {"HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_X_FORWARDED_PROTO": "https"}
    assert message_of(wsgi("/a", **said)).url == "http://testserver/a"


@pytest.mark.parametrize("name", ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"])
def test_a_header_that_a_server_took_for_another_is_refused(name):
    """``Content_Type``: ``request.headers`` has it, a parser goes by ``Content-Type``."""
    with pytest.raises(Refused, match="malformed_request"):
        message_of(wsgi("/a", **{name: "application/json"}))


def test_what_a_trusted_proxy_says_does(settings):
    settings.USE_X_FORWARDED_HOST = True
    settings.ALLOWED_HOSTS = ["api.example.com"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    said = {"HTTP_X_FORWARDED_HOST": "api.example.com", "HTTP_X_FORWARDED_PROTO": "https"}
    assert message_of(wsgi("/a", **said)).url == "https://api.example.com/a"


@pytest.mark.django_db(transaction=True)
def test_under_asgi(engine):
    """uvicorn, the whole site, and a caller whose paths are spelled as few would."""
    worker = caller(engine, scopes=["keys:read", "payments:read"])
    with Site() as site, requests.Session() as session:
        origin = f"http://127.0.0.1:{site.port}"

        def ask(path, **changes):
            request = worker.sign("GET", origin + path)
            request.url = origin + changes.get("instead", path)
            return session.send(request, timeout=60)

        for path in ("/api/token/", "/api/token/?a=%2F&b", "/api/projects/engine%2Fkeys/"):
            assert ask(path).status_code == 200, path
        for signed, sent in (
            ("/api/projects/engine/keys/", "/api/projects/engine%2Fkeys/"),
            ("/api/token/?a=%2F", "/api/token/?a=/"),
        ):
            answer = ask(signed, instead=sent)
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
