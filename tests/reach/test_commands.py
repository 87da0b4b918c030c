"""``manage.py apikeys access``, ``deny`` and ``allow``."""

import csv
import io

import pytest

from apikeys import lifecycle, reach
from apikeys.models import AuditEvent
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat
from tests.management.conftest import apikeys  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db
PROJECT = ("--project", "analytical-engine")


def test_access_lists_the_credentials(apikeys, ada, engine):  # noqa: F811
    token, key = mint_pat(ada, name="=cmd()"), mint_key(engine, name="server")
    found = apikeys("access", *PROJECT, "--json").json
    assert {each["id"] for each in found} == {token.key.public_id, key.key.public_id}
    assert "server" in apikeys("access", *PROJECT).out
    only = apikeys("access", *PROJECT, "--kind", "project_key", "--json").json
    assert [each["id"] for each in only] == [key.key.public_id]

    text = apikeys("access", *PROJECT, "--csv").out
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows[token.key.public_id]["name"] == "'=cmd()"
    assert "acme_" not in text


@pytest.mark.slow
def test_access_filters_by_the_decision(apikeys, ada, engine):  # noqa: F811
    denied, allowed, other = (mint_pat(ada) for _ in range(3))
    for minted in (denied, allowed):
        reach.deny(engine, reach.find(engine, minted.key.public_id))
    reach.allow(engine, reach.find(engine, allowed.key.public_id))

    def listed(answer):
        found = apikeys("access", *PROJECT, "--denied", answer, "--json").json
        return {each["id"] for each in found}

    assert listed("yes") == {denied.key.public_id}
    assert listed("allowed") == {allowed.key.public_id}
    assert listed("no") == {allowed.key.public_id, other.key.public_id}
    assert listed("awaiting") == set()
    assert apikeys("access", *PROJECT, "--denied", "awaiting").out.startswith("Nothing matches.")


@pytest.mark.slow
def test_deny_and_allow(apikeys, ada, engine):  # noqa: F811
    minted = mint_pat(ada, name="laptop")
    public_id = minted.key.public_id
    missing = apikeys("deny", public_id, *PROJECT)
    assert (missing.code, "--reason" in missing.err) == (1, True)

    done = apikeys("deny", public_id, *PROJECT, "--reason", "Lost.", "--by", "ada")
    assert done.out == f"Denied laptop ({public_id}) in analytical-engine.\n"
    assert not verify(minted.token).allows(project=engine)
    event = AuditEvent.objects.filter(event="denied").first()
    assert (event.by, event.changes["reason"]) == ("ada", "Lost.")
    again = apikeys("deny", public_id, *PROJECT, "--reason", "x")
    assert again.out.startswith("Denied before:")

    assert apikeys("allow", public_id, *PROJECT, "--json").json["denied"] is False
    assert verify(minted.token).allows(project=engine)
    assert apikeys("allow", public_id, *PROJECT).out.startswith("Not denied:")


@pytest.mark.slow
def test_commands_call_a_request_rejected_and_approved(apikeys, ada, engine):  # noqa: F811
    reach.require_approval(engine, True)
    public_id = mint_pat(ada, name="laptop").key.public_id
    rejected = apikeys("deny", public_id, *PROJECT, "--reason", "Use the server.")
    assert rejected.out.startswith("Rejected laptop")
    assert apikeys("allow", public_id, *PROJECT).out.startswith("Approved laptop")


def test_a_site_admin_allows_a_held_key(apikeys, engine):  # noqa: F811
    minted = mint_key(engine)
    reach.deny(engine, reach.find(engine, minted.key.public_id))
    lifecycle.pause(minted.key, held=True)
    assert apikeys("allow", minted.key.public_id, *PROJECT).code == 0
    assert verify(minted.token)


@pytest.mark.parametrize("verb", ["deny", "allow"])
def test_unknown_credentials_are_refused(apikeys, engine, verb):  # noqa: F811
    reason = ("--reason", "x") if verb == "deny" else ()
    for public_id, code in (
        ("0" * 16, "unknown_credential"),
        ("nonsense", "invalid_id"),
        (mint_key().key.public_id, "unknown_credential"),
    ):
        refused = apikeys(verb, public_id, *PROJECT, *reason, "--json")
        assert (refused.code, refused.json["code"]) == (1, code)
    unknown = apikeys(verb, "0" * 16, "--project", "none", *reason, "--json")
    assert unknown.json["code"] == "unknown_project"
