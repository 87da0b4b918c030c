"""The cache saves queries and never accepts an ended credential."""

import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.db import transaction
from django.utils import timezone
from redis import Redis

from apikeys import cache, lifecycle, token
from apikeys.cache import Cache, Rows, get_cache, invalidation
from apikeys.conf import CACHE_DEFAULTS, app_settings
from apikeys.models import PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import _LOOKUPS, verify
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat
from tests.servers import RedisServer, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Shorten the times, so that a process caches rows soon after it found Redis."""
    monkeypatch.setattr(invalidation, "_SETTLE", 0.2)


@pytest.fixture(params=["alone", pytest.param("with redis", marks=pytest.mark.process)])
def kept(request, settings):
    """Configure an empty cache."""
    if request.param == "alone":
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    else:
        server = request.getfixturevalue("redis_server")
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": server.url}}
        assert get_cache().tracking.wait(10)
    return get_cache()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def redis(tmp_path):
    """Start a Redis that the test may stop."""
    with running(RedisServer(tmp_path)) as server:
        yield server


@pytest.fixture
def another_process():
    """Return the cache of another worker, with a separate connection."""
    started = []

    def start(server):
        worker = Cache({**CACHE_DEFAULTS, "LOCATION": server.url})
        started.append(worker)
        assert worker.tracking.wait(10)
        return worker

    yield start
    for worker in started:
        worker.close()


def refusal(text):
    with pytest.raises(Refused) as caught:
        verify(text)
    return caught.value.refusal.code


def keep(worker, minted):
    """Make a worker look up and cache a key."""
    lookup = _LOOKUPS[minted.key.KIND]
    # An earlier change that arrives meanwhile may keep the row out of the cache.
    wait_until(
        lambda: (
            worker.find(lookup, minted.key.public_id) and worker.peek(lookup, minted.key.public_id)
        )
    )
    return lambda: worker.peek(lookup, minted.key.public_id)


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_the_second_request_costs_no_query(kept, mint, django_assert_num_queries):
    text = mint().token
    with django_assert_num_queries(1):
        first = verify(text)
    with django_assert_num_queries(0):
        second = verify(text)

    assert first.facts() == second.facts()
    assert first.principal == second.principal


def test_a_wrong_secret_costs_no_query(kept, django_assert_num_queries):
    minted, other = mint_pat(), mint_pat()
    verify(minted.token)
    mine, donor = token.parse(minted.token, "acme"), token.parse(other.token, "acme")
    forged = token.compose("acme", mine.kind, mine.public_id, donor.secret)

    with django_assert_num_queries(0):
        assert refusal(forged) == "invalid_key"


def test_an_unknown_id_is_not_cached(kept):
    minted = mint_pat()
    minted.key.delete()

    assert refusal(minted.token) == "invalid_key"
    assert len(kept.rows) == 0


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_a_revoked_key_is_refused_at_once(kept, mint):
    minted = mint()
    verify(minted.token)

    lifecycle.revoke(minted.key)

    assert refusal(minted.token) == "revoked_key"


def test_a_key_that_ends_with_its_parent_is_refused_at_once(kept):
    parent, child = mint_pat(), mint_pat()
    PersonalAccessToken.objects.filter(pk=child.key.pk).update(minted_with=parent.key.public_id)
    verify(child.token)

    lifecycle.revoke(parent.key)

    assert refusal(child.token) == "revoked_key"


def test_narrowing_a_key_takes_effect_at_once(kept):
    minted = mint_pat(scopes=["payments:write", "reports:read"])
    assert verify(minted.token).allows("payments:write")

    lifecycle.edit(minted.key, scopes=["reports:read"])

    assert not verify(minted.token).allows("payments:write")


def test_restricting_a_token_to_projects_takes_effect_at_once(kept):
    membership = MembershipFactory()
    elsewhere = MembershipFactory(user=membership.user).project
    minted = mint_pat(membership.user)
    assert verify(minted.token).projects().count() == 2

    lifecycle.edit(minted.key, projects=[membership.project])

    assert not verify(minted.token).allows(project=elsewhere)
    assert list(verify(minted.token).projects()) == [membership.project]


def test_a_rotated_key_ends_with_its_overlap(kept):
    minted = mint_pat()
    verify(minted.token)

    lifecycle.rotate(minted.key, overlap=timedelta(0))

    assert refusal(minted.token) == "expired_key"


def test_a_cached_key_expires(kept, monkeypatch):
    minted = mint_pat(expires_at=timezone.now() + timedelta(hours=1))
    verify(minted.token)
    later = timezone.now() + timedelta(hours=1)

    monkeypatch.setattr("django.utils.timezone.now", lambda: later)

    assert refusal(minted.token) == "expired_key"


def test_a_deleted_key_is_refused_at_once(kept):
    minted = mint_pat()
    verify(minted.token)

    PersonalAccessToken.objects.all().delete()

    assert refusal(minted.token) == "invalid_key"


def test_the_keys_of_a_deactivated_user_are_refused_at_once(kept):
    minted = mint_pat()
    verify(minted.token)

    minted.key.user.is_active = False
    minted.key.user.save()

    assert refusal(minted.token) == "inactive_user"


def test_the_keys_of_a_deactivated_project_are_refused_at_once(kept):
    minted = mint_key()
    verify(minted.token)

    minted.key.project.is_active = False
    minted.key.project.save()

    assert refusal(minted.token) == "inactive_project"


def test_removing_a_member_takes_effect_at_once(kept):
    membership = MembershipFactory()
    minted = mint_pat(membership.user)
    assert verify(minted.token).allows(project=membership.project)

    membership.delete()

    assert not verify(minted.token).allows(project=membership.project)


def test_forget_drops_a_row_changed_by_sql(kept):
    minted = mint_pat()
    verify(minted.token)
    get_user_model().objects.update(is_active=False)
    assert verify(minted.token)  # it works until TIMEOUT, as documented

    cache.forget(minted.key.user)

    assert refusal(minted.token) == "inactive_user"


def test_forget_everything_drops_all_rows(kept):
    minted = mint_pat()
    verify(minted.token)
    get_user_model().objects.update(is_active=False)

    cache.forget_everything()

    assert refusal(minted.token) == "inactive_user"


def test_rows_read_in_a_transaction_are_not_cached(kept):
    minted = mint_pat()
    with transaction.atomic():
        minted.key.name = "never so"
        minted.key.save()
        assert verify(minted.token).name == "never so"
        transaction.set_rollback(True)

    assert verify(minted.token).name == "ci"


def test_a_revocation_that_is_rolled_back_changes_nothing(kept):
    minted = mint_pat()
    verify(minted.token)
    with transaction.atomic():
        lifecycle.revoke(minted.key)
        transaction.set_rollback(True)

    assert verify(minted.token)


def test_the_cache_contains_no_secret(kept):
    user = UserFactory()
    user.set_password("correct horse battery staple")
    user.save()
    minted = mint_pat(user)
    verify(minted.token)
    assert len(kept.rows) == 1

    everything = repr(kept.rows._entries)

    assert minted.key.public_id in everything
    assert token.parse(minted.token, "acme").secret not in everything
    assert user.password not in everything
    assert minted.key.root not in everything


def test_requests_do_not_share_a_user(kept):
    text = mint_pat().token
    verify(text)
    first = verify(text).user
    first.username = "mallory"
    first.get_all_permissions()

    second = verify(text).user

    assert second.username != "mallory"
    assert not hasattr(second, "_perm_cache")


def test_a_digest_under_a_new_pepper_is_renewed_once(kept, settings, django_assert_num_queries):
    minted = mint_pat()
    verify(minted.token)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one, of which the old pepper is a fallback from now on"

    verify(minted.token)
    verify(minted.token)  # reads the row again
    with django_assert_num_queries(0):
        verify(minted.token)


def test_a_row_read_before_a_change_is_not_cached():
    rows = Rows(60, 10)
    generation = rows.generation
    row = ("as it was",)
    rows.drop(["user:1"])

    rows.put("key", row, ["user:1"], generation)

    assert rows.get("key") is None


def test_rows_expire_after_the_timeout(monkeypatch):
    rows = Rows(60, 10)
    rows.put("key", ("row",), [], 0)
    assert rows.get("key") == ("row",)
    then = cache.time.monotonic() + 60

    monkeypatch.setattr(cache.time, "monotonic", lambda: then)

    assert rows.get("key") is None


def test_the_number_of_rows_is_limited():
    rows = Rows(60, 2)
    for key in ("first", "second", "third"):
        rows.put(key, (key,), ["all"], 0)

    assert len(rows) == 2
    assert rows.get("first") is None
    assert rows.get("third") == ("third",)
    rows.drop(["all"])
    assert len(rows) == 0
    assert not rows._tagged


def test_mutable_values_are_copied():
    rows = Rows(60, 2)
    rows.put("key", (["a"],), [], 0)
    rows.get("key")[0].append("b")

    assert rows.get("key") == [["a"]]


@pytest.mark.process
@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_every_process_drops_a_revoked_key_before_revoking_returns(
    redis_server, another_process, settings, mint
):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": redis_server.url}}
    workers = [another_process(redis_server) for _ in range(4)]
    for _ in range(5):
        minted = mint()
        kept_by = [keep(worker, minted) for worker in workers]

        lifecycle.revoke(minted.key)

        assert [kept() for kept in kept_by] == [None] * 4


@pytest.mark.slow
def test_every_process_drops_the_keys_of_a_deactivated_owner(
    redis_server, another_process, settings
):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": redis_server.url}}
    worker, pat, key = another_process(redis_server), mint_pat(), mint_key()
    kept_pat, kept_key = keep(worker, pat), keep(worker, key)

    pat.key.user.save()
    assert kept_pat() is None
    assert kept_key() is not None
    key.key.project.save()
    assert kept_key() is None


@pytest.mark.process
def test_redis_stores_only_names(redis_server, settings):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": redis_server.url}}
    assert get_cache().tracking.wait(10)
    minted = mint_pat()
    verify(minted.token)
    minted.key.save()

    with Redis.from_url(redis_server.url) as client:
        names = [name.decode() for name in client.scan_iter("*")]
        assert f"apikeys:apikeys.personalaccesstoken:{minted.key.pk}" in names
        assert all(
            re.fullmatch(r"apikeys:(\*|[a-z.]+:\d+|mark:[0-9a-f]{16}:\d+)", name) for name in names
        )
        # The names expire after a second; nothing reads them.
        assert {client.get(name) for name in names} <= {b"", None}


@pytest.mark.process
def test_a_flushed_redis_drops_everything(redis_server, another_process):
    kept_by = keep(another_process(redis_server), mint_pat())
    with Redis.from_url(redis_server.url) as client:
        client.flushall()

    # Redis may answer whoever flushes it before it tells the others.
    wait_until(lambda: kept_by() is None)


@pytest.mark.process
def test_losing_redis_disables_the_cache_until_it_returns(
    redis, another_process, settings, django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr(invalidation, "_BEAT", 0.02)
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": redis.url}}
    worker, minted, other = another_process(redis), mint_pat(), mint_pat()
    kept_by = keep(worker, minted)
    assert get_cache().tracking.wait(10)
    verify(other.token)

    redis.kill()
    assert kept_by() is None
    with django_assert_num_queries(2):
        verify(other.token)
        verify(other.token)
    lifecycle.revoke(minted.key)
    assert refusal(minted.token) == "revoked_key"

    redis.start()
    wait_until(worker.tracking.is_current)
    assert kept_by() is None
    wait_until(get_cache().tracking.is_current)
    verify(other.token)
    with django_assert_num_queries(0):
        verify(other.token)
    assert refusal(minted.token) == "revoked_key"


@pytest.mark.process
def test_a_hanging_redis_disables_the_cache(redis, another_process, monkeypatch):
    monkeypatch.setattr(invalidation, "_BEAT", 0.02)
    monkeypatch.setattr(invalidation, "_LEASE", 0.2)
    kept_by = keep(another_process(redis), mint_pat())

    redis.signal(signal.SIGSTOP)

    wait_until(lambda: kept_by() is None)
    redis.signal(signal.SIGCONT)


@pytest.mark.process
@pytest.mark.parametrize("options", ["", "?foo=bar", "?protocol=2"])
def test_an_unusable_redis_is_logged_once(tmp_path, monkeypatch, caplog, options):
    monkeypatch.setattr(invalidation, "_BEAT", 0.02)
    server = RedisServer(tmp_path)
    if options:
        server.start()
    worker = Cache({**CACHE_DEFAULTS, "LOCATION": server.url + options})
    try:
        wait_until(lambda: caplog.messages)
        time.sleep(0.2)  # several intervals
        (message,) = caplog.messages
        assert message.startswith("Redis cannot be used, so every credential costs a query: ")
        worker.drop(["*"])  # redis-py may raise anything
        if not options:
            server.start()
            wait_until(worker.tracking.is_current)
            caplog.clear()
            server.kill()
            wait_until(lambda: any(each.startswith("Redis cannot") for each in caplog.messages))
    finally:
        worker.close()
        server.kill()


@pytest.mark.process
def test_a_process_without_redis_exits_quickly(tmp_path):
    server = RedisServer(tmp_path)
    code = f"""
import django; django.setup()
from apikeys.cache.invalidation import Tracking
print("ready", flush=True)
Tracking({server.url!r}, "apikeys:", lambda tags: None, 60).publish(["*"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0
    assert time.monotonic() - started < 10
    assert errors.count("Could not publish a change to other processes") == 1
    assert "Traceback" not in errors


@pytest.mark.process
def test_many_threads_see_every_revocation(redis_server, another_process, settings, monkeypatch):
    for name in ("_PATIENCE", "_SOCKET_TIMEOUT"):  # for busy machines
        monkeypatch.setattr(invalidation, name, 10)
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"LOCATION": redis_server.url}}
    worker = another_process(redis_server)
    minted = [mint_pat() for _ in range(10)]
    kept_by = [keep(worker, each) for each in minted]
    revoked = [threading.Event() for _ in minted]
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            for event, kept in zip(revoked, kept_by, strict=True):
                known = event.is_set()
                if kept() is not None and known:
                    wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for each, event in zip(minted, revoked, strict=True):
        lifecycle.revoke(each.key)
        event.set()
    stop.set()
    for thread in threads:
        thread.join()

    assert not wrong


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({"TIMEOUT": 5}, []),
        ({"LOCATION": "redis://127.0.0.1/0"}, []),
        ({}, ["apikeys.E022"]),
        ({"LOCATION": ""}, ["apikeys.E022"]),
        ({"LOCATION": "", "TIMEOUT": 5}, []),
        ({"TIMEOUT": 0}, ["apikeys.E021"]),
        ({"TIMEOUT": True}, ["apikeys.E021"]),
        ({"TIMEOUT": 5, "KEY_PREFIX": 5}, ["apikeys.E024"]),
        *(
            ({"LOCATION": url}, ["apikeys.E025"])
            for url in [
                "foo",
                "http://127.0.0.1",
                5,
                "redis://127.0.0.1:none/0",
                "redis://127.0.0.1/0?a=b",
            ]
        ),
        ({"TIMEOUT": 5, "MAX_ENTRIES": "many"}, ["apikeys.E021"]),
        ({"HOST": "127.0.0.1"}, ["apikeys.E020"]),
        (True, ["apikeys.E020"]),
    ],
)
def test_invalid_settings_are_reported(settings, config, ids):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": config}

    found = [message.id for message in run_checks(tags=["apikeys"])]
    assert [each for each in found if each.startswith("apikeys.E02")] == ids


@pytest.mark.parametrize("config", [{}, {"LOCATION": ""}, {"MAX_ENTRIES": 5}])
def test_without_location_and_timeout_nothing_is_cached(settings, config):
    """The cache must be safe even if the system checks are not run."""
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": config}
    assert app_settings.CACHE is None
