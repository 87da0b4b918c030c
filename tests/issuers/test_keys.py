"""Keys stay in the process, are refreshed in the background, and no flood fetches them again."""

import asyncio
import threading
import time

import pytest
from joserfc.jwk import RSAKey

from apikeys.issuers import algorithms, entries, keys
from apikeys.refusals import Refused
from tests.issuers import provider
from tests.issuers.provider import KEYS, encoded

NEW = RSAKey.generate_key(2048, {"kid": "new"})


@pytest.fixture
def clock(monkeypatch):
    """Move the clock of the keys."""

    class Clock:
        now = time.monotonic()

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(keys, "time", clock)
    return clock


@pytest.fixture
def issuer(server):
    return entries.build(server.url, {"AUDIENCES": [provider.AUDIENCE]})


def find(issuer, kid="rsa", alg="RS256"):
    return keys.find(issuer, kid, alg).kid


def code(issuer, kid="rsa"):
    with pytest.raises(Refused) as refused:
        find(issuer, kid)
    return refused.value.refusal.code


def settle():
    """Wait for a fetch in the background."""
    for thread in threading.enumerate():
        if thread.name == "apikeys-issuer-keys":
            thread.join(5)
            assert not thread.is_alive()


def test_keys_are_discovered_once(server, issuer):
    assert find(issuer) == "rsa"
    assert find(issuer, "ec", "ES256") == "ec"
    assert server.requests == ["/.well-known/openid-configuration", "/jwks"]


@pytest.mark.parametrize(
    ("url", "discovery", "expected"),
    [
        ("https://a.example/b/", "openid", "https://a.example/b/.well-known/openid-configuration"),
        ("https://a.example", "oauth", "https://a.example/.well-known/oauth-authorization-server"),
        (
            "https://a.example/b",
            "oauth",
            "https://a.example/.well-known/oauth-authorization-server/b",
        ),
    ],
)
def test_metadata_is_where_the_standard_says(url, discovery, expected):
    assert keys.metadata_url(entries.build(url, {"DISCOVERY": discovery})) == expected


def test_url_of_the_keys_needs_no_discovery(server):
    entry = {"AUDIENCES": ["a"], "JWKS_URL": f"{server.url}/jwks"}
    assert find(entries.build("https://id.example.com", entry)) == "rsa"
    assert server.requests == ["/jwks"]


def test_metadata_of_another_issuer_is_refused(server, issuer):
    server.pages["/.well-known/openid-configuration"]["issuer"] = "https://other.example.com"
    assert code(issuer) == "issuer_unavailable"
    assert "/jwks" not in server.requests


@pytest.mark.parametrize("url", ["http://id.example.com/jwks", "https://169.254.169.254/", 1, None])
def test_metadata_cannot_name_a_place_that_is_refused(server, issuer, url):
    server.pages["/.well-known/openid-configuration"]["jwks_uri"] = url
    assert code(issuer) == "issuer_unavailable"


def test_rotated_key_is_found_by_its_first_token(server, issuer, clock):
    find(issuer)
    server.provide(NEW)
    clock.now += keys.RETRY
    assert find(issuer, "new") == "new"
    assert code(issuer) == "unknown_signing_key"


def test_flood_of_unknown_keys_fetches_once_in_30_seconds(server, issuer, clock):
    find(issuer)
    clock.now += keys.RETRY
    before = len(server.requests)
    for number in range(200):
        assert code(issuer, f"kid-{number}") == "unknown_signing_key"
    assert len(server.requests) - before == 2  # metadata and keys


def test_keys_are_refreshed_in_the_background(server, issuer, clock):
    find(issuer)
    server.provide(NEW)
    clock.now += keys.REFRESH + 1
    assert find(issuer) == "rsa"  # answered from memory
    settle()
    assert code(issuer) == "unknown_signing_key"


def test_stale_keys_are_used_for_a_day_while_the_issuer_is_down(server, issuer, clock):
    find(issuer)
    server.pages.clear()
    for _ in range(3):
        clock.now += keys.STALE // 4
        assert find(issuer) == "rsa"
        settle()
    clock.now += keys.STALE // 4 + 1
    assert code(issuer) == "issuer_unavailable"
    server.provide()
    clock.now += keys.RETRY
    code_or_key(issuer)
    settle()
    assert find(issuer) == "rsa"


def code_or_key(issuer):
    try:
        return find(issuer)
    except Refused as refused:
        return refused.refusal.code


def test_issuer_that_is_down_costs_a_request_nothing(server, issuer, clock):
    """Only the first fetch is waited for. After a failure, requests start one and go on."""
    server.pages.clear()
    assert code(issuer) == "issuer_unavailable"
    settle()
    begun, going = threading.Event(), threading.Event()

    def hang(handler):
        begun.set()
        going.wait(5)

    server.pages["/.well-known/openid-configuration"] = hang
    clock.now += keys.RETRY
    started = time.monotonic()
    assert code(issuer) == "issuer_unavailable"
    assert time.monotonic() - started < 1
    assert begun.wait(5)
    going.set()
    settle()


def test_fetch_that_hangs_does_not_end_all_fetches(server, issuer, clock, monkeypatch):
    """The resolver of the system may take any time. What comes late replaces no newer keys."""
    begun, going = threading.Event(), threading.Event()
    fetch = keys.fetch

    def hang(*args):
        begun.set()
        going.wait(10)
        return {"issuer": server.url, "jwks_uri": f"{server.url}/jwks", "keys": provider.jwks(NEW)}

    monkeypatch.setattr(keys, "WAIT", 0)
    monkeypatch.setattr(keys, "fetch", hang)
    assert code(issuer) == "issuer_unavailable"
    assert begun.wait(5)
    monkeypatch.setattr(keys, "fetch", fetch)
    monkeypatch.setattr(keys, "WAIT", 5)
    clock.now += keys.STUCK
    assert find(issuer) == "rsa"
    going.set()
    settle()
    assert find(issuer) == "rsa"


def test_event_loop_never_waits(server, issuer):
    going = threading.Event()
    server.pages["/.well-known/openid-configuration"] = lambda handler: going.wait(5)

    async def ask():
        return code(issuer)

    started = time.monotonic()
    assert asyncio.run(ask()) == "issuer_unavailable"
    assert time.monotonic() - started < 1
    going.set()
    settle()


def test_pinned_keys_are_never_fetched(server, monkeypatch):
    monkeypatch.setattr(keys, "fetch", lambda *args: pytest.fail("fetched"))
    pinned = provider.issuer()
    assert find(pinned) == "rsa"
    assert code(pinned, "new") == "unknown_signing_key"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ES256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": ["RSA"]},
        {"kid": 1},
        {"n": "AQAB"},
        {"n": 1},
        {"e": ""},
    ],
)
def test_unusable_key_is_left_out(change):
    jwk = {**KEYS["RS256"].as_dict(private=False), **change}
    assert algorithms.public_key(jwk) is None


def test_weak_key_is_left_out():
    modulus = encoded((2**1023 + 1).to_bytes(128, "big"))
    weak = {**KEYS["RS256"].as_dict(private=False), "n": modulus}
    assert algorithms.public_key(weak) is None
    assert algorithms.public_key("text") is None


def test_private_members_of_a_key_are_not_read():
    key = algorithms.public_key(KEYS["RS256"].as_dict(private=True))
    assert key is not None
    assert not key.key.is_private


@pytest.mark.parametrize("document", [{}, {"keys": 1}, {"keys": []}, {"keys": [{}] * 101}])
def test_unusable_document_leaves_the_keys_as_they_are(server, issuer, clock, document):
    find(issuer)
    server.pages["/jwks"] = document
    clock.now += keys.REFRESH + 1
    find(issuer)
    settle()
    assert find(issuer) == "rsa"
