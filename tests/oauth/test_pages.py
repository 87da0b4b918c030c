"""One's own OAuth clients, and the applications that one has authorised."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys.oauth.device import GRANT_TYPE as DEVICE
from apikeys.oauth.models import ClientSettings, TokenLifetime
from tests.factories import UserFactory, bearer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)

OWN = "/settings/applications/own/"
FORM = {
    "name": "Ledger",
    "client_type": "confidential",
    "grant_types": ["authorization_code"],
    "redirect_uris": "https://ledger.example/callback",
    "access_token_minutes": "",
    "refresh_token_days": "",
}


@pytest.fixture
def pages(client, ada):
    """Django's client, in which ada has just logged in."""
    client.force_login(ada)
    return client


@pytest.fixture
def made(pages):
    """A confidential client of ada's and its secret."""
    response = pages.post(OWN + "new/", FORM)
    assert response.status_code == 200, response.content
    assert "no-store" in response["Cache-Control"]
    secret = unescape(re.search(r'id="secret">([^<]+)<', response.content.decode())[1])
    return Application.objects.get(), secret


def text_of(response):
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(unescape(body).split())


def introspects(client, application, secret):
    form = {"token": "x", "client_id": application.client_id, "client_secret": secret}
    return client.post("/o/introspect/", form).status_code == 200


def test_the_secret_is_shown_once_and_works(pages, made, ada):
    application, secret = made

    assert application.user == ada
    assert application.client_type == "confidential"
    assert application.client_secret != secret
    assert introspects(pages, application, secret)
    assert not introspects(pages, application, secret + "x")
    for url in (OWN, f"{OWN}{application.pk}/"):
        page = pages.get(url)
        assert secret not in page.content.decode()
        assert "Ledger" in text_of(page)


def test_a_public_client_has_none(pages):
    response = pages.post(OWN + "new/", FORM | {"client_type": "public"}, follow=True)

    assert "it has no secret" in text_of(response)
    application = Application.objects.get()
    for guess in ("", application.client_secret):
        assert not introspects(pages, application, guess)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "required"),
        ({"grant_types": ["password"]}, "password is not one of the available choices"),
        ({"grant_types": ["implicit"]}, "implicit is not one of the available choices"),
        ({"grant_types": []}, "Select at least one grant type"),
        ({"redirect_uris": ""}, "needs at least one redirect URI"),
        ({"redirect_uris": "http://ledger.example/"}, "is no redirect URI"),
        ({"redirect_uris": "https://ledger.example/#x"}, "is no redirect URI"),
        (
            {"grant_types": ["client_credentials"]},
            "client_credentials is not one of the available choices",
        ),
        ({"access_token_minutes": "6"}, "At most 5 minutes"),
        ({"access_token_minutes": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused_is_said_and_kept(pages, changes, said):
    response = pages.post(OWN + "new/", FORM | changes)

    assert response.status_code == 422
    assert said in text_of(response)
    assert "https://ledger.example/callback" in response.content.decode() or (
        "redirect_uris" in changes
    )
    assert not Application.objects.exists()


def test_a_password_grant_by_the_side_door(pages, made, ada):
    """Not even an operator's slip gives a user's client the password grant."""
    application, secret = made
    Application.objects.update(authorization_grant_type=Application.GRANT_PASSWORD)
    ClientSettings.objects.update(grant_types="password")
    form = {
        "grant_type": "password",
        "client_id": application.client_id,
        "client_secret": secret,
        "username": "ada",
        "password": "demo-password",
    }
    response = pages.post("/o/token/", form)
    assert response.json()["error"] == "unauthorized_client"


def test_rotation_with_overlap(pages, made):
    application, old = made
    url = f"{OWN}{application.pk}/secret/"
    response = pages.post(url, {"overlap": "3600"})
    new = unescape(re.search(r'id="secret">([^<]+)<', response.content.decode())[1])

    assert new != old
    assert introspects(pages, application, new)
    assert introspects(pages, application, old)
    ClientSettings.objects.update(previous_secret_expires_at=timezone.now())
    assert not introspects(pages, application, old)


def test_rotation_of_one_that_leaked(pages, made):
    application, old = made
    pages.post(f"{OWN}{application.pk}/secret/", {"overlap": "0"})
    assert not introspects(pages, application, old)


def test_somebody_elses_client_does_not_exist(client, made):
    application, secret = made
    client.force_login(UserFactory())

    assert client.get(f"{OWN}{application.pk}/").status_code == 404
    for name, form in [("", FORM), ("secret/", {"overlap": "0"}), ("revoke/", {}), ("delete/", {})]:
        assert client.post(f"{OWN}{application.pk}/{name}", form).status_code == 404
    assert introspects(client, application, secret)
    assert "Ledger" not in text_of(client.get(OWN))


def test_it_takes_a_recent_log_in(pages, made):
    application, _ = made
    session = pages.session
    session["apikeys_logged_in_at"] = 0
    session.save()

    for url, form in [
        (OWN + "new/", FORM),
        (f"{OWN}{application.pk}/", FORM | {"redirect_uris": "https://evil.example/"}),
        (f"{OWN}{application.pk}/secret/", {"overlap": "0"}),
    ]:
        response = pages.post(url, form)
        assert response.status_code == 302
        assert "/confirm/" in response["Location"]
    application.refresh_from_db()
    assert application.redirect_uris == FORM["redirect_uris"]


def test_nobody_gets_there_without_logging_in(client, db):
    for url in ("/settings/applications/", OWN, OWN + "new/"):
        assert client.get(url).status_code == 302


def test_extra_grants_work(pages, made, ada):
    application, secret = made
    form = {"client_id": application.client_id, "client_secret": secret}
    assert pages.post("/o/token/", form | {"grant_type": DEVICE, "device_code": "x"}).json() == {
        "error": "unauthorized_client"
    }

    pages.post(f"{OWN}{application.pk}/", FORM | {"grant_types": ["authorization_code", DEVICE]})
    device = pages.post(
        "/o/device-authorization/",
        urlencode(form | {"scope": "payments:read"}),
        content_type="application/x-www-form-urlencoded",
    ).json()
    waiting = pages.post(
        "/o/token/", form | {"grant_type": DEVICE, "device_code": device["device_code"]}
    )
    assert waiting.json()["error"] == "authorization_pending"


# Lifetimes


@pytest.mark.parametrize("days", ["3651", "24856", "9" * 20])
def test_no_lifetime_is_longer_than_ten_years(pages, made, days):
    application, _ = made
    form = FORM | {"refresh_token_days": days}

    for url in (f"{OWN}new/", f"{OWN}{application.pk}/"):
        response = pages.post(url, form)
        assert response.status_code == 422
        assert "less than or equal to 3650" in text_of(response)
    assert not TokenLifetime.objects.filter(refresh_token_seconds__gt=0).exists()
    pages.post(f"{OWN}{application.pk}/", FORM | {"refresh_token_days": "3650"})
    assert TokenLifetime.objects.get().refresh_token_seconds == 3650 * 24 * 60 * 60


def lifetime(application, grant_type, **seconds):
    TokenLifetime.objects.update_or_create(
        application=application, grant_type=grant_type, defaults=seconds
    )


def test_the_most_specific_lifetime_wins(client, webapp, log_in):
    assert log_in().json()["expires_in"] == 300

    lifetime(None, "", access_token_seconds=250)
    assert log_in().json()["expires_in"] == 250
    lifetime(None, "password", access_token_seconds=200)
    assert log_in().json()["expires_in"] == 200
    lifetime(webapp, "", access_token_seconds=150)
    assert log_in().json()["expires_in"] == 150
    lifetime(webapp, "password", access_token_seconds=100)
    grant = log_in().json()
    assert grant["expires_in"] == 100

    # Of another grant, and of no value: it does not count.
    lifetime(webapp, "authorization_code", access_token_seconds=1)
    lifetime(webapp, "password", access_token_seconds=None)
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    again = client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]}).json()
    assert again["expires_in"] == 150


def test_a_refresh_token_ends_with_its_clients_lifetime(client, webapp, log_in):
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    form["refresh_token"] = log_in().json()["refresh_token"]
    lifetime(webapp, "", refresh_token_seconds=60)
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=60))

    assert client.post("/o/token/", form).json()["error"] == "invalid_grant"


# Applications that a user has authorised


@pytest.fixture
def grant(log_in):
    return log_in().json()


def test_the_user_sees_and_revokes_it(client, ada, webapp, grant):
    client.force_login(ada)
    text = text_of(client.get("/settings/applications/"))
    assert "Web app See payments" in text

    client.post(f"/settings/applications/{webapp.pk}/revoke/")

    token = grant["access_token"]
    assert client.get("/api/token/", headers=bearer(token)).status_code == 401
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    response = client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]})
    assert response.json()["error"] == "invalid_grant"
    assert "No application acts for you" in text_of(client.get("/settings/applications/"))


@pytest.mark.parametrize("how", ["authorization", "token", "refresh token", "client"])
def test_what_it_made_of_a_token_ends_with_that(client, ada, webapp, log_in, how):
    """Or else a program would mint itself a key before it is sent away."""
    grant = log_in(scope="payments:read keys:write").json()
    row = AccessToken.objects.get()
    body = {"name": "x", "scopes": ["payments:read"], "expires_at": row.expires.isoformat()}
    made = client.post(
        "/api/tokens/", body, "application/json", headers=bearer(grant["access_token"])
    )
    key = bearer(made.json()["token"])
    assert client.get("/api/token/", headers=key).status_code == 200

    form = {"client_id": "webapp"}
    if how == "authorization":
        client.force_login(ada)
        client.post(f"/settings/applications/{webapp.pk}/revoke/")
    elif how == "token":
        client.post("/o/revoke_token/", form | {"token": grant["access_token"]})
    elif how == "refresh token":
        client.post("/o/revoke_token/", form | {"token": grant["refresh_token"]})
    else:
        webapp.delete()

    refused = client.get("/api/token/", headers=key)
    assert (refused.status_code, refused.json()["code"]) == (401, "revoked_key")


def test_a_registered_program_is_a_client_not_an_authorisation(client, ada):
    client.force_login(ada)
    metadata = {"client_name": "Laptop", "redirect_uris": ["http://127.0.0.1/callback"],
                "token_endpoint_auth_method": "none"}  # fmt: skip
    client.post("/o/register/", metadata, content_type="application/json")

    assert "No application acts for you" in text_of(client.get("/settings/applications/"))
    assert "Laptop" in text_of(client.get(OWN))
    application = Application.objects.get()
    client.post(f"{OWN}{application.pk}/delete/")
    assert not Application.objects.exists()


def test_nobody_revokes_for_somebody_else(client, ada, webapp, grant):
    client.force_login(UserFactory())
    client.post(f"/settings/applications/{webapp.pk}/revoke/")

    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 200


def test_the_owner_revokes_one_or_all(client, ada, webapp, grant):
    owner, other = UserFactory(), UserFactory(username="other")
    Application.objects.update(user=owner)
    for user in (other, owner):
        AccessToken.objects.create(
            user=user, application=webapp, token=user.username, scope="payments:read",
            expires=timezone.now() + timedelta(minutes=5),
        )  # fmt: skip
    client.force_login(owner)
    assert "ada See payments" in text_of(client.get(f"{OWN}{webapp.pk}/"))

    client.post(f"{OWN}{webapp.pk}/revoke/", {"user": "ada"})
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401
    assert client.get("/api/token/", headers=bearer("other")).status_code == 200
    assert client.post(f"{OWN}{webapp.pk}/revoke/", {"user": "ada"}).status_code == 409

    client.post(f"{OWN}{webapp.pk}/revoke/")
    assert not AccessToken.objects.exists()
    assert not RefreshToken.objects.filter(revoked=None).exists()


def test_deleting_a_client_ends_its_tokens(client, ada, webapp, grant):
    Application.objects.update(user=ada)
    client.force_login(ada)
    client.post(f"{OWN}{webapp.pk}/delete/")

    assert not Application.objects.exists()
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401
