"""Many keys end at once in few queries, and are recorded and mailed like one."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.core import mail
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import lifecycle
from apikeys.errors import LifecycleError
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.models.chains import _LINKS
from apikeys.refusals import Refused
from apikeys.signals import key_revoked
from apikeys.verify import verify
from tests.factories import ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db

SCOPE = "payments:read"


def tokens_of(user, number, **fields):
    keys = [
        PersonalAccessToken(user=user, name=f"{n}", scope=SCOPE, **fields) for n in range(number)
    ]
    PersonalAccessToken.objects.bulk_create(keys)
    return list(PersonalAccessToken.objects.filter(user=user).order_by("pk"))


def rotated(user, number):
    """A chain of ``number`` keys of which each replaces the one before."""
    keys = tokens_of(user, number)
    for older, newer in pairwise(keys):
        older.rotated_at, newer.replaces = timezone.now(), older
    PersonalAccessToken.objects.bulk_update(keys, ["rotated_at", "replaces"], batch_size=200)
    return keys


def events(name):
    return AuditEvent.objects.filter(event=name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, _LINKS, _LINKS + 1, 2 * _LINKS + 1])
def test_a_chain_of_rotations_is_read_in_full(number):
    keys = rotated(UserFactory(), number)
    with CaptureQueriesContext(connection) as queries:
        chain = keys[number // 2].chain()
    assert [key.pk for key in chain] == [key.pk for key in keys]
    assert len(queries) <= 4 + number // 100


def test_the_neighbours_of_a_key_are_the_nearest():
    keys = rotated(UserFactory(), 5)
    assert [key.pk for key in keys[2].predecessors(1)] == [keys[1].pk]
    assert [key.pk for key in keys[2].successors(1)] == [keys[3].pk]
    assert keys[0].predecessors() == keys[4].successors() == []


@pytest.mark.slow
def test_a_key_that_was_rotated_a_thousand_times_is_revoked_in_few_queries():
    user = UserFactory()
    keys = rotated(user, 1000)
    made = tokens_of(UserFactory(), 1, minted_with=keys[3].public_id, lineage=keys[3].public_id)
    with CaptureQueriesContext(connection) as queries:
        lifecycle.revoke(keys[-1], by=user)
    assert len(queries) <= 25
    made[0].refresh_from_db()
    assert made[0].revoked_at is not None


def test_one_mail_lists_the_keys_of_an_owner_that_end_together(django_capture_on_commit_callbacks):
    ada, bea = UserFactory(email="ada@example.com"), UserFactory(email="bea@example.com")
    top = mint_pat(ada).key
    for user, number in ((ada, 60), (bea, 1)):
        tokens_of(user, number, minted_with=top.public_id, lineage=top.public_id)
    with (
        CaptureQueriesContext(connection) as queries,
        django_capture_on_commit_callbacks(execute=True),
    ):
        lifecycle.revoke(top)
    assert len(queries) <= 30
    subjects = sorted((message.to[0], message.subject) for message in mail.outbox)
    assert subjects == [
        ("ada@example.com", f"60 credentials of {ada.username} were revoked"),
        ("ada@example.com", f"ci of {ada.username} was revoked"),
        ("bea@example.com", f"0 of {bea.username} was revoked"),
    ]
    body = next(message.body for message in mail.outbox if message.subject.startswith("60"))
    assert body.count(f"Created with {top.public_id}, which was revoked.") == 50
    assert "and 10 more" in body


@pytest.mark.slow
def test_a_deactivated_user_with_a_thousand_tokens_costs_one_query():
    user = UserFactory()
    minted = mint_pat(user)
    tokens_of(user, 1000)
    user.is_active = False
    with CaptureQueriesContext(connection) as queries:
        user.save()
    assert len(queries) == 1
    with pytest.raises(Refused, match="inactive_user"):
        verify(minted.token)


@pytest.mark.slow
@pytest.mark.parametrize("owner", ["user", "project"])
def test_a_thousand_keys_that_are_deleted_with_their_owner_are_recorded(owner):
    if owner == "user":
        who, name = (user := UserFactory()), user.username
        tokens_of(user, 1000)
    else:
        who = ProjectFactory(slug="gone")
        name = who.slug
        ProjectKey.objects.bulk_create(
            ProjectKey(project=who, name=f"{n}", scope=SCOPE) for n in range(1000)
        )
    pk = str(who.pk)
    with CaptureQueriesContext(connection) as queries:
        who.delete()
    assert len(queries) <= 75
    assert {(e.owner, e.owner_pk) for e in events("deleted")} == {(name, pk)}
    assert events("deleted").count() == events("deleted").values("public_id").distinct().count()
    assert events("deleted").count() == 1000


def test_keys_that_a_query_deletes_are_recorded_each_once():
    one, two = UserFactory(), UserFactory()
    tokens_of(one, 2)
    tokens_of(two, 2)
    kept = mint_pat(two).key
    PersonalAccessToken.objects.exclude(pk=kept.pk).delete()
    assert sorted(e.owner for e in events("deleted")) == sorted([one.username, two.username] * 2)


def test_a_repeated_deletion_is_recorded_once():
    user = UserFactory()
    keys = tokens_of(user, 3)
    tokens_of(UserFactory(), 1, minted_with=keys[2].public_id, lineage=keys[2].public_id)
    seen = []

    def refuse(**kwargs):
        seen.append(kwargs)
        if len(seen) == 1:
            raise RuntimeError("undone")

    key_revoked.connect(refuse)
    try:
        with pytest.raises(RuntimeError), transaction.atomic():
            user.delete()
        assert not events("deleted").exists()
        user.delete()
    finally:
        key_revoked.disconnect(refuse)
    assert events("deleted").count() == 3


class TestRevokeAll:
    def test_keys_of_both_kinds_end_for_their_reasons(self):
        pat, key, other = mint_pat().key, mint_key().key, mint_pat().key
        ended = lifecycle.revoke_all({pat: "one", key: "two", other: "three"})
        assert set(ended) == {pat, key, other}
        for each, reason in ((pat, "one"), (key, "two"), (other, "three")):
            each.refresh_from_db()
            assert (each.revoked_at is not None, each.revoked_reason) == (True, reason)
        assert events("revoked").count() == 3

    @pytest.mark.parametrize(
        ("reason", "code"),
        [
            (lambda minted: "a" * 10_000, "reason_too_long"),
            (lambda minted: "\x00", "invalid_reason"),
            (lambda minted: minted.token, "secret_in_text"),
        ],
    )
    def test_a_bad_reason_revokes_nothing(self, reason, code):
        first, second = mint_pat(), mint_key()
        with pytest.raises(LifecycleError) as error:
            lifecycle.revoke_all({first.key: "Lost.", second.key: reason(first)})

        assert error.value.code == code
        assert verify(first.token)
        assert verify(second.token)

    def test_who_revoked_them_is_recorded(self):
        ada, keys = UserFactory(username="ada"), [mint_pat().key, mint_key().key]
        for key in lifecycle.revoke_all(dict.fromkeys(keys, "Lost."), by=ada):
            assert type(key).objects.get(pk=key.pk).revoked_by == ada
        assert {event.by for event in events("revoked")} == {"ada"}

    def test_the_first_revocation_stays(self):
        minted = mint_pat()
        lifecycle.revoke(minted.key, reason="Mine.")
        assert lifecycle.revoke_all({minted.key: "Later."}) == []
        minted.key.refresh_from_db()
        assert minted.key.revoked_reason == "Mine."

    def test_a_deleted_key_is_left_out(self):
        gone, there = mint_pat().key, mint_pat().key
        stale = PersonalAccessToken.objects.get(pk=gone.pk)
        gone.delete()
        assert lifecycle.revoke_all({stale: "a", there: "b"}) == [there]

    def test_what_they_created_ends_too(self):
        ada = UserFactory()
        makers = [mint_pat(ada).key for _ in range(2)]
        made = [
            tokens_of(UserFactory(), 1, minted_with=key.public_id, lineage=key.public_id)[0]
            for key in makers
        ]
        lifecycle.revoke_all(dict.fromkeys(makers, "Lost."))
        for key in made:
            key.refresh_from_db()
            assert key.revoked_reason == "Created with a key that was revoked."

    def test_expired_keys_end_too(self):
        key = mint_pat().key
        PersonalAccessToken.objects.update(expires_at=timezone.now() - timedelta(days=1))
        assert lifecycle.revoke_all({key: "Old."}) == [key]
