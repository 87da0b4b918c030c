import pytest
from rest_framework.test import APIClient

from apikeys import hashing
from apikeys.models import State
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.testing import (
    MembershipFactory,
    PersonalAccessTokenFactory,
    ProjectFactory,
    ProjectKeyFactory,
    api_client,
    fast_hashing,
)
from apikeys.verify import verify

pytestmark = pytest.mark.django_db


def test_a_token_is_minted_for_a_user():
    member = MembershipFactory()

    minted = PersonalAccessTokenFactory(user=member.user, scopes=["payments:read"])

    access = verify(minted.token)
    assert (access.user, access.credential_id) == (member.user, minted.key.public_id)
    assert list(access.projects("payments:read")) == [member.project]


def test_a_key_is_minted_for_a_project():
    project = ProjectFactory(slug="engine")

    minted = ProjectKeyFactory(project=project, scopes=["payments:write"])

    assert verify(minted.token).allows("payments:read", project=project)


def test_defaults_are_created():
    tokens = [PersonalAccessTokenFactory(scopes=["payments:read"]) for _ in range(2)]
    key = ProjectKeyFactory(scopes=["payments:read"])

    assert tokens[0].key.user != tokens[1].key.user
    assert tokens[0].key.name != tokens[1].key.name
    assert verify(key.token).project.slug.startswith("project-")


@pytest.mark.parametrize("make", [PersonalAccessTokenFactory, ProjectKeyFactory])
def test_scopes_are_required(make):
    with pytest.raises(TypeError, match="scopes"):
        make()


@pytest.mark.parametrize("make", [PersonalAccessTokenFactory, ProjectKeyFactory])
@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("pending", "approval_required"),
        (State.EXPIRED, "expired_key"),
        ("revoked", "revoked_key"),
    ],
)
def test_a_key_in_another_state_is_refused(make, state, code):
    minted = make(scopes=["payments:read"], state=state)

    assert minted.key.state() == state
    with pytest.raises(Refused) as refused:
        verify(minted.token)
    assert refused.value.refusal.code == code


def test_a_key_that_needs_approval_can_be_created_approved(settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": "tests.testing.test_factories.Strict"}

    assert PersonalAccessTokenFactory(scopes=["payments:write"]).key.state() == "pending"
    approved = PersonalAccessTokenFactory(scopes=["payments:write"], state="live")
    assert verify(approved.token).allows("payments:write")


class Strict(Policy):
    def needs_approval(self, owner, scope):
        return scope.endswith(":write")


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="stolen"):
        PersonalAccessTokenFactory(scopes=["payments:read"], state="stolen")


@pytest.mark.parametrize("make", [PersonalAccessTokenFactory, ProjectKeyFactory])
def test_a_key_cannot_be_built_without_saving(make):
    with pytest.raises(TypeError, match="create"):
        make.build(scopes=["payments:read"], user=None, project=None)


def test_a_client_sends_the_key_with_each_request():
    minted = PersonalAccessTokenFactory(scopes=["payments:read"])

    for credential in (minted, minted.token):
        client = api_client(credential)
        assert isinstance(client, APIClient)
        assert client.get("/api/token/").json()["id"] == minted.key.public_id


def test_fast_hashing_is_undone():
    before = hashing._argon2

    with fast_hashing():
        assert hashing.check_root("secret", hashing.make_root("secret"))
        assert "m=8,t=1,p=1" in hashing.make_root("secret")
        assert not hashing.check_root("wrong", hashing.make_root("secret"))

    assert hashing._argon2 is before
