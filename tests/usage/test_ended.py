"""Uses of a correct secret after the end of its key are counted, and reported once."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.utils import timezone

from apikeys import cache, lifecycle, usage
from apikeys.models import AuditEvent, EndedUse, PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.signals import key_used_after_end
from apikeys.verify import recall, verify
from tests.factories import mint_key, mint_pat, with_wrong_secret


@pytest.fixture(autouse=True)
def _nothing_noted(db):
    """Clear the notes of other tests."""
    usage.flush()


def expire(key):
    type(key).objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(days=1))


ENDS = {
    "revoked_key": lifecycle.revoke,
    "expired_key": expire,
    "paused_key": lifecycle.pause,
}


def refuse(minted, ip="203.0.113.7", text=None, **kwargs):
    request = RequestFactory(REMOTE_ADDR=ip).get("/")
    with pytest.raises(Refused) as refused:
        verify(text or minted.token, request, **kwargs)
    return refused.value.refusal.code


def counted():
    return list(EndedUse.objects.values_list("public_id", "code", "first_ip", "last_ip", "count"))


def reported():
    events = AuditEvent.objects.filter(event="used_after_end").order_by("pk")
    return [(each.public_id, each.changes["code"], each.ip) for each in events]


@pytest.mark.parametrize("mint", [mint_pat, mint_key], ids=["token", "key"])
@pytest.mark.parametrize("code", list(ENDS))
def test_uses_after_the_end_are_counted(mint, code, django_assert_num_queries):
    minted = mint()
    ENDS[code](minted.key)
    start = timezone.now()

    with django_assert_num_queries(1):  # the lookup of the key
        assert refuse(minted, "203.0.113.1") == code
    refuse(minted, "203.0.113.2")
    usage.flush()

    key_id = minted.key.public_id
    assert counted() == [(key_id, code, "203.0.113.1", "203.0.113.2", 2)]
    assert reported() == [(key_id, code, "203.0.113.1")]
    row = EndedUse.objects.get()
    assert start <= row.first_used_at <= row.last_used_at <= timezone.now()
    assert row.kind in {"personal_access_token", "project_key"}


def test_later_batches_add_to_the_count_and_are_not_reported_again():
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    for n in range(1, 4):
        refuse(minted, f"203.0.113.{n}")
        usage.flush()

    assert counted() == [
        (minted.key.public_id, "revoked_key", "203.0.113.1", "203.0.113.3", 3),
    ]
    assert len(reported()) == 1


def test_each_end_of_a_key_is_reported():
    minted = mint_pat()
    for _ in range(2):
        lifecycle.pause(minted.key)
        refuse(minted)
        usage.flush()
        lifecycle.resume(minted.key)
    lifecycle.revoke(minted.key)
    refuse(minted)
    usage.flush()

    assert [code for _, code, _ in reported()] == ["paused_key", "paused_key", "revoked_key"]


def test_the_signal_names_the_refusal(mocker):
    receiver = mocker.Mock()
    key_used_after_end.connect(receiver)
    try:
        minted = mint_key()
        lifecycle.revoke(minted.key)
        for _ in range(2):
            refuse(minted)
            usage.flush()
    finally:
        key_used_after_end.disconnect(receiver)

    receiver.assert_called_once()
    facts = receiver.call_args.kwargs
    assert facts["key"] == minted.key
    assert (facts["code"], facts["ip"], facts["count"]) == ("revoked_key", "203.0.113.7", 1)


def test_a_wrong_secret_is_not_counted():
    minted = mint_pat()
    lifecycle.revoke(minted.key)

    assert refuse(minted, text=with_wrong_secret(minted.token)) == "invalid_key"
    usage.flush()
    assert counted() == reported() == []


@pytest.mark.parametrize("look", [{"counts_as_use": False}, {"anywhere": True}])
def test_a_look_at_a_key_is_not_counted(look):
    minted = mint_pat()
    lifecycle.revoke(minted.key)

    refuse(minted, **look)
    usage.flush()
    assert counted() == reported() == []


def test_a_key_that_waits_for_approval_has_not_ended():
    minted = mint_pat()
    PersonalAccessToken.objects.update(is_pending=True)

    assert refuse(minted) == "approval_required"
    usage.flush()
    assert counted() == []


def test_a_rotated_key_has_not_ended_within_its_overlap():
    minted = mint_pat()
    lifecycle.rotate(minted.key)
    verify(minted.token)
    usage.flush()
    assert counted() == []

    expire(minted.key)
    refuse(minted)
    usage.flush()
    assert [(key_id, code) for key_id, code, *_ in counted()] == [
        (minted.key.public_id, "expired_key")
    ]


def test_an_exchange_of_an_ended_key_counts():
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    refuse(minted, exchange=True)
    usage.flush()
    assert counted()[0][-1] == 1


def test_a_request_that_was_admitted_before_the_end_is_an_ordinary_use():
    minted = mint_pat()
    verify(minted.token)
    lifecycle.revoke(minted.key)
    usage.flush()

    minted.key.refresh_from_db()
    assert minted.key.last_used_at is not None
    assert counted() == []


def test_a_key_that_was_resumed_before_the_write_is_not_reported():
    minted = mint_pat()
    lifecycle.pause(minted.key)
    refuse(minted)
    lifecycle.resume(minted.key)
    usage.flush()
    assert counted() == reported() == []


def test_a_key_that_was_deleted_before_the_write_does_not_stop_it():
    one, other = mint_pat(), mint_pat()
    for minted in (one, other):
        lifecycle.revoke(minted.key)
        refuse(minted)
    one.key.delete()
    usage.flush()
    assert [each[0] for each in counted()] == [other.key.public_id]


def test_unwritten_notes_are_kept_and_added_to_newer_ones():
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    refuse(minted, "203.0.113.1")

    def used_again(*args):
        usage.note_ended(PersonalAccessToken, minted.key.pk, "203.0.113.2", "revoked_key")
        raise OperationalError("the database is away")

    with connection.execute_wrapper(used_again), pytest.raises(OperationalError):
        usage.flush()
    usage.flush()
    assert counted() == [(minted.key.public_id, "revoked_key", "203.0.113.1", "203.0.113.2", 2)]


def test_an_older_batch_of_another_process_does_not_replace_a_newer_one():
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    refuse(minted, "203.0.113.1")
    late = usage._pending.copy()
    usage._pending.clear()
    refuse(minted, "203.0.113.2")
    usage.flush()
    usage._pending.update(late)
    usage.flush()

    assert counted() == [(minted.key.public_id, "revoked_key", "203.0.113.1", "203.0.113.2", 2)]
    assert len(reported()) == 1


def test_a_key_in_memory_is_counted_too(monkeypatch):
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    monkeypatch.setattr(cache, "peek", cache.find)
    with pytest.raises(Refused, match="revoked_key"):
        recall(minted.token, None)
    usage.flush()
    assert counted() == [(minted.key.public_id, "revoked_key", None, None, 1)]


def test_the_notes_are_bounded(monkeypatch):
    monkeypatch.setattr(usage, "_MOST_PLACES", 2)
    keys = [mint_pat() for _ in range(3)]
    for minted in keys:
        lifecycle.revoke(minted.key)
        refuse(minted)
    refuse(keys[0])
    usage.flush()
    assert sorted(each[-1] for each in counted()) == [1, 2]


@pytest.mark.slow
def test_many_keys_are_written_in_few_statements(django_assert_max_num_queries):
    minted = mint_pat()
    PersonalAccessToken.objects.bulk_create(
        PersonalAccessToken(user=minted.key.user, name=str(n), revoked_at=timezone.now())
        for n in range(1200)
    )
    for pk in PersonalAccessToken.objects.filter(name__gt="").values_list("pk", flat=True):
        usage.note_ended(PersonalAccessToken, pk, "203.0.113.7", "revoked_key")
    with django_assert_max_num_queries(45):
        usage.flush()
    assert EndedUse.objects.count() == 1201


def test_an_address_that_is_none_is_not_stored():
    minted = mint_pat()
    lifecycle.revoke(minted.key)
    refuse(minted, "unix:")
    usage.flush()
    assert counted() == [(minted.key.public_id, "revoked_key", None, None, 1)]
