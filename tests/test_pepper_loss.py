"""A pepper is rotated, or lost: holders come through, forgers gain nothing, work is bounded."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from apikeys import hashing, lifecycle, pepper_loss, refusals
from apikeys.models import PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat, of_nobody, with_wrong_secret

OLD, NEW, NEWEST = b"o" * 32, b"n" * 32, b"w" * 32


@pytest.fixture
def peppers(settings):
    def use(*peppers, **others):
        settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": peppers, **others}

    use(OLD)
    return use


@pytest.fixture(params=["pat", "key"])
def minted(request, peppers, db):
    return mint_pat() if request.param == "pat" else mint_key()


@pytest.fixture
def argon2(monkeypatch):
    """The secrets that were tried against a root."""
    tried = []

    def check_root(secret, root, check=hashing.check_root):
        tried.append(secret)
        return check(secret, root)

    monkeypatch.setattr(hashing, "check_root", check_root)
    return tried


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_900_000_000.0

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


@contextmanager
def read_only():
    """A database that takes no writes."""

    def refuse(execute, sql, params, many, context):
        if sql.startswith(("UPDATE", "INSERT", "DELETE")):
            raise OperationalError("attempt to write a readonly database")
        return execute(sql, params, many, context)

    with connections["default"].execute_wrapper(refuse):
        yield


def refusal(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal


def stored(minted):
    key = type(minted.key).objects.get(pk=minted.key.pk)
    return hashing.Digest(key.digest, key.pepper_id)


def test_a_new_pepper_moves_a_key_at_its_next_use(
    minted, peppers, argon2, django_assert_num_queries
):
    before = stored(minted)
    peppers(NEW, OLD)
    verify(minted.token)
    assert stored(minted) != before
    assert stored(minted).pepper_id == hashing.pepper_id(NEW)

    peppers(NEW)
    with django_assert_num_queries(1):
        verify(minted.token)
    assert argon2 == []


def test_djangos_secret_key_is_rotated(settings, db, argon2):
    settings.SECRET_KEY = "first" * 10
    minted = mint_pat()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "second" * 10, ["first" * 10]
    verify(minted.token)
    settings.SECRET_KEY_FALLBACKS = []
    verify(minted.token)
    assert argon2 == []


def test_a_forger_moves_nothing(minted, peppers, argon2):
    before = stored(minted)
    peppers(NEW, OLD)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert stored(minted) == before
    assert argon2 == []


def test_after_a_total_loss_argon2_decides_once(minted, peppers, argon2, django_assert_num_queries):
    peppers(NEW)
    verify(minted.token)
    assert len(argon2) == 1
    assert stored(minted).pepper_id == hashing.pepper_id(NEW)

    with django_assert_num_queries(1):
        verify(minted.token)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert len(argon2) == 1


def test_every_pepper_may_be_lost_again_and_again(minted, peppers):
    for pepper in (NEW, NEWEST, OLD):
        peppers(pepper)
        verify(minted.token)
        assert stored(minted).pepper_id == hashing.pepper_id(pepper)


def test_after_a_total_loss_a_wrong_secret_stays_wrong(minted, peppers):
    before = stored(minted)
    peppers(NEW)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert stored(minted) == before


def test_an_unknown_id_never_buys_argon2(minted, peppers, argon2):
    peppers(NEW)
    assert refusal(of_nobody(minted.key.KIND)) is refusals.INVALID_KEY
    assert argon2 == []


def test_the_dead_stay_dead_through_a_loss(minted, peppers):
    lifecycle.revoke(minted.key)
    peppers(NEW)
    assert refusal(minted.token) is refusals.REVOKED_KEY
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY


def test_a_forger_has_so_many_tries_a_minute(minted, peppers, argon2, clock):
    peppers(NEW, ARGON2_TRIES=3)
    told = [refusal(with_wrong_secret(minted.token)) for _ in range(6)]

    assert told == [refusals.INVALID_KEY] * 3 + [refusals.VERIFICATION_BUSY] * 3
    assert len(argon2) == 3


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "filebased.FileBasedCache"])
@pytest.mark.parametrize("timeout", [300, None])
def test_the_holder_waits_a_minute_at_most(
    minted, peppers, clock, settings, tmp_path, backend, timeout
):
    """Whatever the cache makes of a counter's lifetime."""
    settings.CACHES = {
        "default": {
            "BACKEND": f"django.core.cache.backends.{backend}",
            "LOCATION": str(tmp_path),
            "TIMEOUT": timeout,
        }
    }
    peppers(NEW, ARGON2_TRIES=2)
    for _ in range(3):
        refusal(with_wrong_secret(minted.token))
    assert refusal(minted.token) is refusals.VERIFICATION_BUSY

    clock.now += pepper_loss._TRIES_WINDOW
    assert verify(minted.token)


def test_the_tries_on_one_key_are_none_of_anothers(minted, peppers):
    other = mint_pat()
    peppers(NEW, ARGON2_TRIES=1)
    refusal(with_wrong_secret(minted.token))
    assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert verify(other.token)


def test_a_bound_of_no_tries_is_obeyed(minted, peppers, argon2):
    peppers(NEW, ARGON2_TRIES=0)
    assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert argon2 == []


def test_a_cache_that_forgets_at_once_does_not_keep_the_holder_out(minted, peppers, settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    peppers(NEW)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert verify(minted.token)


def test_a_busy_process_says_so(minted, peppers, argon2, monkeypatch):
    monkeypatch.setattr(pepper_loss, "_slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(pepper_loss, "_SLOT_TIMEOUT", 0.001)
    peppers(NEW)
    with pepper_loss._slots:
        assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert argon2 == []
    assert verify(minted.token)


def test_a_key_that_is_deleted_meanwhile_is_no_key(minted, peppers, monkeypatch):
    peppers(NEW)
    monkeypatch.setattr(
        "apikeys.verify.check_root",
        lambda *args: minted.key.delete() and pepper_loss.check_root(*args),
    )
    assert refusal(minted.token) is refusals.INVALID_KEY


def test_slots_come_back_whatever_happens(minted, peppers, monkeypatch):
    def fail(*args):
        raise MemoryError

    peppers(NEW)
    monkeypatch.setattr(pepper_loss, "_SLOT_TIMEOUT", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "check_root", fail)
        for _ in range(3):
            with pytest.raises(MemoryError):
                verify(minted.token)
    assert verify(minted.token)


def test_a_read_only_database_does_not_keep_the_holder_out(minted, peppers, caplog):
    peppers(NEW, OLD)
    with read_only():
        for _ in range(10):
            verify(minted.token)
        assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert minted.key.public_id in caplog.text
    assert minted.token[26:] not in caplog.text


def test_nor_does_it_after_a_total_loss(minted, peppers):
    """A right secret uses up no try: none is left for the forger to take away, nor to win."""
    peppers(NEW, ARGON2_TRIES=2)
    with read_only():
        for _ in range(5):
            verify(minted.token)
        told = [refusal(with_wrong_secret(minted.token)) for _ in range(3)]
    assert told == [refusals.INVALID_KEY] * 2 + [refusals.VERIFICATION_BUSY]


def test_a_failed_renewal_leaves_the_callers_transaction_whole(minted, peppers, monkeypatch):
    def fail(*args, **kwargs):
        connections["default"].cursor().execute("SELECT no_such_column")

    peppers(NEW, OLD)
    with transaction.atomic(), monkeypatch.context() as patch:
        patch.setattr("django.db.models.query.QuerySet.update", fail)
        verify(minted.token)
        assert type(minted.key).objects.get(pk=minted.key.pk).digest == minted.key.digest


def test_renewal_is_kept_even_where_the_key_was_renewed_meanwhile(minted, peppers):
    """Two servers with different newest peppers: neither undoes what it did not read."""
    peppers(NEW, OLD)
    stale = stored(minted)
    verify(minted.token)
    renewed = stored(minted)
    peppers(NEWEST, OLD)
    parsed = type("P", (), {"secret": "x", "public_id": minted.key.public_id})()
    pepper_loss.renew_digest(type(minted.key), minted.key.pk, stale.pepper_id, parsed)
    assert stored(minted) == renewed


@pytest.mark.django_db(transaction=True)
def test_a_burst_of_the_holders_requests_comes_through(peppers, argon2):
    """A busy key after the loss: all of its requests succeed, and few of them pay."""
    minted = mint_pat(expires_at=timezone.now() + timedelta(days=1))
    peppers(NEW, ARGON2_TRIES=2)
    together = threading.Barrier(8)

    def request():
        together.wait(timeout=30)
        try:
            return verify(minted.token).credential_id
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(request) for _ in range(8)]
        assert {answer.result() for answer in answers} == {minted.key.public_id}
    assert 1 <= len(argon2) <= 2
    assert PersonalAccessToken.objects.get().pepper_id == hashing.pepper_id(NEW)
