"""A provider's access token is a credential like the others, in every adapter."""

import json
import time
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings
from django.urls import path
from django.utils import timezone
from joserfc.jwk import RSAKey
from oauth2_provider.contrib.rest_framework import TokenHasScope
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys import cache
from apikeys.access import Access
from apikeys.drf import BearerAuthentication
from apikeys.issuers import denials, tokens
from apikeys.issuers.models import Identity
from apikeys.models import Membership
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import averify, verify
from tests import adapters
from tests.factories import ProjectFactory, UserFactory
from tests.issuers import provider
from tests.issuers.provider import URL, sign

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]
OTHER = "https://other.example.com"


class OfDot(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"user": str(request.user)})


urlpatterns = [*adapters.urlpatterns, path("dot/", OfDot.as_view())]
VIEWS = {**adapters.VIEWS, "django-oauth-toolkit": "/dot/"}


@pytest.fixture
def cached(settings):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    cache.watch()
    yield
    cache.forget_everything()


def code(text, **options):
    with pytest.raises(Refused) as refused:
        verify(text, **options)
    return refused.value.refusal.code


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


# Every adapter


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_every_adapter_accepts_a_token_and_refuses_a_bad_one(client, identity, view):
    middleware = ["apikeys.http.BearerMiddleware"] if view == "/middleware/" else []
    with override_settings(MIDDLEWARE=middleware):
        answer = client.get(view, headers=bearer(sign(scope="payments:read")))
        assert (answer.status_code, answer.json()["user"]) == (200, "ada")
        assert "private" in answer["Cache-Control"]

        for changes, expected in [
            ({"aud": OTHER}, "wrong_audience"),
            ({"nonce": "n"}, "id_token_not_accepted"),
            ({"sub": "u-2"}, "unknown_identity"),
        ]:
            answer = client.get(view, headers=bearer(sign(scope="payments:read", **changes)))
            assert (answer.status_code, answer.json()["code"]) == (401, expected)
            assert 'error="invalid_token"' in answer["WWW-Authenticate"]


@pytest.mark.parametrize("view", [v for v in VIEWS.values() if v != "/middleware/"])
def test_every_adapter_requires_the_scope(client, identity, view):
    answer = client.get(view, headers=bearer(sign(scope="reports:read")))
    assert answer.status_code == 403


def test_gateway_accepts_a_token(client, identity):
    headers = {**bearer(sign(scope="payments:read")), "X-Original-Method": "GET"}
    headers["X-Original-URI"] = "/subscribers/1/offers"
    answer = client.get("/gateway/authorize/", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_bound")


@pytest.mark.parametrize(
    ("accepts", "status"), [(["external"], 200), (["personal_access_token", "oauth"], 403)]
)
def test_view_lists_the_kinds_that_it_accepts(client, identity, settings, accepts, status):
    settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": accepts}
    assert client.get("/plain/", headers=bearer(sign(scope="payments:read"))).status_code == status


# What `request.auth` is


def test_access_shows_the_token(identity, ada, engine):
    access = verify(
        sign(scope="openid payments:read payments:pay", azp="web", plan="gold", jti="7")
    )
    assert (access.kind, access.issuer, access.user, access.principal) == (
        *("external", URL, ada, ada),
    )
    assert access.scope == "payments:read"
    assert (access.client.client_id, access.name) == ("web", "web")
    assert access.claims["plan"] == "gold"
    assert list(access.projects("payments:read")) == [engine]
    assert access.allows("payments:read", project=engine)
    assert not access.allows("payments:read", project=ProjectFactory())
    assert access.credential_id == denials.credential_id(URL, "7")
    assert access.facts()["issuer"] == URL


def test_claim_never_exceeds_the_role(identity, ada, engine):
    Membership.objects.filter(user=ada).update(role="viewer")
    access = verify(sign(scope="payments:write", roles=["owner"], is_superuser=True))
    assert not access.allows("payments:write", project=engine)
    assert access.allows("payments:read", project=engine)
    assert not access.user.is_superuser


def test_tokens_claims_cannot_be_changed(identity, cached):
    text = sign(scope="payments:read", groups={"a": ["b"]})
    with pytest.raises(TypeError):
        verify(text).claims["scope"] = "payments:write"
    with pytest.raises(TypeError):
        verify(text).claims["groups"].update(a=1)
    assert verify(text).claims["groups"]["a"] == ("b",)


@pytest.mark.parametrize(
    "options",
    [{"CLIENT_IDS": ["webapp"]}, {"LOGOUT_CLIENT_IDS": ["webapp"]}, {}],
)
def test_token_for_a_client_is_no_access_token(identity, trust, ada, options):
    """An ID token needs no claim of its own, such as `nonce`."""
    trust(AUDIENCES=["webapp"], **options)
    claims = {"aud": ["webapp"], "azp": "webapp", "name": "Ada", "auth_time": 1}
    assert code(sign(**claims)) == "id_token_not_accepted"
    if "LOGOUT_CLIENT_IDS" in options:
        assert code(sign(**claims | {"azp": None})) == "id_token_not_accepted"
    # These have a mark of access tokens.
    for mark in ({"scope": ""}, {"scp": []}, {"typ": "Bearer"}, {"token_use": "access"}):
        assert verify(sign(**claims, **mark)).user == ada
    assert verify(sign(header={"typ": "at+jwt"}, **claims)).user == ada


@pytest.mark.parametrize("text", ["\ud800.a.b", "ey.\ud800.b", "ey.a.\ud800", "\ud800"])
def test_text_that_is_not_unicode_is_refused(identity, text):
    assert code(text) in ("invalid_token", "malformed_token")


@pytest.mark.parametrize("manages", [False, True])
def test_scopes_that_manage_keys_and_bindings_need_an_option(identity, trust, settings, manages):
    names = {"keys:read", "keys:write", "bindings:read", "bindings:write"}
    declared = settings.APIKEYS["SCOPES"] | dict.fromkeys(names, "…")
    settings.APIKEYS = {**settings.APIKEYS, "SCOPES": declared}
    trust(MANAGE_KEYS=manages)
    scope = verify(sign(scope=" ".join(names))).scope
    assert set(scope.split()) == (names if manages else set())


@pytest.mark.parametrize(
    ("options", "claims", "expected"),
    [
        ({}, {"scp": ["payments:read"]}, "payments:read"),
        ({}, {"scp": "payments:read reports:read"}, "payments:read reports:read"),
        ({}, {"permissions": ["payments:read"]}, ""),
        ({}, {"scope": "keys:read keys:write payments:read"}, "payments:read"),
        ({"MANAGE_KEYS": True}, {"scope": "keys:write"}, "keys:write"),
        ({"SCOPES_FROM": ["permissions"]}, {"permissions": ["payments:read"]}, "payments:read"),
        (
            {"SCOPES_FROM": ["realm_access.roles"], "SCOPE_MAP": {"payer": ["payments:write"]}},
            {"realm_access": {"roles": ["payer", "admin"]}, "scope": "reports:read"},
            "payments:write",
        ),
        (
            {"SCOPES_FROM": ["https://acme.example/roles"], "SCOPE_MAP": {"a": ["reports:read"]}},
            {"https://acme.example/roles": ["a"]},
            "reports:read",
        ),
        (
            {"SCOPES_FROM": [["resource_access", "my.api", "roles"]]},
            {"resource_access": {"my.api": {"roles": ["reports:read"]}}},
            "reports:read",
        ),
        ({"SCOPES_FROM": ["a.b"]}, {"a": ["payments:read"]}, ""),
        ({}, {"scope": {"payments:read": 1}}, ""),
        ({}, {"scope": [["payments:read"], 1, None]}, ""),
        ({}, {"scope": "toString payments:read\tpayments:write"}, ""),
    ],
)
def test_claims_become_scopes(identity, trust, options, claims, expected):
    trust(**options)
    assert verify(sign(**claims)).scope == expected


# Who may not


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"token_use": "id"}, "id_token_not_accepted"),
        ({"typ": "ID"}, "id_token_not_accepted"),
        ({"nonce": "n"}, "id_token_not_accepted"),
        ({"at_hash": "h"}, "id_token_not_accepted"),
        ({"c_hash": "h"}, "id_token_not_accepted"),
        ({"typ": "Refresh"}, "token_type_not_accepted"),
        ({"token_use": "refresh"}, "token_type_not_accepted"),
        ({"events": {}}, "token_type_not_accepted"),
        ({"cnf": {"jkt": "t"}}, "token_type_not_accepted"),
        ({"sub": None}, "missing_claim"),
        ({"sub": 1}, "missing_claim"),
        ({"sub": ""}, "malformed_token"),
        ({"sub": "u-1\x00"}, "malformed_token"),
        ({"sub": "\ud800"}, "malformed_token"),
        ({"sub": "x" * 256}, "malformed_token"),
        ({"sub": "U-1"}, "unknown_identity"),
        ({"sub": "u-1 "}, "unknown_identity"),
    ],
)
@pytest.mark.parametrize("kind", ["JWT", "at+jwt"])
def test_other_tokens_of_the_issuer_are_refused(identity, kind, changes, expected):
    assert code(sign(scope="payments:read", header={"typ": kind}, **changes)) == expected


def test_same_subject_of_another_issuer_is_another_identity(identity, trust):
    """Each issuer has its own keys, so that neither speaks for the other."""
    theirs = RSAKey.generate_key(2048, {"kid": "rsa"})
    trust(OTHER, JWKS=provider.jwks(theirs))
    assert code(sign(key=theirs, iss=OTHER)) == "unknown_identity"
    assert code(sign(key=theirs)) == "invalid_token_signature"
    assert code(sign(iss=OTHER)) == "invalid_token_signature"

    bob = UserFactory(username="bob")
    Identity.objects.create(issuer=OTHER, subject="u-1", user=bob)
    assert verify(sign(key=theirs, iss=OTHER)).user == bob
    assert verify(sign()).user.username == "ada"


def test_unknown_issuer_falls_through_to_oauth(identity):
    assert code(sign(iss=OTHER)) == "invalid_token"
    assert code("a.b.c") == "invalid_token"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eyJhbGciOiJSUzI1NiJ9.e30.e30", "invalid_token"),
        ("eyJhbGciOiJSUzI1NiJ9.x.x", "malformed_token"),
        ("eyJhbGciOiJSUzI1NiJ9." + provider.encoded("[" * 5000) + ".x", "token_too_deep"),
    ],
)
def test_unreadable_jwt_has_its_own_code(identity, client, text, expected):
    answer = client.get("/plain/", headers=bearer(text))
    assert (answer.status_code, answer.json()["code"]) == (401, expected)


@pytest.mark.parametrize("view", ["/plain/", "/drf/", "/plain-async/"])
def test_token_over_16_kib_is_refused_with_its_own_code(identity, client, view):
    answer = client.get(view, headers=bearer(sign(scope="payments:read", pad="x" * 13_000)))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_too_large")


def test_token_of_9_kib_is_accepted(identity, client):
    answer = client.get("/plain/", headers=bearer(sign(scope="payments:read", pad="x" * 8000)))
    assert answer.status_code == 200


def test_deactivated_user_is_refused(identity, ada):
    ada.is_active = False
    ada.save()
    assert code(sign()) == "inactive_user"


def test_network_of_the_policy_is_required(identity, settings, client):
    class Inside(Policy):
        def allowed_networks(self, owner):
            return ["10.0.0.0/8"]

    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Inside}
    answer = client.get("/plain/", headers=bearer(sign(scope="payments:read")))
    assert (answer.status_code, answer.json()["code"]) == (403, "ip_not_allowed")


def test_entry_with_a_fault_trusts_nothing(identity, trust):
    trust(ALGORITHMS=["RS256", "HS256"])
    assert code(sign()) == "invalid_token"


# Cost


def test_token_takes_one_query(identity, django_assert_num_queries):
    text = sign(scope="payments:read", jti="7", sid="8")
    with django_assert_num_queries(1):
        verify(text)
    with django_assert_num_queries(0):
        assert code(sign(exp=1)) == "expired_token"


@pytest.mark.django_db(transaction=True)  # the cache stores no rows of a transaction
def test_cached_token_takes_no_query_and_no_signature(
    identity, cached, monkeypatch, django_assert_num_queries
):
    text = sign(scope="payments:read")
    verify(text)
    monkeypatch.setattr(tokens, "read", lambda *args: pytest.fail("verified again"))
    with django_assert_num_queries(0):
        assert verify(text).user.username == "ada"
        assert async_to_sync(averify)(text).user.username == "ada"


@pytest.mark.django_db(transaction=True)
def test_cache_holds_no_token(identity, cached):
    text = sign(scope="payments:read")
    verify(text)
    rows = cache.get_cache().rows
    assert len(rows) == 1
    held = repr(list(rows._entries.items()))
    assert not any(part in held for part in text.split("."))


@pytest.mark.django_db(transaction=True)
def test_cached_token_ends_with_its_expiry(identity, cached, monkeypatch):
    text = sign(exp=int(time.time()) + 5)
    verify(text)
    later = timezone.now() + timedelta(seconds=60)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert code(text) == "expired_token"


def deactivate(ada):
    ada.is_active = False
    ada.save()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (deactivate, "inactive_user"),
        (lambda ada: ada.delete(), "unknown_identity"),
        (lambda ada: Identity.objects.get().delete(), "unknown_identity"),
        (lambda ada: denials.deny("sub", URL, "u-1"), "revoked_token"),
        (lambda ada: denials.deny("jti", URL, "7"), "revoked_token"),
        (lambda ada: denials.deny("sid", URL, "8"), "revoked_token"),
    ],
)
def test_cached_token_ends_with_every_revocation(identity, cached, ada, end, expected):
    text = sign(jti="7", sid="8")
    verify(text)
    end(ada)
    assert code(text) == expected


def test_async_code_verifies_in_a_thread_and_recalls_from_memory(identity):
    assert async_to_sync(averify)(sign()).user.username == "ada"
    for bad in (sign(iss=OTHER), "eyJh.x.x", "opaque"):
        with pytest.raises(Refused):
            async_to_sync(averify)(bad)


# Tasks


def test_access_is_carried_into_a_task(identity, ada):
    text = sign(scope="payments:read", plan="gold", azp="web")
    data = json.loads(json.dumps(verify(text).to_dict()))
    assert text.split(".")[2] not in json.dumps(data)
    for again in (False, True):
        carried = Access.from_dict(data, verify=again)
        assert (carried.user, carried.scope, carried.issuer) == (ada, "payments:read", URL)
        assert carried.claims["plan"] == "gold"
        assert carried.client.client_id == "web"
    denials.deny("sub", URL, "u-1")
    with pytest.raises(Refused, match="revoked_token"):
        Access.from_dict(data, verify=True)


def test_carried_access_ends_with_its_token_and_its_issuer(identity, settings):
    data = verify(sign()).to_dict()
    late = {**data, "external_claims": {**data["external_claims"], "exp": 1}}
    with pytest.raises(Refused, match="expired_token"):
        Access.from_dict(late, verify=True)
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": {}}
    with pytest.raises(Refused, match="untrusted_issuer"):
        Access.from_dict(data, verify=True)


def test_client_that_no_database_stores_is_refused(identity, client):
    headers = bearer(sign(scope="payments:read", client_id="a\ud800"))
    response = client.get("/api/token/", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "malformed_token")


def test_token_that_outlives_the_memory_of_a_logout_is_refused(identity):
    text = sign(exp=int(time.time()) + 400 * 86_400)
    assert code(text) == "token_lives_too_long"
