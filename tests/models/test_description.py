"""The description of a key, wherever it is entered, shown, searched and recorded."""

import csv
import io
import json
import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.core.management import call_command
from django.db import connection

from apikeys import audit, lifecycle
from apikeys.keys.facts import record
from apikeys.lifecycle import LifecycleError
from apikeys.models import KEY_MODELS, AuditEvent, PersonalAccessToken
from tests.admin.conftest import mint_form, root  # noqa: F401 - a fixture
from tests.api.conftest import Caller
from tests.factories import mint_key, mint_pat
from tests.management.conftest import apikeys  # noqa: F401 - a fixture
from tests.web.conftest import mint, page, place, text_of  # noqa: F401 - fixtures

pytestmark = pytest.mark.django_db

TEXT = "Nightly export of the payments. Ask the team of the data warehouse."
HTML = "<script>alert(1)</script> & <b>bold</b>"
#: Texts that are refused, and the code of lifecycle.
REFUSED = {
    "too long": ("x" * 501, "text_too_long"),
    "of characters, not of bytes": ("ä" * 501, "text_too_long"),
    "NUL": ("a\0b", "invalid_text"),
    "control": ("a\x1b[2Jb", "invalid_text"),
    "half a surrogate pair": ("a\ud800", "invalid_text"),
    "override of the direction": ("a\u202eb", "invalid_text"),
    "isolate of the direction": ("a\u2066b", "invalid_text"),
    "nothing visible": ("\u115f", "invalid_text"),
    "a key": (f"acme_pat_{'1' * 16}_{'a' * 49}", "secret_in_text"),
}
refused = pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
of_both_kinds = pytest.mark.parametrize("make", [mint_pat, mint_key], ids=["token", "project-key"])


def changes(key):
    """What the audit log has of the latest event of ``key``."""
    return AuditEvent.objects.filter(public_id=key.public_id).latest("pk").changes


# Python


@of_both_kinds
def test_a_key_keeps_its_description_when_it_is_rotated(make):
    minted = make(description=TEXT)

    assert lifecycle.rotate(minted.key).key.description == TEXT


@of_both_kinds
def test_a_key_without_a_description_has_an_empty_one(make):
    assert make().key.description == ""


def test_a_description_is_stored_in_one_line():
    assert mint_pat(description=" Two\r\nlines,\tand a tab. ").key.description == (
        "Two lines, and a tab."
    )


def test_the_longest_description_is_taken():
    assert mint_pat(description="ä" * 500).key.description == "ä" * 500


@refused
def test_a_text_that_a_name_may_not_have_is_refused(text, code):
    key = mint_pat().key

    for change in (
        lambda: mint_pat(description=text),
        lambda: lifecycle.edit(key, description=text),
    ):
        with pytest.raises(LifecycleError) as error:
            change()
        assert (error.value.code, error.value.field) == (code, "description")
        assert text not in error.value.message
    assert PersonalAccessToken.objects.get().description == ""


def test_an_edit_without_a_description_leaves_it():
    key = mint_pat(description=TEXT).key

    assert lifecycle.edit(key, name="desk") == {"name": ("ci", "desk")}
    assert PersonalAccessToken.objects.get().description == TEXT


@pytest.mark.parametrize("model", KEY_MODELS.values(), ids=lambda model: model.__name__)
def test_a_worker_of_1_0_inserts_rows_without_the_column(model):
    key = (mint_pat if model is PersonalAccessToken else mint_key)(description=TEXT).key
    columns = [
        field.column
        for field in model._meta.concrete_fields
        if field.name not in ("id", "public_id", "description")
    ]
    names = ", ".join(map(connection.ops.quote_name, columns))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} (public_id, {names}) "
            f"SELECT 'written_by_an_1', {names} FROM {model._meta.db_table}"
        )

    old = model.objects.get(public_id="written_by_an_1")
    assert (old.name, old.description) == (key.name, "")


# The JSON API


@pytest.fixture(params=["tokens/", "projects/analytical-engine/keys/"])
def collection(request):
    return request.param


@pytest.fixture
def call(ada):
    return Caller(mint_pat(ada, scopes=["keys:write", "payments:read"]).token)


BODY = {"name": "laptop", "scopes": ["payments:read"]}


def test_the_json_api_creates_reads_changes_and_removes_it(call, collection):
    made = call("POST", collection, BODY | {"description": TEXT})
    assert (made.status_code, made.json()["description"]) == (201, TEXT)
    one = f"{collection}{made.json()['id']}/"
    assert call("GET", one).json()["description"] == TEXT
    assert TEXT in [key["description"] for key in call("GET", collection).json()["results"]]

    assert call("PATCH", one, {"description": "Other."}).json()["description"] == "Other."
    assert call("PATCH", one, {"name": "desk"}).json()["description"] == "Other."
    assert call("PATCH", one, {"description": ""}).json()["description"] == ""


def test_the_json_api_gives_an_empty_text_for_none(call, collection):
    made = call("POST", collection, BODY).json()
    assert made["description"] == ""
    assert call("PATCH", f"{collection}{made['id']}/", {"description": made["description"]})


@refused
def test_the_json_api_refuses_it_with_its_field(call, collection, text, code):
    answer = call("POST", collection, BODY | {"description": text})

    named = {"a\0b": "null_characters_not_allowed", "a\ud800": "surrogate_characters_not_allowed"}
    assert answer.status_code == 400
    assert answer.json()["code"] == named.get(text, code)
    assert answer.json()["field"] == "description"


@pytest.mark.parametrize("value", [None, 7, ["a"], {"a": "b"}, True])
def test_the_json_api_takes_only_a_string(call, collection, value):
    answer = call("POST", collection, BODY | {"description": value})

    assert (answer.status_code, answer.json()["field"]) == (400, "description")


# The settings pages


@pytest.mark.slow
def test_the_form_takes_it_and_the_page_of_the_key_shows_it(page, place):  # noqa: F811
    mint(page, place, description=TEXT)
    key = place.model.objects.get()
    assert key.description == TEXT
    url = f"{place.url}{key.public_id}/"
    assert f"Description {TEXT}" in text_of(page.get(url))

    form = page.get(f"{url}edit/")
    assert f">\n{TEXT}</textarea>" in form.content.decode()
    page.post(f"{url}edit/", place.form | {"expiry": "keep", "description": ""})
    key.refresh_from_db()
    assert key.description == ""
    assert changes(key)["description"] == {"before": TEXT, "after": ""}
    assert "Description" not in text_of(page.get(url))


def test_what_was_entered_survives_the_review(page, place):  # noqa: F811
    review = mint(page, place, description=TEXT, step="review")

    assert f'<input type="hidden" name="description" value="{TEXT}">' in review.content.decode()


@pytest.mark.parametrize("name", [name for name in REFUSED if "surrogate" not in name])
def test_the_form_is_shown_again_with_the_reason(page, place, name):  # noqa: F811
    text, _ = REFUSED[name]
    answer = mint(page, place, description=text)

    assert answer.status_code == 422
    assert 'id="id_description_error"' in answer.content.decode()
    assert not place.model.objects.exists()
    if name == "a key":
        assert text not in answer.content.decode()


@pytest.mark.slow
def test_no_page_takes_it_for_html(page, place, ada, engine):  # noqa: F811
    mint(page, place, description=HTML)
    key = place.model.objects.get()
    place.model.objects.update(is_pending=True)
    ada.is_staff = ada.is_superuser = True
    ada.save()
    admin = f"/admin/apikeys/{key._meta.model_name}/"

    for url in (
        f"{place.url}{key.public_id}/",
        f"{place.url}{key.public_id}/edit/",
        f"{place.url}activity/",
        "/settings/keys/approvals/",
        f"{admin}{key.pk}/change/",
        f"/admin/apikeys/auditevent/{AuditEvent.objects.latest('pk').pk}/change/",
    ):
        answer = page.get(url)
        assert answer.status_code == 200, url
        # The sentences of the activity page have no room for it.
        assert ("alert(1)" in answer.content.decode()) == ("activity" not in url), url
        assert "<script>alert" not in answer.content.decode(), url
        assert "<b>bold" not in answer.content.decode(), url


def test_who_approves_a_key_reads_it(page, ada, engine):  # noqa: F811
    key = mint_key(engine, description=TEXT).key
    type(key).objects.update(is_pending=True)

    assert TEXT in text_of(page.get("/settings/keys/approvals/"))


# The admin


def test_the_admin_takes_changes_and_logs_it(client, root, ada):  # noqa: F811
    client.post(TOKENS_OF_ADMIN + "add/", mint_form(user=ada.pk, description=TEXT))
    key = PersonalAccessToken.objects.get()
    assert key.description == TEXT
    url = f"{TOKENS_OF_ADMIN}{key.pk}/change/"
    assert f">\n{TEXT}</textarea>" in client.get(url).content.decode()

    client.post(url, mint_form(description="Other."))
    key.refresh_from_db()
    assert key.description == "Other."
    logged = LogEntry.objects.latest("pk").get_change_message()
    assert logged == f"description changed from “{TEXT}” to “Other.”."


TOKENS_OF_ADMIN = "/admin/apikeys/personalaccesstoken/"


@pytest.mark.parametrize(
    ("make", "url"), [(mint_pat, TOKENS_OF_ADMIN), (mint_key, "/admin/apikeys/projectkey/")]
)
def test_the_admin_finds_keys_by_its_beginning(client, root, make, url):  # noqa: F811
    found, other = make(description=TEXT).key, make(description="Another").key

    listed = client.get(url, {"q": "nightly export"}).content.decode()
    assert found.public_id in listed
    assert other.public_id not in listed
    assert "description" in listed


@refused
def test_the_admin_refuses_it(client, root, ada, text, code):  # noqa: F811
    if "\ud800" in text:
        return
    answer = client.post(TOKENS_OF_ADMIN + "add/", mint_form(user=ada.pk, description=text))

    assert answer.context["adminform"].form.has_error("description")
    assert not PersonalAccessToken.objects.exists()
    if code == "secret_in_text":
        assert text not in answer.content.decode()


# The commands


@pytest.mark.slow
def test_the_commands_take_and_show_it(apikeys, ada):  # noqa: F811
    words = ["--user", "ada", "--name", "ci", "--scope", "payments:read"]
    made = apikeys("mint", *words, "--description", TEXT, "--json").json
    assert made["description"] == TEXT
    assert TEXT in apikeys("show", made["id"]).out
    assert apikeys("list", "--json").json[0]["description"] == TEXT

    edited = apikeys("edit", made["id"], "--description", "Other.")
    assert edited.out == f"description: {TEXT} -> Other.\n"
    assert apikeys("edit", made["id"], "--name", "desk", "--json").json["description"] == "Other."
    assert apikeys("edit", made["id"], "--description", "", "--json").json["description"] == ""


@refused
def test_the_commands_refuse_it(apikeys, ada, text, code):  # noqa: F811
    words = ["--user", "ada", "--name", "ci", "--scope", "payments:read", "--json"]
    done = apikeys("mint", *words, "--description", text)

    assert done.code == 1
    assert done.json["code"] == {"secret_in_text": "secret_in_arguments"}.get(code, code)
    assert not PersonalAccessToken.objects.exists()


# What is told of it


@of_both_kinds
def test_the_audit_log_and_its_exports_have_it(make):
    key = make(description=TEXT).key
    assert changes(key)["description"] == TEXT
    lifecycle.edit(key, description="Other.")
    assert changes(key) == {"description": {"before": TEXT, "after": "Other."}}

    events = AuditEvent.objects.order_by("pk")
    (_, *rows) = csv.reader(io.StringIO("".join(audit.as_csv(events))))
    lines = [json.loads(line) for line in audit.as_jsonl(events)]
    assert [json.loads(row[-1]) for row in rows] == [line["changes"] for line in lines]
    assert [line["changes"]["description"] for line in lines] == [
        TEXT,
        {"before": TEXT, "after": "Other."},
    ]


def test_the_audit_log_says_nothing_of_a_key_without_one():
    assert "description" not in changes(mint_pat().key)


def test_it_is_in_no_mail_and_no_log(ada, caplog, django_capture_on_commit_callbacks):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("django.db.backends").setLevel(logging.INFO)  # has all that is stored
    with django_capture_on_commit_callbacks(execute=True):
        minted = mint_pat(ada, description=TEXT)
        Caller(minted.token)("GET", "token/")
        lifecycle.edit(minted.key, description=f"{TEXT}!")
        lifecycle.revoke(minted.key)
    call_command("apikeys", "notify")

    assert len(mail.outbox) == 2
    for message in mail.outbox:
        assert TEXT not in message.subject + message.body
    assert TEXT not in caplog.text


def test_it_is_no_part_of_who_a_caller_is(ada):
    minted = mint_pat(ada, description=TEXT)

    assert "description" in record(minted.key)
    assert TEXT not in Caller(minted.token)("GET", "token/").content.decode()
