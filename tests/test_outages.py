"""Two workers under load while the servers they lean on are killed and come back.

No request may be answered wrongly: a good key never gets 401 or 500, a bad one never 200.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers import PostgreSQLServer, RedisServer, Server, running, wait_until
from tests.tiers import long

# Processes of their own, a cluster and some seconds of load.
pytestmark = pytest.mark.slow

THREADS = 8
PAUSE = 0.03  # seconds between two requests of a thread, which leave time for the servers


class Web(Server):
    """Granian with two workers of four threads."""

    def __init__(self, directory, database, redis, interface="wsgi"):
        super().__init__(directory)
        self.database, self.redis, self.interface = database, redis, interface

    def environment(self):
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.server_settings",
            "SERVER_DATABASE": "postgres",
            "SERVER_DATABASE_PORT": str(self.database.port),
            "SERVER_REDIS": self.redis.url,
        }

    def command(self):
        threads = ["--blocking-threads", "4"] if self.interface == "wsgi" else []
        return [
            *(sys.executable, "-m", "granian", "--interface", self.interface),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "2", *threads),
            f"example_project.{'wsgi' if self.interface == 'wsgi' else 'asgi'}:application",
        ]

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout


class Load:
    """Threads that ask one request after another, and count what they are told."""

    def __init__(self, web, path, token):
        self.web, self.path, self.token = web, path, token
        self.answers = Counter()
        self.all = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stop.is_set():
            answer = ask(self.web, self.path, self.token)
            with self._lock:
                self.answers[answer] += 1
            self._stop.wait(PAUSE)

    def told(self):
        """All since it was last asked."""
        with self._lock:
            answers, self.answers = self.answers, Counter()
            self.all += answers
        return answers


def ask(web, path, token):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = json.loads(response.read())
        return response.status, body.get("code"), response.headers.get("Retry-After")
    finally:
        connection.close()


GOOD = (200, None, None)
AWAY = (503, "temporarily_unavailable", "5")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A cluster that is copied for each test, and the keys in it."""
    with TemporaryDirectory() as directory:
        database = PostgreSQLServer(Path(directory))
        redis = RedisServer(tmp_path_factory.mktemp("redis"))
        web = Web(tmp_path_factory.mktemp("web"), database, redis)
        with running(database), running(redis):
            keys = json.loads(web.run("-m", "tests.outage_data"))
            database.stop()
        yield database, keys


@pytest.fixture
def site(request, tmp_path, template):
    directories = [tmp_path / name for name in ("redis", "web")]
    for directory in directories:
        directory.mkdir()
    stopped, keys = template
    with TemporaryDirectory() as directory:
        database = PostgreSQLServer(Path(directory), template=stopped)
        redis = RedisServer(directories[0])
        web = Web(directories[1], database, redis, request.param)
        with running(database), running(redis), running(web):
            yield database, redis, web, keys


@pytest.mark.parametrize(
    ("site", "path"), [long(("wsgi", "/plain/")), ("asgi", "/async/")], indirect=["site"]
)
def test_nothing_is_answered_wrongly(site, path, capsys):
    database, redis, web, keys = site
    (kept, _), (fresh, _), (revoked, its_id) = keys["kept"], keys["fresh"], keys["revoked"]

    def settle(load, seconds=1.0):
        """What it is told from now on."""
        load.told()
        time.sleep(seconds)
        return load.told()

    with Load(web, path, kept) as load, Load(web, path, revoked) as doomed:
        wait_until(lambda: load.answers[GOOD] > 50 and doomed.answers[GOOD] > 50)

        redis.kill()
        assert set(settle(load)) == {GOOD}

        redis.start()
        assert set(settle(load)) == {GOOD}

        web.run("manage.py", "apikeys", "revoke", its_id, "--reason", "test", "--json")
        # What was on its way when it was revoked may still have been let in.
        for _ in range(THREADS):
            doomed.told()
            ask(web, path, revoked)
        assert {ask(web, path, revoked) for _ in range(50)} == {(401, "revoked_key", None)}

        wait_until(lambda: not doomed.told()[GOOD])
        assert set(settle(doomed)) == {(401, "revoked_key", None)}

        database.kill()
        wait_until(lambda: ask(web, path, fresh) == AWAY)
        assert {ask(web, path, fresh) for _ in range(50)} == {AWAY}
        assert set(settle(load)) <= {GOOD, AWAY}
        redis.kill()  # nothing is kept any more
        assert set(settle(load)) <= {GOOD, AWAY}
        assert set(settle(doomed)) <= {(401, "revoked_key", None), AWAY}
        wait_until(lambda: set(settle(load, 0.2)) == {AWAY})

        database.start()
        redis.start()
        wait_until(lambda: set(settle(load, 0.5)) == {GOOD}, 60)
        wait_until(lambda: {ask(web, path, fresh) for _ in range(50)} == {GOOD}, 60)
        assert set(settle(load)) == {GOOD}
        assert set(settle(doomed)) == {(401, "revoked_key", None)}
        load.told()
        doomed.told()
    assert set(load.all) <= {GOOD, AWAY}
    assert set(doomed.all) <= {GOOD, AWAY, (401, "revoked_key", None)}
    answers = load.all + doomed.all
    with capsys.disabled():
        print(
            f"\n{web.interface}: {answers.total()} sent and answered; {answers[GOOD]} let in, "
            f"{answers[401, 'revoked_key', None]} refused as revoked, {answers[AWAY]} told to "
            "come back, 0 wrong"
        )


def keep(web, path, token):
    """Have both workers keep this credential in memory. Which one answers is up to the kernel."""
    wait_until(lambda: {ask(web, "/keeps-rows/", token) for _ in range(30)} == {GOOD})
    assert {ask(web, path, token) for _ in range(30)} == {GOOD}


@pytest.mark.parametrize(
    ("site", "path"),
    [("wsgi", "/plain/"), ("asgi", "/async/"), ("asgi", "/plain/")],
    indirect=["site"],
)
def test_keys_in_memory_are_answered_while_the_database_hangs(site, path):
    database, _, web, keys = site
    (kept, _), (fresh, _) = keys["kept"], keys["fresh"]
    keep(web, path, kept)

    database.signal(signal.SIGSTOP)
    # Fewer than the threads of a worker. They wait for the server, or for `connect_timeout`.
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(ask, web, path, fresh) for _ in range(3)]
        try:
            assert {ask(web, path, kept) for _ in range(100)} == {GOOD}
        finally:
            database.signal(signal.SIGCONT)
        assert {each.result() for each in waiting} <= {GOOD, AWAY}
    wait_until(lambda: {ask(web, path, fresh) for _ in range(20)} == {GOOD})
