"""A database that the first version wrote becomes today's, and every key in it stays what it was.

first.sql is that database, as make.py had the first version write it.
"""

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import JSONField

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.verify import verify
from tests.documents import ROOT
from tests.tiers import long
from tests.upgrade.outcomes import EXPECTED, HERE, SETTINGS, outcomes

pytestmark = pytest.mark.slow

DUMP = (HERE / "first.sql").read_text(encoding="utf-8")


@pytest.fixture
def dump():
    """The database of then, read by no code of ours."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.executescript(DUMP)
    yield database
    database.close()


def migrate(targets):
    MigrationExecutor(connection).migrate(targets)  # a new one knows what is applied now


def rebuild():
    """MariaDB keeps dropped columns in a row until the table is rebuilt, and a row has a limit."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            for model in (PersonalAccessToken, ProjectKey):
                cursor.execute(f"ALTER TABLE {model._meta.db_table} FORCE")


def latest():
    return MigrationExecutor(connection).loader.graph.leaf_nodes()


def value(field, stored):
    if isinstance(field, JSONField) and stored is not None:
        return json.loads(stored)
    python = field.to_python(stored)
    return python.replace(tzinfo=UTC) if isinstance(python, datetime) else python


def load(dump, apps):
    """Write the rows of then into the tables of then, on whichever database this is."""
    models = [
        model
        for label in ("auth", "oauth2_provider", "apikeys", "payments")
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if label != "auth" or model.__name__ == "User"
    ]
    # Rows come before what they refer to: PostgreSQL and SQLite look at the end, MariaDB not.
    with transaction.atomic(), connection.constraint_checks_disabled():
        for model in models:
            fields = model._meta.local_concrete_fields
            for row in dump.execute(f"SELECT * FROM {model._meta.db_table}"):
                values = {field.attname: value(field, row[field.column]) for field in fields}
                model._base_manager.bulk_create([model(**values)])
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


@pytest.fixture
def upgraded(transactional_db, dump, settings):
    for name, value in SETTINGS.items():
        setattr(settings, name, value)
    then = dict(dump.execute("SELECT app, max(name) FROM django_migrations GROUP BY app"))
    now = latest()
    try:
        targets = [(app, then.get(app)) for app, _ in now]
        migrate(targets)
        known = [target for target in targets if target[1] is not None]
        load(dump, MigrationExecutor(connection).loader.project_state(known).apps)
        migrate(now)
        yield
    finally:
        migrate(latest())


@pytest.mark.parametrize("undone", [pytest.param(-2, id="one step"), long(0)])
def test_keys_of_then_are_what_they_were_after_every_step_and_live_on(upgraded, undone):
    """Steps are undone and done again."""
    assert outcomes() == EXPECTED
    graph = MigrationExecutor(connection).loader.graph
    (last,) = graph.leaf_nodes("apikeys")
    steps = [node for node in graph.forwards_plan(last) if node[0] == "apikeys"]
    assert len(steps) > 1
    migrate([steps[undone]])
    migrate(latest())
    assert outcomes() == EXPECTED
    rebuild()

    token = PersonalAccessToken.objects.get(name="Büro 🗝")
    key = ProjectKey.objects.get(name="g")
    assert token.last_used_at is not None
    assert (key.created_by.username, key.direct_use, key.is_pending) == ("left", True, False)

    rotated = lifecycle.rotate(token, overlap=timedelta(0))
    lifecycle.edit(key, allowed_networks=["203.0.113.0/24"])
    lifecycle.revoke(PersonalAccessToken.objects.get(name="c"))
    minted = lifecycle.mint(project=key.project, name="new", scopes=["payments:read"])

    assert verify(rotated.token).projects("payments:write").get().slug == "engine"
    assert verify(minted.token).project == key.project
    changed = {name for name, found in outcomes().items() if found != EXPECTED[name]}
    assert changed == {"token", "key", "token of the previous pepper"}


def test_the_file_itself_migrates_by_the_command(tmp_path):
    """The tables as the Django of then made them, not as today's makes them of its migrations."""
    database = tmp_path / "site.sqlite3"
    with sqlite3.connect(database) as written:
        written.executescript(DUMP)
    written.close()
    (tmp_path / "upgraded.py").write_text(
        "from example_project.settings import *\n"
        + "".join(f"{name} = {value!r}\n" for name, value in SETTINGS.items())
    )
    env = os.environ | {
        "DEMO_DATABASE": str(database),
        "DJANGO_SETTINGS_MODULE": "upgraded",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.upgrade.outcomes"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == EXPECTED
