"""A cache in front of the site gives no caller what another one got."""

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.core.cache import cache
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings

from apikeys import lifecycle
from apikeys.http import shared_caches
from tests.adapters import VIEWS
from tests.factories import bearer, mint_key, mint_pat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.adapters")]

CACHE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]
LEGACY = {"csv": {"UNTIL": "2030-01-01", "HEADER": "X-Api-Key"}}
SIGNED = {"Signature-Input": 'a=("@method")', "Signature": "a=:AA==:"}
OURS = ["/api/token/", "/api/tokens/"]


@pytest.fixture(autouse=True)
def site(settings):
    settings.APIKEYS = settings.APIKEYS | {"LEGACY": LEGACY}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


def ask(where, headers, **data):
    if where == VIEWS["middleware"]:
        middleware = [*django_settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]
        with override_settings(MIDDLEWARE=middleware):
            return Client().get(where, data, headers=headers)
    return Client().get(where, data, headers=headers)


def varies(response):
    return {name.strip() for name in response.get("Vary", "").split(",")}


@pytest.mark.parametrize("where", [*VIEWS.values(), *OURS])
@pytest.mark.parametrize("headers", ["good", "none", "wrong", "malformed", "legacy", "signed"])
def test_every_answer_varies_on_every_credential(where, headers):
    sent = {
        "good": lambda: bearer(mint_pat(scopes=["payments:read", "keys:read"]).token),
        "none": dict,
        "wrong": lambda: bearer("no-such-token"),
        "malformed": lambda: {"Authorization": "Bearer two words"},
        "legacy": lambda: {"X-Api-Key": "wrong-abcdefghijklmnopqrstuvwxyz012345"},
        "signed": lambda: SIGNED,
    }[headers]()

    response = ask(where, sent)

    assert response.status_code == (
        200
        if headers == "good" or (headers == "none" and "middleware" in where)
        else 400
        if headers == "malformed"
        else 401
    )
    assert varies(response) >= {"Authorization", "X-Api-Key", "Signature-Input", "Signature"}
    if sent:
        assert {"private", "no-store"} & set(response["Cache-Control"].split(", "))


@pytest.mark.parametrize("where", VIEWS.values())
@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("public", "private"),
        ("public, max-age=60", "max-age=60, private"),
        ("Public, S-MaxAge=600,max-age=60", "max-age=60, private"),
        ("max-age=60", "max-age=60, private"),
        ("no-store", "no-store"),
        ("private", "private"),
        ('private="X-Name"', "private"),
    ],
)
def test_private_replaces_what_invites_shared_caches(where, said, answered):
    response = ask(where, bearer(mint_pat().token), cache=said)

    assert response["Cache-Control"] == answered


def test_an_anonymous_answer_keeps_its_cache_control():
    response = ask(VIEWS["middleware"], {}, cache="public, max-age=60")

    assert response["Cache-Control"] == "public, max-age=60"


def test_vary_of_the_view_stays():
    response = HttpResponse(headers={"Vary": "Accept, authorization"})
    shared_caches.protect({}, response)

    assert response["Vary"] == "Accept, authorization, X-Api-Key, Signature-Input, Signature"


@pytest.fixture
def behind_cache(settings):
    """Django's cache middleware around the whole site, as its documentation has it."""
    settings.MIDDLEWARE = [CACHE[0], *settings.MIDDLEWARE, CACHE[1]]


@pytest.mark.parametrize("where", [*VIEWS.values(), *OURS])
def test_the_site_cache_keeps_nothing_for_the_next_caller(behind_cache, where):
    ada, eve = (mint_pat(scopes=["payments:read", "keys:read"]) for _ in range(2))

    assert ask(where, bearer(ada.token)).status_code == 200
    answers = [
        ask(where, bearer(eve.token)),
        ask(where, {}),
        ask(where, bearer("no-such-token")),
        ask(where, {"X-Api-Key": "wrong-abcdefghijklmnopqrstuvwxyz012345"}),
    ]

    anonymous = 200 if where == VIEWS["middleware"] else 401
    assert [each.status_code for each in answers] == [200, anonymous, 401, 401]
    assert not any(str(ada.key.user) in each.content.decode() for each in answers)
    lifecycle.revoke(ada.key)
    assert ask(where, bearer(ada.token)).status_code == 401


def test_an_anonymous_answer_that_is_kept_is_not_for_a_wrong_key(behind_cache):
    where = VIEWS["middleware"]
    assert ask(where, {}, cache="max-age=60").status_code == 200

    wrong = {"X-Api-Key": "wrong-abcdefghijklmnopqrstuvwxyz012345"}
    assert ask(where, wrong, cache="max-age=60").status_code == 401
    assert ask(where, bearer("no-such-token"), cache="max-age=60").status_code == 401


ROUTES = [
    {"method": "GET", "path": "/offers/", "scopes": ["payments:read"]},
    {"method": "GET", "path": "/refunds/", "scopes": ["payments:write"]},
]


def decision(target, headers):
    sent = {"X-Original-Method": "GET", "X-Original-URI": target}
    return Client().get("/gateway/authorize/", headers=headers | sent)


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_decision_is_for_one_url_and_one_key(behind_cache, settings, seconds):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": ROUTES, "GATEWAY_MAX_AGE": seconds}
    minted = mint_key()

    first = decision("/offers/", bearer(minted.token))
    assert first.status_code == 200
    assert varies(first) >= {"Authorization", "X-Api-Key", "X-Original-Method", "X-Original-URI"}
    assert first["Cache-Control"] == ("private, max-age=60" if seconds else "no-store")
    assert decision("/refunds/", bearer(minted.token)).status_code == 403
    assert decision("/offers/", {}).status_code == 401
    lifecycle.revoke(minted.key)
    assert decision("/offers/", bearer(minted.token)).status_code == 401


OAUTH = ["token", "introspect", "revoke_token", "device-authorization", "register"]


@pytest.mark.parametrize("name", OAUTH)
def test_no_shared_cache_keeps_an_answer_of_the_oauth_endpoints(name):
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    for response in (
        Client().post(f"/o/{name}/", form),
        Client().post(f"/o/{name}/", form, headers={"Authorization": "Basic YTpi"}),
        Client().get(f"/o/{name}/"),
    ):
        assert {"private", "no-store"} & set(response["Cache-Control"].split(", "))
        assert "Authorization" in varies(response)


@pytest.mark.parametrize("where", ["/plain-async/", "/ninja/async", "/plain/", "/drf/"])
def test_the_fields_come_over_asgi_too(where):
    minted = mint_pat()
    response = async_to_sync(AsyncClient().get)(where, headers=bearer(minted.token))

    assert (response.status_code, response["Cache-Control"]) == (200, "private")
    assert "Authorization" in varies(response)
