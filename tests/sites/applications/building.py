"""Build a public application from the package index, and add apikeys to it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.documents import ROOT
from tests.packaging.test_wheel import UV
from tests.servers import Server
from tests.services import require

HERE = Path(__file__).parent
#: The index as it was on this day, so that a new version of a dependency changes no result.
DAY = "2026-11-29"
INDEX = "Connect to the package index, or set UV_DEFAULT_INDEX to one that you can reach."
UNREACHABLE = ("Failed to fetch", "network was disabled")


@dataclass(frozen=True, kw_only=True)
class Application:
    """A public application. Its folder has `apikeys.patch` and `tokens.py`.

    `tokens.py` runs inside the application, and creates and ends its own tokens.
    """

    name: str
    #: How the table in the docs names it.
    title: str
    version: str
    settings: str
    #: Creates the site as its own documentation does. `{bin}` and `{site}` are folders.
    start: Sequence[str] = ()
    #: Environment variables of the site.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The header of the application's own token.
    scheme: str
    #: The value of `mint --user`, and the one of a user without rights.
    user: str
    stranger_user: str
    #: A URL of the application's API.
    path: str
    #: The scope that `path` requires, and another one.
    scope: str
    other_scope: str
    #: How `path` answers the user without rights.
    stranger: int
    #: The settings pages, and where they send callers who are not logged in.
    pages: str
    login: str

    @property
    def patch(self) -> Path:
        return HERE / self.name / "apikeys.patch"

    def lines(self) -> int:
        """Return how many lines the patch adds or removes, without blank ones."""
        changed = r"^(?:\+(?!\+\+ )|-(?!-- ))[ \t]*\S"
        return len(re.findall(changed, self.patch.read_text(), re.MULTILINE))


def uv(*words: str | Path | None) -> None:
    """Run uv. An index that it cannot reach is a skip, or a failure in CI."""
    require("uv", UV is not None, "Run the tests by the command in the README.")
    done = subprocess.run(
        [str(word) for word in (UV, *words)], capture_output=True, text=True, check=False
    )
    reached = not any(text in done.stderr for text in UNREACHABLE)
    require("The package index", reached, INDEX)
    assert done.returncode == 0, done.stderr


def install(python: Path, *requirements: str | Path) -> None:
    uv("pip", "install", "--quiet", "--python", python, "--exclude-newer", DAY, *requirements)


def build_wheel(folder: Path) -> Path:
    """Return the wheel of this checkout."""
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


class Site:
    """A site of an application, in its own folder."""

    def __init__(self, application: Application, environment: Path, folder: Path) -> None:
        self.application = application
        self.bin = environment / "bin"
        self.folder = folder

    @property
    def python(self) -> Path:
        return self.bin / "python"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "PYTEST_"))}
        return kept | dict(self.application.environment) | {
            "DJANGO_SETTINGS_MODULE": self.application.settings,
            "PYTHONPATH": str(self.folder),
            "PYTHONSAFEPATH": "1",  # not the checkout's apikeys, but the wheel's
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip

    def fill(self, text: str) -> str:
        return text.replace("{site}", str(self.folder)).replace("{bin}", str(self.bin))

    def run(self, *words: str | Path) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def manage(self, *words: str) -> str:
        return self.run(self.python, "-m", "django", *words)

    def tokens(self, *words: str) -> Any:
        """Run the application's `tokens.py`, and return what it prints as JSON."""
        script = HERE / self.application.name / "tokens.py"
        return json.loads(self.run(self.python, script, *words).splitlines()[-1])

    def apply(self, patch: Path) -> None:
        # Not the repository that the folder may be in.
        done = subprocess.run(
            ["git", "apply", str(patch)],
            cwd=self.folder,
            env=os.environ | {"GIT_CEILING_DIRECTORIES": str(self.folder.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def packages(self) -> set[str]:
        """Return the installed packages with their versions."""
        assert UV
        return set(self.run(UV, "pip", "freeze", "--python", self.python).splitlines())


class ApplicationServer(Server):
    """The application at its port, as `runserver` serves it."""

    def __init__(self, site: Site, directory: Path) -> None:
        super().__init__(directory)
        self.site = site
        self.cwd = site.folder

    def command(self) -> list[str]:
        words = ["-m", "django", "runserver", "--noreload", f"127.0.0.1:{self.port}"]
        return [str(self.site.python), *words]

    def environment(self) -> dict[str, str]:
        return self.site.environment()


def build(application: Application, cache: Path, folder: Path) -> Site:
    """Return a migrated site of the application in `folder`, without apikeys.

    The environment and the site are kept in `cache`: the tests copy the site.
    """
    environment, kept, done = cache / "environment", cache / "site", cache / "done"
    pin = f"{application.name}=={application.version} {DAY}"
    if not done.exists() or done.read_text() != pin:
        uv("venv", "--quiet", "--clear", "--python", sys.executable, environment)
        install(environment / "bin/python", f"{application.name}=={application.version}")
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        site = Site(application, environment, kept)
        if application.start:
            site.run(*map(site.fill, application.start))
        if (before := HERE / application.name / "before.patch").exists():
            site.apply(before)
        site.manage("migrate", "--verbosity", "0")
        done.write_text(pin)
    # An earlier run has added it.
    uv("pip", "uninstall", "--quiet", "--python", environment / "bin/python", "apikeys")
    shutil.copytree(kept, folder)
    return Site(application, environment, folder)
