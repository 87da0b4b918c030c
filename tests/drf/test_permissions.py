"""``HasScope`` and ``AnyScope``, alone and composed, and django-oauth-toolkit's own classes."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.contrib.rest_framework import (
    IsAuthenticatedOrTokenHasScope,
    OAuth2Authentication,
    TokenHasReadWriteScope,
    TokenHasResourceScope,
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from oauth2_provider.models import AccessToken
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import (
    AND,
    OR,
    AllowAny,
    BasePermission,
    IsAdminUser,
    IsAuthenticated,
    OperandHolder,
)
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys.drf import AnyScope, BearerAuthentication, HasBinding, HasScope, scoping
from tests.drf.conftest import View
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

READ = ["payments:read"]


class Never(BasePermission):
    def has_permission(self, request, view):
        return False


def code(response):
    return json.loads(response.content).get("code")


def outcome(response):
    return response.status_code, code(response)


class TestHasScope:
    @pytest.mark.parametrize(
        ("scopes", "required", "allowed"),
        [
            (["payments:read"], ["payments:read"], True),
            (["payments:write"], ["payments:read"], True),  # write implies read
            (["payments:read"], ["payments:write"], False),
            (["payments:read"], ["payments:read", "reports:read"], False),
            (["payments:read", "reports:read"], ["payments:read", "reports:read"], True),
            (["payments:read"], ("payments:read",), True),
            (["payments:read"], "payments:read", True),
            (["payments:read"], "payments:read reports:read", False),
            (["payments:read"], ["payments"], False),
            (["payments:read"], ["payments:reads"], False),
            (["payments:read"], ["PAYMENTS:READ"], False),
        ],
    )
    def test_a_list_means_all_of_these(self, call, scopes, required, allowed):
        for minted in (mint_pat(scopes=scopes), mint_key(scopes=scopes)):
            response = call(minted.token, required_scopes=required)
            assert outcome(response) == ((200, None) if allowed else (403, "insufficient_scope"))

    @pytest.mark.parametrize("nothing", [[], (), "", None, {}, {"write": READ}, {"read": []}, 7])
    def test_nothing_declared_refuses_every_credential(self, call, nothing):
        for minted in (mint_pat(), mint_key()):
            response = call(minted.token, required_scopes=nothing)
            assert outcome(response) == (403, "scope_not_declared")

    def test_people_are_not_bound_by_scopes(self, call):
        assert call(user=UserFactory(), required_scopes=READ).status_code == 200
        assert call(user=UserFactory()).status_code == 200

    def test_nobody_is_nobody(self, call):
        assert outcome(call(required_scopes=READ)) == (401, "not_authenticated")

    def test_scopes_may_be_computed(self, call):
        class Computed(HasScope):
            def get_required_scopes(self, request, view):
                return ("reports:read",) if request.method == "GET" else ()

        reads = mint_pat(scopes=["reports:read"]).token
        permission_classes = [Computed]
        assert call(reads, permission_classes=permission_classes).status_code == 200
        response = call(mint_pat().token, permission_classes=permission_classes)
        assert outcome(response) == (403, "insufficient_scope")
        response = call(reads, method="POST", permission_classes=permission_classes)
        assert outcome(response) == (403, "scope_not_declared")

    def test_the_scopes_must_hold_in_the_objects_project(self, call):
        membership = MembershipFactory(role="viewer")
        own, strange = membership.project, ProjectFactory()

        class Detail(View):
            def post(self, request):
                self.check_object_permissions(request, self.found)
                return Response({})

        def ask(minted, found, scopes):
            return outcome(
                call(minted.token, method="POST", view=Detail, found=found, required_scopes=scopes)
            )

        def thing(project):
            return type("Thing", (), {"project": project})()

        writer = mint_pat(membership.user, scopes=["payments:write"])
        refused = (403, "insufficient_scope")
        for wrap in (thing, lambda project: project):
            assert ask(writer, wrap(own), READ) == (200, None)
            assert ask(writer, wrap(strange), READ) == refused
            # The scope is there, but a viewer's role has no write.
            assert ask(writer, wrap(own), ["payments:write"]) == refused
            key = mint_key(own, scopes=["payments:write"])
            assert ask(key, wrap(own), ["payments:write"]) == (200, None)
            assert ask(key, wrap(strange), ["payments:write"]) == refused
        assert ask(writer, object(), READ) == (200, None)  # of no project


class TestAnyScope:
    def test_any_credential_will_do_and_none_will_not(self, call):
        permission_classes = [AnyScope]
        assert call(mint_pat().token, permission_classes=permission_classes).status_code == 200
        assert call(mint_key().token, permission_classes=permission_classes).status_code == 200
        response = call(permission_classes=permission_classes)
        assert outcome(response) == (401, "not_authenticated")


class TestCompositions:
    """A refusal within one does not end it, and is told exactly when all of it refuses."""

    INSUFFICIENT = (403, "insufficient_scope")
    UNDECLARED = (403, "scope_not_declared")
    OK = (200, None)

    @pytest.mark.parametrize(
        ("permission", "good", "poor"),
        [
            (HasScope & IsAuthenticated, OK, INSUFFICIENT),
            (IsAuthenticated & HasScope, OK, INSUFFICIENT),
            (HasScope & AnyScope, OK, INSUFFICIENT),
            (AnyScope & HasScope, OK, INSUFFICIENT),
            (HasScope | HasScope, OK, INSUFFICIENT),
            ((IsAuthenticated & AllowAny) & HasScope, OK, INSUFFICIENT),
            (HasScope & (IsAdminUser | IsAuthenticated), OK, INSUFFICIENT),
            ((HasScope | HasScope) & IsAuthenticated, OK, INSUFFICIENT),
            (HasScope & Never, (403, None), INSUFFICIENT),
            # Each of these lets some credential past without a scope.
            (HasScope | IsAuthenticated, UNDECLARED, UNDECLARED),
            (IsAuthenticated | HasScope, UNDECLARED, UNDECLARED),
            (IsAdminUser | HasScope, UNDECLARED, UNDECLARED),
            (~HasScope, UNDECLARED, UNDECLARED),
            (~~HasScope, UNDECLARED, UNDECLARED),
            (HasScope | ~HasScope, UNDECLARED, UNDECLARED),
            (~HasScope & IsAuthenticated, UNDECLARED, UNDECLARED),
            ((IsAuthenticated & AllowAny) | HasScope, UNDECLARED, UNDECLARED),
        ],
    )
    def test_credentials(self, call, permission, good, poor):
        ask = {"permission_classes": [permission], "required_scopes": READ}
        assert outcome(call(mint_pat().token, **ask)) == good
        assert outcome(call(mint_pat(scopes=["reports:read"]).token, **ask)) == poor
        assert outcome(call(mint_key(scopes=["reports:read"]).token, **ask)) == poor

    def test_the_challenge_names_the_scope(self, call):
        ask = {"permission_classes": [HasScope & IsAuthenticated], "required_scopes": READ}
        response = call(mint_pat(scopes=["reports:read"]).token, **ask)
        assert 'scope="payments:read"' in response.headers["WWW-Authenticate"]

    @pytest.mark.parametrize(
        ("permission", "allowed"),
        [
            (HasScope | AllowAny, True),
            (AllowAny | HasScope, True),
            (HasScope | Never | AllowAny, True),
            ((HasScope & Never) | AllowAny, True),
            ((Never & Never) | (HasScope | AllowAny), True),
            (~HasScope, True),
            (~(HasScope & AllowAny), True),
            (HasScope | Never, False),
            (Never | HasScope, False),
            (HasScope & AllowAny, False),
            ((Never & Never) | HasScope, False),
        ],
    )
    def test_nobody(self, call, permission, allowed):
        response = call(permission_classes=[permission], required_scopes=READ)
        assert outcome(response) == ((200, None) if allowed else (401, "not_authenticated"))

    @pytest.mark.parametrize("permission", [HasScope & IsAuthenticated, HasScope | Never])
    def test_people(self, call, permission):
        ask = {"permission_classes": [permission], "required_scopes": READ}
        assert outcome(call(user=UserFactory(), **ask)) == self.OK

    def test_objects(self, call):
        """Of the alternatives that let the request in, one has to let it at the object."""

        class Detail(View):
            def get(self, request):
                self.check_object_permissions(request, self.found)
                return Response({})

        class Owns(BasePermission):
            def has_object_permission(self, request, view, obj):
                return True

        class Disowns(BasePermission):
            def has_object_permission(self, request, view, obj):
                return False

        class Other(HasScope):
            def has_object_permission(self, request, view, obj):
                return True

        minted = mint_key()

        def ask(permission, found):
            return outcome(
                call(
                    minted.token,
                    view=Detail,
                    found=found,
                    required_scopes=READ,
                    permission_classes=[permission],
                )
            )

        own, strange = minted.key.project, ProjectFactory()
        assert ask(HasScope & Owns, own) == self.OK
        assert ask(HasScope & Owns, strange) == self.INSUFFICIENT
        assert ask(HasScope & Disowns, own) == (403, None)
        assert ask(HasScope | Other, strange) == self.OK
        assert ask(Other | HasScope, strange) == self.OK
        assert ask(Other & HasScope, strange) == self.INSUFFICIENT

    def test_they_are_equal_if_they_say_the_same(self):
        """DRF removes doubles by this."""
        assert (HasScope & IsAuthenticated) == (HasScope & IsAuthenticated)
        assert hash(HasScope | Never) == hash(HasScope | Never)
        assert (HasScope | Never) != (Never | HasScope)


class TestOverrides:
    """A subclass counts only if the ``has_permission`` of a registered class decides."""

    UNDECLARED = (403, "scope_not_declared")

    @staticmethod
    def answers(call, permission, **attributes):
        """What a key with the scope gets, and one without it."""
        ask = {"permission_classes": [permission], "required_scopes": READ, **attributes}
        return [
            outcome(call(mint_pat(scopes=[scope]).token, method="POST", **ask))
            for scope in ("payments:read", "reports:read")
        ]

    def refuses(self, call, permission, **attributes):
        return self.answers(call, permission, **attributes) == [self.UNDECLARED] * 2

    def decides(self, call, permission, **attributes):
        good, poor = self.answers(call, permission, **attributes)
        return good == (200, None) and poor[0] == 403 and poor != self.UNDECLARED

    @pytest.mark.parametrize("base", [HasScope, AnyScope, TokenHasScope, HasBinding])
    def test_an_override_is_refused(self, call, base):
        class OnlyOwnTokens(base):
            def has_permission(self, request, view):
                if isinstance(request.auth, AccessToken):
                    return super().has_permission(request, view)
                return True

        assert self.refuses(call, OnlyOwnTokens)
        assert self.refuses(call, OnlyOwnTokens & IsAuthenticated)
        assert self.refuses(call, IsAuthenticated | OnlyOwnTokens)
        assert self.refuses(call, HasScope | OnlyOwnTokens)
        assert self.decides(call, HasScope & OnlyOwnTokens)

    def test_an_override_that_adds_to_its_parent_is_refused_until_it_is_registered(
        self, call, monkeypatch
    ):
        class Narrower(HasScope):
            def has_permission(self, request, view):
                return super().has_permission(request, view) and request.user.is_active

        assert self.refuses(call, Narrower)
        monkeypatch.setattr(scoping, "_scope_permissions", scoping._scope_permissions.copy())
        scoping.register(Narrower)
        assert self.decides(call, Narrower)
        assert self.decides(call, type("Inherits", (Narrower,), {}))
        overrides = {"has_permission": lambda self, request, view: True}
        assert self.refuses(call, type("Overrides", (Narrower,), overrides))

    def test_a_class_without_a_registered_base_says_what_it_declares(self):
        with pytest.raises(TypeError, match="needs `declares`"):
            scoping.register(Never)

    @pytest.mark.parametrize("base", [HasScope, TokenHasScope])
    def test_what_inherits_it_unchanged_decides(self, call, base):
        class Message(base):
            message = "Ask your admin."

        class Objects(base):
            def has_object_permission(self, request, view, obj):
                return False

        class Mixed(type("Mixin", (BasePermission,), {}), base):
            pass

        for permission in (Message, Objects, Mixed, type("Twice", (Message,), {})):
            assert self.decides(call, permission)

    @pytest.mark.parametrize("base", [HasScope, TokenHasScope])
    def test_a_mixin_before_it_is_refused(self, call, base):
        class Mixin:
            def has_permission(self, request, view):
                return True

        assert self.refuses(call, type("Mixed", (Mixin, base), {}))
        assert self.decides(call, type("After", (base, Mixin), {}))

    def test_a_mixin_between_a_class_and_its_base_is_refused(self, call, monkeypatch):
        class Plain(TokenHasScope):
            pass

        class Mixin(TokenHasScope):
            def has_permission(self, request, view):
                return True

        monkeypatch.setattr(scoping, "_scope_permissions", scoping._scope_permissions.copy())
        scoping.register(Plain)
        assert self.decides(call, Plain)
        assert self.refuses(call, type("Mixed", (Plain, Mixin), {}))

    def test_a_class_that_takes_the_place_of_a_parents_check_is_refused(self, call, monkeypatch):
        class Lets(HasScope):
            def has_permission(self, request, view):
                return True

        class Calls(HasScope):
            """As HasBinding does: what it calls is up to the class that is made of it."""

            def has_permission(self, request, view):
                return super().has_permission(request, view)

        class Diamond(Calls, Lets):
            pass

        class Below(Diamond):
            pass

        class Harmless(HasScope, IsAdminUser):
            pass

        monkeypatch.setattr(scoping, "_scope_permissions", scoping._scope_permissions.copy())
        scoping.register(Calls)
        assert self.decides(call, Calls)
        assert self.refuses(call, Diamond)
        assert self.refuses(call, Below)
        assert self.decides(call, Harmless)

    @pytest.mark.parametrize("empty", [iter(()), map(str, []), (name for name in ())])
    def test_scopes_that_come_as_an_empty_iterator_are_none(self, call, empty):
        class Ours(HasScope):
            def get_required_scopes(self, request, view):
                return empty

        class DOTs(TokenHasScope):
            def get_scopes(self, request, view):
                return empty

        for permission in (Ours, DOTs):
            assert self.refuses(call, permission)

    def test_scopes_that_come_as_an_iterator_are_required(self, call):
        class Ours(HasScope):
            def get_required_scopes(self, request, view):
                return (name for name in READ)

        assert self.decides(call, Ours)

    def test_a_permission_that_is_changed_as_it_is_made_is_refused(self, call):
        class OnInstance(HasScope):
            def __init__(self):
                self.has_permission = lambda request, view: True

        class ByAttribute(HasScope):
            def __getattribute__(self, name):
                if name == "has_permission":
                    return lambda request, view: True
                return super().__getattribute__(name)

        class Slot(HasScope):
            __slots__ = ("has_permission",)

            def __init__(self):
                self.has_permission = lambda request, view: True

        class Property(HasScope):
            @property
            def has_permission(self):
                return lambda request, view: True

        for permission in (OnInstance, ByAttribute, Slot, Property):
            assert self.refuses(call, permission)

    def test_an_operator_of_the_sites_own_is_refused(self, call):
        class Lenient(AND):
            def has_permission(self, request, view):
                return True

        class Maybe(OR):
            pass

        for operator in (Lenient, Maybe):
            assert self.refuses(call, OperandHolder(operator, HasScope, HasScope))

        changed = AND(HasScope(), HasScope())
        changed.has_permission = lambda request, view: True
        assert self.refuses(call, None, get_permissions=lambda self: [changed])

    def test_instances_that_a_view_returns_are_looked_at_like_classes(self, call):
        class Lets(HasScope):
            def has_permission(self, request, view):
                return True

        assert self.decides(call, None, get_permissions=lambda self: [HasScope()])
        assert self.refuses(call, None, get_permissions=lambda self: [Lets()])
        assert self.refuses(call, None, get_permissions=lambda self: [HasScope])

    def test_permissions_chosen_by_authentication_class(self, call):
        def get_permissions(self):
            ours = isinstance(self.request.successful_authenticator, BearerAuthentication)
            return [AllowAny()] if ours else [HasScope()]

        assert self.refuses(call, None, get_permissions=get_permissions)

    def test_an_authentication_that_drops_the_access_is_refused(self, call):
        class Subclass(BearerAuthentication):
            def authenticate(self, request):
                found = super().authenticate(request)
                return found and (found[0], None)

        class Wrapper(BaseAuthentication):
            def authenticate(self, request):
                found = BearerAuthentication().authenticate(request)
                return found and (found[0], None)

        for each in (Subclass, Wrapper):
            assert self.refuses(call, HasScope, authentication_classes=[each])

    @pytest.mark.parametrize("permission", [HasScope, TokenHasScope, IsAuthenticated & HasScope])
    @pytest.mark.parametrize(
        "attributes",
        [
            {"check_permissions": lambda self, request: None},
            {"permission_denied": lambda self, request, **kwargs: None},
            {"check_permissions": lambda self, request: APIView.check_permissions(self, request)},
            {"initial": lambda self, request, **kwargs: APIView.initial(self, request)},
            {"dispatch": lambda self, request: APIView.dispatch(self, request)},
        ],
    )
    def test_a_view_that_runs_its_permissions_otherwise_is_held_to_them(
        self, call, permission, attributes
    ):
        assert self.decides(call, permission, **attributes)

    def test_a_view_that_authenticates_without_its_permissions_is_held_to_them(self, call):
        def initial(self, request):
            self.format_kwarg = None
            neg = self.perform_content_negotiation(request)
            request.accepted_renderer, request.accepted_media_type = neg

        for permission in (HasScope, TokenHasScope):
            assert self.decides(call, permission, initial=initial)


# django-oauth-toolkit's classes

SCOPES = {
    "read": "", "write": "", "payments:read": "", "payments:write": "", "reports:read": "",
}  # fmt: skip

GRANTS = [
    ["read"], ["write"], ["payments:read"], ["payments:write"], ["reports:read"],
    ["payments:read", "read"], ["payments:read", "write"], ["payments:read", "reports:read"],
]  # fmt: skip

OAS = {"GET": [["payments:read", "reports:read"], ["payments:write"]], "POST": [["reports:read"]]}

PERMISSIONS = [
    (TokenHasScope, {"required_scopes": ["payments:read"]}),
    (TokenHasScope, {"required_scopes": ["payments:read", "reports:read"]}),
    (TokenHasReadWriteScope, {}),
    (TokenHasReadWriteScope, {"required_scopes": ["payments:read"]}),
    (TokenHasResourceScope, {"required_scopes": ["payments"]}),
    (TokenMatchesOASRequirements, {"required_alternate_scopes": OAS}),
]


@pytest.fixture
def oauth_token(db):
    """A real row of an access token, without the grant."""

    def make(user, scopes):
        make.count += 1
        text = f"oauth-token-{make.count:020}"
        AccessToken.objects.create(
            user=user,
            token=text,
            scope=" ".join(scopes),
            expires=timezone.now() + timedelta(minutes=5),
        )
        return text

    make.count = 0
    return make


class TestDjangoOAuthToolkit:
    @pytest.fixture(autouse=True)
    def scopes(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"SCOPES": SCOPES}

    @pytest.mark.parametrize("granted", GRANTS, ids=" ".join)
    def test_keys_are_held_to_scopes_as_its_own_tokens_are(self, call, oauth_token, granted):
        user = UserFactory()
        token = oauth_token(user, granted)
        keys = [mint_pat(user, scopes=granted).token, mint_key(scopes=granted).token]
        seen = set()
        for permission, attributes in PERMISSIONS:
            for method in ("GET", "HEAD", "POST", "DELETE"):
                ask = {"method": method, "permission_classes": [permission], **attributes}
                answers = [call(text, **ask).status_code for text in (token, *keys)]
                assert len(set(answers)) == 1, (permission, method, answers)
                seen.add(answers[0])
                if not any(scope.endswith(":write") for scope in granted):
                    # It knows no implication itself; where none is at work it agrees.
                    ask["authentication_classes"] = [OAuth2Authentication]
                    assert call(token, **ask).status_code == answers[0], (permission, method)
        assert seen <= {200, 403}
        assert 403 in seen

    def test_write_implies_read_under_its_classes_too(self, call):
        writer = mint_pat(scopes=["payments:write"]).token
        ask = {"permission_classes": [TokenHasScope], "required_scopes": ["payments:read"]}
        assert call(writer, **ask).status_code == 200

    @pytest.mark.parametrize(
        "permission", [TokenHasScope, TokenMatchesOASRequirements, TokenHasResourceScope]
    )
    def test_nothing_declared_refuses_instead_of_failing(self, call, oauth_token, permission):
        user = UserFactory()
        tokens = oauth_token(user, ["read"]), mint_pat(user).token, mint_key().token
        for text in tokens:
            response = call(text, permission_classes=[permission])
            assert outcome(response) == (403, "scope_not_declared")

    def test_an_alternative_that_asks_for_nothing_refuses(self, call):
        response = call(
            mint_pat().token,
            permission_classes=[TokenMatchesOASRequirements],
            required_alternate_scopes={"GET": [["payments:read"], []]},
        )
        assert outcome(response) == (403, "scope_not_declared")

    def test_composed_with_ours(self, call):
        ask = {"permission_classes": [TokenHasScope | HasScope], "required_scopes": READ}
        assert call(mint_pat().token, **ask).status_code == 200
        assert outcome(call(mint_pat(scopes=["reports:read"]).token, **ask)) == (
            403,
            "insufficient_scope",
        )

    def test_is_authenticated_or_token_has_scope(self, call, oauth_token):
        """It tells its tokens by DOT's authentication class, and lets everybody else pass."""
        ask = {
            "permission_classes": [IsAuthenticatedOrTokenHasScope],
            "required_scopes": READ,
            "authentication_classes": [SessionAuthentication, BearerAuthentication],
        }
        user = UserFactory()
        for scopes in (["payments:read"], ["reports:read"]):
            texts = oauth_token(user, scopes), mint_pat(user, scopes=scopes).token
            for text in (*texts, mint_key(scopes=scopes).token):
                assert outcome(call(text, **ask)) == (403, "scope_not_declared")
        assert call(user=user, **ask).status_code == 200
