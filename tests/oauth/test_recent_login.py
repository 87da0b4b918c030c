"""``CONSENT_SUDO``: a user's first consent to a third-party client needs a recent login."""

import re
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.utils import timezone
from oauth2_provider.models import Application, DeviceGrant

from apikeys.oauth import authorizations
from apikeys.oauth.models import Consent
from tests.factories import PASSWORD
from tests.oauth.conftest import REDIRECT

CONFIRM = "/settings/keys/confirm/"


@pytest.fixture
def device(app):
    app.authorization_grant_type = Application.GRANT_DEVICE_CODE
    app.save()
    cache.clear()
    return DeviceGrant.objects.create(
        client_id="app",
        user_code="ABCDEFGH",
        device_code="d" * 40,
        scope="payments:read",
        expires=timezone.now() + timedelta(minutes=5),
    )


@pytest.fixture
def old(client, ada):
    """Log in as ada, and date the login yesterday."""
    client.force_login(ada)
    session = client.session
    session["apikeys_logged_in_at"] = time.time() - 24 * 60 * 60
    session.save()


def asks_who(response):
    return response.status_code == 302 and response["Location"].startswith(CONFIRM)


def confirm(client, response):
    """Enter the password on the page that `response` redirects to; return the next page."""
    url = response["Location"]
    target = parse_qs(urlsplit(url).query)["next"][0]
    response = client.post(url, {"password": PASSWORD, "next": target})
    assert response.status_code == 302, response.content
    assert response["Location"] == target
    return client.get(target)


def checked(response):
    html = response.content.decode()
    boxes = re.findall(r"<input[^>]*>", html)
    return {
        (re.search('name="([^"]*)"', box)[1], re.search('value="([^"]*)"', box)[1])
        for box in boxes
        if "checked" in box
    }


def test_the_page_is_shown_after_the_password(client, old, query):
    response = client.get("/o/authorize/", query)
    assert asks_who(response)

    response = confirm(client, response)

    assert response.status_code == 200
    assert "Authorize Payments app?" in response.content.decode()
    assert 'value="xyz"' in response.content.decode()


@pytest.mark.parametrize("in_url", [True, False], ids=["query in the URL", "query in the form"])
def test_the_form_is_kept_during_the_login(client, old, query, two, in_url):
    form = query | {"allow": "Authorize", "reach": "selected", "projects": [two.pk]}
    url = f"/o/authorize/?{'&'.join(f'{k}={v}' for k, v in query.items())}"
    response = client.post(url if in_url else "/o/authorize/", form)
    assert asks_who(response)
    assert not Consent.objects.exists()

    response = confirm(client, response)

    assert checked(response) == {("reach", "selected"), ("projects", str(two.pk))}
    assert client.post("/o/authorize/", form)["Location"].startswith(f"{REDIRECT}?code=")
    # The kept form is shown only once.
    Consent.objects.all().delete()
    assert checked(client.get("/o/authorize/", query)) == {("reach", "all")}


def test_denying_needs_no_login(client, old, query):
    response = client.post("/o/authorize/", query)

    assert "error=access_denied" in response["Location"]


def test_a_later_consent_needs_no_login(client, ada, app, old, query):
    Consent.objects.create(user=ada, application=app, scope="payments:read", is_given=True)

    assert client.get("/o/authorize/", query).status_code == 200
    response = client.post("/o/authorize/", query | {"allow": "Authorize", "reach": "all"})
    assert "code=" in response["Location"]


def test_a_consent_that_was_withdrawn_or_never_given_does_not_count(client, ada, app, old, query):
    Consent.objects.create(user=ada, application=app, scope="payments:read", is_given=True)
    authorizations.end(app, ada)
    Consent.objects.create(user=ada, application=app, scope="payments:read", is_given=False)

    assert asks_who(client.get("/o/authorize/", query))


def test_a_consent_to_another_client_does_not_count(client, ada, app, old, query):
    other = Application.objects.create(client_id="other", redirect_uris=REDIRECT)
    Consent.objects.create(user=ada, application=other, scope="payments:read", is_given=True)

    assert asks_who(client.get("/o/authorize/", query))


@pytest.mark.parametrize("change", [{"CONSENT_SUDO": False}, {"FIRST_PARTY_CLIENTS": ["app"]}])
def test_first_party_clients_are_exempt_and_sites_turn_it_off(client, old, query, settings, change):
    settings.APIKEYS = settings.APIKEYS | change

    assert client.get("/o/authorize/", query).status_code == 200
    response = client.post("/o/authorize/", query | {"allow": "Authorize", "reach": "all"})
    assert "code=" in response["Location"]


def test_prompt_none_is_answered_with_an_error(client, old, query):
    response = client.get("/o/authorize/", query | {"prompt": "none"})

    assert "error=consent_required" in response["Location"]
    assert response["Location"].startswith(REDIRECT)


class TestDevice:
    def url(self, client):
        response = client.post("/o/device/", {"user_code": "ABCDEFGH"})
        assert response.status_code == 302
        return response["Location"]

    def test_the_page_is_shown_after_the_password(self, client, old, device):
        response = client.get(self.url(client))
        assert asks_who(response)

        response = confirm(client, response)

        assert "Log in Payments app on a device?" in response.content.decode()

    def test_the_form_is_kept_during_the_login(self, client, old, device, two):
        url = self.url(client)
        form = {"action": "accept", "reach": "selected", "projects": [two.pk]}
        response = client.post(url, form)
        assert asks_who(response)
        assert not Consent.objects.exists()

        response = confirm(client, response)

        assert checked(response) == {("reach", "selected"), ("projects", str(two.pk))}
        assert client.post(url, form).status_code == 302
        device.refresh_from_db()
        assert device.status == device.AUTHORIZED

    def test_denying_needs_no_login(self, client, old, device):
        client.post(self.url(client), {"action": "deny"})

        device.refresh_from_db()
        assert device.status == device.DENIED
