"""A replaced policy: what it decides at minting, and what `audit-policy` lists afterwards."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apikeys import lifecycle
from apikeys.lifecycle import MAX_YEAR, LifecycleError
from apikeys.models import PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.documents import blocks
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(settings):
    """Puts the policy that docs/reference/policy.md shows in force."""

    def acme():
        code = blocks("docs/reference/policy.md", "python")[0]
        scope = {}
        exec(code, scope)
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": scope["AcmePolicy"]}

    return acme


def in_days(days):
    return timezone.now() + timedelta(days=days)


def audit():
    """What `audit-policy --json` says: ``{id: codes}``, and whether it exits with 1."""
    out, failed = io.StringIO(), False
    try:
        call_command("apikeys", "audit-policy", "--json", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        failed = error.returncode == 1
    found = json.loads(out.getvalue())
    return {each["id"]: [v["code"] for v in each["violations"]] for each in found}, failed


def refusal(**kwargs):
    with pytest.raises(LifecycleError) as caught:
        mint_pat(**kwargs)
    return caught.value.code


@pytest.mark.slow
def test_no_key_ends_where_the_calendar_does(ada, client, settings):
    """So that no page fails to show when, in whatever time zone."""
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert refusal(user=ada, expires_at=last) == "expiry_too_late"
    key = mint_pat(ada, expires_at=last.replace(year=MAX_YEAR)).key
    with pytest.raises(LifecycleError, match="9998"):
        lifecycle.edit(key, expires_at=last)

    client.force_login(ada)
    for settings.TIME_ZONE in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        for page in ("", f"{key.public_id}/", f"{key.public_id}/edit/"):
            assert client.get(f"/settings/keys/{page}").status_code == 200


def test_the_documented_policy_decides_at_minting(ada, engine, acme):
    acme()
    assert refusal(user=ada) == "expiry_required"
    assert refusal(user=ada, expires_at=in_days(91)) == "expiry_too_late"
    mint_pat(ada, expires_at=in_days(89))

    server = mint_key(engine, scopes=["payments:write"])  # without expiry: a project's may be
    with pytest.raises(Refused) as caught:
        verify(server.token)
    assert caught.value.refusal.code == "approval_required"
    lifecycle.approve(server.key, by=ada)
    assert verify(server.token).project == engine

    for _ in range(4):
        mint_pat(ada, expires_at=in_days(1))
    assert refusal(user=ada, expires_at=in_days(1)) == "too_many_keys"


def test_a_scope_taken_from_a_role_is_gone_at_the_next_request(engine, acme):
    developer = MembershipFactory(project=engine, role="developer").user
    minted = mint_pat(developer, scopes=["payments:write"], expires_at=in_days(1))
    assert verify(minted.token).allows("payments:write", project=engine)

    acme()
    assert not verify(minted.token).allows("payments:write", project=engine)


@pytest.mark.slow
def test_keys_that_break_a_stricter_policy_are_listed_with_reasons(ada, engine, acme):
    endless = mint_pat(ada).key
    long = mint_pat(ada, expires_at=in_days(365)).key
    writes = mint_key(engine, scopes=["payments:write", "reports:read"]).key
    many = [mint_pat(ada, expires_at=in_days(2)).key for _ in range(4)]
    revoked = mint_pat(ada).key
    lifecycle.revoke(revoked)
    rotated = mint_key(engine, scopes=["payments:read"]).key
    lifecycle.rotate(rotated, expires_at=in_days(9))
    mint_pat()  # of somebody else; without expiry
    assert audit() == ({}, False)

    acme()
    found, failed = audit()

    assert failed
    stranger = PersonalAccessToken.objects.exclude(user=ada).get()
    assert found == {
        endless.public_id: ["expiry_required"],
        long.public_id: ["expiry_too_late"],
        writes.public_id: ["approval_required"],
        many[-1].public_id: ["too_many_keys"],
        stranger.public_id: ["expiry_required"],
    }


def test_approved_and_pending_keys_are_not_listed(engine, acme):
    acme()
    lifecycle.approve(mint_key(engine, scopes=["payments:write"]).key)
    mint_key(engine, scopes=["payments:write"])
    assert audit() == ({}, False)


def test_a_key_keeps_its_reasons_together(ada, acme):
    for _ in range(6):
        key = mint_pat(ada, scopes=["payments:write"]).key
    acme()
    assert audit()[0][key.public_id] == ["expiry_required", "too_many_keys", "approval_required"]


@pytest.mark.slow
def test_every_key_is_checked_whatever_the_chunk_size(ada, engine, acme, monkeypatch):
    keys = {mint_pat(UserFactory()).key.public_id for _ in range(3)}
    keys |= {mint_pat(ada).key.public_id for _ in range(4)}
    acme()
    for size in (1, 2, 3, 7, 8):
        monkeypatch.setattr("apikeys.management.policy_audit._CHUNK", size)
        found, _failed = audit()
        assert set(found) == keys


def test_without_json_each_violation_is_a_line(ada, acme):
    key = mint_pat(ada, name="old").key
    acme()
    out = io.StringIO()
    with pytest.raises(CommandError, match="refuse to create 1 active key"):
        call_command("apikeys", "audit-policy", stdout=out, stderr=io.StringIO())
    head, reason = out.getvalue().splitlines()
    assert head == f"{key.public_id}  personal_access_token  ada  old"
    assert reason.strip() == "expiry_required: The key has no expiry."
