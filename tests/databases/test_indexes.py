"""Migrations add indexes to tables that a site may have filled, without stopping its requests."""

import io
import re

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from apikeys.databases.indexes import AddIndexWithoutLock
from apikeys.models import PersonalAccessToken

pytestmark = pytest.mark.django_db(transaction=True)

#: The last migrations of 1.0.0.
FIRST = {
    "apikeys": "0012_walks_by_age",
    "apikeys_gateway": "0002_owners_take_along",
    "apikeys_oauth": "0003_clients",
}


def later():
    """Return the migrations that a site with 1.0.0 has not applied."""
    loader = MigrationLoader(None)
    known = {node for first in FIRST.items() for node in loader.graph.forwards_plan(first)}
    ours = [node for node in loader.graph.nodes if node[0].startswith("apikeys")]
    return sorted(set(ours) - known)


@pytest.fixture
def filled(settings):
    """The tables of 1.0.0, in which a site may have millions of rows."""
    settings.MIGRATION_MODULES = {}
    state = MigrationLoader(None).project_state(list(FIRST.items()))
    return {
        model._meta.db_table
        for model in state.apps.get_models(include_auto_created=True)
        if model._meta.app_label in FIRST
    }


def test_postgresql_builds_them_while_requests_go_on(filled):
    if connection.vendor != "postgresql":
        pytest.skip("an option of PostgreSQL")
    assert "apikeys_personalaccesstoken" in filled
    built = set()
    for app, name in later():
        out = io.StringIO()
        call_command("sqlmigrate", app, name, stdout=out)
        found = re.findall(
            r'^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?"(\w+)" ON "(\w+)"',
            out.getvalue(),
            re.MULTILINE,
        )
        on_filled = [(at_once, index) for at_once, index, table in found if table in filled]
        assert [index for at_once, index in on_filled if not at_once] == [], (app, name)
        built |= {index for _at_once, index in on_filled}
    assert {"apikeys_tokens_lineage", "apikeys_origins_first", "apikeys_audit_event"} <= built


def test_a_migration_that_was_interrupted_after_an_index_can_be_run_again():
    state = ProjectState()
    state.add_model(ModelState.from_model(PersonalAccessToken, exclude_rels=True))
    index = models.Index(fields=["lineage"], name="apikeys_tokens_lineage")
    operation = AddIndexWithoutLock("personalaccesstoken", index)

    for atomic in (True, False):
        with connection.schema_editor(atomic=atomic) as editor:
            operation.database_forwards("apikeys", editor, state, state)

    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "apikeys_personalaccesstoken")
    assert found["apikeys_tokens_lineage"]["columns"] == ["lineage"]
