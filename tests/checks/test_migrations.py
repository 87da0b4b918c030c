"""New code on an old database explains what to do."""

import pytest
from django.core.checks import run_checks
from django.db import ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from apikeys.checks import migrations
from tests.factories import mint_pat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def recorded(settings):
    """Record all migrations as applied, even if this run has not applied them."""
    settings.MIGRATION_MODULES = {}
    recorder = MigrationRecorder(connection)
    was = list(recorder.migration_qs) if recorder.has_table() else None
    recorder.ensure_schema()
    recorder.migration_qs.all().delete()
    for app, name in MigrationLoader(None).graph.nodes:
        recorder.record_applied(app, name)
    yield recorder.migration_qs
    recorder.migration_qs.all().delete()
    if was is None:
        with connection.schema_editor() as editor:
            editor.delete_model(recorder.Migration)
    else:
        recorder.migration_qs.bulk_create(was)


def warnings():
    found = run_checks(databases=["default"], include_deployment_checks=False)
    return [message for message in found if message.id == "apikeys.W081"]


def test_a_migrated_database_is_not_reported(recorded):
    assert warnings() == []


def test_a_new_database_is_not_reported(recorded):
    recorded.filter(app__startswith="apikeys").delete()
    assert warnings() == []


def test_missing_migrations_are_reported_with_the_order(recorded):
    last = recorded.filter(app="apikeys").order_by("name").last()
    recorded.filter(pk=last.pk).delete()

    (warning,) = warnings()

    assert f"apikeys.{last.name}" in warning.msg
    assert "`manage.py migrate` before you start workers" in warning.hint


def test_the_migrate_command_does_not_report_them(recorded, monkeypatch):
    recorded.filter(pk=recorded.filter(app="apikeys").order_by("name").last().pk).delete()
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert warnings() == []


def test_a_failing_request_is_explained_once_in_the_log(recorded, client, monkeypatch, caplog):
    monkeypatch.setattr(migrations, "_was_explained", False)
    client.raise_request_exception = False
    last = recorded.filter(app="apikeys").order_by("name").last()
    recorded.filter(pk=last.pk).delete()
    token = mint_pat().token

    def fail(*args):
        raise ProgrammingError("no such column")

    monkeypatch.setattr("apikeys.cache.find", fail)
    for _ in range(2):
        answer = client.get("/api/token/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 500

    told = [record.getMessage() for record in caplog.records if record.name == "apikeys"]
    (explained,) = (text for text in told if "lacks migrations" in text)
    assert f"apikeys.{last.name}" in explained
