"""Revoking several keys with one confirmation."""

import re
from datetime import timedelta
from html import unescape
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from apikeys import lifecycle, usage
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.models.usage import PersonalAccessTokenUsage, ProjectKeyUsage
from apikeys.verify import Refused, verify
from apikeys.web.views import bulk
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of


@pytest.fixture
def three(place, ada, engine):
    make = (
        (lambda n: mint_pat(ada, name=n))
        if place.url == TOKENS
        else (lambda n: mint_key(engine, name=n))
    )
    return [make(f"job {n}") for n in range(3)]


def confirm(page, place, response, **changes):
    html = unescape(response.content.decode())
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    hidden.pop("csrfmiddlewaretoken", None)
    return page.post(f"{place.url}revoke/", hidden | changes)


def test_selected_keys_are_revoked_after_one_confirmation(page, place, three, ada):
    one, two, other = three
    asked = page.post(f"{place.url}revoke/", {"id": [one.key.public_id, two.key.public_id]})
    assert "Revoke 2 " in text_of(asked)
    assert "job 0" in text_of(asked)
    assert "job 2" not in text_of(asked)
    assert verify(one.token)

    done = confirm(page, place, asked, reason="Not needed.")
    assert done.status_code == 302
    assert "Revoked 2 " in text_of(page.get(place.url))
    for gone in (one, two):
        with pytest.raises(Refused, match="revoked"):
            verify(gone.token)
    assert verify(other.token)
    events = AuditEvent.objects.filter(event="revoked")
    assert {(each.by, each.changes["reason"]) for each in events} == {("ada", "Not needed.")}


def test_all_that_match_the_filters_are_revoked(page, place, three):
    lifecycle.edit(three[0].key, name="server")
    asked = page.post(f"{place.url}revoke/", {"which": "all", "query": "q=job&sort=name"})
    assert "Revoke 2 " in text_of(asked)
    lifecycle.edit(three[0].key, name="job 7")  # matches now, but was not shown
    done = confirm(page, place, asked)
    assert done["Location"] == f"{place.url}?q=job&sort=name"
    assert verify(three[0].token)
    assert place.model.objects.filter(revoked_at=None).count() == 1


@pytest.mark.slow
def test_many_keys_take_as_many_queries_as_few(page, place, three, ada, engine):
    make = mint_pat if place.url == TOKENS else mint_key
    owner = ada if place.url == TOKENS else engine

    def revoke(minted):
        ids = [each.key.public_id for each in minted]
        asked = page.post(f"{place.url}revoke/", {"id": ids})
        with CaptureQueriesContext(connection) as captured:
            confirm(page, place, asked, reason="Not needed.")
        assert {place.model.objects.get(pk=each.key.pk).revoked_by for each in minted} == {ada}
        return len(captured)

    assert revoke([make(owner) for _ in range(20)]) == revoke(three[:2])


def test_keys_that_end_together_send_one_mail_to_each_manager(
    page, engine, django_capture_on_commit_callbacks, mailoutbox
):
    manager = MembershipFactory(project=engine, role="admin", user__email="grace@example.com").user
    ids = [mint_key(engine).key.public_id for _ in range(3)]
    place = SimpleNamespace(url=KEYS)
    asked = page.post(f"{KEYS}revoke/", {"id": ids})
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        confirm(page, place, asked, reason="Not needed.")

    (sent,) = [each for each in mailoutbox if manager.email in each.to]
    assert all(each in sent.body for each in ids)


def test_unknown_filter_revokes_nothing(page, place, three):
    response = page.post(f"{place.url}revoke/", {"which": "all", "query": "used=nonsense"})
    assert response.status_code == 302
    assert place.model.objects.exclude(revoked_at=None).count() == 0


def test_without_a_selection_nothing_is_revoked(page, place, three):
    assert page.post(f"{place.url}revoke/", {"confirm": "yes"}).status_code == 302
    assert "Select at least one " in text_of(page.get(place.url))
    assert page.get(f"{place.url}revoke/")["Location"] == place.url
    assert place.model.objects.exclude(revoked_at=None).count() == 0


def test_keys_of_others_and_ended_keys_are_left_out(page, place, three):
    lifecycle.revoke(three[0].key, reason="First.")
    foreign = mint_pat().key if place.model is PersonalAccessToken else mint_key().key
    ids = [three[0].key.public_id, foreign.public_id, "nonsense", "\0", three[1].key.public_id]
    asked = page.post(f"{place.url}revoke/", {"id": ids})
    assert "Revoke 1 " in text_of(asked)
    confirm(page, place, asked, ids=" ".join(ids))
    foreign.refresh_from_db()
    three[0].key.refresh_from_db()
    assert foreign.revoked_at is None
    assert three[0].key.revoked_reason == "First."


def test_invalid_reason_revokes_nothing(page, place, three):
    asked = page.post(f"{place.url}revoke/", {"id": three[0].key.public_id})
    response = confirm(page, place, asked, reason="x" * 201)
    assert response.status_code == 422
    assert three[0].key.public_id in text_of(response)
    assert verify(three[0].token)


def test_one_form_revokes_a_bounded_number(page, place, three, monkeypatch):
    monkeypatch.setattr(bulk, "MOST", 2)
    asked = page.post(f"{place.url}revoke/", {"which": "all", "query": "q=job"})
    assert "More match." in text_of(asked)
    confirm(page, place, asked)
    assert place.model.objects.filter(revoked_at=None).count() == 1


def test_viewer_and_stranger_cannot_revoke(client, viewer, engine):
    key = mint_key(engine).key
    client.force_login(viewer)
    data = {"id": key.public_id, "confirm": "yes"}
    assert client.post(f"{KEYS}revoke/", data).status_code == 403
    assert 'name="id"' not in client.get(KEYS).content.decode()
    client.force_login(mint_pat().key.user)
    assert client.post(f"{KEYS}revoke/", data).status_code == 404
    assert ProjectKey.objects.get().revoked_at is None


def test_csrf_is_checked(ada, place, three):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    data = {"id": three[0].key.public_id, "confirm": "yes"}
    assert client.post(f"{place.url}revoke/", data).status_code == 403
    assert verify(three[0].token)


def notice_of(response):
    """Return the class of the sentence about the last use, and the sentence."""
    html = response.content.decode()
    found = re.search(r'(?s)<p class="(ak-notice[^"]*)"><strong>(.*?)</strong>', html)
    return found[1], " ".join(re.sub(r"<[^>]*>", "", found[2]).split())


@pytest.mark.parametrize("path", ["{id}/revoke/", "{id}/pause/", "revoke/", "pause/"])
def test_a_key_with_use_this_month_is_never_shown_as_safe_to_end(page, place, three, path):
    key = three[0].key

    def ask():
        url = place.url + path.format(id=key.public_id)
        return notice_of(page.get(url) if "{id}" in path else page.post(url, {"id": key.public_id}))

    assert ask() == ("ak-notice", "It was never used.")
    usage.note_use(place.model, key.pk, "203.0.113.7")
    usage.flush()
    for hours in (0, 3, 29 * 24):
        place.model.objects.filter(pk=key.pk).update(last_used_at=now() - timedelta(hours=hours))
        kind, sentence = ask()
        assert kind == "ak-notice ak-warn"
        assert "1 in the last 30 days" in sentence
    for model in (PersonalAccessTokenUsage, ProjectKeyUsage):
        model.objects.all().delete()
    assert ask()[0] == "ak-notice ak-warn"  # last used 29 days ago
    place.model.objects.filter(pk=key.pk).update(last_used_at=now() - timedelta(days=31))
    assert ask()[0] == "ak-notice"


def test_several_keys_with_use_today_are_never_shown_as_safe_to_end(page, place, three):
    key = three[0].key
    usage.note_use(place.model, key.pk, "203.0.113.7")
    usage.flush()
    place.model.objects.filter(pk=key.pk).update(last_used_at=now() - timedelta(hours=3))
    ids = [each.key.public_id for each in three]
    kind, sentence = notice_of(page.post(f"{place.url}revoke/", {"id": ids}))
    assert kind == "ak-notice ak-warn"
    assert sentence == "Together they made 1 request today (UTC)."
