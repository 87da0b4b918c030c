"""The German catalogue is complete, and the shipped file is compiled from it."""

import gettext
import os
import shutil
import subprocess
import sys

import pytest
from django.utils import translation

from tests.documents import ROOT
from tests.factories import mint_pat
from tests.services import require
from tests.web.conftest import TOKENS, text_of

GERMAN = "locale/de/LC_MESSAGES"
PACKAGES = pytest.mark.parametrize("package", ["apikeys", "example_project"])

AGAIN = (
    "In the package, run `django-admin makemessages -l de --no-wrap --add-location file`, "
    "translate, "
    "and run `django-admin compilemessages -l de`."
)


def run(*command, cwd=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _gettext():
    require("gettext", shutil.which("msgattrib") is not None, "apt-get install gettext")


@pytest.mark.slow
@PACKAGES
def test_no_string_is_missing_or_fuzzy(tmp_path, package):
    shutil.copytree(ROOT / package, tmp_path / package)
    make = (sys.executable, "-P", "-m", "django", "makemessages", "-l", "de")
    run(*make, cwd=tmp_path / package)
    found = tmp_path / package / GERMAN / "django.po"

    for state in ("--untranslated", "--only-fuzzy"):
        assert "msgid" not in run("msgattrib", state, "--no-obsolete", str(found)), AGAIN


@PACKAGES
def test_catalogue_is_well_formed(package):
    # A translation with other placeholders than its string would fail at run time.
    run("msgfmt", "--check-format", "-o", "/dev/null", str(ROOT / package / GERMAN / "django.po"))


@PACKAGES
def test_compiled_catalogue_is_up_to_date(tmp_path, package):
    run("msgfmt", "-o", str(tmp_path / "django.mo"), str(ROOT / package / GERMAN / "django.po"))

    def strings(path):
        with path.open("rb") as file:
            catalogue = dict(gettext.GNUTranslations(file)._catalog)
        return catalogue | {"": None}  # without the header

    assert strings(ROOT / package / GERMAN / "django.mo") == strings(tmp_path / "django.mo"), AGAIN


@pytest.mark.slow
def test_browser_with_german_language_gets_german_pages(page, ada):
    mint_pat(ada)
    german = {"Accept-Language": "de"}
    response = page.get(TOKENS, headers=german)
    assert '<html lang="de"' in response.content.decode()
    told = text_of(response)
    assert "Persönliche Token" in told
    assert "Keine Anfragen in den letzten 30 Tagen" in response.content.decode()
    wrong = page.post(f"{TOKENS}new/", {}, headers=german)
    assert "Geben Sie einen Namen ein." in text_of(wrong)


def test_refusals_are_translated():
    from apikeys.refusals import EXPIRED_KEY

    with translation.override("de"):
        assert str(EXPIRED_KEY.message).startswith("Diese Zugangsdaten sind abgelaufen.")
