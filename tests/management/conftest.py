import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from tests.documents import ROOT

SEED = """
from django.contrib.auth import get_user_model
from apikeys.models import Membership, Project
for name, slug, role in [("ada", "engine", "owner"), ("grace", "compiler", "owner")]:
    user = get_user_model().objects.create(username=name)
    project = Project.objects.create(slug=slug, name=slug.title())
    Membership.objects.create(user=user, project=project, role=role)
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
    env = os.environ | {
        "DEMO_DATABASE": str(tmp_path_factory.mktemp("site") / "site.sqlite3"),
        "PYTHONWARNINGS": "error",
        "TERM": "xterm-256color",
    }
    env.pop("DJANGO_SETTINGS_MODULE", None)
    env.pop("NO_COLOR", None)

    class Site:
        def __init__(self):
            self.env = env
            self.command = [sys.executable, "manage.py"]

        def run(self, *words, stdin=b"", **more):
            return subprocess.run(
                [*self.command, *words], cwd=ROOT, env=env | more, input=stdin, capture_output=True
            )

        def json(self, *words, **kwargs):
            done = self.run("apikeys", *words, "--json", **kwargs)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

    site = Site()
    for words in (["migrate", "-v0"], ["shell", "-v0", "-c", SEED]):
        done = site.run(*words)
        assert done.returncode == 0, done.stderr
    return site
