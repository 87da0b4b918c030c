"""Databases that are made once and copied: to migrate one takes a process several seconds."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from tests.documents import ROOT

#: Where the settings of the suite read the name of a SQLite database.
VARIABLES = ("DEMO_DATABASE", "SERVER_SQLITE", "SWAPPED_DATABASE")


def migrated(
    factory: pytest.TempPathFactory,
    path: Path,
    settings: str = "example_project.settings",
    **environment: str,
) -> Path:
    """Write to ``path`` a SQLite database on which ``manage.py migrate`` has run, and return it.

    All workers of pytest-xdist copy the same file.
    """
    words = json.dumps([settings, environment], sort_keys=True)
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made = shared / f"migrated-{hashlib.sha256(words.encode()).hexdigest()[:16]}.sqlite3"
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            draft = made.with_suffix(".draft")
            _migrate(draft, {"DJANGO_SETTINGS_MODULE": settings, **environment})
            draft.rename(made)
    shutil.copyfile(made, path)
    return path


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
