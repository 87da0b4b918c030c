"""Attempts count across processes and rollbacks, and cannot be evicted."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from apikeys.limits import attempts, networks
from apikeys.models import AttemptCount

WINDOW = 60


@pytest.fixture(autouse=True)
def _middle_of_a_window(monkeypatch):
    monkeypatch.setattr("apikeys.limits.attempts.time.time", lambda: 1000 * WINDOW + WINDOW / 2)
    attempts._held.clear()
    yield
    attempts._held.clear()


@pytest.mark.parametrize("count", [attempts.count, attempts.count_surely])
def test_each_attempt_is_one_more(db, count):
    assert [count("a", WINDOW).number for _ in range(3)] == [1, 2, 3]
    assert count("b", WINDOW).number == 1


@pytest.mark.parametrize("count", [attempts.count, attempts.count_surely])
def test_a_right_attempt_is_given_back(db, count):
    count("a", WINDOW)
    attempts.give_back(count("a", WINDOW).counter)
    assert count("a", WINDOW).number == 2


def test_a_counter_does_not_become_negative(db):
    counter = attempts.count("a", WINDOW).counter
    for _ in range(3):
        attempts.give_back(counter)
    assert attempts.count("a", WINDOW).number == 1


def test_a_reset_deletes_all_attempts(db):
    attempts.count("a", WINDOW)
    attempts.reset(attempts.count("a", WINDOW).counter)
    assert attempts.count("a", WINDOW).number == 1


def test_the_next_window_starts_at_zero(db, monkeypatch):
    attempts.count("a", WINDOW)
    monkeypatch.setattr("apikeys.limits.attempts.time.time", lambda: 1001 * WINDOW)
    assert attempts.count("a", WINDOW).number == 1


@pytest.mark.django_db(transaction=True)
def test_attempts_of_a_request_that_is_rolled_back_count():
    """REST framework rolls a refused request back with ATOMIC_REQUESTS."""
    numbers = []
    for _ in range(3):
        with transaction.atomic():
            numbers.append(attempts.count_surely("a", WINDOW).number)
            transaction.set_rollback(True)
    assert numbers == [1, 2, 3]
    assert not AttemptCount.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_committed_attempts_are_not_kept_in_memory():
    attempts.count_surely("a", WINDOW)
    with transaction.atomic():
        attempts.count_surely("b", WINDOW)
    assert attempts._held == {}
    assert attempts.count_surely("a", WINDOW).number == 2


def test_attempts_count_on_a_read_only_database(db):
    def refuse(execute, sql, *args):
        if sql.startswith(("UPDATE", "INSERT")):
            raise OperationalError("attempt to write a readonly database")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse):
        numbers = [attempts.count_surely("a", WINDOW).number for _ in range(3)]
        with pytest.raises(OperationalError):
            attempts.count("a", WINDOW)
    assert numbers == [1, 2, 3]


def test_memory_is_bounded(db, monkeypatch):
    monkeypatch.setattr(attempts, "_MOST_HELD", 10)
    for number in range(50):
        attempts.count_surely(f"stranger {number}", WINDOW)
    assert len(attempts._held) == 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="It has one writer at a time.")
def test_attempts_at_the_same_time_all_count():
    def attempt(_):
        try:
            return attempts.count("a", WINDOW).number
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(attempt, range(40)))
    assert max(numbers) == 40
    assert AttemptCount.objects.get().number == 40


def test_pruning_deletes_past_windows_only(db):
    attempts.count("old", WINDOW)
    AttemptCount.objects.update(ends_at=timezone.now() - timedelta(hours=1))
    attempts.count("new", WINDOW)
    call_command("apikeys", "prune", verbosity=0)
    assert AttemptCount.objects.count() == 1
    assert attempts.count("new", WINDOW).number == 2


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::%eth0", "2001:db8:0:1::/64"),
        (None, "?"),
        ("unix", "?"),
    ],
)
def test_addresses_are_counted_by_what_one_client_has(ip, name):
    assert networks.counted(ip) == name
