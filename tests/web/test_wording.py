"""The pages of tokens say token, and confirmations name their consequence."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle, usage
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


def test_confirmation_names_recent_use(page, place, ada, engine):
    is_token = place.url == TOKENS
    made = mint_pat(ada) if is_token else mint_key(engine)
    url = f"{place.url}{made.key.public_id}/revoke/"
    assert "requests in the last" not in text_of(page.get(url))
    for _ in range(3):
        usage.note_use(place.model, made.key.pk, "203.0.113.7")
    usage.flush()
    told = text_of(page.get(url))
    assert "It was used in the last hour. 3 requests in the last 30 days" in told
