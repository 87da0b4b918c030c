"""One good request to every endpoint that takes a credential, for tests that break something."""

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client
from oauth2_provider.models import Application

from apikeys.oauth.device import GRANT_TYPE as DEVICE
from apikeys.oauth.grants import ACCESS_TOKEN, JWT, TokenExchangeGrant
from example_project.payments.demo import PASSWORD
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, open_form

CALLBACK = "https://shop.example/callback"
VERIFIER = "verifier" * 8
CLIENT_SECRET = "the-secret-of-the-client"
WRONG_PASSWORD = "not-the-password-of-ada"
ASSERTION = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
OWN = "/settings/applications/own/"
FORM = "application/x-www-form-urlencoded"


class Site:
    """A user with keys, a project, a session and clients of every kind."""

    def __init__(self):
        member = MembershipFactory(
            user__username="ada",
            user__email="ada@example.com",
            user__is_staff=True,
            user__is_superuser=True,
            project__slug="engine",
            role="owner",
        )
        self.user, self.project = member.user, member.project
        self.user.set_password(PASSWORD)
        self.user.save()
        scopes = ["keys:read", "keys:write", "payments:read"]
        self.pat, self.key = mint_pat(self.user), mint_key(self.project)
        self.manager = mint_pat(self.user, scopes=scopes)
        self.clients = {
            client_id: Application.objects.create(
                client_id=client_id,
                name=client_id,
                client_type=kind,
                authorization_grant_type=grant,
                client_secret=CLIENT_SECRET if kind == "confidential" else "",
                redirect_uris=CALLBACK,
                user=self.user if client_id == "own" else None,
            )
            for client_id, kind, grant in (
                ("webapp", "public", "password"),
                ("shop", "confidential", "authorization-code"),
                ("own", "confidential", "authorization-code"),
                ("tv", "confidential", DEVICE),
                ("service", "confidential", "client-credentials"),
            )
        }
        self.browser = Client(raise_request_exception=False)
        self.browser.force_login(self.user)
        self.anyone = Client(raise_request_exception=False)

    def send(self, request):
        method, url, data, kwargs = request
        kwargs = dict(kwargs)
        client = self.browser if kwargs.pop("by_browser", False) else self.anyone
        return getattr(client, method)(url, data, **kwargs)

    def token(self, client_id=None, **form):
        if client_id is not None:
            form["client_id"] = client_id
            if self.clients[client_id].client_type == "confidential":
                form["client_secret"] = CLIENT_SECRET
        return "post", "/o/token/", form, {}

    def log_in(self, password=PASSWORD):
        return self.token("webapp", grant_type="password", username="ada", password=password,
                          scope="payments:read oauth2_provider:registration")  # fmt: skip

    def query(self):
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        return {
            "client_id": "shop",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "payments:read",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().strip("="),
            "code_challenge_method": "S256",
        }

    def consent(self):
        form = self.query() | {"allow": "Authorize", "reach": "all"}
        return "post", "/o/authorize/", form, {"by_browser": True}

    def code(self):
        location = self.send(self.consent())["Location"]
        return parse_qs(urlsplit(location).query)["code"][0]

    def exchange_code(self):
        return self.token("shop", grant_type="authorization_code", code=self.code(),
                          redirect_uri=CALLBACK, code_verifier=VERIFIER)  # fmt: skip

    def refresh(self):
        text = self.send(self.log_in()).json()["refresh_token"]
        return self.token("webapp", grant_type="refresh_token", refresh_token=text)

    def exchange(self, subject, wanted=ACCESS_TOKEN):
        return self.token(grant_type=TokenExchangeGrant.NAME, subject_token=subject,
                          subject_token_type=ACCESS_TOKEN, requested_token_type=wanted)  # fmt: skip

    def access_token(self):
        return self.send(self.log_in()).json()["access_token"]

    def device(self):
        form = {"client_id": "tv", "client_secret": CLIENT_SECRET, "scope": "payments:read"}
        return "post", "/o/device-authorization/", urlencode(form), {"content_type": FORM}

    def device_url(self, codes):
        form = {"user_code": codes["user_code"]}
        return self.send(("post", "/o/device/", form, {"by_browser": True}))["Location"]

    def device_token(self, *, accept=True):
        codes = self.send(self.device()).json()
        if accept:
            form = {"action": "accept", "reach": "all"}
            self.send(("post", self.device_url(codes), form, {"by_browser": True}))
        return self.token("tv", grant_type=DEVICE, device_code=codes["device_code"])

    def as_client(self, url, client_id="shop", **form):
        form |= {"client_id": client_id, "client_secret": CLIENT_SECRET}
        return "post", url, form, {}

    def basic(self, url, name, secret, **form):
        text = base64.b64encode(f"{name}:{secret}".encode()).decode()
        return "post", url, form, {"headers": {"Authorization": f"Basic {text}"}}

    def register(self, **kwargs):
        data = {"client_name": "Laptop", "redirect_uris": ["http://127.0.0.1/callback"]}
        kwargs = kwargs or {"by_browser": True}
        return "post", "/o/register/", data, {"content_type": "application/json", **kwargs}

    def manage(self, method):
        made = self.send(self.register()).json()
        data = {"client_name": "Desktop", "redirect_uris": ["http://127.0.0.1/callback"]}
        headers = bearer(made["registration_access_token"])
        kwargs = {"content_type": "application/json", "headers": headers}
        return method, f"/o/register/{made['client_id']}/", data, kwargs

    def api(self, method, url, data=None, token=None, **headers):
        headers |= bearer(token or self.manager.token)
        kwargs = {"headers": headers}
        if method != "get":
            kwargs["content_type"] = "application/json"
        return method, url, None if data is None else json.dumps(data), kwargs

    def page(self, method, url, data=None):
        if method == "post":
            found = self.browser.get(url).content.decode()
            hidden = dict(_hidden_fields(found))
            data = hidden | (data or {})
        return method, url, data, {"by_browser": True}

    def mint_page(self, url, **more):
        form = {"name": "page", "expiry": "30", "scopes:payments": "payments:read"}
        form |= more | open_form(self.browser, url)
        return "post", f"{url}new/", form, {"by_browser": True}


def _hidden_fields(text):
    import re

    return re.findall(r'<input type="hidden" name="(once|confirm|user)" value="([^"]*)"', text)


NEW = {"name": "api", "scopes": ["payments:read"]}

#: By name, what prepares a request and returns it.
OAUTH = {
    "password": Site.log_in,
    "wrong password": lambda site: site.log_in(WRONG_PASSWORD),
    "refresh": Site.refresh,
    "code": Site.exchange_code,
    "client credentials": lambda s: s.token("service", grant_type="client_credentials"),
    "key as a client": lambda s: s.basic(
        "/o/token/", s.key.key.public_id, s.key.token, grant_type="client_credentials"
    ),
    "exchange of a key": lambda s: s.exchange(s.pat.token),
    "exchange for a JWT": lambda s: s.exchange(s.key.token, JWT),
    "exchange of a token": lambda s: s.token(
        "webapp", grant_type=TokenExchangeGrant.NAME, subject_token=s.access_token(),
        subject_token_type=ACCESS_TOKEN,
    ),
    "pending device": lambda s: s.device_token(accept=False),
    "device": Site.device_token,
    "device codes": Site.device,
    "introspection of a key": lambda s: s.as_client("/o/introspect/", token=s.pat.token),
    "introspection of a token": lambda s: s.as_client("/o/introspect/", token=s.access_token()),
    "introspection by HTTP Basic": lambda s: s.basic(
        "/o/introspect/", "shop", CLIENT_SECRET, token=s.key.token
    ),
    "revocation of a key": lambda s: s.as_client("/o/revoke_token/", token=s.pat.token),
    "revocation of a token": lambda s: (
        "post", "/o/revoke_token/", {"client_id": "webapp", "token": s.access_token()}, {}
    ),
    "revocation by a key": lambda s: s.basic(
        "/o/revoke_token/", s.key.key.public_id, s.key.token, token=s.key.token
    ),
    "registration": Site.register,
    "registration with a token": lambda s: s.register(headers=bearer(s.access_token())),
    "registration read": lambda s: s.manage("get"),
    "registration changed": lambda s: s.manage("put"),
    "registration deleted": lambda s: s.manage("delete"),
}  # fmt: skip

API = {
    "who am I, with a token": lambda s: s.api("get", "/api/token/", token=s.access_token()),
    "who am I, with a key": lambda s: s.api("get", "/api/token/", token=s.key.token),
    "payments": lambda s: s.api("get", "/api/payments/", token=s.pat.token),
    "list": lambda s: s.api("get", "/api/tokens/"),
    "audit": lambda s: s.api("get", "/api/tokens/audit/"),
    "create": lambda s: s.api("post", "/api/tokens/", NEW, **{"Idempotency-Key": "once"}),
    "create for a project": lambda s: s.api("post", "/api/projects/engine/keys/", NEW),
    "change": lambda s: s.api(
        "patch", f"/api/tokens/{s.pat.key.public_id}/", {"name": "renamed"}
    ),
    "rotate": lambda s: s.api("post", f"/api/tokens/{s.pat.key.public_id}/rotate/", {}),
    "revoke": lambda s: s.api("delete", f"/api/tokens/{s.pat.key.public_id}/"),
    "leak report": lambda s: (
        "post", "/api/leaked/", json.dumps({"tokens": [s.pat.token]}),
        {"content_type": "application/json"},
    ),
    "gateway": lambda s: (
        "get", "/gateway/authorize/", None,
        {"headers": bearer(s.key.token) | {
            "X-Original-Method": "GET", "X-Original-URI": "/subscribers/1/offers"}},
    ),
}  # fmt: skip

PAGES = {
    "authorize": lambda s: ("get", "/o/authorize/", s.query(), {"by_browser": True}),
    "consent": Site.consent,
    "user code": lambda s: (
        "post", "/o/device/", {"user_code": s.send(s.device()).json()["user_code"]},
        {"by_browser": True},
    ),
    "device consent": lambda s: (
        "post", s.device_url(s.send(s.device()).json()), {"action": "accept", "reach": "all"},
        {"by_browser": True},
    ),
    "confirm": lambda s: s.page("post", f"{TOKENS}confirm/", {"password": PASSWORD}),
    "confirm wrongly": lambda s: s.page("post", f"{TOKENS}confirm/", {"password": WRONG_PASSWORD}),
    "tokens": lambda s: s.page("get", TOKENS),
    "create a token": lambda s: s.mint_page(TOKENS, reach="all"),
    "create a key": lambda s: s.mint_page(KEYS.replace("analytical-engine", "engine")),
    "rotate a token": lambda s: s.page(
        "post", f"{TOKENS}{s.pat.key.public_id}/rotate/", {"overlap": "3600", "expiry": "keep"}
    ),
    "revoke a token": lambda s: s.page("post", f"{TOKENS}{s.pat.key.public_id}/revoke/"),
    "applications": lambda s: s.page("get", "/settings/applications/"),
    "register a client": lambda s: s.page("post", f"{OWN}new/", {
        "name": "Ledger", "client_type": "confidential", "grant_types": ["authorization_code"],
        "redirect_uris": CALLBACK,
    }),
    "new secret": lambda s: s.page(
        "post", f"{OWN}{s.clients['own'].pk}/secret/", {"overlap": "0"}
    ),
    "delete a client": lambda s: s.page("post", f"{OWN}{s.clients['own'].pk}/delete/"),
}  # fmt: skip

ADMIN = {
    "admin list": lambda s: s.page("get", "/admin/apikeys/projectkey/"),
    "admin key": lambda s: s.page("get", f"/admin/apikeys/projectkey/{s.key.key.pk}/change/"),
    "admin change": lambda s: (
        "post", f"/admin/apikeys/project/{s.project.pk}/change/", {
            "name": "Renamed", "slug": "engine", "is_active": "on",
            "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"},
        {"by_browser": True},
    ),
}  # fmt: skip

EVERY = OAUTH | API | PAGES | ADMIN
