"""The migrations say what the models say, and go back as well as forth."""

from datetime import UTC, date, datetime
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from apikeys.models import PersonalAccessToken
from tests.factories import mint_pat

pytestmark = pytest.mark.slow


def test_no_migration_is_missing(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_they_can_be_undone_and_done_again():
    call_command("migrate", "payments", "zero", verbosity=0)
    call_command("migrate", "apikeys_issuers", "zero", verbosity=0)
    call_command("migrate", "apikeys", "zero", verbosity=0)
    assert not [t for t in connection.introspection.table_names() if t.startswith("apikeys_")]

    call_command("migrate", verbosity=0)
    assert "apikeys_projectkey" in connection.introspection.table_names()


@pytest.mark.django_db
def test_the_day_of_a_last_use_is_filled_in_whatever_the_size_of_a_batch(monkeypatch):
    migration = import_module("apikeys.migrations.0011_days_of_last_use")
    monkeypatch.setattr(migration, "BATCH", 2)
    used = [mint_pat().key.pk for _ in range(5)]
    unused = mint_pat().key.pk
    keys = PersonalAccessToken.objects
    keys.filter(pk__in=used).update(last_used_at=datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC))

    migration.fill_in(apps, SimpleNamespace(connection=connection))

    assert set(keys.filter(last_used_on=date(2026, 3, 1)).values_list("pk", flat=True)) == {*used}
    assert keys.get(last_used_on=None).pk == unused
