"""Claims of the policy are added to tokens and responses, and override none of theirs."""

import base64
import json
from datetime import date
from decimal import Decimal

import pytest
from django.test import RequestFactory
from oauth2_provider.models import Application

from apikeys import claims
from apikeys.access import Access
from apikeys.models import ProjectKey
from apikeys.policy import Policy
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat
from tests.oauth.conftest import SECRET

pytestmark = pytest.mark.django_db

SPOOFED = {
    "sub": "root",
    "iss": "https://evil.example.com",
    "scope": "payments:write",
    "exp": 2**40,
    "active": True,
    "client_id": "webapp",
    "username": "root",
    "project": "other",
    "cnf": {"jkt": "x"},
    "act": {"sub": "root"},
    "allowed_networks": "10.0.0.0/8",
    "rate_limits": "1/s",
    "not_before": 0,
    "direct_use": True,
}


class Plans(Policy):
    def claims(self, subject):
        return {**SPOOFED, "plan": "gold", "topic": ["a", "b"], "about": str(subject)}


@pytest.fixture(autouse=True)
def _plans(settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Plans}


def payload(text):
    part = text.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def exchange(client, text):
    answer = client.post(
        "/o/token/",
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": text,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "requested_token_type": "urn:ietf:params:oauth:token-type:jwt",
        },
    )
    assert answer.status_code == 200, answer.content
    return answer.json()["access_token"]


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_every_kind_of_credential_has_claims(mint):
    minted = mint()
    access = verify(minted.token)
    assert access.claims["plan"] == "gold"
    assert access.claims["about"] == str(minted.key.owner)
    assert SPOOFED.keys().isdisjoint(access.claims)
    with pytest.raises(TypeError):
        access.claims["plan"] = "free"


def test_credential_without_a_subject_has_none():
    access = Access(kind="oauth", credential_id="1", name="", scope="")
    assert access.claims == {}


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_jwt_has_the_claims_beside_its_own(client, mint):
    minted = mint()
    text = exchange(client, minted.token)
    found = payload(text)
    assert (found["plan"], found["topic"]) == ("gold", ["a", "b"])
    is_key = isinstance(minted.key, ProjectKey)
    owner = minted.key.owner
    assert found["sub"] == (f"project:{owner.slug}" if is_key else str(owner.pk))
    assert found["scope"] == minted.key.scope
    assert found["client_id"] == minted.key.public_id
    assert "example" not in found["iss"]
    assert found["exp"] < 2**40
    assert "cnf" not in found
    assert "act" not in found
    assert verify(text, RequestFactory().get("/")).claims["plan"] == "gold"


def test_introspection_has_the_claims_beside_its_own(client):
    Application.objects.create(
        client_id="service",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        client_secret=SECRET,
    )
    minted = mint_pat()
    for text in (minted.token, exchange(client, minted.token)):
        form = {"token": text, "client_id": "service", "client_secret": SECRET}
        found = client.post("/o/introspect/", form).json()
        assert (found["active"], found["plan"]) == (True, "gold")
        assert found["sub"] == str(minted.key.user.pk)
        assert found["username"] == minted.key.user.get_username()
        assert found["scope"] == "payments:read"
        assert "project" not in found
        assert "cnf" not in found


def test_policy_without_claims_adds_none(settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Policy}
    assert claims.added(object(), {"sub": "1"}) == {"sub": "1"}
    assert claims.of(None) == {}


@pytest.mark.parametrize(
    "claim",
    [
        *({"bad": value} for value in (Decimal(1), date(2026, 1, 1), {1}, float("nan"), object())),
        *({"bad": [{"deep": value}]} for value in (b"x", {1: "x"})),
        {5: "x"},
    ],
)
def test_claim_that_is_not_json_is_left_out(settings, caplog, claim):
    class Mixed(Policy):
        def claims(self, subject):
            return {"plan": "gold", "deep": {"a": [1, 1.5, None, True]}, **claim}

    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Mixed}
    found = claims.of(object())
    assert json.loads(json.dumps(found)) == {"plan": "gold", "deep": {"a": [1, 1.5, None, True]}}
    assert "not JSON" in caplog.text
