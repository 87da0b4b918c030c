"""The check reports settings of django-oauth-toolkit that would make requests fail."""

import base64
import hashlib
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.checks import run_checks
from django.db import transaction
from django.test import Client
from oauth2_provider.models import Application
from oauth2_provider.settings import DEFAULTS, oauth2_settings

from apikeys.oauth.device import GRANT_TYPE as DEVICE
from apikeys.oauth.grants import ACCESS_TOKEN, JWT, TokenExchangeGrant
from tests.factories import PASSWORD, bearer, mint_pat

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().strip("=")
CALLBACK = "https://shop.example/cb"
SHOP = {"client_id": "shop", "client_secret": "secret"}
WEBAPP = {"client_id": "webapp"}
QUERY = {
    "client_id": "shop",
    "response_type": "code",
    "redirect_uri": CALLBACK,
    "scope": "payments:read",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "s",
}
METADATA = {
    "client_name": "Laptop",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "grant_types": ["authorization_code"],
}
PAGES = [
    "/.well-known/oauth-authorization-server/o",
    "/o/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
    "/o/.well-known/jwks.json",
    "/settings/applications/",
    "/settings/applications/own/",
    "/settings/applications/own/new/",
    "/api/token/",
]

#: Django checks the models itself.
NAMES = sorted(name for name in DEFAULTS if not name.endswith("_MODEL") and name[0] != "_")
VALUES = [
    None, "", "x", "nowhere.Nothing", "apikeys.policy.Policy", "http://[", "{", 0, -1, 1, 1.5,
    10**12, True, False, [], ["x"], {}, {"x": "y"}, timedelta(1), timedelta(10**8), object(),
]  # fmt: skip


class Site:
    """Send every kind of OAuth request; return the requests that cause a server error."""

    def __init__(self, user, key):
        self.user, self.key = user, key
        self.client = Client(raise_request_exception=False)
        self.failed = []

    def send(self, method, url, data=None, *, client=None, **kwargs):
        response = getattr(client or self.client, method)(url, data, **kwargs)
        if response.status_code >= 500:
            self.failed.append((url, data, repr(response.exc_info[1] if response.exc_info else "")))
        return response

    def token(self, **form):
        response = self.send("post", "/o/token/", form)
        return response.json() if response.status_code == 200 else {}

    def run(self):
        issued = self.token(
            grant_type="password", username="ada", password=PASSWORD, **WEBAPP,
            scope="payments:read oauth2_provider:registration",
        )  # fmt: skip
        access = issued.get("access_token", "x")
        self.send("get", "/api/token/", headers=bearer(access))
        self.send("post", "/o/register/", METADATA, content_type="application/json",
                  headers=bearer(access))  # fmt: skip
        for _ in range(2):
            self.token(
                grant_type="refresh_token", refresh_token=issued.get("refresh_token", "x"), **WEBAPP
            )
        for wanted in (ACCESS_TOKEN, JWT):
            self.token(grant_type=TokenExchangeGrant.NAME, subject_token=self.key.token,
                       subject_token_type=ACCESS_TOKEN, requested_token_type=wanted)  # fmt: skip
        self.token(grant_type="client_credentials", client_id="service", client_secret="secret")
        self.client.force_login(self.user)
        self.with_a_code()
        self.with_a_device()
        self.with_a_registration()
        for url in PAGES:
            self.send("get", url)
        self.send("get", "/api/token/", client=Client(raise_request_exception=False))
        return self.failed

    def with_a_code(self):
        for changes in ({}, {"prompt": "create"}, {"client_id": "https://127.0.0.1/client"},
                        {"redirect_uri": "http://shop.example/"}):  # fmt: skip
            self.send("get", "/o/authorize/", QUERY | changes)
        anonymous = Client(raise_request_exception=False)
        self.send("get", "/o/authorize/", QUERY | {"prompt": "create"}, client=anonymous)
        form = QUERY | {"allow": "Authorize", "reach": "all"}
        location = self.send("post", "/o/authorize/", form).get("Location", "")
        code = parse_qs(urlsplit(location).query).get("code", ["x"])[0]
        issued = self.token(grant_type="authorization_code", code=code, redirect_uri=CALLBACK,
                            code_verifier=VERIFIER, **SHOP)  # fmt: skip
        access = issued.get("access_token", "x")
        self.send("post", "/o/introspect/", SHOP | {"token": access})
        self.send("post", "/o/introspect/", {"token": access}, headers=bearer(access))
        self.send("post", "/o/revoke_token/", SHOP | {"token": access})

    def with_a_device(self):
        answer = self.send("post", "/o/device-authorization/", "client_id=tv&scope=payments:read",
                           content_type="application/x-www-form-urlencoded")  # fmt: skip
        codes = answer.json() if answer.status_code == 200 else {}
        self.send("get", "/o/device/")
        found = self.send("post", "/o/device/", {"user_code": codes.get("user_code", "ABCD")})
        if url := found.get("Location"):
            self.send("get", url)
            self.send("post", url, {"action": "accept", "reach": "all"})
        self.token(client_id="tv", grant_type=DEVICE, device_code=codes.get("device_code", "x"))

    def with_a_registration(self):
        as_json = {"content_type": "application/json"}
        anonymous = Client(raise_request_exception=False)
        self.send("post", "/o/register/", METADATA, client=anonymous, **as_json)
        made = self.send("post", "/o/register/", METADATA, **as_json)
        for method in ("get", "put", "delete"):
            if made.status_code not in (200, 201):
                break
            data = made.json()
            url = f"/o/register/{data['client_id']}/"
            headers = bearer(data["registration_access_token"])
            made = self.send(method, url, METADATA, headers=headers, **as_json)


@pytest.fixture
def site(ada, webapp):
    for name, kind, grant in (
        ("shop", "confidential", "authorization-code"),
        ("tv", "public", DEVICE),
        ("service", "confidential", "client-credentials"),
    ):
        Application.objects.create(
            client_id=name,
            name=name,
            client_type=kind,
            authorization_grant_type=grant,
            client_secret="secret",
            redirect_uris=CALLBACK,
        )
    return Site(ada, mint_pat(ada))


def named():
    """Return the settings that the check reports."""
    messages = [message.msg for message in run_checks(tags=["apikeys"])]
    return {name for name in DEFAULTS if any(f"'{name}'" in text for text in messages)}


def fails(site):
    with transaction.atomic():
        failed = site.run()
        transaction.set_rollback(True)
    site.failed = []
    return failed


@pytest.mark.slow
def test_the_example_passes_the_check_and_answers_every_request(site):
    assert named() == set()
    assert site.run() == []


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_check_reports_every_value_that_makes_a_request_fail(site, settings, name):
    given = settings.OAUTH2_PROVIDER
    for value in VALUES:
        settings.OAUTH2_PROVIDER = given | {name: value}
        if name not in named():
            settings.OAUTH2_PROVIDER |= {"ALWAYS_RELOAD_OAUTHLIB_CORE": True}
            oauth2_settings.reload()
            assert fails(site) == [], f"{name} = {value!r}"


@pytest.mark.parametrize("value", ["x", [], ["OAUTH2_PROVIDER"]])
def test_a_non_dictionary_oauth2_provider_is_reported(settings, value):
    settings.OAUTH2_PROVIDER = value
    assert any(
        "OAUTH2_PROVIDER is not a dictionary" in message.msg
        for message in run_checks(tags=["apikeys"])
    )


@pytest.mark.parametrize("name", ["OIDC_RSA_PRIVATE_KEY", "RESOURCE_SERVER_AUTH_TOKEN",
                                  "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS"])  # fmt: skip
@pytest.mark.parametrize("wrap", [list, dict, str])
def test_no_message_shows_the_value_of_a_setting(settings, name, wrap):
    secret = "s3cret-value"
    value = {list: [secret, 1], dict: {secret: secret}, str: secret}[wrap]
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {name: value}
    for message in run_checks(tags=["apikeys"]):
        assert secret not in f"{message.msg} {message.hint}"
