"""The demo as people run it: processes of their own, on a database and a port of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.prepared import migrated, shared


@dataclass
class Demo:
    database: Path
    seconds: int = 3600  # longer than the tests of a module take
    words: Sequence[str] = ()
    settings: str = "tests.example.settings"

    def _environment(self):
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": self.settings,
            "DEMO_DATABASE": str(self.database),
            "DEMO_ACCESS_TOKEN_SECONDS": str(self.seconds),
        }

    def manage(self, *words, **options):
        """A command that ends by itself."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )


class Served(Demo):
    """A demo that listens on a free port."""

    def __enter__(self):
        self.log = (self.database.parent / "server.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--json", "--port", "0", *self.words],
            cwd=ROOT,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        text = ""
        for line in self.process.stdout:  # it goes on serving, so there is no end of file
            text += line
            if line.rstrip() == "}":
                break
        assert text, self.stderr()
        self.credentials = json.loads(text)
        self.base_url = self.credentials["base_url"]
        return self

    def stderr(self):
        self.log.flush()
        return Path(self.log.name).read_text()

    def __exit__(self, *args):
        self.process.terminate()
        self.rest_of_stdout, _ = self.process.communicate(timeout=90)
        self.log.close()


@pytest.fixture
def demo(tmp_path):
    """A demo that has never run."""
    return Demo(tmp_path / "demo.sqlite3")


@pytest.fixture
def migrated_demo(tmp_path, tmp_path_factory):
    """A demo that has only created its tables."""
    return Demo(migrated(tmp_path_factory, tmp_path / "demo.sqlite3"))


@pytest.fixture
def seeded_demo(tmp_path, tmp_path_factory):
    """A demo that has run before. Its folder has what that run printed."""

    def seed(folder):
        folder.mkdir()
        run = Demo(migrated(tmp_path_factory, folder / "demo.sqlite3")).manage(
            "demo", "--no-serve", "--json"
        )
        assert run.returncode == 0, run.stderr
        (folder / "printed.json").write_text(run.stdout)

    made = shared(tmp_path_factory, "seeded", seed)
    return Demo(shutil.copytree(made, tmp_path / "seeded") / "demo.sqlite3")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that returns a demo to be served, whose tables exist."""

    def start(**options):
        folder = tmp_path_factory.mktemp("demo")
        return Served(migrated(tmp_path_factory, folder / "demo.sqlite3"), **options)

    return start


@pytest.fixture(scope="module")
def served(start):
    with start() as served:
        yield served
