"""A real nginx with the documented configuration in front of a real upstream."""

import json
import re
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from tests.documents import blocks
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.gateway.attacks import OWN, forged, reaches_another, tricks
from tests.gateway.servers import Nginx, Site, free_port, send

pytestmark = pytest.mark.process

PAGE = "https://app.acme.example"
OWN_TEMPLATE = "/subscribers/{subscriber_id}/offers"


@pytest.fixture(scope="module")
def front(django_db_setup, django_db_blocker, blackbox, tmp_path_factory):
    routes = [
        {"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"]},
        {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
        {"method": "POST", "path": "/echo", "scopes": ["payments:read"], "cors": [PAGE]},
    ]
    with (
        Site(GATEWAY_ROUTES=routes) as site,
        Nginx(tmp_path_factory.mktemp("nginx"), site.port, blackbox.port) as nginx,
    ):
        yield nginx.port


def test_every_kind_of_credential_is_allowed(call, bound, minted):
    ada = MembershipFactory(project=bound, user__username="ada").user
    app = Application.objects.create(
        client_id="cli",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    )
    AccessToken.objects.create(
        user=ada,
        application=app,
        token="an-access-token",
        scope="payments:read",
        expires=timezone.now() + timedelta(minutes=5),
    )
    kinds = {
        "project_key": (minted.token, "", "engine"),
        "personal_access_token": (mint_pat(ada).token, "ada", ""),
        "oauth": ("an-access-token", "ada", ""),
    }
    for kind, (token, user, project) in kinds.items():
        answer, (seen,) = call(token=token)
        assert (answer.status, answer.body) == (200, b"offers")
        assert (seen.method, seen.target) == ("GET", OWN)
        assert seen.values("X-Auth-Kind") == [kind]
        assert seen.values("X-Auth-User") == ([user] if user else [])
        assert seen.values("X-Auth-Project") == ([project] if project else [])
        assert seen.values("Authorization") == []
        assert not any(token in value for _, value in seen.headers)

        answer, seen = call("/subscribers/1002/offers", token=token)
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "not_bound")
        assert seen == []


def test_refusals_come_with_their_body_and_challenge(call, minted, client):
    cases = [
        ({"token": None}, 401, "not_authenticated"),
        ({"token": minted.token[:-1]}, 401, "malformed_key"),
        ({"token": "two words"}, 400, "invalid_request"),
        ({"token": minted.token, "method": "DELETE"}, 403, "no_route"),
    ]
    for options, status, code in cases:
        answer, seen = call(**options)
        assert (answer.status, seen) == (status, [])
        assert json.loads(answer.body)["code"] == code
        assert answer.values("Content-Type") == ["application/json"]
        assert answer.values("Cache-Control") == ["no-store"]
        (challenge,) = answer.values("WWW-Authenticate")
        headers = {"X-Original-Method": options.get("method", "GET"), "X-Original-URI": OWN}
        headers["Host"] = "localhost"  # where the response says that the API is described
        if token := options["token"]:
            headers["Authorization"] = f"Bearer {token}"
        direct = client.get("/gateway/authorize/", headers=headers)
        assert (challenge, answer.body) == (direct["WWW-Authenticate"], direct.content)


def test_revocation_is_immediate(call, minted):
    assert call()[0].status == 200
    lifecycle.revoke(minted.key)
    answer, seen = call()
    assert (answer.status, json.loads(answer.body)["code"], seen) == (401, "revoked_key", [])


def test_identity_headers_of_the_client_never_pass(call):
    _, (seen,) = call(OWN, *forged(), *forged())

    assert not any("forged" in value for _, value in seen.headers)
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-User") == []


def test_connection_cannot_remove_identity_headers(call):
    _, (seen,) = call(OWN, "Connection: X-Auth-Subject, X-Auth-Kind")
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-Kind") == ["project_key"]


@pytest.mark.parametrize(
    "header",
    [
        *("X-Original-URI", "X-Original-Method", "X-Original-URL", "X-Rewrite-URL"),
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
        *("X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix"),
    ],
)
def test_no_header_overrides_the_request_line(call, header):
    lie = OWN if "Method" not in header else "GET"
    other = "/subscribers/1002/offers"
    answer, seen = call(other, f"{header}: {lie}")
    assert (answer.status, seen) == (403, [])
    answer, seen = call(OWN, f"{header}: {other}")
    assert answer.status == 200
    assert seen[0].values(header) == []
    assert seen[0].target == OWN


@pytest.mark.parametrize(
    "headers",
    [
        ["Authorization: Bearer x"],
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Host: other"],
    ],
)
def test_request_smuggling_is_refused(call, headers):
    answer, seen = call(OWN, *headers)
    assert answer.status in (400, 401, 411, 501)
    assert seen == []


def test_a_second_request_in_the_body_stays_a_body(call):
    inner = b"GET /subscribers/1002/offers HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer, (seen,) = call("/echo", method="POST", body=inner)
    assert (answer.status, seen.target, seen.body) == (200, "/echo", inner)


def test_clients_cannot_call_the_endpoint(call):
    for target in ("/_authorize", "/gateway/authorize/"):
        answer, seen = call(target)
        assert (answer.status, seen) in [(404, []), (403, [])]


def test_all_requests_are_refused_while_the_gateway_is_down(blackbox, tmp_path, minted):
    blackbox.seen.clear()
    with Nginx(tmp_path, free_port(), blackbox.port) as alone:
        answer = send(alone.port, OWN, f"Authorization: Bearer {minted.token}")
    assert answer.status == 503
    assert json.loads(answer.body)["code"] == "gateway_unavailable"
    assert blackbox.seen == []


@tricks(600)
def test_no_trick_reaches_another_subscriber(call, target, method):
    answer, seen = call(target, method=method)

    assert answer.status in (200, 400, 401, 403, 404, 405, 414, 505), answer
    for request in seen:
        assert answer.status == 200
        assert not reaches_another(request.target), (target, request.target)
        assert request.target == target
        assert re.match(r"/subscribers/1001(?:/|$)", request.target)
        assert request.values("X-Auth-Project") == ["engine"]


def test_the_oracle_recognises_known_attacks():
    for trick in ("/../1002", "/%2e%2e/1002", "%252f..%252f1002", "/..;/1002", "\\..\\1002", "2"):
        assert reaches_another(f"/subscribers/1001{trick}"), trick
    for trick in ("/Subscribers/1002", "//subscribers/1002", "/./subscribers/%31002"):
        assert reaches_another(trick), trick
    assert not reaches_another(OWN)


def test_ratelimit_headers_reach_the_caller(call, bound):
    minted = mint_key(bound, rate_limits=["2/hour"])
    (first, _), _, (third, seen) = (call(token=minted.token) for _ in range(3))

    assert first.values("RateLimit-Policy") == ['"2/hour";q=2;w=3600']
    assert first.values("RateLimit") == ['"2/hour";r=1;t=3600']
    assert (third.status, json.loads(third.body)["code"], seen) == (429, "rate_limited", [])
    (seconds,) = third.values("Retry-After")
    assert third.values("RateLimit") == [f'"2/hour";r=0;t={seconds}']


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("", "private"),
        ("Cache-Control: public, max-age=600\r\n", "private"),
        ("Cache-Control: s-maxage=600\r\n", "private"),
        ("Cache-Control: max-age=600\r\n", "max-age=600, private"),
        ("Cache-Control: no-store\r\n", "no-store"),
    ],
)
def test_responses_of_the_upstream_are_private(call, answer_to, said, answered):
    answer = answer_to(said)
    assert answer.values("Cache-Control") == [answered]
    assert "Authorization" in ", ".join(answer.values("Vary"))
    assert "Authorization" in ", ".join(call(token=None)[0].values("Vary"))


def preflight(call, target="/echo", *, origin=PAGE, planned="POST", more=()):
    lines = [f"Origin: {origin}", f"Access-Control-Request-Method: {planned}", *more]
    return call(target, *lines, method="OPTIONS", token=None)


def test_a_preflight_is_answered_by_the_gateway(call):
    requested = "Access-Control-Request-Headers: authorization,content-type"
    answer, seen = preflight(call, more=[requested])
    assert (answer.status, answer.body, seen) == (204, b"", [])
    assert answer.values("Access-Control-Allow-Origin") == [PAGE]
    assert answer.values("Access-Control-Allow-Methods") == ["POST"]
    assert answer.values("Access-Control-Allow-Headers") == ["authorization,content-type"]
    assert answer.values("Access-Control-Max-Age") == ["600"]
    assert answer.values("Access-Control-Allow-Credentials") == []  # no cookies
    assert "Origin" in ", ".join(answer.values("Vary"))


@pytest.mark.parametrize(
    "options",
    [
        {"origin": "https://app.acme.example.evil.example"},
        {"origin": "http://app.acme.example"},
        {"origin": "null"},
        {"planned": "GET"},
        {"planned": "post"},
        {"target": OWN, "planned": "GET"},  # its route lists no origin
        {"target": "/../echo"},
        {"planned": "POST, GET"},
    ],
)
def test_a_preflight_that_no_route_allows_is_refused(call, options):
    answer, seen = preflight(call, **options)
    assert answer.status in (400, 401, 403)
    assert seen == []
    assert answer.values("Access-Control-Allow-Origin") == []


def test_options_without_an_origin_needs_a_credential(call):
    answer, seen = call("/echo", method="OPTIONS", token=None)
    assert (answer.status, seen) == (401, [])
    answer, seen = call("/_preflight", f"Origin: {PAGE}", token=None)
    assert (answer.status, seen) == (404, [])


def test_a_page_reads_the_response_to_its_request(call, answer_to):
    origin = f"Origin: {PAGE}"
    answer, (seen,) = call("/echo", origin, method="POST", body=b"1")
    assert (answer.status, seen.target) == (200, "/echo")
    assert answer.values("Access-Control-Allow-Origin") == [PAGE]
    assert "RateLimit" in answer.values("Access-Control-Expose-Headers")[0]
    for options in ({"token": None}, {"token": "two words"}):
        answer, seen = call("/echo", origin, method="POST", **options)
        assert (answer.status in (400, 401), seen) == (True, [])
        assert answer.values("Access-Control-Allow-Origin") == [PAGE]
    for target, given in ((OWN, PAGE), ("/echo", "https://evil.example")):
        method = "GET" if target == OWN else "POST"
        answer, _ = call(target, f"Origin: {given}", method=method)
        assert (answer.status, answer.values("Access-Control-Allow-Origin")) == (200, [])
    answer = answer_to("Access-Control-Allow-Origin: *\r\n")  # the upstream's own, without `cors`
    assert answer.values("Access-Control-Allow-Origin") == ["*"]


TLS = {"SECURE_SSL_REDIRECT": True, "ALLOWED_HOSTS": ["api.acme.example"]}
TRUSTING = {"SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"]}
EXEMPT = {"SECURE_REDIRECT_EXEMPT": [r"^gateway/"]}


@pytest.mark.parametrize(
    ("django", "scheme", "host", "status"),
    [
        (TLS | TRUSTING, "https", "api.acme.example", 200),
        (TLS | TRUSTING, "https", "other.example", 503),  # Django refuses the host
        (TLS | TRUSTING, "$scheme", "api.acme.example", 503),  # the client used http
        (TLS | EXEMPT, "$scheme", "api.acme.example", 200),
    ],
)
def test_a_site_that_redirects_to_https(minted, blackbox, tmp_path, django, scheme, host, status):
    routes = [{"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"], "cors": [PAGE]}]
    said = "X-Forwarded-Proto {};  # as in SECURE_PROXY_SSL_HEADER"
    of_preflight = "X-Forwarded-Proto {};\n        proxy_set_header X-Original-Method OPTIONS;"
    more = [(each.format("$scheme"), each.format(scheme)) for each in (said, of_preflight)]
    blackbox.seen.clear()
    with (
        Site(GATEWAY_ROUTES=routes, django=django) as site,
        Nginx(tmp_path, site.port, blackbox.port, more) as nginx,
    ):
        authorization = f"Authorization: Bearer {minted.token}"
        answer = send(nginx.port, OWN, authorization, host=host)
        refused = send(nginx.port, OWN, host=host)
        asks = f"Origin: {PAGE}", "Access-Control-Request-Method: GET"
        asked = send(nginx.port, OWN, *asks, method="OPTIONS", host=host)
    assert answer.status == status
    assert len(blackbox.seen) == (status == 200)
    if status == 503:
        assert json.loads(answer.body)["code"] == "gateway_unavailable"
        assert answer.values("Location") == []
    else:
        assert (refused.status, json.loads(refused.body)["code"]) == (401, "not_authenticated")
        assert (asked.status, asked.values("Access-Control-Allow-Origin")) == (204, [PAGE])


@pytest.fixture
def kept_in(tmp_path):
    """The lines that the documented cache of decisions adds to the configuration."""
    authorize = "        proxy_pass http://apikeys/gateway/authorize/;\n"
    storage, usage = (b for b in blocks("docs/reference/gateway.md", "nginx") if "proxy_cache" in b)
    storage = storage.replace("/dev/shm/apikeys", str(tmp_path / "decisions"))
    return [
        ("upstream apikeys {", storage + "upstream apikeys {"),
        (authorize, usage + authorize),
    ]


@pytest.fixture
def keep(minted, blackbox, tmp_path, kept_in):
    """Start nginx with the documented cache of decisions."""
    routes = [{"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"]}]

    @contextmanager
    def keep(seconds):
        with (
            Site(GATEWAY_ROUTES=routes, GATEWAY_MAX_AGE=seconds) as site,
            Nginx(tmp_path, site.port, blackbox.port, kept_in) as nginx,
        ):
            yield (
                lambda token, target=OWN: (
                    send(nginx.port, target, f"Authorization: Bearer {token}").status
                )
            )

    return keep


@pytest.fixture
def keeping(keep):
    with keep(1) as ask:
        yield ask


def test_a_decision_is_cached_per_request(keep, minted):
    with keep(300) as ask:
        assert ask(minted.token) == 200
        lifecycle.revoke(minted.key)
        assert ask(minted.token) == 200  # answered from the cache
        assert ask(minted.token, f"{OWN}?page=2") == 401
        assert ask(mint_key(ProjectFactory()).token) == 403


def test_a_cached_decision_does_not_hide_a_response_from_its_page(
    minted, blackbox, tmp_path, kept_in
):
    routes = [{"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"], "cors": [PAGE]}]
    authorization = f"Authorization: Bearer {minted.token}"
    with (
        Site(GATEWAY_ROUTES=routes, GATEWAY_MAX_AGE=300) as site,
        Nginx(tmp_path, site.port, blackbox.port, kept_in) as nginx,
    ):
        for origin in ("", PAGE, "", "https://evil.example", PAGE):
            more = [f"Origin: {origin}"] if origin else []
            answer = send(nginx.port, OWN, authorization, *more)
            allowed = [PAGE] if origin == PAGE else []
            assert (answer.status, answer.values("Access-Control-Allow-Origin")) == (200, allowed)


def test_cached_decisions_expire(keeping, minted, bound):
    assert keeping(minted.token) == 200
    assert keeping(minted.token, "/subscribers/1002/offers") == 403
    assert keeping(mint_key(ProjectFactory()).token) == 403
    lifecycle.revoke(minted.key)
    end = time.monotonic() + 20
    while (status := keeping(minted.token)) == 200:
        assert time.monotonic() < end
    assert status == 401


def test_expired_decisions_are_made_again(keeping, minted):
    end = time.monotonic() + 4  # several times the one second of caching
    while time.monotonic() < end:
        assert keeping(minted.token) == 200
