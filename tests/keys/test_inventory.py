"""The inventory counts what is there, in few queries."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle
from apikeys.keys import inventory
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.models.reach import ProjectAccess
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


def change(key, **values):
    type(key).objects.filter(pk=key.pk).update(**values)
    return key


@pytest.fixture
def keys():
    """Two keys of each combination of revocation, pause, expiry and approval, and some uses."""
    user, now = MembershipFactory().user, timezone.now()
    ends = (None, now - timedelta(days=1), now + timedelta(days=3), now + timedelta(days=300))
    for number, (revoked_at, paused_at, expires_at, is_pending) in enumerate(
        (revoked_at, paused_at, expires_at, is_pending)
        for revoked_at in (None, now)
        for paused_at in (None, now)
        for expires_at in ends
        for is_pending in (False, True)
        for _ in range(2)
    ):
        used = (None, now, now - timedelta(days=100))[number % 3]
        change(
            mint_pat(user).key,
            revoked_at=revoked_at,
            paused_at=paused_at,
            expires_at=expires_at,
            is_pending=is_pending,
            last_used_at=used,
            last_used_on=used and used.date(),
            created_at=now - timedelta(days=number * 5),
        )
    return list(PersonalAccessToken.objects.all())


def test_keys_are_counted_by_state(keys):
    counts = inventory.report()["keys"]
    now = timezone.now()
    active = [key for key in keys if key.state() is State.LIVE]
    since = now - timedelta(days=90)

    assert set(counts) == {"personal_access_token", "project_key"}
    assert set(counts["project_key"].values()) == {0}
    assert counts["personal_access_token"] == {
        "total": len(keys),
        **{state.value: sum(key.state() is state for key in keys) for state in State},
        "expiring": sum(
            key.expires_at is not None and key.expires_at <= now + timedelta(days=30)
            for key in active
        ),
        "never_used": sum(key.last_used_at is None for key in active),
        "idle": sum((key.last_used_at or key.created_at) < since for key in active),
        "lasting": sum(key.expires_at is None for key in active),
    }
    assert all(counts["personal_access_token"].values())


@pytest.mark.slow
def test_number_of_queries_does_not_grow(keys, django_assert_max_num_queries):
    for _ in range(30):
        mint_key(ProjectFactory())
        deny(mint_pat().key)
    with django_assert_max_num_queries(12):  # eight, two for denials, two of OAuth
        found = inventory.report()
    assert len(found["widest"]) == len(found["denials"]["newest"]) == 20
    assert found["denials"]["total"] == 30


def test_widest_keys_are_listed_first():
    ada = MembershipFactory(user=UserFactory(username="ada")).user
    narrow = mint_pat(ada, scopes=["payments:read"]).key
    wide = mint_pat(ada, scopes=["payments:read", "reports:read", "keys:read"]).key
    project = ProjectFactory(slug="engine")
    widest = mint_key(project, scopes=["payments:read", "reports:read"]).key
    restricted = ada.project_memberships.get().project
    less = mint_pat(ada, scopes=["payments:read"], projects=[restricted]).key
    paused, revoked = mint_pat(ada).key, mint_pat(ada).key
    lifecycle.pause(paused, by=ada)
    lifecycle.revoke(revoked, by=ada)

    found = inventory.report()["widest"]

    ids = [each["id"] for each in found]
    assert ids[:2] == [wide.public_id, widest.public_id]
    assert ids.index(narrow.public_id) < ids.index(less.public_id)
    assert {paused.public_id, revoked.public_id}.isdisjoint(ids)
    assert found[1] == {
        "id": widest.public_id,
        "kind": "project_key",
        "name": "server",
        "owner": "engine",
        "scopes": 2,
        "all_projects": False,
        "last_used_at": None,
    }
    assert (found[0]["owner"], found[0]["all_projects"]) == ("ada", True)


def deny(key, **values):
    return ProjectAccess.objects.create(
        project=ProjectFactory(), kind="personal_access_token", credential=key.public_id, **values
    )


def test_denials_are_listed_and_permissions_are_not():
    ada = UserFactory(username="ada")
    denied = deny(mint_pat().key, reason="Not here.", by=ada)
    deny(mint_pat().key, is_denied=False)

    found = inventory.report()["denials"]

    assert found["total"] == 1
    (row,) = found["newest"]
    assert row["project"] == denied.project.slug
    assert (row["id"], row["reason"], row["by"]) == (denied.credential, "Not here.", "ada")


def test_oauth_adds_its_numbers():
    from oauth2_provider.models import Application

    from apikeys.oauth.models import Consent

    user = UserFactory()
    for n, owner in enumerate((None, user)):
        app = Application.objects.create(
            client_id=f"app-{n}",
            user=owner,
            client_type="public",
            authorization_grant_type="authorization-code",
        )
        Consent.objects.create(user=user, application=app, scope="payments:read", is_given=True)
    numbers = inventory.report()["others"]["oauth"]
    assert numbers == {"clients": 2, "clients_of_programs": 0, "clients_of_users": 1, "grants": 2}


def test_cells_are_not_formulas():
    mint_pat(name="=1+1")
    deny(mint_pat().key, reason="@SUM(1)")
    text = "".join(inventory.as_csv(inventory.report()))
    rows = list(csv.DictReader(io.StringIO(text)))

    assert {row["name"] for row in rows if row["list"] == "widest"} == {"'=1+1", "ci"}
    assert [row["reason"] for row in rows if row["list"] == "denied"] == ["'@SUM(1)"]
    assert [
        row["number"]
        for row in rows
        if (row["list"], row["kind"]) == ("live", "personal_access_token")
    ] == ["2"]
    assert ProjectKey.objects.count() == 0


def test_a_site_without_project_keys_does_not_count_them(settings):
    settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    assert set(inventory.report()["keys"]) == {"personal_access_token"}
