"""Admins see what users allow applications, and withdraw it."""

import pytest
from django.urls import reverse
from oauth2_provider.models import AccessToken

from apikeys.models import AuditEvent
from apikeys.oauth.models import Consent
from tests.factories import UserFactory


@pytest.fixture
def admin(client, db):
    client.force_login(UserFactory(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def authorized(visitor, answer):
    answer()
    return Consent.objects.get()


@pytest.mark.parametrize("how", ["one", "selected"])
def test_an_admin_withdraws_a_consent(authorized, admin, how):
    token = AccessToken.objects.get()
    assert token.is_valid()
    if how == "one":
        url = reverse("admin:apikeys_oauth_consent_delete", args=[authorized.pk])
        response = admin.post(url, {"post": "yes"})
    else:
        url = reverse("admin:apikeys_oauth_consent_changelist")
        form = {"action": "delete_selected", "_selected_action": [authorized.pk], "post": "yes"}
        response = admin.post(url, form)

    assert response.status_code == 302, response.content
    assert not Consent.objects.exists()
    token.refresh_from_db()
    assert token.is_expired()
    event = AuditEvent.objects.get(event="withdrawn")
    assert (event.owner, event.by, event.name) == ("ada", "root", "Payments app")


@pytest.mark.slow
def test_an_admin_sees_consents_and_changes_none(authorized, admin):
    url = reverse("admin:apikeys_oauth_consent_changelist")
    page = admin.get(url, {"q": "ad"}).content.decode()
    assert "payments:write, reports:read" in page
    assert "Payments app" in admin.get(url, {"q": "app"}).content.decode()
    assert "Payments app" not in admin.get(url, {"q": "zzz"}).content.decode()

    change = reverse("admin:apikeys_oauth_consent_change", args=[authorized.pk])
    assert admin.get(change).status_code == 200
    assert admin.post(change, {"scope": "keys:write"}).status_code == 403
    assert admin.get(reverse("admin:apikeys_oauth_consent_add")).status_code == 403


def test_only_admins_see_consents(authorized, client):
    client.force_login(UserFactory(is_staff=True))
    url = reverse("admin:apikeys_oauth_consent_changelist")
    assert client.get(url).status_code == 403
