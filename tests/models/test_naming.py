"""A name that people cannot read is refused wherever a name is taken."""

import csv
import io
import unicodedata

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from oauth2_provider.models import Application

from apikeys import audit, lifecycle
from apikeys.gateway.models import ResourceBinding
from apikeys.importing.importer import Importer
from apikeys.importing.sources import Candidate
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, PersonalAccessToken, Project, naming
from apikeys.oauth.validators import Validator
from tests.factories import UserFactory, bearer, mint_key, mint_pat

INVISIBLE = (
    "\u200b",
    "\u200d\u200c\ufeff",
    "\u00ad\u2060",
    "\u2800\u2800",
    "\u3164",
    "\u115f\u1160",
    "\uffa0",
    "\u034f\u180b\ufe0f",
    "\u17b4",
    "\U000e0041\U000e0042",
    "\u0301",
    "\ue000",
    "\U0001d159",
)
TURNING = tuple(f"invoice{c}fdp.exe" for c in sorted(naming.BIDI_CONTROLS))
UNREADABLE = [*INVISIBLE, *TURNING]
READABLE = ("laptop", "日本語 ключ", "👩‍💻", "نامه‌ای", "שלום", "∞", "3", "🏴\U000e0067\U000e007f")


@pytest.mark.slow
def test_the_bidirectional_controls_are_those_of_unicode():
    classes = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    explicit = {chr(n) for n in range(0x110000) if unicodedata.bidirectional(chr(n)) in classes}
    assert explicit | {"\u200e", "\u200f", "\u061c"} == naming.BIDI_CONTROLS


@pytest.mark.parametrize("name", READABLE)
def test_names_in_any_script_are_taken(ada, name):
    assert mint_pat(ada, name=name).key.name == name


@pytest.mark.parametrize("name", UNREADABLE)
def test_no_key_gets_such_a_name(ada, name):
    for mint in (mint_pat, mint_key):
        with pytest.raises(LifecycleError) as error:
            mint(name=name)
        assert (error.value.code, error.value.field) == ("invalid_name", "name")
    key = mint_pat(ada).key
    with pytest.raises(LifecycleError) as error:
        lifecycle.edit(key, name=name)
    assert error.value.code == "invalid_name"


@pytest.mark.parametrize("name", ["\u3164", "a\u202eb"])
class TestEverywhere:
    def test_api(self, ada, client, name):
        token = mint_pat(ada, scopes=["keys:write", "payments:read"]).token
        body = {"name": name, "scopes": ["payments:read"]}
        for path in ("tokens/", "projects/analytical-engine/keys/"):
            response = client.post(
                f"/api/{path}", body, content_type="application/json", headers=bearer(token)
            )
            assert (response.status_code, response.json()["code"]) == (400, "invalid_name"), path

    def test_command(self, ada, name):
        for owner in ({"user": "ada"}, {"project": "analytical-engine"}):
            with pytest.raises(CommandError):
                call_command("apikeys", "mint", name=name, scope=["payments:read"], **owner)
        assert not PersonalAccessToken.objects.exists()

    def test_admin(self, db, name):
        root = UserFactory(username="root", is_staff=True, is_superuser=True)
        client = Client()
        client.force_login(root)
        form = {"slug": "loom", "name": name, "is_active": "on"}
        response = client.post("/admin/apikeys/project/add/", form)
        assert response.status_code == 200
        assert not Project.objects.filter(slug="loom").exists()

    def test_project(self, db, name):
        with pytest.raises(ValidationError) as error:
            Project(slug="loom", name=name).full_clean()
        assert error.value.error_dict["name"][0].code == "invalid_name"

    @pytest.mark.slow
    def test_import_gives_such_a_key_another_name(self, ada, name):
        candidate = Candidate(
            where="line 2", name=name, user=ada, scopes=["payments:read"], text="a1" * 20
        )
        list(Importer("csv").run([candidate]))
        assert naming.is_readable(PersonalAccessToken.objects.get().name)

    def test_binding(self, ada, name):
        with pytest.raises(ValidationError):
            ResourceBinding(user=ada, kind="subscriber_id", identifier=name).full_clean()
        blank = "\u1160"  # the only one without another spelling
        with pytest.raises(ValidationError):
            ResourceBinding(user=ada, kind="subscriber_id", identifier=blank).full_clean()

    def test_client_that_a_program_registers(self, ada, client, name):
        client.force_login(ada)
        body = {"client_name": name, "redirect_uris": ["http://127.0.0.1/callback"]}
        response = client.post("/o/register/", body, content_type="application/json")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
        assert not Application.objects.exists()

    def test_client_that_describes_itself(self, db, name):
        application = Application.objects.create(
            client_id="https://app.example/client.json",
            name=name,
            client_type=Application.CLIENT_PUBLIC,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            redirect_uris="https://app.example/callback",
            registration_source=Application.RegistrationSource.CIMD,
        )
        request = type("Request", (), {"client": None, "headers": {}})()
        assert Validator()._load_application(application.client_id, request) is None
        application.name = "An application"
        application.save()
        request.client = None
        assert Validator()._load_application(application.client_id, request) == application


@pytest.mark.parametrize("start", [*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20", "\ufe62", "\u2212"])
@pytest.mark.parametrize("before", ["", " ", "\u3000", "\u200b", "\x00", "\ufeff"])
def test_no_cell_of_a_csv_is_a_formula(start, before):
    text = f"{before}{start}1+1"
    event = AuditEvent(event="minted", owner=text, name=text, public_id="a" * 16, changes={})
    (row,) = csv.DictReader(io.StringIO("".join(audit.as_csv([event]))))
    assert row["owner"] == row["name"] == f"'{text}"


@pytest.mark.parametrize("text", ["ada", "a=b", "3+4", "ada@example.com", "", " ", "日本=語"])
def test_other_cells_of_a_csv_stay_as_they_are(text):
    event = AuditEvent(event="minted", owner=text, public_id="a" * 16, changes={})
    (row,) = csv.DictReader(io.StringIO("".join(audit.as_csv([event]))))
    assert row["owner"] == text
