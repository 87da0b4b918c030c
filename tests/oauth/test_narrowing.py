"""Users take a part of an application's access back: it is gone at the next request."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from oauth2_provider.models import AccessToken, Application, DeviceGrant

from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.oauth import narrowing
from apikeys.oauth.models import Consent
from tests.factories import MembershipFactory, UserFactory, bearer
from tests.oauth.conftest import REDIRECT, VERIFIER

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)

SCOPE = "payments:write reports:read keys:write"


@pytest.fixture
def url(app):
    return f"/settings/applications/{app.pk}/"


@pytest.fixture
def authorized(client, ada, query):
    """Return a function that authorizes ``app`` as ada and returns the token response."""
    client.force_login(ada)

    def authorized(**changes):
        form = query | {"scope": SCOPE, "allow": "Authorize"} | changes
        response = client.post("/o/authorize/", form)
        (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
        return redeem(client, code).json()

    return authorized


def redeem(client, code, **changes):
    form = {"grant_type": "authorization_code", "client_id": "app", "code": code}
    form |= {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return client.post("/o/token/", form | changes)


def refresh(client, grant, **changes):
    form = {"grant_type": "refresh_token", "client_id": "app"}
    return client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]} | changes)


def about(client, grant):
    response = client.get("/api/token/", headers=bearer(grant["access_token"]))
    assert response.status_code == 200, response.content
    return response.json()


def text_of(response):
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(body.split())


@pytest.mark.slow
def test_a_dropped_scope_is_gone_at_the_next_request_and_refresh(client, authorized, url):
    grant = authorized()
    assert client.get("/api/reports/", headers=bearer(grant["access_token"])).status_code == 200

    form = {"scopes:payments": "payments:read", "reach": "all"}
    response = client.post(url, form, follow=True)

    assert "Saved." in text_of(response)
    assert about(client, grant)["scopes"] == ["payments:read"]
    assert client.get("/api/reports/", headers=bearer(grant["access_token"])).status_code == 403
    again = refresh(client, grant).json()
    assert again["scope"] == "payments:read"
    assert about(client, again)["scopes"] == ["payments:read"]


def test_a_client_that_repeats_its_scope_at_a_refresh_gets_what_is_left(client, authorized, url):
    grant = authorized()
    client.post(url, {"scopes:payments": "payments:read", "reach": "all"})

    assert refresh(client, grant, scope=SCOPE + " payments:read").json()["scope"] == "payments:read"


@pytest.mark.parametrize("scope", ["reports:read", "bindings:read", "reports:read keys:write"])
def test_a_refresh_cannot_get_a_dropped_scope_back(client, authorized, url, scope):
    grant = authorized()
    client.post(url, {"scopes:payments": "payments:read", "reach": "all"})

    response = refresh(client, grant, scope=scope)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


def test_a_dropped_project_is_gone_at_the_next_request_and_refresh(client, authorized, url, two):
    grant = authorized()
    assert about(client, grant)["projects"] == ["analytical-engine", "two"]

    form = {"scopes:payments": "payments:write", "reach": "selected", "projects": [two.pk]}
    client.post(url, form)

    assert about(client, grant)["projects"] == ["two"]
    assert about(client, refresh(client, grant).json())["projects"] == ["two"]


def test_a_code_that_is_not_redeemed_yet_is_narrowed_too(client, ada, app, query, authorized):
    authorized()
    form = query | {"scope": SCOPE, "allow": "Authorize"}
    response = client.post("/o/authorize/", form)
    (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]

    narrowing.narrow(ada, app, names=["reports:read"], projects=None)

    assert redeem(client, code).json()["scope"] == "reports:read"


def test_a_token_that_was_exchanged_is_narrowed_too(client, authorized, url):
    grant = authorized()
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": grant["access_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "client_id": "app",
    }
    derived = client.post("/o/token/", form).json()
    client.post(url, {"scopes:reports": "reports:read", "reach": "all"})

    assert about(client, derived)["scopes"] == ["reports:read"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"scopes": "payments:refund", "reach": "all"}, "does not have the permission"),
        ({"scopes": "bindings:write", "reach": "all"}, "does not have the permission"),
        ({"reach": "all"}, "Keep at least one permission"),
        ({"scopes": "reports:read", "reach": "selected"}, "Select at least one project"),
        ({"scopes": "reports:read"}, "This field is required"),
        ({"scopes": "reports:read", "reach": "selected", "projects": "999"}, "no access to this"),
        ({"scopes": "reports:read", "reach": "selected", "projects": "9" * 30}, "no access to"),
        ({"scopes": "reports:read", "reach": "selected", "projects": "x"}, "is not a valid value"),
    ],
)
def test_a_form_with_more_than_the_application_has_changes_nothing(
    client, authorized, url, form, said
):
    grant = authorized()
    before = about(client, grant)

    response = client.post(url, form)

    assert response.status_code == 422
    assert said in text_of(response)
    assert about(client, grant)["scopes"] == before["scopes"]


def test_a_stale_form_does_not_widen(client, authorized, url, two):
    grant = authorized()
    client.post(url, {"scopes": "reports:read", "reach": "selected", "projects": [two.pk]})

    wider = client.post(url, {"scopes": ["reports:read", "payments:write"], "projects": [two.pk]})
    everywhere = client.post(url, {"scopes": "reports:read", "reach": "all"})

    assert (wider.status_code, everywhere.status_code) == (422, 422)
    found = about(client, grant)
    assert (found["scopes"], found["projects"]) == (["reports:read"], ["two"])


def test_the_function_adds_nothing(ada, app, two):
    consent = Consent.objects.create(
        user=ada, application=app, scope="reports:read", all_projects=False, is_given=True
    )
    consent.projects.set([two])

    engine = ada.project_memberships.exclude(project=two).get().project
    names = ["payments:write", "reports:read"]
    assert narrowing.narrow(ada, app, names=names, projects=[two, engine]) == {}
    consent.refresh_from_db()
    assert (consent.scope, list(consent.projects.all())) == ("reports:read", [two])
    assert consent.narrowed_at is None


@pytest.mark.slow
def test_a_consent_that_keeps_nothing_ends_with_its_tokens(client, authorized, ada, app, two):
    grant = authorized(reach="selected", projects=[two.pk], scope="reports:read")
    wide = authorized()
    narrowing.narrow(ada, app, names=["payments:read"], projects=None)

    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401
    assert refresh(client, grant).json()["error"] == "invalid_grant"
    assert about(client, wide)["scopes"] == ["payments:read"]


def test_another_users_access_stays(client, authorized, url, ada, app):
    grant = authorized()
    other = UserFactory()
    MembershipFactory(user=other)
    client.force_login(other)

    assert client.get(url).status_code == 404
    assert client.post(url, {"scopes": "reports:read", "reach": "all"}).status_code == 404
    narrowing.narrow(other, app, names=["reports:read"], projects=None)
    assert "payments:write" in about(client, grant)["scopes"]


def test_keys_that_reach_more_end_and_others_stay(client, authorized, url):
    grant = authorized()

    def create(name, scope):
        body = {"name": name, "scopes": [scope], "expires_at": AccessToken.objects.get().expires}
        response = client.post(
            "/api/tokens/", body, "application/json", headers=bearer(grant["access_token"])
        )
        assert response.status_code == 201, response.content

    create("pays", "payments:write")
    create("reads", "reports:read")
    client.post(url, {"scopes": "reports:read", "reach": "all"})

    ended = {key.name: key.revoked_at is not None for key in PersonalAccessToken.objects.all()}
    assert ended == {"pays": True, "reads": False}


def test_a_trusted_client_gets_nothing_back_without_the_page(client, ada, app, query, authorized):
    """The user restricted it, so the site's trust does not replace the consent any more."""
    app.client_type, app.skip_authorization = Application.CLIENT_CONFIDENTIAL, True
    app.save()
    Consent.objects.create(user=ada, application=app, scope=SCOPE, is_given=True)
    narrowing.narrow(ada, app, names=["payments:read", "reports:read"], projects=None)
    client.force_login(ada)

    less = client.get("/o/authorize/", query)
    more = client.get("/o/authorize/", query | {"scope": SCOPE})

    assert "code=" in less["Location"]
    assert more.status_code == 200
    assert "It will also be able to: Make payments, and see them" in text_of(more)


def test_a_device_is_narrowed_too(client, ada, app, url):
    device = DeviceGrant.objects.create(
        client_id="app", user_code="ABCDEFGH", device_code="d" * 40, user=ada, scope=SCOPE,
        expires="2100-01-01T00:00Z", status=DeviceGrant.AUTHORIZED,
    )  # fmt: skip
    Consent.objects.create(user=ada, application=app, scope=SCOPE, device=device, is_given=True)
    app.authorization_grant_type = Application.GRANT_DEVICE_CODE
    app.save()

    def poll():
        form = {"grant_type": Application.GRANT_DEVICE_CODE, "client_id": "app"}
        return client.post("/o/token/", form | {"device_code": "d" * 40})

    narrowing.narrow(ada, app, names=["reports:read"], projects=None)
    grant = poll().json()

    assert grant["scope"] == "reports:read"
    assert about(client, grant)["scopes"] == ["reports:read"]


def test_a_session_without_csrf_token_narrows_nothing(authorized, url, ada, app):
    authorized()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)

    assert browser.post(url, {"scopes": "reports:read", "reach": "all"}).status_code == 403
    assert Consent.objects.get().narrowed_at is None


def test_a_login_with_a_password_can_only_be_revoked(client, ada, webapp, log_in):
    log_in()
    client.force_login(ada)
    url = f"/settings/applications/{webapp.pk}/"

    assert "This access can only be revoked" in text_of(client.get(url))
    assert client.post(url, {"scopes": "payments:read", "reach": "all"}).status_code == 409


def test_the_page_says_when_and_from_where_it_last_logged_in(client, authorized, url, ada):
    authorized()
    shown = text_of(client.get(url))
    assert "Last login just now from 127.0.0.1" in shown
    AuditEvent.objects.all()._raw_delete(AuditEvent.objects.db)
    assert "Last login" not in text_of(client.get(url))


def test_the_login_of_another_user_is_not_shown(client, authorized, url, ada):
    authorized()
    AuditEvent.objects.all()._raw_delete(AuditEvent.objects.db)
    client.force_login(UserFactory())
    authorized()
    client.force_login(ada)
    assert "Last login" not in text_of(client.get(url))


def test_revoking_says_that_it_logs_out_everywhere(client, authorized, url):
    authorized()
    assert "it is logged out on all devices." in text_of(client.get(f"{url}revoke/"))
