"""A real Caddy with the documented configuration in front of a real upstream."""

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.documents import blocks
from tests.gateway.attacks import NAMES, OWN, forged, reaches_another, tricks
from tests.gateway.servers import BlackBox, Site, await_port, free_port, send
from tests.services import require

pytestmark = pytest.mark.process

ROUTES = [
    {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
]


@contextmanager
def caddy(prefix, apikeys, blackbox):
    """Start Caddy between a gateway and an upstream; return its port."""
    binary = shutil.which("caddy")
    require("Caddy", binary is not None, "Install it: apt-get install caddy.")
    port = free_port()
    (configuration,) = blocks("docs/reference/gateway.md", "caddy")
    for said, meant in [
        (":8080", f"http://127.0.0.1:{port}, http://localhost:{port}"),
        ("127.0.0.1:8000", f"127.0.0.1:{apikeys}"),
        ("127.0.0.1:9000", f"127.0.0.1:{blackbox}"),
    ]:
        assert configuration.count(said) == 1, said
        configuration = configuration.replace(said, meant)
    path = prefix / "Caddyfile"
    options = "admin off\n\tauto_https off\n\tdefault_bind 127.0.0.1"
    path.write_text(f"{{\n\t{options}\n}}\n{configuration}")
    process = subprocess.Popen(
        [binary, "run", "--config", path, "--adapter", "caddyfile"],
        env=os.environ | {"XDG_CONFIG_HOME": str(prefix), "XDG_DATA_HOME": str(prefix)},
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def front(django_db_setup, django_db_blocker, blackbox, tmp_path_factory):
    with (
        Site(GATEWAY_ROUTES=ROUTES, GATEWAY_PROXY="caddy") as site,
        caddy(tmp_path_factory.mktemp("caddy"), site.port, blackbox.port) as port,
    ):
        yield port


def test_only_the_own_resource_is_reached(call):
    answer, (seen,) = call()
    assert (answer.status, answer.body, seen.target) == (200, b"offers", OWN)
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("Authorization") == []
    for options, status, code in [
        ({"target": "/subscribers/1002/offers"}, 403, "not_bound"),
        ({"token": None}, 401, "not_authenticated"),
        ({"method": "DELETE"}, 403, "no_route"),
    ]:
        answer, seen = call(**options)
        assert (answer.status, json.loads(answer.body)["code"], seen) == (status, code, [])
        assert answer.values("WWW-Authenticate")


def test_identity_headers_of_the_client_never_pass(call):
    _, (seen,) = call(OWN, *forged())
    assert not any("forged" in value for _, value in seen.headers)


def test_connection_cannot_remove_identity_headers(call):
    """Proxies remove headers that ``Connection`` names (RFC 9110 section 7.6.1)."""
    names = [f"X-Auth-{name}" for name in NAMES]
    _, (plain,) = call()
    _, (seen,) = call(OWN, f"Connection: {', '.join(names)}")
    assert [seen.values(name) for name in names] == [plain.values(name) for name in names]
    assert seen.values("X-Auth-Subject") == ["project:engine"]


def test_headers_with_underscores_are_removed(tmp_path):
    """Some servers read ``X-Forwarded_Uri`` as ``X-Forwarded-Uri``, and use the last one."""
    names = ["X-Forwarded-Uri", "X-Forwarded-Method", "X-Auth-User", "X-Original-URL", "X-Real-IP"]
    spellings = [n.replace("-", "_") for n in names]
    spellings += [n[::-1].replace("-", "_", 1)[::-1] for n in names]
    spellings += [s.lower() for s in spellings]
    with BlackBox() as asked, BlackBox() as upstream:
        with caddy(tmp_path, asked.port, upstream.port) as port:
            answer = send(port, OWN, *(f"{spelling}: forged" for spelling in spellings))
        assert (answer.status, len(asked.seen), len(upstream.seen)) == (200, 1, 1)
        for seen in (*asked.seen, *upstream.seen):
            assert not [name for name, _ in seen.headers if "_" in name]
        assert asked.seen[0].values("X-Forwarded-Uri") == [OWN]


@pytest.mark.parametrize("header", ["X-Forwarded-Uri", "X-Forwarded-Method", "X-Original-URL"])
def test_no_header_overrides_the_request_line(call, header):
    answer, seen = call("/subscribers/1002/offers", f"{header}: {OWN}")
    assert (answer.status, seen) == (403, [])
    answer, (seen,) = call(OWN, f"{header}: /subscribers/1002/offers")
    assert (answer.status, seen.values(header)) == (200, [])


@tricks(200)
def test_no_trick_reaches_another_subscriber(call, target, method):
    answer, seen = call(target, method=method)
    for request in seen:
        assert answer.status == 200
        assert not reaches_another(request.target), (target, request.target)
        assert re.match(r"/subscribers/1001(?:/|$)", request.target)
