"""Uses are counted in memory and written in batches without loss."""

import io
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from apikeys import usage
from apikeys.models import (
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
)
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat
from tests.servers import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def nothing_noted():
    usage._pending.clear()
    yield
    usage._pending.clear()


def counts(key):
    return dict(key.usage.values_list("day", "count"))


def test_a_request_writes_nothing_and_a_flush_writes_all(db, django_assert_num_queries):
    pat, key = mint_pat(), mint_key()
    with django_assert_num_queries(3):
        verify(pat.token)
        verify(pat.token)
        verify(key.token)
    assert not PersonalAccessTokenUsage.objects.exists()

    assert usage.flush() == 2

    today = datetime.now(UTC).date()
    assert counts(pat.key) == {today: 2}
    assert counts(key.key) == {today: 1}
    pat.key.refresh_from_db()
    assert pat.key.last_used_at is not None
    assert usage.flush() == 0


def test_flushes_add_up(db):
    pat = mint_pat()
    for _ in range(3):
        verify(pat.token)
        usage.flush()

    assert list(counts(pat.key).values()) == [3]
    assert usage.daily(PersonalAccessToken, [pat.key.pk], days=2) == {pat.key.pk: [0, 3]}


def test_the_counts_of_a_batch_are_one_statement(db, django_assert_num_queries):
    keys = [mint_pat() for _ in range(4)]
    rows = [((minted.key.pk, date(2026, 1, day)), day) for minted in keys for day in (1, 2)]

    with django_assert_num_queries(1):
        usage.counts.add(PersonalAccessTokenUsage, sorted(rows))

    assert all(counts(minted.key) == {date(2026, 1, 1): 1, date(2026, 1, 2): 2} for minted in keys)


def test_many_keys_take_several_statements(db, monkeypatch):
    monkeypatch.setattr(usage.counts, "UPSERT", 2)
    keys = [mint_pat() for _ in range(5)]
    for minted in keys:
        verify(minted.token)

    usage.flush()

    assert PersonalAccessTokenUsage.objects.count() == 5


def test_failed_writes_are_repeated_later(db, monkeypatch):
    pat = mint_pat()
    verify(pat.token)

    def fail(*args):
        raise DatabaseError("away")

    with monkeypatch.context() as away:
        away.setattr(usage.counts, "add", fail)
        with pytest.raises(DatabaseError):
            usage.flush()
    assert not counts(pat.key)
    verify(pat.token)
    usage.flush()

    assert list(counts(pat.key).values()) == [2]


def process(*arguments):
    environment = os.environ | {"SERVER_DATABASE": str(connection.settings_dict["NAME"])}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.count_uses", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.django_db(transaction=True)
def test_two_workers_of_eight_threads_count_every_use():
    keys = [mint_pat().key for _ in range(3)]

    workers = [process(8, 1000, *(key.pk for key in keys)) for _ in range(2)]
    for worker in workers:
        assert worker.wait(120) == 0
        worker.stdout.close()

    assert [sum(counts(key).values()) for key in keys] == [16_000] * 3


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_loses_only_its_last_interval():
    """``LAST_USED_INTERVAL`` is one second in tests.server_settings."""
    key = mint_pat().key
    worker = process(1, 0, key.pk)
    noted = [float(worker.stdout.readline())]
    while noted[-1] - noted[0] < 4:
        noted.append(float(worker.stdout.readline()))
    worker.kill()
    killed = time.time()
    noted += [float(line) for line in worker.stdout.read().split()]
    worker.wait()
    worker.stdout.close()

    written = sum(counts(key).values())

    assert 0 < written <= len(noted)
    # One second, and time to write on a busy machine.
    assert written >= len([at for at in noted if at < killed - 2])


def rows(key, model, *days):
    model.objects.bulk_create(model(key=key, day=day, count=1) for day in days)


NOW = datetime(2026, 7, 15, tzinfo=UTC)


def test_old_days_become_months_and_older_ones_are_deleted(db, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    pat, key = mint_pat().key, mint_key().key
    march = [date(2026, 3, day) for day in range(1, 32)]
    recent = [date(2026, 4, 30), date(2026, 5, 1), date(2026, 7, 14)]
    rows(pat, PersonalAccessTokenUsage, date(2024, 6, 30), date(2024, 7, 3), *march, *recent)
    rows(key, ProjectKeyUsage, date(2026, 3, 9), date(2026, 3, 10))

    out = io.StringIO()
    call_command("apikeys", "prune", "--daily", "75d", "--keep", "2y", stdout=out)

    # 75 days before is 1 May, so all days before May are combined.
    assert counts(pat) == {
        date(2024, 7, 1): 1,
        date(2026, 3, 1): 31,
        date(2026, 4, 1): 1,
        date(2026, 5, 1): 1,
        date(2026, 7, 14): 1,
    }
    assert counts(key) == {date(2026, 3, 1): 2}
    before = counts(pat)
    assert usage.prune(timedelta(days=75), timedelta(days=730), NOW) == 0
    assert counts(pat) == before


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--daily", "soon"], ["--daily", "7d"], ["--keep", "80d"]),
        *(["--keep", "2100y"], ["--keep", "999999y"], ["--daily", "2030y", "--keep", "2030y"]),
    ],
)
def test_an_invalid_span_is_refused(db, arguments):
    with pytest.raises(CommandError, match=r"takes"):
        call_command("apikeys", "prune", *arguments)


def test_keys_of_both_kinds_are_counted_separately(db):
    pat, key = mint_pat().key, mint_key().key
    usage.note_use(PersonalAccessToken, pat.pk, None)
    usage.note_use(ProjectKey, key.pk, "not an address")
    usage.flush()

    assert sum(counts(pat).values()) == sum(counts(key).values()) == 1
