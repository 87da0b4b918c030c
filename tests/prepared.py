"""What is made once and read or copied by many tests, such as a migrated database."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import override_settings
from filelock import FileLock

from tests.documents import ROOT

#: Where the settings of the suite read the name of a SQLite database.
VARIABLES = ("DEMO_DATABASE", "SERVER_SQLITE", "SWAPPED_DATABASE")


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of what ``make`` has written there once, for all workers of pytest-xdist.

    Tests read or copy it, and do not change it.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not made.exists():
            draft = folder / f"{name}.draft"
            make(draft)
            draft.rename(made)
    return made


def migrated(
    factory: pytest.TempPathFactory,
    path: Path,
    settings: str = "example_project.settings",
    **environment: str,
) -> Path:
    """Write to ``path`` a SQLite database on which ``manage.py migrate`` has run, and return it."""
    words = json.dumps([settings, environment], sort_keys=True)
    name = f"migrated-{hashlib.sha256(words.encode()).hexdigest()[:16]}.sqlite3"
    variables = {"DJANGO_SETTINGS_MODULE": settings, **environment}
    shutil.copyfile(shared(factory, name, lambda draft: _migrate(draft, variables)), path)
    return path


def create_tables() -> None:
    """Create the tables of the models as they are, in a fifth of the time of the migrations."""
    labels = [config.label for config in apps.get_app_configs()]
    with override_settings(MIGRATION_MODULES=dict.fromkeys(labels)):
        call_command("migrate", run_syncdb=True, verbosity=0)


def _migrate(path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(VARIABLES, str(path)), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(path)) as database:  # leave nothing in a second file
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
