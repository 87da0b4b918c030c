"""The README's quick start, step by step, with nothing but the wheel."""

import contextlib
import os
import re
import sys
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from tests.docs.reader import Block, aligned, commands, newcomer, parse
from tests.documents import ROOT, blocks, read
from tests.packaging.test_wheel import UV, run, wheel  # noqa: F401
from tests.services import require

pytestmark = pytest.mark.packaging

README = "README.md"
REST = "Run the example and the tests"  # of a clone, not of a site
OAUTH = "docs/reference/oauth.md"


@pytest.fixture(params=["5.2", "6.1"])
def reader(request, tmp_path, wheel):  # noqa: F811
    """Return a reader in an empty folder, to whom pip gives this version of Django."""
    python = _python_312(tmp_path) if request.param == "6.1" else Path(sys.base_prefix) / "bin"
    versions = {"5.2": "django>=5.2.15,<5.3", "6.1": "django>=6.1,<6.2"}
    with contextlib.closing(newcomer(tmp_path, python, wheel, versions[request.param])) as reader:
        reader.directory = tmp_path / "acme"  # the folder that the first step creates
        yield reader


def _python_312(folder):
    """Return the folder of a Python that Django 6.1 supports."""
    if sys.version_info >= (3, 12):
        return Path(sys.base_prefix) / "bin"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = ":".join(map(str, [*sorted(versions.glob("3.*/bin"), reverse=True)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", found + ":" + os.environ["PATH"])
        try:
            run(UV, "venv", "--quiet", "--python", ">=3.12", folder / "newer", cwd=folder)
        except AssertionError as error:
            require("Python 3.12", present=False, hint=str(error))
    return folder / "newer" / "bin"


def follow(reader, document, until):
    """Write the files of a document, run its commands, and compare what it shows as output."""
    printed = ""
    for part in parse(document):
        if part == until:
            return
        if not isinstance(part, Block):
            continue
        if part.file:
            reader.write(part)
        elif part.language == "console":
            for command, _ in commands(part.text):
                if command.startswith("python manage.py runserver"):
                    reader.serve(command)
                    continue
                printed, status = reader.type(command)
                assert status == 0, f"{part.place}\n{command}\n{printed}"
        else:
            assert part.language == "text", part.place
            assert aligned(part.text, printed), f"{part.place}\n{part.text}\n{printed}"
    raise AssertionError(f"{document} has no heading {until}")


def test_every_step_of_the_readme_works(reader):
    follow(reader, README, until=REST)

    example = "from apikeys.conf import app_settings as s; from django.urls import resolve as r"
    for command in (
        "check --fail-level WARNING",
        "makemigrations --check",
        f"shell --command '{example}; r(s.CURL_URL)'",
    ):
        printed, status = reader.type(f"python manage.py {command}")
        assert status == 0, printed
    look_at_the_pages(reader)
    assert "Traceback" not in (reader.directory / "served.log").read_text()
    take_oauth(reader)


def look_at_the_pages(reader):
    """Log in as ada where `LOGIN_URL` leads, and open the settings pages and the admin."""
    (password,) = re.findall(r"DJANGO_SUPERUSER_PASSWORD=(\w+)", read(README))
    url = f"http://127.0.0.1:{reader.ports['8000']}"
    with httpx.Client(base_url=url, follow_redirects=True, timeout=60) as ada:
        form = ada.get("/settings/keys/")
        assert form.status_code == 200
        token = ada.cookies["csrftoken"]
        data = {"username": "ada", "password": password, "csrfmiddlewaretoken": token}
        assert 'href="/settings/keys/new/"' in ada.post(form.url, data=data).text
        assert ada.get("/settings/keys/new/").status_code == 200
        assert ada.get("/admin/apikeys/").status_code == 200


def take_oauth(reader):
    """Add OAuth with the settings of its page: tokens keep working."""
    settings = blocks(OAUTH, "python")[0].replace("# settings.py", "# acme/settings.py")
    reader.write(Block(OAUTH, "python", settings, 0, ""))
    for command in (
        'PIP_CONSTRAINT= pip install "apikeys[oauth]"',  # pip refuses extras of a file
        "python manage.py migrate",
        "python manage.py check --fail-level WARNING",
        "TOKEN=$(python manage.py apikeys mint --user ada --name oauth --scope payments:read"
        " | sed -n 1p)",
        'curl --fail -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8000/payments/',
    ):
        printed, status = reader.type(command)
        assert status == 0, printed


def test_the_readme_begins_with_a_picture_an_install_and_a_view():
    top = read(README).partition("**3.")[0]

    assert top.count("](docs/images/") == 1
    assert "pip install apikeys\n" in top
    assert "required_scopes" in top
    assert len(top.splitlines()) < 50


def test_the_first_command_of_a_clone_installs_few_packages():
    (options,) = re.findall(
        r"^python3 .* \.venv/bin/uv run (.*) manage\.py demo$", read(README), re.MULTILINE
    )
    listed = run(UV, "export", "--frozen", "--no-hashes", *options.split(), cwd=ROOT)
    wanted = [Requirement(line) for line in listed.splitlines() if re.match(r"[a-z]", line)]
    names = {each.name for each in wanted if each.marker is None or each.marker.evaluate()}
    names |= {"apikeys", "pip", "setuptools", "uv"}

    (said,) = re.findall(r"It installs (\d+) packages", read(README))
    assert len(names) <= int(said) <= 43
