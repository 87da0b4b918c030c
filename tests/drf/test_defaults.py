"""Views whose permissions check no scope: public views, and the defaults of a site."""

import pytest
from django.core.checks import run_checks
from rest_framework.generics import RetrieveAPIView
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from apikeys.drf import AnyScope, BearerAuthentication, HasBinding, HasScope, ReadWriteScope
from apikeys.models import get_project_model
from tests.drf.conftest import View
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat, with_wrong_secret

READ, WRITE = ["payments:read"], ["payments:write"]
MODULE = "shop.api"


def outcome(response):
    return response.status_code, response.data.get("code")


TAKEN = 200, None
UNDECLARED = 403, "scope_not_declared"
LACKING = 403, "insufficient_scope"


class Public(View):
    permission_classes = [AllowAny]
    required_scopes = []


class TestPublicViews:
    @pytest.mark.parametrize("permissions", [[], [AllowAny]])
    def test_anyone_is_answered_and_a_bad_credential_refused(self, call, permissions):
        public = {"view": Public, "permission_classes": permissions}
        assert outcome(call(**public)) == TAKEN
        for minted in (mint_pat(), mint_key(scopes=["reports:read"])):
            assert outcome(call(minted.token, **public)) == TAKEN
            wrong = call(with_wrong_secret(minted.token), **public)
            assert outcome(wrong) == (401, "invalid_key")

    def test_the_view_sees_the_caller(self, call):
        minted = mint_pat()
        assert call(minted.token, view=Public).data == {"user": minted.key.user.username}
        assert call(view=Public).data == {"user": "AnonymousUser"}

    def test_it_may_be_public_for_reading_only(self, call):
        by_method = {"view": Public, "required_scopes": {"read": [], "write": WRITE}}
        assert outcome(call(mint_pat().token, **by_method)) == TAKEN
        # Nothing in the view checks the other scopes.
        writer = mint_pat(scopes=WRITE).token
        assert outcome(call(writer, "POST", **by_method)) == UNDECLARED

    @pytest.mark.parametrize("said", [None, "", {}, set(), iter(())])
    def test_only_an_empty_list_says_so(self, call, said):
        assert outcome(call(mint_pat().token, view=Public, required_scopes=said)) == UNDECLARED

    @pytest.mark.parametrize("permission", [HasScope, HasBinding, AllowAny | HasScope])
    def test_a_permission_that_checks_scopes_contradicts_it(self, call, permission):
        answer = call(mint_pat().token, view=Public, permission_classes=[permission])
        assert outcome(answer) == UNDECLARED


@pytest.fixture
def defaults(settings):
    def defaults(**scopes):
        settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": scopes}

    return defaults


def by_method(read=READ, write=WRITE):
    return {"read": read, "write": write}


class Lenient(HasScope):
    def has_permission(self, request, view):
        return True


class Own(BasePermission):
    def has_permission(self, request, view):
        return request.method == "GET"


class TestDefaultScopes:
    @pytest.mark.parametrize("permission", [IsAuthenticated, AllowAny, HasScope])
    def test_they_hold_for_a_view_that_declares_nothing(self, call, defaults, permission):
        view = {"permission_classes": [permission], "__module__": f"{MODULE}.views"}
        reader, writer = mint_pat().token, mint_pat(scopes=WRITE).token
        assert outcome(call(reader, **view)) == UNDECLARED
        defaults(**{MODULE: by_method()})
        assert outcome(call(reader, **view)) == TAKEN
        assert outcome(call(reader, "POST", **view)) == LACKING
        assert outcome(call(writer, "POST", **view)) == TAKEN
        assert outcome(call(mint_pat(scopes=["reports:read"]).token, **view)) == LACKING

    def test_the_permissions_of_the_view_still_decide(self, call, defaults):
        defaults(**{MODULE: by_method()})
        view = {"permission_classes": [Own], "__module__": MODULE}
        writer = mint_pat(scopes=WRITE).token
        assert outcome(call(writer, **view)) == TAKEN
        assert call(writer, "POST", **view).status_code == 403

    @pytest.mark.parametrize("module", ["shop.apis", "shop", "sho.api", "xshop.api"])
    def test_they_hold_for_no_other_module(self, call, defaults, module):
        defaults(**{MODULE: by_method()})
        view = {"permission_classes": [IsAuthenticated], "__module__": module}
        assert outcome(call(mint_pat().token, **view)) == UNDECLARED

    def test_the_longest_name_wins(self, call, defaults):
        defaults(**{"shop": WRITE, MODULE: by_method(), f"{MODULE}.Example": ["reports:read"]})
        view = {"permission_classes": [IsAuthenticated], "__module__": MODULE}
        assert outcome(call(mint_pat(scopes=WRITE).token, **view)) == LACKING
        assert outcome(call(mint_pat(scopes=["reports:read"]).token, **view)) == TAKEN

    def test_an_action_may_have_an_entry(self, call, defaults):
        class Orders(ViewSet):
            authentication_classes = [BearerAuthentication]
            permission_classes = [IsAuthenticated]

            def refund(self, request):
                return Response({})

            def list(self, request):
                return Response({})

        defaults(**{__name__: by_method() | {"refund": ["reports:read"]}})
        get = {"view": Orders, "__module__": __name__}
        reader = mint_pat().token
        assert outcome(call(reader, actions={"get": "list"}, **get)) == TAKEN
        assert outcome(call(reader, actions={"get": "refund"}, **get)) == LACKING

    @pytest.mark.parametrize(
        "declares",
        [
            {"required_scopes": ["reports:read"]},
            {"required_scopes": {"write": WRITE}},
            {"permission_classes": [Lenient]},
            {"permission_classes": [Lenient & IsAuthenticated]},
        ],
    )
    def test_a_view_that_declares_anything_is_left_alone(self, call, defaults, declares):
        view = {"permission_classes": [IsAuthenticated], "__module__": MODULE} | declares
        without = outcome(call(mint_pat().token, **view))
        defaults(**{MODULE: by_method()})
        assert outcome(call(mint_pat().token, **view)) == without == UNDECLARED

    def test_a_method_without_an_entry_is_refused(self, call, defaults):
        defaults(**{MODULE: {"read": READ}})
        view = {"permission_classes": [IsAuthenticated], "__module__": MODULE}
        assert outcome(call(mint_pat(scopes=WRITE).token, "POST", **view)) == UNDECLARED

    @pytest.mark.parametrize("permission", [AllowAny, IsAuthenticated, HasScope])
    def test_views_of_other_packages_are_excepted_one_by_one(
        self, client, db, defaults, monkeypatch, settings, permission
    ):
        monkeypatch.setattr(APIView, "authentication_classes", [BearerAuthentication])
        monkeypatch.setattr(APIView, "permission_classes", [permission])
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": DefaultRouter().urls})
        text = mint_pat(scopes=["reports:read"]).token
        assert client.get("/", headers=bearer(text)).json()["code"] == "scope_not_declared"
        defaults(**{"rest_framework.routers.APIRootView": []})
        assert client.get("/", headers=bearer(text)).status_code == 200
        assert client.get("/", headers=bearer(with_wrong_secret(text))).status_code == 401

    @pytest.mark.parametrize(
        "given",
        [
            7,
            ["shop"],
            {"shop": "payments:read"},
            {"shop": {"read": 7}},
            {"shop": {"read": None}},
            None,
        ],
    )
    def test_a_wrong_value_is_reported(self, settings, given):
        settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": given}
        assert "apikeys.E103" in [message.id for message in run_checks(tags=["apikeys"])]


class TestModulesThatRefuseOnPurpose:
    @pytest.mark.parametrize(
        "declares",
        [
            {"permission_classes": [IsAuthenticated]},
            {"permission_classes": [AllowAny], "required_scopes": []},
            {"permission_classes": [HasScope], "required_scopes": READ},
            {"permission_classes": [ReadWriteScope("payments")]},
            {"permission_classes": [AnyScope]},
        ],
    )
    def test_none_refuses_every_key_whatever_else_is_declared(self, call, defaults, declares):
        view = declares | {"__module__": f"{MODULE}.views"}
        token = mint_pat(scopes=READ + WRITE).token
        defaults(**{"shop": READ, MODULE: None})
        assert outcome(call(token, **view)) == UNDECLARED
        assert outcome(call(mint_key().token, **view)) == UNDECLARED
        wrong = with_wrong_secret(token)
        assert outcome(call(wrong, **view)) == (401, "invalid_key")

    def test_a_longer_name_opens_a_part_of_it(self, call, defaults):
        view = {"permission_classes": [IsAuthenticated], "__module__": f"{MODULE}.views"}
        defaults(**{"shop": None, MODULE: by_method()})
        assert outcome(call(mint_pat().token, **view)) == TAKEN
        elsewhere = view | {"__module__": "shop.admin"}
        assert outcome(call(mint_pat().token, **elsewhere)) == UNDECLARED

    def test_a_shorter_name_does_not(self, call, defaults):
        defaults(**{"shop": by_method(), f"{MODULE}.Example": None})
        view = {"permission_classes": [IsAuthenticated], "__module__": MODULE}
        assert outcome(call(mint_pat().token, **view)) == UNDECLARED

    def test_no_other_module_is_closed(self, call, defaults):
        defaults(**{MODULE: None})
        view = {"required_scopes": READ, "__module__": "shop.apis"}
        assert outcome(call(mint_pat().token, **view)) == TAKEN

    def test_callers_without_a_credential_are_left_to_the_view(self, call, defaults):
        defaults(**{MODULE: None})
        assert outcome(call(permission_classes=[AllowAny], __module__=MODULE)) == TAKEN

    def test_a_method_that_the_view_lacks_is_answered_as_before(self, call, defaults):
        defaults(**{MODULE: None})
        view = {"http_method_names": ["get"], "__module__": MODULE}
        assert call(mint_pat().token, "TRACE", **view).status_code == 405

    def test_an_action_may_refuse_on_purpose(self, call, defaults):
        class Orders(ViewSet):
            authentication_classes = [BearerAuthentication]
            permission_classes = [IsAuthenticated]

            def list(self, request):
                return Response({})

            def refund(self, request):
                return Response({})

        defaults(**{__name__: READ, f"{__name__}.Example.refund": None})
        get = {"view": Orders, "__module__": __name__}
        assert outcome(call(mint_pat().token, actions={"get": "list"}, **get)) == TAKEN
        assert outcome(call(mint_pat().token, actions={"get": "refund"}, **get)) == UNDECLARED

    def test_the_setting_is_valid(self, settings, defaults):
        defaults(**{MODULE: None})
        assert "apikeys.E103" not in [message.id for message in run_checks(tags=["apikeys"])]


class ByMethod(HasScope):
    def get_required_scopes(self, request, view):
        return ("payments:write",) if request.method == "DELETE" else ()


def test_an_empty_list_opens_no_permission_that_refuses_by_an_empty_result(call, defaults):
    defaults(**{MODULE: []})
    view = {"permission_classes": [ByMethod], "__module__": f"{MODULE}.views"}
    assert outcome(call(mint_pat(scopes=WRITE).token, **view)) == UNDECLARED


@pytest.mark.parametrize("permission", [HasScope, IsAuthenticated, AllowAny])
def test_default_scopes_keep_a_token_to_its_projects(ada, engine, defaults, permission):
    other = MembershipFactory(user=ada, role="owner").project
    defaults(**{MODULE: READ})
    attributes = {
        "__module__": f"{MODULE}.views",
        "authentication_classes": [BearerAuthentication],
        "permission_classes": [permission],
        "queryset": get_project_model().objects.all(),
        "lookup_field": "slug",
    }
    view = type("OneProject", (RetrieveAPIView,), attributes)
    view.get = lambda self, request, slug: Response({"slug": self.get_object().slug})
    token = mint_pat(ada, scopes=READ, projects=[engine]).token

    def ask(project):
        request = APIRequestFactory().get("/", headers=bearer(token))
        return outcome(view.as_view()(request, slug=project.slug))

    assert ask(engine) == TAKEN
    assert ask(other) == LACKING


class TestReadWriteScope:
    def test_it_goes_by_method(self, call):
        view = {"permission_classes": [ReadWriteScope("payments")]}
        reader, writer = mint_pat().token, mint_pat(scopes=WRITE).token
        for method in ("GET", "HEAD", "OPTIONS"):
            assert call(reader, method, **view).status_code == 200
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert outcome(call(reader, method, **view)) == LACKING
            assert outcome(call(writer, method, **view)) == TAKEN
        assert outcome(call(mint_key(scopes=["reports:read"]).token, **view)) == LACKING
        assert outcome(call(**view)) == (401, "not_authenticated")

    def test_it_composes(self, call):
        composed = {"permission_classes": [IsAuthenticated & ReadWriteScope("payments")]}
        assert outcome(call(mint_pat().token, **composed)) == TAKEN
        either = {"permission_classes": [IsAuthenticated | ReadWriteScope("payments")]}
        assert outcome(call(mint_pat().token, **either)) == UNDECLARED

    def test_a_view_may_require_more(self, call):
        view = {"permission_classes": [ReadWriteScope("payments")]}
        view["required_scopes"] = ["reports:read"]
        assert outcome(call(mint_pat(scopes=WRITE).token, **view)) == LACKING
        assert outcome(call(mint_pat(scopes=["reports:read"]).token, **view)) == TAKEN

    def test_the_same_name_is_the_same_class(self):
        assert ReadWriteScope("payments") is ReadWriteScope("payments")
        with pytest.raises(TypeError, match="name of a resource"):
            ReadWriteScope("")
