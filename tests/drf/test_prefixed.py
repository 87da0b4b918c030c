"""Beside other code that reads the same header: a site's own class, and a middleware."""

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse, JsonResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from rest_framework.authentication import BaseAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token

from apikeys import http
from apikeys.drf import BearerAuthentication, PrefixedAuthentication
from apikeys.refusals import Refused
from tests.drf.conftest import View
from tests.factories import UserFactory, bearer, mint_pat, with_wrong_secret


class Own(BaseAuthentication):
    """As a site wrote it: it knows its own tokens, and leaves others alone."""

    def authenticate(self, request):
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme == "Bearer" and text.startswith("own-"):
            return User.objects.get(username=text.removeprefix("own-")), None
        return None


class Strict(TokenAuthentication):
    """As most packages do it: it refuses what it does not know."""

    keyword = "Bearer"

    def authenticate_credentials(self, key):
        user, _ = super().authenticate_credentials(key)
        return user, None  # its tokens have no scopes


def outcome(response):
    return response.status_code, response.data.get("code") or response.data.get("user")


@pytest.fixture
def calls(call):
    """Calls a view with these authentication classes, in this order."""

    def calls(*classes):
        attributes = {"authentication_classes": list(classes), "required_scopes": ["payments:read"]}
        return lambda text=None: outcome(call(text, **attributes))

    return calls


@pytest.mark.parametrize("classes", [(Own, PrefixedAuthentication), (PrefixedAuthentication, Own)])
def test_each_class_takes_its_own_credentials_in_any_order(calls, classes):
    ask = calls(*classes)
    UserFactory(username="grace")
    minted = mint_pat()
    assert ask(minted.token) == (200, minted.key.user.username)
    assert ask("own-grace") == (200, "grace")
    assert ask(with_wrong_secret(minted.token)) == (401, "invalid_key")
    assert ask("acme_pat_mistyped") == (401, "malformed_key")
    for text in ("unknown", "acmes_pat_1", "two words", "eyJhbGciOiJub25lIn0.e30."):
        assert ask(text) == (401, "not_authenticated")
    assert ask() == (401, "not_authenticated")


def test_the_usual_class_refuses_what_it_does_not_know(calls):
    UserFactory(username="grace")
    assert calls(BearerAuthentication, Own)("own-grace") == (401, "invalid_token")


def test_a_class_that_refuses_others_comes_last(calls):
    user = UserFactory(username="grace")
    token = Token.objects.create(user=user).key
    minted = mint_pat()
    ask = calls(PrefixedAuthentication, Strict)
    assert ask(minted.token) == (200, minted.key.user.username)
    assert ask(token) == (200, "grace")
    assert ask("unknown")[0] == 401


@pytest.mark.parametrize(
    ("header", "is_ours"),
    [
        ({"Authorization": "Basic YWNtZV9wYXRfMTo="}, True),  # acme_pat_1:
        ({"Authorization": "Basic YTpi"}, False),
        ({"Authorization": "Basic not-base-64"}, False),
        ({"X-Api-Key": "acme_pat_1"}, True),
        ({"X-Api-Key": "other"}, False),
        ({"Authorization": "Token abc"}, False),
    ],
)
def test_other_ways_to_send_a_key(settings, header, is_ours):
    settings.APIKEYS = {**settings.APIKEYS, "BASIC_AUTH": True, "HEADERS": ["X-Api-Key"]}
    attributes = {"authentication_classes": [PrefixedAuthentication]}
    view = type("Example", (View,), attributes | {"required_scopes": ["payments:read"]})
    response = view.as_view()(RequestFactory().get("/", headers=header))
    assert outcome(response) == (401, "malformed_key" if is_ours else "not_authenticated")


def test_the_answer_varies_by_the_header_even_if_another_class_decided(call):
    UserFactory(username="grace")
    classes = [PrefixedAuthentication, Own]
    view = {"authentication_classes": classes, "required_scopes": ["payments:read"]}
    response = call("own-grace", **view)
    assert "Authorization" in response["Vary"]
    assert "private" in response["Cache-Control"]


# The recipe of the documentation for a middleware of the site.


def own_middleware(get_response):
    def middleware(request):
        request.caller = None
        if request.headers.get("Authorization", "").startswith("Bearer acme_"):
            try:
                access = http.authenticate(request)
            except Refused as refused:
                return http.refuse(refused.refusal)
            if not access.allows("payments:read"):
                return HttpResponse(status=403)
            request.caller = access
        return get_response(request)

    return middleware


def page(request):
    return JsonResponse({"caller": request.caller and request.caller.credential_id})


urlpatterns = [path("", page)]


@pytest.mark.urls(__name__)
@override_settings(MIDDLEWARE=[f"{__name__}.own_middleware"])
def test_a_middleware_of_the_site(db):
    minted = mint_pat()
    sent = [{}, bearer("other"), bearer(minted), bearer(with_wrong_secret(minted.token))]
    answers = [Client().get("/", headers=headers) for headers in sent]
    assert [each.status_code for each in answers] == [200, 200, 200, 401]
    assert answers[1].json() == {"caller": None}
    assert answers[2].json() == {"caller": minted.key.public_id}
    assert answers[3].json()["code"] == "invalid_key"
