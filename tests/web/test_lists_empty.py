"""An empty list says why it is empty, and offers the next step."""

import re

import pytest

from tests.factories import mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

CLIENTS = "/settings/applications/own/"


def box(response):
    """Return the HTML of the box of an empty list."""
    html = response.content.decode()
    return re.search(r'(?s)class="ak-empty">(.*?)</(?:div|p)>\s*</div>', html)[1]


def test_empty_list_offers_to_create_one(page, place, engine):
    shown = box(page.get(place.url))
    assert f'href="{place.url}new/"' in shown
    assert "call the API with a" in shown
    for params in ({"state": "ended"}, {"q": "x"}):
        shown = box(page.get(place.url, params))
        assert f'href="{place.url}new/"' not in shown


def test_viewer_is_offered_no_new_key(client, viewer, engine):
    client.force_login(viewer)
    response = client.get(KEYS)
    assert "No active keys." in box(response)
    assert f"{KEYS}new/" not in response.content.decode()


def test_empty_list_of_clients_offers_to_register_one(page, ada):
    shown = box(page.get(CLIENTS))
    assert "You have not registered any clients." in shown
    assert f'href="{CLIENTS}new/"' in shown
    assert "Register" not in box(page.get(CLIENTS, {"q": "nowhere"}))


def test_approvals_are_pending_only_if_there_are_any(page, engine):
    pending = "These requests are pending your approval."
    text = text_of(page.get(f"{TOKENS}approvals/"))
    assert pending not in text
    assert "New tokens and keys that need your approval appear here" in text
    type(key := mint_key(engine).key).objects.filter(pk=key.pk).update(is_pending=True)
    assert pending in text_of(page.get(f"{TOKENS}approvals/"))


@pytest.mark.slow
def test_list_links_once_to_what_is_unused(page, ada, engine):
    mint_pat(ada)
    mint_key(engine)
    for url in (TOKENS, KEYS):
        html = page.get(url).content.decode()
        assert html.count("Everything of yours that was not used in 90 days") == 1


@pytest.mark.slow
def test_activity_without_events_links_to_the_requests(page, place, ada, engine):
    key = (mint_pat(ada) if place.url == TOKENS else mint_key(engine)).key
    link = f'href="{place.url}{key.public_id}/#ak-use"'
    params = {"key": key.public_id, "since": "2020-01-01", "until": "2020-01-01"}

    response = page.get(f"{place.url}activity/", params)

    assert "Requests are not events:" in text_of(response)
    assert link in response.content.decode()
    assert 'id="ak-use"' in page.get(f"{place.url}{key.public_id}/").content.decode()
    for others in ({"key": key.public_id}, {"since": "2020-01-01", "until": "2020-01-01"}):
        assert "#ak-use" not in page.get(f"{place.url}activity/", others).content.decode()
