"""A site with a project model of its own, in a process of its own: settings are read once."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.slow


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


def test_it_migrates_forth_and_back_on_a_fresh_database(tmp_path):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3")}
    run("-m", "django", "migrate", "-v0", **database)
    run("-m", "django", "migrate", "apikeys", "zero", "-v0", **database)
    run("-m", "django", "migrate", "-v0", **database)


OURS, THEIRS = {"SWAPPED_MODEL": "apikeys.Project"}, {"SWAPPED_MODEL": "teams.Team"}


@pytest.mark.parametrize(
    ("first", "second"), [(OURS, THEIRS), pytest.param(THEIRS, OURS, marks=pytest.mark.long)]
)
def test_another_project_model_after_migrating_is_refused_with_the_way_back(
    tmp_path, first, second
):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3")}
    run("-m", "django", "migrate", "-v0", **database, **first)

    for command in (["migrate"], ["check", "--database", "default"]):
        said = run("-m", "django", *command, fails=True, **database, **second)
        assert "apikeys.E082" in said
        assert f"refer to {first['SWAPPED_MODEL']}" in said
        assert f"back to '{first['SWAPPED_MODEL']}'" in said
        assert "Traceback" not in said

    # The way that the how-to page describes.
    for app in ("apikeys_gateway", "apikeys"):
        run("-m", "django", "migrate", app, "zero", "-v0", **database, **first)
    run("-m", "django", "migrate", "-v0", **database, **second)
    run("-m", "django", "check", "--database", "default", **database, **second)


def test_another_project_model_whose_migrations_are_new_is_refused_too(tmp_path):
    """Django itself would end in ``InconsistentMigrationHistory``."""
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3")}
    run("-m", "django", "migrate", "-v0", SWAPPED_UNMIGRATED="1", **database, **OURS)

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


def test_apikeys_can_join_a_site_that_was_migrated_before(tmp_path):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3"), **THEIRS}
    for app in ("auth", "sessions", "teams"):
        run("-m", "django", "migrate", app, "-v0", **database)
    run("-m", "django", "migrate", "-v0", **database)
    run("-m", "django", "check", "--database", "default", **database)
