"""All adapters send the same status, code, challenge and Retry-After for each refusal."""

import base64
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from asgiref.sync import async_to_sync
from django.db import OperationalError
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.datastructures import CaseInsensitiveMapping
from oauth2_provider.models import Application

from apikeys import refusals, signatures, verify
from apikeys.gateway import routes
from apikeys.gateway.models import ResourceBinding
from apikeys.http.header import answer
from apikeys.limits import counting
from apikeys.models import ProjectAccess
from apikeys.refusals import REFUSALS, Refused
from apikeys.restrictions import RESTRICTIONS
from apikeys.restrictions.base import Phase
from apikeys.signatures.messages import Message
from tests import adapters
from tests.adapters import VIEWS
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat, with_wrong_secret
from tests.gateway.servers import BlackBox, Nginx, await_port, free_port
from tests.gateway.servers import send as send_raw
from tests.restrictions import MODULES
from tests.signing import caller

GATEWAY_URL = "http://gateway.example"
ROUTES = [
    {"method": "GET", "path": "/offers", "scopes": ["payments:read"]},
    {"method": "GET", "path": "/of/{subscriber_id}", "scopes": ["payments:read"]},
]
NGINX, PYTHON = "gateway, nginx", "gateway, Python"
GATEWAYS = [pytest.param(each, marks=pytest.mark.process) for each in (NGINX, PYTHON)]


class Forgotten(adapters.View):
    required_scopes = ()


urlpatterns = [*adapters.urlpatterns, path("forgotten/", Forgotten.as_view())]


@dataclass
class Case:
    """A request that is refused with ``code``."""

    headers: Any  # a dictionary, or a function of the absolute URL that returns one
    code: str
    #: The key that was sent as a client secret, for the OAuth endpoints.
    text: str = ""
    params: dict[str, str] = field(default_factory=dict)
    target: str = "/offers"
    method: str = "GET"


@pytest.fixture
def apikeys(settings):
    def set_(**changes):
        settings.APIKEYS = settings.APIKEYS | changes

    set_(GATEWAY_ROUTES=ROUTES, GATEWAY_URL=GATEWAY_URL)
    return set_


def of(minted, code, **more):
    return Case(bearer(minted.token), code, minted.token, **more)


# A request for each refusal.


def not_authenticated(apikeys, monkeypatch):
    return Case({}, "not_authenticated")


def invalid_request(apikeys, monkeypatch):
    return Case({"Authorization": "Bearer two words"}, "invalid_request")


def invalid_basic(apikeys, monkeypatch):
    apikeys(BASIC_AUTH=True)
    pair = base64.b64encode(b"ada:password").decode()
    return Case({"Authorization": f"Basic {pair}"}, "invalid_basic")


def malformed_key(apikeys, monkeypatch):
    text = mint_key().token[:-1]
    return Case(bearer(text), "malformed_key", text)


def invalid_key(apikeys, monkeypatch):
    text = with_wrong_secret(mint_key().token)
    return Case(bearer(text), "invalid_key", text)


def expired_key(apikeys, monkeypatch):
    return of(mint_key(state="expired"), "expired_key")


def revoked_key(apikeys, monkeypatch):
    return of(mint_key(state="revoked"), "revoked_key")


def legacy_ended(apikeys, monkeypatch):
    apikeys(LEGACY={"authtoken": {"UNTIL": "2001-01-01"}})
    return Case({"Authorization": f"Token {'a' * 40}"}, "legacy_ended")


def approval_required(apikeys, monkeypatch):
    return of(mint_pat(state="pending"), "approval_required")


def paused_key(apikeys, monkeypatch):
    return of(mint_pat(state="paused"), "paused_key")


def inactive_user(apikeys, monkeypatch):
    minted = mint_pat()
    minted.key.user.is_active = False
    minted.key.user.save()
    return of(minted, "inactive_user")


def inactive_project(apikeys, monkeypatch):
    minted = mint_key()
    minted.key.project.is_active = False
    minted.key.project.save()
    return of(minted, "inactive_project")


def invalid_token(apikeys, monkeypatch):
    return Case(bearer("no-such-token"), "invalid_token", "no-such-token")


def malformed_signature(apikeys, monkeypatch):
    return Case({"Signature-Input": "?", "Signature": "?"}, "malformed_signature")


def signed(code, *, again=False, **options):
    who = caller()

    def headers(url):
        return dict(who.sign("GET", url, **options).headers)

    return Case(headers, code)


def incomplete_signature(apikeys, monkeypatch):
    return signed("incomplete_signature", covered=("@target-uri",))


def stale_signature(apikeys, monkeypatch):
    return signed("stale_signature", age=3600)


def invalid_signature(apikeys, monkeypatch):
    case = signed("invalid_signature")
    make = case.headers
    case.headers = lambda url: make(f"{url}?another=one")
    return case


def digest_mismatch(apikeys, monkeypatch):
    covered = ("@method", "@target-uri", "content-digest")
    empty = {"Content-Digest": f"sha-256=:{base64.b64encode(b'0' * 32).decode()}:"}
    return signed("digest_mismatch", covered=covered, headers=empty)


def replayed_signature(apikeys, monkeypatch):
    case = signed("replayed_signature")
    make = case.headers

    def headers(url):
        sent = make(url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "spend", lambda *args: {})
            message = Message("GET", url, sent, lambda: b"")
            signatures.verify(message)
        return sent

    case.headers = headers
    return case


def signature_not_accepted(apikeys, monkeypatch):
    def missing():
        raise Refused(refusals.SIGNATURE_NOT_ACCEPTED)

    monkeypatch.setattr(signatures, "_verification", missing)
    return Case({"Signature-Input": "a=()", "Signature": "a=:AA==:"}, "signature_not_accepted")


def verification_busy(apikeys, monkeypatch):
    minted = mint_key()
    apikeys(PEPPERS=["n" * 32], ARGON2_TRIES=1)
    with pytest.raises(Refused):
        verify.verify(with_wrong_secret(minted.token))
    return of(minted, "verification_busy")


def temporarily_unavailable(apikeys, monkeypatch):
    minted = mint_key()

    def away(*args, **kwargs):
        raise OperationalError("The server is gone.")

    monkeypatch.setattr(verify.cache, "find", away)
    return of(minted, "temporarily_unavailable")


def rate_limit_unavailable(apikeys, monkeypatch):
    apikeys(RATE_LIMIT_STORE="redis://127.0.0.1:1/0")
    return of(mint_key(rate_limits=["9/hour"]), "rate_limit_unavailable")


def insufficient_scope(apikeys, monkeypatch):
    minted = mint_key(scopes=["reports:read"])
    return of(minted, "insufficient_scope", params={"scope": "payments:read"})


def scope_not_declared(apikeys, monkeypatch):
    params = {"view": f"{__name__}.Forgotten", "method": "GET"}
    return of(mint_key(), "scope_not_declared", target="/forgotten/", params=params)


def body_not_compared(apikeys, monkeypatch):
    apikeys(GATEWAY_SIGNED_BODIES="refuse")
    case = signed("body_not_compared")
    case.method = "POST"
    return case


def no_route(apikeys, monkeypatch):
    return of(mint_key(), "no_route", target="/elsewhere")


def ambiguous_path(apikeys, monkeypatch):
    return of(mint_key(), "ambiguous_path", target="/elsewhere/..;/offers")


def not_bound(apikeys, monkeypatch):
    minted = mint_key()
    ResourceBinding.objects.create(project=minted.key.project, kind="subscriber_id", identifier="1")
    return of(minted, "not_bound", target="/of/2", params={"kind": "subscriber_id"})


def denied_in_project(apikeys, monkeypatch):
    membership = MembershipFactory(role="owner")
    minted, project = mint_pat(membership.user), membership.project
    ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier="1")
    ProjectAccess.objects.create(
        project=project, kind="personal_access_token", credential=minted.key.public_id
    )
    return of(minted, "denied_in_project", target="/of/1")


def original_request_unknown(apikeys, monkeypatch):
    return of(mint_key(), "original_request_unknown")


def by_restriction(restriction):
    """Return the request that a restriction refuses."""

    def make(apikeys, monkeypatch):
        module = MODULES[restriction.name]
        params = getattr(module, "PARAMS", {})
        return of(module.refused_key(), restriction.refusal.code, params=params)

    make.__name__ = restriction.refusal.code
    return make


RESTRICTED = [by_restriction(each) for each in RESTRICTIONS]
EVERYWHERE = [
    not_authenticated, invalid_request, invalid_basic, malformed_key, invalid_key, expired_key,
    revoked_key, legacy_ended, approval_required, paused_key, inactive_user, inactive_project,
    invalid_token,
    malformed_signature, incomplete_signature, stale_signature, invalid_signature,
    digest_mismatch, replayed_signature, signature_not_accepted, verification_busy,
    temporarily_unavailable, rate_limit_unavailable, insufficient_scope, *RESTRICTED,
]  # fmt: skip
AT_GATEWAYS = [no_route, ambiguous_path, not_bound, denied_in_project]
#: Refusals of the proxy in Python, tested in tests/gateway/test_proxy.py.
OF_THE_PROXY = {
    "malformed_request", "request_too_large", "request_timeout", "upstream_unavailable",
    "upstream_busy", "upstream_timeout",
}  # fmt: skip
#: What a view or the site accepts: tests/test_acceptance.py, with each adapter.
OF_THE_SITE = {"credential_not_accepted", "user_required"}
#: The proxy's words about the request are wrong, or there is a body that it did not see.
AT_THE_ENDPOINT = {"original_request_unknown", "body_not_compared", "origin_not_allowed"}
#: JWTs of trusted issuers: tests/issuers, there with each adapter.
OF_ISSUERS = {
    "malformed_token", "token_too_large", "token_too_deep", "duplicate_claim",
    "id_token_not_accepted", "revoked_token", "unknown_identity",
    "unsupported_header", "algorithm_not_accepted", "token_type_not_accepted", "untrusted_issuer",
    "missing_claim", "expired_token", "token_not_yet_valid", "wrong_audience", "wrong_client",
    "unknown_signing_key", "invalid_token_signature", "issuer_unavailable",
}  # fmt: skip
#: Workloads: tests/workloads/test_exchange.py, and tests/lifecycle/test_trusting.py.
OF_WORKLOADS = {
    "workload_not_trusted", "pull_request_not_trusted", "several_keys", "replayed_token",
    "token_lives_too_long", "secret_ended",
}  # fmt: skip


def test_the_table_is_complete():
    told = {each.__name__ for each in (*EVERYWHERE, *AT_GATEWAYS, scope_not_declared)}
    told |= OF_THE_PROXY | AT_THE_ENDPOINT | OF_THE_SITE | OF_ISSUERS | OF_WORKLOADS
    assert told == set(REFUSALS)


# The adapters.


@pytest.fixture(autouse=True)
def forgets(monkeypatch, settings):
    """Clear all memory of other cases."""
    settings.ROOT_URLCONF = __name__
    counting._make_limiter.cache_clear()
    routes.read_again()
    yield
    counting._make_limiter.cache_clear()
    routes.read_again()


@pytest.fixture(scope="module")
def blackbox():
    with BlackBox() as blackbox:
        yield blackbox


@pytest.fixture(scope="module")
def nginx(live_server, blackbox, tmp_path_factory):
    _, _, port = live_server.url.rpartition(":")
    with Nginx(tmp_path_factory.mktemp("nginx"), int(port), blackbox.port) as nginx:
        yield nginx.port


@contextmanager
def served(application):
    port = free_port()
    config = uvicorn.Config(application, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    await_port(port, _Running)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(20)


class _Running:
    @staticmethod
    def poll():
        return None


@pytest.fixture
def proxy(settings, apikeys, blackbox):
    from apikeys.gateway.proxy import ReverseProxy

    apikeys(GATEWAY_UPSTREAM=f"http://127.0.0.1:{blackbox.port}")
    with served(ReverseProxy()) as port:
        yield port


@dataclass
class Told:
    status: int
    body: dict[str, Any]
    headers: CaseInsensitiveMapping


def told_by_django(response: HttpResponse) -> Told:
    headers = CaseInsensitiveMapping(dict(response.items()))
    return Told(response.status_code, json.loads(response.content), headers)


def ask(adapter, case, request, settings):
    """Send the request of a case to an adapter; return its response."""
    if adapter in (NGINX, PYTHON):
        port = request.getfixturevalue("nginx" if adapter == NGINX else "proxy")
        headers = case.headers
        if callable(headers):
            headers = headers(GATEWAY_URL + case.target)
        lines = [f"{name}: {value}" for name, value in headers.items() if name != "Content-Length"]
        answered = send_raw(port, case.target, *lines)
        told = CaseInsensitiveMapping(dict(answered.headers))
        return Told(answered.status, json.loads(answered.body), told)
    name, _, handler = adapter.partition(" over ")
    where = case.target if case.target.endswith("/") else VIEWS[name]
    headers = case.headers(f"http://testserver{where}") if callable(case.headers) else case.headers
    if name == "middleware":
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]
    if handler == "ASGI":
        return told_by_django(async_to_sync(AsyncClient().get)(where, headers=headers))
    return told_by_django(Client().get(where, headers=headers))


IN_PROCESS = [f"{name} over {handler}" for name in VIEWS for handler in ("WSGI", "ASGI")]


_DESCRIBED = r', resource_metadata="http://[a-z.]+/\.well-known/oauth-protected-resource"'
#: What the challenge of each status adds: the scopes that the view needs, which a middleware does
#: not know, and the description of the resource (RFC 9728 section 5.1).
_ADDED = {401: rf'(, scope="payments:read")?{_DESCRIBED}', 403: _DESCRIBED}
#: Other refusals with 403 say nothing about scopes, so a client has nothing to ask for.
_ASKS_FOR_MORE = {"insufficient_scope", "scope_not_declared"}


def check(told, case):
    refusal = REFUSALS[case.code]
    _, headers = answer(refusal, **case.params)
    assert (told.status, told.body["code"]) == (refusal.status, case.code)
    assert told.body["detail"] == str(refusal.message).format(**case.params)
    if challenge := headers.get("WWW-Authenticate"):
        added = refusal.status == 401 or case.code in _ASKS_FOR_MORE
        expected = re.escape(challenge) + (_ADDED[refusal.status] if added else "")
        assert re.fullmatch(expected, told.headers["WWW-Authenticate"])
    else:
        assert "WWW-Authenticate" not in told.headers
    if case.code == "rate_limited":
        assert told.headers["RateLimit"] == f'"1/hour";r=0;t={told.headers["Retry-After"]}'
        assert told.headers["RateLimit-Policy"] == '"1/hour";q=1;w=3600'
        assert 3590 <= int(told.headers["Retry-After"]) <= 3600
    else:
        assert told.headers.get("Retry-After") == headers.get("Retry-After")
        assert "RateLimit" not in told.headers
    assert "Authorization" in told.headers["Vary"]


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("adapter", IN_PROCESS)
def test_a_refusal(db, adapter, make, apikeys, monkeypatch, request, settings):
    case = make(apikeys, monkeypatch)

    told = ask(adapter, case, request, settings)

    if adapter.startswith("middleware") and make in (not_authenticated, insufficient_scope):
        assert told.status == 200  # the middleware does not know the scopes of the view
        return
    check(told, case)


@pytest.mark.parametrize("make", [*EVERYWHERE, *AT_GATEWAYS], ids=lambda make: make.__name__)
@pytest.mark.parametrize("adapter", GATEWAYS)
def test_a_refusal_of_the_gateway(
    transactional_db, adapter, make, apikeys, monkeypatch, request, settings, blackbox
):
    if adapter == PYTHON:
        request.getfixturevalue("proxy")  # has the settings of the case
    case = make(apikeys, monkeypatch)
    blackbox.seen.clear()

    check(ask(adapter, case, request, settings), case)
    assert blackbox.seen == []


@pytest.mark.parametrize("handler", ["WSGI", "ASGI"])
def test_a_view_that_declares_no_scope(db, handler, apikeys, monkeypatch, request, settings):
    """Only a DRF view can declare no scope: the other guards require scopes."""
    case = scope_not_declared(apikeys, monkeypatch)
    check(ask(f"drf over {handler}", case, request, settings), case)


@pytest.mark.parametrize("make", [original_request_unknown, body_not_compared])
def test_a_refusal_of_the_endpoint(db, make, apikeys, monkeypatch, client):
    case = make(apikeys, monkeypatch)
    headers = case.headers
    if callable(headers):
        headers = headers(f"{GATEWAY_URL}/offers") | {
            "X-Original-Method": "GET",
            "X-Original-URI": "/offers",
            "X-Original-Body": "some",
        }
    check(told_by_django(client.get("/gateway/authorize/", headers=headers)), case)


#: Introspection answers 503 for these, because the key may be active.
UNDECIDED = {"verification_busy", "temporarily_unavailable"}
#: Refusals that depend on the request. Introspection answers that the key is active.
ALIVE = {"rate_limit_unavailable", "insufficient_scope"} | {
    each.refusal.code for each in RESTRICTIONS if each.phase is not Phase.VERIFY
}
KEYS = [
    malformed_key, invalid_key, expired_key, revoked_key, approval_required, paused_key,
    inactive_user, inactive_project, verification_busy, temporarily_unavailable,
    rate_limit_unavailable, insufficient_scope, invalid_token, *RESTRICTED,
]  # fmt: skip


@pytest.mark.parametrize("make", KEYS, ids=lambda make: make.__name__)
def test_introspection(db, make, apikeys, monkeypatch, client):
    Application.objects.create(
        client_id="resource-server",
        client_secret="secret",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    case = make(apikeys, monkeypatch)
    form = {"client_id": "resource-server", "client_secret": "secret", "token": case.text}

    response = client.post("/o/introspect/", form)

    if case.code in UNDECIDED:
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        assert response["Retry-After"] == str(REFUSALS[case.code].retry_after)
    else:
        assert response.status_code == 200
        assert response.json()["active"] is (case.code in ALIVE)
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("make", KEYS, ids=lambda make: make.__name__)
def test_the_token_endpoint(db, make, apikeys, monkeypatch, client):
    case = make(apikeys, monkeypatch)
    parts = case.text.split("_")
    form = {
        "grant_type": "client_credentials",
        "client_id": parts[2] if len(parts) > 2 else "nobody",
        "client_secret": case.text,
    }

    response = client.post("/o/token/", form)

    # Such a key may be exchanged, and an exchange is not counted as a request.
    if case.code in (ALIVE | {"exchange_required"}) - {"ip_not_allowed"}:
        assert (response.status_code, response.json()["token_type"]) == (200, "Bearer")
    elif case.code in UNDECIDED:
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        assert response["Retry-After"] == str(REFUSALS[case.code].retry_after)
    else:
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
        assert "access_token" not in response.json()
    assert "no-store" in response["Cache-Control"]
