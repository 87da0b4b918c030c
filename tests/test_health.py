"""The health check: what it reports while everything works, and while a part is missing."""

import json
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

import apikeys
from apikeys import health
from apikeys.models import AttemptCount
from tests.factories import mint_key, mint_pat
from tests.management.conftest import apikeys as command  # noqa: F401
from tests.servers import RedisServer, free_port

NOWHERE = "redis://:hunter2secret@127.0.0.1:{}/0"


def results(report):
    return {each["name"]: each for each in report["checks"]}


@pytest.fixture
def use(settings):
    def use(**changes):
        settings.APIKEYS = {**settings.APIKEYS, **changes}

    return use


def test_a_site_without_redis_is_healthy(db):
    mint_pat()
    report = health.report()

    assert report["status"] == "ok"
    assert report["version"] == apikeys.__version__
    assert {name: each["status"] for name, each in results(report).items()} == {
        "database": "ok",
        "migrations": "ok",
        "peppers": "ok",
        "cache": "off",
        "rate limits": "off",
    }
    assert not AttemptCount.objects.exists()


def test_the_command_prints_a_table_or_json(command):  # noqa: F811
    table = command("health")
    assert (table.code, table.err) == (0, "")
    assert table.out.splitlines()[1] == "database     ok      It answers and accepts writes."

    found = command("health", "--json")
    assert found.code == 0
    assert list(found.json) == ["status", "version", "checks"]
    assert all(each["milliseconds"] >= 0 for each in found.json["checks"])


@contextmanager
def read_only():
    """Refuse every write, as a database does that was demoted or has a full disk."""

    def refuse(execute, sql, params, many, context):
        if sql.startswith("INSERT"):
            execute("INSERT INTO no_such_table VALUES (1)", (), False, context)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


def test_a_database_that_takes_no_write_fails_with_status_1_and_json(command):  # noqa: F811
    with read_only():
        found = command("health", "--json")
        table = command("health")

    assert found.code == table.code == 1
    assert found.json["status"] == "failed"
    assert results(found.json)["database"]["status"] == "failed"
    assert "Failed: database." in table.err


def test_a_missing_migration_fails(db, monkeypatch):
    monkeypatch.setattr(health, "pending", lambda alias: ["apikeys.0099_future"])
    report = health.report()

    assert report["status"] == "failed"
    assert "apikeys.0099_future" in results(report)["migrations"]["detail"]


def test_keys_of_an_unknown_pepper_are_a_warning(db, use):
    use(PEPPERS=["o" * 32])
    mint_pat()
    mint_key()
    use(PEPPERS=["n" * 32])
    report = health.report()

    assert report["status"] == "warning"
    assert "2 of the 2 newest keys" in results(report)["peppers"]["detail"]


def test_a_redis_that_is_away_is_a_warning_for_the_cache_without_its_password(db, use):
    use(CACHE={"LOCATION": NOWHERE.format(free_port())})
    report = health.report()

    assert report["status"] == "warning"
    assert results(report)["cache"]["status"] == "warning"
    assert "hunter2secret" not in json.dumps(report)


@pytest.mark.parametrize(("fail_open", "status"), [(False, "failed"), (True, "warning")])
def test_a_store_of_rate_limits_that_is_away(db, use, fail_open, status):
    use(RATE_LIMIT_STORE=NOWHERE.format(free_port()), RATE_LIMIT_FAIL_OPEN=fail_open)
    report = health.report()

    assert report["status"] == results(report)["rate limits"]["status"] == status
    assert "hunter2secret" not in json.dumps(report)


@pytest.mark.process
def test_a_redis_that_answers_is_healthy(db, use, tmp_path):
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        use(CACHE={"LOCATION": redis.url}, RATE_LIMIT_STORE=redis.url)
        report = health.report()
    finally:
        redis.kill()

    assert report["status"] == "ok"
    assert results(report)["cache"]["status"] == results(report)["rate limits"]["status"] == "ok"


def test_a_query_that_fails_for_another_reason_is_not_hidden(db, monkeypatch):
    with connection.execute_wrapper(_broken), pytest.raises(ZeroDivisionError):
        call_command("apikeys", "health")


def _broken(execute, sql, params, many, context):
    raise ZeroDivisionError


def test_an_argument_is_refused():
    with pytest.raises(CommandError):
        call_command("apikeys", "health", "now")
