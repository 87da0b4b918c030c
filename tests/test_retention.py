"""Old audit events and ended keys are deleted, and nothing that security depends on."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apikeys import grants, leaks, lifecycle, refusals, retention, token
from apikeys.audit import Event, write
from apikeys.errors import LifecycleError
from apikeys.mail import deadlines
from apikeys.models import (
    AppendOnlyError,
    AuditEvent,
    LegacyKey,
    PersonalAccessToken,
    ProjectKey,
    ProjectKeyUsage,
    State,
)
from apikeys.models.reach import EndedUse, ScopeUse
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)
from tests.management.conftest import apikeys  # noqa: F401
from tests.signing import ed25519_key, pem

pytestmark = pytest.mark.django_db

YEAR = timedelta(days=365)
MAKER = ["keys:write", "payments:read"]


def ago(days):
    return timezone.now() - timedelta(days=days)


def expire(key, days=400):
    type(key).objects.filter(pk=key.pk).update(expires_at=ago(days))


def age(key, days=400):
    """Make the end of ``key`` older, however it ended."""
    rows = type(key).objects.filter(pk=key.pk)
    rows.exclude(revoked_at=None).update(revoked_at=ago(days))


def exists(*keys):
    return [type(key).objects.filter(pk=key.pk).exists() for key in keys]


def prune():
    return retention.prune_keys(timezone.now() - YEAR)


def made_with(maker, user, **kwargs):
    return mint_pat(user, within=grants.for_tokens(user, verify(maker.token)), **kwargs)


# Audit events


@pytest.fixture
def log(ada):
    key = mint_pat(ada).key
    for days in (800, 731, 729, 0):
        write(Event.APPROVED, key, at=ago(days))
    return key


def test_old_events_are_deleted_and_the_deletion_is_recorded(apikeys, log):  # noqa: F811
    UserFactory(username="grace")
    done = apikeys("prune", "--audit", "730d", "--by", "grace")

    assert done.code == 0
    assert "2 audit events" in done.out
    assert AuditEvent.objects.filter(at__lt=ago(730)).count() == 0
    assert AuditEvent.objects.filter(event=Event.APPROVED).count() == 2
    pruned = AuditEvent.objects.get(event=Event.PRUNED)
    assert (pruned.by, pruned.owner, pruned.public_id) == ("grace", "", "")
    assert pruned.changes["pruned"] == "events"
    assert pruned.changes["number"] == 2
    assert abs((AuditEvent.objects.pruned_until() - ago(730)).total_seconds()) < 60


def test_entries_about_deletions_are_never_deleted(log):
    retention.prune_events(ago(730))
    pruned = AuditEvent.objects.get(event=Event.PRUNED)

    assert retention.prune_events(timezone.now() + YEAR) == 3
    assert AuditEvent.objects.order_by("pk").first() == pruned
    assert set(AuditEvent.objects.values_list("event", flat=True)) == {Event.PRUNED}
    assert retention.prune_events(timezone.now() + YEAR) == 0
    assert AuditEvent.objects.count() == 2


def test_events_are_deleted_in_batches_and_leave_a_trace_if_interrupted(log, monkeypatch):
    monkeypatch.setattr(retention, "_EVENTS", 1)
    assert retention.prune_events(ago(730)) == 2

    write(Event.APPROVED, log, at=ago(800))
    monkeypatch.setattr(retention, "_EVENTS", "nonsense")
    with pytest.raises(TypeError):
        retention.prune_events(ago(730))
    assert AuditEvent.objects.filter(event=Event.PRUNED).count() == 2
    assert retention.old_events(ago(730)) == 1


def test_log_stays_append_only_for_all_other_code(log):
    with pytest.raises(AppendOnlyError):
        AuditEvent.objects.filter(at__lt=ago(730)).delete()
    with pytest.raises(AppendOnlyError):
        AuditEvent.objects.first().delete()
    assert retention.old_events(ago(730)) == 2


def test_dry_run_deletes_nothing(apikeys, log, ada):  # noqa: F811
    expire(mint_pat(ada).key)
    done = apikeys("prune", "--audit", "730d", "--ended", "1y", "--dry-run", "--json")

    assert done.json == {"deleted": 0, "keys": 1, "audit_events": 2}
    assert retention.old_events(ago(730)) == 2
    assert PersonalAccessToken.objects.count() == 2
    assert not AuditEvent.objects.filter(event=Event.PRUNED).exists()
    assert "Would delete 1 key and 2 audit events." in apikeys(
        "prune", "--audit", "730d", "--ended", "1y", "--dry-run"
    ).out  # fmt: skip
    assert "Would delete nothing." in apikeys("prune", "--dry-run").out


@pytest.mark.parametrize("option", ["--audit", "--ended"])
def test_short_spans_need_force(apikeys, log, option):  # noqa: F811
    refused = apikeys("prune", option, "29d")
    assert refused.code == 1
    assert "30d or more" in refused.err
    assert "--force" in refused.err
    for wrong in ("1d", "0d", "-1d", "nonsense", "2000y"):
        assert apikeys("prune", f"{option}={wrong}", "--force").code == 1
    assert AuditEvent.objects.filter(event=Event.APPROVED).count() == 4

    assert apikeys("prune", option, "29d", "--force").code == 0


def test_prune_without_options_keeps_events_and_keys(apikeys, log, ada):  # noqa: F811
    expire(mint_pat(ada).key, 5000)
    apikeys("prune")
    assert retention.old_events(ago(730)) == 2
    assert PersonalAccessToken.objects.count() == 2


def test_settings_apply_without_options(apikeys, log, ada, settings):  # noqa: F811
    settings.APIKEYS = settings.APIKEYS | {"KEEP_AUDIT": timedelta(days=730), "KEEP_ENDED": YEAR}
    key = mint_pat(ada).key
    expire(key)

    assert "1 key and 2 audit events" in apikeys("prune").out
    assert exists(key) == [False]
    assert retention.old_events(ago(730)) == 0


@pytest.mark.parametrize("name", ["KEEP_AUDIT", "KEEP_ENDED"])
@pytest.mark.parametrize("value", [timedelta(days=29), 365, "365d"])
def test_wrong_settings_are_reported(settings, name, value):
    from django.core import checks

    settings.APIKEYS = settings.APIKEYS | {name: value}
    assert [each for each in checks.run_checks() if name in each.msg and each.level >= checks.ERROR]


def test_expiry_is_not_recorded_again_after_its_event_was_deleted(log, ada):
    key = mint_pat(ada).key
    expire(key, 800)
    deadlines.notify()
    assert AuditEvent.objects.filter(event=Event.EXPIRED).count() == 1
    retention.prune_events(ago(730))
    assert AuditEvent.objects.filter(event=Event.EXPIRED).count() == 0

    deadlines.notify()
    assert AuditEvent.objects.filter(event=Event.EXPIRED).count() == 0
    later = mint_pat(ada).key
    expire(later, 3)
    deadlines.notify()
    assert AuditEvent.objects.get(event=Event.EXPIRED).public_id == later.public_id


# Keys that ended


def test_ended_keys_are_deleted_with_what_hangs_on_them(apikeys, ada):  # noqa: F811
    project = ProjectFactory()
    expired, revoked = mint_key(project), mint_pat(ada)
    recent, live = mint_key(project), mint_pat(ada)
    ProjectKeyUsage.objects.create(key=expired.key, day=ago(410).date(), count=3)
    for each in (expired.key, live.key):
        kind = token.KIND_NAMES[each.KIND]
        times = {"first_used_at": ago(410), "last_used_at": ago(410), "count": 3}
        ScopeUse.objects.create(kind=kind, credential=each.public_id, scope="a", **times)
        EndedUse.objects.create(kind=kind, public_id=each.public_id, code="expired_key", **times)
    expire(expired.key)
    expire(recent.key, 364)
    lifecycle.revoke(revoked.key, by=ada, reason="Lost.")
    age(revoked.key)
    done = apikeys("prune", "--ended", "365d", "--json")

    assert done.json["keys"] == 2
    keys = [each.key for each in (expired, revoked, recent, live)]
    assert exists(*keys) == [False, False, True, True]
    assert ProjectKeyUsage.objects.count() == 0
    assert ScopeUse.objects.get().credential == live.key.public_id
    assert EndedUse.objects.get().public_id == live.key.public_id
    for gone in (expired, revoked):
        with pytest.raises(Refused) as caught:
            verify(gone.token)
        assert caught.value.refusal is refusals.INVALID_KEY
        events = AuditEvent.objects.filter(public_id=gone.key.public_id).order_by("pk")
        assert [events.first().event, events.last().event] == [Event.MINTED, Event.DELETED]
    assert verify(live.token).user == ada
    changes = AuditEvent.objects.get(event=Event.PRUNED).changes
    assert (changes["pruned"], changes["number"]) == ("keys", 2)
    assert AuditEvent.objects.pruned_until() is None


def test_a_request_with_a_deleted_key_is_refused(ada):
    MembershipFactory(user=ada)
    gone = mint_pat(ada)
    expire(gone.key)
    before = Client().get("/api/token/", headers=bearer(gone.token))
    assert before.json()["code"] == "expired_key"
    prune()
    after = Client().get("/api/token/", headers=bearer(gone.token))
    assert (after.status_code, after.json()["code"]) == (401, "invalid_key")


def test_a_key_that_expired_long_ago_and_was_revoked_today_remains(ada):
    key = mint_pat(ada).key
    expire(key)
    lifecycle.revoke(key, by=ada, reason="Found in a backup.")
    assert prune() == 0


def test_a_pending_key_that_expired_is_deleted(ada):
    key = mint_pat(ada).key
    expire(key)
    type(key).objects.filter(pk=key.pk).update(is_pending=True)
    assert prune() == 1


def test_revoking_a_key_still_ends_what_an_expired_descendant_created(ada):
    MembershipFactory(user=ada)
    top = mint_pat(ada, scopes=MAKER)
    middle = made_with(top, ada, scopes=MAKER)
    bottom = made_with(middle, ada)
    expire(middle.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    bottom.key.refresh_from_db()
    assert bottom.key.state() is State.REVOKED


def test_an_expired_maker_is_deleted_once_all_that_it_created_can_be(ada):
    MembershipFactory(user=ada)
    top = mint_pat(ada, scopes=MAKER)
    bottom = made_with(top, ada)
    expire(top.key)
    expire(bottom.key, 10)
    assert prune() == 0
    expire(bottom.key)
    assert prune() == 2


def test_a_project_key_that_a_token_created_keeps_that_token(ada):
    project = MembershipFactory(user=ada, role="owner").project
    top = mint_pat(ada, scopes=MAKER)
    within = grants.for_project(project, user=ada, using=verify(top.token))
    bottom = mint_key(project, by=ada, within=within)
    assert bottom.key.minted_with == top.key.public_id
    expire(top.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    bottom.key.refresh_from_db()
    assert bottom.key.state() is State.REVOKED


def test_revoking_a_successor_still_ends_what_its_predecessors_created(ada):
    MembershipFactory(user=ada)
    first = mint_pat(ada, scopes=MAKER)
    child = made_with(first, ada)
    second = lifecycle.rotate(first.key, by=ada)
    third = lifecycle.rotate(second.key, by=ada)
    expire(first.key)
    expire(second.key)

    assert prune() == 0  # the chain leads from the third through the second
    lifecycle.revoke(third.key, by=ada, reason="Stolen.")
    child.key.refresh_from_db()
    assert child.key.state() is State.REVOKED


def test_predecessors_without_descendants_are_deleted_and_the_successor_works(ada):
    first = mint_pat(ada)
    second = lifecycle.rotate(first.key, by=ada)
    third = lifecycle.rotate(second.key, by=ada)
    expire(first.key)
    assert prune() == 1
    expire(second.key)
    assert prune() == 1

    assert verify(third.token).user == ada
    third.key.refresh_from_db()
    assert third.key.chain() == [third.key]
    with pytest.raises(Refused, match="invalid_key"):
        verify(first.token)


def test_a_newer_key_of_a_chain_is_not_deleted_before_an_older_one_that_remains(ada):
    first = mint_pat(ada)
    second = lifecycle.rotate(first.key, by=ada, overlap=timedelta(days=1))
    expire(second.key)
    assert prune() == 0
    expire(first.key)
    assert prune() == 2


def test_a_predecessor_that_another_credential_created_is_kept(ada):
    MembershipFactory(user=ada)
    top, other = mint_pat(ada, scopes=MAKER), mint_pat(ada, scopes=MAKER)
    child = made_with(top, ada)
    successor = lifecycle.rotate(child.key, within=grants.for_tokens(ada, verify(other.token)))
    expire(child.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    successor.key.refresh_from_db()
    assert successor.key.state() is State.REVOKED


def test_the_maker_of_a_maker_is_kept(ada):
    """It expired: a report that it leaked still ends what comes from it."""
    MembershipFactory(user=ada)
    top = mint_pat(ada, scopes=MAKER)
    middle = made_with(top, ada, scopes=MAKER)
    child = made_with(middle, ada)
    expire(top.key)
    expire(middle.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    child.key.refresh_from_db()
    assert child.key.state() is State.REVOKED


def test_an_earlier_predecessor_that_another_credential_created_is_kept(ada):
    MembershipFactory(user=ada)
    top, other = mint_pat(ada, scopes=MAKER), mint_pat(ada, scopes=MAKER)
    first = made_with(top, ada)
    within = grants.for_tokens(ada, verify(other.token))
    second = lifecycle.rotate(first.key, within=within)
    third = lifecycle.rotate(second.key, by=ada)
    expire(first.key)
    expire(second.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    third.key.refresh_from_db()
    assert third.key.state() is State.REVOKED


def test_a_predecessor_of_an_ended_maker_that_another_credential_created_is_kept(ada):
    MembershipFactory(user=ada)
    top, other = mint_pat(ada, scopes=MAKER), mint_pat(ada, scopes=MAKER)
    first = made_with(top, ada, scopes=MAKER)
    maker = lifecycle.rotate(first.key, within=grants.for_tokens(ada, verify(other.token)))
    child = made_with(maker, ada)
    expire(first.key)
    expire(maker.key)

    assert prune() == 0
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    child.key.refresh_from_db()
    assert child.key.state() is State.REVOKED


def test_a_predecessor_that_nothing_created_is_deleted(ada):
    MembershipFactory(user=ada)
    other = mint_pat(ada, scopes=MAKER)
    first = mint_pat(ada)
    lifecycle.rotate(first.key, within=grants.for_tokens(ada, verify(other.token)))
    expire(first.key)
    assert prune() == 1


def test_a_predecessor_with_the_same_maker_is_deleted(ada):
    MembershipFactory(user=ada)
    top = mint_pat(ada, scopes=MAKER)
    child = made_with(top, ada)
    successor = lifecycle.rotate(child.key, by=ada)
    expire(child.key)

    assert prune() == 1
    lifecycle.revoke(top.key, by=ada, reason="Stolen.")
    successor.key.refresh_from_db()
    assert successor.key.state() is State.REVOKED


def test_a_public_key_cannot_be_used_again():
    project, public_key = ProjectFactory(), pem(ed25519_key())
    key = mint_key(project, public_key=public_key).key
    expire(key)

    assert prune() == 0
    with pytest.raises(LifecycleError) as caught:
        mint_key(project, public_key=public_key)
    assert caught.value.code == "public_key_reused"


def test_an_imported_key_that_was_deleted_is_not_found_by_its_old_text(ada):
    key = mint_pat(ada).key
    LegacyKey.objects.create(token=key, scheme="knox", selector="a" * 64, source="b" * 64)
    expire(key)
    assert prune() == 1
    former = LegacyKey.objects.get()
    assert former.token is None  # a repeated import finds it, and does not restore the key


def test_a_leak_report_about_a_deleted_key_ends_nothing(ada):
    gone, live = mint_pat(ada), mint_pat(ada)
    expire(gone.key)
    prune()
    leaks.report_all([(gone.token, "")], source="anybody")
    live.key.refresh_from_db()
    assert live.key.state() is State.LIVE


@pytest.mark.slow
def test_dry_run_counts_what_a_run_deletes(ada, monkeypatch):
    monkeypatch.setattr(retention, "_KEYS", 2)
    monkeypatch.setattr(retention, "_CHUNK", 2)
    MembershipFactory(user=ada)
    key = mint_pat(ada)
    for _ in range(5):
        expire(key.key)
        type(key.key).objects.filter(pk=key.key.pk).update(expires_at=None)
        following = lifecycle.rotate(key.key, by=ada)
        expire(key.key)
        key = following
    maker = mint_pat(ada, scopes=MAKER)
    made_with(maker, ada)
    expire(maker.key)
    for _ in range(3):
        expire(mint_key().key)

    assert retention.ended_keys(ago(365)) == 8
    assert prune() == 8
    assert exists(maker.key, key.key) == [True, True]
    assert ProjectKey.objects.count() == 0
