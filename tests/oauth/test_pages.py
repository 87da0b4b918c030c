"""The settings pages of a user's OAuth clients and authorized applications."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys.models import AuditEvent
from apikeys.oauth import registration
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
    """Return the test client, in which ada has just logged in."""
    client.force_login(ada)
    return client


def open_form(client, url):
    """Return the hidden fields of the form at ``url``."""
    page = client.get(url).content.decode()
    return dict(
        re.findall(r'<input type="hidden" name="(once|confirm|user)" value="([^"]*)"', page)
    )


def send(client, url, form=(), **kwargs):
    """Open the page at ``url`` and submit its form."""
    return client.post(url.partition("?")[0], {**open_form(client, url), **dict(form)}, **kwargs)


@pytest.fixture
def made(pages):
    """Return a confidential client of ada and its secret."""
    response = send(pages, OWN + "new/", FORM)
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


def test_a_public_client_has_no_secret(pages):
    response = send(pages, OWN + "new/", FORM | {"client_type": "public"}, follow=True)

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
        ({"redirect_uris": "http://ledger.example/"}, "is not a valid redirect URI"),
        ({"redirect_uris": "https://ledger.example/#x"}, "is not a valid redirect URI"),
        (
            {"grant_types": ["client_credentials"]},
            "client_credentials is not one of the available choices",
        ),
        ({"access_token_minutes": "6"}, "at most 5 minutes"),
        ({"access_token_minutes": "0"}, "greater than or equal to 1"),
    ],
)
def test_an_invalid_form_shows_the_error_and_keeps_the_input(pages, changes, said):
    response = pages.post(OWN + "new/", FORM | changes)

    assert response.status_code == 422
    assert said in text_of(response)
    assert "https://ledger.example/callback" in response.content.decode() or (
        "redirect_uris" in changes
    )
    assert not Application.objects.exists()


def test_a_users_client_never_gets_the_password_grant(pages, made, ada):
    """Not even if an operator sets the grant by mistake."""
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


def test_the_old_secret_works_until_the_overlap_ends(pages, made):
    application, old = made
    url = f"{OWN}{application.pk}/secret/"
    response = send(pages, url, {"overlap": "3600"})
    new = unescape(re.search(r'id="secret">([^<]+)<', response.content.decode())[1])

    assert new != old
    assert introspects(pages, application, new)
    assert introspects(pages, application, old)
    ClientSettings.objects.update(previous_secret_expires_at=timezone.now())
    assert not introspects(pages, application, old)


def test_rotation_without_overlap_ends_the_old_secret(pages, made):
    application, old = made
    send(pages, f"{OWN}{application.pk}/secret/", {"overlap": "0"})
    assert not introspects(pages, application, old)


def test_another_users_client_is_not_found(client, made):
    application, secret = made
    client.force_login(UserFactory())

    assert client.get(f"{OWN}{application.pk}/").status_code == 404
    for name, form in [("", FORM), ("secret/", {"overlap": "0"}), ("revoke/", {}), ("delete/", {})]:
        assert client.post(f"{OWN}{application.pk}/{name}", form).status_code == 404
    assert introspects(client, application, secret)
    assert "Ledger" not in text_of(client.get(OWN))


def test_changes_need_a_recent_login(pages, made):
    application, _ = made
    session = pages.session
    session["apikeys_logged_in_at"] = 0
    session.save()

    for url, form in [
        (OWN + "new/", FORM),
        (f"{OWN}{application.pk}/", FORM | {"redirect_uris": "https://evil.example/"}),
        (f"{OWN}{application.pk}/secret/", {"overlap": "0"}),
        (f"{OWN}{application.pk}/delete/", {"confirm": "yes"}),
        (f"{OWN}{application.pk}/revoke/", {"confirm": "yes", "user": "ada"}),
        (f"/settings/applications/{application.pk}/revoke/", {"confirm": "yes"}),
    ]:
        response = pages.post(url, form)
        assert response.status_code == 302
        assert "/confirm/" in response["Location"]
        back = parse_qs(urlsplit(response["Location"]).query)["next"][0]
        assert back == url + ("?user=ada" if "user" in form else "")
    application.refresh_from_db()
    assert application.redirect_uris == FORM["redirect_uris"]


@pytest.mark.parametrize("name", ["delete/", "revoke/"])
def test_deleting_a_client_needs_the_confirmation(pages, made, log_in, name):
    application, secret = made
    response = pages.post(f"{OWN}{application.pk}/{name}")

    assert response.status_code == 200
    assert 'name="confirm"' in response.content.decode()
    assert introspects(pages, application, secret)


def test_page_of_the_site_is_marked_among_the_applications(pages, webapp, log_in, settings):
    log_in()
    text = text_of(pages.get("/settings/applications/"))
    assert "Web app this site" in text
    assert "Listed while you are logged in there." in text
    settings.APIKEYS = settings.APIKEYS | {"FIRST_PARTY_CLIENTS": []}
    assert "this site" not in text_of(pages.get("/settings/applications/"))


def test_revoking_an_authorization_needs_the_confirmation(pages, webapp, log_in):
    token = log_in().json()["access_token"]
    response = pages.post(f"/settings/applications/{webapp.pk}/revoke/")

    assert "Revoke access for “Web app”?" in text_of(response)
    assert pages.get("/api/token/", headers=bearer(token)).status_code == 200


def test_submitting_the_form_twice_registers_one_client(pages):
    form = FORM | open_form(pages, OWN + "new/")
    first = pages.post(OWN + "new/", form)
    again = pages.post(OWN + "new/", form)

    assert (first.status_code, again.status_code) == (200, 409)
    assert "already registered “Ledger”" in text_of(again)
    assert Application.objects.count() == 1


@pytest.mark.parametrize("once", [None, "", "made-up", "of another user"])
def test_a_form_of_another_user_registers_nothing(pages, once):
    form = dict(FORM)
    if once == "of another user":
        other = Client()
        other.force_login(UserFactory())
        form |= open_form(other, OWN + "new/")
    elif once is not None:
        form["once"] = once
    response = pages.post(OWN + "new/", form)

    assert response.status_code == 422
    assert "This form has expired" in text_of(response)
    assert not Application.objects.exists()


def test_submitting_the_form_twice_creates_one_secret(pages, made):
    application, _ = made
    url = f"{OWN}{application.pk}/secret/"
    form = {"overlap": "0"} | open_form(pages, url)
    first = pages.post(url, form)
    secret = unescape(re.search(r'id="secret">([^<]+)<', first.content.decode())[1])
    again = pages.post(url, form)

    assert again.status_code == 409
    assert "The secret changed" in text_of(again)
    assert introspects(pages, application, secret)


@pytest.mark.parametrize("once", [None, "made-up", "of another client"])
def test_a_form_of_another_client_creates_no_secret(pages, made, once):
    application, secret = made
    form = {"overlap": "0"}
    if once == "of another client":
        send(pages, OWN + "new/", FORM | {"name": "Other"})
        other = Application.objects.exclude(pk=application.pk).get()
        form |= open_form(pages, f"{OWN}{other.pk}/secret/")
    elif once is not None:
        form["once"] = once

    assert pages.post(f"{OWN}{application.pk}/secret/", form).status_code in (409, 422)
    assert introspects(pages, application, secret)


def test_two_parallel_requests_create_one_secret(made):
    application, _ = made
    stale = Application.objects.get(pk=application.pk)

    assert registration.rotate_secret(application, timedelta(0))
    assert registration.rotate_secret(stale, timedelta(0)) is None


def test_the_pages_need_a_login(client, db):
    for url in ("/settings/applications/", OWN, OWN + "new/"):
        assert client.get(url).status_code == 302


def test_all_grant_types_of_a_client_work(pages, made, ada):
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


@pytest.mark.slow
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

    # A row of another grant type, and one without a value: both are ignored.
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


# Authorized applications


@pytest.fixture
def grant(log_in):
    return log_in().json()


def test_the_user_sees_and_revokes_an_authorization(client, ada, webapp, grant):
    client.force_login(ada)
    text = text_of(client.get("/settings/applications/"))
    assert "Web app this site See payments" in text

    send(client, f"/settings/applications/{webapp.pk}/revoke/")

    token = grant["access_token"]
    assert client.get("/api/token/", headers=bearer(token)).status_code == 401
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    response = client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]})
    assert response.json()["error"] == "invalid_grant"
    assert "You have not authorized any applications" in text_of(
        client.get("/settings/applications/")
    )


@pytest.mark.parametrize("how", ["authorization", "token", "refresh token", "client"])
def test_ending_a_token_ends_the_key_created_with_it(client, ada, webapp, log_in, how):
    """Otherwise an application could create a key to survive its revocation."""
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
        send(client, f"/settings/applications/{webapp.pk}/revoke/")
    elif how == "token":
        client.post("/o/revoke_token/", form | {"token": grant["access_token"]})
    elif how == "refresh token":
        client.post("/o/revoke_token/", form | {"token": grant["refresh_token"]})
    else:
        webapp.delete()

    refused = client.get("/api/token/", headers=key)
    assert (refused.status_code, refused.json()["code"]) == (401, "revoked_key")


@pytest.mark.slow
def test_registering_a_client_does_not_authorize_it(client, ada):
    client.force_login(ada)
    metadata = {"client_name": "Laptop", "redirect_uris": ["http://127.0.0.1/callback"],
                "token_endpoint_auth_method": "none"}  # fmt: skip
    client.post("/o/register/", metadata, content_type="application/json")

    assert "You have not authorized any applications" in text_of(
        client.get("/settings/applications/")
    )
    assert "Laptop" in text_of(client.get(OWN))
    application = Application.objects.get()
    send(client, f"{OWN}{application.pk}/delete/")
    assert not Application.objects.exists()


def test_a_user_cannot_revoke_another_users_authorization(client, ada, webapp, grant):
    client.force_login(UserFactory())
    send(client, f"/settings/applications/{webapp.pk}/revoke/")

    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 200


@pytest.mark.slow
def test_the_owner_revokes_one_user_or_all_users(client, ada, webapp, grant):
    owner, other = UserFactory(), UserFactory(username="other")
    Application.objects.update(user=owner)
    for user in (other, owner):
        AccessToken.objects.create(
            user=user, application=webapp, token=user.username, scope="payments:read",
            expires=timezone.now() + timedelta(minutes=5),
        )  # fmt: skip
    client.force_login(owner)
    assert "ada See payments" in text_of(client.get(f"{OWN}{webapp.pk}/"))

    send(client, f"{OWN}{webapp.pk}/revoke/?user=ada")
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401
    assert client.get("/api/token/", headers=bearer("other")).status_code == 200
    assert send(client, f"{OWN}{webapp.pk}/revoke/?user=ada").status_code == 409

    send(client, f"{OWN}{webapp.pk}/revoke/")
    assert not AccessToken.objects.exists()
    assert not RefreshToken.objects.filter(revoked=None).exists()


def test_deleting_a_client_ends_its_tokens(client, ada, webapp, grant):
    Application.objects.update(user=ada)
    client.force_login(ada)
    send(client, f"{OWN}{webapp.pk}/delete/")

    assert not Application.objects.exists()
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401


# What the form of a client has beside these


def test_homepage_description_and_the_most_scopes_are_stored_and_recorded(pages, made, ada):
    application, _ = made
    url = f"{OWN}{application.pk}/"
    form = FORM | {
        "description": "Keeps the  books.",
        "homepage": "https://ledger.example/",
        "limit": "selected",
        "scopes:payments": "payments:read",
    }
    assert pages.post(url, form).status_code == 302

    settings = ClientSettings.objects.get()
    assert settings.description == "Keeps the books."
    assert settings.homepage == "https://ledger.example/"
    assert settings.max_scope == "payments:read"
    event = AuditEvent.objects.get(event="client_edited")
    assert event.changes["max_scopes"] == {"before": [], "after": ["payments:read"]}
    page = pages.get(url)
    assert "Keeps the books." in page.content.decode()

    pages.post(url, FORM)  # a form of version 1.0 has no limit
    assert ClientSettings.objects.get().max_scope == "payments:read"
    pages.post(url, FORM | {"limit": "any"})
    assert ClientSettings.objects.get().max_scope == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"homepage": "http://ledger.example/"}, "begins with https://"),
        ({"homepage": "javascript:alert(1)"}, "begins with https://"),
        ({"description": "a\u202eb"}, "change the text direction"),
        ({"limit": "selected"}, "Choose at least one permission"),
        ({"limit": "selected", "scopes": "nonsense"}, "does not offer the scope nonsense"),
        ({"limit": "nonsense"}, "Select a valid choice"),
    ],
)
def test_invalid_facts_of_a_client_are_refused(pages, changes, said):
    response = send(pages, OWN + "new/", FORM | changes)

    assert response.status_code == 422
    assert said in text_of(response)
    assert "Correct these errors" in text_of(response)
    assert not Application.objects.exists()


def test_the_secret_page_has_a_request_to_copy(pages):
    html = send(pages, OWN + "new/", FORM).content.decode()
    application = Application.objects.get()

    assert f"curl -u {application.client_id}:" in html
    assert "http://testserver/o/token/" in html
    assert 'data-ak-copy="#secret"' in html


def test_the_end_of_the_old_secret_is_stated(pages, made):
    application, _ = made
    url = f"{OWN}{application.pk}/"
    response = send(pages, url + "secret/", {"overlap": "3600"})
    assert "the old secret works too" in text_of(response)
    assert "the old secret works too" in text_of(pages.get(url))

    ClientSettings.objects.update(previous_secret_expires_at=timezone.now())
    assert "the old secret works too" not in text_of(pages.get(url))
    assert "the old secret works too" not in text_of(send(pages, url + "secret/", {"overlap": "0"}))


def test_confirmations_name_the_number_of_users(pages, webapp, grant, ada):
    Application.objects.update(user=ada)
    for name in ("revoke/", "delete/"):
        assert "1 user has authorized it." in text_of(pages.get(f"{OWN}{webapp.pk}/{name}"))


def test_the_form_is_kept_during_the_login(pages):
    session = pages.session
    session["apikeys_logged_in_at"] = 0
    session.save()
    pages.post(OWN + "new/", FORM | {"homepage": "https://kept.example/"})
    session = pages.session
    session["apikeys_logged_in_at"] = timezone.now().timestamp()
    session.save()

    html = pages.get(OWN + "new/").content.decode()
    assert "https://kept.example/" in html
    assert "https://ledger.example/callback" in html


# Long lists


@pytest.fixture
def crowd(ada):
    """21 clients of ada, and a consent of ada to each."""
    ends = timezone.now() + timedelta(minutes=5)
    for n in range(21):
        client = Application.objects.create(name=f"Client {n:02}", user=ada, client_type="public")
        AccessToken.objects.create(
            user=ada, application=client, token=f"t{n}", scope="payments:read", expires=ends
        )


@pytest.mark.slow
@pytest.mark.parametrize("url", [OWN, "/settings/applications/"])
def test_a_long_list_has_pages_and_a_search(pages, crowd, url):
    def names(**query):
        response = pages.get(url, query)
        assert response.status_code == 200
        text = text_of(response)
        return {f"Client {n:02}" for n in range(21) if f"Client {n:02}" in text}

    every = {f"Client {n:02}" for n in range(21)}
    assert (len(names()), len(names(page=2))) == (20, 1)
    assert names() | names(page=2) == every
    assert names(page="x") == names(page="9" * 5000) == names()
    assert names(page="-1") == names(page="9" * 50) == names(page=2)
    assert names(q="client 07") == {"Client 07"}
    assert names(q=Application.objects.get(name="Client 11").client_id) == {"Client 11"}
    assert names(q="\0") == names()
    assert "matches." in text_of(pages.get(url, {"q": "nowhere"}))
    assert 'href="?q=Client&amp;page=2"' in pages.get(url, {"q": "Client"}).content.decode()


def test_users_of_a_client_have_pages(pages, ada):
    client = Application.objects.create(name="Popular", user=ada, client_type="public")
    ends = timezone.now() + timedelta(minutes=5)
    for n in range(21):
        AccessToken.objects.create(
            user=UserFactory(), application=client, token=f"t{n}", scope="x", expires=ends
        )
    url = f"{OWN}{client.pk}/"
    numbers = [pages.get(url, {"page": n}).content.decode().count("revoke/?user=") for n in (1, 2)]
    assert numbers == [20, 1]
