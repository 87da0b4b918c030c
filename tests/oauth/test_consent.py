"""What a user allows an application, and that it gets no more."""

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from oauth2_provider.models import AccessToken, Application, DeviceGrant

from apikeys import verify
from apikeys.oauth.models import Consent
from tests.factories import MembershipFactory, UserFactory, bearer

VERIFIER = "v" * 64
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "https://app.example/callback"


@pytest.fixture
def app(db):
    return Application.objects.create(
        client_id="app",
        name="Payments app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECT,
        client_secret="",
    )


@pytest.fixture
def query(app):
    return {
        "client_id": "app",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "payments:read reports:read",
        "state": "xyz",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


@pytest.fixture
def two(ada):
    return MembershipFactory(user=ada, project__slug="two", project__name="Two").project


@pytest.fixture
def allow(client, ada, query):
    """Posts the consent page as ada; returns what comes back to the application."""
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


def test_the_page_says_who_what_and_where(client, ada, two, query):
    client.force_login(ada)
    response = client.get("/o/authorize/", query)

    text = " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())
    assert "Authorize Payments app?" in text
    assert "See payments See reports" in text
    assert "All projects that you are in" in text
    assert "Two" in text
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]


def test_all_projects(client, allow, redeem, two, ada):
    answer = allow()
    assert answer["state"] == "xyz"
    assert answer["iss"] == "http://testserver/o"
    grant = redeem(answer["code"]).json()

    assert projects(client, grant["access_token"]) == ["analytical-engine", "two"]
    MembershipFactory(user=ada, project__slug="three")
    assert "three" in projects(client, grant["access_token"])


def test_selected_projects_bind_the_token_and_all_that_come_of_it(client, allow, redeem, two):
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


def test_a_wider_consent_widens_no_earlier_token(client, allow, redeem, two):
    narrow = redeem(allow(reach="selected", projects=[two.pk])["code"]).json()
    wide = redeem(allow()["code"]).json()

    assert projects(client, narrow["access_token"]) == ["two"]
    assert len(projects(client, wide["access_token"])) == 2


def test_not_asking_again_keeps_what_was_chosen(client, ada, allow, redeem, query, two):
    """An application that asks for ``approval_prompt=auto`` does not get rid of the limit."""
    redeem(allow(reach="selected", projects=[two.pk])["code"])

    response = client.get("/o/authorize/", query | {"approval_prompt": "auto"})

    assert response.status_code == 302
    (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
    assert projects(client, redeem(code).json()["access_token"]) == ["two"]


def test_a_consent_that_is_gone_ends_its_tokens(client, allow, redeem):
    token = redeem(allow()["code"]).json()["access_token"]
    Consent.objects.all().delete()

    assert client.get("/api/token/", headers=bearer(token)).status_code == 401


def test_selecting_no_project_is_said_on_the_page(client, ada, query):
    client.force_login(ada)
    response = client.post("/o/authorize/", query | {"allow": "Authorize", "reach": "selected"})

    assert response.status_code == 422
    assert "Select at least one project" in response.content.decode()
    assert "Payments app" in response.content.decode()


def test_a_project_that_is_not_theirs_cannot_be_selected(client, ada, query):
    client.force_login(ada)
    other = MembershipFactory().project
    form = {"allow": "Authorize", "reach": "selected", "projects": [other.pk]}

    assert client.post("/o/authorize/", query | form).status_code == 422


def test_refusing(allow, query):
    answer = allow(allow="")

    assert answer["error"] == "access_denied"
    assert answer["state"] == "xyz"
    assert answer["iss"] == "http://testserver/o"


def test_nobody_gives_more_than_is_theirs(client, ada, allow, redeem):
    ada.project_memberships.update(role="viewer")
    grant = redeem(allow(scope="payments:write reports:read")["code"]).json()

    assert grant["scope"] == "reports:read"
    assert allow(scope="payments:write")["error"] == "invalid_scope"


def test_costs_one_query(allow, redeem, two, django_assert_num_queries):
    token = redeem(allow(reach="selected", projects=[two.pk])["code"]).json()["access_token"]

    with django_assert_num_queries(1):
        verify.verify(token)


class TestCode:
    """RFC 6749 section 4.1, RFC 7636."""

    def test_is_good_for_once(self, allow, redeem):
        code = allow()["code"]
        assert redeem(code).status_code == 200
        assert redeem(code).json()["error"] == "invalid_grant"

    def test_needs_the_verifier(self, allow, redeem):
        for verifier in ("", "w" * 64):
            response = redeem(allow()["code"], code_verifier=verifier)
            assert response.status_code == 400
        assert not AccessToken.objects.exists()

    def test_needs_the_same_address(self, allow, redeem):
        response = redeem(allow()["code"], redirect_uri="https://evil.example/")
        assert response.status_code in (400, 401)

    def test_is_its_clients(self, allow, redeem, webapp):
        assert redeem(allow()["code"], client_id="webapp").status_code in (400, 401)
        assert not AccessToken.objects.exists()

    @pytest.mark.parametrize(
        "change",
        [{"code_challenge": ""}, {"code_challenge_method": "plain"}, {"response_type": "token"}],
    )
    def test_is_not_given_without_pkce_or_in_a_fragment(self, client, ada, query, change):
        client.force_login(ada)
        response = client.get("/o/authorize/", query | change)
        if response.status_code == 200:  # DOT refuses the method when it is allowed
            response = client.post("/o/authorize/", query | change | {"allow": "Authorize"})
        assert "code=" not in response.get("Location", "")
        assert "access_token=" not in response.get("Location", "")
        assert "error=" in response["Location"]

    def test_goes_to_no_other_address(self, client, ada, query):
        client.force_login(ada)
        for uri in ("https://evil.example/", REDIRECT + "/x", REDIRECT + "?a=b"):
            response = client.get("/o/authorize/", query | {"redirect_uri": uri})
            assert response.status_code == 400
            assert "Location" not in response


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

    @pytest.mark.parametrize("host", ["localhost", "192.0.2.1", "127.0.0.1.evil.example"])
    def test_no_other_host(self, client, ada, query, host):
        client.force_login(ada)
        form = query | {"redirect_uri": f"http://{host}/callback", "allow": "Authorize"}
        assert client.post("/o/authorize/", form).status_code == 400


class TestClientOfSomebodyDeactivated:
    """Whom others let act for them: it gets no tokens any more, of nobody."""

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

    def test_redeems_none(self, allow, redeem, owner):
        code = allow()["code"]
        self.leave(owner)
        assert redeem(code).json()["error"] == "invalid_client"

    def test_refreshes_none(self, client, allow, redeem, owner):
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

    def decide(self, client, ada, begun, **form):
        client.force_login(ada)
        response = client.post("/o/device/", {"user_code": begun["user_code"]}, follow=True)
        url = response.redirect_chain[-1][0]
        return client.post(url, form, follow=True)

    def test_tells_where_to_go(self, begun):
        assert begun["verification_uri"] == "http://testserver/o/device/"
        assert begun["verification_uri_complete"].endswith(f"?user_code={begun['user_code']}")
        assert begun["expires_in"] > 0

    def test_the_limit_counts_here_too(self, client, ada, two, begun):
        assert self.poll(client, begun).json()["error"] == "authorization_pending"
        form = {"action": "accept", "reach": "selected", "projects": [two.pk]}
        self.decide(client, ada, begun, **form)
        grant = self.poll(client, begun).json()

        assert projects(client, grant["access_token"]) == ["two"]
        assert grant["refresh_token"]

    def test_a_code_is_good_for_one_token(self, client, ada, begun):
        self.decide(client, ada, begun, action="accept")
        assert self.poll(client, begun).status_code == 200

        again = self.poll(client, begun)
        assert (again.status_code, again.json()["error"]) == (400, "expired_token")

    def test_a_code_is_its_clients(self, client, ada, begun, app):
        app.pk, app.client_id = None, "other"
        app.save()
        self.decide(client, ada, begun, action="accept")

        response = self.poll(client, begun, client_id="other")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert self.poll(client, begun).status_code == 200

    def test_denied(self, client, ada, begun):
        self.decide(client, ada, begun, action="deny")
        assert self.poll(client, begun).json()["error"] == "access_denied"

    def test_expired(self, client, begun):
        from django.utils import timezone

        DeviceGrant.objects.update(expires=timezone.now())
        assert self.poll(client, begun).json()["error"] == "expired_token"

    def test_too_fast(self, client, begun):
        DeviceGrant.objects.update(interval=60)
        assert self.poll(client, begun).json()["error"] == "authorization_pending"
        assert self.poll(client, begun).json()["error"] == "slow_down"
        assert DeviceGrant.objects.get().interval == 65

    @pytest.mark.parametrize("change", [{"device_code": "guessed"}, {"device_code": ""}])
    def test_no_such_code(self, client, begun, change):
        response = self.poll(client, begun, **change)
        assert response.status_code == 400
        assert response.json()["error"] in ("invalid_grant", "invalid_request")

    def test_codes_are_not_guessed(self, client, ada, begun):
        client.force_login(ada)
        for _ in range(20):
            response = client.post("/o/device/", {"user_code": "00000000"})
            assert response.status_code == 200
        response = client.post("/o/device/", {"user_code": begun["user_code"]})
        assert "Too many tries" in response.content.decode()
