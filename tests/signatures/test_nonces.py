"""A nonce is accepted once, even in parallel, in the cache and in the table."""

import time
from datetime import timedelta

import pytest
import requests
from django.core.cache import caches
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from apikeys.models import UsedNonce
from apikeys.signatures import nonces
from tests.servers import RedisServer, running
from tests.signing import caller, send
from tests.threads import at_once

AT_ONCE = 12


def later(seconds=60):
    return int(time.time()) + seconds


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def in_redis(settings, redis):
    settings.CACHES = {
        **settings.CACHES,
        "nonces": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis.url,
        },
    }
    settings.APIKEYS = {**settings.APIKEYS, "SIGNATURE_NONCE_CACHE": "nonces"}
    yield caches["nonces"]
    caches["nonces"].clear()


@pytest.fixture(params=["table", "redis"])
def kept(request, transactional_db):
    if request.param == "redis":
        request.getfixturevalue("in_redis")
    return request.param


def test_a_nonce_is_accepted_once(kept):
    assert nonces.use("a" * 16, "n", later())
    assert not nonces.use("a" * 16, "n", later())
    assert nonces.use("b" * 16, "n", later())
    assert nonces.use("a" * 16, "m", later())
    assert UsedNonce.objects.count() == (3 if kept == "table" else 0)


@pytest.mark.parametrize("round_", range(5))
def test_of_parallel_uses_one_succeeds(kept, round_):
    assert sorted(at_once(*[lambda: nonces.use("a" * 16, "n", later())] * AT_ONCE)) == [
        *[False] * (AT_ONCE - 1),
        True,
    ]


@pytest.mark.slow
def test_of_parallel_requests_one_succeeds(kept, live_server, engine):
    request = caller(engine).sign("POST", f"{live_server.url}/echo/", body=b"{}", headers={
        "Content-Type": "application/json"
    })  # fmt: skip

    def ask():
        with requests.Session() as session:
            answer = session.send(request.copy(), timeout=60)
        return answer.status_code, answer.json().get("code")

    answers = at_once(*[ask] * AT_ONCE)

    assert answers.count((200, None)) == 1, answers
    assert answers.count((401, "replayed_signature")) == AT_ONCE - 1


def test_the_cache_stores_neither_nonce_nor_key(in_redis, redis):
    import redis as client

    nonces.use("a" * 16, "n" * 8, later())
    (name,) = client.Redis(port=redis.port).keys()
    assert b"nnnn" not in name
    assert b"aaaa" not in name


def test_a_nonce_is_kept_longer_than_a_signature_is_accepted(in_redis, redis, settings):
    import redis as client

    window = 300
    nonces.use("a" * 16, "n", later(window))
    (name,) = client.Redis(port=redis.port).keys()
    assert window < client.Redis(port=redis.port).ttl(name) <= 2 * window


def test_an_unavailable_cache_refuses_all_signatures(settings, client, worker):
    settings.APIKEYS = {**settings.APIKEYS, "SIGNATURE_NONCE_CACHE": "nonces"}
    settings.CACHES = {
        **settings.CACHES,
        "nonces": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        },
    }
    response = send(client, worker.sign("GET", "http://testserver/echo/"))
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["code"] == "temporarily_unavailable"


class TestPruning:
    def rows(self, *ages):
        """Create nonces that were due for deletion so many seconds ago."""
        now = timezone.now() - nonces.MARGIN
        for number, age in enumerate(ages):
            ends = now - timedelta(seconds=age)
            UsedNonce.objects.create(digest=f"{number:064}", ends_at=ends)

    def test_old_nonces_are_deleted(self, db):
        self.rows(10, 1, -10)
        assert nonces.prune() == 2
        assert [row.digest for row in UsedNonce.objects.all()] == [f"{2:064}"]

    @pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400)])
    def test_a_fast_clock_deletes_no_nonce_too_early(self, db, ahead, monkeypatch):
        ends = int((timezone.now() + timedelta(minutes=5)).timestamp())
        assert nonces.use("a" * 16, "nonce", ends)
        right = timezone.now

        with monkeypatch.context() as wrong:
            wrong.setattr("django.utils.timezone.now", lambda: right() + ahead)
            assert nonces.prune() == 0

        assert not nonces.use("a" * 16, "nonce", ends)

    def test_a_nonce_is_kept_for_a_day_after_its_end(self, db):
        """The clock of the database may also be fast."""
        UsedNonce.objects.create(digest="a" * 64, ends_at=timezone.now() - timedelta(hours=23))
        assert nonces.prune() == 0

    @pytest.mark.slow
    def test_a_failed_deletion_does_not_fail_the_request(self, db, monkeypatch, caplog):
        def fail(most):
            raise OperationalError("deadlock")

        monkeypatch.setattr(nonces, "prune", fail)
        assert all(nonces.use("a" * 16, str(number), later()) for number in range(2000))
        assert "Could not delete old nonces." in caplog.text

    def test_deletion_is_limited_per_call(self, db):
        self.rows(30, 20, 10)
        assert nonces.prune(2) == 2
        assert [row.digest for row in UsedNonce.objects.all()] == [f"{2:064}"]

    @pytest.mark.slow
    def test_use_deletes_old_nonces(self, db):
        self.rows(*range(10, 40))
        for number in range(2000):
            nonces.use("a" * 16, str(number), later())
        assert UsedNonce.objects.count() == 2000

    def test_the_prune_command_deletes_old_nonces(self, db):
        self.rows(10, -10)
        call_command("apikeys", "prune", "--json")
        assert UsedNonce.objects.count() == 1
