"""Every process drops a changed row within the limit, even if Redis fails."""

import asyncio
import contextlib
import signal
import socketserver
import statistics
import subprocess
import sys
import threading
import time

import pytest
from django.db import transaction
from redis import Redis
from redis.exceptions import ResponseError

from apikeys import cache, lifecycle
from apikeys.cache import Cache, get_cache, invalidation
from apikeys.cache.invalidation import Tracking
from apikeys.conf import CACHE_DEFAULTS
from apikeys.models import PersonalAccessToken
from apikeys.verify import _LOOKUPS
from tests.factories import UserFactory, mint_pat
from tests.servers import RedisSentinel, RedisServer, proxying, running, wait_until

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]

TAG = "app.model:1"


class FakeRedis(socketserver.ThreadingTCPServer):
    """A server that accepts every command and pushes the messages of a test."""

    allow_reuse_address = daemon_threads = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                while line := self.rfile.readline():
                    words = [self.word() for _ in range(int(line[1:]))]
                    hello = b"%1\r\n$5\r\nproto\r\n:3\r\n"
                    self.wfile.write(hello if words[0] == b"HELLO" else b"+OK\r\n")
                    if words[:2] == [b"CLIENT", b"TRACKING"]:
                        self.server.listening = self.wfile

        def word(self):
            word = self.rfile.read(int(self.rfile.readline()[1:]))
            self.rfile.readline()
            return word

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        self.listening = None
        self.url = f"redis://127.0.0.1:{self.server_address[1]}/0"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()


@pytest.fixture
def redis(tmp_path):
    with running(RedisServer(tmp_path)) as server:
        yield server


@pytest.fixture
def other_redis(tmp_path_factory):
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def proxy(redis):
    with proxying(lambda: redis.port) as between:
        yield between


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(invalidation, "_SETTLE", 0.2)


@pytest.fixture
def site(settings):
    """Return a cache that is connected to a server."""

    def start(server):
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": server.url}}
        assert get_cache().tracking.wait(10)
        return get_cache()

    return start


@pytest.fixture
def worker():
    """Return the cache of another process."""
    started = []

    def start(server):
        started.append(Cache({**CACHE_DEFAULTS, "LOCATION": server.url}))
        assert started[-1].tracking.wait(10)
        return started[-1]

    yield start
    for each in started:
        each.close()


def keep(worker, minted):
    """Make a worker cache a key; return a function that looks the key up."""
    lookup, public_id = _LOOKUPS[minted.key.KIND], minted.key.public_id
    wait_until(lambda: worker.find(lookup, public_id) and worker.peek(lookup, public_id))
    return lambda: worker.peek(lookup, public_id)


def flush(client, workers):
    """Empty Redis, because Redis also pushes names when they expire."""
    before = [each.rows.generation for each in workers]
    client.flushall()
    wait_until(
        lambda: all(
            each.tracking.is_current() and each.rows.generation > generation
            for each, generation in zip(workers, before, strict=True)
        )
    )


def with_descendants(count):
    parent = mint_pat()
    children = [mint_pat(parent.key.user) for _ in range(count)]
    pks = [child.key.pk for child in children]
    PersonalAccessToken.objects.filter(pk__in=pks).update(minted_with=parent.key.public_id)
    return parent, children


# A Redis that answers but accepts no writes.


def full(redis, client, proxy, other):
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)


def demoted(redis, client, proxy, other):
    client.replicaof("127.0.0.1", str(other.port))


def cut_off_from_its_replicas(redis, client, proxy, other):
    client.config_set("min-replicas-to-write", 1)


def forbidden_to_write(redis, client, proxy, other):
    client.execute_command("ACL", "SETUSER", "default", "-set")


def forbidden_to_write_these_names(redis, client, proxy, other):
    client.execute_command("ACL", "SETUSER", "default", "resetkeys", "~others:*")


def unable_to_save(redis, client, proxy, other):
    (redis.directory / "dump.rdb").mkdir()
    client.config_set("save", "1000 1")
    client.set("something", "to be saved")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def failed_over(redis, client, proxy, other):
    """Lead new connections to another server, and keep open ones."""
    proxy.target = lambda: other.port


def paused_for_writes(redis, client, proxy, other):
    client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")


def stopped(redis, client, proxy, other):
    redis.signal(signal.SIGSTOP)


def held_back(redis, client, proxy, other):
    proxy.hold()


def held_back_in_the_middle_of_a_message(redis, client, proxy, other):
    proxy.hold(after=7)


STATES = [
    full,
    demoted,
    cut_off_from_its_replicas,
    forbidden_to_write,
    forbidden_to_write_these_names,
    unable_to_save,
    failed_over,
    paused_for_writes,
    stopped,
    held_back,
    held_back_in_the_middle_of_a_message,
]


@pytest.mark.parametrize(
    ("break_redis", "is_new"), [*((state, False) for state in STATES), (failed_over, True)]
)
def test_revoked_key_is_refused_within_the_bound(
    redis, other_redis, proxy, site, worker, settings, quick, break_redis, is_new
):
    """A running process or a new process, such as a command, revokes the key."""
    if not is_new:
        site(proxy)
    workers = [worker(proxy) for _ in range(2)]
    minted = mint_pat()
    client = Redis(port=redis.port)
    flush(client, workers)
    kept = [keep(each, minted) for each in workers]

    break_redis(redis, client, proxy, other_redis)
    if is_new:
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": proxy.url}}
    lifecycle.revoke(minted.key)

    wait_until(lambda: [each() for each in kept] == [None, None], invalidation._BOUND)
    for each in workers:
        lookup = _LOOKUPS[minted.key.KIND]
        row = each.find(lookup, minted.key.public_id)
        assert row[lookup.fields.index("revoked_at")] is not None


def test_connections_that_were_closed_do_not_count_against_the_limit_of_redis_py(redis):
    """redis-py allows 100 connections by default, which would be used up within a minute."""
    tracking = Tracking(f"{redis.url}?max_connections=2", "limit:", lambda tags: None, 600)
    with contextlib.closing(tracking):  # opens three connections, one after the other
        assert tracking.wait(10)


def test_rows_are_cached_again_after_a_failover(redis, other_redis, proxy, worker):
    one, other = worker(proxy), worker(proxy)
    proxy.target = lambda: other_redis.port
    wait_until(lambda: not one.tracking.is_current() and not other.tracking.is_current())

    wait_until(lambda: one.tracking.is_current() and other.tracking.is_current())
    kept = keep(other, mint_pat())
    one.drop(["*"])

    wait_until(lambda: kept() is None)


def test_a_row_that_was_read_before_a_listener_is_trusted_is_not_cached(redis, worker):
    """The row may have been changed through a connection to another server."""
    each = Cache({**CACHE_DEFAULTS, "LOCATION": redis.url})
    try:
        wait_until(lambda: each.rows.generation)  # the worker listens
        generation = 1
        assert each.tracking.wait(10)
        assert each.rows.generation > generation

        each.rows.put("key", ("row",), [], generation)

        assert each.rows.get("key") is None
    finally:
        each.close()


def test_two_servers_behind_one_address_are_not_trusted(
    redis, other_redis, proxy, monkeypatch, caplog
):
    monkeypatch.setattr(invalidation, "_BEAT", 0.01)
    monkeypatch.setattr(invalidation, "_SETTLE", 0.2)
    opened = []

    def alternate():
        opened.append(1)
        return (redis, other_redis)[len(opened) % 2].port

    proxy.target = alternate
    each = Cache({**CACHE_DEFAULTS, "LOCATION": proxy.url})
    try:
        wait_until(lambda: len(opened) > 20)
        assert not each.tracking.wait(0)
        assert "do two servers answer?" in caplog.text
    finally:
        each.close()


def test_a_process_that_found_redis_again_invalidates_everything(
    redis, proxy, quick, worker, caplog
):
    """Only this process lost Redis, so the other processes missed its changes."""
    healthy, cut_off = worker(redis), worker(proxy)
    kept = keep(healthy, mint_pat())

    proxy.hold()
    cut_off.drop([TAG])
    cut_off.drop([TAG])
    assert kept() is not None
    assert caplog.text.count("Could not publish a change to other processes") == 1
    proxy.release()

    wait_until(lambda: kept() is None)


# A change waits for Redis once, and not for long.


def test_revoking_many_keys_waits_once_for_a_redis_that_hangs(redis, site):
    site(redis)
    parent, _ = with_descendants(15)
    redis.signal(signal.SIGSTOP)

    started = time.monotonic()
    lifecycle.revoke(parent.key)
    waited = time.monotonic() - started

    assert waited < 2 * invalidation._PATIENCE
    assert not PersonalAccessToken.objects.filter(revoked_at=None).exists()


def test_log_ins_do_not_wait_while_redis_hangs(redis, site, monkeypatch):
    site(redis)
    users = [UserFactory() for _ in range(3)]
    redis.signal(signal.SIGSTOP)
    users[0].save()
    monkeypatch.setattr(invalidation, "_PATIENCE", 60)

    started = time.monotonic()
    for user in users:
        user.save()

    assert time.monotonic() - started < 30


def test_a_transaction_publishes_once(redis, quick, site, monkeypatch):
    published = []
    monkeypatch.setattr(site(redis).tracking, "publish", published.append)
    parent, children = with_descendants(3)
    published.clear()

    lifecycle.revoke(parent.key)

    (tags,) = published
    pks = [parent.key.pk, *(child.key.pk for child in children)]
    assert sorted(tags) == sorted(f"apikeys.personalaccesstoken:{pk}" for pk in pks)


def test_a_change_after_a_savepoint_that_was_rolled_back_is_published(
    redis, quick, site, monkeypatch
):
    published = []
    monkeypatch.setattr(site(redis).tracking, "publish", published.append)
    first, second = UserFactory(), UserFactory()
    published.clear()

    with transaction.atomic():
        with transaction.atomic():
            first.save()
            transaction.set_rollback(True)
        second.save()
        assert not published

    ((*tags,),) = published
    assert f"auth.user:{second.pk}" in tags


def test_nothing_is_published_by_a_rollback(redis, quick, site, monkeypatch):
    published = []
    monkeypatch.setattr(site(redis).tracking, "publish", published.append)
    user = UserFactory()
    published.clear()

    with transaction.atomic():
        user.save()
        transaction.set_rollback(True)
    assert not published
    user.save()
    assert len(published) == 1


def test_an_event_loop_does_not_wait_for_a_redis_that_hangs(redis, site, monkeypatch):
    site(redis)
    monkeypatch.setattr(invalidation, "_PATIENCE", 60)
    redis.signal(signal.SIGSTOP)

    async def change():
        cache.forget_everything()

    started = time.monotonic()
    asyncio.run(change())

    assert time.monotonic() - started < 30


def test_half_a_message_holds_no_request(redis, proxy, quick, worker, monkeypatch):
    for name in ("_LEASE", "_SOCKET_TIMEOUT"):
        monkeypatch.setattr(invalidation, name, 60)
    one, other = worker(proxy), worker(redis)
    kept = keep(one, mint_pat())

    proxy.hold(after=10)
    other.drop([TAG])
    started = time.monotonic()
    wait_until(lambda: kept() is None)  # the message is incomplete

    assert time.monotonic() - started < 30
    proxy.release()
    wait_until(lambda: kept() is not None)  # the message named another row


def test_a_flood_of_messages_holds_no_request(redis, quick, worker):
    one = worker(redis)
    stop = threading.Event()

    def flood():
        with Redis(port=redis.port) as client:
            while not stop.is_set():
                client.mset({f"apikeys:app.model:{'x' * 200}{n}": "" for n in range(5000)})

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(200):
            one.tracking.is_current()
    finally:
        stop.set()
        thread.join()
    wait_until(one.tracking.is_current)


# Exit of a process.


def test_a_process_ends_when_redis_has_taken_its_change(redis, quick, worker, monkeypatch):
    """`manage.py apikeys revoke`, for example, while Redis hangs."""
    monkeypatch.setattr(invalidation, "_LEASE", 60)
    minted = mint_pat()
    kept = keep(worker(redis), minted)
    # When Redis continues, it may accept this tag before the process invalidates everything.
    tag = cache._tag(type(minted.key), minted.key.pk)
    code = f"""
import logging
import django; django.setup()
from apikeys.cache import invalidation
from apikeys.cache.invalidation import Tracking
invalidation._BOUND = 60  # for busy machines
logging.basicConfig()
Tracking({redis.url!r}, "apikeys:", lambda tags: None, 60).publish([{tag!r}])
"""
    redis.signal(signal.SIGSTOP)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert any("Could not publish a change to other processes" in line for line in process.stderr)

    redis.signal(signal.SIGCONT)

    assert process.wait(30) == 0
    process.stderr.close()
    wait_until(lambda: kept() is None)


def test_a_forked_process_ends_while_its_parent_publishes(redis):
    code = f"""
import os, sys
import django; django.setup()
from apikeys.cache.invalidation import Tracking
tracking = Tracking({redis.url!r}, "apikeys:", lambda tags: None, 60)
with tracking._turn:
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
sys.exit(0)
"""
    # The child inherits a lock that a thread of its parent may hold.
    code = code.replace("with tracking._turn:", "tracking._turn.acquire()\nif True:")

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "sent",
    [
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*-1\r\n",
        b">1\r\n$10\r\nsomething?\r\n",
        b">2\r\n$10\r\nsomething?\r\n*0\r\n",
        b":1\r\n",
        b"-ERR no\r\n",
        b"\r\n",
        b"$-2\r\nxx\r\n",
        b"*1\r\n" * 10,
        b"*1000000000\r\n*x\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n\xff\xff\r\n",
    ],
)
def test_a_message_that_is_not_understood_drops_everything(quick, sent):
    dropped = []
    with FakeRedis() as server:
        each = Tracking(server.url, "apikeys:", dropped.extend, 60)
        try:
            wait_until(lambda: each._listener and server.listening)
            dropped.clear()
            server.listening.write(sent)
            wait_until(lambda: dropped)
            assert set(dropped) == {"*"}
        finally:
            each.close()


class Load:
    """Threads that watch how long revoked keys stay in the caches of workers."""

    def __init__(self, workers):
        self.workers = workers
        self._lookup = _LOOKUPS["pat"]
        self._revoked = {}  # ID -> time of revocation
        self._last = {}  # ID -> seconds that the key was still found afterwards
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=[each]) for each in workers * 2]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, worker):
        while not self._stop.is_set():
            for public_id, since in [*self._revoked.items()]:
                now = time.monotonic()
                row = worker.peek(self._lookup, public_id)
                if row is not None and row[self._lookup.fields.index("revoked_at")] is None:
                    self._last[public_id] = max(self._last[public_id], now - since)
            time.sleep(0.001)

    def revoke_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            minted = mint_pat()
            for worker in self.workers:
                worker.find(self._lookup, minted.key.public_id)
            self._last[minted.key.public_id] = 0.0
            with transaction.atomic():
                # Before the change is published, which takes time.
                transaction.on_commit(
                    lambda key=minted.key: self._revoked.update({key.public_id: time.monotonic()})
                )
                lifecycle.revoke(minted.key)

    @property
    def count(self):
        return len(self._last)

    @property
    def worst(self):
        return max(self._last.values())

    @property
    def median(self):
        return statistics.median(self._last.values())


@pytest.mark.long
def test_revoked_keys_are_refused_within_the_bound_while_sentinel_moves_the_master(
    tmp_path_factory, site, worker, capsys
):
    def directory():
        return tmp_path_factory.mktemp("redis")

    with running(RedisServer(directory())) as first, contextlib.ExitStack() as stack:
        second = RedisServer(directory(), "--replicaof", f"127.0.0.1 {first.port}")
        stack.enter_context(running(second))
        sentinel = stack.enter_context(running(RedisSentinel(directory(), first)))
        told = stack.enter_context(Redis(port=sentinel.port, decode_responses=True))

        def master():
            return int(told.sentinel_get_master_addr_by_name("apikeys")[1])

        def move(change):
            before = master()
            wait_until(lambda: len(told.sentinel_slaves("apikeys")) == 1)
            change({first.port: first, second.port: second}[before])
            wait_until(lambda: master() != before, 30)

        def hand_over(server):
            def is_accepted():  # only after the replica has answered Sentinel
                with contextlib.suppress(ResponseError):
                    return told.execute_command("SENTINEL", "FAILOVER", "apikeys")

            wait_until(is_accepted)

        def stop(server):
            server.signal(signal.SIGSTOP)
            stack.callback(server.signal, signal.SIGCONT)

        proxy = stack.enter_context(proxying(master))
        site(proxy)
        load = Load([worker(proxy) for _ in range(3)])
        with load:
            for change in (hand_over, stop):
                load.revoke_for(2)
                mover = threading.Thread(target=move, args=[change])
                mover.start()
                load.revoke_for(6)
                mover.join()
                for server in (first, second):
                    server.signal(signal.SIGCONT)
                load.revoke_for(4)
                wait_until(lambda: all(each.tracking.is_current() for each in load.workers), 30)
    with capsys.disabled():
        print(
            f"\n{load.count} keys revoked while the master moved twice; after that, each was "
            f"cached for {load.worst:.2f} s at most, and most for {load.median:.3f} s"
        )
    assert load.worst < invalidation._BOUND
