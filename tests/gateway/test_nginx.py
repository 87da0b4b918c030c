"""A real nginx with the documented configuration before a real upstream."""

import json
import re
import time
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from apikeys.gateway.models import ResourceBinding
from tests.documents import blocks
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.gateway.servers import BlackBox, Nginx, Site, free_port, send

OWN = "/subscribers/1001/offers"
OWN_TEMPLATE = "/subscribers/{subscriber_id}/offers"


@pytest.fixture(scope="module")
def blackbox():
    with BlackBox() as blackbox:
        yield blackbox


@pytest.fixture(scope="module")
def nginx(django_db_setup, django_db_blocker, blackbox, tmp_path_factory):
    routes = [
        {"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"]},
        {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
        {"method": "POST", "path": "/echo", "scopes": ["payments:read"]},
    ]
    with (
        Site(GATEWAY_ROUTES=routes) as site,
        Nginx(tmp_path_factory.mktemp("nginx"), site.port, blackbox.port) as nginx,
    ):
        yield nginx


@pytest.fixture
def bound(transactional_db, blackbox):
    """Analytical Engine has subscriber 1001, Compiler has 1002."""
    blackbox.seen.clear()
    engine, compiler = ProjectFactory(slug="engine"), ProjectFactory(slug="compiler")
    for project, identifier in ((engine, "1001"), (compiler, "1002")):
        ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier=identifier)
    return engine


@pytest.fixture
def key(bound):
    return mint_key(bound)


@pytest.fixture
def call(nginx, blackbox):
    """What nginx answers, and what the upstream saw of it."""

    def call(target=OWN, *headers, token=None, **options):
        blackbox.seen.clear()
        authorization = [f"Authorization: Bearer {token}"] if token else []
        answer = send(nginx.port, target, *authorization, *headers, **options)
        return answer, list(blackbox.seen)

    return call


def test_every_kind_of_credential(call, bound, key):
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
        "project_key": (key.token, "", "engine"),
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


def test_refusals_come_with_their_body_and_challenge(call, key, client):
    cases = [
        ({}, 401, "not_authenticated"),
        ({"token": key.token[:-1]}, 401, "malformed_key"),
        ({"token": "two words"}, 400, "invalid_request"),
        ({"token": key.token, "method": "DELETE"}, 403, "no_route"),
    ]
    for options, status, code in cases:
        answer, seen = call(**options)
        assert (answer.status, seen) == (status, [])
        assert json.loads(answer.body)["code"] == code
        assert answer.values("Content-Type") == ["application/json"]
        assert answer.values("Cache-Control") == ["no-store"]
        (challenge,) = answer.values("WWW-Authenticate")
        headers = {"X-Original-Method": options.get("method", "GET"), "X-Original-URI": OWN}
        if "token" in options:
            headers["Authorization"] = f"Bearer {options['token']}"
        direct = client.get("/gateway/authorize/", headers=headers)
        assert (challenge, answer.body) == (direct["WWW-Authenticate"], direct.content)


def test_revocation_is_immediate(call, key):
    assert call(token=key.token)[0].status == 200
    lifecycle.revoke(key.key)
    answer, seen = call(token=key.token)
    assert (answer.status, json.loads(answer.body)["code"], seen) == (401, "revoked_key", [])


def test_identity_headers_of_the_client_never_pass(call, key):
    names = ["Kind", "Subject", "User", "Project", "Client", "Scopes", "Credential-Id"]
    spellings = [f"X-Auth-{name}" for name in names]
    spellings += [s.lower() for s in spellings] + [s.upper() for s in spellings]
    spellings += [s.replace("-", "_") for s in spellings]
    forged = [f"{name}: forged" for name in spellings]

    _, (seen,) = call(OWN, *forged, *forged, token=key.token)

    assert not any("forged" in value for _, value in seen.headers)
    assert seen.values("X-Auth-Subject") == ["project:engine"]
    assert seen.values("X-Auth-User") == []


@pytest.mark.parametrize(
    "header",
    [
        *("X-Original-URI", "X-Original-Method", "X-Original-URL", "X-Rewrite-URL"),
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
        *("X-Forwarded-Uri", "X-Forwarded-Prefix"),
    ],
)
def test_no_header_takes_the_place_of_the_request_line(call, key, header):
    lie = OWN if "Method" not in header else "GET"
    other = "/subscribers/1002/offers"
    answer, seen = call(other, f"{header}: {lie}", token=key.token)
    assert (answer.status, seen) == (403, [])
    answer, seen = call(OWN, f"{header}: {other}", token=key.token)
    assert answer.status == 200
    if header not in ("X-Original-URI", "X-Original-Method"):  # words of this gateway alone
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
def test_shapes_of_smuggling(call, key, headers):
    answer, seen = call(OWN, *headers, token=key.token)
    assert answer.status in (400, 401, 411, 501)
    assert seen == []


def test_a_second_request_in_the_body_stays_a_body(call, key):
    inner = b"GET /subscribers/1002/offers HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer, (seen,) = call("/echo", token=key.token, method="POST", body=inner)
    assert (answer.status, seen.target, seen.body) == (200, "/echo", inner)


def test_the_endpoint_is_not_for_clients(call, key):
    for target in ("/_authorize", "/gateway/authorize/"):
        answer, seen = call(target, token=key.token)
        assert (answer.status, seen) in [(404, []), (403, [])]


def test_an_authorization_that_is_down_lets_nobody_in(blackbox, tmp_path, key):
    blackbox.seen.clear()
    with Nginx(tmp_path, free_port(), blackbox.port) as alone:
        answer = send(alone.port, OWN, f"Authorization: Bearer {key.token}")
    assert answer.status == 503
    assert json.loads(answer.body)["code"] == "gateway_unavailable"
    assert blackbox.seen == []


# What servers make of a path: whether it may lead to another subscriber for one of them.


def readings(target):
    """All that the laxest of servers might take ``target`` for."""
    found, new = set(), {target.partition("?")[0].partition("#")[0]}
    while new:
        text = new.pop()
        if text in found or len(found) > 400:
            continue
        found.add(text)
        new |= {
            unquote(text, "latin-1"),
            unquote(text),
            text.replace("\\", "/"),
            text.lower(),
            re.sub(r";[^/]*", "", text),
            re.sub(r"[. \t\x00]+(?=/|$)", "", text),
            re.sub(r"//+", "/", text),
            re.sub(r"/\.(?=/|$)", "", text),
            re.sub(r"/[^/]*/\.\.(?=/|$)", "", text, count=1),
            text.partition("\x00")[0],
            text.partition("?")[0],
            text.partition("#")[0],
            re.sub(r"^https?://[^/]*", "", text),
        }
    return found


def reaches_another(target):
    subscribers = (
        re.match(r"/subscribers/([^/]+)", reading.lower()) for reading in readings(target)
    )
    return any(match is not None and match[1] != "1001" for match in subscribers)


PIECES = [
    *("/", "//", ".", "..", "/../", "/./", "%2e", "%2E", "%2e%2e", "%252e%252e", "%c0%ae", "..;"),
    *(";", ";x=1", "%3b", "%2f", "%2F", "%252f", "%5c", "%5C", "\\", "%00", "%0d%0a", "%20", "+"),
    *("subscribers", "Subscribers", "SUBSCRIBERS", "1001", "1002", "%31001", "100%32", "1001."),
    *("offers", "OFFERS", "offers.", "?", "#", "%3f", "%23", "%25", "&", "=", ",", "%EF%BC%8F"),
    *("http://localhost", "@", ":", "~", "$", "%", "%u002e", "%uff0e", "\u00e9", "%C3%A9", "%e9"),
]
TRICKS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: "/" + "".join(parts)),
    st.lists(st.sampled_from(PIECES), max_size=8).map(
        lambda parts: "/subscribers/1001" + "".join(parts) + "/offers"
    ),
    st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: OWN + "".join(parts)),
    st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES), st.sampled_from(PIECES)).map(
        lambda p: f"/subscribers/{p[0]}{p[1]}{p[2]}1002/offers"
    ),
)


@settings(
    max_examples=600,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(TRICKS, st.sampled_from(["GET", "GET", "HEAD", "get", "POST"]))
def test_no_trick_reaches_another_subscriber(call, key, target, method):
    answer, seen = call(target, token=key.token, method=method)

    assert answer.status in (200, 400, 401, 403, 404, 405, 414, 505), answer
    for request in seen:
        assert answer.status == 200
        assert not reaches_another(request.target), (target, request.target)
        assert request.target == target
        assert re.match(r"/subscribers/1001(?:/|$)", request.target)
        assert request.values("X-Auth-Project") == ["engine"]


def test_the_oracle_knows_the_tricks():
    for trick in ("/../1002", "/%2e%2e/1002", "%252f..%252f1002", "/..;/1002", "\\..\\1002", "2"):
        assert reaches_another(f"/subscribers/1001{trick}"), trick
    for trick in ("/Subscribers/1002", "//subscribers/1002", "/./subscribers/%31002"):
        assert reaches_another(trick), trick
    assert not reaches_another(OWN)


@pytest.fixture
def keeping(key, blackbox, tmp_path):
    """nginx with the documented cache of decisions."""
    storage, usage = (b for b in blocks("docs/reference/gateway.md", "nginx") if "proxy_cache" in b)
    storage = storage.replace("/dev/shm/apikeys", str(tmp_path / "decisions"))
    routes = [{"method": "GET", "path": OWN_TEMPLATE, "scopes": ["payments:read"]}]
    more = [
        ("upstream apikeys {", storage + "upstream apikeys {"),
        ("        internal;\n", "        internal;\n" + usage),
    ]
    with (
        Site(GATEWAY_ROUTES=routes, GATEWAY_MAX_AGE=1) as site,
        Nginx(tmp_path, site.port, blackbox.port, more) as nginx,
    ):
        yield (
            lambda token, target=OWN: (
                send(nginx.port, target, f"Authorization: Bearer {token}").status
            )
        )


def test_kept_decisions_end_when_they_say(keeping, key, bound):
    assert keeping(key.token) == 200
    assert keeping(key.token, "/subscribers/1002/offers") == 403
    assert keeping(mint_key(ProjectFactory()).token) == 403
    lifecycle.revoke(key.key)
    end = time.monotonic() + 20
    while (status := keeping(key.token)) == 200:
        assert time.monotonic() < end
    assert status == 401


def test_kept_decisions_are_made_again(keeping, key):
    end = time.monotonic() + 4  # several times the second that each is kept
    while time.monotonic() < end:
        assert keeping(key.token) == 200
