"""The pages of tokens say token, and confirmations name their consequence."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle, usage
from apikeys.web.views.rows import labelled
from tests.factories import mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of


@pytest.mark.parametrize(
    "path", ["", "new/", "{id}/", "{id}/edit/", "{id}/rotate/", "{id}/revoke/"]
)
def test_pages_of_a_token_do_not_call_it_a_key(page, ada, path):
    key = mint_pat(ada, expires_at=timezone.now() + timedelta(days=2)).key
    told = text_of(page.get(TOKENS + path.format(id=key.public_id)))
    for fine in ("Project keys", "tokens and keys", "Tokens and keys", " keys No access"):
        told = told.replace(fine, "")
    assert re.findall(r"[^.]*\b[Kk]eys?\b[^.]*", told) == []


@pytest.mark.parametrize(("place", "noun"), [(TOKENS, "token"), (KEYS, "key")])
def test_help_names_the_kind(page, ada, engine, place, noun):
    made = mint_pat(ada) if noun == "token" else mint_key(engine)
    assert f"What the {noun} is for" in text_of(page.get(f"{place}new/"))
    revoke = text_of(page.get(f"{place}{made.key.public_id}/revoke/"))
    assert f"Everyone who can view the {noun} can read the reason." in revoke


def test_conflict_on_a_token_page_says_token(page, ada):
    key = mint_pat(ada).key
    lifecycle.revoke(key)
    response = page.post(f"{TOKENS}{key.public_id}/rotate/", {"overlap": "0", "expiry": "30"})
    assert response.status_code == 409
    assert "This token was revoked. Create a new one." in text_of(response)
    assert "All tokens" in text_of(response)


@pytest.mark.slow
def test_confirmations_name_the_use(page, place, ada, engine):
    made = mint_pat(ada) if place.url == TOKENS else mint_key(engine)
    url = f"{place.url}{made.key.public_id}/"
    for action in ("revoke/", "rotate/"):
        told = text_of(page.get(url + action))
        assert "It was never used." in told
        assert "needs the new secret" not in told
    for _ in range(1200):
        usage.note_use(place.model, made.key.pk, "203.0.113.7")
    usage.flush()
    used = "Last used just now : 1,200 requests today (UTC), 1,200 in the last 30 days."
    assert used in text_of(page.get(url + "revoke/"))
    rotate = text_of(page.get(url + "rotate/"))
    assert used in rotate
    assert "needs the new secret before the old one ends" in rotate

    place.model.objects.update(last_used_at=timezone.now() - timedelta(days=3))
    rotate = text_of(page.get(url + "rotate/"))
    assert "Last used 3 days ago" in rotate
    assert "needs the new secret" in rotate


@pytest.mark.parametrize("action", ["revoke/", "pause/"])
def test_confirmation_says_once_when_it_was_used_and_from_where(page, place, ada, engine, action):
    made = mint_pat(ada) if place.url == TOKENS else mint_key(engine)
    usage.note_use(place.model, made.key.pk, "203.0.113.7")
    usage.flush()
    told = text_of(page.get(f"{place.url}{made.key.public_id}/{action}"))
    assert told.count("just now") == 1
    assert "Last used from 203.0.113.7" in told


def test_confirmation_of_several_names_their_use(page, place, ada, engine):
    keys = [(mint_pat(ada) if place.url == TOKENS else mint_key(engine)).key for _ in range(3)]
    ids = {"id": [key.public_id for key in keys]}
    told = text_of(page.post(f"{place.url}revoke/", ids))
    assert "with any of these" in told
    assert "Together they made" not in told
    assert "used in the last hour" not in told
    for key in keys[:2]:
        usage.note_use(place.model, key.pk, "203.0.113.7")
    usage.flush()
    told = text_of(page.post(f"{place.url}revoke/", ids))
    assert "2 of them were used in the last hour. Together they made 2 requests today" in told


@pytest.mark.parametrize("verb", ["revoke", "pause", "resume"])
def test_confirmation_of_one_speaks_of_one(page, place, ada, engine, verb):
    made = mint_pat(ada) if place.url == TOKENS else mint_key(engine)
    if verb == "resume":
        lifecycle.pause(made.key)
    ids = {"id": made.key.public_id}
    told = text_of(page.post(f"{place.url}{verb}/", ids))
    assert re.search(r"(The next request|Requests) with it (is|are|works)", told)
    assert "any of these" not in told
    assert "of them" not in told
    if verb == "resume":
        return
    assert "It was never used." in told
    usage.note_use(place.model, made.key.pk, "203.0.113.7")
    usage.flush()
    told = text_of(page.post(f"{place.url}{verb}/", ids))
    assert "Last used just now : 1 request today (UTC), 1 in the last 30 days." in told


def test_several_that_were_used_earlier_today_name_only_their_requests(page, place, ada, engine):
    keys = [(mint_pat(ada) if place.url == TOKENS else mint_key(engine)).key for _ in range(2)]
    usage.note_use(place.model, keys[0].pk, "203.0.113.7")
    usage.flush()
    place.model.objects.update(last_used_at=timezone.now() - timedelta(hours=2))
    told = text_of(page.post(f"{place.url}revoke/", {"id": [key.public_id for key in keys]}))
    assert "Together they made 1 request today (UTC)." in told
    assert "used in the last hour" not in told


@pytest.mark.slow
def test_revoked_key_shows_when_it_would_have_expired(page, place, ada, engine):
    ends = {"expires_at": timezone.now() + timedelta(days=20)}
    made = mint_pat(ada, **ends) if place.url == TOKENS else mint_key(engine, **ends)
    url = f"{place.url}{made.key.public_id}/"
    assert "in 20 days" in text_of(page.get(url))
    lifecycle.revoke(made.key)
    told = text_of(page.get(url))
    assert "Would have expired" in told
    assert "in 20 days" not in told
    assert "Expires" not in told
    place.model.objects.update(expires_at=None)
    told = text_of(page.get(url))
    assert "xpire" not in told


def test_every_choice_of_a_rotation_completes_its_label(page, place, ada, engine):
    made = mint_pat(ada) if place.url == TOKENS else mint_key(engine)
    told = text_of(page.get(f"{place.url}{made.key.public_id}/rotate/"))
    assert "The old one stops working now after 1 hour after 24 hours after 7 days" in told


def test_rows_name_all_permissions_where_there_is_no_room_for_them(page, place, ada, engine):
    terms = {"scopes": ["payments:write", "reports:read"], "description": "At the <desk>"}
    if place.url == TOKENS:
        mint_pat(ada, **terms)
    else:
        mint_key(engine, **terms)
    html = page.get(place.url).content.decode()
    (title,) = re.findall(r'<p class="ak-words" title="([^"]*)"', html)
    named = [f"{words} ({name})" for name, words in labelled(terms["scopes"])]
    assert title == " · ".join([*named, "At the &lt;desk&gt;"])
