"""`manage.py apikeys edit`, `approve` and `reject`."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, State
from tests.factories import UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture
def pending(ada):
    key = mint_pat(ada).key
    PersonalAccessToken.objects.update(is_pending=True)
    return key


def run(*words):
    out = io.StringIO()
    call_command("apikeys", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def error_code(*words):
    """Return the error that `--json` prints."""
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("apikeys", *words, "--json", stdout=out, stderr=io.StringIO())
    error = json.loads(out.getvalue())
    assert error["detail"]
    return error["code"]


def test_edit_changes_only_the_given_fields(ada):
    key = mint_pat(ada, scopes=["payments:write"]).key
    facts = json.loads(
        run("edit", key.public_id, "--name", "desk", "--scope", "payments:read reports:read",
            "--project", "analytical-engine", "--expires", "30d", "--by", "ada", "--json")
    )  # fmt: skip
    assert facts["name"] == "desk"
    assert facts["scopes"] == ["payments:read", "reports:read"]
    assert facts["projects"] == ["analytical-engine"]
    assert facts["changes"]["name"] == {"before": "ci", "after": "desk"}
    assert set(facts["changes"]) == {"name", "scopes", "projects", "expires_at"}

    facts = json.loads(run("edit", key.public_id, "--all-projects", "--json"))
    assert (facts["projects"], facts["name"]) == (None, "desk")
    assert set(facts["changes"]) == {"projects"}


def test_edit_prints_each_field_before_and_after(ada):
    key = mint_pat(ada).key
    assert run("edit", key.public_id, "--name", "desk") == "name: ci -> desk\n"
    assert "Nothing to change" in run("edit", key.public_id, "--name", "desk")
    assert (
        run("edit", key.public_id, "--project", "analytical-engine")
        == "projects: all -> analytical-engine\n"
    )


@pytest.mark.slow
def test_edit_refuses_wrong_values(ada):
    key, server = mint_pat(ada).key, mint_key().key
    for words, code in [
        ([], "missing_argument"),
        (["--name", ""], "name_required"),
        (["--scope", "payments:burn"], "unknown_scope"),
        (["--scope", ""], "scope_required"),
        (["--project", "nowhere"], "unknown_project"),
        (["--project", "analytical-engine", "--all-projects"], "contradictory_arguments"),
        (["--expires", "yesterday"], "invalid_expiry"),
        (["--expires", "2001-01-01"], "expiry_in_the_past"),
        (["--name", "x", "--by", "nobody"], "unknown_user"),
    ]:
        assert error_code("edit", key.public_id, *words) == code, words
    assert error_code("edit", server.public_id, "--all-projects") == "not_editable"
    assert error_code("edit", "0" * 16, "--name", "x") == "unknown_key"
    lifecycle.revoke(key)
    assert error_code("edit", key.public_id, "--name", "x") == "revoked_key"


def test_a_whole_key_is_refused_as_an_id_and_as_a_name(ada):
    minted = mint_pat(ada)
    for command in ("edit", "approve", "reject"):
        more = {"edit": ["--name", "x"], "reject": ["--reason", "x"]}.get(command, [])
        with pytest.raises(CommandError) as caught:
            run(command, minted.token, *more)
        assert minted.token not in str(caught.value)
    assert error_code("edit", minted.key.public_id, "--name", minted.token) == "secret_in_arguments"


def test_an_approved_key_is_accepted(pending):
    chief = UserFactory(username="chief")
    assert "It can be used now" in run("approve", pending.public_id, "--by", "chief")
    pending.refresh_from_db()
    assert (pending.state(), pending.approved_by) == (State.LIVE, chief)
    assert error_code("approve", pending.public_id) == "not_pending"


def test_a_rejected_key_is_revoked(pending):
    assert error_code("reject", pending.public_id) == "missing_argument"
    facts = json.loads(run("reject", pending.public_id, "--reason", "too much", "--json"))
    assert (facts["state"], facts["revoked_reason"]) == ("revoked", "too much")
    assert error_code("approve", pending.public_id) == "revoked_key"


def test_rejecting_an_active_key_is_refused_and_it_stays_active(ada):
    key = mint_pat(ada).key
    assert error_code("reject", key.public_id, "--reason", "x") == "not_pending"
    key.refresh_from_db()
    assert key.state() is State.LIVE
