import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from tests.documents import ROOT
from tests.prepared import migrated

SEED = """
from django.contrib.auth import get_user_model
from apikeys.models import Membership, Project
for name, slug, role in [("ada", "engine", "owner"), ("grace", "compiler", "owner")]:
    user = get_user_model().objects.create(username=name)
    project = Project.objects.create(slug=slug, name=slug.title())
    Membership.objects.create(user=user, project=project, role=role)
"""

#: Runs the command of each line that it reads, and prints its output: one start for many commands.
PREPARE = """
import io, json, sys, django
from django.core.management import call_command
django.setup()
exec(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    out = io.StringIO()
    call_command("apikeys", *json.loads(line), stdout=out)
    print(json.dumps(out.getvalue()), flush=True)
"""


@pytest.fixture
def apikeys(db, monkeypatch):
    """``manage.py apikeys`` in this process: its ``code``, ``out``, ``err`` and ``json``."""

    def apikeys(*words, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        out, err = io.StringIO(), io.StringIO()
        code = 0
        try:
            call_command("apikeys", *words, stdout=out, stderr=err, no_color=True)
        except CommandError as error:
            code = error.returncode
            err.write(str(error))
        found = SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())
        if "--json" in words and found.out:
            found.json = json.loads(found.out)
        return found

    return apikeys


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """``manage.py`` of the example, on a database of its own."""
    database = migrated(tmp_path_factory, tmp_path_factory.mktemp("site") / "site.sqlite3")
    env = os.environ | {
        "DEMO_DATABASE": str(database),
        "PYTHONWARNINGS": "error",
        "TERM": "xterm-256color",
    }
    env.pop("DJANGO_SETTINGS_MODULE", None)
    env.pop("NO_COLOR", None)
    preparing = subprocess.Popen(
        [sys.executable, "-c", PREPARE, SEED],
        cwd=ROOT,
        env=env | {"DJANGO_SETTINGS_MODULE": "example_project.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert preparing.stdout.readline() == "ready\n"  # ada and the projects are there

    class Site:
        def __init__(self):
            self.env = env
            self.command = [sys.executable, "manage.py"]

        def run(self, *words, stdin=b"", **more):
            """Return what a process of its own does."""
            return subprocess.run(
                [*self.command, *words], cwd=ROOT, env=env | more, input=stdin, capture_output=True
            )

        def json(self, *words):
            """Return what a command prints. It has no process of its own."""
            print(json.dumps([*words, "--json"]), file=preparing.stdin, flush=True)
            return json.loads(json.loads(preparing.stdout.readline()))

    with preparing:
        yield Site()
        preparing.stdin.close()
