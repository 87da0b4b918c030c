"""A real Caddy with the documented configuration before a real upstream."""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.documents import blocks
from tests.gateway.attacks import OWN, forged, reaches_another, tricks
from tests.gateway.servers import Site, await_port, free_port
from tests.services import require

ROUTES = [
    {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
]


@pytest.fixture(scope="module")
def front(django_db_setup, django_db_blocker, blackbox, tmp_path_factory):
    binary = shutil.which("caddy")
    require("Caddy", binary is not None, "Install it: apt-get install caddy.")
    prefix, port = tmp_path_factory.mktemp("caddy"), free_port()
    (configuration,) = blocks("docs/reference/gateway.md", "caddy")
    with Site(GATEWAY_ROUTES=ROUTES, GATEWAY_PROXY="caddy") as site:
        for said, meant in [
            (":8080", f"http://127.0.0.1:{port}, http://localhost:{port}"),
            ("127.0.0.1:8000", f"127.0.0.1:{site.port}"),
            ("127.0.0.1:9000", f"127.0.0.1:{blackbox.port}"),
        ]:
            assert configuration.count(said) == 1, said
            configuration = configuration.replace(said, meant)
        path = prefix / "Caddyfile"
        path.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + configuration)
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


def test_ones_own_passes_and_nothing_else(call):
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


@pytest.mark.parametrize("header", ["X-Forwarded-Uri", "X-Forwarded-Method", "X-Original-URL"])
def test_no_header_takes_the_place_of_the_request_line(call, header):
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
