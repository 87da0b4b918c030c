"""Every state of PostgreSQL, Redis, SQLite and the network with every operation, over HTTP.

An answer is right, or 503 with ``Retry-After``. No key that was revoked is accepted after the
bound. With ``OUTAGE_TABLE=<file>`` the table of docs/explanation/performance.md is written there.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import pytest

from apikeys.cache.invalidation import _BOUND
from apikeys.oauth.grants import ACCESS_TOKEN, TokenExchangeGrant
from tests.documents import ROOT
from tests.endpoints import CLIENT_SECRET, FORM
from tests.servers import (
    PostgreSQLServer,
    RedisServer,
    Server,
    answers,
    proxying,
    running,
    wait_until,
)

pytestmark = pytest.mark.long

THREADS = 24  # of each worker, more than what waits
CONNECTIONS = 100  # that PostgreSQL allows
DOOMED = 12  # keys revoked in each state
HANGS = 6  # seconds until a server that hangs is let go
LONG = 1.5  # seconds that an answer may take without being named


class Web(Server):
    def __init__(self, directory, environment):
        super().__init__(directory)
        self.variables = environment

    def environment(self):
        return os.environ | self.variables | {
            "DJANGO_SETTINGS_MODULE": "tests.server_settings",
            "DEMO_ACCESS_TOKEN_SECONDS": "3600",
            "SERVER_CACHE_TIMEOUT": "600",
        }  # fmt: skip

    def command(self):
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "2", "--blocking-threads", str(THREADS)),
            "example_project.wsgi:application",
        ]

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def send(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers.get("Retry-After"), response.read()

    def ask(self, token):
        status, retry_after, _ = self.send("GET", "/plain/", headers=bearer(token))
        return AWAY if (status, bool(retry_after)) == (503, True) else status


AWAY = "503"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def operations(web, facts, given):
    """Column, and what returns whether the answer is right, ``AWAY``, or what it was else."""

    def http(right, method, path, body=None, headers=None, says=b""):
        def run():
            status, retry_after, text = web.send(method, path, body, headers)
            if status == 503 and retry_after and int(retry_after) > 0:
                return AWAY
            return True if status == right and says in text else (status, text[:200])

        return run

    def command(*arguments):
        def run():
            done = web.run("manage.py", "apikeys", *arguments, "--json")
            if done.returncode == 1 and "Traceback" not in done.stderr and not done.stdout:
                return AWAY
            return True if done.returncode == 0 else (done.returncode, done.stderr[-500:])

        return run

    manager = bearer(facts["manager"]) | {"Content-Type": "application/json"}
    form = {"Content-Type": FORM}
    cookie = {"Cookie": f"sessionid={facts['session']}"}
    exchange = urlencode(
        {
            "grant_type": TokenExchangeGrant.NAME,
            "subject_token": given["subject"],
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
        }
    )
    client = base64.b64encode(f"service:{CLIENT_SECRET}".encode()).decode()
    basic = form | {"Authorization": f"Basic {client}"}
    for token in facts["kept"].values():
        for _ in range(4):
            yield "verify, cached", http(200, "GET", "/plain/", headers=bearer(token))
    for token in given["fresh"].values():
        yield "verify, uncached", http(200, "GET", "/plain/", headers=bearer(token))
    for token in (given["wrong"], given["ended"]):
        yield "verify, uncached", http(401, "GET", "/plain/", headers=bearer(token))
    body = json.dumps({"name": "api", "scopes": ["payments:read"]})
    yield "create", http(201, "POST", "/api/tokens/", body, manager)
    yield "revoke", http(204, "DELETE", f"/api/tokens/{given['by_api']}/", None, manager)
    yield "token", http(200, "POST", "/o/token/", exchange, form)
    yield "token", http(200, "POST", "/o/token/", "grant_type=client_credentials", basic)
    text = urlencode({"token": given["fresh"]["key"]})
    yield "introspect", http(200, "POST", "/o/introspect/", text, basic, b'"active": true')
    yield "pages", http(200, "GET", "/settings/keys/", headers=cookie)
    yield "admin", http(200, "GET", "/admin/apikeys/projectkey/", headers=cookie)
    yield "commands", command("list", "--user", "ada")
    yield "commands", command("revoke", given["by_command"], "--reason", "test")


class Site:
    """The example, served by two workers, with what its servers are."""

    def __init__(self, web, facts, **servers):
        self.web, self.facts = web, facts
        self.unused = list(facts["states"])
        vars(self).update(servers)

    def settle(self):
        """Wait until all is as usual, and have both workers keep what is verified."""
        asks = [self.facts["manager"], *self.facts["kept"].values()]

        seen = []

        def is_usual():
            began = time.monotonic()
            told = {self.web.ask(token) for token in asks for _ in range(4)}
            seen.append((told, time.monotonic() - began))
            return told == {200} and sum(self._keeps_rows() for _ in range(16)) > 12

        try:
            wait_until(is_usual, 120)
        except TimeoutError as error:
            error.add_note(str(seen[-20:]))
            raise
        for _ in range(16):
            assert {self.web.ask(token) for token in asks} == {200}

    def _keeps_rows(self):
        return b"not yet" not in self.web.send("GET", "/keeps-rows/")[2]


# States. Each is begun, and ended when what was sent is answered, or waits.


@contextlib.contextmanager
def as_usual(site):
    yield


def killed(name):
    @contextlib.contextmanager
    def state(site):
        vars(site)[name].kill()
        yield
        vars(site)[name].start()

    return state


@contextlib.contextmanager
def restarted(site):
    site.database.kill()
    site.database.start()
    yield


def stopped(name):
    @contextlib.contextmanager
    def state(site):
        vars(site)[name].signal(signal.SIGSTOP)
        yield
        vars(site)[name].signal(signal.SIGCONT)

    return state


def stalled(name):
    @contextlib.contextmanager
    def state(site):
        vars(site)[name].hold()
        yield
        vars(site)[name].release()

    return state


def slow(name, seconds):
    @contextlib.contextmanager
    def state(site):
        vars(site)[name].delay = seconds
        yield
        vars(site)[name].delay = 0.0

    return state


def cut(name, after):
    @contextlib.contextmanager
    def state(site):
        vars(site)[name].cut(after)
        yield
        vars(site)[name].release()

    return state


@contextlib.contextmanager
def demoted(site):
    """Restarted as a replica of nothing, which reads only."""
    standby = site.database.data / "standby.signal"
    site.database.kill()
    standby.touch()
    site.database.start()
    wait_until(lambda: _is_open(site.database))
    yield
    site.database.kill()
    standby.unlink()
    site.database.start()


@contextlib.contextmanager
def read_only(site):
    def switch(state):
        (connection,) = _fill(site.database, 1)
        with contextlib.closing(connection):
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
            connection.execute("SELECT pg_reload_conf()")

    switch("on")
    yield
    switch("off")


@contextlib.contextmanager
def at_its_limit(site):
    """Every connection is somebody else's."""
    held = _fill(site.database, CONNECTIONS + 1)
    mine = [each.info.backend_pid for each in held]
    held[0].execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)",
        [mine],
    )

    def is_full():
        held.extend(_fill(site.database, CONNECTIONS + 1))
        return len(held) >= CONNECTIONS - 3

    wait_until(is_full)
    yield
    for each in held:
        each.close()


def _is_open(database):
    opened = _fill(database, 1)
    for each in opened:
        each.close()
    return bool(opened)


def _fill(database, number):
    """Open so many connections, or as many as there are."""
    import psycopg

    opened = []
    with contextlib.suppress(psycopg.OperationalError):
        while len(opened) < number:
            where = f"host=127.0.0.1 port={database.port} user=postgres dbname=postgres"
            opened.append(psycopg.connect(where, autocommit=True))
    return opened


def by_redis(*begin, end):
    """Commands to Redis that begin a state, and those that end it."""

    @contextlib.contextmanager
    def state(site):
        from redis import Redis

        with Redis(port=site.redis.port) as client:
            for words in begin:
                client.execute_command(*words)
            yield
            for words in end:
                client.execute_command(*words)

    return state


@contextlib.contextmanager
def failed_over(site):
    """New connections lead to another server. Those that are open stay."""
    site.redis_proxy.target = lambda: site.other_redis.port
    yield
    site.redis_proxy.target = lambda: site.redis.port


@contextlib.contextmanager
def locked(site):
    with contextlib.closing(sqlite3.connect(site.file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


def by_pragma(statement):
    """Set up by the connections of workers that are started again."""

    @contextlib.contextmanager
    def state(site):
        _restart(site, statement)
        site.settle()
        yield
        _restart(site, "")

    return state


@contextlib.contextmanager
def full(site):
    """No page is free, and none can be added. Few rows fit into a page that is in use."""
    with contextlib.closing(sqlite3.connect(site.file)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")
    with by_pragma("PRAGMA max_page_count = 1")(site):
        yield


def _restart(site, statement):
    site.web.kill()
    wait_until(lambda: not answers(site.web.port))  # its workers end a moment later
    site.web.variables["SERVER_SQLITE_INIT"] = statement
    site.web.start()


@contextlib.contextmanager
def cannot_be_opened(site):
    """A disk that is gone, for whoever opens the file."""
    aside = site.file.with_name("aside")
    site.file.rename(aside)
    site.file.mkdir()
    yield
    site.file.rmdir()
    aside.rename(site.file)


OF_POSTGRESQL = {
    "as usual": as_usual,
    "PostgreSQL killed": killed("database"),
    "PostgreSQL killed and started again": restarted,
    "PostgreSQL stopped": stopped("database"),
    "PostgreSQL demoted": demoted,
    "PostgreSQL read-only": read_only,
    "PostgreSQL at its limit of connections": at_its_limit,
    "network to PostgreSQL stalled": stalled("database_proxy"),
    "network to PostgreSQL slow (50 ms)": slow("database_proxy", 0.05),
    "network to PostgreSQL cut in the middle of an answer": cut("database_proxy", 700),
}
OF_REDIS = {
    "Redis killed": killed("redis"),
    "Redis stopped": stopped("redis"),
    "Redis full": by_redis(
        ("CONFIG", "SET", "maxmemory", "1"), end=[("CONFIG", "SET", "maxmemory", "0")]
    ),
    "Redis demoted": by_redis(
        ("REPLICAOF", "127.0.0.1", "1"), end=[("REPLICAOF", "NO", "ONE")]
    ),
    "Redis read-only (ACL)": by_redis(
        ("ACL", "SETUSER", "default", "-set"), end=[("ACL", "SETUSER", "default", "+set")]
    ),
    "Redis at its limit of connections": by_redis(
        ("CONFIG", "SET", "maxclients", "1"), end=[("CONFIG", "SET", "maxclients", "1000")]
    ),
    "Redis failed over, old connections stay": failed_over,
    "network to Redis stalled": stalled("redis_proxy"),
    "network to Redis slow (100 ms)": slow("redis_proxy", 0.1),
    "network to Redis cut in the middle of a message": cut("redis_proxy", 7),
}  # fmt: skip
OF_SQLITE = {
    "SQLite as usual": as_usual,
    "SQLite locked by another process": locked,
    "SQLite read-only": by_pragma("PRAGMA query_only = ON"),
    "SQLite full": full,
    "SQLite cannot be opened": cannot_be_opened,
}


@pytest.fixture(scope="module")
def table():
    rows = {}
    yield rows
    if (path := os.environ.get("OUTAGE_TABLE")) and rows:
        with Path(path).open("a") as file:
            file.write(as_markdown(rows))


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    def directory():
        return tmp_path_factory.mktemp("server")

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        database = stack.enter_context(running(PostgreSQLServer(folder, CONNECTIONS)))
        redis = stack.enter_context(running(RedisServer(directory())))
        other = stack.enter_context(running(RedisServer(directory())))
        database_proxy = stack.enter_context(proxying(lambda: database.port))
        redis_proxy = stack.enter_context(proxying(lambda: redis.port))
        web = Web(
            directory(),
            {
                "SERVER_DATABASE": "postgres",
                "SERVER_DATABASE_PORT": str(database_proxy.port),
                "SERVER_REDIS": redis_proxy.url,
            },
        )
        facts = made(web, len(OF_POSTGRESQL | OF_REDIS))
        stack.enter_context(running(web))
        yield Site(
            web, facts, database=database, database_proxy=database_proxy,
            redis=redis, other_redis=other, redis_proxy=redis_proxy,
        )  # fmt: skip


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    file = tmp_path_factory.mktemp("file") / "db.sqlite3"
    environment = {"SERVER_SQLITE": str(file), "SERVER_REDIS": redis.url}
    web = Web(tmp_path_factory.mktemp("web"), environment)
    with running(redis):
        facts = made(web, len(OF_SQLITE))
        with running(web):
            yield Site(web, facts, file=file)


def made(web, states):
    done = web.run("-m", "tests.outage_site", str(states), str(DOOMED))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", OF_POSTGRESQL)
def test_a_state_of_postgresql(postgresql, table, name):
    found, seconds = answer_all(postgresql, table, name, OF_POSTGRESQL[name])

    if name == "as usual":
        assert seconds
    else:
        assert found["verify, cached"] == {True}
    if name in ("PostgreSQL demoted", "PostgreSQL read-only"):
        assert found["verify, uncached"] == found["introspect"] == {True}
        assert found["create"] == found["revoke"] == {AWAY}


@pytest.mark.parametrize("name", OF_REDIS)
def test_a_state_of_redis(postgresql, table, name):
    found, seconds = answer_all(postgresql, table, name, OF_REDIS[name])

    assert set().union(*found.values()) == {True}
    assert len(seconds) == DOOMED


@pytest.mark.parametrize("name", OF_SQLITE)
def test_a_state_of_sqlite(sqlite, table, name):
    found, _ = answer_all(sqlite, table, name, OF_SQLITE[name])

    assert found["verify, cached"] == {True}
    if name in ("SQLite read-only", "SQLite full"):
        assert found["create"] == found["revoke"] == {AWAY}
    if name != "SQLite cannot be opened":
        assert found["verify, uncached"] == found["introspect"] == {True}


def answer_all(site, table, name, state):
    """Send everything in this state. Returns the answers, and when revocations took effect."""
    site.settle()
    given = site.unused.pop()
    for _ in range(10):
        assert {site.web.ask(token) for token, _ in given["doomed"]} == {200}
    given_back, longest = defaultdict(set), defaultdict(float)

    def timed(run):
        began = time.monotonic()
        return run(), time.monotonic() - began

    with ThreadPoolExecutor(64) as threads:
        with state(site):
            futures = [
                (column, threads.submit(timed, run))
                for column, run in operations(site.web, site.facts, given)
            ]
            ends = [
                threads.submit(time_until_refused, site, *each) for each in given["doomed"]
            ] if name in OF_REDIS or "usual" in name or "slow" in name else []  # fmt: skip
            is_hung = any(word in name for word in ("stopped", "stalled", "locked"))
            wait([future for _, future in futures] + ends, HANGS if is_hung else 60)
        for column, future in futures:
            answer, seconds = future.result(90)
            given_back[column].add(answer)
            longest[column] = max(longest[column], seconds)
        seconds = sorted(each.result(90) for each in ends)
    table[name] = given_back, longest, seconds

    wrong = {column: each - {True, AWAY} for column, each in given_back.items()}
    assert not any(wrong.values()), wrong
    assert not seconds or seconds[-1] < _BOUND
    return given_back, seconds


def time_until_refused(site, token, public_id):
    """Revoke a key. Returns the seconds after the answer for which it was still accepted."""
    headers = bearer(site.facts["manager"])
    status, _, text = site.web.send("DELETE", f"/api/tokens/{public_id}/", headers=headers)
    assert status == 204, text
    since, last, refused = time.monotonic(), 0.0, 0
    while refused < 20:  # in a row: by both workers
        began = time.monotonic()
        if site.web.ask(token) == 200:
            last, refused = began - since, 0
        else:
            refused += 1
    return last


COLUMNS = (
    "verify, cached", "verify, uncached", "create", "revoke", "token", "introspect", "pages",
    "admin", "commands",
)  # fmt: skip


def as_markdown(rows):
    lines = [
        f"| state | {' | '.join(COLUMNS)} | revoked after: median, p99, worst |",
        f"| {' | '.join(['---'] * (len(COLUMNS) + 2))} |",
    ]
    for name in filter(rows.get, OF_POSTGRESQL | OF_REDIS | OF_SQLITE):
        found, longest, seconds = rows[name]
        cells = [_cell(found[column], longest[column]) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | {_quantiles(seconds)} |")
    return "\n".join(lines) + "\n"


def _cell(found, longest):
    text = " or ".join("right" if each is True else str(each) for each in sorted(found, key=str))
    return f"{text} ({longest:.1f} s)" if longest > LONG else text


def _quantiles(seconds):
    if not seconds:
        return "-"
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    return (
        ", ".join(f"{each:.2f}" for each in (statistics.median(seconds), p99, seconds[-1])) + " s"
    )
