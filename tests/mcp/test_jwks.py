"""A server in another process verifies JWTs with the public keys of the site."""

import asyncio
import hashlib
import hmac
import time
from base64 import urlsafe_b64encode

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from apikeys.mcp import TokenVerifier, sources
from apikeys.mcp.denials import Denied
from tests.factories import mint_pat
from tests.mcp.test_sources import ISSUER, KEY, RESOURCE, Site
from tests.oauth import conftest, test_jwt_resources
from tests.oauth.test_exchange import part
from tests.oauth.test_jwt_resources import OTHER, refresh

STRANGER = RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256", "use": "sig"})
app, query, visitor = conftest.app, conftest.query, conftest.visitor
grant = test_jwt_resources.grant


def sign(key=KEY, header=(), **changes):
    claims = {"iss": ISSUER, "aud": RESOURCE, "exp": int(time.time()) + 300, "sub": "1"}
    claims |= {"client_id": "app", "scope": "payments:write"} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": "RS256", "kid": "k", "typ": "at+jwt"} | dict(header)
    algorithms = [header["alg"]]
    return jwt.encode(header, claims, key, algorithms=algorithms)


def verify(token, site=None):
    return asyncio.run((site or Site()).verify(token, {}))


def code(token):
    return asyncio.run(Site().code(token))


def test_facts_of_a_token():
    facts = verify(sign(exp=(ends := int(time.time()) + 60)))
    assert (facts.client_id, facts.subject, facts.expires_at) == ("app", "1", ends)
    assert facts.scopes == {"payments:write", "payments:read"}
    assert facts.is_for_resource
    assert facts.claims == {"iss": ISSUER, "client_id": "app", "aud": RESOURCE}


@pytest.mark.parametrize(
    ("audience", "is_for_resource"),
    [
        (RESOURCE, True),
        (f"{RESOURCE}/", True),
        ([OTHER, RESOURCE], True),
        ("https://mcp.example.com", False),
        ("https://mcp.example.com/", False),
    ],
)
def test_audiences_that_cover_the_server(audience, is_for_resource):
    assert verify(sign(aud=audience)).is_for_resource is is_for_resource


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None},
        {"aud": []},
        {"aud": OTHER},
        {"aud": [OTHER]},
        {"aud": f"{RESOURCE}/deeper"},
        {"aud": "https://mcp.example.com/mcpx"},
        {"aud": "http://mcp.example.com/mcp"},
        {"aud": "https://mcp.example.com:8443/mcp"},
        {"aud": 5},
        {"iss": None},
        {"iss": "https://api.example.com"},
        {"iss": f"{ISSUER}/"},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
    ],
    ids=str,
)
def test_other_claims_are_refused(changes):
    assert code(sign(**changes)) == "invalid_token"


@pytest.mark.parametrize("kind", ["JWT", "", "logout+jwt", None])
def test_other_types_are_refused(kind):
    """Such as an ID token, which has the same keys."""
    assert code(sign(header={"typ": kind} if kind is not None else {"typ": "x"})) == "invalid_token"


def test_type_is_compared_without_case():
    assert code(sign(header={"typ": "AT+JWT"})) == "accepted"


def test_other_signatures_are_refused():
    head, body, signature = sign().split(".")
    # The public key as an HMAC secret.
    signed = f"{part({'alg': 'HS256', 'kid': 'k', 'typ': 'at+jwt'})}.{body}"
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), hashlib.sha256)
    for token in (
        sign(STRANGER),
        sign(RSAKey.import_key(KEY.as_pem(private=True)), header={"alg": "PS256"}),
        f"{signed}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{body}.",
        f"{head}.{body}.",
        f"{head}.{sign(sub='2').split('.')[1]}.{signature}",
    ):
        assert code(token) == "invalid_token"


def test_opaque_tokens_and_keys_are_refused_without_a_request():
    site = Site()
    for token in ("opaque", "acme_key_0123456789abcdef_" + "a" * 49, "a.b", "a.b.c.d"):
        with pytest.raises(Denied):
            verify(token, site)
    assert site.fetched == []


def test_new_key_of_the_site_is_fetched():
    site, new = Site(), RSAKey.generate_key(2048, {"kid": "n", "alg": "RS256", "use": "sig"})

    async def run():
        assert await site.code(sign()) == "accepted"
        token = sign(new, header={"kid": "n"})
        assert await site.code(token) == "invalid_token"
        site.keys = [KEY, new]
        assert await site.code(token) == "invalid_token"  # too soon to ask again
        site.wait(31)
        assert await site.codes(token, sign()) == {"accepted"}
        site.keys = [new]
        site.wait(301)
        assert await site.code(sign()) == "invalid_token"

    asyncio.run(run())


def test_verifier_of_the_sdk_accepts_and_refuses():
    verifier = TokenVerifier(RESOURCE, issuer=ISSUER)
    verifier._source = Site()
    found = asyncio.run(verifier.verify_token(sign()))
    assert (found.client_id, found.subject, found.resource) == ("app", "1", RESOURCE)
    assert found.scopes == ["payments:read", "payments:write"]
    assert found.access is None
    assert asyncio.run(verifier.verify_token(sign(aud="https://mcp.example.com"))).resource is None
    for token in (sign(aud=OTHER), "opaque", "é.b.c", "a.b." + "c" * 10_000):
        assert asyncio.run(verifier.verify_token(token)) is None


@pytest.mark.parametrize("url", ["http://api.example.com/o", "ftp://x", "api.example.com"])
def test_issuer_without_tls_is_refused(url):
    with pytest.raises(ValueError, match="must be an https URL"):
        TokenVerifier(RESOURCE, issuer=url)


class TestTokensOfTheSite:
    """The site issues the tokens, and the server reads the keys that the site publishes."""

    RESOURCE, ISSUER = "http://localhost/mcp", "http://testserver/o"

    @pytest.fixture(autouse=True)
    def listed(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"JWT_RESOURCES": [self.RESOURCE]}

    @pytest.fixture
    def accepts(self, client, monkeypatch):
        documents = {}
        for path in ("/.well-known/oauth-authorization-server/o", "/o/.well-known/jwks.json"):
            documents[f"http://testserver{path}"] = client.get(path).json()
        monkeypatch.setattr(sources, "_check_secure", lambda url: None)
        keys = sources.Keys(self.RESOURCE, self.ISSUER)

        async def fetch(method, url, **kwargs):
            return documents[url]

        keys.fetch = fetch

        def accepts(token):
            try:
                return asyncio.run(keys.verify(token, {}))
            except Denied:
                return None

        return accepts

    @pytest.mark.slow
    def test_code_and_refresh_token_give_tokens_for_the_server(self, grant, client, accepts, ada):
        made = grant(self.RESOURCE)
        for token in (made["access_token"], refresh(client, made)["access_token"]):
            facts = accepts(token)
            assert (facts.subject, facts.client_id) == (str(ada.pk), "app")
            assert facts.scopes == {"payments:read", "reports:read"}

    def test_other_credentials_of_the_site_are_refused(self, grant, accepts, ada):
        assert accepts(grant(None)["access_token"]) is None
        assert accepts(grant(OTHER)["access_token"]) is None
        assert accepts(mint_pat(ada).token) is None
