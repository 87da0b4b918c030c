"""An application gets the scopes and projects that the user consented to, and no more."""

import re
import threading
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.signals import post_save
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, DeviceGrant

from apikeys import verify
from apikeys.oauth import authorizations
from apikeys.oauth.models import Consent
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import MembershipFactory, UserFactory, bearer
from tests.oauth.conftest import REDIRECT, VERIFIER


@pytest.fixture
def allow(client, ada, query):
    """Return a function that submits the consent page as ada and returns the redirect's query."""
    client.force_login(ada)

    def allow(**changes):
        response = client.post("/o/authorize/", query | {"allow": "Authorize"} | changes)
        assert response.status_code == 302, response.content
        assert response["Location"].startswith(REDIRECT + "?")
        return {k: v[0] for k, v in parse_qs(urlsplit(response["Location"]).query).items()}

    return allow


@pytest.fixture
def redeem(client):
    def redeem(code, **changes):
        form = {
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return client.post("/o/token/", form | changes)

    return redeem


def projects(client, token):
    response = client.get("/api/token/", headers=bearer(token))
    assert response.status_code == 200, response.content
    return response.json()["projects"]


def test_the_page_shows_client_scopes_and_projects(client, ada, two, query):
    client.force_login(ada)
    response = client.get("/o/authorize/", query)

    text = " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())
    assert "Authorize Payments app?" in text
    assert "See payments See reports" in text
    assert "All your projects" in text
    assert "Two" in text
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]


def test_all_projects_can_be_selected(client, allow, redeem, two, ada):
    answer = allow()
    assert answer["state"] == "xyz"
    assert answer["iss"] == "http://testserver/o"
    grant = redeem(answer["code"]).json()

    assert projects(client, grant["access_token"]) == ["analytical-engine", "two"]
    MembershipFactory(user=ada, project__slug="three")
    assert "three" in projects(client, grant["access_token"])


@pytest.mark.slow
def test_selected_projects_limit_the_token_and_its_descendants(client, allow, redeem, two):
    grant = redeem(allow(reach="selected", projects=[two.pk])["code"]).json()
    assert projects(client, grant["access_token"]) == ["two"]
    access = verify.verify(grant["access_token"])
    assert not access.allows("payments:read", project=access.user.project_memberships.exclude(
        project=two).get().project)  # fmt: skip

    for _ in range(2):
        form = {"grant_type": "refresh_token", "client_id": "app"}
        form["refresh_token"] = grant["refresh_token"]
        grant = client.post("/o/token/", form).json()
        assert projects(client, grant["access_token"]) == ["two"]

    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": grant["access_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "client_id": "app",
    }
    derived = client.post("/o/token/", form).json()["access_token"]
    assert projects(client, derived) == ["two"]
    again = client.post("/o/token/", form | {"subject_token": derived}).json()["access_token"]
    assert projects(client, again) == ["two"]


def test_a_wider_consent_does_not_widen_earlier_tokens(client, allow, redeem, two):
    narrow = redeem(allow(reach="selected", projects=[two.pk])["code"]).json()
    wide = redeem(allow()["code"]).json()

    assert projects(client, narrow["access_token"]) == ["two"]
    assert len(projects(client, wide["access_token"])) == 2


def test_a_repeated_request_keeps_the_selected_projects(
    client, app, ada, allow, redeem, query, two
):
    """An application with ``approval_prompt=auto`` keeps the user's limit."""
    app.client_type, app.client_secret = Application.CLIENT_CONFIDENTIAL, "s"
    app.save()
    redeem(allow(reach="selected", projects=[two.pk])["code"], client_secret="s")

    response = client.get("/o/authorize/", query | {"approval_prompt": "auto"})

    assert response.status_code == 302
    (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
    token = redeem(code, client_secret="s").json()["access_token"]
    assert projects(client, token) == ["two"]


@pytest.mark.parametrize("where", ["by the client", "by the settings"])
def test_a_public_client_always_needs_the_consent_page(
    client, allow, redeem, query, settings, where
):
    """RFC 8252 section 8.6: another program could use its ID."""
    if where == "by the settings":
        settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"REQUEST_APPROVAL_PROMPT": "auto"}
    else:
        query["approval_prompt"] = "auto"
    assert redeem(allow()["code"]).status_code == 200

    response = client.get("/o/authorize/", query)

    assert response.status_code == 200
    assert "Authorize Payments app?" in response.content.decode()


def test_deleting_a_consent_ends_its_tokens(client, allow, redeem):
    token = redeem(allow()["code"]).json()["access_token"]
    Consent.objects.all().delete()

    assert client.get("/api/token/", headers=bearer(token)).status_code == 401


def test_selecting_no_project_is_refused(client, ada, query):
    client.force_login(ada)
    response = client.post("/o/authorize/", query | {"allow": "Authorize", "reach": "selected"})

    assert response.status_code == 422
    assert "Select at least one project" in response.content.decode()
    assert "Payments app" in response.content.decode()


def test_another_users_project_cannot_be_selected(client, ada, query):
    client.force_login(ada)
    other = MembershipFactory().project
    form = {"allow": "Authorize", "reach": "selected", "projects": [other.pk]}

    assert client.post("/o/authorize/", query | form).status_code == 422


def test_denying_redirects_with_access_denied(allow, query):
    answer = allow(allow="")

    assert answer["error"] == "access_denied"
    assert answer["state"] == "xyz"
    assert answer["iss"] == "http://testserver/o"


def test_users_cannot_grant_scopes_that_they_lack(client, ada, allow, redeem):
    ada.project_memberships.update(role="viewer")
    grant = redeem(allow(scope="payments:write reports:read")["code"]).json()

    assert grant["scope"] == "reports:read"
    assert allow(scope="payments:write")["error"] == "invalid_scope"


def test_a_code_of_a_deactivated_user_is_refused(allow, redeem, ada):
    code = allow()["code"]
    ada.is_active = False
    ada.save()

    assert redeem(code).json()["error"] == "invalid_grant"
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("has_expired", [False, True])
def test_a_refresh_is_refused_once_the_consent_was_withdrawn(client, allow, redeem, has_expired):
    grant = redeem(allow()["code"]).json()
    if has_expired:
        AccessToken.objects.update(expires=timezone.now())
    Consent.objects.all().delete()

    form = {"grant_type": "refresh_token", "client_id": "app"}
    form["refresh_token"] = grant["refresh_token"]
    response = client.post("/o/token/", form)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


@pytest.mark.slow
def test_an_authorization_lists_the_projects_of_all_live_tokens(allow, redeem, ada, two):
    three = MembershipFactory(user=ada).project

    def listed():
        return [each.projects for each in authorizations.live(user=ada)]

    redeem(allow(reach="selected", projects=[three.pk])["code"])
    redeem(allow(reach="selected", projects=[two.pk])["code"])
    assert listed() == [sorted([two, three], key=lambda project: project.pk)]

    token = redeem(allow()["code"]).json()["access_token"]
    redeem(allow(reach="selected", projects=[two.pk])["code"])
    assert listed() == [None]
    Consent.objects.filter(all_projects=True).delete()
    assert listed() == [sorted([two, three], key=lambda project: project.pk)]
    with pytest.raises(Refused):
        verify.verify(token)


@pytest.mark.parametrize("url", ["/o/authorize/", "/o/authorize/?client_id=app", "/o/device/"])
def test_only_get_and_post_are_answered(client, ada, query, url):
    client.force_login(ada)

    assert client.put(url, query).status_code == 405


def test_a_token_with_consent_costs_one_query(allow, redeem, two, django_assert_num_queries):
    token = redeem(allow(reach="selected", projects=[two.pk])["code"]).json()["access_token"]

    with django_assert_num_queries(1):
        verify.verify(token)


class TestCode:
    """RFC 6749 section 4.1, RFC 7636."""

    def test_works_once(self, allow, redeem):
        code = allow()["code"]
        assert redeem(code).status_code == 200
        assert redeem(code).json()["error"] == "invalid_grant"

    def test_needs_the_verifier(self, allow, redeem):
        for verifier in ("", "w" * 64):
            response = redeem(allow()["code"], code_verifier=verifier)
            assert response.status_code == 400
        assert not AccessToken.objects.exists()

    def test_needs_the_same_redirect_uri(self, allow, redeem):
        response = redeem(allow()["code"], redirect_uri="https://evil.example/")
        assert response.status_code in (400, 401)

    def test_is_refused_for_another_client(self, allow, redeem, webapp):
        assert redeem(allow()["code"], client_id="webapp").status_code in (400, 401)
        assert not AccessToken.objects.exists()

    @pytest.mark.parametrize(
        "change",
        [{"code_challenge": ""}, {"code_challenge_method": "plain"}, {"response_type": "token"}],
    )
    def test_is_not_issued_without_pkce_or_in_a_fragment(self, client, ada, query, change):
        client.force_login(ada)
        response = client.get("/o/authorize/", query | change)
        if response.status_code == 200:  # DOT checks the method only after the user's answer
            response = client.post("/o/authorize/", query | change | {"allow": "Authorize"})
        assert "code=" not in response.get("Location", "")
        assert "access_token=" not in response.get("Location", "")
        assert "error=" in response["Location"]

    def test_is_not_sent_to_an_unregistered_redirect_uri(self, client, ada, query):
        client.force_login(ada)
        for uri in ("https://evil.example/", REDIRECT + "/x", REDIRECT + "?a=b"):
            response = client.get("/o/authorize/", query | {"redirect_uri": uri})
            assert response.status_code == 400
            assert "Location" not in response


class TestParametersOfTheClient:
    """Parameters of a token request cannot set the attributes that this app stores on it."""

    NAMES = ("apikeys_projects", "apikeys_is_given", "apikeys_consent_id", "device_grant")

    @pytest.fixture
    def one(self, ada, two):
        return ada.project_memberships.exclude(project=two).get().project

    @pytest.fixture
    def wide(self, ada, app):
        """Create a consent to all projects, given for a device."""
        device = DeviceGrant.objects.create(
            client_id="app",
            user=ada,
            user_code="ABCDEFGH",
            device_code="d" * 40,
            scope="payments:read",
            expires=timezone.now() + timedelta(minutes=5),
        )
        return Consent.objects.create(
            user=ada, application=app, scope="payments:read", device=device, is_given=True
        )

    @pytest.fixture
    def parameters(self, one, wide):
        values = (one.pk, 1, wide.pk, wide.device_id)
        return dict(zip(self.NAMES, map(str, values), strict=True))

    @pytest.mark.parametrize("step", ["redeemed", "refreshed"])
    def test_select_no_other_projects(self, client, allow, redeem, two, parameters, step):
        code, form = allow(reach="selected", projects=[two.pk])["code"], parameters
        if step == "refreshed":
            form = form | {"grant_type": "refresh_token"}
            form["refresh_token"] = redeem(code).json()["refresh_token"]
        consents = set(Consent.objects.values_list("pk", flat=True))

        response = redeem(code, **form)

        assert projects(client, response.json()["access_token"]) == ["two"]
        assert set(Consent.objects.values_list("pk", flat=True)) == consents

    @pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning")
    @pytest.mark.parametrize("name", [*NAMES, "refresh_token_instance", "client", "user"])
    @pytest.mark.parametrize("value", ["", "1", "x"])
    def test_are_ignored(self, client, allow, redeem, log_in, name, value):
        assert redeem(allow()["code"], **{name: value}).status_code == 200
        grant = log_in(**{name: value})
        assert projects(client, grant.json()["access_token"])
        form = {"grant_type": "refresh_token", "client_id": "webapp"}
        form["refresh_token"] = grant.json()["refresh_token"]
        grant = client.post("/o/token/", form | {name: value})
        assert projects(client, grant.json()["access_token"])


class TestLoopback:
    """RFC 8252 sections 7.3 and 8.3."""

    @pytest.fixture(autouse=True)
    def native(self, app):
        app.redirect_uris = "http://127.0.0.1/callback"
        app.save()

    def test_any_port_of_this_machine(self, client, ada, query):
        client.force_login(ada)
        uri = "http://127.0.0.1:49152/callback"
        form = query | {"redirect_uri": uri, "allow": "Authorize"}
        assert client.post("/o/authorize/", form)["Location"].startswith(uri + "?code=")

    @pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1.evil.example", "localhost.evil"])
    def test_no_other_host(self, client, ada, query, host):
        client.force_login(ada)
        form = query | {"redirect_uri": f"http://{host}/callback", "allow": "Authorize"}
        assert client.post("/o/authorize/", form).status_code == 400


class NeedsApproval(Policy):
    def needs_approval(self, owner, scope):
        return scope == "payments:read"


class TestScopeThatNeedsApproval:
    """A key would be pending approval; a client would get the scope at once."""

    @pytest.fixture(autouse=True)
    def policy(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": NeedsApproval}

    def test_the_page_lists_it_separately(self, client, ada, query):
        client.force_login(ada)
        response = client.get("/o/authorize/", query)

        text = " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())
        assert "It will be able to: See reports These permissions need approval" in text
        assert "Create a token for it instead: See payments" in text

    def test_is_not_granted(self, allow, redeem):
        assert redeem(allow()["code"]).json()["scope"] == "reports:read"

    @pytest.mark.parametrize("scope", ["payments:read", "payments:write"])
    def test_is_not_granted_by_a_scope_that_implies_it(self, allow, scope):
        assert allow(scope=scope)["error"] == "invalid_scope"

    def test_is_not_granted_without_the_page(self, client, app, ada, query):
        app.skip_authorization = True
        app.save()
        client.force_login(ada)

        answer = parse_qs(urlsplit(client.get("/o/authorize/", query)["Location"]).query)

        assert "code" in answer
        assert Consent.objects.get().scope == "reports:read"

    def test_is_granted_to_a_first_party_client(self, client, ada, query, allow, redeem, settings):
        settings.APIKEYS = settings.APIKEYS | {"FIRST_PARTY_CLIENTS": ["app"]}

        assert "approved" not in client.get("/o/authorize/", query).content.decode()
        assert redeem(allow()["code"]).json()["scope"] == "payments:read reports:read"


class TestClientOfSomebodyDeactivated:
    """A client of a deactivated user gets no tokens of any user."""

    @pytest.fixture(autouse=True)
    def owner(self, app):
        app.user = UserFactory()
        app.save()
        return app.user

    def leave(self, owner):
        owner.is_active = False
        owner.save()

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_gets_no_code(self, client, ada, query, owner, method):
        self.leave(owner)
        client.force_login(ada)
        response = getattr(client, method)("/o/authorize/", query | {"allow": "Authorize"})
        assert (response.status_code, response.headers.get("Location")) == (400, None)

    def test_redeems_no_code(self, allow, redeem, owner):
        code = allow()["code"]
        self.leave(owner)
        assert redeem(code).json()["error"] == "invalid_client"

    def test_refreshes_no_token(self, client, allow, redeem, owner):
        grant = redeem(allow()["code"]).json()
        form = {"grant_type": "refresh_token", "client_id": "app"}
        form["refresh_token"] = grant["refresh_token"]
        self.leave(owner)
        assert client.post("/o/token/", form).json()["error"] == "invalid_client"


class TestDevice:
    """RFC 8628."""

    @pytest.fixture(autouse=True)
    def device(self, app, settings):
        cache.clear()
        settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"DEVICE_FLOW_INTERVAL": 0}
        app.authorization_grant_type = Application.GRANT_DEVICE_CODE
        app.save()

    @pytest.fixture
    def begun(self, client):
        form = {"client_id": "app", "scope": "payments:read reports:read"}
        response = client.post(
            "/o/device-authorization/",
            "&".join(f"{k}={v.replace(' ', '+')}" for k, v in form.items()),
            content_type="application/x-www-form-urlencoded",
        )
        assert response.status_code == 200, response.content
        assert response["Cache-Control"] == "no-store"
        return response.json()

    def poll(self, client, begun, **changes):
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": begun["device_code"],
            "client_id": "app",
        }
        return client.post("/o/token/", form | changes)

    def test_a_scope_that_needs_approval_is_not_given(self, client, ada, begun, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": NeedsApproval}
        client.force_login(ada)
        page = client.post("/o/device/", {"user_code": begun["user_code"]}, follow=True)
        assert "Create a token for it instead" in page.content.decode()

        self.decide(client, ada, begun, action="accept")

        assert self.poll(client, begun).json()["scope"] == "reports:read"

    def decide(self, client, ada, begun, **form):
        client.force_login(ada)
        response = client.post("/o/device/", {"user_code": begun["user_code"]}, follow=True)
        url = response.redirect_chain[-1][0]
        return client.post(url, form, follow=True)

    def test_the_response_has_the_verification_uri(self, begun):
        assert begun["verification_uri"] == "http://testserver/o/device/"
        assert begun["verification_uri_complete"].endswith(f"?user_code={begun['user_code']}")
        assert begun["expires_in"] > 0

    def test_selected_projects_limit_the_token(self, client, ada, two, begun):
        assert self.poll(client, begun).json()["error"] == "authorization_pending"
        form = {"action": "accept", "reach": "selected", "projects": [two.pk]}
        self.decide(client, ada, begun, **form)
        grant = self.poll(client, begun).json()

        assert projects(client, grant["access_token"]) == ["two"]
        assert grant["refresh_token"]

    def test_a_code_works_once(self, client, ada, begun):
        self.decide(client, ada, begun, action="accept")
        assert self.poll(client, begun).status_code == 200

        again = self.poll(client, begun)
        assert (again.status_code, again.json()["error"]) == (400, "expired_token")

    def test_a_code_is_refused_for_another_client(self, client, ada, begun, app):
        app.pk, app.client_id = None, "other"
        app.save()
        self.decide(client, ada, begun, action="accept")

        response = self.poll(client, begun, client_id="other")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert self.poll(client, begun).status_code == 200

    def test_a_denied_code_is_refused(self, client, ada, begun):
        self.decide(client, ada, begun, action="deny")
        assert self.poll(client, begun).json()["error"] == "access_denied"

    def test_an_expired_code_is_refused(self, client, begun):
        DeviceGrant.objects.update(expires=timezone.now())
        assert self.poll(client, begun).json()["error"] == "expired_token"

    def test_fast_polling_gets_slow_down(self, client, begun):
        DeviceGrant.objects.update(interval=60)
        assert self.poll(client, begun).json()["error"] == "authorization_pending"
        assert self.poll(client, begun).json()["error"] == "slow_down"
        assert DeviceGrant.objects.get().interval == 65

    def test_the_approval_of_one_user_gives_no_token_of_another(self, client, ada, begun):
        """Another user enters the code at the moment when Ada accepts it."""
        other = MembershipFactory().user
        self.decide(client, ada, begun, action="accept")
        DeviceGrant.objects.update(user=other)

        assert self.poll(client, begun).json()["error"] == "invalid_grant"
        assert not AccessToken.objects.exists()

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_a_client_that_was_deleted_meanwhile_is_not_found(
        self, client, ada, begun, app, method
    ):
        client.force_login(ada)
        url = client.post("/o/device/", {"user_code": begun["user_code"]})["Location"]
        app.delete()

        assert getattr(client, method)(url, {"action": "accept"}).status_code == 404

    @pytest.mark.parametrize("change", [{"device_code": "guessed"}, {"device_code": ""}])
    def test_an_unknown_code_is_refused(self, client, begun, change):
        response = self.poll(client, begun, **change)
        assert response.status_code == 400
        assert response.json()["error"] in ("invalid_grant", "invalid_request")

    @pytest.fixture
    def still(self, monkeypatch):
        """Stop the clock of the counters: they begin anew every five minutes."""
        now = time.time()
        monkeypatch.setattr("apikeys.limits.attempts.time.time", lambda: now)

    @pytest.mark.slow
    @pytest.mark.usefixtures("still")
    def test_wrong_user_codes_are_limited(self, client, ada, begun):
        client.force_login(ada)
        for _ in range(20):
            response = client.post("/o/device/", {"user_code": "00000000"})
            assert response.status_code == 200
        response = client.post("/o/device/", {"user_code": begun["user_code"]})
        assert "Too many attempts" in response.content.decode()

    def ask(self, client, address="192.0.2.1"):
        return client.post(
            "/o/device-authorization/",
            "client_id=app",
            content_type="application/x-www-form-urlencoded",
            REMOTE_ADDR=address,
        )

    @pytest.mark.slow
    @pytest.mark.usefixtures("still")
    def test_codes_of_one_address_are_limited(self, client):
        for number in range(50):
            address = f"2001:db8::{number:x}"
            assert self.ask(client, address).status_code == 200
        refused = self.ask(client, "2001:db8::ffff")

        assert (refused.status_code, refused.json()["error"]) == (429, "too_many_requests")
        assert 0 < int(refused["Retry-After"]) <= 300
        assert self.ask(client).status_code == 200

    def test_pending_codes_of_one_client_are_limited(self, client, monkeypatch):
        monkeypatch.setattr("apikeys.oauth.device.MOST_PENDING", 2)
        for _ in range(2):
            assert self.ask(client).status_code == 200
        refused = self.ask(client)
        assert (refused.status_code, refused.json()["error"]) == (429, "too_many_requests")
        assert DeviceGrant.objects.count() == 2

        DeviceGrant.objects.update(expires=timezone.now())
        assert self.ask(client).status_code == 200

    def test_a_scope_that_is_repeated_is_stored_once(self, client):
        response = client.post(
            "/o/device-authorization/",
            f"client_id=app&scope={'payments:read+' * 10_000}",
            content_type="application/x-www-form-urlencoded",
        )
        assert response.status_code == 200
        assert DeviceGrant.objects.get().scope == "payments:read"

    def test_codes_that_expired_long_ago_are_deleted(self, client):
        self.ask(client)
        DeviceGrant.objects.update(expires=timezone.now() - timedelta(hours=2))
        self.ask(client)
        assert DeviceGrant.objects.count() == 1


class TestContradiction:
    """A form that selects both all projects and some projects is refused."""

    @pytest.mark.parametrize("reach", ["all", ["selected", "all"], ["all", "selected"]])
    def test_projects_beside_all_projects_are_refused(self, client, ada, two, query, reach):
        client.force_login(ada)
        form = {"allow": "Authorize", "reach": reach, "projects": [two.pk]}
        response = client.post("/o/authorize/", query | form)

        assert response.status_code == 422
        assert not Consent.objects.exists()
        html = response.content.decode()
        assert "You selected projects" in html
        assert re.search(r'<input type="radio" name="reach" value="selected"[^>]*checked', html)
        assert re.search(rf'name="projects" value="{two.pk}"[^>]*checked', html)
        assert 'value="xyz"' in html

    def test_cancelling_ignores_the_contradiction(self, client, ada, two, query):
        client.force_login(ada)
        form = query | {"reach": "all", "projects": [two.pk]}

        assert "error=access_denied" in client.post("/o/authorize/", form)["Location"]

    @pytest.mark.parametrize("answers", [["false", "Authorize"], ["Authorize", "false"]])
    def test_two_answers_are_refused(self, client, ada, query, answers):
        client.force_login(ada)
        response = client.post("/o/authorize/", query | {"allow": answers, "reach": "all"})

        assert response.status_code == 422
        assert not Consent.objects.exists()

    def test_ticked_projects_alone_count_as_selected(self, client, allow, redeem, two):
        grant = redeem(allow(projects=[two.pk])["code"]).json()

        assert projects(client, grant["access_token"]) == ["two"]

    @pytest.mark.parametrize(
        "form",
        [
            {"action": "accept", "reach": "all", "projects": True},
            {"action": ["deny", "accept"], "reach": "all"},
            {"action": ["accept", "deny"], "reach": "all"},
        ],
    )
    def test_on_the_device_page(self, client, ada, app, two, form):
        app.authorization_grant_type = Application.GRANT_DEVICE_CODE
        app.save()
        client.force_login(ada)
        cache.clear()
        form = form | ({"projects": [two.pk]} if "projects" in form else {})
        DeviceGrant.objects.create(
            client_id="app",
            user_code="ABCDEFGH",
            device_code="d" * 40,
            scope="payments:read",
            expires=timezone.now() + timedelta(minutes=5),
        )
        url = client.post("/o/device/", {"user_code": "ABCDEFGH"})["Location"]

        response = client.post(url, form)

        assert response.status_code in (200, 422)
        assert not Consent.objects.exists()
        assert DeviceGrant.objects.get().status == DeviceGrant.AUTHORIZATION_PENDING
        if "projects" in form:
            assert "You selected projects" in response.content.decode()


class TestNotAsking:
    """The page is skipped only if one consent covers the whole request."""

    @pytest.fixture(autouse=True)
    def confidential(self, app, ada, client):
        app.client_type, app.client_secret = Application.CLIENT_CONFIDENTIAL, "s"
        app.save()
        client.force_login(ada)

    @pytest.fixture
    def silently(self, client, query, redeem):
        """Return what the application gets without the page: a token, an error, or ``None``."""

        def silently(scope="payments:read", **changes):
            asked = query | {"scope": scope, "approval_prompt": "auto"} | changes
            response = client.get("/o/authorize/", asked)
            if response.status_code == 200:
                assert "Authorize Payments app?" in response.content.decode()
                return None
            answer = parse_qs(urlsplit(response["Location"]).query)
            if "error" in answer:
                return answer["error"][0]
            response = redeem(answer["code"][0], client_secret="s")
            assert response.status_code == 200, response.content
            return response.json()

        return silently

    def consent(self, ada, app, scope="payments:read", projects=None, is_given=True):
        consent = Consent.objects.create(
            user=ada,
            application=app,
            scope=scope,
            all_projects=projects is None,
            is_given=is_given,
        )
        consent.projects.set(projects or ())
        return consent

    @pytest.mark.slow
    def test_each_request_needs_one_consent_that_covers_it(self, client, ada, app, two, silently):
        self.consent(ada, app, "payments:read", [two])
        self.consent(ada, app, "reports:read")

        assert projects(client, silently("payments:read")["access_token"]) == ["two"]
        assert len(projects(client, silently("reports:read")["access_token"])) == 2
        assert silently("payments:read reports:read") is None

    def test_the_latest_consent_that_covers_it_counts(self, client, ada, app, two, silently):
        self.consent(ada, app, "payments:read")
        self.consent(ada, app, "payments:read", [two])

        assert projects(client, silently()["access_token"]) == ["two"]

    def test_a_wider_consent_covers_what_it_implies(self, ada, app, silently):
        self.consent(ada, app, "payments:write")

        assert silently("payments:read")["scope"] == "payments:read"

    def test_a_token_is_no_consent(self, ada, app, silently):
        AccessToken.objects.create(
            user=ada,
            application=app,
            scope="payments:read",
            token="t",
            expires=timezone.now() + timedelta(hours=1),
        )

        assert silently() is None

    @pytest.mark.parametrize("whose", ["another user's", "another client's", "nobody's"])
    def test_only_the_users_own_consent_to_this_client_counts(self, ada, app, silently, whose):
        other = Application.objects.create(client_id="other", redirect_uris=REDIRECT)
        self.consent(
            UserFactory() if whose == "another user's" else ada,
            other if whose == "another client's" else app,
            is_given=whose != "nobody's",
        )

        assert silently() is None

    @pytest.mark.slow
    def test_a_code_without_asking_is_no_consent(self, ada, app, silently):
        given = self.consent(ada, app)
        assert silently()
        given.delete()

        assert silently() is None

    @pytest.mark.slow
    def test_a_consent_that_was_withdrawn_does_not_count(self, client, ada, app, silently):
        self.consent(ada, app)
        grant = silently()

        authorizations.end(app, ada)

        assert silently() is None
        form = {"grant_type": "refresh_token", "client_id": "app", "client_secret": "s"}
        form["refresh_token"] = grant["refresh_token"]
        assert client.post("/o/token/", form).json()["error"] == "invalid_grant"

    def test_a_code_is_refused_once_its_consent_was_withdrawn(self, client, ada, allow, redeem):
        code = allow()["code"]
        Consent.objects.all().delete()

        response = redeem(code, client_secret="s")

        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert not AccessToken.objects.exists()

    @pytest.mark.parametrize("prompt", ["consent", "select_account"])
    def test_a_client_may_insist_on_the_page(self, ada, app, silently, prompt):
        self.consent(ada, app)

        assert silently(prompt=prompt) is None

    @pytest.mark.slow
    def test_prompt_none(self, ada, app, silently):
        """OpenID Connect Core section 3.1.2.6: answer with an error, never with a page."""
        assert silently(prompt="none") == "consent_required"
        self.consent(ada, app, "reports:read")
        assert silently(prompt="none") == "consent_required"
        self.consent(ada, app)
        assert silently(prompt="none", approval_prompt="force")["scope"] == "payments:read"

    def test_a_public_client_gets_no_code_by_prompt_none(self, ada, app, silently):
        app.client_type = Application.CLIENT_PUBLIC
        app.save()
        self.consent(ada, app)

        assert silently(prompt="none") == "consent_required"

    @pytest.mark.slow
    def test_a_client_that_the_site_vouches_for_keeps_the_users_limit(
        self, client, ada, app, two, silently
    ):
        app.skip_authorization = True
        app.save()
        assert len(projects(client, silently()["access_token"])) == 2

        self.consent(ada, app, "payments:read", [two])
        assert projects(client, silently()["access_token"]) == ["two"]
        assert silently("reports:read") is None
        assert silently("reports:read", prompt="none") == "consent_required"

    def test_what_a_site_vouched_for_is_no_consent_of_the_user(self, ada, app, silently):
        app.skip_authorization = True
        app.save()
        assert silently()
        app.skip_authorization = False
        app.save()

        assert silently() is None


@pytest.mark.django_db(transaction=True)
def test_a_code_that_is_issued_while_the_user_withdraws_is_refused(client, ada, app, query, redeem):
    """The user revokes the authorization while a request without the page issues a code."""
    if not connection.features.has_select_for_update:
        pytest.skip("One transaction at a time.")
    app.client_type, app.client_secret = Application.CLIENT_CONFIDENTIAL, "s"
    app.save()
    Consent.objects.create(user=ada, application=app, scope="payments:read", is_given=True)
    client.force_login(ada)
    ended = threading.Event()

    def withdraw():
        def note(execute, sql, params, many, context):
            # The query locks the consents: from here on it waits for the other transaction.
            if "apikeys_oauth_consent" in sql:
                ended.set()
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            authorizations.end(app, ada)
        connection.close()

    thread = threading.Thread(target=withdraw)

    def wait(instance, **kwargs):
        if not thread.ident:
            thread.start()
            assert ended.wait(30)

    post_save.connect(wait, sender=Consent)
    try:
        asked = query | {"scope": "payments:read", "approval_prompt": "auto"}
        location = client.get("/o/authorize/", asked)["Location"]
    finally:
        post_save.disconnect(wait, sender=Consent)
        thread.join()

    code = parse_qs(urlsplit(location).query)["code"][0]
    assert redeem(code, client_secret="s").json()["error"] == "invalid_grant"
    assert not Consent.objects.exists()
