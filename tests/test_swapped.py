"""A site with a project model of its own, in a process of its own: settings are read once."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT
from tests.prepared import migrated

pytestmark = pytest.mark.slow

#: Run ``manage.py migrate`` with the words of each argument, in one process.
MIGRATE = """
import sys, django
from django.core.management import call_command
django.setup()
for words in sys.argv[1:]:
    call_command("migrate", *words.split(), verbosity=0)
"""


def run(*words, fails=False, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.swapped.settings", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def test_keys_of_the_sites_own_projects():
    out = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--migrations", "--ds=tests.swapped.settings", "tests/swapped/check_swapped.py"),
    )
    assert " passed" in out
    assert "skipped" not in out


def test_projects_without_a_slug_are_named_by_another_field():
    out = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"),
        *("--migrations", "--ds=tests.swapped.settings", "tests/swapped/check_code.py"),
        SWAPPED_MODEL="teams.Customer",
        SWAPPED_SLUG="code",
    )
    assert " passed" in out


@pytest.fixture
def database(tmp_path, tmp_path_factory):
    """Return a function that returns the variable that names a migrated database."""

    def database(**environment):
        path = tmp_path / "db.sqlite3"
        migrated(tmp_path_factory, path, "tests.swapped.settings", **environment)
        return {"SWAPPED_DATABASE": str(path)}

    return database


@pytest.mark.long
def test_it_migrates_back_and_forth(database):
    """A long test: the next test and ``tests.test_migrations`` undo the same migrations."""
    database = database()
    run("-m", "django", "migrate", "apikeys", "zero", "-v0", **database)
    run("-m", "django", "migrate", "-v0", **database)


OURS, THEIRS = {"SWAPPED_MODEL": "apikeys.Project"}, {"SWAPPED_MODEL": "teams.Team"}


@pytest.mark.parametrize(
    ("first", "second"), [(OURS, THEIRS), pytest.param(THEIRS, OURS, marks=pytest.mark.long)]
)
@pytest.mark.long
def test_another_project_model_after_migrating_is_refused_with_the_way_back(
    database, first, second
):
    database = database(**first)

    for command in (["migrate"], ["check", "--database", "default"]):
        said = run("-m", "django", *command, fails=True, **database, **second)
        assert "apikeys.E082" in said
        assert f"refer to {first['SWAPPED_MODEL']}" in said
        assert f"back to '{first['SWAPPED_MODEL']}'" in said
        assert "Traceback" not in said

    # The way that the how-to page describes.
    run("-c", MIGRATE, "apikeys_gateway zero", "apikeys zero", **database, **first)
    run("-m", "django", "migrate", "-v0", **database, **second)
    run("-m", "django", "check", "--database", "default", **database, **second)


@pytest.mark.long
def test_another_project_model_whose_migrations_are_new_is_refused_too(database):
    """Django itself would end in ``InconsistentMigrationHistory``."""
    database = database(SWAPPED_UNMIGRATED="1", **OURS)

    said = run("-m", "django", "migrate", fails=True, **database, **THEIRS)
    assert "apikeys.E082" in said
    assert "InconsistentMigrationHistory" not in said


def test_a_project_model_without_migrations_is_refused(tmp_path):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3"), "SWAPPED_UNMIGRATED": "1"}
    for command in (["migrate"], ["check", "--database", "default"]):
        said = run("-m", "django", *command, fails=True, **database, **THEIRS)
        assert "apikeys.E083" in said
        assert "makemigrations teams" in said
        assert "Traceback" not in said


@pytest.mark.long
def test_apikeys_can_join_a_site_that_was_migrated_before(tmp_path):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3"), **THEIRS}
    run("-c", MIGRATE, "auth", "sessions", "teams", **database)
    run("-m", "django", "migrate", "-v0", **database)
    run("-m", "django", "check", "--database", "default", **database)
