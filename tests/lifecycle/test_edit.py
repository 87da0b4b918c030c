"""Editing, approving, rotating and revoking, as somebody would who means harm."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import grants, lifecycle, token
from apikeys.lifecycle import LifecycleError
from apikeys.models import Membership, PersonalAccessToken, State
from apikeys.refusals import Refused
from apikeys.signals import key_approved, key_edited, key_minted, key_revoked, key_rotated
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


def refused(code, field=None):
    """Expects the ``LifecycleError`` of this code and field."""

    class Expected:
        def __enter__(self):
            self.raises = pytest.raises(LifecycleError)
            self.caught = self.raises.__enter__()
            return self.caught

        def __exit__(self, *args):
            handled = self.raises.__exit__(*args)
            assert (self.caught.value.code, self.caught.value.field) == (code, field)
            return handled

    return Expected()


def in_days(days):
    return timezone.now() + timedelta(days=days)


@pytest.fixture
def policy(settings):
    """Replaces methods of the policy."""
    from apikeys.policy import Policy

    def replace(**methods):
        given = {name: staticmethod(method) for name, method in methods.items()}
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": type("Replaced", (Policy,), given)}

    return replace


def is_live(minted):
    try:
        verify(minted.token)
    except Refused:
        return False
    return True


# Edit


def test_an_edit_holds_at_the_next_request(ada, engine):
    minted = mint_pat(ada, scopes=["payments:write"], expires_at=in_days(9))
    ends = in_days(3)

    changes = lifecycle.edit(
        minted.key, name=" new \n name ", scopes=["payments:read"], projects=[engine],
        expires_at=ends, by=ada,
    )  # fmt: skip

    access = verify(minted.token)
    assert access.scopes == {"payments:read"}
    assert list(access.projects()) == [engine]
    assert (access.name, access.expires_at) == ("new name", ends)
    assert set(changes) == {"name", "scopes", "projects", "expires_at"}
    assert changes["projects"] == (None, ["analytical-engine"])
    assert changes["scopes"] == (["payments:write"], ["payments:read"])


def test_an_edit_of_nothing_tells_nobody(ada):
    key = mint_pat(ada).key
    told = []
    key_edited.connect(receiver := lambda **kw: told.append(kw))

    assert lifecycle.edit(key, name=key.name, scopes=key.scopes, by=ada) == {}
    assert told == []
    key_edited.disconnect(receiver)


def test_a_stale_copy_of_a_key_does_not_undo_what_others_did(ada):
    key = mint_pat(ada, scopes=["payments:write"]).key
    stale = PersonalAccessToken.objects.get(pk=key.pk)
    lifecycle.edit(key, scopes=["payments:read"])

    lifecycle.edit(stale, name="renamed")
    assert PersonalAccessToken.objects.get(pk=key.pk).scopes == ("payments:read",)

    lifecycle.revoke(key, reason="lost")
    with refused("revoked_key"):
        lifecycle.edit(stale, name="again")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda key: lifecycle.revoke(key), "revoked_key"),
        (lambda key: lifecycle.rotate(key), "already_rotated"),
        (lambda key: type(key).objects.update(expires_at=in_days(-1)), "expired_key"),
    ],
)
def test_what_has_ended_cannot_be_edited_or_rotated(ada, end, code):
    key = mint_pat(ada).key
    end(key)

    with refused(code):
        lifecycle.edit(key, expires_at=in_days(5))
    with refused(code):
        lifecycle.rotate(key)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": "  "}, "name_required", "name"),
        ({"name": "x" * 101}, "name_too_long", "name"),
        ({"scopes": []}, "scope_required", "scopes"),
        ({"scopes": ["payments:burn"]}, "unknown_scope", "scopes"),
        ({"expires_at": in_days(-1)}, "expiry_in_the_past", "expires_at"),
        ({"projects": []}, "project_required", "projects"),
    ],
)
def test_what_an_edit_refuses_changes_nothing(ada, change, code, field):
    key = mint_pat(ada, expires_at=in_days(9)).key
    before = PersonalAccessToken.objects.filter(pk=key.pk).values().get()

    with refused(code, field):
        lifecycle.edit(key, **{"name": "changed"} | change)
    assert PersonalAccessToken.objects.filter(pk=key.pk).values().get() == before


def test_a_strangers_project_cannot_be_added(ada):
    key = mint_pat(ada).key
    with refused("unknown_project", "projects"):
        lifecycle.edit(key, projects=[ProjectFactory()])


def test_a_project_that_the_user_has_left_may_stay_or_go(ada, engine):
    key = mint_pat(ada, projects=[engine]).key
    other = MembershipFactory(user=ada).project
    Membership.objects.filter(project=engine).delete()

    lifecycle.edit(key, projects=[engine, other])
    lifecycle.edit(key, projects=[other])
    with refused("unknown_project", "projects"):
        lifecycle.edit(key, projects=[engine, other])


def test_a_scope_that_is_not_declared_any_more_may_stay_or_go(ada, settings):
    key = mint_pat(ada, scopes=["payments:read", "reports:read"]).key
    kept = {k: v for k, v in settings.APIKEYS["SCOPES"].items() if k != "reports:read"}
    settings.APIKEYS = {**settings.APIKEYS, "SCOPES": kept}

    lifecycle.edit(key, scopes=["reports:read", "payments:read"], name="kept")
    lifecycle.edit(key, scopes=["payments:read"])
    with refused("unknown_scope", "scopes"):
        lifecycle.edit(key, scopes=["payments:read", "reports:read"])


def test_an_argument_that_does_not_exist_is_a_type_error(ada):
    key = mint_pat(ada).key
    with pytest.raises(TypeError, match="rate_limit"):
        lifecycle.edit(key, rate_limit=["1/hour"])


def test_a_project_key_has_one_project_for_good(engine):
    with pytest.raises(TypeError):
        lifecycle.edit(mint_key(engine).key, projects=[])


# Approval


@pytest.fixture
def writes_need_approval(policy):
    policy(needs_approval=lambda owner, scope: scope == "payments:write")


def test_a_pending_key_is_refused_until_it_is_approved(ada, writes_need_approval):
    minted = mint_pat(ada, scopes=["payments:write"])
    assert minted.key.state() is State.PENDING
    with pytest.raises(Refused) as caught:
        verify(minted.token)
    assert caught.value.refusal.code == "approval_required"

    lifecycle.approve(minted.key, by=ada)
    assert verify(minted.token).user == ada
    with refused("not_pending"):
        lifecycle.approve(minted.key, by=ada)
    with refused("not_pending"):
        lifecycle.reject(minted.key, by=ada)


def test_a_rejected_key_is_revoked_and_never_approved(ada, writes_need_approval):
    minted = mint_pat(ada, scopes=["payments:write"])
    lifecycle.reject(minted.key, by=ada, reason="no")
    assert (minted.key.state(), minted.key.revoked_reason) == (State.REVOKED, "no")
    with refused("revoked_key"):
        lifecycle.approve(minted.key)


def test_an_implied_scope_needs_its_approval_too(ada, policy):
    policy(needs_approval=lambda owner, scope: scope == "payments:read")
    assert mint_pat(ada, scopes=["payments:write"]).key.is_pending


def test_an_edit_is_no_way_around_an_approval(ada, engine, writes_need_approval):
    key = mint_pat(ada, projects=[engine]).key
    assert not key.is_pending
    with refused("approval_required", "scopes"):
        lifecycle.edit(key, scopes=["payments:write"])

    approved = mint_pat(ada, scopes=["payments:write"], projects=[engine]).key
    lifecycle.approve(approved)
    with refused("approval_required", "scopes"):  # it was approved for that project only
        lifecycle.edit(approved, projects=None)
    lifecycle.edit(approved, scopes=["payments:read"])
    with refused("approval_required", "scopes"):
        lifecycle.edit(approved, scopes=["payments:write"])


def test_a_pending_key_can_be_narrowed_only(ada, writes_need_approval):
    key = mint_pat(ada, scopes=["payments:write"], expires_at=in_days(5)).key
    for wider in ({"scopes": ["payments:write", "reports:read"]}, {"expires_at": in_days(9)}):
        with refused("approval_required", "scopes"):
            lifecycle.edit(key, **wider)

    lifecycle.edit(key, scopes=["payments:read"])  # which needs none
    assert not key.is_pending
    assert key.approved_at is None


def test_rotation_is_no_way_around_an_approval(ada, writes_need_approval):
    key = mint_pat(ada, scopes=["payments:write"]).key
    successor = lifecycle.rotate(key, overlap=timedelta(0))
    assert successor.key.is_pending
    assert not is_live(successor)


# Rotation


def test_a_receiver_that_raises_undoes_a_rotation(ada):
    minted = mint_pat(ada)

    def veto(**kwargs):
        raise RuntimeError("no")

    key_rotated.connect(veto)
    try:
        with pytest.raises(RuntimeError):
            lifecycle.rotate(minted.key)
    finally:
        key_rotated.disconnect(veto)
    assert PersonalAccessToken.objects.count() == 1
    assert verify(minted.token)


def test_rotation_obeys_a_policy_that_became_stricter(ada, policy):
    key = mint_pat(ada).key
    policy(longest_lifetime=lambda owner: timedelta(days=30))
    successor = lifecycle.rotate(key).key
    assert successor.expires_at - successor.created_at == timedelta(days=30)

    with refused("expiry_too_late", "expires_at"):
        lifecycle.rotate(successor, expires_at=in_days(31))
    with refused("expiry_required", "expires_at"):
        lifecycle.rotate(successor, expires_at=None)


@pytest.mark.slow
def test_no_error_page_shows_the_secret_of_a_key(ada, rf):
    """Not even of one that a receiver's error undid."""
    from django.views.debug import ExceptionReporter

    seen = []
    key = mint_pat(ada).key

    def broken(key, **kwargs):
        seen.append(key.public_id)
        raise RuntimeError("receiver")

    for signal, act in [
        (key_minted, lambda: mint_pat(ada)),
        (key_rotated, lambda: lifecycle.rotate(key)),
    ]:
        signal.connect(broken)
        try:
            act()
        except RuntimeError as error:
            reporter = ExceptionReporter(rf.post("/"), type(error), error, error.__traceback__)
            page = reporter.get_traceback_html() + reporter.get_traceback_text()
        finally:
            signal.disconnect(broken)
        assert "receiver" in page
        assert not token.holds_key(page)
    assert len(seen) == 2


# Revocation


def minted_with(parent, user, **kwargs):
    within = grants.for_tokens(user, verify(parent.token))
    kwargs = {"expires_at": parent.key.expires_at} | kwargs
    return mint_pat(user, within=within, **kwargs)


def test_a_key_ends_with_the_one_that_made_it_however_deep(ada):
    first = mint_pat(ada)
    second = minted_with(first, ada)
    third = minted_with(second, ada)
    apart = mint_pat(ada)
    told = []
    key_revoked.connect(receiver := lambda key, **kw: told.append(key.pk))

    assert lifecycle.revoke(first.key, by=ada, reason="leaked")
    key_revoked.disconnect(receiver)

    assert [is_live(each) for each in (first, second, third, apart)] == [False] * 3 + [True]
    assert told == [first.key.pk, second.key.pk, third.key.pk]


def test_what_a_key_made_ends_also_when_its_successor_is_revoked(ada):
    """Rotated because it leaked, then revoked: what the thief made must not go on."""
    parent = mint_pat(ada)
    child = minted_with(parent, ada)
    successor = lifecycle.rotate(parent.key, overlap=timedelta(0))

    lifecycle.revoke(successor.key, by=ada, reason="leaked")
    assert not is_live(child)


def test_what_a_rotated_child_made_ends_as_well(ada):
    parent = mint_pat(ada)
    child = minted_with(parent, ada)
    grandchild = minted_with(child, ada)
    lifecycle.rotate(child.key, overlap=timedelta(0))  # the child itself is over

    lifecycle.revoke(parent.key, reason="leaked")
    assert not is_live(grandchild)


def test_what_an_expired_child_made_ends_as_well(ada):
    parent = mint_pat(ada)
    child = minted_with(parent, ada)
    grandchild = minted_with(child, ada)
    PersonalAccessToken.objects.filter(pk=child.key.pk).update(expires_at=in_days(-1))

    lifecycle.revoke(parent.key, reason="leaked")
    assert not is_live(grandchild)


def test_a_secret_that_a_key_got_by_rotation_ends_with_that_key(ada):
    """A thief with a key that manages keys rotates another, and so knows its secret."""
    stolen, victim = mint_pat(ada), mint_pat(ada)
    within = grants.for_tokens(ada, verify(stolen.token))
    taken = lifecycle.rotate(victim.key, overlap=timedelta(0), within=within)
    further = lifecycle.rotate(taken.key, overlap=timedelta(0))

    lifecycle.revoke(stolen.key, reason="leaked")
    assert not is_live(taken)
    assert not is_live(further)


def test_a_key_that_rotates_itself_leaves_its_successor_alone(ada):
    key = mint_pat(ada)
    within = grants.for_tokens(ada, verify(key.token))
    successor = lifecycle.rotate(key.key, within=within)
    assert successor.key.minted_with == ""

    lifecycle.revoke(key.key, reason="its overlap is not needed")
    assert is_live(successor)


def test_what_was_made_with_a_key_ends_with_it_whoever_rotated_it_since(ada):
    parent, other = mint_pat(ada), mint_pat(ada)
    child = minted_with(parent, ada)
    rotated = lifecycle.rotate(child.key, within=grants.for_tokens(ada, verify(other.token)))
    lifecycle.revoke(child.key, reason="its overlap is not needed")

    lifecycle.revoke(parent.key, reason="leaked")
    assert not is_live(rotated)


def test_a_credential_that_ended_meanwhile_makes_nothing(ada):
    """It was verified, then revoked, before what it asked for was written."""
    parent = mint_pat(ada)
    within = grants.for_tokens(ada, verify(parent.token))
    other = mint_pat(ada).key
    lifecycle.revoke(parent.key, reason="leaked")

    for act in (
        lambda: mint_pat(ada, within=within),
        lambda: lifecycle.edit(other, name="x", within=within),
        lambda: lifecycle.rotate(other, within=within),
    ):
        with refused("credential_changed"):
            act()
    assert PersonalAccessToken.objects.count() == 2


@pytest.mark.parametrize("change", ["projects", "direct_use"])
def test_a_credential_that_was_restricted_meanwhile_makes_nothing(ada, change):
    """It reached all projects, or was taken by requests, when it was verified."""
    project = MembershipFactory(user=ada).project
    parent, other = mint_pat(ada), mint_pat(ada).key
    within = grants.for_tokens(ada, verify(parent.token))
    lifecycle.edit(parent.key, **{"projects": {"projects": [project]},
                                  "direct_use": {"direct_use": False}}[change])  # fmt: skip

    for act in (
        lambda: mint_pat(ada, within=within),
        lambda: lifecycle.edit(other, name="x", within=within),
        lambda: lifecycle.rotate(other, within=within),
    ):
        with refused("credential_changed"):
            act()
    assert PersonalAccessToken.objects.count() == 2


def test_a_restricted_credential_gives_what_it_has_then(ada):
    one, two = (MembershipFactory(user=ada).project for _ in range(2))
    parent = mint_pat(ada, projects=[one, two])
    within = grants.for_tokens(ada, verify(parent.token))
    lifecycle.edit(parent.key, projects=[one])

    assert mint_pat(ada, projects=[one], within=within).key.projects.get() == one
    with refused("project_not_grantable", "projects"):
        mint_pat(ada, projects=[two], within=within)


def test_the_first_revocation_counts(ada):
    key = mint_pat(ada).key
    stale = PersonalAccessToken.objects.get(pk=key.pk)
    assert lifecycle.revoke(key, by=ada, reason="first")
    assert not lifecycle.revoke(stale, reason="second")
    assert stale.revoked_reason == "first"


def test_a_key_in_a_name_or_a_reason_is_not_stored(ada):
    minted = mint_pat(ada)
    with refused("secret_in_text", "reason"):
        lifecycle.revoke(minted.key, reason=f"Found {minted.token} in a log.")
    with refused("secret_in_text", "name"):
        lifecycle.edit(minted.key, name=minted.token)
    with refused("secret_in_text", "name"):
        mint_pat(ada, name=f"old {minted.token[:-10]}")
    assert lifecycle.revoke(minted.key, reason=f"Found {minted.token[:30]}… in a log.")


# The number of keys


def test_there_are_no_more_live_keys_than_the_policy_says(ada, engine, policy):
    policy(most_live_keys=lambda owner: 2)
    first, _second = mint_pat(ada), mint_pat(ada)
    with refused("too_many_keys"):
        mint_pat(ada)
    mint_key(engine)  # another owner
    lifecycle.rotate(first.key)  # is not one more
    with refused("too_many_keys"):
        mint_pat(ada)
    lifecycle.revoke(first.key.successor)
    mint_pat(ada)


def test_pending_keys_count(ada, policy):
    policy(most_live_keys=lambda owner: 1, needs_approval=lambda owner, scope: True)
    mint_pat(ada)
    with refused("too_many_keys"):
        mint_pat(ada)


def test_the_caller_s_user_stays_as_it_was(policy):
    policy(most_live_keys=lambda owner: 5)
    user = UserFactory()
    user.first_name = "unsaved"
    mint_pat(user)
    assert user.first_name == "unsaved"


def test_signals_carry_who_and_with_what(ada, writes_need_approval):
    told = []
    signals = (key_minted, key_edited, key_approved, key_rotated, key_revoked)
    receivers = [lambda signal=None, n=n, **kw: told.append((n, kw)) for n in range(5)]
    for signal, receiver in zip(signals, receivers, strict=True):
        signal.connect(receiver)
    minted = mint_pat(ada, scopes=["payments:write"], by=ada)
    lifecycle.approve(minted.key, by=ada)
    lifecycle.edit(minted.key, name="n", by=ada, within=grants.for_tokens(ada))
    successor = lifecycle.rotate(minted.key, by=ada)
    lifecycle.revoke(successor.key, by=ada)
    for signal, receiver in zip(signals, receivers, strict=True):
        signal.disconnect(receiver)

    assert [n for n, _ in told] == [0, 2, 1, 3, 4]
    assert all(kw["by"] == ada and kw["using"] is None for _, kw in told)
    assert minted.token not in repr(told)
