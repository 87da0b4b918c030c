"""The verified URL is the routed URL, byte by byte, on every kind of server."""

import pytest
import requests
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory

from apikeys.refusals import Refused
from apikeys.signatures.messages import message_of
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
        # The server passes on no raw path: use Django's spelling.
        (wsgi("/a b/c", "x=%20&y"), "http://testserver/a%20b/c?x=%20&y"),
        # The raw path means the same as Django's path: use the raw path.
        (wsgi("/a/b", RAW_URI="/a%2Fb?x", QUERY_STRING="x"), "http://testserver/a%2Fb?x"),
        (wsgi("/a/b", REQUEST_URI="/%61/b"), "http://testserver/%61/b"),
        (asgi("/a/b", b"/a%2fb", b"x=1"), "http://testserver/a%2fb?x=1"),
        # The raw path differs, because a proxy rewrote the path: use Django's path.
        (wsgi("/a/b", RAW_URI="/other"), "http://testserver/a/b"),
        (wsgi("/a", RAW_URI="http://evil.example/a"), "http://testserver/a"),
        (wsgi("/a", RAW_URI="/a#b"), "http://testserver/a"),
        (asgi("/a", b"/other"), "http://testserver/a"),
        (asgi("/a", b""), "http://testserver/a"),
    ],
)
def test_the_url_is_the_one_that_was_sent(request_, url):
    assert message_of(request_).url == url


def test_headers_of_the_client_do_not_change_the_url():
    said = {
        f"HTTP_{name}": "/other"
        for name in ("RAW_URI", "REQUEST_URI", "X_ORIGINAL_URI", "X_REWRITE_URL", "X_FORWARDED_URI")
    } | {"HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_X_FORWARDED_PROTO": "https"}
    assert message_of(wsgi("/a", **said)).url == "http://testserver/a"


@pytest.mark.parametrize("name", ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"])
def test_a_content_type_with_underscore_is_refused(name):
    """``request.headers`` would return ``Content_Type``, but parsers use ``Content-Type``."""
    with pytest.raises(Refused, match="malformed_request"):
        message_of(wsgi("/a", **{name: "application/json"}))


def test_headers_of_a_trusted_proxy_change_the_url(settings):
    settings.USE_X_FORWARDED_HOST = True
    settings.ALLOWED_HOSTS = ["api.example.com"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    said = {"HTTP_X_FORWARDED_HOST": "api.example.com", "HTTP_X_FORWARDED_PROTO": "https"}
    assert message_of(wsgi("/a", **said)).url == "https://api.example.com/a"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_unusual_paths_are_verified_under_asgi(engine):
    """Run the whole site with uvicorn, and sign requests with unusual paths."""
    worker = caller(engine, scopes=["keys:read", "payments:read"])
    with Site() as site, requests.Session() as session:
        origin = f"http://127.0.0.1:{site.port}"

        def ask(path, **changes):
            request = worker.sign("GET", origin + path)
            request.url = origin + changes.get("instead", path)
            return session.send(request, timeout=60)

        for path in (
            "/api/token/",
            "/api/token/?a=%2F&b",
            "/api/projects/analytical-engine%2Fkeys/",
        ):
            assert ask(path).status_code == 200, path
        for signed, sent in (
            ("/api/projects/analytical-engine/keys/", "/api/projects/analytical-engine%2Fkeys/"),
            ("/api/token/?a=%2F", "/api/token/?a=/"),
        ):
            answer = ask(signed, instead=sent)
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
