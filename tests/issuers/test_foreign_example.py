"""The example in another process, with users of its own, as an issuer that this site trusts."""

import base64
import contextlib
import hashlib
import io
import json
import time
from urllib.parse import urlencode

import httpx
import pytest
from django.core.management import call_command
from joserfc import jwt
from joserfc.jwk import RSAKey

from apikeys.issuers import logout
from apikeys.issuers.models import Identity
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.example.conftest import Served
from tests.factories import UserFactory, bearer
from tests.issuers.provider import AUDIENCE
from tests.mcp.browser import Person
from tests.prepared import migrated

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
CALLBACK = "https://shop.example/callback"
VERIFIER = "v" * 50
SHOP = f"""
from oauth2_provider.models import Application
Application.objects.create(
    client_id="shop", name="Shop", client_type="confidential", client_secret="secret",
    authorization_grant_type="authorization-code", redirect_uris="{CALLBACK}", algorithm="RS256",
)
"""


class Foreign(Served):
    """The provider."""

    def _environment(self):
        return super()._environment() | {
            "DJANGO_SETTINGS_MODULE": "tests.issuers.foreign_settings",
        }

    @property
    def url(self):
        return f"{self.base_url}/o"

    def post(self, **form):
        answer = httpx.post(f"{self.url}/token/", data=form, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def access_token(self, audience=AUDIENCE):
        """Return a JWT access token of ada (RFC 9068)."""
        issued = self.post(
            grant_type=EXCHANGE,
            subject_token=self.credentials["pat"]["token"],
            subject_token_type=f"{TYPE}access_token",
            requested_token_type=f"{TYPE}jwt",
            audience=audience,
        )
        return issued["access_token"]

    def log_in(self):
        """Let ada log in to a shop. Return what the shop gets: an opaque token and an ID token."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
        query = {
            "client_id": "shop",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid payments:read",
            "code_challenge": challenge.decode().strip("="),
            "code_challenge_method": "S256",
            "nonce": "n",
        }
        person = Person()
        with contextlib.closing(person.http):
            code = person.authorize(f"{self.url}/authorize/?{urlencode(query)}")["code"]
        return self.post(
            grant_type="authorization_code",
            client_id="shop",
            client_secret="secret",
            redirect_uri=CALLBACK,
            code_verifier=VERIFIER,
            code=code,
        )

    def logout_token(self, **claims):
        """Return a token that only the holder of the provider's private key can sign."""
        key = RSAKey.import_key(self.database.with_suffix(".pem").read_text())
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "shop",
            "iat": now,
            "exp": now + 60,
            "jti": f"logout-{now}",
            "events": {logout.EVENT: {}},
            **claims,
        }
        header = {"alg": "RS256", "typ": "logout+jwt", "kid": key.thumbprint()}
        return jwt.encode(header, claims, key)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    database = tmp_path_factory.mktemp("foreign") / "demo.sqlite3"
    with Foreign(migrated(tmp_path_factory, database)) as foreign:
        done = foreign.manage("shell", "-v0", "-c", SHOP)
        assert done.returncode == 0, done.stderr
        yield foreign


@pytest.fixture
def trusted(request, foreign, settings):
    """Trust the provider, whose keys are found over HTTP."""
    settings.DEBUG = True  # it is on this computer
    entry = {
        "AUDIENCES": [AUDIENCE],
        "LOGOUT_CLIENT_IDS": ["shop"],
        "DISCOVERY": getattr(request, "param", "openid"),
    }
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": {foreign.url: entry}}
    return foreign


def claims_of(text):
    return json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))


def code(text):
    """Return why ``text`` is refused. The first fetch of the keys may outlast a request."""
    ends = time.monotonic() + 60
    while True:
        with pytest.raises(Refused) as refused:
            verify(text)
        if refused.value.refusal.code != "issuer_unavailable" or time.monotonic() > ends:
            return refused.value.refusal.code
        time.sleep(0.2)


def answer(client, text):
    response = client.get("/api/token/", headers=bearer(text))
    return response.status_code, response.json().get("code")


def link(foreign, text):
    """Link the identity in ``text`` to a user of this site."""
    user = UserFactory(username="countess")
    return Identity.objects.create(issuer=foreign.url, subject=claims_of(text)["sub"], user=user)


@pytest.mark.parametrize("trusted", ["openid", "oauth"], indirect=True)
def test_its_tokens_act_for_the_users_that_they_are_linked_to(trusted, client):
    text = trusted.access_token()
    UserFactory(pk=int(claims_of(text)["sub"]), username="somebody-with-the-same-number")
    assert code(text) == "unknown_identity"
    link(trusted, text)
    response = client.get("/api/token/", headers=bearer(text))
    facts = response.json()
    assert response.status_code == 200
    assert (facts["kind"], facts["user"], facts["issuer"]) == ("external", "countess", trusted.url)
    assert "payments:read" in facts["scopes"]
    assert "keys:write" not in facts["scopes"]


@pytest.mark.long
def test_its_other_tokens_are_refused(trusted, client):
    text = trusted.access_token()
    link(trusted, text)
    assert code(trusted.access_token("https://other.example.com")) == "wrong_audience"
    issued = trusted.log_in()
    assert claims_of(issued["id_token"])["sub"] == claims_of(text)["sub"]
    assert answer(client, issued["id_token"])[0] == 401
    assert answer(client, issued["access_token"]) == (401, "invalid_token")  # it is opaque
    assert answer(client, trusted.credentials["pat"]["token"])[0] == 401
    head, payload, signature = text.split(".")
    forged = claims_of(text) | {"sub": "2"}
    payload = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().strip("=")
    assert answer(client, f"{head}.{payload}.{signature}") == (401, "invalid_token_signature")
    assert answer(client, text)[0] == 200


def test_its_token_is_denied_here(trusted, client):
    one, other = trusted.access_token(), trusted.access_token()
    link(trusted, one)
    assert [answer(client, text)[0] for text in (one, other)] == [200, 200]
    words = ["--issuer", trusted.url, "--jti", claims_of(one)["jti"]]
    call_command("apikeys", "deny", *words, stdout=io.StringIO())
    assert answer(client, one) == (401, "revoked_token")
    assert answer(client, other)[0] == 200


def test_its_logout_ends_the_tokens_of_the_user(trusted, client):
    text = trusted.access_token()
    link(trusted, text)
    assert answer(client, text)[0] == 200
    subject = claims_of(text)["sub"]
    sent = {"logout_token": trusted.logout_token(sub=subject, aud="another-client")}
    assert client.post("/issuers/backchannel-logout/", sent).status_code == 400
    assert answer(client, text)[0] == 200
    sent = {"logout_token": trusted.logout_token(sub=subject)}
    response = client.post("/issuers/backchannel-logout/", sent)
    assert response.status_code == 200, response.content
    assert answer(client, text) == (401, "revoked_token")


def test_site_that_does_not_trust_it_refuses_its_tokens(foreign, client):
    assert answer(client, foreign.access_token()) == (401, "invalid_token")
