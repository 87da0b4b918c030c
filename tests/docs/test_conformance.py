"""The page on conformance names tests that there are, and what is not met is so."""

import ast
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth2_provider.models import Application

from apikeys.verify import verify
from tests.documents import ROOT, read, table
from tests.factories import bearer

PAGES = ["docs/reference/rfc-conformance.md", "docs/reference/threat-model.md"]
VERIFIER = "v" * 64
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "http://127.0.0.1/callback"
QUERY = {
    "client_id": "acme-cli",
    "response_type": "code",
    "redirect_uri": REDIRECT,
    "scope": "payments:read",
    "state": "xyz",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def names(module):
    tree = ast.parse((ROOT / "tests" / module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield node.name
            yield from (
                f"{node.name}::{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef)
            )


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page):
    told = re.findall(r"`([\w/]+\.py)::([\w:]+)`", read(page))
    assert len(told) > 50

    modules = {module: set(names(module)) for module, _ in told}
    assert [(m, name) for m, name in told if name not in modules[m]] == []


def test_what_nothing_shows_says_so():
    rows = table("docs/reference/rfc-conformance.md", "section")
    assert all(len(row) == 5 for row in rows)

    for row in rows:
        assert row[4] == "none" or re.fullmatch(r"`[\w/]+\.py::[\w:]+`", row[4]), row


@pytest.fixture
def code(client, ada):
    """Asks for a code, as ada's browser does."""
    Application.objects.create(
        client_id="acme-cli",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECT,
        client_secret="",
    )
    client.force_login(ada)

    def code(**changes):
        response = client.post("/o/authorize/", QUERY | changes)
        found = parse_qs(urlsplit(response.get("Location", "")).query)
        return found["code"][0] if response.status_code == 302 else None

    return code


def redeem(client, code):
    form = {
        "grant_type": "authorization_code",
        "client_id": "acme-cli",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    return client.post("/o/token/", form)


def test_a_replayed_code_ends_no_token(client, code, ada):
    """RFC 6749 section 4.1.2, the SHOULD that is not met."""
    once = code(allow="Authorize")
    token = redeem(client, once).json()["access_token"]

    assert redeem(client, once).json()["error"] == "invalid_grant"
    assert verify(token).user == ada


def test_revoking_a_refresh_token_ends_its_access_token(client, code):
    """RFC 7009 section 2.1."""
    grant = redeem(client, code(allow="Authorize")).json()
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 200

    form = {"client_id": "acme-cli", "token": grant["refresh_token"]}
    assert client.post("/o/revoke_token/", form).status_code == 200
    assert client.get("/api/token/", headers=bearer(grant["access_token"])).status_code == 401
