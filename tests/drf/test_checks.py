"""The system check: views that would refuse every key, told before a caller finds them."""

import io

import pytest
from django.core.checks import WARNING, run_checks
from django.core.management import call_command
from django.urls import include, path
from drf_spectacular import views as drf_spectacular_views
from ninja import NinjaAPI
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.generics import ListCreateAPIView
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import APIRootView, DefaultRouter, SimpleRouter
from rest_framework.schemas.views import SchemaView
from rest_framework.throttling import AnonRateThrottle, ScopedRateThrottle, UserRateThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from apikeys.drf import (
    AnyScope,
    BearerAuthentication,
    CredentialRateThrottle,
    CredentialScopedRateThrottle,
    HasScope,
)
from tests.drf.conftest import View
from tests.drf.test_scoping import Payments

READ = ["payments:read"]


@pytest.fixture
def warnings(settings):
    """The messages of a project that has these views."""

    def warnings(*views):
        patterns = [path(f"{n}/", view) for n, view in enumerate(views)]
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("x/", include(patterns))]})
        return checked()

    return warnings


def checked():
    """What `manage.py check` shows as a problem."""
    found = run_checks(tags=["apikeys"])
    return [each for each in found if each.level >= WARNING and not each.is_silenced()]


def view(name="Orders", **attributes):
    return type(name, (View,), attributes)


def test_the_example_is_clean():
    assert checked() == []


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
            "1 view would refuse every key, because no scope is declared: shop.views.Orders (GET).",
        )
    ]
    for fix in ("HasScope", "required_scopes", "DEFAULT_SCOPES", "manage.py apikeys audit-views"):
        assert fix in messages[0].hint


@pytest.mark.slow
def test_all_are_one_warning_with_a_count_grouped_by_class(warnings):
    views = [view(f"View{n}", __module__="shop.views").as_view() for n in range(347)]
    (message,) = warnings(*views, views[0])
    assert message.msg.startswith(
        "347 views would refuse every key, because no scope is declared: "
        "shop.views.View0 (GET, POST, PUT, PATCH, DELETE); shop.views.View1 ("
    )
    assert message.msg.endswith("shop.views.View9 (GET, POST, PUT, PATCH, DELETE); and 337 more.")


def test_each_method_is_looked_at(warnings):
    (message,) = warnings(view(required_scopes={"read": READ, "PUT": READ}).as_view())
    assert "Orders (POST, PATCH, DELETE)" in message.msg


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
    (message,) = messages
    assert "tests.drf.test_scoping.Payments (retrieve)" in message.msg


def test_a_function_is_looked_at(warnings):
    @api_view(["GET"])
    @authentication_classes([BearerAuthentication])
    @permission_classes([IsAuthenticated])
    def orders(request): ...

    (message,) = warnings(orders)
    assert message.id == "apikeys.W001"
    assert "orders (GET)" in message.msg


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
    assert checked() == []


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
    assert "Empty (list)" in message.msg


def test_a_permission_that_overrides_has_permission_is_named(warnings):
    class Lenient(HasScope):
        def has_permission(self, request, view):
            return True

    for permission in (Lenient, IsAuthenticated & Lenient, Lenient | HasScope):
        (message,) = warnings(
            view(
                http_method_names=["get"], permission_classes=[permission], required_scopes=READ
            ).as_view()
        )
        assert message.id == "apikeys.W001"
        assert f"{__name__}.{Lenient.__qualname__} overrides has_permission() of" in message.msg
        assert "apikeys.drf.permissions.HasScope" in message.msg
        assert "scoping.register()" in message.hint

    beside = view(permission_classes=[HasScope, Lenient], required_scopes=READ)
    assert warnings(beside.as_view()) == []


class TestThrottles:
    """REST framework's own count by primary key, which no project key has."""

    @pytest.mark.parametrize(
        ("throttle", "attributes", "is_shared"),
        [
            (UserRateThrottle, {}, True),
            (type("Burst", (UserRateThrottle,), {"rate": "1/day"}), {}, True),
            (ScopedRateThrottle, {"throttle_scope": "uploads"}, True),
            (ScopedRateThrottle, {}, False),  # which does nothing
            (AnonRateThrottle, {}, False),
            (CredentialRateThrottle, {}, False),
            (CredentialScopedRateThrottle, {"throttle_scope": "uploads"}, False),
            (UserRateThrottle, {"accepts": ["personal_access_token"]}, False),
        ],
    )
    def test_they_are_named(self, warnings, throttle, attributes, is_shared):
        found = warnings(
            view(required_scopes=READ, throttle_classes=[throttle], **attributes).as_view()
        )
        assert [m.id for m in found] == (["apikeys.W006"] if is_shared else [])
        if is_shared:
            assert "1 view would count the requests of all project keys together" in found[0].msg
            assert "Orders (GET, POST" in found[0].msg
            assert throttle.__name__ in found[0].msg
            assert "CredentialRateThrottle" in found[0].hint

    def test_a_site_without_project_keys_may_use_them(self, warnings, settings):
        settings.APIKEYS = {**settings.APIKEYS, "PROJECT_KEYS": False}
        found = view(required_scopes=READ, throttle_classes=[UserRateThrottle]).as_view()
        assert warnings(found) == []


def test_a_kind_that_does_not_exist(warnings):
    (message,) = warnings(view(required_scopes=READ, accepts=["project_kye"]).as_view())
    assert message.id == "apikeys.W005"
    assert "Orders accepts project_kye" in message.msg


def test_views_without_a_scope_on_purpose_are_not_listed(warnings, settings):
    public = view("Public", permission_classes=[AllowAny], required_scopes=[])
    assert warnings(public.as_view()) == []
    forgotten = view("Forgotten", permission_classes=[IsAuthenticated])
    assert [m.id for m in warnings(forgotten.as_view())] == ["apikeys.W001"]
    settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": {__name__.rpartition(".")[0]: READ}}
    assert warnings(forgotten.as_view(), view().as_view()) == []


def test_views_that_refuse_every_key_on_purpose_are_not_listed(warnings, settings):
    closed = view("Staff", __module__="shop.staff.api")
    forgotten = view("Forgotten", __module__="shop.api")
    settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": {"shop.staff": None}}
    assert warnings(closed.as_view()) == []
    misspelt = view("Misspelt", required_scopes=["payment:read"], __module__="shop.staff.api")
    assert warnings(misspelt.as_view()) == []
    (message,) = warnings(closed.as_view(), forgotten.as_view())
    assert message.id == "apikeys.W001"
    assert message.msg.startswith("1 view would")
    assert "shop.api.Forgotten" in message.msg
    assert "None" in message.hint


class TestDescriptions:
    """Views of other packages that describe an API need no scope."""

    @pytest.fixture(autouse=True)
    def takes_keys(self, monkeypatch):
        monkeypatch.setattr(APIView, "authentication_classes", [BearerAuthentication])

    def test_the_root_of_a_router(self, warnings):
        class Root(APIRootView):
            """The API of Acme."""

        class Own(APIRootView):
            def get(self, request):
                return Response({})

        router = DefaultRouter()
        assert warnings(*(pattern.callback for pattern in router.urls)) == []
        assert warnings(Root.as_view()) == []
        assert [m.id for m in warnings(Own.as_view())] == ["apikeys.W001"]

    def test_schemas_and_documentation(self, warnings):
        views = [
            each.as_view(authentication_classes=[BearerAuthentication])
            for each in vars(drf_spectacular_views).values()
            if isinstance(each, type) and issubclass(each, APIView) and each is not APIView
        ]
        assert len(views) > 5
        assert warnings(*views, SchemaView.as_view()) == []

        class Own(drf_spectacular_views.SpectacularAPIView):
            authentication_classes = [BearerAuthentication]

            def get(self, request):
                return Response({})

        assert [m.id for m in warnings(Own.as_view())] == ["apikeys.W001"]

    def test_generic_views_are_looked_at(self, warnings):
        class Orders(ListCreateAPIView):
            authentication_classes = [BearerAuthentication]

        (message,) = warnings(Orders.as_view())
        assert message.id == "apikeys.W001"
        assert "Orders (GET, POST)" in message.msg

    def test_ninja(self, settings):
        api = NinjaAPI(urls_namespace="checked")
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("", api.urls)]})
        assert checked() == []
