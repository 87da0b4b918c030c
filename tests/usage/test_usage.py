"""The last use of keys: requests write nothing, and little is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.utils import timezone

from apikeys import lifecycle, usage
from apikeys.models import AuditEvent, PersonalAccessToken, PersonalAccessTokenUsage, ProjectKey
from apikeys.verify import verify
from tests.documents import ROOT
from tests.factories import UserFactory, mint_key, mint_pat, with_wrong_secret

DEADLINE = 30  # seconds


@pytest.fixture(autouse=True)
def _nothing_noted(db):
    """Clear the notes of other tests."""
    usage.flush()


def use(minted, ip="203.0.113.7", **kwargs):
    return verify(minted.token, RequestFactory(REMOTE_ADDR=ip).get("/"), **kwargs)


def last_use(minted):
    key = type(minted.key).objects.get(pk=minted.key.pk)
    return key.last_used_at, key.last_used_ip


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_a_use_is_noted_and_written_later(mint, django_assert_num_queries):
    minted = mint()
    verify(minted.token, counts_as_use=False)
    start = timezone.now()
    with django_assert_num_queries(1):
        use(minted)
    assert last_use(minted) == (None, None)

    assert usage.flush() == 1
    at, ip = last_use(minted)
    assert start <= at <= timezone.now()
    assert type(minted.key).objects.get(last_used_on=at.date()) == minted.key
    assert ip == "203.0.113.7"
    assert usage.flush() == 0


def test_the_last_of_many_uses_counts():
    minted = mint_pat()
    for n in range(5):
        use(minted, f"203.0.113.{n}")
    assert usage.flush() == 1
    assert last_use(minted)[1] == "203.0.113.4"


def test_counts_as_use_false_records_nothing():
    minted = mint_pat()
    use(minted, counts_as_use=False)
    assert usage.flush() == 0
    assert last_use(minted) == (None, None)


@pytest.mark.parametrize(
    "refused",
    [
        lambda minted: with_wrong_secret(minted.token),
        lambda minted: minted.token[:-1],
        lambda minted: lifecycle.revoke(minted.key) and minted.token,
    ],
)
def test_a_refused_request_is_not_recorded(refused):
    minted = mint_pat()
    with pytest.raises(Exception, match="key"):
        verify(refused(minted))
    assert usage.flush() == 0


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1234:5678:9abc:def0%enp0s31f6-vlan", "fe80::1234:5678:9abc:def0"),
        ("", None),
        ("unix:", None),
        ("203.0.113.7:443", None),
        ("' OR 1=1", None),
        ("x" * 1000, None),
        ("203.0.113.7\x00", None),
    ],
)
def test_any_client_address_of_a_server_is_stored(address, stored):
    minted = mint_pat()
    use(minted, address)
    usage.flush()
    at, ip = last_use(minted)
    assert at is not None
    assert ip == stored


def test_without_a_request_there_is_no_address():
    minted = mint_pat()
    verify(minted.token)
    usage.flush()
    assert last_use(minted)[0] is not None
    assert last_use(minted)[1] is None


def test_nothing_else_of_the_key_is_written():
    """A revocation between the use and the write is kept."""
    minted = mint_pat()
    use(minted)
    lifecycle.revoke(minted.key, reason="lost")
    usage.flush()
    key = PersonalAccessToken.objects.get()
    assert key.revoked_reason == "lost"
    assert key.last_used_at is not None


def test_a_deleted_key_does_not_stop_the_write():
    one, other = mint_pat(), mint_key()
    use(one)
    use(other)
    one.key.delete()
    usage.flush()
    assert last_use(other)[1] is not None
    assert not PersonalAccessToken.objects.exists()


def test_keys_of_both_kinds_with_the_same_primary_key_stay_separate():
    pat, key = mint_pat(), mint_key()
    ProjectKey.objects.filter(pk=key.key.pk).update(id=pat.key.pk)
    use(pat, "203.0.113.1")
    use(key, "203.0.113.2")
    usage.flush()
    assert last_use(pat)[1] == "203.0.113.1"
    assert ProjectKey.objects.get().last_used_ip == "203.0.113.2"


@pytest.mark.slow
def test_many_keys_are_written_in_few_statements(django_assert_max_num_queries):
    user = UserFactory()
    PersonalAccessToken.objects.bulk_create(
        PersonalAccessToken(user=user, name=str(n)) for n in range(1200)
    )
    pks = list(PersonalAccessToken.objects.values_list("pk", flat=True))
    for pk in pks:
        usage.note_use(PersonalAccessToken, pk, "203.0.113.7")
    with django_assert_max_num_queries(45):
        assert usage.flush() == 1200
    assert not PersonalAccessToken.objects.filter(last_used_at=None).exists()


def test_a_use_on_a_server_whose_clock_is_ahead_is_recorded_as_now(monkeypatch):
    minted = mint_pat()
    right = timezone.now
    with monkeypatch.context() as wrong:
        wrong.setattr("django.utils.timezone.now", lambda: right() + timedelta(days=1))
        use(minted, "203.0.113.1")
        usage.flush()

    at, ip = last_use(minted)
    assert ip == "203.0.113.1"
    assert at <= timezone.now()
    assert PersonalAccessTokenUsage.objects.get().day <= timezone.now().date()
    assert AuditEvent.objects.get(event="first_used").at <= timezone.now()


def test_a_last_use_in_the_future_is_replaced():
    minted = mint_pat()
    ahead = timezone.now() + timedelta(hours=1)
    PersonalAccessToken.objects.update(last_used_at=ahead, last_used_ip="203.0.113.2")

    use(minted, "203.0.113.1")
    usage.flush()

    at, ip = last_use(minted)
    assert ip == "203.0.113.1"
    assert at <= timezone.now()


def test_a_later_use_that_another_process_wrote_stays():
    minted = mint_pat()
    use(minted, "203.0.113.1")
    later = timezone.now() + timedelta(seconds=3)
    PersonalAccessToken.objects.update(last_used_at=later, last_used_ip="203.0.113.2")
    usage.flush()
    at, ip = last_use(minted)
    assert ip == "203.0.113.2"
    assert abs(at - later) < timedelta(milliseconds=1)


def away(execute, sql, params, many, context):
    raise OperationalError("the database is away")


def test_unwritten_notes_are_kept():
    minted, other = mint_pat(), mint_key()
    use(minted)
    use(other)
    with connection.execute_wrapper(away), pytest.raises(OperationalError):
        usage.flush()
    usage.flush()
    assert last_use(minted)[1] == last_use(other)[1] == "203.0.113.7"


def test_kept_notes_do_not_replace_newer_ones():
    minted = mint_pat()
    use(minted, "203.0.113.1")

    def used_again(*args):
        use_again()
        raise OperationalError("the database is away")

    def use_again():
        usage.note_use(PersonalAccessToken, minted.key.pk, "203.0.113.2")

    with connection.execute_wrapper(used_again), pytest.raises(OperationalError):
        usage.flush()
    usage.flush()
    assert last_use(minted)[1] == "203.0.113.2"


@pytest.mark.slow
def test_parallel_flushes_run_one_after_the_other(monkeypatch):
    """Otherwise the exit of a process could interrupt a write of its thread."""
    begun, goes_on, order = threading.Event(), threading.Event(), []

    def write():
        if not begun.is_set():
            begun.set()
            assert goes_on.wait(DEADLINE)
            order.append("thread")

    def late():
        usage.flush()
        order.append("exit")

    monkeypatch.setattr(usage, "_flush", write)
    threads = [threading.Thread(target=usage.flush), threading.Thread(target=late)]
    threads[0].start()
    assert begun.wait(DEADLINE)
    threads[1].start()
    threads[1].join(0.1)
    assert order == []
    goes_on.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert order == ["thread", "exit"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.process
class TestProcesses:
    """Real processes, like workers of a server, each with a writer thread."""

    BEGIN = """
import os, signal, sys, time
import django
from django.conf import settings
from tests import settings as given
interval = {interval!r}
names = {{name: getattr(given, name) for name in dir(given) if name.isupper()}}
names.pop("EMAIL_BACKEND")  # Django 6.1 warns about it
names["APIKEYS"] = {{**names["APIKEYS"], "LAST_USED_INTERVAL": interval}}
names["DATABASES"] = {{"default": {{**names["DATABASES"]["default"], "NAME": {database!r}}}}}
settings.configure(**names)
django.setup()
from django.test import RequestFactory
from apikeys import usage
from apikeys.verify import verify
def use(ip):
    verify({token!r}, RequestFactory(REMOTE_ADDR=ip).get("/"))
"""

    @pytest.fixture
    def minted(self):
        return mint_pat()

    @pytest.fixture
    def start(self, minted):
        started = []

        def start(code, interval):
            begin = self.BEGIN.format(
                interval=interval,
                database=str(connection.settings_dict["NAME"]),
                token=minted.token,
            )
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", begin + code],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(process)
            return process

        yield start
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def wait_for(self, minted, ip):
        end = time.monotonic() + DEADLINE
        while last_use(minted)[1] != ip:
            assert time.monotonic() < end, last_use(minted)
            time.sleep(0.02)

    def test_a_clean_exit_writes(self, minted, start):
        process = start("use('203.0.113.1')", interval=3600)
        assert process.wait(DEADLINE) == 0
        assert last_use(minted)[1] == "203.0.113.1"

    def test_an_exit_by_an_error_writes(self, minted, start):
        process = start("use('203.0.113.1'); sys.exit(3)", interval=3600)
        assert process.wait(DEADLINE) == 3
        assert last_use(minted)[1] == "203.0.113.1"

    def test_the_writer_writes_while_the_process_runs(self, minted, start):
        code = "use('203.0.113.1'); print(flush=True); input(); use('203.0.113.2'); input()"
        process = start(code, interval=0.05)
        process.stdout.readline()
        self.wait_for(minted, "203.0.113.1")
        process.stdin.write("\n")
        process.stdin.flush()
        self.wait_for(minted, "203.0.113.2")

    def test_a_killed_process_loses_only_uses_since_the_last_write(self, minted, start):
        code = "use('203.0.113.1'); usage.flush(); use('203.0.113.2'); print(flush=True); input()"
        process = start(code, interval=3600)
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
        assert last_use(minted)[1] == "203.0.113.1"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="This system does not fork.")
    def test_a_child_process_writes_only_its_notes(self, minted, start):
        """Like a server that loads the site, verifies a key, and then forks its workers."""
        code = """
use('203.0.113.1')
from django.db import connections
connections.close_all()
if (child := os.fork()) == 0:
    assert usage.flush() == 0, "the parent's notes"
    use('203.0.113.2')
    print(flush=True)
    input()
    os._exit(0)
usage._pending.clear()  # of two that write at the same moment, the parent could be the last
input()
os.waitpid(child, 0)
os._exit(0)
"""
        process = start(code, interval=0.5)
        process.stdout.readline()
        self.wait_for(minted, "203.0.113.2")
        process.stdin.write("\n\n")
        process.stdin.flush()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="This system does not fork.")
    def test_a_fork_during_a_write_does_not_block_the_child(self, minted, start):
        code = """
from django.db import connections
use('203.0.113.1')
connections.close_all()
with usage._lock, usage._writing:
    child = os.fork()
if child == 0:
    use('203.0.113.2')
    usage.flush()
    print(flush=True)
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""
        process = start(code, interval=3600)
        process.stdout.readline()
        assert last_use(minted)[1] == "203.0.113.2"


def test_the_writer_survives_a_database_outage(caplog):
    minted = mint_pat()
    use(minted)
    with connection.execute_wrapper(away):
        usage._flush_quietly()
    assert "last use of keys" in caplog.text
    assert minted.token[26:] not in caplog.text
    usage._flush_quietly()
    assert last_use(minted)[0] is not None


def test_a_request_succeeds_if_the_writer_cannot_start(settings, monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("can't start new thread")

    settings.APIKEYS = {**settings.APIKEYS, "LAST_USED_INTERVAL": 3600}
    monkeypatch.setattr(threading.Thread, "start", fail)
    monkeypatch.setattr(usage, "_writer", None)
    monkeypatch.setattr(usage.atexit, "register", lambda function: None)
    minted = mint_pat()
    assert use(minted).credential_id == minted.key.public_id
    assert usage.flush() == 1
    assert "last use of keys" in caplog.text
