"""Permissions of other packages that read, in ``request.auth``, what only their tokens have."""

import logging
from types import SimpleNamespace

import pytest
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from apikeys.databases import unavailable
from apikeys.drf import BearerAuthentication, HasScope, scoping
from tests.drf.conftest import View
from tests.factories import UserFactory, mint_key, mint_pat, with_wrong_secret

NOT_ACCEPTED = 403, "credential_not_accepted"


def outcome(response):
    return response.status_code, response.data.get("code")


class OfApplication(BasePermission):
    """Checks the scopes of an application, which only a token of its package has."""

    def has_permission(self, request, view):
        return set(view.required_scopes) <= set(request.auth.application.scopes)


class OfObject(BasePermission):
    def has_object_permission(self, request, view, obj):
        return request.auth.application == obj


class OfClaims(BasePermission):
    def has_permission(self, request, view):
        return request.auth["tenant"] == "acme"


class OfKeys(BasePermission):
    def has_permission(self, request, view):
        return "tenant" in request.auth


class Computes(HasScope):
    def get_required_scopes(self, request, view):
        return request.auth.application.scopes


class Token:
    application = SimpleNamespace(scopes=["payments:read"])

    def __getitem__(self, name):
        return "acme"


class OtherAuthentication(BaseAuthentication):
    def authenticate(self, request):
        return (UserFactory(), Token()) if "X-Other" in request.headers else None


class Orders(View):
    required_scopes = ["payments:read"]

    def get(self, request):
        self.check_object_permissions(request, object())
        return Response({})


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(scoping, "_scope_permissions", dict(scoping._scope_permissions))
    return scoping.register


def by_its_token(permission, request, view):
    return request.auth.application.scopes


def by_its_view(permission, request, view):
    return view.required_scopes


class TestRefusals:
    @pytest.mark.parametrize("minted", [mint_pat, mint_key])
    @pytest.mark.parametrize("declares", [by_its_token, by_its_view])
    def test_a_registered_permission_refuses_and_is_named(
        self, call, registered, caplog, declares, minted
    ):
        registered(OfApplication, declares)
        text = minted(scopes=["payments:read"]).token
        with caplog.at_level(logging.WARNING, "apikeys"):
            answer = call(text, view=Orders, permission_classes=[OfApplication])
        assert outcome(answer) == NOT_ACCEPTED
        (record,) = [each for each in caplog.records if each.name == "apikeys"]
        assert f"{__name__}.OfApplication" in record.getMessage()
        assert "'application'" in record.getMessage()
        assert text not in caplog.text

    @pytest.mark.parametrize("permission", [OfObject, OfClaims, OfKeys, Computes])
    @pytest.mark.parametrize("others", [[HasScope], [IsAuthenticated & HasScope]])
    def test_a_permission_beside_ours_refuses_and_is_named(self, call, caplog, permission, others):
        text = mint_pat().token
        answer = call(text, view=Orders, permission_classes=[*others, permission])
        assert outcome(answer) == NOT_ACCEPTED
        assert f"{__name__}.{permission.__name__}" in caplog.text

    @pytest.mark.parametrize(
        "combined", [HasScope | OfApplication, HasScope & OfApplication, ~OfApplication & HasScope]
    )
    def test_operators_open_nothing(self, call, combined):
        text = mint_pat(scopes=["reports:read"]).token
        answer = call(text, view=Orders, permission_classes=[combined])
        assert answer.status_code == 403

    def test_a_permission_that_reads_a_user_refuses_a_project_key(self, call, registered):
        registered(OfApplication, lambda permission, request, view: request.user.team)
        answer = call(mint_key().token, view=Orders, permission_classes=[OfApplication])
        assert outcome(answer) == (403, "user_required")

    def test_the_writes_of_the_request_are_rolled_back(self, call, monkeypatch):
        called = []
        monkeypatch.setattr(unavailable, "roll_back", lambda: called.append(True))
        call(mint_pat().token, view=Orders, permission_classes=[HasScope, OfClaims])
        assert called


class TestOthers:
    def test_its_own_token_passes(self, call, registered):
        registered(OfApplication, by_its_token)
        classes = [BearerAuthentication, OtherAuthentication]
        view = type("Own", (Orders,), {"authentication_classes": classes})
        view.permission_classes = [OfApplication]
        request = APIRequestFactory().get("/", headers={"X-Other": "1"})
        assert view.as_view()(request).status_code == 200

    def test_without_a_valid_credential_the_answer_is_401(self, call, registered):
        registered(OfApplication, by_its_token)
        view = {"view": Orders, "permission_classes": [IsAuthenticated, OfApplication]}
        assert call(**view).status_code == 401
        wrong = with_wrong_secret(mint_pat().token)
        assert outcome(call(wrong, **view)) == (401, "invalid_key")

    def test_a_mistake_in_the_view_is_not_hidden(self, call):
        def get(self, request):
            return Response({"of": request.auth.application})

        with pytest.raises(AttributeError):
            call(mint_pat().token, view=View, required_scopes=["payments:read"], get=get)

    def test_another_mistake_in_a_permission_is_not_hidden(self, call, registered):
        class Broken(BasePermission):
            def has_permission(self, request, view):
                return view.no_such_thing

        class Empty(BasePermission):
            def has_permission(self, request, view):
                return request.parser_context["kwargs"].get("tenant")[0]

        for permission, error in [(Broken, AttributeError), (Empty, TypeError)]:
            with pytest.raises(error):
                call(mint_pat().token, view=Orders, permission_classes=[HasScope, permission])
