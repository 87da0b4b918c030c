"""Lists that are read from a replica: which rows they show, and what they never decide."""

import pytest
from django.core import checks

from apikeys.checks import check_settings
from apikeys.checks.replicas import check_replica
from apikeys.databases import lists
from apikeys.models import PersonalAccessToken


@pytest.fixture
def lists_from(settings, monkeypatch):
    """Set ``LISTS_FROM`` on a site with another database, ``replica``."""

    def lists_from(alias, **config):
        engine = settings.DATABASES["default"]["ENGINE"]
        monkeypatch.setitem(settings.DATABASES, "replica", {"ENGINE": engine} | config)
        settings.APIKEYS = settings.APIKEYS | {"LISTS_FROM": alias}

    return lists_from


def reported():
    return {each.id for each in checks.run_checks() if each.level >= checks.ERROR}


@pytest.mark.parametrize("alias", [None, "replica"])
def test_a_replica_is_accepted(lists_from, alias):
    lists_from(alias)
    assert reported() == set()


@pytest.mark.parametrize("alias", ["", "other", "default", 1, ["replica"], {"default": "replica"}])
def test_anything_else_is_an_error(lists_from, alias):
    lists_from(alias)
    assert reported() == {"apikeys.E028"}


def test_a_database_of_another_kind_is_an_error(lists_from):
    lists_from("replica", ENGINE="django.db.backends.oracle")
    assert {each.id for each in check_settings()} == {"apikeys.E028"}


def test_tenants_and_other_databases_read_the_primary_and_are_reported(
    lists_from, settings, monkeypatch
):
    lists_from("replica")
    rows = PersonalAccessToken.objects.all()
    assert lists.for_list(rows).db == "replica"

    monkeypatch.setitem(settings.DATABASES, "keys", settings.DATABASES["replica"])
    router = type("Router", (), {"db_for_write": lambda self, model, **hints: "keys"})
    settings.DATABASE_ROUTERS = [router()]
    assert [each.id for each in check_replica()] == ["apikeys.E029"]
    assert lists.for_list(rows).db == "keys"

    settings.DATABASE_ROUTERS = []
    partition = {"PARTITION": "apikeys.contrib.tenants.SchemaPartition"}
    settings.APIKEYS = settings.APIKEYS | partition
    monkeypatch.setattr("apikeys.contrib.tenants.SchemaPartition.current", lambda self: "acme")
    assert [each.id for each in check_replica()] == ["apikeys.E029"]
    assert lists.for_list(rows).db == "default"
