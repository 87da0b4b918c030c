"""Pausing and resuming keys on the settings pages, one by one and several at once."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys import lifecycle
from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of


@pytest.fixture
def make(place, ada, engine):
    if place.url == TOKENS:
        return lambda **kwargs: mint_pat(ada, **kwargs)
    return lambda **kwargs: mint_key(engine, **kwargs)


def refused(minted):
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)
    return True


def not_recent(page):
    session = page.session
    session["apikeys_logged_in_at"] = 0
    session.save()


@pytest.mark.slow
def test_a_key_is_paused_with_a_reason_and_resumed(page, place, make):
    minted = make(name="laptop")
    url = f"{place.url}{minted.key.public_id}/"
    assert f'href="{url}pause/"' in page.get(url).content.decode()

    asked = page.get(f"{url}pause/")
    assert "Pause “laptop”?" in text_of(asked)
    assert "refused until you resume it" in text_of(asked)
    assert verify(minted.token)  # a look changes nothing
    done = page.post(f"{url}pause/", {"reason": "Is it in use?"})
    assert done["Location"] == url
    assert refused(minted)

    shown = page.get(url)
    assert "Paused just now by ada ." in text_of(shown).replace("ada.", "ada .")
    assert "Is it in use?" in text_of(shown)
    html = shown.content.decode()
    assert f'href="{url}resume/"' in html
    assert f'href="{url}rotate/"' not in html
    assert page.get(f"{url}rotate/")["Location"] == url
    listed = text_of(page.get(place.url))
    assert "paused" in listed
    assert "Is it in use?" in listed

    assert "Resume “laptop”?" in text_of(page.get(f"{url}resume/"))
    assert refused(minted)
    assert page.post(f"{url}resume/")["Location"] == url
    assert verify(minted.token)
    activity = text_of(page.get(f"{place.url}activity/"))
    assert "was paused. Reason: Is it in use?" in activity
    assert "was resumed." in activity


def test_resuming_needs_a_recent_login(page, place, make):
    minted = make()
    lifecycle.pause(minted.key)
    not_recent(page)
    url = f"{place.url}{minted.key.public_id}/resume/"

    assert page.get(url)["Location"] == f"/settings/keys/confirm/?next={url.replace('/', '%2F')}"
    assert "/confirm/" in page.post(url)["Location"]
    many = page.post(f"{place.url}resume/", {"id": [minted.key.public_id], "confirm": "yes"})
    assert "/confirm/" in many["Location"]
    assert refused(minted)


def test_pausing_needs_no_recent_login(page, place, make):
    minted = make()
    not_recent(page)
    page.post(f"{place.url}{minted.key.public_id}/pause/")
    assert refused(minted)


@pytest.mark.slow
def test_a_held_key_names_who_can_resume_it(page, place, make):
    minted = make()
    lifecycle.pause(minted.key, reason="Suspicious.", held=True)
    url = f"{place.url}{minted.key.public_id}/"

    shown = page.get(url)
    assert "Only a site admin can resume this" in text_of(shown)
    assert f'href="{url}resume/"' not in shown.content.decode()
    assert page.get(f"{url}resume/")["Location"] == url
    response = page.post(f"{url}resume/")
    assert response.status_code == 409
    assert "Ask a site admin" in text_of(response)
    listed = page.get(place.url)
    assert "Only a site admin can resume it." in text_of(listed)
    assert "Resume selected" not in text_of(listed)
    page.post(f"{place.url}resume/", {"id": [minted.key.public_id], "confirm": "yes"})
    assert refused(minted)


@pytest.mark.parametrize("state", ["revoked", "expired", "pending"])
def test_a_key_in_another_state_offers_neither(page, place, make, state):
    key = make(state=state).key
    url = f"{place.url}{key.public_id}/"
    html = page.get(url).content.decode()
    for action in ("pause", "resume"):
        assert f"{url}{action}/" not in html
        assert page.get(f"{url}{action}/")["Location"] == url
    if state != "pending":
        assert page.post(f"{url}pause/").status_code == 409


def test_wrong_reasons_are_refused_on_the_page(page, place, make):
    minted = make()
    url = f"{place.url}{minted.key.public_id}/pause/"
    for reason in ("x" * 201, minted.token):
        response = page.post(url, {"reason": reason})
        assert response.status_code == 422
        assert minted.token not in response.content.decode()
    assert verify(minted.token)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["pause", "resume"])
def test_who_may_not_manage_the_keys_changes_nothing(client, engine, ada, viewer, action):
    token, key = mint_pat(ada), mint_key(engine)
    if action == "resume":
        lifecycle.pause(token.key)
        lifecycle.pause(key.key)
    states = [token.key.state(), key.key.state()]
    for user, of_key, of_token in [
        (None, 302, 302), (UserFactory(), 404, 404), (viewer, 403, 404),
    ]:  # fmt: skip
        client.logout()
        if user is not None:
            client.force_login(user)
        for method in (client.get, client.post):
            one = method(f"{KEYS}{key.key.public_id}/{action}/")
            assert one.status_code == of_key
            assert method(f"{TOKENS}{token.key.public_id}/{action}/").status_code == of_token
        many = client.post(f"{KEYS}{action}/", {"id": [key.key.public_id], "confirm": "yes"})
        assert many.status_code == of_key
        ids = {"id": [token.key.public_id], "confirm": "yes"}
        assert client.post(f"{TOKENS}{action}/", ids).status_code == 302
    for minted, state in zip((token, key), states, strict=True):
        minted.key.refresh_from_db()
        assert minted.key.state() == state


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_forms_need_the_csrf_token(ada, place, make, action):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    minted = make()
    if action == "resume":
        lifecycle.pause(minted.key)
    before = minted.key.state()
    for url in (f"{minted.key.public_id}/{action}/", f"{action}/"):
        body = {"id": [minted.key.public_id], "confirm": "yes"}
        assert strict.post(f"{place.url}{url}", body).status_code == 403
    minted.key.refresh_from_db()
    assert minted.key.state() == before


def confirm(page, url, response, **changes):
    html = unescape(response.content.decode())
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    hidden.pop("csrfmiddlewaretoken", None)
    return page.post(url, hidden | changes)


@pytest.mark.slow
def test_several_keys_are_paused_and_resumed_with_one_confirmation(page, place, make):
    one, two, other = (make(name=f"job {n}") for n in range(3))
    ids = [one.key.public_id, two.key.public_id]

    asked = page.post(f"{place.url}pause/", {"id": ids})
    assert "Pause 2 " in text_of(asked)
    assert "job 2" not in text_of(asked)
    assert verify(one.token)
    confirm(page, f"{place.url}pause/", asked, reason="Not used.")
    assert "Paused 2 " in text_of(page.get(place.url))
    assert refused(one)
    assert refused(two)
    assert verify(other.token)

    held = make(name="held")
    lifecycle.pause(held.key, held=True)
    asked = page.post(f"{place.url}resume/", {"id": [*ids, held.key.public_id]})
    assert "Resume 2 " in text_of(asked)
    confirm(page, f"{place.url}resume/", asked, ids=" ".join([*ids, held.key.public_id]))
    assert verify(one.token)
    assert refused(held)
    assert AuditEvent.objects.filter(event="paused", changes__reason="Not used.").count() == 2
    assert AuditEvent.objects.filter(event="resumed", by="ada").count() == 2


def test_all_that_match_the_filters_are_paused(page, place, make):
    minted = [make(name=f"job {n}") for n in range(2)] + [make(name="server")]
    asked = page.post(f"{place.url}pause/", {"which": "all", "query": "q=job"})
    assert "Pause 2 " in text_of(asked)
    done = confirm(page, f"{place.url}pause/", asked)
    assert done["Location"] == f"{place.url}?q=job"
    assert verify(minted[2].token)
    assert refused(minted[0])


def test_keys_of_others_and_ended_keys_are_left_out(page, place, make):
    foreign = mint_pat() if place.model is PersonalAccessToken else mint_key()
    gone = make(state="revoked").key
    own = make()
    ids = [foreign.key.public_id, gone.public_id, "nonsense", "\0", own.key.public_id]
    asked = page.post(f"{place.url}pause/", {"id": ids})
    assert "Pause 1 " in text_of(asked)
    confirm(page, f"{place.url}pause/", asked, ids=" ".join(ids))
    assert refused(own)
    assert verify(foreign.token)
    gone.refresh_from_db()
    assert gone.paused_at is None


def test_the_filter_lists_paused_keys(page, place, make):
    lifecycle.pause(make(name="sleeping").key)
    make(name="awake")
    listed = text_of(page.get(f"{place.url}?state=paused"))
    assert "sleeping" in listed
    assert "awake" not in listed
    both = text_of(page.get(place.url))
    assert "sleeping" in both
    assert "awake" in both


@pytest.mark.slow
def test_many_paused_keys_take_as_many_queries_as_few(page, place, make, django_assert_num_queries):
    for number in range(2):
        lifecycle.pause(make(name=f"job {number}").key, by=UserFactory(), reason="Why?")
    page.get(place.url)
    with CaptureQueriesContext(connection) as few:
        page.get(place.url)
    for number in range(8):
        lifecycle.pause(make(name=f"more {number}").key, by=UserFactory(), reason="Why?")
    with django_assert_num_queries(len(few)):
        page.get(place.url)


def test_revoking_a_paused_key_works(page, place, make):
    minted = make()
    lifecycle.pause(minted.key)
    page.post(f"{place.url}{minted.key.public_id}/revoke/", {"reason": "Gone."})
    with pytest.raises(Refused, match="revoked_key"):
        verify(minted.token)
    ids = {"id": [make(name="b").key.public_id]}
    key = place.model.objects.get(public_id=ids["id"][0])
    lifecycle.pause(key)
    asked = page.post(f"{place.url}revoke/", ids)
    confirm(page, f"{place.url}revoke/", asked)
    key.refresh_from_db()
    assert key.revoked_at is not None
