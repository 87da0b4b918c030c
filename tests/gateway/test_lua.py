"""A real HAProxy and a real Apache with the documented configurations and scripts."""

import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from apikeys import lifecycle
from tests.documents import blocks
from tests.factories import mint_key
from tests.gateway.attacks import NAMES, OWN, forged, reaches_another, tricks
from tests.gateway.servers import Site, await_port, free_port, send
from tests.services import require

pytestmark = pytest.mark.process

ROUTES = [
    {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
    {"method": "POST", "path": "/echo", "scopes": ["payments:read"]},
]
PROXIES = ["haproxy", "apache"]
MODULES = "/usr/lib/apache2/modules"
NEEDED = ("mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http")


@contextmanager
def proxy(name, apikeys, blackbox, more=()):
    """Start a proxy between a gateway and an upstream; return its port."""
    # Not in pytest's directory: Apache's user must be able to read the script.
    with TemporaryDirectory() as directory:
        yield from started(name, Path(directory), apikeys, blackbox, more)


def started(name, prefix, apikeys, blackbox, more):
    port = free_port()
    scripts = blocks("docs/reference/gateway.md", "lua")
    (script,) = (each for each in scripts if f"/etc/{name}" in each.replace("apache2", "apache"))
    (configuration,) = blocks("docs/reference/gateway.md", name)
    changes = [
        ("127.0.0.1:8000", f"127.0.0.1:{apikeys}"),
        ("127.0.0.1:9000", f"127.0.0.1:{blackbox}"),
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        ("/etc/haproxy/", f"{prefix}/"),
        ("/etc/apache2/", f"{prefix}/"),
        *more,
    ]
    for said, meant in changes:
        script, configuration = script.replace(said, meant), configuration.replace(said, meant)
    (prefix / "apikeys.lua").write_text(script)
    path = prefix / "proxy.conf"
    if name == "apache":
        modules = "".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in NEEDED)
        configuration = (
            f"ServerRoot {prefix}\nPidFile {prefix}/pid\nErrorLog {prefix}/error.log\n"
            f"ServerName localhost\nListen 127.0.0.1:{port}\nStartServers 1\n"
            f"{modules}User www-data\nGroup www-data\n{configuration}"
        )
    path.write_text(configuration)
    prefix.chmod(0o755)
    process = subprocess.Popen(command(name, path), stderr=subprocess.DEVNULL)
    try:
        await_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def command(name, path):
    binary = shutil.which("haproxy" if name == "haproxy" else "apache2", path="/usr/sbin:/usr/bin")
    require(name, binary is not None, "Install it: apt-get install haproxy apache2 lua-socket.")
    return (
        [binary, "-db", "-f", path] if name == "haproxy" else [binary, "-DFOREGROUND", "-f", path]
    )


@pytest.fixture(scope="module")
def site(django_db_setup, django_db_blocker):
    # The endpoint reads the same headers for both.
    with Site(GATEWAY_ROUTES=ROUTES, GATEWAY_PROXY="haproxy") as site:
        yield site


@pytest.fixture(scope="module", params=PROXIES)
def front(request, site, blackbox):
    with proxy(request.param, site.port, blackbox.port) as port:
        yield port


def test_only_the_own_resource_is_reached(call, minted):
    target = OWN + "?page=2&q=%2e%2e%2F"
    answer, (seen,) = call(target)
    assert (answer.status, answer.body) == (200, b"offers")
    assert (seen.method, seen.target) == ("GET", target)
    assert seen.values("X-Auth-Kind") == ["project_key"]
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-User") == []
    assert seen.values("X-Auth-Credential-Id") == [minted.key.public_id]
    assert seen.values("Authorization") == []
    assert not any(minted.token in value for _, value in seen.headers)


def test_refusals_come_with_their_body_and_challenge(call, minted):
    for options, status, code in [
        ({"target": "/subscribers/1002/offers"}, 403, "not_bound"),
        ({"token": None}, 401, "not_authenticated"),
        ({"token": "two words"}, 400, "invalid_request"),
        ({"token": minted.token[:-1]}, 401, "malformed_key"),
        ({"method": "DELETE"}, 403, "no_route"),
        ({"target": "/subscribers/1001/%2e%2e/1002/offers"}, 403, "ambiguous_path"),
        ({"target": "/subscribers/1001%2f1002/offers"}, 403, "ambiguous_path"),
        ({"target": f"http://localhost{OWN}"}, 403, "ambiguous_path"),
    ]:
        answer, seen = call(**options)
        assert (answer.status, json.loads(answer.body)["code"], seen) == (status, code, [])
        assert answer.values("WWW-Authenticate")
        assert answer.values("Cache-Control") == ["no-store"]
        assert answer.values("Content-Type") == ["application/json"]
        assert answer.values("X-Auth-Refusal") == []


def test_two_credentials_are_refused(call):
    answer, seen = call(OWN, "Authorization: Bearer x")
    assert (answer.status in (400, 401, 403), seen) == (True, [])


def test_a_body_is_forwarded(call):
    body = b"GET /subscribers/1002/offers HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(range(256))
    answer, (seen,) = call("/echo", method="POST", body=body)
    assert (answer.status, seen.target, seen.body) == (200, "/echo", body)


def test_revocation_is_immediate(call, minted):
    assert call()[0].status == 200
    lifecycle.revoke(minted.key)
    answer, seen = call()
    assert (answer.status, json.loads(answer.body)["code"], seen) == (401, "revoked_key", [])


def test_identity_headers_of_the_client_never_pass(call):
    _, (seen,) = call(OWN, *forged())
    assert not any("forged" in value for _, value in seen.headers)
    assert not [name for name, _ in seen.headers if "_" in name]
    assert seen.values("X-Auth-Subject") == ["project:engine"]


def test_connection_cannot_remove_identity_headers(call):
    names = [f"X-Auth-{name}" for name in NAMES]
    _, (plain,) = call()
    for names_of in (", ".join(names), "close, " + names[1], "keep-alive, authorization"):
        answer, (seen,) = call(OWN, f"Connection: {names_of}")
        assert answer.status == 200
        assert [seen.values(name) for name in names] == [plain.values(name) for name in names]


@pytest.mark.parametrize(
    "header",
    [
        *("X-Original-URI", "X-Original-Method", "X-Original-URL", "X-Rewrite-URL"),
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
        *("X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix", "X_Original_URI"),
    ],
)
def test_no_header_overrides_the_request_line(call, header):
    lie = OWN if "Method" not in header else "GET"
    other = "/subscribers/1002/offers"
    answer, seen = call(other, f"{header}: {lie}")
    assert (answer.status, seen) == (403, [])
    answer, (seen,) = call(OWN, f"{header}: {other}")
    assert (answer.status, seen.values(header), seen.target) == (200, [], OWN)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 3", "Content-Length: 4"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
    ],
)
def test_request_smuggling_is_refused(call, headers):
    answer, seen = call("/echo", *headers, method="POST", chunks=b"0\r\n\r\n")
    assert answer.status in (400, 411, 501)
    assert seen == []


def test_of_a_length_and_chunks_one_is_forwarded(call):
    both = ["Content-Length: 3", "Transfer-Encoding: chunked"]
    answer, seen = call("/echo", *both, method="POST", chunks=b"0\r\n\r\n")
    framed = [each.values("Content-Length") + each.values("Transfer-Encoding") for each in seen]
    assert (answer.status, framed) in [(400, []), (200, [["chunked"]]), (200, [["0"]])]


def test_the_upstream_gets_one_digest(call):
    answer, seen = call(OWN, "Content-Digest: sha-256=:a:", "Content-Digest: sha-256=:b:")
    joined = [each.values("Content-Digest") for each in seen]
    assert (answer.status, joined) in [(400, []), (200, [["sha-256=:a:, sha-256=:b:"]])]


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("", "private"),
        ("Cache-Control: public, max-age=600\r\n", "private"),
        ("Cache-Control: no-store\r\nCDN-Cache-Control: max-age=9\r\n", "no-store"),
    ],
)
def test_responses_of_the_upstream_are_private(call, answer_to, said, answered):
    answer = answer_to(said)
    assert answer.values("Cache-Control") == [answered]
    assert answer.values("CDN-Cache-Control") == []
    assert "Authorization" in ", ".join(answer.values("Vary"))
    assert "Authorization" in ", ".join(call(token=None)[0].values("Vary"))


def test_ratelimit_headers_reach_the_caller(call, bound):
    minted = mint_key(bound, rate_limits=["2/hour"])
    (first, _), _, (third, seen) = (call(token=minted.token) for _ in range(3))

    assert first.values("RateLimit-Policy") == ['"2/hour";q=2;w=3600']
    assert first.values("RateLimit") == ['"2/hour";r=1;t=3600']
    assert (third.status, json.loads(third.body)["code"], seen) == (429, "rate_limited", [])
    assert third.values("Retry-After")


@tricks(200)
def test_no_trick_reaches_another_subscriber(call, target, method):
    answer, seen = call(target, method=method)
    for request in seen:
        assert answer.status == 200
        assert not reaches_another(request.target), (target, request.target)
        assert request.target == target
        assert re.match(r"/subscribers/1001(?:/|$)", request.target)
        assert request.values("X-Auth-Project") == ["engine"]


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("cause", ["the endpoint is down", "it redirects", "the script fails"])
def test_without_a_decision_all_requests_are_refused(site, blackbox, minted, name, cause):
    more = {
        "the endpoint is down": [(f":{site.port}/", f":{free_port()}/")],
        "it redirects": [("/gateway/authorize/", "/gateway/authorize")],  # APPEND_SLASH
        "the script fails": [('"x-auth-" ..', '"x-auth-" + {} ..')],
    }[cause]
    blackbox.seen.clear()
    with proxy(name, site.port, blackbox.port, more) as port:
        answer = send(port, OWN, f"Authorization: Bearer {minted.token}")
    failed = {"haproxy": 503, "apache": 500}[name]
    assert answer.status == (failed if cause == "the script fails" else 503)
    assert blackbox.seen == []
    if cause != "the script fails":
        assert json.loads(answer.body)["code"] == "gateway_unavailable"
