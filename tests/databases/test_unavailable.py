"""Real errors of the databases and of Redis are outages or bugs."""

import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.db.backends.sqlite3.base import DatabaseWrapper

from apikeys import refusals
from apikeys.databases import unavailable
from apikeys.databases.unavailable import Reason
from apikeys.refusals import Refused
from tests.servers import RedisServer, free_port, running, wait_until


def error_of(act, *arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its kind is what is tested
        act(*arguments)
    return caught.value


def run(database, *statements):
    with database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            if cursor.description:
                cursor.fetchall()


def in_progress(cursor, pid):
    cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid)
    return cursor.fetchall()


@contextmanager
def another(**changes):
    """Open a separate connection to the test database."""
    copy = connection.copy()
    copy.settings_dict = {**copy.settings_dict, **changes}
    try:
        yield copy
    finally:
        copy.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("no driver says why"), Reason.AWAY),
        (InterfaceError("connection already closed"), Reason.AWAY),
        (ConnectionRefusedError(), Reason.STORE),
        (TimeoutError(), Reason.STORE),
        (Refused(refusals.VERIFICATION_BUSY), Reason.BUSY),
        (Refused(refusals.INVALID_KEY), None),
        (DatabaseError("Save with update_fields did not affect any rows."), None),
        (IntegrityError("UNIQUE constraint failed"), None),
        (ProgrammingError("syntax"), None),
        (DataError("too long"), None),
        (KeyError("x"), None),
        (FileNotFoundError(), None),
        (None, None),
    ],
    ids=repr,
)
def test_an_error_is_an_outage_or_a_bug(error, expected):
    assert unavailable.reason(error) is expected
    refusal = unavailable.refusal(error)
    assert (refusal is not None) is (expected is not None)
    if refusal is not None:
        assert (refusal.status, bool(refusal.retry_after)) == (503, True)


def test_a_busy_refusal_stays_itself():
    assert unavailable.refusal(Refused(refusals.VERIFICATION_BUSY)) is refusals.VERIFICATION_BUSY


def test_the_log_names_the_reason(caplog):
    unavailable.refusal(OperationalError("refused"))
    assert "the database cannot be reached: refused" in caplog.text


def test_an_outage_in_a_block_is_refused_and_a_bug_is_raised():
    with pytest.raises(Refused) as caught, unavailable.answer():
        raise OperationalError("away")
    assert caught.value.refusal is refusals.TEMPORARILY_UNAVAILABLE
    with pytest.raises(ProgrammingError), unavailable.answer():
        raise ProgrammingError("no such table")
    with pytest.raises(Refused) as caught, unavailable.answer():
        raise Refused(refusals.VERIFICATION_BUSY)
    assert caught.value.refusal is refusals.VERIFICATION_BUSY


@pytest.mark.django_db
class TestSQLite:
    @pytest.fixture
    def database(self, tmp_path):
        with self.opened(tmp_path / "db.sqlite3") as opened:
            run(opened, "PRAGMA journal_mode=WAL", "CREATE TABLE t (n INTEGER UNIQUE)")
            yield opened

    @contextmanager
    def opened(self, name, **options):
        settings = {**connection.settings_dict, "NAME": str(name), "TIME_ZONE": None}
        settings |= {
            "ENGINE": "django.db.backends.sqlite3",
            "OPTIONS": {"timeout": 0, **options},
            "CONN_HEALTH_CHECKS": False,
        }
        with closing(DatabaseWrapper(settings, "other")) as opened:
            yield opened

    def test_a_read_only_database_accepts_no_writes(self, database):
        run(database, "PRAGMA query_only=ON")
        error = error_of(run, database, "INSERT INTO t VALUES (1)")
        assert unavailable.reason(error) is Reason.READ_ONLY

    def test_a_full_disk(self, database):
        run(database, "PRAGMA max_page_count=2")
        insert = "WITH RECURSIVE c(n) AS (SELECT 1 UNION SELECT n + 1 FROM c LIMIT 9999)"
        error = error_of(run, database, f"INSERT INTO t {insert} SELECT n FROM c")
        assert unavailable.reason(error) is Reason.FULL

    def test_a_file_that_cannot_be_opened(self, tmp_path):
        with self.opened(tmp_path / "none" / "db") as opened:
            assert unavailable.reason(error_of(run, opened, "SELECT 1")) is Reason.AWAY

    def test_a_locked_database(self, database, tmp_path):
        with self.opened(tmp_path / "db.sqlite3") as other:
            run(database, "BEGIN IMMEDIATE")
            error = error_of(run, other, "INSERT INTO t VALUES (1)")
            assert unavailable.reason(error) is Reason.TIMEOUT

    def test_a_snapshot_that_is_over(self, database, tmp_path):
        with self.opened(tmp_path / "db.sqlite3") as other:
            run(other, "BEGIN", "SELECT * FROM t")
            run(database, "INSERT INTO t VALUES (1)")
            error = error_of(run, other, "INSERT INTO t VALUES (2)")
            assert unavailable.reason(error) is Reason.SERIALIZATION_FAILURE

    @pytest.mark.parametrize(
        "statement",
        ["SELECT * FROM missing", "SELECT missing FROM t", "SELEC 1", "INSERT INTO t VALUES (1)"],
    )
    def test_a_bug(self, database, statement):
        run(database, "INSERT INTO t VALUES (1)")
        assert unavailable.reason(error_of(run, database, statement)) is None

    def test_a_file_that_is_no_database_is_a_bug(self, tmp_path):
        (tmp_path / "text").write_text("no database " * 100)
        with self.opened(tmp_path / "text") as opened:
            error = error_of(run, opened, "SELECT * FROM t")
        assert isinstance(error.__cause__, sqlite3.DatabaseError)
        assert unavailable.reason(error) is None


@pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server")
@pytest.mark.django_db(transaction=True)
class TestServer:
    """Errors of PostgreSQL or MariaDB, depending on the database of the suite."""

    @pytest.fixture(autouse=True)
    def table(self):
        run(connection, "CREATE TABLE outage (n INTEGER PRIMARY KEY)")
        run(connection, "INSERT INTO outage VALUES (1), (2)")
        yield
        run(connection, "DROP TABLE outage")

    @pytest.mark.parametrize("statement", ["SELECT * FROM missing", "SELECT missing", "SELEC 1"])
    def test_a_bug(self, statement):
        assert unavailable.reason(error_of(run, connection, statement)) is None

    def test_a_constraint(self):
        error = error_of(run, connection, "INSERT INTO outage VALUES (1)")
        assert unavailable.reason(error) is None

    def test_a_server_that_does_not_listen(self):
        with another(HOST="127.0.0.1", PORT=str(free_port())) as other:
            assert unavailable.reason(error_of(run, other, "SELECT 1")) is Reason.AWAY

    def test_a_connection_that_is_ended(self):
        with another() as other:
            if connection.vendor == "postgresql":
                own, end = "SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"
            else:
                own, end = "SELECT CONNECTION_ID()", "KILL %s"
            with other.cursor() as cursor:
                cursor.execute(own)
                (number,) = cursor.fetchone()
            with connection.cursor() as cursor:
                cursor.execute(end, [number])
            assert unavailable.reason(error_of(run, other, "SELECT 1")) is Reason.AWAY
            assert unavailable.reason(error_of(run, other, "SELECT 1")) is Reason.AWAY

    def test_a_transaction_that_may_only_read(self):
        with another() as other:
            if connection.vendor == "postgresql":
                run(other, "SET default_transaction_read_only = on")
            else:
                run(other, "SET SESSION TRANSACTION READ ONLY")
            error = error_of(run, other, "INSERT INTO outage VALUES (3)")
            assert unavailable.reason(error) is Reason.READ_ONLY

    def test_a_statement_that_takes_too_long(self):
        with another() as other:
            if connection.vendor == "postgresql":
                error = error_of(run, other, "SET statement_timeout = 50", "SELECT pg_sleep(9)")
            else:
                slow = "SELECT COUNT(*) FROM seq_1_to_99999999 a JOIN seq_1_to_99999999 b"
                error = error_of(run, other, "SET max_statement_time = 0.05", slow)
            assert unavailable.reason(error) is Reason.TIMEOUT

    def test_a_row_that_stays_locked(self):
        with another() as one, another() as other:
            run(one, "BEGIN", "SELECT * FROM outage WHERE n = 1 FOR UPDATE")
            nowait = "SELECT * FROM outage WHERE n = 1 FOR UPDATE NOWAIT"
            assert unavailable.reason(error_of(run, other, nowait)) is Reason.TIMEOUT

    def test_a_deadlock(self):
        with another() as one, another() as other:
            run(one, "BEGIN", "SELECT * FROM outage WHERE n = 1 FOR UPDATE")
            run(other, "BEGIN", "SELECT * FROM outage WHERE n = 2 FOR UPDATE")
            errors = []

            def lock(database, number):
                try:
                    run(database, f"SELECT * FROM outage WHERE n = {number} FOR UPDATE")
                except DatabaseError as error:
                    errors.append(error)

            one.inc_thread_sharing()
            waiting = threading.Thread(target=lock, args=(one, 2))
            waiting.start()
            lock(other, 1)
            waiting.join()
            one.dec_thread_sharing()
            assert [unavailable.reason(error) for error in errors] == [Reason.DEADLOCK]

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="MariaDB locks instead")
    def test_a_serialization_failure(self):
        with another() as one, another() as other:
            for database in (one, other):
                run(database, "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT SUM(n) FROM outage")
            run(one, "INSERT INTO outage VALUES (3)", "COMMIT")
            error = error_of(run, other, "INSERT INTO outage VALUES (4)", "COMMIT")
            assert unavailable.reason(error) is Reason.SERIALIZATION_FAILURE
            assert Reason.SERIALIZATION_FAILURE.is_retryable

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="a setting of PostgreSQL")
    def test_an_idle_transaction_that_is_ended(self):
        with another() as other:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()
            run(other, "BEGIN", "SET LOCAL idle_in_transaction_session_timeout = 1")
            with connection.cursor() as cursor:
                wait_until(lambda: not in_progress(cursor, pid))
            error = error_of(run, other, "SELECT 1")
            assert unavailable.reason(error) is Reason.TIMEOUT

    def test_a_role_at_its_limit_of_connections(self):
        if connection.vendor == "postgresql":
            run(connection, "CREATE ROLE outage LOGIN CONNECTION LIMIT 0")
        else:
            run(connection, "CREATE USER outage@'%' WITH MAX_CONNECTIONS_PER_HOUR 1")
            run(connection, "GRANT SELECT ON *.* TO outage@'%'")
        try:
            with another(USER="outage", PASSWORD="") as one:
                if connection.vendor == "mysql":
                    run(one, "SELECT 1")
                with another(USER="outage", PASSWORD="") as other:
                    assert unavailable.reason(error_of(run, other, "SELECT 1")) is Reason.AWAY
        finally:
            role = "ROLE outage" if connection.vendor == "postgresql" else "USER outage@'%'"
            run(connection, f"DROP {role}")


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    client = pytest.importorskip("redis")
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield client.Redis.from_url(server.url)


@pytest.mark.parametrize(
    "state",
    [
        ("CONFIG", "SET", "maxmemory", "1"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("ACL", "SETUSER", "default", "-set"),
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
    ],
    ids=lambda state: state[0] + " " + state[2],
)
def test_a_redis_that_accepts_no_writes(redis, state):
    back = {"CONFIG": ("CONFIG", "SET", state[2], "0"), "REPLICAOF": ("REPLICAOF", "NO", "ONE")}
    redis.execute_command(*state)
    try:
        error = error_of(redis.set, "a", "b")
    finally:
        redis.execute_command(*back.get(state[0], ("ACL", "SETUSER", "default", "+set")))
    assert unavailable.reason(error) is Reason.STORE


@pytest.mark.process
def test_a_redis_that_is_away(redis):
    client = type(redis)(port=free_port())
    assert unavailable.reason(error_of(client.ping)) is Reason.STORE


def test_a_wrong_command_to_redis_is_a_bug(redis):
    redis.set("text", "a")
    assert unavailable.reason(error_of(redis.lpush, "text", "b")) is None
    assert unavailable.reason(error_of(redis.execute_command, "NONSENSE")) is None
