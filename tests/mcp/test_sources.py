"""How often a server in another process fetches the public keys of the site."""

import asyncio
import time

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from apikeys.mcp import sources
from apikeys.mcp.denials import Denied

KEY = RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256", "use": "sig"})
ISSUER, RESOURCE = "https://api.example.com/o", "https://mcp.example.com/mcp"


class Site(sources.Keys):
    """The keys of a site whose answers the test sets."""

    def __init__(self):
        super().__init__(RESOURCE, ISSUER)
        self.fetched, self.is_down, self.keys = [], False, [KEY]
        self.metadata = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}

    async def fetch(self, method, url, **kwargs):
        self.fetched.append(url)
        await asyncio.sleep(0)  # let the other requests run
        if self.is_down:
            raise Denied("temporarily_unavailable", status=503)
        keys = [key.as_dict(private=False) for key in self.keys]
        return self.metadata if "well-known" in url else {"keys": keys}

    async def code(self, token):
        try:
            await self.verify(token, {})
        except Denied as denied:
            return denied.code
        return "accepted"

    async def codes(self, *tokens):
        return set(await asyncio.gather(*map(self.code, tokens)))

    def wait(self, seconds):
        """Act as if ``seconds`` had passed."""
        self._fetched_at -= seconds
        self._tried_at -= seconds
        self._failed_at -= seconds


@pytest.fixture
def token():
    claims = {"iss": ISSUER, "aud": RESOURCE, "exp": int(time.time()) + 300, "sub": "1"}
    return jwt.encode({"alg": "RS256", "kid": "k", "typ": "at+jwt"}, claims, KEY)


def test_requests_at_the_same_time_share_one_fetch(token):
    site = Site()

    async def run():
        assert await site.codes(*[token] * 20) == {"accepted"}
        assert len(site.fetched) == 2  # the metadata and the keys
        site.wait(31)
        assert await site.codes(*["a.b.c"] * 50) == {"invalid_token"}
        assert len(site.fetched) == 3

    asyncio.run(run())


def test_keys_stay_in_use_for_an_hour_while_the_site_is_down(token):
    site = Site()

    async def run():
        assert await site.code(token) == "accepted"
        site.is_down = True
        site.wait(301)
        assert await site.codes(*[token] * 20) == {"accepted"}
        assert len(site.fetched) == 3
        site.wait(3600)
        assert await site.code(token) == "temporarily_unavailable"
        site.is_down = False
        site.wait(31)
        assert await site.code(token) == "accepted"

    asyncio.run(run())


def test_site_that_was_never_reached_is_asked_every_few_seconds(token):
    site = Site()

    async def run():
        site.is_down = True
        assert await site.codes(*[token] * 20) == {"temporarily_unavailable"}
        assert len(site.fetched) == 1
        site.is_down = False
        site.wait(6)
        assert await site.code(token) == "accepted"

    asyncio.run(run())


def test_cancelled_request_does_not_delay_the_next(token):
    site = Site()

    async def run():
        first = asyncio.create_task(site.code(token))
        while not site.fetched:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert await site.code(token) == "accepted"

    asyncio.run(run())


@pytest.mark.parametrize("url", ["", "http://api.example.com/jwks", "https://[x/jwks"])
def test_missing_endpoint_is_an_outage(token, url):
    site = Site()
    site.metadata["jwks_uri"] = url

    async def run():
        assert await site.code(token) == "temporarily_unavailable"
        site.metadata["jwks_uri"] = f"{ISSUER}/jwks"
        site.wait(6)
        assert await site.code(token) == "accepted"

    asyncio.run(run())
