"""Who gets in, and what the others are told: RFC 6750 sections 2.1 and 3."""

import json
import logging
import sys
from collections import Counter
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone, translation
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from apikeys import lifecycle, refusals, token
from apikeys.access import ProjectUser
from apikeys.cache.lookup import Lookup
from apikeys.drf import BearerAuthentication, HasScope, InsufficientScope, refuse
from tests.drf.conftest import View
from tests.factories import (
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)

READ = ["payments:read"]
METADATA = 'resource_metadata="http://testserver/.well-known/oauth-protected-resource"'


def challenge(response):
    return response.headers.get("WWW-Authenticate")


def body(response):
    return json.loads(response.content)


class TestAccepted:
    def test_a_person(self, call):
        pat = mint_pat(UserFactory(username="ada"))
        assert body(call(pat.token, required_scopes=READ)) == {"user": "ada"}

    def test_a_project(self, call):
        project = ProjectFactory(slug="engine")

        class Looks(View):
            def get(self, request):
                assert isinstance(request.user, ProjectUser)
                assert request.user.is_authenticated
                assert request.user.pk is None
                assert request.auth.project == request.user.project == project
                # Middleware and logging see the same user.
                assert request._request.user is request.user
                return Response({})

        response = call(mint_key(project).token, view=Looks, required_scopes=READ)
        assert response.status_code == 200

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
    def test_whatever_the_letter_case_of_the_scheme(self, client, db, scheme):
        headers = {"Authorization": f"{scheme} {mint_pat().token}"}
        assert client.get("/api/token/", headers=headers).status_code == 200

    @pytest.mark.parametrize("form", [" Bearer {}", "Bearer {} ", "Bearer    {}", "\tBearer {}\t"])
    def test_whatever_the_blanks_around_it(self, client, db, form):
        headers = {"Authorization": form.format(mint_pat().token)}
        assert client.get("/api/token/", headers=headers).status_code == 200


class TestRefusals:
    """Status, ``WWW-Authenticate`` and body, to the letter."""

    def assert_refusal(self, response, refusal, **params):
        assert response.status_code == refusal.status
        assert body(response) == {
            "detail": str(refusal.message).format(**params),
            "code": refusal.code,
        }
        return challenge(response)

    def test_no_credential(self, client, db):
        header = self.assert_refusal(client.get("/api/payments/"), refusals.NOT_AUTHENTICATED)
        # RFC 6750 section 3.1: no error code for a request that carries no credential.
        assert header == f'Bearer realm="api", scope="payments:read", {METADATA}'

    def test_the_realm_is_the_sites(self, client, db, settings):
        settings.APIKEYS = settings.APIKEYS | {"REALM": 'Acme "API"\n'}
        header = challenge(client.get("/api/payments/"))
        assert header.startswith("Bearer realm=\"Acme 'API''\", ")

    @pytest.mark.parametrize(
        "value", ["Basic YWRhOmFkYQ==", "Token abc", "Digest x", "garbage", ""]
    )
    def test_another_scheme_is_no_credential(self, client, db, value):
        response = client.get("/api/payments/", headers={"Authorization": value})
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
        assert challenge(response) == f'Bearer realm="api", scope="payments:read", {METADATA}'

    @pytest.mark.parametrize(
        "value",
        ["Bearer", "Bearer ", "Bearer a b", "Bearer a,Bearer b", "Bearer a, Bearer b", "Bearer é"],
    )
    def test_a_header_that_is_not_one_credential(self, client, db, value):
        response = client.get("/api/payments/", headers={"Authorization": value})
        header = self.assert_refusal(response, refusals.INVALID_REQUEST)
        assert header == (
            'Bearer realm="api", error="invalid_request", error_description="The Authorization '
            'header must be `Bearer <credential>` with exactly one credential."'
        )

    def test_a_blank_that_is_a_tab_is_named_for_what_it_is(self, client, db):
        """RFC 9110 section 11.4 separates by spaces; to say "none was sent" would mislead."""
        headers = {"Authorization": f"Bearer\t{mint_pat().token}"}
        self.assert_refusal(client.get("/api/payments/", headers=headers), refusals.INVALID_REQUEST)

    @pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x1c", "\x0b", "\x0c"])
    def test_only_http_blanks_are_trimmed(self, client, db, blank):
        headers = {"Authorization": f"Bearer {blank}{mint_pat().token}"}
        self.assert_refusal(client.get("/api/payments/", headers=headers), refusals.INVALID_REQUEST)

    def test_a_typo(self, client, db, django_assert_num_queries):
        text = mint_pat().token
        typo = text[:-1] + ("a" if text[-1] != "a" else "b")
        with django_assert_num_queries(0):
            response = client.get("/api/payments/", headers=bearer(typo))
        header = self.assert_refusal(response, refusals.MALFORMED_KEY)
        assert header == (
            'Bearer realm="api", error="invalid_token", error_description="This '
            'credential is malformed. Check that you copied all of it.", '
            f'scope="payments:read", {METADATA}'
        )

    def test_an_unknown_id_and_a_wrong_secret_are_told_alike(self, client, db):
        minted = mint_pat()
        answers = []
        for public_id in (minted.key.public_id, token.generate_id()):
            forged = token.compose("acme", "pat", public_id, token.generate_secret())
            response = client.get("/api/payments/", headers=bearer(forged))
            self.assert_refusal(response, refusals.INVALID_KEY)
            answers.append((response.content, response.headers.items()))
        assert [*answers[0][1]] == [*answers[1][1]]
        assert answers[0][0] == answers[1][0]

    def test_a_key_of_the_other_kind(self, client, db):
        """An id is looked up among the keys of its kind only."""
        minted = mint_pat()
        secret = minted.token.rpartition("_")[2][: token.SECRET_LENGTH]
        forged = token.compose("acme", "key", minted.key.public_id, secret)
        response = client.get("/api/payments/", headers=bearer(forged))
        self.assert_refusal(response, refusals.INVALID_KEY)

    def test_expired_and_revoked(self, client, db):
        minted = mint_pat(expires_at=timezone.now() + timedelta(days=1))
        type(minted.key).objects.update(expires_at=timezone.now())
        response = client.get("/api/payments/", headers=bearer(minted.token))
        assert 'error="invalid_token"' in self.assert_refusal(response, refusals.EXPIRED_KEY)

        lifecycle.revoke(minted.key, reason="test")
        response = client.get("/api/payments/", headers=bearer(minted.token))
        assert 'error="invalid_token"' in self.assert_refusal(response, refusals.REVOKED_KEY)

    def test_a_revoked_key_is_refused_at_the_very_next_request(self, client, db):
        minted = mint_key()
        assert client.get("/api/payments/", headers=bearer(minted.token)).status_code == 200
        lifecycle.revoke(minted.key)
        assert client.get("/api/payments/", headers=bearer(minted.token)).status_code == 401

    def test_a_deactivated_owner(self, client, db):
        pat, key = mint_pat(), mint_key()
        type(pat.key.user).objects.update(is_active=False)
        type(key.key.project).objects.update(is_active=False)
        response = client.get("/api/payments/", headers=bearer(pat.token))
        self.assert_refusal(response, refusals.INACTIVE_USER)
        response = client.get("/api/payments/", headers=bearer(key.token))
        self.assert_refusal(response, refusals.INACTIVE_PROJECT)

    def test_an_unknown_oauth_token(self, client, db):
        response = client.get("/api/payments/", headers=bearer("a" * 30))
        assert 'error="invalid_token"' in self.assert_refusal(response, refusals.INVALID_TOKEN)

    def test_too_little_scope(self, client, db):
        pat = mint_pat(scopes=["reports:read"])
        response = client.post("/api/payments/", headers=bearer(pat.token))
        header = self.assert_refusal(response, refusals.INSUFFICIENT_SCOPE, scope="payments:write")
        assert header == (
            'Bearer realm="api", error="insufficient_scope", error_description="This request '
            'needs the scope payments:write, which your credential does not have here.", '
            f'scope="payments:write", {METADATA}'
        )

    def test_several_scopes_are_named_together(self, call):
        needed = ["payments:write", "reports:read"]
        response = call(mint_pat().token, required_scopes=needed)
        assert 'scope="payments:write reports:read"' in challenge(response)

    def test_a_view_that_declares_nothing(self, call):
        response = call(mint_pat().token, method="DELETE")
        header = self.assert_refusal(
            response, refusals.SCOPE_NOT_DECLARED, view=f"{__name__.rpartition('.')[0]}"
            ".conftest.Example", method="DELETE",
        )  # fmt: skip
        assert 'error="insufficient_scope"' in header
        assert "required_scopes" in body(response)["detail"]

    def test_a_database_that_cannot_say_now(self, client, db, settings):
        """Beyond the bound of Argon2id the answer is to come again, not that the key is bad."""
        minted = mint_pat()
        settings.APIKEYS = settings.APIKEYS | {"PEPPERS": [b"n" * 32], "ARGON2_TRIES": 0}
        response = client.get("/api/payments/", headers=bearer(minted.token))
        assert self.assert_refusal(response, refusals.VERIFICATION_BUSY) is None
        assert response.headers["Retry-After"] == "60"

    def test_people_read_their_language_and_programs_ascii(self, client, db, monkeypatch):
        with translation.override("de"):
            exception = refuse(refusals.NOT_AUTHENTICATED)
        assert exception.auth_header == 'Bearer realm="api"'
        monkeypatch.setattr(refusals, "REFUSALS", {})  # this one is nobody's
        strange = refusals.Refusal("strange", "Zu wenig „Recht\\“ für\r\nX: y {scope}")
        header = refuse(strange, scope="a").auth_header
        assert header.isascii()
        assert not set("\r\n\\") & set(header)
        assert header.count('"') == 8


class TestBesideOtherAuthentication:
    both = [SessionAuthentication, BearerAuthentication]

    @pytest.mark.parametrize("classes", [both, both[::-1]])
    def test_people_with_a_session_pass(self, classes, client, db, settings, call):
        from django.urls import path

        view = type("Both", (View,), {"authentication_classes": classes, "required_scopes": READ})
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("x/", view.as_view())]})
        user = UserFactory(username="ada")
        client.force_login(user)
        assert client.get("/x/").json() == {"user": "ada"}
        # And CSRF protection stays on for them.
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(user)
        assert strict.post("/x/").status_code == 403
        # A bad credential beside a good session is a bad credential, not a person.
        stranger = Client()
        response = stranger.get("/x/", headers=bearer(mint_pat(scopes=["reports:read"]).token))
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        response = stranger.get("/x/", headers=bearer("nonsense"))
        assert (response.status_code, response.json()["code"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in challenge(response)
        response = stranger.get("/x/")
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
        assert challenge(response) == 'Bearer realm="api"'

    def test_a_bad_credential_beside_a_good_session_is_refused(self, client, db, settings):
        from django.urls import path

        view = type(
            "Both",
            (View,),
            {"authentication_classes": self.both[::-1], "required_scopes": READ},
        )
        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("x/", view.as_view())]})
        client.force_login(UserFactory())
        response = client.get("/x/", headers=bearer("acme_pat_mistyped"))
        assert (response.status_code, response.json()["code"]) == (401, "malformed_key")

    def test_another_packages_token_without_scopes_is_refused(self, call):
        class Other(BearerAuthentication):
            def authenticate(self, request):
                return UserFactory(), object()

        response = call("x", authentication_classes=[Other], required_scopes=READ)
        assert (response.status_code, body(response)["code"]) == (403, "insufficient_scope")


class TestTheView:
    def test_may_choose_its_permissions_by_the_caller(self, call):
        """``get_permissions`` that looks at ``request.user`` sees the caller."""

        class Choosy(View):
            def get_permissions(self):
                staff = self.request.user.is_staff
                return [IsAuthenticated()] if staff else [HasScope()]

        ada, root = UserFactory(), UserFactory(is_staff=True)
        assert call(mint_pat(ada).token, view=Choosy, required_scopes=READ).status_code == 200
        response = call(mint_pat(root).token, view=Choosy, required_scopes=READ)
        assert body(response)["code"] == "scope_not_declared"

    def test_has_no_user_after_a_refusal(self, call):
        seen = []

        class Watches(View):
            def handle_exception(self, exc):
                seen.append((self.request.user, self.request.auth))
                return super().handle_exception(exc)

        call(mint_pat().token, view=Watches, permission_classes=[IsAuthenticated])
        assert seen == [(AnonymousUser(), None)]

    def test_a_method_that_it_does_not_have_is_405(self, call):
        scopes = {"GET": READ}
        response = call(mint_pat().token, method="TRACE", required_scopes=scopes)
        assert response.status_code == 405
        assert call(mint_pat().token, method="POST", required_scopes=scopes).status_code == 403

    def test_may_find_that_more_is_needed(self, call):
        class Refunds(View):
            def get(self, request):
                raise InsufficientScope("payments:write")

        response = call(mint_pat().token, view=Refunds, required_scopes=READ)
        assert (response.status_code, body(response)["code"]) == (403, "insufficient_scope")
        assert 'scope="payments:write"' in challenge(response)

    def test_no_view_at_all_gets_nothing(self, db):
        from rest_framework.request import Request

        request = APIRequestFactory().get("/", headers=bearer(mint_pat().token))
        with pytest.raises(Exception, match="declares no scope"):
            BearerAuthentication().authenticate(Request(request))


class TestCost:
    """Each request pays for verification, so the number of calls that it takes is bounded."""

    MOST = 70

    def test_a_key_in_memory_takes_few_calls(self, settings, transactional_db):
        settings.APIKEYS = settings.APIKEYS | {"CACHE": {"TIMEOUT": 60}}
        headers = bearer(mint_pat().token)

        def count(**attributes):
            view = type("Example", (View,), attributes).as_view()
            requests = [APIRequestFactory().get("/", headers=headers) for _ in range(3)]
            for request in requests[:2]:  # fills the caches of the process
                assert view(request).status_code == 200
            calls = Counter()
            sys.setprofile(lambda frame, event, arg: calls.update([event]))
            try:
                view(requests[2])
            finally:
                sys.setprofile(None)
            return calls["call"]

        bare = count(authentication_classes=[], permission_classes=[AllowAny])
        assert 0 < count(required_scopes=READ) - bare <= self.MOST


class TestSecrets:
    """Neither logs nor error pages ever hold one."""

    @pytest.fixture
    def minted(self, db):
        return mint_pat()

    @pytest.fixture
    def secret(self, minted):
        return minted.token.rpartition("_")[2][: token.SECRET_LENGTH]

    @pytest.mark.parametrize("debug", [True, False])
    @pytest.mark.parametrize(
        "mangle", [str.lower, str.swapcase, lambda t: t[:-1], lambda t: t + "=x"]
    )
    def test_a_refused_request_logs_none(
        self, client, minted, secret, caplog, settings, debug, mangle
    ):
        settings.DEBUG = debug
        caplog.set_level(logging.DEBUG)
        text = mangle(minted.token)
        response = client.get("/api/payments/", headers=bearer(text))
        assert response.status_code in (400, 401)
        shown = response.content.decode() + str(response.headers) + caplog.text
        shown += "".join(repr(vars(record)) for record in caplog.records)
        assert caplog.records
        assert text[30:60] not in shown

    @pytest.mark.parametrize("debug", [True, False])
    @pytest.mark.parametrize("place", ["database", "handler"])
    def test_an_error_page_shows_none(
        self, minted, secret, caplog, settings, monkeypatch, mailoutbox, debug, place
    ):
        settings.DEBUG = debug
        settings.ADMINS = [("Admin", "admin@example.com")]
        caplog.set_level(logging.DEBUG)
        credential = minted.token
        if place == "database":

            def broken(self, public_id):
                raise DatabaseError("The server is gone.")

            monkeypatch.setattr(Lookup, "find", broken)
        else:  # a site's own exception handler that fails on a refusal
            lifecycle.revoke(minted.key)
            settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
                "EXCEPTION_HANDLER": "tests.drf.test_authentication.no_handler"
            }
        response = Client(raise_request_exception=False).get(
            "/api/payments/", headers=bearer(credential) | {"Accept": "text/html,*/*"}
        )
        assert response.status_code == 500
        shown = response.content.decode(errors="replace") + caplog.text
        shown += "".join(str(m.message()) + str(m.alternatives) for m in mailoutbox)
        assert bool(mailoutbox) is not debug
        assert ("Traceback" in shown) or not debug
        assert secret not in shown
        assert secret[:12] not in shown

    def test_the_traceback_of_a_failure_holds_none(self, minted, secret, monkeypatch):
        """Error trackers send the local variables of every frame, chained exceptions too."""

        def broken(self, public_id):
            raise DatabaseError("The server is gone.")

        monkeypatch.setattr(Lookup, "find", broken)
        with pytest.raises(DatabaseError) as caught:
            Client().get("/api/token/", headers=bearer(minted.token))
        assert secret not in frames(caught.value)


def frames(error):
    """The local variables that error trackers would send, as text."""
    told = []
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            module = frame.f_globals.get("__name__", "")
            if not module.startswith(("tests.", "django.test.")):
                told.append(f"{module} {frame.f_locals!r}")
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__
    assert any(line.startswith("apikeys.verify ") for line in told)
    return "\n".join(told)


def no_handler(exc, context):
    return None
