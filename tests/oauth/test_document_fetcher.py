"""The document of a client is fetched within a total time, and must be JSON."""

import json
import time
from email.message import Message

import pytest
from oauth2_provider import cimd

from apikeys import fetching
from apikeys.oauth import document_fetcher
from tests.test_fetching import Slow

URL = "https://agent.example/client.json"


@pytest.fixture
def provider(settings):
    def change(**options):
        kept = {k: v for k, v in settings.OAUTH2_PROVIDER.items() if k != "CIMD_METADATA_FETCHER"}
        settings.OAUTH2_PROVIDER = kept | options

    change()
    return change


def answer(monkeypatch, body, status=200, kind="application/json", cache="max-age=600"):
    headers = Message()
    headers["Content-Type"] = kind
    headers["Cache-Control"] = cache
    monkeypatch.setattr(
        fetching, "get", lambda url, **options: fetching.Answer(status, headers, body)
    )


def refused(url=URL):
    with pytest.raises(cimd.CIMDError) as error:
        document_fetcher.chosen().fetch(url)
    return str(error.value)


@pytest.mark.slow
def test_server_that_drips_bytes_does_not_hold_the_worker(provider, monkeypatch):
    provider(CIMD_FETCH_TIMEOUT_SECONDS=0.3)
    monkeypatch.setattr(fetching, "is_allowed", lambda *args, **kwargs: True)
    server = Slow(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    monkeypatch.setattr(fetching, "origin", lambda *a, **k: ("http", "127.0.0.1", server.port))
    started = time.monotonic()
    with server.listening:
        assert "fetched" in refused(f"https://127.0.0.1:{server.port}/client.json")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1"])
@pytest.mark.parametrize("debug", [True, False])
def test_private_address_is_refused(provider, settings, address, debug):
    settings.DEBUG = debug
    assert "private address" in refused(f"https://{address}/client.json")


def test_document_is_returned_with_its_age(provider, monkeypatch):
    answer(monkeypatch, json.dumps({"client_id": URL}).encode(), kind="application/cimd+json")
    assert document_fetcher.chosen().fetch(URL) == ({"client_id": URL}, 600)


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        (b"{}", {"status": 302}, "answers 302"),
        (b"{}", {"kind": "text/html"}, "not JSON"),
        (b"[]", {}, "not a JSON object"),
        (b"{", {}, "could not be fetched"),
        (b"[" * 100_000, {}, ""),
        (b"{}", {"cache": "max-age=" + "9" * 5000}, "could not be fetched"),
    ],
)
def test_bad_answer_is_refused(provider, monkeypatch, body, options, reason):
    answer(monkeypatch, body, **options)
    assert reason in refused()


@pytest.mark.parametrize(
    "url",
    ["http://agent.example/c", "https://a@b.example/c", "https://x/../c", "https://[/x"],
)
def test_bad_url_is_refused_before_it_is_fetched(provider, monkeypatch, url):
    monkeypatch.setattr(fetching, "get", lambda *args, **options: pytest.fail("fetched"))
    assert refused(url)


def test_own_fetcher_of_the_site_is_used(provider):
    provider(CIMD_METADATA_FETCHER="tests.oauth.test_documents.Fetcher")
    assert type(document_fetcher.chosen()).__name__ == "Fetcher"
