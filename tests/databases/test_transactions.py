"""Transactions: on SQLite the write lock comes first, and conflicts are repeated."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from apikeys import lifecycle, usage
from apikeys.databases import transactions, unavailable
from apikeys.gateway.imports import Importer
from apikeys.lifecycle import minting
from apikeys.mail import deadlines
from apikeys.models import AuditEvent, PersonalAccessToken, PersonalAccessTokenUsage, UsedNonce
from apikeys.signatures import nonces
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db(transaction=True)

on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's locks")
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's levels")


WRITES = ("INSERT", "UPDATE", "DELETE")

# SQLite, as startproject sets it up


@contextmanager
def as_startproject() -> Iterator[list[list[str]]]:
    """The statements of each transaction, on a connection without ``transaction_mode``."""
    found: list[list[str]] = []

    def note(execute, sql, params, many, context):
        verb = sql.split()[0]
        if verb == "BEGIN":
            found.append([sql])
        elif connection.in_atomic_block and found and verb in ("SELECT", *WRITES):
            found[-1].append(verb)
        return execute(sql, params, many, context)

    connection.ensure_connection()
    chosen, connection.transaction_mode = connection.transaction_mode, None
    try:
        with connection.execute_wrapper(note):
            yield found
    finally:
        connection.transaction_mode = chosen


@pytest.fixture
def root(ada):
    """Ada, who may also use the admin."""
    ada.is_staff = ada.is_superuser = True
    ada.save()
    return ada


def rotate_with_itself(ada):
    from apikeys import grants

    minted = mint_pat(ada, scopes=["keys:write", "payments:read"])
    lifecycle.rotate(minted.key, within=grants.for_tokens(ada, verify(minted.token)))


def flush(ada):
    usage.note_use(PersonalAccessToken, mint_pat(ada).key.pk, "192.0.2.1")
    usage.flush()


def prune(ada):
    key = mint_pat(ada).key
    day = timezone.now().date() - timedelta(days=200)
    days = [day.replace(day=n) for n in (2, 3)]
    PersonalAccessTokenUsage.objects.bulk_create(
        PersonalAccessTokenUsage(key=key, day=each, count=1) for each in days
    )
    UsedNonce.objects.create(digest="a" * 64, ends_at=timezone.now() - timedelta(days=9))
    usage.prune(timedelta(days=90), timedelta(days=700))
    nonces.prune()
    nonces.prune(10)


def notify(ada):
    for _ in range(2):
        key = mint_pat(ada, expires_at=timezone.now() + timedelta(days=1)).key
        past = timezone.now() - timedelta(days=60)
        PersonalAccessToken.objects.filter(pk=key.pk).update(created_at=past)
    deadlines.notify()


def admin(ada):
    client = Client()
    client.force_login(ada)
    changed, deleted = MembershipFactory(), MembershipFactory()
    membership = f"/admin/apikeys/membership/{changed.pk}/change/"
    form = {"user": changed.user.pk, "project": changed.project.pk, "role": "viewer"}
    assert client.post(membership, form).status_code == 302
    delete = f"/admin/apikeys/membership/{deleted.pk}/delete/"
    assert client.post(delete, {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [changed.pk], "post": "yes"}
    assert client.post("/admin/apikeys/membership/", chosen).status_code == 302


def api(ada):
    token = mint_pat(ada, scopes=["keys:write", "payments:read"]).token
    client = Client(headers={"Authorization": f"Bearer {token}"})
    body = {"name": "a", "scopes": ["payments:read"]}
    end = (timezone.now() + timedelta(days=1)).isoformat()
    for more in ({}, {"expires_at": end}):
        headers = {"Idempotency-Key": f"a{len(more)}"}
        client.post("/api/tokens/", body | more, content_type="application/json", headers=headers)
    made = PersonalAccessToken.objects.order_by("pk").last().public_id
    path = f"/api/tokens/{made}/"
    assert client.patch(path, {"name": "b"}, content_type="application/json").status_code == 200
    client.post("/api/leaked/", {"token": token}, content_type="application/json")


def bindings(ada):
    assert not list(Importer().run(["user,kind,identifier\n", "ada,subscriber_id,1\n"]))


@on_sqlite
@pytest.mark.parametrize(
    "act",
    [rotate_with_itself, flush, prune, notify, admin, api, bindings],
    ids=lambda f: f.__name__,
)
def test_no_transaction_reads_before_it_has_the_write_lock(root, act):
    with as_startproject() as found:
        act(root)
    late = [
        verbs
        for begun, *verbs in found
        if begun == "BEGIN" and verbs[:1] == ["SELECT"] and set(verbs).intersection(WRITES)
    ]
    assert late == []
    assert any(each[0] == "BEGIN IMMEDIATE" for each in found)


@on_sqlite
def test_a_site_keeps_the_mode_that_it_chose(ada):
    with as_startproject():
        mint_pat(ada)
        assert connection.transaction_mode is None


# Conflicts


def conflict(state="40001"):
    error = OperationalError("could not serialize access")
    error.__cause__ = type("Driver", (Exception,), {"sqlstate": state})()
    return error


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_conflict_is_repeated(ada, state, monkeypatch):
    failures = [conflict(state), conflict(state)]
    save = minting.save

    def fail_twice(*args):
        save(*args)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(minting, "save", fail_twice)
    minted = mint_pat(ada, allowed_networks=iter(["192.0.2.0/24"]))

    assert PersonalAccessToken.objects.get() == minted.key
    assert minted.key.allowed_networks == "192.0.2.0/24"
    assert AuditEvent.objects.filter(event="minted").count() == 1


@transactions.retried
def always(error, calls):
    with transactions.atomic(UsedNonce):
        calls.append(1)
        raise error


@pytest.mark.slow
def test_a_conflict_is_repeated_a_bounded_number_of_times():
    calls = []
    with pytest.raises(OperationalError):
        always(conflict(), calls)
    assert len(calls) == 5


def test_another_error_is_not_repeated():
    calls = []
    with pytest.raises(OperationalError):
        always(OperationalError("away"), calls)
    assert len(calls) == 1


def test_a_conflict_inside_another_transaction_is_left_to_that_one():
    calls = []
    with pytest.raises(OperationalError), transaction.atomic():
        always(conflict(), calls)
    assert len(calls) == 1


def test_what_fails_after_the_commit_is_not_repeated(ada):
    calls = []

    @transactions.retried
    def act():
        def fail():
            raise conflict()

        with transactions.atomic(UsedNonce):
            calls.append(1)
            UsedNonce.objects.create(digest="a" * 64, ends_at=timezone.now())
            transaction.on_commit(fail)

    with pytest.raises(OperationalError):
        act()
    assert len(calls) == UsedNonce.objects.count() == 1


@pytest.mark.slow
def test_a_conflict_that_lasts_is_answered_with_503(client, ada, monkeypatch, caplog):
    def fail(*args):
        raise conflict()

    token = mint_pat(ada, scopes=["keys:write", "payments:read"]).token
    monkeypatch.setattr(minting, "save", fail)
    end = (timezone.now() + timedelta(days=1)).isoformat()
    answer = client.post(
        "/api/tokens/",
        {"name": "a", "scopes": ["payments:read"], "expires_at": end},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert answer["Retry-After"]
    assert "of a serialization failure" in caplog.text


@on_postgresql
def test_writers_at_once_under_serializable_do_all_or_are_told_to_come_back(ada):
    barrier = threading.Barrier(4)
    keys = [mint_key().key for _ in range(4)]

    def work(key):
        done = 0
        try:
            with connection.cursor() as cursor:
                level = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"
                cursor.execute(level)
            barrier.wait()
            for number in range(10):
                try:
                    lifecycle.edit(key, name=f"name {number}")
                except OperationalError as error:
                    assert unavailable.reason(error).is_retryable  # noqa: PT017
                else:
                    done += 1
        finally:
            connections.close_all()
        return done

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(work, keys))

    assert AuditEvent.objects.filter(event="edited").count() == done > 20
