"""The expiry of keys created over the JSON API."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apikeys.policy import Policy
from tests.factories import MembershipFactory, UserFactory, bearer, mint_key, mint_pat

SCOPES = ["payments:read", "keys:write"]


class Month(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=30)


def create(credential, url="/api/tokens/", **body):
    body = {"name": "new", "scopes": ["payments:read"]} | body
    headers = bearer(credential.token)
    response = Client().post(url, body, content_type="application/json", headers=headers)
    ends = response.json().get("expires_at")
    return response, ends and datetime.fromisoformat(ends)


@pytest.fixture(params=["token", "key"])
def maker(request, db):
    """Create a credential with an expiry. Return a caller and the URL where it creates keys."""

    def maker(expires_at):
        if request.param == "token":
            user = UserFactory()
            return mint_pat(user, scopes=SCOPES, expires_at=expires_at), "/api/tokens/"
        made = mint_key(MembershipFactory().project, scopes=SCOPES, expires_at=expires_at)
        return made, f"/api/projects/{made.key.project.slug}/keys/"

    return maker


def test_key_without_requested_expiry_expires_with_its_credential(maker):
    ends = timezone.now() + timedelta(days=3)
    credential, url = maker(ends)
    response, expires_at = create(credential, url)
    assert response.status_code == 201, response.content
    assert expires_at == ends


def test_null_requests_no_expiry(maker):
    credential, url = maker(timezone.now() + timedelta(days=3))
    response, _ = create(credential, url, expires_at=None)
    assert (response.status_code, response.json()["code"]) == (403, "outlives_credential")
    credential, url = maker(None)
    response, expires_at = create(credential, url, expires_at=None)
    assert (response.status_code, expires_at) == (201, None)


def test_key_without_any_limit_never_expires(maker):
    credential, url = maker(None)
    response, expires_at = create(credential, url)
    assert (response.status_code, expires_at) == (201, None)


def test_policy_limits_the_expiry(maker, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": f"{__name__}.Month"}
    now = timezone.now()
    credential, url = maker(now + timedelta(days=20))
    assert create(credential, url)[1] == now + timedelta(days=20)
    credential.key.expires_at = now + timedelta(days=90)
    credential.key.save()
    response, expires_at = create(credential, url)
    assert response.status_code == 201, response.content
    assert timedelta(0) <= expires_at - now - timedelta(days=30) < timedelta(minutes=1)
    response, _ = create(credential, url, expires_at=None)
    assert response.json()["code"] == "expiry_required"
