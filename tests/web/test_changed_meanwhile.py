"""A decision is about what its page showed: it overrides no other, and approves no wider token."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle, reach
from apikeys.errors import LifecycleError
from apikeys.models import ProjectAccess
from apikeys.reach.shown import Shown
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import TOKENS, text_of
from tests.web.test_access_requests import DECIDE, ask, reaches, shown_on, value
from tests.web.test_approvals import confirm, pending

ACCESS = f"{TOKENS}projects/analytical-engine/access/"
CHANGED = "has changed since you opened the page"


@pytest.fixture
def bob(engine):
    about = {"user__username": "bob", "user__email": "bob@example.com"}
    return MembershipFactory(project=engine, role="developer", **about).user


@pytest.fixture
def laptop(engine, bob):
    """A token of bob that waits for the project of ada."""
    reach.require_approval(engine, True)
    return mint_pat(bob, name="laptop", scopes=["payments:read"])


def found(engine, minted):
    return reach.find(engine, minted.key.public_id)


def url(minted, verb):
    return f"{ACCESS}{minted.key.public_id}/{verb}/"


def widen(minted, **changes):
    key = type(minted.key).objects.get(pk=minted.key.pk)
    lifecycle.edit(key, **{"scopes": ["payments:read", "payments:write"]} | changes)


@pytest.mark.slow
def test_access_does_not_approve_what_was_rejected_meanwhile(page, engine, laptop):
    data = shown_on(page, url(laptop, "allow"))
    reach.deny(engine, found(engine, laptop), reason="Use the server.")
    response = page.post(url(laptop, "allow"), data)
    assert response.status_code == 409
    text = text_of(response)
    assert CHANGED in text
    assert "Rejected in Analytical Engine" in text
    assert "Reason: Use the server." in text
    assert not reaches(laptop, engine)
    again = {"shown": str(response.context["shown"])}
    assert page.post(url(laptop, "allow"), again)["Location"] == ACCESS
    assert reaches(laptop, engine)


@pytest.mark.slow
def test_access_does_not_reject_what_was_approved_meanwhile(page, engine, laptop):
    data = shown_on(page, url(laptop, "deny"))
    reach.allow(engine, found(engine, laptop))
    response = page.post(url(laptop, "deny"), data)
    assert response.status_code == 409
    assert "Deny “laptop” in Analytical Engine?" in text_of(response)
    assert reaches(laptop, engine)


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_access_says_that_the_same_was_decided_meanwhile(page, engine, laptop, verb):
    data = shown_on(page, url(laptop, verb))
    getattr(reach, verb)(engine, found(engine, laptop))
    before = ProjectAccess.objects.values().get()
    response = page.post(url(laptop, verb), data | {"reason": "Mine."})
    assert response.status_code == 409
    assert CHANGED in text_of(response)
    assert ProjectAccess.objects.values().get() == before


@pytest.mark.slow
def test_another_denial_is_another_decision(page, engine, laptop):
    reach.deny(engine, found(engine, laptop), reason="First.")
    data = shown_on(page, url(laptop, "allow"))
    reach.allow(engine, found(engine, laptop))
    reach.deny(engine, found(engine, laptop), reason="Second.")
    response = page.post(url(laptop, "allow"), data)
    assert response.status_code == 409
    assert "Second." in text_of(response)


@pytest.mark.slow
def test_access_approves_no_more_than_it_showed(page, engine, laptop):
    data = shown_on(page, url(laptop, "allow"))
    widen(laptop)
    response = page.post(url(laptop, "allow"), data)
    assert response.status_code == 409
    assert "payments:write" in text_of(response)
    assert not ProjectAccess.objects.exists()


@pytest.mark.parametrize("data", [{}, {"shown": ""}, {"shown": "awaits"}, {"shown": "awaits x"}])
def test_access_approves_nothing_without_what_it_showed(page, engine, laptop, data):
    assert page.post(url(laptop, "allow"), data).status_code == 409
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_an_owner_cannot_prevent_a_rejection_by_editing(page, engine, laptop):
    data = shown_on(page, url(laptop, "deny"))
    widen(laptop)
    assert page.post(url(laptop, "deny"), data)["Location"] == ACCESS
    assert ProjectAccess.objects.get().is_rejected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scopes": ["payments:read"], "expires_at": timezone.now() + timedelta(days=900)},
        {"scopes": ["payments:read"], "rate_limits": ["5/hour"]},
    ],
    ids=["scopes", "expiry", "rate limit"],
)
@pytest.mark.parametrize("step", ["row", "confirmation"])
def test_approvals_shows_a_request_again_that_changed(page, engine, laptop, bob, step, changes):
    desk = mint_pat(bob, name="desk")
    if step == "row":
        data = {"id": [value(laptop, engine), value(desk, engine)], "confirm": "yes"}
    else:
        shown = ask(page, [laptop, desk], engine)
        data = {"ids": shown.context["ids"], "confirm": "yes"}
    widen(laptop, **changes)
    response = page.post(DECIDE, data | {"decision": "approve"})
    assert response.status_code == 409
    text = text_of(response)
    assert f"“laptop” (Analytical Engine) {CHANGED}" in text
    assert "Approve 1 request?" in text
    assert "Approved “desk” (Analytical Engine). It reaches the project now." in text
    assert reaches(desk, engine)
    assert not reaches(laptop, engine)
    confirm(page, response)
    assert reaches(laptop, engine)


@pytest.mark.slow
def test_a_value_without_a_digest_approves_nothing(page, engine, laptop):
    name = value(laptop, engine).rpartition(":")[0]
    for given in (name, f"{name}:", f"{name}:0"):
        data = {"id": given, "decision": "approve", "confirm": "yes"}
        assert page.post(DECIDE, data).status_code == 409
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_approvals_rejects_what_changed(page, engine, laptop):
    shown = ask(page, [laptop], engine, "reject")
    widen(laptop)
    confirm(page, shown, "reject")
    assert ProjectAccess.objects.get().is_rejected


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_decision_just_before_the_lock_stays(page, engine, laptop, monkeypatch, decision):
    find, other = reach.find, {"approve": reach.deny, "reject": reach.allow}[decision]

    def late(project, public_id):
        entry = find(project, public_id)
        if not ProjectAccess.objects.exists():
            other(project, entry)
        return entry

    monkeypatch.setattr(reach, "find", late)
    ask(page, [laptop], engine, decision, confirm="yes")
    monkeypatch.undo()
    assert "is no longer pending approval" in text_of(page.get(f"{TOKENS}approvals/"))
    assert reaches(laptop, engine) == (decision == "reject")


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_python_callers_decide_whatever_was_decided(engine, laptop, verb):
    """Without ``shown``, as in the JSON API and in commands."""
    entry = found(engine, laptop)
    getattr(reach, {"allow": "deny", "deny": "allow"}[verb])(engine, entry)
    with pytest.raises(LifecycleError) as raised:
        getattr(reach, verb)(engine, entry, shown=Shown.of(entry))
    assert raised.value.code == "changed_meanwhile"
    assert getattr(reach, verb)(engine, entry) is True
    assert getattr(reach, verb)(engine, entry) is False


class TestAffected:
    """Pages name the other keys that a decision applies to."""

    @pytest.fixture
    def new(self, engine, ada):
        """The successor of an approved token, extended so that it waits again."""
        reach.require_approval(engine, True)
        old = mint_pat(ada, name="old", scopes=["payments:read"])
        reach.allow(engine, found(engine, old))
        new = lifecycle.rotate(old.key, by=ada)
        server = mint_key(engine, name="server")
        type(server.key).objects.filter(pk=server.key.pk).update(minted_with=new.key.public_id)
        widen(new, name="new")
        return old, new, server

    NAMES = "“old” (personal access token), “server” (project key)"

    @pytest.mark.slow
    def test_approvals_names_what_a_rejection_stops(self, page, engine, new):
        stops = "Rejecting it also stops these in the project"
        assert self.NAMES in text_of(page.get(f"{TOKENS}approvals/"))
        shown = ask(page, new[1:2], engine, "reject")
        assert stops in text_of(shown)
        assert self.NAMES in text_of(shown)
        assert stops not in text_of(ask(page, new[1:2], engine))
        assert reaches(new[0], engine)
        confirm(page, shown, "reject")
        assert not reaches(new[0], engine)
        assert type(new[2].key).objects.get(pk=new[2].key.pk).paused_at is not None

    @pytest.mark.slow
    def test_access_names_what_a_rejection_stops_and_an_approval_allows(self, page, engine, new):
        _old, token, server = new
        asked = text_of(page.get(url(token, "deny")))
        assert "You can still approve it later." in asked
        assert (
            f"because they were created with it or belong to the same rotation: {self.NAMES}."
            in (asked)
        )
        assert "Allowed again" not in text_of(page.get(url(token, "allow")))
        page.post(url(token, "deny"))
        asked = text_of(page.get(url(token, "allow")))
        assert "with everything that was denied together with it" in asked
        assert f"Allowed again with it: {self.NAMES}." in asked
        page.post(url(token, "allow"), shown_on(page, url(token, "allow")))
        assert reaches(token, engine)
        assert verify(server.token)

    @pytest.mark.slow
    def test_a_token_alone_has_the_short_texts(self, page, engine, laptop):
        asked = text_of(page.get(url(laptop, "deny")))
        assert "because they were created with it" not in asked
        assert "Rejecting it also stops" not in text_of(page.get(f"{TOKENS}approvals/"))
        page.post(url(laptop, "deny"))
        asked = text_of(page.get(url(laptop, "allow")))
        assert "It reaches this project from the next request on. Its owner gets a mail." in asked
        assert "denied together" not in asked

    @pytest.mark.slow
    def test_managers_learn_nothing_of_tokens_that_do_not_reach_the_project(
        self, page, engine, bob, laptop
    ):
        other = MembershipFactory(user=bob, project__name="Hidden", role="owner").project
        child = mint_pat(bob, name="secret plan", projects=[other])
        type(child.key).objects.filter(pk=child.key.pk).update(minted_with=laptop.key.public_id)
        key = mint_key(other, name="hidden key")
        type(key.key).objects.filter(pk=key.key.pk).update(minted_with=laptop.key.public_id)
        for address in (url(laptop, "deny"), f"{TOKENS}approvals/"):
            text = text_of(page.get(address))
            assert "laptop" in text
            assert "secret plan" not in text
            assert "hidden key" not in text


class TestNotWorking:
    """A token that is pending or paused itself reaches nothing yet."""

    @pytest.mark.slow
    def test_paused(self, page, engine, laptop, bob):
        lifecycle.pause(laptop.key, by=bob)
        asked = ask(page, [laptop], engine)
        text = text_of(asked)
        assert "This token reaches the project once it works" in text
        assert "at once" not in text
        access = text_of(page.get(url(laptop, "allow")))
        assert "The token is paused. It reaches this project once it is resumed." in access
        confirm(page, asked)
        text = text_of(page.get(f"{TOKENS}approvals/"))
        assert "It reaches the project once it works" in text
        assert "now." not in text

    @pytest.mark.slow
    def test_pending_among_others(self, page, engine, laptop, bob):
        desk = pending(mint_pat(bob, name="desk"))
        asked = ask(page, [laptop, desk], engine)
        assert "or paused, reaches its project once it works." in text_of(asked)
        access = text_of(page.get(url(desk, "allow")))
        assert "The token is pending approval itself." in access
        confirm(page, asked)
        text = text_of(page.get(f"{TOKENS}approvals/"))
        assert "Tokens that are pending approval themselves, or paused, reach" in text

    def test_a_denied_project_key_is_resumed(self, page, engine):
        key = mint_key(engine, name="server")
        page.post(url(key, "deny"))
        asked = text_of(page.get(url(key, "allow")))
        assert "It reaches this project from the next request on" in asked
