"""Workers of 1.0 keep serving on a database that this version has migrated."""

import json
import os
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection

from tests.documents import ROOT
from tests.packaging.test_wheel import UV, run
from tests.services import require

pytestmark = [pytest.mark.process, pytest.mark.slow]
if connection.vendor != "postgresql":  # on which most sites deploy like this
    pytestmark.append(pytest.mark.long)

#: The commit that 1.0.0 was released from.
RELEASE = "79c507501f1eb3f8257ce395336d90f92c29ea60"
SETTINGS = """
import json
from example_project.settings import *

DATABASES = json.loads({databases!r})
APIKEYS.pop("POLICY", None)  # that of the demo: 1.0 has none
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
"""


def in_history() -> bool:
    found = subprocess.run(["git", "cat-file", "-e", RELEASE], cwd=ROOT, capture_output=True)
    return found.returncode == 0


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """1.0.0, built and unpacked, with the example of then beside it."""
    require("uv", UV is not None, "Run the tests by the command in the README.")
    require("The commit of 1.0.0", in_history(), "Fetch the whole history of the repository.")
    source, there = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("first")
    archive = source / "source.tar"
    run("git", "archive", "--output", archive, RELEASE, cwd=ROOT)
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="data")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", source / "dist", cwd=source)
    (wheel,) = (source / "dist").glob("*.whl")
    run(UV, "pip", "install", "-q", "--no-deps", "--target", there, wheel, cwd=source)
    (source / "example_project").rename(there / "example_project")
    return there


@pytest.fixture
def database(tmp_path, django_db_blocker):
    """An empty database of its own: ``DATABASES`` for a process that uses it."""
    settings = {k: v for k, v in connection.settings_dict.items() if k != "TEST"}
    if connection.vendor == "sqlite":
        options = settings["OPTIONS"]
        settings |= {"NAME": str(tmp_path / "site.sqlite3"), "OPTIONS": options}
        yield settings
        return
    name = f"{connection.settings_dict['NAME']}_rolling"
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
        yield settings | {"NAME": name}
        cursor.execute(f"DROP DATABASE {name}")


class Process:
    """A process that answers each line that it reads with a line of JSON."""

    def __init__(self, command, log, **kwargs):
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                **kwargs,
            )

    def ask(self, tokens=()):
        with suppress(BrokenPipeError):  # the log says why it ended
            print(json.dumps(list(tokens)), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()
        return json.loads(answer)

    def end(self):
        self.process.communicate()


@pytest.fixture
def start(tmp_path, database):
    """Start Python with the settings of the site, on the code that ``path`` holds."""
    databases = json.dumps({"default": database}, default=str)
    (tmp_path / "rolling.py").write_text(SETTINGS.format(databases=databases))
    started = []

    def start(path: Path, *arguments: object) -> Process:
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "rolling",
            "PYTHONPATH": os.pathsep.join([str(path), str(tmp_path)]),
            "DEMO_DATABASE": str(tmp_path / "unused.sqlite3"),
        }
        log = tmp_path / f"log-{len(started)}"
        started.append(Process([sys.executable, *arguments], log, cwd=tmp_path, env=env))
        return started[-1]

    yield start
    for process in started:
        process.end()


def test_workers_of_1_0_and_of_this_version_serve_one_database_at_each_migration(first, start):
    """Old and new workers run beside each other while a deployment migrates the database."""
    here = ROOT / "tests" / "upgrade"
    start(first, "-m", "django", "migrate", "--verbosity=0").end()
    former, migrator = start(first, here / "worker.py"), start(ROOT, here / "migrator.py")
    before, made, _ = former.ask()
    assert before["created over the API"][0] == 201
    assert before["exchanged"][0] == 200
    assert before["token"] == [200, ["keys:write", "payments:read"], None]
    assert before["gone"] == [401, None, "revoked_key"]

    migrated = []
    while step := migrator.ask():
        migrated.append(step)
        answers, tokens, _ = former.ask()
        assert answers == before, step
        made += tokens

    assert {step.split(".")[0] for step in migrated} >= {"apikeys", "apikeys_oauth"}
    current = start(ROOT, here / "worker.py")
    answers, tokens, kinds = current.ask(made)
    assert answers["created over the API"][0] == 201
    assert [answers["token"], answers["gone"]] == [before["token"], before["gone"]]
    each = ["personal_access_token", "project_key", "project_key", "personal_access_token", "oauth"]
    assert kinds == each * (1 + len(migrated))
    answers, _, kinds = former.ask(tokens)
    assert answers == before
    assert kinds == each
