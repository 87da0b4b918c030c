"""Approving or rejecting several pending keys with one confirmation."""

import re
import time
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import AuditEvent
from apikeys.policy import Policy
from apikeys.verify import Refused, verify
from apikeys.web import deciding
from apikeys.web.views import approvals
from tests.factories import PASSWORD, MembershipFactory, mint_key, mint_pat
from tests.web.conftest import TOKENS, text_of

URL = f"{TOKENS}approvals/"
DECIDE = f"{URL}decide/"


def pending(minted):
    type(minted.key).objects.filter(pk=minted.key.pk).update(is_pending=True)
    return minted


def value(minted):
    return f"{minted.key.KIND}:{minted.key.public_id}"


@pytest.fixture
def asked(engine, viewer):
    """A pending key, and a pending token of a member, of Ada's project."""
    expires_at = timezone.now() + timedelta(days=30, minutes=1)
    key = mint_key(
        engine, name="server", description="Pays on Fridays.", by=viewer, expires_at=expires_at
    )
    return pending(key), pending(mint_pat(viewer, name="desk", projects=[engine]))


def ask(page, minted, decision="approve", **more):
    return page.post(DECIDE, {"id": [value(m) for m in minted], "decision": decision} | more)


def confirm(page, response, decision="approve", **changes):
    html = unescape(response.content.decode())
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    hidden.pop("csrfmiddlewaretoken", None)
    return page.post(DECIDE, hidden | {"decision": decision} | changes)


def is_untouched(minted):
    minted.key.refresh_from_db()
    return minted.key.is_pending and minted.key.revoked_at is None


@pytest.mark.slow
def test_one_confirmation_lists_who_gets_what_and_approves_all(page, asked, engine, ada):
    html = page.get(URL).content.decode()
    assert re.findall(r'name="id" value="([\w:]+)"', html) == [value(m) for m in asked]
    shown = ask(page, asked)
    text = text_of(shown)
    assert "Approve 2 requests?" in text
    for fact in ("server", "desk", "vera", "Pays on Fridays.", str(engine), "in 30 days"):
        assert fact in text, fact
    for permission in asked[0].key.scopes:
        assert f'title="{permission}"' in shown.content.decode()
    assert all(map(is_untouched, asked))

    assert confirm(page, shown)["Location"] == URL
    assert "Approved “server”, “desk”. They work now." in text_of(page.get(URL))
    assert all(verify(minted.token) for minted in asked)
    events = AuditEvent.objects.filter(event="approved").values_list("public_id", "by")
    assert set(events) == {(minted.key.public_id, "ada") for minted in asked}
    assert len(events) == 2


def test_only_the_selected_are_approved(page, asked):
    confirm(page, ask(page, asked[:1]))
    assert verify(asked[0].token)
    assert is_untouched(asked[1])


@pytest.mark.slow
def test_all_selected_are_rejected_for_one_reason(page, asked, ada):
    shown = ask(page, asked, "reject")
    assert "This cannot be undone." in text_of(shown)
    confirm(page, shown, "reject", reason="Ask for less.")
    assert "Rejected “server”, “desk”." in text_of(page.get(URL))
    for minted in asked:
        minted.key.refresh_from_db()
        assert (minted.key.revoked_by, minted.key.revoked_reason) == (ada, "Ask for less.")
    assert AuditEvent.objects.filter(event="revoked").count() == 2


@pytest.mark.parametrize("reason", ["x" * 201, "a\u202eb"])
def test_an_invalid_reason_rejects_nothing(page, asked, reason):
    response = confirm(page, ask(page, asked, "reject"), "reject", reason=reason)
    assert response.status_code == 422
    assert "server" in text_of(response)
    assert all(map(is_untouched, asked))


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_what_was_withdrawn_meanwhile_is_named_and_the_others_are_decided(page, asked, decision):
    gone, other = asked
    shown = ask(page, asked, decision)
    lifecycle.revoke(gone.key, reason="Not needed.")
    confirm(page, shown, decision)
    text = text_of(page.get(URL))
    assert "“server” is no longer pending approval, so it was left out." in text
    assert f"{'Approved' if decision == 'approve' else 'Rejected'} “desk”." in text
    assert not is_untouched(other)
    gone.key.refresh_from_db()
    assert gone.key.revoked_reason == "Not needed."


def test_a_withdrawal_between_the_check_and_the_approval_is_named(page, asked, monkeypatch):
    approve = lifecycle.approve

    def late(key, **kwargs):
        if key == asked[0].key:
            lifecycle.revoke(type(key).objects.get(pk=key.pk))
        approve(key, **kwargs)

    shown = ask(page, asked)
    monkeypatch.setattr(lifecycle, "approve", late)
    confirm(page, shown)
    text = text_of(page.get(URL))
    assert "“server” is no longer pending approval" in text
    assert "Approved “desk”. It works now." in text
    with pytest.raises(Refused, match="revoked"):
        verify(asked[0].token)


def test_what_is_no_longer_pending_is_named_before_the_confirmation(page, asked):
    lifecycle.approve(asked[0].key)
    text = text_of(ask(page, asked))
    assert "“server” is no longer pending approval" in text
    assert "Approve 1 request?" in text
    # Alone, it leaves nothing to confirm.
    assert ask(page, asked[:1])["Location"] == URL
    assert "“server” is no longer pending approval" in text_of(page.get(URL))


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("confirmed", [{}, {"confirm": "yes"}], ids=["asked", "confirmed"])
def test_who_may_not_approve_decides_nothing(client, engine, viewer, asked, decision, confirmed):
    stranger = MembershipFactory(role="owner").user
    developer = MembershipFactory(project=engine, role="developer").user
    for user in (viewer, developer, stranger):
        client.force_login(user)
        response = ask(client, asked, decision, **confirmed)
        assert response["Location"] == URL
        assert "server" not in text_of(client.get(URL))
    assert all(map(is_untouched, asked))


@pytest.mark.slow
@pytest.mark.parametrize("confirmed", [{}, {"confirm": "yes"}], ids=["asked", "confirmed"])
def test_requests_of_other_projects_are_left_out(page, asked, confirmed):
    """By hand: a key of another project, a token for all projects, and what is no ID."""
    key, token = pending(mint_key(name="theirs")), pending(mint_pat(name="theirs everywhere"))
    wrong = [f"pat:{asked[0].key.public_id}", "key:", "key", "nonsense:x", "\0:\0"]
    ids = [*map(value, (key, token, asked[0])), *wrong]
    data = {"id": ids, "decision": "approve"} | confirmed
    assert "theirs" not in text_of(page.post(DECIDE, data))
    assert "theirs" not in text_of(page.get(URL))
    assert is_untouched(key)
    assert is_untouched(token)
    assert is_untouched(asked[0]) is not bool(confirmed)


class Picky(Policy):
    def may_approve(self, user, key):
        return key.name == "desk" and super().may_approve(user, key)


def test_the_policy_is_asked_about_each(page, asked, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Picky"}
    assert "server" not in text_of(ask(page, asked))
    ask(page, asked, confirm="yes")
    assert is_untouched(asked[0])
    assert not is_untouched(asked[1])


def test_who_loses_the_right_while_confirming_decides_nothing(page, ada, asked):
    shown = ask(page, asked)
    ada.project_memberships.update(role="viewer")
    assert confirm(page, shown)["Location"] == URL
    assert all(map(is_untouched, asked))


def test_a_site_without_project_keys_decides_on_tokens_only(page, settings, asked):
    settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    ask(page, asked, confirm="yes")
    assert is_untouched(asked[0])
    assert not is_untouched(asked[1])


def log_in_ages(page):
    session = page.session
    session["apikeys_logged_in_at"] = time.time() - 16 * 60
    session.save()


@pytest.mark.parametrize("confirmed", [{}, {"confirm": "yes"}], ids=["asked", "confirmed"])
def test_approving_needs_a_recent_login_and_keeps_the_selection(page, asked, confirmed):
    log_in_ages(page)
    response = ask(page, asked, **confirmed)
    assert response["Location"].startswith(f"{TOKENS}confirm/?next=")
    assert all(map(is_untouched, asked))
    response = page.post(f"{TOKENS}confirm/", {"password": PASSWORD, "next": DECIDE})
    assert response["Location"] == DECIDE
    shown = page.get(DECIDE)
    assert "Approve 2 requests?" in text_of(shown)
    assert all(map(is_untouched, asked))  # the confirmation is asked for again
    confirm(page, shown)
    assert all(verify(minted.token) for minted in asked)


def test_a_confirmation_of_long_ago_needs_a_login_too(page, asked):
    shown = ask(page, asked)
    log_in_ages(page)
    assert confirm(page, shown)["Location"].startswith(f"{TOKENS}confirm/?next=")
    assert all(map(is_untouched, asked))


def test_rejecting_needs_no_recent_login(page, asked):
    log_in_ages(page)
    confirm(page, ask(page, asked, "reject"), "reject")
    assert not any(map(is_untouched, asked))


def test_a_wrong_decision_and_no_selection_decide_nothing(page, asked):
    assert ask(page, asked, "maybe", confirm="yes").status_code == 400
    assert page.post(DECIDE, {"confirm": "yes"}).status_code == 400
    assert ask(page, (), confirm="yes")["Location"] == URL
    assert "Select at least one request." in text_of(page.get(URL))
    assert page.get(DECIDE)["Location"] == URL
    assert all(map(is_untouched, asked))


def test_one_request_has_no_checkbox(page, engine):
    pending(mint_key(engine))
    assert 'name="id"' not in page.get(URL).content.decode()


@pytest.mark.slow
def test_the_list_says_that_more_are_pending(page, engine, monkeypatch, asked):
    assert "More are pending." not in text_of(page.get(URL))
    monkeypatch.setattr(approvals.Approvals, "size", 1)
    assert "More are pending." not in text_of(page.get(URL))
    assert "2 pending requests" in text_of(page.get(URL))
    pending(mint_key(engine))
    assert "More are pending." in text_of(page.get(URL))
    assert "The oldest 2 pending requests" in text_of(page.get(URL))


@pytest.mark.parametrize(("number", "shown"), [(99, "99"), (100, "99+")])
def test_the_badge_stops_at_99(page, monkeypatch, number, shown):
    monkeypatch.setattr(deciding, "number_to_decide", lambda user, waiting: number)
    badge = page.get("/settings/keys/").content.decode().partition('ak-badge ak-pending">')[2]
    assert badge.partition("<")[0] == shown


def test_csrf_and_login_are_required(client, ada, asked):
    data = {"id": [value(m) for m in asked], "decision": "approve", "confirm": "yes"}
    assert client.post(DECIDE, data)["Location"].startswith("/login/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    assert strict.post(DECIDE, data).status_code == 403
    assert all(map(is_untouched, asked))
