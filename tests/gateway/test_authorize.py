"""The forward-auth endpoint, called as a proxy calls it."""

import io
import json
from datetime import timedelta
from urllib.parse import unquote

import pytest
import yaml
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apikeys import lifecycle, reach, usage
from apikeys.access import Access
from apikeys.drf import BearerAuthentication, HasScope
from apikeys.gateway import decide
from apikeys.gateway.decide import IDENTITY_HEADERS
from apikeys.gateway.views import authorize
from apikeys.models import EndedUse, PersonalAccessToken, ProjectKey, ScopeUse
from apikeys.policy import Policy
from tests.documents import blocks
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
    of_nobody,
)

OWN = "/subscribers/1001/offers"


@pytest.fixture
def ask(client, db):
    """Return the response that a proxy gets for this request."""

    def ask(token=None, target=OWN, method="GET", **headers):
        sent = {"X-Original-Method": method, "X-Original-URI": target}
        sent |= bearer(token) if token else {}
        return client.get("/gateway/authorize/", headers=sent | headers)

    return ask


def code(response):
    body = response.json()
    assert json.loads(response["X-Auth-Refusal"]) == body
    assert response["Cache-Control"] == "no-store"
    assert not set(IDENTITY_HEADERS) & set(response.headers)
    return response.status_code, body["code"]


def test_a_project_key_is_allowed(ask, key):
    response = ask(key)

    assert response.status_code == 200
    assert {name: response[name] for name in IDENTITY_HEADERS} == {
        "X-Auth-Kind": "project_key",
        "X-Auth-Subject": "project:analytical-engine",
        "X-Auth-User": "",
        "X-Auth-Project": "analytical-engine",
        "X-Auth-Client": "",
        "X-Auth-Scopes": "payments:read",
        "X-Auth-Credential-Id": key.split("_")[2],
        "X-Auth-Metadata": "",
    }
    assert response["Cache-Control"] == "no-store"
    assert response.content == b""


def test_a_key_in_another_header_is_allowed(ask, key, settings):
    assert code(ask(**{"X-Api-Key": key})) == (401, "not_authenticated")
    settings.APIKEYS = {**settings.APIKEYS, "HEADERS": ["X-Api-Key"], "GATEWAY_MAX_AGE": 30}
    response = ask(**{"X-Api-Key": key})
    assert response.status_code == 200
    # The proxy's cache key has only `Authorization`: a cached decision would allow everyone.
    assert response["Cache-Control"] == "no-store"
    assert "X-Api-Key" in response["Vary"]
    assert code(ask(key, **{"X-Api-Key": key})) == (400, "invalid_request")


def test_a_kind_that_the_site_does_not_accept_is_refused(ask, key, settings):
    settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": ["personal_access_token", "oauth"]}
    assert code(ask(key)) == (403, "credential_not_accepted")
    settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": None, "PROJECT_KEYS": False}
    assert code(ask(key)) == (403, "credential_not_accepted")


def test_a_users_token_reaches_resources_of_the_project(ask, key, ada, pat):
    response = ask(pat)

    assert response.status_code == 200
    assert response["X-Auth-Kind"] == "personal_access_token"
    assert response["X-Auth-User"] == "ada"
    assert response["X-Auth-Subject"] == str(ada.pk)
    assert response["X-Auth-Project"] == ""


def test_a_denied_token_is_refused_by_name_and_counted(ask, key, ada, engine, bind):
    minted = mint_pat(ada)
    reach.deny(engine, reach.find(engine, minted.key.public_id))
    bind("1002", project=ProjectFactory(slug="strange"))

    assert code(ask(minted.token)) == (403, "denied_in_project")
    assert code(ask(minted.token, "/subscribers/1002/offers")) == (403, "not_bound")
    assert code(ask(minted.token, "/subscribers/9/offers")) == (403, "not_bound")
    usage.flush()
    use = EndedUse.objects.get()
    assert (use.public_id, use.project_pk) == (minted.key.public_id, str(engine.pk))
    assert (use.count, use.last_ip) == (1, "127.0.0.1")

    bind("1001", user=ada)
    assert ask(minted.token).status_code == 200, "bound to the user too"


class Publishing(Policy):
    def published_metadata(self, owner):
        return ("team", "note")


METADATA = {"team": "Fakturierung für €", "note": ["a\nb", {"c": 1}], "secret": "internal"}


@pytest.mark.parametrize("kind", ["token", "key"])
def test_only_published_metadata_is_sent_upstream(ask, ada, engine, bind, settings, kind):
    bind("1001", user=ada)
    bind("1001", project=engine)
    given = {"scopes": ["payments:read"], "metadata": METADATA}
    minted = mint_pat(ada, **given) if kind == "token" else mint_key(engine, **given)
    assert ask(minted.token)["X-Auth-Metadata"] == ""

    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Publishing"}
    sent = ask(minted.token)["X-Auth-Metadata"]
    assert json.loads(sent) == {name: METADATA[name] for name in ("team", "note")}
    assert all(" " <= character <= "~" for character in sent)
    lifecycle.edit(minted.key, metadata={"secret": "internal"})
    assert ask(minted.token)["X-Auth-Metadata"] == ""


def test_an_oauth_token_is_allowed(ask, ada, bind):
    bind("1001", user=ada)
    app = Application.objects.create(
        client_id="cli",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    )
    AccessToken.objects.create(
        user=ada,
        application=app,
        token="a-token",
        scope="payments:write",
        expires=timezone.now() + timedelta(minutes=1),
    )
    response = ask("a-token")

    assert response.status_code == 200
    assert response["X-Auth-Kind"] == "oauth"
    assert response["X-Auth-Client"] == "cli"
    assert response["X-Auth-Scopes"] == "payments:read payments:write"


def test_another_owners_resource_is_refused(ask, key, bind):
    bind("1002", project=ProjectFactory())
    assert code(ask(key, "/subscribers/1002/offers")) == (403, "not_bound")
    assert code(ask(key, "/subscribers/9999/offers")) == (403, "not_bound")


@pytest.mark.parametrize("identifier", ["acme", "ACMe", "%C3%A0cme", "ACME~", "ACME."])
def test_no_collation_confuses_identifiers(ask, engine, bind, identifier):
    bind("ACME", project=engine)
    token = mint_key(engine).token
    assert ask(token, "/subscribers/ACME/offers").status_code == 200
    assert ask(token, f"/subscribers/{identifier}/offers").status_code == 403


def test_bindings_are_case_sensitive(bind, engine):
    bind("acme", project=engine)
    bind("ACME", project=engine)


def test_a_request_without_a_credential_is_refused(ask):
    response = ask()
    assert code(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith('Bearer realm="api", scope="')


class Payments(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]

    def get(self, request):
        raise AssertionError("refused before")


@pytest.mark.parametrize("case", ["none", "unknown", "malformed", "revoked", "scheme", "scope"])
def test_a_refusal_equals_that_of_a_drf_view(ask, case, engine, settings):
    minted = mint_key(engine, scopes=["reports:read"])
    headers = {
        "none": {},
        "unknown": bearer(of_nobody()),
        "malformed": bearer(minted.token[:-1]),
        "revoked": bearer(minted.token),
        "scheme": {"Authorization": "Bearer two words"},
        "scope": bearer(minted.token),
    }[case]
    if case == "revoked":
        lifecycle.revoke(minted.key)
    theirs = Payments.as_view()(APIRequestFactory().get("/", headers=headers)).render()
    ours = ask(**headers)

    assert theirs.status_code in (400, 401, 403)
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
    assert ours.headers.get("WWW-Authenticate") == theirs.headers.get("WWW-Authenticate")


def test_revoking_takes_effect_at_the_next_request(ask, engine, bind):
    bind("1001", project=engine)
    minted = mint_key(engine)
    assert ask(minted.token).status_code == 200
    lifecycle.revoke(minted.key)
    assert code(ask(minted.token)) == (401, "revoked_key")


@pytest.mark.parametrize(
    ("method", "target", "refusal"),
    [
        ("GET", "/", "no_route"),
        ("GET", "/subscribers/1001", "no_route"),
        ("POST", OWN, "no_route"),
        ("OPTIONS", OWN, "no_route"),
        ("get", OWN, "no_route"),
        ("GET", "/subscribers/1001/../1002/offers", "ambiguous_path"),
        ("GET", "/subscribers/1001%2f..%2f1002/offers", "ambiguous_path"),
        ("GET", "http://upstream" + OWN, "ambiguous_path"),
        ("GET", f"{OWN}, /subscribers/1002/offers", "ambiguous_path"),
        ("GET", f"{OWN}?x,/subscribers/1002/offers", "ambiguous_path"),
        ("", OWN, "original_request_unknown"),
        ("GET", "", "original_request_unknown"),
    ],
)
def test_requests_without_a_route_are_refused(ask, key, method, target, refusal):
    assert code(ask(key, target, method)) == (403, refusal)


def test_get_routes_allow_head(ask, key):
    assert ask(key, method="HEAD").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_the_endpoint_accepts_any_method(client, key, method):
    headers = {"X-Original-Method": "GET", "X-Original-URI": OWN} | bearer(key)
    assert client.generic(method, "/gateway/authorize/", headers=headers).status_code == 200


def test_the_endpoint_needs_no_csrf_token(key):
    client = Client(enforce_csrf_checks=True)
    headers = {"X-Original-Method": "GET", "X-Original-URI": OWN} | bearer(key)
    assert client.post("/gateway/authorize/", headers=headers).status_code == 200


def test_only_the_headers_of_the_proxy_are_trusted(ask, key, settings):
    lie = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": OWN}
    other = "/subscribers/1002/offers"
    assert code(ask(key, other, **lie)) == (403, "not_bound")

    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_PROXY": "traefik"}
    assert ask(key, other, **lie).status_code == 200
    assert code(ask(key)) == (403, "original_request_unknown")


def test_the_documented_traefik_configuration_is_complete():
    """No Traefik runs here, so compare with the names in Traefik 3's documentation."""
    (snippet,) = (b for b in blocks("docs/reference/gateway.md", "yaml") if b.startswith("http:"))
    told = yaml.safe_load(snippet)["http"]
    (router,) = told["routers"].values()
    (service,) = told["services"].values()
    authorize, strip = (told["middlewares"][name] for name in router["middlewares"])

    assert router["service"] in told["services"]
    assert set(router) == {"rule", "middlewares", "service"}
    assert set(service["loadBalancer"]) == {"passHostHeader", "servers"}
    assert set(authorize) == {"forwardAuth"}
    assert authorize["forwardAuth"].pop("address").endswith("/gateway/authorize/")
    assert authorize["forwardAuth"] == {
        "trustForwardHeader": False,
        "authRequestHeaders": ["Authorization", "Accept-Language"],
        "authResponseHeaders": list(IDENTITY_HEADERS),
    }
    removed = strip["headers"]["customRequestHeaders"]
    assert set(removed.values()) == {""}
    assert "Authorization" in removed


def asgi(headers, path="/gateway/authorize/"):
    """Return the status under ASGI for a raw request."""
    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }
    return authorize(ASGIRequest(scope, io.BytesIO())).status_code


def test_a_repeated_header_is_refused(key):
    authorization = (b"authorization", b"Bearer " + key.encode())
    method, uri = (b"x-original-method", b"GET"), (b"x-original-uri", OWN.encode())

    assert asgi([authorization, method, uri]) == 200
    assert asgi([authorization, method, uri, uri]) == 403
    assert asgi([authorization, method, method, uri]) == 403
    assert asgi([authorization, authorization, method, uri]) == 403
    assert asgi([authorization, method, (b"x_original_uri", OWN.encode())]) == 403


def test_envoy_sends_the_original_request(key, settings):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_PROXY": "envoy"}
    authorization = (b"authorization", b"Bearer " + key.encode())
    lie = (b"x-original-uri", OWN.encode())

    def ask(target, *more):
        return asgi([authorization, *more], f"/gateway/authorize{target}")

    assert ask(OWN) == 200
    assert ask(OWN + "?page=2") == 200
    assert ask("/subscribers/1002/offers") == 403
    assert ask("/subscribers/1002/offers", lie) == 403
    assert ask("/subscribers/%31001/offers") == 403
    assert ask("/subscribers/1002/../1001/offers") == 403
    assert ask("/") == 403


def test_envoy_under_wsgi_without_the_raw_target_is_refused(client, key, settings):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_PROXY": "envoy"}
    url = "/gateway/authorize" + OWN
    assert client.get(url, headers=bearer(key)).status_code == 403
    assert client.get(url, headers=bearer(key), RAW_URI=url).status_code == 200


@pytest.mark.parametrize(
    "name", ["ada\r\nX-Auth-Scopes: all", "ada, grace", "Ädä", "a%0ab", "a\x7f"]
)
def test_a_user_name_cannot_add_a_header(ask, bind, name):
    user = UserFactory(username=name)
    bind("1001", user=user)
    response = ask(mint_pat(user).token)

    told = response["X-Auth-User"]
    assert told.isascii()
    assert told.isprintable()
    assert " " not in told
    assert unquote(told) == name


def test_a_restricted_token_reaches_only_its_projects(ask, ada, engine, bind):
    other = MembershipFactory(user=ada).project
    bind("1001", user=ada)
    bind("2001", project=engine)
    bind("2002", project=other)
    free, restricted = mint_pat(ada).token, mint_pat(ada, projects=[engine]).token

    def reaches(token):
        return [
            identifier
            for identifier in ("1001", "2001", "2002")
            if ask(token, f"/subscribers/{identifier}/offers").status_code == 200
        ]

    assert reaches(free) == ["1001", "2001", "2002"]
    assert reaches(restricted) == ["2001"]


def test_a_role_that_lacks_the_scope_does_not_reach_the_project(ask, bind, engine, settings):
    bind("1001", project=engine)
    viewer = MembershipFactory(project=engine, role="viewer").user
    token = mint_pat(viewer).token
    assert ask(token).status_code == 200
    route = settings.APIKEYS["GATEWAY_ROUTES"][0] | {"scopes": ["payments:write"]}
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": [route]}
    PersonalAccessToken.objects.update(scope="payments:write")
    assert code(ask(token)) == (403, "not_bound")


def test_a_former_member_loses_the_resources(ask, key, ada, pat):
    assert ask(pat).status_code == 200
    ada.project_memberships.all().delete()
    assert code(ask(pat)) == (403, "not_bound")


def test_the_queries_of_a_decision(ask, key, django_assert_num_queries):
    ask(key)
    with django_assert_num_queries(
        2
    ):  # one for the key, one for the binding; the routes are cached
        ask(key)


FORWARDED = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}


def test_the_address_of_the_caller_is_noted(ask, key, settings):
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["127.0.0.1"]}
    ask(key, **FORWARDED)
    usage.flush()
    assert ProjectKey.objects.get().last_used_ip == "203.0.113.7"


def test_allowed_ip_ranges_are_checked(ask, key, settings):
    ProjectKey.objects.update(allowed_networks="203.0.113.0/24")
    assert code(ask(key, **FORWARDED)) == (403, "ip_not_allowed")  # no trusted proxy is set
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["127.0.0.1"]}
    assert ask(key, **FORWARDED).status_code == 200
    assert code(ask(key, **{"X-Forwarded-For": "203.0.113.7, 198.51.100.9"}))[0] == 403


def test_a_rate_limit_is_enforced(ask, key):
    ProjectKey.objects.update(rate_limits="2/hour")
    assert [ask(key).status_code for _ in range(2)] == [200, 200]
    refused = ask(key)
    assert code(refused) == (429, "rate_limited")
    assert refused["RateLimit"] == f'"2/hour";r=0;t={refused["Retry-After"]}'


def test_a_decision_can_be_cached(ask, engine, bind, settings):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_MAX_AGE": 30}
    bind("1001", project=engine)
    lasting = mint_key(engine).token
    ending = mint_key(engine, expires_at=timezone.now() + timedelta(seconds=10)).token

    kept = ask(lasting)
    assert (kept["X-Accel-Expires"], kept["Cache-Control"]) == ("30", "private, max-age=30")
    assert int(ask(ending)["X-Accel-Expires"]) < 10
    refused = ask(lasting, "/")
    assert (refused.get("X-Accel-Expires"), refused["Cache-Control"]) == (None, "no-store")


@pytest.mark.parametrize("path", ["/gateway/authorize/", "/api/token/"])
def test_a_database_outage_after_verification_is_refused(client, key, monkeypatch, path):
    """The key is in the cache, so only the later query fails."""

    def away(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(decide, "owner_of", away)
    monkeypatch.setattr(Access, "projects", away)
    sent = {"X-Original-Method": "GET", "X-Original-URI": OWN}
    answer = client.get(path, headers=bearer(key) | sent)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["code"] == "temporarily_unavailable"


class AtHome(Policy):
    def allowed_networks(self, owner):
        return ["127.0.0.0/8"]


class Slow(Policy):
    def rate_limits(self, access):
        return ["1000/hour"]


@pytest.mark.parametrize(
    ("bounds", "policy"),
    [
        ({"allowed_networks": ["127.0.0.0/8"]}, Policy),
        ({"rate_limits": ["1000/hour"]}, Policy),
        ({}, AtHome),
        ({}, Slow),
    ],
    ids=["networks", "rates", "the policy's networks", "the policy's rates"],
)
def test_decisions_that_depend_on_addresses_or_rates_are_not_cached(
    client, ask, engine, bind, settings, bounds, policy
):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_MAX_AGE": 30, "POLICY": policy}
    bind("1001", project=engine)
    minted = mint_key(engine, **bounds)
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    answer = client.post("/o/token/", form | {"grant_type": "client_credentials"})

    for text in (minted.token, answer.json()["access_token"]):
        response = ask(text)
        assert (response.status_code, response["Cache-Control"]) == (200, "no-store")


def test_a_decision_counts_as_a_use_of_the_routes_scopes(ask, engine, ada, pat, bind):
    usage.flush()
    ScopeUse.objects.all().delete()  # of the tests before
    bind("1001", project=engine)
    bind("1003", user=ada)
    answers = [ask(pat, f"/subscribers/{each}/offers") for each in ("1001", "1003", "1004")]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    usage.flush()
    assert set(ScopeUse.objects.values_list("project_pk", "scope", "count")) == {
        (str(engine.pk), "payments:read", 1),
        ("", "payments:read", 1),
    }
