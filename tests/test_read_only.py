"""A database that accepts no writes: what only reads is answered, what writes gets 503."""

import sqlite3

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client

from apikeys import refusals, usage
from apikeys.databases import unavailable
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import bearer, mint_key, mint_pat, with_wrong_secret

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def peppers(settings, transactional_db):
    def use(*peppers):
        settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": peppers}

    use(OLD)
    return use


def of_server(statement):
    def begin():
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return begin, connection.close


def of_file():
    """Refuse every write of new connections, as a read-only disk does; the WAL is there."""
    holder = sqlite3.connect(connection.settings_dict["NAME"])
    holder.execute("SELECT 1 FROM sqlite_master").fetchall()
    options = connection.settings_dict["OPTIONS"]

    def begin():
        connection.close()
        connection.settings_dict["OPTIONS"] = {**options, "init_command": "PRAGMA query_only=ON"}

    def end():
        connection.close()
        connection.settings_dict["OPTIONS"] = options
        holder.close()

    return begin, end


def of_full_disk():
    """Let the file have no more pages than it has, and leave none of them free."""

    def begin():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE fill (x BLOB)")
            cursor.execute("PRAGMA max_page_count=1")
            with pytest.raises(Exception, match="full"):  # noqa: PT012
                while True:
                    cursor.execute("INSERT INTO fill VALUES (zeroblob(2000))")

    def end():
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count=1073741823")
            cursor.execute("DROP TABLE fill")

    return begin, end


STATES = {
    "sqlite": {"read-only": of_file, "full": of_full_disk},
    "postgresql": {
        "demoted": lambda: of_server("SET default_transaction_read_only = on"),
    },
    "mysql": {"read-only": lambda: of_server("SET SESSION TRANSACTION READ ONLY")},
}[connection.vendor]


@pytest.fixture(params=STATES)
def state(request):
    return request.param


@pytest.fixture
def without_writes(state, peppers):
    begin, end = STATES[state]()
    begun = []

    def start():
        begun.append(begin())

    yield start
    if begun:
        end()


@pytest.fixture(params=["pat", "key"])
def minted(request, peppers):
    scopes = ["payments:read", "keys:read", "keys:write"]
    return mint_pat(scopes=scopes) if request.param == "pat" else mint_key(scopes=scopes)


@pytest.mark.parametrize("now", [[OLD], [NEW, OLD], [NEW]], ids=["known", "old", "lost"])
def test_a_key_is_verified_whatever_its_pepper(minted, peppers, without_writes, now):
    peppers(*now)
    without_writes()
    for _ in range(2):
        assert verify(minted.token).credential_id == minted.key.public_id
    with pytest.raises(Refused) as refused:
        verify(with_wrong_secret(minted.token))
    assert refused.value.refusal is refusals.INVALID_KEY


# SQLite cannot even begin a transaction that may write, which Django does before the view.
@pytest.mark.parametrize("atomic", [False] if connection.vendor == "sqlite" else [False, True])
def test_requests_that_read_are_answered(minted, peppers, without_writes, monkeypatch, atomic):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    peppers(NEW, OLD)
    without_writes()
    client = Client()
    assert client.get("/api/token/", headers=bearer(minted.token)).status_code == 200


BODY = {"name": "new", "scopes": ["payments:read"]}


def is_told_to_come_back(answer):
    return (answer.status_code, answer.get("Retry-After")) == (503, "5") and answer.json()[
        "code"
    ] == "temporarily_unavailable"


@pytest.fixture
def send(peppers):
    """Send a request that changes ``another`` token, or makes one."""
    minted = mint_pat(scopes=["payments:read", "keys:read", "keys:write"])
    another = mint_pat(user=minted.key.user)
    headers = bearer(minted.token)

    def send(method, where="", **others):
        url = f"/api/tokens/{where.format(another=another.key.public_id)}"
        given = {"content_type": "application/json", "headers": headers | others}
        body = {} if where.endswith("rotate/") or method == "delete" else BODY
        return getattr(Client(), method)(url, body, **given)

    return send


@pytest.mark.slow
def test_a_token_is_not_made(send, state, without_writes):
    without_writes()
    for headers in ({}, {"Idempotency-Key": "once"}):
        answers = iter(lambda headers=headers: send("post", **headers), None)
        # A page of a full disk may have room for a few.
        has_room = state == "full"
        first = next(each for each in answers if not (has_room and each.status_code == 201))
        assert is_told_to_come_back(first)


@pytest.mark.parametrize(
    ("method", "where"),
    [("patch", "{another}/"), ("delete", "{another}/"), ("post", "{another}/rotate/")],
)
def test_a_token_is_not_changed(send, state, without_writes, method, where):
    without_writes()
    answer = send(method, where)
    # A page of a full disk may have room for a few.
    assert is_told_to_come_back(answer) or (state == "full" and answer.status_code < 300)


def test_uses_that_could_not_be_written_are_written_later(minted, peppers):
    begin, end = STATES[next(iter(STATES))]()
    verify(minted.token)
    begin()
    with pytest.raises(DatabaseError) as caught:
        usage.flush()
    end()
    assert unavailable.reason(caught.value) is unavailable.Reason.READ_ONLY
    usage.flush()
    minted.key.refresh_from_db()
    assert minted.key.last_used_at is not None


def test_a_command_that_must_write_fails_in_one_line(minted, state, without_writes):
    without_writes()
    if state == "full":
        pytest.skip("A page of a full disk may have room for a few.")
    with pytest.raises(CommandError, match="accepts no writes"):
        call_command("apikeys", "revoke", minted.key.public_id, "--reason", "test")
