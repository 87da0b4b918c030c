"""The settings in the documentation accept the access tokens of each provider, and no ID token."""

import json
import shlex
from urllib.parse import urlsplit

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from apikeys.issuers.models import Identity
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.documents import ROOT, blocks, headings, links
from tests.factories import UserFactory, bearer
from tests.issuers import provider
from tests.issuers.provider import sign
from tests.issuers.shapes import SHAPES

pytestmark = pytest.mark.django_db
GUIDE, REFERENCE = "docs/how-to/identity-providers.md", "docs/reference/issuers.md"
#: The page of each provider.
PROVIDERS = [
    "docs/how-to/identity-providers/auth0.md",
    "docs/how-to/identity-providers/cognito.md",
    "docs/how-to/identity-providers/entra-id.md",
    "docs/how-to/identity-providers/google.md",
    "docs/how-to/identity-providers/keycloak.md",
    "docs/how-to/identity-providers/okta.md",
]
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def documented():
    """The entries on the pages of all providers."""
    entries = {}
    for page in PROVIDERS:
        for code in blocks(page, "python"):
            exec(code, scope := {"APIKEYS": {}})
            entries |= scope["APIKEYS"]["ISSUERS"]
    return entries


@pytest.fixture(autouse=True)
def _documented(settings):
    """The entries, with the test's keys in place of the provider's."""
    issuers = {
        url: {**{k: v for k, v in entry.items() if k != "JWKS_URL"}, "JWKS": provider.jwks()}
        for url, entry in documented().items()
    }
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": issuers}


def token(header, claims):
    return sign(header={"typ": None, **header}, payload=json.dumps(claims))


def test_every_documented_issuer_has_a_shape():
    assert set(documented()) == {shape.issuer for shape in SHAPES.values()}


def test_overview_links_to_the_page_of_each_provider():
    folder = ROOT / "docs/how-to/identity-providers"
    pages = {f"identity-providers/{path.name}" for path in folder.glob("*.md")}
    assert pages == {page.removeprefix("docs/how-to/") for page in PROVIDERS}
    assert pages <= set(links(GUIDE))


@pytest.mark.parametrize("page", PROVIDERS)
def test_page_of_a_provider_says_where_to_click_what_to_set_and_how_to_try_it(page):
    assert {"settings", "good-to-know", "try-it"} <= set(headings(ROOT / page))
    (command,) = blocks(page, "console")
    words = shlex.split(command)
    assert words[0] in ("curl", "gcloud")
    if words[0] == "curl":
        assert urlsplit(words[1]).scheme == "https"
        assert "grant_type=client_credentials" in words


@EACH
def test_first_token_is_valid_and_the_second_request_has_a_user(shape, client):
    """As the overview shows it."""
    (command,) = blocks(GUIDE, "console")
    path = urlsplit(shlex.split(command)[-1]).path
    headers = bearer(token(shape.header, shape.access))
    response = client.get(path, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "unknown_identity")
    user = UserFactory(username="reports")
    Identity.objects.create(issuer=shape.issuer, subject=shape.access["sub"], user=user)
    response = client.get(path, headers=headers)
    assert (response.status_code, response.json()["user"]) == (200, "reports")


@EACH
def test_access_token_has_its_scopes_user_and_client(shape):
    user = UserFactory()
    Identity.objects.create(issuer=shape.issuer, subject=shape.access["sub"], user=user)
    access = verify(token(shape.header, shape.access))
    assert (access.user, access.issuer) == (user, shape.issuer)
    assert sorted(access.scope.split()) == sorted(shape.expected.split())
    assert access.client.client_id == shape.client


def code(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal.code


@EACH
def test_id_token_is_refused(shape):
    assert code(token(shape.header, shape.id_token)) in (
        "wrong_audience",
        "wrong_client",
        "id_token_not_accepted",
    )
    # Also one whose audience and client would be right.
    right = {name: shape.access[name] for name in ("aud", "client_id") if name in shape.access}
    assert code(token(shape.header, {**shape.id_token, **right})) == "id_token_not_accepted"


@EACH
def test_token_for_another_api_is_refused(shape):
    other = {**shape.access, "aud": "https://other.example.com", "client_id": "other"}
    assert code(token(shape.header, other)) in ("wrong_audience", "wrong_client")


@EACH
def test_token_of_another_tenant_is_left_to_oauth(shape):
    other = {**shape.access, "iss": shape.issuer.rstrip("/") + "x"}
    assert code(token(shape.header, other)) == "invalid_token"


# The reference


def test_settings_of_the_reference_pass_their_checks():
    scope = {"INSTALLED_APPS": [], "APIKEYS": {}}
    exec(blocks(REFERENCE, "python")[0], scope)
    assert scope["INSTALLED_APPS"] == ["apikeys.issuers"]
    with override_settings(APIKEYS={"SCOPES": dict.fromkeys(SCOPES, "…"), **scope["APIKEYS"]}):
        assert [each.id for each in run_checks() if each.id.startswith("apikeys.E1")] == []
    assert "apikeys.issuers.urls" in blocks(REFERENCE, "python")[1]


SCOPES = ["payments:write", "reports:read"]


def test_policy_of_the_reference_creates_employees_only(settings):
    exec(blocks(REFERENCE, "python")[2], scope := {})
    assert issubclass(scope["AcmePolicy"], Policy)
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": scope["AcmePolicy"]}
    shape = SHAPES["auth0"]
    assert code(token(shape.header, shape.access)) == "unknown_identity"
    employee = {**shape.access, "groups": ["employee"]}
    assert verify(token(shape.header, employee)).user.username == "auth0|64b2c0@employees"


def test_policy_of_the_guide_finds_the_account_of_allauth():
    pytest.importorskip("allauth")
    (code,) = [each for each in blocks(GUIDE, "python") if "SocialAccount" in each]
    compile(code, GUIDE, "exec")
    assert 'uid=claims["sub"]' in code
