"""The German catalogue is complete, and what is shipped is what was compiled of it."""

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

CATALOGUE = ROOT / "apikeys" / "locale" / "de" / "LC_MESSAGES"

AGAIN = (
    "In apikeys/, run `django-admin makemessages -l de --no-wrap --add-location file`, translate, "
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


def test_no_string_is_missing_or_fuzzy(tmp_path):
    shutil.copytree(ROOT / "apikeys", tmp_path / "apikeys")
    make = (sys.executable, "-P", "-m", "django", "makemessages", "-l", "de")
    run(*make, cwd=tmp_path / "apikeys")
    found = tmp_path / "apikeys" / "locale" / "de" / "LC_MESSAGES" / "django.po"

    for state in ("--untranslated", "--only-fuzzy"):
        assert "msgid" not in run("msgattrib", state, "--no-obsolete", str(found)), AGAIN


def test_it_is_well_formed():
    # Placeholders of a translation that are not those of the string would fail at run time.
    run("msgfmt", "--check-format", "-o", "/dev/null", str(CATALOGUE / "django.po"))


def test_what_is_compiled_is_up_to_date(tmp_path):
    run("msgfmt", "-o", str(tmp_path / "django.mo"), str(CATALOGUE / "django.po"))

    def strings(path):
        with path.open("rb") as file:
            catalogue = dict(gettext.GNUTranslations(file)._catalog)
        return catalogue | {"": None}  # without the header

    assert strings(CATALOGUE / "django.mo") == strings(tmp_path / "django.mo"), AGAIN


def test_a_browser_that_asks_for_german_gets_it(page, ada):
    mint_pat(ada)
    german = {"Accept-Language": "de"}
    response = page.get(TOKENS, headers=german)
    assert '<html lang="de"' in response.content.decode()
    told = text_of(response)
    assert "Persönliche Token" in told
    assert "Keine Anfragen in den letzten 30 Tagen" in response.content.decode()
    wrong = page.post(f"{TOKENS}new/", {}, headers=german)
    assert "Geben Sie dem Schlüssel einen Namen." in text_of(wrong)


def test_refusals_speak_german_too():
    from apikeys.refusals import EXPIRED_KEY

    with translation.override("de"):
        assert str(EXPIRED_KEY.message).startswith("Dieser Schlüssel ist abgelaufen.")
