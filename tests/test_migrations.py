"""The migrations say what the models say, and go back as well as forth."""

import pytest
from django.core.management import call_command
from django.db import connection


def test_no_migration_is_missing(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_they_can_be_undone_and_done_again():
    call_command("migrate", "payments", "zero", verbosity=0)
    call_command("migrate", "apikeys", "zero", verbosity=0)
    assert not [t for t in connection.introspection.table_names() if t.startswith("apikeys_")]

    call_command("migrate", verbosity=0)
    assert "apikeys_projectkey" in connection.introspection.table_names()
