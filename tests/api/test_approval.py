"""Keys that an admin has to approve, over the JSON API."""

import pytest
from django.contrib.auth.models import Permission

from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

from .conftest import Caller, in_days


class Careful(Policy):
    def needs_approval(self, owner, scope):
        return scope == "payments:write"


class OneKey(Policy):
    def most_live_keys(self, owner):
        return 1


@pytest.fixture(autouse=True)
def careful(settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": f"{__name__}.Careful"}


@pytest.fixture
def grace(engine):
    """A developer in ada's project."""
    return MembershipFactory(project=engine, user__username="grace", role="developer").user


@pytest.fixture
def pending(grace, engine):
    return mint_pat(grace, scopes=["payments:write"], projects=[engine])


@pytest.fixture
def pending_key(engine):
    return mint_key(engine, scopes=["payments:write"])


def site_admin():
    admin = UserFactory()
    permissions = Permission.objects.filter(
        codename__in=["change_personalaccesstoken", "change_projectkey"]
    )
    admin.user_permissions.set(permissions)
    return admin


def test_key_with_approval_scope_is_refused_until_approved(ada, grace, engine):
    body = {"name": "x", "scopes": ["payments:write"], "projects": [engine.slug]}
    made = Caller(user=grace)("POST", "tokens/", body).json()
    assert made["state"] == "pending"
    with pytest.raises(Refused, match="approval_required"):
        verify(made["token"])

    caller = Caller(user=ada)
    (awaiting,) = caller("GET", "approvals/tokens/").json()["results"]
    assert (awaiting["id"], awaiting["user"]) == (made["id"], "grace")
    response = caller("POST", f"tokens/{made['id']}/approve/")

    assert response.status_code == 200
    assert (response.json()["state"], response.json()["approved_by"]) == ("live", "ada")
    assert verify(made["token"]).user == grace
    assert caller("GET", "approvals/tokens/").json()["results"] == []
    again = caller("POST", f"tokens/{made['id']}/approve/")
    assert (again.status_code, again.json()["code"]) == (409, "not_pending")


def test_rejecting_revokes_the_key_with_a_reason(ada, pending):
    path = f"tokens/{pending.key.public_id}/reject/"

    response = Caller(user=ada)("POST", path, {"reason": "Read only, please."})

    assert response.status_code == 200
    told = response.json()
    assert (told["state"], told["revoked_by"]) == ("revoked", "ada")
    assert told["revoked_reason"] == "Read only, please."
    with pytest.raises(Refused, match="revoked_key"):
        verify(pending.token)


def test_project_admin_approves_project_key(ada, engine, pending_key):
    caller = Caller(user=ada)
    (awaiting,) = caller("GET", "approvals/keys/").json()["results"]

    path = f"projects/{awaiting['project']}/keys/{awaiting['id']}/approve/"
    assert caller("POST", path).json()["state"] == "live"
    assert verify(pending_key.token).project == engine


def test_site_admin_approves_without_membership(pending, pending_key, engine):
    caller = Caller(user=site_admin())

    for kind, path, key in [
        ("tokens", "tokens", pending.key),
        ("keys", f"projects/{engine.slug}/keys", pending_key.key),
    ]:
        (awaiting,) = caller("GET", f"approvals/{kind}/").json()["results"]
        assert awaiting["id"] == key.public_id
        response = caller("POST", f"{path}/{key.public_id}/approve/")
        assert response.json()["state"] == "live"


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_approving_without_permission_is_403_for_owner_and_404_for_stranger(
    grace, stranger, pending, pending_key, engine, action
):
    paths = [
        f"tokens/{pending.key.public_id}/{action}/",
        f"projects/{engine.slug}/keys/{pending_key.key.public_id}/{action}/",
    ]
    for path in paths:
        own = Caller(user=grace)("POST", path)
        assert (own.status_code, own.json()["code"]) == (403, "may_not_approve")
        theirs = Caller(user=stranger)("POST", path)
        assert (theirs.status_code, theirs.json()["code"]) == (404, "not_found")
    for key in (pending.key, pending_key.key):
        key.refresh_from_db()
        assert key.is_pending
        assert key.revoked_at is None


def test_admin_cannot_approve_token_with_projects_of_others(ada, grace, engine):
    elsewhere = MembershipFactory(user=grace, role="owner").project
    beyond = [
        mint_pat(grace, scopes=["payments:write"]),
        mint_pat(grace, scopes=["payments:write"], projects=[engine, elsewhere]),
    ]
    caller = Caller(user=ada)

    assert caller("GET", "approvals/tokens/").json()["results"] == []
    for token in beyond:
        path = f"tokens/{token.key.public_id}/approve/"
        assert caller("POST", path).status_code == 404


def test_credential_cannot_approve_key_beyond_its_own_limits(ada, pending, engine, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": "apikeys.policy.Policy"}
    enough = ["keys:write", "payments:write"]
    lacks_scope = mint_pat(ada, scopes=["keys:write"])
    ends_sooner = mint_pat(ada, scopes=enough, expires_at=in_days(1))
    read_only = mint_pat(ada, scopes=["keys:read"])
    server = mint_key(engine, scopes=enough)
    covers = mint_pat(ada, scopes=enough)
    path = f"tokens/{pending.key.public_id}/approve/"

    for credential, status, code in [
        (lacks_scope, 403, "scope_not_grantable"),
        (ends_sooner, 403, "outlives_credential"),
        (read_only, 403, "insufficient_scope"),
        (server, 403, "user_required"),
        (covers, 200, None),
    ]:
        response = Caller(credential.token)("POST", path)
        assert (response.status_code, response.json().get("code")) == (status, code)


def test_restricted_credential_cannot_see_or_reject_keys_of_other_projects(
    ada, compiler, pending, pending_key
):
    caller = Caller(mint_pat(ada, scopes=["keys:write"], projects=[compiler]).token)

    assert caller("GET", "approvals/tokens/").json()["results"] == []
    assert caller("GET", "approvals/keys/").json()["results"] == []
    assert caller("POST", f"tokens/{pending.key.public_id}/reject/").status_code == 404
    path = f"projects/analytical-engine/keys/{pending_key.key.public_id}/reject/"
    assert caller("POST", path).status_code == 404


def test_pending_key_cannot_be_widened_and_stays_pending_when_rotated(grace, pending):
    caller = Caller(user=grace)
    path = f"tokens/{pending.key.public_id}/"

    wider = caller("PATCH", path, {"expires_at": None, "projects": None})
    assert (wider.status_code, wider.json()["code"]) == (403, "approval_required")
    assert caller("POST", f"{path}rotate/").json()["state"] == "pending"


@pytest.mark.parametrize("number", [1, 3])
def test_number_of_queries_does_not_grow_with_the_list(
    ada, grace, engine, number, django_assert_num_queries
):
    for _ in range(number):
        mint_pat(grace, scopes=["payments:write"], projects=[engine])
        mint_key(engine, scopes=["payments:write"])
    caller = Caller(user=ada)

    # Session, user, permissions (2), pending keys (2), tokens, projects.
    with django_assert_num_queries(9):
        caller("GET", "approvals/tokens/")
    with django_assert_num_queries(8):
        caller("GET", "approvals/keys/")
