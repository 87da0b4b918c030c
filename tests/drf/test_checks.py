"""The system check: views that would refuse every key, told before a caller finds them."""

import io

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ViewSet

from apikeys.drf import AnyScope, BearerAuthentication, HasScope
from tests.drf.conftest import View
from tests.drf.test_scoping import Payments

READ = ["payments:read"]


@pytest.fixture
def warnings(settings):
    """The messages of a project that has these views."""

    def warnings(*views):
        patterns = [path(f"{n}/", view) for n, view in enumerate(views)]
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("x/", include(patterns))]})
        return run_checks(tags=["apikeys"])

    return warnings


def view(name="Orders", **attributes):
    return type(name, (View,), attributes)


def test_the_example_is_clean():
    assert run_checks(tags=["apikeys"]) == []


def test_views_that_declare_are_not_listed(warnings):
    assert (
        warnings(
            view(required_scopes=READ).as_view(),
            view(required_scopes={"read": READ, "write": ["payments:write"]}).as_view(),
            view(permission_classes=[AnyScope]).as_view(),
            view(permission_classes=[IsAuthenticated & HasScope], required_scopes=READ).as_view(),
            view(authentication_classes=[SessionAuthentication], permission_classes=[]).as_view(),
        )
        == []
    )


def test_a_view_that_declares_none_is_named_with_the_fix(warnings):
    messages = warnings(view(http_method_names=["get"], __module__="shop.views").as_view())
    assert [(m.id, m.msg) for m in messages] == [
        (
            "apikeys.W001",
            "shop.views.Orders takes keys but declares no scope for GET, so it refuses every key.",
        )
    ]
    assert "HasScope" in messages[0].hint
    assert "required_scopes" in messages[0].hint


def test_each_method_is_looked_at(warnings):
    messages = warnings(view(required_scopes={"read": READ, "PUT": READ}).as_view())
    assert sorted(m.msg.split(" for ")[1].split(",")[0] for m in messages) == [
        "DELETE", "PATCH", "POST",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "permissions",
    [[], [AllowAny], [IsAuthenticated], [HasScope | IsAuthenticated], [~HasScope]],
)
def test_permissions_that_do_not_hold_keys_to_a_scope(warnings, permissions):
    messages = warnings(
        view(
            http_method_names=["get"], permission_classes=permissions, required_scopes=READ
        ).as_view()
    )
    assert [m.id for m in messages] == ["apikeys.W001"]


def test_what_as_view_says_counts(warnings):
    declares = view(http_method_names=["get"], required_scopes=READ)
    messages = warnings(declares.as_view(permission_classes=[IsAuthenticated]))
    assert [m.id for m in messages] == ["apikeys.W001"]
    sessions = view(authentication_classes=[SessionAuthentication], http_method_names=["get"])
    assert warnings(sessions.as_view()) == []
    messages = warnings(sessions.as_view(authentication_classes=[BearerAuthentication]))
    assert [m.id for m in messages] == ["apikeys.W001"]


def test_a_viewset_is_looked_at_by_action(warnings):
    router = SimpleRouter()
    router.register("payments", Payments, basename="payment")
    messages = warnings(*(pattern.callback for pattern in router.urls))
    assert [m.msg.split(" takes")[0] for m in messages] == [
        "tests.drf.test_scoping.Payments.retrieve"
    ]


def test_a_function_is_looked_at(warnings):
    @api_view(["GET"])
    @authentication_classes([BearerAuthentication])
    @permission_classes([IsAuthenticated])
    def orders(request): ...

    (message,) = warnings(orders)
    assert message.id == "apikeys.W001"
    assert "orders takes keys" in message.msg


def test_a_scope_that_no_key_can_have(warnings):
    (message,) = warnings(
        view(http_method_names=["get"], required_scopes=["payment:read"]).as_view()
    )
    assert message.id == "apikeys.W002"
    assert "payment:read" in message.msg


def test_scopes_that_a_permission_computes_count(warnings):
    class Computed(HasScope):
        def get_required_scopes(self, request, view):
            return ("payment:read",)

    messages = warnings(view(http_method_names=["get"], permission_classes=[Computed]).as_view())
    assert [m.id for m in messages] == ["apikeys.W002"]


def test_permissions_that_need_a_real_request(warnings):
    class Choosy(View):
        http_method_names = ["get"]
        required_scopes = READ

        def get_permissions(self):
            return [self.kwargs["project"]]

    (message,) = warnings(Choosy.as_view())
    assert message.id == "apikeys.W003"


def test_views_of_other_kinds_do_not_disturb_it(warnings, settings):
    from django.views.generic import TemplateView

    def plain(request): ...

    class Strange:
        def __call__(self, request): ...

    assert warnings(plain, TemplateView.as_view(template_name="x"), Strange()) == []


def test_a_site_without_urls(settings):
    settings.ROOT_URLCONF = None
    assert run_checks(tags=["apikeys"]) == []


def test_manage_check_lists_them(settings):
    bad = view(http_method_names=["get"], __module__="shop.views").as_view()
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("", bad)]})
    call_command("check", stderr=(err := io.StringIO()), stdout=io.StringIO())
    assert "apikeys.W001" in err.getvalue()
    assert "shop.views.Orders" in err.getvalue()


def test_a_viewset_with_no_method_of_its_own(warnings):
    class Empty(ViewSet):
        authentication_classes = [BearerAuthentication]

        def list(self, request): ...

    (message,) = warnings(Empty.as_view({"get": "list"}, permission_classes=[]))
    assert "Empty.list" in message.msg
