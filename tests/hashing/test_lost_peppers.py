"""After a pepper is rotated or lost, right secrets work, and wrong ones cost little."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from apikeys import hashing, lifecycle, refusals
from apikeys.hashing import lost_peppers
from apikeys.models import PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat, of_nobody, with_wrong_secret

OLD, NEW, NEWEST = b"o" * 32, b"n" * 32, b"w" * 32

MINUTE = lost_peppers._TRIES_WINDOW


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
    """Record the secrets that are checked with Argon2."""
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
    monkeypatch.setattr(lost_peppers, "_TRIES_WINDOW", MINUTE)
    return clock


@contextmanager
def read_only():
    """Make the database read-only inside the block."""

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


def test_a_new_pepper_renews_the_digest_at_the_next_use(
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


def test_a_wrong_secret_renews_no_digest(minted, peppers, argon2):
    before = stored(minted)
    peppers(NEW, OLD)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert stored(minted) == before
    assert argon2 == []


def test_after_losing_all_peppers_argon2_runs_once(
    minted, peppers, argon2, django_assert_num_queries
):
    peppers(NEW)
    verify(minted.token)
    assert len(argon2) == 1
    assert stored(minted).pepper_id == hashing.pepper_id(NEW)

    with django_assert_num_queries(1):
        verify(minted.token)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert len(argon2) == 1


def test_peppers_can_be_lost_repeatedly(minted, peppers):
    for pepper in (NEW, NEWEST, OLD):
        peppers(pepper)
        verify(minted.token)
        assert stored(minted).pepper_id == hashing.pepper_id(pepper)


def test_after_losing_all_peppers_a_wrong_secret_is_refused(minted, peppers):
    before = stored(minted)
    peppers(NEW)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert stored(minted) == before


def test_an_unknown_id_never_runs_argon2(minted, peppers, argon2):
    peppers(NEW)
    assert refusal(of_nobody(minted.key.KIND)) is refusals.INVALID_KEY
    assert argon2 == []


def test_ended_keys_stay_refused_after_losing_all_peppers(minted, peppers):
    lifecycle.revoke(minted.key)
    peppers(NEW)
    assert refusal(minted.token) is refusals.REVOKED_KEY
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY


def test_wrong_secrets_are_limited_per_minute(minted, peppers, argon2, clock):
    peppers(NEW, ARGON2_TRIES=3)
    told = [refusal(with_wrong_secret(minted.token)) for _ in range(6)]

    assert told == [refusals.INVALID_KEY] * 3 + [refusals.VERIFICATION_BUSY] * 3
    assert len(argon2) == 3


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "filebased.FileBasedCache"])
@pytest.mark.parametrize("timeout", [300, None])
def test_the_right_secret_waits_a_minute_at_most(
    minted, peppers, clock, settings, tmp_path, backend, timeout
):
    """The cache may expire a counter at any time."""
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

    clock.now += MINUTE
    assert verify(minted.token)


def test_attempts_are_counted_per_key(minted, peppers):
    other = mint_pat()
    peppers(NEW, ARGON2_TRIES=1)
    refusal(with_wrong_secret(minted.token))
    assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert verify(other.token)


def test_a_limit_of_zero_refuses_all(minted, peppers, argon2):
    peppers(NEW, ARGON2_TRIES=0)
    assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert argon2 == []


def test_the_right_secret_works_without_a_cache(minted, peppers, settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    peppers(NEW)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert verify(minted.token)


def test_a_busy_process_refuses_with_verification_busy(minted, peppers, argon2, monkeypatch):
    monkeypatch.setattr(lost_peppers, "_slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(lost_peppers, "_SLOT_TIMEOUT", 0.001)
    peppers(NEW)
    with lost_peppers._slots:
        assert refusal(minted.token) is refusals.VERIFICATION_BUSY
    assert argon2 == []
    assert verify(minted.token)


def test_a_key_deleted_meanwhile_is_refused(minted, peppers, monkeypatch):
    peppers(NEW)
    monkeypatch.setattr(
        "apikeys.hashing.converted.check_root",
        lambda *args: minted.key.delete() and lost_peppers.check_root(*args),
    )
    assert refusal(minted.token) is refusals.INVALID_KEY


def test_slots_are_released_after_an_error(minted, peppers, monkeypatch):
    def fail(*args):
        raise MemoryError

    peppers(NEW)
    monkeypatch.setattr(lost_peppers, "_SLOT_TIMEOUT", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "check_root", fail)
        for _ in range(3):
            with pytest.raises(MemoryError):
                verify(minted.token)
    assert verify(minted.token)


def test_a_read_only_database_accepts_the_right_secret(minted, peppers, caplog):
    peppers(NEW, OLD)
    with read_only():
        for _ in range(10):
            verify(minted.token)
        assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY
    assert minted.key.public_id in caplog.text
    assert minted.token[26:] not in caplog.text


def test_a_read_only_database_accepts_the_right_secret_after_losing_all_peppers(minted, peppers):
    """A right secret uses no attempt, so wrong secrets cannot lock it out."""
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


def test_a_digest_renewed_meanwhile_is_kept(minted, peppers):
    """Two servers with different peppers: neither replaces a digest that it has not read."""
    peppers(NEW, OLD)
    stale = stored(minted)
    verify(minted.token)
    renewed = stored(minted)
    peppers(NEWEST, OLD)
    parsed = type("P", (), {"secret": "x", "public_id": minted.key.public_id})()
    lost_peppers.renew_digest(type(minted.key), minted.key.pk, stale.pepper_id, parsed)
    assert stored(minted) == renewed


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_after_a_loss_all_succeed(peppers, argon2):
    """All parallel requests of a key succeed, and few of them run Argon2."""
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
